// SPDX-License-Identifier: Apache-2.0
#ifndef PROBE_LOG_H
#define PROBE_LOG_H

#include <string.h>
#include <unistd.h>

/* What is to be printed. Whoever reads it may be slow (a container's log on a busy disk): the server must not wait for
 * that, or datagrams would be lost in its own queue. */
#define MAX_TOLD_LINE 256

static char told[1 << 24];
static size_t told_length;

static void print_told(void)
{
	ssize_t written = write(STDOUT_FILENO, told, told_length);
	if (written <= 0) return;
	told_length -= written;
	memmove(told, told + written, told_length);
}

#endif
