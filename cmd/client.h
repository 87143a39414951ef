/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection to the daemon's socket and calls of its API, with errors as the daemon put them.
 *
 *   struct client c;
 *   if (client_open(&c, &err) != 0) ...
 *   yyjson_doc *doc = client_get(&c, "/api/v1/nodes", &err);
 *   client_close(&c);
 */
#ifndef HIVE_CMD_CLIENT_H
#define HIVE_CMD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

struct buf;
struct err;
struct http_client;

/* How long a client that had reached the daemon waits for it to come back. */
#define CLIENT_RETRY_SUBMIT_NS (INT64_C(20) * 1000000000)
#define CLIENT_RETRY_WAIT_NS (INT64_C(60) * 1000000000)

struct client {
    struct http_client *http; /* NULL while not connected */
    char *socket_path;
    bool lost; /* the last call failed because the connection did, not because the daemon said so */
};

struct client_request {
    const char *method;
    const char *path;            /* with query */
    const struct buf *body;      /* JSON, or NULL */
    const char *idempotency_key; /* or NULL */
    int64_t timeout_ns;          /* up to the answer's headers; 0: 30 s */
};

/* Connects to RUNTIME/hive.sock. ERR_UNAVAILABLE "no hive daemon is running". To be closed in any
 * case. */
int client_open(struct client *c, struct err *err);
void client_close(struct client *c);

/* Connects again after a loss, trying until the monotonic time `deadline_ns`. */
int client_reconnect(struct client *c, int64_t deadline_ns, struct err *err);

/* Calls and appends the answer's body. An answer other than 2xx is -1 with the daemon's error. */
int client_call(struct client *c, const struct client_request *r, struct buf *answer,
                struct err *err);
/* The same, the answer parsed: yyjson_doc_free(). NULL on failure. */
yyjson_doc *client_call_json(struct client *c, const struct client_request *r, struct err *err);
yyjson_doc *client_get(struct client *c, const char *path, struct err *err);

struct client_stream {
    const char *path;
    int64_t idle_ns; /* longest silence; negative: for ever */
    /* Called with bytes of a 2xx answer; false stops. */
    bool (*on_data)(void *arg, const char *data, size_t len);
    void *arg;
};

/* Streams an answer. 0 when it came to its regular end or on_data stopped it (*complete tells
 * which); -1 as client_call, with c->lost set when the connection broke. */
int client_stream(struct client *c, const struct client_stream *s, bool *complete, struct err *err);

/* Fills err from the body of an answer with that HTTP status. Returns -1. */
int client_decode_error(int status, const char *body, size_t len, struct err *err);

/* "12" and "12_5" are job ids; ERR_USAGE otherwise. */
int client_check_id(const char *id, struct err *err);
/* Appends "/api/v1/jobs/ID" and, if not NULL, "/what". */
void client_job_path(struct buf *b, const char *id, const char *what);

#endif
