/**
 * The operator's picture of the cluster: which identities are wanted, and where they run. Pods with the same
 * security-relevant labels are one group; everything is counted per group and node, so that the hundredth replica
 * changes a number and nothing else.
 *
 *   pods ─> groups ─┬─(labels of the namespace)─> wanted identities ─> numbers ─> subjects of each node
 *   namespaces ─────┤                             CiliumIdentity ──────┘
 *   policies ───────┘ (churning labels that they name)
 */
import { NamedKeys, draftPolicy, hostSubject, selectorId, selects, selectsHosts, subjectSelector } from "../compile/index.ts";
import type { LabelPeers, PolicyDraft } from "../compile/index.ts";
import { IdentityTable, NAMESPACE_LABEL, NAMESPACE_LABELS_PREFIX, hostLabels, labelsKey, sortedLabels, withNamed } from "../model/index.ts";
import type { Labels, PolicyRow } from "../model/index.ts";
import { LabelIndex } from "./label-index.ts";
import type { IdentityRow, NamespaceRow, PodRow } from "./rows.ts";

export interface ClusterListener {
  /** What must run on the node may have changed. */
  nodeChanged(node: string): void;
  /** Whether these labels are wanted, or have a number, may have changed. */
  identityChanged(key: string): void;
}

interface Group {
  readonly namespace: string;
  readonly labels: Labels;
  readonly nodes: Map<string, number>;
  /** Labels with those of the namespace; undefined while the namespace is not known. */
  full: Labels | undefined;
  key: string | undefined;
}

export class Cluster {
  readonly identities = new IdentityTable();
  readonly #listener: ClusterListener;
  readonly #namespaces = new Map<string, NamespaceRow>();
  readonly #named = new NamedKeys();
  readonly #podsOfNamespace = new Map<string, Set<PodRow>>();
  readonly #groups = new Map<string, Group>();
  readonly #groupsOfNamespace = new Map<string, Set<Group>>();
  /** Those of known namespaces, by their full labels. */
  readonly #groupsByLabel = new LabelIndex<Group>();
  readonly #groupsOfNode = new Map<string, Set<Group>>();
  readonly #groupsOfKey = new Map<string, Set<Group>>();
  readonly #numbersOfNamespace = new Map<string, number>();
  readonly #hosts = new Map<string, Labels>();

  constructor(listener: ClusterListener) {
    this.#listener = listener;
  }

  /** The labels behind a key of wanted identities; undefined when no pod has them any more. */
  wanted(key: string): Labels | undefined {
    for (const group of this.#groupsOfKey.get(key) ?? []) return group.full;
    return undefined;
  }

  /** Keys of all labels that some pod has. */
  wantedKeys(): Iterable<string> {
    return this.#groupsOfKey.keys();
  }

  /** Identities of the managed pods on a node that have a number. */
  subjects(node: string): ReadonlySet<number> {
    const numbers = new Set<number>();
    for (const group of this.#groupsOfNode.get(node) ?? []) {
      const number = group.key === undefined ? undefined : this.identities.numberOf(group.key);
      if (number !== undefined) numbers.add(number);
    }
    return numbers;
  }

  /** Node -> the labels of its own network namespace. The same object until they change, by which the compiler knows what it has compiled. */
  get hosts(): ReadonlyMap<string, Labels> {
    return this.#hosts;
  }

  /** A Node's labels, undefined when it is gone. */
  hostChanged(node: string, own: Readonly<Record<string, string>> | undefined): void {
    const labels = own && hostLabels(own);
    const known = this.#hosts.get(node);
    if (labels !== undefined && known !== undefined && labelsKey(labels) === labelsKey(known)) return;
    if (labels === undefined) this.#hosts.delete(node);
    else this.#hosts.set(node, labels);
    this.#listener.nodeChanged(node);
  }

  /** UIDs of the policies that name a churning label of pods of the namespace, wherever the policies are. */
  policiesReaching(namespace: string): readonly string[] {
    return this.#named.policiesReaching(namespace);
  }

  podChanged(value: PodRow | undefined, previous: PodRow | undefined): void {
    if (value !== undefined) {
      add(this.#podsOfNamespace, value.namespace, value);
      this.#count(value, this.#named.of(value.namespace), 1);
    }
    if (previous !== undefined) {
      drop(this.#podsOfNamespace, previous.namespace, previous);
      this.#count(previous, this.#named.of(previous.namespace), -1);
    }
  }

  /** An enforced policy came, went or is another now: nodes that either version selects, or pods of which, change. */
  policyChanged(previous: PolicyRow | undefined, current: PolicyRow | undefined): void {
    for (const [name, before] of this.#named.policyChanged(previous, current)) this.#regroup(name, before);
    const subjects = [previous, current].flatMap((row) => (row === undefined ? [] : draftPolicy(row).flatMap(concerned)));
    for (const subject of new Map(subjects.map((each) => [selectorId(each), each])).values()) {
      for (const { full, nodes } of this.#groupsByLabel.candidates(subject)) {
        if (full !== undefined && selects(subject, full)) for (const node of nodes.keys()) this.#listener.nodeChanged(node);
      }
      if (!selectsHosts(subject)) continue;
      for (const [node, labels] of this.#hosts) if (selects(subject, labels)) this.#listener.nodeChanged(node);
    }
  }

  namespaceChanged(name: string, value: NamespaceRow | undefined): void {
    if (value === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, value);
    const before = this.#named.of(name);
    if (this.#named.namespaceChanged(name, value?.labels)) this.#regroup(name, before);
    for (const group of this.#groupsOfNamespace.get(name) ?? []) this.#resolve(group);
  }

  identityChanged(value: IdentityRow | undefined, previous: IdentityRow | undefined): void {
    // A number that we allocated ourselves is shown by the watch once more.
    const known = this.identities.labels.get((value ?? previous)?.number ?? 0);
    if (known !== undefined) this.#countNumber(known, -1);
    if (value !== undefined) this.#countNumber(value.labels, 1);
    if (previous !== undefined) this.identities.remove(previous.number);
    if (value !== undefined) this.identities.set(value.number, value.labels);
    for (const row of [value, previous]) if (row !== undefined) this.#numberChanged(labelsKey(row.labels));
  }

  /** Numbers that labels of the namespace have. */
  numbersOf(namespace: string): number {
    return this.#numbersOfNamespace.get(namespace) ?? 0;
  }

  #countNumber(labels: Labels, by: 1 | -1): void {
    const namespace = labels.get(NAMESPACE_LABEL) ?? "";
    this.#numbersOfNamespace.set(namespace, this.numbersOf(namespace) + by);
  }

  #numberChanged(key: string): void {
    this.#listener.identityChanged(key);
    for (const group of this.#groupsOfKey.get(key) ?? []) for (const node of group.nodes.keys()) this.#listener.nodeChanged(node);
  }

  /** Into the groups of the keys as they are named now, then out of those of before. */
  #regroup(namespace: string, before: readonly string[]): void {
    const pods = [...(this.#podsOfNamespace.get(namespace) ?? [])];
    for (const pod of pods) this.#count(pod, this.#named.of(namespace), 1);
    for (const pod of pods) this.#count(pod, before, -1);
  }

  #count(pod: PodRow, named: readonly string[], by: 1 | -1): void {
    const group = this.#groupOf(pod.namespace, withNamed(pod.labels, pod.churning, named));
    const count = (group.nodes.get(pod.node) ?? 0) + by;
    if (count > 0) group.nodes.set(pod.node, count);
    else group.nodes.delete(pod.node);
    const appeared = by === 1 && count === 1;
    if (!appeared && count > 0) return;
    if (appeared) add(this.#groupsOfNode, pod.node, group);
    else drop(this.#groupsOfNode, pod.node, group);
    if (group.nodes.size === 0) this.#forget(group);
    this.#listener.nodeChanged(pod.node);
  }

  #groupOf(namespace: string, labels: Labels): Group {
    const text = labelsKey(labels);
    const known = this.#groups.get(text);
    if (known !== undefined) return known;
    const group: Group = { namespace, labels, nodes: new Map(), full: undefined, key: undefined };
    this.#groups.set(text, group);
    add(this.#groupsOfNamespace, namespace, group);
    this.#resolve(group);
    return group;
  }

  #forget(group: Group): void {
    this.#groups.delete(labelsKey(group.labels));
    drop(this.#groupsOfNamespace, group.namespace, group);
    this.#setKey(group, undefined);
  }

  /** Gives the group the labels of its namespace as they are now. */
  #resolve(group: Group): void {
    const namespace = this.#namespaces.get(group.namespace);
    const own = Object.entries(namespace?.labels ?? {}).map(([key, value]) => [NAMESPACE_LABELS_PREFIX + key, value] as const);
    this.#setKey(group, namespace === undefined ? undefined : sortedLabels([...group.labels, ...own]));
  }

  #setKey(group: Group, full: Labels | undefined): void {
    const key = full === undefined ? undefined : labelsKey(full);
    const before = group.key;
    if (key === before) return;
    if (group.full !== undefined) this.#groupsByLabel.remove(group, group.full);
    if (full !== undefined) this.#groupsByLabel.add(group, full);
    group.full = full;
    group.key = key;
    if (before !== undefined) drop(this.#groupsOfKey, before, group);
    if (key !== undefined) add(this.#groupsOfKey, key, group);
    for (const changed of [before, key]) if (changed !== undefined) this.#listener.identityChanged(changed);
    for (const node of group.nodes.keys()) this.#listener.nodeChanged(node);
  }
}

/** Whose rules change with the draft: whom it selects, and of one that watches in another's place whom that one may select. */
function concerned({ ref: { namespace }, subject, stages }: PolicyDraft): readonly LabelPeers[] {
  if (stages === undefined) return [subject];
  return namespace === "" ? [subjectSelector({}, namespace), hostSubject({})] : [subjectSelector({}, namespace)];
}

function add<T>(index: Map<string, Set<T>>, key: string, value: T): void {
  const set = index.get(key);
  if (set === undefined) index.set(key, new Set([value]));
  else set.add(value);
}

function drop<T>(index: Map<string, Set<T>>, key: string, value: T): void {
  const set = index.get(key);
  if (set === undefined) return;
  set.delete(value);
  if (set.size === 0) index.delete(key);
}
