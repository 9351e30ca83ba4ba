/**
 * Every policy, of whatever kind, and the version of it that is enforced: the current one when it is valid, else the
 * last one that was. That one is remembered here and, so that a restart does not forget it, in the policy's own status:
 * there it also covers pods that come later, and goes with the object. NetworkPolicy has no status; it is checked by the
 * API server, and of the little that we refuse beyond that the last valid version is remembered by this process alone.
 */
import type { PolicyKind, Problem, Validator } from "../api/index.ts";
import { boundlessKeys, mayMean, policySize, resolveReferences, withoutRules, withoutRulesText } from "../compile/index.ts";
import type { CidrGroup, NodePeer, PolicySize, ResolvedPolicy, ServicePeer } from "../compile/index.ts";
import { canonicalJson } from "../lib/hash.ts";
import { contentOf, lastValid, versionOf } from "../model/index.ts";
import type { PolicyObject, PolicyRow } from "../model/index.ts";
import { NAMESPACE_QUOTA, PolicyQuota } from "./policy-quota.ts";

export type { PolicyObject } from "../model/index.ts";

export interface PolicyEntry {
  readonly kind: PolicyKind;
  readonly object: PolicyObject;
  readonly problems: readonly Problem[];
  /** The version that is enforced, as it was written; undefined when no version ever was valid. */
  readonly effective: PolicyRow | undefined;
  /** The same with what the names in it mean. */
  readonly resolved?: PolicyRow | undefined;
  /** Of the groups of blocks, nodes and services that it names, what means nobody; undefined: it names none. */
  readonly unresolved: readonly Problem[] | undefined;
  /** Why it is in force without its rules: there is no room for it; undefined: there is. */
  readonly refusal?: string | undefined;
}

/** A version without what other objects and other policies say, which is not the policy's own. */
type Version = Omit<PolicyEntry, "resolved" | "unresolved" | "refusal">;

/** What the compiler is given of a policy: the row itself, or what is left of it. */
interface Published {
  readonly source: PolicyRow;
  readonly row: PolicyRow;
}

export interface PolicyListener {
  /** An enforced policy of the namespace, "" standing for the whole cluster, came, went or is another now. */
  policiesChanged(namespace: string, previous: PolicyRow | undefined, current: PolicyRow | undefined): void;
  /** Anything of the object changed, also its status. */
  policyChanged(key: PolicyKey): void;
}

/** `kind:namespace/name`, or `kind:name`. */
export type PolicyKey = string;

export function policyKey(kind: PolicyKind, key: string): PolicyKey {
  return `${kind}:${key}`;
}

/** Empty for a kind of the whole cluster. */
export function namespaceOfKey(key: PolicyKey): string {
  const name = key.slice(key.indexOf(":") + 1);
  return name.slice(0, Math.max(0, name.indexOf("/")));
}

export class PolicyBook {
  readonly #validator: Validator;
  readonly #listener: PolicyListener;
  readonly #entries = new Map<PolicyKey, PolicyEntry>();
  readonly #byUid = new Map<string, PolicyKey>();
  readonly #byNamespace = new Map<string, Set<PolicyKey>>();
  readonly #rows = new Map<string, PolicyRow[]>();
  readonly #effective = new Map<string, readonly PolicyRow[]>();
  /** Namespaces whose array of `#effective` is older than their rows. */
  readonly #stale = new Set<string>();
  readonly #groups = new Map<string, CidrGroup>();
  readonly #nodes = new Map<string, NodePeer>();
  readonly #services = new Map<string, Map<string, ServicePeer>>();
  readonly #directory = { groups: this.#groups, nodes: this.#nodes, services: this.#services };
  /** Each policy's effective version with what the names in it mean. */
  readonly #resolved = new Map<PolicyKey, ResolvedPolicy>();
  readonly #quota: PolicyQuota;
  readonly #published = new Map<PolicyKey, Published>();

  constructor(validator: Validator, listener: PolicyListener, quota = new PolicyQuota()) {
    this.#validator = validator;
    this.#listener = listener;
    this.#quota = quota;
  }

  /**
   * Namespace -> enforced policies by uid, under "" those of the whole cluster; to be asked for anew after a change, when a
   * namespace whose policies changed has a new array: one for many changes, as there may be very many policies.
   */
  get effective(): ReadonlyMap<string, readonly PolicyRow[]> {
    for (const namespace of this.#stale) {
      const rows = this.#rows.get(namespace);
      put(this.#effective, namespace, rows && [...rows]);
    }
    this.#stale.clear();
    return this.#effective;
  }

  get(key: PolicyKey): PolicyEntry | undefined {
    return this.#entries.get(key);
  }

  keys(): Iterable<PolicyKey> {
    return this.#entries.keys();
  }

  /** Keys of the policies of a namespace; of "" those of the whole cluster. */
  keysOf(namespace: string): Iterable<PolicyKey> {
    return this.#byNamespace.get(namespace) ?? [];
  }

  keyOfUid(uid: string): PolicyKey | undefined {
    return this.#byUid.get(uid);
  }

  /** `name` as in `keyOf`. */
  changed(kind: PolicyKind, name: string, object: PolicyObject | undefined): void {
    const key = policyKey(kind, name);
    const previous = this.#entries.get(key);
    const before = this.#resolved.get(key);
    const entry = object === undefined ? undefined : this.#entryOf(kind, object, previous);
    const resolved = this.#resolve(entry, previous, before);
    if (previous !== undefined) {
      this.#byUid.delete(previous.object.metadata.uid ?? "");
      this.#byNamespace.get(namespaceOf(previous))?.delete(key);
      this.#entries.delete(key);
      this.#resolved.delete(key);
    }
    if (resolved !== undefined) this.#resolved.set(key, resolved);
    if (entry !== undefined) this.#add(key, entry, resolved);
    this.#publish(key, namespaceOf(entry ?? previous), resolved);
    this.#listener.policyChanged(key);
  }

  #add(key: PolicyKey, entry: Version, resolved: ResolvedPolicy | undefined): void {
    const namespace = namespaceOf(entry);
    this.#entries.set(key, { ...entry, resolved: resolved?.row, unresolved: resolved?.unresolved });
    this.#byUid.set(entry.object.metadata.uid ?? "", key);
    const keys = this.#byNamespace.get(namespace);
    if (keys === undefined) this.#byNamespace.set(namespace, new Set([key]));
    else keys.add(key);
  }

  /** What was resolved before stays as long as the version does: a change of what it names is told apart. */
  #resolve(entry: Version | undefined, previous: PolicyEntry | undefined, before: ResolvedPolicy | undefined): ResolvedPolicy | undefined {
    if (entry?.effective === undefined) return undefined;
    return entry.effective === previous?.effective ? before : resolveReferences(entry.effective, this.#directory, NAMESPACE_QUOTA.blocks);
  }

  /** The group, undefined when it is gone: the policies that name it, or its labels, change with it. */
  groupChanged(name: string, group: CidrGroup | undefined): void {
    put(this.#groups, name, group);
    this.#resolveAgain(({ names }) => names.groups);
  }

  /** Likewise a node. */
  nodeChanged(name: string, node: NodePeer | undefined): void {
    if (isSame(node, this.#nodes.get(name))) return;
    put(this.#nodes, name, node);
    this.#resolveAgain(({ names }) => names.nodes);
  }

  /** Likewise a service. */
  serviceChanged(namespace: string, name: string, service: ServicePeer | undefined): void {
    const services = this.#services.get(namespace) ?? new Map<string, ServicePeer>();
    if (isSame(service, services.get(name))) return;
    put(services, name, service);
    put(this.#services, namespace, services.size === 0 ? undefined : services);
    this.#resolveAgain(({ row, names }) => names.services.some((reference) => mayMean(reference, row.namespace, namespace, name)));
  }

  #resolveAgain(isMeant: (policy: ResolvedPolicy) => boolean): void {
    for (const [key, before] of [...this.#resolved]) {
      const entry = this.#entries.get(key);
      if (before.unresolved === undefined || entry?.effective === undefined || !isMeant(before)) continue;
      const resolved = resolveReferences(entry.effective, this.#directory, NAMESPACE_QUOTA.blocks);
      if (isSame([resolved.row, resolved.unresolved, resolved.blocks], [before.row, before.unresolved, before.blocks])) continue;
      this.#resolved.set(key, resolved);
      this.#entries.set(key, { ...entry, resolved: resolved.row, unresolved: resolved.unresolved });
      this.#publish(key, namespaceOf(entry), resolved);
      this.#listener.policyChanged(key);
    }
  }

  #entryOf(kind: PolicyKind, object: PolicyObject, previous: PolicyEntry | undefined): Version {
    const { uid, generation = 0 } = object.metadata;
    const isSameObject = previous?.object.metadata.uid === uid;
    // Only the content counts in the generation: a change of the status needs no new look.
    if (isSameObject && previous?.object.metadata.generation === generation && canonicalJson(contentOf(kind, previous.object)) === canonicalJson(contentOf(kind, object))) {
      return { kind, object, problems: previous.problems, effective: previous.effective ?? lastValid(kind, object, this.#validator) };
    }
    const { problems, effective } = versionOf(kind, object, this.#validator, isSameObject ? previous?.effective : undefined);
    return { kind, object, problems, effective };
  }

  /** A change of one policy's size may make room for others of the namespace, or take it. */
  #publish(key: PolicyKey, namespace: string, resolved: ResolvedPolicy | undefined): void {
    const others = this.#quota.changed(namespace, key, resolved && sizeOf(resolved)).filter((other) => other !== key);
    this.#put(key, namespace, resolved?.row);
    for (const other of others) {
      this.#put(other, namespace, this.#resolved.get(other)?.row);
      this.#listener.policyChanged(other);
    }
  }

  #put(key: PolicyKey, namespace: string, source: PolicyRow | undefined): void {
    const refusal = source && this.#refusal(key, namespace, source);
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.refusal !== refusal) this.#entries.set(key, { ...entry, refusal });
    const before = this.#published.get(key);
    const wasWhole = before === undefined || before.row === before.source;
    if (before?.source === source && wasWhole === (refusal === undefined)) return;
    const row = source === undefined || refusal === undefined ? source : withoutRules(source);
    if (source === undefined || row === undefined) this.#published.delete(key);
    else this.#published.set(key, { source, row });
    this.#replace(namespace, before?.row, row);
  }

  #refusal(key: PolicyKey, namespace: string, row: PolicyRow): string | undefined {
    const why = this.#quota.refusal(namespace, key) ?? boundless(row);
    return why && `${why}. ${withoutRulesText(row.kind)}`;
  }

  #replace(namespace: string, previous: PolicyRow | undefined, current: PolicyRow | undefined): void {
    const rows = this.#rows.get(namespace) ?? [];
    const at = previous === undefined ? -1 : rows.indexOf(previous, placeOf(previous, rows));
    if (at >= 0) rows.splice(at, 1);
    if (current !== undefined) rows.splice(placeOf(current, rows), 0, current);
    if (rows.length === 0) this.#rows.delete(namespace);
    else this.#rows.set(namespace, rows);
    this.#stale.add(namespace);
    this.#listener.policiesChanged(namespace, previous, current);
  }
}

function put<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function isSame(a: unknown, b: unknown): boolean {
  return canonicalJson(a ?? null) === canonicalJson(b ?? null);
}

/** Where the policy belongs among those in the order of their uids. */
function placeOf({ uid }: PolicyRow, rows: readonly PolicyRow[]): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rows[middle]?.uid ?? "") < uid) low = middle + 1;
    else high = middle;
  }
  return low;
}

function boundless(row: PolicyRow): string | undefined {
  const keys = boundlessKeys(row);
  if (keys.length === 0) return undefined;
  return `by ${keys.join(", ")} it means pods of namespaces that it does not name: each of them, in the whole cluster, would be an identity of its own. Name the namespaces by their names (k8s:io.kubernetes.pod.namespace, or the label kubernetes.io/metadata.name), not by other labels`;
}

/** Whether blocks are in the place of names or too many for that. */
function sizeOf({ row, blocks }: ResolvedPolicy): PolicySize {
  const { rules, blocks: own } = policySize(row);
  return { rules, blocks: Math.max(own, blocks) };
}

/** Empty for a kind of the whole cluster. */
function namespaceOf(entry: Version | undefined): string {
  return entry?.object.metadata.namespace ?? "";
}
