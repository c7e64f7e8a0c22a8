/**
 * A machine with a network of its own, in which a Chromium runs. Its links lead to the tests' network and can be cut,
 * given other addresses, and taken down; the machine can sleep. Its namespace ends with the last process in it.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CHROMIUM, launch } from "./chromium.mjs";

/** Rules of routing below this one drop what the next ones would deliver. The kernel's own rule of local addresses is 0. */
const LOCAL_RULE = 100;
const CUT_RULE = 10;

const run = (command, ...args) => execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
/** Runs `ip` in the tests' network. */
const ip = (words) => run("ip", ...words.split(" "));

export class Laptop {
  /** Ends when we do: its input does. @type {import("node:child_process").ChildProcess} */
  #anchor;
  #folder = mkdtempSync(join(tmpdir(), "tertulia-laptop-"));
  /** @type {Set<string>} names of links */
  #links = new Set();
  #isCut = false;

  static async start() {
    const laptop = new Laptop();
    laptop.#anchor = spawn("unshare", ["--net", "sh", "-c", "echo && exec cat >/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
    // It writes once the namespace is there.
    await once(laptop.#anchor.stdout, "data", { signal: AbortSignal.timeout(10_000) });
    laptop.#ip("link set lo up");
    for (const command of [ip, (words) => laptop.#ip(words)]) deferLocalRule(command);
    return laptop;
  }

  /**
   * Makes a link to the tests' network.
   *
   * @param {string} name at most 12 characters
   * @param {string} gateway the address of the tests' end, the first one of a /24
   */
  addLink(name, gateway) {
    this.#links.add(name);
    ip(`link add ${outer(name)} type veth peer name ${name} netns ${this.#anchor.pid}`);
    // Addresses of IPv6 would come a second later by themselves, and Chromium ends what it loads when addresses change.
    ip(`link set ${outer(name)} addrgenmode none`);
    this.#ip(`link set ${name} addrgenmode none`);
    ip(`address add ${gateway}/24 dev ${outer(name)}`);
    ip(`link set ${outer(name)} up`);
  }

  /**
   * Brings a link up, with an address and the way to everywhere. Of several links the first one added is taken.
   *
   * @param {string} name
   * @param {string} address
   */
  bringUp(name, address) {
    this.#ip(`link set ${name} up`);
    this.#ip(`address add ${address}/24 dev ${name}`);
    const metric = 100 + [...this.#links].indexOf(name);
    this.#ip(`route add default via ${address.replace(/\d+$/, "1")} dev ${name} metric ${metric}`);
  }

  /** @param {string} name of a link, which loses its address, too */
  takeDown(name) {
    this.#ip(`address flush dev ${name}`);
    this.#ip(`link set ${name} down`);
  }

  /**
   * Gives a link another address in the place of the one it has.
   *
   * @param {string} name
   * @param {string} address of the same gateway
   */
  renumber(name, address) {
    this.#ip(`address flush dev ${name}`);
    this.bringUp(name, address);
  }

  /**
   * Drops what comes over any link, on both ends. Nobody is told.
   *
   * @param {"all" | "udp"} what
   */
  cut(what) {
    if (this.#isCut) throw new Error("The links are cut already.");
    this.#isCut = true;
    this.#rules("add", what === "udp" ? " ipproto udp" : "");
  }

  mend() {
    if (!this.#isCut) return;
    this.#isCut = false;
    this.#rules("del", "");
  }

  /** Starts Chromium on this machine. @param {Parameters<typeof launch>[0]} changes */
  async launch(changes = {}) {
    const script = join(this.#folder, "chromium");
    const lines = ["#!/bin/sh", `echo $$ > '${this.#pidFile}'`, `exec nsenter --net=/proc/${this.#anchor.pid}/ns/net -- '${CHROMIUM}' "$@"`];
    writeFileSync(script, `${lines.join("\n")}\n`, { mode: 0o755 });
    return launch({ ...changes, executablePath: script });
  }

  /** Falls asleep: no process of Chromium runs, and no packet is taken or acknowledged. */
  sleep() {
    this.cut("all");
    this.#signal("SIGSTOP");
  }

  wake() {
    this.mend();
    this.#signal("SIGCONT");
  }

  async stop() {
    // The namespace takes its links with it, but not at once.
    for (const name of this.#links) ip(`link delete ${outer(name)}`);
    const ended = once(this.#anchor, "exit");
    this.#anchor.stdin.end();
    await ended;
    rmSync(this.#folder, { recursive: true });
  }

  get #pidFile() {
    return join(this.#folder, "pid");
  }

  /** @param {string} words */
  #ip(words) {
    return run("nsenter", `--net=/proc/${this.#anchor.pid}/ns/net`, "--", "ip", ...words.split(" "));
  }

  /**
   * @param {"add" | "del"} change
   * @param {string} what
   */
  #rules(change, what) {
    for (const name of this.#links) {
      for (const [command, device] of [[ip, outer(name)], [(words) => this.#ip(words), name]]) {
        command(`rule ${change} pref ${CUT_RULE} iif ${device}${change === "add" ? `${what} blackhole` : ""}`);
      }
    }
  }

  /** @param {NodeJS.Signals} signal to the browser and everything it has started */
  #signal(signal) {
    for (const pid of tree(Number(readFileSync(this.#pidFile, "utf8")))) process.kill(pid, signal);
  }
}

/** The name of the tests' end of a link. */
const outer = (name) => `${name}-far`;

/** Lets rules of ours come before that of local addresses, once. @param {(words: string) => string} command */
function deferLocalRule(command) {
  if (!/^0:/m.test(command("rule list"))) return;
  command(`rule add pref ${LOCAL_RULE} lookup local`);
  command("rule del pref 0");
}

/** @param {number} root @returns {number[]} a process and its descendants, parents first */
function tree(root) {
  const parents = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // The fields after the name, which may contain anything.
      const [, parent] = readFileSync(`/proc/${name}/stat`, "latin1").split(") ").at(-1).split(" ");
      parents.set(Number(name), Number(parent));
    } catch {
      // It has ended meanwhile.
    }
  }
  const found = [root];
  for (const pid of found) for (const [child, parent] of parents) if (parent === pid) found.push(child);
  return found;
}
