/**
 * Pods of this node: `interfaces` (ifindex) and `endpoints` (address) hold the same value, and only this file
 * writes it.
 *
 * Order: a pod becomes reachable (`endpoints`) before it may send (`interfaces`), and stops sending first.
 * Neither half opens anything alone: what is in no map is dropped, and each value carries the slot whose rules
 * judge it. A value without ENDPOINT_READY is closed. All entries are ours.
 */
import { ENDPOINT_READY, endpointCodec } from "../kernel/gen/types.ts";
import type { BatchMap, Codec } from "../kernel/port.ts";
import { CodedError } from "../lib/errors.ts";
import { formatAddress, parseAddress } from "../lib/ip.ts";
import { MapReconciler } from "../reconcile/reconciler.ts";
import { sameFields } from "../reconcile/target.ts";
import type { Failure } from "../reconcile/target.ts";
import type { EndpointRow as NamedRow } from "./desired.ts";
import { MapTarget, addressKey, addressText, optionalAddress, optionalPorts, u32Key } from "./map-target.ts";
import type { Numbered } from "./ports.ts";

export type EndpointRow = Numbered<NamedRow>;

/** Whose slot judges the pod: its class's, else its identity's. */
export const ownerOf = ({ identity, ports }: EndpointRow): number => ports ?? identity;

interface EndpointValue extends EndpointRow {
  /** 0: closed. */
  readonly subject: number;
  readonly ready: boolean;
}

const endpointValue: Codec<EndpointValue> = {
  size: endpointCodec.size,
  encode: ({ ready, mac, hostMac, ipv4, ipv6, ports = 0, ...rest }, into, at) =>
    endpointCodec.encode(
      { ...rest, ports, flags: ready ? ENDPOINT_READY : 0, mac: parseMac(mac), hostMac: parseMac(hostMac), ipv4: optionalAddress(ipv4), ipv6: optionalAddress(ipv6) },
      into,
      at,
    ),
  decode: (from, at) => {
    const { flags, mac, hostMac, ipv4, ipv6, ports, ...rest } = endpointCodec.decode(from, at);
    return { ...rest, ...optionalPorts(ports), ready: (flags & ENDPOINT_READY) !== 0, mac: formatMac(mac), hostMac: formatMac(hostMac), ipv4: addressText(ipv4), ipv6: addressText(ipv6) };
  },
};

function parseMac(text: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(text)) throw new CodedError("ADDRESS", `${JSON.stringify(text)} is not a MAC address`);
  return Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
}

function formatMac(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

export interface EndpointMaps {
  readonly interfaces: BatchMap;
  readonly endpoints: BatchMap;
}

export interface EndpointsStep {
  readonly done: number;
  /** By the key of the endpoint where one is known, else by ifindex or address. */
  readonly failures: readonly Failure<string>[];
}

interface Wanted {
  readonly byIfindex: ReadonlyMap<number, EndpointValue>;
  readonly byAddress: ReadonlyMap<string, EndpointValue>;
  readonly conflicts: readonly Failure<string>[];
}

export class EndpointsTarget {
  readonly #interfaces: MapReconciler<number, EndpointValue>;
  readonly #endpoints: MapReconciler<string, EndpointValue>;

  constructor(maps: EndpointMaps, nowMs: () => number) {
    const options = { equal: sameFields<EndpointValue>, nowMs };
    this.#interfaces = new MapReconciler(new MapTarget(maps.interfaces, u32Key, endpointValue), options);
    this.#endpoints = new MapReconciler(new MapTarget(maps.endpoints, addressKey, endpointValue), options);
  }

  /** Entries by map. */
  entries(): readonly (readonly [map: string, entries: number])[] {
    return [["interfaces", this.#interfaces.size], ["endpoints", this.#endpoints.size]];
  }

  put(rows: ReadonlyMap<string, EndpointRow>, slots: ReadonlyMap<number, number>): EndpointsStep {
    const { byIfindex, byAddress, conflicts } = wanted(rows, slots);
    const reachable = this.#endpoints.put(byAddress);
    const sending = this.#interfaces.put(byIfindex);
    return { done: reachable.done + sending.done, failures: [...conflicts, ...named([...reachable.failures, ...sending.failures], rows)] };
  }

  prune(rows: ReadonlyMap<string, EndpointRow>, slots: ReadonlyMap<number, number>): EndpointsStep {
    const { byIfindex, byAddress } = wanted(rows, slots);
    const sending = this.#interfaces.prune(byIfindex);
    const reachable = this.#endpoints.prune(byAddress);
    return { done: sending.done + reachable.done, failures: named([...sending.failures, ...reachable.failures], rows) };
  }

  invalidate(): void {
    this.#interfaces.invalidate();
    this.#endpoints.invalidate();
  }
}

/** Two endpoints with one device or address: the one with the smaller key has it, the other is refused. */
function wanted(rows: ReadonlyMap<string, EndpointRow>, slots: ReadonlyMap<number, number>): Wanted {
  const byIfindex = new Map<number, EndpointValue>();
  const byAddress = new Map<string, EndpointValue>();
  const conflicts: Failure<string>[] = [];
  for (const [key, row] of [...rows].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const subject = slots.get(ownerOf(row)) ?? 0;
    const value: EndpointValue = { ...canonical(row), subject, ready: subject !== 0 };
    const addresses = [value.ipv4, value.ipv6].filter((address) => address !== undefined);
    if (byIfindex.has(row.ifindex) || addresses.some((address) => byAddress.has(address))) {
      conflicts.push({ key, error: new CodedError("CONFLICT", `another endpoint has device ${row.ifindex} or one of ${addresses.join(", ")}`) });
      continue;
    }
    byIfindex.set(row.ifindex, value);
    for (const address of addresses) byAddress.set(address, value);
  }
  return { byIfindex, byAddress, conflicts };
}

/** Only the fields of EndpointRow, addresses as the maps give them back. */
function canonical({ id, ifindex, identity, mtu, mac, hostMac, ipv4, ipv6, ports = 0 }: EndpointRow): EndpointRow {
  const text = (address: string | undefined): string | undefined => (address === undefined ? undefined : formatAddress(parseAddress(address)));
  return { id, ifindex, identity, mtu, mac: mac.toLowerCase(), hostMac: hostMac.toLowerCase(), ipv4: text(ipv4), ipv6: text(ipv6), ...optionalPorts(ports) };
}

function named(failures: readonly Failure<string | number>[], rows: ReadonlyMap<string, EndpointRow>): Failure<string>[] {
  return failures.map(({ key, error }) => {
    const owner = [...rows].find(([, row]) => [row.ifindex, row.ipv4, row.ipv6].includes(key));
    return { key: owner?.[0] ?? String(key), error };
  });
}
