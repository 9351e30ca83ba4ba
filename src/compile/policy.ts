/** One policy, taken apart: whom it selects, and what it allows in each direction. */
import type { CiliumNetworkPolicy } from "../api/gen/ciliumnetworkpolicies.ts";
import type { PolicyRow } from "../model/snapshot.ts";
import { peerSelector, selectorId, subjectSelector } from "./selectors.ts";
import type { LabelSelector } from "./selectors.ts";
import type { Direction, LabelPeers, NumberedPort, PeerSelector, PolicyRef, PortMatch, SelectorId } from "./state.ts";

/** A rule before it has its number. */
export interface RuleDraft {
  readonly direction: Direction;
  /** Path inside the policy, such as `spec.ingress[0].toPorts[0]`. */
  readonly path: string;
  readonly peer: SelectorId | undefined;
  readonly ports: readonly PortMatch[];
}

export interface PolicyDraft {
  readonly ref: PolicyRef;
  readonly subject: LabelPeers;
  /** Directions that the policy closes for what no policy allows. */
  readonly enforces: ReadonlySet<Direction>;
  readonly rules: readonly RuleDraft[];
  readonly selectors: ReadonlyMap<SelectorId, PeerSelector>;
}

const TCP = 6;
const UDP = 17;
const EXACT_PORT = 16;
export const ANY_PORT: NumberedPort = { protocol: 0, port: 0, prefix: 0 };

type Spec = CiliumNetworkPolicy["spec"];
type ToPorts = NonNullable<NonNullable<Spec["ingress"]>[number]["toPorts"]>;

interface Item {
  readonly peers: readonly LabelSelector[] | undefined;
  readonly toPorts: ToPorts | undefined;
}

export function draftPolicy(row: PolicyRow): PolicyDraft {
  const { namespace, name, uid, generation, spec } = row;
  const selectors = new Map<SelectorId, PeerSelector>();
  const ingress = spec.ingress?.map((item) => ({ peers: item.fromEndpoints, toPorts: item.toPorts }));
  const egress = spec.egress?.map((item) => ({ peers: item.toEndpoints, toPorts: item.toPorts }));
  const enforces = new Set<Direction>();
  if (ingress !== undefined) enforces.add("ingress");
  if (egress !== undefined) enforces.add("egress");
  return {
    ref: { kind: "CiliumNetworkPolicy", namespace, name, uid, generation },
    subject: subjectSelector(spec.endpointSelector, namespace),
    enforces,
    rules: [...draftItems("ingress", ingress ?? [], namespace, selectors), ...draftItems("egress", egress ?? [], namespace, selectors)],
    selectors,
  };
}

function draftItems(direction: Direction, items: readonly Item[], namespace: string, selectors: Map<SelectorId, PeerSelector>): RuleDraft[] {
  return items.flatMap(({ peers, toPorts }, index) => {
    // An item that names neither peers nor ports only closes the direction.
    if (peers === undefined && toPorts === undefined) return [];
    const path = `spec.${direction}[${index}]`;
    const ids = peerIds(peers, namespace, selectors);
    const ports = toPorts?.map((item, at) => ({ path: `${path}.toPorts[${at}]`, ports: portMatches(item.ports) })) ?? [{ path, ports: [ANY_PORT] }];
    return ports.flatMap((part) => ids.map((peer) => ({ direction, peer, ...part })));
  });
}

/** Absent: any peer. Present but empty: nobody, so no rule. Each selector once. */
function peerIds(peers: readonly LabelSelector[] | undefined, namespace: string, selectors: Map<SelectorId, PeerSelector>): (SelectorId | undefined)[] {
  if (peers === undefined) return [undefined];
  const ids = new Set<SelectorId>();
  for (const peer of peers) {
    const selector = peerSelector(peer, namespace);
    const id = selectorId(selector);
    selectors.set(id, selector);
    ids.add(id);
  }
  return [...ids].sort();
}

function portMatches(ports: ToPorts[number]["ports"]): NumberedPort[] {
  const matches = new Map<string, NumberedPort>();
  for (const { port, protocol } of ports) {
    const protocols = protocol === "TCP" ? [TCP] : protocol === "UDP" ? [UDP] : [TCP, UDP];
    for (const number of protocols) matches.set(`${number}/${port}`, { protocol: number, port: Number(port), prefix: EXACT_PORT });
  }
  return [...matches.values()].sort((a, b) => a.protocol - b.protocol || a.port - b.port);
}
