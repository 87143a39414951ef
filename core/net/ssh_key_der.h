/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reader of DER (X.690) as far as keys need it: one-byte tags, lengths below 2^24 in their
 * shortest form. Nothing is copied. On a failure nothing was consumed.
 */
#ifndef HIVE_NET_SSH_KEY_DER_H
#define HIVE_NET_SSH_KEY_DER_H

#include "net/ssh_wire.h"

enum der_tag {
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_SEQUENCE = 0x30,
    DER_CONTEXT_0 = 0xa0, /* constructed */
    DER_CONTEXT_1 = 0xa1,
    DER_CONTEXT_1_PRIMITIVE = 0x81
};

/* Takes the element at the front of *in, which must have that tag: *content is what is in it. */
bool der_take(struct ssh_span *in, enum der_tag tag, struct ssh_span *content);
/* Tag of the next element; -1 at the end. */
int der_peek(struct ssh_span in);
/* A non-negative INTEGER in shortest form, without the zero in front of a high bit; zero is one
 * byte. */
bool der_take_number(struct ssh_span *in, struct ssh_span *number);
/* The same where it is at most max. */
bool der_take_small(struct ssh_span *in, uint32_t max, uint32_t *value);
/* A BIT STRING of whole bytes. */
bool der_take_bits(struct ssh_span *in, struct ssh_span *bytes);

#endif
