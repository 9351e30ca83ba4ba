/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CNI plugin (CNI specification 1.1.0): hands one request to the node agent and prints its answer.
 *
 * All knowledge is in the agent. What is decided here is only what must work without it:
 *   VERSION  is answered from the table below;
 *   DEL      is kept on disk when the agent does not answer, and succeeds: the agent replays it. A pod
 *            must be deletable while the agent is down, and its address must not leak;
 *   others   fail with error 11 (try again later), STATUS with 50 (plugin not available).
 *
 * Called with arguments by the agent, it does the pod's side of a link: netns.h.
 *
 * Request:  one line of JSON {"command","containerId","netns","ifname","args","path","config"}, all
 *           strings; "config" is standard input byte for byte.
 * Answer:   "<exit code> <length>\n", then length bytes for standard output. Fewer bytes than promised
 *           mean that the agent died: the same as no answer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "netns.h"

#ifndef DEFAULT_SOCKET
#define DEFAULT_SOCKET "/var/run/cilium/cni.sock"
#endif
#ifndef DEFAULT_QUEUE
#define DEFAULT_QUEUE "/var/lib/cilium/cni-del"
#endif
#define MAX_CONFIG (1u << 20)
#define MAX_ANSWER (4u << 20)
#define ADD_TIMEOUT_MS 60000
#define OTHER_TIMEOUT_MS 20000
#define STDIN_TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 2000

/* Error codes of the CNI specification, section "Error". */
enum { ERR_ENVIRONMENT = 4, ERR_IO = 5, ERR_DECODE = 6, ERR_TRY_AGAIN = 11, ERR_NOT_AVAILABLE = 50, ERR_INTERNAL = 999 };

static const char SUPPORTED[] = "[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]";

struct invocation {
	const char *command, *container_id, *netns, *ifname, *args, *path;
	struct buffer config;
	char version[16];
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char queue[256];
};

/* ---------------------------------------------------------------- input and output */

static long now_ms(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000L + time.tv_nsec / 1000000L;
}

/* Waits until `fd` is ready. 0 when the deadline passes first. */
static int await(int fd, short events, long deadline)
{
	for (;;) {
		long left = deadline - now_ms();
		struct pollfd item = { .fd = fd, .events = events };
		int ready = left <= 0 ? 0 : poll(&item, 1, (int)left);
		if (ready >= 0 || errno != EINTR)
			return ready > 0;
	}
}

/* Reads to the end of file. Negative: time is over, an error, or more than `limit` bytes. */
static int read_all(int fd, struct buffer *to, size_t limit, long deadline)
{
	char chunk[16384];
	append(to, "", 0);
	for (;;) {
		if (!await(fd, POLLIN, deadline))
			return -1;
		ssize_t count = read(fd, chunk, sizeof chunk);
		if (count == 0)
			return 0;
		if (count < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
		if (count > 0 && to->length + (size_t)count > limit)
			return -1;
		if (count > 0)
			append(to, chunk, (size_t)count);
	}
}

static int write_all(int fd, const char *bytes, size_t length, long deadline)
{
	while (length > 0) {
		ssize_t count = write(fd, bytes, length);
		if (count > 0) {
			bytes += count;
			length -= (size_t)count;
		} else if (count < 0 && errno == EAGAIN) {
			if (!await(fd, POLLOUT, deadline))
				return -1;
		} else if (count == 0 || errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

static int fail(const struct invocation *call, int code, const char *message, const char *details)
{
	struct buffer out = { 0 };
	char number[32];
	append_text(&out, "{");
	append_member(&out, "cniVersion", call->version);
	snprintf(number, sizeof number, ",\"code\":%d", code);
	append_text(&out, number);
	append_member(&out, "msg", message);
	append_member(&out, "details", details);
	append_text(&out, "}\n");
	write_all(STDOUT_FILENO, out.data, out.length, now_ms() + OTHER_TIMEOUT_MS);
	return 1;
}

/* ---------------------------------------------------------------- the agent */

static int connect_agent(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	long deadline = now_ms() + CONNECT_TIMEOUT_MS;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* EAGAIN: the backlog is full, so somebody listens (unix(7)). */
	while (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		if ((errno != EAGAIN && errno != EINTR) || now_ms() > deadline) {
			close(fd);
			return -1;
		}
		poll(NULL, 0, 10);
	}
	return fd;
}

/* Exit code of the agent's answer, its text in `answer` from `*body` on. Negative: no complete answer. */
static int ask(const struct invocation *call, const struct buffer *request, struct buffer *answer, size_t *body)
{
	long deadline = now_ms() + (strcmp(call->command, "ADD") == 0 ? ADD_TIMEOUT_MS : OTHER_TIMEOUT_MS);
	int fd = connect_agent(call->socket), code = -1, header = 0;
	unsigned long length = 0;
	if (fd < 0)
		return -1;
	if (write_all(fd, request->data, request->length, deadline) == 0 &&
	    read_all(fd, answer, MAX_ANSWER, deadline) == 0 &&
	    sscanf(answer->data, "%3d %10lu%n", &code, &length, &header) == 2 &&
	    answer->data[header] == '\n' && code >= 0 && answer->length - (size_t)header - 1 == length)
		*body = (size_t)header + 1;
	else
		code = -1;
	close(fd);
	return code;
}

/* ---------------------------------------------------------------- DEL without an agent */

static uint64_t fnv1a(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL;
	while (*text++);
	return hash;
}

/* Keeps the request for the agent: complete and durable under its name, or not there at all. */
static int enqueue(const struct invocation *call, const struct buffer *request)
{
	char name[40], temporary[64];
	uint64_t high = fnv1a(fnv1a(0xcbf29ce484222325ULL, call->container_id), call->ifname);
	uint64_t low = fnv1a(fnv1a(0x84222325cbf29ce4ULL, call->ifname), call->container_id);
	/* The id is the runtime's: hashed, it can name no other directory and is never too long. */
	snprintf(name, sizeof name, "%016llx%016llx", (unsigned long long)high, (unsigned long long)low);
	snprintf(temporary, sizeof temporary, ".%s.%ld", name, (long)getpid());
	for (char *slash = strchr((char *)call->queue + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(call->queue, 0755);
		*slash = '/';
	}
	mkdir(call->queue, 0700);
	int directory = open(call->queue, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return -1;
	int file = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int failed = file < 0 || write_all(file, request->data, request->length, now_ms() + OTHER_TIMEOUT_MS) != 0 || fsync(file) != 0;
	if (file >= 0 && close(file) != 0)
		failed = 1;
	if (!failed)
		failed = renameat(directory, temporary, directory, name) != 0 || fsync(directory) != 0;
	if (failed)
		unlinkat(directory, temporary, 0);
	close(directory);
	return failed ? -1 : 0;
}

/* ---------------------------------------------------------------- one call */

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "";
}

/* Name of the variable that is missing or too long; NULL when all are right. */
static const char *check_environment(const struct invocation *call)
{
	int attach = strcmp(call->command, "ADD") == 0 || strcmp(call->command, "CHECK") == 0;
	int one = attach || strcmp(call->command, "DEL") == 0;
	if (strlen(call->container_id) > 1024 || (one && !*call->container_id))
		return "CNI_CONTAINERID";
	if (strlen(call->ifname) > 255 || (one && !*call->ifname))
		return "CNI_IFNAME";
	if (strlen(call->netns) > 4096 || (attach && !*call->netns))
		return "CNI_NETNS";
	if (strlen(call->args) > 65536)
		return "CNI_ARGS";
	return strlen(call->path) > 65536 ? "CNI_PATH" : NULL;
}

static int run(struct invocation *call)
{
	struct buffer request = { 0 }, answer = { 0 };
	size_t body = 0;
	const char *wrong = check_environment(call);
	if (wrong)
		return fail(call, ERR_ENVIRONMENT, "environment variable missing or too long", wrong);
	append_text(&request, "{");
	append_member(&request, "command", call->command);
	append_member(&request, "containerId", call->container_id);
	append_member(&request, "netns", call->netns);
	append_member(&request, "ifname", call->ifname);
	append_member(&request, "args", call->args);
	append_member(&request, "path", call->path);
	append_text(&request, ",\"config\":");
	append_string(&request, call->config.data, call->config.length);
	append_text(&request, "}\n");
	int code = ask(call, &request, &answer, &body);
	if (code >= 0) {
		int lost = write_all(STDOUT_FILENO, answer.data + body, answer.length - body, now_ms() + OTHER_TIMEOUT_MS);
		return lost && code == 0 ? 1 : code;
	}
	if (strcmp(call->command, "DEL") == 0)
		return enqueue(call, &request) == 0 ? 0 : fail(call, ERR_IO, "cannot keep the request for the cilium agent", call->queue);
	if (strcmp(call->command, "STATUS") == 0)
		return fail(call, ERR_NOT_AVAILABLE, "the cilium agent of this node does not answer", call->socket);
	return fail(call, ERR_TRY_AGAIN, "the cilium agent of this node does not answer", call->socket);
}

int main(int count, char **arguments)
{
	struct invocation call = {
		.command = variable("CNI_COMMAND"), .container_id = variable("CNI_CONTAINERID"), .netns = variable("CNI_NETNS"),
		.ifname = variable("CNI_IFNAME"), .args = variable("CNI_ARGS"), .path = variable("CNI_PATH"),
		.version = "1.1.0", .socket = DEFAULT_SOCKET, .queue = DEFAULT_QUEUE,
	};
	signal(SIGPIPE, SIG_IGN); /* an agent that goes away is a failed write, not our end */
	int whole = read_all(STDIN_FILENO, &call.config, MAX_CONFIG, now_ms() + STDIN_TIMEOUT_MS) == 0;
	/* A runtime gives no arguments. */
	if (count > 2 && strcmp(arguments[1], "netns") == 0)
		return whole ? in_namespace(count - 2, arguments + 2, &call.config) : complain("standard input", EIO);
	top_member(&call.config, "cniVersion", call.version, sizeof call.version);
	top_member(&call.config, "agentSocket", call.socket, sizeof call.socket);
	top_member(&call.config, "deleteQueue", call.queue, sizeof call.queue);
	if (strcmp(call.command, "VERSION") == 0) {
		struct buffer out = { 0 };
		append_text(&out, "{");
		append_member(&out, "cniVersion", call.version);
		append_text(&out, ",\"supportedVersions\":");
		append_text(&out, SUPPORTED);
		append_text(&out, "}\n");
		return write_all(STDOUT_FILENO, out.data, out.length, now_ms() + OTHER_TIMEOUT_MS) ? 1 : 0;
	}
	if (!whole)
		return fail(&call, ERR_DECODE, "standard input is no complete configuration of at most 1 MiB", call.command);
	static const char *const known[] = { "ADD", "DEL", "CHECK", "GC", "STATUS" };
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(call.command, known[i]) == 0)
			return run(&call);
	return fail(&call, ERR_ENVIRONMENT, "CNI_COMMAND is no known command", call.command);
}
