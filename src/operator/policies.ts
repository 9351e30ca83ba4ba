/**
 * Every policy, of whatever kind, and the version of it that is enforced: the current one when it is valid, else the
 * last one that was. That one is remembered here and, so that a restart does not forget it, in the policy's own status:
 * there it also covers pods that come later, and goes with the object. NetworkPolicy has no status; it is checked by the
 * API server, and of the little that we refuse beyond that the last valid version is remembered by this process alone.
 */
import type { PolicyKind, Problem, Validator } from "../api/index.ts";
import { resolveGroups } from "../compile/index.ts";
import type { CidrGroup, ResolvedPolicy } from "../compile/index.ts";
import { canonicalJson } from "../lib/hash.ts";
import { contentOf, lastValid, versionOf } from "../model/index.ts";
import type { PolicyObject, PolicyRow } from "../model/index.ts";

export type { PolicyObject } from "../model/index.ts";

export interface PolicyEntry {
  readonly kind: PolicyKind;
  readonly object: PolicyObject;
  readonly problems: readonly Problem[];
  /** The version that is enforced, as it was written; undefined when no version ever was valid. */
  readonly effective: PolicyRow | undefined;
  /** Of the groups of blocks that it names, what means nobody; undefined: it names none. */
  readonly unresolved: readonly Problem[] | undefined;
}

/** A version without what groups of blocks say, which is not the policy's own. */
type Version = Omit<PolicyEntry, "unresolved">;

export interface PolicyListener {
  /** The enforced policies of the namespace changed; "" stands for those of the whole cluster. */
  policiesChanged(namespace: string): void;
  /** Anything of the object changed, also its status. */
  policyChanged(key: PolicyKey): void;
}

/** `kind:namespace/name`, or `kind:name`. */
export type PolicyKey = string;

export function policyKey(kind: PolicyKind, key: string): PolicyKey {
  return `${kind}:${key}`;
}

export class PolicyBook {
  readonly #validator: Validator;
  readonly #listener: PolicyListener;
  readonly #entries = new Map<PolicyKey, PolicyEntry>();
  readonly #byUid = new Map<string, PolicyKey>();
  readonly #byNamespace = new Map<string, Set<PolicyKey>>();
  readonly #effective = new Map<string, readonly PolicyRow[]>();
  readonly #groups = new Map<string, CidrGroup>();
  /** What is published of each policy: its effective version with the blocks of the groups that it names. */
  readonly #resolved = new Map<PolicyKey, ResolvedPolicy>();

  constructor(validator: Validator, listener: PolicyListener) {
    this.#validator = validator;
    this.#listener = listener;
  }

  /** Namespace -> enforced policies, under "" those of the whole cluster; a change makes a new array. */
  get effective(): ReadonlyMap<string, readonly PolicyRow[]> {
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
      this.#byNamespace.get(previous.object.metadata.namespace ?? "")?.delete(key);
      this.#entries.delete(key);
      this.#resolved.delete(key);
    }
    if (resolved !== undefined) this.#resolved.set(key, resolved);
    if (entry !== undefined) {
      this.#entries.set(key, { ...entry, unresolved: resolved?.unresolved });
      this.#byUid.set(entry.object.metadata.uid ?? "", key);
      const namespace = entry.object.metadata.namespace ?? "";
      const keys = this.#byNamespace.get(namespace);
      if (keys === undefined) this.#byNamespace.set(namespace, new Set([key]));
      else keys.add(key);
    }
    this.#publish(before?.row, resolved?.row);
    this.#listener.policyChanged(key);
  }

  /** What was resolved before stays as long as the version does: a change of a group is told apart (`groupChanged`). */
  #resolve(entry: Version | undefined, previous: PolicyEntry | undefined, before: ResolvedPolicy | undefined): ResolvedPolicy | undefined {
    if (entry?.effective === undefined) return undefined;
    return entry.effective === previous?.effective ? before : resolveGroups(entry.effective, this.#groups);
  }

  /** The group, undefined when it is gone: the policies that name it, or its labels, change with it. */
  groupChanged(name: string, group: CidrGroup | undefined): void {
    if (group === undefined) this.#groups.delete(name);
    else this.#groups.set(name, group);
    for (const [key, before] of [...this.#resolved]) {
      const entry = this.#entries.get(key);
      if (before.unresolved === undefined || entry?.effective === undefined) continue;
      const resolved = resolveGroups(entry.effective, this.#groups);
      if (canonicalJson([resolved.row, resolved.unresolved]) === canonicalJson([before.row, before.unresolved])) continue;
      this.#resolved.set(key, resolved);
      this.#entries.set(key, { ...entry, unresolved: resolved.unresolved });
      this.#publish(before.row, resolved.row);
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

  #publish(previous: PolicyRow | undefined, current: PolicyRow | undefined): void {
    if (previous === current) return;
    const namespace = (current ?? previous)?.namespace ?? "";
    const rest = (this.#effective.get(namespace) ?? []).filter((row) => row !== previous);
    const rows = current === undefined ? rest : [...rest, current];
    if (rows.length === 0) this.#effective.delete(namespace);
    else this.#effective.set(namespace, rows);
    this.#listener.policiesChanged(namespace);
  }
}
