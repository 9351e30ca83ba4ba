/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tc ingress and egress of the underlay devices. They are the node's: what passes goes on to the filters of others
 * behind ours (TC_ACT_UNSPEC); TC_ACT_OK would end the chain.
 */
#include "lib/all.h"

static __always_inline int leave_to_others(int action)
{
	return action == TC_ACT_OK ? TC_ACT_UNSPEC : action;
}

/* The reply of a pod's flow that to_netdev judged: the stack translates it back. */
static __always_inline int is_reply_of_pod(struct __sk_buff *skb, struct packet *p)
{
	struct flow_state *state;

	if (is_for_tunnel_port(p))
		return 0;
	state = find_flow(skb, p, ZONE_JUDGED);
	if (!is_allowed_reply(p, state) || !(state->flags & CT_VIA_STACK))
		return 0;
	touch_flow(p, state);
	return 1;
}

/* A tag without a VLAN: the kernel takes it off and goes on as if it had not been there, also with a second one, which
 * no program would see behind. */
static __always_inline int check_priority_tag(const struct packet *p)
{
	return p->type == ETHERTYPE_VLAN || p->type == ETHERTYPE_SERVICE_VLAN ? -DROP_UNSUPPORTED_L3 : GO_ON;
}

static __always_inline __u32 encryption_flags(void)
{
	__u32 key = 0, *flags = bpf_map_lookup_elem(&encryption, &key);

	return flags ? *flags : 0;
}

/* The parser stopped where the stack goes on, and what it finds there may be for the tunnel: behind more headers than are
 * read here, or in a later piece (RFC 7112; Linux takes that until 5.11). */
static __always_inline int may_hide_tunnel(const struct packet *p, int parsed)
{
	if (parsed != -DROP_EXTENSION_HEADER && parsed != -DROP_INVALID_PACKET && parsed != -DROP_SOURCE_ROUTE)
		return 0;
	return p->protocol == PROTOCOL_UDP || is_extension(p->protocol);
}

/*
 * While all other nodes enforce encryption: nothing of a node that they would not send is taken, whoever writes a node's
 * address on it. What came through WireGuard comes on no underlay device. Without its first piece nothing of a later one is read.
 */
static __always_inline int is_in_clear(const struct packet *p, int parsed)
{
	if (!(encryption_flags() & ENCRYPTION_RECEIPT))
		return 0;
	if (is_pod_address(&p->peer))
		return 1;
	return (parsed ? may_hide_tunnel(p, parsed) : is_for_tunnel_port(p)) && bpf_map_lookup_elem(&nodes, &p->source);
}

/* Pods of other nodes come through the tunnel, or directly where the underlay's routes lead to them; this node's come
 * on no wire. What cannot be parsed is not for a pod, which is closed to it by to_container. */
static __always_inline int receive(struct __sk_buff *skb, struct packet *p)
{
	struct endpoint *target = 0;
	int step = parse_ethernet(skb, p);

	if (step == -DROP_UNSUPPORTED_L3 && !(skb->vlan_tci & VLAN_ID))
		step = check_priority_tag(p);
	else if (step)
		return DONE_OK; /* of a virtual LAN: another device's */
	if (step || (p->type != ETHERTYPE_IPV4 && p->type != ETHERTYPE_IPV6))
		return step ? step : DONE_OK;
	skb->mark = MARK_FROM_NETDEV;
	step = parse_ip(skb, p);
	find_peer(p, &p->source);
	found_sender(p);
	if ((is_pod_address(&p->peer) && !may_come_bare(&p->peer)) || bpf_map_lookup_elem(&endpoints, &p->source))
		return -DROP_SPOOFED_UNDERLAY;
	if (is_in_clear(p, step))
		return -DROP_UNENCRYPTED;
	if (step)
		return receive_for_host(skb, p, step);
	remember_fragment(p);
	/* A switch may flood what is another machine's. */
	if (may_come_bare(&p->peer) && skb->pkt_type == PACKET_HOST)
		target = bpf_map_lookup_elem(&endpoints, &p->destination);
	if (target)
		return is_link_message(p) ? -DROP_FORGED_NEIGHBOUR : receive_for_pod(skb, p, target);
	if (is_reply_of_pod(skb, p)) {
		skb->mark = MARK_REPLY;
		return DONE_OK;
	}
	return receive_for_host(skb, p, GO_ON);
}

SEC("tc")
int from_netdev(struct __sk_buff *skb)
{
	struct packet *p = packet_begin(skb, HOOK_FROM_NETDEV, DIRECTION_INGRESS);
	int step, action;

	if (!p)
		return TC_ACT_SHOT;
	step = receive(skb, p);
	action = finish(skb, p, step);
	if (step == -DROP_PACKET_TOO_BIG && !answer_too_big(skb, p))
		return send_back(skb);
	return leave_to_others(action);
}

/*
 * The node's own packet, while encryption is in force: what the tunnel made has to leave through WireGuard, whose packets
 * look like any other's here, and for a pod elsewhere (p->peer) there is no way but the tunnel. Of a later fragment whose
 * first was not seen nobody knows the ports.
 */
static __always_inline int refuse_clear(const struct packet *p, int parsed)
{
	if (is_pod_address(&p->peer))
		return -DROP_UNENCRYPTED;
	if (parsed == -DROP_FRAGMENT_NOT_FOUND && p->protocol == PROTOCOL_UDP && bpf_map_lookup_elem(&nodes, &p->destination))
		return -DROP_UNENCRYPTED;
	return !parsed && is_for_tunnel_port(p) ? -DROP_UNENCRYPTED : GO_ON;
}

/* No pod's packet leaves. DONE_OK: not ours to refuse. */
static __always_inline int send_own(struct __sk_buff *skb, struct packet *p, int is_encrypted, const struct host *known)
{
	int step = parse_ethernet(skb, p), parsed, is_own;

	if (step || (p->type != ETHERTYPE_IPV4 && p->type != ETHERTYPE_IPV6))
		return DONE_OK;
	parsed = parse_ip(skb, p);
	find_peer(p, &p->source);
	found_side(&p->from, p);
	is_own = is_own_address(p, &p->source);
	find_peer(p, &p->destination);
	found_side(&p->to, p);
	if (!parsed)
		remember_fragment(p);
	step = is_encrypted ? refuse_clear(p, parsed) : GO_ON;
	if (step || !known)
		return step ? step : DONE_OK;
	return send_from_host(skb, p, parsed, known, is_own);
}

/* A pod's packet leaves the node: after translation, so this is its last destination. */
static __always_inline int send(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod)
{
	int step = local_side(&p->from, pod);
	struct flow_state *state;

	if (!step)
		step = parse_ethernet(skb, p);
	if (!step)
		step = parse_ip(skb, p);
	if (step)
		return step;
	find_peer(p, &p->destination);
	found_side(&p->to, p);
	/* Nobody but the tunnel device itself, whose packets come from no device. */
	if (is_for_tunnel_port(p))
		return -DROP_TUNNEL_PORT;
	if (is_pod_address(&p->peer) && (encryption_flags() & ENCRYPTION_SENDING))
		return -DROP_UNENCRYPTED;
	remember_fragment(p);
	state = find_flow(skb, p, ZONE_JUDGED);
	if (state && state->source_identity == IDENTITY_HOST) /* had the same ends before */
		state->flags |= CT_VIA_STACK;
	return track_flow(skb, p, state, CT_VIA_STACK) ?: DONE_OK;
}

SEC("tc")
int to_netdev(struct __sk_buff *skb)
{
	struct endpoint *pod = forwarded_pod(skb);
	/* The rest is the node's own, the tunnel's, the outside's, or judged as a reply. */
	int is_judged_here = mark_origin(skb) != MARK_REPLY && (pod || is_pod_mark(skb)), is_encrypted, step;
	const struct host *known = find_host();
	struct packet *p;

	is_encrypted = encryption_flags() & ENCRYPTION_SENDING;
	if (!is_judged_here && !is_encrypted && !known)
		return TC_ACT_UNSPEC;
	p = packet_begin(skb, HOOK_TO_NETDEV, DIRECTION_EGRESS);
	if (!p)
		return TC_ACT_SHOT;
	if (is_judged_here)
		return leave_to_others(finish(skb, p, pod ? send(skb, p, pod) : -DROP_UNJUDGED_EXIT));
	step = send_own(skb, p, is_encrypted, known);
	return step == DONE_OK ? TC_ACT_UNSPEC : leave_to_others(finish(skb, p, step));
}
