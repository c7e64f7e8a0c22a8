import { h, icon } from "./dom.js";
import { hueOf, initials } from "./words.js";

/**
 * @typedef {object} TileOptions
 * @property {string} id unique in the page
 * @property {string} name
 * @property {"person" | "screen"} kind
 * @property {boolean} [own] ours: shown as in a mirror unless a screen
 * @property {(tile: Tile) => void} onEnlarge
 */

/** One person, or one shared screen. */
export class Tile {
  #name;
  #video = h("video", { playsinline: true, disablepictureinpicture: true });
  #face = h("div", { class: "face", "aria-hidden": "true" });
  #plate = h("span", { class: "plate-name" });
  #silent = h("span", { class: "plate-icon", title: "Microphone off" }, icon("microphone-off"));
  #figures = h("pre", { class: "figures", hidden: true, "aria-hidden": "true" });
  #enlarge;
  #picture = false;
  #muted = false;

  /** @param {TileOptions} options */
  constructor({ id, name, kind, own = false, onEnlarge }) {
    /** @readonly */
    this.id = id;
    /** @readonly */
    this.kind = kind;
    /** @readonly */
    this.own = own;
    this.#name = name;
    // The sound has its own elements; a muted video may always begin to play.
    this.#video.muted = true;
    this.#video.autoplay = true;
    this.#enlarge = h("button", { type: "button", class: "enlarge", onclick: () => onEnlarge(this) }, icon("enlarge"));
    this.#silent.hidden = true;
    const plate = h("div", { class: "plate" }, this.#silent, kind === "screen" && icon("screen"), this.#plate);
    const classes = ["tile", kind, own && "own", own && kind === "person" && "mirrored"].filter(Boolean).join(" ");
    this.element = h("li", { class: classes, "data-tile": id }, this.#face, this.#video, plate, this.#figures, this.#enlarge);
    this.#video.addEventListener("loadeddata", () => this.element.classList.add("moving"));
    this.#video.addEventListener("emptied", () => this.element.classList.remove("moving"));
    this.rename(name);
    this.setEnlarged(false);
  }

  get video() {
    return this.#video;
  }

  get name() {
    return this.#name;
  }

  /** @param {string} name */
  rename(name) {
    this.#name = name;
    this.#face.textContent = initials(name);
    this.#face.style.setProperty("--hue", String(hueOf(name)));
    this.#plate.textContent = this.kind === "screen" ? (this.own ? "Your screen" : `${name}’s screen`) : this.own ? `${name} (you)` : name;
    this.#describe();
  }

  /**
   * @param {MediaStreamTrack | null} track
   * @param {boolean} shown false while its owner has the camera off
   */
  setPicture(track, shown) {
    this.#picture = track !== null && shown;
    this.element.classList.toggle("has-picture", this.#picture);
    const current = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getVideoTracks()[0] ?? null;
    if (current !== track) {
      this.element.classList.remove("moving");
      this.#video.srcObject = track ? new MediaStream([track]) : null;
    }
    this.#describe();
  }

  /** @param {boolean} muted whether nothing can be heard from them */
  setMuted(muted) {
    this.#muted = muted;
    this.#silent.hidden = !muted;
    if (muted) this.setSpeaking(false);
    this.#describe();
  }

  /** @param {boolean} speaking */
  setSpeaking(speaking) {
    this.element.classList.toggle("speaking", speaking && !this.#muted);
  }

  /** @param {boolean} enlarged */
  setEnlarged(enlarged) {
    this.element.classList.toggle("enlarged", enlarged);
    this.#enlarge.setAttribute("aria-pressed", String(enlarged));
    const words = enlarged ? `Make ${this.#plate.textContent} small again` : `Enlarge ${this.#plate.textContent}`;
    this.#enlarge.setAttribute("aria-label", words);
    this.#enlarge.title = words;
  }

  /** @param {string | null} figures */
  setFigures(figures) {
    this.#figures.hidden = figures === null;
    this.#figures.textContent = figures ?? "";
  }

  /** @param {import("./layout.js").Rect} rect */
  place({ x, y, width, height }) {
    const { style } = this.element;
    style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    style.width = `${width.toFixed(1)}px`;
    style.height = `${height.toFixed(1)}px`;
    this.element.classList.toggle("small", width < 150 || height < 100);
  }

  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }

  #describe() {
    const states = [this.#muted && "microphone off", this.kind === "person" && !this.#picture && "camera off"];
    this.element.setAttribute("aria-label", [this.#plate.textContent, ...states.filter(Boolean)].join(", "));
  }
}
