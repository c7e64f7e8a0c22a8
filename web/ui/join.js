import { cleanName, cut, explainFault, isKey, meantRoom, NAME_LENGTH, typedRoom } from "../client/index.js";
import { DeviceLists } from "./devices.js";
import { h, icon } from "./dom.js";
import { Meter } from "./meter.js";
import { explainRefusal, sentence } from "./words.js";

/**
 * @import { Choice, Device } from "./devices.js"
 * @import { CallError } from "../client/index.js"
 * @import { OwnMedia } from "./own.js"
 */

/** Level from which the bar moves: quiet speech is enough. */
const METER_GAIN = 4;

/**
 * @typedef {object} JoinOptions
 * @property {string} name
 * @property {string} givenName by the link; no other can be chosen then. Empty without one
 * @property {string} room
 * @property {string} [problem] to begin with
 * @property {{ key: string | null, asksPassphrase: boolean }} encryption what the link says of it
 * @property {OwnMedia} own
 * @property {() => Choice} choice
 * @property {(device: Device, id: string) => void} onChoose
 * @property {(wish: JoinWish) => Promise<void>} onJoin rejected when it did not work
 *
 * @typedef {{ name: string, room: string, encrypted: boolean, passphrase: string }} JoinWish
 */

/** The page before the call: name, room, camera and microphone. */
export class JoinPage {
  #own;
  #onJoin;
  #meter = new Meter();
  #devices;
  #frame = 0;
  #video = h("video", { playsinline: true, "aria-label": "Your camera" });
  #note = h("p", { class: "preview-note" });
  #bar = h("span");
  #microphone;
  #camera;
  #name;
  #room;
  #encrypted = h("input", { type: "checkbox", name: "encrypted" });
  #passphrase = h("input", { type: "password", name: "passphrase", autocomplete: "off" });
  #passphraseLabel = h("span");
  #passphraseField = h("label", { class: "field" }, this.#passphraseLabel, this.#passphrase);
  #encryptionHint = h("p", { class: "encryption-hint" });
  #encryption;
  #submit = h("button", { class: "primary", text: "Join the call" });
  #problem = h("p", { class: "problem", role: "alert", hidden: true });
  #stops;

  /** @param {JoinOptions} options */
  constructor({ name, givenName, room, problem = "", encryption, own, choice, onChoose, onJoin }) {
    this.#own = own;
    this.#encryption = encryption;
    this.#onJoin = onJoin;
    this.#devices = new DeviceLists({ choice, onChoose });
    this.#video.muted = true;
    this.#video.autoplay = true;
    this.#microphone = h("button", { type: "button", class: "round", onclick: () => void own.toggleMicrophone() });
    this.#camera = h("button", { type: "button", class: "round", onclick: () => void own.toggleCamera() });
    this.#name = h("input", { type: "text", name: "name", required: true, dir: "auto", autocomplete: "nickname", value: givenName || name, readonly: givenName !== "", title: givenName && "Your link gives you this name." });
    this.#room = h("input", { type: "text", name: "room", required: true, dir: "auto", autocomplete: "off", spellcheck: "false", value: room });
    this.element = this.#build();
    this.#stops = [
      own.on("changed", () => this.#show()),
      own.on("problem", (error) => this.#explain([error])),
    ];
    if (problem) this.#fail(problem);
    this.#show();
    this.#encrypted.checked = encryption.key !== null || encryption.asksPassphrase;
    // A link to an encrypted call leads to nothing else.
    this.#encrypted.disabled = this.#encrypted.checked || !mayEncrypt();
    this.#showEncryption();
    this.#measure();
  }

  /** Opens the devices; a call can be joined meanwhile, and without them. */
  async openDevices(wish = { microphone: true, camera: true }) {
    this.#note.textContent = "Your browser may ask whether this page can use your camera and microphone.";
    const problems = await this.#own.open(wish);
    this.#explain(problems);
    await this.#devices.refresh();
  }

  /** Puts the cursor where the first thing is missing. */
  focus() {
    (this.#name.value ? this.#submit : this.#name).focus();
  }

  close() {
    cancelAnimationFrame(this.#frame);
    for (const stop of this.#stops) stop();
    this.#meter.close();
    this.#devices.close();
    this.#video.srcObject = null;
    this.element.remove();
  }

  #build() {
    const form = h(
      "form",
      { class: "join-form" },
      h("label", { class: "field" }, h("span", { text: this.#name.readOnly ? "Your name, as your link gives it" : "Your name" }), this.#name),
      h("label", { class: "field" }, h("span", { text: "Room" }), this.#room),
      h("label", { class: "encrypted-choice" }, this.#encrypted, icon("lock"), h("span", { text: "End-to-end encrypted" })),
      this.#encryptionHint,
      this.#passphraseField,
      h("details", { class: "device-choice" }, h("summary", { text: "Choose devices" }), this.#devices.element),
      this.#problem,
      this.#submit,
      h("a", { class: "check-hint", href: "check", target: "_blank", rel: "noopener", text: "Check my connection" }),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#join();
    });
    // It was about what stood there before.
    form.addEventListener("input", () => (this.#problem.hidden = true));
    this.#encrypted.addEventListener("change", () => this.#showEncryption());
    this.#name.addEventListener("change", () => (this.#name.value = cleanName(this.#name.value)));
    this.#room.addEventListener("input", (event) => this.#showTyped(/** @type {InputEvent} */ (event)));
    this.#room.addEventListener("compositionend", () => this.#showTyped());
    const preview = h(
      "section",
      { class: "preview", "aria-label": "Preview" },
      h("div", { class: "preview-picture" }, this.#video, this.#note, h("div", { class: "preview-buttons" }, this.#microphone, this.#camera)),
      h("div", { class: "meter", "aria-hidden": "true" }, icon("microphone"), h("div", { class: "meter-bar" }, this.#bar)),
    );
    return h(
      "main",
      { class: "join" },
      h("header", { class: "brand" }, h("img", { src: "ui/icon.svg", alt: "", width: "40", height: "40" }), h("h1", { text: "Tertulia" }), h("p", { text: "A good talk, wherever everyone is." })),
      h("div", { class: "join-card" }, preview, form),
    );
  }

  #show() {
    const own = this.#own;
    this.#video.hidden = !own.cameraOn;
    const current = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getVideoTracks()[0] ?? null;
    if (current !== own.camera) this.#video.srcObject = own.camera ? new MediaStream([own.camera]) : null;
    if (own.cameraOn) this.#note.textContent = "";
    else if (!this.#note.textContent) this.#note.textContent = "Your camera is off.";
    this.#meter.watch(own.microphoneOn ? own.microphone : null);
    toggle(this.#microphone, own.microphoneOn, "microphone");
    toggle(this.#camera, own.cameraOn, "camera");
  }

  #showEncryption() {
    const { key, asksPassphrase } = this.#encryption;
    const { checked } = this.#encrypted;
    this.#passphraseField.hidden = !checked || key !== null;
    this.#passphrase.required = checked && asksPassphrase && key === null;
    this.#passphraseLabel.textContent = asksPassphrase ? "Passphrase" : "Passphrase (optional)";
    this.#encryptionHint.hidden = !checked && mayEncrypt();
    if (!mayEncrypt()) this.#encryptionHint.textContent = globalThis.isSecureContext ? "This browser cannot encrypt calls. A current one can." : "Encryption needs a page loaded over https, or from localhost.";
    else if (key !== null && !isKey(key)) this.#encryptionHint.textContent = explainRefusal({ code: "bad_key" });
    else if (key !== null) this.#encryptionHint.textContent = "Your link has the key. The server cannot see or hear the call.";
    else if (asksPassphrase) this.#encryptionHint.textContent = "Everybody in this call types the same passphrase.";
    else this.#encryptionHint.textContent = "The link gets a key in it. With a passphrase it gets none, and everybody types that.";
  }

  /** @param {CallError[]} problems */
  #explain(problems) {
    const sentences = [...new Set(problems.map((problem) => sentence(problem)))];
    const remedy = this.#own.microphone || this.#own.camera ? "" : "You can still join, to watch and listen.";
    if (sentences.length > 0) this.#note.textContent = [...sentences, remedy].filter(Boolean).join(" ");
    else if (!this.#own.cameraOn) this.#note.textContent = "Your camera is off.";
  }

  async #join() {
    const name = cleanName(this.#name.value);
    if (!name || !this.#room.value) return this.#fail("A call needs your name and a room.");
    const { name: room, fault } = meantRoom(this.#room.value);
    if (fault) return this.#fail(explainFault(fault, "A room’s name"));
    this.#name.value = name;
    this.#problem.hidden = true;
    this.#submit.disabled = true;
    this.#submit.textContent = "Joining…";
    try {
      const encrypted = this.#encrypted.checked;
      const passphrase = this.#passphraseField.hidden ? "" : this.#passphrase.value;
      await this.#onJoin({ name, room, encrypted, passphrase });
    } catch (error) {
      this.#fail(explainRefusal(/** @type {CallError} */ (error)));
    } finally {
      // A button that is disabled in the middle of a press loses the focus.
      this.#submit.disabled = false;
      if (document.activeElement === document.body) this.#submit.focus();
      this.#submit.textContent = "Join the call";
    }
  }

  /**
   * The field shows the very name of the room: two that differ are two rooms.
   *
   * @param {InputEvent} [event]
   */
  #showTyped(event) {
    // Letters still being composed must not be changed.
    if (event?.isComposing) return;
    const { value, selectionEnd } = this.#room;
    // A name that is too long is refused with a message: cut, two names would be one room.
    const typed = cut(typedRoom(value), 2 * NAME_LENGTH);
    if (typed === value) return;
    const caret = typedRoom(value.slice(0, selectionEnd ?? value.length)).length;
    this.#room.value = typed;
    this.#room.setSelectionRange(caret, caret);
  }

  /** @param {string} text */
  #fail(text) {
    this.#problem.textContent = text;
    this.#problem.hidden = false;
  }

  #measure() {
    const level = Math.min(1, this.#meter.level() * METER_GAIN);
    this.#bar.style.transform = `scaleX(${level.toFixed(3)})`;
    this.#frame = requestAnimationFrame(() => this.#measure());
  }
}

function mayEncrypt() {
  return "RTCRtpScriptTransform" in globalThis && globalThis.isSecureContext;
}

/**
 * @param {HTMLButtonElement} button
 * @param {boolean} on
 * @param {"microphone" | "camera"} name
 */
function toggle(button, on, name) {
  button.replaceChildren(icon(on ? name : `${name}-off`));
  button.classList.toggle("off", !on);
  button.setAttribute("aria-pressed", String(on));
  const words = on ? `Turn ${name} off` : `Turn ${name} on`;
  button.setAttribute("aria-label", words);
  button.title = words;
}
