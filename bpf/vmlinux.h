/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few kernel types and constants that the programs use, after the kernel's UAPI headers
 * (linux/bpf.h, linux/pkt_cls.h). All of it is stable ABI, so no CO-RE relocation is needed and no
 * header of the build machine takes part in the build.
 */
#ifndef CILIUM_VMLINUX_H
#define CILIUM_VMLINUX_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1u << 0,
};

/* bpf_skb_set_tunnel_key, bpf_skb_get_tunnel_key */
enum {
	BPF_F_TUNINFO_IPV6 = 1u << 0,
	BPF_F_ZERO_CSUM_TX = 1u << 1,
};

/* bpf_skb_adjust_room */
enum bpf_adj_room_mode {
	BPF_ADJ_ROOM_NET = 0,
	BPF_ADJ_ROOM_MAC = 1,
};

enum {
	TC_ACT_UNSPEC = -1,
	TC_ACT_OK = 0,
	TC_ACT_SHOT = 2,
	TC_ACT_REDIRECT = 7,
};

/* skb->pkt_type */
enum {
	PACKET_HOST = 0,
	PACKET_OTHERHOST = 3,
};

struct bpf_flow_keys;

/* As far as Linux 5.10 has it. */
struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port;
	__u32 dst_port;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
	__u32 state;
	__s32 rx_queue_mapping;
};

/* sk_lookup programs: what they are asked about, as far as Linux 5.10 has it, and what they answer */
struct bpf_sk_lookup {
	union {
		struct bpf_sock *sk;
		__u64 cookie;
	};
	__u32 family;
	__u32 protocol;
	__u32 remote_ip4;
	__u32 remote_ip6[4];
	__u32 remote_port; /* network order, in the lower half (Linux 5.18 made it 16 bits wide) */
	__u32 local_ip4;
	__u32 local_ip6[4];
	__u32 local_port; /* host order */
};

#define AF_PACKET 17

enum sk_action {
	SK_DROP = 0,
	SK_PASS = 1,
};

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	union {
		struct bpf_flow_keys *flow_keys;
		__u64 flow_keys_size;
	};
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	union {
		struct bpf_sock *sk;
		__u64 sk_size;
	};
	__u32 gso_size;
	__u8 tstamp_type;
	__u32 : 24;
	__u64 hwtstamp;
};

/* As long as in Linux 5.10; newer kernels take this length for compatibility (the local address that
 * they added behind it is left to the routing table). */
struct bpf_tunnel_key {
	__u32 tunnel_id;
	union {
		__u32 remote_ipv4;
		__u32 remote_ipv6[4];
	};
	__u8 tunnel_tos;
	__u8 tunnel_ttl;
	__u16 tunnel_ext;
	__u32 tunnel_label;
};

/* bpf_fib_lookup: what the routes say of a packet that came in on `ifindex`, which becomes the device it leaves on;
 * the destination becomes the next hop. */
struct bpf_fib_lookup {
	__u8 family;
	__u8 l4_protocol;
	__be16 sport;
	__be16 dport;
	__u16 tot_len;
	__u32 ifindex;
	__be32 tos_or_flowinfo;
	__u32 source[4];      /* IPv4 in the first word */
	__u32 destination[4];
	__be16 h_vlan_proto;
	__be16 h_vlan_TCI;
	__u8 smac[6];
	__u8 dmac[6];
};

enum {
	BPF_FIB_LKUP_RET_SUCCESS = 0,
	BPF_FIB_LKUP_RET_NO_NEIGH = 7,
};

/* bpf_redirect_neigh */
struct bpf_redir_neigh {
	__u32 nh_family;
	__u32 nh[4];          /* IPv4 in the first word */
};

enum {
	AF_INET = 2,
	AF_INET6 = 10,
};

#endif /* CILIUM_VMLINUX_H */
