/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options: constants of one load, set by name in .rodata before the object is loaded. The same set
 * stands in every object; bpf/README.md has the table.
 */
#ifndef CILIUM_CONFIG_H
#define CILIUM_CONFIG_H

/* ifindex of cilium_vxlan; 0: no tunnel. */
volatile const __u32 config_vxlan_ifindex = 0;
/* Greatest IP packet that fits into the tunnel: underlay MTU - 50 (IPv4 underlay), - 70 (IPv6). */
volatile const __u32 config_tunnel_mtu = 1450;
/* Greatest IP packet for pods of other nodes that the underlay's routes reach: its devices' MTU. */
volatile const __u32 config_direct_mtu = 1500;
/* UDP port of the tunnel; pods may not send to it. 0: no tunnel. */
volatile const __u32 config_tunnel_port = 8472;

/* This node's router addresses, IPv4 v4-mapped; zero when absent. They answer packets that are too big. */
volatile const struct address config_router_ipv4 __attribute__((aligned(8))) = {};
volatile const struct address config_router_ipv6 __attribute__((aligned(8))) = {};

/* Seconds without a packet until a flow is forgotten. */
volatile const __u32 config_timeout_tcp_opening = TIMEOUT_TCP_OPENING;
volatile const __u32 config_timeout_tcp_established = TIMEOUT_TCP_ESTABLISHED;
volatile const __u32 config_timeout_tcp_half_closed = TIMEOUT_TCP_HALF_CLOSED;
volatile const __u32 config_timeout_tcp_closing = TIMEOUT_TCP_CLOSING;
volatile const __u32 config_timeout_tcp_reset = TIMEOUT_TCP_RESET;
volatile const __u32 config_timeout_sctp_established = TIMEOUT_SCTP_ESTABLISHED;
volatile const __u32 config_timeout_udp = TIMEOUT_UDP;
volatile const __u32 config_timeout_udp_stream = TIMEOUT_UDP_STREAM;
volatile const __u32 config_timeout_icmp = TIMEOUT_ICMP;

/* 1: the kernel has bpf_ktime_get_coarse_ns. */
volatile const __u32 config_coarse_clock = 0;

/* What a flow costs that nobody has answered yet (struct quota); 0: no quota. */
volatile const __u64 config_flow_quota_step_ns = 0;

/* What an event costs whom it is told of (event_budgets); 0: nothing, and all are told while the ring has room. */
volatile const __u64 config_event_step_ns = EVENT_STEP_NS;

#endif /* CILIUM_CONFIG_H */
