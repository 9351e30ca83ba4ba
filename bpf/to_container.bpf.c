/* SPDX-License-Identifier: Apache-2.0 */
/* tc egress of a pod's host-side veth: what reaches the pod through the stack. */
#include "lib/all.h"

/* The stack translated the reply of a flow back to what the pod knows. The flow itself was judged where it
 * left the stack; whoever matched its reply there set MARK_REPLY. */
static __always_inline struct flow_state *find_untranslated(struct __sk_buff *skb, struct packet *p)
{
	struct flow_state *state;

	if (mark_origin(skb) != MARK_REPLY && !p->local_process)
		return 0;
	state = find_flow(skb, p, ZONE_PRE_NAT);
	if (!state || !(p->flags & PACKET_REPLY))
		return 0;
	/* Where MARK_REPLY was set a flow is allowed: no socket of the node has the tuple now. */
	if ((state->flags & CT_REVOKED) && !p->local_process)
		state->flags &= ~CT_REVOKED;
	if (!(state->flags & CT_REVOKED))
		touch_flow(p, state);
	return state;
}

/*
 * The node itself answers what a pod sent to a service: the flow that to_socket judged, which is never asked for the
 * packets of a connection, has to hold still. Its end here is the socket's. Without an address of its own the socket is
 * asked for by each datagram, and what no socket sends carries nothing.
 */
static __always_inline int take_socket_end(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_sock *sk = skb->sk;

	if (!p->local_process || !sk || !sk->src_port || !(p->protocol == PROTOCOL_TCP || p->protocol == PROTOCOL_UDP) ||
	    (p->flags & PACKET_LATER_FRAGMENT))
		return 0;
	if (p->flags & PACKET_IPV6) {
		__u32 *source = (__u32 *)&p->flow_source;

		source[0] = sk->src_ip6[0];
		source[1] = sk->src_ip6[1];
		source[2] = sk->src_ip6[2];
		source[3] = sk->src_ip6[3];
		if (is_zero_address(&p->flow_source))
			return 0;
	} else {
		if (!sk->src_ip4)
			return 0;
		map_ipv4(&p->flow_source, sk->src_ip4);
	}
	p->source_port_be = bpf_htons(sk->src_port);
	p->flags = (p->flags & ~PACKET_LOW) | PACKET_HOST_FLOW | PACKET_ANSWER;
	return 1;
}

/* from_container sees what the pod sends, and not to whom the stack gives it: it has to be told. */
static __always_inline int note_answer(struct flow_state *untranslated, int step)
{
	if (step)
		untranslated->flags |= CT_REVOKED;
	else if (untranslated->flags & CT_REVOKED)
		untranslated->flags &= ~CT_REVOKED;
	return step;
}

/*
 * What a pod opened towards an address of its own node was judged as a flow to the host. When the stack gave it to
 * a pod of this node, that flow was judged where it left the stack, and MARK_REPLY says that this is the answer to
 * it. Here the sender is the host, which the pod knows; as the backend's, under the node's port, it would be denied.
 */
static __always_inline void sender_as_opened(struct __sk_buff *skb, struct packet *p, const struct flow_state *state)
{
	if (mark_origin(skb) != MARK_REPLY || !state || !(p->flags & PACKET_REPLY))
		return;
	if (state->destination_generation && state->destination_identity != IDENTITY_HOST) /* a pod's own */
		return;
	__builtin_memset(&p->from, 0, sizeof(p->from));
	p->from.identity = state->destination_identity;
}

/* from_container answered what came in on this device. The mark alone says nothing: others use its bits too. */
static __always_inline int is_own_answer(const struct __sk_buff *skb)
{
	return mark_origin(skb) == MARK_JUDGED && skb->ingress_ifindex == skb->ifindex;
}

static __always_inline int process(struct __sk_buff *skb, struct packet *p)
{
	__u32 ifindex = skb->ifindex;
	struct endpoint *self = bpf_map_lookup_elem(&interfaces, &ifindex);
	const struct host *known;
	struct flow_state *state, *untranslated;
	int step = parse_ethernet(skb, p);

	if (step)
		return step;
	if (!self)
		return refuse_closed(p, -DROP_UNKNOWN_ENDPOINT);
	p->endpoint = self->id;
	step = local_side(&p->to, self);
	if (step)
		return refuse_closed(p, step);
	if (is_own_answer(skb) || p->type == ETHERTYPE_ARP)
		return DONE_OK;
	step = parse_ip(skb, p);
	if (step)
		return step;
	if (is_link_message(p)) /* of this node's own stack; nobody else is on the link, and none is routed */
		return skb->ingress_ifindex ? -DROP_FORGED_NEIGHBOUR : DONE_OK;
	if (!same_address(&p->destination, self->ipv4) && !same_address(&p->destination, self->ipv6))
		return -DROP_UNKNOWN_ENDPOINT;
	step = sender_from_stack(skb, p);
	if (step)
		return step;
	remember_fragment(p);
	known = find_host();
	untranslated = find_untranslated(skb, p);
	if (untranslated && !(known && take_socket_end(skb, p)))
		return untranslated->flags & CT_REVOKED && known ? -DROP_POLICY_DENIED : DONE_OK;
	state = find_flow(skb, p, ZONE_JUDGED);
	sender_as_opened(skb, p, state);
	/* The node answers what it was asked by its rules; what it opens itself towards its own pods is not judged. */
	if (known && (untranslated || (state && (p->flags & PACKET_REPLY) && p->from.identity == IDENTITY_HOST && !p->from.endpoint)))
		host_side(&p->from, known);
	step = track_flow(skb, p, state, CT_VIA_STACK);
	if (!untranslated)
		return step ?: DONE_OK;
	return note_answer(untranslated, pass_unremembered(step)) ?: DONE_OK;
}

SEC("tc")
int to_container(struct __sk_buff *skb)
{
	struct packet *p = packet_begin(skb, HOOK_TO_CONTAINER, DIRECTION_INGRESS);

	return p ? finish(skb, p, process(skb, p)) : TC_ACT_SHOT;
}
