/**
 * The agent, in the order in which it starts. Nothing of the node is torn down when it stops: programs, maps, routes
 * and links go on as they are.
 *
 *   API server ─▶ Tables, NodeStateReader ─▶ LocalState ─▶ Enforcer ─▶ MapApplier ─▶ kernel
 *                          │                                  ▲  │
 *   plugin ─▶ CniServer ─▶ CniOperations ─▶ PodLinks ─────────┘  ├─▶ Writers: acknowledgement, CiliumEndpoint
 *                                                                └─▶ Change ─▶ ADDs that wait
 */
import { join } from "node:path";
import { CniServer, installConflist, replayDeletes } from "../cni/index.ts";
import { NodeStateReader } from "../feed/index.ts";
import type { ReadFailure } from "../feed/index.ts";
import { PODS } from "../kube/index.ts";
import { asError } from "../lib/errors.ts";
import { logFailure } from "../lib/log.ts";
import type { Component } from "../lib/lifecycle.ts";
import type { Logger } from "../lib/log.ts";
import { queueObserver } from "../lib/metrics.ts";
import type { QueueObserver } from "../lib/queue.ts";
import { EchoSockets, watchLosses } from "../kernel/index.ts";
import type { Loss } from "../kernel/index.ts";
import { AgentMetrics } from "./agent-metrics.ts";
import { openCluster } from "./cluster-access.ts";
import type { ClusterAccess } from "./cluster-access.ts";
import type { AgentConfig } from "./config.ts";
import { Core } from "./core.ts";
import { EventPump } from "./events.ts";
import { collectFlows } from "./flow-collection.ts";
import { eventContext } from "./event-context.ts";
import { HealthServers } from "./health.ts";
import { InspectServer } from "./inspect.ts";
import { inspectSource } from "./inspect-source.ts";
import { awaitLocalNode, movedNode } from "./local-node.ts";
import { LostPrograms } from "./lost-programs.ts";
import { MonitorServer } from "./monitor.ts";
import { NodeNetwork } from "./node-network.ts";
import { decodePod, isPlacedAlike } from "./objects.ts";
import { NodeHealth } from "./node-health.ts";
import { NodePreflight } from "./preflight.ts";
import { startEncryption } from "./start-encryption.ts";
import type { RunningEncryption } from "./start-encryption.ts";
import { refusalsOf } from "./refusals.ts";
import { NodeRouting } from "./routing.ts";
import { Tables } from "./tables.ts";
import { Writers } from "./writers.ts";

const HOUSEKEEPING_MS = 30_000;
/** What others do to the node, and what is put right there, is seen after so long. */
const PREFLIGHT_AGAIN_MS = 300_000;
const REFRESH_GATHER_MS = 5;

export class Agent {
  readonly #config: AgentConfig;
  readonly #connect: typeof openCluster;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  readonly #metrics: AgentMetrics;
  readonly #observer: QueueObserver;
  #core: Core | undefined;
  #writers: Writers | undefined;
  #network: NodeNetwork | undefined;
  #routing: NodeRouting | undefined;
  #encryption: RunningEncryption | undefined;
  #health: NodeHealth | undefined;
  #unreadable: ReadFailure | undefined;
  /** What the agent follows on the API server. */
  #sources: readonly Pick<Component, "name" | "health">[] = [];
  #isStateSynced = false;
  #isServing = false;
  #refreshTimer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> = Promise.resolve();

  /** @param connect opens the API server: the pod's service account, unless a test has another way. */
  constructor(config: AgentConfig, logger: Logger, signal: AbortSignal, connect: typeof openCluster = openCluster) {
    this.#connect = connect;
    this.#config = config;
    this.#logger = logger;
    this.#signal = signal;
    this.#metrics = new AgentMetrics({
      map: (name) => this.#network?.port.map(name),
      fills: () => this.#core?.fills() ?? [],
      endpoints: () => ({ total: this.#core?.links.attachments.size ?? 0, ready: this.#core?.enforcer.report?.readyEndpoints.size ?? 0 }),
      appliedRevision: () => this.#core?.enforcer.assignment?.revision ?? 0,
      addresses: () => this.#addressFigures(),
      encryption: async () => await this.#encryption?.facts(),
      health: () => this.#health?.report(),
    });
    this.#observer = queueObserver(this.#metrics.metrics);
  }

  /** Resolves when pods can be attached. */
  async start(): Promise<void> {
    const { nodeName, paths } = this.#config;
    const health = new HealthServers({ config: this.#config, logger: this.#logger, render: () => this.#metrics.render(), notReady: () => this.#notReady() });
    await health.start();
    const cluster = await this.#connect(this.#config, this.#logger);
    const tables = new Tables({ transport: cluster.transport, logger: this.#logger, nodeName, encrypts: this.#config.encryption !== undefined, folder: join(paths.state, "tables") });
    this.#sources = tables.sources;
    await tables.start(this.#signal);
    const local = await awaitLocalNode(tables.node, this.#config, this.#logger, this.#signal);
    const preflight = new NodePreflight({ config: this.#config, logger: this.#logger, local: () => this.#core?.state.local ?? local, nodes: () => tables.nodes.objects.values() });
    await preflight.look();
    const network = await NodeNetwork.setUp({ config: this.#config, local, logger: this.#logger });
    this.#network = network;
    const core = this.#makeCore(cluster, tables, network, local);
    this.#core = core;
    this.#routing = new NodeRouting({ config: this.#config, core, network, logger: this.#logger, signal: this.#signal, onChanged: () => this.#writers?.node() });
    tables.identities.subscribe({ changed: (_, row, previous) => core.identities.changed(row, previous) });
    await core.restore();
    network.programs.allAttached();
    this.#follow(core, tables);
    await this.#readNodeState(cluster, core);
    this.#writers = this.#startWriters(cluster, core, tables, preflight);
    this.#encryption = await this.#startEncryption(core, tables, network);
    this.#health = this.#askOthers(core);
    const programs = new LostPrograms({ holders: [network, core.links], logger: this.#logger, onFailures: () => this.#routing?.touch(), signal: this.#signal });
    watchLosses((loss) => this.#lost(loss, core, programs, cluster), this.#signal).catch(logFailure(this.#logger, "watching what others take away ended"));
    await this.#serve(core, network, this.#routing);
    this.#housekeep(core);
    this.#keepLooking(core, preflight);
  }

  #makeCore(cluster: ClusterAccess, tables: Tables, network: NodeNetwork, local: Awaited<ReturnType<typeof awaitLocalNode>>): Core {
    return new Core({
      config: this.#config,
      logger: this.#logger,
      local,
      network,
      tables,
      fetchPod: async ({ namespace, name }, signal) => {
        const pod = await cluster.client.get(PODS, { namespace, name }, signal);
        return pod === undefined ? undefined : decodePod(pod);
      },
      isStateSynced: () => this.#isStateSynced,
      metrics: () => this.#metrics,
      onReport: () => {
        this.#tell(this.#core);
        this.#refreshSoon();
      },
      listener: {
        attached: (attachment) => this.#writers?.endpoint(attachment),
        detached: (attachment) => this.#writers?.endpoint(attachment),
      },
    });
  }

  /** Every table tells the parts that are made of it that it has moved. */
  #follow(core: Core, tables: Tables): void {
    const touch = (): void => (core.enforcer.touch(), core.change.notify());
    const moved = (name: "identities" | "nodes"): void => (core.state.moved(name), this.#health?.touch(), touch());
    tables.identities.subscribe({ changed: () => (moved("identities"), this.#refreshSoon()), synced: () => moved("identities") });
    tables.apiServers.subscribe({ changed: () => moved("nodes"), synced: () => moved("nodes") });
    tables.endpoints.subscribe({ changed: (_, row, previous) => void (core.state.endpointMoved(row, previous) && core.enforcer.touchPeers()), synced: touch });
    tables.nodes.subscribe({
      // What a node says of its encryption, again and again, says nothing of where its pods are.
      changed: (_, row, previous) => void (isPlacedAlike(row, previous) || (moved("nodes"), this.#routing?.touch())),
      synced: () => moved("nodes"),
    });
    tables.pods.subscribe({
      changed: (_, row, previous) => {
        if (JSON.stringify(row?.namedPorts) !== JSON.stringify(previous?.namedPorts)) {
          core.state.moved("attachments");
          core.enforcer.touch();
        }
        core.change.notify();
        this.#refreshSoon();
      },
      synced: () => core.enforcer.touch(),
    });
    tables.namespaces.subscribe({ changed: () => (core.change.notify(), this.#refreshSoon()) });
    tables.node.subscribe({
      changed: (_, row) => {
        const node = row === undefined ? undefined : movedNode(core.state.local, row, this.#config);
        if (node === undefined) return;
        if (node.podCidrs.join() !== core.state.local.podCidrs.join()) return this.#logger.error("the node's pod CIDRs have changed: restart the agent to serve the new ones", { now: node.podCidrs });
        core.state.local = node;
        moved("nodes");
        this.#writers?.node();
      },
    });
  }

  async #readNodeState(cluster: ClusterAccess, core: Core): Promise<void> {
    const reader = new NodeStateReader({
      transport: cluster.transport,
      logger: this.#logger,
      node: this.#config.nodeName,
      nodeUid: () => (core.state.local.uid === "" ? undefined : core.state.local.uid),
      path: join(this.#config.paths.state, "node-state.json"),
      onState: ({ state, revision, hash, origin }) => {
        this.#logger.info("node state", { revision, origin, subjects: state.subjects.size, ruleSets: state.ruleSets.size });
        this.#routing?.want(state.routing);
        core.enforcer.assign({ state, revision, hash });
      },
      onFailure: (failure) => {
        this.#unreadable = failure;
        core.enforcer.touch();
      },
      onSynced: () => {
        this.#isStateSynced = true;
        core.enforcer.touch();
      },
    });
    this.#sources = [...this.#sources, reader];
    await reader.start(this.#signal);
  }

  #startWriters(cluster: ClusterAccess, core: Core, tables: Tables, preflight: NodePreflight): Writers {
    const writers = new Writers({
      client: cluster.client,
      logger: this.#logger,
      nodeName: this.#config.nodeName,
      core,
      tables,
      preflight,
      refusals: () => refusalsOf(this.#sources),
      observer: this.#observer,
      encryption: () => this.#encryption?.known,
      routing: () => this.#routing?.status,
      isServing: () => this.#isServing && core.enforcer.report !== undefined,
    });
    writers.start(this.#signal);
    return writers;
  }

  #startEncryption(core: Core, tables: Tables, network: NodeNetwork): Promise<RunningEncryption> {
    return startEncryption({
      config: this.#config,
      network,
      tables,
      local: () => core.state.local,
      logger: this.#logger,
      observer: this.#observer,
      signal: this.#signal,
      onReport: () => this.#writers?.node(),
    });
  }

  #askOthers(core: Core): NodeHealth {
    const health = new NodeHealth({ echo: new EchoSockets(), logger: this.#logger, nowMs: () => performance.now(), current: () => core.state.healthPeers, onAnswer: (...answer) => this.#metrics.observeHealth(...answer) });
    health.run(this.#signal);
    return health;
  }

  async #serve(core: Core, network: NodeNetwork, routing: NodeRouting): Promise<void> {
    const { paths, cniBinPath: binPath, cniConfPath: confPath, cniExclusive: exclusive } = this.#config;
    const guarded = routing.run();
    core.enforcer.applyNow();
    await this.#monitor(core, network);
    await new InspectServer({ path: join(paths.run, "inspect.sock"), source: () => inspectSource(this.#config.nodeName, core, network, { encryption: async () => await this.#encryption?.facts(), routing: () => this.#routing?.facts(this.#health?.report()) }), logger: this.#logger }).listen();
    // No pod before the guard of nftables: what the programs leave to later judgement would reach local sockets unjudged.
    await guarded;
    await replayDeletes(join(paths.state, "cni-del"), core.operations, this.#logger);
    await new CniServer({ path: join(paths.run, "cni.sock"), handler: core.operations, logger: this.#logger }).listen();
    const aside = await installConflist({ confPath, binPath, plugin: paths.plugin, exclusive });
    this.#logger.info("serving", { setAside: aside });
    this.#isServing = true;
  }

  /** Somebody took away, or changed, what the node's network needs. */
  #lost(loss: Loss, core: Core, programs: LostPrograms, cluster: ClusterAccess): void {
    if (loss.of === "programs") return programs.lost(loss.device);
    if (loss.of === "pod" && !core.links.isAttached(loss.address)) return;
    // No answer comes to an address that is gone, and the silence would be waited out: the API server is asked anew.
    if (loss.of === "address" && core.state.local.internalIps.includes(loss.address)) cluster.transport.close();
    this.#routing?.touch();
    this.#encryption?.touch();
  }

  async #monitor(core: Core, network: NodeNetwork): Promise<void> {
    const { nodeName, paths, monitorVerdicts } = this.#config;
    const monitor = new MonitorServer({ path: join(paths.run, "monitor.sock"), node: nodeName, now: () => new Date(), onLost: (count) => this.#metrics.eventsLost("client-buffer", count) });
    await monitor.listen();
    const pump = new EventPump({
      port: network.port,
      monitor,
      context: eventContext(nodeName, core),
      verdicts: monitorVerdicts,
      onRead: (count) => this.#metrics.eventsRead(count),
      onLost: (where, count) => this.#metrics.eventsLost(where, count),
    });
    pump.run(this.#signal).catch(logFailure(this.#logger, "reading events ended"));
  }

  #housekeep(core: Core): void {
    this.#lookAtMaps(core);
    const timer = setInterval(() => {
      core.enforcer.sweep();
      this.#lookAtMaps(core);
      core.operations.sweep().catch(logFailure(this.#logger, "sweeping attachments"));
      replayDeletes(join(this.#config.paths.state, "cni-del"), core.operations, this.#logger).catch(logFailure(this.#logger, "replaying kept DELs"));
    }, HOUSEKEEPING_MS);
    this.#signal.addEventListener("abort", () => clearInterval(timer), { once: true });
    collectFlows({ flows: core.flows, logger: this.#logger, signal: this.#signal, onWalked: () => this.#tell(core) }).catch(logFailure(this.#logger, "collecting flows ended"));
  }

  /** At once, as serving has set other network configurations aside, and then now and again. */
  #keepLooking(core: Core, preflight: NodePreflight): void {
    const look = (): void => {
      preflight.look().then((isNew) => {
        if (!isNew || this.#signal.aborted) return;
        this.#tell(core);
        this.#writers?.condition();
      }).catch(logFailure(this.#logger, "telling what preflight found"));
    };
    look();
    const timer = setInterval(look, PREFLIGHT_AGAIN_MS);
    this.#signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  #lookAtMaps(core: Core): void {
    core.programMaps.look(() => (this.#isStateSynced ? core.enforcer.assignment?.state : undefined), process.hrtime.bigint())
      .catch(logFailure(this.#logger, "counting what the programs keep"))
      .then(() => this.#tell(core))
      .catch(logFailure(this.#logger, "telling how full the maps are"));
  }

  /** The acknowledgement and what else readers look at, when it is another than the last. */
  #tell(core: Core | undefined): void {
    const { report, assignment } = core?.enforcer ?? {};
    if (report !== undefined && assignment !== undefined) this.#writers?.reported(report, assignment, this.#unreadable);
  }

  #refreshSoon(): void {
    if (this.#refreshTimer !== undefined || this.#signal.aborted) return;
    this.#refreshTimer = setTimeout(() => {
      // One at a time: what changes meanwhile is looked at by the next.
      this.#refreshing = this.#refreshing
        .then(() => {
          this.#refreshTimer = undefined;
          return this.#refresh();
        })
        .catch((thrown: unknown) => this.#logger.error("identities of pods were not renewed", { error: asError(thrown) }));
    }, REFRESH_GATHER_MS);
  }

  async #refresh(): Promise<void> {
    for (const attachment of (await this.#core?.refreshIdentities()) ?? []) {
      this.#logger.info("identity changed", { pod: `${attachment.namespace}/${attachment.pod}`, identity: attachment.identity });
      this.#writers?.endpoint(attachment);
    }
  }

  #addressFigures(): { family: string; used: number; capacity: number }[] {
    const { ipv4, ipv6 } = this.#core?.addresses ?? {};
    return [["ipv4", ipv4] as const, ["ipv6", ipv6] as const].flatMap(([family, pool]) => (pool === undefined ? [] : [{ family, used: pool.used, capacity: pool.capacity }]));
  }

  /** Why the node cannot take pods now; undefined when it can. */
  #notReady(): string | undefined {
    if (this.#routing?.failure !== undefined) return `the node's routes and nftables: ${this.#routing.failure}`;
    const refused = refusalsOf(this.#sources).map(({ part, message }) => `; ${part}: ${message}`).join("");
    if (!this.#isServing) return `starting${refused}`;
    return this.#core?.enforcer.report === undefined ? `waiting for the operator's first state of this node${refused}` : undefined;
  }
}
