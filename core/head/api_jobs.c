/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading and changing jobs: lists, one job (with long poll), attempts, explain, cancel, hold,
 * release, retry. */
#include "head/api_priv.h"

#include "base/limits.h"
#include "base/str.h"
#include "node/attempt.h"
#include "sched/state.h"
#include "store/store.h"

#include <inttypes.h>

static void open_answer(struct jsonw *w, struct buf *b)
{
    jsonw_init(w, b);
    jsonw_obj_open(w, NULL);
    jsonw_int(w, "api", 1);
}

/* ---- lists ---- */

static int parse_statuses(const char *text, uint32_t *mask, struct err *err)
{
    static const char *const words[] = { "queued",  "running", "succeeded", "failed", "cancelled",
                                         "timeout", "oom",     "lost",      NULL };
    for (const char *p = text; *p;) {
        char word[24];
        size_t n = strcspn(p, ",");
        str_copy(word, sizeof(word) < n + 1 ? sizeof(word) : n + 1, p);
        int s = job_status_from_name(word);
        if (s < 0) {
            const char *near = str_did_you_mean(word, words);
            err_set(err, ERR_INVALID, "status: there is no status '%s'", word);
            return near ? err_hint(err, "did you mean '%s'?", near)
                        : err_hint(err, "one of queued, running, succeeded, failed, cancelled, "
                                        "timeout, oom, lost");
        }
        *mask |= 1u << s;
        p += n + (p[n] == ',');
    }
    return 0;
}

struct listing {
    struct head *head;
    struct jsonw *w;
    int64_t count, limit;
};

static bool put_row(void *arg, const struct store_job *row)
{
    struct listing *l = arg;
    jsonw_obj_open(l->w, NULL);
    head_job_fields(l->head, row, l->w);
    jsonw_obj_close(l->w);
    return ++l->count < l->limit;
}

static int put_queue(struct api_call *c, struct listing *l, const struct store_filter *f,
                     int64_t *total, struct err *err)
{
    int64_t *ids = mem_alloc_array((size_t)l->limit, sizeof(*ids));
    uint32_t mask = f->status_mask ? f->status_mask : 1u << JOB_QUEUED | 1u << JOB_RUNNING;
    size_t n = head_queue(c->head, mask, f->user, ids, (size_t)l->limit, total);
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = head_job_object(c->head, ids[i], NULL, l->w, err);
    free(ids);
    return rc < 0 ? -1 : 0;
}

static void put_counts(struct api_call *c, struct jsonw *w)
{
    int64_t counts[JOB_STATUS_COUNT] = { 0 };
    if (store_job_counts(head_store(c->head), counts, JOB_STATUS_COUNT, NULL) != 0)
        return;
    jsonw_obj_open(w, "counts");
    for (int i = 0; i < JOB_STATUS_COUNT; i++)
        jsonw_int(w, job_status_name((enum job_status)i), counts[i]);
    jsonw_obj_close(w);
}

/* The cursor of a page: the id of the job before it; by end its end as well: "END-ID". */
static int read_cursor(struct api_call *c, struct store_filter *f)
{
    struct err err = ERR_INIT;
    char *text = api_query_str(c, "before");
    char *dash = text && f->by_finish ? strchr(text, '-') : NULL;
    int rc = 0;
    if (dash)
        *dash = '\0';
    if (text && f->by_finish && !dash)
        rc = err_set(&err, ERR_INVALID, "before: expected the \"next\" of a page in this order");
    if (rc == 0 && dash)
        rc = str_to_int(text, 1, INT64_MAX, "before", &f->before_finished_ns, &err);
    if (rc == 0 && text)
        rc = str_to_int(dash ? dash + 1 : text, 1, INT64_MAX, "before", &f->before_id, &err);
    free(text);
    if (rc != 0)
        api_reply_error(c->req, &err);
    return rc;
}

static void put_cursor(struct jsonw *w, const struct store_filter *f, const struct store_resume *r)
{
    char text[48];
    if (f->by_finish)
        snprintf(text, sizeof(text), "%" PRId64 "-%" PRId64, r->finished_ns, r->id);
    else
        snprintf(text, sizeof(text), "%" PRId64, r->id);
    jsonw_str(w, "next", r->id ? text : NULL);
}

/* Reads the filter from the query. -1 when it has answered. */
/* Jobs that one page of a search looks at; the next page goes on behind them. */
#define SEARCH_SCAN 100000

static int read_filter(struct api_call *c, struct store_filter *f, char **order)
{
    struct err err = ERR_INIT;
    char *status = api_query_str(c, "status");
    f->limit = 100;
    int rc = status ? parse_statuses(status, &f->status_mask, &err) : 0;
    free(status);
    *order = api_query_str(c, "order");
    if (rc == 0 && *order && !str_eq(*order, "id") && !str_eq(*order, "queue") &&
        !str_eq(*order, "finished"))
        rc = err_set(&err, ERR_INVALID, "order: expected id, queue or finished");
    if (rc != 0) {
        api_reply_error(c->req, &err);
        return -1;
    }
    f->by_finish = str_eq(*order, "finished");
    f->user = api_query_str(c, "user");
    f->name_like = api_query_str(c, "q");
    f->max_scan = f->name_like ? SEARCH_SCAN : 0;
    if (api_query_int(c, "limit", 1, LIMIT_PAGE_JOBS, &f->limit) < 0 || read_cursor(c, f) != 0 ||
        api_query_int(c, "array", 1, INT64_MAX, &f->array_id) < 0)
        return -1;
    f->with_tasks = f->array_id != 0;
    return 0;
}

void api_jobs(struct api_call *c)
{
    struct store_filter f = { 0 };
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct jsonw w;
    char *order = NULL;

    if (read_filter(c, &f, &order) == 0) {
        struct store_resume resume = { 0 };
        struct listing l = { c->head, &w, 0, f.limit };
        int64_t total = -1;
        f.resume = &resume;
        open_answer(&w, &b);
        jsonw_arr_open(&w, "jobs");
        int rc = str_eq(order, "queue")
                     ? put_queue(c, &l, &f, &total, &err)
                     : store_job_list(head_store(c->head), &f, put_row, &l, &err);
        jsonw_arr_close(&w);
        put_cursor(&w, &f, &resume);
        if (total >= 0)
            jsonw_int(&w, "total", total);
        put_counts(c, &w);
        jsonw_obj_close(&w);
        if (rc == 0) {
            api_reply(c->req, 200, &b);
        } else {
            buf_fini(&b);
            api_reply_error(c->req, &err);
        }
    }
    free((char *)(uintptr_t)f.user);
    free((char *)(uintptr_t)f.name_like);
    free(order);
}

/* ---- one job ---- */

static void reply_job(struct head *h, struct http_request *req, int64_t id, const char *key)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    struct jsonw w;
    int rc;

    open_answer(&w, &b);
    if (key) {
        rc = head_job_object(h, id, key, &w, &err);
        jsonw_obj_close(&w);
    } else {
        /* the job's fields stand beside "api": write the object and open it up */
        struct buf inner = BUF_INIT;
        struct jsonw iw;
        jsonw_init(&iw, &inner);
        rc = head_job_object(h, id, NULL, &iw, &err);
        buf_clear(&b);
        if (rc == 1) {
            buf_append_str(&b, "{\"api\":1,");
            buf_append(&b, buf_data(&inner) + 1, buf_len(&inner) - 1);
        }
        buf_fini(&inner);
    }
    if (rc == 1) {
        api_reply(req, 200, &b);
        return;
    }
    buf_fini(&b);
    if (rc == 0)
        err_set(&err, ERR_NOT_FOUND, "there is no job %" PRId64 " any more", id);
    api_reply_error(req, &err);
}

/* A long poll: answered when the job has ended, or at its deadline. */
struct api_wait {
    struct list link;
    struct api *api;
    struct http_request *req;
    int64_t id;
    struct ev_timer timer;
};

static void wait_drop(struct api_wait *wt)
{
    list_remove(&wt->link);
    ev_timer_clear(&wt->timer);
    free(wt);
}

static void wait_answer(struct api_wait *wt)
{
    reply_job(wt->api->head, wt->req, wt->id, NULL);
    wait_drop(wt);
}

static void on_wait_timer(struct ev_timer *t)
{
    wait_answer(CONTAINER_OF(t, struct api_wait, timer));
}

static void on_wait_gone(struct http_request *req, void *data)
{
    (void)req;
    wait_drop(data);
}

void api_waits_changed(struct api *a, int64_t job)
{
    LIST_FOR_EACH_SAFE(it, &a->waits) {
        struct api_wait *wt = CONTAINER_OF(it, struct api_wait, link);
        if (wt->id == job)
            wait_answer(wt);
    }
}

void api_job(struct api_call *c)
{
    struct err err = ERR_INIT;
    struct head_output o;
    int64_t seconds = 0;
    int64_t id = api_job_id(c);

    if (!id || api_query_int(c, "wait", 0, 300, &seconds) < 0)
        return;
    if (seconds > 0 && head_output(c->head, id, 0, false, &o, &err) == 1) {
        free(o.path);
        if (!o.final) {
            struct api_wait *wt = mem_alloc(sizeof(*wt));
            wt->api = c->api;
            wt->req = c->req;
            wt->id = id;
            wt->timer.fn = on_wait_timer;
            list_append(&c->api->waits, &wt->link);
            ev_timer_set_after(c->api->loop, &wt->timer, seconds * INT64_C(1000000000));
            http_request_set_data(c->req, wt, on_wait_gone);
            return;
        }
    }
    reply_job(c->head, c->req, id, NULL);
}

static bool put_attempt(void *arg, const struct store_attempt *a)
{
    struct jsonw *w = arg;
    jsonw_obj_open(w, NULL);
    jsonw_int(w, "number", a->number);
    jsonw_str(w, "node", a->node);
    jsonw_str(w, "outcome",
              a->outcome < 0 ? NULL : attempt_outcome_name((enum attempt_outcome)a->outcome));
    if (a->exit_code < 0)
        jsonw_null(w, "exit_code");
    else
        jsonw_int(w, "exit_code", a->exit_code);
    if (a->signal)
        jsonw_int(w, "signal", a->signal);
    else
        jsonw_null(w, "signal");
    jsonw_time(w, "started_at", a->started_ns);
    jsonw_time(w, "finished_at", a->finished_ns);
    jsonw_double(w, "duration_seconds", (double)a->duration_ns / 1e9);
    jsonw_double(w, "cpu_user_seconds", (double)a->user_ns / 1e9);
    jsonw_double(w, "cpu_system_seconds", (double)a->system_ns / 1e9);
    jsonw_int(w, "max_rss_bytes", a->max_rss);
    jsonw_str(w, "message", a->message);
    jsonw_obj_close(w);
    return true;
}

static int put_attempts(struct api_call *c, int64_t id, struct jsonw *w, struct err *err)
{
    jsonw_arr_open(w, "attempts");
    int rc = store_attempt_each(head_store(c->head), id, put_attempt, w, err);
    jsonw_arr_close(w);
    return rc;
}

void api_attempts(struct api_call *c)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    struct jsonw w;
    int64_t id = api_job_id(c);

    if (!id)
        return;
    open_answer(&w, &b);
    int rc = put_attempts(c, id, &w, &err);
    jsonw_obj_close(&w);
    if (rc == 0) {
        api_reply(c->req, 200, &b);
        return;
    }
    buf_fini(&b);
    api_reply_error(c->req, &err);
}

static void put_lines(struct jsonw *w, const struct buf *lines)
{
    jsonw_arr_open(w, "lines");
    for (const char *p = buf_data(lines); *p;) {
        size_t n = strcspn(p, "\n");
        jsonw_strn(w, NULL, p, n);
        p += n + (p[n] == '\n');
    }
    jsonw_arr_close(w);
}

static int explain_job(struct api_call *c, int64_t id, struct jsonw *w, struct err *err)
{
    struct buf reason = BUF_INIT, lines = BUF_INIT;
    int rc = head_explain(c->head, id, &reason, &lines, err);

    if (rc == 1)
        rc = head_job_object(c->head, id, "job", w, err);
    if (rc == 0)
        err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64 " any more", id);
    jsonw_str(w, "reason", buf_data(&reason));
    put_lines(w, &lines);
    if (rc == 1)
        rc = put_attempts(c, id, w, err) == 0 ? 1 : -1;
    buf_fini(&reason);
    buf_fini(&lines);
    return rc;
}

/* A task that has not started is nothing of its own yet: what its array waits for, it waits for. */
static int explain_task(struct api_call *c, struct jsonw *w, struct err *err)
{
    struct buf reason = BUF_INIT, lines = BUF_INIT, own = BUF_INIT;
    bool live = false;
    int rc = head_task_missing(c->head, c->job, c->task, &live, err);

    if (rc == 1 && live)
        rc = head_explain(c->head, c->job, &reason, &lines, err);
    if (rc == 1 && live)
        buf_printf(&own, "has not started; array %" PRId64 ": %s", c->job, buf_data(&reason));
    else
        buf_append_str(&own, "cancelled with its array, before it started");
    if (rc == 1)
        rc = head_task_object(c->head, c->job, c->task, live, buf_data(&own), "job", w, err);
    jsonw_str(w, "reason", buf_data(&own));
    put_lines(w, &lines);
    jsonw_arr_open(w, "attempts");
    jsonw_arr_close(w);
    buf_fini(&reason);
    buf_fini(&lines);
    buf_fini(&own);
    return rc;
}

void api_explain(struct api_call *c)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    struct jsonw w;
    int64_t id = 0;
    int rc = head_find(c->head, c->job, c->task, &id, &err);

    open_answer(&w, &b);
    if (rc == 1)
        rc = explain_job(c, id, &w, &err);
    else if (rc == 0 && c->task >= 0)
        rc = explain_task(c, &w, &err);
    else if (rc == 0)
        api_no_job(c, &err);
    jsonw_obj_close(&w);
    if (rc == 1) {
        api_reply(c->req, 200, &b);
        return;
    }
    buf_fini(&b);
    api_reply_error(c->req, &err);
}

/* ---- changes ---- */

struct change {
    struct head_op op;
    struct api *api;
    struct http_request *req;
    int64_t job, task;
};

static void on_changed(struct head_op *op, const struct err *err)
{
    struct change *ch = CONTAINER_OF(op, struct change, op);
    int64_t id = 0;
    if (ch->req && err)
        api_reply_error(ch->req, err);
    else if (ch->req && head_find(ch->api->head, ch->job, ch->task, &id, NULL) == 1)
        reply_job(ch->api->head, ch->req, id, "job");
    else if (ch->req)
        http_reply(ch->req, 500, NULL, NULL);
    free(ch);
}

static void on_change_gone(struct http_request *req, void *data)
{
    (void)req;
    ((struct change *)data)->req = NULL;
}

/* The body is optional: {"grace": "10s"}. */
static int read_grace(struct api_call *c, int64_t *grace_ns, struct err *err)
{
    static const char *const known[] = { "grace", NULL };
    size_t len;
    const char *body = http_request_body(c->req, &len);
    if (len == 0)
        return 0;
    yyjson_doc *doc = jsonx_parse(body, len, err);
    if (!doc)
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    int rc = yyjson_is_obj(root) ? 0 : err_set(err, ERR_INVALID, "expected an object");
    if (rc == 0)
        rc = jsonx_only_fields(root, "", known, err);
    if (rc == 0 && jsonx_get_duration(root, "", "grace", grace_ns, err) < 0)
        rc = -1;
    yyjson_doc_free(doc);
    return rc;
}

static void change(struct api_call *c, enum head_change what)
{
    struct err err = ERR_INIT;
    int64_t grace_ns = -1;
    struct change *ch = mem_alloc(sizeof(*ch));

    ch->op.done = on_changed;
    ch->api = c->api;
    ch->job = c->job;
    ch->task = c->task;
    if (read_grace(c, &grace_ns, &err) != 0 ||
        head_change(c->head, what, c->job, c->task, grace_ns, &ch->op, &err) != 0) {
        free(ch);
        api_reply_error(c->req, &err);
        return;
    }
    ch->req = c->req;
    http_request_set_data(c->req, ch, on_change_gone);
}

void api_cancel(struct api_call *c)
{
    change(c, HEAD_CANCEL);
}

void api_hold(struct api_call *c)
{
    change(c, HEAD_HOLD);
}

void api_release(struct api_call *c)
{
    change(c, HEAD_RELEASE);
}

void api_retry(struct api_call *c)
{
    change(c, HEAD_RETRY);
}
