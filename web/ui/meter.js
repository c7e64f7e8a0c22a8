/**
 * The loudness of a track, for the bar beside the preview and for our own speaking ring. The page has one audio
 * context, made when the first track is watched.
 */
export class Meter {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {Float32Array<ArrayBuffer>} */
  #samples = new Float32Array(512);

  /** @param {MediaStreamTrack | null} track */
  watch(track) {
    this.#source?.disconnect();
    this.#source = null;
    if (!track || !("AudioContext" in window)) return;
    this.#context ??= new AudioContext();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
  }

  /** @returns {number} the root mean square of the last moment, 0 to 1 */
  level() {
    if (!this.#source || !this.#analyser) return 0;
    // Browsers let sound begin only after a click; there has been one when the person sees this move.
    if (this.#context?.state === "suspended") void this.#context.resume().catch(() => {});
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return Math.min(1, Math.sqrt(sum / this.#samples.length));
  }

  close() {
    this.watch(null);
    void this.#context?.close().catch(() => {});
    this.#context = null;
    this.#analyser = null;
  }
}
