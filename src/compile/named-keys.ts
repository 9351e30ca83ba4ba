/**
 * Which churning labels are part of identities, namespace by namespace: those that a selector of an enforced policy
 * names and with which it can reach pods of the namespace. All other pods keep identities that outlive a rollout.
 */
import { canonicalJson } from "../lib/hash.ts";
import { namespaceLabels } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { PolicyRow } from "../model/snapshot.ts";
import { draftPolicy } from "./policy.ts";
import { listsNamespaces, reachOf, selectorId, selects } from "./selectors.ts";
import type { Reach } from "./selectors.ts";

const NONE: readonly string[] = [];
const UNCHANGED: ReadonlyMap<string, readonly string[]> = new Map();

interface PolicyReach extends Reach {
  readonly uid: string;
}

/** What reaches one namespace, counted: a change costs what the policy itself reaches, whatever else there is. */
interface Reached {
  readonly uids: Map<string, number>;
  readonly keys: Map<string, number>;
}

export class NamedKeys {
  readonly #namespaces = new Map<string, Labels>();
  /** Only of policies that name such a key. */
  readonly #reaches = new Map<PolicyRow, readonly PolicyReach[]>();
  readonly #reached = new Map<string, Reached>();
  readonly #keys = new Map<string, readonly string[]>();

  /** Sorted; the same array until it changes. */
  of(namespace: string): readonly string[] {
    return this.#keys.get(namespace) ?? NONE;
  }

  /** UIDs of the policies that name such a key and with it can reach pods of the namespace, wherever the policies are. */
  policiesReaching(namespace: string): readonly string[] {
    return [...(this.#reached.get(namespace)?.uids.keys() ?? [])];
  }

  /** An enforced policy, of whatever namespace, came, went or is another now. Returns the namespaces whose keys changed, with those of before. */
  policyChanged(previous: PolicyRow | undefined, current: PolicyRow | undefined): ReadonlyMap<string, readonly string[]> {
    const gone = (previous === undefined ? undefined : this.#reaches.get(previous)) ?? [];
    const come = current === undefined ? [] : reachesOf(current);
    if (gone.length === 0 && come.length === 0) return UNCHANGED;
    if (previous !== undefined) this.#reaches.delete(previous);
    if (current !== undefined && come.length > 0) this.#reaches.set(current, come);
    const changed = new Map<string, readonly string[]>();
    for (const [name, labels] of this.#namespaces) {
      const [left = [], arrived = []] = [gone, come].map((reaches) => reaches.filter(({ namespaces }) => selects(namespaces, labels)));
      const before = this.of(name);
      if (this.#count(name, left, arrived)) changed.set(name, before);
    }
    return changed;
  }

  /** Its labels, undefined when it is gone. True when its keys changed. */
  namespaceChanged(name: string, given: Readonly<Record<string, string>> | undefined): boolean {
    this.#reached.delete(name);
    if (given === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, namespaceLabels(name, given));
    const labels = this.#namespaces.get(name);
    const reaching = labels === undefined ? [] : [...this.#reaches.values()].flat().filter(({ namespaces }) => selects(namespaces, labels));
    return this.#count(name, [], reaching) || this.#renew(name);
  }

  /** True when the namespace's keys changed. */
  #count(name: string, gone: readonly PolicyReach[], come: readonly PolicyReach[]): boolean {
    if (gone.length + come.length === 0) return false;
    const reached = this.#reached.get(name) ?? { uids: new Map<string, number>(), keys: new Map<string, number>() };
    for (const [reaches, by] of [[come, 1], [gone, -1]] as const) {
      for (const { uid, keys } of reaches) {
        add(reached.uids, uid, by);
        for (const key of keys) add(reached.keys, key, by);
      }
    }
    if (reached.uids.size === 0) this.#reached.delete(name);
    else this.#reached.set(name, reached);
    return this.#renew(name);
  }

  #renew(name: string): boolean {
    const keys = [...(this.#reached.get(name)?.keys.keys() ?? [])].sort();
    if (keys.join() === this.of(name).join()) return false;
    if (keys.length === 0) this.#keys.delete(name);
    else this.#keys.set(name, keys);
    return true;
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

/** Each once, however many selectors of the policy reach so. */
function reachesOf(policy: PolicyRow): readonly PolicyReach[] {
  const selectors = draftPolicy(policy).flatMap((draft) => [draft.subject, ...draft.selectors.values()]);
  const reaches = new Map<string, PolicyReach>();
  for (const selector of selectors) {
    const reach = selector.kind === "labels" ? reachOf(selector) : undefined;
    if (reach !== undefined) reaches.set(canonicalJson([reach.keys, selectorId(reach.namespaces)]), { ...reach, uid: policy.uid });
  }
  return [...reaches.values()];
}

/**
 * Churning keys by which a policy of one namespace means peers in namespaces that it does not name by their names (labels
 * may be of any number of them): each pod there would be an identity of its own, on every node, by the word of one tenant.
 */
export function boundlessKeys(row: PolicyRow): readonly string[] {
  if (row.namespace === "") return [];
  const peers = draftPolicy(row).flatMap((draft) => [...draft.selectors.values()]);
  const reaches = peers.flatMap((peer) => (peer.kind === "labels" ? (reachOf(peer) ?? []) : []));
  const boundless = reaches.filter(({ namespaces }) => !listsNamespaces(namespaces));
  return [...new Set(boundless.flatMap(({ keys }) => keys))].sort();
}
