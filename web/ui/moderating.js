import { Banner } from "./banner.js";
import { h, icon } from "./dom.js";
import { OWN_TILE } from "./people.js";
import { PeoplePanel } from "./people-panel.js";
import { explainWaiting, isolated, sentence } from "./words.js";

/**
 * @import { ModeratedEvent, Room, Rules } from "../client/index.js"
 * @import { Controls } from "./controls.js"
 * @import { Grid } from "./grid.js"
 * @import { OwnMedia } from "./own.js"
 * @import { Toasts } from "./toasts.js"
 */

/** Time for which a request to unmute is shown. */
const ASK_MS = 60_000;

/**
 * Moderation in the page: the panel of the people, the rules in force, raised hands, and what a moderator asks of us or
 * does to us.
 */
export class Moderating {
  #room;
  #own;
  #grid;
  #toasts;
  #controls;
  #onChat;
  #banner;
  /** The number of people who wait to be let in. */
  #badge = h("span", { class: "people-badge", hidden: true });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #asked;
  #isOver = false;
  /** @type {Readonly<Rules> | null} as last shown */
  #shown = null;
  /** @type {ReadonlySet<string>} ids of those who wait, as last told */
  #waiting = new Set();
  /** @type {(() => void)[]} */
  #stops;

  /** The rules in force, in a word each. */
  notes = h("span", { class: "rule-notes", role: "status" });

  /**
   * @param {object} parts
   * @param {Room} parts.room
   * @param {string} parts.link to the room, for others
   * @param {OwnMedia} parts.own
   * @param {Grid} parts.grid
   * @param {Toasts} parts.toasts
   * @param {Controls} parts.controls
   * @param {HTMLElement} parts.count the number of people
   * @param {() => void} parts.onPress of the button that opens the panel
   * @param {(may: boolean, why: string) => void} parts.onChat whether we may write
   * @param {() => void} parts.onFocusLost
   */
  constructor({ room, link, own, grid, toasts, controls, count, onPress, onChat, onFocusLost }) {
    this.#room = room;
    this.#own = own;
    this.#grid = grid;
    this.#toasts = toasts;
    this.#controls = controls;
    this.#onChat = onChat;
    this.#banner = new Banner("ask", onFocusLost);
    const notice = (/** @type {string} */ text) => toasts.notice(text);
    this.panel = new PeoplePanel({ room, link, notice, onClose: () => this.toggle(false), doing: (act) => void this.#do(act) });
    this.button = h("button", { type: "button", class: "people-button", "aria-expanded": "false", onclick: onPress }, icon("people"), count, this.#badge);
    this.#showBadge();
    const update = () => this.panel.update();
    this.#stops = [
      ...(/** @type {const} */ ([
        "participantJoined",
        "participantUpdated",
        "participantLeft",
        "trackPublished",
        "trackUpdated",
        "trackUnpublished",
      ])).map((name) => room.on(name, update)),
      room.on("stateChanged", ({ state }) => state === "connected" && this.#showAll()),
      room.on("permissionsChanged", ({ moderate }) => {
        if (moderate) toasts.notice("You moderate this call now.");
        this.#showAll();
      }),
      room.on("rulesChanged", ({ by, isRestored }) => this.#rulesChanged(isRestored ? null : by)),
      room.on("handsChanged", (change) => {
        this.#showHands();
        const isOwn = change.participantId === room.participantId;
        if (change.raised && !isOwn) toasts.notice(`${this.#name(change.participantId)} raised a hand`);
        if (change.by && isOwn) toasts.notice(`${this.#name(change.by)} lowered your hand`);
      }),
      room.on("waitingChanged", (waiting) => this.#waitingChanged(waiting)),
      room.on("moderated", (event) => this.#moderated(event)),
      own.on("changed", () => own.microphoneOn && this.#answerAsk()),
    ];
  }

  get banner() {
    return this.#banner.element;
  }

  get isOpen() {
    return this.panel.isOpen;
  }

  close() {
    this.#isOver = true;
    clearTimeout(this.#asked);
    for (const stop of this.#stops) stop();
    this.panel.close();
  }

  /** @param {boolean} open */
  toggle(open) {
    const hadFocus = this.panel.element.contains(document.activeElement);
    this.panel.toggle(open);
    this.button.setAttribute("aria-expanded", String(open));
    if (!open && hadFocus) this.button.focus();
  }

  toggleHand() {
    const { moderation } = this.#room;
    // Without a connection the hands are those of before, and the second press is to undo the first.
    void this.#do(() => moderation.raiseHand(!moderation.isHandRaised));
  }

  get #isRaised() {
    return this.#room.moderation.hands.includes(this.#room.participantId ?? "");
  }

  /** @param {() => Promise<unknown>} act */
  async #do(act) {
    try {
      await act();
    } catch (error) {
      if (!this.#isOver) this.#toasts.problem(sentence(error));
    }
  }

  /** @param {string | null} id */
  #name(id) {
    if (id === this.#room.participantId) return "You";
    return isolated(this.#room.participants.get(id ?? "")?.name ?? "Somebody");
  }

  #showAll() {
    this.#showRules();
    this.#showHands();
    this.panel.update();
  }

  #showBadge() {
    const waiting = this.#waiting.size;
    this.#badge.hidden = waiting === 0;
    this.#badge.textContent = String(waiting);
    this.button.title = waiting === 0 ? "People (P)" : `People (P), ${waiting} waiting to be let in`;
  }

  /** @param {string | null} by whoever has decided so; null: nobody has */
  #rulesChanged(by) {
    const before = this.#shown;
    const { rules } = this.#room.moderation;
    this.#showRules();
    if (!by || !before) return;
    const who = this.#name(by);
    if (rules.locked !== before.locked) this.#toasts.notice(`${who} ${rules.locked ? "locked" : "unlocked"} the room`);
    if (rules.waitingRoom !== before.waitingRoom) {
      this.#toasts.notice(`${who} turned the waiting room ${rules.waitingRoom ? "on" : "off"}`);
    }
    if (rules.chat !== before.chat) this.#toasts.notice(`${who} turned the chat ${rules.chat ? "on" : "off"}`);
  }

  #showRules() {
    const { moderation, permissions } = this.#room;
    const { rules } = moderation;
    this.#shown = rules;
    this.notes.replaceChildren(
      ...[rules.locked && "Locked", rules.waitingRoom && "Waiting room", !rules.chat && "Chat off"]
        .filter((words) => words !== false)
        .map((text) => h("span", { class: "rule-note", text })),
    );
    if (!permissions.chat) this.#onChat(false, "You may not write in this room.");
    else this.#onChat(rules.chat || permissions.moderate, "Only moderators may write now.");
    this.panel.update();
  }

  #showHands() {
    const { hands } = this.#room.moderation;
    for (const tile of this.#grid.tiles) {
      const id = tile.id === OWN_TILE ? (this.#room.participantId ?? "") : tile.id;
      tile.setHand(hands.indexOf(id) + 1);
    }
    this.#controls.showHand(this.#isRaised);
    this.panel.update();
  }

  /** @param {ReadonlyMap<string, string>} waiting names by id */
  #waitingChanged(waiting) {
    const names = [...waiting].filter(([id]) => !this.#waiting.has(id)).map(([, name]) => name);
    if (names.length > 0) this.#toasts.notice(explainWaiting(names));
    this.#waiting = new Set(waiting.keys());
    this.#showBadge();
    this.panel.update();
  }

  /** @param {ModeratedEvent} event */
  #moderated({ action, by, participantId, trackId }) {
    if (participantId !== this.#room.participantId) return;
    const who = this.#name(by);
    if (action === "mute") {
      const what = this.#own.silenced(trackId);
      if (what) this.#toasts.problem(`${who} turned your ${what} off.`);
    } else if (action === "ask_unmute") {
      this.#banner.show(
        `${who} asks you to turn your microphone on.`,
        { label: "Turn it on", onPress: () => void this.#own.setMicrophone(true) },
        { label: "Not now", onPress: () => this.#answerAsk() },
      );
      clearTimeout(this.#asked);
      this.#asked = setTimeout(() => this.#answerAsk(), ASK_MS);
    }
  }

  #answerAsk() {
    clearTimeout(this.#asked);
    this.#banner.hide();
  }
}
