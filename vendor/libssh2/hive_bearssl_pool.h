/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of one libssh2 session. libssh2 frees key material without clearing it, loses some at each
 * key exchange (the unused MAC keys of AES-GCM) and lets a server grow its queues without bound.
 * With this allocator freed blocks are cleared, what was lost goes with the pool, and there is a
 * limit. This header, unlike hive_bearssl.h, is for those who use libssh2:
 *
 *     struct hive_bearssl_pool pool = { .limit = 64 << 20 };
 *     session = libssh2_session_init_ex(hive_bearssl_alloc, hive_bearssl_free, hive_bearssl_realloc,
 *                                       &pool);
 *     ...
 *     libssh2_session_free(session);
 *     hive_bearssl_pool_fini(&pool);
 *
 * The session's `abstract` must point to the pool: make it the first member of what other callbacks
 * need. Memory that libssh2 gives away is freed with libssh2_free(), what a sign callback returns
 * must be allocated with hive_bearssl_alloc(). Not for several threads at once.
 */
#ifndef HIVE_BEARSSL_POOL_H
#define HIVE_BEARSSL_POOL_H

#include <stddef.h>

struct hive_bearssl_block;

/* Zeros are a pool without a limit. */
struct hive_bearssl_pool {
    struct hive_bearssl_block *blocks;
    size_t used;  /* bytes asked for and not freed */
    size_t limit; /* allocations beyond this many bytes in use fail; 0: no limit */
};

/* *abstract is the struct hive_bearssl_pool. NULL where there is no memory or the limit is reached. */
void *hive_bearssl_alloc(size_t size, void **abstract);
void *hive_bearssl_realloc(void *data, size_t size, void **abstract);

/* Clears and frees. NULL is legal. */
void hive_bearssl_free(void *data, void **abstract);

/* Clears and frees all that is left, after libssh2_session_free(). The pool can be used again. */
void hive_bearssl_pool_fini(struct hive_bearssl_pool *pool);

#endif
