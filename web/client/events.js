/**
 * An `EventTarget` whose event names and payloads are known to the type checker.
 *
 * @template {Record<string, any>} Payloads what each event carries, by event name
 */
export class Events extends EventTarget {
  /**
   * Calls `listener` with the payload of every event named `name`.
   *
   * @template {keyof Payloads & string} Name
   * @param {Name} name
   * @param {(payload: Payloads[Name]) => void} listener
   * @returns {() => void} stops the calls
   */
  on(name, listener) {
    /** @param {Event} event */
    const unwrap = (event) => listener(/** @type {CustomEvent} */ (event).detail);
    this.addEventListener(name, unwrap);
    return () => this.removeEventListener(name, unwrap);
  }

  /**
   * @template {keyof Payloads & string} Name
   * @param {Name} name
   * @param {Payloads[Name]} payload
   * @protected
   */
  emit(name, payload) {
    this.dispatchEvent(new CustomEvent(name, { detail: payload }));
  }
}
