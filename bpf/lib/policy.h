/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule set is a hash. A packet's peer stands in its keys in up to four ways: by identity, by the class of the
 * blocks around its address, by the class of its named ports, and as any peer. The subject says which of them the
 * rule set uses, and which port prefix lengths; those are tried, and the greatest precedence decides, not the
 * narrowest key: a broad deny must not lose to a narrow allow.
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
 * May `side`, a pod of this node, exchange a flow to p->port_be with `other`, whose address is `address`? GO_ON or
 * the drop reason; p->rule, verdict, direction and endpoint tell who decided. Deny rules hold where nothing is
 * enforced.
 */
static __always_inline int judge(struct __sk_buff *skb, struct packet *p, const struct side *side,
				 const struct side *other, const struct address *address, __u8 direction)
{
	struct subject *subject = bpf_map_lookup_elem(&subjects, &side->subject);
	__u32 ports, enforced, fallback, with_blocks;

	p->direction = direction;
	p->endpoint = side->endpoint;
	p->rule = 0;
	p->verdict = VERDICT_ALLOW;
	if (!subject || !side->subject || !subject->rule_set)
		return -DROP_POLICY_NOT_READY;
	ports = direction == DIRECTION_EGRESS ? subject->egress_ports : subject->ingress_ports;
	enforced = direction == DIRECTION_EGRESS ? subject->egress_enforced : subject->ingress_enforced;
	fallback = direction == DIRECTION_EGRESS ? subject->egress_default : subject->ingress_default;
	with_blocks = direction == DIRECTION_EGRESS ? SUBJECT_EGRESS_BLOCKS : SUBJECT_INGRESS_BLOCKS;
	/* A pod that is not known yet may be one that a rule names. */
	if (other->identity == IDENTITY_UNKNOWN && (enforced || ports)) {
		p->rule = fallback;
		return -DROP_UNKNOWN_IDENTITY;
	}
	p->policy.rule_set = subject->rule_set;
	p->policy.direction = direction;
	p->block_class = 0;
	p->ports_class = 0;
	if (subject->flags & with_blocks)
		p->block_class = find_block_class(p, subject->rule_set, other, address);
	if (direction == DIRECTION_EGRESS && (subject->flags & SUBJECT_NAMED_PORTS))
		p->ports_class = other->ports;
	search_policy(other->identity, p->port_be, ports);
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
