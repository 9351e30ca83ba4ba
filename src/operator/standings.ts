/** Folds what endpoints, node states, acknowledgements and agents say into how each node stands to a policy. */
import { draftPolicy, isAudited, maySelect, reachOf, selects, selectsHosts, withoutRules } from "../compile/index.ts";
import { statusName } from "../feed/index.ts";
import type { PolicyMark } from "../feed/index.ts";
import type { LabelPeers, PolicyDraft, PolicyOptions } from "../compile/index.ts";
import type { Source } from "../kube/source.ts";
import { hostLabels } from "../model/index.ts";
import type { Labels } from "../model/index.ts";
import type { NodeStates } from "./node-states.ts";
import type { PolicyEntry } from "./policies.ts";
import type { Findings, NodeStanding } from "./policy-status.ts";
import type { AgentRow, EndpointRow, NamespaceRow, NodeRow, NodeStateRow } from "./rows.ts";

/** Endpoints counted by namespace, identity and node, so that a policy never looks at single pods. */
export class EndpointCounts {
  readonly #counts = new Map<string, Map<number, Map<string, number>>>();

  changed(value: EndpointRow | undefined, previous: EndpointRow | undefined): void {
    if (previous !== undefined) this.#add(previous, -1);
    if (value !== undefined) this.#add(value, 1);
  }

  /** Identity, and endpoints by node, of one namespace; of "" those of all. */
  *of(namespace: string): Iterable<readonly [identity: number, nodes: ReadonlyMap<string, number>]> {
    const namespaces = namespace === "" ? this.#counts.keys() : [namespace];
    for (const name of namespaces) yield* this.#counts.get(name) ?? [];
  }

  #add({ namespace, identity, node }: EndpointRow, by: number): void {
    const identities = this.#counts.get(namespace) ?? new Map<number, Map<string, number>>();
    const nodes = identities.get(identity) ?? new Map<string, number>();
    const count = (nodes.get(node) ?? 0) + by;
    if (count > 0) nodes.set(node, count);
    else nodes.delete(node);
    if (nodes.size > 0) identities.set(identity, nodes);
    else identities.delete(identity);
    if (identities.size > 0) this.#counts.set(namespace, identities);
    else this.#counts.delete(namespace);
  }
}

/** Pods of the agents by node; there are two on one node while the agent is upgraded. */
export class Agents {
  readonly #agents = new Map<string, Map<string, AgentRow>>();

  changed(key: string, value: AgentRow | undefined, previous: AgentRow | undefined): void {
    if (previous !== undefined) {
      const rows = this.#agents.get(previous.node);
      rows?.delete(key);
      if (rows?.size === 0) this.#agents.delete(previous.node);
    }
    if (value === undefined) return;
    const rows = this.#agents.get(value.node);
    if (rows === undefined) this.#agents.set(value.node, new Map([[key, value]]));
    else rows.set(key, value);
  }

  /** Why the node is not heard from; undefined: it is, as long as a pod of the agent there is Ready. */
  problem(node: string): string | undefined {
    const agents = [...(this.#agents.get(node)?.values() ?? [])];
    if (agents.some((agent) => agent.ready)) return undefined;
    const since = agents.map((agent) => agent.since).sort().at(-1) ?? "";
    return agents.length === 0 ? "no cilium agent runs there" : `the cilium agent is not Ready${since === "" ? "" : ` since ${since}`}`;
  }
}

interface Subjects {
  /** Pods that the policy selects. */
  readonly endpoints: number;
  /** `spec`, or items of `specs`, that select none. */
  readonly unselected: readonly string[];
  /** Nodes of these pods, and those that it selects themselves. */
  readonly selected: ReadonlySet<string>;
  /** Nodes with pods whose identity does not tell yet whether they are selected. */
  readonly undecided: ReadonlySet<string>;
}

const UNDECIDED = "pods there wait for an identity with the labels that the policy names";
const NAMED_NODES = 10;

export interface StandingsOptions {
  readonly endpoints: EndpointCounts;
  readonly labels: ReadonlyMap<number, Labels>;
  readonly nodeStates: NodeStates;
  readonly nodes: Source<NodeRow>;
  readonly states: Source<NodeStateRow>;
  readonly namespaces: Source<NamespaceRow>;
  readonly policyOptions: PolicyOptions;
  readonly agents: Agents;
}

export class Standings {
  readonly #options: StandingsOptions;

  constructor(options: StandingsOptions) {
    this.#options = options;
  }

  /**
   * A node counts when it runs a managed pod that the enforced version selects, or when it has not acknowledged yet
   * that an older version, or the whole policy, is gone from it. It is pending until the identities of all pods that
   * the policy could select, or mean as peers, tell of the labels that it names.
   */
  of(entry: PolicyEntry): Findings {
    const { effective, resolved = effective } = entry;
    if (effective === undefined || resolved === undefined) return { endpoints: 0, nodes: [] };
    const drafts = draftPolicy(entry.refusal === undefined ? resolved : withoutRules(resolved), this.#options.policyOptions);
    const { endpoints, unselected, selected, undecided } = this.#subjects(effective.namespace, drafts);
    const waiting = this.#undecidedPeers(drafts);
    const standings: NodeStanding[] = [];
    for (const node of new Set([...selected, ...undecided, ...this.#options.nodeStates.holding(effective.uid)])) {
      const mark = this.#options.nodeStates.records.get(node)?.document.marks.get(effective.uid);
      const isSelected = selected.has(node) || undecided.has(node);
      if (!isSelected && !this.#owes(node, mark, effective.generation)) continue;
      const standing = this.#standing(node, effective.uid, effective.generation, mark);
      const wait = undecided.has(node) ? UNDECIDED : isSelected ? waiting : undefined;
      const isWaiting = wait !== undefined && ["pending", "enforced"].includes(standing.standing);
      standings.push(isWaiting ? { node, standing: "pending", message: wait } : standing);
    }
    return { endpoints, unselected, nodes: standings.sort((a, b) => (a.node < b.node ? -1 : 1)), ...this.#auditOf(effective.namespace, drafts) };
  }

  #auditOf(namespace: string, drafts: readonly PolicyDraft[]): Pick<Findings, "audited"> {
    const labels = this.#options.namespaces.objects.get(namespace)?.labels ?? {};
    const paths = drafts.filter((draft) => isAudited(draft, (key) => (Object.hasOwn(labels, key) ? labels[key] : undefined))).map(({ path }) => path);
    return paths.length === 0 ? {} : { audited: { paths, isWhole: paths.length === drafts.length } };
  }

  #subjects(namespace: string, drafts: readonly PolicyDraft[]): Subjects {
    const selecting = new Set<PolicyDraft>();
    const selected = new Set<string>();
    const undecided = new Set<string>();
    let endpoints = 0;
    const [ofNodes, ofPods] = [drafts.filter(({ subject }) => selectsHosts(subject)), drafts.filter(({ subject }) => !selectsHosts(subject))];
    for (const [node, { labels = {} }] of ofNodes.length === 0 ? [] : this.#options.nodes.objects) {
      const meant = ofNodes.filter(({ subject }) => selects(subject, hostLabels(labels)));
      for (const draft of meant) selecting.add(draft);
      if (meant.length > 0) selected.add(node);
    }
    for (const [identity, nodes] of this.#options.endpoints.of(namespace)) {
      const labels = this.#options.labels.get(identity);
      if (labels === undefined) continue;
      const meant = ofPods.filter(({ subject }) => selects(subject, labels));
      for (const draft of meant) selecting.add(draft);
      if (meant.length === 0) {
        if (ofPods.some(({ subject }) => maySelect(subject, labels))) for (const node of nodes.keys()) undecided.add(node);
        continue;
      }
      for (const [node, count] of nodes) {
        endpoints += count;
        selected.add(node);
      }
    }
    return { endpoints, selected, undecided, unselected: drafts.filter((draft) => !selecting.has(draft)).map(({ path }) => path) };
  }

  /** Where pods are whose identity does not tell yet whether a rule means them, in words; undefined: nowhere. */
  #undecidedPeers(drafts: readonly PolicyDraft[]): string | undefined {
    const peers = drafts.flatMap(({ selectors }) => [...selectors.values()]).filter((peer): peer is LabelPeers => peer.kind === "labels" && reachOf(peer) !== undefined);
    if (peers.length === 0) return undefined;
    const undecided = new Set<string>();
    for (const [identity, nodes] of this.#options.endpoints.of("")) {
      const labels = this.#options.labels.get(identity);
      if (labels !== undefined && peers.some((peer) => maySelect(peer, labels))) for (const node of nodes.keys()) undecided.add(node);
    }
    if (undecided.size === 0) return undefined;
    const named = [...undecided].sort().slice(0, NAMED_NODES).join(", ");
    return `its peers wait for an identity with the labels that the policy names: pods on ${named}${undecided.size > NAMED_NODES ? ` and ${undecided.size - NAMED_NODES} more nodes` : ""}`;
  }

  /** Whether a node that is not selected may enforce an older version: it was not told yet that this one does not select it, or has not acknowledged it. */
  #owes(node: string, mark: PolicyMark | undefined, generation: number): boolean {
    return mark !== undefined && (mark.removed ? this.#acknowledged(node) < mark.since : mark.ref.generation !== generation);
  }

  #acknowledged(node: string): number {
    const { nodeStates, nodes } = this.#options;
    const uid = nodes.objects.get(node)?.uid;
    return uid === undefined ? 0 : nodeStates.acknowledged(node, uid);
  }

  #standing(node: string, uid: string, generation: number, mark: PolicyMark | undefined): NodeStanding {
    const agent = this.#options.agents.problem(node);
    if (agent !== undefined) return { node, standing: "unheard", message: agent };
    const failure = this.#failure(node, uid) ?? (mark?.ref.generation === generation ? undefined : this.#options.nodeStates.refusal(node));
    if (failure !== undefined) return { node, standing: "failing", message: failure };
    const acknowledged = this.#acknowledged(node);
    if (mark === undefined || (!mark.removed && mark.ref.generation !== generation)) return { node, standing: "pending", message: "not sent yet" };
    if (acknowledged < mark.since) return { node, standing: "pending", message: `applied revision ${acknowledged}, needs ${mark.since}` };
    return { node, standing: "enforced", message: "" };
  }

  /** What the node says of the policy that it cannot do. */
  #failure(node: string, uid: string): string | undefined {
    const status = this.#options.states.objects.get(statusName(node))?.acknowledgement;
    const failures = status?.failures ?? [];
    const isMeant = failures.length > 0 && (status?.failedPolicies === undefined || status.failedPolicies.includes(uid));
    return isMeant ? failures.map(({ part, message }) => `${part}: ${message}`).join("; ").slice(0, 300) : undefined;
  }
}
