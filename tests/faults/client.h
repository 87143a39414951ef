/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small HTTP client of the fault tests' own: it must not share mistakes with what it tests. One request at a time
 * over the daemon's Unix socket; never blocks but in client_call(). What doesn't parse is a lost connection.
 */
#ifndef HIVE_TESTS_FAULTS_CLIENT_H
#define HIVE_TESTS_FAULTS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct client {
    int fd;       /* -1: not connected */
    bool waiting; /* a request is on its way */
    char *out;    /* what is still to be sent */
    size_t out_len, out_at;
    char *in;
    size_t in_len, in_cap;
    int status; /* of the last answer */
    char *body; /* its body, inside `in`, NUL-terminated; valid until the next request */
};

/* False when nobody listens. */
bool client_open(struct client *c, const char *socket_path);
/* Also frees; the struct can be opened again. */
void client_close(struct client *c);
/* Sends a request. `key` (an idempotency key) and `body` may be NULL. False: the connection is lost and closed. */
bool client_send(struct client *c, const char *method, const char *target, const char *key,
                 const char *body);
/* 1: an answer is there, 0: not yet, -1: the connection was lost and is closed. */
int client_poll(struct client *c);
/* Connects, asks, waits for the answer for at most 60 s, returns the status or -1. *body is malloc'd. */
int client_call(const char *socket_path, const char *method, const char *target, char **body);

#endif
