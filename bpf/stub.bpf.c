/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The permanent programs on the devices. Each calls the slot of its hook, so that one write to `hooks`
 * replaces a program on every device at once. A call into an empty slot goes on behind it.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "lib/types.h"
#include "lib/maps.h"

SEC("tc")
int stub_from_container(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_FROM_CONTAINER);
	return TC_ACT_SHOT;
}

SEC("tc")
int stub_to_container(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_TO_CONTAINER);
	return TC_ACT_SHOT;
}

/* Open when empty: the node itself must stay reachable, or nobody could repair it. No pod is reached
 * thereby, because to_container is closed then. */
SEC("tc")
int stub_from_netdev(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_FROM_NETDEV);
	return TC_ACT_UNSPEC;
}

/* Open when empty for the node's own packets, closed for those of pods, whose egress is judged here. */
SEC("tc")
int stub_to_netdev(struct __sk_buff *skb)
{
	__u32 origin = skb->mark & MARK_MASK;

	bpf_tail_call(skb, &hooks, HOOK_TO_NETDEV);
	return origin == MARK_FROM_POD || origin == MARK_FROM_POD_DEFER ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int stub_from_overlay(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_FROM_OVERLAY);
	return TC_ACT_SHOT;
}

SEC("tc")
int stub_from_host(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &hooks, HOOK_FROM_HOST);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
