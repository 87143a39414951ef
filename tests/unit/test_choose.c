/* SPDX-License-Identifier: BSD-2-Clause */
#include "sched/choose.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#define G (INT64_C(1) << 30)
#define NOW (1000000 * NS_PER_S)
#define INTERVAL (10 * NS_PER_S)

/* An idle host, measured just now. */
static struct choose_host idle(int32_t id, const char *name, int32_t cores, int64_t total,
                               int64_t available)
{
    return (struct choose_host){ .id = id,
                                 .name = name,
                                 .state = SCHED_NODE_UP,
                                 .sample_ns = NOW,
                                 .cores = cores,
                                 .cpu_permille = 0,
                                 .memory_total = total,
                                 .memory_available = available };
}

static struct choose_result choose(const struct choose_host *hosts, size_t count,
                                   const struct choose_ledger *ledger,
                                   const struct choose_request *request)
{
    struct choose_result result;
    struct err err = ERR_INIT;

    CHECK_OK(choose_hosts(hosts, count, ledger, request, INTERVAL, NOW, &result, &err), &err);
    CHECK_INT(result.count, count);
    CHECK(result.in > 0);
    for (size_t i = 0; i < count; i++) {
        int32_t sum = 0;
        for (int t = 0; t < CHOOSE_TERM_COUNT; t++)
            sum += result.ranks[i].term[t];
        CHECK_INT(result.ranks[i].score, sum);
        CHECK(result.ranks[i].why && *result.ranks[i].why);
    }
    return result;
}

/* The order of names, "b>a>c", hosts that are out in brackets. */
static void check_order(const struct choose_host *hosts, size_t count,
                        const struct choose_request *request, const char *want)
{
    struct choose_result r = choose(hosts, count, NULL, request);
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < count; i++) {
        const char *name = hosts[r.ranks[i].host].name;
        if (r.ranks[i].out == CHOOSE_IN)
            buf_printf(&b, "%s%s", i ? ">" : "", name);
        else
            buf_printf(&b, "[%s]", name);
    }
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
    choose_result_fini(&r);
}

static const char *first_name(const struct choose_host *hosts, const struct choose_result *r)
{
    return hosts[r->ranks[0].host].name;
}

static const struct choose_rank *rank_of(const struct choose_host *hosts,
                                         const struct choose_result *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (str_eq(hosts[r->ranks[i].host].name, name))
            return &r->ranks[i];
    unit_fail(__FILE__, __LINE__, "no rank for %s", name);
}

static const char *why(const struct choose_host *hosts, const struct choose_result *r,
                       const char *name)
{
    return rank_of(hosts, r, name)->why;
}

static const struct choose_request unknown = { .app = "firefox" };

/* --- Beowulf's rules --------------------------------------------------------------------------- */

TEST(beowulf_unknown_app_goes_to_the_host_with_most_free)
{
    struct choose_host h[] = {
        idle(0, "host1.local", 8, 16 * G, 4 * G),
        idle(1, "host2.local", 8, 32 * G, 12 * G + G / 10),
        idle(2, "host3.local", 8, 16 * G, 2 * G),
    };
    h[1].cpu_permille = 40;
    struct choose_result r = choose(h, ARRAY_LEN(h), NULL, &unknown);
    CHECK_STR(first_name(h, &r), "host2.local");
    CHECK_STR(r.ranks[0].why, "most free memory (12G of 32G), CPU 4%");
    CHECK_STR(why(h, &r, "host1.local"), "less free memory (4.0G of 16G)");
    CHECK_STR(why(h, &r, "host3.local"), "less free memory (2.0G of 16G)");
    choose_result_fini(&r);
}

TEST(beowulf_lowest_iowait)
{
    struct choose_host h[] = {
        idle(0, "host1.local", 4, 16 * G, 8 * G),
        idle(1, "host2.local", 4, 16 * G, 8 * G),
    };
    h[0].iowait_permille = 3;
    h[1].iowait_permille = 310;
    struct choose_result r = choose(h, ARRAY_LEN(h), NULL, &unknown);
    CHECK_STR(first_name(h, &r), "host1.local");
    CHECK_STR(r.ranks[0].why, "lowest iowait (0.3%), 8.0G of 16G memory free, CPU 0%");
    CHECK_STR(why(h, &r, "host2.local"), "iowait 31%");
    choose_result_fini(&r);
}

TEST(beowulf_high_iowait_counts_even_with_room)
{
    struct choose_host h[] = {
        idle(0, "huge", 64, 256 * G, 250 * G),
        idle(1, "modest", 4, 16 * G, 8 * G),
    };
    h[1].cpu_permille = 500;
    check_order(h, 2, &unknown, "huge>modest");
    h[0].iowait_permille = 220;
    check_order(h, 2, &unknown, "modest>huge");
    /* But what has no room at all is worse. */
    h[1].cpu_permille = 1000;
    h[1].memory_available = 600 << 20;
    check_order(h, 2, &unknown, "huge>modest");
    /* The noise of a healthy disk is none. */
    h[0].iowait_permille = 20;
    struct choose_result r = choose(h, 2, NULL, &unknown);
    CHECK_INT(rank_of(h, &r, "huge")->term[CHOOSE_IOWAIT], 0);
    choose_result_fini(&r);
}

TEST(beowulf_used_much_before_goes_where_that_much_is_free)
{
    struct choose_use use = { .memory = 6 * G, .cpu_milli = 500, .runs = 3 };
    struct choose_request big = { .app = "gimp", .use = &use };
    struct choose_host h[] = {
        idle(0, "fast", 64, 8 * G, 5 * G), /* the better one for anything small */
        idle(1, "roomy", 2, 32 * G, 12 * G),
    };
    h[1].cpu_permille = 800;
    check_order(h, 2, &unknown, "fast>roomy");
    struct choose_result r = choose(h, 2, NULL, &big);
    CHECK_STR(first_name(h, &r), "roomy");
    CHECK_STR(r.ranks[0].why,
              "room for the 6.0G that gimp used before, 12G of 32G memory free, CPU 80%");
    CHECK_STR(why(h, &r, "fast"),
              "5.0G of 8.0G memory free, less than the 6.0G that gimp used before");
    choose_result_fini(&r);
    /* Nobody has that much: the better one all the same, and it is said. */
    h[1].memory_available = 4 * G;
    r = choose(h, 2, NULL, &big);
    CHECK_STR(first_name(h, &r), "fast");
    CHECK_STR(r.ranks[0].why, "most free CPU (64 of 64 cores), 5.0G of 8.0G memory free, less than "
                              "the 6.0G that gimp used before");
    choose_result_fini(&r);
}

TEST(beowulf_sticky_first_until_overloaded)
{
    struct choose_request sticky = { .app = "firefox", .sticky = "small" };
    struct choose_host good[] = {
        idle(0, "big", 64, 256 * G, 250 * G),
        idle(1, "small", 2, 4 * G, G),
    };
    struct choose_host h[2];
    struct choose_result r;

    good[1].users = 3;
    good[1].cpu_permille = 700;
    r = choose(good, 2, NULL, &sticky);
    CHECK_STR(first_name(good, &r), "small");
    CHECK_STR(r.ranks[0].why, "set for firefox, 1.0G of 4.0G memory free, CPU 70%");
    CHECK_STR(why(good, &r, "big"), "small is set for firefox");
    choose_result_fini(&r);
    /* Each way of being overloaded. */
    for (int i = 0; i < 5; i++) {
        memcpy(h, good, sizeof h);
        if (i == 0)
            h[1].memory_available = 500 << 20;
        else if (i == 1)
            h[1].iowait_permille = 200;
        else if (i == 2)
            h[1].cpu_permille = 900;
        else if (i == 3)
            h[1].load_milli = 4001;
        else
            h[1].state = SCHED_NODE_DOWN;
        r = choose(h, 2, NULL, &sticky);
        CHECK_STR(first_name(h, &r), "big");
        if (i == 1)
            CHECK_STR(why(h, &r, "small"), "iowait 20%, overloaded though set for firefox");
        choose_result_fini(&r);
    }
    /* A host that isn't in the list changes nothing. */
    sticky.sticky = "elsewhere";
    check_order(good, 2, &sticky, "big>small");
}

/* --- other terms ------------------------------------------------------------------------------- */

TEST(last_host_wins_among_similar_ones)
{
    struct choose_request again = { .app = "firefox", .last = "b" };
    struct choose_host h[] = {
        idle(0, "a", 8, 32 * G, 14 * G),
        idle(1, "b", 8, 32 * G, 12 * G),
        idle(2, "c", 8, 32 * G, 14 * G),
    };
    check_order(h, 3, &unknown, "a>c>b");
    struct choose_result r = choose(h, 3, NULL, &again);
    CHECK_STR(first_name(h, &r), "b");
    CHECK_STR(r.ranks[0].why, "firefox ran here last, 12G of 32G memory free, CPU 0%");
    CHECK_STR(why(h, &r, "a"), "firefox ran last on b");
    choose_result_fini(&r);
    h[1].cpu_permille = 980;
    r = choose(h, 3, NULL, &again);
    CHECK_STR(first_name(h, &r), "a");
    CHECK_STR(why(h, &r, "b"),
              "less free CPU (0.1 of 8 cores), overloaded though firefox ran there last");
    choose_result_fini(&r);
    /* Overloaded by its load alone, which is not enough to lose by. */
    h[1] = idle(1, "b", 8, 32 * G, 14 * G);
    h[1].load_milli = 16000;
    check_order(h, 3, &again, "b>a>c");
    h[1].load_milli = 16001;
    check_order(h, 3, &again, "a>c>b");
    /* Where it would have won anyway, the reason is a better one. */
    h[1] = idle(1, "b", 8, 64 * G, 50 * G);
    r = choose(h, 3, NULL, &again);
    CHECK_STR(r.ranks[0].why, "most free memory (50G of 64G), CPU 0%");
    choose_result_fini(&r);
}

TEST(one_huge_host_is_taken_only_while_it_has_room)
{
    struct choose_host h[] = {
        idle(0, "a", 4, 16 * G, 12 * G),
        idle(1, "huge", 128, 1024 * G, 900 * G),
        idle(2, "b", 4, 16 * G, 12 * G),
    };
    check_order(h, 3, &unknown, "huge>a>b");
    h[1].cpu_permille = 998; /* a quarter of a core */
    check_order(h, 3, &unknown, "a>b>huge");
    h[1].cpu_permille = 500; /* 64 cores */
    check_order(h, 3, &unknown, "huge>a>b");
    h[1].memory_available = 513 << 20; /* and nearly no memory */
    check_order(h, 3, &unknown, "a>b>huge");
}

TEST(load_users_and_age_decide_between_equals)
{
    struct choose_host h[] = { idle(0, "a", 4, 16 * G, 8 * G), idle(1, "b", 4, 16 * G, 8 * G) };
    struct choose_result r;

    r = choose(h, 2, NULL, &unknown);
    CHECK_STR(r.ranks[0].why, "first of equal hosts, 8.0G of 16G memory free, CPU 0%");
    CHECK_STR(why(h, &r, "b"), "as good as a, which stands before it");
    choose_result_fini(&r);
    h[0].users = 2;
    r = choose(h, 2, NULL, &unknown);
    CHECK_STR(r.ranks[0].why, "nobody logged in, 8.0G of 16G memory free, CPU 0%");
    CHECK_STR(why(h, &r, "a"), "2 users logged in");
    choose_result_fini(&r);
    h[1].load_milli = 12000;
    r = choose(h, 2, NULL, &unknown);
    CHECK_STR(first_name(h, &r), "a");
    CHECK_STR(r.ranks[0].why, "lower load (0.0 on 4 cores), 8.0G of 16G memory free, CPU 0%");
    CHECK_STR(why(h, &r, "b"), "load 12.0 on 4 cores");
    CHECK_INT(rank_of(h, &r, "b")->term[CHOOSE_LOAD], -133);
    choose_result_fini(&r);
    h[1] = idle(1, "b", 4, 16 * G, 8 * G);
    h[0] = idle(0, "a", 4, 16 * G, 8 * G);
    h[0].sample_ns = NOW - 40 * NS_PER_S;
    r = choose(h, 2, NULL, &unknown);
    CHECK_STR(why(h, &r, "a"), "measured 40s ago");
    CHECK_INT(rank_of(h, &r, "a")->term[CHOOSE_AGE], -50);
    choose_result_fini(&r);
    h[0].sample_ns = NOW - 20 * NS_PER_S; /* one measurement may get lost */
    check_order(h, 2, &unknown, "a>b");
}

TEST(promised_to_jobs_is_not_free)
{
    struct choose_host h[] = { idle(0, "a", 8, 32 * G, 30 * G), idle(1, "b", 8, 32 * G, 20 * G) };

    check_order(h, 2, &unknown, "a>b");
    h[0].promised_memory = 16 * G;
    check_order(h, 2, &unknown, "b>a");
    h[0].promised_memory = 0;
    h[0].promised_cpu_milli = 7000;
    check_order(h, 2, &unknown, "b>a");
}

TEST(better_than_the_second_but_not_the_most)
{
    /* Third by its iowait, though it has the most memory: "most" would be a lie. */
    struct choose_host h[] = {
        idle(0, "a", 8, 64 * G, 32 * G),
        idle(1, "b", 8, 64 * G, 16 * G),
        idle(2, "c", 8, 64 * G, 60 * G),
    };
    h[2].iowait_permille = 200;
    struct choose_result r = choose(h, 3, NULL, &unknown);
    CHECK_STR(r.ranks[0].why, "more free memory than b (32G of 64G), CPU 0%");
    CHECK_STR(why(h, &r, "c"), "iowait 20%");
    choose_result_fini(&r);
}

/* --- who is out -------------------------------------------------------------------------------- */

TEST(out_by_state_age_and_memory)
{
    struct choose_host h[] = {
        idle(0, "down", 8, 32 * G, 30 * G),  idle(1, "drained", 8, 32 * G, 30 * G),
        idle(2, "new", 8, 32 * G, 30 * G),   idle(3, "stale", 8, 32 * G, 30 * G),
        idle(4, "full", 8, 32 * G, G / 4),   idle(5, "good", 1, 2 * G, G),
        idle(6, "silent", 8, 32 * G, 3 * G),
    };
    struct choose_request req = { .app = "firefox" };

    h[0].state = SCHED_NODE_DOWN;
    h[1].state = SCHED_NODE_DRAINED;
    h[2].sample_ns = 0;
    h[3].sample_ns = NOW - 61 * NS_PER_S;
    h[6].memory_available = h[6].cpu_permille = -1;
    struct choose_result r = choose(h, ARRAY_LEN(h), NULL, &req);
    CHECK_INT(r.in, 2);
    CHECK_STR(first_name(h, &r), "good");
    CHECK_STR(why(h, &r, "down"), "down");
    CHECK_STR(why(h, &r, "drained"), "drained");
    CHECK_STR(why(h, &r, "new"), "not measured yet");
    CHECK_STR(why(h, &r, "stale"), "last measured 61s ago");
    CHECK_STR(why(h, &r, "full"), "memory full, 256M of 32G free");
    CHECK_STR(why(h, &r, "silent"), "CPU use unknown");
    CHECK_STR(choose_out_name(rank_of(h, &r, "stale")->out), "stale");
    CHECK_INT(rank_of(h, &r, "stale")->score, 0);
    choose_result_fini(&r);
    /* One nanosecond earlier it still counts. */
    h[3].sample_ns = NOW - 60 * NS_PER_S;
    check_order(h, ARRAY_LEN(h), &req, "stale>good>silent[down][drained][new][full]");
    /* With memory asked for, what is unknown is not enough. */
    req.memory = 2 * G;
    r = choose(h, ARRAY_LEN(h), NULL, &req);
    CHECK_STR(first_name(h, &r), "stale");
    CHECK_INT(r.in, 1);
    CHECK_STR(r.ranks[0].why,
              "the only host left, 30G of 32G memory free, CPU 0%, measured 60s ago");
    CHECK_STR(why(h, &r, "good"), "1.0G of 2.0G free, less than the 2.0G asked for");
    CHECK_STR(why(h, &r, "silent"), "free memory unknown, less than the 2.0G asked for");
    choose_result_fini(&r);
}

TEST(a_sample_of_the_future_is_fresh)
{
    struct choose_host h[] = { idle(0, "a", 4, 8 * G, 4 * G) };

    h[0].sample_ns = NOW + 3 * NS_PER_S;
    struct choose_result r = choose(h, 1, NULL, &unknown);
    CHECK_INT(r.ranks[0].term[CHOOSE_AGE], 0);
    CHECK_STR(r.ranks[0].why, "the only host, 4.0G of 8.0G memory free, CPU 0%");
    choose_result_fini(&r);
}

TEST(all_full)
{
    struct choose_host h[] = { idle(0, "a", 8, 32 * G, 100 << 20), idle(1, "b", 2, 2 * G, 0) };
    struct choose_result r;
    struct err err = ERR_INIT;

    CHECK_INT(choose_hosts(h, 2, NULL, &unknown, INTERVAL, NOW, &r, &err), -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    CHECK_STR(err.msg, "no host can take firefox: a: memory full, 100M of 32G free; "
                       "b: memory full, 0 of 2.0G free");
    CHECK_STR(err.hint, "try: hive hosts check");
    CHECK_INT(r.in, 0);
    CHECK_INT(r.count, 2);
    choose_result_fini(&r);
}

TEST(all_busy_is_no_refusal)
{
    /* CPUs are shared: the least busy one is taken. */
    struct choose_host h[] = { idle(0, "a", 4, 8 * G, 4 * G), idle(1, "b", 4, 8 * G, 4 * G) };

    h[0].cpu_permille = h[1].cpu_permille = 1000;
    h[0].load_milli = 40000;
    h[1].load_milli = 20000;
    check_order(h, 2, &unknown, "b>a");
}

TEST(nobody_is_there)
{
    struct choose_result r;
    struct err err = ERR_INIT;
    struct choose_host many[8];

    CHECK_INT(choose_hosts(NULL, 0, NULL, &unknown, INTERVAL, NOW, &r, &err), -1);
    CHECK_STR(err.msg, "no host can take firefox: none is known");
    CHECK_STR(err.hint, "try: hive hosts add NAME");
    choose_result_fini(&r);
    for (int i = 0; i < 8; i++) {
        many[i] = idle(i, "h", 1, G, G);
        many[i].state = SCHED_NODE_DOWN;
    }
    CHECK_INT(choose_hosts(many, 8, NULL, &unknown, INTERVAL, NOW, &r, &err), -1);
    CHECK(str_ends(err.msg, "h: down; h: down; and 3 more"));
    choose_result_fini(&r);
}

TEST(host_asked_for)
{
    struct choose_request req = { .app = "gimp", .host = "b" };
    struct choose_host h[] = { idle(0, "a", 64, 256 * G, 250 * G), idle(1, "b", 2, 4 * G, 2 * G) };
    struct choose_result r;
    struct err err = ERR_INIT;

    h[1].iowait_permille = 500;
    h[1].sample_ns = NOW - 3600 * NS_PER_S; /* the user knows better */
    r = choose(h, 2, NULL, &req);
    CHECK_STR(first_name(h, &r), "b");
    CHECK_STR(r.ranks[0].why,
              "asked for, 2.0G of 4.0G memory free, CPU 0%, iowait 50%, measured 1h ago");
    CHECK_STR(why(h, &r, "a"), "not the host asked for");
    choose_result_fini(&r);
    h[1].sample_ns = 0;
    h[1].memory_available = h[1].cpu_permille = h[1].iowait_permille = -1;
    r = choose(h, 2, NULL, &req);
    CHECK_STR(r.ranks[0].why, "asked for, not measured yet");
    choose_result_fini(&r);
    h[1].state = SCHED_NODE_DOWN;
    CHECK_INT(choose_hosts(h, 2, NULL, &req, INTERVAL, NOW, &r, &err), -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    CHECK_STR(err.msg, "no host can take gimp: b: down");
    choose_result_fini(&r);
    h[0].name = "host1.local";
    req.host = "hots1.local";
    CHECK_INT(choose_hosts(h, 2, NULL, &req, INTERVAL, NOW, &r, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK_STR(err.msg, "there is no host 'hots1.local'");
    CHECK_STR(err.hint, "did you mean 'host1.local'?");
    choose_result_fini(&r);
}

/* --- what was just placed ---------------------------------------------------------------------- */

/* Launches one after the other, the measurements staying as they are. Counts per host. */
static void launch_many(const struct choose_host *hosts, size_t count, int launches,
                        struct choose_request req, int *got)
{
    struct choose_ledger *ledger = choose_ledger_create();

    for (int i = 0; i < launches; i++) {
        struct choose_result r = choose(hosts, count, ledger, &req);
        const struct choose_host *h = &hosts[r.ranks[0].host];
        got[r.ranks[0].host]++;
        CHECK(choose_ledger_add(ledger, h->id, NOW + i * 100 * NS_PER_MS, req.use) > 0);
        if (req.last)
            req.last = h->name;
        choose_result_fini(&r);
    }
    choose_ledger_destroy(ledger);
}

TEST(ten_launches_in_a_second_over_three_hosts)
{
    struct choose_host h[] = {
        idle(10, "a", 8, 32 * G, 24 * G),
        idle(11, "b", 8, 32 * G, 24 * G),
        idle(12, "c", 8, 32 * G, 24 * G),
    };
    int got[3] = { 0 };

    launch_many(h, 3, 10, unknown, got);
    CHECK_INT(got[0], 4);
    CHECK_INT(got[1], 3);
    CHECK_INT(got[2], 3);
}

TEST(ten_launches_of_a_big_application)
{
    struct choose_use use = { .memory = 6 * G, .cpu_milli = 2000, .runs = 5 };
    struct choose_request req = { .app = "gimp", .use = &use, .last = "a" };
    struct choose_host h[] = {
        idle(10, "a", 8, 32 * G, 30 * G),
        idle(11, "b", 8, 32 * G, 30 * G),
        idle(12, "c", 8, 16 * G, 14 * G),
    };
    int got[3] = { 0 };

    /* Room for 5 + 5 + 2, though it ran on a last. */
    launch_many(h, 3, 10, req, got);
    CHECK_INT(got[0] + got[1] + got[2], 10);
    CHECK(got[0] >= 3 && got[0] <= 5 && got[1] >= 3 && got[1] <= 5 && got[2] >= 1 && got[2] <= 2);
}

TEST(ten_launches_where_it_ran_last_and_one_is_huge)
{
    struct choose_request again = { .app = "firefox", .last = "a" };
    struct choose_host h[] = { idle(0, "a", 4, 16 * G, 12 * G), idle(1, "b", 4, 16 * G, 12 * G) };
    struct choose_host huge[] = { idle(0, "a", 4, 16 * G, 12 * G),
                                  idle(1, "huge", 128, 1024 * G, 900 * G) };
    int got[2] = { 0 };

    launch_many(h, 2, 10, again, got);
    CHECK(got[0] >= 3 && got[1] >= 3);
    /* What ten small programs use doesn't show on the huge one: that is what it is for. */
    got[0] = got[1] = 0;
    launch_many(huge, 2, 10, unknown, got);
    CHECK_INT(got[1], 10);
}

TEST(ledger_fades_as_measurements_are_made)
{
    static const struct {
        int64_t after_ns, launch_milli;
    } rows[] = {
        { -5 * NS_PER_S, 1000 }, { 0, 1000 },
        { 3 * NS_PER_S, 900 },   { 15 * NS_PER_S, 500 },
        { 27 * NS_PER_S, 100 },  { 30 * NS_PER_S, 0 },
        { 500 * NS_PER_S, 0 },
    };
    struct choose_use use = { .memory = 4000000, .cpu_milli = 2000, .runs = 1 };
    struct choose_ledger *ledger = choose_ledger_create();
    struct choose_pending p;

    choose_ledger_add(ledger, 7, NOW, &use);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        choose_ledger_pending(ledger, 7, NOW + rows[i].after_ns, &p);
        CHECK_INT(p.launch_milli, rows[i].launch_milli);
        CHECK_INT(p.memory, 4000 * rows[i].launch_milli);
        CHECK_INT(p.cpu_milli, 2 * rows[i].launch_milli);
    }
    choose_ledger_pending(ledger, 8, NOW, &p);
    CHECK_INT(p.launch_milli, 0);
    choose_ledger_destroy(ledger);
    choose_ledger_destroy(NULL);
}

TEST(ledger_forgets)
{
    struct choose_ledger *ledger = choose_ledger_create();
    struct choose_pending p;
    uint64_t first = choose_ledger_add(ledger, 1, NOW, NULL);
    uint64_t second = choose_ledger_add(ledger, 1, NOW + 1, NULL);

    CHECK(first > 0 && second > first);
    choose_ledger_drop(ledger, first);
    choose_ledger_drop(ledger, first);
    choose_ledger_drop(ledger, 12345);
    CHECK_INT(choose_ledger_count(ledger), 1);
    choose_ledger_pending(ledger, 1, NOW, &p);
    CHECK_INT(p.memory, CHOOSE_UNKNOWN_MEMORY / 1000 * 1000);
    CHECK_INT(p.cpu_milli, CHOOSE_UNKNOWN_CPU);
    choose_ledger_prune(ledger, NOW + 1 + CHOOSE_LEDGER_KEEP_NS);
    CHECK_INT(choose_ledger_count(ledger), 1);
    choose_ledger_prune(ledger, NOW + 2 + CHOOSE_LEDGER_KEEP_NS);
    CHECK_INT(choose_ledger_count(ledger), 0);
    for (int i = 0; i < CHOOSE_LEDGER_MAX + 10; i++)
        choose_ledger_add(ledger, i, NOW, NULL);
    CHECK_INT(choose_ledger_count(ledger), CHOOSE_LEDGER_MAX);
    choose_ledger_pending(ledger, 9, NOW, &p);
    CHECK_INT(p.launch_milli, 0); /* the oldest went */
    choose_ledger_pending(ledger, 10, NOW, &p);
    CHECK_INT(p.launch_milli, 1000);
    choose_ledger_destroy(ledger);
}

TEST(last_host_counts_less_with_each_launch_there)
{
    struct choose_ledger *ledger = choose_ledger_create();
    struct choose_host h[] = { idle(0, "a", 64, 256 * G, 128 * G) };
    struct choose_request again = { .app = "firefox", .last = "a" };
    static const int want[] = { 150, 75, 50, 37 };

    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct choose_result r = choose(h, 1, ledger, &again);
        CHECK_INT(r.ranks[0].term[CHOOSE_LAST], want[i]);
        choose_result_fini(&r);
        choose_ledger_add(ledger, 0, NOW, NULL);
    }
    choose_ledger_destroy(ledger);
}

TEST(just_started_is_said)
{
    struct choose_ledger *ledger = choose_ledger_create();
    struct choose_host h[] = { idle(0, "a", 4, 16 * G, 12 * G), idle(1, "b", 4, 16 * G, 12 * G) };

    for (int i = 0; i < 3; i++)
        choose_ledger_add(ledger, 0, NOW, NULL);
    struct choose_result r = choose(h, 2, ledger, &unknown);
    CHECK_STR(first_name(h, &r), "b");
    CHECK_STR(why(h, &r, "a"), "less free CPU (2.5 of 4 cores), 3 just started there");
    choose_result_fini(&r);
    choose_ledger_destroy(ledger);
}

/* --- what an application used before ----------------------------------------------------------- */

TEST(use_is_an_average_that_rises_fast)
{
    struct choose_use use = { 0 };
    struct choose_run run = { .memory = 1000, .cpu_milli = 200, .duration_ns = 60 * NS_PER_S };

    CHECK_INT(choose_expected_memory(NULL), CHOOSE_UNKNOWN_MEMORY);
    CHECK_INT(choose_expected_memory(&use), CHOOSE_UNKNOWN_MEMORY);
    CHECK_INT(choose_expected_cpu(&use), CHOOSE_UNKNOWN_CPU);
    choose_use_add(&use, &run);
    CHECK_INT(choose_expected_memory(&use), 1000);
    CHECK_INT(choose_expected_cpu(&use), 200);
    run.memory = 3000;
    choose_use_add(&use, &run);
    CHECK_INT(use.memory, 2000);
    run.memory = 1000;
    run.cpu_milli = -1;
    choose_use_add(&use, &run);
    CHECK_INT(use.memory, 1800);
    CHECK_INT(use.cpu_milli, 200);
    CHECK_INT(use.runs, 3);
    run.duration_ns = CHOOSE_RUN_MIN_NS - 1; /* `firefox --version` */
    run.memory = 1;
    choose_use_add(&use, &run);
    run = (struct choose_run){ .memory = -1, .cpu_milli = -1, .duration_ns = NS_PER_S * 99 };
    choose_use_add(&use, &run);
    CHECK_INT(use.memory, 1800);
    CHECK_INT(use.runs, 3);
}

/* --- the whole --------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Sensible ones, and now and then the extremes of the type. */
static int64_t some(uint64_t *state, int64_t range, int64_t min, int64_t max)
{
    uint64_t dice = next_random(state) % 32;

    return dice == 0   ? min
           : dice == 1 ? max
           : dice == 2 ? -1
                       : (int64_t)(next_random(state) % (uint64_t)range);
}

static void make_host(uint64_t *state, int32_t id, const char *name, struct choose_host *h)
{
    *h = (struct choose_host){
        .id = id,
        .name = name,
        .state = (enum sched_node_state)(next_random(state) % 8 < 6 ? 0 : next_random(state) % 3),
        .sample_ns = NOW - some(state, 100, 0, 1000) * NS_PER_S,
        .cores = (int32_t)some(state, 128, INT32_MIN, INT32_MAX),
        .cpu_permille = (int32_t)some(state, 1001, INT32_MIN, INT32_MAX),
        .iowait_permille = (int32_t)some(state, 400, INT32_MIN, INT32_MAX),
        .load_milli = some(state, 100000, INT64_MIN, INT64_MAX),
        .memory_total = some(state, 256 * G, INT64_MIN, INT64_MAX),
        .memory_available = some(state, 256 * G, INT64_MIN, INT64_MAX),
        .users = (int32_t)some(state, 5, INT32_MIN, INT32_MAX),
        .promised_memory = some(state, 4 * G, INT64_MIN, INT64_MAX),
        .promised_cpu_milli = some(state, 2000, INT64_MIN, INT64_MAX),
    };
}

/* Whatever the numbers: the same again gives the same; the order of the input decides only between
 * equals; the score of a host doesn't depend on the others; what is in, is sorted. */
TEST(deterministic_and_independent)
{
    static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
    enum { N = ARRAY_LEN(names) };
    uint64_t state = 0x9e3779b97f4a7c15;

    for (int round = 0; round < 3000; round++) {
        struct choose_host h[N], turned[N];
        struct choose_result one, two;
        struct choose_ledger *ledger = choose_ledger_create();
        struct choose_use use = { some(&state, 8 * G, 0, INT64_MAX),
                                  some(&state, 4000, 0, INT64_MAX), 1 };
        struct choose_request req = { .app = "x",
                                      .sticky = round % 3 ? NULL : "c",
                                      .last = round % 2 ? "b" : NULL,
                                      .memory = round % 5 ? 0 : some(&state, G, 0, INT64_MAX),
                                      .use = round % 7 ? &use : NULL };
        for (int i = 0; i < N; i++) {
            make_host(&state, i, names[i], &h[i]);
            turned[N - 1 - i] = h[i];
        }
        for (int i = 0; i < round % 20; i++)
            choose_ledger_add(ledger, (int32_t)(next_random(&state) % N),
                              NOW - some(&state, 40, 0, 700) * NS_PER_S, &use);
        int rc = choose_hosts(h, N, ledger, &req, INTERVAL, NOW, &one, NULL);
        CHECK_INT(choose_hosts(turned, N, ledger, &req, INTERVAL, NOW, &two, NULL), rc);
        CHECK_INT(rc, one.in ? 0 : -1);
        CHECK_INT(one.in, two.in);
        for (int i = 0; i < N; i++) {
            const struct choose_rank *a = rank_of(h, &one, names[i]);
            const struct choose_rank *b = rank_of(turned, &two, names[i]);
            CHECK_INT(a->score, b->score);
            CHECK_INT(a->out, b->out);
            CHECK((a->out == CHOOSE_IN) == (a < one.ranks + one.in));
            CHECK(a->score > -4000 && a->score < 4000);
        }
        for (size_t i = 1; i < one.in; i++)
            CHECK(one.ranks[i - 1].score > one.ranks[i].score ||
                  (one.ranks[i - 1].score == one.ranks[i].score &&
                   one.ranks[i - 1].host < one.ranks[i].host));
        choose_result_fini(&one);
        choose_result_fini(&two);
        choose_ledger_destroy(ledger);
    }
}

TEST(foreign_names_are_made_safe)
{
    struct choose_host h[] = { idle(0, "a\033[2J", 4, 16 * G, 12 * G),
                               idle(1, "b", 4, 16 * G, 8 * G) };
    struct choose_request req = { .app = "x\ny", .sticky = "a\033[2J" };
    struct choose_result r = choose(h, 2, NULL, &req);

    CHECK_STR(r.ranks[0].why, "set for x\\ny, 12G of 16G memory free, CPU 0%");
    CHECK_STR(r.ranks[1].why, "a\\e[2J is set for x\\ny");
    choose_result_fini(&r);
}

TEST(every_term_and_outcome_has_a_name)
{
    for (int i = 0; i < CHOOSE_TERM_COUNT; i++)
        CHECK(*choose_term_name((enum choose_term)i));
    for (int i = 1; i < CHOOSE_OUT_COUNT; i++)
        CHECK(*choose_out_name((enum choose_out)i));
    CHECK_STR(choose_out_name(CHOOSE_IN), "");
    CHECK_STR(choose_term_name(CHOOSE_TERM_COUNT), "");
}
