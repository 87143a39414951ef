/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "sched/state.h"

#include "base/str.h"

static const char *const status_names[JOB_STATUS_COUNT] = {
    [JOB_QUEUED] = "queued", [JOB_RUNNING] = "running",     [JOB_SUCCEEDED] = "succeeded",
    [JOB_FAILED] = "failed", [JOB_CANCELLED] = "cancelled", [JOB_TIMEOUT] = "timeout",
    [JOB_OOM] = "oom",       [JOB_LOST] = "lost",
};

static const char *const event_names[JOB_EV_COUNT] = {
    [JOB_EV_START] = "start",   [JOB_EV_SUCCEED] = "succeed", [JOB_EV_FAIL] = "fail",
    [JOB_EV_CANCEL] = "cancel", [JOB_EV_TIMEOUT] = "timeout", [JOB_EV_OOM] = "oom",
    [JOB_EV_LOSE] = "lose",     [JOB_EV_REQUEUE] = "requeue", [JOB_EV_RETRY] = "retry",
};

/* Cells hold the next state plus one, so that every cell that is not named is illegal. */
#define TO(status) ((signed char)((status) + 1))

#define FINISHED                                                                                   \
    {                                                                                              \
        [JOB_EV_RETRY] = TO(JOB_QUEUED)                                                            \
    }

static const signed char transitions[JOB_STATUS_COUNT][JOB_EV_COUNT] = {
    [JOB_QUEUED] = {
        [JOB_EV_START] = TO(JOB_RUNNING),
        [JOB_EV_FAIL] = TO(JOB_FAILED),
        [JOB_EV_CANCEL] = TO(JOB_CANCELLED),
    },
    [JOB_RUNNING] = {
        [JOB_EV_SUCCEED] = TO(JOB_SUCCEEDED),
        [JOB_EV_FAIL] = TO(JOB_FAILED),
        [JOB_EV_CANCEL] = TO(JOB_CANCELLED),
        [JOB_EV_TIMEOUT] = TO(JOB_TIMEOUT),
        [JOB_EV_OOM] = TO(JOB_OOM),
        [JOB_EV_LOSE] = TO(JOB_LOST),
        [JOB_EV_REQUEUE] = TO(JOB_QUEUED),
    },
    [JOB_SUCCEEDED] = FINISHED,
    [JOB_FAILED] = FINISHED,
    [JOB_CANCELLED] = FINISHED,
    [JOB_TIMEOUT] = FINISHED,
    [JOB_OOM] = FINISHED,
    [JOB_LOST] = FINISHED,
};

static bool known(enum job_status s)
{
    return (unsigned)s < JOB_STATUS_COUNT;
}

int job_status_next(enum job_status from, enum job_event event)
{
    if (!known(from) || (unsigned)event >= JOB_EV_COUNT)
        return -1;
    return transitions[from][event] - 1;
}

bool job_status_terminal(enum job_status s)
{
    return known(s) && s != JOB_QUEUED && s != JOB_RUNNING;
}

const char *job_status_name(enum job_status s)
{
    return known(s) ? status_names[s] : "unknown";
}

int job_status_from_name(const char *name)
{
    for (int i = 0; i < JOB_STATUS_COUNT; i++)
        if (str_eq(status_names[i], name))
            return i;
    return -1;
}

const char *job_event_name(enum job_event e)
{
    return (unsigned)e < JOB_EV_COUNT ? event_names[e] : "unknown";
}
