/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry per flow, both directions. It remembers who opened the flow and under which generations it
 * was allowed; when a generation or an identity is another one now, the flow is judged again as it was
 * opened, so that a revoked rule cuts live connections and an established packet costs one lookup.
 */
#ifndef CILIUM_CONNTRACK_H
#define CILIUM_CONNTRACK_H

/* ---------------------------------------------------------------- the entry */

static __always_inline int is_numerically_smaller(const void *a, const void *b)
{
	__u64 x = bpf_be64_to_cpu(((const __u64 *)a)[0]), y = bpf_be64_to_cpu(((const __u64 *)b)[0]);

	if (x != y)
		return x < y;
	return bpf_be64_to_cpu(((const __u64 *)a)[1]) < bpf_be64_to_cpu(((const __u64 *)b)[1]);
}

static __always_inline void make_flow_key(struct packet *p)
{
	int low = is_numerically_smaller(&p->flow_source, &p->destination);

	if (same_address(&p->flow_source, &p->destination))
		low = bpf_ntohs(p->source_port_be) <= bpf_ntohs(p->destination_port_be);
	p->key.protocol = p->flow_protocol;
	if (low) {
		p->flags |= PACKET_LOW;
		copy_address(p->key.low, &p->flow_source);
		copy_address(p->key.high, &p->destination);
		p->key.low_port_be = p->source_port_be;
		p->key.high_port_be = p->destination_port_be;
		return;
	}
	copy_address(p->key.high, &p->flow_source);
	copy_address(p->key.low, &p->destination);
	p->key.high_port_be = p->source_port_be;
	p->key.low_port_be = p->destination_port_be;
}

#define CT_ENDED (CT_FIN_OPENER | CT_FIN_RESPONDER | CT_CLOSING) /* or half ended */

/* The flags with what the packet says of its connection's end. PACKET_REPLY tells whose FIN it is. */
static __always_inline __u32 note_end(const struct packet *p, __u32 flags)
{
	if (p->tcp_flags & TCP_FIN)
		flags |= p->flags & PACKET_REPLY ? CT_FIN_RESPONDER : CT_FIN_OPENER;
	if ((p->tcp_flags & TCP_RST) || ((flags & CT_FIN_OPENER) && (flags & CT_FIN_RESPONDER)))
		flags |= CT_CLOSING;
	return flags;
}

static __always_inline __u32 flow_lifetime(const struct packet *p, __u32 flags)
{
	if (p->flow_protocol == PROTOCOL_TCP) {
		if (flags & CT_CLOSING)
			return config_timeout_tcp_closing;
		if (!(flags & CT_REPLIED)) /* also with a FIN: a scan gets no hour */
			return config_timeout_tcp_opening;
		return flags & CT_ENDED ? config_timeout_tcp_half_closed : config_timeout_tcp_established;
	}
	if (is_icmp(p->flow_protocol))
		return config_timeout_icmp;
	return flags & CT_REPLIED ? config_timeout_udp : config_timeout_udp_unreplied;
}

/* The packet says by itself that it opens a flow. */
static __always_inline int is_opening(const struct packet *p)
{
	if (p->flags & (PACKET_LATER_FRAGMENT | PACKET_ICMP_ERROR))
		return 0;
	return p->protocol == PROTOCOL_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* The packet says by itself that its destination opened the flow. */
static __always_inline int is_answer(const struct packet *p)
{
	return is_icmp(p->protocol) && (p->icmp_type == ICMP_ECHO_REPLY || p->icmp_type == ICMPV6_ECHO_REPLY);
}

/* A segment from the middle of a connection: which side opened it cannot be seen. */
static __always_inline int is_midstream(const struct packet *p)
{
	return p->flow_protocol == PROTOCOL_TCP && !is_opening(p);
}

/* The live entry of the packet's flow in the zone, or null; sets PACKET_REPLY. An opening packet against
 * the direction of the entry, or after a FIN or RST in it, begins another flow on the same tuple. */
static __always_inline struct flow_state *find_flow(struct packet *p, __u8 zone)
{
	struct flow_state *state;
	__u32 reply;

	make_flow_key(p);
	p->key.zone = zone;
	p->flags &= ~PACKET_REPLY;
	state = bpf_map_lookup_elem(&flows, &p->key);
	if (!state || state->expires <= p->now)
		return 0;
	reply = !(p->flags & PACKET_LOW) != !(state->flags & CT_FROM_LOW);
	if (is_opening(p) && (reply || (state->flags & CT_ENDED)))
		return 0;
	if (reply)
		p->flags |= PACKET_REPLY;
	p->flow_flags = state->flags;
	return state;
}

static __always_inline void touch_flow(struct packet *p, struct flow_state *state)
{
	__u32 flags = state->flags, expires;

	p->flow_flags = flags;
	if (p->flags & PACKET_ICMP_ERROR)
		return;
	if (p->flags & PACKET_REPLY)
		flags |= CT_REPLIED;
	flags = note_end(p, flags);
	if (flags != state->flags)
		state->flags = flags;
	expires = p->now + flow_lifetime(p, flags);
	if (expires != state->expires)
		state->expires = expires;
	__sync_fetch_and_add(&state->packets, 1);
	__sync_fetch_and_add(&state->bytes, p->length);
}

/* Writes the entry of a flow that `p` opened, or (PACKET_REPLY) that its destination opened. */
static __always_inline int write_flow(struct packet *p, __u32 flags)
{
	struct side *opener = p->flags & PACKET_REPLY ? &p->to : &p->from;
	struct side *responder = p->flags & PACKET_REPLY ? &p->from : &p->to;
	int low = p->flags & PACKET_LOW;

	if (p->flags & PACKET_REPLY) {
		low = !low;
		flags |= CT_REPLIED;
	}
	if (low)
		flags |= CT_FROM_LOW;
	flags = note_end(p, flags);
	p->flow_flags = flags;
	p->fresh.flags = flags;
	p->fresh.expires = p->now + flow_lifetime(p, flags);
	p->fresh.source_identity = opener->identity;
	p->fresh.destination_identity = responder->identity;
	p->fresh.source_generation = opener->generation;
	p->fresh.destination_generation = responder->generation;
	p->fresh.packets++;
	p->fresh.bytes += p->length;
	if (bpf_map_update_elem(&flows, &p->key, &p->fresh, BPF_ANY))
		return -DROP_CT_INSERT_FAILED;
	return GO_ON;
}

/* ---------------------------------------------------------------- judging */

/* Egress of the opener and ingress of the responder, as far as they are pods of this node. A node always
 * reaches its own pods (NetworkPolicy specification; probes). */
static __always_inline int judge_both_ends(struct __sk_buff *skb, struct packet *p, int reply)
{
	const struct side *opener = reply ? &p->to : &p->from;
	const struct side *responder = reply ? &p->from : &p->to;
	__be16 port_be = reply ? p->source_port_be : p->destination_port_be;
	int step, end;

	p->fresh.egress_rule = 0;
	p->fresh.ingress_rule = 0;
	if (opener->endpoint && opener->endpoint == responder->endpoint) /* a pod reaches itself through a service */
		return GO_ON;
#pragma clang loop unroll(disable)
	for (end = 0; end < 2; end++) {
		__u8 direction = end ? DIRECTION_INGRESS : DIRECTION_EGRESS;
		const struct side *subject = end ? responder : opener;
		__u32 peer = end ? opener->identity : responder->identity;

		if (!subject->endpoint || (end && peer == IDENTITY_HOST))
			continue;
		step = judge(skb, p, subject, direction, peer, port_be);
		if (step)
			return step;
		if (end)
			p->fresh.ingress_rule = p->rule;
		else
			p->fresh.egress_rule = p->rule;
	}
	return GO_ON;
}

/* A pod of this node must be the same one under the same generation (addresses are used again). The other
 * side's identity is compared in the opener's packets only: a reply shows an address, and reserved identities
 * depend on the way a packet came. There the stored one holds. */
static __always_inline int is_same_side(struct packet *p, struct side *side, __u32 identity, __u32 generation)
{
	if (side->endpoint)
		return side->identity == identity && side->generation == generation;
	if (!(p->flags & PACKET_REPLY))
		return side->identity == identity;
	side->identity = identity;
	return 1;
}

/* The packet answers a flow that is allowed. */
static __always_inline int is_allowed_reply(const struct packet *p, const struct flow_state *state)
{
	return state && (p->flags & PACKET_REPLY) && !(state->flags & CT_REVOKED);
}

/* The entry of a revoked flow stays while its opener goes on: without it the middle of the connection would be
 * judged as an answer too, which another rule may allow. */
static __always_inline void revoke_flow(struct packet *p, struct flow_state *state)
{
	state->flags |= CT_REVOKED;
	if (!(p->flags & (PACKET_REPLY | PACKET_ICMP_ERROR)))
		state->expires = p->now + flow_lifetime(p, state->flags);
}

/* Is the entry's judgement still that of today? */
static __always_inline int is_current(struct packet *p, const struct flow_state *state)
{
	struct side *opener = p->flags & PACKET_REPLY ? &p->to : &p->from;
	struct side *responder = p->flags & PACKET_REPLY ? &p->from : &p->to;
	int same = is_same_side(p, opener, state->source_identity, state->source_generation);

	return is_same_side(p, responder, state->destination_identity, state->destination_generation) && same &&
	       !(state->flags & CT_REVOKED);
}

/* The decision of one attempt, kept while another is made. */
struct decision {
	__u32 rule;
	__u16 endpoint;
	__u8 direction;
};

/*
 * Judges as the flow was opened: with an entry that is known, without one this packet opened it. Mid-stream it
 * may also be a reply of a flow that its destination was allowed to open; when neither holds, the first
 * decision stands. Sets PACKET_REPLY accordingly. (One loop: the judging code stands once in the program.)
 */
static __always_inline int judge_orientations(struct __sk_buff *skb, struct packet *p, int is_known)
{
	int reply = is_known ? !!(p->flags & PACKET_REPLY) : is_answer(p);
	int attempts = !is_known && !reply && is_midstream(p) ? 2 : 1;
	struct decision first = {};
	int step, refused = GO_ON;

#pragma clang loop unroll(disable)
	for (int attempt = 0; attempt < 2 && attempt < attempts; attempt++) {
		step = judge_both_ends(skb, p, reply | attempt);
		if (!step) {
			if (reply | attempt)
				p->flags |= PACKET_REPLY;
			return GO_ON;
		}
		if (attempt)
			break;
		refused = step;
		first.rule = p->rule;
		first.endpoint = p->endpoint;
		first.direction = p->direction;
	}
	p->rule = first.rule;
	p->endpoint = first.endpoint;
	p->direction = first.direction;
	return refused;
}

/*
 * Confirms, renews or revokes the judgement of a known flow, or judges a new one and writes its entry with
 * `flags`. `state` comes from find_flow(ZONE_JUDGED).
 */
static __always_inline int track_flow(struct __sk_buff *skb, struct packet *p, struct flow_state *state, __u32 flags)
{
	int step;

	if (state && is_current(p, state)) {
		touch_flow(p, state);
		return GO_ON;
	}
	/* An error opens no flow. What this node itself says about one that is gone may pass. */
	if (!state && (p->flags & PACKET_ICMP_ERROR))
		return p->from.identity == IDENTITY_HOST ? GO_ON : -DROP_POLICY_DENIED;
	step = judge_orientations(skb, p, !!state);
	if (step) {
		if (state)
			revoke_flow(p, state);
		return step;
	}
	if (p->flags & PACKET_ICMP_ERROR)
		return GO_ON;
	if (state) {
		flags = state->flags & ~(CT_FROM_LOW | CT_REVOKED);
		p->fresh.packets = state->packets;
		p->fresh.bytes = state->bytes;
	}
	return write_flow(p, flags);
}

#endif /* CILIUM_CONNTRACK_H */
