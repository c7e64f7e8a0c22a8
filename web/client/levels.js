/** RFC 6464 counts down from full scale; this is where ordinary speech begins to stand out of a room. */
const SPEECH_LEVEL = 0.02;
/** Time after speech for which a track still counts as speaking: pauses between words are shorter. */
const HOLD_MS = 700;

/**
 * Finds the tracks that carry speech, from the levels in the audio packets: no decoding, no analyser.
 */
export class AudioLevels {
  /** @type {Map<string, number>} until when, by track id */
  #speakingUntil = new Map();

  /**
   * @param {Iterable<readonly [trackId: string, receiver: RTCRtpReceiver]>} receivers
   * @param {number} now milliseconds
   * @returns {Set<string>} the ids of the tracks that carry speech
   */
  poll(receivers, now) {
    const speaking = new Set();
    for (const [trackId, receiver] of receivers) {
      if (levelOf(receiver) >= SPEECH_LEVEL) this.#speakingUntil.set(trackId, now + HOLD_MS);
      if ((this.#speakingUntil.get(trackId) ?? 0) > now) speaking.add(trackId);
    }
    for (const [trackId, until] of this.#speakingUntil) {
      if (until <= now) this.#speakingUntil.delete(trackId);
    }
    return speaking;
  }
}

/**
 * @param {RTCRtpReceiver} receiver
 * @returns {number} 0 to 1
 */
function levelOf(receiver) {
  const levels = receiver.getSynchronizationSources().map(({ audioLevel }) => audioLevel ?? 0);
  return Math.max(0, ...levels);
}
