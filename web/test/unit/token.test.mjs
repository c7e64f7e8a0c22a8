import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { isPassing } from "../../client/reconnect.js";
import { invitationLink, nameInToken, readAddress, roomLink, withoutRoom, withoutToken } from "../../ui/address.js";
import { explainEnding } from "../../ui/words.js";
import { serve, until } from "./fake-room.mjs";

afterEach(() => mock.timers.reset());

const url = (address) => new URL(address, "https://call.example/");

test("a token is read from the link, and taken out of the address", () => {
  for (const [address, room, token, visible] of [
    ["/?room=hall#token=a.b.c", "hall", "a.b.c", "https://call.example/?room=hall"],
    ["/?room=hall&token=a.b.c", "hall", "a.b.c", "https://call.example/?room=hall"],
    ["/?token=a.b.c#hall", "hall", "a.b.c", "https://call.example/#hall"],
    ["/?room=hall&token=old#token=new", "hall", "new", "https://call.example/?room=hall"],
    ["/#token=a.b.c", "", "a.b.c", "https://call.example/"],
    ["/?room=hall#token=", "hall", "", "https://call.example/?room=hall"],
    ["/#hall", "hall", "", null],
    ["/?room=hall", "hall", "", null],
  ]) {
    const read = readAddress(url(address));
    assert.deepEqual([read.room, read.token, read.wrongRoom], [room, token, ""], address);
    assert.equal(withoutToken(url(address)), visible, address);
  }
});

test("a key stays in the address beside a token that goes, and only behind the #", () => {
  for (const [address, token, key, asksPassphrase, visible] of [
    ["/?room=hall#token=a.b.c&key=AAAA", "a.b.c", "AAAA", false, "https://call.example/?room=hall#key=AAAA"],
    ["/?room=hall#key=AAAA&token=a.b.c", "a.b.c", "AAAA", false, "https://call.example/?room=hall#key=AAAA"],
    ["/?room=hall#token=a.b.c&passphrase", "a.b.c", null, true, "https://call.example/?room=hall#passphrase"],
    ["/?room=hall#key=AAAA", "", "AAAA", false, null],
    ["/?room=hall#passphrase", "", null, true, null],
    ["/?room=hall&key=AAAA&passphrase=x", "", null, false, null],
  ]) {
    const read = readAddress(url(address));
    assert.deepEqual([read.room, read.token, read.key, read.asksPassphrase], ["hall", token, key, asksPassphrase], address);
    assert.equal(withoutToken(url(address)), visible, address);
  }
  assert.equal(readAddress(url("/#passphrases")).room, "passphrases");
  const here = url("/?room=hall#key=OLD");
  assert.equal(roomLink(here, "hall"), "https://call.example/?room=hall");
  assert.equal(roomLink(here, "hall", { key: "AAAA" }), "https://call.example/?room=hall#key=AAAA");
  assert.equal(roomLink(here, "hall", { passphrase: "secret" }), "https://call.example/?room=hall#passphrase");
  assert.equal(withoutRoom(here), "https://call.example/");
});

test("a key or passphrase in a mangled link counts as given, so that nothing is sent in the clear", () => {
  for (const [hash, key, asksPassphrase] of [
    ["#key=", "", false],
    ["#key", "", false],
    ["#KEY=AAAA", "AAAA", false],
    ["#key%3DAAAA", "AAAA", false],
    ["#key%253dAAAA", "AAAA", false],
    ["#a=1&key=AAAA", "AAAA", false],
    ["#token=t&key=", "", false],
    ["#token%3Dt%26key%3DAAAA", "AAAA", false],
    ["#key=AAAA&amp;token=t", "AAAA", false],
    ["#?key=AAAA", "AAAA", false],
    ["#%20key=AAAA", "AAAA", false],
    ["#passphrase=", null, true],
    ["#Passphrase", null, true],
    ["#passphrase&token=t", null, true],
    ["#keys", null, false],
    ["#", null, false],
  ]) {
    const read = readAddress(url(`/?room=hall${hash}`));
    assert.deepEqual([read.room, read.key, read.asksPassphrase], ["hall", key, asksPassphrase], hash);
    const visible = withoutToken(url(`/?room=hall${hash}`));
    if (visible === null) continue;
    const left = readAddress(url(visible));
    assert.deepEqual([left.token, left.key, left.asksPassphrase], ["", key, asksPassphrase], visible);
  }
});

test("a token gets into no link for others", () => {
  const here = url("/?room=hall&token=secret#token=secret");
  assert.doesNotMatch(roomLink(here, "hall"), /secret/);
  assert.doesNotMatch(withoutRoom(new URL(withoutToken(here))), /secret/);
});

test("an invitation is a link with its token, and with the key of the call", () => {
  const here = url("/call/?room=hall&debug=1#key=OLD");
  for (const [encryption, key, asksPassphrase] of [
    [null, null, false],
    [{ key: "AAAA" }, "AAAA", false],
    [{ passphrase: "secret" }, null, true],
  ]) {
    const link = invitationLink(roomLink(here, "café hall".normalize(), encryption), "a.b-_.c");
    assert.doesNotMatch(link, /secret|OLD/);
    const read = readAddress(new URL(link));
    assert.deepEqual([read.token, read.key, read.asksPassphrase, read.debug], ["a.b-_.c", key, asksPassphrase, false]);
    assert.ok(link.startsWith("https://call.example/call/?room=caf%C3%A9"), link);
  }
});

test("the name that a token gives is read, and anything else gives none", () => {
  const made = (payload) => `e30.${Buffer.from(JSON.stringify(payload)).toString("base64url")}.sig`;
  assert.equal(nameInToken(made({ name: "Ñandú ✓", room: "hall" })), "Ñandú ✓");
  for (const token of ["", "x", "a.b.c", made({ name: 4 }), made({}), made(null), made("text")]) assert.equal(nameInToken(token), "", token);
});

test("a text that is far too long is not kept whole", () => {
  assert.equal(readAddress(url(`/#token=${"x".repeat(100_000)}`)).token.length, 4097);
});

test("every refusal of a token has words of its own, and is not tried again", () => {
  const codes = ["token_required", "token_expired", "token_revoked", "token_not_yet_valid", "token_wrong_room", "token_invalid"];
  const titles = codes.map((code) => {
    const { title, text } = explainEnding(code, "the server's sentence");
    assert.ok(text && text !== "the server's sentence", code);
    assert.ok(!isPassing({ code }), code);
    return title;
  });
  assert.equal(new Set(titles).size, codes.length);
  assert.ok(!titles.includes(explainEnding("unknown", "").title));
});

/** @param {{ sockets: any[] }} server */
const tokensSaid = (server) => server.sockets.flatMap(({ said }) => said.filter(({ type }) => type === "join").map(({ token }) => token));

test("a room joins with its token, and without one says nothing of tokens", async () => {
  const server = serve({ token: "a.b.c", welcome: { access: "tokens" } });
  await server.room.join();
  assert.deepEqual(tokensSaid(server), ["a.b.c"]);
  assert.equal(server.room.access, "tokens");
  mock.timers.reset();
  const open = serve();
  await open.room.join();
  assert.ok(!("token" in open.sockets[0].said.find(({ type }) => type === "join")));
  assert.equal(open.room.access, null);
});

test("every connection asks for a token of its own", async () => {
  let asked = 0;
  const server = serve({ token: async () => `token-${(asked += 1)}` });
  await server.room.join();
  server.sockets[0].close();
  await until(() => server.sockets.length > 1 && server.room.state === "connected");
  assert.deepEqual(tokensSaid(server), ["token-1", "token-2"]);
});

test("a room whose token has expired meanwhile is closed with that code", async () => {
  const script = { token: "a.b.c" };
  const server = serve(script);
  await server.room.join();
  script.refuse = { code: "token_expired" };
  server.sockets[0].close();
  await until(() => server.room.state === "closed");
  assert.deepEqual(server.events.at(-1), ["state", "closed", "token_expired"]);
});
