/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/job_action.h"

#include "cmd/job_view.h"

#include <stddef.h>

static const struct opt options[] = {
    JOB_ACTION_OPTIONS(struct job_action_args),
    OPT_END,
};

static const char *done(const struct job_view *job)
{
    (void)job;
    return "held";
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct job_action_args a = { .quiet = false };
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    struct job_action action = {
        .word = "hold",
        .quiet = a.quiet,
        .json = a.json,
        .done = done,
    };
    return job_action_run(cmd, &action, argc, argv, first);
}

static const char *const synopsis[] = { "[OPTIONS] JOB…", NULL };

static const struct cmd_example examples[] = {
    { "hive hold 12 13", "two jobs" },
    { NULL, NULL },
};

const struct cmd cmd_hold = {
    .name = "hold",
    .group = CMD_GROUP_JOBS,
    .summary = "keep queued jobs from starting",
    .synopsis = synopsis,
    .description = "A held job stays in the queue, keeps its place, and does not start until it is "
                   "released. A job "
                   "that runs already can not be held.",
    .options = options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
