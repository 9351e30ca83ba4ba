/** Who may send what to whom, and why. */
import { draftPolicy, selectsHosts } from "../compile/index.ts";
import type { Direction, PolicyKind, PolicyOptions, RuleName } from "../compile/index.ts";
import { formatLabels } from "../model/index.ts";
import { isUnjudged, subjectOf } from "./engine.ts";
import type { Engine, Judged } from "./engine.ts";
import { missesOf, specText } from "./near.ts";
import type { Miss } from "./near.ts";
import type { Party, PortSpec, Target } from "./parties.ts";
import type { Workload, World } from "./world.ts";

export interface PolicyName {
  readonly kind: PolicyKind;
  readonly namespace?: string;
  readonly name: string;
}

/** A rule, or a default deny, and where it is written. */
export interface RuleWords {
  readonly policies: readonly PolicyName[];
  /** Inside the policy, such as `spec.ingress[0].toPorts[0]`; empty for a default deny. */
  readonly path: string;
  /** What the policy calls the rule. */
  readonly name?: string;
  /** Of policies from files, `file:line`. */
  readonly at?: string;
}

export interface Near {
  readonly rule: RuleWords;
  readonly verdict: "allow" | "deny" | "pass";
  readonly missed: readonly string[];
}

export interface SideAnswer {
  /** Whose policies were asked, `namespace/name`. */
  readonly subject: string;
  readonly verdict: "allowed" | "denied" | "audited";
  readonly because: "rule" | "default-deny" | "unknown-peer" | "nothing-enforced" | "own-node" | "same-pod" | "same-node" | "no-pod";
  readonly rule?: RuleWords;
  /** Of what is denied: it would pass if the policies that only watch were enforced, by this rule; without one as nothing would close the direction. */
  readonly pending?: { readonly rule?: RuleWords };
  /** The rule of the administrator's tier that handed over to the policies. */
  readonly passedBy?: RuleWords;
  /** Other rules with the same say. */
  readonly also: readonly RuleWords[];
  /** Rules that would have decided otherwise, nearest first. */
  readonly near: readonly Near[];
}

export interface PartyWords {
  readonly kind: Party["kind"];
  readonly name: string;
  readonly labels: readonly string[];
  readonly address?: string;
  readonly node?: string;
}

export interface Answer {
  readonly from: PartyWords;
  readonly to: PartyWords;
  /** `TCP 8080`. */
  readonly port: string;
  readonly verdict: "allowed" | "denied";
  readonly egress: SideAnswer;
  readonly ingress: SideAnswer;
  readonly notes: readonly string[];
}

const NEAR_SHOWN = 5;
/** What misses more than this is another rule, not one that came close. */
const NEAR_MISSES = 2;

export interface ExplainOptions {
  readonly engine: Engine;
  readonly policy: PolicyOptions;
}

export function explain(options: ExplainOptions, from: Party, { party: to, port }: Target): Answer {
  const egress = sideAnswer(options, "egress", from, to, port);
  const ingress = sideAnswer(options, "ingress", to, from, port);
  const isOpen = egress.verdict !== "denied" && ingress.verdict !== "denied";
  return { from: partyWords(from), to: partyWords(to), port: specText(port), verdict: isOpen ? "allowed" : "denied", egress, ingress, notes: notesOf(options, from, to) };
}

function sideAnswer(options: ExplainOptions, direction: Direction, own: Party, other: Party, port: PortSpec): SideAnswer {
  const empty = { subject: partyWords(own).name, also: [], near: [] } as const;
  const workload = subjectOf(own);
  if (workload === undefined) return { ...empty, verdict: "allowed", because: "no-pod" };
  if (isSame(own, other)) return { ...empty, verdict: "allowed", because: own.kind === "pod" ? "same-pod" : "same-node" };
  if (isUnjudged(direction, own, other)) return { ...empty, verdict: "allowed", because: "own-node" };
  const judged = options.engine.judge(direction, workload, other, port);
  const verdict = judged.verdict === "deny" ? "denied" : judged.verdict === "audit" ? "audited" : "allowed";
  const { world } = options.engine;
  const name = decidingRule(judged);
  const misses = missesOf(draftsOf(options, workload), { direction, subject: workload.labels, peer: judged.known, port, names: (direction === "ingress" ? workload : workloadOf(other))?.ports ?? [] });
  return {
    ...empty, verdict,
    ...reasonOf(world, judged, name), ...pendingOf(world, judged),
    also: name?.kind === "rule" ? alsoOf(world, misses, name) : [],
    near: nearOf(world, misses, judged),
  };
}

/** As somebody wrote it; undefined: nothing is enforced, or nothing that is means the flow. */
function decidingRule({ rule, subject: { names } }: Judged): RuleName | undefined {
  const name = names.get(rule);
  return name === undefined || isOpen(name) ? undefined : name;
}

function pendingOf(world: World, { pending, subject }: Judged): Pick<SideAnswer, "pending"> {
  if (pending === undefined) return {};
  const name = subject.names.get(pending.rule);
  return { pending: name === undefined || isOpen(name) ? {} : { rule: ruleWords(world, name) } };
}

function reasonOf(world: World, { by, passedBy, subject: { names } }: Judged, name: RuleName | undefined): Pick<SideAnswer, "because" | "rule" | "passedBy"> {
  const because = by === "nothing" || (by === "rule" && name === undefined) ? "nothing-enforced" : by;
  const passing = passedBy === undefined ? undefined : names.get(passedBy);
  return { because, ...(name === undefined ? {} : { rule: ruleWords(world, name) }), ...(passing === undefined ? {} : { passedBy: ruleWords(world, passing) }) };
}

/** The compiler's own, where policies deny and none closes the direction: what they do not deny passes. Every path that a user wrote ends in an index. */
export function isOpen({ kind, path }: RuleName): boolean {
  return kind === "rule" && /^specs?(\[\d+\])?(\.enableDefaultDeny)?\.(ingress|egress)$/.test(path);
}

function isSame(own: Party, other: Party): boolean {
  if (own.kind === "node" && other.kind === "node") return own.node.name === other.node.name;
  return own.kind === "pod" && other.kind === "pod" && own.workload === other.workload && own.workload.kind === "Pod";
}

function workloadOf(party: Party): Workload | undefined {
  return party.kind === "pod" ? party.workload : undefined;
}

/** Of the policies that may select the workload, or the node, those that do not, too: they may have come close. */
function draftsOf({ engine, policy }: ExplainOptions, { namespace, kind }: Workload): readonly ReturnType<typeof draftPolicy>[number][] {
  const rows = [...new Set([namespace, ""])].flatMap((name) => engine.world.policies.get(name) ?? []);
  return rows.flatMap((row) => draftPolicy(row, policy)).filter(({ subject }) => selectsHosts(subject) === (kind === "Node"));
}

function alsoOf(world: World, misses: readonly Miss[], decided: RuleName): readonly RuleWords[] {
  const [verdict] = misses.filter(({ draft, rule }) => isRule(decided, draft.ref.uid, rule.path)).map(({ rule }) => rule.verdict);
  const agreeing = misses.filter(({ draft, rule, missed }) => missed.length === 0 && rule.verdict === verdict && !isRule(decided, draft.ref.uid, rule.path));
  return distinct(agreeing).map((miss) => wordsOfMiss(world, miss));
}

function isRule(name: RuleName, uid: string, path: string): boolean {
  return name.path === path && name.policies.some((ref) => ref.uid === uid);
}

/** Where it is denied, what would have allowed it; where it is allowed, what would have denied it. What the decider goes before is not near. */
function nearOf(world: World, misses: readonly Miss[], judged: Judged): readonly Near[] {
  const wanted = judged.verdict === "allow" ? "deny" : "allow";
  const decided = judged.by === "rule" ? judged.subject.names.get(judged.rule) : undefined;
  const decider = decided && misses.find(({ draft, rule, missed }) => missed.length === 0 && isRule(decided, draft.ref.uid, rule.path));
  const close = misses.filter((miss) => miss.rule.verdict === wanted && miss.missed.length > 0 && miss.missed.length <= NEAR_MISSES && (decider === undefined || couldDecide(miss, decider)));
  const sorted = close.toSorted((a, b) => a.missed.length - b.missed.length);
  return distinct(sorted).slice(0, NEAR_SHOWN).map((miss) => ({ rule: wordsOfMiss(world, miss), verdict: miss.rule.verdict, missed: miss.missed }));
}

const TIERS = { admin: 0, policies: 1, baseline: 2 } as const;

/** Would the other rule be asked first, if it meant the flow? */
function couldDecide(other: Miss, decider: Miss): boolean {
  const place = ({ draft: { tier } }: Miss): number => TIERS[tier?.name ?? "policies"];
  if (place(other) !== place(decider)) return place(other) < place(decider);
  const [a, b] = [other.draft, decider.draft];
  // Outside of tiers a denial goes before what allows.
  if (a.tier === undefined || b.tier === undefined) return other.rule.verdict === "deny" || decider.rule.verdict !== "deny";
  if (a.ref.uid === b.ref.uid) return a.rules.indexOf(other.rule) < b.rules.indexOf(decider.rule);
  return a.tier.priority < b.tier.priority || (a.tier.priority === b.tier.priority && a.ref.name < b.ref.name);
}

/** One for each path: an item of several peers has a rule for each of them, and the nearest tells most. */
function distinct(misses: readonly Miss[]): readonly Miss[] {
  const found = new Map<string, Miss>();
  for (const miss of misses) {
    const key = `${miss.draft.ref.uid} ${miss.rule.path}`;
    if (!found.has(key)) found.set(key, miss);
  }
  return [...found.values()];
}

function wordsOfMiss(world: World, { draft, rule }: Miss): RuleWords {
  return ruleWords(world, { kind: "rule", direction: rule.direction, policies: [draft.ref], path: rule.path, ...(rule.name === undefined ? {} : { name: rule.name }) });
}

export function ruleWords({ sources }: World, { policies, path, name }: RuleName): RuleWords {
  const source = policies.length === 1 ? sources.get(policies[0]?.uid ?? "") : undefined;
  const at = source?.file === undefined ? undefined : `${source.file}${source.line === undefined ? "" : `:${source.line(path)}`}`;
  const names = policies.map(({ kind, namespace, name }) => ({ kind, ...(namespace === "" ? {} : { namespace }), name }));
  return { policies: names, path, ...(name === undefined ? {} : { name }), ...(at === undefined ? {} : { at }) };
}

export function partyWords(party: Party): PartyWords {
  switch (party.kind) {
    case "pod": {
      const { namespace, name, labels, addresses, node } = party.workload;
      return { kind: "pod", name: `${namespace}/${name}`, labels: formatLabels(labels), ...(addresses[0] === undefined ? {} : { address: addresses[0] }), ...(node === undefined ? {} : { node }) };
    }
    case "node":
      return { kind: "node", name: party.node.name, labels: [], ...(party.address === undefined ? {} : { address: party.address }) };
    case "address":
      return { kind: "address", name: party.address, labels: [], address: party.address };
  }
}

function notesOf({ engine }: ExplainOptions, from: Party, to: Party): readonly string[] {
  const notes: string[] = [];
  for (const [own, other] of [[from, to], [to, from]] as const) {
    if (own.kind !== "pod") continue;
    const usesBlocks = engine.subject(own.workload).expanded.blocks.size > 0;
    if (usesBlocks && other.kind === "pod" && other.workload.addresses.length === 0) notes.push(`${partyWords(other).name} has no address yet: rules by blocks of addresses are taken not to mean it`);
    if (other.kind === "node" && own.workload.node === undefined) notes.push(`${partyWords(own).name} is on no node yet: ${other.node.name} is taken for another node`);
  }
  return notes;
}
