/** A policy taken apart, whatever its kind: whom it selects, which directions it closes, what it allows and denies. */
import { ENFORCEMENT_KEY, isEnforcement } from "../api/enforcement.ts";
import type { Enforcement } from "../api/enforcement.ts";
import type { ApplicationParts, ApplicationReference } from "./application.ts";
import type { Direction, LabelPeers, NumberedPort, PeerSelector, PolicyRef, PortMatch, SelectorId, Verdict } from "./state.ts";
import { selectorId } from "./selectors.ts";

/** A rule before it has its number. */
export interface RuleDraft {
  readonly direction: Direction;
  readonly verdict: Exclude<Verdict, "audit">;
  /** Path inside the policy, such as `spec.ingress[0].toPorts[0]`. */
  readonly path: string;
  /** What the policy calls it; absent: nothing. */
  readonly name?: string | undefined;
  /** undefined: any peer. */
  readonly peer: SelectorId | undefined;
  readonly ports: readonly PortMatch[];
  /** What only a proxy can judge of it; absent: nothing. */
  readonly application?: ApplicationReference;
}

/** Where an administrator put a policy: before or behind those of the namespaces, and among its like. */
export interface Tier {
  readonly name: "admin" | "baseline";
  /** 0..1000; the smaller is asked first, of equal ones the first by name. */
  readonly priority: number;
}

/** One selection of subjects, of which a policy may have several. */
export interface PolicyDraft {
  readonly ref: PolicyRef;
  /** `spec` or `specs[1]`. */
  readonly path: string;
  readonly subject: LabelPeers;
  /** Directions that the policy closes for what no policy allows. */
  readonly enforces: ReadonlySet<Direction>;
  /** In a tier the earlier goes before the later. */
  readonly rules: readonly RuleDraft[];
  readonly tier?: Tier;
  readonly selectors: ReadonlyMap<SelectorId, PeerSelector>;
  /** What its rules refer to of such; absent: none does. */
  readonly application?: ApplicationParts;
  /** What the policy itself says; absent: nothing. */
  readonly enforcement?: Enforcement | undefined;
  /** Name of the policy of its kind and namespace in whose place it watches; absent: it watches beside all others. */
  readonly stages?: string;
  /** Where neither the policy nor its namespace says anything; absent: Enforce. */
  readonly otherwise?: Enforcement;
  /** What events that its rules decide carry. */
  readonly log?: string | undefined;
}

/** The nearest that says something decides: the policy, its namespace, the cluster. A namespace speaks for its own policies alone. */
export function isAudited({ ref, enforcement, otherwise = "Enforce" }: Pick<PolicyDraft, "ref" | "enforcement" | "otherwise">, namespace: (key: string) => string | undefined): boolean {
  const label = ref.namespace === "" ? undefined : namespace(ENFORCEMENT_KEY);
  return (enforcement ?? (isEnforcement(label) ? label : otherwise)) === "Audit";
}

export const ANY_PORT: NumberedPort = { protocol: 0, port: 0, prefix: 0 };

/** Collects the selectors of a policy: equal ones have one id. */
export class Selectors {
  readonly #byId = new Map<SelectorId, PeerSelector>();

  get all(): ReadonlyMap<SelectorId, PeerSelector> {
    return this.#byId;
  }

  /** Ids in order, each once; undefined, any peer, covers all others. */
  idsOf(peers: Iterable<PeerSelector | undefined>): readonly (SelectorId | undefined)[] {
    const ids = new Map<SelectorId, PeerSelector>();
    for (const peer of peers) {
      if (peer === undefined) return [undefined];
      ids.set(selectorId(peer), peer);
    }
    for (const [id, peer] of ids) this.#byId.set(id, peer);
    return [...ids.keys()].sort();
  }
}
