/* SPDX-License-Identifier: Apache-2.0 */
/* What a message of ICMP or ICMPv6 is: question and answer, error, or a word between neighbours. */
#ifndef CILIUM_ICMP_H
#define CILIUM_ICMP_H

static __always_inline int is_icmp(__u8 protocol)
{
	return protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6;
}

/* The type of the request that an ICMP message is or answers; 0: it is neither (RFC 792, 4443, 8335). */
static __always_inline __u8 icmp_request(__u8 protocol, __u8 type)
{
	if (protocol == PROTOCOL_ICMPV6) {
		if (type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY)
			return ICMPV6_ECHO_REQUEST;
		return type == ICMPV6_PROBE_REQUEST || type == ICMPV6_PROBE_REPLY ? ICMPV6_PROBE_REQUEST : 0;
	}
	if (type == ICMP_ECHO_REQUEST || type == ICMP_ECHO_REPLY)
		return ICMP_ECHO_REQUEST;
	if (type == ICMP_TIMESTAMP_REQUEST || type == ICMP_TIMESTAMP_REPLY)
		return ICMP_TIMESTAMP_REQUEST;
	return type == ICMP_PROBE_REQUEST || type == ICMP_PROBE_REPLY ? ICMP_PROBE_REQUEST : 0;
}

static __always_inline int is_icmp_error(__u8 protocol, __u8 type)
{
	if (protocol == PROTOCOL_ICMP)
		return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
	return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
}

/* IPv4 messages that tell a host its routers; those of IPv6 are link messages. */
static __always_inline int is_route_message(__u8 protocol, __u8 type)
{
	return protocol == PROTOCOL_ICMP && (type == ICMP_REDIRECT || type == ICMP_ROUTER_ADVERTISEMENT);
}

/* Multicast listener and neighbour messages: links only, never routed. */
static __always_inline int is_link_message(const struct packet *p)
{
	if (p->protocol != PROTOCOL_ICMPV6)
		return 0;
	return (p->icmp_type >= ICMPV6_MLD_QUERY && p->icmp_type <= ICMPV6_REDIRECT) ||
	       p->icmp_type == ICMPV6_MLD2_REPORT;
}

#endif /* CILIUM_ICMP_H */
