/** The half of the agent that faces the kernel: state, enforcer, links, CNI. It works also without the API server. */
import { join } from "node:path";
import { Addresses, AttachmentStore, CniError, CniErrorCode, CniOperations, NetnsResolver } from "../cni/index.ts";
import type { Attachment, AttachmentListener } from "../cni/index.ts";
import { Netlink, PodVeths, Sysctl, networkNamespaceProbe, runCommand } from "../kernel/index.ts";
import type { BatchMap } from "../kernel/index.ts";
import { HOST_IDENTITY } from "../compile/index.ts";
import { parseCidr } from "../lib/ip.ts";
import type { Logger } from "../lib/log.ts";
import { FlowCollector, MapApplier } from "../targets/index.ts";
import type { ApplyReport, MapName } from "../targets/index.ts";
import { PodAdmission } from "./admission.ts";
import type { PodAdmissionOptions } from "./admission.ts";
import type { AgentMetrics } from "./agent-metrics.ts";
import { Change } from "./change.ts";
import { AddressNames } from "./address-names.ts";
import type { AgentConfig } from "./config.ts";
import { PodLinks } from "./endpoints.ts";
import { Enforcer } from "./enforcer.ts";
import type { Assignment } from "./enforcer.ts";
import { PodIdentities } from "./identities.ts";
import { LocalState } from "./local-state.ts";
import { MapPressure } from "./map-fill.ts";
import type { MapFill, MapWarning } from "./map-fill.ts";
import type { NodeNetwork } from "./node-network.ts";
import { OpenSessions } from "./open-tables.ts";
import { podAddresses } from "./objects.ts";
import { ProgramMaps } from "./program-maps.ts";
import type { LocalNode } from "./peers.ts";
import { reachingBy } from "./reach.ts";
import type { Tables } from "./tables.ts";

export interface CoreOptions {
  readonly config: AgentConfig;
  readonly logger: Logger;
  readonly local: LocalNode;
  readonly network: NodeNetwork;
  readonly tables: Tables;
  readonly fetchPod: PodAdmissionOptions["fetchPod"];
  /** The node state is the API server's, not only the disk's. */
  readonly isStateSynced: () => boolean;
  readonly metrics: () => AgentMetrics;
  readonly onReport: (report: ApplyReport, assignment: Assignment) => void;
  readonly listener: AttachmentListener;
}

const ADMISSION_LIMIT_MS = 30_000;
const ADDRESS_REST_MS = 60_000;
const MAP_NAMES: readonly MapName[] = ["interfaces", "endpoints", "ipcache", "cidrs", "nodes", "subjects", "policy", "blocks", "host"];

export class Core {
  readonly change = new Change();
  readonly identities: PodIdentities;
  readonly state: LocalState;
  readonly enforcer: Enforcer;
  readonly links: PodLinks;
  readonly store: AttachmentStore;
  readonly addresses: Addresses;
  readonly operations: CniOperations;
  readonly flows: FlowCollector;
  readonly programMaps: ProgramMaps;
  /** Who has an address, for events. */
  readonly names: AddressNames;
  readonly #options: CoreOptions;
  readonly #applier: MapApplier;
  readonly #pressure = new MapPressure();
  readonly #sessions: OpenSessions;

  constructor(options: CoreOptions) {
    this.#options = options;
    const { config, local, tables, logger, network } = options;
    this.identities = new PodIdentities(tables.namespaces.objects, (namespace) => this.enforcer.assignment?.state.named?.get(namespace) ?? []);
    this.store = new AttachmentStore(join(config.paths.state, "endpoints"));
    this.addresses = new Addresses({ cidrs: local.podCidrs.map((text) => parseCidr(text)), file: join(config.paths.state, "ipam.json"), restMs: ADDRESS_REST_MS, nowMs: Date.now, inUse: () => podAddresses(tables.pods.objects.values()) });
    const netns = new NetnsResolver({ host: "/proc/self/ns/net", hostProc: config.paths.hostProc, isNetwork: networkNamespaceProbe() });
    this.flows = new FlowCollector(requireMap(network, "flows"));
    this.#sessions = new OpenSessions({ flows: requireMap(network, "flows"), taken: () => this.flows.count, logger });
    this.programMaps = new ProgramMaps((name) => network.port.map(name));
    this.links = this.#makeLinks(netns);
    this.state = new LocalState({ ...local, ...network.addresses(local) }, {
      identities: tables.identities.objects,
      nodes: tables.nodes.objects,
      apiServers: tables.apiServers.objects,
      areApiServersKnown: () => tables.apiServers.isUsable,
      endpoints: tables.endpoints.objects,
      attachments: this.links.attachments,
      pods: tables.pods.objects,
    }, reachingBy(config.routing.mode));
    this.names = new AddressNames(this.state, tables, this.links.attachments);
    this.#applier = this.#makeApplier();
    this.enforcer = this.#makeEnforcer();
    this.operations = new CniOperations({
      admission: this.#makeAdmission(),
      addresses: this.addresses,
      store: this.store,
      datapath: this.links,
      netns,
      listener: options.listener,
      logger,
      assertReady: () => this.#assertReady(),
      observe: (...observed) => options.metrics().observeCni(...observed),
    });
  }

  /** Pods that an earlier process attached: those that are whole are taken over, the others removed. */
  async restore(): Promise<void> {
    const { logger } = this.#options;
    await this.addresses.load();
    const attachments = await this.operations.restore();
    for (const attachment of await this.links.restore(attachments)) {
      logger.warn("the link of an attachment is gone", { containerId: attachment.containerId, pod: attachment.pod });
      await this.operations.discard(attachment.containerId);
    }
    logger.info("attachments restored", { total: attachments.length, kept: this.links.attachments.size });
  }

  /** Gives pods whose labels changed their new identity, once its rules are in force here. Returns those that changed. */
  async refreshIdentities(): Promise<readonly Attachment[]> {
    const changed: Attachment[] = [];
    for (const attachment of [...this.links.attachments.values()]) {
      const pod = this.#options.tables.pods.objects.get(`${attachment.namespace}/${attachment.pod}`);
      if (pod === undefined || pod.uid !== attachment.uid) continue;
      const { id } = this.identities.of(pod);
      if (id === undefined || id === attachment.identity || !this.enforcer.isEnforced(id)) continue;
      const renewed = await this.operations.reidentify(attachment.containerId, id, (now) => this.links.renew(now));
      if (renewed !== undefined) changed.push(renewed);
    }
    if (changed.length > 0) this.enforcer.applyNow();
    return changed;
  }

  #makeLinks(netns: NetnsResolver): PodLinks {
    const { network, config } = this.#options;
    return new PodLinks({
      links: network.links,
      veths: new PodVeths({ netlink: new Netlink(), sysctl: new Sysctl(join(config.paths.hostProc, "sys")), run: runCommand, plugin: config.paths.plugin }),
      programs: network.programs,
      netns,
      mtu: () => network.podMtu(this.state.reaching.mode),
      routers: this.addresses.routers,
      enforcer: () => this.enforcer,
      onChanged: () => this.state.moved("attachments"),
      purgeFlows: async (addresses) => {
        if (addresses.length > 0) await this.flows.purge(addresses);
      },
    });
  }

  /** As we wrote them, and what programs fill as the last look found it: no map is read for this. */
  fills(): readonly MapFill[] {
    const flows = this.flows.count;
    const entries = [...this.#applier.entries(), ...(flows === undefined ? [] : [["flows", flows] as const]), ...this.programMaps.counts];
    return entries.map(([map, count]) => ({ map, entries: count, capacity: requireMap(this.#options.network, map).maxEntries }));
  }

  /** What the pods of a class call their ports. */
  portClass(number: number): ReturnType<MapApplier["portClass"]> {
    return this.#applier.portClass(number);
  }

  mapWarnings(): readonly MapWarning[] {
    const isHostJudged = this.enforcer.assignment?.state.subjects.has(HOST_IDENTITY) === true;
    return [...this.#pressure.warnings(this.fills()), ...(isHostJudged ? this.#sessions.warnings() : [])];
  }

  #makeApplier(): MapApplier {
    const { network } = this.#options;
    const maps = Object.fromEntries(MAP_NAMES.map((name) => [name, requireMap(network, name)])) as Record<MapName, BatchMap>;
    return new MapApplier({ maps, nowMs: () => performance.now(), firstGeneration: Math.floor(Date.now() / 1000), rememberOpen: (isOwn) => this.#sessions.remember(isOwn) });
  }

  #makeEnforcer(): Enforcer {
    const { tables, logger, isStateSynced, onReport, metrics } = this.#options;
    return new Enforcer({
      applier: this.#applier,
      state: this.state,
      logger,
      isUsable: () => tables.isUsable,
      isSynced: () => tables.isSynced && isStateSynced(),
      onReport: (report, assignment, seconds) => {
        metrics().observeApply(seconds);
        this.change.notify();
        onReport(report, assignment);
      },
    });
  }

  #makeAdmission(): PodAdmission {
    const { tables, fetchPod } = this.#options;
    return new PodAdmission({
      pods: tables.pods.objects,
      fetchPod,
      identities: this.identities,
      isEnforced: (identity) => this.enforcer.isEnforced(identity),
      change: this.change,
      limitMs: ADMISSION_LIMIT_MS,
    });
  }

  #assertReady(): void {
    if (this.enforcer.report !== undefined) return;
    throw new CniError(CniErrorCode.notAvailable, "the operator has not told this node its policy yet", "kube-system deployment cilium-operator");
  }
}

function requireMap(network: NodeNetwork, name: string): BatchMap {
  const map = network.port.map(name);
  if (map === undefined) throw new Error(`no BPF object declares the map ${name}`);
  return map;
}
