/* SPDX-License-Identifier: BSD-2-Clause */
/* Health, version, the API's own description, and the Go workload manager's status pages. */
#include "head/api_priv.h"

#include "assets.h"
#include "base/clock.h"
#include "version.h"

/* One node as the Go manager describes it. */
static void put_go_node(struct api_call *c, const struct head_totals *t, const char *key,
                        struct jsonw *w)
{
    const char *name, *address;
    head_node_name(c->head, &name, &address);
    jsonw_obj_open(w, key);
    jsonw_str(w, "address", address);
    jsonw_int(w, "max_threads", t->threads_total);
    jsonw_int(w, "used_threads", t->threads_used);
    jsonw_int(w, "available_threads",
              t->threads_total > t->threads_used ? t->threads_total - t->threads_used : 0);
    jsonw_int(w, "queued_jobs", t->queued);
    jsonw_int(w, "running_jobs", t->running);
    jsonw_int(w, "completed_jobs", t->finished);
    jsonw_time(w, "last_heartbeat", clock_wall_ns(ev_clock(c->api->loop)));
    jsonw_bool(w, "is_healthy", true);
    if (key)
        jsonw_obj_close(w);
}

static bool totals(struct api_call *c, struct head_totals *t)
{
    struct err err = ERR_INIT;
    if (head_totals(c->head, t, &err) == 0)
        return true;
    api_reply_error(c->req, &err);
    return false;
}

void api_status(struct api_call *c)
{
    struct head_totals t;
    struct buf b = BUF_INIT;
    struct jsonw w;
    if (!totals(c, &t))
        return;
    jsonw_init(&w, &b);
    put_go_node(c, &t, NULL, &w);
    jsonw_int(&w, "api", 1);
    jsonw_obj_close(&w);
    api_reply(c->req, 200, &b);
}

void api_cluster_status(struct api_call *c)
{
    struct head_totals t;
    struct buf b = BUF_INIT;
    struct jsonw w;
    if (!totals(c, &t))
        return;
    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    put_go_node(c, &t, "head_node", &w);
    jsonw_arr_open(&w, "worker_nodes");
    jsonw_arr_close(&w);
    jsonw_int(&w, "total_jobs", t.queued + t.running + t.finished);
    jsonw_obj_close(&w);
    api_reply(c->req, 200, &b);
}

void api_health(struct api_call *c)
{
    struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"api\":1,\"status\":\"ok\"}");
    api_reply(c->req, 200, &b);
}

void api_version(struct api_call *c)
{
    struct buf b = BUF_INIT;
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_str(&w, "version", HIVE_VERSION);
    jsonw_obj_close(&w);
    api_reply(c->req, 200, &b);
}

void api_openapi(struct api_call *c)
{
    struct buf b = BUF_INIT;
    buf_append(&b, asset_head_openapi_json, asset_head_openapi_json_len);
    api_reply(c->req, 200, &b);
}
