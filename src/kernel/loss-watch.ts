/**
 * Tells when the node loses something of ours: `ip monitor` and `tc monitor` in child processes, which hear from the kernel
 * what anybody deletes or sets.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { sleep } from "../lib/backoff.ts";
import { HOST_DEVICE, HOST_PEER, TUNNEL_DEVICE } from "./host.ts";
import { POD_DEVICE_PREFIX, ROUTE_PROTOCOL, UNREACHABLE_PROTOCOL } from "./links.ts";

/**
 * `pod`: the route to a pod of that address, or its neighbour entry; with the pod they go too, which is none of anybody's
 * business. `programs`: those of a device, of any where that is undefined; with the device they go without a word. `address`: one of a device that is no
 * pod's. `network`: anything else.
 */
export type Loss = { readonly of: "pod" | "address"; readonly address: string } | { readonly of: "programs"; readonly device: string | undefined } | { readonly of: "network" };

const AGAIN_MS = 1000;
const OWN_DEVICES = [HOST_DEVICE, HOST_PEER, TUNNEL_DEVICE].join("|");
const POD = new RegExp(`^Deleted (\\S+) dev ${POD_DEVICE_PREFIX}`);
const NETWORK = new RegExp([
  `^Deleted .* proto (${ROUTE_PROTOCOL}|${UNREACHABLE_PROTOCOL})\\b`,
  // A device that is no pod's, or an address on it: the kernel takes the routes of one that goes down without a word for each.
  `^(Deleted )?\\d+: (?!${POD_DEVICE_PREFIX}|tmp)`,
  // Settings. The kernel tells no others of those that we need.
  `^inet6? (all|default|${OWN_DEVICES}) (forwarding|rp_filter) `,
].join("|"));
const ADDRESS = new RegExp(`^Deleted \\d+: (?!${POD_DEVICE_PREFIX}|tmp)\\S+\\s+inet6? ([^/\\s]+)`);
/** The clsact with all its filters, one of bpf at our place (tc.ts), or all of that preference; others' filters are no loss. */
const PROGRAMS = /^deleted (?:qdisc clsact \S+ dev (\S+)|filter dev (\S+) (?:.* )?protocol all pref 1 bpf)\b/;

function lossOfNetwork(line: string): Loss | undefined {
  const pod = POD.exec(line)?.[1];
  if (pod !== undefined) return { of: "pod", address: pod };
  const address = ADDRESS.exec(line)?.[1];
  if (address !== undefined) return { of: "address", address };
  return NETWORK.test(line) ? { of: "network" } : undefined;
}

export function lossOfPrograms(line: string): Loss | undefined {
  const found = PROGRAMS.exec(line);
  return found === null ? undefined : { of: "programs", device: found[1] ?? found[2] };
}

/** Until the signal aborts. May call `onLoss` without a loss, never the reverse, except while a process is started again. */
export async function watchLosses(onLoss: (loss: Loss) => void, signal: AbortSignal): Promise<void> {
  await Promise.all([
    watch(["ip", "-oneline", "monitor", "route", "rule", "link", "address", "neigh", "netconf"], lossOfNetwork, { of: "network" }, onLoss, signal),
    watch(["tc", "monitor"], lossOfPrograms, { of: "programs", device: undefined }, onLoss, signal),
  ]);
}

async function watch([program, ...args]: readonly [string, ...string[]], lossOf: (line: string) => Loss | undefined, unknown: Loss, onLoss: (loss: Loss) => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
    const end = (): void => void child.kill();
    signal.addEventListener("abort", end, { once: true });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const loss = lossOf(line);
      if (loss !== undefined) onLoss(loss);
    });
    await once(child, "close").catch(() => undefined); // cannot be started: tried again
    signal.removeEventListener("abort", end);
    if (signal.aborted) return;
    await sleep(AGAIN_MS, signal);
    onLoss(unknown);
  }
}
