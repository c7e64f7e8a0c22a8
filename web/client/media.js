import { CallError } from "./errors.js";

/** @typedef {"audio" | "video"} DeviceKind */

/**
 * @typedef {object} CaptureWish
 * @property {boolean | string} [audio] whether, or from which device id
 * @property {boolean | string} [video]
 * @property {number} [height] lines of video to ask for, 720 by default
 */

/**
 * @typedef {object} Captured
 * @property {MediaStreamTrack | null} audio
 * @property {MediaStreamTrack | null} video
 * @property {{ kind: DeviceKind, error: CallError }[]} problems reasons that something wished for is missing
 */

/**
 * Opens microphone and camera. A device that cannot be opened is told in `problems`; the other one still comes, and a
 * call can begin with neither.
 *
 * @param {CaptureWish} wish
 * @returns {Promise<Captured>}
 */
export async function captureDevices({ audio = false, video = false, height = 720 }) {
  /** @type {Captured} */
  const captured = { audio: null, video: null, problems: [] };
  const constraints = {
    ...(audio === false ? {} : { audio: audioConstraints(audio) }),
    ...(video === false ? {} : { video: videoConstraints(video, height) }),
  };
  const kinds = /** @type {DeviceKind[]} */ (Object.keys(constraints));
  if (kinds.length > 1) {
    try {
      // Together, so that the browser asks for permission once.
      return keep(captured, await open(constraints));
    } catch {
      // Each is tried alone: the error does not say which of the two failed.
    }
  }
  for (const kind of kinds) {
    try {
      keep(captured, await open({ [kind]: constraints[kind] }));
    } catch (error) {
      captured.problems.push({ kind, error: explainCapture(error, kind) });
    }
  }
  return captured;
}

/**
 * Asks for a screen, window or tab to share, with its sound where the browser can.
 *
 * @returns {Promise<Captured>} rejected with `share_cancelled` when the person changed their mind
 */
export async function captureScreen() {
  if (!navigator.mediaDevices?.getDisplayMedia) {
    throw new CallError("unsupported", "This browser cannot share a screen.");
  }
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: true });
    const captured = keep({ audio: null, video: null, problems: [] }, stream);
    if (captured.video) captured.video.contentHint = "detail";
    return captured;
  } catch (error) {
    if (/** @type {Error} */ (error).name === "NotAllowedError") {
      throw new CallError("share_cancelled", "Nothing is shared: the browser was not allowed to.", { cause: error });
    }
    throw new CallError("share_failed", "The screen could not be captured.", { cause: error });
  }
}

/**
 * @returns {Promise<{ microphones: MediaDeviceInfo[], cameras: MediaDeviceInfo[], speakers: MediaDeviceInfo[] }>}
 *   without labels until something was captured once
 */
export async function listDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  /** @param {MediaDeviceKind} kind */
  const of = (kind) => devices.filter((device) => device.kind === kind && device.deviceId !== "");
  return { microphones: of("audioinput"), cameras: of("videoinput"), speakers: of("audiooutput") };
}

/**
 * Puts a browser's refusal into words.
 *
 * @param {unknown} error
 * @param {DeviceKind} kind
 */
export function explainCapture(error, kind) {
  if (error instanceof CallError) return error;
  const device = kind === "audio" ? "microphone" : "camera";
  const { name = "" } = /** @type {Error} */ (error);
  const [code, message] = reason(name, device);
  return new CallError(code, message, { cause: error });
}

/**
 * @param {string} name of the DOMException
 * @param {string} device
 * @returns {[string, string]}
 */
function reason(name, device) {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return ["permission_denied", `The browser may not use the ${device}. Allow it beside the address bar, then try again.`];
    case "NotFoundError":
      return ["no_device", `No ${device} was found.`];
    case "NotReadableError":
    case "AbortError":
      return ["device_busy", `The ${device} is in use by another program, or does not answer.`];
    case "OverconstrainedError":
      return ["no_device", `The chosen ${device} is no longer there.`];
    default:
      return ["capture_failed", `The ${device} could not be opened.`];
  }
}

/** @param {MediaStreamConstraints} constraints */
function open(constraints) {
  if (navigator.mediaDevices?.getUserMedia) return navigator.mediaDevices.getUserMedia(constraints);
  throw globalThis.isSecureContext
    ? new CallError("unsupported", "This browser cannot use a camera or a microphone.")
    : new CallError(
        "insecure_context",
        "Browsers give a camera and a microphone only to pages loaded over https or from localhost.",
      );
}

/**
 * @param {Captured} captured
 * @param {MediaStream} stream
 */
function keep(captured, stream) {
  captured.audio = stream.getAudioTracks()[0] ?? captured.audio;
  captured.video = stream.getVideoTracks()[0] ?? captured.video;
  return captured;
}

/** @param {true | string} device */
function audioConstraints(device) {
  return {
    ...(device === true ? {} : { deviceId: { exact: device } }),
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
  };
}

/**
 * @param {true | string} device
 * @param {number} height
 */
function videoConstraints(device, height) {
  return {
    ...(device === true ? { facingMode: "user" } : { deviceId: { exact: device } }),
    width: { ideal: Math.round((height * 16) / 9) },
    height: { ideal: height },
    frameRate: { ideal: 30, max: 30 },
  };
}
