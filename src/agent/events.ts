/** Ring buffer of the kernel → events in words → whoever reads the monitor socket. */
import { enrich } from "../hubble/index.ts";
import type { EnrichContext, MonitorEvent } from "../hubble/index.ts";
import { EventType, eventCodec } from "../kernel/gen/types.ts";
import type { Event } from "../kernel/gen/types.ts";
import { RingBufferReader } from "../kernel/index.ts";
import type { LibbpfPort } from "../kernel/index.ts";
import type { MonitorServer } from "./monitor.ts";

export interface EventPumpOptions {
  readonly port: LibbpfPort;
  readonly monitor: MonitorServer;
  /** Without the clock's offset, which this class knows. */
  readonly context: Omit<EnrichContext, "clockOffsetNs">;
  readonly verdicts: boolean;
  readonly onRead: (events: number) => void;
}

export class EventPump {
  readonly #options: EventPumpOptions;
  readonly #reader: RingBufferReader<Event>;

  constructor(options: EventPumpOptions) {
    this.#options = options;
    this.#reader = new RingBufferReader(options.port, "events", (record) => eventCodec.decode(record));
  }

  /** Until the signal fires. Events are read also when nobody listens, so that a new reader sees only what is new. */
  async run(signal: AbortSignal): Promise<void> {
    const { monitor, onRead, verdicts, context } = this.#options;
    for await (const batch of this.#reader.read(signal)) {
      onRead(batch.length);
      if (monitor.idle) continue;
      const full = { ...context, clockOffsetNs: clockOffsetNs() };
      const events: MonitorEvent[] = [];
      for (const event of batch) if (verdicts || event.type === EventType.DROP) events.push(enrich(event, full));
      monitor.publish(events);
    }
    this.#reader.close();
  }
}

/** Wall clock less CLOCK_MONOTONIC, which process.hrtime reads (libuv: uv_hrtime on Linux). */
export function clockOffsetNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
}

