/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA-256 (FIPS 180-4) by BearSSL. */
#ifndef HIVE_NET_TLS_DIGEST_H
#define HIVE_NET_TLS_DIGEST_H

#include <stddef.h>

#define DIGEST_SHA256_SIZE 32

/* Digest of the concatenation of two byte ranges (b may be NULL with b_len 0). */
void digest_sha256(const void *a, size_t a_len, const void *b, size_t b_len,
                   unsigned char out[DIGEST_SHA256_SIZE]);

#endif
