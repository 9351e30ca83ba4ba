/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry per flow, both directions. It remembers who opened the flow and under which generations it
 * was allowed; when a generation or an identity is another one now, the flow is judged again as it was
 * opened, so that a revoked rule cuts live connections and an established packet costs one lookup.
 */
#ifndef CILIUM_CONNTRACK_H
#define CILIUM_CONNTRACK_H

/* ---------------------------------------------------------------- the entry */

static __always_inline void make_flow_key(struct packet *p)
{
	int low = is_numerically_smaller(&p->flow_source, &p->destination);

	if (same_address(&p->flow_source, &p->destination))
		low = bpf_ntohs(p->source_port_be) <= bpf_ntohs(p->destination_port_be);
	p->key.protocol = p->flow_protocol;
	p->key.pad[0] = 0;
	p->key.pad[1] = 0;
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

/* Both sides were heard, and the opener after the other one: no scan and no forged source does that. */
static __always_inline int is_confirmed(__u32 flags)
{
	return (flags & CT_REPLIED) && (flags & CT_CONFIRMED);
}

/* The flow needs no quota any more. A question with an answer is done; an answered SYN is not, and a refused one
 * was a scan's as likely as not. */
static __always_inline int is_established(const struct packet *p, __u32 flags)
{
	if (has_connections(p->flow_protocol))
		return is_confirmed(flags) && !(flags & CT_CLOSING);
	return flags & CT_REPLIED;
}

static __always_inline __u32 connection_lifetime(const struct packet *p, __u32 flags)
{
	if (flags & CT_CLOSING)
		return (flags & CT_FIN_OPENER) && (flags & CT_FIN_RESPONDER) ? config_timeout_tcp_closing : config_timeout_tcp_reset;
	if (!is_confirmed(flags)) /* also with a FIN: a scan gets no hour */
		return config_timeout_tcp_opening;
	if (p->flow_protocol == PROTOCOL_SCTP)
		return config_timeout_sctp_established;
	return flags & CT_ENDED ? config_timeout_tcp_half_closed : config_timeout_tcp_established;
}

static __always_inline __u32 flow_lifetime(const struct packet *p, __u32 flags)
{
	if (has_connections(p->flow_protocol))
		return connection_lifetime(p, flags);
	if (is_icmp(p->flow_protocol))
		return config_timeout_icmp;
	return is_confirmed(flags) ? config_timeout_udp_stream : config_timeout_udp;
}

/* While flows move to another layout, one that is not here yet is the former program's, which does not return.
 * Otherwise an answer between the change of programs and the move of its flow would be a stranger's. */
static __always_inline int is_formers(const struct packet *p)
{
	__u32 zero = 0;
	void *former = bpf_map_lookup_elem(&former_flows, &zero);

	return former && bpf_map_lookup_elem(former, &p->key);
}

static __always_inline void leave_to_former(CONTEXT *context, struct packet *p)
{
	if (HAS_FORMER && is_formers(p))
		bpf_tail_call(context, &former_hooks, p->hook);
}

/* The live entry of the packet's flow in the zone, or null; sets PACKET_REPLY. An opening packet against
 * the direction of the entry, or after a FIN or RST in it, begins another flow on the same tuple. Nothing of the
 * packet has been changed before, and nothing been counted. */
static __always_inline struct flow_state *find_flow(CONTEXT *context, struct packet *p, __u8 zone)
{
	struct flow_state *state;
	__u32 reply;

	make_flow_key(p);
	p->key.zone = zone;
	p->flags &= ~PACKET_REPLY;
	state = bpf_map_lookup_elem(&flows, &p->key);
	if (!state)
		leave_to_former(context, p);
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

/* Gives the endpoint back what the flow cost. */
static __always_inline void settle_quota(struct flow_state *state)
{
	__u32 slot = state->quota;
	struct quota *quota = bpf_map_lookup_elem(&quotas, &slot);

	state->quota = 0;
	if (quota)
		__sync_fetch_and_add(&quota->paid_ns, -config_flow_quota_step_ns);
}

/* What a pod sent to a service and a socket of the node takes: its entry of zone 1 is charged, which alone sees both
 * directions of a connection, and so can be settled. */
static __always_inline int is_paid_before_translation(const struct packet *p)
{
	return p->hook == HOOK_TO_SOCKET || (p->flags & PACKET_ANSWER);
}

/* Of the pod that opened the flow, else of the pod or node that it goes to; what the own node opens is free. */
static __always_inline int charge_quota(struct packet *p, const struct side *opener, const struct side *responder)
{
	__u64 now = p->now_ns;
	struct quota *quota;
	__u32 slot;

	p->fresh.quota = 0;
	if (is_paid_before_translation(p))
		return GO_ON;
	if (!config_flow_quota_step_ns || (!opener->endpoint && opener->identity == IDENTITY_HOST))
		return GO_ON;
	slot = opener->endpoint ? opener->endpoint * 2u + DIRECTION_EGRESS : responder->endpoint * 2u + DIRECTION_INGRESS;
	if (slot <= 1) { /* no endpoint of this node */
		if (!(p->flags & PACKET_HOST_FLOW))
			return GO_ON;
		slot = QUOTA_HOST;
	}
	quota = bpf_map_lookup_elem(&quotas, &slot);
	if (!quota)
		return GO_ON;
	if (quota->paid_ns > now + TIMEOUT_TCP_OPENING * NS_PER_SECOND)
		return -DROP_FLOW_QUOTA;
	if (quota->paid_ns < now)
		quota->paid_ns = now + config_flow_quota_step_ns;
	else
		__sync_fetch_and_add(&quota->paid_ns, config_flow_quota_step_ns);
	p->fresh.quota = slot;
	return GO_ON;
}

static __always_inline void touch_flow(struct packet *p, struct flow_state *state)
{
	__u32 flags = state->flags, expires;

	p->flow_flags = flags;
	if (p->flags & PACKET_ICMP_ERROR)
		return;
	if (p->flags & PACKET_REPLY)
		flags |= CT_REPLIED;
	else if ((flags & CT_REPLIED) && !is_opening(p))
		flags |= CT_CONFIRMED;
	flags = note_end(p, flags);
	if (flags != state->flags)
		state->flags = flags;
	if (state->quota && is_established(p, flags))
		settle_quota(state);
	expires = p->now + flow_lifetime(p, flags);
	if (expires != state->expires)
		state->expires = expires;
	__sync_fetch_and_add(&state->packets, 1);
	__sync_fetch_and_add(&state->bytes, p->length);
}

/* Writes the entry of a flow that `p` opened, or (PACKET_REPLY) that its destination opened. `known`: it had one. */
static __always_inline int write_flow(struct packet *p, __u32 flags, int known)
{
	struct side *opener = p->flags & PACKET_REPLY ? &p->to : &p->from;
	struct side *responder = p->flags & PACKET_REPLY ? &p->from : &p->to;
	int low = p->flags & PACKET_LOW;
	int step = known ? GO_ON : charge_quota(p, opener, responder);

	if (step)
		return step;
	if (p->flags & PACKET_REPLY) {
		low = !low;
		flags |= CT_REPLIED;
	} else if (is_midstream(p)) {
		flags |= CT_CONFIRMED; /* the reply is still to be seen */
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

/* Egress of the opener and ingress of the responder, as far as they are pods of this node, or the node itself where
 * policies select it. A node always reaches its own pods (NetworkPolicy specification; probes). */
static __always_inline int judge_both_ends(CONTEXT *context, struct packet *p, int reply)
{
	const struct side *opener = reply ? &p->to : &p->from;
	const struct side *responder = reply ? &p->from : &p->to;
	int step, end;

	p->fresh.egress_rule = 0;
	p->fresh.ingress_rule = 0;
	if (opener->endpoint && opener->endpoint == responder->endpoint) /* a pod reaches itself through a service */
		return GO_ON;
#pragma clang loop unroll(disable)
	for (end = 0; end < 2; end++) {
		__u8 direction = end ? DIRECTION_INGRESS : DIRECTION_EGRESS;
		const struct side *subject = end ? responder : opener;
		const struct side *other = end ? opener : responder;
		__u32 to_destination = !end == !reply; /* `other` is where the packet goes */

		if (!subject->subject || (end ? other->identity == IDENTITY_HOST : !subject->endpoint && other->endpoint))
			continue;
		p->port_be = reply ? p->source_port_be : p->destination_port_be;
		step = judge(context, p, subject, to_destination, direction);
		if (step)
			return step;
		if (end)
			p->fresh.ingress_rule = p->rule;
		else
			p->fresh.egress_rule = p->rule;
	}
	return GO_ON;
}

/* Both sides are in it: no handshake that begins another, and no question that nobody has answered. */
static __always_inline int is_under_way(const struct packet *p, const struct flow_state *state)
{
	if (has_connections(p->flow_protocol))
		return !is_opening(p);
	return (state->flags & CT_REPLIED) || (p->flags & PACKET_REPLY);
}

/* A pod of this node must be the same one under the same generation (addresses are used again). The other
 * side's identity is compared in the opener's packets only: a reply shows an address, and reserved identities
 * depend on the way a packet came. There the stored one holds. */
static __always_inline int is_same_side(struct packet *p, struct side *side, __u32 identity, __u32 generation, int is_session)
{
	/* The node's, from before it had rules: they do not judge it. */
	if (!side->endpoint && !generation && is_session)
		side->subject = side->generation = 0;
	if (side->endpoint || side->subject)
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
	int is_session = is_under_way(p, state);
	int same = is_same_side(p, opener, state->source_identity, state->source_generation, is_session);

	return is_same_side(p, responder, state->destination_identity, state->destination_generation, is_session) && same &&
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
static __always_inline int judge_orientations(CONTEXT *context, struct packet *p, int is_known)
{
	int reply = is_known ? !!(p->flags & PACKET_REPLY) : is_answer(p);
	int attempts = !is_known && !reply && (is_midstream(p) || (p->flags & PACKET_MAY_ANSWER)) ? 2 : 1;
	struct decision first = {};
	int step, refused = GO_ON;

#pragma clang loop unroll(disable)
	for (int attempt = 0; attempt < 2 && attempt < attempts; attempt++) {
		step = judge_both_ends(context, p, reply | attempt);
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
static __always_inline int track_flow(CONTEXT *context, struct packet *p, struct flow_state *state, __u32 flags)
{
	int step;

	if (state && is_current(p, state)) {
		touch_flow(p, state);
		return GO_ON;
	}
	/* An error opens no flow. What this node itself says about one that is gone may pass. */
	if (!state && (p->flags & PACKET_ICMP_ERROR))
		return p->from.identity == IDENTITY_HOST ? GO_ON : -DROP_POLICY_DENIED;
	step = judge_orientations(context, p, !!state);
	if (step) {
		if (state && !is_opening(p)) /* whoever forges one ends no connection */
			revoke_flow(p, state);
		return step;
	}
	if (p->flags & PACKET_ICMP_ERROR)
		return GO_ON;
	if (state) {
		flags = state->flags & ~(CT_FROM_LOW | CT_REVOKED);
		p->fresh.packets = state->packets;
		p->fresh.bytes = state->bytes;
		p->fresh.quota = state->quota;
	}
	return write_flow(p, flags, !!state);
}

#endif /* CILIUM_CONNTRACK_H */
