// The study's page: one threshold, chosen here, moves the figures and the table together.

import { ask, tell, number } from "./dom.js";
import { Figures } from "./figures.js";
import { Patients } from "./patients.js";

const root = document.getElementById("study");
const api = root.dataset.api;
const method = document.getElementById("method");
const cohort = document.getElementById("cohort");
const slider = document.getElementById("threshold");
const shownValue = document.getElementById("threshold-value");
const toLocked = document.getElementById("to-locked");
const problem = document.getElementById("problem");

const figures = new Figures(root);
const patients = new Patients(root);
let cuts = [];
let locked = null;
let asked = null;

const query = (values) => new URLSearchParams(values).toString();
const threshold = () => cuts[Number(slider.value)];

async function chooseCohort() {
  patients.by(method.value, method.selectedOptions[0].textContent, null);
  if (asked) asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  const values = { method: method.value, cohort: cohort.value };
  try {
    const found = await ask(`${api}/figures?${query(values)}`, { signal });
    tell(problem, null);
    figures.show(found);
    if (found.roc === undefined) return;
    locked = found.threshold;
    const seen = found.roc.points.map((point) => point[2]).filter((cut) => cut !== null);
    // Above the highest score nobody is called positive: the last step of the slider.
    const above = seen.length ? Math.min(1.0001, seen[0] + 1e-4) : 1;
    cuts = [...new Set([...seen, above, ...(locked === null ? [] : [locked])])];
    cuts.sort((a, b) => a - b);
    slider.max = String(cuts.length - 1);
    slider.value = String(locked === null ? Math.floor(cuts.length / 2) : cuts.indexOf(locked));
    toLocked.disabled = locked === null;
    toLocked.textContent = locked === null ? "No locked threshold" : `Locked threshold ${number(locked)}`;
    await chooseThreshold();
  } catch (error) {
    if (error.name !== "AbortError") tell(problem, error.message);
  }
}

async function chooseThreshold() {
  const now = threshold();
  shownValue.textContent = number(now);
  slider.setAttribute("aria-valuetext", `${number(now)}${now === locked ? ", the locked one" : ""}`);
  document.getElementById("locked-told").textContent =
    now === locked ? "is chosen" : locked === null ? "" : "is marked by a square";
  patients.by(method.value, method.selectedOptions[0].textContent, now);
  if (asked) asked.abort();
  asked = new AbortController();
  const values = { method: method.value, cohort: cohort.value, threshold: now };
  try {
    const found = await ask(`${api}/operating?${query(values)}`, { signal: asked.signal });
    tell(problem, null);
    figures.at(found);
  } catch (error) {
    if (error.name !== "AbortError") tell(problem, error.message);
  }
}

method.addEventListener("change", chooseCohort);
cohort.addEventListener("change", chooseCohort);
slider.addEventListener("input", chooseThreshold);
toLocked.addEventListener("click", () => {
  slider.value = String(cuts.indexOf(locked));
  chooseThreshold();
});

async function start() {
  const table = ask(`${api}/patients`).then(
    (found) => patients.fill(found),
    (error) => tell(problem, error.message),
  );
  await Promise.all([table, chooseCohort()]);
  document.documentElement.dataset.ready = "yes";
}

start();
