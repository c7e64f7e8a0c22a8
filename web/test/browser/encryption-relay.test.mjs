/**
 * An encrypted call as the relay has it. A client that is nobody's decodes whatever is forwarded, and a tap of the relay
 * writes it to a file: neither has the picture or the sound, until somebody with the key decrypts the file.
 */
import assert from "node:assert/strict";
import { createDecipheriv, hkdfSync } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { joinBare } from "./bare-client.mjs";
import { autojoin, launch, openPage } from "./chromium.mjs";
import { IN_FULL } from "./extent.mjs";
import { flashAndBeep, rises, run } from "./flashes.mjs";
import { Recorder } from "./recorder.mjs";
import { Server } from "./server.mjs";
import { arriving, until } from "./watching.mjs";

const KEY = "AAECAwQFBgcICQoLDA0ODw";
const PATIENCE = { timeout: 30_000 };
/** Seconds recorded: five or more pass before the first report on sound, from which on its times are known. */
const SECONDS = 12;
/**
 * Share of looks at most in which what is decoded without the key may be red or a tone of 1 kHz. Noise is decoded of
 * encrypted frames, and now and then a moment of it has that colour or that pitch.
 */
const BY_CHANCE = 0.1;

let server;
let browser;
let folder;

before(async () => {
  server = await Server.start();
  browser = await launch();
  folder = await mkdtemp(join(tmpdir(), "tertulia-encryption-"));
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Replaces the devices: a red picture with a bar that moves, and a tone of 1 kHz. Runs in the page. */
function redAndTone() {
  navigator.mediaDevices.getUserMedia = async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
    const paint = canvas.getContext("2d");
    let step = 0;
    setInterval(() => {
      paint.fillStyle = "rgb(230 20 20)";
      paint.fillRect(0, 0, 320, 180);
      paint.fillStyle = "rgb(200 60 60)";
      paint.fillRect((step += 5) % 300, 160, 20, 10);
    }, 66);
    const audio = new AudioContext();
    await audio.resume();
    const tone = audio.createOscillator();
    const sink = audio.createMediaStreamDestination();
    tone.frequency.value = 1000;
    tone.connect(sink);
    tone.start();
    return new MediaStream([...canvas.captureStream(15).getVideoTracks(), ...sink.stream.getAudioTracks()]);
  };
}

/** Receives whatever is forwarded, decodes it and looks at it. Runs in the page of a bare client. */
async function watch() {
  const { pc, negotiate } = window.bare;
  const transceivers = ["video", "audio"].map((kind) => pc.addTransceiver(kind, { direction: "recvonly" }));
  await negotiate();
  const [picture, sound] = transceivers.map(({ receiver }) => new MediaStream([receiver.track]));
  const video = Object.assign(document.createElement("video"), { srcObject: picture, muted: true, autoplay: true });
  const player = Object.assign(document.createElement("audio"), { srcObject: sound, muted: true, autoplay: true });
  document.body.append(video, player);
  const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 9 });
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const audio = new AudioContext();
  await audio.resume();
  const analyser = new AnalyserNode(audio, { fftSize: 2048, smoothingTimeConstant: 0 });
  audio.createMediaStreamSource(sound).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  const seen = { looks: 0, red: 0, tone: 0 };
  setInterval(() => {
    paint.drawImage(video, 0, 0, 16, 9);
    const { data } = paint.getImageData(0, 0, 16, 9);
    let red = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] > 170 && data[at + 1] < 90 && data[at + 2] < 90) red += 1;
    analyser.getFloatFrequencyData(bins);
    const energy = [...bins].map((decibels) => 10 ** (decibels / 10));
    const place = Math.round((1000 * 2048) / audio.sampleRate);
    const near = energy.slice(place - 3, place + 4).reduce((sum, each) => sum + each, 0);
    const whole = energy.reduce((sum, each) => sum + each, 0);
    seen.looks += 1;
    if (red > 120) seen.red += 1;
    if (whole > 1e-6 && near > whole / 2) seen.tone += 1;
  }, 50);
  window.look = async () => {
    const inbound = [...(await pc.getStats()).values()].filter(({ type }) => type === "inbound-rtp");
    const of = (kind) => inbound.find((each) => each.kind === kind) ?? {};
    return { ...seen, bytes: of("video").bytesReceived ?? 0, decoded: of("video").framesDecoded ?? 0, sound: of("audio").bytesReceived ?? 0 };
  };
}

for (const coding of [{ codec: "VP8" }, { codec: "H264" }, { codec: "VP9" }, { codec: "AV1" }]) {
  const isOfAll = coding.codec !== "VP8";
  test(`${coding.codec}: who has what the relay has sees no picture and hears no tone`, { timeout: 120_000, ...(isOfAll && IN_FULL) }, async (t) => {
    const found = {};
    for (const key of ["", KEY]) {
      const room = `relay-${process.pid}-${coding.codec}-${key ? "secret" : "open"}`;
      const enter = async (name) => {
        const page = await openPage(browser, "about:blank");
        await page.addInitScript(redAndTone);
        await page.goto(autojoin(server.url, name, { room, ...coding, ...(name === "Ben" && { camera: "0", mic: "0" }) }) + (key && `#key=${key}`));
        await page.waitForSelector(".call .tile.own", PATIENCE);
        return page;
      };
      const ana = await enter("Ana");
      const ben = await enter("Ben");
      await until("Ben sees", () => arriving(ben), (video) => video?.decoded > 10 && video.codec === `video/${coding.codec}`, PATIENCE);
      const outsider = await openPage(browser, new URL("healthz", server.url).href);
      await outsider.evaluate(joinBare, { url: `${server.url.replace("http", "ws")}v1/ws`, room, name: "Eve" });
      await outsider.evaluate(watch);
      const look = () => outsider.evaluate(() => window.look());
      await until("Eve is sent it", look, ({ bytes, sound, looks, red, tone }) => bytes > 4_000 && sound > 4_000 && looks > 60 && (key || (red > 20 && tone > 20)), PATIENCE);
      found[key ? "encrypted" : "open"] = await look();
      for (const page of [ana, ben, outsider]) await page.context().close();
    }
    t.diagnostic(JSON.stringify(found));
    const { red, tone, looks } = found.encrypted;
    assert.ok(red <= looks * BY_CHANCE, `the picture was seen in ${red} of ${looks} looks`);
    assert.ok(tone <= looks * BY_CHANCE, `the tone was heard in ${tone} of ${looks} looks`);
    for (const name of ["red", "tone"]) assert.ok(found.open[name] > found.open.looks / 2, `${name} is recognised`);
  });
}

/** Decrypts a frame by Node's cryptography, with none of our code: RFC 9605 as it is written. */
function decrypted(frame) {
  const isKeyframe = (frame[0] & 1) === 0;
  const readable = frame.subarray(0, isKeyframe ? 10 : 3);
  const unit = frame.subarray(readable.length);
  assert.equal(unit[0] >> 4, 15, "a KID of eight bytes");
  const counterBytes = unit[0] & 8 ? (unit[0] & 7) + 1 : 0;
  const kid = unit.subarray(1, 9);
  const counter = counterBytes ? unit.readUIntBE(9, counterBytes) : unit[0] & 7;
  const header = unit.subarray(0, 9 + counterBytes);
  const derived = (words, bytes) => {
    const label = Buffer.concat([Buffer.from(words), kid, Buffer.from([0, 4])]);
    return Buffer.from(hkdfSync("sha256", Buffer.from(KEY, "base64url"), "", label, bytes));
  };
  const nonce = derived("SFrame 1.0 Secret salt ", 12);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ counter) >>> 0, 8);
  const decipher = createDecipheriv("aes-128-gcm", derived("SFrame 1.0 Secret key ", 16), nonce);
  decipher.setAAD(Buffer.concat([header, readable])).setAuthTag(unit.subarray(-16));
  return Buffer.concat([readable, decipher.update(unit.subarray(header.length, -16)), decipher.final()]);
}

/** The frames of an IVF file, which ffmpeg writes; and the file with others in their place. */
function framesOf(ivf, change) {
  const parts = [ivf.subarray(0, 32)];
  for (let at = 32; at < ivf.length; ) {
    const size = ivf.readUInt32LE(at);
    const frame = change(ivf.subarray(at + 12, at + 12 + size));
    const header = Buffer.from(ivf.subarray(at, at + 12));
    header.writeUInt32LE(frame.length);
    parts.push(header, frame);
    at += 12 + size;
  }
  return Buffer.concat(parts);
}

test("a tap of the relay has no picture, and with the key all of it", { skip: !process.env.TERTULIA_BIN, timeout: 120_000 }, async (t) => {
  const file = join(folder, "call.webm");
  const recorder = new Recorder(t, file);
  const url = await recorder.page();
  const page = await openPage(browser, "about:blank");
  await page.addInitScript(flashAndBeep);
  await page.goto(`${autojoin(url, "Ana", { room: "recorded", video: "180p" })}#key=${KEY}`);
  await recorder.begun();
  // The length of the recording: nothing else ends it.
  await page.waitForTimeout(SECONDS * 1000);
  await recorder.stop();
  await page.context().close();

  const tapped = join(folder, "tapped.ivf");
  const opened = join(folder, "opened.ivf");
  await run("ffmpeg", ["-v", "error", "-i", file, "-map", "0:v", "-c", "copy", tapped]);
  let frames = 0;
  const whole = framesOf(await readFile(tapped), (frame) => {
    frames += 1;
    return decrypted(frame);
  });
  await writeFile(opened, whole);
  const flashes = async (ivf) => rises(ivf, "v", "scale=16:16,signalstats", "lavfi.signalstats.YAVG", 128).catch((error) => String(error).slice(0, 200));
  const [hidden, shown] = [await flashes(tapped), await flashes(opened)];
  t.diagnostic(`${frames} frames; flashes with the key ${JSON.stringify(shown)}, without ${JSON.stringify(hidden)}`);
  const apart = shown.slice(1).map((time, index) => time - shown[index]);
  assert.ok(apart.length >= 3 && apart.every((seconds) => Math.abs(seconds - 1) < 0.4), "the flashes, once a second");
  const close = (time) => Array.isArray(hidden) && hidden.some((other) => Math.abs(other - time) < 0.1);
  assert.ok(shown.filter(close).length < shown.length / 2, "the flashes are in what the relay has");
});
