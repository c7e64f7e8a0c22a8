/** The real server: one that runs already (`TERTULIA_URL`), or a binary of ours (`TERTULIA_BIN`). */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { get as getPlain } from "node:http";
import { get as getSecure } from "node:https";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const START_PATIENCE_MS = 20_000;
/** The folder of the page. */
const WEB = fileURLToPath(new URL("../..", import.meta.url));

export class Server {
  /** @type {import("node:child_process").ChildProcess | null} */
  #process = null;
  #arguments = [];
  #binary = "";
  log = "";

  /**
   * Starts one on another machine of the tests.
   *
   * @param {{ prefix: string[], listen: string, url: string, flags: string[] }} there `prefix`: of a command that runs
   *   there. `listen`: address and port. `url`: of its page, as it is reached from here
   */
  static async startThere({ prefix, listen, url, flags }) {
    const server = new Server();
    server.url = url;
    [server.#binary, ...server.#arguments] = [...prefix, ourBinary(), "--listen", listen, ...flags];
    server.#arguments.push("--web-dir", WEB);
    await server.run();
    return server;
  }

  /**
   * @param {{ arrange?: (mediaPort: number) => Promise<string[]>, secure?: boolean, host?: string, binary?: string }} [options]
   *   `arrange`: what must be there before the server; returns flags for it. Then it is always one of ours. `secure`: by
   *   these flags it speaks TLS. `host`: the address of its page. `binary`: another one than ours, with its own page
   */
  static async start({ arrange, secure = false, host = "127.0.0.1", binary } = {}) {
    const server = new Server();
    server.url = arrange ? undefined : process.env.TERTULIA_URL;
    if (server.url) return server;
    server.#binary = binary ?? ourBinary();
    const listen = `${host}:${await freeTcpPort(host)}`;
    server.url = `${secure ? "https" : "http"}://${listen}/`;
    const mediaPort = await freeUdpPort();
    server.#arguments = ["--listen", listen, "--media-port", String(mediaPort), "--workers", "1"];
    server.#arguments.push(...((await arrange?.(mediaPort)) ?? []));
    if (!binary) server.#arguments.push("--web-dir", WEB);
    await server.run();
    return server;
  }

  /** Whether it is ours to stop. */
  get isOurs() {
    return this.#arguments.length > 0;
  }

  /** Starts the process, or starts it again on the same ports. */
  async run() {
    const child = spawn(this.#binary, this.#arguments, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (this.log += text));
    const deadline = Date.now() + START_PATIENCE_MS;
    while (!(await answers(new URL("healthz", this.url)))) {
      if (child.exitCode !== null) throw new Error(`The server ended with ${child.exitCode}:\n${this.log}`);
      if (Date.now() > deadline) throw new Error(`The server does not answer:\n${this.log}`);
    }
  }

  /** Has it read its settings again. */
  async reload() {
    const said = () => this.log.split("settings reloaded").length;
    const before = said();
    const { stderr } = this.#process;
    this.#process.kill("SIGHUP");
    while (said() === before) await once(stderr, "data", { signal: AbortSignal.timeout(START_PATIENCE_MS) });
  }

  /** @returns {Promise<{ code: number | null, ms: number }>} how it ended after SIGTERM, and how fast */
  async terminate() {
    const began = performance.now();
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    const [code] = await ended;
    return { code, ms: performance.now() - began };
  }

  /** Ends it without a goodbye. */
  async kill() {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }

  async stop() {
    if (this.#process && this.#process.exitCode === null) await this.terminate();
  }
}

function ourBinary() {
  const binary = process.env.TERTULIA_BIN;
  if (!binary) throw new Error("Set TERTULIA_BIN to the server's binary, or TERTULIA_URL.");
  return binary;
}

/**
 * Whoever signed its certificate.
 *
 * @param {URL} url
 */
function answers(url) {
  const get = url.protocol === "https:" ? getSecure : getPlain;
  return new Promise((resolve) => {
    const request = get(url, { rejectUnauthorized: false, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    request.on("error", () => resolve(false));
  });
}

/** @param {string} host */
async function freeTcpPort(host) {
  const probe = createServer().listen(0, host);
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  return port;
}

async function freeUdpPort() {
  const probe = createSocket("udp4").bind(0);
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  return port;
}
