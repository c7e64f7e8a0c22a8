/** The server's way without WebSockets, over real HTTP: sockets that a test drives. Written after the protocol's text. */
import { once } from "node:events";
import { createServer } from "node:http";

export class HttpSockets {
  /** @type {Map<string, any>} by the connection's name */
  connections = new Map();
  /** Paths that are refused, with the status. */
  refuses = new Map();
  requests = [];
  /** @type {(message: any, connection: any) => void} */
  onsaid = () => {};
  #http = createServer((request, response) => void this.#serve(request, response));
  #last = 0;

  static async start() {
    const server = new HttpSockets();
    server.#http.listen(0, "127.0.0.1");
    await once(server.#http, "listening");
    server.url = `ws://127.0.0.1:${server.#http.address().port}/call/v1/ws`;
    return server;
  }

  stop() {
    this.#http.closeAllConnections();
    this.#http.close();
  }

  tell(connection, ...messages) {
    if (connection.stream) for (const message of messages) connection.stream.write(`data: ${JSON.stringify(message)}\n\n`);
    else connection.waiting.push(...messages);
    this.#answerPoll(connection);
  }

  async #serve(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { pathname } = new URL(request.url, "http://h");
    const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : {};
    this.requests.push([pathname, body]);
    const status = this.refuses.get(pathname);
    if (status) return response.writeHead(status, { "content-type": "application/json" }).end('{"code":"refused","message":"no"}');
    switch (pathname) {
      case "/call/v1/http/events": {
        const connection = this.#begin();
        connection.stream = response;
        response.on("close", () => (connection.isGone = true));
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(`data: ${JSON.stringify({ type: "open", connection: connection.name })}\n\n`);
        return this.#take(connection, body);
      }
      case "/call/v1/http/poll": {
        const connection = body.connection ? this.connections.get(body.connection) : this.#begin();
        if (!connection) return this.#unknown(response);
        connection.poll?.end("{}");
        connection.poll = response;
        this.#take(connection, body);
        if (body.wait_ms === 0) this.#answerPoll(connection, true);
        return this.#answerPoll(connection);
      }
      case "/call/v1/http/send": {
        const connection = this.connections.get(body.connection);
        if (!connection) return this.#unknown(response);
        this.#take(connection, body);
        if (body.close) this.end(connection);
        return response.end("{}");
      }
      default:
        return response.writeHead(404).end();
    }
  }

  end(connection) {
    this.connections.delete(connection.name);
    connection.isGone = true;
    connection.stream?.end();
    connection.poll?.destroy();
  }

  #begin() {
    const connection = { name: `c${(this.#last += 1)}`, waiting: [], said: [], stream: null, poll: null };
    this.connections.set(connection.name, connection);
    return connection;
  }

  #take(connection, { messages = [] }) {
    for (const message of messages) {
      connection.said.push(message);
      this.onsaid(message, connection);
    }
  }

  #answerPoll(connection, isDue = false) {
    const { poll, waiting } = connection;
    if (!poll || (waiting.length === 0 && !isDue)) return;
    connection.poll = null;
    poll.setHeader("content-type", "application/json");
    poll.end(JSON.stringify({ connection: connection.name, messages: waiting.splice(0) }));
  }

  #unknown(response) {
    return response.writeHead(404, { "content-type": "application/json" }).end('{"code":"no_such_connection","message":"?"}');
  }
}
