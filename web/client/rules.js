/** @import { ServerMessages } from "./protocol.js" */

/** @typedef {NonNullable<ServerMessages["welcome"]["rules"]>} Rules the rules of a room that moderators set */

/**
 * The rules of a new room, and of an older server's.
 *
 * @type {Readonly<Rules>}
 */
export const OPEN_RULES = Object.freeze({ locked: false, waitingRoom: false, chat: true });

/**
 * @param {Readonly<Rules>} rules
 * @param {Readonly<Rules>} others
 * @returns {Partial<Rules>} those of `rules` that the others have not
 */
export function differing(rules, others) {
  const names = /** @type {(keyof Rules)[]} */ (Object.keys(OPEN_RULES));
  return Object.fromEntries(names.filter((name) => rules[name] !== others[name]).map((name) => [name, rules[name]]));
}
