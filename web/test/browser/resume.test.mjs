/**
 * Calls whose signaling is cut, stalled, blocked or served by another process: sound and pictures go on, everybody stays
 * who they are, and each message arrives once. `TERTULIA_LONG=1` runs 20 random sequences of such faults instead of one, and
 * stalls of three lengths.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { autojoin, closePages, launch, openPage, SLOW_CAMERA } from "./chromium.mjs";
import { checkTime, IN_FULL, isLong } from "./extent.mjs";
import { Server } from "./server.mjs";
import { isEvents, isWebSocket, TcpProxy } from "./tcp-proxy.mjs";
import { keepConnections } from "./watching.mjs";

const PATIENCE = { timeout: 30_000 };
const SEQUENCES = isLong ? 20 : 1;
const STALLS = isLong ? [6, 9, 30] : [30];
const FAULTS_EACH = 4;

let server;
let proxy;
let browser;
let rooms = 0;

before(async () => {
  // Always one of ours: it is stopped and started.
  server = await Server.start({ arrange: async () => [] });
  proxy = await TcpProxy.start(server.url);
  browser = await launch(SLOW_CAMERA);
});

after(async () => {
  await browser?.close();
  proxy?.stop();
  await server?.stop();
});

let pages = [];
afterEach(async () => {
  proxy.refuse(() => false);
  proxy.flow();
  browser = await closePages(browser, pages.splice(0), SLOW_CAMERA);
});

/** A tone that does not end, in the place of the fake microphone's beeps. */
function hum() {
  const { mediaDevices } = navigator;
  const original = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (constraints) => {
    const stream = await original(constraints);
    if (!constraints.audio) return stream;
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    return new MediaStream([...out.stream.getAudioTracks(), ...stream.getVideoTracks()]);
  };
}

/** Keeps what the room tells, from before it is joined, across reloads. */
function keepTold() {
  window.told = [];
  let room;
  Object.defineProperty(window, "tertulia", {
    get: () => room,
    set: (value) => {
      room = value;
      for (const name of ["participantJoined", "participantLeft", "presenceChanged", "stateChanged"]) {
        room.on(name, (payload) => window.told.push([name, payload.participant?.id ?? payload.id ?? payload.state]));
      }
    },
  });
}

async function open(url, name, room) {
  const page = await openPage(browser, "about:blank");
  pages.push(page);
  for (const script of [hum, keepTold, keepConnections]) await page.addInitScript(script);
  await page.goto(autojoin(url, name, { room }));
  await page.waitForSelector(".call .tile.own", PATIENCE);
  return page;
}

const connected = (page) =>
  page.waitForFunction(() => window.tertulia?.state === "connected" && window.tertulia.signaling.isConnected, null, PATIENCE);

/** Pictures decoded and sound received so far, of all that ever arrived in this page's transport. */
const media = (page) =>
  page.evaluate(async () => {
    const sums = { video: 0, audio: 0 };
    (await window.tertulia.getStats())?.forEach((entry) => {
      if (entry.type === "inbound-rtp") sums[entry.kind] += entry.kind === "video" ? (entry.framesDecoded ?? 0) : (entry.packetsReceived ?? 0);
    });
    return sums;
  });

/** Waits until a page sees and hears the other, by what comes from now on. Who is muted sends no sound. */
async function flowing(page, isHeard = true) {
  const deadline = Date.now() + PATIENCE.timeout;
  for (let before = await media(page); ; ) {
    const now = await media(page);
    assert.ok(Date.now() < deadline, `media does not flow: ${JSON.stringify([before, now])}`);
    if (now.video > before.video + 3 && (!isHeard || now.audio > before.audio + 3)) return;
    // Another transport counts anew.
    if (now.video < before.video || now.audio < before.audio) before = now;
    await page.waitForTimeout(100);
  }
}

/** Ana is behind the proxy, Ben is not. */
async function inCall() {
  const room = `resume${(rooms += 1)}`;
  const ana = await open(proxy.url, "Ana", room);
  const ben = await open(server.url, "Ben", room);
  for (const page of [ana, ben]) {
    await connected(page);
    await page.waitForFunction(() => window.tertulia.participants.size === 1, null, PATIENCE);
    await flowing(page);
  }
  const call = { ana, ben, said: [], ids: {}, muted: false };
  for (const name of ["ana", "ben"]) call.ids[name] = await call[name].evaluate(() => window.tertulia.participantId);
  for (const page of [ana, ben]) await page.evaluate(() => (window.told.length = 0));
  return call;
}

/** Writes a message, without waiting for the server. */
async function write(call, name) {
  const text = `${name} ${call.said.length}`;
  call.said.push(text);
  await call[name].evaluate((words) => void window.tertulia.sendChat(words), text);
}

async function toggleMute(call) {
  call.muted = !call.muted;
  await call.ana.keyboard.press("m");
}

/**
 * The call is as before: same people, nobody told of coming and going, media both ways, mutes as they were, and every
 * message once on both sides.
 */
async function checkCall(call, { isReloaded = false } = {}) {
  const { ana, ben, ids } = call;
  for (const page of [ana, ben]) await connected(page);
  for (const [name, other] of [["ana", "ben"], ["ben", "ana"]]) {
    const page = call[name];
    assert.equal(await page.evaluate(() => window.tertulia.participantId), ids[name], `${name} is who they were`);
    await page.waitForFunction(
      ([id, muted]) => {
        const [participant, ...more] = window.tertulia.participants.values();
        const microphone = [...(participant?.tracks.values() ?? [])].find(({ source }) => source === "microphone");
        return participant?.id === id && more.length === 0 && participant.isConnected && (microphone?.muted ?? true) === muted;
      },
      [ids[other], other === "ana" && call.muted],
      PATIENCE,
    );
    await page.waitForFunction((count) => window.tertulia.chat.length >= count, call.said.length, PATIENCE);
    const chat = await page.evaluate(() => window.tertulia.chat.map(({ text }) => text));
    assert.deepEqual([...chat].sort(), [...call.said].sort(), `${name} has each message once`);
    await flowing(page, other === "ben" || !call.muted);
    const told = await page.evaluate(() => window.told.filter(([event]) => /Joined|Left/.test(event)));
    assert.deepEqual(told, isReloaded && name === "ana" ? [["participantJoined", ids.ben]] : [], `what ${name} was told`);
  }
  // A page that is loaded again leaves a microphone closed that was off.
  const isMuted = () => [...window.tertulia.publications].find(({ source }) => source === "microphone")?.muted ?? true;
  assert.equal(await ana.evaluate(isMuted), call.muted);
  // In one order for everybody.
  const [mine, theirs] = await Promise.all([ana, ben].map((page) => page.evaluate(() => window.tertulia.chat.map(({ text }) => text))));
  if (!call.isRestarted) assert.deepEqual(mine, theirs);
}

/** The transport of Ana's page is the first one, and it is the same that media came over all the time. */
async function checkUntouched({ ana }) {
  assert.equal(await ana.evaluate(() => window.connections.length), 1, "one transport");
  assert.deepEqual(await ana.evaluate(() => window.told.filter(([event]) => event === "stateChanged")), []);
}

test("a cut connection is taken up again, and neither media nor anybody notices", async () => {
  const call = await inCall();
  proxy.cut();
  await write(call, "ana");
  await write(call, "ben");
  await toggleMute(call);
  await checkCall(call);
  await checkUntouched(call);
});

for (const seconds of STALLS) {
  test(`a connection that carries nothing for ${seconds} s stops no media, and nothing is lost`, async () => {
    const call = await inCall();
    const { ana, ben } = call;
    proxy.stall();
    const until = Date.now() + seconds * 1_000;
    await write(call, "ana");
    await write(call, "ben");
    await toggleMute(call);
    assert.equal(await ana.evaluate(() => window.tertulia.publications.values().next().value.media.enabled), false);
    if (seconds === 30) {
      await ana.waitForSelector('.link-state[data-state="resuming"]', PATIENCE);
      assert.equal(await ana.locator(".banner.trouble").isVisible(), false, "the page does not cover a call that goes on");
      await ben.waitForSelector(".tile:not(.own).away .plate-away:not([hidden])", PATIENCE);
      assert.match(await ben.locator(".tile.away").getAttribute("aria-label"), /reconnecting/);
    }
    while (Date.now() < until) {
      const [before, theirs] = [await media(ana), await media(ben)];
      // Ana is silent to Ben; her picture and his sound go on.
      while ((await media(ana)).audio <= before.audio || (await media(ana)).video <= before.video) await ana.waitForTimeout(50);
      while ((await media(ben)).video <= theirs.video) await ben.waitForTimeout(50);
      await ana.waitForTimeout(300);
    }
    proxy.flow();
    await checkCall(call);
    await checkUntouched(call);
    assert.equal(await ben.locator(".tile.away").count(), 0);
  });
}

/**
 * The time at which a sound has ended, by its energy.
 *
 * @param {{ at: number, energy: number, delay: number, emitted: number }[]} samples
 * @param {number} pressed
 */
function silence(samples, pressed) {
  const before = samples.filter(({ at }) => at < pressed);
  const [first, last] = [before[0], before.at(-1)];
  const rate = (last.energy - first.energy) / (last.at - first.at);
  assert.ok(rate > 0, "it was heard before");
  const delay = ((last.delay - first.delay) / (last.emitted - first.emitted)) * 1_000;
  // The energy in the end is what there was of sound: it is over when all but a hundredth of a second of it has come.
  const total = samples.at(-1).energy;
  const { at } = samples.find(({ energy }) => energy >= total - rate * 10);
  return { at, delay, isQuiet: samples.at(-1).at - at > 1_000 };
}

/** Presses mute, and tells after how many milliseconds nothing was to be heard any more, without the wait to be played. */
async function timeToSilence(call) {
  const { ana, ben } = call;
  const samples = ben.evaluate(async () => {
    const [other] = window.tertulia.participants.values();
    const microphone = [...other.tracks.values()].find(({ kind }) => kind === "audio");
    const receiver = window.tertulia.receiverOf(microphone.id);
    const taken = [];
    for (const began = Date.now(); Date.now() - began < 4_000; ) {
      const entry = [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp");
      const { totalAudioEnergy: energy, jitterBufferDelay: delay, jitterBufferEmittedCount: emitted } = entry;
      taken.push({ at: Date.now(), energy, delay, emitted });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return taken;
  });
  await ana.waitForTimeout(1_500);
  const { pressed, isEnabled } = await ana.evaluate(() => {
    const { media } = [...window.tertulia.publications].find(({ source }) => source === "microphone");
    const at = Date.now();
    document.querySelector('[data-control="microphone"]').click();
    return { pressed: at, isEnabled: media.enabled };
  });
  call.muted = true;
  assert.equal(isEnabled, false, "the device is off when the press returns");
  const { at, delay, isQuiet } = silence(await samples, pressed);
  assert.ok(isQuiet, "it is silent");
  return at - pressed - delay;
}

test("mute is silence as soon as ever, though nothing reaches the server", async (t) => {
  const call = await inCall();
  /** @returns {Promise<number>} the shortest of several: the promise is the call's, not this busy machine's */
  const shortest = async (most, enough) => {
    let best = Infinity;
    for (let attempt = 0; attempt < most && best > enough; attempt += 1) {
      if (call.muted) {
        await toggleMute(call);
        await flowing(call.ben);
      }
      best = Math.min(best, await timeToSilence(call));
    }
    return best;
  };
  const usual = await shortest(2, 0);
  await toggleMute(call);
  await flowing(call.ben);
  proxy.stall();
  const stalled = await shortest(4, usual + 50);
  t.diagnostic(`silent ${Math.round(stalled)} ms after the press, ${Math.round(usual)} ms over a good connection`);
  checkTime(t, "silence, beyond what it takes over a good connection", stalled - usual, 50);
  proxy.flow();
  await checkCall(call);
  await checkUntouched(call);
});

for (const [what, refuses, transport, extent] of [
  ["no WebSocket", isWebSocket, "sse", IN_FULL],
  ["neither a WebSocket nor a response that does not end", (head) => isWebSocket(head) || isEvents(head), "polling", {}],
]) {
  test(`where ${what} gets through, messages find another way, and leave it again`, extent, async () => {
    proxy.refuse(refuses);
    const call = await inCall();
    assert.equal(await call.ana.evaluate(() => window.tertulia.signaling.transport), transport);
    await write(call, "ana");
    await write(call, "ben");
    await checkCall(call);
    await call.ana.keyboard.press("s");
    await call.ana.locator(".tile.own .figures", { hasText: transport === "sse" ? "SSE" : "long polling" }).waitFor(PATIENCE);
    // Cut, this way is taken up as well.
    proxy.cut();
    await write(call, "ana");
    await checkCall(call);
    await checkUntouched(call);
    proxy.refuse(() => false);
    await call.ana.waitForFunction(() => window.tertulia.signaling.transport === "websocket", null, { timeout: 60_000 });
    await write(call, "ben");
    await checkCall(call);
    await checkUntouched(call);
  });
}

test("a page that waits joins by one message, over a connection of before the click", async () => {
  const page = await openPage(browser, "about:blank");
  pages.push(page);
  const sockets = [];
  page.on("websocket", (socket) => {
    const said = [];
    sockets.push({ said });
    socket.on("framesent", ({ payload }) => said.push(JSON.parse(payload)));
  });
  await page.goto(`${server.url}?room=click&video=180p&debug=1`);
  await page.fill('input[name="name"]', "Ana");
  await page.waitForSelector(".preview video:not([hidden])", PATIENCE);
  // The server ends a connection on which nobody joins, and the page makes another.
  while (sockets.length < 2 || sockets[1].said.length === 0) await page.waitForTimeout(100);
  await page.click("button.primary");
  await connected(page);
  assert.equal(sockets.length, 2);
  const types = (said) => said.filter(({ type }) => type !== "ping").map(({ type }) => type);
  assert.deepEqual(types(sockets[0].said), []);
  const [join] = sockets[1].said.filter(({ type }) => type === "join");
  assert.deepEqual(join.offer.tracks.map(({ source }) => source), ["microphone", "camera"]);
  assert.ok(!types(sockets[1].said).includes("offer"), "the join has it");
  await page.waitForFunction(() => window.tertulia.mediaState === "connected", null, PATIENCE);
  assert.deepEqual(page.complaints, []);
});

test("a message that is written while nothing reaches the server is shown as such, and sent once", async () => {
  const call = await inCall();
  const { ana, ben } = call;
  await ana.click('[data-control="chat"]');
  proxy.stall();
  await ana.fill(".chat-input", "ana 0");
  await ana.keyboard.press("Enter");
  call.said.push("ana 0");
  await ana.locator(".chat-entry.waiting", { hasText: "when the connection is back" }).waitFor(PATIENCE);
  proxy.flow();
  await ben.waitForFunction(() => window.tertulia.chat.length === 1, null, PATIENCE);
  await ana.locator(".chat-entry.waiting").waitFor({ state: "detached", ...PATIENCE });
  assert.equal(await ana.locator(".chat-text", { hasText: "ana 0" }).count(), 1);
  await checkCall(call);
  await checkUntouched(call);
});

test("a page that is reloaded is who it was, and nobody is told of anybody coming or going", async () => {
  const call = await inCall();
  await write(call, "ana");
  await toggleMute(call);
  await call.ana.waitForFunction(() => window.tertulia.chat.length === 1, null, PATIENCE);
  await call.ana.reload();
  await write(call, "ben");
  await checkCall(call, { isReloaded: true });
  const address = call.ana.url();
  const token = await call.ana.evaluate(() => Object.entries(sessionStorage).find(([key]) => key.startsWith("tertulia.session"))[1]);
  assert.ok(!address.includes(token.split(".")[0]), "the token is not in the address");
  assert.ok(!server.log.includes(token.split(".")[0]), "nor in the log");
});

test("a page of another room joins nothing when it is reloaded", async () => {
  const { ana } = await inCall();
  const other = new URL(ana.url());
  other.searchParams.set("room", `other-${(rooms += 1)}`);
  other.searchParams.delete("autojoin");
  await ana.goto(other.href);
  await ana.waitForSelector("button.primary");
  await ana.reload();
  await ana.waitForSelector("button.primary", PATIENCE);
  assert.equal(await ana.locator(".call").count(), 0);
});

test("a call with a passphrase that is reloaded leaves the devices off that were off", async () => {
  const page = await openPage(browser, "about:blank");
  pages.push(page);
  await page.addInitScript(() => {
    window.asked = [];
    const { mediaDevices } = navigator;
    const original = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = (constraints) => {
      window.asked.push(Object.keys(constraints));
      return original(constraints);
    };
  });
  await page.goto(new URL(`?room=secret-${(rooms += 1)}&name=Ana#passphrase`, proxy.url).href);
  await page.fill('input[name="passphrase"]', "sea star");
  await page.click("button.primary");
  await page.waitForSelector(".call .tile.own", PATIENCE);
  for (const device of ["microphone", "camera"]) await page.click(`[data-control="${device}"]`);
  await page.waitForSelector(".tile.own:not(.moving)", PATIENCE);
  await page.reload();
  // It says so when it has opened what it is to open.
  await page.locator(".preview-note", { hasText: "Your camera is off." }).waitFor(PATIENCE);
  assert.deepEqual(await page.evaluate(() => window.asked), []);
});

for (const [how, end] of [
  ["stopped", () => server.terminate()],
  ["killed", () => server.kill()],
]) {
  test(`a server that is ${how} and started again gets everybody back as who they were`, async () => {
    const call = await inCall();
    call.isRestarted = true;
    await write(call, "ana");
    for (const page of [call.ana, call.ben]) await page.waitForFunction(() => window.tertulia.chat.length === 1, null, PATIENCE);
    await toggleMute(call);
    await end();
    await server.run();
    await checkCall(call);
    await write(call, "ana");
    await write(call, "ben");
    await checkCall(call);
  });
}

/** The reasons that a page is told for those who leave, from now on. */
async function reasonsTo(page) {
  await page.evaluate(() => {
    window.reasons = [];
    window.tertulia.on("participantLeft", ({ reason }) => window.reasons.push(reason));
  });
  return () => page.evaluate(() => window.reasons);
}

const alone = (page) => page.waitForFunction(() => window.tertulia.participants.size === 0, null, PATIENCE);

test("who leaves while nothing reaches the server is gone as soon as something does, and not after the grace", async () => {
  const { ana, ben } = await inCall();
  const reasons = await reasonsTo(ben);
  proxy.stall();
  await ana.waitForFunction(() => !window.tertulia.signaling.isConnected, null, PATIENCE);
  await ana.evaluate(() => window.tertulia.leave());
  await ana.waitForSelector(".ended-buttons", PATIENCE);
  proxy.flow();
  await alone(ben);
  assert.deepEqual(await reasons(), ["left"]);
});

test("who leaves over a connection that works is heard there, and needs no other", async () => {
  const { ana, ben } = await inCall();
  const reasons = await reasonsTo(ben);
  const asked = [];
  ana.on("request", (request) => request.url().includes("/v1/http/") && asked.push(request.url()));
  const isClean = await ana.evaluate(() => {
    const { close } = WebSocket.prototype;
    return new Promise((resolve) => {
      WebSocket.prototype.close = function () {
        this.addEventListener("close", ({ wasClean }) => resolve(wasClean));
        close.call(this);
      };
      window.tertulia.leave();
    });
  });
  assert.equal(isClean, true);
  await alone(ben);
  assert.deepEqual([await reasons(), asked], [["left"], []]);
});

test("who leaves over a connection that is dead, and nobody has noticed, is gone by another", async () => {
  const { ana, ben } = await inCall();
  const reasons = await reasonsTo(ben);
  await ana.evaluate(() => {
    Object.assign(WebSocket.prototype, { send: () => {}, close: () => {} });
    window.tertulia.leave();
  });
  await alone(ben);
  assert.deepEqual(await reasons(), ["left"]);
});

test("a page that leaves as it is closed, in the moment of a cut, is gone by a request that outlives it", { timeout: 120_000 }, async () => {
  const { ana, ben } = await inCall();
  const reasons = await reasonsTo(ben);
  await ana.evaluate(() => {
    addEventListener("pagehide", () => window.tertulia.leave());
    // Before there is another connection.
    window.tertulia.on("signalingChanged", ({ isConnected }) => !isConnected && location.replace("about:blank"));
  });
  proxy.cut();
  await alone(ben);
  assert.deepEqual(await reasons(), ["left"]);
});

/** Has a page's first `join` arrive, and whatever is said after it be lost with its connection. */
function loseWelcome() {
  const { prototype } = WebSocket;
  const { send, addEventListener } = prototype;
  let lost = null;
  window.joins = [];
  prototype.send = function (frame) {
    const { type, session } = JSON.parse(frame);
    send.call(this, frame);
    if (type !== "join") return;
    window.joins.push(session);
    if (lost) return;
    lost = this;
    // By then the server has let us in: the others have been told.
    setTimeout(() => this.close(), 1_000);
  };
  prototype.addEventListener = function (name, listener, ...rest) {
    const unlessLost = name === "message" ? (event) => this === lost || listener.call(this, event) : listener;
    return addEventListener.call(this, name, unlessLost, ...rest);
  };
}

test("a join whose welcome is lost is one participant, who comes once", async () => {
  const room = `resume${(rooms += 1)}`;
  const ben = await open(server.url, "Ben", room);
  await connected(ben);
  const page = await openPage(browser, "about:blank");
  pages.push(page);
  await page.addInitScript(loseWelcome);
  await page.goto(autojoin(server.url, "Ana", { room }));
  await page.waitForSelector(".call .tile.own", PATIENCE);
  await connected(page);
  const joins = await page.evaluate(() => window.joins);
  assert.equal(joins.length, 2);
  assert.equal(joins[0], joins[1]);
  const id = await page.evaluate(() => window.tertulia.participantId);
  assert.deepEqual(await ben.evaluate(() => [...window.tertulia.participants.keys()]), [id]);
  assert.deepEqual(await ben.evaluate(() => window.told.filter(([event]) => /Joined|Left/.test(event))), [["participantJoined", id]]);
  await flowing(page);
});

test("a page whose session another page took is somebody else, and sees that one", async () => {
  const { ana, ben, ids } = await inCall();
  await ben.evaluate(
    async ([url, room, session]) => {
      const { Room } = await import(new URL("client/index.js", document.baseURI).href);
      window.other = new Room({ url, room, name: "Ana", session });
      await window.other.join();
    },
    [
      new URL("v1/ws", server.url).href.replace("http", "ws"),
      new URL(ana.url()).searchParams.get("room"),
      await ana.evaluate(() => Object.entries(sessionStorage).find(([key]) => key.startsWith("tertulia.session"))[1]),
    ],
  );
  assert.equal(await ben.evaluate(() => window.other.participantId), ids.ana);
  // Its own connection was dropped: it looks for the session, and finds that it is another's.
  await ana.waitForFunction((id) => window.tertulia.state === "connected" && window.tertulia.participantId !== id, ids.ana, PATIENCE);
  await ana.waitForFunction((id) => window.tertulia.participants.has(id), ids.ana, PATIENCE);
  assert.deepEqual((await ana.evaluate(() => [...window.tertulia.participants.keys()])).sort(), [ids.ana, ids.ben].sort());
  await ben.evaluate(() => window.other.leave());
});

test("lost media takes up the session with a fresh transport, and nobody is told of anybody coming or going", async () => {
  const call = await inCall();
  const { ana } = call;
  await write(call, "ana");
  await toggleMute(call);
  const said = [];
  ana.on("websocket", (socket) => socket.on("framesent", ({ payload }) => said.push(JSON.parse(payload))));
  // The browser says that no path works, and an ICE restart does not help.
  await ana.evaluate(() => {
    const [connection] = window.connections;
    Object.defineProperty(connection, "connectionState", { get: () => "failed" });
    connection.dispatchEvent(new Event("connectionstatechange"));
  });
  await ana.waitForFunction(() => window.connections.length === 2 && window.tertulia.state === "connected", null, PATIENCE);
  await write(call, "ben");
  await checkCall(call);
  const types = said.filter(({ type }) => type !== "ping").map(({ type, fresh }) => (fresh ? `${type} fresh` : type));
  assert.deepEqual(types.slice(0, 3), ["resume fresh", "ack", "offer"]);
  assert.ok(!types.includes("join"));
});

/** Numbers from 0 up to 1, always the same for the same seed (mulberry32). */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Each leaves the way to the server open. */
const FAULTS = {
  cut: async () => proxy.cut(),
  "cut twice": async ({ ana }, random) => {
    proxy.cut();
    await ana.waitForTimeout(random() * 1_000);
    proxy.cut();
  },
  stall: async ({ ana }, random) => {
    proxy.stall();
    await ana.waitForTimeout(1_000 + random() * 9_000);
    proxy.flow();
  },
  "stall, then cut": async ({ ana }, random) => {
    proxy.stall();
    await ana.waitForTimeout(random() * 7_000);
    proxy.cut();
    await ana.waitForTimeout(random() * 3_000);
    proxy.flow();
  },
  "no WebSocket": async () => {
    proxy.refuse(isWebSocket);
    proxy.cut();
  },
  "polling alone": async () => {
    proxy.refuse((head) => isWebSocket(head) || isEvents(head));
    proxy.cut();
  },
  "all is open": async () => proxy.refuse(() => false),
  mute: async (call) => toggleMute(call),
  reload: async (call) => {
    // What is said and not answered is the page's: it goes with it.
    await call.ana.waitForFunction((count) => window.tertulia.chat.length === count, call.said.length, PATIENCE);
    await call.ana.evaluate(() => window.tertulia.serverStats().catch(() => {}));
    await call.ana.reload();
    call.isReloaded = true;
  },
};

for (let seed = 1; seed <= SEQUENCES; seed += 1) {
  test(`random faults, seed ${seed}: nothing is lost, nothing comes twice, everybody stays`, { timeout: 240_000 }, async (t) => {
    const call = await inCall();
    const random = randomOf(seed);
    const names = Object.keys(FAULTS);
    for (let turn = 0; turn < FAULTS_EACH; turn += 1) {
      const name = names[Math.floor(random() * names.length)];
      t.diagnostic(`${name}`);
      if (random() < 0.7) await write(call, "ana");
      const fault = FAULTS[name](call, random);
      if (name !== "reload" && random() < 0.7) await write(call, random() < 0.5 ? "ana" : "ben");
      await fault;
      if (random() < 0.5) await checkCall(call, call);
    }
    await checkCall(call, call);
    if (!call.isReloaded) await checkUntouched(call);
  });
}
