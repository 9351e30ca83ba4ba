/**
 * When a node's key is replaced, and by what. Pure.
 *
 * WireGuard believes of one device that an address is behind one key only, so a new key is behind a device and port of its
 * own beside the old one. Keys have epochs, and two nodes speak by keys of one epoch: whoever begins the next one is
 * followed by all others. Each node receives by both keys, and sends to another by the new one as soon as that has
 * answered by it. The old key goes when all nodes send by the new one: no packet is lost, however long one takes.
 */
import type { WireGuardState } from "../kernel/index.ts";
import type { CiliumNodeRow } from "./objects.ts";

/** A key as other nodes know it. */
export interface NodeKey {
  readonly publicKey: string;
  readonly port: number;
  readonly epoch: number;
  /** RFC 3339; empty: not known. */
  readonly created: string;
}

export interface RotationWish {
  /** A key that is older is replaced; undefined: never for its age. */
  readonly intervalMs: number | undefined;
  /** Keys that were made before this time are replaced once it has come; undefined: none. */
  readonly notBefore: string | undefined;
}

export interface KeyTurn {
  readonly epoch: number;
  readonly created: string;
}

/** The greatest that a CiliumNode may name. */
export const LAST_EPOCH = 2 ** 31 - 1;

/**
 * So many epochs ahead a node is followed. One that was cut off for a year of hourly keys catches up; one that names any number it
 * likes takes nobody to the last epoch.
 */
export const FARTHEST = 10_000;

const SET_BACK_MS = 30_000;

/** So far ahead of this node's clock a time that another one names is believed. */
export const SKEW_MS = 300_000;

/** The present one, and the one that replaces it. `port` and `epoch` are those of nodes that name none. */
export function keysOf({ keys }: Pick<CiliumNodeRow, "keys">, port: number, epoch = 0): readonly NodeKey[] {
  if (keys === undefined) return [];
  const present = { publicKey: keys.publicKey, port: keys.port ?? port, epoch: keys.epoch ?? epoch, created: keys.created ?? "" };
  return keys.next === undefined ? [present] : [present, keys.next];
}

/**
 * Whether the clock was set back since a handshake under the key. Of one key others take no handshake whose time is not after
 * that of the last one (WireGuard's whitepaper, section 5.1): until the clock is there again this node could begin none. Of a
 * new key they know no time. What the clock's own keeping takes it back by is over before the next handshake.
 */
export function isSetBack({ peers }: Pick<WireGuardState, "peers">, nowMs: number): boolean {
  return [...peers.values()].some(({ lastHandshake }) => lastHandshake * 1000 > nowMs + SET_BACK_MS);
}

/** Also where there is none. */
export const isTime = (text: string | undefined): boolean => text === undefined || !Number.isNaN(Date.parse(text));

const timeOf = (text: string): number => (Number.isNaN(Date.parse(text)) ? 0 : Date.parse(text));
const textOf = (ms: number): string => new Date(ms).toISOString();

/** Keys of a node that had none, or lost them: of the epoch that most others have, of several the least; of the lost one where that is ahead. */
export function firstTurn(lost: number, others: readonly (readonly NodeKey[])[], nowMs: number): KeyTurn {
  const counts = new Map<number, number>();
  for (const { epoch } of others.flat()) if (epoch <= LAST_EPOCH - FARTHEST) counts.set(epoch, (counts.get(epoch) ?? 0) + 1);
  const most = [...counts].sort(([a, ofA], [b, ofB]) => ofB - ofA || a - b)[0]?.[0] ?? lost;
  return { epoch: isAhead(lost, most) ? lost : most, created: textOf(nowMs) };
}

/** Ahead, and not so far that it is not believed. */
const isAhead = (epoch: number, present: number): boolean => epoch > present && epoch - present <= FARTHEST;

/**
 * The key that has to be begun beside `present`; undefined: none.
 *
 * Whoever is ahead is followed, first those that have nothing else any more; nodes that begin by themselves begin the same
 * epoch, one after the present. The time of those that are followed counts, as their clock may be ahead: what made them begin must
 * not make this node begin once more. It counts for minutes only, so that no clock puts the next turn of all others off.
 *
 * @param wish `isUnusable`: the present key is behind a port that the settings do not name any more, or the clock was set back
 */
export function nextTurn(present: NodeKey, others: readonly (readonly NodeKey[])[], wish: RotationWish & { readonly isUnusable?: boolean }, nowMs: number): KeyTurn | undefined {
  const { settled, begun } = aheadOf(present, others);
  const followed = settled.length > 0 ? settled : begun;
  const epoch = followed.length > 0 ? Math.max(...followed.map((key) => key.epoch)) : present.epoch + 1;
  if (epoch > LAST_EPOCH || (begun.length === 0 && wish.isUnusable !== true && !isDue(present, wish, nowMs))) return undefined;
  const times = begun.filter((key) => key.epoch === epoch).map(({ created }) => Math.min(timeOf(created), nowMs + SKEW_MS));
  return { epoch, created: textOf(Math.max(nowMs, ...times)) };
}

/** Keys that are ahead of `present`: those that are their nodes' present ones, and all. */
function aheadOf(present: NodeKey, others: readonly (readonly NodeKey[])[]): { readonly settled: readonly NodeKey[]; readonly begun: readonly NodeKey[] } {
  const ahead = (keys: readonly NodeKey[]): NodeKey[] => keys.filter(({ epoch }) => isAhead(epoch, present.epoch));
  return { settled: ahead(others.flatMap(([first]) => first ?? [])), begun: ahead(others.flat()) };
}

/**
 * Whether a key that was begun cannot end what it began: a node is past its epoch and never comes back to it, as after this
 * node was cut off and the others went on without it; or nobody has it, and others have begun a later one.
 */
export function isOvertaken(present: NodeKey, next: NodeKey, others: readonly (readonly NodeKey[])[]): boolean {
  const isPast = ({ epoch }: NodeKey): boolean => epoch > next.epoch;
  const { settled, begun } = aheadOf(present, others);
  return settled.some(isPast) || (begun.some(isPast) && !hasEpoch(others, next));
}

/** Whether some other node has a key of the same epoch. */
export const hasEpoch = (others: readonly (readonly NodeKey[])[], { epoch }: NodeKey): boolean => others.flat().some((key) => key.epoch === epoch);

/** A key that says it was made long after now is as old as one that says nothing: some clock was wrong. Twice the skew, as a clock may be set back a little. */
function isDue({ created }: NodeKey, { intervalMs, notBefore }: RotationWish, nowMs: number): boolean {
  const made = timeOf(created) > nowMs + 2 * SKEW_MS ? 0 : timeOf(created);
  const wanted = notBefore === undefined ? 0 : timeOf(notBefore);
  return (wanted > made && wanted <= nowMs) || (intervalMs !== undefined && made + intervalMs <= nowMs);
}

/** Of each other node that is not through yet, why, in a sentence; none: the old key is in nobody's use. */
export function waitsFor(next: number, others: readonly CiliumNodeRow[], port: number, reached: ReadonlySet<string>): readonly string[] {
  return others.flatMap((node) => {
    const keys = keysOf(node, port);
    if (!keys.some(({ epoch }) => epoch >= next)) return [`${node.name}: it has published no key of epoch ${next} yet`];
    if (!reached.has(node.name)) return [`${node.name}: it has not answered yet by its key of epoch ${next}`];
    const isThrough = (keys[0]?.epoch ?? 0) >= next || (node.encryption?.sends ?? 0) >= next;
    return isThrough ? [] : [`${node.name}: it does not send to all others yet by keys of epoch ${next}`];
  });
}
