/* SPDX-License-Identifier: Apache-2.0 */
/* Wire formats and protocol numbers (IEEE 802.3, RFC 791, 792, 826, 4443, 4861, 8200). */
#ifndef CILIUM_NET_H
#define CILIUM_NET_H

#define ETHERNET_LENGTH 14

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_SERVICE_VLAN 0x88a8
#define VLAN_ID 0x0fff /* of the tag; 0: a priority alone */

#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_ROUTING 43
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_AUTHENTICATION 51
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_DESTINATION_OPTIONS 60
#define PROTOCOL_SCTP 132

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* RFC 9260 3.2 */
#define SCTP_INIT 1
#define SCTP_INIT_ACK 2
#define SCTP_ABORT 6
#define SCTP_SHUTDOWN 7
#define SCTP_SHUTDOWN_ACK 8
#define SCTP_SHUTDOWN_COMPLETE 14

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_REDIRECT 5
#define ICMP_FRAGMENTATION_NEEDED 4 /* code of ICMP_UNREACHABLE, RFC 1191 */
#define ICMP_ECHO_REQUEST 8
#define ICMP_ROUTER_ADVERTISEMENT 9 /* RFC 1256 */
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP_TIMESTAMP_REQUEST 13
#define ICMP_TIMESTAMP_REPLY 14
#define ICMP_PROBE_REQUEST 42 /* extended echo, RFC 8335 */
#define ICMP_PROBE_REPLY 43

#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PACKET_TOO_BIG 2
#define ICMPV6_PARAMETER_PROBLEM 4
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_MLD_QUERY 130
#define ICMPV6_MLD_DONE 132
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_ROUTER_ADVERTISEMENT 134
#define ICMPV6_NEIGHBOUR_SOLICITATION 135
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136
#define ICMPV6_REDIRECT 137
#define ICMPV6_MLD2_REPORT 143
#define ICMPV6_PROBE_REQUEST 160
#define ICMPV6_PROBE_REPLY 161

#define ARP_REQUEST 1
#define ARP_REPLY 2

#define PORT_DHCP_SERVER 67
#define PORT_DHCPV6_SERVER 547

struct ethernet_header {
	__u8 destination[6];
	__u8 source[6];
	__be16 type_be;
};

struct arp_packet {
	__be16 hardware_be;
	__be16 protocol_be;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation_be;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
};

struct ipv4_header {
	__u8 version_length; /* version << 4 | words of the header */
	__u8 tos;
	__be16 total_length_be;
	__be16 id_be;
	__be16 fragment_be; /* 3 bits of flags, offset in units of 8 bytes */
	__u8 ttl;
	__u8 protocol;
	__sum16 checksum;
	__be32 source;
	__be32 destination;
};

#define IPV4_OPTIONS_LENGTH 40 /* at most */
#define IPV4_OPTION_END 0
#define IPV4_OPTION_NOTHING 1
#define IPV4_OPTION_LOOSE_ROUTE 131
#define IPV4_OPTION_STRICT_ROUTE 137
#define IP_LENGTH 65535 /* of a datagram, also one in fragments */

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff

struct ipv6_header {
	__be32 version_class_flow_be;
	__be16 payload_length_be;
	__u8 next_header;
	__u8 hop_limit;
	__u8 source[16];
	__u8 destination[16];
};

/* The first bytes of every extension header; of the fragment header all of it (RFC 8200 4.5). */
struct ipv6_extension {
	__u8 next_header;
	__u8 length; /* units of 8 bytes after the first; of 4 bytes less 2 for AH */
	__be16 fragment_be; /* offset << 3 | more; routing header: type, segments left */
	__be32 id_be;
};

#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_FRAGMENT_OFFSET 0xfff8

struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be16 id_be; /* echo; unused in errors */
	__be16 sequence_be; /* echo; MTU of ICMP_FRAGMENTATION_NEEDED */
};

/* Neighbour solicitation and advertisement with one link-layer address option (RFC 4861 4.3, 4.4). */
struct neighbour_message {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 flags_be;
	__u8 target[16];
	__u8 option_type;
	__u8 option_length;
	__u8 mac[6];
};

#define NEIGHBOUR_FLAGS_ANSWER 0xe0000000u /* router, solicited, override */
#define NEIGHBOUR_OPTION_TARGET 2

#endif /* CILIUM_NET_H */
