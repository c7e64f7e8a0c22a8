import { cut, listDevices } from "../client/index.js";
import { Banner } from "./banner.js";
import { Chat } from "./chat.js";
import { Controls } from "./controls.js";
import { h, icon } from "./dom.js";
import { Figures } from "./figures.js";
import { Grid } from "./grid.js";
import { Inviting } from "./inviting.js";
import { KeyWarning } from "./key-warning.js";
import { Link } from "./link.js";
import { Meter } from "./meter.js";
import { Moderating } from "./moderating.js";
import { countOf, People } from "./people.js";
import { savePreferences } from "./preferences.js";
import { Settings } from "./settings.js";
import { Shown } from "./shown.js";
import { Sound } from "./sound.js";
import { Toasts } from "./toasts.js";
import { explainReconnecting, isolated, LINK_HINTS, LINK_WORDS, sentence } from "./words.js";

/**
 * @import { Device } from "./devices.js"
 * @import { Room, StateChange } from "../client/index.js"
 * @import { OwnMedia } from "./own.js"
 */

/** The page during a call. It follows the room from before it is joined until it is closed. */
export class Call {
  #room;
  #own;
  #speaker;
  #roomName;
  #title = h("h1", { tabindex: "-1" });
  #toasts = new Toasts(() => this.focus());
  #meter = new Meter();
  #grid = new Grid();
  #sound;
  #people;
  #figures;
  #shown;
  #chat;
  #controls;
  #moderating;
  #settings;
  #link;
  #linkState = h("span", { class: "link-state", role: "status" });
  #connectionBanner = new Banner("trouble", () => this.focus());
  #soundBanner = new Banner("hint", () => this.focus());
  #deviceBanner = new Banner("hint", () => this.focus());
  #keyWarning;
  /** The reason for the present reconnection. */
  #reason = "";
  #count = h("span", { class: "count" });
  #open = h("span", { class: "open-note", hidden: true, text: "Open: anybody with the link can join", title: "This server asks nobody for an access token." });
  #lock = h("span", { class: "lock", hidden: true, title: "Sound and pictures are encrypted from person to person: the server cannot see or hear them. The chat is not." }, icon("lock"), "Encrypted");
  #inviting;
  /** @type {(() => void)[]} */
  #stops = [];

  /**
   * @param {object} parts
   * @param {Room} parts.room
   * @param {string} parts.roomName
   * @param {string} parts.link for others
   * @param {OwnMedia} parts.own
   * @param {string} parts.speaker
   * @param {(() => void) | null} parts.onRetryPassphrase null if none was typed
   */
  constructor({ room, roomName, link, own, speaker, onRetryPassphrase }) {
    this.#room = room;
    this.#own = own;
    this.#speaker = speaker;
    this.#roomName = roomName;
    this.#link = new Link(room);
    this.#keyWarning = new KeyWarning({ room, own, onFocusLost: () => this.focus(), onRetry: onRetryPassphrase });
    this.#grid.onFocusLost = () => this.focus();
    this.#sound = new Sound({ speaker, onBlocked: (blocked) => this.#showSoundBlocked(blocked) });
    this.#chat = new Chat({
      onSend: (text) => this.#send(text),
      onUnread: (unread) => this.#controls.showUnread(unread),
      onClose: () => this.#toggleChat(false),
      isOwn: (id) => id === room.participantId,
    });
    this.#controls = new Controls({
      toggleMicrophone: () => void own.toggleMicrophone(),
      toggleCamera: () => void own.toggleCamera(),
      toggleScreen: () => void own.toggleScreen(),
      toggleHand: () => this.#moderating.toggleHand(),
      toggleChat: () => this.#toggleChat(!this.#chat.isOpen),
      openSettings: () => this.#settings.open(room.name, room.permissions.update),
      leave: () => room.leave(),
    });
    this.#settings = new Settings({
      choice: () => ({ ...own.chosen, speaker: this.#speaker }),
      onChoose: (device, id) => this.#choose(device, id),
      onRename: (name) => void this.#rename(name),
      onFigures: () => this.#toggleFigures(),
    });
    this.#moderating = new Moderating({
      room,
      link,
      own,
      grid: this.#grid,
      toasts: this.#toasts,
      controls: this.#controls,
      count: this.#count,
      onPress: () => this.#togglePeople(!this.#moderating.isOpen),
      onChat: (may, why) => this.#chat.allow(may, why),
      onFocusLost: () => this.focus(),
    });
    this.#inviting = new Inviting({ room, link, notice: (text) => this.#toasts.notice(text), onInvite: () => this.#invite() });
    this.#figures = new Figures({ room, own, grid: this.#grid });
    this.#shown = new Shown({ room, grid: this.#grid });
    this.element = this.#build();
    this.#people = new People({
      room,
      own,
      grid: this.#grid,
      sound: this.#sound,
      meter: this.#meter,
      link: this.#link,
      onCount: (count) => this.#showCount(count),
    });
    this.#follow();
    this.#controls.show(own);
    this.#showLink();
  }

  /** Puts the focus where the call begins: its title is read out, and Tab goes on from there. */
  focus() {
    this.#title.focus();
  }

  close() {
    for (const stop of this.#stops) stop();
    this.#figures.show(false);
    this.#link.close();
    this.#shown.close();
    this.#people.close();
    this.#moderating.close();
    this.#settings.close();
    this.#sound.close();
    this.#meter.close();
    this.#grid.close();
    this.element.remove();
  }

  /** @param {string} text */
  problem(text) {
    this.#toasts.problem(text);
  }

  /**
   * Says why the devices of somebody who has pressed nothing are off, until one is on.
   *
   * @param {{ microphone: boolean, camera: boolean }} wish of the link
   */
  offerDevices({ microphone, camera }) {
    if (!microphone && !camera) return;
    const what = microphone && camera ? "microphone and camera are" : `${microphone ? "microphone" : "camera"} is`;
    const onPress = () => {
      this.#deviceBanner.hide();
      if (microphone) void this.#own.setMicrophone(true);
      if (camera) void this.#own.setCamera(true);
    };
    this.#deviceBanner.show(`A link has brought you into this call without a press of yours, so your ${what} off.`, { label: "Turn on", onPress });
    this.#stops.push(this.#own.on("changed", () => (this.#own.microphoneOn || this.#own.cameraOn) && this.#deviceBanner.hide()));
  }

  #build() {
    this.#title.textContent = this.#roomName;
    const figures = h("button", { type: "button", class: "quiet", title: "Figures (S)", "aria-label": "Show or hide figures (S)", onclick: () => this.#toggleFigures() }, icon("stats"));
    return h(
      "div",
      { class: "call" },
      h(
        "header",
        { class: "top" },
        h("div", { class: "room" }, this.#title, this.#moderating.button, this.#open, this.#lock, this.#moderating.notes, this.#linkState, this.#toasts.notices),
        figures,
        this.#inviting.button,
      ),
      this.#connectionBanner.element,
      h("div", { class: "hints" }, this.#soundBanner.element, this.#deviceBanner.element, this.#keyWarning.element, this.#moderating.banner),
      this.#toasts.problems,
      this.#inviting.alone,
      h("div", { class: "middle" }, h("main", { class: "stage" }, this.#grid.element), this.#moderating.panel.element, this.#chat.element),
      h("footer", { class: "bottom" }, this.#controls.element),
      this.#settings.element,
      this.#sound.element,
    );
  }

  #follow() {
    const room = this.#room;
    // Participants and messages from before we join need no announcement.
    const settled = () => room.state === "connected";
    this.#stops = [
      this.#own.on("changed", () => this.#controls.show(this.#own)),
      this.#own.on("problem", (error) => this.#toasts.problem(sentence(error))),
      room.on("stateChanged", (change) => this.#stateChanged(change)),
      this.#link.on("changed", () => this.#showLink()),
      room.on("admissionAwaited", () => this.#showLink()),
      room.on("permissionsChanged", () => this.#showCount(countOf(room))),
      room.on("participantJoined", ({ name }) => settled() && this.#toasts.notice(`${isolated(name)} joined`)),
      room.on("participantLeft", ({ participant, reason }) => {
        this.#announceLeft(participant.name, reason);
        this.#keyWarning.look();
      }),
      room.on("participantJoined", () => this.#keyWarning.look()),
      room.on("encryptionChanged", () => this.#keyWarning.look()),
      room.on("trackPublished", ({ participant, track }) => {
        if (settled() && track.source === "screen") this.#toasts.notice(`${isolated(participant.name)} shares a screen`);
      }),
      room.on("chatReceived", (message) => {
        this.#chat.add(message);
        const own = message.participant === room.participantId;
        if (settled() && !own && !this.#chat.isOpen) this.#toasts.chat(`${isolated(message.name)}: ${cut(message.text, 120)}`);
      }),
      room.on("errorOccurred", (error) => this.#toasts.problem(sentence(error))),
    ];
    /** @param {KeyboardEvent} event */
    const keyed = (event) => this.#keyed(event);
    document.addEventListener("keydown", keyed);
    this.#stops.push(() => document.removeEventListener("keydown", keyed));
    const devices = navigator.mediaDevices;
    const changed = () => void this.#checkSpeaker();
    devices?.addEventListener("devicechange", changed);
    this.#stops.push(() => devices?.removeEventListener("devicechange", changed));
  }

  /** @param {StateChange} change */
  #stateChanged({ state, reason }) {
    this.#reason = reason;
    if (state === "connected") {
      const { access, limits, name, permissions } = this.#room;
      this.#open.hidden = access !== "open";
      this.#lock.hidden = !this.#room.isEncrypted;
      if (!permissions.subscribe) this.#toasts.problem("You may not see or hear others in this room.");
      this.#chat.limit = limits.chatChars;
      this.#own.allow(permissions);
      this.#people.renameSelf(name);
      this.#showCount(countOf(this.#room));
    }
    this.#showLink();
  }

  /** Our own link: always in a few words, and in a sentence while something is wrong with it. */
  #showLink() {
    const { state } = this.#link;
    const isReconnecting = this.#room.state === "reconnecting";
    const isBroken = isReconnecting || state === "interrupted" || state === "failed";
    this.#linkState.dataset.state = state;
    this.#linkState.textContent = LINK_WORDS[state];
    this.#linkState.title = LINK_HINTS[state] ?? "";
    this.element.classList.toggle("reconnecting", isBroken);
    if (isReconnecting && this.#room.isAwaitingAdmission) {
      this.#connectionBanner.show(`The connection was lost. A moderator of ${isolated(this.#roomName)} has to let you in again…`);
    } else if (isReconnecting) {
      this.#connectionBanner.show(explainReconnecting(this.#reason), { label: "Try now", onPress: () => this.#room.retryNow() });
    } else if (state === "connecting" && this.#room.isMediaBlocked) {
      this.#connectionBanner.show(explainReconnecting("media_failed"));
    } else if (isBroken) {
      this.#connectionBanner.show("Your connection is interrupted: nothing arrives from the server. Restoring it…");
    } else {
      this.#connectionBanner.hide();
    }
  }

  /**
   * @param {string} name
   * @param {string} reason
   */
  #announceLeft(name, reason) {
    // Who steps off the stage is still there, and whoever is replaced is there again by another page.
    if (this.#room.state !== "connected" || reason === "audience" || reason === "replaced") return;
    const how = { left: "left", kicked: "was removed from the call" }[reason] ?? "lost the connection";
    this.#toasts.notice(`${isolated(name)} ${how}`);
  }

  /** @param {number} count */
  #showCount(count) {
    this.#count.textContent = String(count);
    this.#count.setAttribute("aria-label", count === 1 ? "1 person" : `${count} people`);
    this.#inviting.show(count);
  }

  /** @param {boolean} blocked */
  #showSoundBlocked(blocked) {
    if (blocked) {
      const action = { label: "Turn sound on", onPress: () => this.#sound.resume() };
      this.#soundBanner.show("The browser holds the sound back until you click.", action);
    } else {
      this.#soundBanner.hide();
    }
  }

  /** @param {boolean} open */
  #toggleChat(open) {
    const hadFocus = this.#chat.element.contains(document.activeElement);
    if (open) this.#moderating.toggle(false);
    this.#chat.toggle(open);
    this.#controls.showChat(open);
    if (open) this.#toasts.dropChat();
    if (!open && hadFocus) this.#controls.focusChat();
  }

  /** @param {boolean} open */
  #togglePeople(open) {
    if (open && this.#chat.isOpen) this.#toggleChat(false);
    this.#moderating.toggle(open);
  }

  #invite() {
    this.#togglePeople(true);
    this.#moderating.panel.invite();
  }

  #toggleFigures() {
    this.#figures.show(!this.#figures.isShown);
  }

  /** @param {string} text */
  async #send(text) {
    try {
      await this.#room.sendChat(text);
      return true;
    } catch (error) {
      this.#toasts.problem(sentence(error));
      return false;
    }
  }

  /** @param {string} name */
  async #rename(name) {
    try {
      await this.#room.rename(name);
      this.#people.renameSelf(name);
      savePreferences({ name });
    } catch (error) {
      this.#toasts.problem(sentence(error));
    }
  }

  /**
   * @param {Device} device
   * @param {string} id
   */
  #choose(device, id) {
    savePreferences({ [device]: id });
    if (device !== "speaker") return void this.#own.choose(device, id);
    this.#speaker = id;
    this.#sound.choose(id);
  }

  async #checkSpeaker() {
    const { speakers } = await listDevices().catch(() => ({ speakers: [] }));
    if (!this.#speaker || speakers.length === 0 || speakers.some(({ deviceId }) => deviceId === this.#speaker)) return;
    this.#speaker = "";
    this.#sound.choose("");
    this.#toasts.problem("The speaker is gone. The sound comes out where the system sends it.");
  }

  /** @param {KeyboardEvent} event */
  #keyed(event) {
    const { key, target, ctrlKey, metaKey, altKey, repeat } = event;
    if (ctrlKey || metaKey || altKey || repeat || this.#settings.element.open) return;
    if (target instanceof HTMLElement && target.closest("input, textarea, select")) return;
    /** @type {Record<string, () => void>} */
    const shortcuts = {
      m: () => void this.#own.toggleMicrophone(),
      v: () => void this.#own.toggleCamera(),
      c: () => this.#toggleChat(!this.#chat.isOpen),
      h: () => this.#moderating.toggleHand(),
      p: () => this.#togglePeople(!this.#moderating.isOpen),
      s: () => this.#toggleFigures(),
    };
    const act = shortcuts[key.toLowerCase()];
    if (!act) return;
    // The chat takes the focus while the key is still down; the letter is not meant for it.
    event.preventDefault();
    act();
  }
}
