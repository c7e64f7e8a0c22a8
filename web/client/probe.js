import { CallError } from "./errors.js";

/** A server that takes longer is as good as unreachable. */
const PATIENCE_MS = 4_000;

/**
 * Asks the server why it did not let a WebSocket in. Browsers keep the answer to the WebSocket's own request from
 * the page; the server gives the same to a POST at the same address.
 *
 * @param {string} url the WebSocket's
 * @param {typeof globalThis.fetch} [fetch] for tests
 * @returns {Promise<CallError>}
 */
export async function whyRefused(url, fetch = globalThis.fetch) {
  const address = new URL(url);
  address.protocol = address.protocol === "wss:" ? "https:" : "http:";
  try {
    const response = await fetch(address.href, {
      method: "POST",
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const { code, message } = /** @type {Record<string, unknown>} */ (await response.json());
    if (response.ok && code === "ok") return new CallError("websocket_blocked", "The server answers, but WebSockets do not reach it.");
    if (typeof code === "string" && typeof message === "string") return new CallError(code, message);
  } catch {
    // No server, no network, or no server of ours.
  }
  return unreachable();
}

export function unreachable() {
  return new CallError("unreachable", "The server cannot be reached.");
}
