/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trips and new connections over TCP, one at a time, one byte each way.
 *
 *   pingpong serve PORT                        answers every byte with a byte, one connection after the other
 *   pingpong rr ADDRESS PORT SECONDS           round trips on one connection
 *   pingpong crr ADDRESS PORT SECONDS          connect, one round trip, close; all again
 *
 * The last two print one line of JSON. A client ends its connections with RST, so that no TIME_WAIT uses up its ports.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES 4000000
/* A connection that takes longer is a failure: the first retransmission of a SYN comes after 1 s (RFC 6298). */
#define PATIENCE_MS 900

static int64_t clock_ns(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "pingpong: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in address_of(const char *text, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		die(text);
	return address;
}

static _Noreturn void serve(const char *port)
{
	struct sockaddr_in address = address_of("0.0.0.0", port);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1024) != 0)
		die("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		char byte;
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
			;
		close(fd);
	}
}

/* Negative: not connected in time. */
static int open_connection(const struct sockaddr_in *address)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval patience = { .tv_usec = PATIENCE_MS * 1000 };
	struct linger reset = { .l_onoff = 1 };
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* bounds connect() too (socket(7)) */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
		return fd;
	close(fd);
	return -1;
}

static int round_trip(int fd)
{
	char byte = 'x';
	return write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1;
}

static int ascending(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	return (a > b) - (a < b);
}

static int measure(int reconnect, const char *host, const char *port, double seconds)
{
	struct sockaddr_in address = address_of(host, port);
	uint32_t *samples = malloc(MAX_SAMPLES * sizeof *samples);
	size_t count = 0, failures = 0;
	int fd = reconnect ? -1 : open_connection(&address);
	if (!samples || (!reconnect && fd < 0))
		die("connect");
	int64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), start = clock_ns(CLOCK_MONOTONIC), now = start;
	while (now - start < seconds * 1e9 && count < MAX_SAMPLES) {
		int64_t before = now;
		if (reconnect)
			fd = open_connection(&address);
		int passed = fd >= 0 && round_trip(fd);
		if (reconnect && fd >= 0)
			close(fd);
		now = clock_ns(CLOCK_MONOTONIC);
		if (passed)
			samples[count++] = (uint32_t)(now - before);
		else if (reconnect)
			failures++;
		else
			die("round trip");
	}
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (count == 0)
		die("nothing was answered");
	qsort(samples, count, sizeof *samples, ascending);
	printf("{\"count\":%zu,\"failures\":%zu,\"seconds\":%.6f,\"p50us\":%.2f,\"p99us\":%.2f,\"cpuSeconds\":%.6f}\n", count, failures,
	       (double)(now - start) / 1e9, samples[count / 2] / 1e3, samples[count - 1 - count / 100] / 1e3, (double)cpu / 1e9);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve(argv[2]);
	if (argc == 5 && strcmp(argv[1], "rr") == 0)
		return measure(0, argv[2], argv[3], atof(argv[4]));
	if (argc == 5 && strcmp(argv[1], "crr") == 0)
		return measure(1, argv[2], argv[3], atof(argv[4]));
	fprintf(stderr, "usage: pingpong serve PORT | rr ADDRESS PORT SECONDS | crr ADDRESS PORT SECONDS\n");
	return 2;
}
