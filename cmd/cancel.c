/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/job_action.h"

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/job_view.h"

#include <stddef.h>

struct args {
    bool quiet, json;
    int64_t grace_ns;
};

static const struct opt options[] = {
    { 0, "grace", OPT_DURATION, "TIME",
      "time for the job to end by itself after SIGTERM, before SIGKILL (default: jobs.kill-grace)",
      .dest = offsetof(struct args, grace_ns) },
    JOB_ACTION_OPTIONS(struct args),
    OPT_END,
};

static const char *done(const struct job_view *job)
{
    return job_view_final(job) ? "cancelled" : "is being ended";
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .grace_ns = -1 };
    struct buf body = BUF_INIT, grace = BUF_INIT;
    struct jsonw w;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (a.grace_ns >= 0) {
        str_exact_duration(&grace, a.grace_ns);
        jsonw_init(&w, &body);
        jsonw_obj_open(&w, NULL);
        jsonw_str(&w, "grace", buf_data(&grace));
        jsonw_obj_close(&w);
    }
    struct job_action action = {
        .word = "cancel",
        .body = a.grace_ns >= 0 ? &body : NULL,
        .quiet = a.quiet,
        .json = a.json,
        .done = done,
    };
    code = job_action_run(cmd, &action, argc, argv, first);
    buf_fini(&body);
    buf_fini(&grace);
    return code;
}

static const struct cmd_example examples[] = {
    { "hive cancel 12", "end job 12 and every process it has started" },
    { "hive cancel --grace 30s 12 13_4", "with half a minute to clean up" },
    { NULL, NULL },
};

const struct cmd cmd_cancel = {
    .name = "cancel",
    .group = CMD_GROUP_JOBS,
    .summary = "end jobs, queued or running",
    .synopsis = job_action_synopsis,
    .description = "A queued job is taken out of the queue. A running one is ended with all "
                   "processes it has started, "
                   "those that went into the background included. Cancelling an array cancels all "
                   "of its tasks that "
                   "have not ended.",
    .options = options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
