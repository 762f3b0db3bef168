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
    try {
      const found = await ask(`${base}/images/${image}`);
      this.stage.open(found);
      this.image = image;
      this.layers.nuclei(found.nuclei ? `${base}/images/${image}/nuclei` : null);
      if (slide !== this.slide) {
        this.overlays = await ask(`${base}/overlays`);
        this.slide = slide;
        this.tops.show(this.overlays, (place) => `${base}/patches/${place}`);
      }
      this.layers.show(this.overlays, image);
    } catch (error) {
      tell(problem, error.message);
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
