// The patches that weigh most, each a button that flies to its place.

import { element, number } from "./dom.js";

const MOST = 8;

export class Tops {
  constructor(fly) {
    this.fly = fly;
    this.box = document.getElementById("tops");
    this.list = this.box.querySelector("ol");
    this.by = document.getElementById("tops-by");
    this.by.addEventListener("change", () => this.draw());
  }

  show(found, picture) {
    this.found = found;
    this.picture = picture;
    this.box.hidden = found.patches === null;
    if (this.box.hidden) return;
    const choices = [["attention", "attention"]];
    if (found.patches.contribution !== null) {
      choices.push(["for", `contribution for ${found.positive}`], ["against", `contribution against ${found.positive}`]);
    }
    this.by.replaceChildren(...choices.map(([value, title]) => element("option", { value }, title)));
    this.draw();
  }

  draw() {
    const { patches } = this.found;
    const values = this.by.value === "attention" ? patches.attention : patches.contribution;
    const sign = this.by.value === "against" ? 1 : -1;
    const order = values.map((_, place) => place).filter((place) => values[place] !== null);
    order.sort((a, b) => sign * (values[a] - values[b]) || a - b);
    this.list.replaceChildren(...order.slice(0, MOST).map((place, rank) => this.entry(place, rank)));
  }

  entry(place, rank) {
    const { patches } = this.found;
    const contribution = patches.contribution?.[place];
    const text = element("span", { class: "numbers" },
      element("span", {}, `attention ${number(patches.attention[place], 2)}`),
      contribution === undefined || contribution === null ? null
        : element("span", {}, `contribution ${contribution > 0 ? "+" : ""}${number(contribution)}`));
    const picture = element("img", { src: this.picture(place), alt: "", loading: "lazy", width: 56, height: 56 });
    const button = element("button", { type: "button", "aria-label":
      `Patch ${rank + 1}: attention ${number(patches.attention[place], 2)}${contribution === undefined || contribution === null ? "" : `, contribution ${number(contribution)}`}. Fly to it.` },
    picture, text);
    button.addEventListener("click", () => this.fly(place));
    return element("li", {}, button);
  }
}
