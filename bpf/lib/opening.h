/* SPDX-License-Identifier: Apache-2.0 */
/* What a packet says by itself of who opened its flow. */
#ifndef CILIUM_OPENING_H
#define CILIUM_OPENING_H

/* TCP, and SCTP, whose chunks parse_transport tells as TCP's flags. */
static __always_inline int has_connections(__u8 protocol)
{
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_SCTP;
}

/* The packet says by itself that it opens a flow. */
static __always_inline int is_opening(const struct packet *p)
{
	if (p->flags & (PACKET_LATER_FRAGMENT | PACKET_ICMP_ERROR))
		return 0;
	return has_connections(p->protocol) && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* The packet says by itself that its destination opened the flow. */
static __always_inline int is_answer(const struct packet *p)
{
	if (p->flags & PACKET_ANSWER)
		return 1;
	if (p->flags & (PACKET_LATER_FRAGMENT | PACKET_ICMP_ERROR))
		return 0;
	return is_icmp(p->protocol) && icmp_request(p->protocol, p->icmp_type) &&
	       p->icmp_type != icmp_request(p->protocol, p->icmp_type);
}

/* A segment from the middle of a connection: which side opened it cannot be seen. */
static __always_inline int is_midstream(const struct packet *p)
{
	return has_connections(p->flow_protocol) && !is_opening(p);
}

#endif /* CILIUM_OPENING_H */
