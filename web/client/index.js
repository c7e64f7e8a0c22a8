/**
 * Tertulia's client: join a room, publish, receive. It has no user interface and touches nothing of
 * the page; `example/` shows how little a page needs.
 */
export { CallError } from "./errors.js";
export { captureDevices, captureScreen, explainCapture, listDevices } from "./media.js";
export { AudioLevels } from "./levels.js";
export { cleanName, readName, readRoom } from "./names.js";
export { Publication } from "./publication.js";
export { Room } from "./room.js";
export { summarize } from "./stats.js";
