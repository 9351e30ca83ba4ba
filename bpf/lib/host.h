/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's own network namespace under policies that select nodes. Nothing here runs before the first of them: then
 * the agent has flows remembered for a moment, and judged from then on. What the node cannot live without is allowed by
 * rules that the compiler puts before all others; what has no flow at all (neighbours, multicast, broadcast, ICMP errors,
 * the tunnel between nodes) is not judged.
 */
#ifndef CILIUM_HOST_H
#define CILIUM_HOST_H

/* The header behind which the parser did not look is no transport protocol's: what it hides nobody knows. */
static __always_inline int is_extension(__u8 protocol)
{
	return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING || protocol == PROTOCOL_FRAGMENT ||
	       protocol == PROTOCOL_AUTHENTICATION || protocol == PROTOCOL_DESTINATION_OPTIONS;
}

/* What has no ports: other protocols are judged by their number, ICMP messages that ask nothing by their type. */
static __always_inline void read_without_ports(struct packet *p)
{
	copy_address(&p->flow_source, &p->source);
	p->flow_protocol = p->protocol;
	p->source_port_be = 0;
	p->destination_port_be = is_icmp(p->protocol) ? bpf_htons(p->icmp_type) : 0;
}

/*
 * Is it for somebody to judge? GO_ON, DONE_OK (it passes) or the drop reason. `parsed` is what parse_ip found. Of a later
 * fragment whose first was not seen the first one decides: without it nobody reads the datagram.
 */
static __always_inline int check_host_packet(struct packet *p, int parsed, const struct address *other, int is_judged)
{
	if (is_link_message(p) || (p->flags & PACKET_ICMP_ERROR) || parsed == -DROP_FRAGMENT_NOT_FOUND ||
	    parsed == -DROP_FORGED_NEIGHBOUR)
		return DONE_OK;
	if (is_for_tunnel_port(p) && bpf_map_lookup_elem(&nodes, other))
		return DONE_OK;
	if (parsed == -DROP_UNKNOWN_L4 || (parsed == -DROP_EXTENSION_HEADER && !is_extension(p->protocol)))
		read_without_ports(p);
	else if (parsed)
		return is_judged ? parsed : DONE_OK;
	return GO_ON;
}

/* Others have opened more to the node than is remembered of them (QUOTA_HOST). */
static __always_inline int is_quota_spent(const struct packet *p)
{
	__u32 slot = QUOTA_HOST;
	struct quota *quota = bpf_map_lookup_elem(&quotas, &slot);

	return quota && quota->paid_ns > p->now_ns + TIMEOUT_TCP_OPENING * NS_PER_SECOND;
}

/*
 * p->from and p->to are known, one of them is this node. `state` comes from find_flow(ZONE_JUDGED). What the node sends
 * without a flow, while the quota is spent, may answer what was not remembered: it passes as well where its destination may ask.
 */
static __always_inline void prepare_host_flow(struct packet *p, const struct flow_state *state)
{
	p->flags |= PACKET_HOST_FLOW;
	if (!state && p->direction == DIRECTION_EGRESS && p->from.subject && p->protocol == PROTOCOL_UDP && is_quota_spent(p))
		p->flags |= PACKET_MAY_ANSWER;
}

static __always_inline int track_host_flow(struct __sk_buff *skb, struct packet *p, struct flow_state *state)
{
	prepare_host_flow(p, state);
	return pass_unremembered(track_flow(skb, p, state, 0));
}

/* Is it the node's own, or one that it has for the time being (a service's, keepalived's)? p->peer is whose it is. */
static __always_inline int is_own_address(const struct packet *p, const struct address *address)
{
	return p->peer.identity == IDENTITY_HOST || (p->peer.flags & PEER_OWN) || is_link_local(address);
}

/* A packet from an underlay device that is for no pod: p->from is known. */
static __always_inline int receive_for_host(struct __sk_buff *skb, struct packet *p, int parsed)
{
	const struct host *known = find_host();
	int step;

	if (!known || skb->pkt_type == PACKET_OTHERHOST)
		return DONE_OK;
	find_peer(p, &p->destination);
	if (!is_own_address(p, &p->destination))
		return DONE_OK;
	if (p->from.identity == IDENTITY_HOST) /* nobody else has this node's addresses */
		p->from.identity = world_of(&p->source);
	host_side(&p->to, known);
	step = check_host_packet(p, parsed, &p->source, p->to.subject);
	return step ? step : track_host_flow(skb, p, find_flow(skb, p, ZONE_JUDGED)) ?: DONE_OK;
}

/*
 * What leaves on an underlay device and is no pod's: p->from and p->to are known by their addresses. Under one that the
 * node has (`is_own`) it is a process's, or what the node forwards for others, which is remembered for its answer's sake alone.
 */
static __always_inline int send_from_host(struct __sk_buff *skb, struct packet *p, int parsed, const struct host *known, int is_own)
{
	int step;

	if (!is_own || is_multicast(&p->destination) || is_broadcast(&p->destination))
		return DONE_OK;
	if (is_from_process(skb))
		host_side(&p->from, known);
	step = check_host_packet(p, parsed, &p->destination, p->from.subject);
	return step ? step : track_host_flow(skb, p, find_flow(skb, p, ZONE_JUDGED)) ?: DONE_OK;
}

#endif /* CILIUM_HOST_H */
