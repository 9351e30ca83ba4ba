/** The operator's state without its I/O: its own tables and compiler, fed by hand, and only the nodes that they name are compiled again. */
import { Validator } from "../../src/api/index.ts";
import type { PolicyKind } from "../../src/api/index.ts";
import { SubjectCompiler, compileNode, readRouting } from "../../src/compile/index.ts";
import type { CidrGroup, NodePeer, NodeState } from "../../src/compile/index.ts";
import { Cluster } from "../../src/operator/cluster.ts";
import type { PolicyQuota } from "../../src/operator/policy-quota.ts";
import { PolicyBook } from "../../src/operator/policies.ts";
import type { PolicyObject } from "../../src/operator/policies.ts";
import type { IdentityRow, NamespaceRow, PodRow, ServiceRow, SliceRow } from "../../src/operator/rows.ts";
import { ServiceBook } from "../../src/operator/services.ts";

export type Change =
  | { readonly table: "pods"; readonly key: string; readonly value: PodRow | undefined }
  | { readonly table: "namespaces"; readonly key: string; readonly value: NamespaceRow | undefined }
  | { readonly table: "identities"; readonly key: string; readonly value: IdentityRow | undefined }
  | { readonly table: "groups"; readonly key: string; readonly value: CidrGroup | undefined }
  | { readonly table: "nodes"; readonly key: string; readonly value: NodePeer | undefined }
  | { readonly table: "services"; readonly key: string; readonly value: ServiceRow | undefined }
  | { readonly table: "slices"; readonly key: string; readonly value: SliceRow | undefined }
  | { readonly table: "policies"; readonly kind: PolicyKind; readonly key: string; readonly value: PolicyObject | undefined };

export function placeOf(change: Change): string {
  return change.table === "policies" ? `${change.kind}/${change.key}` : `${change.table}/${change.key}`;
}

const ROUTING = readRouting(() => undefined);

export interface ReplicaOptions {
  readonly quota?: PolicyQuota;
  readonly validator?: Validator;
  /** Gives wanted identities numbers at once, as the allocator does by the API server. */
  readonly numbers?: boolean;
}

export class Replica {
  readonly states = new Map<string, NodeState>();
  /** Nodes whose state may have changed since the last `compile`. */
  readonly dirty = new Set<string>();
  readonly cluster: Cluster;
  readonly policies: PolicyBook;
  readonly #services = new ServiceBook((...change) => this.policies.serviceChanged(...change));
  readonly #wanted = new Set<string>();
  readonly #rows = new Map<string, unknown>();
  readonly #compiler = new SubjectCompiler();
  readonly #options: ReplicaOptions;

  constructor(options: ReplicaOptions = {}) {
    this.#options = options;
    this.cluster = new Cluster({ nodeChanged: (node) => this.dirty.add(node), identityChanged: (key) => this.#wanted.add(key) });
    this.policies = new PolicyBook(options.validator ?? new Validator(), {
      policiesChanged: (_namespace, previous, current) => this.cluster.policyChanged(previous, current),
      policyChanged: () => undefined,
    }, options.quota);
  }

  apply(change: Change): void {
    const at = placeOf(change);
    const previous = this.#rows.get(at);
    if (change.value === undefined) this.#rows.delete(at);
    else this.#rows.set(at, change.value);
    if (change.table === "pods") this.cluster.podChanged(change.value, previous as PodRow | undefined);
    else if (change.table === "namespaces") this.cluster.namespaceChanged(change.key, change.value);
    else if (change.table === "nodes") this.#nodeChanged(change.key, change.value);
    else if (change.table === "services") this.#services.serviceChanged(change.key, change.value);
    else if (change.table === "slices") this.#services.sliceChanged(change.key, change.value, previous as SliceRow | undefined);
    else if (change.table === "groups") this.policies.groupChanged(change.key, change.value);
    else if (change.table === "identities") this.cluster.identityChanged(change.value, previous as IdentityRow | undefined);
    else this.policies.changed(change.kind, change.key, change.value);
    if (this.#options.numbers === true) this.#number();
  }

  /** Compiles what changed; the nodes that have another state now. */
  compile(): readonly string[] {
    const changed: string[] = [];
    for (const node of this.dirty) {
      const before = this.states.get(node);
      const state = this.#stateOf(node, this.#compiler);
      this.states.set(node, state);
      if (state !== before) changed.push(node);
    }
    this.dirty.clear();
    return changed;
  }

  /** The state of the node as nothing but the objects of now give it. */
  wholesale(node: string): NodeState {
    return this.#stateOf(node, new SubjectCompiler());
  }

  #nodeChanged(name: string, value: NodePeer | undefined): void {
    this.policies.nodeChanged(name, value);
    this.cluster.hostChanged(name, value?.labels);
  }

  #stateOf(node: string, compiler: SubjectCompiler): NodeState {
    const { identities, hosts } = this.cluster;
    return compileNode({ identities: identities.labels, policies: this.policies.effective, subjects: new Map([[node, this.cluster.subjects(node)]]), hosts }, node, ROUTING, compiler);
  }

  #number(): void {
    for (const key of this.#wanted) {
      const labels = this.cluster.wanted(key);
      const number = labels === undefined || this.cluster.identities.numberOf(key) !== undefined ? undefined : this.cluster.identities.nextFree();
      if (labels !== undefined && number !== undefined) this.cluster.identityChanged({ number, labels, uid: "" }, undefined);
    }
    this.#wanted.clear();
  }
}
