/** A call recorded by the example of a tap: the file is whole, and its sound fits its picture. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { autojoin, launch, openPage } from "./chromium.mjs";
import { flashAndBeep, rises, run } from "./flashes.mjs";
import { Recorder } from "./recorder.mjs";

/** Seconds recorded: five or more pass before the first report on sound, from which on its times are known. */
const SECONDS = 15;
/**
 * Most milliseconds between a flash and its beep, in the median. People notice 45 when the sound is early (ITU-R BT.1359);
 * a picture takes 33, and a busy machine paints late.
 */
const SYNC_MS = 100;

let browser;
let folder;

before(async () => {
  browser = await launch();
  folder = await mkdtemp(join(tmpdir(), "tertulia-recording-"));
});
after(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/** Plays a file to its end in the page. */
async function play(data) {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const video = document.createElement("video");
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/webm" }));
  document.body.append(video);
  const ended = new Promise((done) => (video.onended = done));
  await video.play();
  await ended;
  return { width: video.videoWidth, height: video.videoHeight, error: video.error?.message };
}

/** The streams of a file as ffprobe, a program of others, finds them; it reads every packet. */
async function probe(file) {
  const what = "stream=codec_type,codec_name,width,height,channels,sample_rate,nb_read_packets";
  const args = ["-v", "error", "-count_packets", "-show_entries", what, "-of", "json", file];
  const { stdout, stderr } = await run("ffprobe", args);
  assert.equal(stderr, "");
  const { streams } = JSON.parse(stdout);
  return Object.fromEntries(streams.map((stream) => [stream.codec_type, stream]));
}

test("a recorded call plays, with its sound in time", { skip: !process.env.TERTULIA_BIN }, async (t) => {
  const file = join(folder, "call.webm");
  const recorder = new Recorder(t, file);
  const url = await recorder.page();

  const page = await openPage(browser, "about:blank");
  await page.addInitScript(flashAndBeep);
  await page.goto(autojoin(url, "Ana", { room: "recorded", video: "360p" }));
  await recorder.begun();
  // The length of the recording: nothing else ends it.
  await page.waitForTimeout(SECONDS * 1000);
  await recorder.stop();
  await page.context().close();

  const { video, audio } = await probe(file);
  // The header has the size of the first picture: a browser begins with small ones on a busy machine.
  assert.deepEqual([video.codec_name, video.width / video.height], ["vp8", 16 / 9]);
  assert.deepEqual([audio.codec_name, audio.channels, audio.sample_rate], ["opus", 2, "48000"]);
  assert.ok(Number(audio.nb_read_packets) > 5 * 50, `${audio.nb_read_packets} packets of sound`);
  assert.ok(Number(video.nb_read_packets) > SECONDS * 5, `${video.nb_read_packets} pictures`);

  const player = await openPage(browser, "about:blank");
  const played = await player.evaluate(play, (await readFile(file)).toString("base64"));
  await player.context().close();
  assert.deepEqual(played, { width: 640, height: 360, error: undefined });

  const flashes = await rises(file, "v", "scale=16:16,signalstats", "lavfi.signalstats.YAVG", 128);
  const beeps = await rises(file, "a", "astats=metadata=1:reset=1", "lavfi.astats.Overall.RMS_level", -20);
  const late = flashes.flatMap((flash) => {
    const near = beeps.map((beep) => (beep - flash) * 1000).filter((ms) => Math.abs(ms) < 500);
    return near.toSorted((a, b) => Math.abs(a) - Math.abs(b)).slice(0, 1);
  });
  t.diagnostic(`beeps after their flashes: ${late.map((ms) => Math.round(ms)).join(", ")} ms`);
  assert.ok(late.length >= 4, `${late.length} pairs of a flash and a beep`);
  const median = late.toSorted((a, b) => a - b)[Math.floor(late.length / 2)];
  assert.ok(Math.abs(median) <= SYNC_MS, `sound ${median} ms after the picture`);
});
