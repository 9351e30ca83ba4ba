/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod's side of a link, on the agent's behalf: the agent's process has threads and stays in the node's namespace.
 *
 *   cilium-cni netns PATH SETTING=VALUE... < messages
 *
 * Enters the namespace PATH, writes the settings (paths below /proc/sys/net, or absolute ones where that is read-only; one
 * that the kernel lacks is left out), then sends the rtnetlink messages of standard input as they are; each asks for an acknowledgement.
 * Exit status 0: all were done, and packets to each IPv6 address that they gave arrive.
 */
#ifndef CILIUM_CNI_NETNS_H
#define CILIUM_CNI_NETNS_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <time.h>

#define TAKEN_MS 5000 /* far more than a work queue takes */

static int complain(const char *what, int number)
{
	fprintf(stderr, "%s: %s\n", what, strerror(number));
	return 1;
}

/* "ipv6/conf/eth0/accept_ra=0". 0 when it is done, or when there is no such setting. */
static int apply_setting(const char *setting)
{
	char path[256];
	const char *equals = strchr(setting, '='), *folder = *setting == '/' ? "" : "/proc/sys/net/";
	if (!equals || strstr(setting, "..") || snprintf(path, sizeof path, "%s%.*s", folder, (int)(equals - setting), setting) >= (int)sizeof path)
		return complain(setting, EINVAL);
	int fd = open(path, O_WRONLY | O_CLOEXEC), failed = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : complain(path, errno);
	if (write(fd, equals + 1, strlen(equals + 1)) < 0)
		failed = complain(path, errno);
	close(fd);
	return failed;
}

/* The kernel works inside send(2), so that its acknowledgements are there afterwards. */
static int send_messages(const struct buffer *messages)
{
	static char answers[1 << 16] __attribute__((aligned(NLMSG_ALIGNTO)));
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), on = 1, left = 0, number = 0;
	if (fd < 0)
		return complain("netlink", errno);
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	for (size_t at = 0; at + sizeof(struct nlmsghdr) <= messages->length; left++) {
		const struct nlmsghdr *header = (const void *)(messages->data + at);
		if (header->nlmsg_len < sizeof *header || header->nlmsg_len > messages->length - at)
			return complain("a message that is cut off", EINVAL);
		at += NLMSG_ALIGN(header->nlmsg_len);
	}
	if (send(fd, messages->data, messages->length, 0) != (ssize_t)messages->length)
		return complain("netlink: send", errno);
	while (left > 0) {
		ssize_t length = recv(fd, answers, sizeof answers, MSG_DONTWAIT);
		if (length <= 0)
			return complain("netlink: receive", errno);
		for (struct nlmsghdr *answer = (void *)answers; NLMSG_OK(answer, length); answer = NLMSG_NEXT(answer, length)) {
			if (answer->nlmsg_type != NLMSG_ERROR)
				continue;
			const struct nlmsgerr *verdict = NLMSG_DATA(answer);
			number++, left--;
			if (verdict->error) {
				fprintf(stderr, "message %d (type %d): %s\n", number, verdict->msg.nlmsg_type, strerror(-verdict->error));
				return 1;
			}
		}
	}
	close(fd);
	return 0;
}

/* 1: packets to the address are for this namespace, 0: not yet; -1: errno says why that is not known. */
static int is_local(int fd, const unsigned char *address)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
		struct rtattr attribute;
		unsigned char address[16];
	} request = {
		.header = { .nlmsg_len = sizeof request, .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST },
		.route = { .rtm_family = AF_INET6, .rtm_dst_len = 128 },
		.attribute = { .rta_len = RTA_LENGTH(16), .rta_type = RTA_DST },
	};
	static char answer[1 << 13] __attribute__((aligned(NLMSG_ALIGNTO)));
	memcpy(request.address, address, 16);
	if (send(fd, &request, sizeof request, 0) != (ssize_t)sizeof request)
		return -1;
	ssize_t length = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
	const struct nlmsghdr *header = (const void *)answer;
	if (length < 0 || !NLMSG_OK(header, length))
		return -1;
	return header->nlmsg_type == RTM_NEWROUTE && ((const struct rtmsg *)NLMSG_DATA(header))->rtm_type == RTN_LOCAL;
}

/*
 * The kernel makes the local route of an IPv6 address on a work queue (addrconf_dad_work in net/ipv6/addrconf.c), also
 * without duplicate address detection: on a busy machine packets to it would be lost until then.
 */
static int await_addresses(const struct buffer *messages)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), taken = 0;
	if (fd < 0)
		return complain("netlink", errno);
	for (size_t at = 0; at < messages->length;) {
		const struct nlmsghdr *header = (const void *)(messages->data + at);
		const struct ifaddrmsg *body = NLMSG_DATA(header);
		at += NLMSG_ALIGN(header->nlmsg_len);
		if (header->nlmsg_type != RTM_NEWADDR || body->ifa_family != AF_INET6)
			continue;
		int left = IFA_PAYLOAD(header);
		const struct rtattr *attribute = IFA_RTA(body);
		while (RTA_OK(attribute, left) && attribute->rta_type != IFA_ADDRESS)
			attribute = RTA_NEXT(attribute, left);
		if (!RTA_OK(attribute, left) || RTA_PAYLOAD(attribute) != 16)
			continue;
		for (int waited = 0; (taken = is_local(fd, RTA_DATA(attribute))) == 0 && waited < 10 * TAKEN_MS; waited++)
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
		if (taken != 1)
			return complain("an IPv6 address that was given", taken < 0 ? errno : ETIMEDOUT);
	}
	close(fd);
	return 0;
}

static int in_namespace(int count, char **arguments, const struct buffer *messages)
{
	int fd = open(arguments[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		return complain(arguments[0], errno);
	for (int i = 1; i < count; i++)
		if (apply_setting(arguments[i]))
			return 1;
	return send_messages(messages) || await_addresses(messages);
}

#endif /* CILIUM_CNI_NETNS_H */
