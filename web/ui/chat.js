import { lengthOf } from "../client/index.js";
import { h, icon } from "./dom.js";
import { explainLength, hueOf, WAITING_WORDS } from "./words.js";

/** @import { ChatMessage } from "../client/index.js" */

/** Messages of one person this close together share one name and time. */
const GROUP_MS = 120_000;
/** A message that takes longer to get to the others is shown meanwhile. */
const WAITING_MS = 700;

/** The chat panel and its count of unread messages. */
export class Chat {
  /** The list stands inside a log: one element cannot have both roles. */
  #list = h("ol", { role: "list" });
  #log = h("div", { class: "chat-log", role: "log", "aria-label": "Messages", tabindex: "0" }, this.#list);
  #empty = h("p", { class: "chat-empty", text: "Nothing written yet. Who joins later sees the last messages." });
  #input = h("textarea", {
    class: "chat-input",
    rows: "1",
    placeholder: "Write to everyone",
    "aria-label": "Message",
    dir: "auto",
    autocomplete: "off",
    enterkeyhint: "send",
  });
  /** Words about the length of what is written, while it is near the limit or above. */
  #length = h("p", { class: "chat-length", role: "status", hidden: true });
  #submit = h("button", { class: "round send", "aria-label": "Send" }, icon("send"));
  #onUnread;
  #isOwn;
  #unread = 0;
  /** Unicode code points of a message; 0: not known yet. */
  #limit = 0;
  /** @type {ChatMessage | null} */
  #last = null;

  /**
   * @param {object} options
   * @param {(text: string) => Promise<boolean>} options.onSend false keeps the text to try again
   * @param {(unread: number) => void} options.onUnread
   * @param {() => void} options.onClose
   * @param {(participantId: string) => boolean} options.isOwn
   */
  constructor({ onSend, onUnread, onClose, isOwn }) {
    this.#onUnread = onUnread;
    this.#isOwn = isOwn;
    const form = h("form", { class: "chat-form" }, this.#length, this.#input, this.#submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send(onSend);
    });
    this.#input.addEventListener("input", () => this.#measure());
    this.#input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
      if (event.key === "Escape") onClose();
    });
    const close = h("button", { type: "button", class: "quiet", "aria-label": "Close chat", onclick: onClose }, icon("close"));
    this.element = h(
      "aside",
      { class: "chat", "aria-label": "Chat", hidden: true },
      h("header", {}, h("h2", { text: "Chat" }), close),
      this.#empty,
      this.#log,
      form,
    );
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** @param {number} characters */
  set limit(characters) {
    this.#limit = characters;
    this.#measure();
  }

  /**
   * @param {boolean} allowed whether we may write
   * @param {string} why we may not
   */
  allow(allowed, why) {
    this.#input.disabled = !allowed;
    this.#submit.disabled = !allowed;
    this.#input.placeholder = allowed ? "Write to everyone" : why;
  }

  /** @param {boolean} open */
  toggle(open) {
    this.element.hidden = !open;
    if (!open) return;
    this.#count(0);
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#input.focus();
  }

  /** @param {ChatMessage} message */
  add(message) {
    const follows = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
    const own = this.#isOwn(message.participant);
    this.#empty.hidden = true;
    this.#list.append(this.#entry(message, own));
    this.#last = message;
    if (follows || own) this.#log.scrollTop = this.#log.scrollHeight;
    if (!this.isOpen && !own) this.#count(this.#unread + 1);
  }

  /**
   * @param {ChatMessage} message
   * @param {boolean} own
   */
  #entry(message, own) {
    const last = this.#last;
    const grouped = last?.participant === message.participant && message.atMs - last.atMs < GROUP_MS;
    const time = new Date(message.atMs);
    const head = h(
      "p",
      { class: "chat-head" },
      h("b", {}, h("bdi", { text: message.name }), own && " (you)"),
      h("time", { datetime: time.toISOString(), text: time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) }),
    );
    head.style.setProperty("--hue", String(hueOf(message.name)));
    const entry = h("li", { class: own ? "chat-entry own" : "chat-entry" }, !grouped && head);
    entry.append(h("p", { class: "chat-text", dir: "auto" }, ...withLinks(message.text)));
    return entry;
  }

  /** @param {(text: string) => Promise<boolean>} onSend */
  async #send(onSend) {
    const text = this.#input.value.trim();
    if (!text || this.#isTooLong) return;
    this.#write("");
    const waiting = h("li", { class: "chat-entry own waiting" }, h("p", { class: "chat-text", dir: "auto", text }), h("p", { class: "chat-waiting", text: WAITING_WORDS }));
    const timer = setTimeout(() => this.#showWaiting(waiting), WAITING_MS);
    const isSent = await onSend(text);
    clearTimeout(timer);
    waiting.remove();
    if (!isSent && !this.#input.value) this.#write(text);
  }

  /** @param {HTMLElement} entry of a message that has not got to the others yet */
  #showWaiting(entry) {
    this.#empty.hidden = true;
    this.#list.append(entry);
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** @param {string} text */
  #write(text) {
    this.#input.value = text;
    this.#measure();
  }

  get #isTooLong() {
    return this.#limit > 0 && lengthOf(this.#input.value.trim()) > this.#limit;
  }

  /** A text that is too long is kept: its writer knows best where to shorten it. */
  #measure() {
    const words = explainLength(lengthOf(this.#input.value.trim()), this.#limit);
    this.#length.textContent = words;
    this.#length.hidden = words === "";
    this.#length.classList.toggle("over", this.#isTooLong);
    this.#submit.disabled = this.#isTooLong;
    this.#input.setAttribute("aria-invalid", String(this.#isTooLong));
  }

  /** @param {number} unread */
  #count(unread) {
    this.#unread = unread;
    this.#onUnread(unread);
  }
}

/**
 * @param {string} text
 * @returns {(string | HTMLElement)[]} the text, its web addresses as links
 */
function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"\p{Cc}\p{Cf}]+[^\s<>".,;:!?)\]\p{Cc}\p{Cf}])/u).map((part, index) => {
    if (index % 2 === 0) return part;
    return h("a", { href: part, target: "_blank", rel: "noopener noreferrer", text: part });
  });
}
