// The page of a new case: a model is chosen, slides and outlines are given, values are typed, it runs.

import { ask, tell } from "./dom.js";
import { Draft } from "./new_draft.js";
import { Columns } from "./new_columns.js";
import { Draw } from "./new_draw.js";
import { Run } from "./new_run.js";
import { Slides } from "./new_slides.js";
import { Stage } from "./stage.js";

const by = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.draft = new Draft();
    this.columns = new Columns();
    this.model = by("model");
    this.model.addEventListener("change", () => this.choose());
    this.run = new Run(this.draft, () => this.asked());
    by("values").addEventListener("submit", (event) => event.preventDefault());
    for (const choice of document.querySelectorAll("input[name=regions]")) {
      choice.addEventListener("change", () => this.showParts());
    }
  }

  async choose() {
    this.wants = null;
    tell(by("model-problem"), null);
    const place = this.model.value;
    if (place !== "") {
      this.model.setAttribute("aria-busy", "true");
      try {
        const wants = await ask(`/api/new/models/${place}`);
        if (this.model.value !== place) return; // another one was chosen meanwhile
        this.wants = wants;
        this.columns.show(wants);
      } catch (error) {
        tell(by("model-problem"), error.message);
      }
      this.model.removeAttribute("aria-busy");
    }
    this.showParts();
  }

  // Only what the model asks for is there to be filled in.
  showParts() {
    const [slides, chosen] = [Boolean(this.wants?.slides), Boolean(this.wants)];
    by("part-slides").hidden = !slides;
    by("part-outline").hidden = !slides || !(this.slides?.current);
    by("drawing").hidden = this.regions() !== "annotation";
    by("mpp-field").hidden = !slides;
    by("part-values").hidden = !chosen;
    by("part-run").hidden = !chosen;
    const generated = this.model.selectedOptions[0]?.textContent.endsWith("generated data");
    by("model-generated").hidden = !chosen || !generated;
    if (slides && !this.slides) this.openSlides();
    if (slides && this.slides.current && !this.slides.shown) this.slides.show(this.slides.current);
    if (this.draw && this.regions() !== "annotation") this.draw.end();
  }

  openSlides() {
    this.slides = new Slides(this.draft, (slide) => this.open(slide));
  }

  // The stage is made once its place is in sight: it measures itself.
  async open(slide) {
    by("part-outline").hidden = slide === null;
    this.showScale();
    if (slide === null) return;
    if (!this.stage) {
      this.stage = new Stage((sentence) => tell(by("stage-problem"), sentence));
      this.draw = new Draw(this.stage, this.draft);
    }
    this.slides.shown = slide;
    this.stage.open(slide.found);
    this.draw.open(slide, this.slides.all.length > 1 ? slide.title : "this slide");
    this.showParts();
  }

  showScale() {
    const all = this.slides.all;
    const silent = all.filter((slide) => slide.found.mpp === null).length;
    by("mpp-told").textContent = !all.length ? "where the file does not say it"
      : silent ? `needed: ${silent === all.length ? "the file does" : "not all files"} not say it`.replace("not all files not say", "not all files say")
        : `the file says ${all.map((slide) => slide.found.mpp.toPrecision(3)).join(", ")}; type only to overrule it`;
  }

  regions() {
    return document.querySelector("input[name=regions]:checked").value;
  }

  asked() {
    return {
      model: Number(this.model.value), patient: by("patient").value, regions: this.regions(),
      mpp: this.wants.slides ? by("mpp").value : "", values: this.columns.values(),
    };
  }
}

const page = new Page();
page.choose().finally(() => {
  document.documentElement.dataset.ready = "yes";
});
