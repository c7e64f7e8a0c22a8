/** The client as a package: its contents, its types in a TypeScript program, and its only entrance. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { installPacked } from "../package/installed.mjs";

const run = promisify(execFile);
const WEB = fileURLToPath(new URL("../../", import.meta.url));

let folder;
let files;

before(async (t) => {
  ({ folder, files } = await installPacked(t));
});

test("the package has the modules, their types, the README and the licences, and nothing else", () => {
  const modules = readdirSync(join(WEB, "client")).filter((name) => name.endsWith(".js"));
  const types = modules.map((name) => `types/${name.replace(/js$/, "d.ts")}`);
  const expected = [...modules, ...types, "README.md", "LICENSE-MIT", "LICENSE-APACHE", "package.json"];
  assert.deepEqual([...files].sort(), expected.sort());
  const left = readdirSync(join(WEB, "client")).filter((name) => name === "types" || name.startsWith("LICENSE"));
  assert.deepEqual(left, [], "packing leaves nothing behind");
});

test("its version is that of the crates", async () => {
  const { version } = JSON.parse(await readFile(join(WEB, "client/package.json"), "utf8"));
  const workspace = await readFile(join(WEB, "../Cargo.toml"), "utf8");
  assert.equal(version, /^version = "(.*)"$/m.exec(workspace)[1]);
});

test("the index is its only entrance, and loads without a page", async () => {
  const inside = createRequire(join(folder, "index.js"));
  const exported = Object.keys(await import(inside.resolve("tertulia-client")));
  const ours = Object.keys(await import("../../client/index.js"));
  assert.deepEqual(exported, ours);
  assert.throws(() => inside.resolve("tertulia-client/room.js"), { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" });
});

for (const module of ["nodenext", "preserve"]) {
  test(`a TypeScript program compiles against it (module: ${module})`, async () => {
    await copyFile(join(WEB, "test/package/consumer.ts"), join(folder, "consumer.ts"));
    const compilerOptions = {
      strict: true,
      noEmit: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      verbatimModuleSyntax: true,
      target: "es2022",
      module,
      lib: ["es2023", "dom", "dom.iterable"],
      types: [],
    };
    const project = join(folder, `tsconfig.${module}.json`);
    await writeFile(project, JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
    const { stdout } = await run(process.execPath, [join(WEB, "node_modules/typescript/bin/tsc"), "--project", project]).catch((error) => error);
    assert.equal(stdout, "");
  });
}
