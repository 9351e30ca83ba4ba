/* SPDX-License-Identifier: Apache-2.0 */
/* tc ingress of cilium_vxlan: what other nodes send. */
#include "lib/all.h"

/* For the node, or for a pod behind an address of the node: the stack knows. The node's own flows are not the stack's
 * to translate (CT_VIA_STACK). */
static __always_inline int receive_for_router(struct __sk_buff *skb, struct packet *p)
{
	struct flow_state *state = find_flow(skb, p, ZONE_JUDGED);
	const struct host *known = find_host();
	int step = GO_ON;

	if (is_for_tunnel_port(p)) /* a tunnel in the tunnel */
		return -DROP_TUNNEL_PORT;
	if (is_allowed_reply(p, state) && (state->flags & CT_VIA_STACK)) {
		touch_flow(p, state);
		return deliver_to_stack(skb, MARK_REPLY, 0);
	}
	if (known && !(p->flags & PACKET_ICMP_ERROR)) {
		host_side(&p->to, known);
		step = track_host_flow(skb, p, state);
	}
	return step ? step : deliver_to_stack(skb, MARK_FROM_NETDEV, 0);
}

static __always_inline int receive(struct __sk_buff *skb, struct packet *p)
{
	struct endpoint *target = bpf_map_lookup_elem(&endpoints, &p->destination);

	/* The inner Ethernet destination is another node's business. */
	if (bpf_skb_change_type(skb, PACKET_HOST))
		return -DROP_INVALID_PACKET;
	if (target)
		return receive_for_pod(skb, p, target);
	if (!is_zero_address(&p->destination) &&
	    (same_option(&p->destination, &config_router_ipv4) || same_option(&p->destination, &config_router_ipv6)))
		return receive_for_router(skb, p);
	return -DROP_UNKNOWN_ENDPOINT;
}

static __always_inline int process(struct __sk_buff *skb, struct packet *p)
{
	int step = read_tunnel(skb, p);

	if (!step)
		step = parse_ethernet(skb, p);
	if (!step)
		step = parse_ip(skb, p);
	if (!step && is_link_message(p))
		step = -DROP_FORGED_NEIGHBOUR;
	if (!step)
		step = sender_from_overlay(p);
	if (step)
		return step;
	remember_fragment(p);
	return receive(skb, p);
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct packet *p = packet_begin(skb, HOOK_FROM_OVERLAY, DIRECTION_INGRESS);
	int step, action;

	if (!p)
		return TC_ACT_SHOT;
	step = process(skb, p);
	action = finish(skb, p, step);
	if (step == -DROP_PACKET_TOO_BIG && !answer_too_big(skb, p)) {
		/* From this node's router address, back to the node that sent it. */
		step = encapsulate(skb, p, &p->node, IDENTITY_HOST);
		return step < 0 ? TC_ACT_SHOT : step;
	}
	return action;
}
