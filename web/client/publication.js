/** @import { MediaKind, Source } from "./protocol.js" */

/**
 * The sizes in which a camera is sent, lowest first; the relay picks one for each viewer. Browsers encode as many as
 * the captured picture is large (libwebrtc's `kSimulcastFormats`), and drop the *largest* if more are asked for. So no
 * more than that are asked for.
 *
 * The bit rates suit VP8 for a talking head of 180, 360 and 720 lines.
 *
 * @type {readonly { readonly lines: number, readonly layers: readonly Readonly<RTCRtpEncodingParameters>[] }[]}
 */
const CAMERA_LAYERS = Object.freeze([
  {
    lines: 540,
    layers: [
      { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
      { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
      { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
    ],
  },
  {
    lines: 270,
    layers: [
      { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 150_000 },
      { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 500_000 },
    ],
  },
  { lines: 0, layers: [{ maxBitrate: 300_000 }] },
]);

/** VP9 takes several encodings for the spatial layers of one unless each says that it has but one. */
const NO_SPATIAL_LAYERS = "L1T1";
const SCALABLE = ["video/vp9", "video/av1"];

const SINGLE_MAX_BITRATE = 1_700_000;
/** Text must stay readable; a scroll through a page must not starve everything else. */
const SCREEN_MAX_BITRATE = 2_500_000;

/**
 * @typedef {object} PublishOptions
 * @property {Source} source
 * @property {MediaStreamTrack} media
 * @property {boolean} [muted]
 * @property {boolean} [simulcast] true by default for a camera, false for anything else
 * @property {string} [codec] to prefer: `VP8`, `H264`, `VP9` or `AV1`, or its MIME type; VP8 for video by default
 * @property {string} [scalabilityMode] as WebRTC-SVC names them, e.g. `L3T3_KEY`. VP9 and AV1 are then sent as one
 *   stream of these layers instead of as simulcast; VP8 and H264 have no spatial layers, only their `L1T2` or `L1T3`
 */

/** Something we send. It outlives the transport: after a reconnect the next transport carries it. */
export class Publication {
  /** @type {string | null} the server's name for it, null while it is not published */
  trackId = null;
  /** @type {MediaStreamTrack | null} null while the device is given back, as for a camera that is off */
  media;
  /** @type {boolean} as it is wanted, whatever the server knows */
  muted;

  /** @type {MediaTrackSettings} what the first camera captured; a later one is scaled by the same factors */
  #settings;

  /** @param {PublishOptions} options */
  constructor({ source, media, muted = false, simulcast = source === "camera", codec = "VP8", scalabilityMode }) {
    /** @readonly */
    this.source = source;
    /** @readonly */
    this.kind = /** @type {MediaKind} */ (media.kind);
    /** @readonly */
    this.codec = codec.includes("/") ? codec : `video/${codec}`;
    /** @readonly */
    this.scalabilityMode = scalabilityMode;
    const layered = scalabilityMode !== undefined && SCALABLE.includes(this.codec.toLowerCase());
    /** @readonly */
    this.simulcast = simulcast && this.kind === "video" && !layered;
    this.media = media;
    this.muted = muted;
    this.#settings = media.getSettings();
  }

  /** Lets the media follow `muted`, at once. */
  silence() {
    if (this.media) this.media.enabled = !this.muted;
  }

  /** @returns {RTCRtpTransceiverInit} */
  transceiverInit() {
    return { direction: "sendonly", ...(this.kind === "video" ? { sendEncodings: this.#encodings() } : {}) };
  }

  #encodings() {
    if (this.source === "screen") return [{ maxBitrate: SCREEN_MAX_BITRATE }];
    const scalability = this.#scalability();
    if (!this.simulcast) return [{ maxBitrate: SINGLE_MAX_BITRATE, ...scalability }];
    // The shorter side: a phone held upright captures as much as one held sideways.
    const { width = 1280, height = 720 } = this.#settings;
    const { layers } = CAMERA_LAYERS.find(({ lines }) => Math.min(width, height) >= lines) ?? CAMERA_LAYERS[0];
    return layers.map((layer) => ({ ...layer, ...(layers.length > 1 ? scalability : {}) }));
  }

  #scalability() {
    if (this.scalabilityMode !== undefined) return { scalabilityMode: this.scalabilityMode };
    const scalable = this.simulcast && SCALABLE.includes(this.codec.toLowerCase());
    return scalable ? { scalabilityMode: NO_SPATIAL_LAYERS } : {};
  }
}

/**
 * The codecs that a sender offers: the preferred one first, and no redundancy coding for video, which the relay's
 * retransmissions make superfluous.
 *
 * @template {{ mimeType: string }} Codec
 * @param {readonly Codec[]} codecs
 * @param {string} preferred
 * @returns {Codec[]}
 */
export function orderCodecs(codecs, preferred) {
  const wanted = preferred.toLowerCase();
  const redundancy = ["video/red", "video/ulpfec", "video/flexfec-03"];
  const kept = codecs.filter(({ mimeType }) => !redundancy.includes(mimeType.toLowerCase()));
  const first = kept.filter(({ mimeType }) => mimeType.toLowerCase() === wanted);
  return [...first, ...kept.filter((codec) => !first.includes(codec))];
}
