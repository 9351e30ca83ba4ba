/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program knows about the packet in its hands. It lives in a per-CPU map value and not on the
 * 512-byte stack; tc programs run with bottom halves off and never nest in themselves on one CPU.
 *
 * Convention of every step: it returns GO_ON, or a final TC action (a positive number or `DONE_OK`),
 * or `-(enum drop_reason)`. Only `finish` (events.h) turns a reason into a drop.
 */
#ifndef CILIUM_PACKET_H
#define CILIUM_PACKET_H

#define GO_ON 0
#define DONE_OK 1 /* TC_ACT_OK is 0, which means GO_ON between steps */

#define PACKET_IPV6 1u
#define PACKET_REPLY 2u       /* travels against the direction in which its flow was opened */
#define PACKET_LOW 4u         /* its source is the `low` side of the flow key */
#define PACKET_LATER_FRAGMENT 8u /* has no transport header of its own */
#define PACKET_ICMP_ERROR 16u /* carries the tuple of the flow that it is about */
#define PACKET_FIRST_FRAGMENT 32u /* its ports are those of the later ones */
#define PACKET_FRAGMENT_HEADER 64u /* IPv6, also the header of an atomic fragment */
#define PACKET_HOST_FLOW 128u /* of the node's own network namespace, or forwarded under its address: no pod pays for it */
#define PACKET_ANSWER 256u    /* its destination opened the flow, whatever the packet says */
#define PACKET_MAY_ANSWER 512u /* its destination may have opened the flow, as in the middle of a connection */

#define NS_PER_SECOND 1000000000ull
#define QUOTE_LENGTH 96 /* bytes of the offending packet in an ICMP error; a multiple of 4 for bpf_csum_diff */

/* One end of the packet as this node sees it. */
struct side {
	__u32 identity;
	__u32 subject;    /* 0 and local: closed */
	__u32 generation; /* of the subject; 0 when not local */
	__u32 ports;      /* class of its named ports; 0: none */
	__u16 endpoint;   /* id; 0: no endpoint of this node, judged elsewhere */
	__u16 pad;
};

/* Checksummed part of ICMP errors. */
struct icmp_error {
	struct icmp_header header;
	__u8 quote[QUOTE_LENGTH];
};

/* RFC 8200 8.1. */
struct pseudo_header {
	__u8 source[16];
	__u8 destination[16];
	__be32 length_be;
	__be32 next_header_be;
};

/*
 * What a program is called with, where it does not matter: a packet, but in the one that answers who looks for a socket
 * (socket.bpf.c), which has no device.
 */
#ifndef CONTEXT
#define CONTEXT struct __sk_buff
#define WITH_CONTEXT __attribute__((noinline)) /* of a global function that takes it */
#define DEVICE_OF(context) ((context)->ifindex)
#define HAS_FORMER 1 /* in `former_hooks`, while flows move */
#endif

struct packet {
	/* Zero when a program begins: steps leave out what a packet has not, and an event shows what was not parsed as nothing. */
	struct address source;      /* of the IP header */
	struct address destination;
	struct address flow_source; /* of the flow: differs from `source` in ICMP errors only */
	struct flow_state fresh;
	struct peer peer;           /* of the address that was looked up last */
	struct side from;
	struct side to;
	__u32 offset;               /* of the transport header */
	__u32 end;                  /* offset behind the IP packet: what follows in the frame is padding */
	__u32 flow_flags;           /* CT_* of the flow's entry once it is tracked */
	__u32 flags;                /* PACKET_* */
	__u32 mtu;                  /* that the packet exceeds */
	__u32 rule;                 /* that decided last */
	__u32 local_process;        /* made by a process of this node */
	__u16 source_port_be;       /* of the flow */
	__u16 destination_port_be;
	__u16 endpoint;             /* id of the judging endpoint */
	__u16 type;                 /* ethertype, host order */
	__u8 protocol;              /* of the packet */
	__u8 flow_protocol;         /* of the flow: the quoted packet's in ICMP errors */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 hook;
	__u8 direction;
	__u8 verdict;
	__u8 pad;
	struct ethernet_header ethernet __attribute__((aligned(8)));
	__u8 transport[24] __attribute__((aligned(8)));
	/* From here on a step writes before it reads: these bytes are an earlier packet's. */
	struct flow_key key;
	struct fragment_key fragment;
	struct address node;        /* overlay: underlay address of the sender's node */
	struct cidr_key cidr;
	struct block_key block;
	struct policy_key policy;
	__u64 now_ns;               /* CLOCK_MONOTONIC, when the program began */
	__u32 now;                  /* seconds of it */
	__u32 length;               /* of the packet with its Ethernet header */
	__u32 block_class;          /* of the peer being judged, 0: none; likewise */
	__u32 ports_class;
	__u32 rank;                 /* precedence of `rule` */
	__u32 matched;
	__u32 vni;
	__u16 port_be;              /* of the side that the flow was opened to */
	__u16 pad_port;
	union {
		struct arp_packet arp;
		struct ipv4_header ipv4;
		struct ipv6_header ipv6;
	} __attribute__((aligned(8)));
	struct ipv6_extension extension;
	union {
		struct icmp_error error;
		struct neighbour_message neighbour;
	} __attribute__((aligned(8)));
	struct pseudo_header pseudo;
	struct bpf_tunnel_key tunnel;
	struct bpf_fib_lookup fib;
	struct bpf_redir_neigh next_hop;
};

#define PACKET_ZEROED __builtin_offsetof(struct packet, key)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} scratch SEC(".maps");

static __always_inline struct packet *current_packet(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

/* CLOCK_MONOTONIC, if the kernel has it (5.11) as its last tick left it: reading the counter behind it would be a tenth of
 * what a packet costs. */
static __always_inline __u64 clock_ns(void)
{
	return config_coarse_clock ? bpf_ktime_get_coarse_ns() : bpf_ktime_get_ns();
}

static __always_inline struct packet *packet_of_length(__u32 length, __u8 hook, __u8 direction)
{
	struct packet *p = current_packet();

	if (!p)
		return 0;
	__builtin_memset(p, 0, PACKET_ZEROED);
	p->length = length;
	p->now_ns = clock_ns();
	p->now = p->now_ns / NS_PER_SECOND;
	p->hook = hook;
	p->direction = direction;
	return p;
}

static __always_inline struct packet *packet_begin(struct __sk_buff *skb, __u8 hook, __u8 direction)
{
	return packet_of_length(skb->len, hook, direction);
}

/* That there is no room to remember a flow cuts nobody from the node: the next packet is judged as this one was. */
static __always_inline int pass_unremembered(int step)
{
	return step == -DROP_FLOW_QUOTA || step == -DROP_CT_INSERT_FAILED ? GO_ON : step;
}

/* ---------------------------------------------------------------- addresses */

/* Both arguments are 8-byte aligned: every struct address here and every address field in types.h except
 * that of cidr_key. */
static __always_inline void copy_address(void *to, const void *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u64 *)to)[1] = ((const __u64 *)from)[1];
}

static __always_inline int same_address(const void *a, const void *b)
{
	return ((const __u64 *)a)[0] == ((const __u64 *)b)[0] && ((const __u64 *)a)[1] == ((const __u64 *)b)[1];
}

static __always_inline int is_numerically_smaller(const void *a, const void *b)
{
	__u64 x = bpf_be64_to_cpu(((const __u64 *)a)[0]), y = bpf_be64_to_cpu(((const __u64 *)b)[0]);

	if (x != y)
		return x < y;
	return bpf_be64_to_cpu(((const __u64 *)a)[1]) < bpf_be64_to_cpu(((const __u64 *)b)[1]);
}

static __always_inline int is_zero_address(const void *a)
{
	return !((const __u64 *)a)[0] && !((const __u64 *)a)[1];
}

static __always_inline int same_option(const void *a, const volatile struct address *option)
{
	const volatile __u64 *b = (const volatile __u64 *)option;

	return ((const __u64 *)a)[0] == b[0] && ((const __u64 *)a)[1] == b[1];
}

/* In the two words in which addresses are read: a processor waits for a word that was written in pieces. */
static __always_inline void map_ipv4(void *to, __be32 address)
{
	__u64 *words = to;

	words[0] = 0;
	words[1] = bpf_htonl(0xffff) | (__u64)address << 32; /* the only byte order that there is an object for */
}

static __always_inline int is_mapped_ipv4(const void *a)
{
	const __u32 *words = a;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

/* 127.0.0.0/8, ::1 */
static __always_inline int is_loopback(const void *a)
{
	if (is_mapped_ipv4(a))
		return ((const __u8 *)a)[12] == 127;
	return !((const __u64 *)a)[0] && ((const __u64 *)a)[1] == bpf_cpu_to_be64(1);
}

static __always_inline int is_link_local(const void *a)
{
	const __u8 *bytes = a;

	return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

/* 224.0.0.0/4, ff00::/8 */
static __always_inline int is_multicast(const void *a)
{
	const __u8 *bytes = a;

	return is_mapped_ipv4(a) ? bytes[12] >> 4 == 14 : bytes[0] == 0xff;
}

static __always_inline int is_broadcast(const void *a)
{
	return is_mapped_ipv4(a) && ((const __u32 *)a)[3] == 0xffffffff;
}

/* 0.0.0.0/8 (RFC 1122 3.2.1.3), :: */
static __always_inline int is_nowhere(const void *a)
{
	return is_zero_address(a) || (is_mapped_ipv4(a) && !((const __u8 *)a)[12]);
}

static __always_inline int same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const __u16 *)a, *y = (const __u16 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* On a link that is closed still, broadcast and multicast are the kernel's own chatter: worth no event. */
static __always_inline int refuse_closed(const struct packet *p, int step)
{
	return p->ethernet.destination[0] & 1 ? TC_ACT_SHOT : step;
}

static __always_inline void copy_mac(__u8 *to, const __u8 *from)
{
	__u16 *x = (__u16 *)to;
	const __u16 *y = (const __u16 *)from;

	x[0] = y[0];
	x[1] = y[1];
	x[2] = y[2];
}

/* ---------------------------------------------------------------- sending */

static __always_inline void set_mark(struct __sk_buff *skb, __u32 origin, __u32 endpoint)
{
	skb->mark = origin | endpoint << 16;
}

/* Writes p->ethernet over the packet's. */
static __always_inline int store_ethernet(struct __sk_buff *skb, struct packet *p)
{
	if (bpf_skb_store_bytes(skb, 0, &p->ethernet, ETHERNET_LENGTH, 0))
		return -DROP_INVALID_PACKET;
	return GO_ON;
}

#endif /* CILIUM_PACKET_H */
