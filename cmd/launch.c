/* SPDX-License-Identifier: BSD-2-Clause */
/* hive launch --dry-run: on which host an application would open, and why. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/job_view.h"
#include "cmd/later.h"
#include "cmd/table.h"
#include "sched/choose.h"

#include <inttypes.h>
#include <stddef.h>

struct args {
    bool dry_run, json;
    const char *host;
};

static const struct opt options[] = {
    { 0, "dry-run", OPT_FLAG, NULL, "only show on which host it would open, and why",
      .dest = offsetof(struct args, dry_run) },
    { 0, "host", OPT_STR, "HOST", "on this host, whatever else it does",
      .dest = offsetof(struct args, host), .complete = "node" },
    { 0, "json", OPT_FLAG, NULL, "print JSON", .dest = offsetof(struct args, json) },
    OPT_END,
};

/* ---- asking ---- */

/* One word is a command line, as Beowulf took it; several are a program and its arguments. */
static void put_body(struct buf *b, const struct args *a, char **words, int count)
{
    struct jsonw w;

    jsonw_init(&w, b);
    jsonw_obj_open(&w, NULL);
    if (count == 1) {
        jsonw_str(&w, "command", words[0]);
    } else {
        jsonw_arr_open(&w, "argv");
        for (int i = 0; i < count; i++)
            jsonw_str(&w, NULL, words[i]);
        jsonw_arr_close(&w);
    }
    if (a->host)
        jsonw_str(&w, "host", a->host);
    jsonw_bool(&w, "dry_run", true);
    jsonw_obj_close(&w);
}

static int ask(const struct args *a, char **words, int count, struct buf *answer, struct err *err)
{
    struct buf body = BUF_INIT;
    struct client c;
    int rc = -1;

    put_body(&body, a, words, count);
    struct client_request r = { .method = "POST", .path = "/api/v1/allocations", .body = &body };
    if (client_open(&c, err) == 0)
        rc = client_call(&c, &r, answer, err);
    client_close(&c);
    buf_fini(&body);
    return rc;
}

/* ---- showing ---- */

/* What each term is called above its column; in the order of enum choose_term. */
static const char *const titles[CHOOSE_TERM_COUNT] = { "MEMORY", "CPU",  "IOWAIT", "LOAD", "USERS",
                                                       "AGE",    "LAST", "STICKY", "TIGHT" };

/* Whether it matters for any host; memory and CPU always do. */
static bool is_shown(yyjson_val *hosts, enum choose_term term)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(hosts);

    if (term == CHOOSE_MEMORY || term == CHOOSE_CPU)
        return true;
    for (yyjson_val *h; (h = yyjson_arr_iter_next(&it)) != NULL;)
        if (view_int(yyjson_obj_get(h, "terms"), choose_term_name(term), 0) != 0)
            return true;
    return false;
}

static void add_number(struct table *t, bool known, int64_t n)
{
    struct buf cell = BUF_INIT;

    if (known)
        buf_printf(&cell, "%" PRId64, n);
    table_add_buf(t, &cell);
    buf_fini(&cell);
}

static void add_row(struct table *t, yyjson_val *host, const bool *shown, bool chosen)
{
    yyjson_val *terms = yyjson_obj_get(host, "terms");
    bool in = !*view_str(host, "out");

    table_add_colored(t, view_str(host, "name"), chosen ? TABLE_GREEN : TABLE_PLAIN);
    add_number(t, in, view_int(host, "score", 0));
    for (int i = 0; i < CHOOSE_TERM_COUNT; i++)
        if (shown[i])
            add_number(t, in, view_int(terms, choose_term_name((enum choose_term)i), 0));
    table_add(t, view_str(host, "reason"));
}

static void put_table(struct buf *b, yyjson_val *hosts)
{
    struct table_column columns[CHOOSE_TERM_COUNT + 3];
    bool shown[CHOOSE_TERM_COUNT], chosen = true;
    size_t count = 0;
    struct table t;

    columns[count++] = (struct table_column){ .title = "HOST", .min = 8 };
    columns[count++] = (struct table_column){ .title = "SCORE", .right = true, .drop = 3 };
    for (int i = 0; i < CHOOSE_TERM_COUNT; i++)
        if ((shown[i] = is_shown(hosts, (enum choose_term)i)))
            columns[count++] =
                (struct table_column){ .title = titles[i], .right = true, .drop = 1 };
    columns[count++] = (struct table_column){ .title = "WHY", .min = 16, .drop = 4 };
    table_init(&t, columns, count);
    yyjson_arr_iter it = yyjson_arr_iter_with(hosts);
    for (yyjson_val *h; (h = yyjson_arr_iter_next(&it)) != NULL; chosen = false)
        add_row(&t, h, shown, chosen);
    table_print(&t, b, 0, cmd_width_limited() ? cmd_width() : 0, cmd_color());
    table_fini(&t);
}

static void print_answer(yyjson_val *root)
{
    yyjson_val *choice = yyjson_obj_get(root, "allocation");
    struct buf b = BUF_INIT;

    str_append_safe(&b, view_str(choice, "app"), SIZE_MAX);
    buf_append_str(&b, " would open on ");
    str_append_safe(&b, view_str(choice, "node"), SIZE_MAX);
    buf_append_str(&b, ": ");
    str_append_safe(&b, view_str(choice, "reason"), SIZE_MAX);
    buf_append_str(&b, "\n\n");
    put_table(&b, yyjson_obj_get(root, "hosts"));
    cmd_out(&b);
    buf_fini(&b);
}

/* ---- the command ---- */

static int not_yet(void)
{
    struct err err = ERR_INIT;

    later_err(&err, "launch");
    err_hint(&err, "--dry-run shows where it would open");
    return cmd_fail(&err);
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { 0 };
    struct buf answer = BUF_INIT;
    struct err err = ERR_INIT;
    int first, code = CMD_OK;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first == argc)
        return cmd_usage(cmd, "which application?");
    if (!a.dry_run)
        return not_yet();
    if (ask(&a, argv + first, argc - first, &answer, &err) != 0) {
        code = cmd_fail(&err);
    } else if (a.json) {
        cmd_out(&answer);
    } else {
        yyjson_doc *doc = yyjson_read(buf_data(&answer), buf_len(&answer), 0);
        print_answer(yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
    }
    buf_fini(&answer);
    return code;
}

static const char *const synopsis[] = {
    "--dry-run [--host HOST] [--json] [--] COMMAND…",
    NULL,
};

static const struct cmd_example examples[] = {
    { "hive launch --dry-run gimp", "on which host would it open, and why not on the others?" },
    { "hive launch --dry-run --host big -- firefox https://example.org", "can it open on big?" },
    { NULL, NULL },
};

const struct cmd cmd_launch = {
    .name = "launch",
    .group = CMD_GROUP_JOBS,
    .summary = "show on which host an application would open",
    .synopsis = synopsis,
    .description =
        "This version opens nothing yet: --dry-run is needed, and shows how the nodes, this "
        "machine "
        "being one of them, rank for the application, the best first.\n\n"
        "SCORE is the sum of the columns behind it. MEMORY and CPU: room that is left, taking off "
        "what "
        "jobs reserved and what was just placed there. IOWAIT, LOAD, USERS: what is lost for "
        "waiting "
        "for disks, more processes than cores, and people who are logged in. AGE: measurements "
        "that "
        "are not of now. LAST: it ran there last. STICKY: it is set to open there (hive config "
        "launch.sticky \"firefox=big, gimp=alpha\"). TIGHT: it used more memory before than is "
        "left. "
        "Columns that are 0 everywhere are left out. A host that is out has no score, and its "
        "reason.\n\n"
        "The application's name is the program's, up to the first '-': firefox-esr is firefox.",
    .options = options,
    .examples = examples,
    .operands = "command",
    .opt_flags = OPT_STOP_AT_ARG,
    .run = run,
};
