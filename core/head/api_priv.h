/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of the API; only core/head/api*.c include this. */
#ifndef HIVE_HEAD_API_PRIV_H
#define HIVE_HEAD_API_PRIV_H

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/list.h"
#include "base/mem.h"
#include "ev/ev.h"
#include "head/api.h"
#include "head/head.h"
#include "net/http_server.h"

#include <sys/types.h>

struct api {
    struct ev_loop *loop;
    const struct log *log;
    const struct conf *conf;
    struct http_server *server;
    struct head *head;
    struct list waits;     /* api_wait.link: long polls for a job's end */
    struct list followers; /* api_follow.link: streams of output */
    struct list watchers;  /* api_watch.link: event streams */
    struct ev_timer tick;  /* keeps event streams alive */
};

/* One request on its way through a route's function. Lives until that returns; what answers later
 * copies what it needs. */
struct api_call {
    struct api *api;
    struct head *head;
    struct http_request *req;
    const struct http_message *msg;
    int64_t job, task; /* from {id}; task -1 when none */
    char name[160];    /* from {name}, decoded */
};

typedef void api_fn(struct api_call *c);
#define ROUTE(method, path, fn, params) api_fn fn;
#include "head/routes.def"
#undef ROUTE

/* Compares a path with a route's, part by part; fills job and task from {id}. 1; 0: another; -1: it
 * would be, but {id} is malformed. */
int api_match(const char *path, const char *pattern, struct api_call *c);
/* Answers. `body` is taken over. */
void api_reply(struct http_request *req, int status, struct buf *body);
void api_reply_error(struct http_request *req, const struct err *err);
/* Query parameters: 1 present, 0 absent, -1 answered with 400. */
int api_query_int(struct api_call *c, const char *name, int64_t min, int64_t max, int64_t *out);
bool api_query_flag(struct api_call *c, const char *name);
char *api_query_str(struct api_call *c, const char *name); /* malloc'd or NULL */
/* The job's internal id, or answers 404 and returns 0. */
int64_t api_job_id(struct api_call *c);
/* That there is no such job, or what there is in place of such a task. Returns -1. */
int api_no_job(struct api_call *c, struct err *err);
/* The user behind the request. */
uid_t api_uid(struct http_request *req);
/* The name of that one, or the uid when it has none or it can't be found out. malloc'd. */
char *api_user(struct api_call *c);

/* api_guard.c: who may ask what. False when it has answered. */
bool api_guard(struct api *a, struct http_request *req);

/* api_logs.c, api_events.c: a job changed state. */
void api_logs_changed(struct api *a, int64_t job);
void api_events_changed(struct api *a, int64_t job, bool final);
void api_waits_changed(struct api *a, int64_t job);
void api_events_tick(struct ev_timer *t);

#endif
