/** A server that wants access tokens, with a key of its own. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Server } from "./server.mjs";

/** Runs a command of the server's binary, and returns what it prints. */
export function tertulia(...args) {
  return execFileSync(process.env.TERTULIA_BIN, args, { encoding: "utf8" }).trim();
}

/** @param {{ host?: string, flags?: string[] }} [options] `host`: the address of its page; `flags`: more of the server's */
export async function startWithKeys({ host, flags = [] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "tertulia-keys-"));
  const keys = join(folder, "keys.json");
  writeFileSync(keys, tertulia("key"));
  const server = await Server.start({ host, arrange: async () => ["--keys", keys, ...flags] });
  return {
    server,
    /** The folder of its key, for other files too. */
    folder,
    /** Makes a token: see `tertulia token --help`. */
    token: (...args) => tertulia("token", "--keys", keys, ...args),
    stop: async () => {
      await server.stop();
      rmSync(folder, { recursive: true });
    },
  };
}
