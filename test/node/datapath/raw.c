// SPDX-License-Identifier: Apache-2.0
/*
 * Frames as they are, past the stack that would not make them.
 *
 *   raw send DEVICE     each line of the input is a frame in hex digits, which is sent (packet(7))
 *   raw hear DEVICE     prints each frame that comes in, in hex digits; `ready` first
 *   raw datagrams PORT  prints what the local UDP port gets, in hex digits; `ready` first
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONGEST 65536

static unsigned char data[LONGEST];
static char line[2 * LONGEST + 2];

static int die(const char *what)
{
	perror(what);
	return 1;
}

static int packet_socket(const char *device)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(device) };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	if (fd < 0 || !address.sll_ifindex || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		exit(die(device));
	return fd;
}

static int send_frames(const char *device)
{
	int fd = packet_socket(device);

	while (fgets(line, sizeof(line), stdin)) {
		size_t length = strcspn(line, "\n") / 2;

		for (size_t i = 0; i < length; i++)
			sscanf(line + 2 * i, "%2hhx", &data[i]);
		if (length && send(fd, data, length, 0) != (ssize_t)length)
			return die("send");
	}
	return 0;
}

static int hear(int fd, int frames)
{
	struct sockaddr_ll from;

	printf("ready\n");
	fflush(stdout);
	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t length = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size);

		if (length < 0)
			return die("recvfrom");
		if (frames && from.sll_pkttype == PACKET_OUTGOING)
			continue;
		for (ssize_t i = 0; i < length; i++)
			printf("%02x", data[i]);
		printf("\n");
		fflush(stdout);
	}
}

static int udp_socket(const char *port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons((unsigned short)atoi(port)) };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		exit(die(port));
	return fd;
}

int main(int count, char **arg)
{
	if (count == 3 && !strcmp(arg[1], "send"))
		return send_frames(arg[2]);
	if (count == 3 && !strcmp(arg[1], "hear"))
		return hear(packet_socket(arg[2]), 1);
	if (count == 3 && !strcmp(arg[1], "datagrams"))
		return hear(udp_socket(arg[2]), 0);
	fprintf(stderr, "usage: raw send DEVICE | hear DEVICE | datagrams PORT\n");
	return 2;
}
