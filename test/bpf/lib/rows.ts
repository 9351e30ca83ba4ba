/** A row reads as a sentence: given a node, this packet at this hook has this fate. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { EventType, dropReasonNames } from "../../../src/kernel/gen/types.ts";
import type { DropReason } from "../../../src/kernel/gen/types.ts";
import { hex } from "./packet.ts";
import { World } from "./world.ts";
import type { ProgramName, RunOptions, Seen } from "./world.ts";

export const Action = { UNSPEC: -1, OK: 0, SHOT: 2, REDIRECT: 7 } as const;

export interface Hop extends RunOptions {
  readonly hook: ProgramName | `stub_${ProgramName}`;
  /** The frame, or a function of the frame that the hop before gave. */
  readonly packet: Uint8Array | ((previous: Uint8Array) => Uint8Array);
  /** `drop`: by this reason, with its event. */
  readonly drop?: keyof typeof DropReason;
  /** The action otherwise; absent: it passes, on the underlay to the filters of others. */
  readonly action?: number;
  readonly mark_after?: number;
  /** Rule ids of the events, in order: verdicts, or the drop's. */
  readonly rules?: readonly number[];
  readonly becomes?: Uint8Array;
  readonly check?: (seen: Seen, world: World) => void;
  /** What changes before this hop. */
  readonly change?: (world: World) => void;
}

export interface Row {
  readonly name: string;
  readonly given?: (world: World) => void;
  readonly hops: readonly Hop[];
}

function passing(hook: Hop["hook"]): number {
  return hook.endsWith("_netdev") ? Action.UNSPEC : Action.OK;
}

function checkHop(world: World, hop: Hop, where: string, previous: Uint8Array): Uint8Array {
  hop.change?.(world);
  const { hook, packet, drop, action, mark_after, rules, becomes, check, change: _, ...options } = hop;
  const seen = world.run(hook, typeof packet === "function" ? packet(previous) : packet, options);
  const drops = seen.events.filter((event) => event.type === EventType.DROP).map((event) => dropReasonNames.get(event.reason) ?? `${event.reason}`);
  assert.deepEqual(drops, drop === undefined ? [] : [drop], `${where}: drops`);
  const wanted = action ?? (drop === undefined ? passing(hook) : Action.SHOT);
  assert.equal(seen.verdict, wanted, `${where}: action`);
  if (mark_after !== undefined) assert.equal(`0x${seen.mark.toString(16)}`, `0x${mark_after.toString(16)}`, `${where}: mark`);
  if (rules !== undefined) assert.deepEqual(seen.events.map((event) => event.rule), rules, `${where}: rules of the events`);
  if (becomes !== undefined) assert.equal(hex(seen.packet), hex(becomes), `${where}: packet`);
  check?.(seen, world);
  return seen.packet;
}

/** One world for all rows of a file; each row starts from the cast's first state. */
export function rows(list: readonly Row[]): void {
  const world = new World();
  after(() => world.close());
  for (const row of list) {
    test(row.name, { skip: row.hops.map((hop) => world.refusal(hop)).find((reason) => reason !== undefined) ?? false }, () => {
      world.reset();
      row.given?.(world);
      row.hops.reduce<Uint8Array>((previous, hop, i) => checkHop(world, hop, `hop ${i + 1}, ${hop.hook}`, previous), new Uint8Array(0));
    });
  }
}
