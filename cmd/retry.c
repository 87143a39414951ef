/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/job_action.h"

#include "cmd/job_view.h"

static const char *done(const struct job_view *job)
{
    return job->status == JOB_QUEUED ? "queued again" : job->status_text;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    return job_action_plain(cmd, done, argc, argv);
}

static const struct cmd_example examples[] = {
    { "hive retry 12", "run job 12 once more" },
    { NULL, NULL },
};

const struct cmd cmd_retry = {
    .name = "retry",
    .group = CMD_GROUP_JOBS,
    .summary = "run finished jobs again",
    .synopsis = job_action_synopsis,
    .description = "Puts jobs that have ended, however they ended, back into the queue: a new "
                   "attempt of the same job, "
                   "with the same id, command and folder. Output of earlier attempts stays "
                   "readable: hive logs "
                   "--attempt N JOB.",
    .options = job_action_options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
