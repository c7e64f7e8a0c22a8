/**
 * Measures whether anything still arrives on a transport: media, feedback, or answers to connectivity checks. If
 * nothing does, our own network is broken and not somebody else's camera.
 */
export class Arrivals {
  #sum = -1;
  #at = 0;

  /**
   * @param {RTCStatsReport | null} report null when there is no transport
   * @param {number} now milliseconds
   * @returns {number} for how long nothing has arrived, in milliseconds; 0 without a transport
   */
  poll(report, now) {
    let sum = 0;
    report?.forEach((entry) => {
      if (entry.type === "inbound-rtp") sum += entry.packetsReceived ?? 0;
      // Browsers count the checks, which go on when there is no media, in different places.
      if (entry.type === "candidate-pair") sum += (entry.bytesReceived ?? 0) + (entry.responsesReceived ?? 0);
    });
    if (!report || sum !== this.#sum) this.#at = now;
    this.#sum = report ? sum : -1;
    return now - this.#at;
  }
}
