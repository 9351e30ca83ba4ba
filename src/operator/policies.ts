/**
 * Every CiliumNetworkPolicy and the version of it that is enforced: the current one when it is valid, else the last
 * one that was. That one is remembered here and, so that a restart does not forget it, in the policy's own status:
 * there it also covers pods that come later, and goes with the object.
 */
import type { Problem, Validator } from "../api/index.ts";
import type { CiliumNetworkPolicy } from "../api/gen/ciliumnetworkpolicies.ts";
import { canonicalJson } from "../lib/hash.ts";
import { refOf } from "../kube/resource.ts";
import type { PolicyRow } from "../model/index.ts";

export interface PolicyEntry {
  readonly object: CiliumNetworkPolicy;
  readonly problems: readonly Problem[];
  /** The version that is enforced; undefined when no version ever was valid. */
  readonly effective: PolicyRow | undefined;
}

export interface PolicyListener {
  /** The enforced policies of the namespace changed. */
  policiesChanged(namespace: string): void;
  /** Anything of the object changed, also its status. */
  policyChanged(key: string): void;
}

export class PolicyBook {
  readonly #validator: Validator;
  readonly #listener: PolicyListener;
  readonly #entries = new Map<string, PolicyEntry>();
  readonly #byUid = new Map<string, string>();
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #effective = new Map<string, readonly PolicyRow[]>();

  constructor(validator: Validator, listener: PolicyListener) {
    this.#validator = validator;
    this.#listener = listener;
  }

  /** Namespace -> enforced policies; a change makes a new array. */
  get effective(): ReadonlyMap<string, readonly PolicyRow[]> {
    return this.#effective;
  }

  get(key: string): PolicyEntry | undefined {
    return this.#entries.get(key);
  }

  /** Keys of the policies of a namespace. */
  keysOf(namespace: string): Iterable<string> {
    return this.#byNamespace.get(namespace) ?? [];
  }

  keyOfUid(uid: string): string | undefined {
    return this.#byUid.get(uid);
  }

  changed(key: string, object: CiliumNetworkPolicy | undefined): void {
    const previous = this.#entries.get(key);
    const entry = object === undefined ? undefined : this.#entryOf(object, previous);
    if (previous !== undefined) this.#byUid.delete(previous.object.metadata.uid ?? "");
    if (entry === undefined) {
      this.#entries.delete(key);
      this.#byNamespace.get(refOf(key).namespace ?? "")?.delete(key);
    } else {
      this.#entries.set(key, entry);
      this.#byUid.set(entry.object.metadata.uid ?? "", key);
      const namespace = refOf(key).namespace ?? "";
      const keys = this.#byNamespace.get(namespace);
      if (keys === undefined) this.#byNamespace.set(namespace, new Set([key]));
      else keys.add(key);
    }
    this.#publish(previous?.effective, entry?.effective);
    this.#listener.policyChanged(key);
  }

  #entryOf(object: CiliumNetworkPolicy, previous: PolicyEntry | undefined): PolicyEntry {
    const { uid, generation = 0 } = object.metadata;
    const isSameObject = previous?.object.metadata.uid === uid;
    // Only the spec counts in the generation: a change of the status needs no new look.
    if (isSameObject && previous?.object.metadata.generation === generation && canonicalJson(previous.object.spec) === canonicalJson(object.spec)) {
      return { object, problems: previous.problems, effective: previous.effective ?? this.#lastValid(object) };
    }
    const problems = this.#validator.policy(object);
    if (problems.length === 0) return { object, problems, effective: rowOf(object, generation, object.spec) };
    return { object, problems, effective: (isSameObject ? previous?.effective : undefined) ?? this.#lastValid(object) };
  }

  /** The version in the status, if it is valid by today's rules. */
  #lastValid(object: CiliumNetworkPolicy): PolicyRow | undefined {
    const stored = object.status?.lastValid;
    if (stored === undefined) return undefined;
    let spec: CiliumNetworkPolicy["spec"];
    try {
      spec = JSON.parse(stored.spec) as CiliumNetworkPolicy["spec"];
    } catch {
      return undefined;
    }
    if (this.#validator.policy({ ...object, spec }).length > 0) return undefined;
    return rowOf(object, stored.generation, spec);
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

function rowOf(object: CiliumNetworkPolicy, generation: number, spec: CiliumNetworkPolicy["spec"]): PolicyRow {
  const { namespace = "", name, uid = "" } = object.metadata;
  return { namespace, name, uid, generation, spec };
}
