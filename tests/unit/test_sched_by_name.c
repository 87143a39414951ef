/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes that take only jobs that ask for them, and nodes that are no more. */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "sched/sched.h"

#define JOBS 400

struct bed {
    struct sched *s;
    int64_t now;
    struct sched_entry e[JOBS + 1];
    struct sched_alloc a[JOBS + 1]; /* by job; entry NULL: doesn't run */
};

static struct bed b;

static void begin(void)
{
    struct sched_params p = { .backfill_window_ns = 60 * NS_PER_S };

    memset(&b, 0, sizeof b);
    b.s = sched_create(&p);
    b.now = 1000 * NS_PER_S;
}

static void check(void)
{
    struct err err = ERR_INIT;

    if (!sched_check(b.s, &err))
        unit_fail(__FILE__, __LINE__, "sched_check: %s", err.msg);
}

static int32_t add(const char *name, int64_t threads, bool by_name)
{
    struct sched_resources r = { threads, 0, 0 };
    int32_t node = sched_node_add(b.s, name, &r);

    sched_node_set_by_name(b.s, node, by_name);
    return node;
}

static struct sched_shape shape(int64_t threads, int32_t node)
{
    return (struct sched_shape){ .need = { threads, 0, 0 }, .user = -1, .node = node };
}

static void put(int id, int64_t threads, int32_t node)
{
    struct sched_shape sh = shape(threads, node);

    b.e[id] = (struct sched_entry){ .id = id, .remaining = 1 };
    sched_enqueue(b.s, &b.e[id], &sh);
    check();
}

/* Starts one and says whose it is; 0: nothing starts. */
static int next(void)
{
    struct sched_alloc a;

    if (!sched_next(b.s, b.now, &a)) {
        check();
        return 0;
    }
    b.a[a.entry->id] = a;
    sched_alloc_moved(b.s, &a, &b.a[a.entry->id]);
    check();
    return (int)a.entry->id;
}

static void end(int id)
{
    sched_release(b.s, &b.a[id], b.now, false);
    b.a[id].entry = NULL;
    check();
}

static char *reason(int id)
{
    struct buf t = BUF_INIT;

    sched_reason(b.s, &b.e[id], b.now, &t);
    return buf_take(&t, NULL);
}

static void expect_reason(int id, const char *want)
{
    char *got = reason(id);

    CHECK_STR(got, want);
    free(got);
}

TEST(only_those_who_ask_start_there)
{
    begin();
    int32_t here = add("here", 2, false), far = add("far", 64, true);

    put(1, 2, -1);
    put(2, 2, -1);
    put(3, 2, far);
    CHECK_INT(next(), 1);
    CHECK_INT(b.a[1].node, here);
    CHECK_INT(next(), 3); /* though all other nodes are full and 2 is first in line */
    CHECK_INT(b.a[3].node, far);
    CHECK_INT(next(), 0);
    expect_reason(2, "needs 2 threads, 0 free on here");
    end(1);
    CHECK_INT(next(), 2);
    sched_node_set_by_name(b.s, far, false);
    put(4, 8, -1);
    CHECK_INT(next(), 4);
    sched_node_set_by_name(b.s, far, true);
    check();
    put(5, 2, -1);
    CHECK_INT(next(), 0);
    sched_destroy(b.s);
}

/* One that waits for room on a node of its own holds nothing elsewhere, and the other way round. */
TEST(who_waits_here_does_not_hold_room_there)
{
    begin();
    int32_t here = add("here", 4, false), far = add("far", 4, true);

    put(1, 3, far);
    put(2, 3, here);
    CHECK_INT(next(), 1);
    CHECK_INT(next(), 2);
    put(3, 4, far);
    put(4, 4, -1);
    CHECK_INT(next(), 0);
    b.now += 90 * NS_PER_S; /* a window in which room is held */
    put(5, 1, -1);
    put(6, 1, far);
    CHECK_INT(next(), 5); /* 3 is the head: what is not `far` is open */
    CHECK_INT(next(), 0);
    end(1);
    CHECK_INT(next(), 3);
    sched_destroy(b.s);
}

TEST(what_can_not_be_is_said)
{
    begin();
    int32_t far = add("far", 4, true);
    struct sched_shape any = shape(1, -1), named = shape(5, far);
    struct err err = ERR_INIT;

    CHECK(sched_check_possible(b.s, &any, &err) != 0);
    CHECK_STR(err.msg, "asks for no node; all there are take only jobs that ask for them");
    CHECK(sched_check_possible(b.s, &named, &err) != 0);
    CHECK_STR(err.msg, "asks for 5 threads; node far has 4");
    int32_t here = add("here", 2, false);
    any.need.threads = 3;
    CHECK(sched_check_possible(b.s, &any, &err) != 0);
    CHECK_STR(err.msg, "asks for 3 threads; the largest node, here, has 2");
    named.need.threads = 4;
    CHECK_OK(sched_check_possible(b.s, &named, &err), &err);
    sched_node_set_state(b.s, far, SCHED_NODE_GONE);
    CHECK(sched_check_possible(b.s, &named, &err) != 0);
    CHECK_STR(err.msg, "asks for a node that is not known");
    (void)here;
    sched_destroy(b.s);
}

TEST(of_a_node_never_seen_nothing_is_known)
{
    begin();
    add("here", 2, false);
    int32_t far = add("far", 0, true);
    struct sched_resources has = { 8, 0, 0 };
    struct sched_shape sh = shape(8, far);
    struct buf t = BUF_INIT;
    struct err err = ERR_INIT;

    sched_node_set_state(b.s, far, SCHED_NODE_DOWN);
    CHECK_OK(sched_check_possible(b.s, &sh, &err), &err);
    put(1, 8, far);
    CHECK_INT(next(), 0);
    expect_reason(1, "node far is down");
    sched_explain(b.s, &b.e[1], b.now, &t);
    CHECK(strstr(buf_data(&t), "far: down; what it has is not known yet\n"));
    buf_fini(&t);
    sched_node_set_capacity(b.s, far, &has);
    sched_node_set_state(b.s, far, SCHED_NODE_UP);
    CHECK_INT(next(), 1);
    sched_destroy(b.s);
}

/* Whatever happens, nobody gets to a node that he may not get to, and nobody waits for room that is
 * there: each class of jobs for one such node is served as if the other nodes weren't. */
TEST(at_random)
{
    uint64_t x = 88172645463325252u;
    int32_t node[6];
    bool by_name[6] = { false, true, true, false, true, false };
    int32_t wanted[JOBS + 1];
    int queued = 0, started = 0, there = 0;

    begin();
    for (int i = 0; i < 6; i++)
        node[i] = add((const char *[]){ "a", "b", "c", "d", "e", "f" }[i], 2 + i, by_name[i]);
    for (int step = 0; step < 20000; step++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        int id = 1 + (int)(x % JOBS), what = (int)((x >> 20) % 16), n = (int)((x >> 30) % 6);
        int64_t threads = 1 + (int64_t)((x >> 40) % 3);

        if (what < 8 && !b.a[id].entry && !b.e[id].cls) {
            wanted[id] = (x >> 50) % 2 ? node[n] : -1;
            put(id, threads, wanted[id]);
            queued++;
        } else if (what < 13 && b.a[id].entry) {
            end(id);
        } else if (what == 13) {
            by_name[n] = !by_name[n];
            sched_node_set_by_name(b.s, node[n], by_name[n]);
            check();
        } else if (what == 14) {
            enum sched_node_state to =
                (x >> 45) % 3 ? SCHED_NODE_UP : (enum sched_node_state)((x >> 47) % 4);
            sched_node_set_state(b.s, node[n], to);
            check();
        } else {
            b.now += (int64_t)(x >> 33) % (40 * NS_PER_S);
        }
        for (int got; (got = next()) != 0; started++) {
            const struct sched_alloc *a = &b.a[got];
            CHECK(wanted[got] >= 0 ? wanted[got] == a->node : !by_name[a->node]);
            CHECK(sched_node_state(b.s, a->node) == SCHED_NODE_UP);
            there += by_name[a->node];
        }
    }
    printf("# %d queued, %d started, %d there\n", queued, started, there);
    CHECK(queued > 500 && started > 500 && there > 100);
    sched_destroy(b.s);
}
