/** @import { MediaKind, Source } from "./protocol.js" */

/**
 * What a camera is sent as: three sizes, lowest first, of which the relay picks one for each viewer.
 * The bit rates are what VP8 needs for 180, 360 and 720 lines of a talking head.
 *
 * @type {readonly Readonly<RTCRtpEncodingParameters>[]}
 */
const CAMERA_LAYERS = Object.freeze([
  Object.freeze({ rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 }),
  Object.freeze({ rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 }),
  Object.freeze({ rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 }),
]);

/** Text must stay readable; a scroll through a page must not starve everything else. */
const SCREEN_MAX_BITRATE = 2_500_000;

/**
 * @typedef {object} PublishOptions
 * @property {Source} source
 * @property {MediaStreamTrack} media
 * @property {boolean} [muted]
 * @property {boolean} [simulcast] true by default for a camera, false for anything else
 * @property {string} [codec] the MIME type to prefer; `video/VP8` for video by default
 */

/** Something we send. It outlives the transport: after a reconnect the next one carries it. */
export class Publication {
  /** @type {string | null} the server's name for it, null while it is not published */
  trackId = null;
  /** @type {MediaStreamTrack | null} null while the device is given back, as for a camera that is off */
  media;
  /** @type {boolean} what we want; the transport tells the server */
  muted;

  /** @param {PublishOptions} options */
  constructor({ source, media, muted = false, simulcast = source === "camera", codec = "video/VP8" }) {
    /** @readonly */
    this.source = source;
    /** @readonly */
    this.kind = /** @type {MediaKind} */ (media.kind);
    /** @readonly */
    this.simulcast = simulcast && this.kind === "video";
    /** @readonly */
    this.codec = codec;
    this.media = media;
    this.muted = muted;
  }

  /** @returns {RTCRtpTransceiverInit} */
  transceiverInit() {
    return { direction: "sendonly", ...(this.kind === "video" ? { sendEncodings: this.#encodings() } : {}) };
  }

  #encodings() {
    if (this.simulcast) return cameraLayers(this.media?.getSettings().height).map((layer) => ({ ...layer }));
    return this.source === "screen" ? [{ maxBitrate: SCREEN_MAX_BITRATE }] : [{ maxBitrate: 1_700_000 }];
  }
}

/**
 * The layers worth sending of a picture of so many lines. Browsers send a small picture in fewer
 * layers than asked for, and leave out the largest ones: a viewer would be left with a quarter of
 * what the camera gives.
 *
 * @param {number} [lines] unknown counts as enough for all
 */
export function cameraLayers(lines = 720) {
  if (lines >= 540) return CAMERA_LAYERS;
  return CAMERA_LAYERS.slice(lines >= 270 ? 1 : 2);
}

/**
 * The codecs a sender is to offer: the preferred one first, and no redundancy coding for video,
 * which the relay's retransmissions make superfluous.
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
