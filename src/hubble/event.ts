/**
 * What `monitor.sock` streams: one JSON object per line, newest last. `cilium monitor` and later the
 * Observer API read this; numbers are explained by words already, so a reader needs no tables.
 */

import type { PolicyRef } from "../compile/state.ts";

export type EventType = "drop" | "policy-verdict" | "lost";

/** One side of a packet, with everything that the agent knows about it. */
export interface EventPeer {
  readonly ip: string;
  /** 0 for protocols without ports; the identifier for ICMP echo. */
  readonly port: number;
  /** Numeric identity, 0 when unknown. */
  readonly identity: number;
  /** Sorted `source:key=value` labels of the identity, such as `k8s:app=api` or `reserved:host`. */
  readonly labels: readonly string[];
  /** Of the pod that has this address, when the agent knows it. */
  readonly namespace?: string;
  readonly pod?: string;
  /** Node behind the address, for identities host and remote-node. */
  readonly node?: string;
}

/** The rule that decided. A default deny names every policy that selects the subject. */
export interface EventRule {
  readonly id: number;
  readonly kind: "rule" | "default-deny";
  /** `namespace/name`, sorted. */
  readonly policies: readonly string[];
  /** Path inside the policy, such as `spec.ingress[0].toPorts[0]`; empty for a default deny. */
  readonly path: string;
  /** What the policy calls the rule. */
  readonly name?: string;
  /** The word that the policy gives the events of its rules. */
  readonly log?: string;
  readonly references: readonly PolicyRef[];
}

export interface PacketEvent {
  /** RFC 3339, UTC, microseconds. */
  readonly time: string;
  readonly type: "drop" | "policy-verdict";
  readonly node: string;
  readonly direction: "ingress" | "egress";
  readonly verdict: "allow" | "deny" | "audit";
  /** Of a drop, or of what verdict audit let pass, such as `policy-denied`; absent for other verdicts. */
  readonly reason?: string;
  readonly source: EventPeer;
  readonly destination: EventPeer;
  /** `TCP`, `UDP`, `ICMPv4`, `ICMPv6`, `SCTP` or `proto-<n>`. */
  readonly protocol: string;
  /** Names of set flags, such as `SYN`; TCP only. */
  readonly tcpFlags?: readonly string[];
  readonly icmpType?: number;
  readonly rule?: EventRule;
  /** The pod on whose link it was judged: of a forged source, whose it is. */
  readonly endpoint?: { readonly namespace: string; readonly pod: string };
  /** Bytes of the packet with its Ethernet header. */
  readonly length: number;
  /** Program that judged, such as `from_container`. */
  readonly hook: string;
}

/** Events that the kernel or the agent could not hand over. Loss is data, never a silent gap. */
export interface LostEvent {
  readonly time: string;
  readonly type: "lost";
  readonly node: string;
  readonly count: number;
  readonly where: "kernel-ring" | "pod-budget" | "client-buffer";
}

export type MonitorEvent = PacketEvent | LostEvent;
