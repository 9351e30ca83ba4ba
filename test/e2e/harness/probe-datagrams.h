// SPDX-License-Identifier: Apache-2.0
#ifndef PROBE_DATAGRAMS_H
#define PROBE_DATAGRAMS_H

/* Datagrams that nothing but the network may lose: queues that hold seconds, and a count of what found one full. */

/* A process that stands still for seconds on a busy machine must lose nothing by that. Beyond the machine's limit a
 * queue grows for who administers the network alone; the kernel takes the doubled number. */
static void large_queue(int fd)
{
	int on = 1, bytes = 8 << 20;
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

/* Says so when the socket's queue has been too full meanwhile (socket(7), SO_RXQ_OVFL). */
static void tell_overflow(int port, unsigned int dropped)
{
	static unsigned int told_of[65536];
	if (dropped == told_of[port]) return;
	told_of[port] = dropped;
	if (told_length + MAX_TOLD_LINE > sizeof told) die("nobody reads what the server prints");
	told_length += snprintf(told + told_length, MAX_TOLD_LINE, "%lld overflow %d :: %u\n", now_ms(CLOCK_REALTIME), port, dropped);
}

/* The answer to a datagram leaves from the address that was asked, also where routing would choose another (RFC 3542 6.2). */
static ssize_t echo_datagram(int fd, int port, char *bytes, size_t room, struct sockaddr_in6 *peer)
{
	char control[256];
	struct iovec part = { .iov_base = bytes, .iov_len = room };
	struct msghdr message = { .msg_name = peer, .msg_namelen = sizeof *peer, .msg_iov = &part, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof control };
	ssize_t length = recvmsg(fd, &message, 0);
	struct in6_pktinfo asked = { 0 };
	if (length < 0) return -1;
	for (struct cmsghdr *info = CMSG_FIRSTHDR(&message); info; info = CMSG_NXTHDR(&message, info)) {
		if (info->cmsg_level == IPPROTO_IPV6 && info->cmsg_type == IPV6_PKTINFO) memcpy(&asked.ipi6_addr, &((struct in6_pktinfo *)CMSG_DATA(info))->ipi6_addr, sizeof asked.ipi6_addr);
		if (info->cmsg_level == SOL_SOCKET && info->cmsg_type == SO_RXQ_OVFL) tell_overflow(port, *(unsigned int *)CMSG_DATA(info));
	}
	memset(control, 0, sizeof control);
	message.msg_controllen = CMSG_SPACE(sizeof asked);
	*CMSG_FIRSTHDR(&message) = (struct cmsghdr){ .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof asked) };
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &asked, sizeof asked);
	part.iov_len = length;
	sendmsg(fd, &message, 0);
	return length;
}

#endif
