// The page of a case that is done: deleting it before its time.

import { ask, tell } from "./dom.js";

const root = document.getElementById("case");
document.getElementById("delete").addEventListener("click", async () => {
  try {
    await ask(root.dataset.api, { method: "DELETE" });
    window.location.replace("/new");
  } catch (error) {
    tell(document.getElementById("delete-problem"), error.message);
  }
});
