/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/job_view.h"
#include "cmd/status.h"

#include <stddef.h>

struct args {
    bool json;
};

static const struct opt options[] = {
    { 0, "json", OPT_FLAG, NULL, "print the answer as JSON", .dest = offsetof(struct args, json) },
    OPT_END,
};

static void print_text(yyjson_val *root)
{
    struct buf b = BUF_INIT;
    struct job_view v;
    const char *reason = view_str(root, "reason");
    job_view_read(&v, yyjson_obj_get(root, "job"));
    buf_printf(&b, "job %s: ", v.id);
    if (!str_starts(reason, v.status_text)) { /* of an ended job it begins with the status */
        str_append_safe(&b, v.status_text, SIZE_MAX);
        buf_append_str(&b, reason[0] ? ": " : "");
    }
    str_append_safe(&b, reason, SIZE_MAX);
    buf_append_char(&b, '\n');
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(root, "lines"));
    for (yyjson_val *line; (line = yyjson_arr_iter_next(&it)) != NULL;) {
        buf_append_str(&b, "  ");
        str_append_safe(&b, yyjson_is_str(line) ? yyjson_get_str(line) : "", SIZE_MAX);
        buf_append_char(&b, '\n');
    }
    struct status_style style = {
        .width = cmd_width_limited() ? cmd_width() : 0,
        .color = cmd_color(),
        .now_ns = clock_wall_ns(&clock_system),
    };
    status_view_attempts(&b, yyjson_obj_get(root, "attempts"), &style);
    cmd_out(&b);
    buf_fini(&b);
}

static int explain(const char *id, bool json)
{
    struct err err = ERR_INIT;
    struct client c;
    struct buf path = BUF_INIT, answer = BUF_INIT;
    yyjson_doc *doc = NULL;
    int code = CMD_OK;

    client_job_path(&path, id, "explain");
    struct client_request r = { .method = "GET", .path = buf_data(&path) };
    if (client_open(&c, &err) != 0 || client_call(&c, &r, &answer, &err) != 0) {
        code = cmd_fail(&err);
    } else if (json) {
        cmd_out(&answer);
        if (buf_len(&answer) == 0 || buf_data(&answer)[buf_len(&answer) - 1] != '\n')
            cmd_out_bytes("\n", 1);
    } else {
        doc = yyjson_read(buf_data(&answer), buf_len(&answer), 0);
        print_text(yyjson_doc_get_root(doc));
    }
    yyjson_doc_free(doc);
    client_close(&c);
    buf_fini(&path);
    buf_fini(&answer);
    return code;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .json = false };
    struct err err = ERR_INIT;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (argc - first != 1)
        return cmd_usage(cmd, "one job is needed");
    if (client_check_id(argv[first], &err) != 0)
        return cmd_fail(&err);
    return explain(argv[first], a.json);
}

static const char *const synopsis[] = { "[--json] JOB", NULL };

static const struct cmd_example examples[] = {
    { "hive explain 12", "why job 12 does not start, or what became of it" },
    { "hive explain 12_5", "the same of task 5 of the array 12" },
    { NULL, NULL },
};

const struct cmd cmd_explain = {
    .name = "explain",
    .group = CMD_GROUP_JOBS,
    .summary = "say why a job waits, or how it ended",
    .synopsis = synopsis,
    .description = "For a queued job: what it waits for, and for each machine why it can't start "
                   "there now. For one "
                   "that has ended: how, attempt by attempt. A task of an array is named "
                   "ARRAY_TASK, such as 12_5; one that has not started waits for what its array "
                   "waits for.",
    .options = options,
    .examples = examples,
    .operands = "job",
    .run = run,
};
