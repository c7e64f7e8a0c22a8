/** What a page keeps about a call, with times, from before it is joined. Each function is for `addInitScript`. */

/** Keeps in `window.told` what the room and the browser tell. */
export function keepTold() {
  window.told = [];
  const tell = (name, detail) => window.told.push({ at: Date.now(), name, detail });
  for (const name of ["online", "offline"]) addEventListener(name, () => tell(name));
  let room;
  Object.defineProperty(window, "tertulia", {
    get: () => room,
    set: (value) => {
      room = value;
      for (const name of ["participantJoined", "participantLeft"]) room.on(name, ({ id, participant }) => tell(name, participant?.id ?? id));
      room.on("presenceChanged", ({ id, isConnected }) => tell("presenceChanged", { id, isConnected }));
      room.on("stateChanged", ({ state }) => tell("stateChanged", state));
      room.on("mediaStateChanged", (state) => tell("mediaStateChanged", state));
      room.on("signalingChanged", ({ isConnected }) => tell("signalingChanged", isConnected));
    },
  });
}

/** Counts in `window.repairs` transports, and their searches for another path. */
export function keepRepairs() {
  window.repairs = { transports: 0, restarts: 0 };
  const { RTCPeerConnection } = window;
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(config) {
      super(config);
      window.repairs.transports += 1;
    }
    createOffer(options) {
      if (options?.iceRestart) window.repairs.restarts += 1;
      return super.createOffer(options);
    }
  };
}

/** Keeps in `window.came` the times at which pictures were decoded, and at which sound came. */
export function keepMedia() {
  window.came = { video: [], audio: [] };
  let last = { video: 0, audio: 0 };
  const look = async () => {
    const sums = { video: 0, audio: 0 };
    const report = await window.tertulia?.getStats().catch(() => null);
    report?.forEach((entry) => {
      if (entry.type === "inbound-rtp") sums[entry.kind] += entry.kind === "video" ? (entry.framesDecoded ?? 0) : (entry.packetsReceived ?? 0);
    });
    for (const kind of ["video", "audio"]) {
      // Another transport counts anew.
      if (sums[kind] !== last[kind] && sums[kind] > 0) window.came[kind].push(Date.now());
    }
    last = sums;
    setTimeout(look, 50);
  };
  void look();
}

/**
 * The call as a page has it: who is there, what they send, what of it is received, what is large, what one may do.
 * Tracks are those of before only as long as nobody has joined anew.
 */
export function callAsSeen() {
  const room = window.tertulia;
  const tracksOf = ({ tracks }) =>
    [...tracks.values()].map(({ id, source, muted }) => ({ id, source, muted, isReceived: room.receiverOf(id) !== null }));
  const people = [...room.participants.values()].map((each) => ({ id: each.id, name: each.name, isConnected: each.isConnected, tracks: tracksOf(each) }));
  return {
    id: room.participantId,
    own: [...room.publications].map(({ source, muted, media }) => ({ source, muted, isOn: media?.enabled ?? false })),
    permissions: { ...room.permissions },
    people: people.sort((a, b) => a.name.localeCompare(b.name)),
    enlarged: document.querySelector(".tile.enlarged")?.getAttribute("data-tile") ?? null,
  };
}
