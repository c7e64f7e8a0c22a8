import { CallError } from "./errors.js";

/** @import { MediaKind, ServerMessages, Source } from "./protocol.js" */

/** @typedef {NonNullable<ServerMessages["welcome"]["permissions"]>} Permissions what we may do */

/**
 * The rights of everybody in the room of a server that says nothing of rights: all but to moderate.
 *
 * @type {Readonly<Permissions>}
 */
export const ALL_PERMISSIONS = Object.freeze({
  microphone: true,
  camera: true,
  screen: true,
  subscribe: true,
  chat: true,
  data: true,
  update: true,
  moderate: false,
});

/**
 * @param {Readonly<Permissions>} permissions
 * @param {{ source: Source, kind: MediaKind }} publication
 */
export function mayPublish(permissions, { source, kind }) {
  const isScreen = kind === "video" ? source === "screen" : source === "screenAudio";
  if (isScreen) return permissions.screen;
  return kind === "video" ? permissions.camera : permissions.microphone;
}

/**
 * @param {Source} source
 * @returns {CallError} as the server refuses it
 */
export function mayNotPublish(source) {
  return new CallError("not_allowed", FORBIDDEN[source]);
}

/** @type {Readonly<Record<Source, string>>} */
const FORBIDDEN = Object.freeze({
  microphone: "You may not send sound in this room.",
  camera: "You may not send a camera in this room.",
  screen: "You may not share a screen in this room.",
  screenAudio: "You may not share a screen in this room.",
  other: "You may not send this in this room.",
});
