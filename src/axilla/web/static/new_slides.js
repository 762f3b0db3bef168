// Slides that are uploaded, file by file, or picked; the chosen one is shown.

import { element, tell, Told } from "./dom.js";

const by = (id) => document.getElementById(id);
const MB = 2 ** 20;

export class Slides {
  constructor(draft, open) {
    this.draft = draft;
    this.openSlide = open;
    this.all = [];
    this.current = null;
    this.shown = null;
    this.list = by("given");
    this.told = by("slides-told");
    this.most = Number(by("new").dataset.most);
    by("files").addEventListener("change", (event) => {
      this.upload([...event.target.files]);
      event.target.value = "";
    });
    const drop = by("drop");
    for (const name of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop") this.upload([...event.dataTransfer.files]);
      });
    }
    by("pick-take")?.addEventListener("click", () => this.pick());
  }

  async upload(files) {
    tell(by("slides-problem"), null);
    for (const file of files) {
      await this.bring(file.name, async (told) => {
        if (file.size > this.most) {
          throw new Told(`This file has ${(file.size / MB).toFixed(0)} MB; ${(this.most / MB).toFixed(0)} MB may be uploaded.`, 413);
        }
        return send(await this.draft.address("/slides"), file, told);
      });
    }
  }

  async pick() {
    const choice = by("pick");
    if (choice.value === "") return;
    tell(by("slides-problem"), null);
    await this.bring(choice.selectedOptions[0].textContent, () => this.draft.send("/slides", "POST", { pick: Number(choice.value) }));
    choice.value = "";
  }

  // A name is shown to whoever brought it, and never sent.
  async bring(title, work) {
    const bar = element("progress", { max: 1, "aria-label": `Upload of ${title}` });
    const row = element("li", {}, element("span", {}, title), bar);
    this.list.append(row);
    try {
      const found = await this.draft.bring(() => work((part) => {
        if (part < 1) bar.value = part;
        else bar.removeAttribute("value"); // it is being opened
      }));
      const slide = { number: found.slide, title, found, outlines: [], file: null };
      this.all.push(slide);
      this.row(row, slide);
      this.show(slide);
    } catch (error) {
      row.remove();
      tell(by("slides-problem"), `${title}: ${error.message}`);
    }
  }

  row(row, slide) {
    const look = element("button", { type: "button", "aria-pressed": "false" }, slide.title);
    look.addEventListener("click", () => this.show(slide));
    const out = element("button", { type: "button", "aria-label": `Take out ${slide.title}` }, "Take out");
    out.addEventListener("click", () => this.remove(slide));
    const { width, height, mpp } = slide.found;
    row.replaceChildren(look, element("span", { class: "muted small" },
      `${width.toLocaleString("en")} × ${height.toLocaleString("en")} pixels, ${mpp === null ? "µm per pixel not said" : `${mpp.toPrecision(3)} µm per pixel`}`), out);
    slide.row = row;
  }

  show(slide) {
    this.current = slide;
    for (const one of this.all) one.row.firstChild.setAttribute("aria-pressed", String(one === slide));
    this.told.textContent = this.all.length > 1 && slide ? `${slide.title} is shown below.` : "";
    return this.openSlide(slide);
  }

  async remove(slide) {
    try {
      await this.draft.send(`/slides/${slide.number}`, "DELETE");
    } catch (error) {
      tell(by("slides-problem"), error.message);
      return;
    }
    slide.row.remove();
    this.all = this.all.filter((one) => one !== slide);
    this.show(this.current === slide ? this.all.at(-1) ?? null : this.current);
  }
}

// fetch does not tell how far an upload is.
export function send(address, file, told = () => {}) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("PUT", address);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) told(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      if (request.status < 400) done(request.response);
      else fail(new Told(request.response?.problem ?? (request.status === 413 ? "The file is too large." : `Error ${request.status}.`), request.status));
    });
    request.addEventListener("error", () => fail(new Told("The upload broke off: the file is too large, or the server does not answer.", 0)));
    request.send(file);
  });
}
