/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Server-sent events (the HTML standard, section 9.2): one "job" event for every committed change
 * of a job. A client that doesn't keep up misses events and is told so with a "missed" event,
 * instead of costing the daemon memory.
 */
#include "head/api_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "head/spec.h"

#include <inttypes.h>

#define ALIVE_NS (15 * NS_PER_S)

struct api_watch {
    struct list link;
    struct api *api;
    struct http_request *req;
    int64_t id; /* only this job, 0: all */
    bool blocked;
    int64_t missed;
};

static void watch_drop(struct api_watch *wt)
{
    list_remove(&wt->link);
    free(wt);
}

static void on_gone(struct http_request *req, void *data)
{
    (void)req;
    watch_drop(data);
}

static void send_text(struct api_watch *wt, const char *data, size_t len)
{
    if (wt->blocked)
        wt->missed++;
    else
        wt->blocked = !http_stream_write(wt->req, data, len);
}

static void on_drained(struct http_request *req, void *data)
{
    struct api_watch *wt = data;
    char text[96];
    (void)req;
    wt->blocked = false;
    if (wt->missed) {
        int n = snprintf(text, sizeof(text),
                         "event: missed\ndata: {\"api\":1,\"missed\":%" PRId64 "}\n\n", wt->missed);
        wt->missed = 0;
        send_text(wt, text, (size_t)n);
    }
}

static void append_job(struct api *a, int64_t job, struct buf *b)
{
    struct jsonw w;
    buf_append_str(b, "event: job\ndata: ");
    jsonw_init(&w, b);
    if (head_job_object(a->head, job, NULL, &w, NULL) != 1)
        buf_clear(b);
    else
        buf_append_str(b, "\n\n");
}

/* How a job ended is told even to a client that is slow: it waits for nothing else. */
static void send_last(struct api_watch *wt, const struct buf *b)
{
    struct http_request *req = wt->req;
    http_stream_write(req, buf_data(b), buf_len(b));
    watch_drop(wt);
    http_stream_end(req);
}

void api_events_changed(struct api *a, int64_t job, bool final)
{
    struct buf b = BUF_INIT;
    LIST_FOR_EACH_SAFE(it, &a->watchers) {
        struct api_watch *wt = CONTAINER_OF(it, struct api_watch, link);
        if (wt->id && wt->id != job)
            continue;
        if (buf_len(&b) == 0)
            append_job(a, job, &b);
        if (wt->id && final)
            send_last(wt, &b);
        else
            send_text(wt, buf_data(&b), buf_len(&b));
    }
    buf_fini(&b);
}

void api_events_tick(struct ev_timer *t)
{
    struct api *a = CONTAINER_OF(t, struct api, tick);
    LIST_FOR_EACH_SAFE(it, &a->watchers) {
        struct api_watch *wt = CONTAINER_OF(it, struct api_watch, link);
        if (!wt->blocked)
            send_text(wt, ": alive\n\n", 9);
    }
    if (!list_empty(&a->watchers))
        ev_timer_set_after(a->loop, t, ALIVE_NS);
}

/* The id to watch, 0 for all jobs; -1 when it has answered. */
static int64_t watched_job(struct api_call *c)
{
    struct err err = ERR_INIT;
    char *text = api_query_str(c, "job");
    bool ok = !text || spec_parse_id(text, &c->job, &c->task);
    bool all = !text;

    free(text);
    if (all)
        return 0;
    if (!ok) {
        err_set(&err, ERR_INVALID, "job: expected a job id such as 12 or 12_5");
        api_reply_error(c->req, &err);
        return -1;
    }
    int64_t id = api_job_id(c);
    return id ? id : -1;
}

static bool has_ended(struct api_call *c, int64_t id)
{
    struct head_output o;
    bool known = head_output(c->head, id, 0, false, &o, NULL) == 1;

    free(o.path);
    return known && o.final;
}

void api_events(struct api_call *c)
{
    int64_t id = watched_job(c);

    if (id < 0)
        return;
    if (str_eq(c->msg->method, "HEAD")) {
        http_reply(c->req, 200, "text/event-stream", NULL);
        return;
    }
    struct api_watch *wt = mem_alloc(sizeof(*wt));
    wt->api = c->api;
    wt->req = c->req;
    wt->id = id;
    list_append(&c->api->watchers, &wt->link);
    http_request_set_data(c->req, wt, on_gone);
    http_stream_begin(c->req, 200, "text/event-stream", on_drained);
    send_text(wt, ": hive\n\n", 8);
    if (id && has_ended(c, id)) { /* nothing will change any more */
        struct buf b = BUF_INIT;
        append_job(c->api, id, &b);
        send_last(wt, &b);
        buf_fini(&b);
        return;
    }
    if (!ev_timer_armed(&c->api->tick))
        ev_timer_set_after(c->api->loop, &c->api->tick, ALIVE_NS);
}
