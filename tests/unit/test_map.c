/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/list.h"
#include "base/map.h"
#include "unit/unit.h"

TEST(empty_maps)
{
    struct map m;
    struct strmap s;
    size_t pos = 0;

    map_init(&m);
    strmap_init(&s);
    CHECK(!map_get(&m, 1) && !map_get(&m, 0) && !map_remove(&m, 1));
    CHECK(!strmap_get(&s, "x") && !strmap_remove(&s, "x"));
    CHECK(!map_next(&m, &pos, NULL));
    CHECK_INT(map_count(&m) + strmap_count(&s), 0);
    map_fini(&m);
    strmap_fini(&s);
}

/* Random puts and removals against a plain array; few keys, so that probe runs are long. */
TEST(map_against_a_model)
{
    enum { KEYS = 300 };
    static char things[8];
    void *model[KEYS + 1] = { NULL };
    struct map m;
    size_t count = 0;
    uint64_t seed = 1;

    map_init(&m);
    for (int round = 0; round < 200000; round++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t key = (seed >> 33) % KEYS + 1;
        if ((seed >> 20) % 5 < 3) {
            void *value = &things[(seed >> 40) % 8];
            count += !model[key];
            model[key] = value;
            map_put(&m, key, value);
        } else {
            count -= model[key] != NULL;
            CHECK(map_remove(&m, key) == model[key]);
            model[key] = NULL;
        }
        CHECK_INT(map_count(&m), count);
        if (round % 1000 == 0)
            for (uint64_t k = 1; k <= KEYS; k++)
                CHECK(map_get(&m, k) == model[k]);
    }
    size_t pos = 0, seen = 0;
    uint64_t key;
    void *value;
    while ((value = map_next(&m, &pos, &key))) {
        CHECK(model[key] == value);
        seen++;
    }
    CHECK_INT(seen, count);
    map_fini(&m);
}

TEST(strmap_against_a_model)
{
    enum { KEYS = 200 };
    static char things[8];
    void *model[KEYS] = { NULL };
    struct strmap m;
    size_t count = 0;
    uint64_t seed = 3;

    strmap_init(&m);
    for (int round = 0; round < 100000; round++) {
        char key[32];
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t k = (seed >> 33) % KEYS;
        snprintf(key, sizeof key, "key-%zu", k);
        if ((seed >> 20) % 5 < 3) {
            void *value = &things[(seed >> 40) % 8];
            count += !model[k];
            model[k] = value;
            strmap_put(&m, key, value);
        } else {
            count -= model[k] != NULL;
            CHECK(strmap_remove(&m, key) == model[k]);
            model[k] = NULL;
        }
        CHECK_INT(strmap_count(&m), count);
        CHECK(strmap_get(&m, key) == model[k]);
    }
    size_t pos = 0, seen = 0;
    const char *name;
    void *value;
    while ((value = strmap_next(&m, &pos, &name))) {
        CHECK(strmap_get(&m, name) == value);
        seen++;
    }
    CHECK_INT(seen, count);
    strmap_fini(&m);
}

TEST(a_million_sequential_keys_stay_small)
{
    static char thing;
    struct map m;

    map_init(&m);
    for (uint64_t key = 1; key <= 1000000; key++)
        map_put(&m, key, &thing);
    CHECK_INT(map_count(&m), 1000000);
    CHECK(m.cap * sizeof *m.slots <= 34u << 20);
    for (uint64_t key = 1; key <= 1000000; key++)
        CHECK(map_remove(&m, key) == &thing);
    CHECK_INT(map_count(&m), 0);
    map_fini(&m);
}

TEST(hash_spreads)
{
    CHECK(map_hash("a", 1) != map_hash("b", 1));
    CHECK(map_hash("", 0) == map_hash("x", 0));
    unsigned buckets[64] = { 0 };
    for (int i = 0; i < 6400; i++)
        buckets[map_hash(&i, sizeof i) & 63]++;
    for (int i = 0; i < 64; i++)
        CHECK(buckets[i] > 50 && buckets[i] < 170);
}

struct item {
    int n;
    struct list link;
};

TEST(lists)
{
    struct list head;
    struct item items[4];
    int order = 0;

    list_init(&head);
    CHECK(list_empty(&head));
    for (int i = 0; i < 4; i++) {
        items[i].n = i;
        list_append(&head, &items[i].link);
    }
    LIST_FOR_EACH(it, &head)
        order = order * 10 + CONTAINER_OF(it, struct item, link)->n;
    CHECK_INT(order, 123);
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    list_insert_before(head.next, &items[1].link);
    order = 0;
    LIST_FOR_EACH_SAFE(it, &head) {
        order = order * 10 + CONTAINER_OF(it, struct item, link)->n;
        list_remove(it);
    }
    CHECK_INT(order, 1023);
    CHECK(list_empty(&head));
}
