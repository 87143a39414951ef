/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonx.h"
#include "cmd/client.h"
#include "cmd/job_view.h"
#include "cmd/job_wait.h"

#include <stddef.h>

struct args {
    int64_t timeout_ns;
    bool quiet, json;
};

static const struct opt options[] = {
    { 0, "timeout", OPT_DURATION, "TIME", "stop waiting after this time, with exit code 124",
      .dest = offsetof(struct args, timeout_ns) },
    { 'q', "quiet", OPT_FLAG, NULL, "say nothing about jobs that did not succeed",
      .dest = offsetof(struct args, quiet) },
    { 0, "json", OPT_FLAG, NULL, "print the jobs as JSON when they have ended",
      .dest = offsetof(struct args, json) },
    OPT_END,
};

struct waiting {
    const struct args *args;
    int64_t deadline_ns;
    struct jsonw *json; /* or NULL */
    int code;           /* of the last job waited for */
    bool failed;        /* one did not succeed */
};

static void report(const struct job_view *v)
{
    struct buf b = BUF_INIT;
    job_view_ending(v, &b);
    cmd_msg("job %s %s", v->id, buf_data(&b));
    buf_fini(&b);
}

static int wait_for(struct client *c, const char *id, struct waiting *w, struct err *err)
{
    struct job_view v;
    yyjson_doc *doc = job_wait(c, id, w->deadline_ns, err);
    if (!doc)
        return -1;
    job_view_read(&v, yyjson_doc_get_root(doc));
    w->code = job_view_exit_code(&v);
    w->failed = w->failed || w->code != CMD_OK;
    if (w->code != CMD_OK && !w->args->quiet)
        report(&v);
    if (w->json) {
        char *text = yyjson_val_write(v.json, YYJSON_WRITE_NOFLAG, NULL);
        jsonw_raw(w->json, NULL, text ? text : "null");
        free(text);
    }
    yyjson_doc_free(doc);
    return 0;
}

static int wait_all(struct client *c, int count, char **ids, struct waiting *w)
{
    struct err err = ERR_INIT;
    for (int i = 0; i < count; i++) {
        job_wait_detach_on_interrupt(ids[i]);
        if (wait_for(c, ids[i], w, &err) == 0)
            continue;
        int code = cmd_fail(&err);
        if (err.kind == ERR_TIMEOUT)
            return CMD_TIMEOUT;
        /* The daemon was there when waiting began: this is no answer about the program. */
        return err.kind == ERR_UNAVAILABLE ? CMD_HIVE_ERROR : code;
    }
    if (count == 1)
        return w->code;
    return w->failed ? CMD_FAILED : CMD_OK;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .timeout_ns = -1 };
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;
    struct jsonw json;
    struct client c;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first == argc)
        return cmd_usage(cmd, "which job?");
    for (int i = first; i < argc; i++)
        if (client_check_id(argv[i], &err) != 0)
            return cmd_fail(&err);
    struct waiting w = { .args = &a, .json = a.json ? &json : NULL };
    if (a.timeout_ns >= 0)
        w.deadline_ns = clock_mono_ns(&clock_system) + a.timeout_ns;
    jsonw_init(&json, &out);
    jsonw_obj_open(&json, NULL);
    jsonw_int(&json, "api", 1);
    jsonw_arr_open(&json, "jobs");
    bool open = client_open(&c, &err) == 0;
    code = open ? wait_all(&c, argc - first, argv + first, &w) : cmd_fail(&err);
    client_close(&c);
    jsonw_arr_close(&json);
    jsonw_obj_close(&json);
    buf_append_char(&out, '\n');
    if (a.json && open)
        cmd_out(&out);
    buf_fini(&out);
    return code;
}

static const char *const synopsis[] = { "[OPTIONS] JOB…", NULL };

static const struct cmd_example examples[] = {
    { "hive wait 12; echo $?", "the exit code of job 12, as if it had run here" },
    { "hive wait --timeout 10m 12 13", "both, for ten minutes at most" },
    { NULL, NULL },
};

const struct cmd cmd_wait = {
    .name = "wait",
    .group = CMD_GROUP_JOBS,
    .summary = "wait until jobs have ended",
    .synopsis = synopsis,
    .description = "Waiting for one job ends with the exit code of its program: its own, 124 when "
                   "it was over its "
                   "time limit, 126 or 127 when it could not be run, 128 plus the number of the "
                   "signal that ended "
                   "it, 125 when there is none because it was cancelled before it ran, is lost, or "
                   "the daemon is "
                   "gone for longer than a minute.\n\n"
                   "Waiting for several ends with 0 when all succeeded, else with 1. An array has "
                   "ended when all of "
                   "its tasks have. Ctrl-C ends the waiting, not the job.",
    .options = options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
