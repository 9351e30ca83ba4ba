/** WireGuard under the tunnel of two nodes of the lab: a process for each, as agents have them made and told. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../../../src/lib/backoff.ts";
import { EncryptedRoutes, WireGuard, runCommand } from "../../../src/kernel/index.ts";
import type { Run } from "../../../src/kernel/index.ts";

const WIREGUARD_GO = join(import.meta.dirname, "../../../build/bin/wireguard-go");
const PORT = 51_871;
const PATIENCE_MS = 60_000;

export interface End {
  readonly namespace: string;
  /** Short: its socket is named after it, in a folder that all namespaces of a machine share. */
  readonly device: string;
  /** The node's; the first is the tunnel's. */
  readonly addresses: readonly [string, ...string[]];
}

const runIn = (namespace: string): Run => ([program, ...args], input) => runCommand(["ip", "netns", "exec", namespace, program, ...args], input);

/**
 * What the tunnel sends from one end to the other takes WireGuard from then on.
 *
 * @param mtu of the devices
 * @returns what ends it; the devices go with their namespaces
 */
export async function encrypt(ends: readonly [End, End], tunnelPort: number, mtu: number): Promise<() => void> {
  const children = ends.map(({ namespace, device }) => start(namespace, device));
  const stop = (): void => {
    for (const child of children) child.kill("SIGKILL");
    for (const { device } of ends) rmSync(`/var/run/wireguard/${device}.sock`, { force: true });
  };
  try {
    const keys = await Promise.all(ends.map(async (end) => ({ end, privateKey: await output(end, ["wg", "genkey"]) })));
    const known = await Promise.all(keys.map(async (each) => ({ ...each, publicKey: await output(each.end, ["wg", "pubkey"], `${each.privateKey}\n`) })));
    for (const [index, { end, privateKey }] of known.entries()) {
      const there = known[1 - index];
      if (there === undefined) throw new Error("there are two ends");
      await tell(end, privateKey, { publicKey: there.publicKey, end: there.end }, { tunnelPort, mtu });
    }
    return stop;
  } catch (error) {
    stop();
    throw error;
  }
}

function start(namespace: string, device: string): ChildProcess {
  return spawn("ip", ["netns", "exec", namespace, WIREGUARD_GO, "--foreground", device], { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, WG_PROCESS_FOREGROUND: "1", LOG_LEVEL: "error" } });
}

async function output({ namespace }: End, command: readonly [string, ...string[]], input?: string): Promise<string> {
  const { status, stdout, stderr } = await runIn(namespace)(command, input);
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  return stdout.trim();
}

async function tell(end: End, privateKey: string, peer: { readonly publicKey: string; readonly end: End }, { tunnelPort, mtu }: { readonly tunnelPort: number; readonly mtu: number }): Promise<void> {
  const { namespace, device, addresses } = end;
  const run = runIn(namespace);
  const wireguard = new WireGuard(run, device);
  for (const last = performance.now() + PATIENCE_MS; ; await sleep(50)) {
    const now = await wireguard.read().catch((thrown: unknown) => { if (performance.now() > last) throw thrown; });
    if (now === undefined) continue;
    const allowedIps = peer.end.addresses.map((ip) => `${ip}/${ip.includes(":") ? 128 : 32}`);
    await wireguard.apply(now, { privateKey, port: PORT, peers: [{ publicKey: peer.publicKey, endpoint: { ip: peer.end.addresses[0], port: PORT }, allowedIps, keepalive: 0 }] });
    break;
  }
  await output(end, ["ip", "link", "set", "dev", device, "mtu", String(mtu), "up"]);
  await output(end, ["sysctl", "-qw", `net.ipv4.conf.${device}.rp_filter=0`]);
  await new EncryptedRoutes(run).sync(tunnelPort, peer.end.addresses.map((destination) => ({ destination, source: addresses.find((ip) => ip.includes(":") === destination.includes(":")) ?? addresses[0], device })));
}
