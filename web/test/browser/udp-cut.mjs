/** A way to the server's media port that can be cut: nothing gets through in either direction, and nobody is told. */
import { createSocket } from "node:dgram";
import { once } from "node:events";

export class UdpCut {
  isCut = false;
  #front = createSocket("udp4");
  /** One towards the server for each address that clients send from. */
  #backs = new Map();

  /**
   * @param {number} mediaPort the server's
   * @param {string} [ip] the server's, on which it listens as well
   */
  static async start(mediaPort, ip = "127.0.0.1") {
    const cut = new UdpCut();
    cut.#front.on("message", (datagram, from) => !cut.isCut && cut.#towards(mediaPort, from).send(datagram, mediaPort, ip));
    cut.#front.bind(0, ip);
    await once(cut.#front, "listening");
    cut.address = `${ip}:${cut.#front.address().port}`;
    return cut;
  }

  stop() {
    this.#front.close();
    for (const back of this.#backs.values()) back.close();
  }

  #towards(mediaPort, { address, port }) {
    const known = this.#backs.get(`${address}:${port}`);
    if (known) return known;
    const back = createSocket("udp4");
    back.on("message", (datagram) => !this.isCut && this.#front.send(datagram, port, address));
    this.#backs.set(`${address}:${port}`, back);
    return back;
  }
}
