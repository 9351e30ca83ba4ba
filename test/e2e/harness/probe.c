// SPDX-License-Identifier: Apache-2.0
/*
 * The packets' own witness: asks and answers from inside any network namespace, and says exactly what came through.
 *
 *   probe serve PORT...
 *       TCP and UDP, IPv4 and IPv6. Every line or datagram is sent back as it came, and printed:
 *       <unix ms> <tcp|udp> <port> <peer address> <text>
 *       Datagrams that came and found its queue full, all until then: <unix ms> overflow <port> :: <count>
 *   probe ask <tcp|udp> ADDRESS PORT TIMEOUT_MS TEXT [SIZE [fragment]]
 *       One try. Prints `answered <own address>` or `failed <reason>`; the exit status is 0 or 1. With SIZE (udp) the
 *       IP packet is exactly that long and must not be fragmented, unless the word stands behind it.
 *   probe flow <tcp|udp|tcp-new|udp-new> ADDRESS PORT RATE SECONDS TEXT
 *       Numbered texts at RATE per second, in one flow or (-new) a flow for each, until SECONDS passed or SIGTERM. Prints
 *       one line of JSON: what was sent and answered, by the tenth of a second in which it was sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "probe-log.h"

#define MAX_FDS 4096
/* An answer later than this is lost. Long, because a machine that stands still for some seconds loses nothing; a lost
 * datagram stays lost however long one waits. */
#define ANSWER_MS 8000
#define MAX_BUCKETS 6000

static volatile sig_atomic_t stopped;

static void stop(int signal) { (void)signal; stopped = 1; }

static long long now_ms(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void die(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(2);
}

#include "probe-datagrams.h"

static const char *text_of(const struct sockaddr_in6 *address, char *into)
{
	inet_ntop(AF_INET6, &address->sin6_addr, into, INET6_ADDRSTRLEN);
	return strncmp(into, "::ffff:", 7) == 0 ? into + 7 : into;
}

/* An IPv4 address is given to the kernel v4-mapped, so that one kind of socket serves both families. */
static struct sockaddr_in6 target_of(const char *address, const char *port)
{
	char mapped[INET6_ADDRSTRLEN + 8];
	struct sockaddr_in6 target = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	snprintf(mapped, sizeof mapped, strchr(address, ':') ? "%s" : "::ffff:%s", address);
	if (inet_pton(AF_INET6, mapped, &target.sin6_addr) != 1) { errno = EINVAL; die(address); }
	return target;
}

static int socket_of(int type)
{
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int off = 0, on = 1;
	if (fd < 0) die("socket");
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	else large_queue(fd);
	return fd;
}

/* ---------------------------------------------------------------- serve */

static struct pollfd fds[MAX_FDS];
static int ports[MAX_FDS];
static enum { LISTENER, DATAGRAMS, CONNECTION } roles[MAX_FDS];
static int fd_count;

static void watch(int fd, int port, int role)
{
	if (fd_count == MAX_FDS) { close(fd); return; }
	fds[fd_count] = (struct pollfd){ .fd = fd, .events = POLLIN };
	ports[fd_count] = port;
	roles[fd_count++] = role;
}

static void forget(int i)
{
	close(fds[i].fd);
	fd_count--;
	fds[i] = fds[fd_count];
	ports[i] = ports[fd_count];
	roles[i] = roles[fd_count];
}

static void tell(const char *protocol, int port, const struct sockaddr_in6 *peer, char *bytes)
{
	char address[INET6_ADDRSTRLEN];
	for (char *line = strtok(bytes, "\r\n"); line; line = strtok(NULL, "\r\n")) {
		if (told_length + MAX_TOLD_LINE > sizeof told) die("nobody reads what the server prints");
		told_length += snprintf(told + told_length, MAX_TOLD_LINE, "%lld %s %d %s %.80s\n", now_ms(CLOCK_REALTIME), protocol, port, text_of(peer, address), line);
	}
	print_told();
}

static void answer(int i)
{
	char bytes[65536];
	struct sockaddr_in6 peer;
	socklen_t size = sizeof peer;
	if (roles[i] == LISTENER) {
		int fd = accept4(fds[i].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) watch(fd, ports[i], CONNECTION);
		return;
	}
	ssize_t length;
	if (roles[i] == CONNECTION) {
		length = recv(fds[i].fd, bytes, sizeof bytes - 1, 0);
		if (length <= 0 || getpeername(fds[i].fd, (void *)&peer, &size) < 0) { forget(i); return; }
		if (send(fds[i].fd, bytes, length, MSG_NOSIGNAL) < 0) { forget(i); return; }
	} else {
		length = echo_datagram(fds[i].fd, ports[i], bytes, sizeof bytes - 1, &peer);
		if (length < 0) return;
	}
	bytes[length] = 0;
	tell(roles[i] == CONNECTION ? "tcp" : "udp", ports[i], &peer, bytes);
}

static int serve(char **port)
{
	for (; *port; port++) {
		struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(*port)) };
		int tcp = socket_of(SOCK_STREAM), udp = socket_of(SOCK_DGRAM);
		if (bind(tcp, (void *)&any, sizeof any) < 0 || listen(tcp, 1024) < 0) die("tcp port");
		if (bind(udp, (void *)&any, sizeof any) < 0) die("udp port");
		watch(tcp, atoi(*port), LISTENER);
		watch(udp, atoi(*port), DATAGRAMS);
	}
	printf("0 serving 0 :: ready\n");
	fflush(stdout);
	fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
	while (!stopped) {
		int ready = poll(fds, fd_count, told_length ? 50 : -1);
		if (told_length) print_told();
		if (ready <= 0) continue;
		for (int i = fd_count - 1; i >= 0; i--)
			if (fds[i].revents) answer(i);
	}
	return 0;
}

/* ---------------------------------------------------------------- ask */

static int fail(const char *reason)
{
	printf("failed %s\n", reason);
	return 1;
}

/* RFC 1191, RFC 8201: PMTUDISC_PROBE sets DF and ignores what an earlier try has learnt. */
static ssize_t exact_size(int fd, const struct sockaddr_in6 *target, int size, char *bytes, const char *text, int fragment)
{
	int probe = fragment ? IP_PMTUDISC_DONT : IP_PMTUDISC_PROBE;
	int v4 = IN6_IS_ADDR_V4MAPPED(&target->sin6_addr);
	int headers = (v4 ? 20 : 40) + 8;
	setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
	setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe);
	if (size < headers + 100 || size > 65000) { errno = EINVAL; die("SIZE"); }
	memset(bytes, '.', size - headers);
	memcpy(bytes, text, strlen(text));
	bytes[strlen(text)] = '\n';
	return size - headers;
}

static int ask(int count, char **arg)
{
	int type = strcmp(arg[0], "tcp") == 0 ? SOCK_STREAM : SOCK_DGRAM;
	struct sockaddr_in6 target = target_of(arg[1], arg[2]), own;
	int timeout = atoi(arg[3]), fd = socket_of(type), error = 0;
	char bytes[65536], address[INET6_ADDRSTRLEN];
	socklen_t size = sizeof error, own_size = sizeof own;
	ssize_t length = snprintf(bytes, sizeof bytes, "%s\n", arg[4]);
	struct pollfd ready = { .fd = fd, .events = POLLOUT };

	if (count > 5) length = exact_size(fd, &target, atoi(arg[5]), bytes, arg[4], count > 6);
	if (connect(fd, (void *)&target, sizeof target) < 0 && errno != EINPROGRESS) return fail(strerror(errno));
	if (poll(&ready, 1, timeout) <= 0) return fail("timeout");
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error) return fail(strerror(error));
	if (send(fd, bytes, length, MSG_NOSIGNAL) < 0) return fail(strerror(errno));
	ready.events = POLLIN;
	if (poll(&ready, 1, timeout) <= 0) return fail("timeout");
	ssize_t received = recv(fd, bytes, sizeof bytes, 0);
	if (received != length) return fail(received < 0 ? strerror(errno) : "another answer");
	getsockname(fd, (void *)&own, &own_size);
	printf("answered %s\n", text_of(&own, address));
	return 0;
}

/* ---------------------------------------------------------------- flow */

struct attempt {
	int fd;
	int established;
	long number;
	long long sent;
};

static struct attempt attempts[MAX_FDS];
static int attempt_count;
static struct { int sent, answered; } buckets[MAX_BUCKETS];
static long sent_total, answered_total;
static long long started, last_answer, longest_gap;
static const char *last_error = "";

static void count_answer(long long sent_at)
{
	long long now = now_ms(CLOCK_MONOTONIC), bucket = (sent_at - started) / 100;
	if (now - last_answer > longest_gap) longest_gap = now - last_answer;
	last_answer = now;
	answered_total++;
	if (bucket >= 0 && bucket < MAX_BUCKETS) buckets[bucket].answered++;
}

static void count_sent(long long at)
{
	sent_total++;
	if ((at - started) / 100 < MAX_BUCKETS) buckets[(at - started) / 100].sent++;
}

static void send_number(int fd, const char *text, long number, long long at)
{
	char line[200];
	int length = snprintf(line, sizeof line, "%s %ld %lld\n", text, number, at);
	if (send(fd, line, length, MSG_NOSIGNAL) < 0 && errno != EAGAIN) last_error = strerror(errno);
}

/* Every answer holds the time of its question, as the question did. */
static int read_answers(int fd)
{
	static char rest[70000];
	static size_t held;
	ssize_t length = recv(fd, rest + held, sizeof rest - held - 1, 0);
	char *line = rest, *end;
	if (length == 0) { last_error = "closed by the server"; return -1; }
	if (length < 0) { if (errno != EAGAIN) last_error = strerror(errno); return errno == ECONNRESET ? -1 : 0; }
	held += length;
	rest[held] = 0;
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		char *time = strrchr(line, ' ');
		if (time) count_answer(atoll(time + 1));
	}
	held -= line - rest;
	memmove(rest, line, held);
	return 0;
}

static void end_attempt(int i)
{
	close(attempts[i].fd);
	attempts[i] = attempts[--attempt_count];
}

/* Goes on with each attempt of a -new flow: connected, then sent, then answered or given up. */
static void poll_attempts(const char *text, int wait)
{
	static struct pollfd polled[MAX_FDS];
	long long now;
	for (int i = 0; i < attempt_count; i++)
		polled[i] = (struct pollfd){ .fd = attempts[i].fd, .events = attempts[i].established ? POLLIN : POLLOUT };
	poll(polled, attempt_count, wait);
	now = now_ms(CLOCK_MONOTONIC);
	for (int i = attempt_count - 1; i >= 0; i--) {
		struct attempt *it = &attempts[i];
		int error = 0;
		socklen_t size = sizeof error;
		char bytes[300];
		if (polled[i].revents && !it->established) {
			getsockopt(it->fd, SOL_SOCKET, SO_ERROR, &error, &size);
			if (error) { last_error = strerror(error); end_attempt(i); continue; }
			it->established = 1;
			send_number(it->fd, text, it->number, it->sent);
		} else if (polled[i].revents) {
			if (recv(it->fd, bytes, sizeof bytes, 0) > 0) count_answer(it->sent);
			else last_error = strerror(errno);
			end_attempt(i);
		} else if (now - it->sent > ANSWER_MS) {
			end_attempt(i);
		}
	}
}

static void new_attempt(int type, const struct sockaddr_in6 *target, long number, long long at)
{
	int fd;
	if (attempt_count == MAX_FDS) return;
	fd = socket_of(type);
	if (connect(fd, (const void *)target, sizeof *target) < 0 && errno != EINPROGRESS) {
		last_error = strerror(errno);
		close(fd);
		return;
	}
	attempts[attempt_count++] = (struct attempt){ .fd = fd, .number = number, .sent = at };
}

static void report(const char *own)
{
	long long last = (now_ms(CLOCK_MONOTONIC) - started) / 100;
	long long epoch = now_ms(CLOCK_REALTIME) - (now_ms(CLOCK_MONOTONIC) - started);
	printf("{\"startedMs\":%lld,\"own\":\"%s\",\"sent\":%ld,\"answered\":%ld,\"longestGapMs\":%lld,\"error\":\"%s\",\"tenths\":[",
	       epoch, own, sent_total, answered_total, longest_gap, last_error);
	for (long long i = 0; i <= last && i < MAX_BUCKETS; i++)
		printf("%s[%d,%d]", i ? "," : "", buckets[i].sent, buckets[i].answered);
	printf("]}\n");
}

static int flow(char **arg)
{
	int type = strncmp(arg[0], "tcp", 3) == 0 ? SOCK_STREAM : SOCK_DGRAM;
	int renew = strstr(arg[0], "-new") != NULL, broken = 0;
	struct sockaddr_in6 target = target_of(arg[1], arg[2]), own = { 0 };
	double interval = 1000.0 / atof(arg[3]);
	long long length = (long long)(atof(arg[4]) * 1000), now;
	struct pollfd one = { .fd = -1, .events = POLLOUT };
	socklen_t size = sizeof own;
	char address[INET6_ADDRSTRLEN] = "";

	if (!renew) {
		one.fd = socket_of(type);
		if (connect(one.fd, (void *)&target, sizeof target) < 0 && errno != EINPROGRESS) last_error = strerror(errno);
		if (poll(&one, 1, 5000) <= 0 || (one.revents & POLLERR)) { last_error = "no connection"; broken = 1; }
		getsockname(one.fd, (void *)&own, &size);
		one.events = POLLIN;
	}
	started = last_answer = now_ms(CLOCK_MONOTONIC);
	for (long number = 0; (now = now_ms(CLOCK_MONOTONIC)) - started < length && !stopped && !broken;) {
		long long due = started + (long long)(number * interval);
		int wait = due > now ? (int)(due - now) : 0;
		if (renew && attempt_count) poll_attempts(arg[5], wait);
		else if (renew) usleep(wait * 1000);
		else if (poll(&one, 1, wait) > 0) broken = read_answers(one.fd) < 0;
		now = now_ms(CLOCK_MONOTONIC);
		if (now < due || broken) continue;
		if (renew) new_attempt(type, &target, number, now);
		else send_number(one.fd, arg[5], number, now);
		count_sent(now);
		number++;
	}
	while (!broken && (now = now_ms(CLOCK_MONOTONIC)) - last_answer < 60000 && answered_total < sent_total) {
		static long long until;
		if (!until) until = now + ANSWER_MS;
		if (now > until) break;
		if (renew) { if (!attempt_count) break; poll_attempts(arg[5], 20); }
		else if (poll(&one, 1, 20) > 0) broken = read_answers(one.fd) < 0;
	}
	report(text_of(&own, address));
	return 0;
}

int main(int count, char **arg)
{
	struct sigaction action = { .sa_handler = stop };
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (count >= 3 && strcmp(arg[1], "serve") == 0) return serve(arg + 2);
	if (count >= 7 && strcmp(arg[1], "ask") == 0) return ask(count - 2, arg + 2);
	if (count == 8 && strcmp(arg[1], "flow") == 0) return flow(arg + 2);
	fprintf(stderr, "usage: probe serve PORT... | ask tcp|udp ADDRESS PORT TIMEOUT_MS TEXT [SIZE] | flow tcp|udp[-new] ADDRESS PORT RATE SECONDS TEXT\n");
	return 2;
}
