/** @typedef {Pick<HTMLVideoElement, "getVideoPlaybackQuality"> & Partial<Pick<HTMLVideoElement, "requestVideoFrameCallback">>} Player */

/**
 * Measures how long a video has presented no new picture. It checks when asked: one callback for each check, not one
 * for each picture.
 *
 * Firefox keeps `totalVideoFrames` at 0 for anything but files, so that pictures are counted only where
 * `requestVideoFrameCallback` is missing.
 */
export class Stillness {
  #video;
  /** @type {number | null} when something new was seen last, in milliseconds; null before the first look */
  #since = null;
  #isAsked = false;
  #isNew = false;
  #counted = 0;

  /** @param {Player} video */
  constructor(video) {
    this.#video = video;
  }

  /**
   * @param {number} now milliseconds
   * @returns {number} milliseconds from the look that found the last new picture; 0 for the first look and after `restart`
   */
  look(now) {
    if (this.#hasNewPicture() || this.#since === null) this.#since = now;
    return now - this.#since;
  }

  /** Starts anew with the next check: until then no picture was expected. */
  restart() {
    this.#since = null;
  }

  #hasNewPicture() {
    if (!this.#video.requestVideoFrameCallback) return this.#countsMore();
    const isNew = this.#isNew;
    this.#isNew = false;
    if (!this.#isAsked) {
      this.#isAsked = true;
      this.#video.requestVideoFrameCallback(() => {
        this.#isAsked = false;
        this.#isNew = true;
      });
    }
    return isNew;
  }

  #countsMore() {
    const counted = this.#video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
    // A browser that counts no pictures cannot tell whether one stands still, and reports none.
    const isNew = counted !== this.#counted || counted === 0;
    this.#counted = counted;
    return isNew;
  }
}
