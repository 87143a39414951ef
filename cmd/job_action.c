/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/job_action.h"

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/job_view.h"

#include <stddef.h>

struct args {
    bool quiet, json;
};

const struct opt job_action_options[] = {
    JOB_ACTION_OPTIONS(struct args),
    OPT_END,
};

const char *const job_action_synopsis[] = { "[OPTIONS] JOB…", NULL };

static void report(const struct job_action *action, const char *id, yyjson_val *job,
                   struct jsonw *json)
{
    struct job_view v;
    struct buf b = BUF_INIT;
    job_view_read(&v, job);
    if (action->json) {
        char *text = yyjson_val_write(job, YYJSON_WRITE_NOFLAG, NULL);
        jsonw_raw(json, NULL, text ? text : "null");
        free(text);
    } else if (!action->quiet) {
        buf_printf(&b, "job %s: %s\n", id, action->done(&v));
        cmd_out(&b);
    }
    buf_fini(&b);
}

static int act(struct client *c, const struct job_action *action, const char *id,
               struct jsonw *json)
{
    struct err err = ERR_INIT;
    struct buf path = BUF_INIT;
    client_job_path(&path, id, action->word);
    struct client_request r = { .method = "POST", .path = buf_data(&path), .body = action->body };
    yyjson_doc *doc = client_call_json(c, &r, &err);
    buf_fini(&path);
    if (!doc)
        return cmd_fail(&err);
    report(action, id, yyjson_obj_get(yyjson_doc_get_root(doc), "job"), json);
    yyjson_doc_free(doc);
    return CMD_OK;
}

static int act_all(const struct job_action *action, int count, char **ids)
{
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;
    struct jsonw json;
    struct client c;
    int code = CMD_OK;

    if (client_open(&c, &err) != 0) {
        client_close(&c);
        return cmd_fail(&err);
    }
    jsonw_init(&json, &out);
    jsonw_obj_open(&json, NULL);
    jsonw_int(&json, "api", 1);
    jsonw_arr_open(&json, "jobs");
    for (int i = 0; i < count; i++) {
        int one = act(&c, action, ids[i], &json);
        code = code ? code : one;
        if (c.lost)
            break;
    }
    jsonw_arr_close(&json);
    jsonw_obj_close(&json);
    buf_append_char(&out, '\n');
    if (action->json)
        cmd_out(&out);
    buf_fini(&out);
    client_close(&c);
    return code;
}

int job_action_run(const struct cmd *cmd, const struct job_action *action, int argc, char **argv,
                   int first)
{
    struct err err = ERR_INIT;
    if (first == argc)
        return cmd_usage(cmd, "which job?");
    for (int i = first; i < argc; i++)
        if (client_check_id(argv[i], &err) != 0)
            return cmd_fail(&err);
    return act_all(action, argc - first, argv + first);
}

int job_action_plain(const struct cmd *cmd, const char *(*done)(const struct job_view *job),
                     int argc, char **argv)
{
    struct args a = { .quiet = false };
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    struct job_action action = {
        .word = cmd->name,
        .quiet = a.quiet,
        .json = a.json,
        .done = done,
    };
    return job_action_run(cmd, &action, argc, argv, first);
}
