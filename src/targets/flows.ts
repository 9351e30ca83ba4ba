/**
 * Conntrack (`flows`): the programs write entries, and ignore those that have expired; only this file deletes. A walk
 * of the whole map gives way to other work between batches.
 *
 * Under pressure, flows that nobody needs go before their time: those that were never established or are closing, once
 * they are silent for some seconds. An established flow is never deleted before it has expired.
 */
import { setImmediate as giveWay } from "node:timers/promises";
import {
  CT_CLOSING, CT_CONFIRMED, CT_FIN_OPENER, CT_FIN_RESPONDER, CT_REPLIED, TIMEOUT_ICMP, TIMEOUT_TCP_CLOSING, TIMEOUT_TCP_OPENING, TIMEOUT_TCP_RESET, TIMEOUT_UDP, flowKeyCodec, flowStateCodec,
} from "../kernel/gen/types.ts";
import type { BatchMap, Packed } from "../kernel/port.ts";
import { parseAddress } from "../lib/ip.ts";
import { viewOf } from "./map-target.ts";

export interface FlowsReport {
  readonly seen: number;
  readonly deleted: number;
  /** Of the deleted ones, those whose time was not over. */
  readonly early: number;
  readonly maxEntries: number;
  /** First refusal of the kernel; the rest of the walk was done. */
  readonly error: Error | undefined;
}

/** From this share of the table on, silent flows that are not established go early. */
export const PRESSURE = 0.85;
const CRITICAL = 0.95;
/** A question that was not answered for so long is asked again, or given up. */
const PRESSED_SILENCE_S = 5;
const CRITICAL_SILENCE_S = 2;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Milliseconds until the table should be walked again: the fuller it is, the sooner, yet not more than a tenth of the
 * time is spent on it.
 */
export function nextWalkMs({ fill, tookMs }: { readonly fill: number; readonly tookMs: number }): number {
  const wanted = fill >= PRESSURE ? 1_000 : fill >= 0.5 ? 5_000 : fill >= 0.25 ? 10_000 : LONGEST_PAUSE_MS;
  return Math.min(LONGEST_PAUSE_MS, Math.max(wanted, 9 * tookMs));
}

/** Share of the table that one pod may fill, in each direction, with flows that nobody answers. */
const QUOTA_SHARE = 1 / 16;
const LEAST_QUOTA = 256;

/** The option config_flow_quota_step_ns for a table of this size (struct quota): an endpoint has 2 T / step flows at most. */
export function quotaStepNs(maxEntries: number): bigint {
  const quota = Math.max(maxEntries * QUOTA_SHARE, Math.min(LEAST_QUOTA, maxEntries / 2));
  return BigInt(Math.ceil((2 * TIMEOUT_TCP_OPENING * 1e9) / quota));
}

type Choice = "keep" | "expired" | "early";
type Choose = (batch: Packed, index: number) => Choice;

const TCP = 6;
const SCTP = 132;
const ICMP = 1;
const ICMPV6 = 58;

/** Seconds since the last packet of a flow that is not established, closing ones included; undefined: it is. */
function silence(protocol: number, flags: number, left: number): number | undefined {
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const isConfirmed = has(CT_REPLIED) && has(CT_CONFIRMED);
  if (protocol === ICMP || protocol === ICMPV6) return TIMEOUT_ICMP - left;
  if (protocol !== TCP && protocol !== SCTP) return isConfirmed ? undefined : TIMEOUT_UDP - left;
  if (has(CT_CLOSING)) return (has(CT_FIN_OPENER) && has(CT_FIN_RESPONDER) ? TIMEOUT_TCP_CLOSING : TIMEOUT_TCP_RESET) - left;
  return isConfirmed ? undefined : TIMEOUT_TCP_OPENING - left;
}

/**
 * Deletes flows, with one walk of the map at a time: a map of half a million flows is walked once for the many pods
 * that go together, not once for each.
 */
export class FlowCollector {
  readonly #map: BatchMap;
  #walking: Promise<unknown> = Promise.resolve();
  #count: number | undefined;
  /** The purge whose walk has not begun; it takes further addresses until then. */
  #next: { readonly gone: Set<string>; readonly done: Promise<FlowsReport> } | undefined;

  constructor(map: BatchMap) {
    this.#map = map;
  }

  /** Flows in the table, as the last walk left it; undefined before the first. */
  get count(): number | undefined {
    return this.#count;
  }

  /**
   * Deletes flows whose time is over, and under pressure those that nobody needs.
   * @param now seconds of CLOCK_MONOTONIC, as in `expires`.
   */
  async collect(now: number): Promise<FlowsReport> {
    const isOver = (batch: Packed, i: number): Choice => (this.#stateOf(batch, i).expires < now ? "expired" : "keep");
    const first = await this.#walk(() => isOver);
    const fill = (first.seen - first.deleted) / this.#map.maxEntries;
    if (fill < PRESSURE) return first;
    const longest = fill >= CRITICAL ? CRITICAL_SILENCE_S : PRESSED_SILENCE_S;
    const second = await this.#walk(() => (batch, i) => {
      const { expires, flags } = this.#stateOf(batch, i);
      const silent = silence(this.#protocolOf(batch, i), flags, expires - now);
      return silent !== undefined && silent >= longest ? "early" : "keep";
    });
    return { ...second, seen: first.seen, deleted: first.deleted + second.deleted, error: first.error ?? second.error };
  }

  #stateOf({ values }: Packed, index: number): { readonly expires: number; readonly flags: number } {
    return flowStateCodec.decode(viewOf(values), index * this.#map.valueSize);
  }

  #protocolOf({ keys }: Packed, index: number): number {
    return flowKeyCodec.decode(viewOf(keys), index * this.#map.keySize).protocol;
  }

  /**
   * Deletes the flows of addresses that are gone, so that a later owner of one meets none of them. Resolves after a
   * walk that began after the call.
   */
  purge(addresses: readonly string[]): Promise<FlowsReport> {
    this.#next ??= this.#planPurge();
    for (const address of addresses) this.#next.gone.add(latin1(parseAddress(address)));
    return this.#next.done;
  }

  #planPurge(): { readonly gone: Set<string>; readonly done: Promise<FlowsReport> } {
    const gone = new Set<string>();
    const done = this.#walk(() => {
      this.#next = undefined;
      return ({ keys }, i) => (flowEnds(keys, i * this.#map.keySize).some((end) => gone.has(latin1(end))) ? "expired" : "keep");
    });
    return { gone, done };
  }

  /** @param begin called when it is this walk's turn. */
  #walk(begin: () => Choose): Promise<FlowsReport> {
    const walked = this.#walking
      .then(() => giveWay())
      .then(() => deleteWhere(this.#map, begin()))
      .then((report) => {
        this.#count = report.seen - report.deleted;
        return report;
      });
    this.#walking = walked.catch(() => undefined);
    return walked;
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** struct flow_key begins with both addresses: read in place, since this runs for each of many flows. */
function flowEnds(keys: Uint8Array, at: number): [low: Uint8Array, high: Uint8Array] {
  return [keys.subarray(at, at + 16), keys.subarray(at + 16, at + 32)];
}

/** A flow that is used meanwhile gets a new entry with its next packet, judged anew. */
async function deleteWhere(map: BatchMap, choose: Choose): Promise<FlowsReport> {
  let seen = 0;
  let deleted = 0;
  let early = 0;
  let failure: Error | undefined;
  for (const batch of map.batches()) {
    seen += batch.count;
    const found: Uint8Array[] = [];
    for (let i = 0; i < batch.count; i++) {
      const choice = choose(batch, i);
      if (choice === "keep") continue;
      if (choice === "early") early++;
      found.push(batch.keys.subarray(i * map.keySize, (i + 1) * map.keySize));
    }
    const { done, error } = map.deleteBatch(Buffer.concat(found), found.length);
    deleted += done;
    failure ??= error;
    await giveWay();
  }
  return { seen, deleted, early, maxEntries: map.maxEntries, error: failure };
}
