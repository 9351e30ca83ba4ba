/**
 * What each identity must obey, kept: of the runs of policies, what each means for subjects with the same labels; of those
 * together, the rule set. A change of a policy makes one run anew, and with it only subjects that this run selects, or did.
 */
import { Interner } from "../lib/interner.ts";
import { Shared } from "../lib/shared.ts";
import { HOST_LABEL } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { PolicyRow } from "../model/snapshot.ts";
import { clausesOf, plainNumbers } from "./clauses.ts";
import type { Clauses, RuleNumbers } from "./clauses.ts";
import { DEFAULT_FAILSAFE, failsafeRules } from "./host.ts";
import type { FailsafeRule } from "./host.ts";
import { PLAIN_OPTIONS, draftPolicy } from "./policy.ts";
import type { PolicyOptions } from "./policy.ts";
import { Runs } from "./runs.ts";
import type { Run } from "./runs.ts";
import { labelText, selectorId, selects } from "./selectors.ts";
import { composeSubject, enforcedFor, portionOf, watchedOf } from "./subject.ts";
import type { CompiledSubject, Portion, Staged } from "./subject.ts";
import type { LabelPeers, NodeState } from "./state.ts";

/** The policies that may select an identity: of its namespace and of the whole cluster. A new array stands for a change. */
export type PolicyLists = readonly [namespaced: readonly PolicyRow[], clusterwide: readonly PolicyRow[]];

/** How a subject came about. */
interface Composition {
  readonly runs: readonly [namespaced: readonly Run[], clusterwide: readonly Run[]];
  /** In order; a run of which no policy selects the subject has none. */
  readonly portions: ReadonlyMap<Run, Portion>;
  readonly staged: Staged;
  readonly subject: CompiledSubject;
}

/** Results by what they were made of, kept until that is gone. No result ever depends on what is kept. */
export class SubjectCompiler {
  /** One for all nodes on which the same runs: of many nodes with few identities most have none of their own. */
  readonly states = new Shared<NodeState>();
  readonly #options: PolicyOptions;
  readonly #failsafe: readonly FailsafeRule[];
  readonly #selectors = new Interner<LabelPeers>();
  readonly #clauses = new WeakMap<PolicyRow, readonly Clauses[]>();
  readonly #runs = new Runs((row) => this.#clausesOf(row));
  readonly #compositions = new WeakMap<Labels, Composition>();
  readonly #portions = new Shared<Portion>();
  readonly #subjects = new Shared<CompiledSubject>();

  constructor(options: PolicyOptions = PLAIN_OPTIONS) {
    this.#options = options;
    this.#failsafe = failsafeRules(options.failsafe ?? DEFAULT_FAILSAFE);
  }

  compile(labels: Labels, lists: PolicyLists): CompiledSubject {
    const before = this.#compositions.get(labels);
    const runs = [this.#runs.of(lists[0]), this.#runs.of(lists[1])] as const;
    if (before?.runs[0] === runs[0] && before.runs[1] === runs[1]) return before.subject;
    const staged = union(this.#runs.stagedIn(runs[0]), this.#runs.stagedIn(runs[1]));
    // A policy that is staged is left out of another run than the one that stages it.
    const known = before !== undefined && areEqual(before.staged, staged) ? before : undefined;
    const portions = this.#portionsOf(labels, runs, staged, known);
    const isSame = known !== undefined && (portions === known.portions || haveSameClauses(portions, known.portions));
    const subject = isSame ? known.subject : this.#composed([...portions.values()], this.#failsafeOf(labels));
    this.#compositions.set(labels, { runs, portions, staged, subject });
    return subject;
  }

  /** As `compile`, with other numbers for rules than their hashes. */
  renumbered(labels: Labels, lists: PolicyLists, numbers: RuleNumbers): CompiledSubject {
    const runs = lists.flatMap((list) => this.#runs.of(list));
    const all = runs.flatMap(({ clauses }) => clauses);
    const selecting = all.filter(({ draft }) => selects(draft.subject, labels)).map(({ draft }) => clausesOf(draft, numbers));
    const watched = watchedOf(selecting, new Set(runs.flatMap(({ staged }) => staged)));
    return composeSubject([portionOf(selecting, enforcedFor(labels, selecting), watched)], numbers, this.#failsafeOf(labels));
  }

  /** The same map where nothing changed. */
  #portionsOf(labels: Labels, runs: Composition["runs"], staged: Staged, known: Composition | undefined): Composition["portions"] {
    const differences = runs.map((to, at) => (known === undefined ? { added: to, removed: [] } : this.#runs.difference(known.runs[at] ?? [], to)));
    const added = new Map<Run, Portion>();
    const look = this.#looker(labels, staged);
    for (const run of differences.flatMap((each) => each.added)) {
      const portion = look(run);
      if (portion !== undefined) added.set(run, portion);
    }
    if (known === undefined) return added;
    if (added.size === 0 && !differences.some(({ removed }) => removed.some((run) => known.portions.has(run)))) return known.portions;
    return new Map(runs.flat().flatMap((run) => {
      const portion = added.get(run) ?? known.portions.get(run);
      return portion === undefined ? [] : [[run, portion] as const];
    }));
  }

  /** What a run means for these labels; of a selector that several policies have it is asked once. */
  #looker(labels: Labels, staged: Staged): (run: Run) => Portion | undefined {
    const texts = [...labels].map(([key, value]) => labelText(key, value));
    const met = new Map<LabelPeers, boolean>();
    const isMet = ({ draft: { subject } }: Clauses): boolean => {
      const known = met.get(subject) ?? selects(subject, labels);
      met.set(subject, known);
      return known;
    };
    return (run) => {
      const selecting = run.candidates(texts).filter(isMet);
      if (selecting.length === 0) return undefined;
      const [enforced, watched] = [enforcedFor(labels, selecting), watchedOf(selecting, staged)];
      const differing = [enforced, watched].flatMap((some) => (some === selecting ? [""] : ["only", ...some]));
      return this.#portions.of([...selecting, ...differing], () => portionOf(selecting, enforced, watched));
    };
  }

  #composed(portions: readonly Portion[], failsafe: readonly FailsafeRule[]): CompiledSubject {
    return this.#subjects.of([failsafe.length, ...portions], () => composeSubject(portions, plainNumbers, failsafe));
  }

  #failsafeOf(labels: Labels): readonly FailsafeRule[] {
    return labels.has(HOST_LABEL) ? this.#failsafe : [];
  }

  #clausesOf(row: PolicyRow): readonly Clauses[] {
    const known = this.#clauses.get(row);
    if (known !== undefined) return known;
    const drafts = draftPolicy(row, this.#options).map((draft) => ({ ...draft, subject: this.#selectors.of(selectorId(draft.subject), () => draft.subject) }));
    const clauses = drafts.map((draft) => clausesOf(draft, plainNumbers));
    this.#clauses.set(row, clauses);
    return clauses;
  }
}

/** Of a run that is made anew what is selected may be as before; what stands before and behind it need not be looked at. */
function haveSameClauses(a: Composition["portions"], b: Composition["portions"]): boolean {
  const [ones, others] = [[...a.values()], [...b.values()]];
  const most = Math.min(ones.length, others.length);
  let [before, behind] = [0, 0];
  while (before < most && ones[before] === others[before]) before++;
  while (behind < most - before && ones.at(-1 - behind) === others.at(-1 - behind)) behind++;
  const [one = [], other = []] = [ones, others].map((portions) => portions.slice(before, portions.length - behind).flatMap(({ clauses }) => clauses));
  return one.length === other.length && one.every((clauses, at) => clauses === other[at]);
}

function union(one: Staged, other: Staged): Staged {
  if (other.size === 0) return one;
  return one.size === 0 ? other : new Set([...one, ...other]);
}

function areEqual(one: Staged, other: Staged): boolean {
  return one === other || (one.size === other.size && [...one].every((name) => other.has(name)));
}
