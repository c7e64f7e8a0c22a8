import { h } from "./dom.js";

/** One line above the call that stays until its cause is gone, with at most one thing to press. */
export class Banner {
  #text = h("span");
  #button = h("button", { type: "button", class: "plain-button" });
  /** @type {() => void} */
  #onPress = () => {};

  /** @param {string} kind for the style */
  constructor(kind) {
    this.#button.addEventListener("click", () => this.#onPress());
    this.element = h("div", { class: `banner ${kind}`, role: "alert", hidden: true }, this.#text, this.#button);
  }

  /**
   * @param {string} text
   * @param {string} label
   * @param {() => void} onPress
   */
  show(text, label, onPress) {
    this.#text.textContent = text;
    this.#button.textContent = label;
    this.#onPress = onPress;
    this.element.hidden = false;
  }

  hide() {
    this.element.hidden = true;
  }
}
