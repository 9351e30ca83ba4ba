/**
 * How the node's own network namespace is judged: the one value of the map `host`.
 *
 * The first rules of a node find sessions that are open already. So its flows are first remembered for a moment while nobody
 * judges them, by their packets and, of those that are silent, by the tables of sockets and of netfilter's conntrack; and are
 * judged then. Without rules the map says nothing again. What the kernel holds is taken over by the next agent.
 */
import { HOST_TRACKED, hostCodec } from "../kernel/gen/types.ts";
import type { Host } from "../kernel/gen/types.ts";
import type { BpfMap } from "../kernel/port.ts";
import { asError } from "../lib/errors.ts";
import { viewOf } from "./map-target.ts";

/** As long as an answer takes that somebody still waits for. */
export const LEARNING_MS = 2000;

const KEY = new Uint8Array(4);
const OFF: Host = { subject: 0, flags: 0 };

export interface HostStep {
  readonly done: number;
  readonly error: Error | undefined;
  /** How long the node's rules will not judge yet; undefined: they do, or there are none. */
  readonly againMs: number | undefined;
}

export class HostTarget {
  readonly #map: BpfMap;
  readonly #rememberOpen: () => void;
  readonly #nowMs: () => number;
  /** In the kernel; undefined: not known. */
  #held: Host | undefined;
  #learningSince: number | undefined;

  /** @param rememberOpen writes what is open already into the flows; what it throws is told with the step that asked for it. */
  constructor(map: BpfMap, rememberOpen: () => void, nowMs: () => number) {
    this.#map = map;
    this.#rememberOpen = rememberOpen;
    this.#nowMs = nowMs;
  }

  invalidate(): void {
    this.#held = undefined;
  }

  /** @param slot of the rules that are in force; undefined: there are none for the node. */
  put(slot: number | undefined): HostStep {
    try {
      return this.#step(slot);
    } catch (thrown) {
      this.#held = undefined;
      return { done: 0, error: asError(thrown), againMs: undefined };
    }
  }

  #step(slot: number | undefined): HostStep {
    const held = (this.#held ??= this.#read());
    if (slot === undefined) return { done: this.#write(OFF), error: undefined, againMs: undefined };
    if (held.subject === 0) {
      if (held.flags === 0) this.#learningSince = undefined;
      const done = this.#write({ subject: 0, flags: HOST_TRACKED });
      // What opens from here on is seen by its packets. Once, also where it fails: the rules do not wait for it.
      if (this.#learningSince === undefined) {
        this.#learningSince = this.#nowMs();
        this.#rememberOpen();
      }
      const leftMs = this.#learningSince + LEARNING_MS - this.#nowMs();
      if (leftMs > 0) return { done, error: undefined, againMs: leftMs };
    }
    return { done: this.#write({ subject: slot, flags: HOST_TRACKED }), error: undefined, againMs: undefined };
  }

  #read(): Host {
    const value = this.#map.lookup(KEY);
    return value === undefined ? OFF : hostCodec.decode(viewOf(value));
  }

  #write(wanted: Host): number {
    const held = this.#held;
    if (held !== undefined && held.subject === wanted.subject && held.flags === wanted.flags) return 0;
    const value = new Uint8Array(hostCodec.size);
    hostCodec.encode(wanted, viewOf(value));
    this.#map.update(KEY, value);
    this.#held = wanted;
    return 1;
  }
}
