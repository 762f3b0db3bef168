// The table of patients: sorted by its headings, cut down by what is chosen above it.

import { element, number } from "./dom.js";

const COHORTS = { train: "training", val: "validation", test: "test" };
const FIRST = 200; // rows drawn at once; the others when one scrolls to the end

export class Patients {
  constructor(root) {
    this.pages = root.dataset.pages;
    this.several = Number(root.dataset.classes) > 2;
    this.table = document.getElementById("patients");
    this.count = document.getElementById("shown");
    this.byMethod = document.getElementById("by-method");
    this.filters = {
      find: document.getElementById("find"), cohort: document.getElementById("of-cohort"),
      call: document.getElementById("of-call"), group: document.getElementById("of-group"),
    };
    this.rows = [];
    this.sorted = { key: "id", falling: false };
    for (const filter of Object.values(this.filters)) filter.addEventListener("input", () => this.draw());
    const more = new IntersectionObserver((seen) => {
      if (seen.some((one) => one.isIntersecting)) this.drawMore();
    });
    this.end = element("tr", { class: "end" });
    more.observe(this.end);
  }

  fill(found) {
    this.rows = found.rows;
    this.classes = found.classes;
    this.groups = found.groups;
    for (const title of found.groups) {
      const names = [...new Set(found.rows.map((row) => row.groups[title]).filter(Boolean))].sort();
      const group = element("optgroup", { label: title });
      names.forEach((name) => group.append(element("option", { value: JSON.stringify([title, name]) }, name)));
      this.filters.group.append(group);
    }
    this.heads();
    this.draw();
  }

  // Calls are by this method at this threshold; the others' scores stand beside it.
  by(method, title, threshold) {
    this.method = method;
    this.threshold = threshold;
    this.byMethod.textContent = title;
    if (this.rows.length) this.draw();
  }

  called(row) {
    const scores = row.scores[this.method];
    if (scores === undefined) return null;
    if (this.several) return scores.indexOf(Math.max(...scores));
    return this.threshold === null || this.threshold === undefined ? null : Number(scores[0] >= this.threshold);
  }

  call(row) {
    const called = this.called(row);
    return called === null ? null : called === row.label ? "right" : "wrong";
  }

  columns() {
    return [
      ["id", "Patient", (row) => row.id],
      ["label", "Truth", (row) => row.label],
      ["score", "Score", (row) => this.shownScore(row)],
      ["call", "Call", (row) => this.call(row) ?? ""],
      ["cohort", "Cohort", (row) => COHORTS[row.cohort] ?? row.cohort],
      ...this.groups.map((title) => [`group ${title}`, title, (row) => row.groups[title] ?? ""]),
    ];
  }

  shownScore(row) {
    const scores = row.scores[this.method];
    return scores === undefined ? null : this.several ? Math.max(...scores) : scores[0];
  }

  heads() {
    const heads = this.columns().map(([key, title]) => {
      const button = element("button", { type: "button", "data-key": key }, title);
      button.addEventListener("click", () => this.sortBy(key));
      return element("th", { scope: "col", "data-column": key }, button);
    });
    this.table.tHead.replaceChildren(element("tr", {}, ...heads));
  }

  sortBy(key) {
    this.sorted = { key, falling: this.sorted.key === key && !this.sorted.falling };
    this.draw();
  }

  kept() {
    const find = this.filters.find.value.trim().toLowerCase();
    const cohort = this.filters.cohort.value;
    const call = this.filters.call.value;
    const group = this.filters.group.value ? JSON.parse(this.filters.group.value) : null;
    return this.rows.filter((row) =>
      (!find || row.id.toLowerCase().includes(find)) &&
      (!cohort || row.cohort === cohort) &&
      (!call || this.call(row) === call) &&
      (!group || row.groups[group[0]] === group[1]));
  }

  draw() {
    const { key, falling } = this.sorted;
    const value = this.columns().find((column) => column[0] === key)[2];
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return Number(x === null) - Number(y === null);
      const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return falling ? -order : order;
    };
    this.left = this.kept().sort(compare);
    this.count.textContent = `${this.left.length} of ${this.rows.length} rows shown.`;
    for (const head of this.table.tHead.querySelectorAll("th")) {
      head.setAttribute("aria-sort", head.dataset.column !== key ? "none" : falling ? "descending" : "ascending");
    }
    this.table.tBodies[0].replaceChildren();
    this.drawMore();
  }

  drawMore() {
    const body = this.table.tBodies[0];
    this.end.remove();
    body.append(...this.left.splice(0, FIRST).map((row) => this.row(row)));
    if (this.left.length) body.append(this.end);
  }

  row(row) {
    const call = this.call(row);
    const called = this.called(row);
    const spread = row.spread[this.method];
    const score = this.shownScore(row);
    const link = element("a", { href: `${this.pages}${row.place}` }, element("bdi", {}, row.id));
    return element("tr", {},
      element("th", { scope: "row" }, link),
      element("td", {}, this.classes[row.label]),
      element("td", { class: "number" }, score === null ? "–" : number(score),
        spread === undefined ? null : element("span", { class: "interval" }, ` ± ${number(spread)}`)),
      element("td", {}, call === null ? "–" : element("span", { class: `call ${call}` },
        `${call === "right" ? "✓" : "✗"} ${call}: ${this.classes[called]}`)),
      element("td", {}, COHORTS[row.cohort] ?? row.cohort),
      ...this.groups.map((title) => element("td", {}, row.groups[title] ?? "–")),
    );
  }
}
