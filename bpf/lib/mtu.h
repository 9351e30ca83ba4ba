/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A redirect passes by the stack's path MTU discovery, so every redirect compares and answers itself
 * (RFC 1191, RFC 8201). IPv4 packets without DF are answered the same: pods know their link's MTU, so
 * that only a lowered one gets here, and Linux senders then fragment by themselves.
 */
#ifndef CILIUM_MTU_H
#define CILIUM_MTU_H

/* Bytes of the longest IP packet on the link: of a GSO packet, one segment. */
static __always_inline __u32 wire_length(struct __sk_buff *skb, struct packet *p)
{
	__u32 headers = p->offset - ETHERNET_LENGTH;

	if (!skb->gso_segs || !skb->gso_size)
		return skb->len - ETHERNET_LENGTH;
	if (p->protocol == PROTOCOL_TCP)
		headers += (p->transport[12] >> 4) * 4;
	else
		headers += 8;
	return headers + skb->gso_size;
}

static __always_inline int check_mtu(struct __sk_buff *skb, struct packet *p, __u32 mtu)
{
	if (!mtu || wire_length(skb, p) <= mtu)
		return GO_ON;
	p->mtu = mtu;
	return -DROP_PACKET_TOO_BIG;
}

static __always_inline int quote_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct ipv4_header *ip = &p->ipv4;
	__s64 sum;

	p->error.header.type = ICMP_UNREACHABLE;
	p->error.header.code = ICMP_FRAGMENTATION_NEEDED;
	p->error.header.sequence_be = bpf_htons(p->mtu);
	p->error.header.checksum = fold_checksum(bpf_csum_diff(0, 0, (__be32 *)&p->error, sizeof(p->error), 0));
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version_length = 0x45;
	ip->total_length_be = bpf_htons(sizeof(*ip) + sizeof(p->error));
	ip->ttl = 64;
	ip->protocol = PROTOCOL_ICMP;
	ip->source = ((const volatile __u32 *)&config_router_ipv4)[3];
	ip->destination = ((__u32 *)&p->source)[3];
	sum = bpf_csum_diff(0, 0, (__be32 *)ip, sizeof(*ip), 0);
	ip->checksum = fold_checksum(sum);
	if (!ip->source || bpf_skb_adjust_room(skb, sizeof(*ip) + sizeof(p->error.header), BPF_ADJ_ROOM_MAC, 0))
		return -DROP_PACKET_TOO_BIG;
	if (bpf_skb_store_bytes(skb, ETHERNET_LENGTH, ip, sizeof(*ip), 0) ||
	    bpf_skb_store_bytes(skb, ETHERNET_LENGTH + sizeof(*ip), &p->error.header, sizeof(p->error.header), 0))
		return -DROP_PACKET_TOO_BIG;
	return GO_ON;
}

static __always_inline int quote_ipv6(struct __sk_buff *skb, struct packet *p)
{
	struct address router;
	volatile __u64 *words = (volatile __u64 *)&router;

	words[0] = ((const volatile __u64 *)&config_router_ipv6)[0];
	words[1] = ((const volatile __u64 *)&config_router_ipv6)[1];
	p->error.header.type = ICMPV6_PACKET_TOO_BIG;
	p->error.header.sequence_be = bpf_htons(p->mtu); /* low half of the 32-bit MTU */
	start_ipv6(p, &router, &p->source, sizeof(p->error));
	p->error.header.checksum = icmpv6_checksum(p, &p->error, sizeof(p->error));
	if (is_zero_address(&router) ||
	    bpf_skb_adjust_room(skb, sizeof(p->ipv6) + sizeof(p->error.header), BPF_ADJ_ROOM_MAC, 0))
		return -DROP_PACKET_TOO_BIG;
	if (bpf_skb_store_bytes(skb, ETHERNET_LENGTH, &p->ipv6, sizeof(p->ipv6), 0) ||
	    bpf_skb_store_bytes(skb, ETHERNET_LENGTH + sizeof(p->ipv6), &p->error.header, sizeof(p->error.header), 0))
		return -DROP_PACKET_TOO_BIG;
	return GO_ON;
}

/* Turns the packet into the ICMP error that its sender gets from this node's router address. GO_ON, or a
 * drop without answer (no router address, headers longer than the quote). */
static __always_inline int answer_too_big(struct __sk_buff *skb, struct packet *p)
{
	__u8 mac[6];
	int step;

	if (p->flags & PACKET_ICMP_ERROR) /* no error about an error (RFC 1122 3.2.2, RFC 4443 2.4) */
		return -DROP_PACKET_TOO_BIG;
	__builtin_memset(&p->error, 0, sizeof(p->error));
	step = load(skb, ETHERNET_LENGTH, p->error.quote, QUOTE_LENGTH);
	if (step || bpf_skb_change_tail(skb, ETHERNET_LENGTH + QUOTE_LENGTH, 0))
		return -DROP_PACKET_TOO_BIG;
	step = p->flags & PACKET_IPV6 ? quote_ipv6(skb, p) : quote_ipv4(skb, p);
	if (step)
		return step;
	copy_mac(mac, p->ethernet.destination);
	copy_mac(p->ethernet.destination, p->ethernet.source);
	copy_mac(p->ethernet.source, mac);
	return store_ethernet(skb, p);
}

#endif /* CILIUM_MTU_H */
