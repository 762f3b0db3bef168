// The slide: OpenSeadragon for the pixels, a canvas over it for whatever is drawn by layers.

import { askBlob } from "./dom.js";

const OpenSeadragon = window.OpenSeadragon;
const NICE = [1, 2, 5];
// Longer than a tile is asked for: OpenSeadragon would count one that it gave up twice.
const TILE_MS = 600_000;
const BAR_SHARE = 0.2; // of the stage's width, about

export class Stage {
  constructor(say) {
    this.say = say;
    this.failed = false;
    this.told = document.getElementById("stage-told");
    this.bar = document.getElementById("scale-bar");
    this.scaleTold = document.getElementById("scale-told");
    this.still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.viewer = OpenSeadragon({
      id: "viewer",
      drawer: "canvas", // the same on every machine; a tile is drawn in far less than a frame
      showNavigationControl: false,
      animationTime: this.still ? 0 : 0.9,
      springStiffness: 8,
      imageLoaderLimit: 8,
      timeout: TILE_MS,
      maxImageCacheCount: 400,
      visibilityRatio: 0.5,
      maxZoomPixelRatio: 4,
      preserveImageSizeOnResize: true,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { flickEnabled: !this.still },
    });
    this.canvas = document.createElement("canvas");
    this.canvas.className = "over";
    this.canvas.setAttribute("aria-hidden", "true");
    this.viewer.canvas.append(this.canvas);
    this.painters = [];
    for (const event of ["update-viewport", "resize", "open"]) {
      this.viewer.addHandler(event, () => this.paint());
    }
    // A stage that only grew taller has the same centre and zoom, and OpenSeadragon then leaves the
    // tiles where they were, beneath layers that moved, unless told that something changed.
    // Only after it has done so: what is asked while it resizes is overridden.
    this.viewer.addHandler("resize", () => requestAnimationFrame(() => {
      if (!this.viewer.world.getItemCount()) return;
      if (this.whole) this.viewer.viewport.goHome(true);
      this.viewer.world.update(true);
      this.viewer.forceRedraw();
    }));
    for (const event of ["canvas-drag", "canvas-scroll", "canvas-pinch", "canvas-key", "canvas-double-click"]) {
      this.viewer.addHandler(event, () => (this.whole = false));
    }
    this.viewer.addHandler("home", () => (this.whole = true));
    this.button("zoom-in", () => this.zoomBy(1.6));
    this.button("zoom-out", () => this.zoomBy(1 / 1.6));
    this.button("zoom-home", () => this.viewer.viewport.goHome());
    this.button("zoom-full", () => this.zoomBy(this.viewer.viewport.imageToViewportZoom(1) / this.viewer.viewport.getZoom()));
    window.axillaStage = this; // for whoever looks at the page with the browser's tools
  }

  button(id, act) {
    document.getElementById(id).addEventListener("click", () => {
      if (this.image) act();
    });
  }

  zoomBy(factor) {
    this.whole = false;
    this.viewer.viewport.zoomBy(factor);
    this.viewer.viewport.applyConstraints();
  }

  open(found) {
    this.image = found;
    this.came();
    this.whole = true; // until somebody moves it
    this.opened = new Promise((done) => this.viewer.addOnceHandler("open", done));
    this.viewer.open({
      width: found.width,
      height: found.height,
      tileSize: found.tile,
      tileOverlap: 0,
      minLevel: Math.max(0, found.highest - Math.ceil(Math.log2(Math.max(found.width, found.height) / found.tile))),
      maxLevel: found.highest,
      getTileUrl: (level, x, y) => `${found.tiles}/${level}/${x}_${y}`,
      downloadTileStart: (job) => this.download(job),
      downloadTileAbort: (job) => job.userData.stop.abort(),
    });
  }

  // A tile, asked again while the server is busy; where it does not come the page says why.
  async download(job) {
    job.userData.stop = new AbortController();
    try {
      const blob = await askBlob(job.src, { signal: job.userData.stop.signal });
      job.finish(await createImageBitmap(blob));
      this.came();
    } catch (error) {
      if (error.name !== "AbortError") {
        this.failed = true;
        this.say(error.message);
      }
      job.finish(null, null, error.message);
    }
  }

  // What was said of a tile holds until another one comes, or another slide.
  came() {
    if (this.failed) this.say(null);
    this.failed = false;
  }

  flyTo(x, y, side) {
    this.whole = false;
    const around = new OpenSeadragon.Rect(x - 2.5 * side, y - 2.5 * side, 6 * side, 6 * side);
    this.viewer.viewport.fitBounds(this.viewer.viewport.imageToViewportRectangle(around), this.still);
    this.viewer.canvas.focus({ preventScroll: true });
  }

  // Of the drawing: pixels of the stage = scale * level-0 pixels + offset.
  view() {
    const item = this.viewer.world.getItemAt(0);
    if (!item) return null;
    const at = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const one = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(this.image.width, 0));
    const scale = (one.x - at.x) / this.image.width;
    const size = this.viewer.viewport.getContainerSize();
    return { scale, x: at.x, y: at.y, width: size.x, height: size.y };
  }

  paint() {
    const view = this.image ? this.view() : null;
    if (view === null) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const painter of this.painters) painter(context, view);
    this.showScale(view);
  }

  showScale(view) {
    if (!this.image.mpp) {
      this.bar.hidden = true;
      this.scaleTold.textContent = "µm/px unknown";
      return;
    }
    const perPixel = this.image.mpp / view.scale;
    const wanted = view.width * BAR_SHARE * perPixel;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const nearest = [...NICE.map((digit) => digit * power), 10 * power].reduce((best, length) =>
      Math.abs(Math.log(length / wanted)) < Math.abs(Math.log(best / wanted)) ? length : best);
    this.bar.hidden = false;
    this.bar.style.width = `${nearest / perPixel}px`;
    this.scaleTold.textContent = nearest >= 1000 ? `${nearest / 1000} mm` : `${nearest} µm`;
  }
}
