import { isPassing, Publication } from "../client/index.js";

/**
 * @import { PublishOptions, Room, Source } from "../client/index.js"
 */

/**
 * Makes a room follow the devices. Nothing waits for the server: the room takes each wish at once and tells the server
 * in its own time, the last wish at the end.
 */
export class Sending {
  /** @type {Room | null} */
  #room = null;
  /** @type {Map<Source, Publication>} */
  #publications = new Map();
  /** @type {Set<Source>} not to be tried again before the next press */
  #failed = new Set();
  /** Stops listening to the room. */
  #stop = () => {};
  #onFailed;
  #onProblem;

  /**
   * @param {object} options
   * @param {(source: Source, error?: any) => void} options.onFailed it is not sent, and will not be by itself. Without an
   *   error if the room tells it by `errorOccurred`
   * @param {(error: any) => void} options.onProblem
   */
  constructor({ onFailed, onProblem }) {
    this.#onFailed = onFailed;
    this.#onProblem = onProblem;
  }

  /** @param {Room | null} room what is shown goes there from now on */
  enter(room) {
    this.#stop();
    this.#room = room;
    this.#publications.clear();
    this.#failed.clear();
    // A publication that the server refuses as we come back must not be shown as sent.
    this.#stop = room?.on("publicationRefused", ({ publication }) => this.#refused(publication)) ?? (() => {});
  }

  /** @param {Source} source */
  publication(source) {
    return this.#publications.get(source);
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack | null} media
   * @param {boolean} on
   * @param {Partial<PublishOptions>} [coding] when it is published for the first time
   */
  show(source, media, on, coding = {}) {
    const room = this.#room;
    if (!room || room.state === "closed") return;
    const publication = this.#publications.get(source);
    if (!publication) {
      if (on) this.#failed.delete(source);
      if (media && !this.#failed.has(source)) this.#publish(room, new Publication({ source, media, muted: !on, ...coding }));
      return;
    }
    if (publication.muted === on) room.setMuted(publication, !on).catch((error) => this.#report(error));
    if (publication.media !== media) room.replaceMedia(publication, media).catch((error) => this.#report(error));
  }

  /** @param {Source} source */
  end(source) {
    const publication = this.#publications.get(source);
    this.#publications.delete(source);
    if (publication) this.#room?.unpublish(publication).catch((error) => this.#report(error));
  }

  /**
   * @param {Room} room
   * @param {Publication} publication
   */
  #publish(room, publication) {
    const { source } = publication;
    this.#publications.set(source, publication);
    room.publish(publication).catch((error) => {
      if (this.#forget(publication) && room.state !== "closed") this.#onFailed(source, error);
    });
  }

  /** @param {Publication} publication */
  #refused(publication) {
    if (this.#forget(publication)) this.#onFailed(publication.source);
  }

  /**
   * @param {Publication} publication that is not sent
   * @returns {boolean} whether it was to be
   */
  #forget(publication) {
    const { source } = publication;
    if (this.#publications.get(source) !== publication) return false;
    this.#failed.add(source);
    return this.#publications.delete(source);
  }

  /** @param {unknown} error what passes, the room tells the server again */
  #report(error) {
    if (!isPassing(error) && this.#room?.state !== "closed") this.#onProblem(error);
  }
}
