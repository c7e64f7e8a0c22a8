/**
 * The worker that encrypts and decrypts frames, off the page's thread.
 *
 * @import { FromWorker, ToWorker } from "./encryption.js"
 * @import { Transformer } from "./frame-pipes.js"
 */
import { FramePipes } from "./frame-pipes.js";

/**
 * @typedef {object} WorkerScope
 * @property {(message: FromWorker) => void} postMessage
 * @property {(event: MessageEvent<ToWorker>) => void} onmessage
 * @property {(event: { transformer: Transformer }) => void} onrtctransform
 */

const scope = /** @type {WorkerScope} */ (/** @type {unknown} */ (globalThis));
const pipes = new FramePipes((message) => scope.postMessage(message));
scope.onmessage = ({ data }) => pipes.hear(data);
scope.onrtctransform = ({ transformer }) => void pipes.connect(transformer);
