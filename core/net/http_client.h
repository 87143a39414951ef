/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocking HTTP client for the command line: one connection to the daemon's Unix socket or a TCP
 * address, requests one after another. Every wait has a deadline. Redirects are not followed.
 *
 * A connection that the server closed in between is opened anew before a request is sent. Once a
 * request, or part of it, was sent it is never sent again: whether it took effect is unknown then,
 * and up to the caller (Idempotency-Key).
 */
#ifndef HIVE_NET_HTTP_CLIENT_H
#define HIVE_NET_HTTP_CLIENT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct http_client;

/* Connect within 10 s. ERR_UNAVAILABLE when nobody listens there, ERR_TIMEOUT. */
struct http_client *http_client_open_unix(const char *path, struct err *err);
struct http_client *http_client_open_tcp(const char *host_port, struct err *err);
void http_client_close(struct http_client *c); /* NULL is legal */

struct http_client_request {
    const char *method;
    const char *path;           /* with query, already encoded; ERR_INVALID if it can't be sent */
    const char *const *headers; /* "Name: value" strings, NULL-terminated; or NULL */
    const char *body;           /* or NULL */
    size_t body_len;
    const char *content_type; /* default application/json when there is a body */
    int64_t timeout_ns;       /* for reconnecting, sending, and up to the headers of the answer;
                                 0: 30 s, negative: for ever */
    int64_t idle_ns;          /* longest silence while the answer's body comes; 0: as timeout_ns,
                                 negative: for ever */
    bool last;                /* no further request will follow: the server may close at once, which
                                 is cheaper for it */
};

/*
 * Sends and reads the whole answer into body (appended, at most max_body bytes; NULL: dropped).
 * Returns the HTTP status, or -1: ERR_UNAVAILABLE (connection lost), ERR_TIMEOUT, ERR_TOO_LARGE,
 * ERR_CORRUPT (no HTTP).
 */
int http_client_call(struct http_client *c, const struct http_client_request *r, size_t max_body,
                     struct buf *body, struct err *err);

/*
 * The same with the body handed over as it comes. on_data returns false to stop (the connection is
 * closed, the call returns the status). *complete tells whether the body came to its regular end; a
 * connection lost in the middle of it is no error here, silence over idle_ns is (ERR_TIMEOUT).
 */
int http_client_stream(struct http_client *c, const struct http_client_request *r,
                       bool (*on_data)(void *arg, int status, const char *data, size_t len),
                       void *arg, bool *complete, struct err *err);

#endif
