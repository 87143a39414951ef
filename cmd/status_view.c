/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/status.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "cmd/job_view.h"
#include "cmd/table.h"

#include <inttypes.h>

static enum table_color status_color(int status)
{
    switch (status) {
    case JOB_SUCCEEDED:
        return TABLE_GREEN;
    case JOB_RUNNING:
        return TABLE_BLUE;
    case JOB_QUEUED:
        return TABLE_YELLOW;
    case JOB_CANCELLED:
        return TABLE_PLAIN;
    default:
        return TABLE_RED;
    }
}

static void add_number(struct table *t, int64_t n)
{
    struct buf b = BUF_INIT;
    if (n >= 0)
        buf_printf(&b, "%" PRId64, n);
    table_add_buf(t, &b);
    buf_fini(&b);
}

static void add_size(struct table *t, int64_t bytes)
{
    struct buf b = BUF_INIT;
    if (bytes > 0)
        str_format_size(&b, bytes);
    table_add_buf(t, &b);
    buf_fini(&b);
}

static void add_span(struct table *t, int64_t from_ns, int64_t to_ns)
{
    struct buf b = BUF_INIT;
    if (from_ns > 0 && to_ns > 0)
        str_format_duration(&b, to_ns > from_ns ? to_ns - from_ns : 0);
    table_add_buf(t, &b);
    buf_fini(&b);
}

static void add_time(struct table *t, int64_t wall_ns)
{
    struct buf b = BUF_INIT;
    view_append_time(&b, wall_ns);
    table_add_buf(t, &b);
    buf_fini(&b);
}

/* An array is one row; how far it is stands with its name. */
static void add_name(struct table *t, const struct job_view *v)
{
    struct buf b = BUF_INIT;
    buf_append_str(&b, v->name);
    if (v->array)
        buf_printf(&b, " [%" PRId64 "/%" PRId64 "]",
                   view_int(v->array, "total", 0) - view_int(v->array, "queued", 0) -
                       view_int(v->array, "running", 0),
                   view_int(v->array, "total", 0));
    table_add_buf(t, &b);
    buf_fini(&b);
}

static const struct table_column columns_running[] = {
    { .title = "ID" },
    { .title = "NAME", .min = 8 },
    { .title = "USER", .min = 6, .drop = 3 },
    { .title = "THREADS", .right = true, .drop = 4 },
    { .title = "MEMORY", .right = true, .drop = 2 },
    { .title = "TIME", .right = true, .drop = 6 },
    { .title = "NODE", .min = 6, .drop = 1 },
    { .title = "COMMAND", .min = 7, .drop = 5 },
};
static const struct table_column columns_queued[] = {
    { .title = "ID" },
    { .title = "NAME", .min = 8 },
    { .title = "USER", .min = 6, .drop = 2 },
    { .title = "THREADS", .right = true, .drop = 3 },
    { .title = "MEMORY", .right = true, .drop = 1 },
    { .title = "WAITS", .right = true, .drop = 4 },
    { .title = "REASON", .min = 10, .drop = 5 },
};
static const struct table_column columns_finished[] = {
    { .title = "ID" },
    { .title = "NAME", .min = 8 },
    { .title = "USER", .min = 6, .drop = 1 },
    { .title = "STATUS" },
    { .title = "EXIT", .right = true, .drop = 4 },
    { .title = "TOOK", .right = true, .drop = 3 },
    { .title = "FINISHED", .drop = 2 },
};
static const struct table_column columns_any[] = {
    { .title = "ID" },
    { .title = "NAME", .min = 8 },
    { .title = "USER", .min = 6, .drop = 2 },
    { .title = "STATUS" },
    { .title = "EXIT", .right = true, .drop = 4 },
    { .title = "TIME", .right = true, .drop = 3 },
    { .title = "NODE", .min = 6, .drop = 1 },
    { .title = "COMMAND", .min = 7, .drop = 5 },
};

static const struct {
    const char *heading;
    const struct table_column *columns;
    size_t count;
} lists[] = {
    [STATUS_LIST_RUNNING] = { "RUNNING", columns_running, ARRAY_LEN(columns_running) },
    [STATUS_LIST_QUEUED] = { "QUEUED", columns_queued, ARRAY_LEN(columns_queued) },
    [STATUS_LIST_FINISHED] = { "LAST FINISHED", columns_finished, ARRAY_LEN(columns_finished) },
    [STATUS_LIST_ANY] = { "JOBS", columns_any, ARRAY_LEN(columns_any) },
};

static void add_exit(struct table *t, const struct job_view *v)
{
    struct buf b = BUF_INIT;
    if (v->signal > 0)
        buf_printf(&b, "sig %" PRId64, v->signal);
    else if (v->exit_code >= 0)
        buf_printf(&b, "%" PRId64, v->exit_code);
    table_add_buf(t, &b);
    buf_fini(&b);
}

static void add_job(struct table *t, enum status_list list, const struct job_view *v,
                    int64_t now_ns)
{
    int64_t end_ns = v->finished_ns ? v->finished_ns : now_ns;
    table_add_colored(t, v->id, TABLE_BOLD);
    add_name(t, v);
    table_add(t, v->user);
    switch (list) {
    case STATUS_LIST_RUNNING:
    case STATUS_LIST_QUEUED:
        add_number(t, v->threads);
        add_size(t, v->memory);
        add_span(t, list == STATUS_LIST_RUNNING ? v->started_ns : v->submitted_ns, now_ns);
        if (list == STATUS_LIST_RUNNING)
            table_add(t, v->node);
        table_add(t, list == STATUS_LIST_RUNNING ? v->command : v->reason);
        return;
    case STATUS_LIST_FINISHED:
        table_add_colored(t, v->status_text, status_color(v->status));
        add_exit(t, v);
        add_span(t, v->started_ns, v->finished_ns);
        add_time(t, v->finished_ns);
        return;
    case STATUS_LIST_ANY:
        table_add_colored(t, v->status_text, status_color(v->status));
        add_exit(t, v);
        add_span(t, v->started_ns, end_ns);
        table_add(t, v->node);
        table_add(t, v->command);
        return;
    }
}

void status_view_jobs(struct buf *out, enum status_list list, yyjson_val *jobs,
                      const struct status_style *style)
{
    struct table t;
    table_init(&t, lists[list].columns, lists[list].count);
    yyjson_arr_iter it = yyjson_arr_iter_with(jobs);
    for (yyjson_val *job; (job = yyjson_arr_iter_next(&it)) != NULL;) {
        struct job_view v;
        job_view_read(&v, job);
        add_job(&t, list, &v, style->now_ns);
    }
    table_print(&t, out, 0, style->width, style->color);
    table_fini(&t);
}

static void heading(struct buf *out, const char *text, const struct status_style *style)
{
    if (buf_len(out) > 0)
        buf_append_char(out, '\n');
    table_append_colored(out, text, TABLE_BOLD, style->color);
    buf_append_char(out, '\n');
}

/* What stands in a list, counted as one would who reads it: an array's row is its waiting tasks. */
struct tally {
    int64_t jobs, tasks;
    const char *array; /* one of them, or NULL */
    bool several;
};

static bool has_array(yyjson_val *jobs, const char *id)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(jobs);

    for (yyjson_val *job; (job = yyjson_arr_iter_next(&it)) != NULL;)
        if (yyjson_is_obj(yyjson_obj_get(job, "array")) && str_eq(view_str(job, "id"), id))
            return true;
    return false;
}

static void tally(struct tally *n, yyjson_val *jobs)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(jobs);

    for (yyjson_val *job; (job = yyjson_arr_iter_next(&it)) != NULL;) {
        struct job_view v;
        job_view_read(&v, job);
        if (!v.array && !v.array_id[0]) {
            n->jobs++;
            continue;
        }
        const char *id = v.array ? v.id : v.array_id;
        n->several = n->several || (n->array && !str_eq(n->array, id));
        n->array = id;
        if (v.array)
            n->tasks += view_int(v.array, "queued", 0);
        else if (!has_array(jobs, id)) /* which counts a task that waits for its retry, too */
            n->tasks++;
    }
}

static void append_count(struct buf *b, int64_t n, const char *what)
{
    buf_printf(b, "%" PRId64 " %s%s", n, what, n == 1 ? "" : "s");
}

/* "RUNNING (12)", or where there are arrays "RUNNING (2 jobs, 4 tasks of arrays)"; `total` rows
 * there are, of which all are shown or more. */
static void append_counts(struct buf *b, yyjson_val *jobs, int64_t total, unsigned width)
{
    struct tally n = { 0 };
    int64_t shown = (int64_t)yyjson_arr_size(jobs);
    struct buf text = BUF_INIT;

    tally(&n, jobs);
    if (n.tasks > 0 && shown >= total) {
        if (n.jobs > 0) {
            append_count(&text, n.jobs, "job");
            buf_append_str(&text, ", ");
        }
        append_count(&text, n.tasks, "task");
        buf_append_str(&text, n.several ? " of arrays" : " of an array");
    }
    if (buf_len(&text) == 0 || (width > 0 && buf_len(b) + 3 + buf_len(&text) > width)) {
        buf_clear(&text);
        buf_printf(&text, "%" PRId64, total);
    }
    buf_printf(b, " (%s)", buf_data(&text));
    buf_fini(&text);
}

void status_view_section(struct buf *out, enum status_list list, yyjson_val *jobs, int64_t total,
                         const struct status_style *style)
{
    struct buf text = BUF_INIT;
    int64_t shown = (int64_t)yyjson_arr_size(jobs);

    buf_append_str(&text, lists[list].heading);
    if (total >= 0)
        append_counts(&text, jobs, total > shown ? total : shown, style->width);
    heading(out, buf_data(&text), style);
    buf_fini(&text);
    if (shown > 0)
        status_view_jobs(out, list, jobs, style);
    if (total > shown)
        buf_printf(out, "%s and %" PRId64 " more\n", table_utf8() ? "…" : "...", total - shown);
}

static void add_percent(struct table *t, double percent)
{
    struct buf b = BUF_INIT;

    if (percent >= 0)
        buf_printf(&b, "%.0f%%", percent);
    table_add_buf(t, &b);
    buf_fini(&b);
}

static void add_load(struct table *t, yyjson_val *load)
{
    struct buf b = BUF_INIT;
    yyjson_val *minute = yyjson_arr_get_first(load);

    if (yyjson_is_num(minute))
        buf_printf(&b, "%.2f", yyjson_get_num(minute));
    table_add_buf(t, &b);
    buf_fini(&b);
}

void status_view_nodes(struct buf *out, yyjson_val *nodes, const struct status_style *style)
{
    static const struct table_column columns[] = {
        { .title = "NODE", .min = 8 },
        { .title = "STATUS", .drop = 8 },
        { .title = "THREADS", .right = true, .drop = 11 },
        { .title = "CPU", .right = true, .drop = 9 },
        { .title = "IOWAIT", .right = true, .drop = 3 },
        { .title = "LOAD", .right = true, .drop = 2 },
        { .title = "MEMORY", .right = true, .drop = 10 },
        { .title = "FREE", .right = true, .drop = 5 },
        { .title = "GPUS", .right = true, .drop = 4 },
        { .title = "USERS", .right = true, .drop = 1 },
        { .title = "JOBS", .right = true, .drop = 7 },
        { .title = "NOTE", .min = 10, .drop = 6 },
    };
    struct table t;
    struct buf b = BUF_INIT;
    table_init(&t, columns, ARRAY_LEN(columns));
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes);
    for (yyjson_val *n; (n = yyjson_arr_iter_next(&it)) != NULL;) {
        const char *status = view_str(n, "status");
        table_add_colored(&t, view_str(n, "name"), TABLE_BOLD);
        table_add_colored(&t, status, str_eq(status, "up") ? TABLE_GREEN : TABLE_RED);
        buf_printf(&b, "%" PRId64 "/%" PRId64, view_int(n, "threads_used", 0),
                   view_int(n, "threads_total", 0));
        table_add_buf(&t, &b);
        add_percent(&t, view_num(n, "cpu_percent", -1));
        add_percent(&t, view_num(n, "iowait_percent", -1));
        add_load(&t, yyjson_obj_get(n, "load"));
        str_format_size(&b, view_int(n, "memory_used_bytes", 0));
        buf_append_char(&b, '/');
        str_format_size(&b, view_int(n, "memory_total_bytes", 0));
        table_add_buf(&t, &b);
        if (view_int(n, "memory_available_bytes", -1) >= 0)
            str_format_size(&b, view_int(n, "memory_available_bytes", 0));
        table_add_buf(&t, &b);
        add_number(&t, (int64_t)yyjson_arr_size(yyjson_obj_get(n, "gpus")));
        add_number(&t, (int64_t)yyjson_arr_size(yyjson_obj_get(n, "users")));
        add_number(&t, view_int(n, "running_jobs", 0));
        table_add(&t, view_str(n, *view_str(n, "error") ? "error" : "note"));
    }
    table_print(&t, out, 0, style->width, style->color);
    table_fini(&t);
    buf_fini(&b);
}

static void line(struct buf *out, const char *label, const char *value)
{
    if (!value[0])
        return;
    buf_printf(out, "  %-10s ", label);
    str_append_safe(out, value, SIZE_MAX);
    buf_append_char(out, '\n');
}

static void line_buf(struct buf *out, const char *label, struct buf *value)
{
    line(out, label, buf_data(value));
    buf_clear(value);
}

/* What its processes use now. */
static void view_use(const struct job_view *v, struct buf *b)
{
    double percent = view_num(v->json, "cpu_percent", -1),
           cpu = view_num(v->json, "cpu_seconds", -1);
    int64_t memory = view_int(v->json, "memory_used_bytes", -1);

    if (percent >= 0)
        buf_printf(b, "%.1f CPUs, ", percent / 100);
    if (memory >= 0) {
        str_format_size(b, memory);
        buf_append_str(b, " memory");
    }
    if (cpu >= 0.0 && cpu < 9e9) {
        buf_append_str(b, ", ");
        str_format_duration(b, (int64_t)(cpu * 1e9));
        buf_append_str(b, " of CPU time so far");
    }
}

static void view_resources(struct buf *out, const struct job_view *v)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%" PRId64 " thread%s", v->threads, v->threads == 1 ? "" : "s");
    if (v->memory > 0) {
        buf_append_str(&b, ", ");
        str_format_size(&b, v->memory);
        buf_append_str(&b, " memory");
    }
    if (v->gpus > 0)
        buf_printf(&b, ", %" PRId64 " GPU%s", v->gpus, v->gpus == 1 ? "" : "s");
    line_buf(out, "reserves", &b);
    view_use(v, &b);
    if (buf_len(&b) > 0)
        line_buf(out, "uses", &b);
    if (v->priority != 0) {
        buf_printf(&b, "%" PRId64, v->priority);
        line_buf(out, "priority", &b);
    }
    if (v->timeout_ns > 0) {
        str_format_duration(&b, v->timeout_ns);
        line_buf(out, "time limit", &b);
    }
    buf_fini(&b);
}

static void view_times(struct buf *out, const struct job_view *v, int64_t now_ns)
{
    struct buf b = BUF_INIT;
    view_append_time(&b, v->submitted_ns);
    line_buf(out, "submitted", &b);
    if (v->started_ns) {
        view_append_time(&b, v->started_ns);
        if (!v->finished_ns) {
            buf_append_str(&b, " (for ");
            str_format_duration(&b, now_ns > v->started_ns ? now_ns - v->started_ns : 0);
            buf_append_char(&b, ')');
        }
        line_buf(out, "started", &b);
    }
    if (v->finished_ns) {
        view_append_time(&b, v->finished_ns);
        if (v->started_ns) {
            buf_append_str(&b, " (took ");
            str_format_duration(&b, v->finished_ns > v->started_ns ? v->finished_ns - v->started_ns
                                                                   : 0);
            buf_append_char(&b, ')');
        }
        line_buf(out, "finished", &b);
    }
    buf_fini(&b);
}

static void view_array(struct buf *out, yyjson_val *array)
{
    static const char *const words[] = { "queued", "running", "succeeded", "failed", "cancelled" };
    struct buf b = BUF_INIT;
    buf_printf(&b, "%" PRId64 " tasks", view_int(array, "total", 0));
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (view_int(array, words[i], 0) > 0)
            buf_printf(&b, ", %" PRId64 " %s", view_int(array, words[i], 0), words[i]);
    line_buf(out, "array", &b);
    buf_fini(&b);
}

static void view_after(struct buf *out, yyjson_val *job)
{
    struct buf b = BUF_INIT;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(job, "after"));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
        buf_printf(&b, "%s%s", buf_len(&b) ? ", " : "", yyjson_is_str(v) ? yyjson_get_str(v) : "?");
    line_buf(out, "after", &b);
    buf_fini(&b);
}

static void add_seconds(struct table *t, yyjson_val *obj, const char *key)
{
    struct buf b = BUF_INIT;
    yyjson_val *v = yyjson_obj_get(obj, key);
    double s = yyjson_is_num(v) ? yyjson_get_num(v) : -1.0;
    if (s >= 0.0 && s < 9e9)
        str_format_duration(&b, (int64_t)(s * 1e9));
    table_add_buf(t, &b);
    buf_fini(&b);
}

static void add_attempt(struct table *t, yyjson_val *a)
{
    struct buf b = BUF_INIT;
    const char *outcome = view_str(a, "outcome");
    int64_t signo = view_int(a, "signal", -1), code = view_int(a, "exit_code", -1);
    add_number(t, view_int(a, "number", -1));
    table_add(t, view_str(a, "node"));
    table_add(t, outcome[0] ? outcome : "running");
    if (signo > 0)
        buf_printf(&b, "sig %" PRId64, signo);
    else if (code >= 0)
        buf_printf(&b, "%" PRId64, code);
    table_add_buf(t, &b);
    add_time(t, view_time(a, "started_at"));
    add_seconds(t, a, "duration_seconds");
    add_seconds(t, a, "cpu_user_seconds");
    add_seconds(t, a, "cpu_system_seconds");
    add_size(t, view_int(a, "max_rss_bytes", -1));
    table_add(t, view_str(a, "message"));
    buf_fini(&b);
}

void status_view_attempts(struct buf *out, yyjson_val *attempts, const struct status_style *style)
{
    static const struct table_column columns[] = {
        { .title = "ATTEMPT", .right = true },
        { .title = "NODE", .min = 6, .drop = 4 },
        { .title = "OUTCOME" },
        { .title = "EXIT", .right = true, .drop = 8 },
        { .title = "STARTED", .drop = 5 },
        { .title = "TOOK", .right = true, .drop = 6 },
        { .title = "USER", .right = true, .drop = 2 },
        { .title = "SYSTEM", .right = true, .drop = 1 },
        { .title = "PEAK", .right = true, .drop = 3 },
        { .title = "MESSAGE", .min = 10, .drop = 7 },
    };
    struct table t;
    if (yyjson_arr_size(attempts) == 0)
        return;
    table_init(&t, columns, ARRAY_LEN(columns));
    yyjson_arr_iter it = yyjson_arr_iter_with(attempts);
    for (yyjson_val *a; (a = yyjson_arr_iter_next(&it)) != NULL;)
        add_attempt(&t, a);
    table_print(&t, out, 2, style->width, style->color);
    table_fini(&t);
}

void status_view_job(struct buf *out, yyjson_val *job, yyjson_val *attempts,
                     const struct status_style *style)
{
    struct buf b = BUF_INIT;
    struct job_view v;
    job_view_read(&v, job);
    buf_append_str(&b, "Job ");
    str_append_safe(&b, v.id, SIZE_MAX);
    buf_append_str(&b, ": ");
    str_append_safe(&b, v.name, SIZE_MAX);
    heading(out, buf_data(&b), style);
    buf_clear(&b);
    job_view_ending(&v, &b);
    line_buf(out, "status", &b);
    line(out, "command", v.command);
    line(out, "user", v.user);
    line(out, "node", v.node);
    view_resources(out, &v);
    view_times(out, &v, style->now_ns);
    line(out, "folder", v.workdir);
    line(out, "output", v.stdout_path);
    line(out, "errors", v.stderr_path);
    view_after(out, job);
    if (v.retries_left > 0) {
        buf_printf(&b, "%" PRId64 " left", v.retries_left);
        line_buf(out, "retries", &b);
    }
    if (v.array)
        view_array(out, v.array);
    if (yyjson_arr_size(attempts) > 0)
        buf_append_char(out, '\n');
    status_view_attempts(out, attempts, style);
    buf_fini(&b);
}
