/* SPDX-License-Identifier: BSD-2-Clause */
/* The scheduler's rules, one by one. test_sched_sim.c runs it as a whole. */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "sched/sched.h"

#define GIB (INT64_C(1) << 30)
#define MINUTE (60 * NS_PER_S)

struct bed {
    struct sched *s;
    int64_t now;
    struct sched_entry e[64];
    struct sched_alloc a[64];
    int n_allocs;
};

static void bed_init(struct bed *b)
{
    struct sched_params p = { .backfill_window_ns = MINUTE, .half_life_ns = 24 * 60 * MINUTE };
    memset(b, 0, sizeof(*b));
    b->s = sched_create(&p);
    b->now = 1000 * NS_PER_S;
}

static void bed_check(const struct bed *b)
{
    struct err err = ERR_INIT;
    if (!sched_check(b->s, &err))
        unit_fail(__FILE__, __LINE__, "sched_check: %s", err.msg);
}

static void bed_fini(struct bed *b)
{
    bed_check(b);
    sched_destroy(b->s);
}

static int32_t add_node(struct bed *b, const char *name, int64_t threads, int64_t memory,
                        int64_t gpus)
{
    struct sched_resources r = { threads, memory, gpus };
    return sched_node_add(b->s, name, &r);
}

static struct sched_shape shape(int64_t threads, int64_t limit_ns)
{
    return (struct sched_shape){
        .need = { threads, 0, 0 }, .timeout_ns = limit_ns, .user = -1, .node = -1
    };
}

/* Queues entry number id. */
static void put(struct bed *b, int id, const struct sched_shape *sh)
{
    b->e[id].id = id;
    b->e[id].remaining = 1;
    sched_enqueue(b->s, &b->e[id], sh);
    bed_check(b);
}

/* Starts one and says whose it is; 0: nothing starts. */
static int next(struct bed *b)
{
    struct sched_alloc *a = &b->a[b->n_allocs];
    bool yes = sched_next(b->s, b->now, a);
    bed_check(b);
    if (!yes)
        return 0;
    b->n_allocs++;
    return (int)a->entry->id;
}

static struct sched_alloc *alloc_of(struct bed *b, int id)
{
    for (int i = 0; i < b->n_allocs; i++)
        if (b->a[i].entry == &b->e[id] && b->a[i].link.next)
            return &b->a[i];
    unit_fail(__FILE__, __LINE__, "job %d doesn't run", id);
}

static void end(struct bed *b, int id)
{
    struct sched_alloc *a = alloc_of(b, id);
    sched_release(b->s, a, b->now, false);
    a->link.next = NULL;
    bed_check(b);
}

static void want_reason(struct bed *b, int id, const char *want)
{
    struct buf out = BUF_INIT;
    sched_reason(b->s, &b->e[id], b->now, &out);
    CHECK_STR(buf_data(&out), want);
    buf_fini(&out);
}

TEST(nothing_to_do)
{
    struct bed b;
    bed_init(&b);
    CHECK_INT(next(&b), 0);
    CHECK(sched_next_deadline_ns(b.s) == INT64_MAX);
    sched_dequeue(b.s, &b.e[1]); /* harmless */
    struct sched_shape one = shape(1, 0);
    put(&b, 1, &one);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 1, "no node is known yet");
    add_node(&b, "n", 1, 0, 0);
    CHECK_INT(next(&b), 1);
    CHECK_INT(sched_queued(b.s), 0);
    CHECK_INT(sched_classes(b.s), 0);
    bed_fini(&b);
    sched_destroy(NULL);
}

TEST(an_allocation_says_everything)
{
    struct bed b;
    bed_init(&b);
    struct sched_resources cap, got;
    int32_t n = add_node(&b, "big", 16, 64 * GIB, 2);
    struct sched_shape sh = {
        .need = { 4, 8 * GIB, 1 }, .timeout_ns = MINUTE, .user = sched_user(b.s, "ann"), .node = -1
    };
    put(&b, 7, &sh);
    memset(&b.a[0], 0xff, sizeof(b.a[0]));
    CHECK_INT(next(&b), 7);
    CHECK(b.a[0].entry == &b.e[7] && b.a[0].node == n && b.a[0].user == sh.user);
    CHECK(b.a[0].got.threads == 4 && b.a[0].got.memory == 8 * GIB && b.a[0].got.gpus == 1);
    CHECK(b.a[0].start_ns == b.now && b.a[0].end_ns == b.now + MINUTE);
    CHECK(b.e[7].remaining == 0 && b.e[7].running == 1 && b.e[7].cls == NULL);
    sched_node_get(b.s, n, &cap, &got);
    CHECK(cap.threads == 16 && got.threads == 4 && got.memory == 8 * GIB && got.gpus == 1);
    end(&b, 7);
    sched_node_get(b.s, n, NULL, &got);
    CHECK(got.threads == 0 && got.memory == 0 && got.gpus == 0);
    CHECK_INT(b.e[7].running, 0);
    sh.timeout_ns = INT64_MAX; /* a limit beyond time is none */
    put(&b, 8, &sh);
    CHECK_INT(next(&b), 8);
    CHECK(alloc_of(&b, 8)->end_ns == INT64_MAX);
    bed_fini(&b);
}

TEST(names_and_numbers)
{
    struct bed b;
    bed_init(&b);
    CHECK_INT(sched_user(b.s, "ann"), 0);
    CHECK_INT(sched_user(b.s, ""), 1);
    for (int i = 2; i < 100; i++) {
        char *name = mem_printf("user%d", i);
        CHECK_INT(sched_user(b.s, name), i);
        CHECK_INT(sched_user(b.s, name), i);
        CHECK_STR(sched_user_name(b.s, i), name);
        free(name);
    }
    CHECK_STR(sched_user_name(b.s, 1), "");
    CHECK_STR(sched_user_name(b.s, -1), "");
    CHECK_STR(sched_user_name(b.s, 100), "");
    for (int i = 0; i < 50; i++) {
        char *name = mem_printf("node%d", i);
        CHECK_INT(add_node(&b, name, 1, 0, 0), i);
        CHECK_INT(sched_node_find(b.s, name), i);
        CHECK_STR(sched_node_name(b.s, i), name);
        free(name);
    }
    CHECK_INT(sched_node_count(b.s), 50);
    CHECK_INT(sched_node_find(b.s, "other"), -1);
    CHECK_STR(sched_node_name(b.s, 50), "");
    CHECK_STR(sched_node_name(b.s, -1), "");
    bed_fini(&b);
}

TEST(older_ones_first_whatever_the_order_of_coming)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 100, 0, 0);
    struct sched_shape one = shape(1, 0), two = shape(2, 0);
    static const int order[] = { 5, 9, 1, 7, 3, 10, 2, 8, 6, 4 };
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        put(&b, order[i], order[i] % 3 ? &one : &two);
    CHECK_INT(sched_queued(b.s), 10);
    CHECK_INT(sched_classes(b.s), 2);
    for (int i = 1; i <= 10; i++)
        CHECK_INT(next(&b), i);
    CHECK_INT(next(&b), 0);
    bed_fini(&b);
}

TEST(priority_goes_first_and_negative_last)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 100, 0, 0);
    for (int i = 1; i <= 6; i++) {
        struct sched_shape sh = shape(1, 0);
        sh.priority = i % 3 - 1; /* 0 1 -1 0 1 -1 */
        sh.user = sched_user(b.s, "ann");
        put(&b, i, &sh);
    }
    static const int want[] = { 2, 5, 1, 4, 3, 6, 0 };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        CHECK_INT(next(&b), want[i]);
    bed_fini(&b);
}

TEST(users_take_turns_from_the_first_job_on)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 6, 0, 0);
    struct sched_shape ann = shape(1, 0), bob = shape(1, 0);
    ann.user = sched_user(b.s, "ann");
    bob.user = sched_user(b.s, "bob");
    for (int i = 1; i <= 6; i++)
        put(&b, i, &ann);
    for (int i = 11; i <= 16; i++)
        put(&b, i, &bob);
    static const int want[] = { 1, 11, 2, 12, 3, 13, 0 };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        CHECK_INT(next(&b), want[i]);
    bed_fini(&b);
}

TEST(who_used_much_waits_for_who_used_little)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 3, 0, 0);
    struct sched_shape ann = shape(1, 0), bob = shape(1, 0);
    ann.user = sched_user(b.s, "ann");
    bob.user = sched_user(b.s, "bob");
    sched_user_add_use(b.s, ann.user, 1e7, b.now);
    for (int i = 1; i <= 3; i++)
        put(&b, i, &ann);
    for (int i = 11; i <= 13; i++)
        put(&b, i, &bob);
    for (int i = 11; i <= 13; i++)
        CHECK_INT(next(&b), i);
    CHECK_INT(next(&b), 0);
    bed_fini(&b);
}

static void want_near(double got, double want)
{
    if (got < want * 0.999999 - 1e-6 || got > want * 1.000001 + 1e-6)
        unit_fail(__FILE__, __LINE__, "got %g, want %g", got, want);
}

TEST(use_grows_while_running_and_decays)
{
    struct bed b;
    bed_init(&b);
    int64_t day = 24 * 60 * MINUTE;
    add_node(&b, "n", 8, 0, 0);
    int32_t ann = sched_user(b.s, "ann");
    want_near(sched_user_use(b.s, ann, b.now), 0.0);
    sched_user_add_use(b.s, ann, 1000.0, b.now);
    want_near(sched_user_use(b.s, ann, b.now), 1000.0);
    want_near(sched_user_use(b.s, ann, b.now + day), 500.0);
    want_near(sched_user_use(b.s, ann, b.now + 3 * day), 125.0);
    want_near(sched_user_use(b.s, ann, b.now + 5000 * day), 0.0);
    want_near(sched_user_use(b.s, ann, b.now - day), 1000.0); /* time doesn't run backwards */
    want_near(sched_user_use(b.s, 77, b.now), 0.0);
    int32_t bob = sched_user(b.s, "bob");
    struct sched_shape sh = shape(4, 0);
    sh.user = bob;
    put(&b, 1, &sh);
    CHECK_INT(next(&b), 1);
    int64_t t = b.now + 100 * NS_PER_S;
    double live = sched_user_use(b.s, bob, t);
    CHECK(live > 399.0 && live <= 400.0);
    b.now = t;
    end(&b, 1);
    want_near(sched_user_use(b.s, bob, t), live);
    want_near(sched_user_use(b.s, bob, t + day), live / 2);
    /* An endless job's use tends to threads * half-life / ln 2. */
    put(&b, 2, &sh);
    CHECK_INT(next(&b), 2);
    want_near(sched_user_use(b.s, bob, t + 200 * day), 4 * 86400 / 0.69314718055994531);
    bed_fini(&b);
}

TEST(small_jobs_pass_a_wide_one)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 8, 0, 0);
    struct sched_shape six = shape(6, 0), eight = shape(8, 0), two = shape(2, 0);
    put(&b, 1, &six);
    put(&b, 2, &eight);
    put(&b, 3, &two);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 3);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 2, "needs 8 threads, 0 free on n");
    bed_fini(&b);
}

TEST(where_limits_are_known_only_what_ends_in_time_passes)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 8, 0, 0);
    struct sched_shape six = shape(6, 10 * MINUTE), wide = shape(7, MINUTE);
    struct sched_shape late = shape(2, 11 * MINUTE), endless = shape(2, 0);
    struct sched_shape in_time = shape(1, 10 * MINUTE), left_over = shape(1, 0);
    put(&b, 1, &six);
    put(&b, 2, &wide);
    put(&b, 3, &late);
    put(&b, 4, &endless);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 3, "room is kept for job 2");
    put(&b, 5, &in_time);
    CHECK_INT(next(&b), 5);
    put(&b, 6, &left_over); /* the wide one leaves one thread over */
    CHECK_INT(next(&b), 6);
    CHECK_INT(next(&b), 0);
    b.now += 10 * MINUTE;
    end(&b, 1);
    end(&b, 5);
    CHECK_INT(next(&b), 2);
    CHECK_INT(next(&b), 0);
    bed_fini(&b);
}

TEST(another_node_is_open_to_all)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "a", 8, 0, 0);
    add_node(&b, "b", 8, 0, 0);
    struct sched_shape soon = shape(6, MINUTE), later = shape(6, 5 * MINUTE);
    struct sched_shape wide = shape(8, MINUTE), two = shape(2, 0);
    put(&b, 1, &later);
    put(&b, 2, &soon);
    put(&b, 3, &wide);
    put(&b, 4, &two);
    put(&b, 5, &two);
    CHECK_INT(next(&b), 1); /* on a */
    CHECK_INT(next(&b), 2); /* on b, which will be free first */
    CHECK_INT(next(&b), 4);
    CHECK_INT(alloc_of(&b, 4)->node, 0);
    CHECK_INT(next(&b), 0);
    b.now += MINUTE;
    end(&b, 2);
    CHECK_INT(next(&b), 3);
    CHECK_INT(alloc_of(&b, 3)->node, 1);
    bed_fini(&b);
}

TEST(without_limits_windows_alternate)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 8, 0, 0);
    struct sched_shape six = shape(6, 0), wide = shape(8, 0), one = shape(1, 0);
    put(&b, 1, &six);
    put(&b, 2, &wide);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0); /* blocked from here on */
    b.now += MINUTE - 1;
    put(&b, 3, &one);
    CHECK_INT(next(&b), 3);
    b.now += 1;
    put(&b, 4, &one);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 4, "room is kept for job 2");
    CHECK(sched_next_deadline_ns(b.s) == 1000 * NS_PER_S + 2 * MINUTE);
    end(&b, 3);
    CHECK_INT(next(&b), 0);
    b.now = sched_next_deadline_ns(b.s) - 1;
    CHECK_INT(next(&b), 0);
    b.now++;
    CHECK_INT(next(&b), 4); /* the next two minutes are open */
    b.now += 2 * MINUTE;
    put(&b, 5, &one);
    CHECK_INT(next(&b), 0);
    CHECK(sched_next_deadline_ns(b.s) == b.now + 2 * MINUTE);
    end(&b, 1);
    CHECK_INT(next(&b), 0);
    end(&b, 4);
    CHECK_INT(next(&b), 2);
    bed_fini(&b);
}

TEST(held_room_is_only_what_the_head_lacks)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "gpu", 16, 0, 1);
    struct sched_shape train = shape(2, 0), cpu = shape(6, 0);
    train.need.gpus = 1;
    put(&b, 1, &train);
    put(&b, 2, &train);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    b.now += MINUTE; /* room is held: 1 GPU and 2 threads */
    put(&b, 3, &cpu);
    put(&b, 4, &cpu);
    put(&b, 5, &cpu);
    CHECK_INT(next(&b), 3);
    CHECK_INT(next(&b), 4);
    CHECK_INT(next(&b), 0);
    end(&b, 1);
    CHECK_INT(next(&b), 2);
    bed_fini(&b);
}

TEST(a_limit_long_passed_is_no_limit)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 8, 0, 0);
    struct sched_shape six = shape(6, MINUTE), wide = shape(8, MINUTE), one = shape(2, 0);
    put(&b, 1, &six);
    put(&b, 2, &wide);
    put(&b, 3, &one);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    CHECK(sched_next_deadline_ns(b.s) == b.now + 2 * MINUTE + 1);
    b.now += 2 * MINUTE;
    CHECK_INT(next(&b), 0);
    b.now += 1; /* over: unknown now; windows count from when it was blocked: open */
    CHECK_INT(next(&b), 3);
    bed_fini(&b);
}

TEST(the_head_keeps_its_turn_against_fair_share)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 4, 0, 0);
    struct sched_shape one = shape(1, 0), wide = shape(4, 0), other = shape(1, 0);
    one.user = wide.user = sched_user(b.s, "ann");
    other.user = sched_user(b.s, "bob");
    put(&b, 1, &one);
    put(&b, 2, &wide);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    b.now += MINUTE;
    sched_user_add_use(b.s, wide.user, 1e9, b.now);
    put(&b, 3, &other); /* bob has used nothing */
    CHECK_INT(next(&b), 0);
    end(&b, 1);
    CHECK_INT(next(&b), 2);
    end(&b, 2);
    CHECK_INT(next(&b), 3);
    bed_fini(&b);
}

TEST(higher_priority_takes_the_turn_and_gives_it_back)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 4, 0, 0);
    struct sched_shape one = shape(1, 0), wide = shape(4, 0), urgent = shape(3, 0);
    urgent.priority = 5;
    put(&b, 1, &one);
    put(&b, 2, &wide);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    b.now += MINUTE;
    put(&b, 3, &urgent);
    CHECK_INT(next(&b), 3);
    put(&b, 4, &urgent);
    CHECK_INT(next(&b), 0); /* now 4 is the head */
    end(&b, 3);
    CHECK_INT(next(&b), 4);
    put(&b, 5, &one);
    CHECK_INT(next(&b), 0); /* 2 is again, and its window is over */
    end(&b, 1);
    end(&b, 4);
    CHECK_INT(next(&b), 2);
    bed_fini(&b);
}

TEST(a_head_that_goes_away_frees_its_room)
{
    struct bed b;
    bed_init(&b);
    int32_t n = add_node(&b, "n", 4, 0, 0), m;
    struct sched_shape one = shape(1, 0), wide = shape(4, 0);
    put(&b, 1, &one);
    put(&b, 2, &wide);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    b.now += MINUTE;
    put(&b, 3, &one);
    CHECK_INT(next(&b), 0);
    sched_dequeue(b.s, &b.e[2]);
    bed_check(&b);
    CHECK_INT(next(&b), 3);
    /* The same when the only node that could take it is drained. */
    m = add_node(&b, "m", 8, 0, 0);
    struct sched_shape wider = shape(8, 0);
    put(&b, 4, &wider);
    CHECK_INT(next(&b), 4);
    put(&b, 5, &wider);
    CHECK_INT(next(&b), 0);
    sched_node_set_state(b.s, m, SCHED_NODE_DRAINED);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 5, "node m is drained");
    CHECK_INT(sched_node_state(b.s, m), SCHED_NODE_DRAINED);
    CHECK_INT(sched_node_state(b.s, n), SCHED_NODE_UP);
    b.now += MINUTE;
    put(&b, 6, &one);
    CHECK_INT(next(&b), 6);
    sched_node_set_state(b.s, m, SCHED_NODE_UP);
    end(&b, 4);
    CHECK_INT(next(&b), 5);
    bed_fini(&b);
}

TEST(array_limit)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 16, 0, 0);
    struct sched_shape one = shape(1, 0);
    b.e[1] = (struct sched_entry){ .id = 1, .remaining = 5, .max_running = 2 };
    sched_enqueue(b.s, &b.e[1], &one);
    put(&b, 2, &one);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 1);
    CHECK_INT(b.e[1].running, 2);
    want_reason(&b, 1, "array limit of 2 reached");
    CHECK_INT(next(&b), 2); /* the array's limit is nobody else's */
    CHECK_INT(next(&b), 0);
    put(&b, 3, &one);
    end(&b, 1);
    CHECK_INT(next(&b), 1); /* by age, before 3 */
    CHECK_INT(next(&b), 3);
    end(&b, 1);
    CHECK_INT(next(&b), 1);
    CHECK_INT(b.e[1].remaining, 1);
    end(&b, 1);
    CHECK_INT(next(&b), 1);
    CHECK(b.e[1].remaining == 0 && b.e[1].cls == NULL);
    CHECK_INT(sched_queued(b.s), 0);
    CHECK_INT(next(&b), 0);
    bed_fini(&b);
}

TEST(an_array_waits_its_turn_as_a_whole)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 2, 0, 0);
    struct sched_shape one = shape(1, 0);
    b.e[1] = (struct sched_entry){ .id = 1, .remaining = 3 };
    sched_enqueue(b.s, &b.e[1], &one);
    put(&b, 2, &one);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    b.e[1].remaining = 2; /* the owner may change it in place */
    for (int i = 0; i < 2; i++) {
        end(&b, 1);
        CHECK_INT(next(&b), 1);
    }
    end(&b, 1);
    CHECK_INT(next(&b), 2);
    bed_fini(&b);
}

TEST(undo_leaves_no_trace)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 2, 0, 0);
    struct sched_shape one = shape(1, 0);
    one.user = sched_user(b.s, "ann");
    put(&b, 1, &one);
    put(&b, 2, &one);
    put(&b, 3, &one);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 2);
    b.now += MINUTE;
    double use = sched_user_use(b.s, one.user, b.now) / 2;
    sched_release(b.s, alloc_of(&b, 1), b.now, true);
    bed_check(&b);
    b.a[0].link.next = NULL;
    CHECK(b.e[1].remaining == 1 && b.e[1].running == 0 && b.e[1].cls != NULL);
    want_near(sched_user_use(b.s, one.user, b.now), use);
    CHECK_INT(sched_queued(b.s), 2);
    CHECK_INT(next(&b), 1); /* first again */
    /* Its job is gone meanwhile: only the resources come back. */
    struct sched_alloc *a = alloc_of(&b, 2);
    a->entry = NULL;
    sched_release(b.s, a, b.now, true);
    bed_check(&b);
    CHECK_INT(next(&b), 3);
    /* Undo of the last task of an array that is at its limit. */
    end(&b, 1);
    b.e[4] = (struct sched_entry){ .id = 4, .remaining = 1, .max_running = 1 };
    sched_enqueue(b.s, &b.e[4], &one);
    CHECK_INT(next(&b), 4);
    sched_release(b.s, alloc_of(&b, 4), b.now, true);
    bed_check(&b);
    CHECK_INT(next(&b), 4);
    bed_fini(&b);
}

TEST(a_requeued_job_keeps_its_age)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 1, 0, 0);
    struct sched_shape one = shape(1, 0);
    for (int i = 1; i <= 5; i++)
        put(&b, i, &one);
    CHECK_INT(next(&b), 1);
    CHECK_INT(next(&b), 0);
    end(&b, 1);
    CHECK_INT(next(&b), 2);
    put(&b, 1, &one); /* its retry */
    CHECK_INT(next(&b), 0);
    end(&b, 2);
    CHECK_INT(next(&b), 1);
    bed_fini(&b);
}

TEST(allocations_can_move)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "n", 8, 0, 0);
    struct sched_shape one = shape(1, MINUTE);
    for (int i = 1; i <= 3; i++) {
        struct sched_alloc tmp;
        put(&b, i, &one);
        CHECK(sched_next(b.s, b.now, &tmp));
        b.a[b.n_allocs] = tmp;
        sched_alloc_moved(b.s, &tmp, &b.a[b.n_allocs++]);
        memset(&tmp, 0xee, sizeof(tmp));
        bed_check(&b);
    }
    end(&b, 2);
    end(&b, 1);
    end(&b, 3);
    bed_fini(&b);
}

TEST(reserve_asks_nobody)
{
    struct bed b;
    bed_init(&b);
    struct sched_resources got;
    int32_t n = add_node(&b, "n", 4, 0, 0);
    struct sched_shape one = shape(1, 0);
    one.user = sched_user(b.s, "ann");
    b.e[1] = (struct sched_entry){ .id = 1, .remaining = 3, .max_running = 1 };
    sched_enqueue(b.s, &b.e[1], &one);
    struct sched_alloc adopted = { .entry = &b.e[1],
                                   .node = n,
                                   .user = one.user,
                                   .got = { 1, 0, 0 },
                                   .start_ns = b.now,
                                   .end_ns = INT64_MAX };
    sched_reserve(b.s, &adopted);
    bed_check(&b);
    CHECK(b.e[1].running == 1 && b.e[1].remaining == 3);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 1, "array limit of 1 reached");
    struct sched_alloc app = {
        .node = n, .user = -1, .got = { 7, 0, 0 }, .start_ns = b.now, .end_ns = INT64_MAX
    };
    sched_reserve(b.s, &app);
    bed_check(&b);
    sched_node_get(b.s, n, NULL, &got);
    CHECK_INT(got.threads, 8);
    sched_release(b.s, &adopted, b.now, false);
    bed_check(&b);
    CHECK_INT(next(&b), 0); /* 7 of 4 are taken */
    sched_release(b.s, &app, b.now, false);
    CHECK_INT(next(&b), 1);
    bed_fini(&b);
}

TEST(capacity_and_what_others_use)
{
    struct bed b;
    bed_init(&b);
    int32_t n = add_node(&b, "n", 8, 8 * GIB, 0);
    struct sched_shape four = shape(4, 0), nothing = shape(0, 0);
    struct sched_resources all = { INT64_MAX, INT64_MAX, INT64_MAX }, r = { 2, 8 * GIB, 0 };
    put(&b, 1, &four);
    put(&b, 2, &four);
    CHECK_INT(next(&b), 1);
    sched_node_set_capacity(b.s, n, &r);
    CHECK_INT(next(&b), 0);
    put(&b, 3, &nothing); /* not even that while too much is reserved */
    CHECK_INT(next(&b), 0);
    want_reason(&b, 2, "asks for 4 threads; the largest node, n, has 2");
    r.threads = 8;
    sched_node_set_capacity(b.s, n, &r);
    r.threads = 7; /* somebody else uses one */
    sched_node_set_measured(b.s, n, &r);
    CHECK_INT(next(&b), 3);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 2, "needs 4 threads, 3 free on n");
    r.threads = -5; /* others overload it: what needs no threads may still start */
    sched_node_set_measured(b.s, n, &r);
    put(&b, 4, &nothing);
    CHECK_INT(next(&b), 4);
    sched_node_set_measured(b.s, n, &all);
    CHECK_INT(next(&b), 2);
    bed_fini(&b);
}

TEST(who_is_kept_out_by_others_blocks_nobody)
{
    struct bed b;
    bed_init(&b);
    int32_t n = add_node(&b, "n", 8, 0, 0);
    struct sched_resources r = { 6, 0, 0 };
    struct sched_shape wide = shape(8, 0), one = shape(1, 0);
    sched_node_set_measured(b.s, n, &r);
    put(&b, 1, &wide);
    CHECK_INT(next(&b), 0);
    b.now += 10 * MINUTE;
    put(&b, 2, &one);
    CHECK_INT(next(&b), 2);
    bed_fini(&b);
}

TEST(small_nodes_and_those_without_gpus_first)
{
    struct bed b;
    bed_init(&b);
    int32_t gpu = add_node(&b, "gpu", 8, 0, 2), big = add_node(&b, "big", 16, 0, 0);
    int32_t small = add_node(&b, "small", 4, 0, 0);
    struct sched_shape four = shape(4, 0), train = shape(1, 0);
    train.need.gpus = 1;
    for (int i = 1; i <= 6; i++)
        put(&b, i, &four);
    for (int i = 1; i <= 6; i++)
        CHECK_INT(next(&b), i);
    CHECK_INT(alloc_of(&b, 1)->node, small);
    CHECK_INT(alloc_of(&b, 2)->node, big);
    CHECK_INT(alloc_of(&b, 5)->node, big);
    CHECK_INT(alloc_of(&b, 6)->node, gpu);
    put(&b, 7, &train);
    CHECK_INT(next(&b), 7);
    CHECK_INT(alloc_of(&b, 7)->node, gpu);
    bed_fini(&b);
}

TEST(a_job_for_one_node)
{
    struct bed b;
    bed_init(&b);
    add_node(&b, "a", 4, 0, 0);
    int32_t n = add_node(&b, "b", 4, 0, 0);
    struct sched_shape only = shape(4, 0), one = shape(1, 0), three = shape(3, 0);
    only.node = three.node = n;
    put(&b, 1, &three);
    put(&b, 2, &only);
    CHECK_INT(next(&b), 1);
    CHECK_INT(alloc_of(&b, 1)->node, n);
    CHECK_INT(next(&b), 0);
    b.now += MINUTE; /* room is held on b alone */
    struct sched_shape there = one;
    there.node = n;
    put(&b, 3, &there);
    for (int i = 4; i <= 8; i++)
        put(&b, i, &one);
    for (int i = 4; i <= 7; i++) {
        CHECK_INT(next(&b), i);
        CHECK_INT(alloc_of(&b, i)->node, 0);
    }
    CHECK_INT(next(&b), 0);
    sched_node_set_state(b.s, n, SCHED_NODE_DOWN);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 2, "node b is down");
    bed_fini(&b);
}

TEST(what_could_never_run)
{
    struct bed b;
    bed_init(&b);
    struct err err = ERR_INIT;
    struct sched_shape sh = shape(64, 0);
    CHECK_OK(sched_check_possible(b.s, &sh, &err), &err); /* nothing is known yet */
    int32_t big = add_node(&b, "big", 16, 4 * GIB, 0);
    add_node(&b, "gpu", 8, 64 * GIB, 2);
    CHECK_INT(sched_check_possible(b.s, &sh, &err), -1);
    CHECK_INT(err.kind, ERR_UNPROCESS);
    CHECK_STR(err.msg, "asks for 64 threads; the largest node, big, has 16");
    sh = shape(1, 0);
    sh.need.gpus = 3;
    CHECK_INT(sched_check_possible(b.s, &sh, &err), -1);
    CHECK_STR(err.msg, "asks for 3 GPUs; the largest node, gpu, has 2");
    sh = shape(16, 0);
    sh.need.gpus = 1;
    CHECK_INT(sched_check_possible(b.s, &sh, &err), -1);
    CHECK(strstr(err.msg, "asks for 16 threads, 1 GPU on one node; the closest, gpu, has 8") !=
          NULL);
    sh.node = big;
    CHECK_INT(sched_check_possible(b.s, &sh, &err), -1);
    CHECK_STR(err.msg, "asks for 1 GPU; node big has 0");
    sh.node = 9;
    CHECK_INT(sched_check_possible(b.s, &sh, &err), -1);
    sched_node_set_state(b.s, big, SCHED_NODE_DOWN); /* it may come back */
    sh = shape(16, 0);
    CHECK_OK(sched_check_possible(b.s, &sh, &err), &err);
    bed_fini(&b);
}

TEST(reasons_and_explanations)
{
    struct bed b;
    bed_init(&b);
    struct buf out = BUF_INIT;
    int32_t n = add_node(&b, "big", 16, 64 * GIB, 0);
    add_node(&b, "tiny", 2, GIB, 0);
    sched_node_set_state(b.s, add_node(&b, "away", 16, 64 * GIB, 0), SCHED_NODE_DOWN);
    struct sched_shape wide = shape(12, 0), urgent = shape(5, 0);
    urgent.priority = 3;
    put(&b, 1, &wide);
    CHECK_INT(next(&b), 1);
    put(&b, 2, &wide);
    put(&b, 3, &wide);
    put(&b, 4, &wide);
    put(&b, 5, &urgent);
    CHECK_INT(next(&b), 0);
    want_reason(&b, 5, "needs 5 threads, 4 free on big");
    want_reason(&b, 2, "needs 12 threads, 4 free on big");
    want_reason(&b, 3, "2 jobs before it");
    want_reason(&b, 4, "3 jobs before it");
    want_reason(&b, 1, ""); /* not queued */
    struct sched_resources r = { 15, 64 * GIB, 0 };
    sched_node_set_measured(b.s, n, &r);
    sched_explain(b.s, &b.e[4], b.now, &out);
    CHECK_STR(buf_data(&out), "3 jobs before it\n"
                              "3 jobs before it\n"
                              "before it: job 5, priority 3 over 0\n"
                              "before it: job 2, which is older\n"
                              "before it: job 3, which is older\n"
                              "asks for 12 threads\n"
                              "big: asks for 12 threads, 3 of 16 free; others use 1\n"
                              "tiny: too small: asks for 12 threads, the node has 2\n"
                              "away: down\n");
    buf_fini(&out);
    bed_fini(&b);
}

TEST(listing_follows_the_order)
{
    struct bed b;
    bed_init(&b);
    struct sched_entry *out[8];
    add_node(&b, "n", 4, 0, 0);
    struct sched_shape one = shape(1, 0), two = shape(2, 0), wide = shape(4, 0), high = shape(4, 0);
    high.priority = 1;
    put(&b, 1, &wide);
    CHECK_INT(next(&b), 1);
    put(&b, 9, &one);
    put(&b, 3, &two);
    put(&b, 4, &one);
    put(&b, 8, &two);
    put(&b, 20, &high);
    static const int want[] = { 20, 3, 4, 8, 9 };
    CHECK_INT(sched_order(b.s, b.now, out, 8), 5);
    for (int i = 0; i < 5; i++)
        CHECK_INT(out[i]->id, want[i]);
    CHECK_INT(sched_order(b.s, b.now, out, 2), 2);
    CHECK_INT(out[1]->id, 3);
    CHECK_INT(sched_order(b.s, b.now, out, 0), 0);
    bed_fini(&b);
}

TEST(the_first_in_line_is_listed_first)
{
    struct bed b;
    bed_init(&b);
    struct sched_entry *out[8];
    add_node(&b, "n", 4, 0, 0);
    struct sched_shape wide = shape(4, 0), one = shape(1, 0);
    wide.user = sched_user(b.s, "ann");
    one.user = sched_user(b.s, "bob");
    put(&b, 5, &wide);
    CHECK_INT(next(&b), 5);
    put(&b, 6, &wide);
    CHECK_INT(next(&b), 0);
    put(&b, 3, &one); /* older, and of a user who runs nothing */
    CHECK_INT(next(&b), 0);
    CHECK_INT(sched_order(b.s, b.now, out, 8), 2);
    CHECK(out[0]->id == 6 && out[1]->id == 3);
    struct buf text = BUF_INIT;
    sched_explain(b.s, &b.e[3], b.now, &text);
    CHECK(strstr(buf_data(&text), "1 job before it\nbefore it: job 6, which is first in line") !=
          NULL);
    buf_clear(&text);
    sched_explain(b.s, &b.e[6], b.now, &text);
    CHECK(strstr(buf_data(&text), "first in the queue\n") != NULL);
    buf_fini(&text);
    bed_fini(&b);
}
