/* SPDX-License-Identifier: Apache-2.0 */
/* Test only: a packet that comes out of the tunnel. BPF_PROG_TEST_RUN gives no tunnel metadata, so this
 * program attaches what `outer` says and goes on into slot HOOK_FROM_OVERLAY. */
#include "../../../bpf/vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "../../../bpf/lib/types.h"
#include "../../../bpf/lib/maps.h"

/* As long as since Linux 6.0: only there the local address, which the receiver reads as the remote one. */
struct tunnel_key {
	struct bpf_tunnel_key key;
	__u32 local[4];
};

/* 0 -> what the outer headers said */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_key);
} outer SEC(".maps");

SEC("tc")
int arrive(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct tunnel_key *told = bpf_map_lookup_elem(&outer, &zero);
	struct tunnel_key key;

	if (!told)
		return TC_ACT_SHOT;
	key = *told;
	if (bpf_skb_set_tunnel_key(skb, (void *)&key, sizeof(key), key.key.tunnel_tos ? BPF_F_TUNINFO_IPV6 : 0))
		return -1;
	bpf_tail_call(skb, &hooks, HOOK_FROM_OVERLAY);
	return -1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
