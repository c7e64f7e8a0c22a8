import { h, icon } from "./dom.js";
import { explainEntry } from "./words.js";

/** @import { Room } from "../client/index.js" */

/** @typedef {"link" | "invitation" | "nothing"} Means what brings others into the call, from us */

/**
 * @param {Pick<Room, "access" | "permissions">} room
 * @returns {Means}
 */
export function meansOf({ access, permissions }) {
  // There the link alone lets nobody in.
  if (access !== "tokens") return "link";
  return permissions.moderate ? "invitation" : "nothing";
}

/** @param {string} link @returns {boolean} whether it leads nowhere on any other computer */
export function isLocalLink(link) {
  const { hostname } = new URL(link);
  return /^(127(\.\d+){3}|\[::1\]|(.+\.)?localhost)$/.test(hostname);
}

/** The ways to bring others into the call: a button above it, and a sentence while nobody else is there. */
export class Inviting {
  #room;
  #link;
  #notice;
  #onInvite;
  #words = h("span");
  /** @type {Means | null} as shown */
  #shown = null;

  button = h("button", { type: "button", class: "plain-button copy", onclick: () => this.#act() }, icon("link"), this.#words);
  alone = h("p", { class: "alone", hidden: true });

  /**
   * @param {object} parts
   * @param {Room} parts.room
   * @param {string} parts.link to the room, for others
   * @param {(text: string) => void} parts.notice
   * @param {() => void} parts.onInvite shows where invitations are made
   */
  constructor({ room, link, notice, onInvite }) {
    this.#room = room;
    this.#link = link;
    this.#notice = notice;
    this.#onInvite = onInvite;
    this.show(0);
  }

  /** @param {number} count of people, ourselves included */
  show(count) {
    const { state } = this.#room;
    this.alone.hidden = count > 1 || state !== "connected";
    const means = meansOf(this.#room);
    if (means === this.#shown) return;
    this.#shown = means;
    this.button.hidden = means === "nothing";
    this.#words.textContent = means === "invitation" ? "Invite" : "Copy link";
    this.button.title = this.#words.textContent;
    this.alone.replaceChildren("Nobody else is here yet. ", ...this.#advice(means));
  }

  /** @param {Means} means */
  #advice(means) {
    const act = (/** @type {string} */ text) => h("button", { type: "button", class: "link", text, onclick: () => this.#act() });
    if (means === "link") return [act("Copy the link"), " and send it to someone.", isLocalLink(this.#link) ? ` Its address works on this computer only: to invite others, open this page by a name or an address that they can reach, over https.` : ""];
    return means === "invitation" ? [act("Invite"), " someone."] : [explainEntry("tokens", false)];
  }

  #act() {
    if (this.#shown === "invitation") this.#onInvite();
    else void this.#copy();
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#link);
      const more = [this.#room.isEncrypted && "Whoever has it can join and decrypt the call.", isLocalLink(this.#link) && "It works on this computer only."];
      this.#notice(["The link is copied.", ...more].filter(Boolean).join(" "));
    } catch {
      this.#notice(this.#link);
    }
  }
}
