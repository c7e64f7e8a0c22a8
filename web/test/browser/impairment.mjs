/** The load tester's impairment proxy, which the server names to chosen people as its own address. */
import { spawn } from "node:child_process";
import { once } from "node:events";

const START_PATIENCE_MS = 10_000;

export class Impairment {
  #process;
  /** Everything it said. */
  log = "";

  /** @param {number} mediaPort the server's, on loopback */
  static async start(mediaPort) {
    const binary = process.env.TERTULIA_LOADTEST_BIN;
    if (!binary) throw new Error("Set TERTULIA_LOADTEST_BIN to the load tester's binary.");
    const impairment = new Impairment();
    const child = spawn(binary, ["impair", "--listen", "127.0.0.1:0", "--to", `127.0.0.1:${mediaPort}`, "--every", "1s"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    impairment.#process = child;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (impairment.log += text));
    const deadline = Date.now() + START_PATIENCE_MS;
    for (;;) {
      impairment.address = /impair: (\S+) ->/.exec(impairment.log)?.[1];
      if (impairment.address) return impairment;
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`No impairment proxy:\n${impairment.log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** @param {string} line such as `down rate=500k loss=5%`, `clear` */
  say(line) {
    this.#process.stdin.write(`${line}\n`);
  }

  async stop() {
    if (this.#process.exitCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await ended;
  }
}
