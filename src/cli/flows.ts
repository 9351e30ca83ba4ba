/** Flows that `cilium policy simulate` judges again: of a file, or as the agents tell them now. */
import { Ajv } from "ajv";
import { protocolNumber } from "../explain/index.ts";
import type { AskedFlow } from "../explain/index.ts";
import type { MonitorEvent } from "../hubble/index.ts";
import { isAddress } from "../lib/ip.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import { eventOfHubble } from "./hubble-flows.ts";
import { readSource } from "./manifests.ts";
import { monitorCluster, parseEvent } from "./monitor.ts";

export interface Flows {
  readonly events: readonly MonitorEvent[];
  readonly asked: readonly AskedFlow[];
}

const TEXT = { type: "string" } as const;
const PEER = { type: "object", required: ["ip", "port", "labels"], properties: { ip: { ...TEXT, format: "address" }, port: { type: "integer" }, labels: { type: "array", items: TEXT }, namespace: TEXT, pod: TEXT, node: TEXT } };
/** What a forecast reads of an event. */
const EVENT = {
  anyOf: [
    { required: ["count"], properties: { type: { const: "lost" }, count: { type: "number", minimum: 0 } } },
    { required: ["source", "destination", "protocol"], properties: { type: { enum: ["drop", "policy-verdict"] }, source: PEER, destination: PEER, protocol: { ...TEXT, format: "protocol" }, icmpType: { type: "integer" }, reason: TEXT } },
  ],
};
const FORMATS = { address: isAddress, protocol: (name: string): boolean => protocolNumber(name) !== undefined };

/** Each line is an event of cilium monitor or hubble observe, or `FROM TO PORT` as `cilium policy explain` takes them; what follows a # is a comment. */
export async function readFlows(file: string): Promise<Flows> {
  const events: MonitorEvent[] = [];
  const asked: AskedFlow[] = [];
  const isEvent = new Ajv({ formats: FORMATS, strict: false }).compile<MonitorEvent>(EVENT);
  for (const [index, line] of (await readSource(file)).split("\n").entries()) {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) continue;
    const read = text.startsWith("{") ? eventOf(text) : undefined;
    const event = read?.every((one) => isEvent(one)) === true ? read : undefined;
    const [from, to, port, ...more] = (text.split("#")[0] ?? "").trim().split(/\s+/);
    const isAsked = from !== undefined && to !== undefined && port !== undefined && more.length === 0 && !text.startsWith("{");
    if (event !== undefined) events.push(...event);
    else if (isAsked) asked.push({ from, to, port });
    else throw new CliError(`${file}:${index + 1}: neither an event of cilium monitor -o json or hubble observe -o json nor FROM TO PORT, such as shop/web shop/api 8080/TCP: ${line.slice(0, 80)}`);
  }
  return { events, asked };
}

/** Empty: one that says nothing of policy; undefined: no event. */
function eventOf(text: string): readonly MonitorEvent[] | undefined {
  try {
    const own = JSON.parse(text) as MonitorEvent;
    if (["lost", "drop", "policy-verdict"].includes(own.type)) return [own];
  } catch {
    return undefined;
  }
  return eventOfHubble(text);
}

/** What all agents tell in so many milliseconds from the first one that answers; events that they lose are among them. */
export async function collectFlows(cluster: Cluster, milliseconds: number, warn: (line: string) => void, stop: AbortSignal): Promise<Flows> {
  const events: MonitorEvent[] = [];
  const end = new AbortController();
  const signal = AbortSignal.any([end.signal, stop]);
  let timer: NodeJS.Timeout | undefined;
  const output = {
    json: true,
    write: (line: string): void => {
      const event = parseEvent(line);
      if (event !== undefined) events.push(event);
    },
    warn,
    connected: (): void => void (timer ??= setTimeout(() => end.abort(), milliseconds)),
  };
  await monitorCluster(cluster, [], { types: new Set() }, output, signal).finally(() => clearTimeout(timer));
  return { events, asked: [] };
}
