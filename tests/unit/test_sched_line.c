/* SPDX-License-Identifier: BSD-2-Clause */
/* Lining up: who gets the resources of a brief job is decided before it ends. */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "sched/sched.h"

struct bed {
    struct sched *s;
    int64_t now;
    struct sched_entry e[32];
    struct sched_alloc a[32]; /* of the entry with the same number */
    struct sched_shape brief, wide;
};

static void check(const struct bed *b)
{
    struct err err = ERR_INIT;
    if (!sched_check(b->s, &err))
        unit_fail(__FILE__, __LINE__, "sched_check: %s", err.msg);
}

static int64_t reserved(const struct bed *b)
{
    struct sched_resources r;
    sched_node_get(b->s, 0, NULL, &r);
    return r.threads;
}

static void put(struct bed *b, int id, const struct sched_shape *sh)
{
    b->e[id].id = id;
    b->e[id].remaining = 1;
    sched_enqueue(b->s, &b->e[id], sh);
    check(b);
}

static int take(struct bed *b, struct sched_alloc *a, bool yes)
{
    check(b);
    if (!yes)
        return 0;
    int id = (int)a->entry->id;
    b->a[id] = *a;
    sched_alloc_moved(b->s, a, &b->a[id]);
    check(b);
    return id;
}

static int next(struct bed *b)
{
    struct sched_alloc a;
    return take(b, &a, sched_next(b->s, b->now, &a));
}

/* Who stands behind `id` now; 0: nobody. */
static int line_up(struct bed *b, int id)
{
    struct sched_alloc *out = &b->a[31];

    if (!sched_line_up(b->s, b->now, &b->a[id], out)) {
        check(b);
        return 0;
    }
    int who = (int)out->entry->id;
    b->a[who] = *out; /* it is in no list */
    list_init(&b->a[who].link);
    check(b);
    return who;
}

static int depth(const struct bed *b, int id)
{
    return sched_line_depth(b->s, &b->a[id]);
}

/* A node of two threads, and six jobs 1..6 of one thread; 1 and 2 run, after one that took `ns`. */
static void begin(struct bed *b, int64_t ns, int64_t ahead_ns)
{
    struct sched_params p = { .backfill_window_ns = 60 * NS_PER_S, .ahead_ns = ahead_ns };
    struct sched_resources r = { 2, 0, 0 };

    memset(b, 0, sizeof(*b));
    b->s = sched_create(&p);
    b->now = 1000 * NS_PER_S;
    sched_node_add(b->s, "n", &r);
    b->brief = (struct sched_shape){ .need = { 1, 0, 0 }, .user = -1, .node = -1 };
    b->wide = (struct sched_shape){ .need = { 2, 0, 0 }, .user = -1, .node = -1 };
    put(b, 10, &b->brief);
    CHECK_INT(next(b), 10);
    CHECK_INT(depth(b, 10), 0); /* nobody knows how long it takes */
    for (int i = 1; i <= 6; i++)
        put(b, i, &b->brief);
    CHECK_INT(next(b), 1);
    CHECK_INT(line_up(b, 1), 0);
    b->now += ns;
    sched_release(b->s, &b->a[10], b->now, false);
    CHECK_INT(next(b), 2);
    CHECK_INT(next(b), 0);
}

static void end(struct bed *b)
{
    check(b);
    sched_destroy(b->s);
}

TEST(depth_follows_the_time_that_jobs_take)
{
    static const struct {
        int64_t ns, ahead_ns;
        int depth;
    } rows[] = {
        { NS_PER_MS, 6 * NS_PER_MS, 7 },
        { 3 * NS_PER_MS, 6 * NS_PER_MS, 3 },
        { 30 * NS_PER_MS, 6 * NS_PER_MS, 1 },
        { SCHED_BRIEF_NS, 6 * NS_PER_MS, 0 },
        { 1000, 6 * NS_PER_MS, SCHED_LINE_MAX },
        { 0, 6 * NS_PER_MS, SCHED_LINE_MAX },
        { NS_PER_MS, 0, 0 },
    };
    struct bed b;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(&b, rows[i].ns, rows[i].ahead_ns);
        CHECK_INT(depth(&b, 1), rows[i].depth);
        end(&b);
    }
}

TEST(the_line_takes_over_what_was_reserved)
{
    struct bed b;

    begin(&b, NS_PER_MS, 6 * NS_PER_MS);
    CHECK_INT(line_up(&b, 1), 3);
    CHECK_INT(line_up(&b, 3), 4);
    CHECK_INT(line_up(&b, 2), 5);
    CHECK_INT(reserved(&b), 2);
    CHECK_INT(sched_queued(b.s), 1);
    CHECK_INT(next(&b), 0);
    b.now += NS_PER_MS;
    sched_succeed(b.s, &b.a[1], &b.a[3], b.now);
    CHECK_INT(reserved(&b), 2);
    CHECK_INT(b.a[3].start_ns, b.now);
    CHECK_INT(b.e[1].running, 0);
    CHECK(!b.a[3].lined_up);
    CHECK_INT(next(&b), 0);
    sched_succeed(b.s, &b.a[3], &b.a[4], b.now);
    sched_release(b.s, &b.a[4], b.now, false);
    CHECK_INT(reserved(&b), 1);
    CHECK_INT(next(&b), 6);
    end(&b);
}

TEST(time_limits_count_from_the_real_start)
{
    struct bed b;
    struct sched_shape limited;

    begin(&b, NS_PER_MS, 6 * NS_PER_MS);
    limited = b.brief;
    limited.timeout_ns = NS_PER_S;
    limited.priority = 1;
    put(&b, 20, &limited);
    CHECK_INT(line_up(&b, 1), 0); /* the first in order, and nobody knows how long it takes */
    sched_release(b.s, &b.a[2], b.now, false);
    CHECK_INT(next(&b), 20);
    put(&b, 21, &limited);
    sched_release(b.s, &b.a[20], b.now + NS_PER_MS, false);
    CHECK_INT(next(&b), 21);
    put(&b, 22, &limited);
    CHECK_INT(line_up(&b, 21), 22);
    b.now += 5 * NS_PER_S;
    sched_succeed(b.s, &b.a[21], &b.a[22], b.now);
    CHECK_INT(b.a[22].end_ns, b.now + NS_PER_S);
    end(&b);
}

TEST(nobody_is_passed_over)
{
    struct bed b;
    struct sched_shape first;

    begin(&b, NS_PER_MS, 6 * NS_PER_MS);
    first = b.wide;
    first.priority = 5;
    put(&b, 20, &first);
    CHECK_INT(next(&b), 0);
    CHECK_INT(line_up(&b, 1), 0);
    sched_dequeue(b.s, &b.e[20]);
    CHECK_INT(line_up(&b, 1), 3);
    /* room is kept for it once it has waited: what was lined up doesn't go on for ever */
    put(&b, 21, &first);
    CHECK_INT(line_up(&b, 3), 0);
    sched_succeed(b.s, &b.a[1], &b.a[3], b.now);
    CHECK_INT(line_up(&b, 3), 0);
    end(&b);
}

TEST(not_on_nodes_that_are_not_to_be_used)
{
    struct bed b;
    struct sched_resources less = { 1, 0, 0 }, two = { 2, 0, 0 };

    begin(&b, NS_PER_MS, 6 * NS_PER_MS);
    sched_node_set_state(b.s, 0, SCHED_NODE_DRAINED);
    CHECK_INT(line_up(&b, 1), 0);
    sched_node_set_state(b.s, 0, SCHED_NODE_UP);
    sched_node_set_measured(b.s, 0, &less);
    CHECK_INT(line_up(&b, 1), 0);
    sched_node_set_measured(b.s, 0, &two);
    CHECK_INT(line_up(&b, 1), 3);
    end(&b);
}

TEST(what_is_not_wanted_goes_back_to_its_place)
{
    struct bed b;

    begin(&b, NS_PER_MS, 6 * NS_PER_MS);
    CHECK_INT(line_up(&b, 1), 3);
    CHECK_INT(line_up(&b, 3), 4);
    sched_release(b.s, &b.a[3], b.now, true);
    check(&b);
    CHECK_INT(reserved(&b), 2);
    CHECK_INT(b.e[3].remaining, 1);
    CHECK_INT(b.e[3].running, 0);
    CHECK_INT(line_up(&b, 4), 3);
    sched_release(b.s, &b.a[4], b.now, false); /* cancelled: it doesn't come back */
    CHECK_INT(b.e[4].remaining, 0);
    CHECK_INT(reserved(&b), 2);
    sched_succeed(b.s, &b.a[1], &b.a[3], b.now);
    CHECK_INT(next(&b), 0);
    end(&b);
}

TEST(arrays_keep_their_limit)
{
    struct bed b;

    begin(&b, NS_PER_MS, 6 * NS_PER_MS);
    for (int i = 3; i <= 6; i++)
        sched_dequeue(b.s, &b.e[i]);
    b.e[20] = (struct sched_entry){ .id = 20, .remaining = 10, .max_running = 2 };
    sched_enqueue(b.s, &b.e[20], &b.brief);
    CHECK_INT(line_up(&b, 1), 20);
    CHECK_INT(b.e[20].running, 1);
    struct sched_alloc one = b.a[20];
    list_init(&one.link);
    CHECK_INT(line_up(&b, 2), 20);
    CHECK_INT(b.e[20].running, 2);
    CHECK_INT(line_up(&b, 20), 0);
    sched_succeed(b.s, &b.a[1], &one, b.now);
    CHECK_INT(line_up(&b, 20), 0);
    sched_release(b.s, &one, b.now, false);
    CHECK_INT(b.e[20].running, 1);
    check(&b);
    CHECK_INT(b.e[20].remaining, 8);
    sched_destroy(b.s);
}
