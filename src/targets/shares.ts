/**
 * What the rules of one namespace's pods may take of a node's maps: half. The operator bounds what a namespace may write;
 * a node holds its rules once for each of its identities, and these must not take the room of other namespaces.
 */
import { CapacityExceeded } from "../reconcile/target.ts";
import type { Expanded } from "./expand.ts";

export interface Room {
  readonly policy: number;
  readonly blocks: number;
}

const MAPS = ["policy", "blocks"] as const;

const sizeOf = ({ entries, blocks }: Expanded): Room => ({ policy: entries.size, blocks: blocks.size });

/**
 * Of a namespace whose rule sets take more than its share the largest are refused, with the numbers: who obeys them keeps
 * what is in force. Rule sets that several namespaces obey are nobody's.
 * @param claims who obeys which rule set; "" for what is no namespace's
 */
export function withinShares<Id>(claims: Iterable<readonly [namespace: string, id: Id]>, ruleSets: ReadonlyMap<Id, Expanded | Error>, room: Room): ReadonlyMap<Id, Expanded | Error> {
  const refused = new Map<Id, Error>();
  for (const [namespace, own] of exclusive(claims)) {
    const contents = own.flatMap((id) => {
      const content = ruleSets.get(id);
      return content === undefined || content instanceof Error ? [] : [{ id, size: sizeOf(content) }];
    });
    for (const map of MAPS) {
      const share = Math.floor(room[map] / 2);
      const need = contents.reduce((sum, { size }) => sum + size[map], 0);
      if (need <= share) continue;
      let left = need;
      for (const { id, size } of contents.toSorted((a, b) => b.size[map] - a.size[map])) {
        if (left <= share) break;
        refused.set(id, new CapacityExceeded(`${map}, by the rules of namespace ${namespace} alone,`, need, share));
        left -= size[map];
      }
    }
  }
  return refused.size === 0 ? ruleSets : new Map([...ruleSets].map(([id, content]) => [id, refused.get(id) ?? content]));
}

/** By namespace, without what is nobody's. */
function exclusive<Id>(claims: Iterable<readonly [namespace: string, id: Id]>): ReadonlyMap<string, readonly Id[]> {
  const owners = new Map<Id, string>();
  for (const [namespace, id] of claims) owners.set(id, (owners.get(id) ?? namespace) === namespace ? namespace : "");
  const byOwner = Map.groupBy(owners.keys(), (id) => owners.get(id) ?? "");
  byOwner.delete("");
  return byOwner;
}
