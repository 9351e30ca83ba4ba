/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options: constants of one load, set by name in .rodata before the object is loaded. The same set
 * stands in every object; bpf/README.md has the table.
 */
#ifndef CILIUM_CONFIG_H
#define CILIUM_CONFIG_H

/* ifindex of cilium_vxlan. */
volatile const __u32 config_vxlan_ifindex = 0;
/* Greatest IP packet that fits into the tunnel: underlay MTU - 50 (IPv4 underlay), - 70 (IPv6). */
volatile const __u32 config_tunnel_mtu = 1450;
/* UDP port of the tunnel; pods may not send to it. */
volatile const __u32 config_tunnel_port = 8472;

/* This node's router addresses, IPv4 v4-mapped; zero when absent. They answer packets that are too big. */
volatile const struct address config_router_ipv4 __attribute__((aligned(8))) = {};
volatile const struct address config_router_ipv6 __attribute__((aligned(8))) = {};

/* Seconds without a packet until a flow is forgotten. */
volatile const __u32 config_timeout_tcp_opening = 60;
volatile const __u32 config_timeout_tcp_established = 21600;
/* A half-closed connection may be silent while its other side works (RFC 9293 3.6). Our entry must not go before
 * the stack's translation of it: kube-proxy gives nf_conntrack 1 h for that (CLOSE_WAIT). */
volatile const __u32 config_timeout_tcp_half_closed = 3600;
volatile const __u32 config_timeout_tcp_closing = 10;
volatile const __u32 config_timeout_udp_unreplied = 30;
volatile const __u32 config_timeout_udp = 60;
volatile const __u32 config_timeout_icmp = 30;

#endif /* CILIUM_CONFIG_H */
