/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/sys and its tests: one walk over the descendants of this process. */
#ifndef HIVE_SYS_KILL_TREE_H
#define HIVE_SYS_KILL_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kill_walk {
    int signo;
    const pid_t *spare; /* children left alone with their subtrees */
    size_t spares;
    bool scan_proc;     /* kernel without /proc/PID/task/TID/children: look at every process */
    size_t signalled;   /* out: processes found and signalled */
    size_t children;    /* out: how many of them are our own children */
    uint64_t signature; /* out: changes when other children were found than the last time */
};

void kill_walk(struct kill_walk *w);

#endif
