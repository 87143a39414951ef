/* SPDX-License-Identifier: BSD-2-Clause */
/* Copies a job's output to this process's, live or as it is now. */
#ifndef HIVE_CMD_FOLLOW_H
#define HIVE_CMD_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct client;
struct err;

struct follow {
    const char *id;
    bool from_stderr; /* the job's stderr instead of its stdout */
    bool live;        /* until the job ends */
    int64_t tail;     /* last lines only; -1: everything */
    int64_t attempt;  /* -1: the latest */
    int fd;           /* where to write: 1 or 2 */
    bool raw;         /* unchanged even to a terminal */
};

/* 0 at the end of the output, or when the reader of `fd` went away. */
int follow_run(struct client *c, const struct follow *f, struct err *err);

/* Makes a stream of text safe for a terminal: lines, tabs and carriage returns stay, everything
 * else as str_append_safe. A UTF-8 character may come in two pieces. */
struct follow_filter {
    char held[4];
    size_t held_len;
};
void follow_filter_feed(struct follow_filter *f, const char *data, size_t len, struct buf *out);
void follow_filter_end(struct follow_filter *f, struct buf *out);

#endif
