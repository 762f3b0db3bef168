// The case on the server, made when the first thing is given to it.

import { ask } from "./dom.js";

export class Draft {
  constructor() {
    this.made = null;
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

  async send(rest, method, content = null) {
    const options = content === null ? { method }
      : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(content) };
    return ask(await this.address(rest), options, 1);
  }
}
