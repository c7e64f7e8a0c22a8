/** SFrame against the test vectors of RFC 9605, and against Node's own cryptography. */
import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { deriveSenderKey, open, readHeader, seal, writeHeader } from "../../client/sframe.js";

const { headers, gcm } = JSON.parse(await readFile(new URL("sframe-vectors.json", import.meta.url), "utf8"));

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");
const number = (digits) => BigInt(`0x${digits}`);
const hkdf = (raw) => crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveBits"]);

test("headers are those of the RFC", () => {
  assert.equal(headers.length, 289);
  for (const [kid, ctr, encoded] of headers) {
    assert.equal(hex(writeHeader(number(kid), number(ctr))), encoded);
    assert.deepEqual(readHeader(bytes(`${encoded}aabb`)), { kid: number(kid), ctr: number(ctr), length: encoded.length / 2 });
    assert.equal(readHeader(bytes(encoded).subarray(0, -1)), null, `${encoded} cut off`);
  }
});

test("AES_128_GCM_SHA256_128 is that of the RFC", async () => {
  const [kid, ctr] = [number(gcm.kid), number(gcm.ctr)];
  const senderKey = await deriveSenderKey(await hkdf(bytes(gcm.base_key)), kid);
  assert.equal(hex(senderKey.salt), gcm.sframe_salt);
  assert.equal(hex(await seal(senderKey, kid, ctr, bytes(gcm.metadata), bytes(gcm.pt))), gcm.ct);
  const unit = bytes(gcm.ct);
  assert.equal(hex(await open(senderKey, readHeader(unit), bytes(gcm.metadata), unit)), gcm.pt);
});

test("nothing that was changed on the way authenticates", async () => {
  const kid = number(gcm.kid);
  const senderKey = await deriveSenderKey(await hkdf(bytes(gcm.base_key)), kid);
  const unit = bytes(gcm.ct);
  for (let at = 0; at < unit.length; at += 1) {
    const changed = unit.slice();
    changed[at] ^= 1;
    const header = readHeader(changed);
    if (header) assert.equal(await open(senderKey, header, bytes(gcm.metadata), changed), null, `byte ${at}`);
  }
  assert.equal(await open(senderKey, readHeader(unit), bytes(gcm.metadata).subarray(1), unit), null, "other metadata");
  assert.equal(await open(senderKey, readHeader(unit), bytes(gcm.metadata), unit.subarray(0, -1)), null, "cut off");
  const other = await deriveSenderKey(await hkdf(bytes(gcm.base_key)), kid + 1n);
  assert.equal(await open(other, readHeader(unit), bytes(gcm.metadata), unit), null, "another KID");
});

test("units of any size agree with an implementation by Node's cryptography", async () => {
  const base = randomBytes(16);
  for (const [kid, ctr, size] of [[1n << 63n, 0n, 0], [(1n << 64n) - 1n, 7n, 1], [12345n, 0xffffffffn, 100_000]]) {
    const label = (words) => {
      const end = Buffer.alloc(10);
      end.writeBigUInt64BE(kid);
      end.writeUInt16BE(4, 8);
      return Buffer.concat([Buffer.from(words), end]);
    };
    const key = Buffer.from(hkdfSync("sha256", base, "", label("SFrame 1.0 Secret key "), 16));
    const nonce = Buffer.from(hkdfSync("sha256", base, "", label("SFrame 1.0 Secret salt "), 12));
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ ctr, 4);
    const [metadata, plaintext] = [randomBytes(10), randomBytes(size)];
    const header = writeHeader(kid, ctr);
    const aad = Buffer.concat([header, metadata]);

    const cipher = createCipheriv("aes-128-gcm", key, nonce).setAAD(aad);
    const theirs = Buffer.concat([header, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    const senderKey = await deriveSenderKey(await hkdf(base), kid);
    const ours = await seal(senderKey, kid, ctr, new Uint8Array(metadata), new Uint8Array(plaintext));
    assert.equal(hex(ours), hex(theirs));

    const decipher = createDecipheriv("aes-128-gcm", key, nonce).setAAD(aad).setAuthTag(ours.slice(-16));
    const opened = Buffer.concat([decipher.update(ours.slice(header.length, -16)), decipher.final()]);
    assert.equal(hex(opened), hex(plaintext));
  }
});
