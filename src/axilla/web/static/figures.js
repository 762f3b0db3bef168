// ROC curve, figures with their intervals, the cross table. All numbers come from the server.

import { drawn, element, number, range, share } from "./dom.js";

const LEFT = 44;
const TOP = 12;
const SIDE = 260;
const across = (value) => LEFT + SIDE * value;
const down = (value) => TOP + SIDE * (1 - value);

const MEASURES = [
  ["sensitivity", "Sensitivity"], ["specificity", "Specificity"],
  ["ppv", "PPV"], ["npv", "NPV"],
];
const SPARED = [
  ["avoided_per_100", "Sentinel biopsies avoided", "of 100 patients"],
  ["missed_per_100", "Metastases missed", "of 100 patients"],
  ["missed_per_100_spared", "Metastases missed", "of 100 patients spared"],
];

export class Figures {
  constructor(root) {
    this.positive = root.dataset.positive;
    this.roc = document.getElementById("roc");
    this.told = document.getElementById("roc-told");
    this.list = document.getElementById("figures");
    this.spared = document.getElementById("spared");
    this.confusion = document.getElementById("confusion");
    this.several = document.getElementById("several");
    this.note = document.getElementById("figures-note");
    this.now = drawn("circle", { class: "roc-now", r: 6 });
    this.locked = drawn("rect", { class: "roc-locked", width: 10, height: 10 });
    this.points = [];
  }

  show(found) {
    const auc = found.auc;
    const area = auc.value === null
      ? `AUC not known: ${auc.reason ?? ""}`
      : `AUC ${number(auc.value)}${auc.low === null ? "" : ` (95% interval ${number(auc.low)} to ${number(auc.high)})`}`;
    this.note.textContent = [found.note, found.reason].filter(Boolean).join(". ");
    if (found.roc === undefined) {
      this.showSeveral(found, area);
      return;
    }
    this.who = `${found.n} patients, ${found.positives} of them ${this.positive}`;
    this.told.textContent = `${area}. ${this.who}.`;
    this.points = found.roc.points;
    this.draw(found);
  }

  draw(found) {
    this.roc.replaceChildren();
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      this.roc.append(
        drawn("line", { class: "grid", x1: across(tick), x2: across(tick), y1: down(0), y2: down(1) }),
        drawn("line", { class: "grid", x1: across(0), x2: across(1), y1: down(tick), y2: down(tick) }),
        drawn("text", { class: "tick", x: across(tick), y: down(0) + 14, "text-anchor": "middle" }, String(tick)),
        drawn("text", { class: "tick", x: LEFT - 6, y: down(tick) + 4, "text-anchor": "end" }, String(tick)),
      );
    }
    this.roc.append(
      drawn("text", { class: "axis", x: across(0.5), y: down(0) + 32, "text-anchor": "middle" }, "1 − specificity"),
      drawn("text", { class: "axis", x: 12, y: down(0.5), "text-anchor": "middle", transform: `rotate(-90 12 ${down(0.5)})` }, "Sensitivity"),
      drawn("line", { class: "chance", x1: across(0), y1: down(0), x2: across(1), y2: down(1) }),
    );
    if (!this.points.length) return;
    const path = this.points.map(([x, y]) => `${across(x)},${down(y)}`).join(" ");
    this.roc.append(drawn("polyline", { class: "curve", points: path }));
    if (found.threshold !== null) {
      const [x, y] = this.placeOf(found.threshold);
      this.locked.setAttribute("x", across(x) - 5);
      this.locked.setAttribute("y", down(y) - 5);
      this.roc.append(this.locked);
    }
    this.roc.append(this.now);
  }

  // The corner of the curve where everybody at or above the threshold is called positive.
  placeOf(threshold) {
    let place = this.points[0];
    for (const point of this.points) if (point[2] !== null && point[2] >= threshold) place = point;
    return place;
  }

  at(found) {
    this.list.setAttribute("aria-busy", "false");
    this.list.replaceChildren(...MEASURES.map(([name, title]) =>
      this.figure(title, share(found[name]), range(found[name]), found[name])));
    this.spared.replaceChildren(...SPARED.map(([name, title, of]) => {
      const value = found[name].value === null ? "–" : found[name].value.toFixed(1);
      return this.figure(title, value, range(found[name], 1), null, of);
    }));
    for (const cell of this.confusion.querySelectorAll("[data-count]")) {
      cell.textContent = String(found.confusion[cell.dataset.count]);
    }
    if (found.sensitivity.value === null || found.specificity.value === null) return;
    this.now.setAttribute("cx", across(1 - found.specificity.value));
    this.now.setAttribute("cy", down(found.sensitivity.value));
  }

  figure(title, value, interval, estimate, of = null) {
    const bar = drawn("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" });
    if (estimate !== null && estimate.value !== null) {
      const low = 100 * (estimate.low ?? estimate.value);
      const high = 100 * (estimate.high ?? estimate.value);
      bar.append(
        drawn("rect", { class: "bar-all", x: 0, y: 3, width: 100, height: 2 }),
        drawn("rect", { class: "bar-range", x: low, y: 2, width: Math.max(0.5, high - low), height: 4 }),
        drawn("rect", { class: "bar-value", x: Math.max(0, 100 * estimate.value - 0.8), y: 0, width: 1.6, height: 8 }),
      );
    }
    return element("div", {},
      element("dt", {}, title, of === null ? null : element("span", { class: "of" }, ` ${of}`)),
      element("dd", {}, element("span", { class: "large" }, value), " ",
        element("span", { class: "interval" }, interval), estimate === null ? null : bar));
  }

  showSeveral(found, area) {
    const rows = Object.entries(found.auc_by_class).map(([name, estimate]) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, number(estimate.value)),
        element("td", {}, range(estimate, 1, 3))));
    const head = (...names) => element("thead", {}, element("tr", {},
      ...names.map((name) => element("th", { scope: "col" }, name))));
    const matrix = found.confusion_matrix.map((row, index) =>
      element("tr", {}, element("th", { scope: "row" }, `is ${found.classes[index]}`),
        ...row.map((count, other) => element("td", { class: index === other ? "right" : "wrong" }, String(count)))));
    this.several.replaceChildren(
      element("p", {}, `${area}, mean of the classes. ${found.n} patients. With more than two classes the likeliest is called: there is no threshold.`),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Area under the curve by class" },
        element("table", {}, element("caption", {}, "Each class against the others"),
          head("Class", "AUC", "95% interval"), element("tbody", {}, ...rows))),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Patients by truth and call" },
        element("table", { class: "confusion" }, element("caption", {}, "Patients by truth and call"),
          head("", ...found.classes.map((name) => `called ${name}`)), element("tbody", {}, ...matrix))),
    );
  }
}
