/** The networks of the matrix: what the router does, and by which way media must go then. */
import { isLong } from "../extent.mjs";
import { diesAndReturns, isRepaired, rebinds, stays } from "./changes.mjs";

/**
 * Rules of the router's chains, in the words of nft. Packets of the browsers come by `lan`, those of a server by `wan` or
 * `edge`.
 *
 * @typedef {{ raw?: string[], forward?: string[], input?: string[], nat?: string[] }} Rules
 */

/**
 * A network.
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {Rules} rules
 * @property {"udp" | "tcp" | "turn_tcp" | "turn_tls"} path as the server tells it
 * @property {RegExp} pair the selected pair, as `wayOf` of `couple.mjs` has it
 * @property {RegExp} [seenAt] where the server sees the browsers
 * @property {keyof import("./lab.mjs").SITES} [site]
 * @property {4 | 6} [family] of the browsers' addresses
 * @property {boolean} [inFull] it is run by TERTULIA_LONG=1 alone
 * @property {(context: import("./changes.mjs").Context) => Promise<void>} [during] what happens in the call
 */

const UDP = /^(host|srflx|prflx) udp -> 203\.0\.113\.10:10000$/;
const TCP = /^(host|srflx|prflx) tcp -> 203\.0\.113\.10:443$/;
const TURN_TLS = /^relay tls -> 203\.0\.113\.10:10000$/;
const UDP_6 = /^(host|srflx|prflx) udp -> \[?2001:db8:2::10\]?:10000$/;
/** The address of the router on the side of the servers. */
const ROUTER = /^203\.0\.113\.1:/;

const NO_UDP = "meta l4proto udp drop";

/** Connections that do not begin with a record of TLS are reset, and so are those to any other port. */
const ONLY_TLS = [
  NO_UDP,
  'iifname "lan" tcp dport != 443 reject with tcp reset',
  "ct mark 1 accept",
  "@ih,0,8 0x16 ct mark set 1 accept",
  'iifname "lan" @ih,0,8 != 0x16 reject with tcp reset',
];

/** Each mapping has a port of its own, which has nothing to do with that of the browser, nor with other mappings of it. */
const NAT = ['oifname "wan" masquerade random,fully-random'];

/** Mappings of UDP that are those of a zone: in another one there are none yet. What comes for others is dropped. @param {number} zone */
const inZone = (zone) => ({ raw: [`meta l4proto udp ct zone set ${zone}`], input: ['iifname "wan" meta l4proto udp drop'], nat: NAT });

/** Every tenth large packet to the browsers is lost, which is one of a picture. */
const LOSSY = ['iifname "wan" meta l4proto udp meta length > 300 numgen random mod 10 == 0 drop'];

/** @type {Row[]} */
const ALL = [
  { name: "all open", rules: {}, path: "udp", pair: UDP },
  { name: "UDP dropped", rules: { forward: [NO_UDP] }, path: "tcp", pair: TCP },
  { name: "UDP to browsers dropped", rules: { forward: [`iifname "wan" ${NO_UDP}`] }, path: "tcp", pair: TCP, during: stays },
  { name: "UDP to server dropped", rules: { forward: [`iifname "lan" ${NO_UDP}`] }, path: "tcp", pair: TCP, during: stays, inFull: true },
  { name: "only 443/tcp", rules: { forward: [NO_UDP, 'iifname "lan" tcp dport != 443 drop'] }, path: "tcp", pair: TCP, inFull: true },
  { name: "only TLS on 443", rules: { forward: ONLY_TLS }, path: "turn_tls", pair: TURN_TLS },
  { name: "symmetric NAT", rules: { nat: NAT }, path: "udp", pair: UDP, seenAt: ROUTER },
  { name: "NAT that rebinds", rules: inZone(1), path: "udp", pair: UDP, seenAt: ROUTER, during: rebinds([2, 3, 4].map(inZone)) },
  { name: "UDP that loses packets", rules: { forward: LOSSY }, path: "udp", pair: UDP, during: isRepaired },
  { name: "UDP that dies and returns", rules: {}, path: "udp", pair: UDP, during: diesAndReturns, inFull: true },
  { name: "IPv6 only", rules: {}, family: 6, path: "udp", pair: UDP_6, inFull: true },
  { name: "IPv6, only TLS on 443", rules: { forward: ONLY_TLS }, family: 6, path: "turn_tls", pair: TURN_TLS, inFull: true },
  { name: "TLS proxy", site: "proxied", rules: { forward: ONLY_TLS }, path: "turn_tcp", pair: /^relay tls -> 192\.0\.2\.20:10100$/, inFull: true },
  { name: "TLS proxy with PROXY", site: "named", rules: { forward: ONLY_TLS }, path: "turn_tcp", pair: /^relay tls -> 192\.0\.2\.30:10200$/, inFull: true },
];

/** The rows of this run. */
export const ROWS = ALL.filter(({ inFull }) => isLong || !inFull);
