/* SPDX-License-Identifier: Apache-2.0 */
/* Who is behind an address, a device or a mark. */
#ifndef CILIUM_IDENTITY_H
#define CILIUM_IDENTITY_H

static __always_inline __u32 world_of(const struct address *address)
{
	return is_mapped_ipv4(address) ? IDENTITY_WORLD_IPV4 : IDENTITY_WORLD_IPV6;
}

static __always_inline int is_node_identity(__u32 identity)
{
	return identity == IDENTITY_HOST || identity == IDENTITY_REMOTE_NODE || identity == IDENTITY_KUBE_APISERVER;
}

/* p->peer := what is known of the address: `ipcache`, else the longest CIDR, else the world. */
static __always_inline void find_peer(struct packet *p, const struct address *address)
{
	struct peer *known = bpf_map_lookup_elem(&ipcache, address);

	if (!known) {
		p->cidr.prefix = 128;
		__builtin_memcpy(p->cidr.address, address, 16);
		known = bpf_map_lookup_elem(&cidrs, &p->cidr);
	}
	if (known) {
		p->peer = *known;
		return;
	}
	__builtin_memset(&p->peer, 0, sizeof(p->peer));
	p->peer.identity = world_of(address);
}

/* The side is whoever find_peer found. */
static __always_inline void found_side(struct side *side, const struct packet *p)
{
	side->identity = p->peer.identity;
	side->ports = p->peer.ports;
}

/* Pods and routers of other nodes whose packets may come without a tunnel. Those that are sent to without one may. */
static __always_inline int may_come_bare(const struct peer *peer)
{
	return !!(peer->flags & (PEER_DIRECT | PEER_BARE));
}

/*
 * p->from is whoever has the source address. Where the underlay's routes lead to its pods, another node sends under its
 * router address what it forwards for the outside; its processes have its own addresses.
 */
static __always_inline void found_sender(struct packet *p)
{
	found_side(&p->from, p);
	if ((p->peer.flags & PEER_ROUTER) && may_come_bare(&p->peer))
		p->from.identity = world_of(&p->source);
}

/* The side is a pod of this node. */
static __always_inline int local_side(struct side *side, const struct endpoint *endpoint)
{
	struct subject *subject;
	__u32 slot = endpoint->subject;

	side->identity = endpoint->identity;
	side->ports = endpoint->ports;
	side->endpoint = endpoint->id;
	if (!(endpoint->flags & ENDPOINT_READY) || !slot)
		return -DROP_POLICY_NOT_READY;
	subject = bpf_map_lookup_elem(&subjects, &slot);
	if (!subject || !subject->rule_set)
		return -DROP_POLICY_NOT_READY;
	/* Read before any policy entry: a flip in between leaves an old generation in the flow, which is
	 * then judged again. */
	side->generation = *(volatile __u32 *)&subject->generation;
	side->subject = slot;
	return GO_ON;
}

/* How this node's own network namespace is judged; null: no policy selects the node. */
static __always_inline const struct host *find_host(void)
{
	__u32 zero = 0;
	const struct host *known = bpf_map_lookup_elem(&host, &zero);

	return known && (known->flags & HOST_TRACKED) ? known : 0;
}

/* The side is this node itself. Without rules in force it is open, as ever: nobody could repair it else. */
static __always_inline void host_side(struct side *side, const struct host *known)
{
	__u32 slot = known->subject;
	struct subject *subject = bpf_map_lookup_elem(&subjects, &slot);

	side->identity = IDENTITY_HOST;
	if (!slot || !subject || !subject->rule_set)
		return;
	side->generation = *(volatile __u32 *)&subject->generation;
	side->subject = slot;
}

static __always_inline __u32 mark_origin(const struct __sk_buff *skb)
{
	return skb->mark & MARK_MASK;
}

/*
 * A process of this node made it: it came in on no device, and either has none of our marks or, since whoever may set a
 * mark (CAP_NET_RAW suffices) may set ours, a socket. What is forwarded has none, also where the kernel lost its device.
 */
static __always_inline int is_from_process(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	/* One without a number is no socket's that sends IP, but a packet socket's. */
	return !skb->ingress_ifindex && (!mark_origin(skb) || (sk && (sk->src_port || sk->family == AF_PACKET)));
}

static __always_inline int is_pod_mark(const struct __sk_buff *skb)
{
	return mark_origin(skb) == MARK_FROM_POD || mark_origin(skb) == MARK_FROM_POD_DEFER;
}

static __always_inline int is_cluster_identity(__u32 identity)
{
	return identity >= IDENTITY_FIRST_CLUSTER && identity < IDENTITY_FIRST_LOCAL;
}

/* The pod of this node that sent a packet which now leaves the stack. The kernel keeps the ifindex on
 * which a forwarded packet came in (skb_iif); the source address may have been masqueraded by now. */
static __always_inline struct endpoint *forwarded_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ingress_ifindex;

	return bpf_map_lookup_elem(&interfaces, &ifindex);
}

/* An address that only pods and routers have. */
static __always_inline int is_pod_address(const struct peer *peer)
{
	return (peer->flags & (PEER_TUNNEL | PEER_DIRECT | PEER_POD_CIDR | PEER_ROUTER)) ||
	       is_cluster_identity(peer->identity);
}

static __always_inline int is_underlay(__u32 ifindex)
{
	return !!bpf_map_lookup_elem(&underlays, &ifindex);
}

/*
 * Could the address that p->peer tells of be the sender's of a packet that came in on the device? Pods and routers of
 * other nodes come through the tunnel or, where they may come bare, on underlay devices; other nodes on underlay devices. This node's own are excused: its processes use them, and masquerading gives them to others.
 */
static __always_inline int is_its_device(const struct peer *peer, __u32 ifindex)
{
	if (peer->identity == IDENTITY_HOST)
		return 1;
	if (may_come_bare(peer) && is_underlay(ifindex))
		return 1;
	if ((peer->flags & PEER_DIRECT) && is_zero_address(peer->node))
		return 0;
	if (is_pod_address(peer))
		return config_vxlan_ifindex && ifindex == config_vxlan_ifindex;
	return !is_node_identity(peer->identity) || !ifindex || is_underlay(ifindex);
}

/*
 * p->from of a packet that leaves the stack.
 * - A pod, by the device it came in on.
 * - A process of this node (is_from_process). It is the host under one of the node's own
 *   addresses; under another one it is whoever has that (the kernel may lose the device of a fragment that
 *   it forwards, so the address must agree).
 * - Anything else is the outside, and never this node, whatever address it has.
 */
static __always_inline int sender_from_stack(struct __sk_buff *skb, struct packet *p)
{
	struct endpoint *pod = forwarded_pod(skb);

	if (pod)
		return local_side(&p->from, pod);
	if (!skb->ingress_ifindex && is_pod_mark(skb)) /* lost on the way: nobody can judge it */
		return -DROP_UNJUDGED_EXIT;
	find_peer(p, &p->source);
	found_sender(p);
	if (is_from_process(skb))
		p->local_process = 1;
	else if (p->from.identity == IDENTITY_HOST)
		p->from.identity = world_of(&p->source);
	return is_its_device(&p->peer, skb->ingress_ifindex) ? GO_ON : -DROP_SPOOFED_UNDERLAY;
}

#endif /* CILIUM_IDENTITY_H */
