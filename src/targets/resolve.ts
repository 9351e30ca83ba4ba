/** Peer selectors → identity numbers; address blocks stay what they are (`blocks.ts`). Pure; what a selector means is in src/compile/selectors.ts, for operator and agent alike. */
import { selects as matches } from "../compile/selectors.ts";
import type { CidrPeers, LabelPeers, NodeState, PeerSelector, SelectorId } from "../compile/state.ts";
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

export function selects(selector: LabelPeers, labels: readonly string[]): boolean {
  return matches(selector, labelMap(labels));
}

export type ResolvedSelectors = ReadonlyMap<SelectorId, ReadonlySet<number> | CidrPeers>;

/** Selectors that mean the API server by name. */
export function ofApiServer(selectors: NodeState["selectors"]): ReadonlySet<SelectorId> {
  const names = (selector: PeerSelector): boolean => selector.kind === "labels" && selector.requirements.some(({ key }) => key === "reserved:kube-apiserver");
  return new Set([...selectors].filter(([, selector]) => names(selector)).map(([id]) => id));
}

/**
 * Resolves again only what changed: labels of an identity never change, so an added identity is matched once
 * against each selector, and a removed one is taken out. A set that did not change is the same object as before.
 */
export class SelectorResolver {
  #identities: ReadonlyMap<number, readonly string[]> = new Map();
  readonly #labels = new Map([...RESERVED_LABELS].map(([identity, labels]) => [identity, labelMap(labels)]));
  #resolved: ResolvedSelectors = new Map();

  /** Reserved identities have the labels of RESERVED_LABELS where `identities` does not say others. */
  resolve(selectors: NodeState["selectors"], identities: ReadonlyMap<number, readonly string[]>): ResolvedSelectors {
    const touched = identities === this.#identities ? new Set<number>() : this.#follow(identities);
    const resolved = new Map<SelectorId, ReadonlySet<number> | CidrPeers>();
    for (const [id, selector] of selectors) {
      const known = this.#resolved.get(id); // the id is the hash of the selector's content
      if (selector.kind === "cidrs") resolved.set(id, known ?? selector);
      else resolved.set(id, known === undefined || "kind" in known ? this.#all(selector) : this.#update(selector, known, touched));
    }
    this.#resolved = resolved;
    return resolved;
  }

  #all(selector: LabelPeers): ReadonlySet<number> {
    return new Set([...this.#labels].filter(([, labels]) => matches(selector, labels)).map(([identity]) => identity));
  }

  #update(selector: LabelPeers, known: ReadonlySet<number>, touched: ReadonlySet<number>): ReadonlySet<number> {
    let next: Set<number> | undefined;
    for (const identity of touched) {
      const labels = this.#labels.get(identity);
      const isMember = labels !== undefined && matches(selector, labels);
      if (isMember === known.has(identity)) continue;
      next ??= new Set(known);
      if (isMember) next.add(identity);
      else next.delete(identity);
    }
    return next ?? known;
  }

  /** Takes the labels over; returns the identities that came, went or (which only reserved ones should) have others. */
  #follow(identities: ReadonlyMap<number, readonly string[]>): ReadonlySet<number> {
    const touched = new Set<number>();
    for (const identity of this.#identities.keys()) {
      if (identities.has(identity)) continue;
      const reserved = RESERVED_LABELS.get(identity);
      if (reserved === undefined) this.#labels.delete(identity);
      else this.#labels.set(identity, labelMap(reserved));
      touched.add(identity);
    }
    for (const [identity, labels] of identities) {
      if (isSame(this.#identities.get(identity), labels)) continue;
      this.#labels.set(identity, labelMap(labels));
      touched.add(identity);
    }
    this.#identities = identities;
    return touched;
  }
}

function isSame(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a === b || (a !== undefined && a.length === b.length && a.every((label, i) => label === b[i]));
}
