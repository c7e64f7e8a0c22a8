import { h } from "./dom.js";

/**
 * Plays the others' audio. Browsers may hold audio back until the person has clicked somewhere:
 * `onBlocked` is told, and a click may call `resume`.
 */
export class Sound {
  element = h("div", { class: "sound", hidden: true });
  /** @type {Map<string, HTMLAudioElement>} by track id */
  #players = new Map();
  #speaker;
  #onBlocked;

  /**
   * @param {{ speaker: string, onBlocked: (blocked: boolean) => void }} options
   */
  constructor({ speaker, onBlocked }) {
    this.#speaker = speaker;
    this.#onBlocked = onBlocked;
  }

  /**
   * @param {string} trackId
   * @param {MediaStreamTrack | null} track
   */
  set(trackId, track) {
    const player = this.#players.get(trackId);
    if (!track) {
      if (player) player.srcObject = null;
      player?.remove();
      this.#players.delete(trackId);
      return;
    }
    const current = /** @type {MediaStream | null} */ (player?.srcObject)?.getAudioTracks()[0];
    if (current === track) return;
    const fresh = player ?? this.#add(trackId);
    fresh.srcObject = new MediaStream([track]);
    this.#play(fresh);
  }

  resume() {
    this.#onBlocked(false);
    for (const player of this.#players.values()) this.#play(player);
  }

  /** @param {string} speaker a device id, empty for the system's choice */
  choose(speaker) {
    this.#speaker = speaker;
    for (const player of this.#players.values()) this.#route(player);
  }

  close() {
    for (const trackId of [...this.#players.keys()]) this.set(trackId, null);
    this.element.remove();
  }

  /** @param {string} trackId */
  #add(trackId) {
    const player = h("audio", { "data-track": trackId });
    this.#players.set(trackId, player);
    this.element.append(player);
    if (this.#speaker) this.#route(player);
    return player;
  }

  /** @param {HTMLAudioElement} player */
  #play(player) {
    player.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#onBlocked(true);
    });
  }

  /** @param {HTMLAudioElement} player */
  #route(player) {
    // A speaker that is gone leaves the sound where it is.
    player.setSinkId?.(this.#speaker).catch(() => {});
  }
}
