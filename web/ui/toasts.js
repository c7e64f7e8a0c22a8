import { h, icon } from "./dom.js";

/** Long enough to read a sentence; a problem stays until there was time to look up from something else. */
const NOTICE_MS = 4_000;
const PROBLEM_MS = 12_000;
/** More at once would cover the call. */
const MOST = 3;

/** Short messages in a corner, read out by screen readers. */
export class Toasts {
  element = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

  /** @param {string} text */
  notice(text) {
    this.#show(text, "notice", NOTICE_MS);
  }

  /** @param {string} text of a chat message, shown while the chat is closed */
  chat(text) {
    this.#show(text, "chat-notice", NOTICE_MS);
  }

  dropChat() {
    for (const toast of this.element.querySelectorAll(".chat-notice")) toast.remove();
  }

  /** @param {string} text */
  problem(text) {
    this.#show(text, "problem", PROBLEM_MS);
  }

  /**
   * @param {string} text
   * @param {string} kind
   * @param {number} lifetime
   */
  #show(text, kind, lifetime) {
    for (const shown of [...this.element.children]) {
      if (shown.firstChild?.textContent === text) shown.remove();
    }
    const dismiss = h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => toast.remove() }, icon("close"));
    const toast = h("div", { class: `toast ${kind}` }, h("span", { text }), dismiss);
    this.element.append(toast);
    while (this.element.children.length > MOST) this.element.firstElementChild?.remove();
    setTimeout(() => toast.remove(), lifetime);
  }
}
