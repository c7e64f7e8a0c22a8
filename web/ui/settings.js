import { cleanName } from "../client/index.js";
import { DeviceLists } from "./devices.js";
import { h, icon } from "./dom.js";

/** @import { Choice, Device } from "./devices.js" */

/** Devices and name, during the call. */
export class Settings {
  #devices;
  #name = h("input", { type: "text", dir: "auto", autocomplete: "nickname" });

  /**
   * @param {object} options
   * @param {() => Choice} options.choice
   * @param {(device: Device, id: string) => void} options.onChoose
   * @param {(name: string) => void} options.onRename
   * @param {() => void} options.onFigures
   */
  constructor({ choice, onChoose, onRename, onFigures }) {
    this.#devices = new DeviceLists({ choice, onChoose });
    const close = h("button", { class: "quiet", value: "close", "aria-label": "Close settings" }, icon("close"));
    this.#name.addEventListener("change", () => {
      this.#name.value = cleanName(this.#name.value);
      if (this.#name.value) onRename(this.#name.value);
    });
    this.element = h(
      "dialog",
      { class: "settings", "aria-label": "Settings" },
      h(
        "form",
        { method: "dialog" },
        h("header", {}, h("h2", { text: "Settings" }), close),
        this.#devices.element,
        h("label", { class: "field" }, h("span", { text: "Your name" }), this.#name),
        h("button", { type: "button", class: "plain-button", onclick: onFigures }, icon("stats"), "Show or hide figures (S)"),
        // In a page of its own: the call goes on.
        h("a", { class: "plain-button", href: "check", target: "_blank", rel: "noopener" }, "Check my connection"),
        h("button", { class: "primary", value: "done", text: "Done" }),
      ),
    );
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close();
    });
  }

  /**
   * @param {string} name
   * @param {boolean} mayRename
   */
  open(name, mayRename) {
    this.#name.value = name;
    this.#name.disabled = !mayRename;
    this.#name.title = mayRename ? "" : "Your name is set by the server.";
    void this.#devices.refresh();
    this.element.showModal();
  }

  close() {
    this.#devices.close();
    this.element.remove();
  }
}
