/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of the packet into memory, without a pull: it may lie in several buffers (GRO). */
#ifndef CILIUM_LOAD_H
#define CILIUM_LOAD_H

/* Offset of a transport header behind the longest IPv4 header; behind IPv6 extensions it may be farther. */
#define FARTHEST_HEADER 127

static __always_inline int load(struct __sk_buff *skb, __u32 offset, void *to, __u32 length)
{
	return bpf_skb_load_bytes(skb, offset, to, length) ? -DROP_INVALID_PACKET : GO_ON;
}

/* The same for the headers of every packet: `length` is a constant, `to` 8-byte aligned, and where the first buffer holds
 * them all it is read in words. The helper's byte-wise copy would cost more than twice, as whoever reads it waits for it. */
static __always_inline int load_header(struct __sk_buff *skb, __u32 offset, void *to, __u32 length)
{
	const __u8 *from = (const __u8 *)(long)skb->data, *end = (const __u8 *)(long)skb->data_end;
	__u32 at;

	/* A copy that the compiler does not know for one: else the verifier takes what it learns of it for news of `offset`, and
	 * walks on from here once for each of the two ways. */
	asm volatile("%0 = %1" : "=r"(at) : "r"(offset));
	if (at > FARTHEST_HEADER)
		return load(skb, offset, to, length);
	from += at;
	if (from + length > end)
		return load(skb, offset, to, length);
	for (at = 0; at + 8 <= length; at += 8)
		*(__u64 *)(to + at) = *(const __u64 *)(from + at);
	if (length & 4) {
		*(__u32 *)(to + at) = *(const __u32 *)(from + at);
		at += 4;
	}
	if (length & 2)
		*(__u16 *)(to + at) = *(const __u16 *)(from + at);
	return GO_ON;
}

/* Of the IP packet: the padding behind it is not read, because whoever gets the packet will not read it. */
static __always_inline int load_inside(struct __sk_buff *skb, const struct packet *p, __u32 offset, void *to, __u32 length)
{
	if (offset + length > p->end)
		return -DROP_INVALID_PACKET;
	return load(skb, offset, to, length);
}

static __always_inline int load_header_inside(struct __sk_buff *skb, const struct packet *p, __u32 offset, void *to, __u32 length)
{
	if (offset + length > p->end)
		return -DROP_INVALID_PACKET;
	return load_header(skb, offset, to, length);
}

#endif /* CILIUM_LOAD_H */
