import { h, icon } from "./dom.js";

/** Long enough to read a sentence; a problem stays until there was time to look up from something else. */
const NOTICE_MS = 4_000;
const PROBLEM_MS = 12_000;
/** Most messages at once: more would leave the call no room. */
const MOST = 3;

/**
 * Short messages, read out by screen readers. Problems have a row of their own above the call; notices, of which the
 * latest is enough, stand beside the title. So neither covers a face or a name, of a person or of the call.
 */
export class Toasts {
  problems = h("div", { class: "toasts problems", role: "status", "aria-live": "polite" });
  notices = h("div", { class: "toasts notices", role: "status", "aria-live": "polite" });
  #onFocusLost;

  /** @param {() => void} onFocusLost a message had the focus when it went */
  constructor(onFocusLost) {
    this.#onFocusLost = onFocusLost;
  }

  /** @param {string} text */
  notice(text) {
    this.#show(this.notices, 1, text, "notice", NOTICE_MS);
  }

  /** @param {string} text of a chat message, shown while the chat is closed */
  chat(text) {
    this.#show(this.notices, 1, text, "chat-notice", NOTICE_MS);
  }

  dropChat() {
    for (const toast of this.notices.querySelectorAll(".chat-notice")) this.#remove(toast);
  }

  /** @param {string} text */
  problem(text) {
    this.#show(this.problems, MOST, text, "problem", PROBLEM_MS);
  }

  /**
   * @param {HTMLElement} place
   * @param {number} most at once
   * @param {string} text
   * @param {string} kind
   * @param {number} lifetime
   */
  #show(place, most, text, kind, lifetime) {
    for (const shown of [...place.children]) {
      if (shown.firstChild?.textContent === text) this.#remove(shown);
    }
    const dismiss = h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => this.#remove(toast) }, icon("close"));
    const toast = h("div", { class: `toast ${kind}` }, h("span", { text, dir: "auto" }), dismiss);
    place.append(toast);
    while (place.children.length > most && place.firstElementChild) this.#remove(place.firstElementChild);
    setTimeout(() => this.#remove(toast), lifetime);
  }

  /** @param {Element} toast */
  #remove(toast) {
    const hadFocus = toast.contains(document.activeElement);
    toast.remove();
    if (hadFocus) this.#onFocusLost();
  }
}
