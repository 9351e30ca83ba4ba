/** `metrics` and `hook`: what the programs counted, and which of them serve. */
import { METRIC_LOST_EVENTS, METRIC_SPARED_EVENTS, directionNames, dropReasonNames, hookNames, metricCodec, metricKeyCodec } from "../kernel/gen/types.ts";
import { perCpu } from "../kernel/map.ts";
import { words } from "../hubble/index.ts";
import { mapTable } from "./table.ts";

interface MetricRow {
  /** `forwarded`, `events-lost`, `events-spared`, or why packets were dropped. */
  readonly reason: string;
  readonly direction: string;
  readonly packets: string;
  readonly bytes: string;
}

function reasonOf(reason: number): string {
  if (reason === 0) return "forwarded";
  if (reason === METRIC_SPARED_EVENTS) return "events-spared";
  return reason === METRIC_LOST_EVENTS ? "events-lost" : words(dropReasonNames.get(reason), reason);
}

export const metrics = mapTable<MetricRow>({
  name: "metrics",
  map: "metrics",
  about: "packets and bytes that were forwarded, and that were dropped by reason, since the map was made",
  columns: [
    { head: "REASON", cell: ({ reason }) => reason },
    { head: "DIRECTION", cell: ({ direction }) => direction },
    { head: "PACKETS", cell: ({ packets }) => packets },
    { head: "BYTES", cell: ({ bytes }) => bytes },
  ],
  row: () => (keyView, value) => {
    const { reason, direction } = metricKeyCodec.decode(keyView);
    const all = perCpu(value, metricCodec.size, metricCodec.decode);
    return {
      reason: reasonOf(reason),
      direction: words(directionNames.get(direction), direction),
      packets: String(all.reduce((sum, one) => sum + one.packets, 0n)),
      bytes: String(all.reduce((sum, one) => sum + one.bytes, 0n)),
    };
  },
});

interface HookRow {
  readonly hook: string;
  /** The kernel's number of the program, as bpftool shows it. */
  readonly program: number;
}

export const hook = mapTable<HookRow>({
  name: "hook",
  map: "hooks",
  about: "the programs that the stubs on devices call",
  columns: [{ head: "HOOK", cell: ({ hook: name }) => name }, { head: "PROGRAM", cell: ({ program }) => String(program) }],
  row: () => (key, value) => {
    const number = key.getUint32(0, true);
    const program = new DataView(value.buffer, value.byteOffset).getUint32(0, true);
    return program === 0 ? undefined : { hook: words(hookNames.get(number), number).replaceAll("-", "_"), program };
  },
});
