/* SPDX-License-Identifier: Apache-2.0 */
/* tc egress of cilium_host: the stack sends to a pod of another node. */
#include "lib/all.h"

/* The identity that travels with a packet of the stack. Other nodes believe a pod's and this node's; all
 * else is the world, from this node's router address. A reply that the stack translated back is known by
 * its flow at the other end, which asks for no identity. */
static __always_inline __u32 choose_vni(const struct packet *p)
{
	if (p->from.identity == IDENTITY_HOST)
		return IDENTITY_HOST;
	return p->from.endpoint ? p->from.identity : IDENTITY_WORLD;
}

/*
 * A pod's flow; or the node's own, or one that it forwards under its router address. Which of them is read back from
 * memory, where the verifier does not follow it: it would walk what comes after once for each.
 */
static __always_inline int track(struct __sk_buff *skb, struct packet *p, const struct host *known, int is_pods)
{
	struct flow_state *state = find_flow(skb, p, ZONE_JUDGED);
	__u32 is_pods_flow;
	int step;

	if (is_pods && state && !(p->flags & PACKET_REPLY)) /* it had the same ends past the stack before */
		state->flags |= CT_VIA_STACK;
	if (!is_pods) {
		if (p->local_process && p->from.identity == IDENTITY_HOST)
			host_side(&p->from, known);
		prepare_host_flow(p, state);
	}
	is_pods_flow = !(*(volatile __u32 *)&p->flags & PACKET_HOST_FLOW);
	step = track_flow(skb, p, state, is_pods_flow * CT_VIA_STACK);
	return *(volatile __u32 *)&p->flags & PACKET_HOST_FLOW ? pass_unremembered(step) : step;
}

static __always_inline int process(struct __sk_buff *skb, struct packet *p)
{
	const struct host *known = find_host();
	int step = parse_ethernet(skb, p), is_pods;

	if (!step)
		step = parse_ip(skb, p);
	if (step)
		return step;
	if (is_link_message(p)) /* of this node's own stack: nobody listens here */
		return TC_ACT_SHOT;
	step = sender_from_stack(skb, p);
	if (step)
		return step;
	remember_fragment(p);
	find_peer(p, &p->destination);
	found_side(&p->to, p);
	if (!(p->peer.flags & PEER_TUNNEL))
		return -DROP_NO_TUNNEL_ENDPOINT;
	/* A service led a pod there. */
	if (p->from.endpoint && (p->peer.flags & PEER_ROUTER) && is_for_tunnel_port(p))
		return -DROP_TUNNEL_PORT;
	is_pods = p->from.endpoint && mark_origin(skb) != MARK_REPLY;
	if (is_pods || (known && !p->from.endpoint))
		step = track(skb, p, known, is_pods);
	return step ? step : encapsulate(skb, p, p->peer.node, choose_vni(p));
}

SEC("tc")
int from_host(struct __sk_buff *skb)
{
	struct packet *p = packet_begin(skb, HOOK_FROM_HOST, DIRECTION_EGRESS);

	return p ? finish(skb, p, process(skb, p)) : TC_ACT_SHOT;
}
