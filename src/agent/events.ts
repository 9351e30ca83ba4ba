/** Ring buffer of the kernel → events in words → whoever reads the monitor socket. */
import { enrich } from "../hubble/index.ts";
import type { EnrichContext, MonitorEvent } from "../hubble/index.ts";
import { Direction, EventType, METRIC_LOST_EVENTS, METRIC_SPARED_EVENTS, Verdict, eventCodec, metricCodec, metricKeyCodec } from "../kernel/gen/types.ts";
import type { Event } from "../kernel/gen/types.ts";
import { RingBufferReader, perCpu } from "../kernel/index.ts";
import type { BatchMap, LibbpfPort } from "../kernel/index.ts";
import type { MonitorServer } from "./monitor.ts";

export interface EventPumpOptions {
  readonly port: LibbpfPort;
  readonly monitor: MonitorServer;
  /** Without the clock's offset, which this class knows. */
  readonly context: Omit<EnrichContext, "clockOffsetNs">;
  readonly verdicts: boolean;
  readonly onRead: (events: number) => void;
  readonly onLost: (where: LostAt, events: number) => void;
}

/** Events that no reader gets, by the reason in the kernel's counters: the ring had no room, their pod told too many. */
const LOST_AT = [["kernel-ring", METRIC_LOST_EVENTS], ["pod-budget", METRIC_SPARED_EVENTS]] as const;
type LostAt = (typeof LOST_AT)[number][0];

const LOSS_CHECK_MS = 1_000;

export class EventPump {
  readonly #options: EventPumpOptions;
  readonly #reader: RingBufferReader<Event>;
  readonly #metrics: BatchMap;
  readonly #lost = new Map<LostAt, bigint>();
  #checkedMs = 0;

  constructor(options: EventPumpOptions) {
    this.#options = options;
    this.#reader = new RingBufferReader(options.port, "events", (record) => eventCodec.decode(record));
    const metrics = options.port.map("metrics");
    if (metrics === undefined) throw new Error("the datapath has no map metrics");
    this.#metrics = metrics;
    for (const [where, reason] of LOST_AT) this.#lost.set(where, lostEvents(this.#metrics, reason));
  }

  /** Until the signal fires. Events are read also when nobody listens, so that a new reader sees only what is new. */
  async run(signal: AbortSignal): Promise<void> {
    const { monitor, onRead, verdicts, context } = this.#options;
    for await (const batch of this.#reader.read(signal)) {
      onRead(batch.length);
      this.#tellLoss();
      if (monitor.idle) continue;
      const full = { ...context, clockOffsetNs: clockOffsetNs() };
      const events: MonitorEvent[] = [];
      for (const event of batch) if (verdicts || event.type === EventType.DROP || event.verdict === Verdict.AUDIT) events.push(enrich(event, full));
      monitor.publish(events);
    }
    this.#reader.close();
  }

  /** A full ring is a ring that is read, and of a pod that tells too much something is told: there is a batch after every loss. */
  #tellLoss(): void {
    const nowMs = performance.now();
    if (nowMs - this.#checkedMs < LOSS_CHECK_MS) return;
    this.#checkedMs = nowMs;
    const { monitor, onLost, context } = this.#options;
    for (const [where, reason] of LOST_AT) {
      const lost = lostEvents(this.#metrics, reason);
      const count = Number(lost - (this.#lost.get(where) ?? 0n));
      this.#lost.set(where, lost);
      if (count <= 0) continue;
      onLost(where, count);
      monitor.publish([{ time: new Date().toISOString(), type: "lost", node: context.node, count, where }]);
    }
  }
}

/** Events that were not told for this reason since the map was made, all CPUs and directions. */
export function lostEvents(metrics: Pick<BatchMap, "lookup">, reason: number = METRIC_LOST_EVENTS): bigint {
  let sum = 0n;
  for (const direction of [Direction.INGRESS, Direction.EGRESS]) {
    const key = new Uint8Array(metricKeyCodec.size);
    metricKeyCodec.encode({ reason, direction }, new DataView(key.buffer));
    const value = metrics.lookup(key);
    if (value !== undefined) for (const { packets } of perCpu(value, metricCodec.size, metricCodec.decode)) sum += packets;
  }
  return sum;
}

/** Wall clock less CLOCK_MONOTONIC, which process.hrtime reads (libuv: uv_hrtime on Linux). */
export function clockOffsetNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
}

