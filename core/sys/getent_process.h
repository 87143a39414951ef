/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to getent: one process whose output is read, from its start until it is reaped. */
#ifndef HIVE_SYS_GETENT_PROCESS_H
#define HIVE_SYS_GETENT_PROCESS_H

#include "base/buf.h"
#include "ev/ev.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum getent_end {
    GETENT_EXITED,    /* `status` is its exit status, -1 when it can't be known */
    GETENT_SIGNALLED, /* `status` is the signal */
    GETENT_LATE,
    GETENT_TOO_MUCH
};

struct getent_process {
    /* Set by the caller. `done` gets what was printed, NUL-terminated; not called after
     * getent_process_kill(). */
    void (*done)(struct getent_process *p, enum getent_end end, int status, const char *text,
                 size_t len);
    /* It is reaped: the last call. */
    void (*gone)(struct getent_process *p);

    /* Private */
    struct ev_loop *loop;
    pid_t pid;
    struct ev_io io; /* fd -1: closed */
    struct ev_timer timer;
    int64_t deadline_ns, pause_ns;
    struct buf text;
};

/* Starts argv with the file `program` (no search). Returns 0 or an errno; then nothing is called. */
int getent_process_start(struct getent_process *p, struct ev_loop *loop, const char *program,
                         const char *const *argv, int64_t deadline_ns);
/* Nobody wants its answer any more. `gone` follows, by the loop. */
void getent_process_kill(struct getent_process *p);
/* For the end of everything: kills it, and calls nothing any more. Then reap() until it is true;
 * never to be true is a process that can't die. */
void getent_process_abandon(struct getent_process *p);
bool getent_process_reap(const struct getent_process *p);

#endif
