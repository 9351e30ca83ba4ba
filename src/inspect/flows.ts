/** `ct`, `fragment`, `quota`: what the programs remember of traffic. */
import {
  CT_CLOSING, CT_CONFIRMED, CT_FIN_OPENER, CT_FIN_RESPONDER, CT_FROM_LOW, CT_PRE_NAT, CT_REPLIED, CT_REVOKED, CT_VIA_STACK, FlowZone, flowKeyCodec, flowStateCodec, fragmentKeyCodec, fragmentPortsCodec, quotaCodec,
} from "../kernel/gen/types.ts";
import { peerText, protocolName } from "../hubble/index.ts";
import type { EventPeer, EventRule } from "../hubble/index.ts";
import { formatAddress } from "../lib/ip.ts";
import type { Names } from "./names.ts";
import { mapTable, viewOf } from "./table.ts";
import { NONE, durationText, flagWords, ruleText } from "./text.ts";

const NS = 1_000_000_000n;
const ICMP: readonly number[] = [1, 58];

interface FlowRow {
  readonly protocol: string;
  /** Of ICMP: the request's type; the identifier is the source's port. */
  readonly icmpType?: number;
  readonly source: EventPeer;
  readonly destination: EventPeer;
  readonly state: string;
  /** `judged`, or `before translation`: as the pod sent it, which admits nothing by itself. */
  readonly zone: string;
  readonly flags: readonly string[];
  /** 0: over, and ignored; the agent deletes it soon. */
  readonly expiresInSeconds: number;
  readonly egressRule: EventRule | undefined;
  readonly ingressRule: EventRule | undefined;
  readonly packets: string;
  readonly bytes: string;
}

/** The bits that the state does not say already. */
const FLAGS = [
  [CT_VIA_STACK, "via-stack"], [CT_PRE_NAT, "pre-nat"], [CT_REPLIED, "replied"], [CT_CONFIRMED, "confirmed"], [CT_FIN_OPENER, "fin-of-source"], [CT_FIN_RESPONDER, "fin-of-destination"],
] as const;

function stateOf(flags: number): string {
  if ((flags & CT_REVOKED) !== 0) return "revoked";
  if ((flags & CT_CLOSING) !== 0) return "closing";
  if ((flags & (CT_FIN_OPENER | CT_FIN_RESPONDER)) !== 0) return "half-closed";
  if ((flags & CT_REPLIED) === 0) return "opening";
  return (flags & CT_CONFIRMED) === 0 ? "answered" : "established";
}

export const ct = mapTable<FlowRow>({
  name: "ct",
  map: "flows",
  about: "connections: who opened them, whom they go to, and the rules that let them pass",
  columns: [
    { head: "PROTOCOL", cell: ({ protocol, icmpType }) => (icmpType === undefined ? protocol : `${protocol} type ${icmpType}`) },
    { head: "SOURCE", cell: ({ source }) => peerText(source) },
    { head: "DESTINATION", cell: ({ destination }) => peerText(destination) },
    { head: "STATE", cell: ({ state, zone }) => (zone === "judged" ? state : `${state}, ${zone}`) },
    { head: "EXPIRES", cell: ({ expiresInSeconds }) => durationText(expiresInSeconds) },
    { head: "PACKETS", cell: ({ packets }) => packets },
    { head: "BYTES", cell: ({ bytes }) => bytes },
    { head: "EGRESS BY", cell: ({ egressRule }) => ruleText(egressRule) },
    { head: "INGRESS BY", cell: ({ ingressRule }) => ruleText(ingressRule) },
  ],
  row: (names) => (keyView, value) => {
    const key = flowKeyCodec.decode(keyView);
    const state = flowStateCodec.decode(viewOf(value));
    const [low, high] = [[key.low, key.lowPort], [key.high, key.highPort]] as const;
    const [from, to] = (state.flags & CT_FROM_LOW) !== 0 ? [low, high] : [high, low];
    const isIcmp = ICMP.includes(key.protocol);
    return {
      protocol: protocolName(key.protocol),
      ...(isIcmp ? { icmpType: to[1] } : {}),
      source: names.peer(from[0], from[1], state.sourceIdentity),
      destination: names.peer(to[0], isIcmp ? 0 : to[1], state.destinationIdentity),
      state: stateOf(state.flags),
      zone: key.zone === FlowZone.PRE_NAT ? "before translation" : "judged",
      flags: flagWords(state.flags, FLAGS),
      expiresInSeconds: Math.max(0, state.expires - Number(names.facts.nowNs / NS)),
      egressRule: names.rule(state.egressRule),
      ingressRule: names.rule(state.ingressRule),
      packets: String(state.packets),
      bytes: String(state.bytes),
    };
  },
});

interface FragmentRow {
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  /** Of the datagram, as its fragments carry it. */
  readonly id: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export const fragment = mapTable<FragmentRow>({
  name: "fragment",
  map: "fragments",
  about: "datagrams in fragments: the ports of the first, for the later ones",
  columns: [
    { head: "PROTOCOL", cell: ({ protocol }) => protocol },
    { head: "SOURCE", cell: ({ source, sourcePort }) => `${source} port ${sourcePort}` },
    { head: "DESTINATION", cell: ({ destination, destinationPort }) => `${destination} port ${destinationPort}` },
    { head: "ID", cell: ({ id }) => String(id) },
  ],
  row: () => (keyView, value) => {
    const { source, destination, id, protocol } = fragmentKeyCodec.decode(keyView);
    const ports = fragmentPortsCodec.decode(viewOf(value));
    return { protocol: protocolName(protocol), source: formatAddress(source), destination: formatAddress(destination), id, ...ports };
  },
});

/** Of a slot of an array that has two for each endpoint id. */
interface Debt {
  /** 0: everybody who is no pod of this node. */
  readonly endpoint: number;
  /** `namespace/name`; absent: no pod of this node has that endpoint id any more. */
  readonly pod: string | undefined;
  /** In so many seconds the clock has paid for all that was taken. */
  readonly paidInSeconds: number;
}

/** undefined: the slot owes nothing. */
function debtOf(names: Names, key: DataView, value: Uint8Array): (Debt & { readonly isFirst: boolean }) | undefined {
  const slot = key.getUint32(0, true);
  const { paidNs } = quotaCodec.decode(viewOf(value));
  if (paidNs <= names.facts.nowNs) return undefined;
  const endpoint = slot >> 1;
  return { endpoint, pod: names.pod(endpoint), isFirst: (slot & 1) === 0, paidInSeconds: secondsUntil(paidNs, names.facts.nowNs) };
}

interface QuotaRow extends Debt {
  readonly direction: "ingress" | "egress";
}

/** Of the array, those slots that owe something. */
export const quota = mapTable<QuotaRow>({
  name: "quota",
  map: "quotas",
  about: "pods that opened, or were sent, flows that nobody answered; at 60 seconds further ones are refused",
  columns: [
    { head: "ENDPOINT", cell: ({ endpoint }) => String(endpoint) },
    { head: "POD", cell: ({ pod }) => pod ?? NONE },
    { head: "DIRECTION", cell: ({ direction }) => direction },
    { head: "PAID IN", cell: ({ paidInSeconds }) => `${paidInSeconds}s` },
  ],
  row: (names) => (keyView, value) => {
    const owed = debtOf(names, keyView, value);
    return owed && { endpoint: owed.endpoint, pod: owed.pod, direction: owed.isFirst ? "ingress" : "egress", paidInSeconds: owed.paidInSeconds };
  },
});

interface EventBudgetRow extends Debt {
  readonly kind: "verdict" | "drop";
}

/** Of the array, those slots that owe something. */
export const eventBudget = mapTable<EventBudgetRow>({
  name: "event-budget",
  map: "event_budgets",
  about: "pods of which many events were told; at a second's worth further ones are counted alone",
  columns: [
    { head: "ENDPOINT", cell: ({ endpoint }) => String(endpoint) },
    { head: "POD", cell: ({ pod }) => pod ?? NONE },
    { head: "EVENTS", cell: ({ kind }) => kind },
    { head: "PAID IN", cell: ({ paidInSeconds }) => `${paidInSeconds}s` },
  ],
  row: (names) => (keyView, value) => {
    const owed = debtOf(names, keyView, value);
    return owed && { endpoint: owed.endpoint, pod: owed.pod, kind: owed.isFirst ? "verdict" : "drop", paidInSeconds: owed.paidInSeconds };
  },
});

function secondsUntil(thenNs: bigint, nowNs: bigint): number {
  return Number((thenNs - nowNs) / 1_000_000n) / 1000;
}
