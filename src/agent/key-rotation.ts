/**
 * When a node's key is replaced, and by what. Pure.
 *
 * WireGuard believes of one device that an address is behind one key only, so a new key is behind a device and port of its
 * own beside the old one. Keys have epochs, and two nodes speak by keys of one epoch: whoever begins the next one is
 * followed by all others. Each node receives by both keys, and sends to another by the new one as soon as that has
 * answered by it. The old key goes when all nodes send by the new one: no packet is lost, however long one takes.
 */
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

/** The present one, and the one that replaces it. `port` is that of nodes that name none. */
export function keysOf({ keys }: Pick<CiliumNodeRow, "keys">, port: number): readonly NodeKey[] {
  if (keys === undefined) return [];
  const present = { publicKey: keys.publicKey, port: keys.port ?? port, epoch: keys.epoch ?? 0, created: keys.created ?? "" };
  return keys.next === undefined ? [present] : [present, keys.next];
}

/** Also where there is none. */
export const isTime = (text: string | undefined): boolean => text === undefined || !Number.isNaN(Date.parse(text));

const timeOf = (text: string): number => (Number.isNaN(Date.parse(text)) ? 0 : Date.parse(text));
const textOf = (ms: number): string => new Date(ms).toISOString();

/** Keys of a node that had none, or lost them: of the epoch in which most others can be, the greatest that is present anywhere. */
export function firstTurn(lost: number, others: readonly (readonly NodeKey[])[], nowMs: number): KeyTurn {
  return { epoch: others.reduce((greatest, [present]) => Math.max(greatest, present?.epoch ?? 0), lost), created: textOf(nowMs) };
}

/**
 * The key that has to be begun beside `present`; undefined: none.
 *
 * Whoever is ahead is followed, first those that have nothing else any more; nodes that begin by themselves begin the same
 * epoch, one after the present. The time of those that are followed counts, as their clock may be ahead: what made them begin must
 * not make this node begin once more.
 *
 * @param wish `isMisplaced`: the present key is behind a port that the settings do not name any more
 */
export function nextTurn(present: NodeKey, others: readonly (readonly NodeKey[])[], wish: RotationWish & { readonly isMisplaced?: boolean }, nowMs: number): KeyTurn | undefined {
  const isAhead = ({ epoch }: NodeKey): boolean => epoch > present.epoch;
  const settled = others.flatMap(([first]) => first ?? []).filter(isAhead);
  const begun = others.flat().filter(isAhead);
  const epoch = settled.length > 0 ? Math.max(...settled.map((key) => key.epoch)) : present.epoch + 1;
  if (begun.length === 0 && wish.isMisplaced !== true && !isDue(present, wish, nowMs)) return undefined;
  return { epoch, created: textOf(Math.max(nowMs, ...begun.filter((key) => key.epoch === epoch).map(({ created }) => timeOf(created)))) };
}

function isDue({ created }: NodeKey, { intervalMs, notBefore }: RotationWish, nowMs: number): boolean {
  const made = timeOf(created);
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
