/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out of a program. */
#ifndef CILIUM_DELIVER_H
#define CILIUM_DELIVER_H

/* Straight into the pod's namespace: its to_container does not run, so both ends are judged by now. */
static __always_inline int deliver_to_pod(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod)
{
	int step = check_mtu(skb, p, pod->mtu);

	if (!step)
		step = address_to_pod(skb, p, pod);
	if (step)
		return step;
	p->direction = DIRECTION_INGRESS;
	skb->mark = 0;
	return bpf_redirect_peer(pod->ifindex, 0);
}

static __always_inline int deliver_to_stack(struct __sk_buff *skb, __u32 mark, __u32 endpoint)
{
	set_mark(skb, mark, endpoint);
	return DONE_OK;
}

/* What another node sent to a pod of this one, its sender believed. The reply of a translated flow is the stack's. */
static __always_inline int receive_for_pod(struct __sk_buff *skb, struct packet *p, const struct endpoint *target)
{
	int step = local_side(&p->to, target);

	p->endpoint = target->id;
	if (!step)
		step = track_flow(skb, p, find_flow(skb, p, ZONE_JUDGED), 0);
	if (step)
		return step;
	if ((p->flow_flags & CT_VIA_STACK) && (p->flags & PACKET_REPLY))
		return deliver_to_stack(skb, MARK_REPLY, 0);
	return deliver_to_pod(skb, p, target);
}

/*
 * To a pod of another node by the underlay's routes, past the stack as what comes from there: netfilter's conntrack,
 * which would see one direction only, takes the middle of such a connection for invalid. What the routes refuse, and
 * what is too big, goes to the stack: it answers the pod, and forwards none of it.
 */
static __always_inline int forward_direct(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_fib_lookup *fib = &p->fib;
	__u32 length = wire_length(skb, p);
	int is_ipv6 = !!(p->flags & PACKET_IPV6), found;

	set_mark(skb, MARK_JUDGED, p->from.endpoint);
	if (length > config_direct_mtu)
		return DONE_OK;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = is_ipv6 ? AF_INET6 : AF_INET;
	fib->l4_protocol = p->protocol;
	fib->tot_len = length;
	fib->ifindex = skb->ifindex;
	if (is_ipv6) {
		__builtin_memcpy(fib->source, &p->source, 16);
		__builtin_memcpy(fib->destination, &p->destination, 16);
	} else {
		fib->source[0] = ((__u32 *)&p->source)[3];
		fib->destination[0] = ((__u32 *)&p->destination)[3];
	}
	found = bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
	if ((found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH) || fib->ifindex == skb->ifindex)
		return DONE_OK;
	p->next_hop.nh_family = fib->family;
	__builtin_memcpy(p->next_hop.nh, fib->destination, 16);
	return bpf_redirect_neigh(fib->ifindex, &p->next_hop, sizeof(p->next_hop), 0);
}

#endif /* CILIUM_DELIVER_H */
