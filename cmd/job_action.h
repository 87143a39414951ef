/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that do one thing to each of several jobs: cancel, hold, release, retry. */
#ifndef HIVE_CMD_JOB_ACTION_H
#define HIVE_CMD_JOB_ACTION_H

#include "base/opt.h"

#include <stdbool.h>

struct buf;
struct cmd;
struct job_view;

struct job_action {
    const char *word;       /* last part of the route: "cancel" */
    const struct buf *body; /* JSON, or NULL */
    bool quiet, json;
    /* What to say about a job to which it was done. */
    const char *(*done)(const struct job_view *job);
};

/* Checks the ids argv[first..], does it to each, prints what became of them. Returns the exit
 * code: of the first failure if there was one. */
int job_action_run(const struct cmd *cmd, const struct job_action *action, int argc, char **argv,
                   int first);

#define JOB_ACTION_OPTIONS(type)                                                                   \
    { 'q', "quiet", OPT_FLAG, NULL, "print nothing", .dest = offsetof(type, quiet) },              \
    {                                                                                              \
        0, "json", OPT_FLAG, NULL, "print the jobs as JSON", .dest = offsetof(type, json)          \
    }

/* For commands that are called as the route is and take nothing but these options: what their
 * `options`, `synopsis` and `run` are. */
extern const struct opt job_action_options[];
extern const char *const job_action_synopsis[];
int job_action_plain(const struct cmd *cmd, const char *(*done)(const struct job_view *job),
                     int argc, char **argv);

#endif
