/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/job_view.h"
#include "sched/state.h"

#include <stddef.h>

struct args {
    const char *list;
};

static const struct opt options[] = {
    /* What the scripts call: the words that can stand somewhere now, one a line. */
    { 0, "list", OPT_STR, "KIND", "job, node, status, setting, command or topic",
      .dest = offsetof(struct args, list), .hidden = true },
    OPT_END,
};

/* Names out of an answer of the daemon; without a daemon there are none, and nothing is said. */
static void list_from_api(const char *path, const char *array, const char *field, struct buf *b)
{
    struct client c;
    yyjson_doc *doc = client_open(&c, NULL) == 0 ? client_get(&c, path, NULL) : NULL;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(yyjson_doc_get_root(doc), array));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;) {
        str_append_safe(b, view_str(v, field), SIZE_MAX);
        buf_append_char(b, '\n');
    }
    yyjson_doc_free(doc);
    client_close(&c);
}

static bool list(const char *kind, struct buf *b)
{
    if (str_eq(kind, "job"))
        list_from_api("/api/v1/jobs?limit=200", "jobs", "id", b);
    else if (str_eq(kind, "node"))
        list_from_api("/api/v1/nodes", "nodes", "name", b);
    else if (str_eq(kind, "status"))
        for (int i = 0; i < JOB_STATUS_COUNT; i++)
            buf_printf(b, "%s\n", job_status_name((enum job_status)i));
    else if (str_eq(kind, "setting"))
        for (int i = 0; i < CONF_KEY_COUNT; i++)
            buf_printf(b, "%s\n", conf_setting((enum conf_key)i)->key);
    else if (str_eq(kind, "command") || str_eq(kind, "topic"))
        for (size_t i = 0; cmd_table[i]; i++)
            buf_printf(b, "%s%s", cmd_table[i]->hidden ? "" : cmd_table[i]->name,
                       cmd_table[i]->hidden ? "" : "\n");
    else
        return false;
    for (size_t i = 0; str_eq(kind, "topic") && cmd_topics[i]; i++)
        if (!cmd_find(cmd_topics[i]))
            buf_printf(b, "%s\n", cmd_topics[i]);
    return true;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .list = NULL };
    struct buf b = BUF_INIT;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    code = CMD_OK;
    if (a.list) {
        if (!list(a.list, &b))
            code = cmd_usage(cmd, "there is no list '%s'", a.list);
    } else if (argc - first != 1) {
        code = cmd_usage(cmd, "which shell: bash, zsh or fish?");
    } else if (!cmd_completion_script(argv[first], &b)) {
        code = cmd_usage(cmd, "there is none for '%s', only for bash, zsh and fish", argv[first]);
    }
    cmd_out(&b);
    buf_fini(&b);
    return code;
}

static const char *const synopsis[] = { "bash|zsh|fish", NULL };

static const struct cmd_example examples[] = {
    { "source <(hive completion bash)", "in ~/.bashrc" },
    { "hive completion zsh >~/.zfunc/_hive", "a folder named in zsh's fpath" },
    { "hive completion fish >~/.config/fish/completions/hive.fish", "for fish" },
    { NULL, NULL },
};

const struct cmd cmd_completion = {
    .name = "completion",
    .group = CMD_GROUP_SETUP,
    .summary = "print completions for a shell",
    .synopsis = synopsis,
    .description = "Prints a script that lets the shell complete commands, options, ids of jobs, "
                   "names of machines, "
                   "states and settings with the Tab key. `make install` puts the scripts where "
                   "the shells look for "
                   "them.",
    .options = options,
    .examples = examples,
    .operands = "=bash zsh fish",
    .run = run,
};
