/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/node: what spawner and shims have in common as processes. */
#ifndef HIVE_NODE_PROCESS_H
#define HIVE_NODE_PROCESS_H

#include <stdint.h>

/*
 * Makes the calling process a session leader and a subreaper called `name` that wakes soon, with every signal at
 * its default and blocked, so that none ends it (but SIGKILL) and none is inherited as ignored by
 * jobs; SIGCHLD only ends process_poll(). -1 with errno.
 */
int process_prepare(const char *name);

/* poll(2) of one descriptor (POLLIN), ended by SIGCHLD too. Waits for at most max_ns, negative: as
 * long as it takes. 1: readable; 0: not, look for dead children and deadlines. */
int process_poll(int fd, int64_t max_ns);

#endif
