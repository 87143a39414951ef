/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Beowulf's client and daemon say to each other over ~/.beowulf/run/daemon. Bytes in, messages
 * out; no socket here.
 *
 *     {"cmd":"allocate","app":"firefox"}      {"host":"host1.local","reason":"lowest iowait"}
 *     {"cmd":"report","app":"firefox","pid":12345,"host":"host1.local"}      {"status":"ok"}
 *     anything else                           {"error":"..."}
 *
 * How a request ends is written nowhere, so every way is taken: an object ends with its last
 * bracket, whatever follows, with newlines within it or none after it; what is no object ends with a
 * newline; and half-closing ends anything. Several requests may follow each other. An answer is one
 * object on a line. Unknown fields are ignored.
 *
 * Use: feed until BEOWULF_NEED_MORE; after BEOWULF_REQUEST or BEOWULF_REFUSED answer, and call
 * beowulf_wire_next(); after BEOWULF_BROKEN answer and close.
 */
#ifndef HIVE_NET_BEOWULF_WIRE_H
#define HIVE_NET_BEOWULF_WIRE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BEOWULF_MESSAGE_MAX ((size_t)64 * 1024)
#define BEOWULF_NAME_MAX 255    /* app, host */
#define BEOWULF_REASON_MAX 4096 /* reason, error */

enum beowulf_cmd { BEOWULF_ALLOCATE, BEOWULF_REPORT };

struct beowulf_request {
    enum beowulf_cmd cmd;
    char *app;   /* never NULL or empty; may hold a command line, see hosts_app_name() */
    char *host;  /* report: NULL where it isn't said */
    int64_t pid; /* report: 0 where it isn't said */
};

enum beowulf_event {
    BEOWULF_NEED_MORE, /* all bytes were taken, no request is complete */
    BEOWULF_REQUEST,   /* w->request */
    BEOWULF_REFUSED,   /* a message that is no request: w->err says why; others may follow */
    BEOWULF_BROKEN     /* it can't be known where the next message starts: w->err, then close */
};

struct beowulf_wire {
    struct beowulf_request request; /* valid from BEOWULF_REQUEST to beowulf_wire_next() */
    struct err err;                 /* valid from BEOWULF_REFUSED or BEOWULF_BROKEN on */
    /* private */
    struct buf in; /* the message so far */
    enum beowulf_event event;
    unsigned depth;
    bool in_string, escaped;
};

void beowulf_wire_init(struct beowulf_wire *w);
void beowulf_wire_fini(struct beowulf_wire *w);
/* Feeds bytes; *used says how many were taken, the rest is to be fed again. Returns after each
 * message, and then the same again, taking nothing, until beowulf_wire_next(). */
enum beowulf_event beowulf_wire_feed(struct beowulf_wire *w, const char *data, size_t len,
                                     size_t *used);
/* The stream ended (half-closed, or nothing came for too long): what is there is the message.
 * BEOWULF_NEED_MORE when nothing is. */
enum beowulf_event beowulf_wire_end(struct beowulf_wire *w);
/* After an answer: forgets the message. BEOWULF_BROKEN stays. */
void beowulf_wire_next(struct beowulf_wire *w);

/* Answers and, for a client, requests, each with its newline; appended. Texts are cut at the limits
 * above. `reason` is made safe for terminals: a client prints it as it is. */
void beowulf_write_allocated(struct buf *b, const char *host, const char *reason);
void beowulf_write_reported(struct buf *b);
void beowulf_write_error(struct buf *b, const struct err *err);
void beowulf_write_request(struct buf *b, const struct beowulf_request *request);

/* An answer, taken apart. All NULL: a report was taken note of. */
struct beowulf_reply {
    char *host;   /* NULL where there is none */
    char *reason; /* the same */
    char *error;  /* the same; then the others are NULL */
};

/* Reads an answer of either daemon, hive's or Beowulf's. ERR_INVALID when it is none. */
int beowulf_reply_parse(const char *data, size_t len, struct beowulf_reply *reply, struct err *err);
void beowulf_reply_fini(struct beowulf_reply *reply);

#endif
