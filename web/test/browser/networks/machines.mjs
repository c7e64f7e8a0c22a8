/** Machines with networks of their own, as namespaces: each one ends with us, and its links with it. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";

/** Time for a namespace to be made. */
const START_MS = 10_000;

/** The command line of a program that runs elsewhere, or here without words before it. @typedef {string[]} Prefix */

/**
 * Runs a program to its end, and throws with what it says if it fails.
 *
 * @param {Prefix} prefix
 * @param {string[]} words
 * @param {string} [input]
 */
export function run(prefix, words, input = "") {
  const [command, ...args] = [...prefix, ...words];
  return execFileSync(command, args, { encoding: "utf8", input, stdio: ["pipe", "pipe", "pipe"] });
}

export class Machine {
  /** Ends when we do: its input does. @type {import("node:child_process").ChildProcess} */
  #anchor;
  /** @type {Promise<unknown>} */
  #ended;

  static async start() {
    const machine = new Machine();
    machine.#anchor = spawn("unshare", ["--net", "sh", "-c", "echo && exec cat >/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
    machine.#ended = once(machine.#anchor, "exit");
    // It writes once the namespace is there.
    await once(machine.#anchor.stdout, "data", { signal: AbortSignal.timeout(START_MS) });
    machine.ip("link set lo up");
    return machine;
  }

  get pid() {
    return this.#anchor.pid;
  }

  /** Comes before a command that is to run on this machine. @returns {Prefix} */
  get prefix() {
    return ["nsenter", `--net=/proc/${this.pid}/ns/net`, "--"];
  }

  /** @param {string} words of the command `ip` */
  ip(words) {
    return run(this.prefix, ["ip", ...words.split(" ")]);
  }

  /** Lets packets for others through. */
  forward() {
    for (const name of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]) run(this.prefix, ["tee", `/proc/sys/net/${name}`], "1");
  }

  async stop() {
    this.#anchor.stdin.end();
    await this.#ended;
  }
}

/** The machine that the tests run on themselves. */
export const here = {
  /** @type {Prefix} */
  prefix: [],
  pid: process.pid,
  /** @param {string} words */
  ip: (words) => run([], ["ip", ...words.split(" ")]),
};

/**
 * An end of a link.
 *
 * @typedef {object} End
 * @property {Pick<Machine, "pid" | "ip">} machine
 * @property {string} name of the device
 * @property {string[]} addresses with the length of their prefix
 */

/** Joins two machines by a link. @param {End} one @param {End} other */
export function link(one, other) {
  one.machine.ip(`link add ${one.name} type veth peer name ${other.name} netns ${other.machine.pid}`);
  for (const { machine, name, addresses } of [one, other]) {
    // Addresses of IPv6 would come a second later by themselves, and Chromium ends what it loads when addresses change.
    machine.ip(`link set ${name} addrgenmode none`);
    for (const address of addresses) addAddress(machine, name, address);
    machine.ip(`link set ${name} up`);
  }
}

/** @param {Pick<Machine, "ip">} machine @param {string} name @param {string} address with the length of its prefix */
export function addAddress(machine, name, address) {
  // Without the search for others that have the address, which takes a second.
  machine.ip(`address add ${address} dev ${name}${address.includes(":") ? " nodad" : ""}`);
}

/** Sends what is for nobody else to a gateway. @param {Pick<Machine, "ip">} machine @param {string} name @param {string} address the gateway's, with the length of its prefix */
export function addRoute(machine, name, address) {
  machine.ip(`${address.includes(":") ? "-6 " : ""}route replace default via ${address.split("/")[0]} dev ${name}`);
}
