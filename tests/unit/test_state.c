/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "sched/state.h"

/* Every cell, spelled out independently of the table: S start, ... as in enum job_event; '.' is
 * illegal, else the first letter of the state that follows (u: succeeded, s is not used). */
static const char letters[] = "qrufctol";

TEST(every_cell_of_the_table)
{
    /* columns: start succeed fail cancel timeout oom lose requeue retry */
    static const char *const want[JOB_STATUS_COUNT] = {
        [JOB_QUEUED] = "r.fc.....", [JOB_RUNNING] = ".ufctolq.",   [JOB_SUCCEEDED] = "........q",
        [JOB_FAILED] = "........q", [JOB_CANCELLED] = "........q", [JOB_TIMEOUT] = "........q",
        [JOB_OOM] = "........q",    [JOB_LOST] = "........q",
    };
    for (int s = 0; s < JOB_STATUS_COUNT; s++) {
        CHECK_INT(strlen(want[s]), JOB_EV_COUNT);
        for (int e = 0; e < JOB_EV_COUNT; e++) {
            int next = job_status_next((enum job_status)s, (enum job_event)e);
            char got = next < 0 ? '.' : letters[next];
            if (got != want[s][e])
                unit_fail(__FILE__, __LINE__, "%s + %s: got %c, want %c",
                          job_status_name((enum job_status)s), job_event_name((enum job_event)e),
                          got, want[s][e]);
        }
    }
}

TEST(numbers_on_disk_never_change)
{
    static const char *const names[] = { "queued",    "running", "succeeded", "failed",
                                         "cancelled", "timeout", "oom",       "lost" };
    CHECK_INT(JOB_STATUS_COUNT, ARRAY_LEN(names));
    for (int i = 0; i < JOB_STATUS_COUNT; i++) {
        CHECK_STR(job_status_name((enum job_status)i), names[i]);
        CHECK_INT(job_status_from_name(names[i]), i);
    }
}

TEST(what_is_not_in_the_table)
{
    CHECK_INT(job_status_next((enum job_status)99, JOB_EV_START), -1);
    CHECK_INT(job_status_next((enum job_status) - 1, JOB_EV_START), -1);
    CHECK_INT(job_status_next(JOB_QUEUED, (enum job_event)99), -1);
    CHECK_INT(job_status_next(JOB_QUEUED, (enum job_event) - 1), -1);
    CHECK_STR(job_status_name((enum job_status)99), "unknown");
    CHECK_STR(job_event_name((enum job_event)99), "unknown");
    CHECK_INT(job_status_from_name("Queued"), -1);
    CHECK_INT(job_status_from_name(""), -1);
    CHECK_INT(job_status_from_name(NULL), -1);
    CHECK(!job_status_terminal((enum job_status)99));
}

TEST(terminal_means_that_only_a_retry_leaves)
{
    for (int s = 0; s < JOB_STATUS_COUNT; s++) {
        bool others = false;
        for (int e = 0; e < JOB_EV_COUNT; e++)
            if (e != JOB_EV_RETRY && job_status_next((enum job_status)s, (enum job_event)e) >= 0)
                others = true;
        CHECK(job_status_terminal((enum job_status)s) == !others);
    }
}

TEST(every_event_has_a_name_of_its_own)
{
    for (int e = 0; e < JOB_EV_COUNT; e++)
        for (int f = 0; f < e; f++)
            CHECK(strcmp(job_event_name((enum job_event)e), job_event_name((enum job_event)f)) !=
                  0);
}
