// The model is asked; until it answers, the page tells how far it is.

import { ask, element, tell } from "./dom.js";

const by = (id) => document.getElementById(id);
const EVERY_MS = 400;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Run {
  constructor(draft, asked) {
    this.draft = draft;
    this.asked = asked;
    this.running = false;
    this.draft.changed = () => this.enable();
    by("run").addEventListener("click", () => this.start());
    by("stop").addEventListener("click", () => this.stop());
  }

  async start() {
    this.show(true);
    tell(by("run-problem"), null);
    by("steps").replaceChildren();
    by("progress-told").textContent = "";
    try {
      await this.draft.send("/run", "POST", this.asked());
      await this.watch();
    } catch (error) {
      this.fail(error.message);
    }
  }

  async watch() {
    const [address, id] = [await this.draft.address("/state"), await this.draft.id()];
    for (;;) {
      const found = await ask(address);
      this.draw(found);
      if (found.state === "done") {
        by("progress-told").textContent = "Done; the result opens.";
        window.location.assign(`/new/${id}`);
        return;
      }
      if (found.state === "failed") throw new Error(found.problem);
      if (found.state === "stopped") {
        by("progress-told").textContent = "Stopped. What was given is still there.";
        this.show(false);
        return;
      }
      await pause(EVERY_MS);
    }
  }

  draw(found) {
    const waits = found.state === "waiting";
    by("progress-told").textContent = waits
      ? `Waiting: ${found.ahead} case${found.ahead === 1 ? " is" : "s are"} before this one.` : "The model works on it.";
    by("steps").replaceChildren(...found.steps.map((step) => element("li", {},
      element("span", {}, step.title),
      element("progress", { max: Math.max(step.of, 1), value: step.done, "aria-label": step.title }),
      element("span", { class: "muted small" }, `${step.done} of ${step.of}`))));
  }

  async stop() {
    by("stop").disabled = true;
    by("progress-told").textContent = "It ends before the next step.";
    try {
      await this.draft.send("/stop", "POST");
    } catch (error) {
      this.fail(error.message);
    }
  }

  fail(sentence) {
    tell(by("run-problem"), sentence);
    this.show(false);
    by("progress").hidden = true;
  }

  enable() {
    by("run").disabled = this.running || this.draft.coming > 0;
  }

  show(running) {
    this.running = running;
    this.enable();
    by("stop").hidden = !running;
    by("stop").disabled = false;
    by("progress").hidden = false;
    by("run").textContent = running ? "Running" : "Run again";
  }
}
