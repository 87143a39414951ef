/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A growable byte buffer, always NUL-terminated one past `len` so that text can be printed, with
 * consumption from the front (for sockets). `struct buf b = BUF_INIT;` ... `buf_fini(&b)`.
 * Not for bytes of unbounded size: callers compare buf_len() with a limit before they append.
 */
#ifndef HIVE_BASE_BUF_H
#define HIVE_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *mem;    /* allocation or NULL */
    size_t start; /* consumed bytes at the front of mem */
    size_t len;   /* bytes of content */
    size_t cap;   /* bytes allocated */
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        .mem = NULL                                                                                \
    }

void buf_fini(struct buf *b);  /* frees; the buffer is empty and usable afterwards */
void buf_clear(struct buf *b); /* len 0, memory kept (given back when over 64 KiB) */

/* First byte of the content; "" when empty. Borrowed, valid until the next change. */
const char *buf_data(const struct buf *b);
size_t buf_len(const struct buf *b);

void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_str(struct buf *b, const char *s);
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Makes room for `len` more bytes and returns where to write them; buf_added() then says how many
 * were (at most `len`). The way to read(2) into a buffer. */
char *buf_reserve(struct buf *b, size_t len);
void buf_added(struct buf *b, size_t len);

/* Drops `len` bytes (at most all) from the front. Amortised O(1). */
void buf_consume(struct buf *b, size_t len);

/* Cuts the content to `len` bytes; no effect when it is shorter. */
void buf_truncate(struct buf *b, size_t len);

/* Gives the content away as a malloc'd NUL-terminated string and empties the buffer. Never NULL. */
char *buf_take(struct buf *b, size_t *len);

#endif
