import { CallError } from "./errors.js";
import { say } from "./protocol.js";
import { Signaling } from "./signaling.js";

/** @import { LineOptions } from "./line.js" */
/** @import { ServerMessages } from "./protocol.js" */
/** @import { SocketKind } from "./socket.js" */

/** Time for one way: an attempt over TCP has its second repetition by then. */
const PATIENCE_MS = 8_000;
/** Time for the server to take us in. */
const ENTER_MS = 12_000;
/** Time for the browser to have measured the round trip. */
const MEASURE_MS = 1_500;
const MEASURE_EVERY_MS = 50;
/** TURN servers that are tried. */
const MOST_RELAYS = 4;

/**
 * A way by which sound and pictures get to the server: straight by UDP, straight by TCP, or through the TURN server at an
 * address.
 *
 * @typedef {{ kind: "udp" } | { kind: "tcp" } | { kind: "relay", url: string }} Way
 */

/**
 * @typedef {object} WayOutcome
 * @property {Way} way
 * @property {"reached" | "blocked" | "not_offered"} state
 * @property {number | null} connectMs from the server's answer until media could flow
 * @property {number | null} roundTripMs
 */

/**
 * @typedef {object} WaysOptions
 * @property {string} url the server's `/v1/ws`
 * @property {string} room one that nobody is in; or that of the token
 * @property {string} name the name that others in the room see for some seconds
 * @property {string} [token] the access token, where the server wants one
 * @property {LineOptions} [line] for tests
 * @property {(config: RTCConfiguration) => RTCPeerConnection} [connect] for tests
 * @property {number} [patienceMs] for tests
 */

/** @typedef {{ kind: SocketKind | null, ms: number }} Entered the way of messages, and the time until the server had taken us in */

/**
 * Tries each way on its own, one after the other, as a participant that publishes nothing and leaves again.
 *
 * @param {WaysOptions} options
 * @param {{ onEntered?: (entered: Entered) => void, onWays?: (ways: Way[]) => void, onOutcome?: (outcome: WayOutcome) => void }} [listeners]
 *   `onWays`: those that are about to be tried
 * @returns {Promise<WayOutcome[]>} rejected with a `CallError` when the server does not take us in; `admission_awaited`: a
 *   moderator would have to
 */
export async function tryWays(options, { onEntered = () => {}, onWays = () => {}, onOutcome = () => {} } = {}) {
  /** @type {Way[]} */
  let ways = [{ kind: "udp" }, { kind: "tcp" }];
  /** @type {WayOutcome[]} */
  const outcomes = [];
  for (let at = 0; at < ways.length; at += 1) {
    const visit = await Visit.enter(options);
    try {
      if (at === 0) {
        onEntered({ kind: visit.kind, ms: visit.enteredMs });
        ways = [...ways, ...visit.relays.slice(0, MOST_RELAYS)];
        onWays(ways);
      }
      const outcome = await visit.attempt(ways[at]);
      outcomes.push(outcome);
      onOutcome(outcome);
    } finally {
      visit.leave();
    }
  }
  return outcomes;
}

/** One stay in the room. */
class Visit {
  #options;
  #signaling;
  #iceServers;
  /** Milliseconds until the server had taken us in. */
  enteredMs;

  /**
   * @param {WaysOptions} options
   * @param {Signaling} signaling
   * @param {ServerMessages["welcome"]} welcome
   * @param {number} enteredMs
   */
  constructor(options, signaling, { iceServers }, enteredMs) {
    this.#options = options;
    this.#signaling = signaling;
    this.#iceServers = iceServers;
    this.enteredMs = enteredMs;
  }

  /** @param {WaysOptions} options */
  static async enter(options) {
    const { url, room, name, token, line } = options;
    const began = performance.now();
    const signaling = new Signaling(url, line);
    /** @type {(error: CallError) => void} */
    let refuse = () => {};
    /** @type {Promise<never>} */
    const refused = new Promise((_, reject) => (refuse = reject));
    const stop = signaling.on("message", ({ type }) => {
      if (type === "wait") refuse(new CallError("admission_awaited", "A moderator has to let people in."));
    });
    const timer = setTimeout(() => refuse(new CallError("timeout", "The server did not answer in time.")), ENTER_MS);
    try {
      const entering = signaling.opened().then(() =>
        signaling.request(say.join({ room, name, autoSubscribe: false, audience: "always", ...(token && { token }) })),
      );
      const welcome = await Promise.race([entering, refused]);
      return new Visit(options, signaling, welcome, performance.now() - began);
    } catch (error) {
      signaling.close();
      throw error;
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  get kind() {
    return this.#signaling.kind;
  }

  /** @returns {Way[]} through each TURN server that the server names */
  get relays() {
    return relayServers(this.#iceServers).map(({ urls }) => ({ kind: /** @type {const} */ ("relay"), url: urls }));
  }

  /**
   * @param {Way} way
   * @returns {Promise<WayOutcome>}
   */
  async attempt(way) {
    const connect = this.#options.connect ?? ((config) => new RTCPeerConnection(config));
    const iceServers = way.kind === "relay" ? relayServers(this.#iceServers).filter(({ urls }) => urls === way.url) : [];
    const pc = connect({ iceServers, bundlePolicy: "max-bundle", iceTransportPolicy: way.kind === "relay" ? "relay" : "all" });
    try {
      pc.addTransceiver("audio", { direction: "recvonly" });
      await pc.setLocalDescription(await pc.createOffer());
      const { sdp } = await this.#signaling.request(say.offer(pc.localDescription?.sdp ?? "", []));
      const kept = keepCandidates(sdp, way.kind);
      if (kept === null) return { way, state: "not_offered", connectMs: null, roundTripMs: null };
      const began = performance.now();
      await pc.setRemoteDescription({ type: "answer", sdp: kept });
      const isReached = await connected(pc, this.#options.patienceMs ?? PATIENCE_MS);
      if (!isReached) return { way, state: "blocked", connectMs: null, roundTripMs: null };
      const connectMs = performance.now() - began;
      return { way, state: "reached", connectMs, roundTripMs: await roundTrip(pc) };
    } finally {
      pc.close();
    }
  }

  leave() {
    this.#signaling.send(say.leave());
    this.#signaling.close();
  }
}

/**
 * The answer with the server's addresses for one kind of way alone.
 *
 * @param {string} sdp
 * @param {Way["kind"]} kind
 * @returns {string | null} null if there is none of the kind
 */
export function keepCandidates(sdp, kind) {
  // A relay sends on to addresses of UDP.
  const wanted = kind === "tcp" ? "tcp" : "udp";
  let count = 0;
  const lines = sdp.split("\r\n").filter((line) => {
    if (!line.startsWith("a=candidate:")) return true;
    const isWanted = line.split(" ")[2]?.toLowerCase() === wanted;
    count += Number(isWanted);
    return isWanted;
  });
  return count > 0 ? lines.join("\r\n") : null;
}

/**
 * @param {RTCIceServer[]} iceServers
 * @returns {(RTCIceServer & { urls: string })[]} one for each address of TURN
 */
export function relayServers(iceServers) {
  return iceServers.flatMap(({ urls, ...user }) => [urls].flat().filter((url) => /^turns?:/i.test(url)).map((url) => ({ ...user, urls: url })));
}

/**
 * @param {RTCPeerConnection} pc
 * @param {number} patienceMs
 * @returns {Promise<boolean>}
 */
function connected(pc, patienceMs) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), patienceMs);
    const look = () => {
      if (!["connected", "failed", "closed"].includes(pc.connectionState)) return;
      clearTimeout(timer);
      resolve(pc.connectionState === "connected");
    };
    pc.addEventListener("connectionstatechange", look);
    look();
  });
}

/**
 * @param {RTCPeerConnection} pc
 * @returns {Promise<number | null>} null if the browser does not say
 */
async function roundTrip(pc) {
  const until = performance.now() + MEASURE_MS;
  do {
    for (const stats of (await pc.getStats()).values()) {
      const { type, state, nominated, currentRoundTripTime: seconds } = stats;
      if (type === "candidate-pair" && state === "succeeded" && nominated && seconds !== undefined) return seconds * 1_000;
    }
    await new Promise((resolve) => setTimeout(resolve, MEASURE_EVERY_MS));
  } while (performance.now() < until);
  return null;
}
