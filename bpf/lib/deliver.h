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

#endif /* CILIUM_DELIVER_H */
