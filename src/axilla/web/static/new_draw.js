// Outlines drawn over the slide, corner by corner, by mouse, finger or keyboard; or uploaded.

import { element, tell } from "./dom.js";
import { send } from "./new_slides.js";

const OpenSeadragon = window.OpenSeadragon;
const by = (id) => document.getElementById(id);
const NEAR_PX = 12; // so near to the first corner a click closes the outline
const STILL_PX = 6;
const TOLD = {
  none: "Set the first corner.", few: "Set at least three corners.",
  more: "Set more corners, or close the outline.",
};

export class Draw {
  constructor(stage, draft) {
    this.stage = stage;
    this.draft = draft;
    this.on = false;
    this.corners = [];
    this.cross = false;
    this.viewer = stage.viewer;
    stage.painters.push((context, view) => this.paint(context, view));
    by("draw").addEventListener("click", () => (this.on ? this.end() : this.begin()));
    by("draw-close").addEventListener("click", () => this.close());
    by("draw-undo").addEventListener("click", () => this.undo());
    by("outline-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.upload(file);
    });
    this.viewer.addHandler("canvas-press", (event) => (this.pressed = event.position));
    this.viewer.addHandler("canvas-click", (event) => {
      // However slow the hand: what did not move is no drag.
      if (!this.on || this.pressed.distanceTo(event.position) > STILL_PX) return;
      event.preventDefaultAction = true;
      this.cross = false;
      this.click(event.position);
    });
    this.viewer.addHandler("canvas-double-click", (event) => {
      if (this.on) event.preventDefaultAction = true;
    });
    by("viewer").addEventListener("keydown", (event) => this.key(event), true);
  }

  open(slide, title) {
    this.end();
    this.slide = slide;
    by("outlined-slide").textContent = title;
    tell(by("outline-problem"), null);
    this.list();
  }

  begin() {
    this.on = true;
    this.corners = [];
    this.viewer.canvas.focus({ preventScroll: true });
    this.show();
  }

  end() {
    this.on = false;
    this.corners = [];
    this.cross = false;
    this.show();
  }

  key(event) {
    if (!this.on) return;
    const acts = { Enter: () => this.close(), Backspace: () => this.undo(), Escape: () => this.end(), " ": () => this.atCross() };
    if (event.key.startsWith("Arrow")) {
      this.cross = true;
      this.stage.paint();
    }
    const act = event.target === this.viewer.canvas ? acts[event.key] : undefined;
    if (act === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  atCross() {
    this.cross = true;
    const size = this.viewer.viewport.getContainerSize();
    this.click(new OpenSeadragon.Point(size.x / 2, size.y / 2));
  }

  click(position) {
    const view = this.stage.view();
    if (view === null) return;
    const [first] = this.corners;
    const near = first && Math.hypot(first[0] * view.scale + view.x - position.x, first[1] * view.scale + view.y - position.y) < NEAR_PX;
    if (near && this.corners.length >= 3) {
      this.close();
      return;
    }
    const { width, height } = this.stage.image;
    // The edge of the slide is as far as tissue goes.
    const x = Math.min(width, Math.max(0, (position.x - view.x) / view.scale));
    const y = Math.min(height, Math.max(0, (position.y - view.y) / view.scale));
    const last = this.corners.at(-1);
    if (last && last[0] === x && last[1] === y) return;
    this.corners.push([x, y]);
    this.show();
  }

  async close() {
    if (this.corners.length < 3) {
      this.show();
      return;
    }
    const ring = this.corners;
    this.corners = [];
    const drawn = this.slide.file ? [ring] : [...this.slide.outlines, ring];
    await this.save(drawn);
    this.end();
    by("draw").focus({ preventScroll: true });
  }

  undo() {
    this.corners.pop();
    this.show();
  }

  async save(drawn) {
    const slide = this.slide;
    tell(by("outline-problem"), null);
    try {
      if (drawn.length) {
        const found = await this.send(slide, new Blob([JSON.stringify(geojson(drawn))]));
        slide.repaired = found.repaired;
      } else {
        await this.draft.send(`/slides/${slide.number}/outline`, "DELETE");
        slide.repaired = 0;
      }
      slide.outlines = drawn;
      slide.file = null;
    } catch (error) {
      tell(by("outline-problem"), error.message);
    }
    this.list();
  }

  send(slide, content) {
    return this.draft.bring(async () => send(await this.draft.address(`/slides/${slide.number}/outline`), content));
  }

  async upload(file) {
    const slide = this.slide;
    tell(by("outline-problem"), null);
    try {
      const found = await this.send(slide, file);
      slide.file = { title: file.name, rings: found.rings, regions: found.regions };
      slide.repaired = found.repaired;
      slide.outlines = [];
      this.end();
    } catch (error) {
      tell(by("outline-problem"), `${file.name}: ${error.message}`);
    }
    this.list();
  }

  list() {
    const { file, outlines } = this.slide;
    const rows = file
      ? [this.row(`${file.regions} from ${file.title}`, [])]
      : outlines.map((_, place) => this.row(`Outline ${place + 1}`, outlines.filter((__, other) => other !== place)));
    by("outlines").replaceChildren(...rows);
    this.show();
  }

  row(title, without) {
    const out = element("button", { type: "button", "aria-label": `Delete ${title}` }, "Delete");
    out.addEventListener("click", () => this.save(without));
    return element("li", {}, element("span", {}, title), out);
  }

  show() {
    const corners = this.corners.length;
    by("draw").textContent = this.on ? "End drawing" : this.slide?.outlines.length ? "Draw another outline" : "Draw an outline";
    by("draw").setAttribute("aria-pressed", String(this.on));
    by("draw-close").disabled = corners < 3;
    by("draw-undo").disabled = corners === 0;
    const crossed = this.slide?.repaired ? `${this.slide.repaired} outline${this.slide.repaired > 1 ? "s" : ""} crossed itself and was repaired.` : "";
    by("draw-told").textContent = !this.on ? crossed : corners === 0 ? TOLD.none
      : `${corners} corner${corners > 1 ? "s" : ""}. ${corners < 3 ? TOLD.few : TOLD.more}`;
    by("viewer").classList.toggle("drawing", this.on);
    this.stage.paint();
  }

  paint(context, view) {
    if (!this.slide) return;
    const at = ([x, y]) => [x * view.scale + view.x, y * view.scale + view.y];
    const path = new Path2D();
    for (const ring of this.slide.file?.rings ?? this.slide.outlines) {
      ring.forEach((point, place) => path[place ? "lineTo" : "moveTo"](...at(point)));
      path.closePath();
    }
    stroke(context, path, []);
    if (!this.on) return;
    const line = new Path2D();
    this.corners.forEach((point, place) => line[place ? "lineTo" : "moveTo"](...at(point)));
    stroke(context, line, [6, 4]);
    this.corners.forEach((point, place) => corner(context, at(point), place === 0 ? 6 : 4));
    if (this.cross) {
      const [x, y] = [view.width / 2, view.height / 2];
      const cross = new Path2D(`M${x - 14} ${y}H${x + 14}M${x} ${y - 14}V${y + 14}`);
      stroke(context, cross, []);
    }
  }
}

// White under black: seen on dark and on pale tissue alike.
function stroke(context, path, dashes) {
  context.setLineDash([]);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 4;
  context.stroke(path);
  context.setLineDash(dashes);
  context.strokeStyle = "#000000";
  context.lineWidth = 2;
  context.stroke(path);
  context.setLineDash([]);
}

function corner(context, [x, y], radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = "#ffffff";
  context.fill();
  context.strokeStyle = "#000000";
  context.lineWidth = 2;
  context.stroke();
}

// In pixels of the full resolution, as QuPath writes it.
export function geojson(rings) {
  const rounded = (ring) => [...ring, ring[0]].map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
  return {
    type: "FeatureCollection",
    features: rings.map((ring) => ({
      type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [rounded(ring)] },
    })),
  };
}
