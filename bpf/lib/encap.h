/* SPDX-License-Identifier: Apache-2.0 */
/* Into and out of the tunnel: the outer address is a node, the VNI is the sender's identity. */
#ifndef CILIUM_ENCAP_H
#define CILIUM_ENCAP_H

#define TUNNEL_TTL 64

static __always_inline int is_for_tunnel_port(const struct packet *p)
{
	return p->protocol == PROTOCOL_UDP && bpf_ntohs(p->destination_port_be) == config_tunnel_port;
}

/* Sends the packet to `node` (underlay address) as `identity`. */
static __always_inline int encapsulate(struct __sk_buff *skb, struct packet *p, const void *node, __u32 identity)
{
	struct bpf_tunnel_key *key = &p->tunnel;
	__u32 flags = 0;

	if (is_zero_address(node))
		return -DROP_NO_TUNNEL_ENDPOINT;
	__builtin_memset(key, 0, sizeof(*key));
	key->tunnel_id = identity;
	key->tunnel_ttl = TUNNEL_TTL;
	if (is_mapped_ipv4(node)) {
		key->remote_ipv4 = bpf_ntohl(((const __u32 *)node)[3]);
		flags = BPF_F_ZERO_CSUM_TX; /* the usual way of VXLAN over IPv4 (RFC 7348 5); IPv6 needs one */
	} else {
		__builtin_memcpy(key->remote_ipv6, node, 16);
		flags = BPF_F_TUNINFO_IPV6;
	}
	/* The mark stays on the outer packet, where it would mean something else. */
	skb->mark = 0;
	if (bpf_skb_set_tunnel_key(skb, key, sizeof(*key), flags))
		return -DROP_NO_TUNNEL_ENDPOINT;
	return bpf_redirect(config_vxlan_ifindex, 0);
}

/* Fills p->node (outer source) and p->vni. */
static __always_inline int read_tunnel(struct __sk_buff *skb, struct packet *p)
{
	struct bpf_tunnel_key *key = &p->tunnel;

	if (!bpf_skb_get_tunnel_key(skb, key, sizeof(*key), 0)) {
		map_ipv4(&p->node, bpf_htonl(key->remote_ipv4));
	} else {
		if (bpf_skb_get_tunnel_key(skb, key, sizeof(*key), BPF_F_TUNINFO_IPV6))
			return -DROP_SPOOFED_OVERLAY;
		__builtin_memcpy(&p->node, key->remote_ipv6, 16);
	}
	p->vni = key->tunnel_id;
	return GO_ON;
}

/*
 * Is the address that find_peer() looked up one of the node's? An entry that was taken over from a version which knew one
 * address of each node has no `address` yet: it stands under that one.
 */
static __always_inline int belongs_to(const struct packet *p, const struct node *node)
{
	if (is_zero_address(node->address))
		return same_address(p->peer.node, &p->node);
	return same_address(p->peer.node, node->address);
}

/*
 * p->from.identity := whom the VNI names, if that node may speak for the inner source address.
 * A node's own traffic (HOST) and what it forwards for the world (WORLD) carry its router address.
 */
static __always_inline int sender_from_overlay(struct packet *p)
{
	struct node *node = bpf_map_lookup_elem(&nodes, &p->node);
	int router;

	if (!node)
		return -DROP_SPOOFED_OVERLAY;
	router = !is_zero_address(&p->source) && (same_address(&p->source, node->router_ipv4) ||
						  same_address(&p->source, node->router_ipv6));
	if (p->vni == IDENTITY_HOST || p->vni == IDENTITY_WORLD) {
		if (!router)
			return -DROP_SPOOFED_OVERLAY;
		p->from.identity = world_of(&p->source);
		if (p->vni == IDENTITY_WORLD)
			return GO_ON;
		/* The API server may run there. What an object of that node claims to be does not make it this node. */
		find_peer(p, &p->source);
		p->from.identity = p->peer.identity == IDENTITY_KUBE_APISERVER ? IDENTITY_KUBE_APISERVER : IDENTITY_REMOTE_NODE;
		return GO_ON;
	}
	if (!is_cluster_identity(p->vni))
		return -DROP_INVALID_IDENTITY;
	p->from.identity = p->vni;
	find_peer(p, &p->source);
	p->from.ports = p->peer.ports;
	if (!router && !belongs_to(p, node))
		return -DROP_SPOOFED_OVERLAY;
	return GO_ON;
}

#endif /* CILIUM_ENCAP_H */
