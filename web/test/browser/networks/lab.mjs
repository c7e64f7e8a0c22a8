/**
 * Browsers, a router and servers, each with a network of its own:
 *
 *     browsers (here) --lan-- router --wan-- the server
 *                             router --edge- servers behind proxies that end TLS
 *
 * The router has no rules at first. Nothing is left on the machine, however the tests end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { CHROMIUM, launch, SLOW_CAMERA } from "../chromium.mjs";
import { FIREFOX, launchFirefox } from "../firefox.mjs";
import { Server } from "../server.mjs";
import { Authority } from "./authority.mjs";
import { Machine, addAddress, addRoute, here, link, run } from "./machines.mjs";
import { Names } from "./names.mjs";

/** Addresses of documentation (RFC 5737, RFC 3849), which nobody has. */
const LAN = { browsers: ["198.51.100.10/24"], router: ["198.51.100.1/24", "2001:db8:1::1/64"] };
const LAN_6 = "2001:db8:1::10/64";
const WAN = { router: ["203.0.113.1/24", "2001:db8:2::1/64"], servers: ["203.0.113.10/24", "2001:db8:2::10/64"] };
const EDGE = { router: ["192.0.2.1/24"], servers: ["192.0.2.20/24", "192.0.2.30/24"] };
/** The router looks for neighbours by this one when it passes on what others send over IPv6. */
const LINK_LOCAL = "fe80::1/64";
/** Where the DNS server of the browsers is. It stays there whatever becomes of their network. */
const RESOLVER = "127.0.0.1";

/** The sites that the browsers may go to. Each is a server, by a name of its own. */
export const SITES = {
  direct: { name: "call.test", addresses: ["203.0.113.10", "2001:db8:2::10"], mediaPort: 10_000 },
  proxied: { name: "proxied.test", addresses: ["192.0.2.20"], mediaPort: 10_100, innerPort: 8_020 },
  named: { name: "named.test", addresses: ["192.0.2.30"], mediaPort: 10_200, innerPort: 8_030 },
};

export class Lab {
  #folder = mkdtempSync(join(tmpdir(), "tertulia-networks-"));
  /** Ends what was started, the last first. @type {(() => Promise<unknown>)[]} */
  #ends = [];
  /** @type {Machine} */
  #router;
  /** The machine of the server that has no proxy. @type {Machine} */
  #direct;
  /** That of the others. @type {Machine} */
  #edge;
  /** @type {{ cert: string, key: string }} */
  #site;
  /** That of the browsers' addresses. @type {4 | 6 | null} */
  #family = null;
  browsers = { Chromium: null, Firefox: null };
  /** @type {Partial<Record<keyof typeof SITES, Server>>} */
  servers = {};

  static async start() {
    const lab = new Lab();
    try {
      await lab.#start();
    } catch (error) {
      await lab.stop();
      throw error;
    }
    return lab;
  }

  /** Puts rules into the router, in the place of all before. @param {import("./rows.mjs").Rules} rules */
  firewall({ raw = [], forward = [], input = [], nat = [] }) {
    const script = [
      "add table inet lab",
      "flush table inet lab",
      "add chain inet lab raw { type filter hook prerouting priority -300; }",
      "add chain inet lab forward { type filter hook forward priority 0; }",
      "add chain inet lab input { type filter hook input priority 0; }",
      "add chain inet lab nat { type nat hook postrouting priority 100; }",
      ...Object.entries({ raw, forward, input, nat }).flatMap(([chain, each]) => each.map((rule) => `add rule inet lab ${chain} ${rule}`)),
    ];
    run(this.#router.prefix, ["nft", "-f", "-"], `${script.join("\n")}\n`);
  }

  /** Leaves the browsers an address of this family alone. @param {4 | 6} family */
  speakOnly(family) {
    if (family === this.#family) return;
    this.#family = family;
    here.ip("address flush dev lan");
    for (const address of family === 4 ? LAN.browsers : [LAN_6]) addAddress(here, "lan", address);
    addRoute(here, "lan", LAN.router.find((address) => address.includes(":") === (family === 6)));
  }

  /** Has a server at a site, from now on. @param {keyof typeof SITES} site */
  async serve(site) {
    if (this.servers[site]) return;
    const { name, addresses, mediaPort, innerPort } = SITES[site];
    const common = ["--open", "--workers", "1", "--turn", "--allowed-host", name, "--media-port", String(mediaPort), ...addresses.flatMap((address) => ["--media-ip", address])];
    const url = `https://${addresses[0]}/`;
    if (innerPort === undefined) {
      const flags = [...common, "--ice-tcp", "--tls-cert", this.#site.cert, "--tls-key", this.#site.key];
      this.servers[site] = await Server.startThere({ prefix: this.#direct.prefix, listen: "[::]:443", url, flags });
    } else {
      const isNamed = site === "named";
      await this.#startProxy(addresses[0], innerPort, isNamed);
      const flags = [...common, "--turn-address", `turns:${name}:443`, ...(isNamed ? ["--trusted-proxy", "127.0.0.1", "--proxy-protocol"] : [])];
      this.servers[site] = await Server.startThere({ prefix: this.#edge.prefix, listen: `127.0.0.1:${innerPort}`, url, flags });
    }
    this.#ends.push(() => this.servers[site].stop());
  }

  async stop() {
    for (const end of this.#ends.reverse()) await end();
    rmSync(this.#folder, { recursive: true });
  }

  async #start() {
    [this.#router, this.#direct, this.#edge] = await Promise.all([this.#machine(), this.#machine(), this.#machine()]);
    // Its ends lie both here; the ways that it has to everywhere are ours now.
    here.ip("link delete call0");
    link({ machine: here, name: "lan", addresses: [] }, { machine: this.#router, name: "lan", addresses: [...LAN.router, LINK_LOCAL] });
    link({ machine: this.#router, name: "wan", addresses: [...WAN.router, LINK_LOCAL] }, { machine: this.#direct, name: "wan", addresses: WAN.servers });
    link({ machine: this.#router, name: "edge", addresses: EDGE.router }, { machine: this.#edge, name: "edge", addresses: EDGE.servers });
    this.#router.forward();
    this.speakOnly(4);
    for (const address of WAN.router) addRoute(this.#direct, "wan", address);
    for (const address of EDGE.router) addRoute(this.#edge, "edge", address);
    const names = Object.values(SITES).map(({ name, addresses }) => [name, addresses]);
    const resolver = await Names.start(Object.fromEntries(names), RESOLVER);
    this.#ends.push(() => resolver.stop());
    const authority = new Authority(this.#folder);
    this.#site = authority.certify(names.map(([name]) => name));
    await Promise.all([this.serve("direct"), this.#launch(authority)]);
  }

  /** @param {Authority} authority */
  async #launch(authority) {
    const home = join(this.#folder, "home");
    const profile = join(this.#folder, "firefox");
    for (const folder of [join(home, ".pki/nssdb"), profile]) authority.trustIn(folder);
    const started = [
      ["Chromium", launch({ ...SLOW_CAMERA, executablePath: this.#launcher(CHROMIUM, home) })],
      ["Firefox", launchFirefox({ executablePath: this.#launcher(FIREFOX, home), profile })],
    ].map(async ([kind, starting]) => {
      const browser = await starting;
      this.browsers[kind] = browser;
      this.#ends.push(() => browser.close());
    });
    const outcomes = await Promise.allSettled(started);
    for (const { reason } of outcomes) if (reason) throw reason;
  }

  /**
   * A program that starts another one for which our names are there.
   *
   * @param {string} program
   * @param {string} home its user's: Firefox refuses another user's, and databases of certificates are there
   */
  #launcher(program, home) {
    const name = program.replaceAll("/", "-");
    const [script, resolv] = [join(this.#folder, `start${name}`), join(this.#folder, "resolv.conf")];
    mkdirSync(home, { recursive: true });
    writeFileSync(resolv, `nameserver ${RESOLVER}\n`);
    const inside = `mount --bind '${resolv}' /etc/resolv.conf && exec '${program}' "$@"`;
    const lines = ["#!/bin/sh", `export HOME='${home}'`, "unset XDG_RUNTIME_DIR", `exec unshare --mount sh -c "$(cat <<'END'\n${inside}\nEND\n)" sh "$@"`];
    writeFileSync(script, `${lines.join("\n")}\n`, { mode: 0o755 });
    return script;
  }

  async #machine() {
    const machine = await Machine.start();
    this.#ends.unshift(() => machine.stop());
    return machine;
  }

  /** @param {string} address @param {number} port of the server @param {boolean} isNamed whether it says who its client is */
  async #startProxy(address, port, isNamed) {
    const script = fileURLToPath(new URL("tls-proxy.mjs", import.meta.url));
    const words = [process.execPath, script, address, this.#site.cert, this.#site.key, String(port), ...(isNamed ? ["proxy-v2"] : [])];
    const [command, ...args] = [...this.#edge.prefix, ...words];
    const proxy = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    const ended = once(proxy, "exit");
    this.#ends.push(() => {
      proxy.stdin.end();
      return ended;
    });
    const listens = once(proxy.stdout, "data");
    await Promise.race([listens, ended.then(() => Promise.reject(new Error("The proxy has ended.")))]);
  }
}
