/** The greatest packets that a node lets pods, the tunnel and WireGuard make, from what its underlay takes. Pure. */

/** Outer Ethernet, IP, UDP and VXLAN headers: 14 + 20 + 8 + 8, IPv6 20 more (RFC 7348 section 5). */
const TUNNEL = { ipv4: 50, ipv6: 70 } as const;
/** Outer IP and UDP headers, WireGuard's own of 16 and its tag of 16: 20 + 8 + 32, IPv6 20 more. */
const WIREGUARD = { ipv4: 60, ipv6: 80 } as const;

export interface PacketSizes {
  /** Of a pod, through the tunnel. */
  readonly tunnel: number;
  /** Of a pod, by the underlay. */
  readonly direct: number;
  /** Of the WireGuard device; without encryption that of the underlay. */
  readonly encrypted: number;
}

export interface Wrapping {
  readonly isEncrypted: boolean;
  /** The family of the nodes' addresses between which the tunnel is. */
  readonly isOverIpv6: boolean;
}

export function packetSizes(underlay: number, { isEncrypted, isOverIpv6 }: Wrapping): PacketSizes {
  const family = isOverIpv6 ? "ipv6" : "ipv4";
  const encrypted = underlay - (isEncrypted ? WIREGUARD[family] : 0);
  return { direct: underlay, encrypted, tunnel: encrypted - TUNNEL[family] };
}
