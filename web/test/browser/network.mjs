/**
 * A network namespace of the tests' own. Browsers gather no candidates on loopback, and a machine may have nothing
 * else. The namespace and the link in it end with the last process in it: nothing is left to remove, however a test
 * ends.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** An address of TEST-NET-1 (RFC 5737), which nobody has. */
const ADDRESS = "192.0.2.1";
/** Says to the process inside that it is inside. */
const INSIDE = "TERTULIA_TEST_NETWORK";

/** The namespace's address that is not loopback, on a link that leads nowhere. */
export const address = process.env[INSIDE] ?? null;

/** Both ends lie in the namespace: a link is up only if its other end is there. */
const LINK = [
  "ip link set lo up",
  "ip link add call0 type veth peer name call1",
  // Addresses of IPv6 would come a second later by themselves, and Chromium ends what it loads when addresses change.
  "ip link set call0 addrgenmode none",
  "ip link set call1 addrgenmode none",
  `ip address add ${ADDRESS}/24 dev call0`,
  "ip link set call0 up",
  "ip link set call1 up",
  // Firefox gathers nothing where no route leads out.
  "ip route add default dev call0",
].join(" && ");

/** Ways to get a namespace, each to be followed by a command. */
const { uid, gid } = { uid: process.getuid(), gid: process.getgid() };
const WAYS = [
  ...(uid === 0 ? [["unshare", "--net"]] : []),
  ...(uid === 0 ? [] : [["unshare", "--user", "--map-root-user", "--net"]]),
  ...(uid === 0 ? [] : [["sudo", "--non-interactive", "--preserve-env", "unshare", "--net"]]),
];

/** After the link is made by root, the tests are their user's again: Firefox does not start with another's home. */
const asBefore = (way) => (way[0] === "sudo" ? ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--init-groups"] : []);

/**
 * Runs a test file once more inside the namespace. The runner that reads our output reads the other's instead.
 *
 * @param {string} url the file's `import.meta.url`
 * @param {{ asRoot?: boolean }} [options] `asRoot`: it makes further namespaces
 */
export async function runInside(url, { asRoot = false } = {}) {
  const way = WAYS.find(works);
  if (!way) throw new Error(refusal());
  const [command, ...flags] = [...way, "sh", "-ec", `${LINK} && exec "$@"`, "sh", ...(asRoot ? [] : asBefore(way))];
  const child = spawn(command, [...flags, process.execPath, ...process.execArgv, fileURLToPath(url)], {
    stdio: "inherit",
    env: { ...process.env, [INSIDE]: ADDRESS },
  });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  const [code] = await once(child, "exit");
  process.exitCode = code ?? 1;
}

/** @param {string[]} way */
function works(way) {
  const [command, ...flags] = [...way, "sh", "-ec", LINK];
  return spawnSync(command, flags, { stdio: "ignore" }).status === 0;
}

function refusal() {
  return [
    "These tests need a network namespace with a link in it, since browsers gather no candidates on loopback.",
    "It cannot be made here. Run them as root, let sudo work without a password, or allow unprivileged user namespaces",
    "(sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0).",
    "`unshare` (util-linux) and `ip` (iproute2) must be installed.",
  ].join("\n");
}
