/**
 * Signaling without media: rooms, chat and slots as `signaling/docs/PROTOCOL.md` has them, and answers whose
 * candidate leads nowhere. Enough to look at the page and to break its connection in every way.
 */
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { WebSocketServer } from "ws";

const ROOT = new URL("../../", import.meta.url);
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

export class FakeServer {
  #http;
  #sockets;
  /** @type {Map<string, { id: string, name: string, tracks: any[], socket: any }>} */
  participants = new Map();
  chat = [];
  /** Answers `join` with this error code instead. */
  refuse = null;
  /** Hears everything and says nothing. */
  deaf = false;
  /** The answers to `stats` and `timeline`. */
  stats = null;
  decisions = [];
  #lastId = 0;

  static async start(port = 0) {
    const server = new FakeServer();
    server.#http = createServer((request, response) => void serveFile(request, response));
    server.#sockets = new WebSocketServer({ server: server.#http, path: "/v1/ws" });
    server.#sockets.on("connection", (socket) => server.#accept(socket));
    await new Promise((resolve) => server.#http.listen(port, "127.0.0.1", resolve));
    server.port = server.#http.address().port;
    server.url = `http://127.0.0.1:${server.port}/`;
    return server;
  }

  /** Says goodbye or, without a reason, just goes. */
  async stop(reason) {
    for (const socket of this.#sockets.clients) {
      if (reason) say(socket, { type: "bye", reason, message: "The server said goodbye." });
      if (reason) socket.close(1000);
      else socket.terminate();
    }
    this.#sockets.close();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  bye(participant, reason, message = "") {
    say(participant.socket, { type: "bye", reason, message });
    participant.socket.close(1000);
  }

  /** Somebody without a page, to fill the room. */
  addGuest(name, { microphone = "on", camera = "on", screen = false } = {}) {
    const id = `pa_guest${(this.#lastId += 1)}`;
    const track = (kind, source, muted) => ({ id: `tr_${id}_${source}`, kind, source, muted, simulcast: false, codec: null });
    const tracks = [track("audio", "microphone", microphone !== "on"), track("video", "camera", camera !== "on")];
    if (screen) tracks.push(track("video", "screen", false));
    const guest = { id, name, tracks };
    this.participants.set(id, guest);
    this.broadcast({ type: "participant_joined", participant: info(guest) }, id);
    return guest;
  }

  /** To one page. */
  tell(participant, message) {
    say(participant.socket, message);
  }

  setMuted(guest, source, muted) {
    const track = guest.tracks.find((each) => each.source === source);
    track.muted = muted;
    this.broadcast({ type: "track_updated", participant: guest.id, track }, guest.id);
  }

  remove(participant, reason = "left") {
    if (!this.participants.delete(participant.id)) return;
    this.broadcast({ type: "participant_left", participant: participant.id, reason }, participant.id);
  }

  write(participant, text) {
    const message = { id: this.chat.length + 1, participant: participant.id, name: participant.name, text, at_ms: Date.now() };
    this.chat.push(message);
    this.broadcast({ type: "chat", message });
  }

  broadcast(message, except) {
    for (const { id, socket } of this.participants.values()) if (socket && id !== except) say(socket, message);
  }

  #accept(socket) {
    const me = { id: `pa_page${(this.#lastId += 1)}`, name: "", tracks: [], views: new Map(), socket };
    socket.on("message", (frame) => this.#handle(me, JSON.parse(frame.toString())));
    socket.on("close", () => this.remove(me, "disconnected"));
  }

  #handle(me, message) {
    if (this.deaf && message.type !== "ping") return;
    const { id, type } = message;
    const reply = (answer) => say(me.socket, { id, ...answer });
    switch (type) {
      case "join": {
        if (this.refuse) return reply({ type: "error", code: this.refuse, message: "The server refused.", fatal: true });
        me.name = message.name;
        const participants = [...this.participants.values()].map(info);
        this.participants.set(me.id, me);
        this.broadcast({ type: "participant_joined", participant: info(me) }, me.id);
        return reply(welcome(message.room, me.id, participants, this.chat));
      }
      case "offer":
        return reply(this.#answer(me, message));
      case "mute": {
        const track = me.tracks.find((each) => each.id === message.track);
        track.muted = message.muted;
        this.broadcast({ type: "track_updated", participant: me.id, track }, me.id);
        return reply({ type: "ok" });
      }
      case "chat":
        this.write(me, message.text);
        return reply({ type: "ok" });
      case "update":
        me.name = message.name ?? me.name;
        this.broadcast({ type: "participant_updated", participant: info(me) }, me.id);
        return reply({ type: "ok" });
      case "leave":
        this.remove(me);
        return this.bye(me, "left");
      case "view":
        for (const view of message.tracks) me.views.set(view.track, view);
        return reply({ type: "ok" });
      case "stats":
        return reply({ type: "stats", peer: this.stats });
      case "timeline":
        return reply({ type: "timeline", now_ms: 60_000, decisions: this.decisions });
      case "ping":
        return reply({ type: "pong" });
      default:
        return reply({ type: "error", code: "unknown_type", message: `I do not know ${type}.`, fatal: false });
    }
  }

  #answer(me, { sdp, tracks }) {
    const published = tracks.map(({ mid }) => ({ mid, track: `tr_${me.id}_${mid}` }));
    const before = me.tracks;
    me.tracks = tracks.map(({ mid, source, muted }) => {
      const kind = ["microphone", "screen_audio"].includes(source) ? "audio" : "video";
      return { id: `tr_${me.id}_${mid}`, kind, source, muted, simulcast: false, codec: null };
    });
    for (const track of me.tracks) {
      const known = before.some((each) => each.id === track.id);
      this.broadcast({ type: known ? "track_updated" : "track_published", participant: me.id, track }, me.id);
    }
    for (const { id } of before.filter((each) => !me.tracks.some((track) => track.id === each.id))) {
      this.broadcast({ type: "track_unpublished", participant: me.id, track: id }, me.id);
    }
    return { type: "answer", sdp: answerSdp(sdp), published, slots: [], needs: { audio: 0, video: 0 } };
  }
}

function info({ id, name, tracks }) {
  return { id, name, metadata: {}, tracks };
}

function welcome(room, participant, participants, chat) {
  const limits = { message_bytes: 1_048_576, chat_chars: 2000 };
  const server = { name: "fake", version: "0" };
  return { type: "welcome", version: 1, room, participant, participants, chat, ice_servers: [], limits, server };
}

/** Accepts every m-line as offered, on a path that does not exist. */
function answerSdp(offer) {
  const [session, ...media] = offer.split(/(?=^m=)/m);
  const group = /^a=group:.*$/m.exec(session)?.[0] ?? "";
  const fingerprint = `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => "AB").join(":")}`;
  const head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite", group];
  const kept = /^(m=|c=|a=(mid|rtpmap|fmtp|rtcp-fb|rtcp-mux|extmap|sctp-port|max-message-size))/;
  const flip = { sendonly: "recvonly", sendrecv: "recvonly", recvonly: "sendonly", inactive: "inactive" };
  const answered = media.flatMap((section) => {
    const lines = section.split("\r\n");
    const direction = lines.map((line) => line.slice(2)).find((name) => name in flip);
    const rids = lines.filter((line) => line.startsWith("a=rid:")).map((line) => line.replace(" send", " recv"));
    const simulcast = lines.filter((line) => line.startsWith("a=simulcast:")).map((line) => line.replace("send", "recv"));
    return [
      ...lines.filter((line) => kept.test(line)),
      ...rids,
      ...simulcast,
      ...(direction ? [`a=${flip[direction]}`] : []),
      "a=ice-ufrag:fakefake",
      "a=ice-pwd:fakefakefakefakefakefake",
      fingerprint,
      "a=setup:passive",
      "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host",
    ];
  });
  return `${[...head, ...answered].filter(Boolean).join("\r\n")}\r\n`;
}

function say(socket, message) {
  if (socket?.readyState === 1) socket.send(JSON.stringify(message));
}

async function serveFile(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  const path = pathname.endsWith("/") ? `${pathname}index.html` : pathname;
  try {
    const body = await readFile(new URL(`.${path}`, ROOT));
    response.writeHead(200, {
      "content-type": TYPES[extname(path)] ?? "application/octet-stream",
      "content-security-policy": "default-src 'self'; script-src 'self' 'sha256-Cuyhy3GGaiJ786TqL/woJQUoCg73y3jrceB7j/qCQIo='",
    });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}
