/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/node: the fields of the link protocol's messages, in one table that encoding
 * (link_msg.c) and decoding (link_read.c) go over. */
#ifndef HIVE_NODE_LINK_FIELD_H
#define HIVE_NODE_LINK_FIELD_H

#include "node/link_msg.h"

enum link_kind {
    LINK_INT,      /* int64_t in min .. max */
    LINK_INT32,    /* int32_t */
    LINK_KNOWN,    /* int64_t, left out when negative */
    LINK_NUMBER,   /* double, left out when negative or not finite */
    LINK_NUMBERS3, /* double[3], as far as they are known */
    LINK_BOOL,
    LINK_TEXT,  /* const char *, at most max bytes; NULL is left out */
    LINK_CHARS, /* char[max + 1] */
    LINK_WORDS, /* const char *const *, at most max of them */
    LINK_KEYS, /* const struct attempt_key *, and behind it, in the table's `count`, their number */
    LINK_PERCENTS, /* const signed char *, and behind it, in `count`, their number; -1 is null */
    LINK_USES,     /* const struct link_use *, the same */
    LINK_AFTER,    /* struct attempt_key as an object, left out when its job is 0 */
    LINK_BASE64,   /* const void *, with its length */
    LINK_STREAM,   /* bool: stderr */
    LINK_OUTCOME   /* enum attempt_outcome */
};

struct link_field {
    const char *name;
    uint32_t in; /* bit of each type it is in */
    enum link_kind kind;
    size_t offset, count; /* in struct link_msg */
    int64_t min, max;
    bool must; /* without it the message is malformed */
};

extern const struct link_field link_fields[];
extern const size_t link_field_count;

#define LINK_BIT(type) (UINT32_C(1) << (type))

#endif
