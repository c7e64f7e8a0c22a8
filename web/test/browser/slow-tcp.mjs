/** A TCP proxy with a propagation delay, in the place of the network between a browser and the server. */
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class SlowTcp {
  #server = createServer((near) => this.#carry(near));
  #sockets = new Set();
  #port;

  /**
   * @param {number} port the server's, on loopback
   * @param {number} delay one way, in milliseconds
   */
  static async start(port, delay) {
    const proxy = new SlowTcp();
    proxy.#port = port;
    proxy.delay = delay;
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.port = proxy.#server.address().port;
    return proxy;
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  /** @param {import("node:net").Socket} near */
  #carry(near) {
    const far = connect(this.#port, "127.0.0.1");
    // On loopback a connection is made in no time. On the network it takes a round trip, before which nothing is sent.
    const made = performance.now() + 2 * this.delay;
    this.#pass(near, far, made);
    this.#pass(far, near, made);
  }

  /**
   * @param {import("node:net").Socket} from
   * @param {import("node:net").Socket} to
   * @param {number} earliest
   */
  #pass(from, to, earliest) {
    this.#sockets.add(from);
    from.setNoDelay(true);
    // Timers of one delay run in their order.
    const later = (act) => setTimeout(act, Math.max(0, earliest - performance.now()) + this.delay);
    from.on("data", (bytes) => later(() => to.destroyed || to.write(bytes)));
    from.on("end", () => later(() => to.destroyed || to.end()));
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      later(() => to.destroy());
    });
  }
}
