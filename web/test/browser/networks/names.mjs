/** A DNS server of a few names. Chromium asks one for the address of a TURN server, and nothing else. */
import { createSocket } from "node:dgram";
import { once } from "node:events";

/** Types and the class of records (RFC 1035 section 3.2, RFC 3596 section 2.1). */
const A = 1;
const AAAA = 28;
const IN = 1;
/** Bytes of a message before its first question. */
const HEAD = 12;
/** An answer, and one that says that there is no such name. */
const ANSWER = 0x8580;
const NO_SUCH_NAME = 0x8583;
/** A name that is the one at the first question. */
const THE_QUESTION = 0xc000 | HEAD;

export class Names {
  #socket = createSocket("udp4");
  /** @type {Record<string, string[]>} */
  #addresses;

  /** @param {Record<string, string[]>} addresses of both families by name @param {string} host where it listens */
  static async start(addresses, host) {
    const names = new Names();
    names.#addresses = addresses;
    names.#socket.on("message", (query, { port, address }) => names.#socket.send(names.#answer(query), port, address));
    names.#socket.bind(53, host);
    await once(names.#socket, "listening");
    return names;
  }

  async stop() {
    const closed = once(this.#socket, "close");
    this.#socket.close();
    await closed;
  }

  /** @param {Buffer} query @returns {Buffer} */
  #answer(query) {
    const { name, type, end } = question(query);
    const found = this.#addresses[name.toLowerCase()];
    const records = (found ?? []).map(bytesOf).filter(({ length }) => (type === A && length === 4) || (type === AAAA && length === 16));
    const head = Buffer.alloc(HEAD);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(found ? ANSWER : NO_SUCH_NAME, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records.length, 6);
    const answers = records.map((bytes) => {
      const fixed = Buffer.alloc(12);
      fixed.writeUInt16BE(THE_QUESTION, 0);
      fixed.writeUInt16BE(type, 2);
      fixed.writeUInt16BE(IN, 4);
      fixed.writeUInt32BE(60, 6);
      fixed.writeUInt16BE(bytes.length, 10);
      return Buffer.concat([fixed, bytes]);
    });
    return Buffer.concat([head, query.subarray(HEAD, end), ...answers]);
  }
}

/** The first question of a query. @param {Buffer} query */
function question(query) {
  const labels = [];
  let at = HEAD;
  while (query[at] > 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + query[at]));
    at += 1 + query[at];
  }
  return { name: labels.join("."), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** @param {string} address with all groups or one `::` @returns {Buffer} */
function bytesOf(address) {
  if (!address.includes(":")) return Buffer.from(address.split(".").map(Number));
  const [before, after] = address.split("::").map((part) => part.split(":").filter(Boolean));
  const groups = [...before, ...Array(8 - before.length - (after?.length ?? 0)).fill("0"), ...(after ?? [])];
  return Buffer.from(groups.map((group) => group.padStart(4, "0")).join(""), "hex");
}
