/** What the CiliumEncryption objects say of themselves: default, there while the chart's values switch encryption on, and those that select nodes. */
import type { CiliumEncryption } from "../api/gen/ciliumencryptions.ts";
import { DEFAULT_OBJECT, encryptionProblem, speakersOf } from "../compile/index.ts";
import type { EncryptionDecision, NodeLabels, RoutingDecision } from "../compile/index.ts";
import { CILIUM_ENCRYPTIONS } from "../kube/kinds.ts";
import type { Source } from "../kube/source.ts";
import { conflictCondition, failingNodes, firstOf, namesOf, readyCondition, saidByNodes } from "./default-object.ts";
import type { DefaultObject, FailingNode, NodeSources, Verdict } from "./default-object.ts";
import type { CiliumNodeReport } from "./rows.ts";

export type EncryptionStatus = NonNullable<CiliumEncryption["status"]>;
/** What a node's agent says; undefined: it says nothing. */
export type NodeEncryptionRow = NonNullable<CiliumNodeReport["encryption"]>;

/** Why a node is not counted; undefined: it is. */
function shortfall(row: NodeEncryptionRow | undefined): string | undefined {
  if (row === undefined) return "its agent does not say that it encrypts";
  if (row.phase === "Enforced" && row.message === undefined) return undefined;
  return row.message ?? (row.phase === "Confirmed" ? "it waits until every other node was reached by all" : "it waits for the other nodes");
}

function verdict(total: number, failing: readonly FailingNode[], rows: readonly (NodeEncryptionRow | undefined)[]): Verdict {
  if (failing.length === 0) return { status: "True", reason: "Encrypted", message: `all ${total} nodes encrypt, and drop what would leave in clear` };
  const enforcing = rows.filter((row) => row?.phase === "Enforced").length;
  const which = namesOf(failing);
  if (enforcing === total) return { status: "False", reason: "Unreachable", message: `nothing leaves in clear, and some nodes do not reach others, or are not heard from: ${which}` };
  const clear = enforcing === 0 ? "what pods of different nodes say to each other is not encrypted everywhere yet" : `${enforcing} of ${total} nodes drop what would leave in clear`;
  return { status: "False", reason: "Preparing", message: `${clear}; not ready: ${which}` };
}

const NOT_ENABLED: Verdict = { status: "False", reason: "NotEnabled", message: "nothing is encrypted: the chart's value encryption.enabled is false" };

/** Of the object default. Pure. `nodes`: name → what its agent says. */
export function encryptionStatus(object: CiliumEncryption, enabled: boolean, nodes: ReadonlyMap<string, NodeEncryptionRow | undefined>, now: string): EncryptionStatus {
  const rows = [...nodes.values()];
  const failing = failingNodes(nodes, shortfall);
  return folded(object, { enabled, nodes: nodes.size, rows, failing, found: enabled ? verdict(nodes.size, failing, rows) : NOT_ENABLED }, now);
}

export interface SelectingView {
  /** undefined: the chart's values switch nothing on. */
  readonly routing: Pick<RoutingDecision, "tunnelPort"> | undefined;
  readonly objects: Iterable<CiliumEncryption>;
  readonly labels: ReadonlyMap<string, NodeLabels>;
  /** Name → what its agent says. */
  readonly nodes: ReadonlyMap<string, NodeEncryptionRow | undefined>;
}

/** Of an object that selects nodes: it is ready when those for which it speaks encrypt as it says. Pure. */
export function selectingStatus(object: CiliumEncryption, { routing, objects, labels, nodes }: SelectingView, now: string): EncryptionStatus {
  const problem = routing && encryptionProblem(object.spec, routing);
  const valid = [...objects].filter(({ spec }) => routing === undefined || encryptionProblem(spec, routing) === undefined);
  const speakers = new Map(problem === undefined ? [...speakersOf(object, valid, labels)].map(([node, speaker]) => [node, speaker.metadata.name] as const) : []);
  const own = new Map([...nodes].filter(([name]) => speakers.get(name) === object.metadata.name));
  const rows = [...own.values()];
  const failing = failingNodes(own, (row) => stale(object, row) ?? shortfall(row));
  const found = refusal(routing !== undefined, problem, speakers.size, own.size) ?? verdict(own.size, failing, rows);
  const status = folded(object, { enabled: routing !== undefined, nodes: own.size, rows, failing, found }, now);
  return { ...status, conditions: [...status.conditions, conflictCondition(object, speakers, now)] };
}

function refusal(enabled: boolean, problem: string | undefined, selected: number, own: number): Verdict | undefined {
  if (!enabled) return NOT_ENABLED;
  if (problem !== undefined) return { status: "False", reason: "Invalid", message: `it speaks for no node: ${problem}` };
  if (selected === 0) return { status: "False", reason: "NoNodes", message: "it selects no node" };
  return own === 0 ? { status: "False", reason: "Overridden", message: "for every node that it selects another object speaks" } : undefined;
}

/** Why the node does not go by the object as it is; undefined: it does. */
function stale({ metadata: { name, generation = 0 } }: CiliumEncryption, row: NodeEncryptionRow | undefined): string | undefined {
  if (row === undefined) return undefined;
  if ((row.object ?? DEFAULT_OBJECT) !== name) return `it still goes by the object ${row.object ?? DEFAULT_OBJECT}`;
  return row.objectGeneration === generation ? undefined : `it still goes by generation ${row.objectGeneration ?? 0} of the object`;
}

interface Fold {
  readonly enabled: boolean;
  readonly nodes: number;
  readonly rows: readonly (NodeEncryptionRow | undefined)[];
  readonly failing: readonly FailingNode[];
  readonly found: Verdict;
}

function folded(object: CiliumEncryption, { enabled, nodes, rows, failing, found }: Fold, now: string): EncryptionStatus {
  return {
    observedGeneration: object.metadata.generation ?? 0,
    nodes: `${nodes - failing.length}/${nodes}`,
    kernel: rows.filter((row) => row?.device === "Kernel").length,
    userspace: rows.filter((row) => row?.device === "Userspace").length,
    failingNodes: enabled ? [...firstOf(failing)] : [],
    conditions: [readyCondition(object, found, now)],
  };
}

export interface EncryptionSources extends NodeSources {
  readonly encryptions: Source<CiliumEncryption>;
}

/** Every field, so that a merge leaves nothing of an earlier spec. */
export function encryptionSpec({ port, persistentKeepalive, keyRotationMs = 0, userspace }: EncryptionDecision): CiliumEncryption["spec"] {
  return { type: "wireguard", port, persistentKeepalive, keyRotationSeconds: keyRotationMs / 1000, userspace };
}

export function defaultEncryption(decision: EncryptionDecision | undefined, routing: RoutingDecision, sources: EncryptionSources): DefaultObject<CiliumEncryption> {
  const said = (): ReadonlyMap<string, NodeEncryptionRow | undefined> => saidByNodes(sources, ({ encryption }) => encryption);
  const labels = (): ReadonlyMap<string, NodeLabels> => new Map([...sources.nodes.objects].map(([name, row]) => [name, row.labels ?? {}]));
  return {
    type: CILIUM_ENCRYPTIONS,
    objects: sources.encryptions,
    spec: decision === undefined ? undefined : encryptionSpec(decision),
    status: (object, now) => object.metadata.name === DEFAULT_OBJECT
      ? encryptionStatus(object, decision !== undefined, said(), now)
      : selectingStatus(object, { routing: decision && routing, objects: sources.encryptions.objects.values(), labels: labels(), nodes: said() }, now),
  };
}
