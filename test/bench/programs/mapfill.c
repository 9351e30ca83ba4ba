/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast C fills a map as the agent's `ipcache` is: keys of 16 bytes, values of 32, hash without preallocation.
 *
 *   mapfill ENTRIES BATCH
 *
 * Fills and empties it once, then prints the nanoseconds that encoding and writing ENTRIES in batches takes (bpf(2),
 * BPF_MAP_UPDATE_BATCH).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct peer {
	uint32_t identity, flags, ports, pad;
	unsigned char node[16];
};

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

static int64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static void die(const char *what)
{
	fprintf(stderr, "mapfill: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void address(unsigned char *into, uint32_t host)
{
	uint32_t be = htonl(host);
	memcpy(into, mapped, sizeof(mapped));
	memcpy(into + 12, &be, 4);
}

static void batch(int command, int map, unsigned char *keys, struct peer *values, uint32_t count)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.batch.map_fd = map;
	attr.batch.keys = (uintptr_t)keys;
	attr.batch.values = (uintptr_t)values;
	attr.batch.count = count;
	if (bpf(command, &attr))
		die("batch");
}

static void fill(int map, uint32_t entries, uint32_t size, unsigned char *keys, struct peer *values)
{
	for (uint32_t from = 0; from < entries; from += size) {
		uint32_t count = entries - from < size ? entries - from : size;
		for (uint32_t i = 0; i < count; i++) {
			address(keys + 16 * i, 0x0a000000u + from + i);
			values[i] = (struct peer){ .identity = 256 + (from + i) % 10000, .flags = 1 };
			address(values[i].node, 0xc0000201u + (from + i) % 250);
		}
		batch(BPF_MAP_UPDATE_BATCH, map, keys, values, count);
	}
}

int main(int argc, char **argv)
{
	uint32_t entries = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, size = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	if (!entries || !size) {
		fprintf(stderr, "usage: mapfill ENTRIES BATCH\n");
		return 2;
	}
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_HASH;
	attr.key_size = 16;
	attr.value_size = sizeof(struct peer);
	attr.max_entries = entries;
	attr.map_flags = BPF_F_NO_PREALLOC;
	int map = bpf(BPF_MAP_CREATE, &attr);
	if (map < 0)
		die("create");
	unsigned char *keys = malloc(16ul * entries);
	struct peer *values = malloc(sizeof(struct peer) * entries);
	if (!keys || !values)
		die("memory");
	fill(map, entries, size, keys, values);
	for (uint32_t i = 0; i < entries; i++)
		address(keys + 16 * i, 0x0a000000u + i);
	batch(BPF_MAP_DELETE_BATCH, map, keys, values, entries);
	int64_t start = now_ns();
	fill(map, entries, size, keys, values);
	printf("%lld\n", (long long)(now_ns() - start));
	return 0;
}
