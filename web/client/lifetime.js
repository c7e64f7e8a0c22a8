/**
 * How long something may be waited for. What a closed peer connection was asked to do never settles (W3C
 * WebRTC, "abort these steps"), so whoever waits for it has to be told by us.
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
