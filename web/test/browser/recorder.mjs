/** The example of a tap, which records the call of its room to a file. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath, pathToFileURL } from "node:url";

export class Recorder {
  #process;
  #lines;
  #exited;

  /** Starts it; it ends with the test at the latest. */
  constructor(t, file) {
    const binary = fileURLToPath(new URL("examples/record", pathToFileURL(process.env.TERTULIA_BIN)));
    this.#process = spawn(binary, [file], { stdio: ["ignore", "pipe", "inherit"] });
    this.#exited = once(this.#process, "exit");
    t.after(() => this.#process.kill());
    this.#lines = this.#process.stdout.setEncoding("utf8")[Symbol.asyncIterator]();
  }

  /** The address of its page. */
  async page() {
    return `${new URL(/http:\S+/.exec((await this.#lines.next()).value)[0]).origin}/`;
  }

  /** Waits until it records, which needs sound and pictures in its room. */
  async begun() {
    assert.match((await this.#lines.next()).value, /recording/);
  }

  /** Ends it as from a keyboard. The file is whole then. */
  async stop() {
    this.#process.kill("SIGINT");
    assert.deepEqual(await this.#exited, [0, null]);
  }
}
