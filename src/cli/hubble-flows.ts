/**
 * JSON lines of `hubble observe -o json` (flow.proto of the Hubble API, in proto3's JSON form), as events of ours: a recording of
 * a cluster that is to move here can be judged by its policies. What is no packet of a connection's opening side is left out, and
 * so are the layers VRRP and IGMP, whose type is no port.
 */
import { protocolNumber } from "../explain/index.ts";
import type { EventPeer, MonitorEvent, PacketEvent } from "../hubble/index.ts";

interface Endpoint {
  readonly identity?: number;
  readonly namespace?: string;
  readonly labels?: readonly string[];
  readonly pod_name?: string;
}

interface L4 {
  readonly source_port?: number;
  readonly destination_port?: number;
  readonly type?: number;
}

interface Flow {
  readonly time?: string;
  readonly verdict?: string;
  readonly drop_reason?: number;
  readonly drop_reason_desc?: string;
  readonly IP?: { readonly source?: string; readonly destination?: string };
  readonly l4?: Readonly<Record<string, L4 | undefined>>;
  readonly source?: Endpoint;
  readonly destination?: Endpoint;
  readonly Type?: string;
  readonly node_name?: string;
  readonly traffic_direction?: string;
  readonly is_reply?: boolean | null;
}

interface Line {
  readonly flow?: Flow;
  readonly lost_events?: { readonly num_events_lost?: string | number };
  readonly node_status?: object;
  readonly node_name?: string;
  readonly time?: string;
}

/** Names of the field `drop_reason_desc`, and numbers of the older `drop_reason`. */
const POLICY_DROPS: Readonly<Record<string, string>> = { POLICY_DENIED: "policy-denied", POLICY_DENY: "policy-deny", 133: "policy-denied", 181: "policy-deny" };

/** Empty: it says nothing of policy; undefined: it is no line of Hubble's. */
export function eventOfHubble(text: string): readonly MonitorEvent[] | undefined {
  const line = parsed(text);
  if (line === undefined) return undefined;
  const { lost_events: lost, node_status: status, node_name: node = "", time = "" } = line;
  if (lost !== undefined) return [{ type: "lost", time, node, count: Number(lost.num_events_lost ?? 0), where: "client-buffer" }];
  if (status !== undefined) return [];
  const flow: Flow = line.flow ?? line;
  return flow.verdict === undefined && flow.traffic_direction === undefined ? undefined : packetOf(flow);
}

function parsed(text: string): Line | undefined {
  try {
    // In proto3's JSON form null is the same as absent.
    const value: unknown = JSON.parse(text, (_, inner: unknown) => inner ?? undefined);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A socket's own (SOCK) is before a service's address is translated, which no policy judges. */
function packetOf(flow: Flow): readonly PacketEvent[] {
  const { time = "", node_name: node = "", IP: { source, destination } = {}, traffic_direction: direction } = flow;
  const [protocol, l4] = layerOf(flow);
  if (flow.is_reply === true || flow.Type === "SOCK" || protocol === undefined || protocolNumber(protocol) === undefined || source === undefined || destination === undefined) return [];
  return [{
    time,
    node,
    direction: direction === "EGRESS" ? "egress" : "ingress",
    ...verdictOf(flow),
    source: peerOf(flow.source, source, l4?.source_port),
    destination: peerOf(flow.destination, destination, l4?.destination_port),
    protocol,
    ...(l4?.type === undefined ? {} : { icmpType: l4.type }),
    length: 0,
    hook: "",
  }];
}

function layerOf({ l4 = {} }: Flow): readonly [protocol?: string, fields?: L4 | undefined] {
  return Object.entries(l4)[0] ?? [];
}

function verdictOf({ verdict, drop_reason_desc: name, drop_reason: number = 0 }: Flow): Pick<PacketEvent, "type" | "verdict" | "reason"> {
  if (verdict !== "DROPPED") return { type: "policy-verdict", verdict: "allow" };
  return { type: "drop", verdict: "deny", reason: POLICY_DROPS[name ?? number] ?? "other" };
}

function peerOf({ identity = 0, namespace, labels = [], pod_name: pod }: Endpoint = {}, ip: string, port = 0): EventPeer {
  return { ip, port, identity, labels, ...(namespace === undefined || namespace === "" ? {} : { namespace }), ...(pod === undefined || pod === "" ? {} : { pod }) };
}
