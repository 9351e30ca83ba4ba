/** The command that keeps a WireGuard device, in a network namespace of its own: what somebody deletes or kills is made again. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { sleep } from "../../src/lib/backoff.ts";

const ROOT = join(import.meta.dirname, "../..");
const NETNS = `cwgdev-${process.pid}`;
// Its socket is in a folder that all namespaces of a machine share.
const DEVICE = `cwd${process.pid}`;
const PATIENCE_MS = 90_000;
/** A process that lives shorter is the kubelet's to start again. */
const LIVES_MS = 2500;

const inside = (...command: string[]): string => execFileSync("ip", ["netns", "exec", NETNS, ...command], { encoding: "utf8" });
let keeper: ChildProcess;
let said = "";

/** undefined: there is no such device. */
function index(): number | undefined {
  const { ifindex } = (JSON.parse(inside("ip", "-json", "link", "show")) as { ifname: string; ifindex: number }[]).find(({ ifname }) => ifname === DEVICE) ?? {};
  return ifindex;
}

/** Its socket answers. */
function answers(): boolean {
  try {
    inside("wg", "show", DEVICE, "dump");
    return true;
  } catch {
    return false;
  }
}

async function until(what: string, check: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!check()) {
    if (performance.now() > end) assert.fail(`not in 90 s: ${what}; it said: ${said}`);
    await sleep(50);
  }
}

/** Of wireguard-go in the namespace. */
const processes = (): number[] => execFileSync("ip", ["netns", "pids", NETNS], { encoding: "utf8" }).trim().split("\n").map(Number).filter((pid) => pid > 0 && isWireGuardGo(pid));

function isWireGuardGo(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "wireguard-go";
  } catch {
    return false; // it has ended
  }
}

/** As in the container, where the process is at its place: in a mount namespace of its own, which `ip netns exec` makes. */
function start(userspace: string): ChildProcess {
  const script = `mount -t tmpfs none /opt && mkdir -p /opt/cilium/bin && cp ${join(ROOT, "build/bin/wireguard-go")} /opt/cilium/bin/ && cp ${join(ROOT, "src/image/cilium-wireguard.sh")} /opt/cilium/bin/cilium-wireguard && chmod 755 /opt/cilium/bin/cilium-wireguard && exec /opt/cilium/bin/cilium-wireguard ${DEVICE} ${userspace}`;
  const child = spawn("ip", ["netns", "exec", NETNS, "sh", "-c", script], { stdio: ["ignore", "pipe", "pipe"] });
  for (const output of [child.stdout, child.stderr]) output.on("data", (chunk: Buffer) => (said += chunk.toString()));
  return child;
}

describe("the command that keeps a WireGuard device", { timeout: 280_000, skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  before(() => {
    execFileSync("make", ["-s", "build/bin/wireguard-go"], { cwd: ROOT });
    execFileSync("ip", ["netns", "add", NETNS]);
    keeper = start("always");
  });
  after(async () => {
    keeper.kill("SIGKILL");
    for (const pid of processes()) process.kill(pid, "SIGKILL");
    await sleep(100);
    execFileSync("ip", ["netns", "delete", NETNS]);
    rmSync(`/var/run/wireguard/${DEVICE}.sock`, { force: true });
  });

  it("a device that somebody deletes is made again by the same container", async () => {
    await until("the device", answers);
    const before = index();
    await sleep(LIVES_MS);
    inside("ip", "link", "delete", "dev", DEVICE);
    await until("another device", () => ![undefined, before].includes(index()) && answers());
    assert.equal(keeper.exitCode, null);
    await until("its words", () => said.includes("is started again"));
  });

  it("a process that somebody kills is started again by the same container", async () => {
    await until("the process", () => processes().length === 1);
    const [before = 0] = processes();
    await sleep(LIVES_MS);
    process.kill(before, "SIGKILL");
    await until("another process", () => processes().length === 1 && processes()[0] !== before && answers());
    assert.equal(keeper.exitCode, null);
  });

  it("one that is told to end takes its process and its device along", async () => {
    const ended = once(keeper, "exit");
    keeper.kill("SIGTERM");
    const [status] = (await ended) as [number | null];
    assert.equal(status, 0);
    await until("nothing of it", () => processes().length === 0 && index() === undefined);
  });

  it("where no process is wanted and the kernel cannot, it says so and ends", async (context) => {
    if (kernelCan()) return context.skip("this kernel has WireGuard of its own");
    said = "";
    const never = start("never");
    const [status] = (await once(never, "exit")) as [number | null];
    assert.equal(status, 1);
    await until("why", () => /the kernel has no WireGuard/.test(said));
  });
});

/** Makes one and takes it away again. */
function kernelCan(): boolean {
  try {
    inside("ip", "link", "add", "dev", `${DEVICE}k`, "type", "wireguard");
    inside("ip", "link", "delete", "dev", `${DEVICE}k`);
    return true;
  } catch {
    return false;
  }
}
