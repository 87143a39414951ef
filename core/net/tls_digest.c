/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/tls_digest.h"

#include <bearssl_hash.h>

void digest_sha256(const void *a, size_t a_len, const void *b, size_t b_len,
                   unsigned char out[DIGEST_SHA256_SIZE])
{
    br_sha256_context c;
    br_sha256_init(&c);
    br_sha256_update(&c, a, a_len);
    if (b_len)
        br_sha256_update(&c, b, b_len);
    br_sha256_out(&c, out);
}
