import { action, certain, setting } from "./buttons.js";
import { h, icon } from "./dom.js";
import { Invitations } from "./invitations.js";
import { explainEntry } from "./words.js";

/** @import { RemoteTrack, Room } from "../client/index.js" */

/**
 * @typedef {object} Doing
 * @property {(act: () => Promise<unknown>) => void} doing does what a moderator wants, and tells why it failed
 */

/** The people of the call: who has a hand up, who waits, and for a moderator everything to be done about them. */
export class PeoplePanel {
  #room;
  #doing;
  #list = h("ul", { class: "people-list", role: "list" });
  #waitingList = h("ul", { class: "people-list", role: "list" });
  #waiting = h("section", { class: "people-waiting", "aria-label": "Waiting to be let in", hidden: true }, h("h3", { text: "Waiting to be let in" }), this.#waitingList);
  #rules;
  #entry = h("p", { class: "people-entry", hidden: true });
  #invitations;
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #asked = 0;

  /** @param {{ room: Room, link: string, notice: (text: string) => void, onClose: () => void } & Doing} options `link`: to the room */
  constructor({ room, link, notice, onClose, doing }) {
    this.#room = room;
    this.#doing = doing;
    this.#rules = new RulesForm({ room, doing });
    this.#invitations = new Invitations({ room, link, notice, doing });
    const close = h("button", { type: "button", class: "quiet", "aria-label": "Close people", onclick: onClose }, icon("close"));
    this.element = h(
      "aside",
      { class: "people-panel", "aria-label": "People", hidden: true },
      h("header", {}, h("h2", { text: "People", tabindex: "-1" }), close),
      this.#rules.element,
      this.#entry,
      this.#waiting,
      this.#invitations.element,
      this.#list,
    );
    this.element.addEventListener("keydown", ({ key }) => key === "Escape" && onClose());
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** @param {boolean} open */
  toggle(open) {
    this.element.hidden = !open;
    if (!open) return this.#invitations.fold();
    this.#show();
    this.element.querySelector("h2")?.focus();
  }

  /** Shows where invitations are made. */
  invite() {
    this.#invitations.unfold();
  }

  /** Shows the room as it is now, once for all changes of a moment. */
  update() {
    if (!this.isOpen || this.#asked) return;
    this.#asked = requestAnimationFrame(() => {
      this.#asked = 0;
      this.#show();
    });
  }

  close() {
    cancelAnimationFrame(this.#asked);
  }

  #show() {
    const { access, moderation, participantId, participants, permissions, name } = this.#room;
    const may = permissions.moderate;
    this.#rules.show(may);
    const entry = explainEntry(access, may);
    this.#entry.hidden = entry === "";
    if (this.#entry.textContent !== entry) this.#entry.textContent = entry;
    this.#invitations.show(may);
    this.#showWaiting(may ? moderation.waiting : new Map());
    const { hands } = moderation;
    const people = [{ id: participantId ?? "", name, tracks: new Map(), own: true }, ...[...participants.values()].map((each) => ({ ...each, own: false }))];
    const place = (/** @type {string} */ id) => (hands.includes(id) ? hands.indexOf(id) : hands.length);
    people.sort((one, other) => place(one.id) - place(other.id));
    for (const [id, row] of this.#rows) {
      if (people.some((person) => person.id === id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    for (const [index, person] of people.entries()) {
      const row = this.#rows.get(person.id) ?? new Row({ room: this.#room, id: person.id, own: person.own, doing: this.#doing });
      this.#rows.set(person.id, row);
      row.show({ name: person.name, tracks: person.tracks, hand: hands.indexOf(person.id) + 1, may });
      // What stands right is left: moved, it would lose the focus.
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    }
  }

  /** @param {ReadonlyMap<string, string>} waiting */
  #showWaiting(waiting) {
    this.#waiting.hidden = waiting.size === 0;
    for (const item of [...this.#waitingList.children]) {
      if (!waiting.has(item.getAttribute("data-person") ?? "")) item.remove();
    }
    for (const [id, name] of waiting) {
      if (this.#waitingList.querySelector(`[data-person="${CSS.escape(id)}"]`)) continue;
      const { moderation } = this.#room;
      this.#waitingList.append(
        h(
          "li",
          { "data-person": id },
          h("bdi", { text: name }),
          action("admit", "Let in", () => this.#doing(() => moderation.admit(id))),
          action("deny", "Send away", () => this.#doing(() => moderation.deny(id))),
        ),
      );
    }
  }
}

/** The rules of the room, to be set by a moderator. */
class RulesForm {
  #lock;
  #waitingRoom;
  #chat;
  #room;

  /** @param {{ room: Room } & Doing} options */
  constructor({ room, doing }) {
    const { moderation } = room;
    this.#room = room;
    this.#lock = setting("lock", "Lock the room", () => doing(() => moderation.setLocked(!moderation.rules.locked)));
    this.#waitingRoom = setting("waiting_room", "Waiting room", () => doing(() => moderation.setWaitingRoom(!moderation.rules.waitingRoom)));
    this.#chat = setting("chat", "Chat for everybody", () => doing(() => moderation.setChat(!moderation.rules.chat)));
    const end = certain("end", "End for everybody", () => doing(() => moderation.end()));
    this.element = h("section", { class: "people-rules", "aria-label": "Rules of the room", hidden: true }, this.#lock, this.#waitingRoom, this.#chat, end);
  }

  /** @param {boolean} may */
  show(may) {
    this.element.hidden = !may;
    const { locked, waitingRoom, chat } = this.#room.moderation.rules;
    this.#lock.setAttribute("aria-checked", String(locked));
    this.#waitingRoom.setAttribute("aria-checked", String(waitingRoom));
    this.#chat.setAttribute("aria-checked", String(chat));
  }
}

/** One person. */
class Row {
  #name = h("bdi");
  #hand = h("span", { class: "people-hand", hidden: true });
  #silent = h("span", { class: "people-silent", title: "Microphone off", hidden: true }, icon("microphone-off"));
  #buttons;
  #microphone;
  #camera;
  #screen;
  #lower;
  #own;
  /** @type {{ microphone?: RemoteTrack, camera?: RemoteTrack, screen?: RemoteTrack }} */
  #tracks = {};

  /** @param {{ room: Room, id: string, own: boolean } & Doing} options */
  constructor({ room, id, own, doing }) {
    const { moderation } = room;
    this.#own = own;
    this.#microphone = action("mute", "Mute", () => {
      const { microphone } = this.#tracks;
      doing(() => (microphone && !microphone.muted ? moderation.mute(microphone.id) : moderation.askToUnmute(id)));
    });
    this.#camera = action("camera", "Turn camera off", () => {
      const { camera } = this.#tracks;
      if (camera) doing(() => moderation.mute(camera.id));
    });
    this.#screen = action("screen", "Stop their screen", () => {
      const { screen } = this.#tracks;
      if (screen) doing(() => moderation.mute(screen.id));
    });
    this.#lower = action("lower_hand", "Lower hand", () => doing(() => (own ? moderation.raiseHand(false) : moderation.lowerHand(id))));
    this.#buttons = h(
      "div",
      { class: "people-buttons" },
      this.#lower,
      !own && this.#microphone,
      !own && this.#camera,
      !own && this.#screen,
      !own && certain("remove", "Remove", () => doing(() => moderation.remove(id))),
      !own && certain("ban", "Ban", () => doing(() => moderation.ban(id))),
    );
    this.element = h("li", { "data-person": id }, this.#hand, this.#name, own && h("span", { text: "(you)" }), this.#silent, this.#buttons);
  }

  /** @param {{ name: string, tracks: ReadonlyMap<string, RemoteTrack>, hand: number, may: boolean }} person `hand`: its place, 0 if it is down */
  show({ name, tracks, hand, may }) {
    if (this.#name.textContent !== name) this.#name.textContent = name;
    const all = [...tracks.values()];
    const microphone = all.find(({ kind, source }) => kind === "audio" && source !== "screenAudio");
    const camera = all.find(({ kind, source }) => kind === "video" && source !== "screen");
    const screen = all.find(({ source }) => source === "screen");
    this.#tracks = { microphone, camera, screen };
    const isHeard = microphone !== undefined && !microphone.muted;
    this.#hand.hidden = hand === 0;
    this.#hand.replaceChildren(icon("hand"), String(hand));
    this.#hand.setAttribute("aria-label", `Hand raised, number ${hand}`);
    this.#silent.hidden = this.#own || isHeard;
    this.#buttons.hidden = !may && !(this.#own && hand > 0);
    this.#lower.hidden = hand === 0;
    this.#microphone.textContent = isHeard ? "Mute" : "Ask to unmute";
    this.#microphone.dataset.act = isHeard ? "mute" : "ask_unmute";
    this.#camera.hidden = !camera || camera.muted;
    this.#screen.hidden = !screen || screen.muted;
  }
}
