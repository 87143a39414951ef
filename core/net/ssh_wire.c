/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_wire.h"

#include "base/buf.h"

#include <string.h>

struct ssh_cursor ssh_cursor(const void *data, size_t len)
{
    return (struct ssh_cursor){ .p = data, .left = len, .bad = false };
}

static struct ssh_span cursor_fail(struct ssh_cursor *c)
{
    c->bad = true;
    c->left = 0;
    return (struct ssh_span){ NULL, 0 };
}

struct ssh_span ssh_get_bytes(struct ssh_cursor *c, size_t len)
{
    if (c->bad || len > c->left)
        return cursor_fail(c);
    struct ssh_span s = { c->p, len };

    if (len > 0)
        c->p += len;
    c->left -= len;
    return s;
}

uint8_t ssh_get_u8(struct ssh_cursor *c)
{
    struct ssh_span s = ssh_get_bytes(c, 1);

    return s.len == 1 ? s.data[0] : 0;
}

uint32_t ssh_get_u32(struct ssh_cursor *c)
{
    struct ssh_span s = ssh_get_bytes(c, 4);

    if (s.len != 4)
        return 0;
    return (uint32_t)s.data[0] << 24 | (uint32_t)s.data[1] << 16 | (uint32_t)s.data[2] << 8 |
           s.data[3];
}

struct ssh_span ssh_get_string(struct ssh_cursor *c)
{
    uint32_t len = ssh_get_u32(c);

    return ssh_get_bytes(c, len);
}

struct ssh_span ssh_get_mpint(struct ssh_cursor *c)
{
    struct ssh_span s = ssh_get_string(c);

    if (s.len == 0 || (s.data[0] & 0x80) != 0)
        return cursor_fail(c);
    if (s.data[0] == 0) {
        if (s.len == 1 || (s.data[1] & 0x80) == 0)
            return cursor_fail(c);
        s.data++;
        s.len--;
    }
    return s;
}

bool ssh_cursor_done(const struct ssh_cursor *c)
{
    return !c->bad && c->left == 0;
}

bool ssh_span_is(struct ssh_span s, const char *text)
{
    return s.len == strlen(text) && (s.len == 0 || memcmp(s.data, text, s.len) == 0);
}

bool ssh_span_eq(struct ssh_span a, struct ssh_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

void ssh_put_u32(struct buf *b, uint32_t v)
{
    unsigned char bytes[4] = { (unsigned char)(v >> 24), (unsigned char)(v >> 16),
                               (unsigned char)(v >> 8), (unsigned char)v };

    buf_append(b, bytes, sizeof bytes);
}

void ssh_put_string(struct buf *b, const void *data, size_t len)
{
    ssh_put_u32(b, (uint32_t)len);
    if (len > 0)
        buf_append(b, data, len);
}

void ssh_put_text(struct buf *b, const char *text)
{
    ssh_put_string(b, text, strlen(text));
}

void ssh_put_mpint(struct buf *b, const unsigned char *data, size_t len)
{
    while (len > 0 && *data == 0) {
        data++;
        len--;
    }
    bool pad = len > 0 && (data[0] & 0x80) != 0;

    ssh_put_u32(b, (uint32_t)(len + pad));
    if (pad)
        buf_append_char(b, 0);
    if (len > 0)
        buf_append(b, data, len);
}

/* 64: not a digit. Without a table, so that the time doesn't depend on the bytes of a key. */
static unsigned base64_value(unsigned char c)
{
    unsigned v = 64, upper = c - 'A', lower = c - 'a', digit = c - '0';

    v = upper < 26 ? upper : v;
    v = lower < 26 ? lower + 26 : v;
    v = digit < 10 ? digit + 52 : v;
    v = c == '+' ? 62 : v;
    return c == '/' ? 63 : v;
}

bool ssh_base64_decode(const char *text, size_t len, unsigned char *out, size_t *out_len)
{
    size_t n = 0, pad = 0;

    if (len % 4 != 0)
        return false;
    if (len > 0 && text[len - 1] == '=')
        pad = text[len - 2] == '=' ? 2 : 1;
    for (size_t i = 0; i < len; i += 4) {
        size_t missing = i + 4 == len ? pad : 0;
        uint32_t v = 0;
        unsigned bad = 0;

        for (size_t j = 0; j < 4; j++) {
            unsigned d = j < 4 - missing ? base64_value((unsigned char)text[i + j]) : 0;

            bad |= d & 64;
            v = v << 6 | d;
        }
        if (bad != 0 || (missing == 1 && (v & 0xff) != 0) || (missing == 2 && (v & 0xffff) != 0))
            return false;
        out[n++] = (unsigned char)(v >> 16);
        if (missing < 2)
            out[n++] = (unsigned char)(v >> 8);
        if (missing < 1)
            out[n++] = (unsigned char)v;
    }
    *out_len = n;
    return true;
}

void ssh_wipe_free(void *p, size_t len)
{
    if (!p)
        return;
    explicit_bzero(p, len);
    free(p);
}

__attribute__((noinline)) void ssh_wipe_stack(void)
{
    unsigned char used[24 * 1024]; /* BearSSL's RSA needs up to 10 kB at 4096 bits */

    explicit_bzero(used, sizeof used);
}
