/**
 * The operator of one process: follows every source from the start, so that a standby takes over warm, and writes only
 * while it leads and only after every source has synced.
 *
 *   pods, namespaces ─> Cluster ──────┬─> identities queue ──> CiliumIdentity
 *   CiliumIdentity ───────┘           ├─> nodes queue ───────> CiliumNodeState of a node
 *   policies of all kinds ─> PolicyBook ┘      │ marks
 *   CiliumEndpoint, acknowledgements, agents ──┴─────────────> policies queue ─> status and Events of a policy
 */
import { join } from "node:path";
import { CRDS_DIRECTORY, SLICES_WITHOUT_PODS, Validator, readCrds } from "../api/index.ts";
import type { CiliumNetworkPolicy, ClusterNetworkPolicy, CustomResourceDefinition, NetworkPolicy } from "../api/index.ts";
import type { CiliumRouting } from "../api/gen/ciliumroutings.ts";
import type { CiliumEncryption } from "../api/gen/ciliumencryptions.ts";
import { DEFAULT_OBJECT } from "../compile/index.ts";
import type { CidrGroup, EncryptionDecision, PolicyOptions, RoutingDecision } from "../compile/index.ts";
import { NodeStateWriter } from "../feed/index.ts";
import {
  CILIUM_CIDR_GROUPS,
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_ENCRYPTIONS,
  CILIUM_ROUTINGS,
  CILIUM_ENDPOINTS,
  CILIUM_IDENTITIES,
  CILIUM_NETWORK_POLICIES,
  CILIUM_NODES,
  CILIUM_NODE_STATES,
  CLUSTER_NETWORK_POLICIES,
  CRDS,
  ENDPOINT_SLICES,
  NAMESPACES,
  NETWORK_POLICIES,
  NODES,
  PODS,
  SERVICES,
} from "../kube/index.ts";
import type { KubeAccess } from "../kube/access.ts";
import { SafeOperator } from "../kube/operator.ts";
import type { EventRecorder, KubeClient, Leadership, Source } from "../kube/index.ts";
import { sleep } from "../lib/backoff.ts";
import { canonicalJson } from "../lib/hash.ts";
import type { Health } from "../lib/lifecycle.ts";
import { OK } from "../lib/lifecycle.ts";
import type { Logger } from "../lib/log.ts";
import { WorkQueue } from "../lib/queue.ts";
import type { QueueObserver } from "../lib/queue.ts";
import { Cluster } from "./cluster.ts";
import { DefaultObjectKeeper } from "./default-object.ts";
import type { NodeSources } from "./default-object.ts";
import { defaultEncryption } from "./encryption.ts";
import { IdentityAllocator, IdentityCollector } from "./identities.ts";
import { NodeStates } from "./node-states.ts";
import { PolicyBook } from "./policies.ts";
import { PolicyStatuses, STATUS_GATHER_MS, STATUS_INTERVAL_MS } from "./policy-statuses.ts";
import { PolicyWarnings } from "./policy-warnings.ts";
import { decodeAgent, decodeCidrGroup, decodeCiliumNode, decodeEndpoint, decodeIdentity, decodeNamespace, decodeNode, decodeNodeState, decodePod, decodeService, decodeSlice, nodePeer } from "./rows.ts";
import type { AgentRow, CiliumNodeReport, EndpointRow, IdentityRow, NamespaceRow, NodeRow, NodeStateRow, PodRow, ServiceRow, SliceRow } from "./rows.ts";
import { RoutingBook, defaultRouting } from "./routing.ts";
import { ServiceBook } from "./services.ts";
import { Agents, EndpointCounts, Standings } from "./standings.ts";

export interface CiliumOperatorOptions {
  readonly access: KubeAccess;
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly events: EventRecorder;
  readonly observer: QueueObserver;
  /** Namespace of the agents' pods. */
  readonly namespace: string;
  readonly createCrds: boolean;
  readonly routing: RoutingDecision;
  /** undefined: none. */
  readonly encryption: EncryptionDecision | undefined;
  readonly policyOptions: PolicyOptions;
  readonly identityQuietMs: number;
}

interface Sources {
  readonly pods: Source<PodRow>;
  readonly namespaces: Source<NamespaceRow>;
  readonly nodes: Source<NodeRow>;
  readonly identities: Source<IdentityRow>;
  readonly endpoints: Source<EndpointRow>;
  readonly policies: Source<CiliumNetworkPolicy>;
  readonly clusterwide: Source<CiliumNetworkPolicy>;
  readonly networkPolicies: Source<NetworkPolicy>;
  readonly clusterPolicies: Source<ClusterNetworkPolicy>;
  readonly cidrGroups: Source<CidrGroup>;
  readonly services: Source<ServiceRow>;
  readonly slices: Source<SliceRow>;
  readonly states: Source<NodeStateRow>;
  readonly agents: Source<AgentRow>;
  readonly encryptions: Source<CiliumEncryption>;
  readonly routings: Source<CiliumRouting>;
  readonly ciliumNodes: Source<CiliumNodeReport>;
}

/** The queues of one leadership. */
interface Work {
  readonly identities: WorkQueue;
  readonly nodes: WorkQueue;
  readonly policies: WorkQueue;
  readonly encryption: WorkQueue;
  readonly routing: WorkQueue;
}

const COLLECT_INTERVAL_MS = 30_000;
const WRITERS = 8;
/** A cluster that never rests gets its statuses after this long, however its nodes stand. */
const FIRST_PASS_MS = 30_000;

const OWN_GROUP = "cilium.io";
const OPERATOR = "cilium-operator";
/** Label of a definition: who made it. */
const MANAGED_BY = "app.kubernetes.io/managed-by";

export class CiliumOperator extends SafeOperator {
  readonly #options: CiliumOperatorOptions;
  readonly #cluster: Cluster;
  readonly #policies: PolicyBook;
  readonly #services = new ServiceBook((...change) => this.#policies.serviceChanged(...change));
  readonly #warnings: PolicyWarnings;
  readonly #counts = new EndpointCounts();
  readonly #agents = new Agents();
  #sources: Sources | undefined;
  #work: Work | undefined;
  #nodeStates: NodeStates | undefined;

  constructor(options: CiliumOperatorOptions) {
    super({ access: options.access, client: options.client, logger: options.logger, fieldManager: OPERATOR });
    this.#options = options;
    this.#cluster = new Cluster({
      nodeChanged: (node) => this.#work?.nodes.add(node),
      identityChanged: (key) => this.#work?.identities.add(key),
    });
    this.#policies = new PolicyBook(new Validator(), {
      policiesChanged: (_namespace, previous, current) => this.#cluster.policyChanged(previous, current),
      policyChanged: (key) => this.#addPolicy(key),
    });
    const onDenials = (namespace: string): void => this.#addAll(namespace === "" ? this.#policies.keys() : this.#policies.keysOf(namespace));
    this.#warnings = new PolicyWarnings({ policyOptions: options.policyOptions, policies: () => this.#policies.effective, onDenials });
  }

  /** Follows all sources; called by the base class's start(). */
  protected override async init(): Promise<void> {
    const sources: Sources = {
      namespaces: await this.follow({ type: NAMESPACES, decode: decodeNamespace }),
      nodes: await this.follow({ type: NODES, decode: decodeNode }),
      pods: await this.follow({ type: PODS, decode: decodePod }),
      identities: await this.follow({ type: CILIUM_IDENTITIES, decode: decodeIdentity }),
      endpoints: await this.follow({ type: CILIUM_ENDPOINTS, decode: decodeEndpoint }),
      policies: await this.follow({ type: CILIUM_NETWORK_POLICIES, decode: (policy) => policy }),
      clusterwide: await this.follow({ type: CILIUM_CLUSTERWIDE_NETWORK_POLICIES, decode: (policy) => policy }),
      networkPolicies: await this.follow({ type: NETWORK_POLICIES, decode: (policy) => policy }),
      clusterPolicies: await this.follow({ type: CLUSTER_NETWORK_POLICIES, decode: (policy) => policy }),
      cidrGroups: await this.follow({ type: CILIUM_CIDR_GROUPS, decode: decodeCidrGroup }),
      services: await this.follow({ type: SERVICES, decode: decodeService }),
      slices: await this.follow({ type: ENDPOINT_SLICES, labelSelector: SLICES_WITHOUT_PODS, decode: decodeSlice }),
      states: await this.follow({ type: CILIUM_NODE_STATES, decode: decodeNodeState }),
      agents: await this.follow({ type: PODS, namespace: this.#options.namespace, labelSelector: "k8s-app=cilium", decode: decodeAgent }),
      encryptions: await this.follow({ type: CILIUM_ENCRYPTIONS, decode: (object) => object }),
      routings: await this.follow({ type: CILIUM_ROUTINGS, decode: (object) => object }),
      ciliumNodes: await this.follow({ type: CILIUM_NODES, decode: decodeCiliumNode }),
    };
    this.#sources = sources;
    if (this.#options.createCrds) this.#createAbsentCrds();
    sources.namespaces.subscribe({ changed: (name, value) => (this.#cluster.namespaceChanged(name, value), this.#addPoliciesOf(name)) });
    sources.identities.subscribe({ changed: (_key, value, previous) => this.#identityChanged(value, previous) });
    sources.pods.subscribe({ changed: (_key, value, previous) => this.#cluster.podChanged(value, previous) });
    sources.policies.subscribe({ changed: (key, value) => this.#policies.changed("CiliumNetworkPolicy", key, value) });
    sources.clusterwide.subscribe({ changed: (key, value) => this.#policies.changed("CiliumClusterwideNetworkPolicy", key, value) });
    sources.networkPolicies.subscribe({ changed: (key, value) => this.#policies.changed("NetworkPolicy", key, value) });
    sources.clusterPolicies.subscribe({ changed: (key, value) => this.#policies.changed("ClusterNetworkPolicy", key, value) });
    sources.cidrGroups.subscribe({ changed: (name, value) => this.#policies.groupChanged(name, value) });
    sources.services.subscribe({ changed: (key, value) => this.#services.serviceChanged(key, value) });
    sources.slices.subscribe({ changed: (key, value, previous) => this.#services.sliceChanged(key, value, previous) });
    sources.nodes.subscribe({ changed: (node, value) => (this.#warnings.nodeChanged(node, value), this.#cluster.hostChanged(node, value && (value.labels ?? {})), this.#work?.nodes.add(node), this.#addDefaults(), this.#nodeChanged(node, sources)) });
    // Which object speaks for a node, and so what each says of itself, depends on all of them.
    sources.encryptions.subscribe({ changed: () => this.#addEncryptions() });
    sources.routings.subscribe({ changed: (_name, value, previous) => this.#routingChanged(value, previous) });
    sources.ciliumNodes.subscribe({ changed: (node) => (this.#addDefaults(), this.#nodeChanged(node, sources)) });
    sources.endpoints.subscribe({ changed: (_key, value, previous) => this.#endpointChanged(value, previous) });
    sources.states.subscribe({ changed: (name, value, previous) => this.#stateChanged(name, value, previous) });
    sources.agents.subscribe({ changed: (key, value, previous) => this.#agentChanged(key, value, previous) });
  }

  health(): Health {
    const sources = this.#sources;
    if (sources === undefined) return { level: "degraded", message: "starting", error: new Error("starting") };
    const all: readonly (readonly [string, Source<unknown>])[] = Object.entries(sources);
    const failing = all.map(([, source]) => source.health()).find(({ level }) => level !== "ok");
    if (failing !== undefined) return failing;
    const missing = all.find(([, source]) => !source.synced);
    if (missing === undefined) return OK;
    const message = `${missing[0]}: the API server has not listed them yet`;
    return { level: "degraded", message, error: new Error(message) };
  }

  /** Writes until the leadership ends. */
  async lead(leadership: Leadership): Promise<void> {
    const sources = this.#sources;
    if (sources === undefined) throw new Error("lead before start");
    if (this.#options.createCrds) await this.#applyCrds(leadership.signal, (crd) => this.#isOurs(crd, leadership.signal));
    for (const source of Object.values(sources)) await (source as Source<unknown>).whenSynced(leadership.signal);
    this.log.info("all sources synced, writing begins");
    try {
      await this.#run(sources, leadership);
    } finally {
      this.#work = undefined;
      this.#nodeStates = undefined;
    }
  }

  async #run(sources: Sources, leadership: Leadership): Promise<void> {
    const { client, events, routing, encryption, policyOptions, identityQuietMs } = this.#options;
    const told = { ...sources, unheard: (node: string) => this.#agents.problem(node) };
    const book = new RoutingBook(routing, encryption !== undefined, told);
    const { signal } = leadership;
    const nodeStates = new NodeStates({
      client,
      writer: new NodeStateWriter(client, this.log),
      cluster: this.#cluster,
      policies: this.#policies,
      nodes: sources.nodes,
      states: sources.states,
      routing: (node) => book.decisionOf(node),
      policyOptions,
      leadership,
      onMarks: (uids) => this.#addPolicies(uids),
    });
    const standings = new Standings({ endpoints: this.#counts, labels: this.#cluster.identities.labels, nodeStates, nodes: sources.nodes, states: sources.states, namespaces: sources.namespaces, policyOptions, agents: this.#agents });
    const statuses = new PolicyStatuses({ client, policies: this.#policies, standings, warnings: this.#warnings, events, now: () => new Date() });
    const work: Work = { identities: this.#queue("identities", 4, 0), nodes: this.#queue("nodes", WRITERS, 0), policies: this.#queue("policies", 4, STATUS_INTERVAL_MS), encryption: this.#queue("encryption", 1, STATUS_INTERVAL_MS), routing: this.#queue("routing", 1, STATUS_INTERVAL_MS) };
    this.#nodeStates = nodeStates;
    this.#work = work;
    this.#keepDefaults(told, book, work, signal);
    work.identities.run(new IdentityAllocator({ client, cluster: this.#cluster, events, logger: this.log }), signal);
    for (const key of this.#cluster.wantedKeys()) work.identities.add(key);
    await work.identities.idle();
    work.nodes.run(nodeStates, signal);
    for (const node of sources.nodes.objects.keys()) work.nodes.add(node);
    // A status needs to know what every node is told, or it would say 0 of 3 after each change of the leader.
    await Promise.race([work.nodes.idle(), sleep(FIRST_PASS_MS, signal)]);
    work.policies.run(statuses, signal);
    for (const key of this.#policies.keys()) work.policies.add(key);
    await this.#collectIdentities(new IdentityCollector({ client, cluster: this.#cluster, identities: sources.identities, endpoints: sources.endpoints, quietMs: identityQuietMs, logger: this.log }), signal);
  }

  #keepDefaults(sources: Sources & NodeSources, book: RoutingBook, work: Work, signal: AbortSignal): void {
    const { client, events, encryption, routing } = this.#options;
    const common = { client, events, now: () => new Date() };
    work.encryption.run(new DefaultObjectKeeper({ ...common, kept: defaultEncryption(encryption, routing, sources) }), signal);
    work.routing.run(new DefaultObjectKeeper({ ...common, kept: defaultRouting(routing, book, sources) }), signal);
    this.#addDefaults();
  }

  #nodeChanged(name: string, { nodes, ciliumNodes }: Sources): void {
    const node = nodes.objects.get(name);
    this.#policies.nodeChanged(name, node && nodePeer(node, ciliumNodes.objects.get(name)?.addresses ?? []));
  }

  #addDefaults(): void {
    this.#addEncryptions();
    this.#addRoutings();
  }

  #addEncryptions(): void {
    for (const name of new Set([DEFAULT_OBJECT, ...(this.#sources?.encryptions.objects.keys() ?? [])])) this.#work?.encryption.add(name);
  }

  #addRoutings(): void {
    for (const name of new Set([DEFAULT_OBJECT, ...(this.#sources?.routings.objects.keys() ?? [])])) this.#work?.routing.add(name);
  }

  /** Whose nodes another object speaks for now, says so; the nodes are told what holds for them. */
  #routingChanged(value: CiliumRouting | undefined, previous: CiliumRouting | undefined): void {
    this.#addRoutings();
    if (canonicalJson(value?.spec ?? null) === canonicalJson(previous?.spec ?? null)) return;
    for (const node of this.#sources?.nodes.objects.keys() ?? []) this.#work?.nodes.add(node);
  }

  async #collectIdentities(collector: IdentityCollector, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(Math.min(COLLECT_INTERVAL_MS, this.#options.identityQuietMs), signal);
      if (signal.aborted) return;
      try {
        await collector.collect(performance.now(), signal);
      } catch (thrown) {
        if (!signal.aborted) this.log.warn("identities not collected", { error: thrown });
      }
    }
  }

  /**
   * Every replica makes what is absent. While a version leads that does not know a kind, this one could not follow it
   * and would not become ready, so that the rollout that ends the other would wait for ever. What is there is changed
   * by the leader alone.
   */
  #createAbsentCrds(): void {
    const isAbsent = async ({ metadata }: CustomResourceDefinition): Promise<boolean> => (await this.client.get(CRDS, { name: metadata.name }, this.ended)) === undefined;
    this.#applyCrds(this.ended, isAbsent).catch((thrown: unknown) => {
      if (!this.ended.aborted) this.log.error("absent definitions not made", { error: thrown });
    });
  }

  /** Of a kind that is not our own, the definition may be somebody else's: it stays as it is. */
  async #isOurs({ metadata, spec }: CustomResourceDefinition, signal: AbortSignal): Promise<boolean> {
    if (spec.group === OWN_GROUP) return true;
    const there = await this.client.get(CRDS, { name: metadata.name }, signal);
    return there === undefined || there.metadata.labels?.[MANAGED_BY] === OPERATOR;
  }

  async #applyCrds(signal: AbortSignal, isWanted: (crd: CustomResourceDefinition) => Promise<boolean>): Promise<void> {
    for (const crd of readCrds()) {
      while (!signal.aborted) {
        try {
          if (await isWanted(crd)) await this.registerCustomResourceDefinition(join(CRDS_DIRECTORY, `${crd.spec.names.plural}.yaml`));
          break;
        } catch (thrown) {
          this.log.warn("definition not applied", { crd: crd.metadata.name, error: thrown });
          await sleep(1000, signal);
        }
      }
    }
  }

  #queue(name: string, concurrency: number, minIntervalMs: number): WorkQueue {
    return new WorkQueue({ name, logger: this.log, concurrency, minIntervalMs, observer: this.#options.observer, backoff: { firstMs: 50, maxMs: 15_000 } });
  }

  #identityChanged(value: IdentityRow | undefined, previous: IdentityRow | undefined): void {
    this.#cluster.identityChanged(value, previous);
    const labels = (value ?? previous)?.labels;
    const namespace = labels?.get("k8s:io.kubernetes.pod.namespace");
    if (namespace !== undefined) this.#addPoliciesOf(namespace);
  }

  #endpointChanged(value: EndpointRow | undefined, previous: EndpointRow | undefined): void {
    this.#counts.changed(value, previous);
    const namespace = (value ?? previous)?.namespace;
    if (namespace !== undefined) this.#addPoliciesOf(namespace);
  }

  /** An acknowledgement moves policies; a manifest or part that is not as we left it must be written again. */
  #stateChanged(name: string, value: NodeStateRow | undefined, previous: NodeStateRow | undefined): void {
    const row = value ?? previous;
    const nodeStates = this.#nodeStates;
    if (row === undefined || nodeStates === undefined) return;
    if (row.acknowledgement !== undefined) this.#acknowledged(row.node, nodeStates);
    else if (nodeStates.isDisturbed(name, row, value)) this.#work?.nodes.add(row.node);
  }

  #acknowledged(node: string, nodeStates: NodeStates): void {
    // Another version of the agent may read what this one could not be told, or not what that one was.
    if (nodeStates.refusal(node) !== undefined || nodeStates.isUnread(node)) this.#work?.nodes.add(node);
    const marks = nodeStates.records.get(node)?.document.marks;
    if (marks === undefined) return;
    this.#addPolicies(marks.keys());
    // A policy that left the node is remembered until that is acknowledged: now it can be forgotten.
    if ([...marks.values()].some((mark) => mark.removed)) this.#work?.nodes.add(node);
  }

  #agentChanged(key: string, value: AgentRow | undefined, previous: AgentRow | undefined): void {
    this.#agents.changed(key, value, previous);
    this.#addDefaults();
    for (const row of [value, previous]) {
      if (row !== undefined) this.#addPolicies(this.#nodeStates?.records.get(row.node)?.document.marks.keys() ?? []);
    }
  }

  /** Those that may select a pod of the namespace, or wait for it as a peer. */
  #addPoliciesOf(namespace: string): void {
    for (const where of [namespace, ""]) this.#addAll(this.#policies.keysOf(where));
    this.#addPolicies(this.#cluster.policiesReaching(namespace));
  }

  #addPolicies(uids: Iterable<string>): void {
    for (const uid of uids) {
      const key = this.#policies.keyOfUid(uid);
      if (key !== undefined) this.#addPolicy(key);
    }
  }

  #addAll(keys: Iterable<string>): void {
    for (const key of keys) this.#addPolicy(key);
  }

  #addPolicy(key: string): void {
    this.#work?.policies.addAfter(key, STATUS_GATHER_MS);
  }
}
