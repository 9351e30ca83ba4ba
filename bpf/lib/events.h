/* SPDX-License-Identifier: Apache-2.0 */
/* What user space learns of a packet: an event, a counter, a rule's hit; and the end of every program. */
#ifndef CILIUM_EVENTS_H
#define CILIUM_EVENTS_H

static __always_inline void count_metric(struct packet *p, __u16 reason)
{
	struct metric_key key = { .reason = reason, .direction = p->direction };
	struct metric *counter = bpf_map_lookup_elem(&metrics, &key);
	struct metric first = { .packets = 1, .bytes = p->length };

	if (counter) {
		counter->packets++;
		counter->bytes += p->length;
		return;
	}
	/* Another CPU may have made the entry meanwhile: then this packet is not counted. */
	bpf_map_update_elem(&metrics, &key, &first, BPF_NOEXIST);
}

/* Packets that the rule itself decided: the first of a flow, those judged again, and every denied one. */
static __always_inline void count_rule(struct packet *p)
{
	struct rule_hit first = { .packets = 1, .bytes = p->length, .last_ns = p->now_ns };
	struct rule_hit *hit;

	if (!p->rule)
		return;
	hit = bpf_map_lookup_elem(&rule_hits, &p->rule);
	if (hit) {
		hit->packets++;
		hit->bytes += p->length;
		hit->last_ns = p->now_ns;
		return;
	}
	bpf_map_update_elem(&rule_hits, &p->rule, &first, BPF_NOEXIST);
}

/*
 * May the ring have one more of this kind from whom it is about? The pod of this node that sent the packet pays, else the
 * one it is for: a scan blinds nobody but the scanner. CPUs that race for the same budget may both spend the last of it.
 */
static __always_inline int pays_for_event(const struct packet *p, __u8 type)
{
	__u32 payer = (p->from.endpoint ? p->from.endpoint : p->endpoint) & 0xffff;
	__u32 slot = payer * 2 + (type == EVENT_DROP);
	struct quota *budget = bpf_map_lookup_elem(&event_budgets, &slot);
	__u64 now = p->now_ns, paid;

	if (!budget || !config_event_step_ns)
		return 1;
	paid = budget->paid_ns > now ? budget->paid_ns : now;
	if (paid - now > (EVENT_BURST - 1) * config_event_step_ns)
		return 0;
	budget->paid_ns = paid + config_event_step_ns;
	return 1;
}

/* A full ring loses the event, never the verdict, and the loss is counted. */
static __always_inline void emit_event(CONTEXT *context, struct packet *p, __u8 type, __u16 reason)
{
	struct event *event;

	if (!pays_for_event(p, type)) {
		count_metric(p, METRIC_SPARED_EVENTS);
		return;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count_metric(p, METRIC_LOST_EVENTS);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->type = type;
	event->direction = p->direction;
	event->verdict = type == EVENT_DROP ? VERDICT_DENY : p->verdict;
	event->protocol = p->protocol;
	event->reason = reason;
	event->endpoint = p->endpoint;
	event->rule = p->rule;
	event->source_identity = p->from.identity;
	event->destination_identity = p->to.identity;
	event->ifindex = DEVICE_OF(context);
	event->length = p->length;
	if (!(p->flags & PACKET_ICMP_ERROR) && !is_icmp(p->protocol)) {
		event->source_port_be = p->source_port_be;
		event->destination_port_be = p->destination_port_be;
	}
	copy_address(event->source, &p->source);
	copy_address(event->destination, &p->destination);
	event->tcp_flags = p->protocol == PROTOCOL_TCP ? p->tcp_flags : 0;
	event->hook = p->hook;
	event->icmp_type = p->icmp_type;
	bpf_ringbuf_submit(event, 0);
}

/* Counts the packet under the reason of its drop, or 0, and turns a step's result into the program's. */
static __always_inline int finish(CONTEXT *context, struct packet *p, int step)
{
	__u16 reason = step < 0 ? -step : 0;

	if (step == TC_ACT_SHOT) /* ends here in silence: neither forwarded nor refused */
		return TC_ACT_SHOT;
	count_metric(p, reason);
	if (!reason)
		return step == DONE_OK ? TC_ACT_OK : step;
	if (reason == DROP_POLICY_DENIED || reason == DROP_POLICY_DENY || reason == DROP_UNKNOWN_IDENTITY)
		count_rule(p);
	else
		p->rule = 0;
	emit_event(context, p, EVENT_DROP, reason);
	return TC_ACT_SHOT;
}

#endif /* CILIUM_EVENTS_H */
