/** Keeps the node state of every node what the compiler says. Key: the node's name. */
import { SubjectCompiler, compileNode } from "../compile/index.ts";
import type { NodeState, PolicyOptions, RoutingDecision } from "../compile/index.ts";
import { FormatNotUnderstood, statusName } from "../feed/index.ts";
import type { Document, NodeStateWriter } from "../feed/index.ts";
import type { KubeClient } from "../kube/client.ts";
import { CILIUM_NODE_STATES } from "../kube/kinds.ts";
import type { Leadership } from "../kube/lease.ts";
import type { Source } from "../kube/source.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { Cluster } from "./cluster.ts";
import type { PolicyBook } from "./policies.ts";
import type { NodeRow, NodeStateRow } from "./rows.ts";

export interface NodeStatesOptions {
  readonly client: KubeClient;
  readonly writer: NodeStateWriter;
  readonly cluster: Cluster;
  readonly policies: PolicyBook;
  readonly nodes: Source<NodeRow>;
  readonly states: Source<NodeStateRow>;
  /** What holds for a node. */
  readonly routing: (node: string) => RoutingDecision;
  readonly policyOptions: PolicyOptions;
  readonly leadership: Leadership;
  /** Hears of every policy whose entry in a node's state changed. */
  readonly onMarks: (uids: Iterable<string>) => void;
}

/** What the operator wrote for a node last. */
export interface NodeRecord {
  readonly nodeUid: string;
  readonly revision: number;
  readonly format: number;
  readonly document: Document;
}

export class NodeStates implements Reconciler {
  readonly #options: NodeStatesOptions;
  readonly #compiler: SubjectCompiler;
  readonly #records = new Map<string, NodeRecord>();
  /** Node -> why its agent cannot be told what the policies say. */
  readonly #refusals = new Map<string, string>();
  /** Policy -> nodes whose state has a mark of it: they hold it, in whatever version, or may not have acknowledged that it left. */
  readonly #holding = new Map<string, Set<string>>();

  constructor(options: NodeStatesOptions) {
    this.#options = options;
    this.#compiler = new SubjectCompiler(options.policyOptions);
  }

  /** Node -> what its agent is told now. */
  get records(): ReadonlyMap<string, NodeRecord> {
    return this.#records;
  }

  /** Why the node cannot be told what its policies say; undefined when it can. */
  refusal(node: string): string | undefined {
    return this.#refusals.get(node);
  }

  /** Whether the node was told in a format that its agent says it does not read: it was replaced by an older one. */
  isUnread(node: string): boolean {
    const format = this.#records.get(node)?.format;
    const formats = this.#formats(node);
    return format !== undefined && formats !== undefined && !formats.includes(format);
  }

  /** Nodes that were told of a policy, also such as it left and that may not have acknowledged it yet. */
  holding(uid: string): Iterable<string> {
    return this.#holding.get(uid) ?? [];
  }

  /**
   * An object of a node's state changed, or went, or is not what it was written as. True when that was not us: it is looked at anew with the next
   * reconcile. Only an operator of an earlier term, or a person, does this; a watch that lags behind two writes seems to, which costs a look.
   */
  isDisturbed(name: string, row: NodeStateRow, value: NodeStateRow | undefined): boolean {
    const { writer, leadership } = this.#options;
    const isLost = value?.isIntact !== true && writer.needs(row.node, name);
    const isOther = value?.manifest !== undefined && value.manifest.leaseTransitions <= leadership.transitions && writer.differs(row.node, value.manifest);
    const isDisturbed = isLost || isOther;
    if (isDisturbed) writer.forget(row.node);
    return isDisturbed;
  }

  async reconcile(node: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { writer, cluster, policies, nodes, routing, leadership, onMarks } = this.#options;
    const row = nodes.objects.get(node);
    if (row === undefined) return this.#remove(node, signal);
    const snapshot = {
      identities: cluster.identities.labels,
      policies: policies.effective,
      subjects: new Map([[node, cluster.subjects(node)]]),
      hosts: cluster.hosts,
    };
    const state = compileNode(snapshot, node, routing(node), this.#compiler);
    const written = this.#records.get(node)?.revision;
    const target = { node, nodeUid: row.uid, acknowledged: this.acknowledged(node, row.uid), written, formats: this.#formats(node), transitions: leadership.transitions, signal };
    const { document, revision, format } = await this.#written(writer.write(target, state), state, target.node);
    const before = this.#records.get(node)?.document;
    this.#records.set(node, { nodeUid: row.uid, revision, format, document });
    this.#indexHolding(node, before, document);
    onMarks(changedMarks(before, document));
    // An acknowledgement that came meanwhile was judged by the state before.
    return this.#canForget(node, row.uid, document) || this.isUnread(node) ? { requeueAfterMs: 0 } : {};
  }

  /** Whether a removed policy was acknowledged while the state was still being written: no event will say so again. */
  #canForget(node: string, nodeUid: string, { marks }: Document): boolean {
    const acknowledged = this.acknowledged(node, nodeUid);
    return [...marks.values()].some(({ removed, since }) => removed && since <= acknowledged);
  }

  /** The revision that this incarnation of the node acknowledged; 0 when none. */
  acknowledged(node: string, nodeUid: string): number {
    const acknowledgement = this.#options.states.objects.get(statusName(node))?.acknowledgement;
    if (acknowledgement === undefined || (acknowledgement.nodeUID ?? nodeUid) !== nodeUid) return 0;
    return acknowledgement.appliedRevision;
  }

  /** What the agent reads; undefined when it has not said so. */
  #formats(node: string): readonly number[] | undefined {
    return this.#options.states.objects.get(statusName(node))?.acknowledgement?.formats;
  }

  /** Remembers a refusal, so that the policies concerned say it, until a state can be written again. */
  async #written<T>(writing: Promise<T>, state: NodeState, node: string): Promise<T> {
    try {
      const written = await writing;
      if (this.#refusals.delete(node)) this.#options.onMarks(state.policies.keys());
      return written;
    } catch (thrown) {
      if (thrown instanceof FormatNotUnderstood && this.#refusals.get(node) !== thrown.message) {
        this.#refusals.set(node, thrown.message);
        this.#options.onMarks(state.policies.keys());
      }
      throw thrown;
    }
  }

  #indexHolding(node: string, before: Document | undefined, after: Document | undefined): void {
    for (const uid of before?.marks.keys() ?? []) {
      if (after?.marks.has(uid) === true) continue;
      const nodes = this.#holding.get(uid);
      nodes?.delete(node);
      if (nodes?.size === 0) this.#holding.delete(uid);
    }
    for (const uid of after?.marks.keys() ?? []) {
      const nodes = this.#holding.get(uid);
      if (nodes === undefined) this.#holding.set(uid, new Set([node]));
      else nodes.add(node);
    }
  }

  /** The garbage collector takes what the Node owned; the agent's status object has no owner. */
  async #remove(node: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, writer, states, onMarks } = this.#options;
    writer.forget(node);
    const before = this.#records.get(node)?.document;
    this.#records.delete(node);
    this.#refusals.delete(node);
    this.#indexHolding(node, before, undefined);
    if (states.objects.has(statusName(node))) await client.delete(CILIUM_NODE_STATES, { name: statusName(node) }, { signal });
    if (before !== undefined) onMarks(before.marks.keys());
    return {};
  }
}

function changedMarks(before: Document | undefined, after: Document): Set<string> {
  const changed = new Set<string>();
  for (const [uid, mark] of after.marks) {
    const known = before?.marks.get(uid);
    if (known === undefined || known.since !== mark.since || known.removed !== mark.removed || known.ref.generation !== mark.ref.generation) changed.add(uid);
  }
  for (const uid of before?.marks.keys() ?? []) if (!after.marks.has(uid)) changed.add(uid);
  return changed;
}
