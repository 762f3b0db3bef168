// Small helpers. Whatever comes from data becomes text, never markup.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function drawn(tag, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== null) made.textContent = text;
  return made;
}

export class Told extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

const NO_ANSWER = "The server does not answer: was `axilla serve` stopped? Start it and reload.";
const TRIES = 8;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// What the server answers; its problems as sentences. Busy is asked again, a few times.
async function answered(address, options, tries) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Told(NO_ANSWER, 0);
  }
  if (response.status === 503 && tries > 1) {
    await pause(1000 * Number(response.headers.get("retry-after") ?? 1));
    return answered(address, options, tries - 1);
  }
  if (response.ok) return response;
  const problem = await response.json().then((said) => said.problem, () => null);
  throw new Told(problem ?? `The server cannot answer (error ${response.status}).`, response.status);
}

export async function ask(address, options = {}, tries = TRIES) {
  return (await answered(address, options, tries)).json();
}

export async function askBlob(address, options = {}) {
  return (await answered(address, options, TRIES)).blob();
}

export function tell(box, sentence) {
  box.textContent = sentence ?? "";
  box.hidden = !sentence;
}

export const number = (value, digits = 3) =>
  value === null || value === undefined ? "–" : value.toFixed(digits);

export const share = (estimate, digits = 1) =>
  estimate.value === null ? "–" : `${(100 * estimate.value).toFixed(digits)}%`;

export function range(estimate, factor = 100, digits = 1) {
  if (estimate.low === null || estimate.high === null) return estimate.reason ?? "";
  return `${(factor * estimate.low).toFixed(digits)} to ${(factor * estimate.high).toFixed(digits)}`;
}
