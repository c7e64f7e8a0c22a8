/**
 * A server with sessions and the network before it, in the test's own process: what `signaling/docs/PROTOCOL.md` says
 * of them, and nothing more. It shares no code with the client.
 */
import { answerTo } from "./fakes.mjs";

/** One end of a connection, as a browser's WebSocket. The network decides what becomes of each frame. */
function socketClass(server) {
  return class Socket extends EventTarget {
    readyState = 0;
    /** The network carries nothing any more, and tells nobody. */
    isDead = { up: false, down: false };
    said = [];

    constructor(url) {
      super();
      this.url = url;
      server.sockets.push(this);
      server.network(() => this.#open());
    }

    #open() {
      if (!server.isReachable) return this.cut();
      if (this.isDead.up || this.isDead.down || this.readyState !== 0) return;
      this.readyState = 1;
      this.peer = { session: null, socket: this };
      this.dispatchEvent(new Event("open"));
    }

    send(frame) {
      const message = JSON.parse(frame);
      if (message.type !== "ping") this.said.push(message);
      if (this.readyState !== 1) return;
      server.network(() => this.isDead.up || server.hear(this.peer, message), this, "up");
    }

    /** The server says something. */
    tell(message) {
      const data = JSON.stringify(message);
      server.network(() => this.isDead.down || this.isCut || this.dispatchEvent(new MessageEvent("message", { data })), this, "down");
    }

    /** The client closes it; the server hears of it unless the network is dead. */
    close() {
      if (this.readyState > 1) return;
      this.readyState = 3;
      // A browser waits for the other end to close as well, for many seconds.
      if (this.isDead.up || this.isDead.down) return;
      server.network(() => server.detach(this), this, "up");
      this.dispatchEvent(Object.assign(new Event("close"), { code: 1005, wasClean: true }));
    }

    /** Both ends hear that it is gone; what was under way is lost. */
    cut() {
      if (this.isCut) return;
      this.isCut = true;
      this.isDead = { up: true, down: true };
      server.detach(this);
      if (this.readyState > 1) return;
      this.readyState = 3;
      this.dispatchEvent(Object.assign(new Event("close"), { code: 1006 }));
    }
  };
}

export class SessionServer {
  sockets = [];
  /** Polls with messages. */
  requests = [];
  isReachable = true;
  graceMs = 30_000;
  /** @type {Map<string, any>} by the token's secret */
  sessions = new Map();
  /** Counts of each refusal. */
  refused = {};
  /** Answers that a test gives instead: `(message, session) => replies` or undefined. */
  answer = () => undefined;
  #last = 0;

  /** @param {(deliver: () => void, socket?: any, way?: "up" | "down") => void} [network] delivers in order, at once or later */
  constructor(network = (deliver) => queueMicrotask(deliver)) {
    this.network = network;
    this.WebSocket = socketClass(this);
  }

  /** The latest connection. */
  get socket() {
    return this.sockets.at(-1);
  }

  /** Says something that is numbered, whether anybody is there or not. */
  push(session, message) {
    session.sent += 1;
    session.outbox.push({ number: session.sent, message });
    session.socket?.tell(message);
  }

  /** A server that was started again knows nobody. */
  restart() {
    this.sessions.clear();
    for (const socket of this.sockets) socket.cut();
  }

  detach(socket) {
    for (const session of this.sessions.values()) if (session.socket === socket) session.socket = null;
  }

  hear(peer, message) {
    const { socket } = peer;
    if (message.type === "ping") {
      if (peer.session && message.received !== undefined) this.#acknowledged(peer.session, message.received);
      this.#confirm(peer);
      return socket.tell({ type: "pong", id: message.id });
    }
    const { session } = peer;
    if (!session) return this.#hearStranger(peer, message);
    // Another connection has taken the session over.
    if (session.socket !== socket) return undefined;
    this.#confirm(peer);
    if (message.type === "ack") return this.#acknowledged(session, message.received);
    session.received += 1;
    session.heard.push(message);
    if (message.type === "leave") return this.#leave(peer, message);
    if (message.type === "update") Object.assign(session.known, message.name && { name: message.name }, message.metadata && { metadata: message.metadata });
    for (const reply of this.answer(message, session) ?? this.#usual(message)) this.push(session, { id: message.id, ...reply });
    return undefined;
  }

  #leave({ session, socket }, { id }) {
    for (const [secret, each] of this.sessions) if (each === session) this.sessions.delete(secret);
    socket.tell({ type: "bye", id, reason: "left", message: "" });
  }

  /** A poll that makes a socket, as `fetch` makes it. What it does not bring a message for, this server does not serve. */
  fetch = async (url, { body, keepalive }) => {
    const { messages } = JSON.parse(body);
    if (!url.endsWith("/http/poll") || messages.length === 0) return { ok: false, status: 404 };
    this.requests.push({ messages, keepalive });
    if (!this.isReachable) throw new TypeError("Failed to fetch");
    const replies = [];
    const peer = { session: null, socket: { tell: (message) => replies.push(message) } };
    for (const message of messages) this.hear(peer, message);
    return { ok: true, json: async () => ({ connection: "c", messages: replies }) };
  };

  #usual(message) {
    switch (message.type) {
      case "offer":
        return [answerTo(message.sdp, { tracks: message.tracks })];
      case "chat":
        return [{ type: "ok" }];
      default:
        return [{ type: "ok" }];
    }
  }

  /** The client's first word after `resumed` ends the token before. */
  #confirm(peer) {
    if (peer.session?.unconfirmed && peer.session.socket === peer.socket) {
      peer.session.spent.add(peer.session.old);
      peer.session.unconfirmed = false;
    }
  }

  #acknowledged(session, received) {
    session.outbox = session.outbox.filter(({ number }) => number > received);
    session.acknowledged = Math.max(session.acknowledged, received);
  }

  #hearStranger(peer, message) {
    if (message.type === "join") return this.#join(peer, message);
    if (message.type === "resume") return this.#resume(peer, message);
    return undefined;
  }

  #token(secret) {
    return `${secret}.${(this.#last += 1)}`;
  }

  #join(peer, { id, room, resumable, session: token, name, metadata = {}, offer }) {
    const secret = token?.split(".")[0] ?? `secret${(this.#last += 1)}`;
    const session = this.#begin(peer, secret, this.sessions.get(secret)?.participant ?? `pa_${secret}`);
    session.known = { name, metadata };
    this.push(session, this.#welcome(session, { id, room }, resumable));
    if (offer && !this.isOld) this.push(session, this.offerRefusal ? { id, ...this.offerRefusal } : { id, ...answerTo(offer.sdp, { tracks: offer.tracks }) });
  }

  #begin(peer, secret, participant) {
    const session = {
      participant, socket: peer.socket, token: this.#token(secret), old: null, unconfirmed: false, spent: new Set(),
      sent: 0, acknowledged: 0, outbox: [], received: 0, heard: [],
    };
    this.sessions.set(secret, session);
    peer.session = session;
    return session;
  }

  #welcome(session, { id, room = "standup" }, resumable) {
    return {
      type: "welcome", id, version: 1, room, participant: session.participant, ...session.known, ...(this.hands && { hands: this.hands }), ...(this.rules && { rules: this.rules }), ...(this.permissions && { permissions: this.permissions }), ...(this.audience && { audience: this.audience }), participants: this.others ?? [], chat: this.chat ?? [],
      ice_servers: [], limits: { message_bytes: 65536, chat_chars: 2000 }, server: { name: "tertulia", version: "0" },
      ...(!this.isOld && { data: { protocol: "tertulia.sender", message_bytes: 16_384, messages_per_second: 100 } }),
      ...(this.iceServers && { ice_servers: this.iceServers }),
      ...(resumable && !this.isOld && { session: { token: session.token, grace_ms: this.graceMs } }),
    };
  }

  #resume(peer, { id, session: token, received, fresh }) {
    const refuse = (code) => {
      this.refused[code] = (this.refused[code] ?? 0) + 1;
      peer.socket.tell({ type: "error", id, code, message: "refused", fatal: false });
    };
    const secret = token.split(".")[0];
    const session = this.sessions.get(secret);
    if (!session) return refuse("no_such_session");
    const isOld = session.unconfirmed && token === session.old;
    if (token !== session.token && !isOld) return refuse(session.spent.has(token) ? "session_used" : "no_such_session");
    if (fresh) {
      const anew = this.#begin(peer, secret, session.participant);
      Object.assign(anew, { known: session.known, spent: session.spent, old: token, unconfirmed: true });
      peer.socket.tell({ type: "resumed", id, session: anew.token, received: 0 });
      return this.push(anew, this.#welcome(anew, {}, true));
    }
    if (received > session.sent || received < session.acknowledged) return refuse("session_gap");
    this.#acknowledged(session, received);
    session.old = token;
    session.token = this.#token(secret);
    session.unconfirmed = true;
    session.socket = peer.socket;
    peer.session = session;
    peer.socket.tell({ type: "resumed", id, session: session.token, received: session.received });
    for (const { message } of session.outbox) peer.socket.tell(message);
    return undefined;
  }
}
