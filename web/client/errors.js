/** A failure: a stable code for programs and a sentence for people. */
export class CallError extends Error {
  /**
   * @param {string} code stable; the server's own codes are listed in `signaling/docs/PROTOCOL.md`
   * @param {string} message
   * @param {{ fatal?: boolean, cause?: unknown }} [details] `fatal`: trying again as it is will not help
   */
  constructor(code, message, { fatal = false, cause } = {}) {
    super(message, { cause });
    this.name = "CallError";
    this.code = code;
    this.fatal = fatal;
  }
}

export function notConnected() {
  return new CallError("not_connected", "There is no connection to the room at the moment.");
}

/** @param {unknown} error */
export function isLost(error) {
  return /** @type {Partial<CallError>} */ (error)?.code === "connection_lost";
}

/** @param {unknown} error @returns {boolean} whether no way leads to the server at the moment */
export function isUnreachable(error) {
  return ["unreachable", "websocket_blocked"].includes(/** @type {Partial<CallError>} */ (error)?.code ?? "");
}

/** @param {unknown} error @returns {boolean} whether the server has said no; of what it never answered nobody knows */
export function isRefusal(error) {
  return !isTimeout(error);
}

/** @param {unknown} error @returns {boolean} whether the server has not answered in time */
export function isTimeout(error) {
  return /** @type {Partial<CallError>} */ (error)?.code === "timeout";
}
