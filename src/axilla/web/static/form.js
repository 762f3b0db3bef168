// The clinical form: every change asks the server, which asks the model.

import { ask, element, number, tell } from "./dom.js";

const WAIT_MS = 150; // after a keystroke, so that a number is asked once

export class Form {
  constructor(form, api) {
    this.form = form;
    this.api = api;
    this.answers = document.getElementById("answers");
    this.remarks = document.getElementById("remarks");
    this.problem = document.getElementById("asking-problem");
    this.asked = null;
    this.recorded = null;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => this.later());
    // The fields have their own values again once the event is over.
    form.addEventListener("reset", () => setTimeout(() => this.ask(), 0));
    this.ask();
  }

  later() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.ask(), WAIT_MS);
  }

  fields() {
    return [...this.form.querySelectorAll("[name]")];
  }

  async ask() {
    const fields = this.fields();
    const changed = fields.filter((field) => field.value !== field.dataset.own);
    for (const field of fields) {
      field.closest(".field").querySelector(".own").hidden = !changed.includes(field);
    }
    if (this.asked) this.asked.abort();
    this.asked = new AbortController();
    const values = Object.fromEntries(fields.map((field) => [field.name, field.value]));
    try {
      const found = await ask(`${this.api}/ask`, {
        method: "POST", headers: { "content-type": "application/json" },
        body: JSON.stringify({ values }), signal: this.asked.signal,
      });
      tell(this.problem, null);
      if (!changed.length) this.recorded = found.answers;
      this.show(found.answers);
    } catch (error) {
      if (error.name === "AbortError") return;
      tell(this.problem, error.message);
      // No number stays that belongs to other values.
      this.show((this.recorded ?? []).map((one) => ({ ...one, scores: {}, called: null, remarks: [] })));
    }
  }

  show(answers) {
    const own = new Map((this.recorded ?? []).map((one) => [one.method, one]));
    this.answers.replaceChildren(...answers.map((one) => element("tr", {},
      element("th", { scope: "row" }, one.title),
      element("td", {}, said(own.get(one.method))),
      element("td", { class: "strong" }, said(one)),
      element("td", {}, one.called === null ? "–"
        : `${one.called}${one.threshold === null ? "" : ` at the threshold ${number(one.threshold)}`}`))));
    const remarks = [...new Set(answers.flatMap((one) => one.remarks))];
    this.remarks.replaceChildren(...remarks.map((remark) => element("li", {}, remark)));
  }
}

function said(answer) {
  const scores = Object.entries(answer?.scores ?? {});
  if (!scores.length) return "–";
  const text = scores.length === 1 ? number(scores[0][1])
    : scores.map(([name, score]) => `${name} ${number(score)}`).join(", ");
  return answer.spread === null ? text : `${text} ± ${number(answer.spread)}`;
}
