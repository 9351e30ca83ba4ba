/**
 * A start of the programs while others are in force: `<objects> <pins> <flows> <meanwhile> <step>`. After it has copied the
 * flows, the old programs see packets, and after its flip the new ones do: `meanwhile` says which (JSON, `Meanwhile`).
 * It is killed in `step`, a method of TakeOver, after what is seen before it; "none": it comes to its end.
 */
import { flowKeyCodec, flowStateCodec } from "../../src/kernel/gen/types.ts";
import type { FlowKey, FlowState } from "../../src/kernel/gen/types.ts";
import { Datapath, LibbpfPort } from "../../src/kernel/index.ts";
import type { LibbpfMap } from "../../src/kernel/index.ts";
import { PinFolder } from "../../src/kernel/pins.ts";
import { TakeOver } from "../../src/kernel/takeover.ts";
import { parseAddress } from "../../src/lib/ip.ts";

/** A packet of the flow on this port; `packets` is what the flow has counted with it. */
export interface Packet {
  readonly port: number;
  readonly packets: number;
  readonly flags: number;
}

export interface Meanwhile {
  readonly old: readonly Packet[];
  readonly now: readonly Packet[];
}

const bytes = (size: number, write: (view: DataView) => void): Uint8Array => {
  const view = new DataView(new ArrayBuffer(size));
  write(view);
  return new Uint8Array(view.buffer);
};
const viewOf = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength);
const NEW: FlowState = { expires: 1, flags: 0, sourceIdentity: 2, destinationIdentity: 3, sourceGeneration: 4, destinationGeneration: 5, egressRule: 6, ingressRule: 7, quota: 0, moved: 0, packets: 0n, bytes: 0n };

function keyOf(port: number): Uint8Array {
  const key: FlowKey = { low: parseAddress("10.0.0.1"), high: parseAddress("10.0.0.2"), lowPort: port, highPort: 80, protocol: 6, zone: 0 };
  return bytes(flowKeyCodec.size, (view) => flowKeyCodec.encode(key, view));
}

/** As the programs do: the first packet of a flow writes its entry, a later one changes what is there. */
export function see(flows: LibbpfMap, { port, packets, flags }: Packet): void {
  const present = packets === 1 ? undefined : flows.lookup(keyOf(port));
  const state = present === undefined ? NEW : flowStateCodec.decode(viewOf(present));
  flows.update(keyOf(port), bytes(flowStateCodec.size, (view) => flowStateCodec.encode({ ...state, packets: BigInt(packets), flags }, view)));
}

export function flowsOf(port: LibbpfPort): Packet[] {
  const found = [...flowMap(port).entries()].map(([key, value]) => ({ key: flowKeyCodec.decode(viewOf(key)), state: flowStateCodec.decode(viewOf(value)) }));
  return found.map(({ key, state }) => ({ port: key.lowPort, packets: Number(state.packets), flags: state.flags })).toSorted((a, b) => a.port - b.port);
}

export function flowMap(port: LibbpfPort): LibbpfMap {
  const flows = port.map("flows");
  if (flows === undefined) throw new Error("no map flows");
  return flows;
}

/** The programs of this folder, with so many flows: another number is another layout to the pins. */
export function start(objects: string, pinDir: string, flows: number): LibbpfPort {
  const port = new LibbpfPort(pinDir);
  Datapath.load({ port, objects, pinDir, maxEntries: { flows } });
  return port;
}

type Step = "copy" | "lend" | "finish";

function before(step: Step, work: () => void): void {
  const steps = TakeOver.prototype as unknown as Record<Step, (this: TakeOver, ...args: unknown[]) => void>;
  const original = steps[step];
  steps[step] = function (this: TakeOver, ...args: unknown[]): void {
    work();
    original.apply(this, args);
  };
}

if (import.meta.main) {
  const [objects = "", pins = "", size = "", meanwhile = "", step = ""] = process.argv.slice(2);
  const { old, now } = JSON.parse(meanwhile) as Meanwhile;
  const port = new LibbpfPort(pins);
  const folder = new PinFolder(pins, port.libbpf, port.libc);
  const [inForce] = folder.othersOf("flows", undefined);
  if (step !== "none") before(step as Step, () => process.kill(process.pid, "SIGKILL"));
  before("lend", () => { for (const packet of old) if (inForce !== undefined) see(inForce.map, packet); });
  before("finish", () => { for (const packet of now) see(flowMap(port), packet); });
  Datapath.load({ port, objects, pinDir: pins, maxEntries: { flows: Number(size) } });
}
