/**
 * What a node's kernel must hold at one moment: the operator's NodeState plus what the agent learns from
 * other objects. Plain values; addresses are text here and bytes in the maps.
 *
 * A part that is the same object (===) as in the call before is taken as unchanged, so replace maps instead
 * of changing them, and keep the reference of what did not move. Peers may be changed in place instead, and tell what
 * has moved (Tracked).
 */
import type { NodeState } from "../compile/state.ts";
import type { Rows } from "../reconcile/tracked.ts";

/** What a pod calls a port. `protocol` is an IANA number. */
export interface NamedPortNumber {
  readonly name: string;
  readonly port: number;
  readonly protocol: number;
}

/** Each (name, protocol) once. Keep the reference of what did not change. */
export type NamedPorts = readonly NamedPortNumber[];

/** A pod of this node. `key` of the map that holds it: anything stable and unique, such as the container id. */
export interface EndpointRow {
  /** 1..65535, unique on the node, stable over agent restarts. */
  readonly id: number;
  /** Host side of the pod's veth. */
  readonly ifindex: number;
  readonly identity: number;
  /** Of the pod's link. */
  readonly mtu: number;
  /** `aa:bb:cc:dd:ee:ff`: the pod's own, and the host side's. */
  readonly mac: string;
  readonly hostMac: string;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly namedPorts?: NamedPorts;
}

/** What an address or a CIDR is. */
export interface PeerRow {
  readonly identity: number;
  /** Underlay address of the node that has it; undefined: reached without a tunnel. */
  readonly node: string | undefined;
  /** PEER_* of src/kernel/gen/types.ts. */
  readonly flags: number;
  /** Of a pod. */
  readonly namedPorts?: NamedPorts;
}

/** A cluster node, under one of its underlay addresses. */
export interface NodeRow {
  /** The one of its underlay addresses that stands in the rows of its pods (PeerRow.node). */
  readonly address: string;
  /** The only addresses that may send with identity host through the tunnel. */
  readonly routerIpv4: string | undefined;
  readonly routerIpv6: string | undefined;
}

export interface DesiredState {
  readonly nodeState: NodeState;
  /**
   * Number -> labels `source:key=value` of every CiliumIdentity, of identities of this node's own (from 1 << 24 on), and
   * of reserved ones that have other labels here than everywhere.
   */
  readonly identities: ReadonlyMap<number, readonly string[]>;
  readonly endpoints: ReadonlyMap<string, EndpointRow>;
  /** Exact address -> peer: all pods of the cluster with an identity, nodes, routers. */
  readonly peers: Rows<string, PeerRow>;
  /** CIDR text -> peer: the nodes' pod CIDRs. */
  readonly cidrs: ReadonlyMap<string, PeerRow>;
  /** Each underlay address of every other node -> that node. */
  readonly nodes: ReadonlyMap<string, NodeRow>;
  /** Every source above has told all that it has: only then is anything deleted that is not named here. */
  readonly synced: boolean;
  /** Where the API server is has not been told yet: a rule set that denies it is not in force until then. */
  readonly isApiServerUnknown?: boolean;
}

export type PartName = "policy" | "endpoints" | "ipcache" | "cidrs" | "nodes" | "host";

export interface PartFailure {
  /** What failed: `identity 4711`, `10.0.1.5`, ... */
  readonly subject: string;
  /** Identities whose rules are therefore not (fully) in force; empty where that is not known. */
  readonly identities: readonly number[];
  readonly error: Error;
}

export interface PartReport {
  readonly part: PartName;
  readonly ok: boolean;
  readonly written: number;
  readonly removed: number;
  readonly failures: readonly PartFailure[];
}

export interface ApplyReport {
  readonly ok: boolean;
  readonly parts: readonly PartReport[];
  /** Identities whose current rule set is in force on this node. */
  readonly enforced: ReadonlySet<number>;
  /** Addresses kept out of the ipcache because their identity is not known yet: they stay closed. */
  readonly withheldPeers: readonly string[];
  /** Rules of the node itself begin to judge after this time, with another call; absent: nothing waits. */
  readonly againMs?: number;
  /** Endpoints (keys) that are open for traffic: their policy is applied. */
  readonly readyEndpoints: ReadonlySet<string>;
}

/** Makes the kernel equal to a desired state. Calls are serial: the next waits for the one before. */
export interface Applier {
  /** Never throws for what the kernel refuses: that is in the report, and is tried again with the next call. */
  apply(desired: DesiredState): ApplyReport;
  /** Deletes policy entries that nothing refers to; worth a call a second after an apply and now and then. Returns how many. */
  sweep(): number;
  /** Entries of each map as this applier wrote them, without a look at the kernel; empty before the first apply. */
  entries(): ReadonlyMap<string, number>;
  /** Forget what is believed to be in the kernel and read it again with the next call. */
  invalidate(): void;
}
