import { Choices } from "./choices.js";
import { isLost, isRefusal } from "./errors.js";
import { say } from "./protocol.js";
import { Received } from "./received.js";
import { Remembered } from "./remembered.js";
import { Views } from "./views.js";

/**
 * @import { ParticipantInfo, SubscriptionState } from "./protocol.js"
 * @import { Participant, Roster } from "./roster.js"
 * @import { Signaling } from "./signaling.js"
 * @import { Shown } from "./views.js"
 */

/** The tracks of others that we receive, and how we show them: what we want, and what the server has decided. */
export class Receiving {
  #roster;
  #received;
  #report;
  #remembered = new Remembered();
  /** @type {Signaling | null} of a stay that has been told all choices */
  #signaling = null;

  /** @readonly */
  choices;
  /** @readonly */
  views = new Views();

  /**
   * @param {boolean} byDefault whether a track without a choice is received
   * @param {object} room
   * @param {Roster} room.roster
   * @param {(change: { trackId: string, subscription: SubscriptionState | null }) => void} room.changed the server has decided
   * @param {(error: unknown) => void} room.report tells an error that nobody waits for
   */
  constructor(byDefault, { roster, changed, report }) {
    this.#roster = roster;
    this.#received = new Received(changed);
    this.#report = report;
    this.choices = new Choices(byDefault, (trackId) => roster.isThere(trackId));
  }

  /** @returns {ReadonlyMap<string, SubscriptionState>} what we are sent, by track id, as far as the server has said */
  get states() {
    return this.#received.states;
  }

  /** @param {SubscriptionState[]} subscriptions as the server tells them */
  decided(subscriptions) {
    this.#received.apply(subscriptions.filter(({ track }) => this.#roster.find(track)));
  }

  /**
   * @param {string} trackId
   * @param {Shown} shown
   */
  show(trackId, shown) {
    this.views.set(trackId, shown);
  }

  /**
   * Tells a new server our choices and views before there is any media, so that nothing unwanted and nothing too large
   * is sent meanwhile.
   *
   * @param {Signaling} signaling
   */
  begin(signaling) {
    this.#signaling = signaling;
    this.choices.begin(signaling).catch((error) => !isLost(error) && this.#report(error));
    this.views.begin((tracks) => signaling.request(say.view(tracks)));
  }

  /** The stay in the room is over: until the next one, nothing can be told. */
  end() {
    this.#signaling = null;
    this.views.end();
  }

  /** Forgets the decisions about a transport that is gone. */
  clear() {
    this.#received.clear();
  }

  /**
   * @param {readonly string[]} trackIds
   * @param {boolean} wanted
   * @returns {Promise<void>} once the server knows; rejected when it refuses, and the choice is none then
   */
  async choose(trackIds, wanted) {
    const takeBack = this.choices.set(trackIds, wanted);
    // A stay that begins is told all choices at once.
    if (!this.#signaling) return;
    try {
      await this.choices.tell(this.#signaling, trackIds, wanted);
    } catch (error) {
      if (!isLost(error) && isRefusal(error)) takeBack();
      throw error;
    }
  }

  /**
   * Chooses without anybody who waits for it.
   *
   * @param {readonly string[]} trackIds
   * @param {boolean} wanted
   */
  decide(trackIds, wanted) {
    if (trackIds.length === 0) return;
    this.choose(trackIds, wanted).catch((error) => !isLost(error) && this.#report(error));
  }

  /**
   * Keeps what we want of tracks that are not there any more, for those that take their places.
   *
   * @param {ParticipantInfo[]} others all who are in the room that we have come back to
   */
  remember(others) {
    const present = new Set(others.flatMap(({ tracks }) => tracks.map(({ id }) => id)));
    for (const { id: participantId, tracks } of this.#roster.participants.values()) {
      for (const { id, source } of tracks.values()) {
        if (present.has(id)) continue;
        const [wanted, shown] = [this.choices.of(id), this.views.of(id)];
        this.#remembered.keep(participantId, source, { ...(wanted !== undefined && { wanted }), ...(shown && { shown }) });
      }
    }
  }

  /** @param {{ participant: Participant, track: import("./remote-track.js").RemoteTrack }} published */
  published({ participant, track }) {
    const { wanted, shown } = this.#remembered.take(participant.id, track.source);
    if (wanted !== undefined) this.decide([track.id], wanted);
    if (shown) this.views.set(track.id, shown);
  }

  /** @param {string} trackId of a track that ended */
  forget(trackId) {
    this.choices.forget(trackId);
    this.views.forget(trackId);
    this.#received.forget(trackId);
  }
}
