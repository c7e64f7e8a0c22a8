/** A picture and a sound whose beginnings can be found again: in a page's devices, and in a file. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export const run = promisify(execFile);

/** Replaces the devices: the picture turns white exactly while the sound beeps, once a second. Runs in the page. */
export function flashAndBeep() {
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 360];
    const paint = canvas.getContext("2d");
    const audio = new AudioContext();
    await audio.resume();
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    const sink = audio.createMediaStreamDestination();
    tone.frequency.value = 1000;
    gain.gain.value = 0;
    tone.connect(gain).connect(sink);
    tone.start();
    let on = false;
    let step = 0;
    setInterval(() => {
      const now = performance.now() % 1000 < 200;
      if (now !== on) {
        on = now;
        gain.gain.setValueAtTime(on ? 0.8 : 0, audio.currentTime);
      }
      paint.fillStyle = on ? "white" : "black";
      paint.fillRect(0, 0, 640, 360);
      // Something that moves, as a picture that stands still has no frames.
      paint.fillStyle = "gray";
      paint.fillRect((step++ * 7) % 600, 340, 20, 10);
    }, 20);
    const tracks = [];
    if (constraints.video) tracks.push(...canvas.captureStream(30).getVideoTracks());
    if (constraints.audio) tracks.push(...sink.stream.getAudioTracks());
    return new MediaStream(tracks);
  };
}

/**
 * The times at which a figure of a stream rises over a limit, in seconds of the file: ffmpeg decodes each frame and
 * measures it, and says the time at which the file has it.
 *
 * @param {string} file
 * @param {"v" | "a"} stream
 * @param {string} filter measures each frame
 * @param {string} key of the figure
 * @param {number} limit
 */
export async function rises(file, stream, filter, key, limit) {
  const say = `${stream === "a" ? "a" : ""}metadata=print:key=${key}:file=-`;
  const args = ["-v", "error", "-i", file, "-map", `0:${stream}`, stream === "a" ? "-af" : "-vf", `${filter},${say}`, "-f", "null", "-"];
  const { stdout } = await run("ffmpeg", args, { maxBuffer: 1 << 24 });
  const times = [];
  let time;
  // What the file begins with may be the rest of a flash or a beep.
  let was = true;
  for (const line of stdout.split("\n")) {
    const at = /pts_time:(\S+)/.exec(line);
    if (at) time = Number(at[1]);
    if (!line.startsWith(key)) continue;
    const is = Number(line.slice(key.length + 1)) > limit;
    if (is && !was) times.push(time);
    was = is;
  }
  return times;
}
