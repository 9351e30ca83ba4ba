/** What somebody takes off a node is noticed as it goes, in a network namespace of its own. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { sleep } from "../../src/lib/backoff.ts";

const NETNS = `cilium-watch-${process.pid}`;
const WATCH = join(import.meta.dirname, "../../src/kernel/loss-watch.ts");
const ip = (...args: string[]): string => execFileSync("ip", ["-n", NETNS, ...args], { encoding: "utf8" });
const inside = (...command: string[]): string => execFileSync("ip", ["netns", "exec", NETNS, ...command], { encoding: "utf8" });
const PATIENCE_MS = 90_000;

let watcher: ChildProcess | undefined;
const seen = { losses: [] as string[], text: "" };

/** Does it again until it was noticed as `loss`: the first time the watch may not have begun. */
async function noticed(what: string, loss: string, undo: () => void, take: () => void): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  const before = seen.losses.length;
  while (!seen.losses.slice(before).includes(loss)) {
    if (performance.now() > end) assert.fail(`not noticed: ${what}; seen: ${seen.losses.slice(before).join()}`);
    undo();
    take();
    await sleep(300);
  }
}

before(() => {
  execFileSync("ip", ["netns", "add", NETNS]);
  ip("link", "set", "lo", "up");
  const script = `import { watchLosses } from ${JSON.stringify(WATCH)}; await watchLosses((loss) => console.log(loss.of, loss.address ?? ""), new AbortController().signal);`;
  watcher = spawn("ip", ["netns", "exec", NETNS, process.execPath, "--input-type=module", "--eval", script], { stdio: ["ignore", "pipe", "inherit"] });
  watcher.stdout?.on("data", (chunk: Buffer) => {
    seen.text += chunk.toString();
    seen.losses = seen.text.split("\n").slice(0, -1).map((line) => line.trim());
  });
});

after(async () => {
  const ended = new Promise((resolve) => watcher?.once("exit", resolve));
  watcher?.kill("SIGKILL");
  await ended;
  // Its children, which only the namespace still names.
  execFileSync("sh", ["-c", `ip netns pids ${NETNS} | xargs -r kill -9`]);
  execFileSync("ip", ["netns", "delete", NETNS]);
});

test("a rule or route of ours that is deleted is noticed by what the kernel tells", async () => {
  for (const family of ["-4", "-6"]) {
    const rule = [family, "rule"] as const;
    const is = ["priority", "193", "ipproto", "udp", "dport", "8472", "table", "193", "protocol", "193"];
    await noticed(`rule ${family}`, "network", () => ip(...rule, "add", ...is), () => ip(...rule, "delete", ...is));
  }
  const route = ["198.18.77.0/24", "dev", "lo", "table", "193", "proto", "193"];
  await noticed("route", "network", () => ip("route", "add", ...route), () => ip("route", "delete", ...route));
});

test("the loss of a pod's route or neighbour entry names the pod, so that the end of a pod is told from a loss", async () => {
  ip("link", "add", "lxcwatched", "type", "veth", "peer", "name", "lxcpeer");
  ip("link", "set", "lxcpeer", "up");
  ip("link", "set", "lxcwatched", "up");
  for (const [family, pod] of [["-4", "10.9.1.7"], ["-6", "fd09:1::7"]] as const) {
    const route = [pod, "dev", "lxcwatched", "proto", "193"];
    await noticed(`route to ${pod}`, `pod ${pod}`, () => ip(family, "route", "add", ...route), () => ip(family, "route", "delete", ...route));
    const neighbour = [pod, "dev", "lxcwatched"];
    await noticed(`neighbour ${pod}`, `pod ${pod}`, () => ip("neighbour", "replace", ...neighbour, "lladdr", "02:00:00:00:00:07", "nud", "permanent"), () => ip("neighbour", "delete", ...neighbour));
  }
});

test("a setting, a device, an address and the programs of a device are noticed", async () => {
  const set = (value: string) => () => void inside("sysctl", "-qw", `net.ipv4.ip_forward=${value}`);
  await noticed("forwarding", "network", set("1"), set("0"));
  const device = ["cilium_watched", "type", "veth", "peer", "name", "cilium_peer"];
  await noticed("device", "network", () => ip("link", "add", ...device), () => ip("link", "delete", "cilium_watched"));
  const address = ["198.18.78.1/32", "dev", "lo"];
  await noticed("address", "address 198.18.78.1", () => ip("address", "add", ...address), () => ip("address", "delete", ...address));
  const clsact = ["dev", "lxcwatched", "clsact"];
  await noticed("programs", "programs", () => inside("tc", "qdisc", "add", ...clsact), () => inside("tc", "qdisc", "delete", ...clsact));
});
