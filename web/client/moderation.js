import { Hand } from "./hand.js";
import { say } from "./protocol.js";
import { Restoring } from "./restoring.js";
import { OPEN_RULES } from "./rules.js";

/**
 * @import { ServerMessage, ServerMessages } from "./protocol.js"
 * @import { Publication } from "./publication.js"
 * @import { Restored, Return } from "./restoring.js"
 * @import { RoomEvents } from "./room-events.js"
 * @import { Rules } from "./rules.js"
 * @import { Signaling } from "./signaling.js"
 */

/**
 * @typedef {Restored & { publications: ReadonlySet<Publication>, setMuted(publication: Publication, muted: boolean): Promise<void> }} ModeratedRoom
 */

/**
 * The rules of a room, raised hands, people who wait, and the actions of moderators. An action is rejected with
 * `not_allowed` without the right to moderate, with another code where it is not possible, and with `not_connected`
 * without a connection.
 */
export class Moderation {
  #emit;
  #connected;
  #wish;
  #room;
  #hand = new Hand();
  #restoring;
  /** @type {Map<string, string>} */
  #waiting = new Map();

  /** @type {Readonly<Rules>} */
  rules = OPEN_RULES;
  /** @type {readonly string[]} ids of participants with a raised hand, ours included; the first to raise it comes first */
  hands = [];

  /**
   * @param {<Name extends keyof RoomEvents>(name: Name, payload: RoomEvents[Name]) => void} emit
   * @param {() => Signaling} connected throws a `CallError` without a connection
   * @param {(tell: () => Promise<void>) => Promise<unknown>} wish hides the loss of a connection from a wish that the next one
   *   carries out; rejected when the room is closed
   * @param {ModeratedRoom} room
   */
  constructor(emit, connected, wish, room) {
    this.#emit = emit;
    this.#connected = connected;
    this.#wish = wish;
    this.#room = room;
    this.#restoring = new Restoring(room, (error) => this.#report(error));
  }

  /** @returns {ReadonlyMap<string, string>} the names of those who wait to be let in, by id; only moderators are told */
  get waiting() {
    return this.#waiting;
  }

  /** Whether we want our hand to be up; `hands` tells whether it is. */
  get isHandRaised() {
    return this.#hand.isRaised;
  }

  /**
   * Takes over what a `welcome` tells. A hand that was raised before a connection was lost is raised again, and rules that
   * the server has forgotten are set again.
   *
   * @param {ServerMessages["welcome"]} welcome
   * @param {Signaling} signaling
   * @param {Omit<Return, "before">} how
   * @returns {Promise<unknown>} rejected if the hand could not be raised
   */
  begin({ participant, rules = OPEN_RULES, hands = [] }, signaling, how) {
    const before = this.rules;
    this.hands = hands;
    this.#waiting.clear();
    this.#emit("waitingChanged", this.#waiting);
    this.#setRules(rules, null);
    this.#emit("handsChanged", { participantId: null, raised: false, by: null });
    this.#restoring.begin(rules, signaling, { ...how, before });
    return this.#hand.begin(signaling, { isUp: hands.includes(participant), isResumed: how.isResumed });
  }

  /** Somebody has come or gone, or our rights have changed. */
  look() {
    this.#restoring.look();
  }

  /** The stay in the room is over. */
  left() {
    this.#restoring.left();
  }

  /** The room is closed. */
  close() {
    this.#restoring.end();
  }

  /**
   * @param {ServerMessage} message
   * @param {string | null} ownId
   */
  apply(message, ownId) {
    switch (message.type) {
      case "rules":
        return this.#setRules(message.rules, message.by ?? null, this.#restoring.changed(message.rules, this.rules));
      case "hand":
        if (message.participant === ownId && message.by) this.#hand.lowered();
        return this.#setHand(message.participant, message.raised, message.by ?? null);
      case "participant_left":
        return this.hands.includes(message.participant) ? this.#setHand(message.participant, false, null) : undefined;
      case "moderated": {
        const { action, by, participant, track = null } = message;
        if (action === "mute" && participant === ownId) this.#silence(track);
        return this.#emit("moderated", { action, by, participantId: participant, trackId: track });
      }
      case "waiting":
        return this.#addWaiting(message.waiting);
      case "waiting_left":
        this.#waiting.delete(message.participant);
        return this.#emit("waitingChanged", this.#waiting);
      default:
        return undefined;
    }
  }

  /**
   * Raises our hand, or lowers it. It stays raised when a connection is lost, behind those raised meanwhile.
   *
   * @param {boolean} raised
   * @returns {Promise<void>} once the server knows, or without an error if the next stay in the room tells it; rejected when
   *   the server refuses, and the hand is as before then
   */
  async raiseHand(raised) {
    await this.#wish(() => this.#hand.set(raised));
  }

  /** @param {string} trackId of somebody else; it is muted until they unmute it */
  mute(trackId) {
    return this.#act({ action: "mute", track: trackId });
  }

  /** @param {string} participantId of somebody, who is asked to turn the microphone on */
  askToUnmute(participantId) {
    return this.#act({ action: "ask_unmute", participant: participantId });
  }

  /** @param {string} participantId of somebody, who may join again */
  remove(participantId) {
    return this.#act({ action: "remove", participant: participantId });
  }

  /** @param {string} participantId of somebody, who may not join again for as long as the room is there */
  ban(participantId) {
    return this.#act({ action: "ban", participant: participantId });
  }

  /** @param {boolean} on whether newcomers are refused */
  setLocked(on) {
    return this.#act({ action: "lock", on });
  }

  /** @param {boolean} on whether newcomers wait to be let in */
  setWaitingRoom(on) {
    return this.#act({ action: "waiting_room", on });
  }

  /** @param {boolean} on whether others than moderators may write */
  setChat(on) {
    return this.#act({ action: "chat", on });
  }

  /** @param {string} id of somebody who waits */
  admit(id) {
    return this.#act({ action: "admit", participant: id });
  }

  /** @param {string} id of somebody who waits */
  deny(id) {
    return this.#act({ action: "deny", participant: id });
  }

  /** @param {string} participantId */
  lowerHand(participantId) {
    return this.#act({ action: "lower_hand", participant: participantId });
  }

  /** Ends the call for everybody. */
  async end() {
    try {
      await this.#act({ action: "end" });
    } catch (error) {
      // The goodbye may overtake the reply.
      if (/** @type {Partial<import("./errors.js").CallError>} */ (error).code !== "connection_lost") throw error;
    }
  }

  /**
   * Makes an invitation: an access token for this room, which passes the waiting room. A lock and a ban hold its holder
   * nevertheless. Whoever has it comes in, so send it in private.
   *
   * @param {import("./protocol.js").InviteWish} wish
   * @returns {Promise<{ id: string, token: string, expiresAtMs: number }>} `token` for `RoomOptions.token`, told this once
   */
  async invite(wish) {
    const { invitation: id, token, expiresAtMs } = await this.#connected().request(say.invite(wish));
    return { id, token, expiresAtMs };
  }

  /** @returns {Promise<import("./protocol.js").Invitation[]>} those that let in, whoever made them, the oldest first */
  async invitations() {
    const { invitations } = await this.#connected().request(say.invitations());
    return invitations;
  }

  /**
   * Revokes an invitation. Nobody comes in by it any more; whoever is in stays.
   *
   * @param {string} id
   */
  async revokeInvitation(id) {
    await this.#connected().request(say.revoke(id));
  }

  /** @param {{ id: string, name: string }[]} people */
  #addWaiting(people) {
    const others = people.filter((person) => !this.#restoring.admit(person.id, () => this.#addWaiting([person])));
    for (const { id, name } of others) this.#waiting.set(id, name);
    this.#emit("waitingChanged", this.#waiting);
  }

  /**
   * Mutes what a moderator has muted: the media is silenced before anybody is told.
   *
   * @param {string | null} trackId
   */
  #silence(trackId) {
    const publication = trackId && [...this.#room.publications].find((each) => each.trackId === trackId);
    if (publication) this.#room.setMuted(publication, true).catch((error) => this.#report(error));
  }

  /** @param {unknown} error that the call survives */
  #report(error) {
    this.#emit("errorOccurred", /** @type {Error} */ (error));
  }

  /** @param {import("./protocol.js").ModerateWish} wish */
  async #act(wish) {
    await this.#connected().request(say.moderate(wish));
  }

  /**
   * @param {Rules} rules
   * @param {string | null} by
   * @param {boolean} [isRestored]
   */
  #setRules(rules, by, isRestored = false) {
    this.rules = Object.freeze({ ...rules });
    this.#emit("rulesChanged", { rules: this.rules, by, isRestored });
  }

  /**
   * @param {string} participantId
   * @param {boolean} raised
   * @param {string | null} by
   */
  #setHand(participantId, raised, by) {
    const others = this.hands.filter((id) => id !== participantId);
    this.hands = raised ? [...others, participantId] : others;
    this.#emit("handsChanged", { participantId, raised, by });
  }
}
