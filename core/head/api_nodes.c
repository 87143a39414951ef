/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes: listing them, adding hosts and removing them. */
#include "head/api_priv.h"

#include "base/clock.h"
#include "base/str.h"
#include "store/store.h"

#define WORD_MAX 256

static void open_answer(struct jsonw *w, struct buf *b)
{
    jsonw_init(w, b);
    jsonw_obj_open(w, NULL);
    jsonw_int(w, "api", 1);
}

static void reply_nodes(struct head *h, struct http_request *req, const char *name)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    struct jsonw w;
    size_t count;

    open_answer(&w, &b);
    jsonw_arr_open(&w, "nodes");
    count = head_nodes(h, name, &w);
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    if (count > 0 || !name) {
        api_reply(req, 200, &b);
        return;
    }
    buf_fini(&b);
    err_set(&err, ERR_NOT_FOUND, "there is no node '%.60s'", name);
    err_hint(&err, "list them with: hive status nodes");
    api_reply_error(req, &err);
}

void api_nodes(struct api_call *c)
{
    reply_nodes(c->head, c->req, NULL);
}

void api_node(struct api_call *c)
{
    reply_nodes(c->head, c->req, c->name);
}

/* ---- changes ---- */

struct node_op {
    struct head_op op;
    struct head *head;
    struct http_request *req;
    char *name; /* to be shown; NULL: it was removed */
};

static void reply_removed(struct http_request *req)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    open_answer(&w, &b);
    jsonw_arr_open(&w, "nodes");
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    api_reply(req, 200, &b);
}

static void on_done(struct head_op *op, const struct err *err)
{
    struct node_op *n = CONTAINER_OF(op, struct node_op, op);

    if (n->req && err)
        api_reply_error(n->req, err);
    else if (n->req && n->name)
        reply_nodes(n->head, n->req, n->name);
    else if (n->req)
        reply_removed(n->req);
    free(n->name);
    free(n);
}

static void on_gone(struct http_request *req, void *data)
{
    (void)req;
    ((struct node_op *)data)->req = NULL;
}

static struct node_op *make_op(struct api_call *c, const char *name)
{
    struct node_op *n = mem_alloc(sizeof(*n));

    n->op.done = on_done;
    n->head = c->head;
    n->name = mem_strdup(name);
    return n;
}

/* `refused`: it has come to nothing, and `err` says why. */
static void submit_op(struct api_call *c, struct node_op *n, bool refused, const struct err *err)
{
    if (refused) {
        free(n->name);
        free(n);
        api_reply_error(c->req, err);
        return;
    }
    n->req = c->req;
    http_request_set_data(c->req, n, on_gone);
}

static int read_spec(yyjson_val *o, struct head_node_spec *s, struct err *err)
{
    static const char *const known[] = { "name", "host", "any", "threads", "memory", NULL };

    if (!yyjson_is_obj(o))
        return err_set(err, ERR_INVALID, "expected an object with a host");
    if (jsonx_only_fields(o, "", known, err) != 0 ||
        jsonx_get_str(o, "", "host", WORD_MAX, &s->host, err) < 0 ||
        jsonx_get_str(o, "", "name", WORD_MAX, &s->name, err) < 0 ||
        jsonx_get_bool(o, "", "any", &s->any, err) < 0 ||
        jsonx_get_int(o, "", "threads", 0, 65536, &s->threads, err) < 0 ||
        jsonx_get_size(o, "", "memory", &s->memory, err) < 0)
        return -1;
    if (!s->host)
        return err_set(err, ERR_INVALID, "host: missing; expected a name as ssh takes it");
    if (!s->name)
        s->name = s->host;
    return 0;
}

void api_node_add(struct api_call *c)
{
    struct head_node_spec s = { 0 };
    struct err err = ERR_INIT;
    size_t len;
    const char *body = http_request_body(c->req, &len);
    yyjson_doc *doc = jsonx_parse(body, len, &err);

    if (!doc || read_spec(yyjson_doc_get_root(doc), &s, &err) != 0) {
        api_reply_error(c->req, &err);
    } else {
        struct node_op *n = make_op(c, s.name);
        submit_op(c, n, head_node_add(c->head, &s, &n->op, &err) != 0, &err);
    }
    yyjson_doc_free(doc);
}

void api_node_remove(struct api_call *c)
{
    struct err err = ERR_INIT;
    struct node_op *n = make_op(c, NULL);

    submit_op(c, n, head_node_remove(c->head, c->name, &n->op, &err) != 0, &err);
}

void api_node_connect(struct api_call *c)
{
    struct err err = ERR_INIT;

    if (head_node_again(c->head, c->name, &err) != 0)
        api_reply_error(c->req, &err);
    else
        reply_nodes(c->head, c->req, c->name);
}

/* ---- measurements over time ---- */

#define SECONDS_MAX INT64_C(157680000) /* five years, the oldest that is kept */

/* "cpu_percent,load1" as bits; absent: all. */
static int read_series(struct api_call *c, uint64_t *series, struct err *err)
{
    char *text = api_query_str(c, "series");
    int rc = 0;

    *series = text && *text ? 0 : (UINT64_C(1) << STORE_SERIES_COUNT) - 1;
    for (const char *p = text; p && *p && rc == 0; p += *p == ',') {
        size_t len = strcspn(p, ",");
        int i = 0;
        while (i < STORE_SERIES_COUNT &&
               (strlen(store_series_name(i)) != len || strncmp(store_series_name(i), p, len) != 0))
            i++;
        if (i < STORE_SERIES_COUNT) {
            *series |= UINT64_C(1) << i;
        } else {
            rc = err_set(err, ERR_INVALID, "series: there is no '%.*s'", len < 40 ? (int)len : 40,
                         p);
            err_hint(err, "left out, all are listed: cpu_percent, iowait_percent, load1 and so on");
        }
        p += len;
    }
    free(text);
    return rc;
}

void api_node_metrics(struct api_call *c)
{
    struct head_history q = { .node = c->name, .max_points = 360 };
    int64_t seconds = 3600;
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    struct jsonw w;
    int rc = -1;

    if (api_query_int(c, "seconds", 1, SECONDS_MAX, &seconds) < 0 ||
        api_query_int(c, "points", 1, 10000, &q.max_points) < 0)
        return;
    q.to_ns = clock_wall_ns(ev_clock(c->api->loop));
    q.from_ns = q.to_ns - seconds * NS_PER_S;
    open_answer(&w, &b);
    jsonw_str(&w, "node", c->name);
    if (read_series(c, &q.series, &err) == 0)
        rc = head_node_history(c->head, &q, &w, &err);
    jsonw_obj_close(&w);
    if (rc == 1) {
        api_reply(c->req, 200, &b);
        return;
    }
    buf_fini(&b);
    if (rc == 0) {
        err_set(&err, ERR_NOT_FOUND, "there is no node '%.60s'", c->name);
        err_hint(&err, "list them with: hive status nodes");
    }
    api_reply_error(c->req, &err);
}
