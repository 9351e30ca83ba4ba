/**
 * How this node routes: what the operator says of it, what is in force, and the order of the steps from one to the other,
 * in which no packet meets an entry without its route.
 */
import { isDeepStrictEqual } from "node:util";
import type { RoutingDecision } from "../compile/index.ts";
import { encryptedRouting, routingHash } from "../compile/index.ts";
import { CodedError, describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { WorkQueue } from "../lib/queue.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { AgentConfig } from "./config.ts";
import type { Core } from "./core.ts";
import { sentence } from "./encryption-plan.ts";
import type { RoutingFacts } from "../inspect/index.ts";
import type { HealthReport } from "./node-health.ts";
import type { NodeNetwork } from "./node-network.ts";
import type { RoutingStatus } from "./objects.ts";
import { TunnelSayings, between, reachAll, reachOf, reachingBy, saidMode } from "./reach.ts";
import type { Reached, Reaching } from "./reach.ts";

/** For as long may what others took from the node's network be missing, where nothing tells of it. */
const AGAIN_MS = 10_000;
const BACKOFF = { firstMs: 100, maxMs: AGAIN_MS };
const BURST_MS = 100;
/** After so long every other agent that runs has heard that this node sends through the tunnel. */
const FRESH_MS = 120_000;
/** Of a cluster's thousands; all would not be read. */
const FAILURES_NAMED = 10;
const NOT_SET_UP = "not set up yet";
const KEY = "routes";

export interface NodeRoutingOptions {
  readonly config: Pick<AgentConfig, "routing" | "encryption">;
  readonly core: Core;
  readonly network: NodeNetwork;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** What `status` says is another than it was. */
  readonly onChanged: () => void;
}

export class NodeRouting implements Reconciler {
  readonly #options: NodeRoutingOptions;
  readonly #queue: WorkQueue;
  readonly #guarded = Promise.withResolvers<void>();
  #wanted: RoutingDecision;
  #inForce: RoutingDecision;
  /** When the mode in force became what it is. */
  #sinceMs = performance.now();
  readonly #tunnelSayings = new TunnelSayings();
  #isRunning = false;
  #failure: string | undefined = NOT_SET_UP;
  /** Pod CIDRs of other nodes that are left out, or hold a node's address, in a sentence: told, and no reason that this node should not serve. */
  #refusedCidrs = "";

  constructor(options: NodeRoutingOptions) {
    this.#options = options;
    this.#wanted = options.config.routing;
    this.#inForce = options.config.routing;
    this.#queue = new WorkQueue({ name: KEY, logger: options.logger, minIntervalMs: BURST_MS, backoff: BACKOFF });
  }

  /** Why the node's routes and nftables are not as they must be; undefined: they are. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** undefined: nothing is in force yet. */
  get status(): RoutingStatus | undefined {
    if (this.#failure === NOT_SET_UP) return undefined;
    const message = [this.#failure, this.#refusedCidrs].filter((text) => text !== undefined && text !== "").join("; ") || undefined;
    return { settings: routingHash(this.#inForce), mode: saidMode(this.#inForce.mode), ...(message === undefined ? {} : { message }) };
  }

  /** For readers, with what is known of the other nodes' health; undefined: nothing is in force yet. */
  facts(health: HealthReport = { failure: undefined, peers: [] }): RoutingFacts | undefined {
    const { status } = this;
    if (status === undefined) return undefined;
    const { reaching } = this.#options.core.state;
    const peers = health.peers.map(({ name, probes }) => ({ peer: name, way: reachOf(reaching, name), probes }));
    const collator = new Intl.Collator("en", { numeric: true });
    return { mode: this.#inForce.mode, message: status.message, healthFailure: health.failure, peers: peers.sort((a, b) => collator.compare(a.peer, b.peer)) };
  }

  /** What the operator says of this node. The tunnel's port is all nodes', and the one with which this agent started. */
  want(decision: RoutingDecision): void {
    const { config, core } = this.#options;
    const wanted = encryptedRouting({ ...decision, tunnelPort: config.routing.tunnelPort }, config.encryption !== undefined);
    if (routingHash(wanted) === routingHash(this.#wanted)) return;
    this.#wanted = wanted;
    if (this.#isRunning) return this.touch();
    // Of before the agent started: nothing is changed over.
    if (this.#refusal() !== undefined) return;
    this.#inForce = wanted;
    core.state.reach(reachingBy(wanted.mode));
  }

  /** From here on it is kept. Resolves once the guard of nftables stands: no pod may start before. */
  async run(): Promise<void> {
    this.#isRunning = true;
    this.#queue.run(this, this.#options.signal);
    this.touch();
    await this.#guarded.promise;
  }

  /** Something that it depends on may have changed. */
  touch(): void {
    if (this.#isRunning) this.#queue.add(KEY);
  }

  /** A failure is tried again by the queue, and told until it is over. */
  async reconcile(): Promise<ReconcileResult> {
    try {
      const failures = await this.#options.core.links.withRoutes(() => this.#sync());
      const more = failures.length - FAILURES_NAMED;
      if (failures.length > 0) throw new CodedError("ROUTES", [...failures.slice(0, FAILURES_NAMED), ...(more > 0 ? [`and ${more} more`] : [])].join("; "));
      this.#tell(undefined);
      this.#tellRefused(sentence(this.#options.core.state.refusedCidrs));
    } catch (thrown) {
      this.#tell(describeError(thrown));
      throw thrown;
    }
    return { requeueAfterMs: AGAIN_MS };
  }

  /**
   * The guard comes first: no trouble with a route keeps it off. Who is no longer reached directly goes into the maps before
   * the routes, who is from now on after them.
   * @returns what cannot be, when all else is
   */
  async #sync(): Promise<readonly string[]> {
    const { core, network, logger, onChanged } = this.#options;
    const remote = core.state.remoteCidrs;
    const refused = this.#refusal();
    const decision = refused === undefined ? this.#wanted : this.#inForce;
    const guard = (): Promise<readonly string[]> => {
      const { internalIps, deviceIps = [] } = core.state.local;
      return network.guard(decision, { remotePods: remote.map(({ cidr }) => cidr), nodes: core.state.nodeAddresses, own: [...internalIps, ...deviceIps] });
    };
    const before = await guard();
    this.#guarded.resolve();
    const unmasked = (await this.#keep(guard)) ?? before;
    const ground = await network.ground(decision, remote);
    const { reach, failures } = reachAll(decision, remote, ground);
    if (decision.mode !== this.#inForce.mode) this.#sinceMs = performance.now();
    const isFresh = performance.now() - this.#sinceMs < FRESH_MS;
    const tunnelled = this.#tunnelSayings.heard(remote, performance.now(), FRESH_MS);
    const put = (by: Reached["reach"]): void => this.#reach(reachingBy(decision.mode, by, isFresh, tunnelled));
    put(between(core.state.reaching, reach));
    const missing = await network.syncRoutes(decision, remote, { reach }, ground, core.links.attachments.values());
    put(reach);
    if (routingHash(decision) !== routingHash(this.#inForce)) {
      logger.info("the node routes another way", { from: this.#inForce, to: decision });
      this.#inForce = decision;
      onChanged();
    }
    return [...(refused === undefined ? [] : [refused]), ...unmasked, ...failures, ...missing];
  }

  /**
   * @param guard once more, as devices are named there
   * @returns what that said; undefined: nothing was to be done
   */
  async #keep(guard: () => Promise<readonly string[]>): Promise<readonly string[] | undefined> {
    const { core, network, logger } = this.#options;
    const changed = await network.keep(core.state.local);
    const now = network.addresses(core.state.local);
    const { deviceIps, guestIps } = core.state.local;
    if (!isDeepStrictEqual(now, { deviceIps, guestIps })) {
      core.state.local = { ...core.state.local, ...now };
      core.enforcer.touch();
    }
    if (changed.length === 0) return undefined;
    logger.warn("others had changed the node's network: it is followed and put back", { what: changed.join("; ") });
    return await guard();
  }

  #reach(reaching: Reaching): void {
    const { state, enforcer } = this.#options.core;
    if (state.reach(reaching)) enforcer.applyNow();
  }

  /** Why the node cannot route as it is told; undefined: it can. It goes on as it does. */
  #refusal(): string | undefined {
    const { mode } = this.#wanted;
    if (!this.#options.network.hasTunnel && mode !== "native") return `routing by ${mode} needs a tunnel, and this node could make none when its agent started: it goes on by native`;
    return undefined;
  }

  #tell(failure: string | undefined): void {
    if (failure === this.#failure) return;
    this.#failure = failure;
    this.#options.onChanged();
  }

  #tellRefused(refused: string): void {
    if (refused === this.#refusedCidrs) return;
    this.#refusedCidrs = refused;
    const { logger, onChanged } = this.#options;
    if (refused !== "") logger.error("addresses are claimed twice: no two nodes can have the same pods' addresses, and no pod a node's", { refused });
    onChanged();
  }
}
