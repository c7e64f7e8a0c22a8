/**
 * A proxy that ends TLS and passes what is in it on, as HAProxy and stunnel do. A program: it runs on the machine of the
 * server, and ends with its input.
 *
 *     node tls-proxy.mjs ADDRESS CERT KEY PORT-OF-SERVER [proxy-v2]
 */
import { readFileSync } from "node:fs";
import { connect, isIPv6 } from "node:net";
import { createServer } from "node:tls";

const [address, cert, key, port, header] = process.argv.slice(2);

const proxy = createServer({ cert: readFileSync(cert), key: readFileSync(key), ALPNProtocols: ["http/1.1"] }, (near) => {
  const far = connect(Number(port), "127.0.0.1");
  for (const [from, to] of [[near, far], [far, near]]) {
    from.setNoDelay(true);
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
  }
  if (header === "proxy-v2") far.write(headerOf(near));
  near.pipe(far).pipe(near);
});
// Scans and clients that know no certificate of ours.
proxy.on("tlsClientError", () => {});
proxy.listen(443, address, () => console.log("listening"));
process.stdin.on("end", () => process.exit()).resume();

/** The header of the PROXY protocol, version 2, for a connection over IPv4. @param {import("node:net").Socket} socket */
function headerOf({ remoteAddress, remotePort, localAddress, localPort }) {
  if (isIPv6(remoteAddress)) throw new Error("This proxy listens on IPv4.");
  const start = Buffer.from([13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, 0x11, 0, 12]);
  const addresses = Buffer.from([remoteAddress, localAddress].join(".").split(".").map(Number));
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(remotePort, 0);
  ports.writeUInt16BE(localPort, 2);
  return Buffer.concat([start, addresses, ports]);
}
