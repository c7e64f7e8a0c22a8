/** How much the browser tests try, and whether promised times are asserted. */
import assert from "node:assert/strict";

/** Wide matrices and long faults run as well: `TERTULIA_LONG=1`, which `.ci/test --extended` sets. */
export const isLong = Boolean(process.env.TERTULIA_LONG);

/** Options of a test that is one of a wide matrix, whose other cases run always. */
export const IN_FULL = { skip: !isLong && "one of a matrix; TERTULIA_LONG=1 runs it" };

/**
 * Tells whether a promised time was kept. A slow machine breaks it through no fault of ours, so it is asserted only
 * with `TERTULIA_LONG=1`, which is for a machine that does nothing else.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} what
 * @param {number} ms milliseconds that it took
 * @param {number} mostMs
 */
export function checkTime(t, what, ms, mostMs) {
  const words = `${what}: ${Math.round(ms)} ms, ${mostMs} ms promised`;
  if (isLong) assert.ok(ms <= mostMs, words);
  t.diagnostic(ms <= mostMs ? words : `SLOW: ${words}`);
}
