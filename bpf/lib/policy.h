/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule set is a hash. A packet's peer stands in its keys in up to four ways: by identity, by the class of the
 * blocks around its address, by the class of its named ports, and as any peer. The subject says which of them the
 * rule set uses, and which port prefix lengths; those are tried, and the greatest precedence decides, not the
 * narrowest key: a broad deny must not lose to a narrow allow.
 *
 * An administrator's tier has keys of its own and is asked first. One of its rules may pass the packet on to the next
 * tier, for which its weaker rules then do not count: precedence in one space of keys could not say that, as the peer
 * of the one rule may be an identity and of the other a class of blocks, which no key can name together.
 */
#ifndef CILIUM_POLICY_H
#define CILIUM_POLICY_H

#define PORT_BITS 16

/* Looks up p->policy for one way to name the peer and keeps the entry when it outranks what was found before. Equal
 * precedence: deny. */
static __always_inline void consider(struct packet *p, __u32 peer)
{
	struct policy_entry *entry;

	p->policy.peer = peer;
	entry = bpf_map_lookup_elem(&policy, &p->policy);
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

static __always_inline void consider_peers(struct packet *p, __u32 peer)
{
	consider(p, 0);
	if (peer)
		consider(p, peer);
	if (p->block_class)
		consider(p, p->block_class);
	if (p->ports_class)
		consider(p, p->ports_class);
}

/* The class of the blocks of `rule_set` around the address of `other`; 0: none holds for a peer of its kind. The
 * address counts, not who stands behind it: masquerading gives a node's address to the outside. */
static __always_inline __u32 find_block_class(struct packet *p, __u32 rule_set, const struct side *other,
					      const struct address *address)
{
	__u32 identity = other->identity;
	struct block *block;
	struct peer *known;

	p->block.prefix = 32 + 128;
	p->block.rule_set = rule_set;
	__builtin_memcpy(p->block.address, address, 16);
	block = bpf_map_lookup_elem(&blocks, &p->block);
	if (!block)
		return 0;
	if (other->endpoint || is_cluster_identity(identity) || identity == IDENTITY_UNMANAGED ||
	    identity == IDENTITY_HEALTH || identity == IDENTITY_INIT || identity == IDENTITY_INGRESS)
		return block->pod;
	if (is_node_identity(identity))
		return block->node;
	known = bpf_map_lookup_elem(&ipcache, address);
	return known && is_node_identity(known->identity) ? block->node : block->world;
}

/*
 * Fills matched, verdict and rule of the packet in hand. `ports`: bit n = try keys with port_prefix n.
 * A global function, because the verifier then walks through its loop once and not on each path to it
 * (Linux 5.6). A program that has one and makes tail calls, as find_flow does while flows move, must be compiled by a JIT
 * that knows both: x86 from 5.10, arm64 from 6.0 (bpf_jit_supports_subprog_tailcalls).
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

/* The deciding entry of the first tier that has one and does not pass the packet on. */
static __always_inline void search_tiers(struct packet *p, __u32 peer, __u32 ports, __u32 has_admin)
{
	if (has_admin) {
		p->policy.tier = TIER_ADMIN;
		search_policy(peer, p->port_be, ports);
		if (p->matched && p->verdict != VERDICT_PASS)
			return;
		p->rule = 0;
		p->verdict = VERDICT_ALLOW;
	}
	p->policy.tier = TIER_POLICIES;
	search_policy(peer, p->port_be, ports);
}

/*
 * What the subject's rules say of the flow in hand, whose side `other` has `address`: GO_ON or the drop reason, with
 * p->matched, rule and verdict of the entry that decided.
 */
static __always_inline int ask_rules(struct packet *p, const struct subject *subject, const struct side *other,
				     const struct address *address)
{
	__u32 ports, enforced, fallback, with_blocks, with_admin;

	ports = p->direction == DIRECTION_EGRESS ? subject->egress_ports : subject->ingress_ports;
	enforced = p->direction == DIRECTION_EGRESS ? subject->egress_enforced : subject->ingress_enforced;
	fallback = p->direction == DIRECTION_EGRESS ? subject->egress_default : subject->ingress_default;
	with_blocks = p->direction == DIRECTION_EGRESS ? SUBJECT_EGRESS_BLOCKS : SUBJECT_INGRESS_BLOCKS;
	with_admin = p->direction == DIRECTION_EGRESS ? SUBJECT_EGRESS_ADMIN : SUBJECT_INGRESS_ADMIN;
	/* A pod that is not known yet may be one that a rule names. */
	if (other->identity == IDENTITY_UNKNOWN && (enforced || ports)) {
		p->rule = fallback;
		return -DROP_UNKNOWN_IDENTITY;
	}
	p->policy.rule_set = subject->rule_set;
	p->policy.direction = p->direction;
	__builtin_memset(p->policy.pad, 0, sizeof(p->policy.pad));
	p->block_class = 0;
	p->ports_class = 0;
	if (subject->flags & with_blocks)
		p->block_class = find_block_class(p, subject->rule_set, other, address);
	if (p->direction == DIRECTION_EGRESS && (subject->flags & SUBJECT_NAMED_PORTS))
		p->ports_class = other->ports;
	search_tiers(p, other->identity, ports, subject->flags & with_admin);
	if (!p->matched && enforced) {
		p->rule = fallback;
		return -DROP_POLICY_DENIED;
	}
	return p->matched && p->verdict == VERDICT_DENY ? -DROP_POLICY_DENY : GO_ON;
}

/*
 * Tells what the policies that only watch would have dropped of an allowed flow, by the rules in `slot`; the flow passes.
 * 1: told. What decided stays in p. Judged once per flow, like the flow itself. A global function as search_policy.
 */
WITH_CONTEXT int audit_flow(CONTEXT *context, __u32 slot, __u32 to_destination)
{
	struct packet *p = current_packet();
	struct subject *subject = bpf_map_lookup_elem(&subjects, &slot);
	__u32 rule, matched;
	__u8 verdict;
	int step;

	if (!p || !subject || !subject->rule_set)
		return 0;
	rule = p->rule;
	matched = p->matched;
	verdict = p->verdict;
	if (to_destination)
		step = ask_rules(p, subject, &p->to, &p->destination);
	else
		step = ask_rules(p, subject, &p->from, &p->flow_source);
	if (step) {
		p->verdict = VERDICT_AUDIT;
		count_rule(p);
		emit_event(context, p, EVENT_VERDICT, -step);
	}
	p->rule = rule;
	p->matched = matched;
	p->verdict = verdict;
	return !!step;
}

/*
 * May `side`, a pod of this node, exchange a flow to p->port_be with the other one, which is the packet's destination or
 * its source? GO_ON or the drop reason; p->rule, verdict, direction and endpoint tell who decided. Deny rules hold where
 * nothing is enforced.
 */
static __always_inline int judge(CONTEXT *context, struct packet *p, const struct side *side,
				 __u32 to_destination, __u8 direction)
{
	struct subject *subject = bpf_map_lookup_elem(&subjects, &side->subject);
	const struct side *other = to_destination ? &p->to : &p->from;
	const struct address *address = to_destination ? &p->destination : &p->flow_source;
	int step, is_told;

	p->direction = direction;
	p->endpoint = side->endpoint;
	p->rule = 0;
	p->verdict = VERDICT_ALLOW;
	if (!subject || !side->subject || !subject->rule_set)
		return -DROP_POLICY_NOT_READY;
	step = ask_rules(p, subject, other, address);
	if (step)
		return step;
	is_told = subject->audit && audit_flow(context, subject->audit, to_destination);
	if (p->matched) {
		count_rule(p);
		if (!is_told)
			emit_event(context, p, EVENT_VERDICT, 0);
	}
	return GO_ON;
}

#endif /* CILIUM_POLICY_H */
