/**
 * The write order of everything that a node enforces, in one function.
 *
 * Rule of thumb: whoever refers is written after what it refers to and removed before it, and an address
 * carries an identity only while the rules that know this identity are in the kernel.
 */
import { MapReconciler } from "../reconcile/reconciler.ts";
import type { StepResult } from "../reconcile/reconciler.ts";
import { sameFields } from "../reconcile/target.ts";
import type { BatchMap } from "../kernel/port.ts";
import type { NodeState } from "../compile/state.ts";
import type { ApplyReport, Applier, DesiredState, NodeRow, PartFailure, PartName, PartReport, PeerRow } from "./desired.ts";
import { EndpointsTarget } from "./endpoints.ts";
import type { EndpointsStep } from "./endpoints.ts";
import { Expander } from "./expand.ts";
import { cidrsTarget, ipcacheTarget, nodesTarget } from "./peers.ts";
import { PolicyTarget } from "./policy.ts";
import type { PolicyFailure, PolicyResult } from "./policy.ts";
import { RESERVED_LABELS, SelectorResolver } from "./resolve.ts";
import { retain } from "./retain.ts";

export type MapName = "interfaces" | "endpoints" | "ipcache" | "cidrs" | "nodes" | "subjects" | "policy";

export interface ApplierOptions {
  readonly maps: Readonly<Record<MapName, BatchMap>>;
  /** Milliseconds of a clock that does not jump back. */
  readonly nowMs: () => number;
  /** See PolicyTarget: grows between two starts of the agent by more than one per policy change. */
  readonly firstGeneration: number;
}

export class MapApplier implements Applier {
  readonly #endpoints: EndpointsTarget;
  readonly #ipcache: MapReconciler<string, PeerRow>;
  readonly #cidrs: MapReconciler<string, PeerRow>;
  readonly #nodes: MapReconciler<string, NodeRow>;
  readonly #policy: PolicyTarget;
  readonly #resolver = new SelectorResolver();
  readonly #expander = new Expander();
  #recovered = false;
  #slots: ReadonlyMap<number, number> = new Map();
  #lastState: NodeState | undefined;
  /** No address in the kernel has an identity that is not one of these. */
  #cleanFor: DesiredState["identities"] | undefined;
  #admitted: { readonly from: DesiredState; readonly peers: ReadonlyMap<string, PeerRow>; readonly withheld: readonly string[] } | undefined;

  constructor({ maps, nowMs, firstGeneration }: ApplierOptions) {
    const rows = { equal: sameFields<PeerRow>, nowMs };
    this.#endpoints = new EndpointsTarget(maps, nowMs);
    this.#ipcache = new MapReconciler(ipcacheTarget(maps.ipcache), rows);
    this.#cidrs = new MapReconciler(cidrsTarget(maps.cidrs), rows);
    this.#nodes = new MapReconciler(nodesTarget(maps.nodes), { equal: sameFields<NodeRow>, nowMs });
    this.#policy = new PolicyTarget(maps, firstGeneration, nowMs);
  }

  apply(desired: DesiredState): ApplyReport {
    this.#recover();
    const { peers, withheld } = this.#admit(desired);
    const parts = new Parts();
    const prune = desired.synced;

    // Gone pods first: nothing may be judged for them while their address and rules go.
    if (prune) parts.removed("endpoints", this.#endpoints.prune(desired.endpoints, this.#slots));
    // Then gone addresses, before the rules that know their identity: without an entry a pod's address is
    // unknown and so closed; with an entry and without rules, a deny would be missing.
    if (prune) parts.removed("ipcache", this.#ipcache.prune(peers));
    if (prune) this.#withdrawOrphans(desired, parts);
    // Nodes before their CIDRs and pods: a tunnelled packet is checked against them.
    parts.written("nodes", this.#nodes.put(desired.nodes));
    // Pod CIDRs before pods: they keep an unknown pod from being taken for the outside.
    parts.written("cidrs", this.#cidrs.put(desired.cidrs));
    // Rules before the addresses that carry their identities.
    const state = retain(desired.nodeState, this.#lastState, identitiesOf(desired));
    this.#lastState = state;
    const policy = this.#applyPolicy(state, desired);
    parts.policy(policy);
    // Addresses before pods: a new pod is judged with all that is known.
    parts.written("ipcache", this.#ipcache.put(peers));
    // Pods last, each with the slot of rules that are in force; without one it stays closed.
    const slots = prune ? only(policy.slots, state.subjects) : policy.slots;
    const endpoints = this.#endpoints.put(desired.endpoints, slots);
    parts.written("endpoints", endpoints);
    // Slots of identities that are subjects no more: no pod in the kernel refers to one.
    if (prune) parts.refused("policy", this.#policy.release(new Set(state.subjects.keys())));
    this.#slots = this.#policy.slots();
    // What gone pods' addresses referred to, in reverse.
    if (prune) parts.removed("cidrs", this.#cidrs.prune(desired.cidrs));
    if (prune) parts.removed("nodes", this.#nodes.prune(desired.nodes));

    return {
      ...parts.report(),
      enforced: new Set([...policy.enforced].filter((identity) => desired.nodeState.subjects.has(identity))),
      withheldPeers: withheld,
      readyEndpoints: readyEndpoints(desired, slots, endpoints),
    };
  }

  invalidate(): void {
    this.#recovered = false;
    this.#cleanFor = undefined;
    for (const part of [this.#endpoints, this.#ipcache, this.#cidrs, this.#nodes]) part.invalidate();
  }

  sweep(): number {
    return this.#recovered ? this.#policy.sweep() : 0;
  }

  #recover(): void {
    if (this.#recovered) return;
    this.#policy.recover(this.#endpoints.slots());
    this.#slots = this.#endpoints.slots();
    this.#recovered = true;
  }

  /** Peers whose identity is known; the others stay out, and so closed, until it is. */
  #admit(desired: DesiredState): { readonly peers: ReadonlyMap<string, PeerRow>; readonly withheld: readonly string[] } {
    const last = this.#admitted;
    if (last?.from.peers === desired.peers && last.from.identities === desired.identities) return last;
    const withheld = [...desired.peers].filter(([, { identity }]) => !isKnown(desired, identity)).map(([address]) => address);
    const outside = new Set(withheld);
    const peers = outside.size === 0 ? desired.peers : new Map([...desired.peers].filter(([address]) => !outside.has(address)));
    this.#admitted = { from: desired, peers, withheld };
    return this.#admitted;
  }

  /** Addresses in the kernel whose identity no rule will know after this call. Only admitted peers are written later. */
  #withdrawOrphans(desired: DesiredState, parts: Parts): void {
    if (this.#cleanFor === desired.identities) return;
    const orphans = [...this.#ipcache.actual()].filter(([, { identity }]) => !isKnown(desired, identity)).map(([address]) => address);
    const result = this.#ipcache.withdraw(orphans);
    parts.removed("ipcache", result);
    if (result.failures.length === 0) this.#cleanFor = desired.identities;
  }

  #applyPolicy(state: NodeState, { identities, synced }: DesiredState): PolicyResult {
    const selectors = this.#resolver.resolve(state.selectors, identities);
    const ruleSets = this.#expander.expand(state.ruleSets, selectors);
    return this.#policy.apply({ subjects: state.subjects, ruleSets, isComplete: synced });
  }
}

function isKnown({ identities }: DesiredState, identity: number): boolean {
  return identity === 0 || RESERVED_LABELS.has(identity) || identities.has(identity);
}

function identitiesOf({ endpoints }: DesiredState): ReadonlySet<number> {
  return new Set([...endpoints.values()].map(({ identity }) => identity));
}

function only<K, V>(map: ReadonlyMap<K, V>, keys: ReadonlyMap<K, unknown>): ReadonlyMap<K, V> {
  return new Map([...map].filter(([key]) => keys.has(key)));
}

function readyEndpoints(desired: DesiredState, slots: ReadonlyMap<number, number>, { failures }: EndpointsStep): ReadonlySet<string> {
  const failed = new Set(failures.map(({ key }) => key));
  const ready = [...desired.endpoints].filter(([key, row]) => slots.has(row.identity) && !failed.has(key));
  return new Set(ready.map(([key]) => key));
}

/** Collects what each part did, from both of its steps. */
class Parts {
  readonly #parts = new Map<PartName, { written: number; removed: number; failures: PartFailure[] }>();

  #of(part: PartName): { written: number; removed: number; failures: PartFailure[] } {
    const known = this.#parts.get(part) ?? { written: 0, removed: 0, failures: [] };
    this.#parts.set(part, known);
    return known;
  }

  written(part: PartName, { done, failures }: StepResult<string>): void {
    this.#of(part).written += done;
    this.#fail(part, failures);
  }

  removed(part: PartName, { done, failures }: StepResult<string>): void {
    this.#of(part).removed += done;
    this.#fail(part, failures);
  }

  policy(result: PolicyResult): void {
    const part = this.#of("policy");
    part.written += result.written;
    part.removed += result.removed;
    this.refused("policy", result.failures);
  }

  refused(part: PartName, failures: readonly PolicyFailure[]): void {
    for (const { identities, error } of failures) {
      this.#of(part).failures.push({ subject: identities.map((identity) => `identity ${identity}`).join(", "), identities, error });
    }
  }

  #fail(part: PartName, failures: StepResult<string>["failures"]): void {
    for (const { key, error } of failures) this.#of(part).failures.push({ subject: key, identities: [], error });
  }

  report(): { readonly ok: boolean; readonly parts: readonly PartReport[] } {
    const parts = [...this.#parts].map(([part, counts]) => ({ part, ok: counts.failures.length === 0, ...counts }));
    return { ok: parts.every(({ ok }) => ok), parts };
  }
}
