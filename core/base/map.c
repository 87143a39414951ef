/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/map.h"

#include "base/mem.h"

#define MAP_MIN 16 /* a power of two, like every capacity: positions are masked */

/* The end of murmur3: every bit of the key reaches every bit of the position. */
static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    h ^= h >> 33;
    return h;
}

uint64_t map_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return mix(h);
}

/* True when an element whose home is `home` may move from `from` back into the hole at `hole`:
 * it must not get before its home on the (circular) way of a search. */
static bool may_fill(size_t home, size_t hole, size_t from, size_t mask)
{
    return ((from - home) & mask) >= ((from - hole) & mask);
}

static bool too_full(size_t used, size_t cap)
{
    return used + 1 > cap - cap / 4;
}

/* Slot of the key, or the free one where it would go. cap > 0. */
static size_t find(const struct map_slot *slots, size_t cap, uint64_t key)
{
    size_t i = mix(key) & (cap - 1);

    while (slots[i].key != 0 && slots[i].key != key)
        i = (i + 1) & (cap - 1);
    return i;
}

void map_init(struct map *m)
{
    *m = (struct map){ 0 };
}

void map_fini(struct map *m)
{
    free(m->slots);
    map_init(m);
}

void *map_get(const struct map *m, uint64_t key)
{
    if (m->cap == 0 || key == 0)
        return NULL;
    return m->slots[find(m->slots, m->cap, key)].value;
}

static void map_grow(struct map *m)
{
    size_t cap = m->cap ? m->cap * 2 : MAP_MIN;
    struct map_slot *slots = mem_alloc_array(cap, sizeof *slots);

    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key != 0)
            slots[find(slots, cap, m->slots[i].key)] = m->slots[i];
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
}

void map_put(struct map *m, uint64_t key, void *value)
{
    /* A zero key or NULL value is a defect of the caller that would only show much later. */
    if (key == 0 || !value)
        abort();
    if (m->cap == 0 || too_full(m->used, m->cap))
        map_grow(m);
    struct map_slot *s = &m->slots[find(m->slots, m->cap, key)];
    if (s->key == 0)
        m->used++;
    *s = (struct map_slot){ key, value };
}

void *map_remove(struct map *m, uint64_t key)
{
    if (m->cap == 0 || key == 0)
        return NULL;
    size_t mask = m->cap - 1;
    size_t hole = find(m->slots, m->cap, key);
    void *value = m->slots[hole].value;
    if (!value)
        return NULL;
    /* What follows is moved back into the hole: no tombstones, searches stay short. */
    for (size_t i = (hole + 1) & mask; m->slots[i].key != 0; i = (i + 1) & mask) {
        if (may_fill(mix(m->slots[i].key) & mask, hole, i, mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){ 0 };
    m->used--;
    return value;
}

size_t map_count(const struct map *m)
{
    return m->used;
}

void *map_next(const struct map *m, size_t *pos, uint64_t *key)
{
    while (*pos < m->cap) {
        const struct map_slot *s = &m->slots[(*pos)++];
        if (s->key == 0)
            continue;
        if (key)
            *key = s->key;
        return s->value;
    }
    return NULL;
}

static size_t str_home(const char *key, size_t cap)
{
    return map_hash(key, strlen(key)) & (cap - 1);
}

static size_t str_find(const struct strmap_slot *slots, size_t cap, const char *key)
{
    size_t i = str_home(key, cap);

    while (slots[i].key && strcmp(slots[i].key, key) != 0)
        i = (i + 1) & (cap - 1);
    return i;
}

void strmap_init(struct strmap *m)
{
    *m = (struct strmap){ 0 };
}

void strmap_fini(struct strmap *m)
{
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    strmap_init(m);
}

void *strmap_get(const struct strmap *m, const char *key)
{
    return m->cap ? m->slots[str_find(m->slots, m->cap, key)].value : NULL;
}

static void strmap_grow(struct strmap *m)
{
    size_t cap = m->cap ? m->cap * 2 : MAP_MIN;
    struct strmap_slot *slots = mem_alloc_array(cap, sizeof *slots);

    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key)
            slots[str_find(slots, cap, m->slots[i].key)] = m->slots[i];
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
}

void strmap_put(struct strmap *m, const char *key, void *value)
{
    if (!value)
        abort();
    if (m->cap == 0 || too_full(m->used, m->cap))
        strmap_grow(m);
    struct strmap_slot *s = &m->slots[str_find(m->slots, m->cap, key)];
    if (!s->key) {
        s->key = mem_strdup(key);
        m->used++;
    }
    s->value = value;
}

void *strmap_remove(struct strmap *m, const char *key)
{
    if (m->cap == 0)
        return NULL;
    size_t mask = m->cap - 1;
    size_t hole = str_find(m->slots, m->cap, key);
    void *value = m->slots[hole].value;
    if (!value)
        return NULL;
    free(m->slots[hole].key);
    for (size_t i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
        if (may_fill(str_home(m->slots[i].key, m->cap), hole, i, mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct strmap_slot){ 0 };
    m->used--;
    return value;
}

size_t strmap_count(const struct strmap *m)
{
    return m->used;
}

void *strmap_next(const struct strmap *m, size_t *pos, const char **key)
{
    while (*pos < m->cap) {
        const struct strmap_slot *s = &m->slots[(*pos)++];
        if (!s->key)
            continue;
        if (key)
            *key = s->key;
        return s->value;
    }
    return NULL;
}
