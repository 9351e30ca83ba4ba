/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule set is a hash. The subject says which port prefix lengths its keys use; those are tried, for
 * the peer and for any peer, and the greatest precedence decides, not the narrowest key: a broad deny
 * must not lose to a narrow allow.
 */
#ifndef CILIUM_POLICY_H
#define CILIUM_POLICY_H

#define PORT_BITS 16

/* Looks up p->policy and keeps the entry when it outranks what was found before. Equal precedence: deny. */
static __always_inline void consider(struct packet *p)
{
	struct policy_entry *entry = bpf_map_lookup_elem(&policy, &p->policy);

	if (!entry)
		return;
	if (p->matched && (entry->precedence < p->rank ||
			   (entry->precedence == p->rank && entry->verdict != VERDICT_DENY)))
		return;
	p->matched = 1;
	p->rank = entry->precedence;
	p->rule = entry->rule;
	p->verdict = entry->verdict;
}

/* For the peer, then for any peer. */
static __always_inline void consider_peers(struct packet *p, __u32 peer)
{
	p->policy.peer = peer;
	consider(p);
	if (!peer)
		return;
	p->policy.peer = 0;
	consider(p);
}

/*
 * Fills matched, verdict and rule of the packet in hand. `ports`: bit n = try keys with port_prefix n.
 * A global function, because the verifier then walks through its loop once and not on each path to it
 * (Linux 5.6). Programs with tail calls may hold none; ours are called by tail calls and make none.
 */
__attribute__((noinline)) int search_policy(__u32 peer, __u32 port_be, __u32 ports)
{
	struct packet *p = current_packet();
	__u32 bits;

	if (!p)
		return 0;
	p->matched = 0;
	p->rank = 0;
	p->policy.protocol = 0;
	p->policy.port_be = 0;
	p->policy.port_prefix = 0;
	if (ports & 1)
		consider_peers(p, peer);
	p->policy.protocol = p->flow_protocol;
#pragma clang loop unroll(disable)
	for (bits = 0; bits <= PORT_BITS; bits++) {
		if (!(ports & 1u << bits))
			continue;
		p->policy.port_prefix = bits;
		p->policy.port_be = port_be & bpf_htons((__u16)(0xffff0000u >> bits));
		consider_peers(p, peer);
	}
	return 0;
}

/*
 * May `subject`, a pod of this node, exchange a flow to `port_be` with `peer`? GO_ON or the drop reason;
 * p->rule, verdict, direction and endpoint tell who decided. Deny rules hold where nothing is enforced.
 */
static __always_inline int judge(struct __sk_buff *skb, struct packet *p, const struct side *side,
				 __u8 direction, __u32 peer, __be16 port_be)
{
	struct subject *subject = bpf_map_lookup_elem(&subjects, &side->subject);
	__u32 ports, enforced, fallback;

	p->direction = direction;
	p->endpoint = side->endpoint;
	p->rule = 0;
	p->verdict = VERDICT_ALLOW;
	if (!subject || !side->subject || !subject->rule_set)
		return -DROP_POLICY_NOT_READY;
	ports = direction == DIRECTION_EGRESS ? subject->egress_ports : subject->ingress_ports;
	enforced = direction == DIRECTION_EGRESS ? subject->egress_enforced : subject->ingress_enforced;
	fallback = direction == DIRECTION_EGRESS ? subject->egress_default : subject->ingress_default;
	/* A pod that is not known yet may be one that a rule names. */
	if (peer == IDENTITY_UNKNOWN && (enforced || ports)) {
		p->rule = fallback;
		return -DROP_UNKNOWN_IDENTITY;
	}
	if (!has_ports(p->flow_protocol)) /* an ICMP identifier is no port */
		ports &= 1;
	p->policy.rule_set = subject->rule_set;
	p->policy.direction = direction;
	search_policy(peer, port_be, ports);
	if (!p->matched && enforced) {
		p->rule = fallback;
		return -DROP_POLICY_DENIED;
	}
	if (p->matched && p->verdict == VERDICT_DENY)
		return -DROP_POLICY_DENY;
	if (p->matched || enforced) {
		count_rule(p);
		emit_event(skb, p, EVENT_VERDICT, 0);
	}
	return GO_ON;
}

#endif /* CILIUM_POLICY_H */
