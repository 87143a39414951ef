/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HTTP server on the event loop: connections, limits and deadlines, keep-alive, bodies, whole and
 * streamed answers. It knows nothing of hive's API: a handler is called once per complete request
 * and answers now or later.
 *
 * Life of a request: accept → headers parsed → `check` hook (may refuse before a body is read) →
 * body read into memory up to LIMIT_HTTP_BODY → `handle` hook → http_reply() or http_stream_*() at
 * any later time → next request on the connection. Requests of one connection are handled one after
 * another. If the client goes away before the answer is complete, `gone` is called on the request
 * (if set) and it must not be answered any more.
 *
 * Whether a client has gone is known at once on a Unix socket. Over TCP a client that closed looks
 * like one that only finished sending, which is legal, so it is noticed when something is sent to
 * it: a stream that may be silent for long should send something now and then.
 *
 * A malformed request is answered with {"api":1,"error":{"kind":"invalid","message":"..."}} and
 * Connection: close; the hooks never see it. So is a body over the limit, before it is read; what
 * the client still sends is read and dropped for a while, so that it gets to see the answer.
 *
 * Resource rules: nothing is read while a request is being handled or more than LIMIT_HTTP_OUT
 * bytes are unsent. Accepting pauses for at most 1 s when descriptors run out (EMFILE, ENFILE) and
 * at LIMIT_HTTP_CONNECTIONS, after the longest idle connection was closed to make room; an eighth
 * of the limit is out of reach of TCP, so that strangers can't lock out the Unix socket. The
 * deadlines of limits.h close slow and idle peers, with 408 where an answer is due.
 *
 * Hooks and callbacks are called while the loop dispatches events and timers, never from inside
 * http_reply() and the http_stream functions and never in the loop's before-sleep phase: a
 * before-sleep hook may walk its own list and answer requests.
 */
#ifndef HIVE_NET_HTTP_SERVER_H
#define HIVE_NET_HTTP_SERVER_H

#include "net/http_parser.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct ev_loop;
struct http_request;
struct http_server;
struct log;

enum http_listener_kind { HTTP_UNIX, HTTP_TCP };

struct http_server_hooks {
    /* Headers are in, no body yet. Return true to go on; or answer with http_reply() and return
     * false (the body is dropped, the connection closed if there is one). NULL: always go on. */
    bool (*check)(struct http_request *req, void *arg);
    /* The request is complete. */
    void (*handle)(struct http_request *req, void *arg);
    void *arg;
};

/* loop and log (may be NULL) are borrowed and must outlive the server; hooks are copied. */
struct http_server *http_server_create(struct ev_loop *loop, const struct log *log,
                                       const struct http_server_hooks *hooks);
/* Closes all listeners and connections at once; `gone` is called for requests without an answer.
 * Not from within a hook or callback of the server. NULL is legal. */
void http_server_destroy(struct http_server *s);
/* Closes the listeners and idle connections; requests that were begun are answered, with
 * Connection: close. http_server_connections() says when that is done. */
void http_server_stop_accepting(struct http_server *s);

/* Takes over a listening non-blocking socket (see net/sock.h), on success only. */
int http_server_listen(struct http_server *s, int fd, enum http_listener_kind kind,
                       struct err *err);
size_t http_server_connections(const struct http_server *s);

/* What a handler may ask of a request; all borrowed, valid until it is answered, and with a
 * streamed answer until it ends. */
const struct http_message *http_request_message(const struct http_request *req);
/* The whole body, NUL-terminated; "" when there is none. *len may be NULL. */
const char *http_request_body(const struct http_request *req, size_t *len);
enum http_listener_kind http_request_kind(const struct http_request *req);
/* uid of the process at the other end, asked from the kernel once per connection (SO_PEERCRED,
 * sock_diag). -1 with ERR_NOT_FOUND or ERR_UNAVAILABLE if the kernel doesn't tell: a stranger. */
int http_request_uid(struct http_request *req, uid_t *uid, struct err *err);
/* For a handler that answers later: its own data, and a call when the client goes away first. */
void http_request_set_data(struct http_request *req, void *data,
                           void (*gone)(struct http_request *req, void *data));
void *http_request_data(const struct http_request *req);

/* Adds a response header (before the reply). Control bytes such as CR and LF are dropped from the
 * value. Date, Content-Length, Connection and Transfer-Encoding are the server's own business. */
void http_reply_header(struct http_request *req, const char *name, const char *value);
/* Whole answer; body (may be NULL) is taken over and emptied. content_type NULL: no such header.
 * HEAD gets headers only. The request is gone afterwards. */
void http_reply(struct http_request *req, int status, const char *content_type, struct buf *body);

/*
 * Streamed answer (chunked; after an HTTP/1.0 request delimited by closing). http_stream_write
 * appends; what was written in a turn is sent at its end. When unsent bytes are over LIMIT_HTTP_OUT
 * it returns false and `drained` (may be NULL; gets the data of http_request_set_data) is called
 * later, once the peer has taken enough: the producer should pause meanwhile. http_stream_end
 * finishes; the request is gone afterwards.
 */
void http_stream_begin(struct http_request *req, int status, const char *content_type,
                       void (*drained)(struct http_request *req, void *data));
bool http_stream_write(struct http_request *req, const void *data, size_t len);
void http_stream_end(struct http_request *req);
/* Ends abnormally (no final chunk), so that the client knows that something is missing. The request
 * is gone afterwards. */
void http_stream_abort(struct http_request *req);

#endif
