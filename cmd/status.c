/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/status.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/job_view.h"
#include "net/http_parser.h"

#include <inttypes.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Jobs of each kind in the overview, and of a list, when --limit says nothing. */
#define LIMIT_OVERVIEW 50
#define LIMIT_OVERVIEW_FINISHED 10
#define LIMIT_LIST 100

#define WATCH_PERIOD_NS (2 * NS_PER_S)
#define WATCH_PAUSE_NS (250 * NS_PER_MS) /* at most four screens a second */

#define FINISHED_WORDS "succeeded,failed,cancelled,timeout,oom,lost"

struct args {
    bool json, watch;
    const char *status, *user;
    int64_t limit; /* -1: not given; 0: all */
};

/* "queued,running": words of states. */
static int parse_status(void *base, const char *value, struct err *err)
{
    const char *names[JOB_STATUS_COUNT + 1] = { NULL };
    struct args *a = base;
    for (int i = 0; i < JOB_STATUS_COUNT; i++)
        names[i] = job_status_name((enum job_status)i);
    for (const char *p = value;;) {
        size_t len = strcspn(p, ",");
        char *word = mem_strndup(p, len);
        bool known = job_status_from_name(word) >= 0;
        if (!known) {
            const char *near = str_did_you_mean(word, names);
            err_set(err, ERR_USAGE, "there is no status '%s'", word);
            err_hint(err, near ? "did you mean %s?" : "queued, running," FINISHED_WORDS "%s",
                     near ? near : "");
        }
        free(word);
        if (!known)
            return -1;
        if (p[len] == '\0')
            break;
        p += len + 1;
    }
    a->status = value;
    return 0;
}

static const struct opt options[] = {
    { 's', "status", OPT_CALL, "STATUS",
      "only jobs in this state: queued, running, succeeded, failed, cancelled, timeout, oom, lost; "
      "several: failed,timeout",
      .parse = parse_status, .complete = "status" },
    { 'u', "user", OPT_STR, "USER", "only jobs of this user", .dest = offsetof(struct args, user) },
    { 'n', "limit", OPT_INT, "N", "show at most N jobs, 0 is all (default 100; 50 of a kind)",
      .dest = offsetof(struct args, limit), .max = INT32_MAX },
    { 'w', "watch", OPT_FLAG, NULL, "go on, showing changes as they come",
      .dest = offsetof(struct args, watch) },
    { 0, "json", OPT_FLAG, NULL, "print JSON; with --watch one line at each change",
      .dest = offsetof(struct args, json) },
    OPT_END,
};

enum what { WHAT_OVERVIEW, WHAT_JOBS, WHAT_NODES, WHAT_IDS };

/* One call of the command; `err` is of the last failure. */
struct status {
    const struct args *args;
    enum what what;
    char **ids;
    int id_count;
    struct client client;
    struct err err;
    int failed_ids; /* asked for by id and not found: the exit code is 1 */
    int failed_code;
    bool said_failed; /* --watch says it once */
};

static yyjson_doc *get_jobs(struct status *s, const char *order, const char *status, int64_t limit,
                            const char *before)
{
    struct buf path = BUF_INIT;
    buf_printf(&path, "/api/v1/jobs?order=%s&limit=%" PRId64, order, limit);
    if (status) {
        buf_append_str(&path, "&status=");
        http_append_encoded(&path, status);
    }
    if (s->args->user) {
        buf_append_str(&path, "&user=");
        http_append_encoded(&path, s->args->user);
    }
    if (before) {
        buf_append_str(&path, "&before=");
        http_append_encoded(&path, before);
    }
    yyjson_doc *doc = client_get(&s->client, buf_data(&path), &s->err);
    buf_fini(&path);
    return doc;
}

static void put_val(struct jsonw *w, const char *key, yyjson_val *v)
{
    char *text = v ? yyjson_val_write(v, YYJSON_WRITE_NOFLAG, NULL) : NULL;
    jsonw_raw(w, key, text ? text : "null");
    free(text);
}

static void put_all(struct jsonw *w, yyjson_val *array)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
        put_val(w, NULL, v);
}

static yyjson_val *root_get(yyjson_doc *doc, const char *key)
{
    return yyjson_obj_get(yyjson_doc_get_root(doc), key);
}

static void json_begin(struct jsonw *w, struct buf *out)
{
    jsonw_init(w, out);
    jsonw_obj_open(w, NULL);
    jsonw_int(w, "api", 1);
}

static void json_end(struct jsonw *w, struct buf *out)
{
    jsonw_obj_close(w);
    buf_append_char(out, '\n');
}

static struct status_style make_style(void)
{
    return (struct status_style){
        .width = cmd_width_limited() ? cmd_width() : 0,
        .color = cmd_color(),
        .now_ns = clock_wall_ns(&clock_system),
    };
}

/* --- the overview: machines, what runs, what waits, what ended last --- */

struct overview {
    yyjson_doc *nodes, *running, *queued, *finished;
};

/* Rows there are in all, where the daemon has counted them; else at least as many as it has jobs in
 * that state. */
static int64_t total_of(const struct status *s, yyjson_doc *doc, const char *word)
{
    int64_t jobs = s->args->user ? 0 : view_int(root_get(doc, "counts"), word, 0);
    return view_int(yyjson_doc_get_root(doc), "total", jobs);
}

static int fetch_overview(struct status *s, struct overview *o)
{
    int64_t limit = s->args->limit;
    int64_t many = limit < 0 ? (s->args->json ? 1000 : LIMIT_OVERVIEW)
                             : (limit == 0 || limit > LIMIT_PAGE_JOBS ? LIMIT_PAGE_JOBS : limit);
    int64_t few = limit < 0 && !s->args->json ? LIMIT_OVERVIEW_FINISHED : many;
    memset(o, 0, sizeof(*o));
    if ((o->nodes = client_get(&s->client, "/api/v1/nodes", &s->err)) != NULL &&
        (o->running = get_jobs(s, "queue", "running", many, NULL)) != NULL &&
        (o->queued = get_jobs(s, "queue", "queued", many, NULL)) != NULL &&
        (o->finished = get_jobs(s, "finished", FINISHED_WORDS, few, NULL)) != NULL)
        return 0;
    return -1;
}

static void free_overview(struct overview *o)
{
    yyjson_doc_free(o->nodes);
    yyjson_doc_free(o->running);
    yyjson_doc_free(o->queued);
    yyjson_doc_free(o->finished);
}

static void overview_json(const struct overview *o, struct buf *out)
{
    struct jsonw w;
    json_begin(&w, out);
    jsonw_arr_open(&w, "jobs");
    put_all(&w, root_get(o->running, "jobs"));
    put_all(&w, root_get(o->queued, "jobs"));
    put_all(&w, root_get(o->finished, "jobs"));
    jsonw_arr_close(&w);
    put_val(&w, "nodes", root_get(o->nodes, "nodes"));
    put_val(&w, "counts", root_get(o->running, "counts"));
    json_end(&w, out);
}

static void overview_text(const struct status *s, const struct overview *o, struct buf *out)
{
    struct status_style style = make_style();
    status_view_nodes(out, root_get(o->nodes, "nodes"), &style);
    status_view_section(out, STATUS_LIST_RUNNING, root_get(o->running, "jobs"),
                        total_of(s, o->running, "running"), &style);
    status_view_section(out, STATUS_LIST_QUEUED, root_get(o->queued, "jobs"),
                        total_of(s, o->queued, "queued"), &style);
    if (yyjson_arr_size(root_get(o->finished, "jobs")) > 0)
        status_view_section(out, STATUS_LIST_FINISHED, root_get(o->finished, "jobs"), -1, &style);
}

static int show_overview(struct status *s, struct buf *out)
{
    struct overview o;
    int rc = fetch_overview(s, &o);
    if (rc == 0 && s->args->json)
        overview_json(&o, out);
    else if (rc == 0)
        overview_text(s, &o, out);
    free_overview(&o);
    return rc;
}

/* --- a list of jobs, page by page --- */

/* JSON of any length is written as it comes, unless it has to be one line of --watch. */
static void list_page_json(struct status *s, struct jsonw *w, struct buf *out, yyjson_doc *doc)
{
    put_all(w, root_get(doc, "jobs"));
    if (!s->args->watch) {
        cmd_out(out);
        buf_clear(out);
    }
}

static int show_jobs(struct status *s, struct buf *out)
{
    struct status_style style = make_style();
    struct jsonw w;
    int64_t left = s->args->limit < 0 ? LIMIT_LIST : s->args->limit;
    bool all = s->args->limit == 0;
    char *before = NULL;
    int rc = 0;
    bool more = true;
    for (int page = 0; more && (all || left > 0); page++) {
        int64_t want = all || left > LIMIT_PAGE_JOBS ? LIMIT_PAGE_JOBS : left;
        yyjson_doc *doc = get_jobs(s, "id", s->args->status, want, before);
        if (!doc) {
            rc = -1;
            break;
        }
        if (page == 0 && s->args->json) {
            json_begin(&w, out);
            put_val(&w, "counts", root_get(doc, "counts"));
            jsonw_arr_open(&w, "jobs");
        }
        if (s->args->json)
            list_page_json(s, &w, out, doc);
        else if (page == 0 || yyjson_arr_size(root_get(doc, "jobs")) > 0)
            status_view_jobs(out, STATUS_LIST_ANY, root_get(doc, "jobs"), &style);
        left -= (int64_t)yyjson_arr_size(root_get(doc, "jobs"));
        const char *next = yyjson_get_str(root_get(doc, "next"));
        more = next != NULL;
        free(before);
        before = mem_strdup(next);
        yyjson_doc_free(doc);
    }
    if (rc == 0 && s->args->json) {
        jsonw_arr_close(&w);
        jsonw_str(&w, "next", before);
        json_end(&w, out);
    } else if (rc == 0 && before) {
        buf_append_str(out, "There are more: --limit 0 shows all.\n");
    }
    free(before);
    return rc;
}

static int show_nodes(struct status *s, struct buf *out)
{
    struct status_style style = make_style();
    struct jsonw w;
    yyjson_doc *doc = client_get(&s->client, "/api/v1/nodes", &s->err);
    if (!doc)
        return -1;
    if (s->args->json) {
        json_begin(&w, out);
        put_val(&w, "nodes", root_get(doc, "nodes"));
        json_end(&w, out);
    } else {
        status_view_nodes(out, root_get(doc, "nodes"), &style);
    }
    yyjson_doc_free(doc);
    return 0;
}

/* --- single jobs --- */

static yyjson_doc *get_job(struct status *s, const char *id, const char *what)
{
    struct buf path = BUF_INIT;
    client_job_path(&path, id, what);
    yyjson_doc *doc = client_get(&s->client, buf_data(&path), &s->err);
    buf_fini(&path);
    return doc;
}

/* The job's object with its attempts in it. */
static void put_job(struct jsonw *w, yyjson_val *job, yyjson_val *attempts)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(job);
    jsonw_obj_open(w, NULL);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&it)) != NULL;)
        if (!str_eq(yyjson_get_str(key), "api"))
            put_val(w, yyjson_get_str(key), yyjson_obj_iter_get_val(key));
    put_val(w, "attempt_list", attempts);
    jsonw_obj_close(w);
}

static int show_id(struct status *s, const char *id, struct jsonw *w, struct buf *out)
{
    struct status_style style = make_style();
    yyjson_doc *job = get_job(s, id, NULL);
    yyjson_doc *attempts = job ? get_job(s, id, "attempts") : NULL;
    int rc = job && attempts ? 0 : -1;
    if (rc == 0 && s->args->json)
        put_job(w, yyjson_doc_get_root(job), root_get(attempts, "attempts"));
    else if (rc == 0)
        status_view_job(out, yyjson_doc_get_root(job), root_get(attempts, "attempts"), &style);
    yyjson_doc_free(job);
    yyjson_doc_free(attempts);
    return rc;
}

static int show_ids(struct status *s, struct buf *out)
{
    struct jsonw w;
    json_begin(&w, out);
    jsonw_arr_open(&w, "jobs");
    if (!s->args->json)
        buf_clear(out);
    for (int i = 0; i < s->id_count; i++) {
        if (show_id(s, s->ids[i], &w, out) == 0)
            continue;
        if (s->client.lost || s->err.kind == ERR_UNAVAILABLE)
            return -1;
        if (!s->said_failed)
            s->failed_code = cmd_fail(&s->err);
        s->failed_ids++;
    }
    s->said_failed = s->failed_ids > 0;
    if (s->args->json) {
        jsonw_arr_close(&w);
        json_end(&w, out);
    }
    return 0;
}

static int show(struct status *s, struct buf *out)
{
    switch (s->what) {
    case WHAT_OVERVIEW:
        return show_overview(s, out);
    case WHAT_JOBS:
        return show_jobs(s, out);
    case WHAT_NODES:
        return show_nodes(s, out);
    case WHAT_IDS:
        return show_ids(s, out);
    }
    return -1;
}

/* --- --watch --- */

/* Overwrites the screen line by line, without flicker, and cuts at its last line. */
static void draw_screen(const struct buf *text)
{
    struct winsize ws;
    struct buf out = BUF_INIT;
    unsigned rows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 1 ? ws.ws_row : 24;
    const char *p = buf_data(text);
    buf_append_str(&out, "\033[H");
    for (unsigned row = 1; row < rows && *p; row++) {
        size_t len = strcspn(p, "\n");
        buf_append(&out, p, len);
        buf_append_str(&out, "\033[K\n");
        p += len + (p[len] == '\n');
    }
    buf_append_str(&out, "\033[J");
    cmd_out(&out);
    buf_fini(&out);
}

static bool on_event(void *arg, const char *data, size_t len)
{
    /* Comment lines only keep the connection alive. */
    (void)arg;
    return memmem(data, len, "data:", 5) == NULL;
}

/* Returns after the next change of a job, or after a while without one. */
static void wait_for_change(struct status *s)
{
    struct client c;
    struct err err = ERR_INIT;
    bool complete;
    struct client_stream stream = {
        .path = "/api/v1/events",
        .idle_ns = WATCH_PERIOD_NS,
        .on_data = on_event,
    };
    (void)s;
    nanosleep(&(struct timespec){ .tv_nsec = WATCH_PAUSE_NS }, NULL);
    /* Its own connection: it ends by being closed in the middle of a stream. */
    if (client_open(&c, &err) == 0)
        client_stream(&c, &stream, &complete, &err);
    client_close(&c);
}

static int watch(struct status *s)
{
    struct buf now = BUF_INIT, before = BUF_INIT;
    bool screen = !s->args->json && isatty(STDOUT_FILENO);
    int code = CMD_OK;
    if (screen)
        cmd_out_bytes("\033[H\033[2J", 7);
    while (!cmd_out_failed()) {
        buf_clear(&now);
        if (show(s, &now) != 0) {
            int64_t until = clock_mono_ns(&clock_system) + CLIENT_RETRY_WAIT_NS;
            if (s->client.lost && client_reconnect(&s->client, until, &s->err) == 0)
                continue;
            code = cmd_fail(&s->err);
            break;
        }
        bool same = buf_len(&now) == buf_len(&before) &&
                    memcmp(buf_data(&now), buf_data(&before), buf_len(&now)) == 0;
        if (screen)
            draw_screen(&now);
        else if (!same)
            cmd_out(&now);
        buf_clear(&before);
        buf_append(&before, buf_data(&now), buf_len(&now));
        wait_for_change(s);
    }
    buf_fini(&now);
    buf_fini(&before);
    return code;
}

static int once(struct status *s)
{
    struct buf out = BUF_INIT;
    int rc = show(s, &out);
    if (rc == 0)
        cmd_out(&out);
    buf_fini(&out);
    if (rc != 0)
        return cmd_fail(&s->err);
    return s->failed_ids ? s->failed_code : CMD_OK;
}

static int choose(const struct cmd *cmd, struct status *s, int count, char **words)
{
    s->what = s->args->status ? WHAT_JOBS : WHAT_OVERVIEW;
    if (count == 1 && str_eq(words[0], "jobs")) {
        s->what = WHAT_JOBS;
    } else if (count == 1 && str_eq(words[0], "nodes")) {
        if (s->args->status || s->args->user || s->args->limit >= 0)
            return cmd_usage(cmd, "--status, --user and --limit are about jobs, not nodes");
        s->what = WHAT_NODES;
    } else if (count > 0) {
        if (s->args->status || s->args->user || s->args->limit >= 0)
            return cmd_usage(cmd, "--status, --user and --limit can't be used with job ids");
        for (int i = 0; i < count; i++)
            if (client_check_id(words[i], &s->err) != 0)
                return cmd_fail(&s->err);
        s->what = WHAT_IDS;
        s->ids = words;
        s->id_count = count;
    }
    return CMD_OK;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .limit = -1 };
    struct status s = { .args = &a };
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    code = choose(cmd, &s, argc - first, argv + first);
    if (code != CMD_OK)
        return code;
    if (client_open(&s.client, &s.err) != 0)
        code = cmd_fail(&s.err);
    else
        code = a.watch ? watch(&s) : once(&s);
    client_close(&s.client);
    return code;
}

static const char *const synopsis[] = {
    "[OPTIONS]", "[OPTIONS] jobs", "[--json] [--watch] nodes", "[--json] [--watch] JOB…", NULL,
};

static const struct cmd_example examples[] = {
    { "hive status", "machines, what runs, what waits, what ended last" },
    { "hive status 12", "everything about job 12" },
    { "hive status --status failed --limit 20", "the newest 20 that failed" },
    { "hive status --watch", "the overview, kept up to date" },
    { "hive status jobs --json | jq -r '.jobs[].id'", "for scripts" },
    { NULL, NULL },
};

const struct cmd cmd_status = {
    .name = "status",
    .group = CMD_GROUP_JOBS,
    .summary = "show jobs and machines",
    .synopsis = synopsis,
    .description =
        "Without an argument: each machine with what is reserved on it, the running "
        "jobs, the queued ones "
        "in the order in which they would start, and the last that ended. `jobs` lists "
        "all jobs, newest "
        "first, `nodes` the machines; job ids show everything about these jobs.\n\n"
        "Of a machine THREADS and MEMORY are what jobs have reserved of what there is. "
        "CPU, IOWAIT (of the CPUs that jobs may use), LOAD (over a minute), FREE (memory "
        "that could be had now) and USERS (logged in) are measured, at most 2 s "
        "ago. JOBS are those that the machine works at.\n\n"
        "A heading counts what stands below it: of an array the tasks. Where there is "
        "little room, columns are left out; --json has them all.\n\n"
        "--json prints one JSON value with the same objects as the REST API: {\"api\": "
        "1, \"jobs\": [...], "
        "\"nodes\": [...]}; fields are only ever added. In \"counts\" an array is one job, "
        "and its tasks are not counted. With --watch it prints such a "
        "value, on one line, "
        "each time something has changed.",
    .options = options,
    .examples = examples,
    .operands = "job|=jobs nodes",
    .run = run,
};
