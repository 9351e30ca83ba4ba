/**
 * JSON lines of `hubble observe -o json` (flow.proto of the Hubble API, in proto3's JSON form), as events of ours: a recording of
 * a cluster that is to move here can be judged by its policies. What is no packet of a connection's opening side is left out.
 */
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
/** As addresses before a service's translation, which no policy judges. */
const NOT_JUDGED: readonly string[] = ["SOCK"];

/** Empty: it says nothing of policy; undefined: it is no line of Hubble's. */
export function eventOfHubble(text: string): readonly MonitorEvent[] | undefined {
  const line = parsed(text);
  if (line === undefined) return undefined;
  const { lost_events: lost, node_status: status, node_name: node = "", time = "" } = line;
  if (lost !== undefined) return [{ type: "lost", time, node, count: Number(lost.num_events_lost ?? 0), where: "client-buffer" }];
  if (status !== undefined) return [];
  const flow = line.flow ?? (line as Flow);
  return flow.verdict === undefined && flow.traffic_direction === undefined ? undefined : packetOf(flow);
}

function parsed(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function packetOf(flow: Flow): readonly PacketEvent[] {
  const [protocol, l4] = Object.entries(flow.l4 ?? {})[0] ?? [];
  const { IP: ip = {} } = flow;
  if (flow.is_reply === true || protocol === undefined || NOT_JUDGED.includes(flow.Type ?? "") || ip.source === undefined || ip.destination === undefined) return [];
  const dropped = flow.verdict === "DROPPED";
  const reason = dropped ? (POLICY_DROPS[flow.drop_reason_desc ?? flow.drop_reason ?? ""] ?? "other") : undefined;
  return [{
    time: flow.time ?? "",
    type: dropped ? "drop" : "policy-verdict",
    node: flow.node_name ?? "",
    direction: flow.traffic_direction === "EGRESS" ? "egress" : "ingress",
    verdict: dropped ? "deny" : "allow",
    ...(reason === undefined ? {} : { reason }),
    source: peerOf(flow.source, ip.source, l4?.source_port),
    destination: peerOf(flow.destination, ip.destination, l4?.destination_port),
    protocol,
    ...(protocol.startsWith("ICMP") ? { icmpType: l4?.type ?? 0 } : {}),
    length: 0,
    hook: "",
  }];
}

function peerOf({ identity = 0, namespace, labels = [], pod_name: pod }: Endpoint = {}, ip: string, port = 0): EventPeer {
  return { ip, port, identity, labels, ...(namespace === undefined || namespace === "" ? {} : { namespace }), ...(pod === undefined || pod === "" ? {} : { pod }) };
}
