/**
 * A process of its own that gives packets to a program without a pause, and tells whose fate was not what it must be at every
 * instant. The program's descriptor is PROGRAM_FD; what to send comes as the first message.
 */
import { setImmediate } from "node:timers/promises";
import { openLibbpf } from "../../../src/kernel/ffi.ts";
import { runProgram } from "../../../src/kernel/test-run.ts";

export const PROGRAM_FD = 4;

export interface Probe {
  readonly words: string;
  /** Base64. Its source port is written anew each time, so that each packet begins a flow of its own. */
  readonly frame: string;
  readonly sourcePortAt: number;
  /** What the program must answer. */
  readonly verdict: number;
}

export interface Orders {
  readonly probes: readonly Probe[];
  readonly ifindex: number;
}

/** So far. */
export interface Report {
  readonly judged: number;
  readonly wrong: number;
  readonly firstWrong: string | undefined;
}

const BATCH = 200;
const [FIRST_PORT, PORTS] = [1024, 60_000];

async function probe({ probes, ifindex }: Orders): Promise<void> {
  const libbpf = openLibbpf();
  const program = { name: "from_container", fd: PROGRAM_FD };
  const frames = probes.map(({ frame, ...rest }) => ({ ...rest, frame: new Uint8Array(Buffer.from(frame, "base64")) }));
  let [judged, wrong] = [0, 0];
  let firstWrong: string | undefined;
  while (process.connected) {
    for (let i = 0; i < BATCH; i++, judged++) {
      const one = frames[judged % frames.length];
      if (one === undefined) return;
      new DataView(one.frame.buffer).setUint16(one.sourcePortAt, FIRST_PORT + (Math.floor(judged / frames.length) % PORTS));
      const { verdict } = runProgram(libbpf, program, one.frame, { context: { ifindex } });
      if (verdict === one.verdict) continue;
      wrong++;
      firstWrong ??= `${one.words}: ${verdict} instead of ${one.verdict}, packet ${judged}`;
    }
    const report: Report = { judged, wrong, firstWrong };
    process.send?.(report);
    await setImmediate();
  }
}

if (process.send !== undefined) process.once("message", (orders) => void probe(orders as Orders));
