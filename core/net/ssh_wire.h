/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data types of SSH (RFC 4251, section 5) out of and into bytes, base64, and memory that held a
 * secret. Pure.
 *
 * Reading goes through a cursor whose failure sticks: a read beyond the end gives zero or an empty
 * span, and everything after it too, so that a message is read in one go and `bad` is looked at
 * once, before anything that was read is used.
 */
#ifndef HIVE_NET_SSH_WIRE_H
#define HIVE_NET_SSH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Borrowed bytes; data may be NULL when len is 0. */
struct ssh_span {
    const unsigned char *data;
    size_t len;
};

struct ssh_cursor {
    const unsigned char *p;
    size_t left; /* 0 when bad */
    bool bad;
};

struct ssh_cursor ssh_cursor(const void *data, size_t len);
struct ssh_span ssh_get_bytes(struct ssh_cursor *c, size_t len);
uint8_t ssh_get_u8(struct ssh_cursor *c);
uint32_t ssh_get_u32(struct ssh_cursor *c);
struct ssh_span ssh_get_string(struct ssh_cursor *c);
/* A positive mpint in its shortest form, without the zero byte in front of a high bit. Zero,
 * negative and padded numbers make the cursor bad. */
struct ssh_span ssh_get_mpint(struct ssh_cursor *c);
/* True when all was read and nothing was bad. */
bool ssh_cursor_done(const struct ssh_cursor *c);

bool ssh_span_is(struct ssh_span s, const char *text);
bool ssh_span_eq(struct ssh_span a, struct ssh_span b); /* not constant-time: for public values */

/* Appending. A length must fit into 32 bits. */
void ssh_put_u32(struct buf *b, uint32_t v);
void ssh_put_string(struct buf *b, const void *data, size_t len);
void ssh_put_text(struct buf *b, const char *text);
/* A positive number, big-endian, however padded. */
void ssh_put_mpint(struct buf *b, const unsigned char *data, size_t len);

/*
 * Strict base64 (RFC 4648, section 4): padded, no white space, unused bits zero. Writes at most
 * len / 4 * 3 bytes, which `out` must have room for; `out` may be `text` itself. False: malformed,
 * and what is in `out` means nothing.
 */
bool ssh_base64_decode(const char *text, size_t len, unsigned char *out, size_t *out_len);

/* Clears and frees. NULL is legal. */
void ssh_wipe_free(void *p, size_t len);
/* Clears the part of the stack that calls just returned from have used: libraries leave copies of
 * what they computed with there. */
void ssh_wipe_stack(void);

#endif
