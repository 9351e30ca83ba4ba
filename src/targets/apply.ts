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
import { Identity, PEER_OWN } from "../kernel/gen/types.ts";
import { formatAddress } from "../lib/ip.ts";
import { HOST_IDENTITY } from "../compile/host.ts";
import { NAMESPACE_LABEL } from "../model/labels.ts";
import type { NodeState } from "../compile/state.ts";
import { AdmittedPeers, isKnown } from "./admitted.ts";
import type { PeerValue } from "./admitted.ts";
import type { ApplyReport, Applier, DesiredState, NodeRow, PartFailure, PartName, PartReport } from "./desired.ts";
import { EndpointsTarget, ownerOf } from "./endpoints.ts";
import type { EndpointRow as EndpointValue, EndpointsStep } from "./endpoints.ts";
import { Expander, contentId } from "./expand.ts";
import type { ContentId, Wanted } from "./expand.ts";
import { HostTarget } from "./host.ts";
import { cidrsTarget, ipcacheTarget, nodesTarget } from "./peers.ts";
import { PolicyTarget } from "./policy.ts";
import type { PolicyFailure, PolicyResult } from "./policy.ts";
import { PortClasses, numberRows } from "./ports.ts";
import type { PortClass } from "./ports.ts";
import { SelectorResolver, ofApiServer } from "./resolve.ts";
import { retain } from "./retain.ts";
import { withinShares } from "./shares.ts";
import type { Room } from "./shares.ts";

const OF_NAMESPACE = `${NAMESPACE_LABEL}=`;

export type MapName = "interfaces" | "endpoints" | "ipcache" | "cidrs" | "nodes" | "subjects" | "policy" | "blocks" | "host";

export interface ApplierOptions {
  readonly maps: Readonly<Record<MapName, BatchMap>>;
  /** Milliseconds of a clock that does not jump back. */
  readonly nowMs: () => number;
  /** See PolicyTarget: grows between two starts of the agent by more than one per policy change. */
  readonly firstGeneration: number;
  /** Writes what the node has open into the flows, of the addresses that are its own. */
  readonly rememberOpen: (isOwn: (address: Uint8Array) => boolean) => void;
}

export class MapApplier implements Applier {
  readonly #endpoints: EndpointsTarget;
  readonly #ipcache: MapReconciler<string, PeerValue>;
  readonly #cidrs: MapReconciler<string, PeerValue>;
  readonly #nodes: MapReconciler<string, NodeRow>;
  readonly #policy: PolicyTarget;
  readonly #host: HostTarget;
  readonly #resolver = new SelectorResolver();
  readonly #expander: Expander;
  readonly #classes = new PortClasses();
  readonly #peers = new AdmittedPeers(this.#classes);
  readonly #room: Room;
  #recovered = false;
  #slots: ReadonlyMap<number, number> = new Map();
  #lastState: NodeState | undefined;
  #lastEndpoints: DesiredState["endpoints"] | undefined;
  /** Some class of named ports may be no pod's any more. */
  #isRetireDue = false;

  constructor({ maps, nowMs, firstGeneration, rememberOpen }: ApplierOptions) {
    const rows = { equal: sameFields<PeerValue>, nowMs };
    this.#endpoints = new EndpointsTarget(maps, nowMs);
    this.#ipcache = new MapReconciler(ipcacheTarget(maps.ipcache), rows);
    this.#cidrs = new MapReconciler(cidrsTarget(maps.cidrs), rows);
    this.#nodes = new MapReconciler(nodesTarget(maps.nodes), { equal: sameFields<NodeRow>, nowMs });
    this.#expander = new Expander({ entries: maps.policy.maxEntries, blocks: maps.blocks.maxEntries });
    this.#room = { policy: maps.policy.maxEntries, blocks: maps.blocks.maxEntries };
    this.#policy = new PolicyTarget(maps, firstGeneration, nowMs);
    this.#host = new HostTarget(maps.host, () => rememberOpen((address) => this.#isOwn(address)), nowMs);
  }

  apply(desired: DesiredState): ApplyReport {
    this.#recover();
    const peers = this.#peers;
    peers.follow(desired);
    const rows = numberRows(desired.endpoints, this.#classes);
    const parts = new Parts();
    const prune = desired.synced;

    // Gone pods first: nothing may be judged for them while their address and rules go.
    if (prune) parts.removed("endpoints", this.#endpoints.prune(rows, this.#slots));
    // Then gone addresses, before the rules that know their identity: without an entry a pod's address is
    // unknown and so closed; with an entry and without rules, a deny would be missing.
    if (prune) parts.removed("ipcache", this.#ipcache.prune(peers));
    if (prune) parts.removed("ipcache", this.#withdrawOrphans(desired));
    // Nodes before their CIDRs and pods: a tunnelled packet is checked against them.
    parts.written("nodes", this.#nodes.put(desired.nodes));
    // Pod CIDRs before pods: they keep an unknown pod from being taken for the outside.
    parts.written("cidrs", this.#cidrs.put(desired.cidrs));
    // Rules before the addresses that carry their identities and classes.
    const state = retain(desired.nodeState, this.#lastState, identitiesOf(desired));
    this.#lastState = state;
    const subjects = this.#subjects(state, rows.values());
    const policy = this.#applyPolicy(state, subjects, desired);
    parts.policy(policy, subjects);
    // Addresses before pods: a new pod is judged with all that is known.
    const reachable = this.#ipcache.put(peers);
    parts.written("ipcache", reachable);
    // Pods last, each with the slot of rules that are in force; without one it stays closed.
    const slots = prune ? only(policy.slots, subjects) : policy.slots;
    const endpoints = this.#endpoints.put(rows, slots);
    parts.written("endpoints", endpoints);
    // The node itself, as a pod: after its rules, before the slot of those that it has no more goes.
    const againMs = this.#putHost(state, slots, prune, parts);
    // Slots of owners that are here no more: no pod in the kernel refers to one.
    if (prune) parts.refused("policy", this.#policy.release(new Set(subjects.keys())), subjects);
    // Classes that no row in the kernel carries any more, as their pods have another identity or are gone.
    this.#isRetireDue ||= peers.takeNamesWent() || desired.endpoints !== this.#lastEndpoints;
    this.#lastEndpoints = desired.endpoints;
    if (prune && this.#isRetireDue && reachable.failures.length + endpoints.failures.length === 0 && this.#retireClasses(rows)) {
      parts.policy(this.#applyPolicy(state, subjects, desired), subjects);
    }
    this.#slots = this.#policy.slots();
    // What gone pods' addresses referred to, in reverse.
    if (prune) parts.removed("cidrs", this.#cidrs.prune(desired.cidrs));
    if (prune) parts.removed("nodes", this.#nodes.prune(desired.nodes));

    return {
      ...parts.report(),
      enforced: enforcedOf(policy, subjects, desired),
      withheldPeers: peers.withheld,
      readyEndpoints: readyEndpoints(rows, slots, endpoints),
      ...(againMs === undefined ? {} : { againMs }),
    };
  }

  invalidate(): void {
    this.#recovered = false;
    for (const part of [this.#endpoints, this.#ipcache, this.#cidrs, this.#nodes, this.#host]) part.invalidate();
  }

  sweep(): number {
    return this.#recovered ? this.#policy.sweep() : 0;
  }

  entries(): ReadonlyMap<string, number> {
    if (!this.#recovered) return new Map();
    const peers = [["ipcache", this.#ipcache], ["cidrs", this.#cidrs], ["nodes", this.#nodes]] as const;
    return new Map([...this.#policy.entries(), ...this.#endpoints.entries(), ...peers.map(([name, part]) => [name, part.size] as const)]);
  }

  /** What the pods of a class of named ports call their ports; undefined: there is none. */
  portClass(number: number): PortClass | undefined {
    return this.#classes.of(number);
  }

  /** Where rules of the node cannot be written, what judged it stays. Returns how long it will not be judged yet. */
  #putHost({ subjects }: NodeState, slots: ReadonlyMap<number, number>, prune: boolean, parts: Parts): number | undefined {
    const slot = slots.get(HOST_IDENTITY);
    if (slot === undefined && (subjects.has(HOST_IDENTITY) || !prune)) return undefined;
    const { done, error, againMs } = this.#host.put(slot);
    parts.written("host", { done, failures: error === undefined ? [] : [{ key: "the node itself", error }] });
    return againMs;
  }

  /** Of this node, by what is known of addresses now. */
  #isOwn(address: Uint8Array): boolean {
    const { identity, flags = 0 } = this.#peers.get(formatAddress(address)) ?? {};
    return identity === Identity.HOST || (flags & PEER_OWN) !== 0;
  }

  #recover(): void {
    if (this.#recovered) return;
    this.#policy.recover();
    this.#slots = this.#policy.slots();
    this.#recovered = true;
  }

  /**
   * Addresses in the kernel whose identity or class no rule will know after this call. Where the kernel has what is
   * desired, both are known.
   */
  #withdrawOrphans({ identities }: DesiredState): StepResult<string> {
    const isOrphan = ({ identity, ports }: PeerValue): boolean => !isKnown(identities, identity) || (ports !== undefined && !this.#classes.has(identity, ports));
    return this.#ipcache.withdraw([...this.#ipcache.stale()].filter(([, row]) => isOrphan(row)).map(([address]) => address));
  }

  /** Who obeys what: every identity of the node state, and every class of its pods that are here. */
  #subjects(state: NodeState, rows: Iterable<EndpointValue>): Subjects {
    const subjects = new Map<number, SubjectOf>();
    for (const [identity, id] of state.subjects) subjects.set(identity, { identity, id, ports: undefined });
    for (const { identity, ports: number } of rows) {
      const id = state.subjects.get(identity);
      const ports = this.#classes.byIdentity.get(identity)?.find((one) => one.number === number);
      if (id !== undefined && ports !== undefined) subjects.set(ports.number, { identity, id, ports });
    }
    return subjects;
  }

  #applyPolicy(state: NodeState, subjects: Subjects, { identities, synced, isApiServerUnknown = false }: DesiredState): PolicyResult {
    const selectors = this.#resolver.resolve(state.selectors, identities);
    const audits = new Map([...subjects].flatMap(([owner, { identity, ports }]) => {
      const id = state.audits?.get(identity);
      return id === undefined ? [] : [[owner, { id, ports }] as const];
    }));
    const wanted = [...subjects.values(), ...audits.values()];
    const ruleSets = this.#expander.expand(state.ruleSets, wanted, selectors, this.#classes.byIdentity, isApiServerUnknown ? ofApiServer(state.selectors) : new Set());
    const contents = (owners: ReadonlyMap<number, Wanted>): ReadonlyMap<number, ContentId> => new Map([...owners].map(([owner, { id, ports }]) => [owner, contentId(id, state.ruleSets.get(id), ports)]));
    const [enforced, watched] = [contents(subjects), contents(audits)];
    const claims = [...enforced, ...watched].map(([owner, id]) => [namespaceOf(identities.get(subjects.get(owner)?.identity ?? 0)), id] as const);
    return this.#policy.apply({ subjects: enforced, audits: watched, ruleSets: withinShares(claims, ruleSets, this.#room), isComplete: synced });
  }

  #retireClasses(rows: ReadonlyMap<string, EndpointValue>): boolean {
    this.#isRetireDue = false;
    if (this.#classes.byIdentity.size === 0) return false;
    const carried = new Set<number>();
    for (const all of [this.#peers, rows]) for (const [, { ports }] of all) if (ports !== undefined) carried.add(ports);
    return this.#classes.retain(carried) > 0;
  }
}

/** By owner: an identity or a class. */
type Subjects = ReadonlyMap<number, SubjectOf>;

interface SubjectOf extends Wanted {
  readonly identity: number;
  readonly ports: PortClass | undefined;
}

/** Identities of the node state, all owners of which obey it. */
function enforcedOf(policy: PolicyResult, subjects: Subjects, { nodeState }: DesiredState): ReadonlySet<number> {
  const failed = new Set([...subjects].filter(([owner]) => !policy.enforced.has(owner)).map(([, { identity }]) => identity));
  return new Set([...nodeState.subjects.keys()].filter((identity) => !failed.has(identity)));
}

/** "" of nodes and of whom nothing is known. */
function namespaceOf(labels: readonly string[] = []): string {
  return labels.find((label) => label.startsWith(OF_NAMESPACE))?.slice(OF_NAMESPACE.length) ?? "";
}

function identitiesOf({ endpoints }: DesiredState): ReadonlySet<number> {
  return new Set([...endpoints.values()].map(({ identity }) => identity));
}

function only<K, V>(map: ReadonlyMap<K, V>, keys: ReadonlyMap<K, unknown>): ReadonlyMap<K, V> {
  return new Map([...map].filter(([key]) => keys.has(key)));
}

function readyEndpoints(rows: ReadonlyMap<string, EndpointValue>, slots: ReadonlyMap<number, number>, { failures }: EndpointsStep): ReadonlySet<string> {
  const failed = new Set(failures.map(({ key }) => key));
  const ready = [...rows].filter(([key, row]) => slots.has(ownerOf(row)) && !failed.has(key));
  return new Set(ready.map(([key]) => key));
}

/** Of entries that fail for one reason. */
const MOST_NAMED = 3;

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

  policy(result: PolicyResult, subjects: Subjects): void {
    const part = this.#of("policy");
    part.written += result.written;
    part.removed += result.removed;
    this.refused("policy", result.failures, subjects);
  }

  refused(part: PartName, failures: readonly PolicyFailure[], subjects: Subjects): void {
    for (const { owners, error } of failures) {
      const identities = [...new Set(owners.flatMap((owner) => subjects.get(owner)?.identity ?? []))];
      this.#of(part).failures.push({ subject: identities.map((identity) => `identity ${identity}`).join(", "), identities, error });
    }
  }

  #fail(part: PartName, failures: StepResult<string>["failures"]): void {
    // What is left out of a full map is one failure, with the numbers.
    for (const [error, all] of Map.groupBy(failures, (failure) => failure.error)) {
      const keys = all.map(({ key }) => key);
      const subject = keys.length > MOST_NAMED ? `${keys.slice(0, MOST_NAMED).join(", ")} and ${keys.length - MOST_NAMED} more` : keys.join(", ");
      this.#of(part).failures.push({ subject, identities: [], error });
    }
  }

  report(): { readonly ok: boolean; readonly parts: readonly PartReport[] } {
    const parts = [...this.#parts].map(([part, counts]) => ({ part, ok: counts.failures.length === 0, ...counts }));
    return { ok: parts.every(({ ok }) => ok), parts };
  }
}
