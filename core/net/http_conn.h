/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to the HTTP server (http_server.c: listeners and the set of connections; http_conn.c: one
 * connection; http_reply.c: answers).
 *
 * A connection is entered from an event (its descriptor, its deadline, the server's `later` timer)
 * or by a call of the application (http_reply and friends). Each entry ends in conn_finish(), which
 * sends what can be sent and then closes the connection or arms its watch and deadline. Only
 * entries from events call the application; what a call or the before-sleep hook finds to be called
 * is put on the `later` list.
 *
 * Most connections of the command line live for one turn: accepted, read, answered in the
 * before-sleep phase, closed. They are never registered with epoll: registration of a connection
 * whose request is being handled is put off to the server's own before-sleep hook, which is last in
 * the order because it is added anew whenever there is something to settle.
 */
#ifndef HIVE_NET_HTTP_CONN_H
#define HIVE_NET_HTTP_CONN_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "ev/ev.h"
#include "net/http_parser.h"
#include "net/http_server.h"

#define HTTP_SCRATCH (64 * 1024)
#define HTTP_POOL 64          /* connection objects kept for reuse */
#define HTTP_COPY (16 * 1024) /* bodies up to this are copied behind their header */
#define HTTP_KEEP 4096        /* a buffer over this is given back when a connection is idle */
#define HTTP_LINGER_S 5       /* what comes after an early answer is dropped for this long, */
#define HTTP_LINGER_BYTES (INT64_C(2) * LIMIT_HTTP_BODY) /* and up to this many bytes */

enum conn_state {
    CONN_IDLE,    /* nothing of a request has come */
    CONN_HEADERS, /* reading */
    CONN_BODY,    /* reading, `check` has passed */
    CONN_HANDLE,  /* the application has it */
    CONN_STREAM,  /* the answer has begun */
    CONN_CLOSING, /* answered: to be closed when all is sent */
    CONN_LINGER,  /* all is sent: reading and dropping */
    CONN_CLOSED
};

struct http_request {
    bool active; /* from `check` on, until answered or gone */
    struct buf body;
    struct buf headers; /* of the answer, added by the application */
    void *data;
    void (*gone)(struct http_request *req, void *data);
    void (*drained)(struct http_request *req, void *data);
};

enum conn_uid { CONN_UID_UNKNOWN, CONN_UID_FOUND, CONN_UID_NONE };

struct http_conn {
    struct ev_io io;
    struct ev_timer timer; /* fires no later than the deadlines; found too early, it is set again */
    struct list link;      /* server->conns, or pool */
    struct list idle;      /* server->idle, while CONN_IDLE */
    struct list settle;    /* server->settle */
    struct list later;     /* server->later */
    struct http_server *server;
    enum http_listener_kind kind;
    enum conn_state state;
    bool running;      /* an outer frame will call conn_finish() */
    bool broken;       /* sending or receiving failed: close it */
    bool linger;       /* the client may still be sending when the answer is out */
    bool head;         /* answers have no body */
    bool chunked;      /* the streamed answer is */
    bool close_after;  /* the streamed answer is the last one */
    bool want_drained; /* http_stream_write() has returned false */
    bool unwanted;     /* something can be read while nothing is to be read */
    enum conn_uid uid_known;
    uid_t uid;
    int64_t deadline_ns;       /* of the state; INT64_MAX: none */
    int64_t write_deadline_ns; /* while something is unsent */
    int64_t linger_left;
    struct http_parser parser;
    struct http_request req;
    struct buf in;   /* pipelined bytes behind the request being handled */
    struct buf out;  /* unsent */
    struct buf tail; /* unsent, behind `out`: a big body that was not copied */
};

struct http_listener {
    struct ev_io io;
    struct list link;
    struct http_server *server;
    enum http_listener_kind kind;
};

struct http_server {
    struct ev_loop *loop;
    const struct log *log;
    struct http_server_hooks hooks;
    struct list listeners;
    struct list conns, idle, settle, later, pool;
    size_t count[2]; /* open connections by kind */
    size_t pool_count;
    bool stopping;
    bool paused; /* some listener is */
    int64_t warned_ns;
    struct ev_timer accept_timer, later_timer;
    struct ev_hook hook;
    int64_t date_s; /* the second `date` is of */
    char date[32];
    char *scratch; /* HTTP_SCRATCH bytes: what was just read */
};

/* Where conn_finish() is called from. */
enum conn_where { IN_EVENT, IN_CALL, IN_HOOK };

/* http_conn.c */
void conn_open(struct http_server *s, int fd, enum http_listener_kind kind);
/* Ends it at once; `gone` is called if a request is without an answer. */
void conn_close(struct http_conn *c);
void conn_finish(struct http_conn *c, enum conn_where where);
void conn_set_state(struct http_conn *c, enum conn_state state);
/* Feeds pipelined bytes, or closes what broke: an entry of the `later` list. */
void conn_resume(struct http_conn *c);
void conn_settle_add(struct http_conn *c);
size_t conn_unsent(const struct http_conn *c);
void conn_free(struct http_conn *c);

/* http_reply.c */
/* Answers what is no valid request, in words of ours (ASCII without quotes). */
void reply_refusal(struct http_conn *c, int status, const char *reason);
/* Where the next bytes to send go. */
struct buf *reply_buf(struct http_conn *c);

/* http_server.c */
void server_conn_closed(struct http_server *s);

static inline bool conn_is_reading(const struct http_conn *c)
{
    return c->state <= CONN_BODY;
}

#endif
