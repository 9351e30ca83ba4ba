/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timed COMMAND [ARGUMENT...]: runs the command on our own standard streams and prints, on standard error as the last
 * line, `timed EXIT_STATUS NANOSECONDS` from before its start to its end. Its exit status is ours.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec before, after;
	int status = 0;
	if (argc < 2)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &before);
	pid_t child = vfork();
	if (child == 0) {
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 126;
	clock_gettime(CLOCK_MONOTONIC, &after);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 125;
	fprintf(stderr, "timed %d %lld\n", code, (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec);
	return code;
}
