// The page of one case: the slide with what lies over it, and the model asked with other values.

import { ask, tell } from "./dom.js";
import { Form } from "./form.js";
import { Layers } from "./layers.js";
import { Stage } from "./stage.js";
import { Tops } from "./tops.js";

const root = document.getElementById("case");
const api = root.dataset.api;
const problem = document.getElementById("problem");

class Slides {
  constructor() {
    this.stage = new Stage((sentence) => tell(problem, sentence));
    this.layers = new Layers(this.stage, root.dataset.positive);
    this.tops = new Tops((place) => this.fly(place));
    this.choice = document.getElementById("image");
    this.slide = null;
    this.choice?.addEventListener("change", () => this.choose());
  }

  choose() {
    const [slide, image] = (this.choice?.value ?? "0/0").split("/").map(Number);
    return this.open(slide, image);
  }

  async open(slide, image) {
    tell(problem, null);
    const base = `${api}/slides/${slide}`;
    // Whoever chooses again while an answer is on its way sees what was chosen last.
    const asked = { slide, image };
    this.asked = asked;
    try {
      const found = await ask(`${base}/images/${image}`);
      if (this.asked !== asked) return;
      this.stage.open(found);
      this.image = image;
      this.layers.nuclei(found.nuclei ? `${base}/images/${image}/nuclei` : null);
      if (slide !== this.slide) {
        const overlays = await ask(`${base}/overlays`);
        if (this.asked !== asked) return;
        this.overlays = overlays;
        this.slide = slide;
        this.tops.show(this.overlays, (place) => `${base}/patches/${place}`);
      }
      this.layers.show(this.overlays, image);
    } catch (error) {
      if (this.asked === asked) tell(problem, error.message);
    }
  }

  async fly(place) {
    const { patches, side } = this.overlays;
    const image = patches.image[place];
    if (image !== this.image) {
      this.choice.value = `${this.slide}/${image}`;
      await this.open(this.slide, image);
      await this.stage.opened;
    }
    this.layers.mark(place);
    this.stage.flyTo(patches.x[place], patches.y[place], side);
  }
}

const form = document.getElementById("clinical");
if (form) new Form(form, api);
if (document.getElementById("viewer")) {
  const slides = new Slides();
  slides.choose().finally(() => {
    document.documentElement.dataset.ready = "yes";
  });
} else {
  document.documentElement.dataset.ready = "yes";
}
