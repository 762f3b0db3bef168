// The clinical form, made from the model's own columns. Nothing is filled in beforehand.

import { element } from "./dom.js";

const by = (id) => document.getElementById(id);

export class Columns {
  constructor() {
    this.box = by("columns");
    this.box.addEventListener("input", () => this.tellMissing());
  }

  show(wants) {
    const typed = this.values(); // what another model asked for as well stays typed
    this.wants = wants;
    this.box.replaceChildren(...wants.columns.map((column, place) => field(column, place, typed[column.name])));
    by("clinical-title").hidden = this.box.hidden = !wants.columns.length;
    this.tellMissing();
  }

  fields() {
    return [...this.box.querySelectorAll("[name]")];
  }

  values() {
    return Object.fromEntries(this.fields().map((one) => [one.name, one.value]));
  }

  tellMissing() {
    const missing = this.fields().filter((one) => one.value.trim() === "").map((one) => one.dataset.title);
    const box = by("missing");
    box.hidden = !missing.length;
    box.textContent = `Not given: ${missing.join("; ")}. ${this.wants.needed
      ? "This model needs all of them."
      : "The model takes what was usual among its training patients in their place, and the result says so."}`;
  }
}

function field(column, place, value) {
  const id = `column-${place}`;
  const shared = { id, name: column.name, "data-title": column.title };
  const label = element("label", { for: id }, column.title);
  if (column.choices !== null) {
    const choices = [["", "not given"], ...column.choices.map((choice) => [choice, choice])];
    const input = element("select", shared, ...choices.map(([of, title]) => element("option", { value: of }, title)));
    if (column.choices.includes(value)) input.value = value;
    return element("div", { class: "field" }, label, input);
  }
  const ends = [column.low === null ? "" : `from ${column.low}`, column.high === null ? "" : `to ${column.high}`].filter(Boolean).join(" ");
  const input = element("input", { ...shared, type: "text", inputmode: "decimal", "aria-describedby": ends ? `${id}-ends` : null });
  input.value = value ?? "";
  return element("div", { class: "field" }, label, input,
    ends ? element("span", { class: "muted small", id: `${id}-ends` }, ends) : null);
}
