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
