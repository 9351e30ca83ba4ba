/** Peer selectors → identity numbers. Pure; what a selector means is in src/compile/selectors.ts, for operator and agent alike. */
import { selects as matches } from "../compile/selectors.ts";
import type { NodeState, PeerSelector, SelectorId } from "../compile/state.ts";
import { Identity } from "../kernel/gen/types.ts";

/** Labels of the identities whose numbers are fixed. */
export const RESERVED_LABELS: ReadonlyMap<number, readonly string[]> = new Map<number, readonly string[]>([
  [Identity.HOST, ["reserved:host"]],
  [Identity.WORLD, ["reserved:world"]],
  [Identity.UNMANAGED, ["reserved:unmanaged"]],
  [Identity.HEALTH, ["reserved:health"]],
  [Identity.INIT, ["reserved:init"]],
  [Identity.REMOTE_NODE, ["reserved:remote-node"]],
  [Identity.KUBE_APISERVER, ["reserved:kube-apiserver", "reserved:remote-node"]],
  [Identity.INGRESS, ["reserved:ingress"]],
  [Identity.WORLD_IPV4, ["reserved:world-ipv4", "reserved:world"]],
  [Identity.WORLD_IPV6, ["reserved:world-ipv6", "reserved:world"]],
]);

/** `source:key` -> value of each label. */
function labelMap(labels: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    labels.map((label) => {
      const equals = label.indexOf("=");
      return equals < 0 ? [label, ""] : [label.slice(0, equals), label.slice(equals + 1)];
    }),
  );
}

export function selects(selector: PeerSelector, labels: readonly string[]): boolean {
  return matches(selector, labelMap(labels));
}

export type ResolvedSelectors = ReadonlyMap<SelectorId, ReadonlySet<number>>;

/**
 * Resolves again only what changed: labels of an identity never change, so an added identity is matched once
 * against each selector, and a removed one is taken out.
 */
export class SelectorResolver {
  #identities: ReadonlyMap<number, readonly string[]> = new Map();
  #labels = new Map<number, ReadonlyMap<string, string>>();
  #resolved = new Map<SelectorId, Set<number>>();

  /** Not valid after the next call. Identity numbers below 256 have the labels of RESERVED_LABELS. */
  resolve(selectors: NodeState["selectors"], identities: ReadonlyMap<number, readonly string[]>): ResolvedSelectors {
    if (this.#labels.size === 0) for (const [identity, labels] of RESERVED_LABELS) this.#labels.set(identity, labelMap(labels));
    if (identities !== this.#identities) this.#follow(selectors, identities);
    for (const id of this.#resolved.keys()) if (!selectors.has(id)) this.#resolved.delete(id);
    for (const [id, selector] of selectors) {
      if (this.#resolved.has(id)) continue; // the id is the hash of the selector's content
      const found = [...this.#labels].filter(([, labels]) => matches(selector, labels)).map(([identity]) => identity);
      this.#resolved.set(id, new Set(found));
    }
    return this.#resolved;
  }

  #follow(selectors: NodeState["selectors"], identities: ReadonlyMap<number, readonly string[]>): void {
    const same = (a: readonly string[] | undefined, b: readonly string[]): boolean =>
      a !== undefined && a.length === b.length && a.every((label, i) => label === b[i]);
    for (const identity of this.#identities.keys()) {
      if (identities.has(identity)) continue;
      this.#labels.delete(identity);
      for (const set of this.#resolved.values()) set.delete(identity);
    }
    for (const [identity, labels] of identities) {
      if (RESERVED_LABELS.has(identity) || same(this.#identities.get(identity), labels)) continue;
      const map = labelMap(labels);
      this.#labels.set(identity, map);
      for (const [id, set] of this.#resolved) {
        const selector = selectors.get(id);
        if (selector !== undefined && matches(selector, map)) set.add(identity);
        else set.delete(identity);
      }
    }
    this.#identities = identities;
  }
}
