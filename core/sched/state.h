/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Job states and the one table of transitions. Nothing else in hive decides what state follows
 * which.
 *
 *   queued ──start──▶ running ──▶ succeeded | failed | cancelled | timeout | oom | lost
 *    │ ▲ ▲               │                                │
 *    │ │ └────requeue────┘                                │
 *    │ └─────────────────────retry────────────────────────┘
 *    └──cancel──▶ cancelled,  ──fail──▶ failed
 *
 * A requeue is policy (an automatic retry, an attempt that never began); a retry of a finished job
 * is a user's wish.
 */
#ifndef HIVE_SCHED_STATE_H
#define HIVE_SCHED_STATE_H

#include <stdbool.h>

/* The numbers are stored on disk: never renumber, only add. */
enum job_status {
    JOB_QUEUED = 0,
    JOB_RUNNING = 1,
    JOB_SUCCEEDED = 2,
    JOB_FAILED = 3,
    JOB_CANCELLED = 4,
    JOB_TIMEOUT = 5,
    JOB_OOM = 6,
    JOB_LOST = 7,
    JOB_STATUS_COUNT
};

enum job_event {
    JOB_EV_START,   /* an attempt was ordered */
    JOB_EV_SUCCEED, /* exit code 0 */
    JOB_EV_FAIL,    /* other exit code, a signal, could not be run; or, of a queued job, its
                     * dependency can't be met any more */
    JOB_EV_CANCEL,  /* ended by a user */
    JOB_EV_TIMEOUT,
    JOB_EV_OOM,
    JOB_EV_LOSE,    /* fate unknown */
    JOB_EV_REQUEUE, /* the attempt ended, or never began, and policy puts the job back */
    JOB_EV_RETRY,   /* a user wants a finished job run again */
    JOB_EV_COUNT
};

/* The state after `event`; -1 when the event is not legal in that state. */
int job_status_next(enum job_status from, enum job_event event);
/* True when the job is over (and only a retry brings it back). */
bool job_status_terminal(enum job_status s);
/* "queued", "running", ...; "unknown" for other numbers. Never NULL. */
const char *job_status_name(enum job_status s);
/* The status with that name; -1 when there is none (or name is NULL). */
int job_status_from_name(const char *name);
/* "start", "succeed", ...; "unknown" for other numbers. Never NULL. */
const char *job_event_name(enum job_event e);

#endif
