/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"

#include "base/mem.h"

#include <stdint.h>

#define BUF_MIN 64
#define BUF_KEEP (64 * 1024) /* an empty buffer holds on to no more than this */

void buf_fini(struct buf *b)
{
    free(b->mem);
    *b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b)
{
    if (b->cap > BUF_KEEP) {
        buf_fini(b);
        return;
    }
    b->start = 0;
    b->len = 0;
    if (b->mem)
        b->mem[0] = '\0';
}

const char *buf_data(const struct buf *b)
{
    return b->mem ? b->mem + b->start : "";
}

size_t buf_len(const struct buf *b)
{
    return b->len;
}

/* Makes room for `len` more bytes and the NUL: by moving the content to the front when at least
 * half of the allocation is consumed (each byte is then moved at most once per byte consumed), else
 * by doubling. */
static void make_room(struct buf *b, size_t len)
{
    size_t need;

    if (__builtin_add_overflow(b->len, len, &need) || __builtin_add_overflow(need, 1, &need))
        need = SIZE_MAX; /* mem_resize aborts */
    if (b->mem && b->start + need <= b->cap)
        return;
    if (need <= b->cap && b->start >= b->cap / 2) {
        memmove(b->mem, b->mem + b->start, b->len + 1);
        b->start = 0;
        return;
    }
    size_t cap = b->cap ? b->cap : BUF_MIN;
    size_t total;
    if (__builtin_add_overflow(b->start, need, &total))
        total = SIZE_MAX;
    while (cap < total && cap <= SIZE_MAX / 2)
        cap *= 2;
    if (cap < total)
        cap = total;
    b->mem = mem_resize(b->mem, cap, 1);
    b->cap = cap;
}

char *buf_reserve(struct buf *b, size_t len)
{
    make_room(b, len);
    b->mem[b->start + b->len] = '\0';
    return b->mem + b->start + b->len;
}

void buf_added(struct buf *b, size_t len)
{
    if (!b->mem)
        return;
    b->len += len;
    b->mem[b->start + b->len] = '\0';
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(buf_reserve(b, len), data, len);
    buf_added(b, len);
}

void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_append_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    char *at = buf_reserve(b, BUF_MIN);
    size_t room = b->cap - b->start - b->len;

    va_copy(again, ap);
    int len = vsnprintf(at, room, fmt, ap);
    if (len >= 0 && (size_t)len >= room) {
        at = buf_reserve(b, (size_t)len);
        len = vsnprintf(at, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    buf_added(b, len > 0 ? (size_t)len : 0);
}

void buf_consume(struct buf *b, size_t len)
{
    if (len >= b->len) {
        buf_clear(b);
        return;
    }
    b->start += len;
    b->len -= len;
}

void buf_truncate(struct buf *b, size_t len)
{
    if (len >= b->len)
        return;
    b->len = len;
    b->mem[b->start + len] = '\0';
}

char *buf_take(struct buf *b, size_t *len)
{
    char *out = buf_reserve(b, 0) - b->len;

    if (len)
        *len = b->len;
    if (b->start)
        memmove(b->mem, out, b->len + 1);
    out = b->mem;
    *b = (struct buf)BUF_INIT;
    return out;
}
