// Generated from bpf/lib/types.h by `make generate`; `make verify` fails when they differ.
// Fields that end in _be in C are numbers in host order here: the codec converts. Padding is written as zero.
import type { Codec } from "../port.ts";

/** policy applied: without it every packet is dropped */
export const ENDPOINT_READY = 1;
/** reached through the tunnel at `node` */
export const PEER_TUNNEL = 1;
/** a pod CIDR of a node, not one pod: identity is IDENTITY_UNKNOWN */
export const PEER_POD_CIDR = 2;
/** that node's router address */
export const PEER_ROUTER = 4;
/** of another node, reached by the underlay's routes and believed from underlay devices */
export const PEER_DIRECT = 8;
/** of another node, believed from underlay devices, also where it is reached through the tunnel */
export const PEER_BARE = 16;
/** this node has the address, though others know somebody else by it: what is sent there is sent to the node */
export const PEER_OWN = 32;
/** what the node would send to another node's pods */
export const ENCRYPTION_SENDING = 1;
/** what comes from another node's pods, as all others enforce the first */
export const ENCRYPTION_RECEIPT = 2;
export const CLASS_BLOCKS = 0x02000000;
export const CLASS_PORTS = 0x80000000;
/** `blocks` has entries of the rule set, and `policy` their classes */
export const SUBJECT_INGRESS_BLOCKS = 1;
export const SUBJECT_EGRESS_BLOCKS = 2;
/** its egress names ports: `policy` has entries of destination pods' classes */
export const SUBJECT_NAMED_PORTS = 4;
/** `policy` has entries of TIER_ADMIN */
export const SUBJECT_INGRESS_ADMIN = 8;
export const SUBJECT_EGRESS_ADMIN = 16;
/** what the node's own network namespace sends and receives is remembered in `flows` */
export const HOST_TRACKED = 1;
/** the side of `low` opened the flow */
export const CT_FROM_LOW = 1;
/** replies must go through the stack, which may undo its address translation */
export const CT_VIA_STACK = 2;
/** seen before the stack chose the destination: judged where it leaves the stack */
export const CT_PRE_NAT = 4;
/** a reply was seen */
export const CT_REPLIED = 8;
/** FIN of both sides or RST seen */
export const CT_CLOSING = 16;
/** was allowed and is not any more: known, so that its packets pass for no other flow's */
export const CT_REVOKED = 32;
/** the side that opened the flow sends no more: half closed */
export const CT_FIN_OPENER = 64;
/** the other side sends no more */
export const CT_FIN_RESPONDER = 128;
/** the opener went on after the reply: it is no forged source */
export const CT_CONFIRMED = 256;
/** until both sides were heard and the opener went on */
export const TIMEOUT_TCP_OPENING = 60;
export const TIMEOUT_TCP_ESTABLISHED = 21600;
/** RFC 9293 3.6; kube-proxy gives nf_conntrack 1 h (CLOSE_WAIT) */
export const TIMEOUT_TCP_HALF_CLOSED = 3600;
/** FIN of both sides: LAST_ACK */
export const TIMEOUT_TCP_CLOSING = 30;
export const TIMEOUT_TCP_RESET = 10;
/** seven heartbeats of RFC 9260 8.3 */
export const TIMEOUT_SCTP_ESTABLISHED = 210;
/** also with one reply, as a question of DNS has it */
export const TIMEOUT_UDP = 30;
/** the opener went on after a reply */
export const TIMEOUT_UDP_STREAM = 120;
export const TIMEOUT_ICMP = 30;
/** what others open to the node itself; no endpoint has id 0 */
export const QUOTA_HOST = 1;
export const MARK_MASK = 0x0f00;
/** from a local pod without egress enforcement */
export const MARK_FROM_POD = 0x0100;
/** from a local pod; egress must be judged where it leaves the stack */
export const MARK_FROM_POD_DEFER = 0x0200;
/** came in from the underlay: never the host */
export const MARK_FROM_NETDEV = 0x0300;
/** judged on both ends; deliver */
export const MARK_JUDGED = 0x0400;
/** matched a judged flow in reply direction; the stack undoes its translation */
export const MARK_REPLY = 0x0500;
/** reason in `metrics`: events for which the ring had no room */
export const METRIC_LOST_EVENTS = 65535;
/** events that were not told because who pays for them told too many */
export const METRIC_SPARED_EVENTS = 65534;
export const EVENT_STEP_NS = 1000000;
export const EVENT_BURST = 1000;

export const Hook = {
  FROM_CONTAINER: 0,
  TO_CONTAINER: 1,
  FROM_NETDEV: 2,
  TO_NETDEV: 3,
  FROM_OVERLAY: 4,
  FROM_HOST: 5,
  COUNT: 6,
  TO_SOCKET: 7,
} as const;
export type Hook = (typeof Hook)[keyof typeof Hook];
/** Hook by number. */
export const hookNames: ReadonlyMap<number, keyof typeof Hook> = new Map([
  [0, "FROM_CONTAINER"],
  [1, "TO_CONTAINER"],
  [2, "FROM_NETDEV"],
  [3, "TO_NETDEV"],
  [4, "FROM_OVERLAY"],
  [5, "FROM_HOST"],
  [6, "COUNT"],
  [7, "TO_SOCKET"],
]);

export const Identity = {
  UNKNOWN: 0,
  HOST: 1,
  WORLD: 2,
  UNMANAGED: 3,
  HEALTH: 4,
  INIT: 5,
  REMOTE_NODE: 6,
  KUBE_APISERVER: 7,
  INGRESS: 8,
  WORLD_IPV4: 9,
  WORLD_IPV6: 10,
  FIRST_CLUSTER: 256,
  FIRST_LOCAL: 16777216,
} as const;
export type Identity = (typeof Identity)[keyof typeof Identity];
/** Identity by number. */
export const identityNames: ReadonlyMap<number, keyof typeof Identity> = new Map([
  [0, "UNKNOWN"],
  [1, "HOST"],
  [2, "WORLD"],
  [3, "UNMANAGED"],
  [4, "HEALTH"],
  [5, "INIT"],
  [6, "REMOTE_NODE"],
  [7, "KUBE_APISERVER"],
  [8, "INGRESS"],
  [9, "WORLD_IPV4"],
  [10, "WORLD_IPV6"],
  [256, "FIRST_CLUSTER"],
  [16777216, "FIRST_LOCAL"],
]);

export const Direction = {
  INGRESS: 0,
  EGRESS: 1,
} as const;
export type Direction = (typeof Direction)[keyof typeof Direction];
/** Direction by number. */
export const directionNames: ReadonlyMap<number, keyof typeof Direction> = new Map([
  [0, "INGRESS"],
  [1, "EGRESS"],
]);

export const Verdict = {
  ALLOW: 0,
  DENY: 1,
  AUDIT: 2,
  PASS: 3,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];
/** Verdict by number. */
export const verdictNames: ReadonlyMap<number, keyof typeof Verdict> = new Map([
  [0, "ALLOW"],
  [1, "DENY"],
  [2, "AUDIT"],
  [3, "PASS"],
]);

export const Tier = {
  POLICIES: 0,
  ADMIN: 1,
} as const;
export type Tier = (typeof Tier)[keyof typeof Tier];
/** Tier by number. */
export const tierNames: ReadonlyMap<number, keyof typeof Tier> = new Map([
  [0, "POLICIES"],
  [1, "ADMIN"],
]);

export const EventType = {
  DROP: 1,
  VERDICT: 2,
} as const;
export type EventType = (typeof EventType)[keyof typeof EventType];
/** EventType by number. */
export const eventTypeNames: ReadonlyMap<number, keyof typeof EventType> = new Map([
  [1, "DROP"],
  [2, "VERDICT"],
]);

export const DropReason = {
  INVALID_SOURCE_MAC: 130,
  INVALID_SOURCE_IP: 132,
  POLICY_DENIED: 133,
  INVALID_PACKET: 134,
  UNSUPPORTED_L3: 139,
  UNKNOWN_L4: 142,
  FRAGMENT_NOT_FOUND: 157,
  CT_INSERT_FAILED: 155,
  INVALID_IDENTITY: 171,
  UNKNOWN_SENDER: 172,
  POLICY_DENY: 181,
  UNENCRYPTED: 195,
  NO_TUNNEL_ENDPOINT: 160,
  EXTENSION_HEADER: 156,
  UNKNOWN_IDENTITY: 300,
  POLICY_NOT_READY: 301,
  SPOOFED_OVERLAY: 302,
  SPOOFED_UNDERLAY: 303,
  FORGED_NEIGHBOUR: 304,
  TUNNEL_PORT: 305,
  PACKET_TOO_BIG: 306,
  UNJUDGED_EXIT: 307,
  UNKNOWN_ENDPOINT: 308,
  FORGED_DHCP: 309,
  FLOW_QUOTA: 320,
  SOURCE_ROUTE: 330,
  LINK_ONLY: 331,
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];
/** DropReason by number. */
export const dropReasonNames: ReadonlyMap<number, keyof typeof DropReason> = new Map([
  [130, "INVALID_SOURCE_MAC"],
  [132, "INVALID_SOURCE_IP"],
  [133, "POLICY_DENIED"],
  [134, "INVALID_PACKET"],
  [139, "UNSUPPORTED_L3"],
  [142, "UNKNOWN_L4"],
  [157, "FRAGMENT_NOT_FOUND"],
  [155, "CT_INSERT_FAILED"],
  [171, "INVALID_IDENTITY"],
  [172, "UNKNOWN_SENDER"],
  [181, "POLICY_DENY"],
  [195, "UNENCRYPTED"],
  [160, "NO_TUNNEL_ENDPOINT"],
  [156, "EXTENSION_HEADER"],
  [300, "UNKNOWN_IDENTITY"],
  [301, "POLICY_NOT_READY"],
  [302, "SPOOFED_OVERLAY"],
  [303, "SPOOFED_UNDERLAY"],
  [304, "FORGED_NEIGHBOUR"],
  [305, "TUNNEL_PORT"],
  [306, "PACKET_TOO_BIG"],
  [307, "UNJUDGED_EXIT"],
  [308, "UNKNOWN_ENDPOINT"],
  [309, "FORGED_DHCP"],
  [320, "FLOW_QUOTA"],
  [330, "SOURCE_ROUTE"],
  [331, "LINK_ONLY"],
]);

export interface Endpoint {
  readonly ifindex: number;
  readonly identity: number;
  readonly subject: number;
  readonly ports: number;
  readonly id: number;
  readonly mtu: number;
  readonly flags: number;
  readonly mac: Uint8Array;
  readonly hostMac: Uint8Array;
  readonly ipv4: Uint8Array;
  readonly ipv6: Uint8Array;
}

export const endpointCodec: Codec<Endpoint> = {
  size: 72,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.ifindex, true);
    into.setUint32(at + 4, value.identity, true);
    into.setUint32(at + 8, value.subject, true);
    into.setUint32(at + 12, value.ports, true);
    into.setUint16(at + 16, value.id, true);
    into.setUint16(at + 18, value.mtu, true);
    into.setUint32(at + 20, value.flags, true);
    writeBytes(into, at + 24, 6, value.mac);
    writeBytes(into, at + 30, 6, value.hostMac);
    writeBytes(into, at + 40, 16, value.ipv4);
    writeBytes(into, at + 56, 16, value.ipv6);
    into.setUint8(at + 36, 0); into.setUint8(at + 37, 0); into.setUint8(at + 38, 0); into.setUint8(at + 39, 0);
  },
  decode(from, at = 0) {
    return {
      ifindex: from.getUint32(at + 0, true),
      identity: from.getUint32(at + 4, true),
      subject: from.getUint32(at + 8, true),
      ports: from.getUint32(at + 12, true),
      id: from.getUint16(at + 16, true),
      mtu: from.getUint16(at + 18, true),
      flags: from.getUint32(at + 20, true),
      mac: readBytes(from, at + 24, 6),
      hostMac: readBytes(from, at + 30, 6),
      ipv4: readBytes(from, at + 40, 16),
      ipv6: readBytes(from, at + 56, 16),
    };
  },
};

/** Changes when the layout of struct endpoint does. */
export const endpointLayout = "de50f521";

export interface Address {
  readonly bytes: Uint8Array;
}

export const addressCodec: Codec<Address> = {
  size: 16,
  encode(value, into, at = 0) {
    writeBytes(into, at + 0, 16, value.bytes);
  },
  decode(from, at = 0) {
    return {
      bytes: readBytes(from, at + 0, 16),
    };
  },
};

/** Changes when the layout of struct address does. */
export const addressLayout = "8373a6ed";

export interface CidrKey {
  readonly prefix: number;
  readonly address: Uint8Array;
}

export const cidrKeyCodec: Codec<CidrKey> = {
  size: 20,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.prefix, true);
    writeBytes(into, at + 4, 16, value.address);
  },
  decode(from, at = 0) {
    return {
      prefix: from.getUint32(at + 0, true),
      address: readBytes(from, at + 4, 16),
    };
  },
};

/** Changes when the layout of struct cidr_key does. */
export const cidrKeyLayout = "dd10a415";

export interface Peer {
  readonly identity: number;
  readonly flags: number;
  readonly ports: number;
  readonly node: Uint8Array;
}

export const peerCodec: Codec<Peer> = {
  size: 32,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.identity, true);
    into.setUint32(at + 4, value.flags, true);
    into.setUint32(at + 8, value.ports, true);
    writeBytes(into, at + 16, 16, value.node);
    into.setUint8(at + 12, 0); into.setUint8(at + 13, 0); into.setUint8(at + 14, 0); into.setUint8(at + 15, 0);
  },
  decode(from, at = 0) {
    return {
      identity: from.getUint32(at + 0, true),
      flags: from.getUint32(at + 4, true),
      ports: from.getUint32(at + 8, true),
      node: readBytes(from, at + 16, 16),
    };
  },
};

/** Changes when the layout of struct peer does. */
export const peerLayout = "8f345f90";

export interface Subject {
  readonly ruleSet: number;
  readonly generation: number;
  readonly owner: number;
  readonly ingressDefault: number;
  readonly egressDefault: number;
  readonly ingressPorts: number;
  readonly egressPorts: number;
  readonly ingressEnforced: number;
  readonly egressEnforced: number;
  readonly flags: number;
  readonly audit: number;
}

export const subjectCodec: Codec<Subject> = {
  size: 36,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.ruleSet, true);
    into.setUint32(at + 4, value.generation, true);
    into.setUint32(at + 8, value.owner, true);
    into.setUint32(at + 12, value.ingressDefault, true);
    into.setUint32(at + 16, value.egressDefault, true);
    into.setUint32(at + 20, value.ingressPorts, true);
    into.setUint32(at + 24, value.egressPorts, true);
    into.setUint8(at + 28, value.ingressEnforced);
    into.setUint8(at + 29, value.egressEnforced);
    into.setUint16(at + 30, value.flags, true);
    into.setUint32(at + 32, value.audit, true);
  },
  decode(from, at = 0) {
    return {
      ruleSet: from.getUint32(at + 0, true),
      generation: from.getUint32(at + 4, true),
      owner: from.getUint32(at + 8, true),
      ingressDefault: from.getUint32(at + 12, true),
      egressDefault: from.getUint32(at + 16, true),
      ingressPorts: from.getUint32(at + 20, true),
      egressPorts: from.getUint32(at + 24, true),
      ingressEnforced: from.getUint8(at + 28),
      egressEnforced: from.getUint8(at + 29),
      flags: from.getUint16(at + 30, true),
      audit: from.getUint32(at + 32, true),
    };
  },
};

/** Changes when the layout of struct subject does. */
export const subjectLayout = "105412d1";

export interface BlockKey {
  readonly prefix: number;
  readonly ruleSet: number;
  readonly address: Uint8Array;
}

export const blockKeyCodec: Codec<BlockKey> = {
  size: 24,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.prefix, true);
    into.setUint32(at + 4, value.ruleSet, true);
    writeBytes(into, at + 8, 16, value.address);
  },
  decode(from, at = 0) {
    return {
      prefix: from.getUint32(at + 0, true),
      ruleSet: from.getUint32(at + 4, true),
      address: readBytes(from, at + 8, 16),
    };
  },
};

/** Changes when the layout of struct block_key does. */
export const blockKeyLayout = "894e5689";

export interface Block {
  readonly world: number;
  readonly node: number;
  readonly pod: number;
}

export const blockCodec: Codec<Block> = {
  size: 12,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.world, true);
    into.setUint32(at + 4, value.node, true);
    into.setUint32(at + 8, value.pod, true);
  },
  decode(from, at = 0) {
    return {
      world: from.getUint32(at + 0, true),
      node: from.getUint32(at + 4, true),
      pod: from.getUint32(at + 8, true),
    };
  },
};

/** Changes when the layout of struct block does. */
export const blockLayout = "f09cbadc";

export interface PolicyKey {
  readonly ruleSet: number;
  readonly peer: number;
  readonly port: number;
  readonly protocol: number;
  readonly direction: number;
  readonly portPrefix: number;
  readonly tier: number;
}

export const policyKeyCodec: Codec<PolicyKey> = {
  size: 16,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.ruleSet, true);
    into.setUint32(at + 4, value.peer, true);
    into.setUint16(at + 8, value.port, false);
    into.setUint8(at + 10, value.protocol);
    into.setUint8(at + 11, value.direction);
    into.setUint8(at + 12, value.portPrefix);
    into.setUint8(at + 13, value.tier);
    into.setUint8(at + 14, 0); into.setUint8(at + 15, 0);
  },
  decode(from, at = 0) {
    return {
      ruleSet: from.getUint32(at + 0, true),
      peer: from.getUint32(at + 4, true),
      port: from.getUint16(at + 8, false),
      protocol: from.getUint8(at + 10),
      direction: from.getUint8(at + 11),
      portPrefix: from.getUint8(at + 12),
      tier: from.getUint8(at + 13),
    };
  },
};

/** Changes when the layout of struct policy_key does. */
export const policyKeyLayout = "d423ea76";

export interface PolicyEntry {
  readonly precedence: number;
  readonly rule: number;
  readonly proxyPort: number;
  readonly verdict: number;
}

export const policyEntryCodec: Codec<PolicyEntry> = {
  size: 12,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.precedence, true);
    into.setUint32(at + 4, value.rule, true);
    into.setUint16(at + 8, value.proxyPort, true);
    into.setUint8(at + 10, value.verdict);
    into.setUint8(at + 11, 0);
  },
  decode(from, at = 0) {
    return {
      precedence: from.getUint32(at + 0, true),
      rule: from.getUint32(at + 4, true),
      proxyPort: from.getUint16(at + 8, true),
      verdict: from.getUint8(at + 10),
    };
  },
};

/** Changes when the layout of struct policy_entry does. */
export const policyEntryLayout = "098be2cf";

export interface Host {
  readonly subject: number;
  readonly flags: number;
}

export const hostCodec: Codec<Host> = {
  size: 8,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.subject, true);
    into.setUint32(at + 4, value.flags, true);
  },
  decode(from, at = 0) {
    return {
      subject: from.getUint32(at + 0, true),
      flags: from.getUint32(at + 4, true),
    };
  },
};

/** Changes when the layout of struct host does. */
export const hostLayout = "dbd43162";

export const FlowZone = {
  JUDGED: 0,
  PRE_NAT: 1,
} as const;
export type FlowZone = (typeof FlowZone)[keyof typeof FlowZone];
/** FlowZone by number. */
export const flowZoneNames: ReadonlyMap<number, keyof typeof FlowZone> = new Map([
  [0, "JUDGED"],
  [1, "PRE_NAT"],
]);

export interface FlowKey {
  readonly low: Uint8Array;
  readonly high: Uint8Array;
  readonly lowPort: number;
  readonly highPort: number;
  readonly protocol: number;
  readonly zone: number;
}

export const flowKeyCodec: Codec<FlowKey> = {
  size: 40,
  encode(value, into, at = 0) {
    writeBytes(into, at + 0, 16, value.low);
    writeBytes(into, at + 16, 16, value.high);
    into.setUint16(at + 32, value.lowPort, false);
    into.setUint16(at + 34, value.highPort, false);
    into.setUint8(at + 36, value.protocol);
    into.setUint8(at + 37, value.zone);
    into.setUint8(at + 38, 0); into.setUint8(at + 39, 0);
  },
  decode(from, at = 0) {
    return {
      low: readBytes(from, at + 0, 16),
      high: readBytes(from, at + 16, 16),
      lowPort: from.getUint16(at + 32, false),
      highPort: from.getUint16(at + 34, false),
      protocol: from.getUint8(at + 36),
      zone: from.getUint8(at + 37),
    };
  },
};

/** Changes when the layout of struct flow_key does. */
export const flowKeyLayout = "178052fe";

export interface FlowState {
  readonly expires: number;
  readonly flags: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  readonly sourceGeneration: number;
  readonly destinationGeneration: number;
  readonly egressRule: number;
  readonly ingressRule: number;
  readonly quota: number;
  readonly moved: number;
  readonly packets: bigint;
  readonly bytes: bigint;
}

export const flowStateCodec: Codec<FlowState> = {
  size: 56,
  encode(value, into, at = 0) {
    into.setUint32(at + 0, value.expires, true);
    into.setUint32(at + 4, value.flags, true);
    into.setUint32(at + 8, value.sourceIdentity, true);
    into.setUint32(at + 12, value.destinationIdentity, true);
    into.setUint32(at + 16, value.sourceGeneration, true);
    into.setUint32(at + 20, value.destinationGeneration, true);
    into.setUint32(at + 24, value.egressRule, true);
    into.setUint32(at + 28, value.ingressRule, true);
    into.setUint32(at + 32, value.quota, true);
    into.setUint32(at + 36, value.moved, true);
    into.setBigUint64(at + 40, value.packets, true);
    into.setBigUint64(at + 48, value.bytes, true);
  },
  decode(from, at = 0) {
    return {
      expires: from.getUint32(at + 0, true),
      flags: from.getUint32(at + 4, true),
      sourceIdentity: from.getUint32(at + 8, true),
      destinationIdentity: from.getUint32(at + 12, true),
      sourceGeneration: from.getUint32(at + 16, true),
      destinationGeneration: from.getUint32(at + 20, true),
      egressRule: from.getUint32(at + 24, true),
      ingressRule: from.getUint32(at + 28, true),
      quota: from.getUint32(at + 32, true),
      moved: from.getUint32(at + 36, true),
      packets: from.getBigUint64(at + 40, true),
      bytes: from.getBigUint64(at + 48, true),
    };
  },
};

/** Changes when the layout of struct flow_state does. */
export const flowStateLayout = "fd017de8";

export interface Quota {
  readonly paidNs: bigint;
}

export const quotaCodec: Codec<Quota> = {
  size: 8,
  encode(value, into, at = 0) {
    into.setBigUint64(at + 0, value.paidNs, true);
  },
  decode(from, at = 0) {
    return {
      paidNs: from.getBigUint64(at + 0, true),
    };
  },
};

/** Changes when the layout of struct quota does. */
export const quotaLayout = "4a93d5a7";

export interface FragmentKey {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly id: number;
  readonly protocol: number;
}

export const fragmentKeyCodec: Codec<FragmentKey> = {
  size: 40,
  encode(value, into, at = 0) {
    writeBytes(into, at + 0, 16, value.source);
    writeBytes(into, at + 16, 16, value.destination);
    into.setUint32(at + 32, value.id, false);
    into.setUint8(at + 36, value.protocol);
    into.setUint8(at + 37, 0); into.setUint8(at + 38, 0); into.setUint8(at + 39, 0);
  },
  decode(from, at = 0) {
    return {
      source: readBytes(from, at + 0, 16),
      destination: readBytes(from, at + 16, 16),
      id: from.getUint32(at + 32, false),
      protocol: from.getUint8(at + 36),
    };
  },
};

/** Changes when the layout of struct fragment_key does. */
export const fragmentKeyLayout = "12e084c0";

export interface FragmentPorts {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export const fragmentPortsCodec: Codec<FragmentPorts> = {
  size: 4,
  encode(value, into, at = 0) {
    into.setUint16(at + 0, value.sourcePort, false);
    into.setUint16(at + 2, value.destinationPort, false);
  },
  decode(from, at = 0) {
    return {
      sourcePort: from.getUint16(at + 0, false),
      destinationPort: from.getUint16(at + 2, false),
    };
  },
};

/** Changes when the layout of struct fragment_ports does. */
export const fragmentPortsLayout = "7f7516ac";

export interface Node {
  readonly routerIpv4: Uint8Array;
  readonly routerIpv6: Uint8Array;
  readonly address: Uint8Array;
}

export const nodeCodec: Codec<Node> = {
  size: 48,
  encode(value, into, at = 0) {
    writeBytes(into, at + 0, 16, value.routerIpv4);
    writeBytes(into, at + 16, 16, value.routerIpv6);
    writeBytes(into, at + 32, 16, value.address);
  },
  decode(from, at = 0) {
    return {
      routerIpv4: readBytes(from, at + 0, 16),
      routerIpv6: readBytes(from, at + 16, 16),
      address: readBytes(from, at + 32, 16),
    };
  },
};

/** Changes when the layout of struct node does. */
export const nodeLayout = "93d646ee";

export interface Event {
  readonly timeNs: bigint;
  readonly type: number;
  readonly direction: number;
  readonly verdict: number;
  readonly protocol: number;
  readonly reason: number;
  readonly endpoint: number;
  readonly rule: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  readonly ifindex: number;
  readonly length: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly tcpFlags: number;
  readonly hook: number;
  readonly icmpType: number;
}

export const eventCodec: Codec<Event> = {
  size: 80,
  encode(value, into, at = 0) {
    into.setBigUint64(at + 0, value.timeNs, true);
    into.setUint8(at + 8, value.type);
    into.setUint8(at + 9, value.direction);
    into.setUint8(at + 10, value.verdict);
    into.setUint8(at + 11, value.protocol);
    into.setUint16(at + 12, value.reason, true);
    into.setUint16(at + 14, value.endpoint, true);
    into.setUint32(at + 16, value.rule, true);
    into.setUint32(at + 20, value.sourceIdentity, true);
    into.setUint32(at + 24, value.destinationIdentity, true);
    into.setUint32(at + 28, value.ifindex, true);
    into.setUint32(at + 32, value.length, true);
    into.setUint16(at + 36, value.sourcePort, false);
    into.setUint16(at + 38, value.destinationPort, false);
    writeBytes(into, at + 40, 16, value.source);
    writeBytes(into, at + 56, 16, value.destination);
    into.setUint8(at + 72, value.tcpFlags);
    into.setUint8(at + 73, value.hook);
    into.setUint8(at + 74, value.icmpType);
    into.setUint8(at + 75, 0); into.setUint8(at + 76, 0); into.setUint8(at + 77, 0); into.setUint8(at + 78, 0); into.setUint8(at + 79, 0);
  },
  decode(from, at = 0) {
    return {
      timeNs: from.getBigUint64(at + 0, true),
      type: from.getUint8(at + 8),
      direction: from.getUint8(at + 9),
      verdict: from.getUint8(at + 10),
      protocol: from.getUint8(at + 11),
      reason: from.getUint16(at + 12, true),
      endpoint: from.getUint16(at + 14, true),
      rule: from.getUint32(at + 16, true),
      sourceIdentity: from.getUint32(at + 20, true),
      destinationIdentity: from.getUint32(at + 24, true),
      ifindex: from.getUint32(at + 28, true),
      length: from.getUint32(at + 32, true),
      sourcePort: from.getUint16(at + 36, false),
      destinationPort: from.getUint16(at + 38, false),
      source: readBytes(from, at + 40, 16),
      destination: readBytes(from, at + 56, 16),
      tcpFlags: from.getUint8(at + 72),
      hook: from.getUint8(at + 73),
      icmpType: from.getUint8(at + 74),
    };
  },
};

/** Changes when the layout of struct event does. */
export const eventLayout = "dc945897";

export interface MetricKey {
  readonly reason: number;
  readonly direction: number;
}

export const metricKeyCodec: Codec<MetricKey> = {
  size: 4,
  encode(value, into, at = 0) {
    into.setUint16(at + 0, value.reason, true);
    into.setUint8(at + 2, value.direction);
    into.setUint8(at + 3, 0);
  },
  decode(from, at = 0) {
    return {
      reason: from.getUint16(at + 0, true),
      direction: from.getUint8(at + 2),
    };
  },
};

/** Changes when the layout of struct metric_key does. */
export const metricKeyLayout = "40bfef7d";

export interface Metric {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export const metricCodec: Codec<Metric> = {
  size: 16,
  encode(value, into, at = 0) {
    into.setBigUint64(at + 0, value.packets, true);
    into.setBigUint64(at + 8, value.bytes, true);
  },
  decode(from, at = 0) {
    return {
      packets: from.getBigUint64(at + 0, true),
      bytes: from.getBigUint64(at + 8, true),
    };
  },
};

/** Changes when the layout of struct metric does. */
export const metricLayout = "94fef952";

export interface RuleHit {
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly lastNs: bigint;
}

export const ruleHitCodec: Codec<RuleHit> = {
  size: 24,
  encode(value, into, at = 0) {
    into.setBigUint64(at + 0, value.packets, true);
    into.setBigUint64(at + 8, value.bytes, true);
    into.setBigUint64(at + 16, value.lastNs, true);
  },
  decode(from, at = 0) {
    return {
      packets: from.getBigUint64(at + 0, true),
      bytes: from.getBigUint64(at + 8, true),
      lastNs: from.getBigUint64(at + 16, true),
    };
  },
};

/** Changes when the layout of struct rule_hit does. */
export const ruleHitLayout = "0cfae75a";

function readBytes(from: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(from.buffer, from.byteOffset + at, length).slice();
}

function writeBytes(into: DataView, at: number, length: number, bytes: Uint8Array): void {
  if (bytes.length !== length) throw new RangeError(`${length} bytes wanted, ${bytes.length} given`);
  // Byte by byte: for so few, a view on the buffer costs many times what it saves, and maps are filled by the hundred thousand.
  for (let i = 0; i < length; i++) into.setUint8(at + i, bytes[i] as number);
}
