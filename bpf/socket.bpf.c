/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sk_lookup of the node's network namespace (Linux 5.9): asked for what no open connection takes, after the stack has
 * chosen the destination. What pods of the node send to a service, and the stack then gives to the node itself, is judged
 * here, where it is to be seen what the node is asked for. What they send to the node's own address was judged in
 * from_container, and its flow is known.
 *
 * A process may ask as well (inet_diag), and a packet come in between: so no memory is shared with the tc programs, and
 * what is judged wrongly then is the process's question.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define CONTEXT struct bpf_sk_lookup
#define WITH_CONTEXT static __always_inline /* Linux 5.10 knows no function of such a program that takes its context */
#define DEVICE_OF(context) ((void)(context), 0)
#define HAS_FORMER 0
#define scratch socket_scratch
#include "lib/types.h"
#include "lib/net.h"
#include "lib/config.h"
#include "lib/maps.h"
#include "lib/packet.h"
#include "lib/icmp.h"
#include "lib/events.h"
#include "lib/identity.h"
#include "lib/policy.h"
#include "lib/opening.h"
#include "lib/conntrack.h"

#define AF_INET 2

static __always_inline void read_ends(const struct bpf_sk_lookup *context, struct packet *p)
{
	__u32 *source = (__u32 *)&p->source, *destination = (__u32 *)&p->destination;

	if (context->family == AF_INET) {
		map_ipv4(source, context->remote_ip4);
		map_ipv4(destination, context->local_ip4);
	} else {
		p->flags |= PACKET_IPV6;
		source[0] = context->remote_ip6[0];
		source[1] = context->remote_ip6[1];
		source[2] = context->remote_ip6[2];
		source[3] = context->remote_ip6[3];
		destination[0] = context->local_ip6[0];
		destination[1] = context->local_ip6[1];
		destination[2] = context->local_ip6[2];
		destination[3] = context->local_ip6[3];
	}
	copy_address(&p->flow_source, &p->source);
	p->source_port_be = context->remote_port;
	p->destination_port_be = bpf_htons(context->local_port);
	p->protocol = context->protocol;
	p->flow_protocol = context->protocol;
	if (p->protocol == PROTOCOL_TCP) /* what belongs to a connection asks for no socket */
		p->tcp_flags = TCP_SYN;
}

static __always_inline int process(struct bpf_sk_lookup *context, struct packet *p, const struct host *known)
{
	struct endpoint *pod;
	struct flow_state *state;
	int step;

	read_ends(context, p);
	pod = bpf_map_lookup_elem(&endpoints, &p->source);
	if (!pod)
		return TC_ACT_OK;
	step = local_side(&p->from, pod);
	if (step)
		return step;
	host_side(&p->to, known);
	p->flags |= PACKET_HOST_FLOW;
	state = find_flow(context, p, ZONE_JUDGED);
	if (!state && is_formers(p))
		return DONE_OK;
	return pass_unremembered(track_flow(context, p, state, 0)) ?: DONE_OK;
}

SEC("sk_lookup")
int to_socket(struct bpf_sk_lookup *context)
{
	const struct host *known = find_host();
	struct packet *p;
	int step;

	if (!known)
		return SK_PASS;
	p = packet_of_length(0, HOOK_TO_SOCKET, DIRECTION_INGRESS);
	if (!p)
		return SK_DROP;
	step = process(context, p, known);
	if (step == TC_ACT_OK) /* no pod's */
		return SK_PASS;
	return finish(context, p, step) == TC_ACT_SHOT ? SK_DROP : SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
