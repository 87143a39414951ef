/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The REST API: /api/v1 over the Unix socket and loopback TCP. routes.def is the only list of
 * routes; the OpenAPI description (assets/openapi.json) is tested against it.
 *
 * To add a route: one line in routes.def, its function in an api_*.c file, its description in
 * openapi.json.
 */
#ifndef HIVE_HEAD_API_H
#define HIVE_HEAD_API_H

#include <stdbool.h>
#include <stdint.h>

struct api;
struct buf;
struct conf;
struct err;
struct ev_loop;
struct head;
struct log;

struct api *api_create(struct ev_loop *loop, const struct log *log, const struct conf *conf,
                       struct err *err);
void api_destroy(struct api *a);
/* The head may come after the listeners: until then every request is answered 503. */
void api_set_head(struct api *a, struct head *h);
/* Takes over listening sockets. */
int api_listen_unix(struct api *a, int fd, struct err *err);
int api_listen_tcp(struct api *a, int fd, struct err *err);
/* To be called from head_hooks.changed. */
void api_job_changed(struct api *a, int64_t job, bool final);
/* No new requests; answers under way go on. */
void api_stop(struct api *a);

#endif
