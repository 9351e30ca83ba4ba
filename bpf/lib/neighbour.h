/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod's link has two ends and one gateway: every address but its own is behind the host side. ARP
 * and neighbour solicitations are answered here; a pod may speak for its own addresses only (RFC 826, 4861).
 */
#ifndef CILIUM_NEIGHBOUR_H
#define CILIUM_NEIGHBOUR_H

/* Back into the pod. JUDGED, because it leaves through the pod's own to_container. */
static __always_inline int send_back(struct __sk_buff *skb)
{
	set_mark(skb, MARK_JUDGED, 0);
	return bpf_redirect(skb->ifindex, 0);
}

/* p->ethernet := from the gateway to the pod. */
static __always_inline int address_to_pod(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod)
{
	copy_mac(p->ethernet.destination, pod->mac);
	copy_mac(p->ethernet.source, pod->host_mac);
	return store_ethernet(skb, p);
}

static __always_inline int handle_arp(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod)
{
	struct arp_packet *arp = &p->arp;
	int step = load(skb, ETHERNET_LENGTH, arp, sizeof(*arp));
	__u32 own = ((const __u32 *)pod->ipv4)[3];
	__u32 sender, target;

	if (step)
		return step;
	__builtin_memcpy(&sender, arp->sender_ip, 4);
	__builtin_memcpy(&target, arp->target_ip, 4);
	if (arp->hardware_be != bpf_htons(1) || arp->protocol_be != bpf_htons(ETHERTYPE_IPV4) ||
	    arp->hardware_length != 6 || arp->protocol_length != 4)
		return -DROP_INVALID_PACKET;
	/* Sender 0 is a probe for a duplicate address (RFC 5227). */
	if (!own || !same_mac(arp->sender_mac, pod->mac) || (sender && sender != own))
		return -DROP_FORGED_NEIGHBOUR;
	if (arp->operation_be == bpf_htons(ARP_REPLY))
		return DONE_OK;
	if (arp->operation_be != bpf_htons(ARP_REQUEST))
		return -DROP_INVALID_PACKET;
	if (target == own)
		return TC_ACT_SHOT;
	arp->operation_be = bpf_htons(ARP_REPLY);
	copy_mac(arp->target_mac, pod->mac);
	__builtin_memcpy(arp->target_ip, &sender, 4);
	copy_mac(arp->sender_mac, pod->host_mac);
	__builtin_memcpy(arp->sender_ip, &target, 4);
	if (bpf_skb_store_bytes(skb, ETHERNET_LENGTH, arp, sizeof(*arp), 0))
		return -DROP_INVALID_PACKET;
	step = address_to_pod(skb, p, pod);
	return step ? step : send_back(skb);
}

/* fe80::/64 with the interface identifier of the pod's MAC (RFC 4291 appendix A). */
static __always_inline int is_own_link_local(const void *address, const struct endpoint *pod)
{
	const __u8 *a = address;

	return *(const __u64 *)address == bpf_cpu_to_be64(0xfe80000000000000ull) && a[8] == (pod->mac[0] ^ 2) &&
	       a[9] == pod->mac[1] && a[10] == pod->mac[2] && a[11] == 0xff && a[12] == 0xfe &&
	       a[13] == pod->mac[3] && a[14] == pod->mac[4] && a[15] == pod->mac[5];
}

static __always_inline __u16 fold_checksum(__s64 sum)
{
	__u32 value = (__u32)sum;

	value = (value & 0xffff) + (value >> 16);
	value = (value & 0xffff) + (value >> 16);
	return ~value;
}

/* Checksum over the pseudo header of p->ipv6 and `length` bytes at `message` (a multiple of 4). */
static __always_inline __u16 icmpv6_checksum(struct packet *p, void *message, __u32 length)
{
	__s64 sum;

	copy_address(p->pseudo.source, p->ipv6.source);
	copy_address(p->pseudo.destination, p->ipv6.destination);
	p->pseudo.length_be = bpf_htonl(length);
	p->pseudo.next_header_be = bpf_htonl(PROTOCOL_ICMPV6);
	sum = bpf_csum_diff(0, 0, (__be32 *)&p->pseudo, sizeof(p->pseudo), 0);
	return fold_checksum(bpf_csum_diff(0, 0, message, length, (__wsum)sum));
}

static __always_inline void start_ipv6(struct packet *p, const void *source, const void *destination, __u16 length)
{
	p->ipv6.version_class_flow_be = bpf_htonl(0x60000000);
	p->ipv6.payload_length_be = bpf_htons(length);
	p->ipv6.next_header = PROTOCOL_ICMPV6;
	p->ipv6.hop_limit = 255;
	copy_address(p->ipv6.source, source);
	copy_address(p->ipv6.destination, destination);
}

static __always_inline int answer_solicitation(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod)
{
	struct neighbour_message *answer = &p->neighbour;
	struct address *target = &p->node; /* not used otherwise on this path; 8-byte aligned */
	int step = load(skb, p->offset, answer, sizeof(*answer) - 8);

	if (step)
		return step;
	copy_address(target, answer->target);
	if (same_address(target, pod->ipv6) || is_own_link_local(target, pod))
		return TC_ACT_SHOT; /* a probe for a duplicate of its own address: no answer, nobody else is there */
	if (is_zero_address(&p->source)) /* a probe for another's, which it is about to take (RFC 4862 5.4) */
		return -DROP_FORGED_NEIGHBOUR;
	if (is_multicast(target))
		return -DROP_INVALID_PACKET;
	__builtin_memset(answer, 0, sizeof(*answer));
	answer->type = ICMPV6_NEIGHBOUR_ADVERTISEMENT;
	answer->flags_be = bpf_htonl(NEIGHBOUR_FLAGS_ANSWER);
	copy_address(answer->target, target);
	answer->option_type = NEIGHBOUR_OPTION_TARGET;
	answer->option_length = 1;
	copy_mac(answer->mac, pod->host_mac);
	start_ipv6(p, target, &p->source, sizeof(*answer));
	answer->checksum = icmpv6_checksum(p, answer, sizeof(*answer));
	if (bpf_skb_change_tail(skb, ETHERNET_LENGTH + sizeof(p->ipv6) + sizeof(*answer), 0) ||
	    bpf_skb_store_bytes(skb, ETHERNET_LENGTH, &p->ipv6, sizeof(p->ipv6), 0) ||
	    bpf_skb_store_bytes(skb, ETHERNET_LENGTH + sizeof(p->ipv6), answer, sizeof(*answer), 0))
		return -DROP_INVALID_PACKET;
	step = address_to_pod(skb, p, pod);
	return step ? step : send_back(skb);
}

/* Link messages of a pod. Its own listener reports and router solicitations end here in silence: each pod sends
 * them when its link comes up, and nobody on it listens. It is no router: RA, redirect and MLD query are forged. */
static __always_inline int handle_link_message(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod)
{
	int own = !is_zero_address(&p->source) &&
		  (same_address(&p->source, pod->ipv6) || is_own_link_local(&p->source, pod));

	if (p->offset != ETHERNET_LENGTH + sizeof(p->ipv6) && p->icmp_type >= ICMPV6_ROUTER_SOLICITATION &&
	    p->icmp_type <= ICMPV6_REDIRECT)
		return -DROP_EXTENSION_HEADER; /* RFC 6980 */
	switch (p->icmp_type) {
	case ICMPV6_NEIGHBOUR_SOLICITATION:
		if (!own && !is_zero_address(&p->source))
			return -DROP_FORGED_NEIGHBOUR;
		return answer_solicitation(skb, p, pod);
	case ICMPV6_NEIGHBOUR_ADVERTISEMENT:
		if (!own || load(skb, p->offset, &p->neighbour, sizeof(p->neighbour) - 8))
			return -DROP_FORGED_NEIGHBOUR;
		if (same_address(p->neighbour.target, pod->ipv6) || is_own_link_local(p->neighbour.target, pod))
			return DONE_OK;
		return -DROP_FORGED_NEIGHBOUR;
	case ICMPV6_ROUTER_ADVERTISEMENT:
	case ICMPV6_REDIRECT:
	case ICMPV6_MLD_QUERY:
		return -DROP_FORGED_NEIGHBOUR;
	}
	return own || is_zero_address(&p->source) ? TC_ACT_SHOT : -DROP_FORGED_NEIGHBOUR;
}

#endif /* CILIUM_NEIGHBOUR_H */
