/* SPDX-License-Identifier: BSD-2-Clause */
#include "hive_bearssl_pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct hive_bearssl_block {
    struct hive_bearssl_block *next, **link; /* *link is this block */
    size_t size;
    max_align_t data[];
};

static struct hive_bearssl_block *block_of(void *data)
{
    return (void *)((char *)data - offsetof(struct hive_bearssl_block, data));
}

static void block_free(struct hive_bearssl_pool *pool, struct hive_bearssl_block *block)
{
    *block->link = block->next;
    if (block->next != NULL)
        block->next->link = block->link;
    pool->used -= block->size;
    explicit_bzero(block, sizeof *block + block->size);
    free(block);
}

void *hive_bearssl_alloc(size_t size, void **abstract)
{
    struct hive_bearssl_pool *pool = *abstract;
    struct hive_bearssl_block *block;

    if (size > SIZE_MAX - sizeof *block - pool->used)
        return NULL;
    if (pool->limit != 0 && pool->used + size > pool->limit)
        return NULL;
    block = malloc(sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->size = size;
    block->link = &pool->blocks;
    block->next = pool->blocks;
    if (block->next != NULL)
        block->next->link = &block->next;
    pool->blocks = block;
    pool->used += size;
    return block->data;
}

void hive_bearssl_free(void *data, void **abstract)
{
    if (data != NULL)
        block_free(*abstract, block_of(data));
}

void *hive_bearssl_realloc(void *data, size_t size, void **abstract)
{
    size_t old = data != NULL ? block_of(data)->size : 0;
    void *grown = hive_bearssl_alloc(size, abstract);

    if (grown == NULL)
        return NULL;
    if (data != NULL)
        memcpy(grown, data, old < size ? old : size);
    hive_bearssl_free(data, abstract);
    return grown;
}

void hive_bearssl_pool_fini(struct hive_bearssl_pool *pool)
{
    while (pool->blocks != NULL)
        block_free(pool, pool->blocks);
}
