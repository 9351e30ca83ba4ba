/**
 * Policies of nodes: whom they select, and the failsafe, which no policy takes back: ports by which a node is operated and
 * repaired, and by which nodes reach each other. Pure.
 */
import { ConfigError } from "../lib/errors.ts";
import { splitLabelKey } from "../api/label-keys.ts";
import { HOST_LABEL, NODE_PREFIX } from "../model/labels.ts";
import type { RuleDraft } from "./draft.ts";
import { ANY_PORT } from "./draft.ts";
import { entityPeers } from "./entities.ts";
import { portRange, sortedPorts } from "./ports.ts";
import type { ReadSetting } from "./routing.ts";
import { normalized, requirementsOf } from "./selectors.ts";
import type { LabelSelector } from "./selectors.ts";
import type { Direction, LabelPeers, NumberedPort, PeerSelector } from "./state.ts";

/** Number of the identity that a node's own network namespace has on that node, and in its state. */
export const HOST_IDENTITY = 1;

/** Ports that stay open in each direction, whatever policies say. */
export type Failsafe = Readonly<Record<Direction, readonly NumberedPort[]>> & {
  /** UDP ports by which nodes speak to each other. */
  readonly betweenNodes: readonly NumberedPort[];
};

const TCP = 6;
const UDP = 17;
const LAST_PORT = 0xffff;

/**
 * SSH, the kubelet, the API server, etcd and its peers, answers of DHCP; and outwards DNS, DHCP, the API server and etcd.
 * What a connection's other side answers needs no rule.
 */
const DEFAULT_PORTS = {
  ingress: "22/TCP 6443/TCP 10250/TCP 2379-2380/TCP 68/UDP 546/UDP",
  egress: "53/UDP 53/TCP 67/UDP 547/UDP 6443/TCP 2379-2380/TCP",
} as const;

export const DEFAULT_FAILSAFE: Failsafe = { ingress: portsOf("", DEFAULT_PORTS.ingress), egress: portsOf("", DEFAULT_PORTS.egress), betweenNodes: [] };

/** @param wireguard first of the two ports that WireGuard has while nodes encrypt. */
export function readFailsafe(read: ReadSetting, wireguard: number | undefined): Failsafe {
  return {
    ingress: portsOf("host-failsafe-ingress", read("host-failsafe-ingress") ?? DEFAULT_PORTS.ingress),
    egress: portsOf("host-failsafe-egress", read("host-failsafe-egress") ?? DEFAULT_PORTS.egress),
    betweenNodes: wireguard === undefined ? [] : portRange(UDP, wireguard, wireguard + 1),
  };
}

/** `22/TCP 2379-2380/TCP`, with blanks or commas. */
function portsOf(key: string, text: string): readonly NumberedPort[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== "");
  return words.flatMap((word) => {
    const [, from = "", to = from, protocol] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?\/(TCP|UDP)$/.exec(word) ?? [];
    const [first, last] = [Number(from), Number(to)];
    if (protocol === undefined || first < 1 || last < first || last > LAST_PORT) throw new ConfigError(key, `${JSON.stringify(word)} is no port such as 22/TCP or 2379-2380/TCP`);
    return portRange(protocol === "TCP" ? TCP : UDP, first, last);
  });
}

/** A node by its labels; whatever source a key is written with, a Node's labels have one. */
export function hostSubject(selector: LabelSelector): LabelPeers {
  const ofNode = requirementsOf(selector).map((requirement) => ({ ...requirement, key: NODE_PREFIX + splitLabelKey(requirement.key)[1] }));
  return normalized([{ key: HOST_LABEL, operator: "Exists", values: [] }, ...ofNode]);
}

/** Whether it selects nodes. No policy can select pods by a reserved label. */
export function selectsHosts({ requirements }: LabelPeers): boolean {
  return requirements.some(({ key }) => key === HOST_LABEL);
}

export interface FailsafeRule extends Omit<RuleDraft, "peer"> {
  readonly peer: PeerSelector | undefined;
}

const [API_SERVER] = entityPeers("kube-apiserver");
const [OTHER_NODES] = entityPeers("remote-node");

/** Allows before all policies, also before their denials. */
export function failsafeRules({ ingress, egress, betweenNodes }: Failsafe): readonly FailsafeRule[] {
  const rule = (direction: Direction, name: string, peer: PeerSelector | undefined, ports: readonly NumberedPort[]): readonly FailsafeRule[] =>
    ports.length === 0 ? [] : [{ direction, verdict: "allow", path: `hostFirewall.failsafe.${name}`, peer, ports: sortedPorts(ports) }];
  return [
    ...rule("ingress", "ingress", undefined, ingress),
    ...rule("ingress", "betweenNodes", OTHER_NODES, betweenNodes),
    ...rule("egress", "egress", undefined, egress),
    ...rule("egress", "apiServer", API_SERVER, [ANY_PORT]),
    ...rule("egress", "betweenNodes", OTHER_NODES, betweenNodes),
  ];
}
