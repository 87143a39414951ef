/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The work that the kill tests submit: jobs of many kinds, what each must come to, and the log that proves how often
 * each ran. A job is this same program ("kill9 job …"): it appends a line to DIR/log when it starts and one right
 * before it ends as it should.
 */
#ifndef HIVE_TESTS_FAULTS_WORK_H
#define HIVE_TESTS_FAULTS_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
    KIND_EXIT,   /* ends with `code` after `ms` */
    KIND_SIGNAL, /* ends by signal `code` */
    KIND_RETRY, /* fails `fails` times with `code`, then succeeds; `retry` tries more are allowed */
    KIND_ARRAY, /* `tasks` tasks; task i ends with code i % 3 */
    KIND_CANCEL, /* as EXIT, and is cancelled somewhen: either may win */
    KIND_SLEEP,  /* would sleep for an hour, and is cancelled */
    KIND_LEAVE, /* as EXIT, and leaves a process in a session of its own behind, which must not live on */
    KIND_COUNT
};

struct job {
    enum kind kind;
    int code, ms, tasks, limit, retry, fails;
    int64_t id; /* 0: not acknowledged */
    bool cancel_wanted, cancel_sent;
    bool lost_allowed; /* a starter may have been killed under it */
    struct seen *seen; /* of each task (one where it is no array), filled by work_read_log */
};

/* What the log says of one job or task. */
struct seen {
    int starts, ends;
    int last_attempt;
    bool doubled; /* the same attempt began twice */
};

/* One submit: jobs [first, first+count). */
struct request {
    size_t first, count;
    bool acked;
};

struct work {
    const char *dir;  /* of this test */
    const char *self; /* this program */
    uint64_t seed;
    struct job *jobs;
    size_t job_count, job_cap;
    struct request *requests;
    size_t request_count, request_cap;
    int64_t lines; /* that the log has when all is done, cancelled jobs not counted */
    bool lost_allowed;
    int wrong; /* what work_check found */
};

/* The same numbers for the same seed. 0 .. below-1. */
uint32_t work_random(struct work *w, uint32_t below);
/* Makes up a new request; its index. */
size_t work_new_request(struct work *w);
/* Its path, idempotency key and body; malloc'd body, always the same for the same request. */
char *work_request_body(const struct work *w, size_t request);
const char *work_request_target(const struct work *w, size_t request);
void work_request_key(const struct work *w, size_t request, char key[32]);
/* Reads the acknowledgement; false when it makes no sense. */
bool work_acked(struct work *w, size_t request, const char *body);
/* Lines of the log now. */
int64_t work_lines(const struct work *w);
/* Compares every job with what the daemon at `socket_path` says and with the log. Prints what is wrong. */
void work_check(struct work *w, const char *socket_path);
/* Totals of what was seen, as lines of TAP comments. */
void work_summary(const struct work *w);
/* The program of the jobs. */
int work_job_main(int argc, char **argv);

#endif
