import { mayNotPublish } from "../client/index.js";
import { h, icon } from "./dom.js";

/**
 * @import { IconName } from "./dom.js"
 * @import { OwnMedia } from "./own.js"
 */

/**
 * @typedef {object} Actions
 * @property {() => void} toggleMicrophone
 * @property {() => void} toggleCamera
 * @property {() => void} toggleScreen
 * @property {() => void} toggleHand
 * @property {() => void} toggleChat
 * @property {() => void} openSettings
 * @property {() => void} leave
 */

/** The buttons below the call. */
export class Controls {
  #microphone;
  #camera;
  #screen;
  #hand;
  #chat;
  #badge = h("span", { class: "badge", hidden: true });

  /** @param {Actions} actions */
  constructor(actions) {
    this.#microphone = button("microphone", actions.toggleMicrophone);
    this.#camera = button("camera", actions.toggleCamera);
    this.#screen = button("screen", actions.toggleScreen);
    this.#screen.hidden = !navigator.mediaDevices?.getDisplayMedia;
    this.#hand = button("hand", actions.toggleHand);
    this.#chat = button("chat", actions.toggleChat);
    this.#chat.append(this.#badge);
    const settings = button("settings", actions.openSettings);
    label(settings, "Settings");
    const leave = h("button", { type: "button", class: "round leave", onclick: actions.leave }, icon("leave"));
    label(leave, "Leave the call");
    this.element = h(
      "nav",
      { class: "controls", "aria-label": "Call controls" },
      this.#microphone,
      this.#camera,
      this.#screen,
      this.#hand,
      this.#chat,
      settings,
      leave,
    );
    this.showHand(false);
    this.showChat(false);
    this.showUnread(0);
  }

  /** @param {OwnMedia} own */
  show(own) {
    state(this.#microphone, own.microphoneOn, "microphone", own.isBusy("microphone"));
    label(this.#microphone, own.microphoneOn ? "Turn microphone off (M)" : "Turn microphone on (M)");
    state(this.#camera, own.cameraOn, "camera", own.isBusy("camera"));
    label(this.#camera, own.cameraOn ? "Turn camera off (V)" : "Turn camera on (V)");
    const sharing = own.screen !== null;
    this.#screen.replaceChildren(icon(sharing ? "screen-off" : "screen"));
    this.#screen.classList.toggle("active", sharing);
    this.#screen.setAttribute("aria-busy", String(own.isBusy("screen")));
    label(this.#screen, sharing ? "Stop sharing your screen" : "Share your screen");
    for (const [what, element] of /** @type {const} */ ([
      ["microphone", this.#microphone],
      ["camera", this.#camera],
      ["screen", this.#screen],
    ])) {
      // Not `disabled`: the reason must be found by keyboard too.
      element.setAttribute("aria-disabled", String(!own.may(what)));
      if (!own.may(what)) label(element, mayNotPublish(what).message);
    }
  }

  /** @param {boolean} raised */
  showHand(raised) {
    this.#hand.classList.toggle("active", raised);
    this.#hand.setAttribute("aria-pressed", String(raised));
    label(this.#hand, raised ? "Lower your hand (H)" : "Raise your hand (H)");
  }

  /** @param {boolean} open */
  showChat(open) {
    this.#chat.setAttribute("aria-expanded", String(open));
    this.#chat.classList.toggle("active", open);
  }

  /** @param {number} unread */
  showUnread(unread) {
    this.#badge.hidden = unread === 0;
    this.#badge.textContent = unread > 99 ? "99+" : String(unread);
    label(this.#chat, unread === 0 ? "Chat (C)" : `Chat (C), ${unread} unread`);
  }

  focusChat() {
    this.#chat.focus();
  }
}

/**
 * @param {IconName} name
 * @param {() => void} onclick
 */
function button(name, onclick) {
  return h("button", { type: "button", class: "round", "data-control": name, onclick }, icon(name));
}

/**
 * @param {HTMLElement} element
 * @param {string} words
 */
function label(element, words) {
  element.setAttribute("aria-label", words);
  element.title = words;
}

/**
 * @param {HTMLButtonElement} element
 * @param {boolean} on
 * @param {"microphone" | "camera"} name
 * @param {boolean} busy
 */
function state(element, on, name, busy) {
  element.classList.toggle("off", !on);
  element.setAttribute("aria-pressed", String(on));
  // Not `disabled`: that would take the keyboard focus away in the middle of a press.
  element.setAttribute("aria-busy", String(busy));
  element.replaceChildren(icon(on ? name : `${name}-off`));
}
