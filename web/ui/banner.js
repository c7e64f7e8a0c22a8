import { h } from "./dom.js";

/** @typedef {{ label: string, onPress: () => void }} Press */

/** One line above the call that stays until its cause is gone, with at most two things to press. */
export class Banner {
  #text = h("span");
  #buttons = h("span", { class: "banner-buttons" });
  /** @type {Press[]} */
  #presses = [];
  #onFocusLost;

  /**
   * @param {string} kind for the style
   * @param {() => void} onFocusLost called when it was hidden while it had the focus
   */
  constructor(kind, onFocusLost) {
    this.#onFocusLost = onFocusLost;
    this.element = h("div", { class: `banner ${kind}`, role: "alert", hidden: true }, this.#text, this.#buttons);
  }

  /**
   * @param {string} text
   * @param {...Press} presses
   */
  show(text, ...presses) {
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#presses = presses;
    for (const button of [...this.#buttons.children].slice(presses.length)) this.#drop(button);
    for (const [index, { label }] of presses.entries()) this.#button(index).textContent = label;
    this.#buttons.hidden = presses.length === 0;
    this.element.hidden = false;
  }

  hide() {
    const hadFocus = this.element.contains(document.activeElement);
    this.element.hidden = true;
    if (hadFocus) this.#onFocusLost();
  }

  /** @param {number} index */
  #button(index) {
    const known = this.#buttons.children[index];
    if (known) return known;
    const button = h("button", { type: "button", class: "plain-button", onclick: () => this.#presses[index]?.onPress() });
    this.#buttons.append(button);
    return button;
  }

  /** @param {Element} button */
  #drop(button) {
    if (button.contains(document.activeElement)) this.#onFocusLost();
    button.remove();
  }
}
