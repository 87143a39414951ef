/* SPDX-License-Identifier: BSD-2-Clause */
/* `hive doctor`: what is in the way, here and on the hosts, and what to do about it. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/hosts_file.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/doctor.h"
#include "cmd/hosts_probe.h"
#include "cmd/job_view.h"
#include "cmd/table.h"
#include "net/ssh_deploy.h"

#include <stdarg.h>
#include <stddef.h>

#define TIMEOUT_NS (15 * NS_PER_S)
#define HERE "this machine"

struct args {
    int64_t timeout_ns;
    bool json, deep;
};

static const struct opt options[] = {
    { 0, "deep", OPT_FLAG, NULL, "read the whole queue too, from a copy; while no daemon runs",
      .dest = offsetof(struct args, deep) },
    { 0, "timeout", OPT_DURATION, "TIME", "give up on a host after this time (default 15s)",
      .dest = offsetof(struct args, timeout_ns) },
    { 0, "json", OPT_FLAG, NULL, "print JSON", .dest = offsetof(struct args, json) },
    OPT_END,
};

/* --- findings ----------------------------------------------------------------------------------- */

void doctor_add(struct doctor_report *r, const char *check, enum doctor_status status,
                const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    r->checks = mem_resize(r->checks, r->count + 1, sizeof *r->checks);
    r->checks[r->count++] =
        (struct doctor_check){ .check = check, .status = status, .message = buf_take(&text, NULL) };
}

void doctor_fix(struct doctor_report *r, const char *fmt, ...)
{
    struct doctor_check *c = &r->checks[r->count - 1];
    struct buf text = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    free(c->fix);
    c->fix = buf_take(&text, NULL);
}

void doctor_add_err(struct doctor_report *r, const char *check, enum doctor_status status,
                    const struct err *err)
{
    doctor_add(r, check, status, "%s", err->msg);
    if (err->hint[0])
        doctor_fix(r, "%s", err->hint);
}

void doctor_report_fini(struct doctor_report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->checks[i].message);
        free(r->checks[i].fix);
    }
    free(r->checks);
    free(r->where);
}

/* --- printing ----------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    enum table_color color;
} looks[] = {
    [DOCTOR_OK] = { "ok", TABLE_GREEN },
    [DOCTOR_NOTE] = { "note", TABLE_YELLOW },
    [DOCTOR_PROBLEM] = { "problem", TABLE_RED },
};

static size_t count_of(const struct doctor_report *r, size_t n, enum doctor_status status)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < r[i].count; k++)
            found += r[i].checks[k].status == status;
    return found;
}

static void print_json(const struct doctor_report *r, size_t n)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_arr_open(&w, "checks");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < r[i].count; k++) {
            const struct doctor_check *c = &r[i].checks[k];

            jsonw_obj_open(&w, NULL);
            jsonw_str(&w, "where", r[i].where);
            jsonw_str(&w, "check", c->check);
            jsonw_str(&w, "status", looks[c->status].word);
            jsonw_str(&w, "message", c->message);
            jsonw_str(&w, "fix", c->fix);
            jsonw_obj_close(&w);
        }
    }
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    buf_append_char(&b, '\n');
    cmd_out(&b);
    buf_fini(&b);
}

static void put_check(const struct doctor_check *c, struct buf *b, bool color)
{
    char *word = mem_printf("%-8s", looks[c->status].word);

    buf_append_str(b, "  ");
    table_append_colored(b, word, looks[c->status].color, color);
    buf_printf(b, "%-10s ", c->check);
    str_append_safe(b, c->message, SIZE_MAX);
    buf_append_char(b, '\n');
    if (c->fix) {
        buf_printf(b, "%21s", "");
        table_append_colored(b, "fix: ", TABLE_BOLD, color);
        str_append_safe(b, c->fix, SIZE_MAX);
        buf_append_char(b, '\n');
    }
    free(word);
}

static void print_text(const struct doctor_report *r, size_t n)
{
    size_t problems = count_of(r, n, DOCTOR_PROBLEM), notes = count_of(r, n, DOCTOR_NOTE);
    bool color = cmd_color();
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < n; i++) {
        char *where = str_safe(r[i].where);

        table_append_colored(&b, where, TABLE_BOLD, color);
        buf_append_char(&b, '\n');
        for (size_t k = 0; k < r[i].count; k++)
            put_check(&r[i].checks[k], &b, color);
        buf_append_char(&b, '\n');
        free(where);
    }
    if (problems == 0)
        buf_append_str(&b, "no problems");
    else
        buf_printf(&b, "%zu %s", problems, problems == 1 ? "problem" : "problems");
    if (notes > 0)
        buf_printf(&b, ", %zu %s", notes, notes == 1 ? "note" : "notes");
    buf_append_char(&b, '\n');
    cmd_out(&b);
    buf_fini(&b);
}

/* --- what is looked at -------------------------------------------------------------------------- */

/* All that is found out before the checks look at it. */
struct doctor {
    const struct args *args;
    yyjson_doc *version, *nodes; /* the daemon's answers; NULL: none */
    struct err daemon_err;
    struct ssh_deploy_program *program;
    struct err program_err;
    struct doctor_host *hosts;
    char **words; /* of them */
    size_t count;
    struct hosts_run probes;
    struct doctor_visit *visits; /* [0]: this machine; [n]: what could be reached */
    size_t visit_count;
    struct doctor_report *reports; /* [0]: this machine; [1 + n]: hosts[n] */
};

static void ask_daemon(struct doctor *d)
{
    struct client c;

    if (client_open(&c, &d->daemon_err) == 0) {
        d->version = client_get(&c, "/api/v1/version", &d->daemon_err);
        d->nodes = d->version ? client_get(&c, "/api/v1/nodes", &d->daemon_err) : NULL;
    }
    client_close(&c);
}

static yyjson_val *nodes_of(const struct doctor *d)
{
    return yyjson_obj_get(yyjson_doc_get_root(d->nodes), "nodes");
}

/* As hive knows hosts: "ssh://ann@big:22/" is "ann@big:22". malloc'd. */
static char *plain_word(const char *word)
{
    struct hosts_entry e;
    struct buf b = BUF_INIT;
    size_t skip = str_starts(word, "ssh://") ? 6 : 0;
    size_t len = strlen(word + skip);
    char *text = mem_strndup(word + skip, len - (skip && len && word[skip + len - 1] == '/'));

    if (hosts_entry_parse(text, &e, NULL) != 0)
        return text;
    hosts_entry_format(&e, &b);
    hosts_entry_fini(&e);
    free(text);
    return buf_take(&b, NULL);
}

/* The node that `word` is, by its name or its host; NULL: none. */
static yyjson_val *find_node(const struct doctor *d, const char *word)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes_of(d));
    yyjson_val *by_host = NULL;

    for (yyjson_val *n; (n = yyjson_arr_iter_next(&it)) != NULL;) {
        if (!str_eq(view_str(n, "kind"), "ssh"))
            continue;
        if (str_eq(view_str(n, "name"), word))
            return n;
        if (str_eq(view_str(n, "address"), word))
            by_host = n;
    }
    return by_host;
}

static void add_host(struct doctor *d, const char *word)
{
    yyjson_val *node = find_node(d, word);
    struct doctor_host h = { .program = d->program };

    d->words[d->count] = node ? mem_strdup(view_str(node, "address")) : plain_word(word);
    h.word = d->words[d->count];
    if (node) {
        h.node = view_str(node, "name");
        h.node_status = view_str(node, "status");
        h.node_error = view_str(node, "error");
        h.node_hint = view_str(node, "hint");
    }
    d->hosts[d->count++] = h;
}

static void find_hosts(struct doctor *d, char **words, size_t count)
{
    size_t most = count ? count : yyjson_arr_size(nodes_of(d));
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes_of(d));

    d->hosts = mem_alloc_array(most, sizeof *d->hosts);
    d->words = mem_alloc_array(most, sizeof *d->words);
    for (size_t i = 0; i < count; i++)
        add_host(d, words[i]);
    for (yyjson_val *n; count == 0 && (n = yyjson_arr_iter_next(&it)) != NULL;)
        if (str_eq(view_str(n, "kind"), "ssh"))
            add_host(d, view_str(n, "name"));
}

/* --- looking ------------------------------------------------------------------------------------ */

static bool can_be_visited(const struct hosts_probe *p)
{
    return p->step == HOSTS_OK || p->needs_system;
}

static int look(struct doctor *d, struct err *err)
{
    int64_t timeout = d->args->timeout_ns;

    d->probes = (struct hosts_run){ .timeout_ns = timeout, .parallel = HOSTS_PARALLEL };
    hosts_run_init(&d->probes, d->words, d->count);
    if (d->count > 0 && hosts_run_all(&d->probes, err) != 0)
        return -1;
    d->visits = mem_alloc_array(d->count + 1, sizeof *d->visits);
    d->visit_count = 1;
    for (size_t i = 0; i < d->count; i++) {
        d->hosts[i].probe = &d->probes.probes[i];
        if (!can_be_visited(d->hosts[i].probe))
            continue;
        struct doctor_visit *v = &d->visits[d->visit_count++];
        v->word = d->words[i];
        v->sha256 = d->program ? ssh_deploy_program_sha256(d->program) : NULL;
        d->hosts[i].visit = v;
    }
    return doctor_visit_all(d->visits, d->visit_count, timeout, err);
}

static void judge(struct doctor *d)
{
    yyjson_val *own = yyjson_arr_get_first(nodes_of(d));
    struct doctor_here here = {
        .visit = &d->visits[0],
        .program = d->program,
        .program_err = &d->program_err,
        .deep = d->args->deep,
        .daemon_err = &d->daemon_err,
        .daemon_version = view_str(yyjson_doc_get_root(d->version), "version"),
        .daemon_address = view_str(own, "address"),
        .daemon_note = view_str(own, "note"),
    };

    d->reports = mem_alloc_array(d->count + 1, sizeof *d->reports);
    d->reports[0].where = mem_strdup(HERE);
    doctor_check_here(&here, &d->reports[0]);
    for (size_t i = 0; i < d->count; i++) {
        const struct doctor_host *h = &d->hosts[i];

        d->reports[i + 1].where = mem_strdup(h->node ? h->node : h->word);
        doctor_check_host(h, &d->reports[i + 1]);
    }
}

static void doctor_fini(struct doctor *d)
{
    for (size_t i = 0; d->reports && i <= d->count; i++)
        doctor_report_fini(&d->reports[i]);
    for (size_t i = 0; i < d->visit_count; i++)
        doctor_visit_fini(&d->visits[i]);
    hosts_run_fini(&d->probes);
    for (size_t i = 0; i < d->count; i++)
        free(d->words[i]);
    free(d->reports);
    free(d->visits);
    free(d->hosts);
    free(d->words);
    ssh_deploy_program_close(d->program);
    yyjson_doc_free(d->version);
    yyjson_doc_free(d->nodes);
}

static int examine(struct doctor *d, char **words, size_t count)
{
    struct err err = ERR_INIT;

    ask_daemon(d);
    d->program = ssh_deploy_program_open("/proc/self/exe", NULL, false, &d->program_err);
    find_hosts(d, words, count);
    if (look(d, &err) != 0)
        return cmd_fail(&err);
    judge(d);
    if (d->args->json)
        print_json(d->reports, d->count + 1);
    else
        print_text(d->reports, d->count + 1);
    return count_of(d->reports, d->count + 1, DOCTOR_PROBLEM) == 0 ? CMD_OK : CMD_FAILED;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .timeout_ns = TIMEOUT_NS };
    struct doctor d = { .args = &a };
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (a.timeout_ns < NS_PER_MS)
        return cmd_usage(cmd, "--timeout has to be longer");
    code = examine(&d, argv + first, (size_t)(argc - first));
    doctor_fini(&d);
    return code;
}

static const char *const synopsis[] = { "[--deep] [--timeout TIME] [--json] [HOST…]", NULL };

static const struct cmd_example examples[] = {
    { "hive doctor", "this machine, and all hosts that are nodes" },
    { "hive doctor ann@big.local", "this machine, and a host that need not be a node" },
    { "hive doctor --json | jq -r '.checks[] | select(.status==\"problem\").fix'",
      "what to do, alone" },
    { NULL, NULL },
};

const struct cmd cmd_doctor = {
    .name = "doctor",
    .group = CMD_GROUP_MACHINES,
    .summary = "find what is in the way, here and on hosts, and say the fix",
    .synopsis = synopsis,
    .description =
        "Looks at this machine and at the hosts named, or else at all that are nodes of the "
        "daemon: one line for each check, which is ok, a note (something is missing that may not "
        "be needed) or a problem, with the command that mends it.\n\n"
        "Of a host: whether its name is found, it can be reached, its key is known, you may log in "
        "and run commands; then its clock against ours, room and rights of the home folder, "
        "memory, whether jobs outlive a connection, hive's own file there, waypipe and GPUs. Of "
        "this machine: hive, the daemon, the state folder, and what hive uses.\n\n"
        "Nothing is changed or copied; a link process is started for each host that can be "
        "reached. Commands that it proposes are for you to judge. With --deep the queue is read "
        "from beginning to end, from a copy in TMPDIR (/var/tmp). The exit code is 0 without "
        "problems, else 1.",
    .options = options,
    .examples = examples,
    .operands = "node",
    .run = run,
};
