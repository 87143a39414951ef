/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hash map from a non-zero 64-bit key to a pointer: open addressing, 16 bytes a slot, at most 3/4
 * full. A million entries cost about 32 MB at worst. Values are borrowed.
 */
#ifndef HIVE_BASE_MAP_H
#define HIVE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map {
    struct map_slot {
        uint64_t key;
        void *value;
    } * slots;
    size_t cap, used;
};

void map_init(struct map *m);
void map_fini(struct map *m);
void *map_get(const struct map *m, uint64_t key);       /* NULL when absent */
void map_put(struct map *m, uint64_t key, void *value); /* replaces; neither may be 0 or NULL */
void *map_remove(struct map *m, uint64_t key);          /* the value, or NULL */
size_t map_count(const struct map *m);

/* Iteration in no particular order: size_t pos = 0; while ((v = map_next(m, &pos, &key))) ... The
 * map must not change meanwhile. */
void *map_next(const struct map *m, size_t *pos, uint64_t *key);

/* 64-bit hash of bytes (FNV-1a with a final mix); not for hostile keys. */
uint64_t map_hash(const void *data, size_t len);

/* The same from strings: keys are copied. Iteration as above. Not for hostile keys either. */
struct strmap {
    struct strmap_slot {
        char *key;
        void *value;
    } * slots;
    size_t cap, used;
};

void strmap_init(struct strmap *m);
void strmap_fini(struct strmap *m);
void *strmap_get(const struct strmap *m, const char *key);
void strmap_put(struct strmap *m, const char *key, void *value);
void *strmap_remove(struct strmap *m, const char *key);
size_t strmap_count(const struct strmap *m);
void *strmap_next(const struct strmap *m, size_t *pos, const char **key);

#endif
