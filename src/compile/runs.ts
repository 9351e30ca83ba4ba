/**
 * The policies of a namespace in runs: in the order of their uids, cut behind those whose uid's hash says so. Which runs there are
 * follows from the policies alone, and a change of one policy makes one run anew: what was made of the others is found by them.
 */
import type { PolicyRow } from "../model/snapshot.ts";

/** In order. The same object for as long as it says the same. */
export type Run = readonly PolicyRow[];

/** One policy of so many ends a run. A power of two. */
const MEAN_LENGTH = 64;

export class Runs {
  readonly #ofList = new WeakMap<readonly PolicyRow[], readonly Run[]>();
  readonly #byFirst = new WeakMap<PolicyRow, Run>();

  /** In whatever order the policies are given. */
  of(policies: readonly PolicyRow[]): readonly Run[] {
    const known = this.#ofList.get(policies);
    if (known !== undefined) return known;
    const runs = this.#split(inOrder(policies) ? policies : policies.toSorted(byUid));
    this.#ofList.set(policies, runs);
    return runs;
  }

  #split(rows: readonly PolicyRow[]): readonly Run[] {
    const runs: Run[] = [];
    for (let at = 0; at < rows.length; at += runs.at(-1)?.length ?? 1) runs.push(this.#runAt(rows, at));
    return runs;
  }

  #runAt(rows: readonly PolicyRow[], at: number): Run {
    const known = this.#byFirst.get(rows[at] as PolicyRow);
    if (known !== undefined && isRunAt(known, rows, at)) return known;
    let end = at + 1;
    while (end < rows.length && !endsRun(rows[end - 1])) end++;
    const run = rows.slice(at, end);
    this.#byFirst.set(rows[at] as PolicyRow, run);
    return run;
  }
}

function isRunAt(run: Run, rows: readonly PolicyRow[], at: number): boolean {
  const end = at + run.length;
  if (end > rows.length || !(end === rows.length || endsRun(run.at(-1)))) return false;
  return run.every((row, index) => row === rows[at + index]);
}

/** FNV-1a, of which the last bits are as good as any. */
function endsRun(row: PolicyRow | undefined): boolean {
  const uid = row?.uid ?? "";
  let hash = 0x811c9dc5;
  for (let at = 0; at < uid.length; at++) hash = Math.imul(hash ^ uid.charCodeAt(at), 0x01000193);
  return (hash & (MEAN_LENGTH - 1)) === 0;
}

export function byUid(a: Pick<PolicyRow, "uid">, b: Pick<PolicyRow, "uid">): number {
  return a.uid === b.uid ? 0 : a.uid < b.uid ? -1 : 1;
}

function inOrder(policies: readonly PolicyRow[]): boolean {
  return policies.every((row, at) => at === 0 || byUid(policies[at - 1] as PolicyRow, row) <= 0);
}
