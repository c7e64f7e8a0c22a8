import { h, icon } from "./dom.js";
import { Stillness } from "./stillness.js";
import { AWAY_WORDS, hueOf, initials } from "./words.js";

/**
 * @typedef {object} TileOptions
 * @property {string} id unique in the page
 * @property {string} name
 * @property {"person" | "screen"} kind
 * @property {boolean} [own] our own: shown as in a mirror unless a screen
 * @property {(tile: Tile) => void} onEnlarge
 */

/** One person, or one shared screen. */
export class Tile {
  #name;
  #video = h("video", { playsinline: true, disablepictureinpicture: true });
  #face = h("div", { class: "face", "aria-hidden": "true" });
  #plate = h("span", { class: "plate-name", dir: "auto" });
  #silent = h("span", { class: "plate-icon", title: "Microphone off" }, icon("microphone-off"));
  #hand = h("span", { class: "plate-hand", hidden: true });
  #away = h("span", { class: "plate-away", hidden: true, text: AWAY_WORDS });
  #figureText = h("pre");
  #figures = h("div", { class: "figures", hidden: true, "aria-hidden": "true" });
  #note = h("p", { class: "note", hidden: true });
  #enlarge;
  #picture = false;
  /** Its owner shows it, whether or not it has come. */
  #shown = false;
  #muted = false;
  #enlarged = false;
  #stillness = new Stillness(this.#video);

  /** @type {string | null} the track whose picture it shows, or will */
  trackId = null;

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
    const plate = h("div", { class: "plate" }, this.#hand, this.#silent, kind === "screen" && icon("screen"), this.#plate, this.#away);
    const classes = ["tile", kind, own && "own", own && kind === "person" && "mirrored"].filter(Boolean).join(" ");
    this.element = h("li", { class: classes, "data-tile": id }, this.#face, this.#video, this.#note, plate, this.#figures, this.#enlarge);
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

  /** Whether there was a picture. */
  get hasMoved() {
    return this.element.classList.contains("moving");
  }

  get enlarged() {
    return this.#enlarged;
  }

  /** The place of the picture, and the picture's shape; of a camera that has sent nothing yet, the usual one. */
  get pictureBox() {
    const { offsetWidth: width, offsetHeight: height, classList } = this.element;
    const { videoWidth, videoHeight } = this.#video;
    const whole = this.kind === "screen" || classList.contains("featured");
    return { width, height, aspect: videoWidth > 0 && videoHeight > 0 ? videoWidth / videoHeight : 16 / 9, whole };
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
    this.#shown = shown;
    this.#picture = track !== null && shown;
    this.element.classList.toggle("has-picture", this.#picture);
    const current = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getVideoTracks()[0] ?? null;
    if (current !== track) {
      this.element.classList.remove("moving");
      this.#video.srcObject = track ? new MediaStream([track]) : null;
    }
    this.#describe();
  }

  /** @param {number} place among the raised hands, from 1 on; 0: it is down */
  setHand(place) {
    this.#hand.hidden = place === 0;
    this.#hand.title = place === 0 ? "" : `Hand raised, number ${place}`;
    this.#hand.replaceChildren(icon("hand"), String(place));
    this.element.classList.toggle("hand", place > 0);
  }

  /** @param {boolean} away whether their connection is gone for a moment; sound and picture may go on */
  setAway(away) {
    this.#away.hidden = !away;
    this.element.classList.toggle("away", away);
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

  /** @param {boolean} active whether this is who speaks, of all who do */
  setActive(active) {
    this.element.classList.toggle("active", active);
  }

  /**
   * Says in words why the picture stands still; the last one stays, dimmed.
   *
   * @param {string | null} why null while it moves
   */
  setPaused(why) {
    this.element.classList.toggle("paused", why !== null);
    this.setNotice(why);
  }

  /** @param {string | null} words across the picture */
  setNotice(words) {
    if (this.#note.textContent === (words ?? "")) return;
    this.#note.hidden = words === null;
    this.#note.textContent = words ?? "";
    this.#describe();
  }

  /**
   * @param {number} now milliseconds
   * @returns {number} milliseconds for which a picture that moved has stood still; 0 for one that never did
   */
  stillFor(now) {
    if (!this.#picture || !this.element.classList.contains("moving")) this.expectNoPicture();
    return this.#stillness.look(now);
  }

  /** Restarts the count: while no new picture is expected, a still one needs no explanation. */
  expectNoPicture() {
    this.#stillness.restart();
  }

  /** @param {boolean} enlarged */
  setEnlarged(enlarged) {
    this.#enlarged = enlarged;
    this.element.classList.toggle("enlarged", enlarged);
    this.#enlarge.setAttribute("aria-pressed", String(enlarged));
    const words = enlarged ? `Make ${this.#plate.textContent} small again` : `Enlarge ${this.#plate.textContent}`;
    this.#enlarge.setAttribute("aria-label", words);
    this.#enlarge.title = words;
  }

  /**
   * @param {string | null} figures
   * @param {Node | null} [more] under them
   */
  setFigures(figures, more = null) {
    this.#figures.hidden = figures === null;
    this.#figureText.textContent = figures ?? "";
    this.#figures.replaceChildren(this.#figureText, ...(more ? [more] : []));
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
    const states = [!this.#away.hidden && AWAY_WORDS, this.#muted && "microphone off", this.kind === "person" && !this.#shown && "camera off", this.#note.textContent];
    this.element.setAttribute("aria-label", [this.#plate.textContent, ...states.filter(Boolean)].join(", "));
  }
}
