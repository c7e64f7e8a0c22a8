/** The client as others get it: packed, and installed into a folder of its own. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const CLIENT = fileURLToPath(new URL("../../client/", import.meta.url));

/**
 * @param {{ after: (done: () => Promise<void>) => void }} t removes the folder in the end
 * @returns {Promise<{ folder: string, files: string[] }>} where it is installed, and the files in the package
 */
export async function installPacked(t) {
  const folder = await mkdtemp(join(tmpdir(), "tertulia-client-"));
  t.after(() => rm(folder, { recursive: true }));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: CLIENT });
  // The output of the scripts stands before the list.
  const [{ filename, files }] = JSON.parse(stdout.slice(stdout.indexOf("[\n")));
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(folder, filename)], { cwd: folder });
  return { folder, files: files.map(({ path }) => path) };
}
