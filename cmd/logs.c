/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/str.h"
#include "cmd/client.h"
#include "cmd/follow.h"

#include <stddef.h>
#include <unistd.h>

struct args {
    bool follow, from_stderr, raw;
    int64_t tail, attempt;
};

static const struct opt options[] = {
    { 'f', "follow", OPT_FLAG, NULL, "go on as output comes, until the job has ended",
      .dest = offsetof(struct args, follow) },
    { 'e', "stderr", OPT_FLAG, NULL, "the job's error output instead of its output",
      .dest = offsetof(struct args, from_stderr) },
    { 'n', "tail", OPT_INT, "N", "only the last N lines", .dest = offsetof(struct args, tail),
      .max = INT32_MAX },
    { 0, "attempt", OPT_INT, "N", "of the N-th attempt (default: the latest)",
      .dest = offsetof(struct args, attempt), .min = 1, .max = INT32_MAX },
    { 0, "raw", OPT_FLAG, NULL, "show control characters, such as colours, to a terminal unchanged",
      .dest = offsetof(struct args, raw) },
    OPT_END,
};

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .tail = -1, .attempt = -1 };
    struct err err = ERR_INIT;
    struct client c;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (argc - first != 1)
        return cmd_usage(cmd, "one job is needed");
    if (client_check_id(argv[first], &err) != 0)
        return cmd_fail(&err);
    struct follow f = {
        .id = argv[first],
        .from_stderr = a.from_stderr,
        .live = a.follow,
        .tail = a.tail,
        .attempt = a.attempt,
        .fd = STDOUT_FILENO,
        .raw = a.raw,
    };
    int rc = client_open(&c, &err);
    if (rc == 0)
        rc = follow_run(&c, &f, &err);
    client_close(&c);
    return rc == 0 ? CMD_OK : cmd_fail(&err);
}

static const char *const synopsis[] = { "[OPTIONS] JOB", NULL };

static const struct cmd_example examples[] = {
    { "hive logs 12", "what job 12 has written" },
    { "hive logs -f 12", "the same, and what it goes on to write" },
    { "hive logs --stderr --tail 20 12_5", "the end of the error output of task 5 of array 12" },
    { NULL, NULL },
};

const struct cmd cmd_logs = {
    .name = "logs",
    .group = CMD_GROUP_JOBS,
    .summary = "show the output of a job",
    .synopsis = synopsis,
    .description =
        "Writes a job's output byte for byte as the job wrote it. Only on a terminal are control "
        "characters shown as text, so that a job can't play tricks with the screen; --raw passes "
        "them "
        "on.\n\n"
        "With -f a queued job is waited for, retries are followed, and a restart of the daemon "
        "does "
        "not matter.",
    .options = options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
