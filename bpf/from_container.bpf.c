/* SPDX-License-Identifier: Apache-2.0 */
/* tc ingress of a pod's host-side veth: what the pod sends. */
#include "lib/all.h"

/* Whoever serves DHCP, or asks for it on the link, would give a pod other addresses than its own (RFC 2131, RFC 8415). */
static __always_inline int is_dhcp(const struct packet *p)
{
	__u16 from = bpf_ntohs(p->source_port_be), to = bpf_ntohs(p->destination_port_be);

	if (p->protocol != PROTOCOL_UDP)
		return 0;
	if (from == PORT_DHCP_SERVER || from == PORT_DHCPV6_SERVER)
		return 1;
	return (to == PORT_DHCP_SERVER && is_broadcast(&p->destination)) ||
	       (to == PORT_DHCPV6_SERVER && is_multicast(&p->destination));
}

/* No lies about who it is, and nothing for whom no pod's link leads to. */
static __always_inline int check_sender(struct packet *p, const struct endpoint *self)
{
	if (is_dhcp(p))
		return -DROP_FORGED_DHCP;
	if (is_zero_address(&p->source) ||
	    (!same_address(&p->source, self->ipv4) && !same_address(&p->source, self->ipv6)))
		return -DROP_INVALID_SOURCE_IP;
	if (is_loopback(&p->destination) || is_nowhere(&p->destination))
		return -DROP_INVALID_PACKET;
	if (is_multicast(&p->destination) || is_broadcast(&p->destination) || is_link_local(&p->destination))
		return -DROP_LINK_ONLY;
	/* An ICMP error of a pod is about a packet that the pod got. */
	if ((p->flags & PACKET_ICMP_ERROR) && !same_address(&p->flow_source, &p->source))
		return -DROP_INVALID_SOURCE_IP;
	return GO_ON;
}

/* Not every address of a node is known, and a service's may become one: only pods may be asked on this port. What
 * answers a flow from there may pass, unless to a node that is known. */
static __always_inline int check_tunnel_port(const struct packet *p)
{
	if (!is_for_tunnel_port(p))
		return GO_ON;
	if (is_node_identity(p->peer.identity) ||
	    bpf_map_lookup_elem(&nodes, &p->destination))
		return -DROP_TUNNEL_PORT;
	return is_pod_address(&p->peer) || (p->flags & PACKET_REPLY) ? GO_ON : -DROP_TUNNEL_PORT;
}

/* CT_REVOKED of the entry before, which a handshake on the same tuple takes over: whoever forges one gets nothing else
 * into a session that is not allowed any more. The first answer that is judged takes it off. */
static __always_inline __u32 inherited_revocation(const struct packet *p)
{
	struct flow_state *former = is_opening(p) && find_host() ? bpf_map_lookup_elem(&flows, &p->key) : 0;

	return former ? former->flags & CT_REVOKED : 0;
}

/* The stack may choose another destination, which is judged where the packet leaves it. Only a pod without
 * any egress entry may leave on devices where no program of ours is. */
static __always_inline int send_untranslated(struct __sk_buff *skb, struct packet *p)
{
	struct subject *subject = bpf_map_lookup_elem(&subjects, &p->from.subject);
	struct flow_state *state = find_flow(skb, p, ZONE_PRE_NAT);
	int step = GO_ON;

	if (state && (state->flags & CT_REVOKED)) { /* by to_container: the node itself answered it */
		if (!find_host()) /* nobody judges the node's answers any more */
			state->flags &= ~CT_REVOKED;
		else if (!is_opening(p))
			return -DROP_POLICY_DENIED;
	}
	if (state)
		touch_flow(p, state);
	else
		step = p->flags & PACKET_ICMP_ERROR ? -DROP_POLICY_DENIED : write_flow(p, CT_PRE_NAT | inherited_revocation(p), 0);
	if (step)
		return step;
	if (subject && !subject->egress_enforced && !subject->egress_ports)
		return deliver_to_stack(skb, MARK_FROM_POD, p->from.endpoint);
	return deliver_to_stack(skb, MARK_FROM_POD_DEFER, p->from.endpoint);
}

static __always_inline int find_target(struct packet *p, const struct endpoint *target)
{
	const struct host *known = find_host();

	if (target) {
		p->peer.identity = target->identity;
		return local_side(&p->to, target);
	}
	find_peer(p, &p->destination);
	found_side(&p->to, p);
	if (p->peer.identity == IDENTITY_HOST && known)
		host_side(&p->to, known);
	return GO_ON;
}

static __always_inline int send(struct __sk_buff *skb, struct packet *p, const struct endpoint *self)
{
	struct endpoint *target = bpf_map_lookup_elem(&endpoints, &p->destination);
	int step = find_target(p, target), via_stack;
	struct flow_state *state;

	if (step)
		return step;
	state = find_flow(skb, p, ZONE_JUDGED);
	step = target ? GO_ON : check_tunnel_port(p);
	if (step)
		return step;
	via_stack = (!target && !(p->peer.flags & (PEER_TUNNEL | PEER_DIRECT))) || (state && (state->flags & CT_VIA_STACK));
	/* A reply is of a judged flow; the own node is no service's address. */
	if (via_stack && !(p->flags & PACKET_REPLY) && p->peer.identity != IDENTITY_HOST)
		return send_untranslated(skb, p);
	step = track_flow(skb, p, state, via_stack ? CT_VIA_STACK : 0);
	if (step)
		return step;
	if (via_stack)
		return deliver_to_stack(skb, p->flags & PACKET_REPLY ? MARK_REPLY : MARK_FROM_POD, p->from.endpoint);
	if (target)
		return deliver_to_pod(skb, p, target);
	if (p->peer.flags & PEER_DIRECT)
		return forward_direct(skb, p);
	step = check_mtu(skb, p, config_tunnel_mtu);
	return step ? step : encapsulate(skb, p, p->peer.node, self->identity);
}

static __always_inline int process(struct __sk_buff *skb, struct packet *p)
{
	__u32 ifindex = skb->ifindex;
	struct endpoint *self = bpf_map_lookup_elem(&interfaces, &ifindex);
	int step = parse_ethernet(skb, p);

	if (step)
		return step;
	if (!self)
		return refuse_closed(p, -DROP_UNKNOWN_ENDPOINT);
	p->endpoint = self->id;
	step = local_side(&p->from, self);
	if (step)
		return refuse_closed(p, step);
	if (!same_mac(p->ethernet.source, self->mac))
		return -DROP_INVALID_SOURCE_MAC;
	if (p->type == ETHERTYPE_ARP)
		return handle_arp(skb, p, self);
	step = parse_ip(skb, p);
	if (step)
		return step;
	if (is_link_message(p))
		return handle_link_message(skb, p, self);
	step = check_sender(p, self);
	if (step)
		return step;
	remember_fragment(p);
	return send(skb, p, self);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	struct packet *p = packet_begin(skb, HOOK_FROM_CONTAINER, DIRECTION_EGRESS);
	int step, action;

	if (!p)
		return TC_ACT_SHOT;
	step = process(skb, p);
	action = finish(skb, p, step);
	if (step == -DROP_PACKET_TOO_BIG && !answer_too_big(skb, p))
		return send_back(skb);
	return action;
}
