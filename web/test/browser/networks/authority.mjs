/** An authority for certificates that the tests' browsers trust. TURN over TLS asks nobody whether to go on without one. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** @param {string} command @param {string[]} args */
const run = (command, args) => execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });

export class Authority {
  #folder;

  /** @param {string} folder for its files */
  constructor(folder) {
    this.#folder = folder;
    const also = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"].flatMap((each) => ["-addext", each]);
    const files = ["-keyout", this.#file("ca.key"), "-out", this.#file("ca.pem")];
    // Without a configuration of the machine's, which may add the same extensions.
    run("openssl", ["req", "-x509", "-config", "/dev/null", ...KEY, ...files, "-days", "30", "-subj", "/CN=Authority of tests", ...also]);
  }

  /** @param {string[]} names @returns {{ cert: string, key: string }} files of a certificate for these */
  certify(names) {
    const [cert, key] = [this.#file("site.pem"), this.#file("site.key")];
    const also = [`subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`, "extendedKeyUsage=serverAuth", "basicConstraints=CA:FALSE"];
    const by = ["-CA", this.#file("ca.pem"), "-CAkey", this.#file("ca.key")];
    const flags = ["-days", "30", "-subj", "/CN=Site of tests", ...also.flatMap((each) => ["-addext", each])];
    run("openssl", ["req", "-x509", "-config", "/dev/null", ...by, ...KEY, "-keyout", key, "-out", cert, ...flags]);
    return { cert, key };
  }

  /** Makes a database of NSS in which this is trusted: Firefox has one in its profile, and Chromium one at home. @param {string} folder */
  trustIn(folder) {
    mkdirSync(folder, { recursive: true });
    run("certutil", ["-N", "-d", `sql:${folder}`, "--empty-password"]);
    run("certutil", ["-A", "-d", `sql:${folder}`, "-n", "tests", "-t", "C,,", "-i", this.#file("ca.pem")]);
  }

  /** @param {string} name */
  #file(name) {
    return join(this.#folder, name);
  }
}
