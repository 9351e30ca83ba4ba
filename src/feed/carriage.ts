/**
 * Where the parts of a state travel. A new part goes in the manifest itself, so that a change is one write, and one event
 * for the agent, instead of two of each; what has been there longest moves into objects of its own when room is short.
 */
import type { Part } from "./document.ts";

/** Of data in one manifest: it is written again with every change, so it stays small. One part has at most 64 KiB. */
export const CARRIED_BYTES = 96 * 1024;

/** Hash of a part -> whether the manifest carries it; false: it is an object of its own. */
export type Placement = ReadonlyMap<string, boolean>;

/** Where the parts go. `before` is where those of the manifest in force are; only new parts start in the manifest. */
export function place(parts: readonly Part[], before: Placement): Placement {
  const placement = new Map(parts.map(({ hash }) => [hash, false]));
  let room = CARRIED_BYTES;
  const isNew = ({ hash }: Part): boolean => !before.has(hash);
  const wasCarried = ({ hash }: Part): boolean => before.get(hash) === true;
  for (const { hash, data } of [...parts.filter(isNew), ...parts.filter(wasCarried)]) {
    const bytes = Buffer.byteLength(data);
    if (bytes > room) continue;
    room -= bytes;
    placement.set(hash, true);
  }
  return placement;
}

/** For an agent that looks for every part in an object of its own. */
export function placeApart(parts: readonly Part[]): Placement {
  return new Map(parts.map(({ hash }) => [hash, false]));
}
