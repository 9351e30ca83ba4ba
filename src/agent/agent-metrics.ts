/** Figures of the agent and of the kernel's counters, read when they are asked for. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate as giveWay } from "node:timers/promises";
import { METRIC_LOST_EVENTS, METRIC_SPARED_EVENTS, directionNames, dropReasonNames, metricCodec, metricKeyCodec, ruleHitCodec } from "../kernel/gen/types.ts";
import type { RuleHit } from "../kernel/gen/types.ts";
import { perCpu } from "../kernel/index.ts";
import type { BatchMap } from "../kernel/index.ts";
import { createMetrics } from "../lib/metrics.ts";
import type { Metrics } from "../lib/metrics.ts";
import { clockOffsetNs } from "./events.ts";
import { encryptionMetrics } from "./encryption-metrics.ts";
import type { ReadEncryption } from "./encryption-metrics.ts";
import { healthMetrics } from "./health-metrics.ts";
import type { ReadHealth } from "./health-metrics.ts";
import type { MapFill } from "./map-fill.ts";
import type { HealthType } from "./node-health.ts";

/** `wantedEntries`: the configured size; a map whose content would not fit keeps its own. */
export type SizedMap = BatchMap & { readonly wantedEntries: number };

export interface MetricSources {
  readonly map: (name: string) => SizedMap | undefined;
  readonly fills: () => readonly MapFill[];
  readonly endpoints: () => { readonly total: number; readonly ready: number };
  readonly appliedRevision: () => number;
  readonly addresses: () => readonly { readonly family: string; readonly used: number; readonly capacity: number }[];
  /** undefined: the node does not encrypt. */
  readonly encryption: ReadEncryption;
  /** undefined: nobody was asked yet. */
  readonly health: ReadHealth;
}

const OWN_BUCKETS = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5];
const WAIT_BUCKETS = [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30];
const LOWEST_RESOLUTION_MS = 10;
/** Entries of a map that are read at once. */
const READ = 512;

export class AgentMetrics {
  readonly metrics: Metrics = createMetrics("cilium");
  readonly #sources: MetricSources;
  readonly #delay = monitorEventLoopDelay({ resolution: LOWEST_RESOLUTION_MS });
  readonly #own = this.metrics.histogram("cni_own_seconds", "Time of a CNI operation less its wait for identity and policy", OWN_BUCKETS, ["command", "outcome"]);
  readonly #wait = this.metrics.histogram("cni_wait_seconds", "Wait of CNI ADD for identity and policy", WAIT_BUCKETS);
  readonly #events = this.metrics.counter("events_read_total", "Events read from the kernel's ring buffer");
  readonly #lost = this.metrics.counter("events_lost_total", "Events that did not reach a reader", ["where"]);
  readonly #applies = this.metrics.histogram("apply_seconds", "Time to bring the kernel to the desired state", [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 1]);
  readonly #endpoints = this.metrics.gauge("endpoints", "Pods of this node by state", ["state"]);
  readonly #revision = this.metrics.gauge("applied_revision", "Revision of the node state that is in force");
  readonly #entries = this.metrics.gauge("map_entries", "Entries of a kernel map", ["map"]);
  readonly #capacity = this.metrics.gauge("map_capacity", "Most entries of a kernel map", ["map"]);
  readonly #configured = this.metrics.gauge("map_capacity_configured", "Configured size of a kernel map; less than map_capacity while its content would not fit into that", ["map"]);
  readonly #pressure = this.metrics.gauge("bpf_map_pressure", "Share of a kernel map that is taken; the agent warns from 0.85 on", ["map_name"]);
  readonly #ipam = this.metrics.gauge("ipam_addresses", "Pod addresses of this node", ["family", "state"]);
  readonly #packets = this.metrics.exact("datapath_packets", "Packets since the maps were made, by outcome", ["reason", "direction"]);
  readonly #bytes = this.metrics.exact("datapath_bytes", "Bytes since the maps were made, by outcome", ["reason", "direction"]);
  readonly #hits = this.metrics.exact("rule_packets", "Packets that a rule decided", ["rule"]);
  readonly #hitBytes = this.metrics.exact("rule_bytes", "Bytes of the packets that a rule decided", ["rule"]);
  readonly #lastHits = this.metrics.exact("rule_last_hit_timestamp_seconds", "When a rule decided a packet last, since 1970; none of rules that never did", ["rule"]);
  readonly #loop = this.metrics.gauge("event_loop_delay_seconds", "Delay of the event loop since the last scrape", ["quantile"]);

  readonly #readEncryption: () => Promise<void>;
  readonly #health: ReturnType<typeof healthMetrics>;

  constructor(sources: MetricSources) {
    this.#sources = sources;
    this.#readEncryption = encryptionMetrics(this.metrics, sources.encryption);
    this.#health = healthMetrics(this.metrics, sources.health);
    this.#delay.enable();
  }

  observeCni(command: string, outcome: "ok" | "error", ownSeconds: number, waitSeconds: number): void {
    this.#own.observe({ command, outcome }, ownSeconds);
    if (command === "ADD") this.#wait.observe(waitSeconds);
  }

  observeApply(seconds: number): void {
    this.#applies.observe(seconds);
  }

  observeHealth(type: HealthType, seconds: number): void {
    this.#health.observe(type, seconds);
  }

  eventsRead(count: number): void {
    this.#events.inc(count);
  }

  eventsLost(where: "kernel-ring" | "pod-budget" | "client-buffer", count: number): void {
    this.#lost.inc({ where }, count);
  }

  async render(): Promise<{ readonly contentType: string; readonly body: string }> {
    const { endpoints, appliedRevision, addresses } = this.#sources;
    const { total, ready } = endpoints();
    this.#endpoints.set({ state: "ready" }, ready);
    this.#endpoints.set({ state: "closed" }, total - ready);
    this.#revision.set(appliedRevision());
    for (const { family, used, capacity } of addresses()) {
      this.#ipam.set({ family, state: "used" }, used);
      this.#ipam.set({ family, state: "capacity" }, capacity);
    }
    for (const quantile of [50, 99]) this.#loop.set({ quantile: String(quantile / 100) }, Math.max(0, this.#delay.percentile(quantile) / 1e9 - LOWEST_RESOLUTION_MS / 1e3));
    this.#delay.reset();
    await this.#readMaps();
    await this.#readEncryption();
    this.#health.read();
    return await this.metrics.render();
  }

  async #readMaps(): Promise<void> {
    for (const { map, entries, capacity } of this.#sources.fills()) {
      this.#entries.set({ map }, entries);
      this.#capacity.set({ map }, capacity);
      this.#configured.set({ map }, this.#sources.map(map)?.wantedEntries ?? capacity);
      this.#pressure.set({ map_name: map }, entries / capacity);
    }
    this.#readOutcomes();
    await this.#readHits();
  }

  #readOutcomes(): void {
    for (const [key, value] of this.#sources.map("metrics")?.entries() ?? []) {
      const { reason, direction } = metricKeyCodec.decode(new DataView(key.buffer, key.byteOffset));
      if (reason === METRIC_LOST_EVENTS || reason === METRIC_SPARED_EVENTS) continue; // EventPump counts these
      const labels = {
        reason: reason === 0 ? "forwarded" : (dropReasonNames.get(reason)?.toLowerCase() ?? String(reason)),
        direction: directionNames.get(direction)?.toLowerCase() ?? String(direction),
      };
      const all = perCpu(value, metricCodec.size, metricCodec.decode);
      this.#packets.set(labels, all.reduce((sum, one) => sum + one.packets, 0n));
      this.#bytes.set(labels, all.reduce((sum, one) => sum + one.bytes, 0n));
    }
  }

  /** One for each rule: others have their turn in between. */
  async #readHits(): Promise<void> {
    const found: (readonly [rule: string, hits: RuleHit])[] = [];
    const map = this.#sources.map("rule_hits");
    if (map === undefined) return;
    for (const { keys, values, count } of map.batches(READ)) {
      const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
      for (let i = 0; i < count; i++) {
        const all = perCpu(values.subarray(i * map.valueSize, (i + 1) * map.valueSize), ruleHitCodec.size, ruleHitCodec.decode);
        found.push([String(view.getUint32(i * map.keySize, true)), all.reduce(bothHits)]);
      }
      await giveWay();
    }
    for (const metric of [this.#hits, this.#hitBytes, this.#lastHits]) metric.reset(); // the counters of gone rules are deleted
    const offsetNs = clockOffsetNs();
    for (const [rule, { packets, bytes, lastNs }] of found) {
      this.#hits.set({ rule }, packets);
      this.#hitBytes.set({ rule }, bytes);
      if (lastNs !== 0n) this.#lastHits.set({ rule }, (lastNs + offsetNs) / 1_000_000_000n);
    }
  }
}

/** Of two processors. */
function bothHits(a: RuleHit, b: RuleHit): RuleHit {
  return { packets: a.packets + b.packets, bytes: a.bytes + b.bytes, lastNs: a.lastNs > b.lastNs ? a.lastNs : b.lastNs };
}
