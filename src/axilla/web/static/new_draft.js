// The case on the server, made when the first thing is given to it.

import { ask } from "./dom.js";

export class Draft {
  constructor() {
    this.made = null;
    this.coming = 0;
    this.changed = () => {};
  }

  // While a file is on its way the model cannot be asked: it would be asked without it.
  async bring(work) {
    this.coming += 1;
    this.changed();
    try {
      return await work();
    } finally {
      this.coming -= 1;
      this.changed();
    }
  }

  async id() {
    this.made ??= ask("/api/new", { method: "POST" }).catch((error) => {
      this.made = null;
      throw error;
    });
    return (await this.made).case;
  }

  async address(rest) {
    return `/api/new/${await this.id()}${rest}`;
  }

  // Once only: what changes something is not sent again by itself.
  async send(rest, method, content = null) {
    const options = content === null ? { method }
      : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(content) };
    return ask(await this.address(rest), options, 1);
  }
}
