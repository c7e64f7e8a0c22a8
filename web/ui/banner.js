import { h } from "./dom.js";

/** One line above the call that stays until its cause is gone, with at most one thing to press. */
export class Banner {
  #text = h("span");
  #button = h("button", { type: "button", class: "plain-button" });
  #onFocusLost;
  /** @type {() => void} */
  #onPress = () => {};

  /**
   * @param {string} kind for the style
   * @param {() => void} onFocusLost called when it was hidden while it had the focus
   */
  constructor(kind, onFocusLost) {
    this.#onFocusLost = onFocusLost;
    this.#button.addEventListener("click", () => this.#onPress());
    this.element = h("div", { class: `banner ${kind}`, role: "alert", hidden: true }, this.#text, this.#button);
  }

  /**
   * @param {string} text
   * @param {{ label: string, onPress: () => void }} [action]
   */
  show(text, action) {
    if (this.#text.textContent !== text) this.#text.textContent = text;
    if (!action && this.#button.contains(document.activeElement)) this.#onFocusLost();
    this.#button.hidden = !action;
    this.#button.textContent = action?.label ?? "";
    this.#onPress = action?.onPress ?? (() => {});
    this.element.hidden = false;
  }

  hide() {
    const hadFocus = this.element.contains(document.activeElement);
    this.element.hidden = true;
    if (hadFocus) this.#onFocusLost();
  }
}
