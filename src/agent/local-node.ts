/** Who this node is: its addresses and pod CIDRs, as its Node object says. */
import { isDeepStrictEqual } from "node:util";
import { AddressPool } from "../cni/index.ts";
import { POD_DEVICE_PREFIX } from "../kernel/index.ts";
import type { AddressedDevice, DeviceAddress } from "../kernel/index.ts";
import { familyOf, formatAddress, isAddress, parseAddress, parseCidr } from "../lib/ip.ts";
import { sleep } from "../lib/backoff.ts";
import { AbortedError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { AgentConfig } from "./config.ts";
import type { KeptTable } from "./kept-table.ts";
import type { NodeRow } from "./objects.ts";
import type { LocalNode } from "./peers.ts";

/**
 * Of the underlay devices, what the Node object does not name. A whole-length prefix is how a service's address comes to a node
 * and goes (keepalived): not the node's own.
 */
export function furtherAddresses(underlay: readonly Pick<AddressedDevice, "addresses">[], named: readonly string[]): readonly string[] {
  const isFurther = ({ address, prefix, scope }: DeviceAddress): boolean => scope === "global" && prefix !== (address.includes(":") ? 128 : 32) && !named.includes(address);
  return underlay.flatMap(({ addresses }) => addresses.filter(isFurther).map(({ address }) => address));
}

/** What a node has besides the addresses that its Node object names. */
export interface NodeAddresses {
  /** Its own, of its underlay devices. */
  readonly deviceIps: readonly string[];
  /** All others, also those that a service brought: what is sent to them is sent to this node. */
  readonly guestIps: readonly string[];
}

export function nodeAddresses(devices: readonly Pick<AddressedDevice, "name" | "addresses">[], underlay: readonly Pick<AddressedDevice, "addresses">[], named: readonly string[]): NodeAddresses {
  const deviceIps = furtherAddresses(underlay, named);
  const own = new Set([...named, ...deviceIps]);
  const ofNode = devices.filter(({ name }) => !name.startsWith(POD_DEVICE_PREFIX)).flatMap(({ addresses }) => addresses);
  const guests = ofNode.flatMap(({ address, scope }) => (scope === "host" || scope === "link" || !isAddress(address) ? [] : [formatAddress(parseAddress(address))]));
  return { deviceIps, guestIps: [...new Set(guests)].filter((ip) => !own.has(ip)).toSorted() };
}

/** How long the API server may take before what was kept on disk counts. */
const PREFER_API_MS = 3_000;
const LOOK_MS = 100;
const REPORT_MS = 10_000;

/** Undefined while the Node says too little: it has no address, or no pod CIDR of a family that is switched on. */
export function localNode(row: NodeRow, config: Pick<AgentConfig, "enableIPv4" | "enableIPv6">): LocalNode | undefined {
  const podCidrs = row.podCidrs.filter((text) => (familyOf(parseCidr(text).address) === 4 ? config.enableIPv4 : config.enableIPv6));
  if (podCidrs.length === 0 || row.internalIps.length === 0) return undefined;
  const routerOf = (text: string): string => formatAddress(new AddressPool({ cidr: parseCidr(text), restMs: 0, nowMs: () => 0 }).router);
  return { name: row.name, uid: row.uid, internalIps: row.internalIps, podCidrs, routerIps: podCidrs.map(routerOf) };
}

/** What the Node says now, where that is another than `current`. It does not tell of its devices' further addresses. */
export function movedNode(current: LocalNode, row: NodeRow, config: Pick<AgentConfig, "enableIPv4" | "enableIPv6">): LocalNode | undefined {
  const said = localNode(row, config);
  if (said === undefined) return undefined;
  const { deviceIps, guestIps, ...known } = current;
  return isDeepStrictEqual(said, known) ? undefined : { ...said, ...(deviceIps === undefined ? {} : { deviceIps }), ...(guestIps === undefined ? {} : { guestIps }) };
}

/** Waits until the Node is known. Without pod CIDRs (`--allocate-node-cidrs` off) that never comes, so it is said in the log. */
export async function awaitLocalNode(table: KeptTable<NodeRow>, config: AgentConfig, logger: Logger, signal: AbortSignal): Promise<LocalNode> {
  const startedMs = performance.now();
  let reportMs = startedMs + REPORT_MS;
  while (!signal.aborted) {
    const row = table.objects.get(config.nodeName);
    const isCurrent = table.synced || performance.now() - startedMs > PREFER_API_MS;
    const node = row === undefined || !isCurrent ? undefined : localNode(row, config);
    if (node !== undefined) {
      if (!table.synced) logger.warn("the API server does not answer: starting with what was kept on disk", { node });
      return node;
    }
    if (performance.now() > reportMs) {
      reportMs += REPORT_MS;
      logger.warn("waiting for the Node's addresses and pod CIDRs", { node: config.nodeName, known: row, remedy: "kube-controller-manager needs --allocate-node-cidrs=true" });
    }
    await sleep(LOOK_MS, signal);
  }
  throw new AbortedError();
}
