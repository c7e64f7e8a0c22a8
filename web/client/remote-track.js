/** @import { MediaKind, Source, TrackInfo } from "./protocol.js" */

/** The players of tracks, so that one player plays one track. @type {WeakMap<HTMLMediaElement, RemoteTrack>} */
const playing = new WeakMap();

/**
 * The room's side of a remote track.
 *
 * @typedef {object} TrackFeed
 * @property {TrackInfo} info as the server has said last
 * @property {() => RTCRtpReceiver | null} receiver the receiver that carries it now
 * @property {() => void} changed called by the room after another receiver carries it
 */

/**
 * A track that somebody else publishes. It is one object for as long as the track is there, also across a reconnect,
 * and follows the server's news of it.
 */
export class RemoteTrack {
  #feed;
  /** @type {Set<HTMLMediaElement>} */
  #players = new Set();

  /** @param {TrackFeed} feed made by the room */
  constructor(feed) {
    this.#feed = feed;
    feed.changed = () => {
      for (const player of this.#players) this.#play(player);
    };
  }

  /** The server's id for it. */
  get id() {
    return this.#feed.info.id;
  }

  /** @returns {MediaKind} */
  get kind() {
    return this.#feed.info.kind;
  }

  /** @returns {Source} */
  get source() {
    return this.#feed.info.source;
  }

  /** Whether its publisher has silenced it. */
  get muted() {
    return this.#feed.info.muted;
  }

  get simulcast() {
    return this.#feed.info.simulcast;
  }

  /** @returns {string | null} such as `VP8`; null while the server has not said */
  get codec() {
    return this.#feed.info.codec;
  }

  /** @returns {MediaStreamTrack | null} what arrives of it now; null while no receiver carries it */
  get media() {
    return this.#feed.receiver()?.track ?? null;
  }

  /**
   * Plays the track in an element, now and whenever another receiver carries it, until `detach`. The element plays
   * nothing else meanwhile. A browser may hold sound back until the person has clicked: then `element.play()` is
   * rejected, and works after a click.
   *
   * @template {HTMLMediaElement} Player
   * @param {Player} element
   * @returns {Player} the element
   */
  attach(element) {
    const before = playing.get(element);
    if (before !== this) before?.detach(element);
    playing.set(element, this);
    this.#players.add(element);
    element.autoplay = true;
    // Phones would play a video over the whole screen.
    if (this.kind === "video") element.setAttribute("playsinline", "");
    this.#play(element);
    return element;
  }

  /**
   * Stops playing the track in an element, or in all of them.
   *
   * @param {HTMLMediaElement} [element]
   * @returns {HTMLMediaElement[]} the elements that played it
   */
  detach(element) {
    const detached = [...this.#players].filter((player) => element === undefined || player === element);
    for (const player of detached) {
      this.#players.delete(player);
      playing.delete(player);
      player.srcObject = null;
    }
    return detached;
  }

  /** @param {HTMLMediaElement} player */
  #play(player) {
    const { media } = this;
    const shown = /** @type {MediaStream | null} */ (player.srcObject);
    if (media === null) player.srcObject = null;
    else if (shown?.getTracks()[0] !== media) player.srcObject = new MediaStream([media]);
  }
}
