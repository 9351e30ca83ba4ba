/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every map, once. The loader pins them by name, so that all objects share them, and may change
 * max_entries before it loads the first object. Maps that hold configuration are written by the agent only.
 */
#ifndef CILIUM_MAPS_H
#define CILIUM_MAPS_H

#define HOOK_SLOTS 32 /* more than HOOK_COUNT: a further hook must not need another array, since stubs hold this one */
#define MAX_ENDPOINTS 4096
#define MAX_PEERS 524288
#define MAX_CIDRS 65536
#define MAX_SUBJECTS 16384
#define MAX_POLICY 262144
#define MAX_BLOCKS 262144
#define MAX_FLOWS 524288
#define MAX_QUOTAS 131072 /* two for each of 65,535 endpoint ids */
#define MAX_FRAGMENTS 8192
#define MAX_NODES 16384
#define MAX_UNDERLAYS 256
#define MAX_RULES 65536
#define EVENTS_BYTES (4u << 20)

/* enum hook -> program that serves it */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HOOK_SLOTS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} hooks SEC(".maps");

/* host-side ifindex -> the pod behind it */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct endpoint);
} interfaces SEC(".maps");

/* address of a local pod -> the same value */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MAX_ENDPOINTS);
	__type(key, struct address);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

/* ifindex of an underlay device -> 1: what other nodes send without a tunnel is believed from these only */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_UNDERLAYS);
	__type(key, __u32);
	__type(value, __u32);
} underlays SEC(".maps");

/* 0 -> ENCRYPTION_*: which packets between nodes are dropped unless WireGuard has them */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} encryption SEC(".maps");

/* exact address -> identity and node */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PEERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, struct peer);
} ipcache SEC(".maps");

/* longest matching CIDR -> identity and node */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_CIDRS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cidr_key);
	__type(value, struct peer);
} cidrs SEC(".maps");

/* slot -> rule set, generation and defaults of an identity that runs here. A hash without preallocation
 * replaces the element whole; an array would copy over the value while programs read it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUBJECTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct subject);
} subjects SEC(".maps");

/* 0 -> whether and by which slot the node's own network namespace is judged */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct host);
} host SEC(".maps");

/* rule set, direction, peer, protocol, port prefix -> verdict */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_POLICY);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
} policy SEC(".maps");

/* rule set, CIDR -> classes in the keys of `policy`, by kind of peer */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MAX_BLOCKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct block_key);
	__type(value, struct block);
} blocks SEC(".maps");

/* both directions of a flow -> who opened it, as judged. A plain hash: an LRU would let one pod's scan
 * evict idle connections of others. The agent deletes expired entries; the programs ignore them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, struct flow_state);
} flows SEC(".maps");

/*
 * While a version takes over flows of another layout: enum hook -> the former program, and 0 -> the former flows, whose
 * values only the former programs can read. Empty otherwise. Not pinned: it ends with the start that fills it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HOOK_SLOTS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} former_hooks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, MAX_FLOWS);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__type(key, struct flow_key);
		__type(value, struct flow_state);
	});
} former_flows SEC(".maps");

/* endpoint id * 2 + enum direction -> what its unanswered flows cost */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_QUOTAS);
	__type(key, __u32);
	__type(value, struct quota);
} quotas SEC(".maps");

/* datagram -> ports of its first fragment */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FRAGMENTS);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} fragments SEC(".maps");

/* each underlay address of a node -> what may come from it */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_NODES);
	__type(key, struct address);
	__type(value, struct node);
} nodes SEC(".maps");

/* struct event records */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

/* endpoint id * 2 + (1 for a drop) -> until when what was told of it is paid; endpoint 0 is everybody else */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_QUOTAS);
	__type(key, __u32);
	__type(value, struct quota);
} event_budgets SEC(".maps");

/* (drop reason or 0, direction) -> packets and bytes */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, struct metric_key);
	__type(value, struct metric);
} metrics SEC(".maps");

/* rule id -> packets it decided */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, MAX_RULES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct rule_hit);
} rule_hits SEC(".maps");

#endif /* CILIUM_MAPS_H */
