/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when the network begins and ends to let a packet through.
 *
 *   verdicts CLIENT_NETNS SERVER_NETNS ADDRESS PORT RATE
 *
 * Sends RATE datagrams a second from one network namespace to ADDRESS, where the other one listens: `new` to PORT, each
 * from a socket of its own, so that each is a new flow, and answered, since of flows that nobody answers an endpoint may
 * have a share of the table only; `lasting` to PORT + 1, all from one socket. Prints a line
 * `new|lasting open|closed NANOSECONDS` for the first datagram of a kind and for each whose fate differs from the fate
 * of the one before it; the time is that of its sending (CLOCK_MONOTONIC). A datagram is lost when it has not arrived
 * after GRACE_NS, and lines come in the order of sending, so they come that much later. Ends when standard input does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GRACE_NS 100000000LL
#define SLOTS 65536u /* more than are ever undecided: RATE * GRACE_NS */
#define SECOND 1000000000LL

#define KEPT 256 /* sockets of new flows that are still open when the answer comes: an ICMP error would end the flow */

enum { NEW, LASTING, KINDS };

static const char *const kind_names[KINDS] = { "new", "lasting" };

struct lane {
	int64_t sent_ns[SLOTS];
	unsigned char arrived[SLOTS];
	uint32_t decided;
	int open; /* -1: not known yet */
};

static struct lane lanes[KINDS];
static int receivers[KINDS];

static int64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "verdicts: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void enter(const char *netns)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		die(netns);
	close(fd);
}

static int bound(uint16_t port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int bytes = 1 << 20, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) != 0)
		die("bind");
	return fd;
}

/* Before anything is called lost: that we were not scheduled for a while must not count. */
static void receive(int kind)
{
	struct sockaddr_in from;
	socklen_t length = sizeof from;
	uint32_t sequence;
	for (; recvfrom(receivers[kind], &sequence, sizeof sequence, MSG_DONTWAIT, (struct sockaddr *)&from, &length) == sizeof sequence; length = sizeof from) {
		lanes[kind].arrived[sequence % SLOTS] = 1;
		if (kind == NEW)
			sendto(receivers[kind], &sequence, sizeof sequence, MSG_DONTWAIT, (struct sockaddr *)&from, sizeof from);
	}
}

static void send_one(int kind, uint32_t sequence, const struct sockaddr_in *to, int lasting)
{
	int fd = kind == LASTING ? lasting : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct lane *lane = &lanes[kind];
	lane->arrived[sequence % SLOTS] = 0;
	lane->sent_ns[sequence % SLOTS] = now_ns();
	/* A refusal (ECONNREFUSED, EPERM) is a datagram that does not arrive. */
	if (sendto(fd, &sequence, sizeof sequence, MSG_DONTWAIT, (const struct sockaddr *)to, sizeof *to) < 0 && fd < 0)
		die("sendto");
	if (kind == LASTING)
		return;
	static int kept[KEPT];
	if (kept[sequence % KEPT] > 0)
		close(kept[sequence % KEPT]);
	kept[sequence % KEPT] = fd;
}

static void decide(int kind, uint32_t next)
{
	struct lane *lane = &lanes[kind];
	int64_t now = now_ns();
	receive(kind);
	for (; lane->decided != next; lane->decided++) {
		uint32_t slot = lane->decided % SLOTS;
		int arrived = lane->arrived[slot];
		if (!arrived && now - lane->sent_ns[slot] < GRACE_NS)
			return;
		if (arrived != lane->open)
			printf("%s %s %lld\n", kind_names[kind], arrived ? "open" : "closed", (long long)lane->sent_ns[slot]);
		lane->open = arrived;
	}
}

static int standard_input_ended(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char ignored[64];
	return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, ignored, sizeof ignored) <= 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to[KINDS] = { { .sin_family = AF_INET } };
	if (argc != 6 || inet_pton(AF_INET, argv[3], &to[NEW].sin_addr) != 1 || atoi(argv[5]) <= 0) {
		fprintf(stderr, "usage: verdicts CLIENT_NETNS SERVER_NETNS ADDRESS PORT RATE\n");
		return 2;
	}
	to[LASTING] = to[NEW];
	for (int kind = 0; kind < KINDS; kind++) {
		to[kind].sin_port = htons((uint16_t)(atoi(argv[4]) + kind));
		lanes[kind].open = -1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_TIMERSLACK, 50000); /* 50 us: the rate is kept, the machine is not woken for less */
	enter(argv[2]);
	for (int kind = 0; kind < KINDS; kind++)
		receivers[kind] = bound((uint16_t)(atoi(argv[4]) + kind));
	enter(argv[1]);
	int lasting = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (lasting < 0)
		die("socket");
	int64_t due = now_ns(), period = SECOND / atoi(argv[5]);
	for (uint32_t sequence = 0; sequence % 64 != 0 || !standard_input_ended(); sequence++) {
		for (int kind = 0; kind < KINDS; kind++) {
			send_one(kind, sequence, &to[kind], lasting);
			decide(kind, sequence + 1);
		}
		due += period;
		if (due < now_ns() - SECOND)
			due = now_ns(); /* after a long pause of the machine: no burst */
		struct timespec until = { .tv_sec = due / SECOND, .tv_nsec = due % SECOND };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	}
	return 0;
}
