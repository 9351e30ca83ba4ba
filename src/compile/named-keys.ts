/**
 * Which churning labels are part of identities, namespace by namespace: those that a selector of an enforced policy
 * names and with which it can reach pods of the namespace. All other pods keep identities that outlive a rollout.
 */
import { namespaceLabels } from "../model/labels.ts";
import type { Labels } from "../model/labels.ts";
import type { PolicyRow } from "../model/snapshot.ts";
import { draftPolicy } from "./policy.ts";
import { listsNamespaces, reachOf, selects } from "./selectors.ts";
import type { Reach } from "./selectors.ts";

const NONE: readonly string[] = [];
const UNCHANGED: ReadonlyMap<string, readonly string[]> = new Map();

interface PolicyReach extends Reach {
  readonly uid: string;
}

export class NamedKeys {
  readonly #namespaces = new Map<string, Labels>();
  /** Only of policies that name such a key. */
  readonly #reaches = new Map<PolicyRow, readonly PolicyReach[]>();
  readonly #keys = new Map<string, readonly string[]>();
  readonly #reaching = new Map<string, readonly string[]>();

  /** Sorted; the same array until it changes. */
  of(namespace: string): readonly string[] {
    return this.#keys.get(namespace) ?? NONE;
  }

  /** UIDs of the policies that name such a key and with it can reach pods of the namespace, wherever the policies are. */
  policiesReaching(namespace: string): readonly string[] {
    return this.#reaching.get(namespace) ?? NONE;
  }

  /** An enforced policy, of whatever namespace, came, went or is another now. Returns the namespaces whose keys changed, with those of before. */
  policyChanged(previous: PolicyRow | undefined, current: PolicyRow | undefined): ReadonlyMap<string, readonly string[]> {
    const reaches = current === undefined ? [] : reachesOf(current);
    const hadReach = previous !== undefined && this.#reaches.delete(previous);
    if (current !== undefined && reaches.length > 0) this.#reaches.set(current, reaches);
    if (!hadReach && reaches.length === 0) return UNCHANGED;
    const before = [...this.#namespaces.keys()].map((name) => [name, this.of(name)] as const);
    return new Map(before.filter(([name]) => this.#renew(name)));
  }

  /** Its labels, undefined when it is gone. True when its keys changed. */
  namespaceChanged(name: string, labels: Readonly<Record<string, string>> | undefined): boolean {
    if (labels === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, namespaceLabels(name, labels));
    return this.#renew(name);
  }

  #renew(name: string): boolean {
    const labels = this.#namespaces.get(name);
    const reaching = labels === undefined ? [] : [...this.#reaches.values()].flat().filter(({ namespaces }) => selects(namespaces, labels));
    const uids = [...new Set(reaching.map(({ uid }) => uid))];
    if (uids.length === 0) this.#reaching.delete(name);
    else this.#reaching.set(name, uids);
    const keys = [...new Set(reaching.flatMap((reach) => reach.keys))].sort();
    if (keys.join() === this.of(name).join()) return false;
    if (keys.length === 0) this.#keys.delete(name);
    else this.#keys.set(name, keys);
    return true;
  }
}

function reachesOf(policy: PolicyRow): readonly PolicyReach[] {
  const selectors = draftPolicy(policy).flatMap((draft) => [draft.subject, ...draft.selectors.values()]);
  return selectors.flatMap((selector) => {
    const reach = selector.kind === "labels" ? reachOf(selector) : undefined;
    return reach === undefined ? [] : [{ ...reach, uid: policy.uid }];
  });
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
