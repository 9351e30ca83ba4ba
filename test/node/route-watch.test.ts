/** Routes and rules of ours that somebody takes away are noticed as they go, in a network namespace of its own. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { sleep } from "../../src/lib/backoff.ts";

const NETNS = `cilium-watch-${process.pid}`;
const WATCH = join(import.meta.dirname, "../../src/kernel/route-watch.ts");
const ip = (...args: string[]): string => execFileSync("ip", ["-n", NETNS, ...args], { encoding: "utf8" });
const PATIENCE_MS = 90_000;

let watcher: ChildProcess | undefined;
const seen = { losses: 0, text: "" };

/** Does it again until it was noticed: the first time the watch may not have begun. */
async function noticed(what: string, undo: () => void, loss: () => void): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  const before = seen.losses;
  while (seen.losses === before) {
    if (performance.now() > end) assert.fail(`not noticed: ${what}`);
    undo();
    loss();
    await sleep(300);
  }
}

before(() => {
  execFileSync("ip", ["netns", "add", NETNS]);
  ip("link", "set", "lo", "up");
  const script = `import { watchRoutes } from ${JSON.stringify(WATCH)}; await watchRoutes((pod) => console.log("loss", pod), new AbortController().signal);`;
  watcher = spawn("ip", ["netns", "exec", NETNS, process.execPath, "--input-type=module", "--eval", script], { stdio: ["ignore", "pipe", "inherit"] });
  watcher.stdout?.on("data", (chunk: Buffer) => {
    seen.text += chunk.toString();
    seen.losses = seen.text.split("loss").length - 1;
  });
});

after(async () => {
  const ended = new Promise((resolve) => watcher?.once("exit", resolve));
  watcher?.kill("SIGKILL");
  await ended;
  // Its child, which only the namespace still names.
  execFileSync("sh", ["-c", `ip netns pids ${NETNS} | xargs -r kill -9`]);
  execFileSync("ip", ["netns", "delete", NETNS]);
});

test("a rule or route of ours that is deleted is noticed by what the kernel tells", async () => {
  for (const family of ["-4", "-6"]) {
    const rule = [family, "rule"] as const;
    const is = ["priority", "193", "ipproto", "udp", "dport", "8472", "table", "193", "protocol", "193"];
    await noticed(`rule ${family}`, () => ip(...rule, "add", ...is), () => ip(...rule, "delete", ...is));
  }
  const route = ["198.18.77.0/24", "dev", "lo", "table", "193", "proto", "193"];
  await noticed("route", () => ip("route", "add", ...route), () => ip("route", "delete", ...route));
});

test("the loss of a pod's route names the pod, so that the end of a pod is told from a loss", async () => {
  ip("link", "add", "lxcwatched", "type", "veth", "peer", "name", "lxcpeer");
  ip("link", "set", "lxcpeer", "up");
  ip("link", "set", "lxcwatched", "up");
  for (const [family, pod] of [["-4", "10.9.1.7"], ["-6", "fd09:1::7"]] as const) {
    const route = [pod, "dev", "lxcwatched", "proto", "193"];
    await noticed(`route to ${pod}`, () => ip(family, "route", "add", ...route), () => ip(family, "route", "delete", ...route));
    assert.match(seen.text, new RegExp(`^loss ${pod}$`, "m"));
  }
});
