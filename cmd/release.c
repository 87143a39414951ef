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
    return job->status == JOB_QUEUED ? "queued" : job->status_text;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct job_action_args a = { .quiet = false };
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    struct job_action action = {
        .word = "release",
        .quiet = a.quiet,
        .json = a.json,
        .done = done,
    };
    return job_action_run(cmd, &action, argc, argv, first);
}

static const char *const synopsis[] = { "[OPTIONS] JOB…", NULL };

static const struct cmd_example examples[] = {
    { "hive release 12", "job 12 starts when there is room for it" },
    { NULL, NULL },
};

const struct cmd cmd_release = {
    .name = "release",
    .group = CMD_GROUP_JOBS,
    .summary = "let held jobs start",
    .synopsis = synopsis,
    .description = "Takes back hive hold, or the --hold of hive submit.",
    .options = options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
