/**
 * A bound on waits. A request to a closed peer connection never settles (W3C WebRTC, "abort these steps"); this rejects
 * the promise of the code that waits for it.
 */
export class Lifetime {
  /** @type {Set<(error: unknown) => void>} */
  #waiting = new Set();
  /** @type {{ error: unknown } | null} */
  #end = null;

  get isOver() {
    return this.#end !== null;
  }

  /**
   * @template T
   * @param {Promise<T>} work
   * @returns {Promise<T>} settled as `work` is, or rejected when the lifetime ends before that
   */
  within(work) {
    const end = this.#end;
    if (end) {
      work.catch(() => {});
      return Promise.reject(end.error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      const done = () => this.#waiting.delete(reject);
      work.then(resolve, reject).finally(done);
    });
  }

  /** @param {unknown} error for everybody who waits, and for those to come */
  end(error) {
    if (this.#end) return;
    this.#end = { error };
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
  }
}
