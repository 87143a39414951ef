/* SPDX-License-Identifier: BSD-2-Clause */
/* Facts about this machine and its processes, from /proc and system calls. */
#ifndef HIVE_SYS_SYS_H
#define HIVE_SYS_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CPUs this process may use: its affinity, capped by the CPU quota of its control group and those
 * above it (rounded up). At least 1. */
int sys_usable_cpus(void);
/* Installed memory in bytes, capped by the memory limit of our own control group. -1 unknown. */
int64_t sys_memory_total(void);
/* Memory in bytes that could be had without swapping (MemAvailable). -1 unknown. */
int64_t sys_memory_available(void);
/* Host name up to the first dot, made safe; "localhost" if there is none. malloc'd. */
char *sys_hostname(void);
/* Changes with every boot; "" when unknown. `out` has at least 40 bytes. */
void sys_boot_id(char *out, size_t size);
/* Name of a uid from the user database, or its number. malloc'd. */
char *sys_user_name(uid_t uid);
/* Home folder of a uid ($HOME for our own), "/" when unknown. malloc'd. */
char *sys_user_home(uid_t uid);
/* Login shell of a uid, "/bin/sh" when unknown. malloc'd. */
char *sys_user_shell(uid_t uid);

/*
 * Asks the kernel (6.12 and later; others ignore it) to run the calling process soon after it wakes,
 * in return for short turns: its share of the CPU stays the same. For processes that others wait for
 * and that wait for disk and messages themselves: where jobs use all CPUs each wait would else last
 * until somebody's turn of 3 ms is over. Not inherited. False when refused.
 */
bool sys_wake_soon(void);

/* Start time of a process in clock ticks since boot: together with the pid it names one process
 * for ever. 0 when there is no such process. */
uint64_t sys_process_start(pid_t pid);

/* What was reaped. Zero it, set `watch` and `gone` if wanted, and pass it on as often as needed. */
struct sys_reaped {
    pid_t watch; /* in: the child whose status matters, 0: none */
    bool seen;   /* out: `watch` was reaped, and ended with `status` (wait(2)) */
    int status;
    int64_t user_ns, system_ns;                     /* CPU time of all that was reaped, added up */
    int64_t max_rss;                                /* bytes, of the largest process */
    void (*gone)(pid_t pid, int status, void *arg); /* called for each child, or NULL */
    void *arg;
};

/* Reaps every child that has ended, without blocking. True while children are left. `r` may be
 * NULL. */
bool sys_reap(struct sys_reaped *r);

/*
 * Kills all descendants of the calling process, which must be a subreaper
 * (PR_SET_CHILD_SUBREAPER), so that nothing gets out from under it, and have one thread. Goes over
 * the tree again and again, SIGKILLs and reaps, until nothing is left or the monotonic deadline has
 * passed. Wins against processes that fork and setsid in a loop (tests/unit/test_kill_tree.c). The
 * `spares` children in `spare` are left alone with their subtrees. At least one pass is made.
 * Returns 0 when nothing is left but those, -1 when the deadline passed.
 */
int sys_kill_descendants(int64_t deadline_mono_ns, const pid_t *spare, size_t spares,
                         struct sys_reaped *r);
/* Sends `signo` once to every descendant of the calling process. */
void sys_signal_descendants(int signo);
/*
 * SIGKILLs every process whose environment has the entry `mark` ("NAME=VALUE"), whosever child it
 * is, and looks again until none is found or the monotonic deadline has passed. Reads the
 * environment of every process that we may look into: for rare occasions. Returns how many were
 * signalled.
 */
int sys_kill_marked(const char *mark, int64_t deadline_mono_ns);

#endif
