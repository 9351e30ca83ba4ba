/**
 * The policies of a namespace in runs: in the order of their uids, cut behind those whose uid's hash says so. Which runs there are
 * follows from the policies alone, and a change of one policy makes one run anew: what was made of the others is found by them.
 */
import type { PolicyRow } from "../model/snapshot.ts";
import type { Clauses } from "./clauses.ts";
import { anchorsOf } from "./selectors.ts";
import { NONE_STAGED, stagedBy } from "./subject.ts";
import type { Staged } from "./subject.ts";

/** One policy of so many ends a run. A power of two. */
const MEAN_LENGTH = 64;
/** So few are looked at one by one. */
const NOT_INDEXED = 8;

/** Some policies that follow one another. */
export class Run {
  readonly rows: readonly PolicyRow[];
  readonly clauses: readonly Clauses[];
  /** Names of policies in whose place some of these watch. */
  readonly staged: readonly string[];
  /** Label -> places of the clauses whose subjects have it. */
  readonly #byLabel = new Map<string, number[]>();
  /** Places of those that may select subjects of whatever labels. */
  readonly #others: number[] = [];

  constructor(rows: readonly PolicyRow[], clauses: readonly Clauses[]) {
    this.rows = rows;
    this.clauses = clauses;
    this.staged = clauses.flatMap(({ draft }) => stagedBy(draft));
    if (clauses.length > NOT_INDEXED) for (const [place, { draft }] of clauses.entries()) this.#index(place, anchorsOf(draft.subject)[0]);
  }

  /** Those that may select a subject with these labels, in order. */
  candidates(labels: readonly string[]): readonly Clauses[] {
    if (this.clauses.length <= NOT_INDEXED) return this.clauses;
    const places = [...this.#others];
    for (const label of labels) for (const place of this.#byLabel.get(label) ?? []) places.push(place);
    if (places.length === 0 || places.length === this.clauses.length) return places.length === 0 ? [] : this.clauses;
    return places.sort((a, b) => a - b).flatMap((place) => this.clauses[place] ?? []);
  }

  #index(place: number, anchors: readonly string[] | undefined): void {
    if (anchors === undefined) this.#others.push(place);
    for (const label of anchors ?? []) {
      const places = this.#byLabel.get(label);
      if (places === undefined) this.#byLabel.set(label, [place]);
      else places.push(place);
    }
  }
}

/** What another division has and this one has not. */
export interface Difference {
  readonly added: readonly Run[];
  readonly removed: readonly Run[];
}

const SAME: Difference = { added: [], removed: [] };

export class Runs {
  readonly #clausesOf: (row: PolicyRow) => readonly Clauses[];
  readonly #ofList = new WeakMap<readonly PolicyRow[], readonly Run[]>();
  readonly #byFirst = new WeakMap<PolicyRow, Run>();
  readonly #staged = new WeakMap<readonly Run[], Staged>();
  readonly #differences = new WeakMap<readonly Run[], { readonly to: readonly Run[]; readonly difference: Difference }>();

  constructor(clausesOf: (row: PolicyRow) => readonly Clauses[]) {
    this.#clausesOf = clausesOf;
  }

  /** In whatever order the policies are given. The same array for the same policies. */
  of(policies: readonly PolicyRow[]): readonly Run[] {
    const known = this.#ofList.get(policies);
    if (known !== undefined) return known;
    const runs = this.#split(policies) ?? this.#split(policies.toSorted(byUid)) ?? [];
    this.#ofList.set(policies, runs);
    return runs;
  }

  /** The same set for as long as the runs are the same. */
  stagedIn(runs: readonly Run[]): Staged {
    const known = this.#staged.get(runs);
    if (known !== undefined) return known;
    const names = runs.flatMap(({ staged }) => staged);
    const staged = names.length === 0 ? NONE_STAGED : new Set(names.sort());
    this.#staged.set(runs, staged);
    return staged;
  }

  difference(from: readonly Run[], to: readonly Run[]): Difference {
    if (from === to) return SAME;
    const known = this.#differences.get(from);
    if (known?.to === to) return known.difference;
    const [before, after] = [new Set(from), new Set(to)];
    const difference = { added: to.filter((run) => !before.has(run)), removed: from.filter((run) => !after.has(run)) };
    this.#differences.set(from, { to, difference });
    return difference;
  }

  /** undefined: they are in another order. */
  #split(rows: readonly PolicyRow[]): readonly Run[] | undefined {
    const runs: Run[] = [];
    for (let at = 0; at < rows.length; at += runs.at(-1)?.rows.length ?? 1) {
      const run = isInOrder(rows, at, at + 1) ? this.#runAt(rows, at) : undefined;
      if (run === undefined) return undefined;
      runs.push(run);
    }
    return runs;
  }

  #runAt(rows: readonly PolicyRow[], at: number): Run | undefined {
    const first = rows[at] as PolicyRow;
    const known = this.#byFirst.get(first);
    if (known !== undefined && isRunAt(known, rows, at)) return known;
    let end = at + 1;
    while (end < rows.length && !endsRun(rows[end - 1])) end++;
    if (!isInOrder(rows, at, end)) return undefined;
    const own = rows.slice(at, end);
    const run = new Run(own, own.flatMap((row) => this.#clausesOf(row)));
    this.#byFirst.set(first, run);
    return run;
  }
}

function isRunAt({ rows: run }: Run, rows: readonly PolicyRow[], at: number): boolean {
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

function byUid(a: Pick<PolicyRow, "uid">, b: Pick<PolicyRow, "uid">): number {
  return a.uid === b.uid ? 0 : a.uid < b.uid ? -1 : 1;
}

/** Whether each from `start` to before `end` follows the one before it. */
function isInOrder(rows: readonly PolicyRow[], start: number, end: number): boolean {
  for (let at = Math.max(start, 1); at < end; at++) if (byUid(rows[at - 1] as PolicyRow, rows[at] as PolicyRow) > 0) return false;
  return true;
}
