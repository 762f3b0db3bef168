// What lies over the slide: measured patches in colour, outlines, nuclei; each as clear as asked.

import { ask } from "./dom.js";
import { attentionColour, contributionColour } from "./colours.js";

const NUCLEI_FROM_PX = 4; // a nucleus of about 10 pixels' axis is then seen as more than a dot
const short = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

export class Layers {
  constructor(stage, positive) {
    this.stage = stage;
    this.positive = positive;
    this.told = document.getElementById("layers-told");
    this.opacity = Object.fromEntries(["heat", "outlines", "nuclei"].map((name) => [name, document.getElementById(`opacity-${name}`)]));
    for (const slider of Object.values(this.opacity)) {
      slider.addEventListener("input", () => {
        this.seekNuclei();
        stage.paint();
      });
    }
    for (const choice of document.querySelectorAll("input[name=heat]")) {
      choice.addEventListener("change", () => stage.paint());
    }
    stage.painters.push((context, view) => this.paint(context, view));
    stage.viewer.addHandler("animation-finish", () => this.seekNuclei());
    this.found = null;
    this.marked = null;
  }

  parts(name) {
    return document.querySelectorAll(`[data-layer="${name}"]`);
  }

  show(found, image) {
    this.found = found;
    this.image = image;
    this.marked = null;
    const patches = found.patches;
    this.own = patches === null ? [] : patches.image.flatMap((of, place) => (of === image ? [place] : []));
    this.ends = {};
    if (patches !== null) {
      const seen = patches.attention.filter((value) => value !== null);
      this.ends.attention = [Math.min(...bounds(seen)), Math.max(...bounds(seen))];
      if (patches.contribution !== null) {
        const most = Math.max(1e-9, ...bounds(patches.contribution.filter((value) => value !== null).map(Math.abs)));
        this.ends.contribution = [-most, most];
      }
    }
    for (const name of ["attention", "contribution"]) this.legend(name);
    document.getElementById("heat-opacity").hidden = patches === null;
    document.getElementById("reading").hidden = patches === null;
    this.parts("outlines").forEach((part) => (part.hidden = !found.images[image]?.outlines.length));
    this.told.textContent = patches === null ? found.reason : `Measured by ${found.method} on ${this.own.length} patches of this image.`;
    this.stage.paint();
  }

  legend(name) {
    for (const part of this.parts(name)) {
      part.hidden = this.ends[name] === undefined;
      if (part.hidden) continue;
      const [low, high] = this.ends[name].map(short);
      part.querySelector("[data-low]").textContent = name === "contribution" ? `${low} against` : low;
      part.querySelector("[data-high]").textContent = name === "contribution" ? `+${high} for` : high;
    }
  }

  nuclei(address) {
    this.nucleiAt = address;
    this.ellipses = [];
    this.parts("nuclei").forEach((part) => (part.hidden = address === null));
  }

  // Those in sight only, once the view rests.
  async seekNuclei() {
    if (!this.nucleiAt || Number(this.opacity.nuclei.value) === 0) return;
    const view = this.stage.view();
    if (view === null) return;
    const window = { x: -view.x / view.scale, y: -view.y / view.scale, w: view.width / view.scale, h: view.height / view.scale };
    try {
      const found = await ask(`${this.nucleiAt}?${new URLSearchParams(window)}`);
      this.ellipses = found.ellipses;
      this.stage.told.textContent = found.count > 0 && !found.ellipses.length
        ? `${found.count} nuclei are in sight: zoom in to see them.`
        : `${found.count} nuclei in sight.`;
      this.stage.paint();
    } catch (error) {
      this.stage.say(error.message);
    }
  }

  mark(place) {
    this.marked = place;
    this.stage.paint();
  }

  paint(context, view) {
    if (this.found === null) return;
    if (this.found.patches !== null) this.paintPatches(context, view);
    this.paintOutlines(context, view);
    if (this.ellipses?.length) this.paintNuclei(context, view);
    if (this.marked !== null) this.paintMark(context, view);
  }

  paintPatches(context, view) {
    const { patches, side } = this.found;
    const name = document.querySelector("input[name=heat]:checked").value;
    const values = patches[name];
    if (!values) return;
    const [low, high] = this.ends[name];
    const colour = name === "attention" ? attentionColour : contributionColour;
    const size = side * view.scale;
    context.globalAlpha = Number(this.opacity.heat.value) / 100;
    for (const place of this.own) {
      const [x, y] = [patches.x[place] * view.scale + view.x, patches.y[place] * view.scale + view.y];
      if (values[place] === null || x + size < 0 || y + size < 0 || x > view.width || y > view.height) continue;
      context.fillStyle = colour(high > low ? (values[place] - low) / (high - low) : 0.5);
      context.fillRect(x, y, size, size);
    }
    context.globalAlpha = 1;
  }

  paintOutlines(context, view) {
    const alpha = Number(this.opacity.outlines.value) / 100;
    if (alpha === 0) return;
    const path = new Path2D();
    for (const ring of this.found.images[this.image]?.outlines ?? []) {
      ring.forEach(([x, y], index) => path[index ? "lineTo" : "moveTo"](x * view.scale + view.x, y * view.scale + view.y));
      path.closePath();
    }
    context.globalAlpha = alpha;
    // White under black: seen on dark and on pale tissue alike.
    context.strokeStyle = "#ffffff";
    context.lineWidth = 3.5;
    context.stroke(path);
    context.strokeStyle = "#000000";
    context.lineWidth = 1.5;
    context.stroke(path);
    context.globalAlpha = 1;
  }

  paintNuclei(context, view) {
    context.globalAlpha = Number(this.opacity.nuclei.value) / 100;
    context.strokeStyle = "#0072b2";
    context.lineWidth = Math.min(2, Math.max(0.75, view.scale * NUCLEI_FROM_PX / 4));
    context.beginPath();
    for (const [x, y, a, b, degrees] of this.ellipses) {
      const [cx, cy] = [x * view.scale + view.x, y * view.scale + view.y];
      const turn = (degrees * Math.PI) / 180;
      context.moveTo(cx + a * view.scale * Math.cos(turn), cy + a * view.scale * Math.sin(turn));
      context.ellipse(cx, cy, a * view.scale, b * view.scale, turn, 0, 2 * Math.PI);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  paintMark(context, view) {
    const { patches, side } = this.found;
    const [x, y] = [patches.x[this.marked] * view.scale + view.x, patches.y[this.marked] * view.scale + view.y];
    const size = side * view.scale;
    for (const [colour, width] of [["#000000", 6], ["#ffffff", 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x - 3, y - 3, size + 6, size + 6);
    }
  }
}

// Least and most of a list that may be too long to be spread into arguments.
function bounds(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
