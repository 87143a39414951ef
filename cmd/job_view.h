/* SPDX-License-Identifier: BSD-2-Clause */
/* A job object of the API as commands look at it. Strings borrow from the JSON document. */
#ifndef HIVE_CMD_JOB_VIEW_H
#define HIVE_CMD_JOB_VIEW_H

#include "sched/state.h"

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

struct buf;

/* Texts are "" when absent, numbers -1, times 0. */
struct job_view {
    const char *id, *name, *command, *status_text, *reason, *user, *node, *workdir;
    const char *stdout_path, *stderr_path, *array_id;
    int status; /* enum job_status, -1 for a word of a newer hive */
    int64_t exit_code, signal, threads, memory, gpus, priority, attempts, task, retries_left;
    int64_t timeout_ns;                            /* 0: none */
    int64_t submitted_ns, started_ns, finished_ns; /* wall */
    bool held;
    yyjson_val *json;  /* the object */
    yyjson_val *array; /* its "array" object, or NULL */
};

void job_view_read(struct job_view *v, yyjson_val *json);
/* Final: it will not change unless somebody retries it. */
bool job_view_final(const struct job_view *v);

/* Exit code a command that waited for the job ends with: the program's own, 124 time limit, 128+n
 * signal, 125 when there is none (cancelled before it ran, lost). */
int job_view_exit_code(const struct job_view *v);
/* How it ended, for people: "succeeded", "exit code 3", "ended by signal 9 (SIGKILL)", ... */
void job_view_ending(const struct job_view *v, struct buf *b);

/* A text field of an object, "" when absent; a number, `none` when absent. */
const char *view_str(yyjson_val *obj, const char *key);
int64_t view_int(yyjson_val *obj, const char *key, int64_t none);
double view_num(yyjson_val *obj, const char *key, double none);
/* RFC 3339 to wall time, 0 when absent. */
int64_t view_time(yyjson_val *obj, const char *key);
/* Local time, "2026-11-20 18:13:14", or "-" for 0. */
void view_append_time(struct buf *b, int64_t wall_ns);

#endif
