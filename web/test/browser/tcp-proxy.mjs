/** A way to the server that can be cut, stalled, and closed to some requests, without the server or the page being told. */
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** A request's head is complete within the first segment of a loopback connection; this is more than any of ours. */
const HEAD_BYTES = 16 * 1024;

export class TcpProxy {
  /** Nothing is carried in either direction; connections stay, and new ones are taken. */
  #isStalled = false;
  /** Refuses a request by its head. @type {(head: string) => boolean} */
  #refuses = () => false;
  #pairs = new Set();
  #front = createServer({ allowHalfOpen: true }, (client) => this.#take(client));

  /** @param {string} url of the server */
  static async start(url) {
    const proxy = new TcpProxy();
    const { hostname, port } = new URL(url);
    proxy.target = { host: hostname, port: Number(port) };
    proxy.#front.listen(0, "127.0.0.1");
    await once(proxy.#front, "listening");
    proxy.url = `http://127.0.0.1:${proxy.#front.address().port}/`;
    return proxy;
  }

  stop() {
    this.cut();
    this.#front.close();
  }

  /** Ends every connection at once. */
  cut() {
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }

  stall() {
    this.#isStalled = true;
    for (const pair of this.#pairs) this.#flow(pair);
  }

  flow() {
    this.#isStalled = false;
    for (const pair of this.#pairs) this.#flow(pair);
  }

  /** @param {(head: string) => boolean} refuses requests that are answered by 403 from now on */
  refuse(refuses) {
    this.#refuses = refuses;
  }

  #take(client) {
    const pair = { client, server: connect(this.target), isOpen: false };
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      pair.client.destroy();
      pair.server.destroy();
    };
    for (const socket of [pair.client, pair.server]) socket.on("error", end).on("close", end);
    // Each connection may carry several requests: every segment that begins like one is looked at.
    pair.client.on("data", (data) => {
      const head = data.subarray(0, HEAD_BYTES).toString("latin1");
      if (/^[A-Z]+ \S+ HTTP\/1\.1\r\n/.test(head) && this.#refuses(head)) {
        return client.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", () => end());
      }
      return pair.server.write(data);
    });
    pair.server.on("data", (data) => client.write(data));
    pair.client.on("end", () => pair.server.end());
    pair.server.on("end", () => pair.client.end());
    this.#flow(pair);
  }

  #flow({ client, server }) {
    for (const socket of [client, server]) this.#isStalled ? socket.pause() : socket.resume();
  }
}

/** A proxy that knows no WebSockets. */
export const isWebSocket = (head) => /\r\nupgrade: websocket/i.test(head);
/** One that passes responses on only when they are complete, and so refuses those that do not end. */
export const isEvents = (head) => /^POST \S*\/v1\/http\/events /.test(head);
