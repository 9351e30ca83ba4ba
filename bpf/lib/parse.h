/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> struct packet; whatever is not there is DROP_INVALID_PACKET. */
#ifndef CILIUM_PARSE_H
#define CILIUM_PARSE_H

#define MAX_EXTENSIONS 8

/* A 20-byte TCP header may not be rewritten by a later fragment (RFC 1858, RFC 3128). */
#define MIN_LATER_OFFSET 24

static __always_inline int parse_ethernet(struct __sk_buff *skb, struct packet *p)
{
	int step = load_header(skb, 0, &p->ethernet, ETHERNET_LENGTH);

	if (step)
		return step;
	p->type = bpf_ntohs(p->ethernet.type_be);
	return skb->vlan_present ? -DROP_UNSUPPORTED_L3 : GO_ON;
}

static __always_inline int has_ports(__u8 protocol)
{
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP;
}

static __always_inline int is_later_fragment(const struct packet *p)
{
	return p->flags & PACKET_LATER_FRAGMENT;
}

/* Gives the first fragment's ports to the later ones. */
static __always_inline int track_fragment(struct packet *p, __u32 id_be, __u32 offset, __u32 more)
{
	struct fragment_ports *known;

	if (!offset && !more)
		return GO_ON;
	if (offset + (p->end - p->offset) > IP_LENGTH)
		return -DROP_INVALID_PACKET;
	copy_address(p->fragment.source, &p->source);
	copy_address(p->fragment.destination, &p->destination);
	p->fragment.id_be = id_be;
	p->fragment.protocol = p->protocol;
	__builtin_memset(p->fragment.pad, 0, sizeof(p->fragment.pad));
	if (!offset) {
		p->flags |= PACKET_FIRST_FRAGMENT;
		return GO_ON;
	}
	if (offset < MIN_LATER_OFFSET)
		return -DROP_INVALID_PACKET;
	known = bpf_map_lookup_elem(&fragments, &p->fragment);
	if (!known)
		return -DROP_FRAGMENT_NOT_FOUND;
	p->flags |= PACKET_LATER_FRAGMENT;
	p->source_port_be = known->source_port_be;
	p->destination_port_be = known->destination_port_be;
	return GO_ON;
}

/* Keeps a first fragment's ports. Only of a sender that is believed: in another's name it would take away the ports of
 * that one's datagrams. Before judging, so that a denied datagram's later fragments are denied by the same rule. */
static __always_inline void remember_fragment(struct packet *p)
{
	struct fragment_ports ports = {
		.source_port_be = p->source_port_be,
		.destination_port_be = p->destination_port_be,
	};

	/* An LRU refuses only when the machine is out of memory; the later fragments are then drops. */
	if (p->flags & PACKET_FIRST_FRAGMENT)
		bpf_map_update_elem(&fragments, &p->fragment, &ports, BPF_ANY);
}

/* `length` bytes of options behind the IPv4 header. With a source route the destination that was judged is not the
 * last one (RFC 7126 4.3, 4.4). */
static __always_inline int parse_options(struct __sk_buff *skb, struct packet *p, __u32 length)
{
	__u8 *options = p->error.quote;
	__u64 last = (__u64)length - 1;
	__u32 at = 0, i, size;

	if (!length)
		return GO_ON;
	/* Out of the compiler's sight: Linux 5.10 knows that `last + 1` bytes are some, it forgets `length != 0`. */
	asm volatile("" : "+r"(last));
	if (last >= IPV4_OPTIONS_LENGTH || load_inside(skb, p, ETHERNET_LENGTH + sizeof(p->ipv4), options, last + 1))
		return -DROP_INVALID_PACKET;
#pragma clang loop unroll(disable)
	for (i = 0; i < IPV4_OPTIONS_LENGTH; i++) {
		/* One range on every path, out of the compiler's sight: so the verifier walks each round once. */
		asm volatile("%0 &= 63" : "+r"(at));
		if (at >= length || options[at & 63] == IPV4_OPTION_END)
			return GO_ON;
		if (options[at & 63] == IPV4_OPTION_NOTHING) {
			at++;
			continue;
		}
		if (options[at & 63] == IPV4_OPTION_LOOSE_ROUTE || options[at & 63] == IPV4_OPTION_STRICT_ROUTE)
			return -DROP_SOURCE_ROUTE;
		size = options[(at + 1) & 63];
		if (size < 2 || at + size > length)
			return -DROP_INVALID_PACKET;
		at += size;
	}
	return GO_ON;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	__u32 words, total, fragment;
	int step = load_header(skb, ETHERNET_LENGTH, &p->ipv4, sizeof(p->ipv4));

	if (step)
		return step;
	map_ipv4(&p->source, p->ipv4.source);
	map_ipv4(&p->destination, p->ipv4.destination);
	p->protocol = p->ipv4.protocol;
	words = p->ipv4.version_length & 0x0f;
	total = bpf_ntohs(p->ipv4.total_length_be);
	if (p->ipv4.version_length >> 4 != 4 || words < 5)
		return -DROP_INVALID_PACKET;
	/* Segments of a GSO packet above 64 KiB have no total length (BIG TCP). */
	if ((total < words * 4 && (total || !skb->gso_segs)) || total > skb->len - ETHERNET_LENGTH)
		return -DROP_INVALID_PACKET;
	p->offset = ETHERNET_LENGTH + words * 4;
	p->end = total ? ETHERNET_LENGTH + total : skb->len;
	step = parse_options(skb, p, words * 4 - sizeof(p->ipv4));
	if (step)
		return step;
	fragment = bpf_ntohs(p->ipv4.fragment_be);
	return track_fragment(p, p->ipv4.id_be, (fragment & IPV4_FRAGMENT_OFFSET) * 8, fragment & IPV4_MORE_FRAGMENTS);
}

/* One extension header at p->offset. GO_ON: look at the next header; DONE_OK: transport reached. */
static __always_inline int parse_extension(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6_extension *extension = &p->extension;
	__u32 fragment;
	int step;

	switch (p->protocol) {
	case PROTOCOL_TCP:
	case PROTOCOL_UDP:
	case PROTOCOL_SCTP:
	case PROTOCOL_ICMPV6:
		return DONE_OK;
	case PROTOCOL_HOP_BY_HOP:
	case PROTOCOL_ROUTING:
	case PROTOCOL_FRAGMENT:
	case PROTOCOL_AUTHENTICATION:
	case PROTOCOL_DESTINATION_OPTIONS:
		break;
	default:
		return -DROP_EXTENSION_HEADER;
	}
	step = load_inside(skb, p, p->offset, extension, sizeof(*extension));
	if (step)
		return step;
	fragment = bpf_ntohs(extension->fragment_be);
	/* RFC 8200 4.1: directly behind the IPv6 header, and nowhere else. */
	if (p->protocol == PROTOCOL_HOP_BY_HOP && p->offset != ETHERNET_LENGTH + sizeof(p->ipv6))
		return -DROP_EXTENSION_HEADER;
	/* Segments left: the destination that was judged is not the last one (RFC 5095). */
	if (p->protocol == PROTOCOL_ROUTING && (fragment & 0xff))
		return -DROP_SOURCE_ROUTE;
	if (p->protocol == PROTOCOL_FRAGMENT) {
		/* Of fragments in fragments nobody could know the ports. */
		if (p->flags & PACKET_FRAGMENT_HEADER)
			return -DROP_EXTENSION_HEADER;
		p->flags |= PACKET_FRAGMENT_HEADER;
		p->protocol = extension->next_header;
		p->offset += 8;
		return track_fragment(p, extension->id_be, fragment & IPV6_FRAGMENT_OFFSET, fragment & IPV6_MORE_FRAGMENTS);
	}
	p->offset += p->protocol == PROTOCOL_AUTHENTICATION ? (extension->length + 2) * 4 : (extension->length + 1) * 8;
	p->protocol = extension->next_header;
	return GO_ON;
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	int step = load_header(skb, ETHERNET_LENGTH, &p->ipv6, sizeof(p->ipv6));
	__u32 length;
	int i;

	if (step)
		return step;
	p->flags |= PACKET_IPV6;
	copy_address(&p->source, p->ipv6.source);
	copy_address(&p->destination, p->ipv6.destination);
	p->protocol = p->ipv6.next_header;
	if ((bpf_ntohl(p->ipv6.version_class_flow_be) >> 28) != 6)
		return -DROP_INVALID_PACKET;
	/* On the wire these would pass for IPv4 addresses in every map (RFC 4291 2.5.5.2). */
	if (is_mapped_ipv4(&p->source) || is_mapped_ipv4(&p->destination))
		return -DROP_INVALID_PACKET;
	p->offset = ETHERNET_LENGTH + sizeof(p->ipv6);
	length = bpf_ntohs(p->ipv6.payload_length_be);
	/* A jumbogram (RFC 2675) is longer than any link here; only GSO packets above 64 KiB have no length (BIG TCP). */
	if ((!length && !skb->gso_segs) || p->offset + length > skb->len)
		return -DROP_INVALID_PACKET;
	p->end = length ? p->offset + length : skb->len;
#pragma clang loop unroll(disable)
	for (i = 0; i <= MAX_EXTENSIONS; i++) {
		step = parse_extension(skb, p);
		if (step)
			return step == DONE_OK ? GO_ON : step;
		/* Only the datagram's first fragment is walked further. */
		if (is_later_fragment(p))
			return GO_ON;
	}
	return -DROP_EXTENSION_HEADER;
}

/* Ports of the transport header that the first 8 bytes of `header` hold. */
static __always_inline int parse_ports(struct packet *p, const __u8 *header, __u8 protocol)
{
	__u16 type_be, identifier_be;

	if (has_ports(protocol)) {
		p->source_port_be = *(const __u16 *)header;
		p->destination_port_be = *(const __u16 *)(header + 2);
		return GO_ON;
	}
	if (!is_icmp(protocol))
		return -DROP_UNKNOWN_L4;
	/* The identifier stands on the requester's side, so that the other side's requests are another flow. The type
	 * of the request stands where the destination's port does, so that rules name it as they name ports. */
	type_be = bpf_htons(icmp_request(protocol, header[0]));
	identifier_be = *(const __u16 *)(header + 4);
	if (header[0] == icmp_request(protocol, header[0])) {
		p->source_port_be = identifier_be;
		p->destination_port_be = type_be;
	} else {
		p->source_port_be = type_be;
		p->destination_port_be = identifier_be;
	}
	return GO_ON;
}

/* What the first chunk of an SCTP packet means for the association, in TCP's flags (RFC 9260 3.2). */
static __always_inline __u8 sctp_flags(__u8 chunk)
{
	switch (chunk) {
	case SCTP_INIT:
		return TCP_SYN;
	case SCTP_INIT_ACK:
		return TCP_SYN | TCP_ACK;
	case SCTP_ABORT:
	case SCTP_SHUTDOWN_COMPLETE:
		return TCP_RST;
	case SCTP_SHUTDOWN:
	case SCTP_SHUTDOWN_ACK:
		return TCP_FIN | TCP_ACK;
	default:
		return TCP_ACK;
	}
}

/* p->flow_source, p->flow_protocol := of the IPv4 header at `offset`. The offset behind it, or a drop reason. */
static __always_inline int parse_quoted_ipv4(struct __sk_buff *skb, struct packet *p, __u32 offset)
{
	__u32 words;

	if (load_inside(skb, p, offset, &p->ipv4, sizeof(p->ipv4)))
		return -DROP_INVALID_PACKET;
	words = p->ipv4.version_length & 0x0f;
	if (p->ipv4.version_length >> 4 != 4 || words < 5 || p->ipv4.source != ((__u32 *)&p->destination)[3])
		return -DROP_INVALID_PACKET;
	if (p->ipv4.fragment_be & bpf_htons(IPV4_FRAGMENT_OFFSET))
		return -DROP_FRAGMENT_NOT_FOUND;
	map_ipv4(&p->flow_source, p->ipv4.destination);
	p->flow_protocol = p->ipv4.protocol;
	return offset + words * 4;
}

/* The same for IPv6. A fragment header may stand in between: Packet Too Big is about fragments too. */
static __always_inline int parse_quoted_ipv6(struct __sk_buff *skb, struct packet *p, __u32 offset)
{
	if (load_inside(skb, p, offset, &p->ipv6, sizeof(p->ipv6)))
		return -DROP_INVALID_PACKET;
	if (bpf_ntohl(p->ipv6.version_class_flow_be) >> 28 != 6 || !same_address(p->ipv6.source, &p->destination))
		return -DROP_INVALID_PACKET;
	copy_address(&p->flow_source, p->ipv6.destination);
	p->flow_protocol = p->ipv6.next_header;
	offset += sizeof(p->ipv6);
	if (p->flow_protocol != PROTOCOL_FRAGMENT)
		return offset;
	if (load_inside(skb, p, offset, &p->extension, sizeof(p->extension)))
		return -DROP_INVALID_PACKET;
	if (p->extension.fragment_be & bpf_htons(IPV6_FRAGMENT_OFFSET))
		return -DROP_FRAGMENT_NOT_FOUND;
	p->flow_protocol = p->extension.next_header;
	return offset + sizeof(p->extension);
}

/* The packet that an ICMP error quotes was sent by the error's destination. Its tuple, turned round, is
 * that of a packet which travels as the error does. */
static __always_inline int parse_quote(struct __sk_buff *skb, struct packet *p)
{
	__u32 start = p->offset + sizeof(struct icmp_header);
	int offset = p->flags & PACKET_IPV6 ? parse_quoted_ipv6(skb, p, start) : parse_quoted_ipv4(skb, p, start);
	__u16 swapped;
	int step;

	p->flags |= PACKET_ICMP_ERROR;
	if (offset < 0)
		return offset;
	step = load_inside(skb, p, offset, p->transport, 8);
	if (!step)
		step = parse_ports(p, p->transport, p->flow_protocol);
	if (!step && is_icmp(p->flow_protocol) && !icmp_request(p->flow_protocol, p->transport[0]))
		step = -DROP_UNKNOWN_L4;
	swapped = p->source_port_be;
	p->source_port_be = p->destination_port_be;
	p->destination_port_be = swapped;
	return step;
}

/* Whole headers, so that no later fragment can bring the rest (RFC 1858, RFC 7112). */
static __always_inline int parse_long_header(struct __sk_buff *skb, struct packet *p)
{
	__u32 length;

	if (p->protocol == PROTOCOL_SCTP) {
		/* The common header and that of the first chunk. */
		if (load_inside(skb, p, p->offset + 8, p->transport + 8, 8))
			return -DROP_INVALID_PACKET;
		p->tcp_flags = sctp_flags(p->transport[12]);
		return GO_ON;
	}
	if (p->protocol != PROTOCOL_TCP)
		return GO_ON;
	if (load_header_inside(skb, p, p->offset + 8, p->transport + 8, 12))
		return -DROP_INVALID_PACKET;
	length = (p->transport[12] >> 4) * 4;
	p->tcp_flags = p->transport[13];
	return length < 20 || p->offset + length > p->end ? -DROP_INVALID_PACKET : GO_ON;
}

static __always_inline int parse_transport(struct __sk_buff *skb, struct packet *p)
{
	int step;

	copy_address(&p->flow_source, &p->source);
	p->flow_protocol = p->protocol;
	if (is_later_fragment(p))
		return has_ports(p->protocol) || is_icmp(p->protocol) ? GO_ON : -DROP_UNKNOWN_L4;
	step = load_header_inside(skb, p, p->offset, p->transport, 8);
	if (!step)
		step = parse_ports(p, p->transport, p->protocol);
	if (!step)
		step = parse_long_header(skb, p);
	if (step || !is_icmp(p->protocol))
		return step;
	/* Each family has its own (RFC 792, RFC 4443). */
	if ((p->protocol == PROTOCOL_ICMPV6) != !!(p->flags & PACKET_IPV6))
		return -DROP_INVALID_PACKET;
	p->icmp_type = p->transport[0];
	if (is_link_message(p))
		return GO_ON;
	if (is_icmp_error(p->protocol, p->icmp_type))
		return parse_quote(skb, p);
	if (is_route_message(p->protocol, p->icmp_type))
		return -DROP_FORGED_NEIGHBOUR;
	return icmp_request(p->protocol, p->icmp_type) ? GO_ON : -DROP_UNKNOWN_L4;
}

/* Addresses and ports of an IP packet; any other ethertype is DROP_UNSUPPORTED_L3. */
static __always_inline int parse_ip(struct __sk_buff *skb, struct packet *p)
{
	int step = -DROP_UNSUPPORTED_L3;

	if (p->type == ETHERTYPE_IPV4)
		step = parse_ipv4(skb, p);
	else if (p->type == ETHERTYPE_IPV6)
		step = parse_ipv6(skb, p);
	return step ? step : parse_transport(skb, p);
}

#endif /* CILIUM_PARSE_H */
