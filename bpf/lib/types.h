/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte layout that the kernel programs share with user space, and nothing else.
 *
 * This file is the only home of these layouts: TypeScript codecs are generated from the BTF of an
 * object that includes it (`make generate`), and `make verify` fails when they differ. A change
 * here changes the layout hash in the pin paths of the maps that use the struct.
 *
 * Conventions
 * - Addresses are 16 bytes in network order. IPv4 is written v4-mapped (::ffff:a.b.c.d, RFC 4291
 *   2.5.5.2), so that one map and one lookup serve both families. `/96 + n` is an IPv4 prefix of n.
 * - Fields named *_be are in network byte order; all others are in host order.
 * - Times are seconds of CLOCK_MONOTONIC (bpf_ktime_get_ns / 1e9) unless the name says ns.
 * - All padding is explicit and zero: map keys are compared byte by byte.
 */
#ifndef CILIUM_TYPES_H
#define CILIUM_TYPES_H

/* ---------------------------------------------------------------- enums */

/* Slots of the program array `hooks`. The permanent stub on a device tail-calls into its slot. */
enum hook {
	HOOK_FROM_CONTAINER = 0, /* tc ingress of a pod's host-side veth: packets the pod sends */
	HOOK_TO_CONTAINER = 1,   /* tc egress of it: packets that reach the pod through the stack */
	HOOK_FROM_NETDEV = 2,    /* tc ingress of an underlay device */
	HOOK_TO_NETDEV = 3,      /* tc egress of an underlay device */
	HOOK_FROM_OVERLAY = 4,   /* tc ingress of cilium_vxlan */
	HOOK_FROM_HOST = 5,      /* tc egress of cilium_host: the stack sends to a remote pod */
	HOOK_COUNT = 6,
	HOOK_TO_SOCKET = 7,      /* no slot, of no device: what looks for a socket of the node */
};

/* Reserved identities; the numbers are the field's. Cluster identities start at 256, are 24 bits wide
 * and travel in the VNI. Identities from 1 << 24 on are local to a node and never go on the wire. An
 * outside address is WORLD_IPV4 or WORLD_IPV6; WORLD stands in the VNI, where the packet tells the family. */
enum identity {
	IDENTITY_UNKNOWN = 0,
	IDENTITY_HOST = 1,
	IDENTITY_WORLD = 2,
	IDENTITY_UNMANAGED = 3,
	IDENTITY_HEALTH = 4,
	IDENTITY_INIT = 5,
	IDENTITY_REMOTE_NODE = 6,
	IDENTITY_KUBE_APISERVER = 7,
	IDENTITY_INGRESS = 8,
	IDENTITY_WORLD_IPV4 = 9,
	IDENTITY_WORLD_IPV6 = 10,
	IDENTITY_FIRST_CLUSTER = 256,
	IDENTITY_FIRST_LOCAL = 16777216,
};

enum direction {
	DIRECTION_INGRESS = 0,
	DIRECTION_EGRESS = 1,
};

enum verdict {
	VERDICT_ALLOW = 0,
	VERDICT_DENY = 1,
	VERDICT_AUDIT = 2, /* passes; a policy that only watches would have dropped it */
	VERDICT_PASS = 3,  /* of TIER_ADMIN: the next tier decides. Never in an event. */
};

/* Tiers of rules, the first to be asked. A key of `policy` belongs to one. */
enum tier {
	TIER_POLICIES = 0, /* policies, and what an administrator puts below them */
	TIER_ADMIN = 1,    /* before all others */
};

enum event_type {
	EVENT_DROP = 1,
	EVENT_VERDICT = 2, /* first packet of a flow was judged and may pass */
};

/* Numbers up to 203 are the field's wire contract (flow.DropReason) where the meaning is the same;
 * 300 and above are ours. */
enum drop_reason {
	DROP_INVALID_SOURCE_MAC = 130,
	DROP_INVALID_SOURCE_IP = 132,
	DROP_POLICY_DENIED = 133,   /* no rule allows it: default deny */
	DROP_INVALID_PACKET = 134,  /* truncated or malformed */
	DROP_UNSUPPORTED_L3 = 139,  /* ethertype that is neither IPv4, IPv6 nor ARP */
	DROP_UNKNOWN_L4 = 142,
	DROP_FRAGMENT_NOT_FOUND = 157, /* later fragment before the first one */
	DROP_CT_INSERT_FAILED = 155,
	DROP_INVALID_IDENTITY = 171,
	DROP_UNKNOWN_SENDER = 172,
	DROP_POLICY_DENY = 181,     /* a deny rule matched */
	DROP_UNENCRYPTED = 195,     /* between nodes, outside WireGuard, while encryption is in force */
	DROP_NO_TUNNEL_ENDPOINT = 160,
	DROP_EXTENSION_HEADER = 156,
	DROP_UNKNOWN_IDENTITY = 300,   /* cluster pod address without an identity yet */
	DROP_POLICY_NOT_READY = 301,   /* the endpoint's own rule set is not applied yet */
	DROP_SPOOFED_OVERLAY = 302,    /* outer source is no node, or inner source not that node's */
	DROP_SPOOFED_UNDERLAY = 303,   /* pod source address on the underlay, outside the tunnel */
	DROP_FORGED_NEIGHBOUR = 304,   /* ARP or ND for an address that is not the sender's; RA, redirect, MLD query */
	DROP_TUNNEL_PORT = 305,        /* a pod sends to a node's tunnel port */
	DROP_PACKET_TOO_BIG = 306,     /* answered with ICMP fragmentation needed or Packet Too Big */
	DROP_UNJUDGED_EXIT = 307,      /* left the stack where no program could judge it */
	DROP_UNKNOWN_ENDPOINT = 308,   /* no endpoint is configured on this device */
	DROP_FORGED_DHCP = 309,
	DROP_FLOW_QUOTA = 320,         /* too many flows of this endpoint that nobody answers */
	DROP_SOURCE_ROUTE = 330,       /* IPv4 option or IPv6 routing header that names further destinations */
	DROP_LINK_ONLY = 331,          /* multicast, broadcast or IPv6 link-local: nobody else is on a pod's link */
};

/* ---------------------------------------------------------------- endpoints */

#define ENDPOINT_READY 1u        /* policy applied: without it every packet is dropped */

/* A pod of this node. The same value stands in two maps, written by one function of the agent:
 * `interfaces` (host-side ifindex -> endpoint) and `endpoints` (pod address -> endpoint). */
struct endpoint {
	unsigned int ifindex;      /* host side of the pod's veth */
	unsigned int identity;
	unsigned int subject;      /* slot in `subjects`; 0 is never used and means: closed */
	unsigned int ports;        /* class of its identity and named ports; 0: it names none */
	unsigned short id;         /* 1..65535, unique on the node; travels in the upper half of skb->mark */
	unsigned short mtu;        /* of the pod's link */
	unsigned int flags;        /* ENDPOINT_* */
	unsigned char mac[6];      /* the pod's own MAC */
	unsigned char host_mac[6]; /* the host side's MAC: the pod's gateway */
	unsigned char pad[4];
	unsigned char ipv4[16];    /* v4-mapped; zero when absent */
	unsigned char ipv6[16];    /* zero when absent */
};

struct address {
	unsigned char bytes[16];
};

/* ---------------------------------------------------------------- identities of addresses */

#define PEER_TUNNEL 1u      /* reached through the tunnel at `node` */
#define PEER_POD_CIDR 2u    /* a pod CIDR of a node, not one pod: identity is IDENTITY_UNKNOWN */
#define PEER_ROUTER 4u      /* that node's router address */
#define PEER_DIRECT 8u      /* of another node, reached by the underlay's routes and believed from underlay devices */
#define PEER_BARE 16u       /* of another node, believed from underlay devices, also where it is reached through the tunnel */
#define PEER_OWN 32u      /* this node has the address, though others know somebody else by it: what is sent there is sent to the node */

/* In the map `encryption`: what is dropped unless WireGuard has it. */
#define ENCRYPTION_SENDING 1u /* what the node would send to another node's pods */
#define ENCRYPTION_RECEIPT 2u /* what comes from another node's pods, as all others enforce the first */

/* Key of the LPM map `cidrs`; `prefix` counts bits of `address` (IPv4: 96 + n). */
struct cidr_key {
	unsigned int prefix;
	unsigned char address[16];
};

/* Value of `ipcache` (exact address -> peer) and of `cidrs` (CIDR -> peer).
 * An address enters `ipcache` only after the policy entries of its identity and class are written. */
struct peer {
	unsigned int identity;
	unsigned int flags;      /* PEER_* */
	unsigned int ports;      /* class of the pod's identity and named ports; 0: none */
	unsigned int pad;
	unsigned char node[16];  /* underlay address of the peer's node; zero: neither sent nor believed through the tunnel */
};

/* ---------------------------------------------------------------- policy */

/* A peer in the keys of `policy` is an identity, or one of two kinds of classes, whose numbers lie above all
 * identities. Below CLASS_PORTS: addresses for which the same blocks of one rule set hold, numbered within it.
 * From CLASS_PORTS on: pods of one identity with the same named ports, numbered on the node. */
#define CLASS_BLOCKS 0x02000000u
#define CLASS_PORTS 0x80000000u

#define SUBJECT_INGRESS_BLOCKS 1u /* `blocks` has entries of the rule set, and `policy` their classes */
#define SUBJECT_EGRESS_BLOCKS 2u
#define SUBJECT_NAMED_PORTS 4u    /* its egress names ports: `policy` has entries of destination pods' classes */
#define SUBJECT_INGRESS_ADMIN 8u  /* `policy` has entries of TIER_ADMIN */
#define SUBJECT_EGRESS_ADMIN 16u

/* Value of `subjects`: slot -> what pods that run on this node must obey. One update flips them from one rule
 * set to the next. The generation only grows; conntrack entries judged under another one are judged again. */
struct subject {
	unsigned int rule_set;        /* number in the keys of `policy` and `blocks`; 0: closed */
	unsigned int generation;
	unsigned int owner;           /* whose slot: an identity, or where its own named ports count, their class */
	unsigned int ingress_default; /* rule id of the default deny, 0 when not enforced */
	unsigned int egress_default;
	unsigned int ingress_ports;   /* bit n set: some key has port_prefix n, 0..16 */
	unsigned int egress_ports;
	unsigned char ingress_enforced; /* 0: everything passes in this direction unless denied */
	unsigned char egress_enforced;
	unsigned short flags;         /* SUBJECT_* */
	unsigned int audit;           /* slot of what would hold if the policies that only watch were enforced too; 0: none watch */
};

/* Key of the LPM trie `blocks`; `prefix` counts the 32 bits of rule_set and those of `address`. */
struct block_key {
	unsigned int prefix;
	unsigned int rule_set;
	unsigned char address[16];
};

/* Whom the blocks around an address mean, by the kind of peer that has it; 0: nobody. */
struct block {
	unsigned int world;           /* class in the keys of `policy` */
	unsigned int node;
	unsigned int pod;
};

/* Key of the hash `policy`. peer 0 is any; protocol 0 with port_prefix 0 is any protocol and port. */
struct policy_key {
	unsigned int rule_set;
	unsigned int peer;            /* identity or class */
	unsigned short port_be;       /* destination port, masked to port_prefix bits; ICMP: type of the request */
	unsigned char protocol;
	unsigned char direction;      /* enum direction */
	unsigned char port_prefix;    /* 0..16 */
	unsigned char tier;           /* enum tier */
	unsigned char pad[2];
};

/* Of all entries of a tier that match, the greatest precedence decides (deny is greater than allow). */
struct policy_entry {
	unsigned int precedence;
	unsigned int rule;            /* rule id, as in CiliumNodeState */
	unsigned short proxy_port;    /* reserved for L7; always 0 now */
	unsigned char verdict;        /* enum verdict */
	unsigned char pad;
};

/* ---------------------------------------------------------------- the node itself */

#define HOST_TRACKED 1u /* what the node's own network namespace sends and receives is remembered in `flows` */

/*
 * The one value of the array `host`: zero as long as no policy selects this node, and then nobody looks at its packets.
 * Tracked without a subject they are remembered and judged by nobody, so that its flows are known when a subject comes.
 * What is remembered of that time has generation 0 on the host's side, and is not judged as long as it lasts.
 */
struct host {
	unsigned int subject; /* slot in `subjects`; 0: none */
	unsigned int flags;   /* HOST_* */
};

/* ---------------------------------------------------------------- conntrack */

enum flow_zone {
	ZONE_JUDGED = 0,  /* the tuple that was judged */
	ZONE_PRE_NAT = 1, /* as the pod sent it, before the stack chose the destination */
};

#define CT_FROM_LOW 1u      /* the side of `low` opened the flow */
#define CT_VIA_STACK 2u     /* replies must go through the stack, which may undo its address translation */
#define CT_PRE_NAT 4u       /* seen before the stack chose the destination: judged where it leaves the stack */
#define CT_REPLIED 8u       /* a reply was seen */
#define CT_CLOSING 16u      /* FIN of both sides or RST seen */
#define CT_REVOKED 32u      /* was allowed and is not any more: known, so that its packets pass for no other flow's */
#define CT_FIN_OPENER 64u   /* the side that opened the flow sends no more: half closed */
#define CT_FIN_RESPONDER 128u /* the other side sends no more */
#define CT_CONFIRMED 256u   /* the opener went on after the reply: it is no forged source */

/* Seconds without a packet until a flow is forgotten: defaults of the options of the same name. Where the stack may
 * have translated a flow, ours must not go before nf_conntrack's entry of it (its sysctls). */
#define TIMEOUT_TCP_OPENING 60u      /* until both sides were heard and the opener went on */
#define TIMEOUT_TCP_ESTABLISHED 21600u
#define TIMEOUT_TCP_HALF_CLOSED 3600u /* RFC 9293 3.6; kube-proxy gives nf_conntrack 1 h (CLOSE_WAIT) */
#define TIMEOUT_TCP_CLOSING 30u      /* FIN of both sides: LAST_ACK */
#define TIMEOUT_TCP_RESET 10u
#define TIMEOUT_SCTP_ESTABLISHED 210u /* seven heartbeats of RFC 9260 8.3 */
#define TIMEOUT_UDP 30u              /* also with one reply, as a question of DNS has it */
#define TIMEOUT_UDP_STREAM 120u      /* the opener went on after a reply */
#define TIMEOUT_ICMP 30u

/* Both directions of a flow have one key: the numerically smaller (address, port) is `low`. */
struct flow_key {
	unsigned char low[16];
	unsigned char high[16];
	unsigned short low_port_be;  /* ICMP: the identifier on the requester's side, its type on the other */
	unsigned short high_port_be;
	unsigned char protocol;
	unsigned char zone;          /* enum flow_zone: a flow before and after translation never share an entry */
	unsigned char pad[2];
};

struct flow_state {
	unsigned int expires;          /* seconds */
	unsigned int flags;            /* CT_* */
	unsigned int source_identity;  /* of the side that opened the flow, as judged */
	unsigned int destination_identity;
	unsigned int source_generation;      /* 0 when that side is no local endpoint */
	unsigned int destination_generation;
	unsigned int egress_rule;      /* deciding rule ids, 0 when not judged here or not enforced */
	unsigned int ingress_rule;
	unsigned int quota;            /* slot in `quotas` that it is charged to until it is established; 0: none */
	unsigned int moved;            /* of a flow that a take-over copied: its `packets` then (the low 32 bits); by the agent alone */
	unsigned long long packets;
	unsigned long long bytes;
};

/*
 * In `event_budgets`: endpoint id * 2 + kind of event -> when what was told of it is paid, in ns.
 * Array `quotas`: endpoint id * 2 + direction, and QUOTA_HOST -> when the endpoint has paid for the flows that it is charged with, in
 * ns. Each moves it one step further, one that is established gives its step back, and the clock pays the rest. What
 * is further than TIMEOUT_TCP_OPENING ahead is refused. So, of flows that nobody answers, an endpoint never has more
 * than twice TIMEOUT_TCP_OPENING / step, whether or not the agent runs.
 */
struct quota {
	unsigned long long paid_ns;
};

#define QUOTA_HOST 1u /* what others open to the node itself; no endpoint has id 0 */

/* Key of the LRU `fragments`: datagram -> the ports of its first fragment (RFC 791, RFC 8200 4.5). */
struct fragment_key {
	unsigned char source[16];
	unsigned char destination[16];
	unsigned int id_be;
	unsigned char protocol;
	unsigned char pad[3];
};

struct fragment_ports {
	unsigned short source_port_be;
	unsigned short destination_port_be;
};

/* ---------------------------------------------------------------- nodes and the packet mark */

/* Value of `nodes`: each underlay address of a cluster node -> what may come from it. */
struct node {
	unsigned char router_ipv4[16]; /* v4-mapped; zero when absent */
	unsigned char router_ipv6[16];
	unsigned char address[16];     /* the one of its addresses that stands in `struct peer`; zero: an earlier version wrote it, the key */
};

/* skb->mark, kept clear of kube-proxy's 0x4000 and 0x8000. Bits 8..11 tell where the packet came
 * from, bits 16..31 the endpoint id. */
#define MARK_MASK 0x0f00u
#define MARK_FROM_POD 0x0100u      /* from a local pod without egress enforcement */
#define MARK_FROM_POD_DEFER 0x0200u /* from a local pod; egress must be judged where it leaves the stack */
#define MARK_FROM_NETDEV 0x0300u   /* came in from the underlay: never the host */
#define MARK_JUDGED 0x0400u        /* judged on both ends; deliver */
#define MARK_REPLY 0x0500u         /* matched a judged flow in reply direction; the stack undoes its translation */

/* ---------------------------------------------------------------- events and counters */

/* One record of the ring buffer `events`. */
struct event {
	unsigned long long time_ns;     /* CLOCK_MONOTONIC */
	unsigned char type;             /* enum event_type */
	unsigned char direction;        /* enum direction, of the judging endpoint */
	unsigned char verdict;          /* enum verdict */
	unsigned char protocol;         /* IANA number */
	unsigned short reason;          /* enum drop_reason; of VERDICT_AUDIT the would-be drop's; 0 for other verdicts */
	unsigned short endpoint;        /* id of the judging local endpoint, 0: none */
	unsigned int rule;              /* deciding rule id, 0: none */
	unsigned int source_identity;
	unsigned int destination_identity;
	unsigned int ifindex;
	unsigned int length;            /* bytes of the packet, with its Ethernet header */
	unsigned short source_port_be;
	unsigned short destination_port_be;
	unsigned char source[16];
	unsigned char destination[16];
	unsigned char tcp_flags;
	unsigned char hook;             /* enum hook */
	unsigned char icmp_type;
	unsigned char pad[5];
};

#define METRIC_LOST_EVENTS 65535u /* reason in `metrics`: events for which the ring had no room */
#define METRIC_SPARED_EVENTS 65534u /* events that were not told because who pays for them told too many */

/* Of one endpoint and kind of event the ring takes this many at once, and one more for each step of the clock: a second's
 * worth. So one pod that scans, or is flooded, leaves the ring to the others. */
#define EVENT_STEP_NS 1000000u
#define EVENT_BURST 1000u

/* Key of the per-CPU hash `metrics`: packets and bytes by (reason, direction). Reason 0: forwarded. */
struct metric_key {
	unsigned short reason;
	unsigned char direction;
	unsigned char pad;
};

struct metric {
	unsigned long long packets;
	unsigned long long bytes;
};

/* Per-CPU hash `rule_hits`: rule id -> packets, bytes and the time of the last one. */
struct rule_hit {
	unsigned long long packets;
	unsigned long long bytes;
	unsigned long long last_ns;
};

#endif /* CILIUM_TYPES_H */
