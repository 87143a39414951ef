/* SPDX-License-Identifier: BSD-2-Clause */
/* Measurements of nodes: what comes out is what went in, however time and the process behave. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "store/store_priv.h"
#include "unit/unit.h"

#include <math.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define S NS_PER_S
#define MIN (60 * S)
#define HOUR (60 * MIN)
#define DAY (24 * HOUR)
#define T0 (INT64_C(20000) * DAY) /* a midnight */

#define CPU STORE_SERIES_CPU_PERCENT
#define LOAD STORE_SERIES_LOAD1
#define ALL UINT64_MAX

static struct store *open_store(void)
{
    struct err err = ERR_INIT;
    struct store *s = store_open(unit_tmpdir(), NULL, &err);

    if (!s)
        unit_fail(__FILE__, __LINE__, "store_open: %s", err.msg);
    return s;
}

/* With nodes 1 to n. */
static struct store *open_nodes(int n)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;

    CHECK_OK(store_begin(s, &err), &err);
    for (int i = 1; i <= n; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        CHECK_OK(store_node_put(s, &(struct store_node){ .name = name }, NULL, &err), &err);
    }
    CHECK_OK(store_commit(s, &err), &err);
    return s;
}

static void check(struct store *s)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_check(s, &err), &err);
}

static void flush(struct store *s, int64_t now_ns)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_metrics_flush(s, now_ns, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
}

static void unknown(float *values)
{
    for (int i = 0; i < STORE_SERIES_COUNT; i++)
        values[i] = NAN;
}

static void add(struct store *s, int64_t node, int64_t wall_ns, float cpu)
{
    float values[STORE_SERIES_COUNT];

    unknown(values);
    values[CPU] = cpu;
    store_metrics_add(s, node, wall_ns, values);
}

/* Points as "second+width=min/mean/max ", of CPU. */
static bool describe(void *arg, const struct store_point *p)
{
    buf_printf(arg, "%lld+%lld=", (long long)((p->wall_ns - T0) / S), (long long)(p->width_ns / S));
    if (p->min[CPU] < p->max[CPU])
        buf_printf(arg, "%g/%g/", (double)p->min[CPU], (double)p->max[CPU]);
    buf_printf(arg, "%g ", (double)p->mean[CPU]);
    return true;
}

static void check_read_at(struct store *s, int64_t node, int64_t from_ns, int64_t to_ns,
                          int64_t max_points, const char *want, int line)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(store_metrics_read(s, node, ALL, from_ns, to_ns, max_points, describe, &b, &err),
             &err);
    unit_check_str(__FILE__, line, "points", buf_data(&b), want);
    buf_fini(&b);
}
#define CHECK_READ(s, node, from, to, max, want)                                                   \
    check_read_at(s, node, from, to, max, want, __LINE__)

/* --- the codec --- */

static uint32_t rng = 1;

static uint32_t next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 17;
    return rng ^= rng << 5;
}

static float random_value(void)
{
    static const float odd[] = { 0.0F,   -0.0F,    1.0F,  100.0F, 1e-9F, -1e-9F,
                                 1e-38F, 1.4e-45F, 3e38F, -3e38F, 1e17F, -1.0F };
    uint32_t r = next() % 100;

    if (r < 10)
        return NAN;
    if (r < 20)
        return odd[next() % ARRAY_LEN(odd)];
    if (r < 22)
        return next() % 2 ? INFINITY : -INFINITY;
    return ldexpf((float)(next() % 100000) - 1000.0F, (int)(next() % 60) - 30);
}

static const int series_bits[] = {
#define SERIES(name, text, bits) bits,
#include "store/series.def"
};

static void check_near(float got, float want, int bits)
{
    if (!isfinite(want)) {
        CHECK(isnan(got));
        return;
    }
    double limit = 144115188075855872.0; /* 2^57 */
    double w = (double)want, error = fabs(w) / (2 << bits) + 1e-4;
    w = w > limit ? limit : w < -limit ? -limit : w;
    if (fabs(w) >= limit / 2)
        error = limit / (1 << bits);
    if (!(fabs((double)got - w) <= error))
        unit_fail(__FILE__, __LINE__, "%g came back as %g", (double)want, (double)got);
}

TEST(values_come_back_rounded_and_then_stay)
{
    for (int round = 0; round < 400; round++) {
        bool summary = round % 2;
        struct metric_chunk c, d;
        struct metric_range r, q;
        struct buf b = BUF_INIT, again = BUF_INIT;

        c.slots = d.slots = round % 3 == 0 ? 60 : 1 + (int)(next() % 60);
        metric_clear(&c, &r);
        for (int i = 0; i < c.slots; i++) {
            bool empty = next() % 5 == 0;
            c.count[i] = (uint16_t)(empty ? 0 : summary ? 1 + next() % 65535 : 1);
            for (int j = 0; j < STORE_SERIES_COUNT && !empty; j++) {
                float v = random_value();
                c.mean[j][i] = v;
                r.min[j][i] = v - (next() % 2 ? fabsf(v) : 0);
                r.max[j][i] = v + (next() % 2 ? fabsf(v) : 0);
            }
        }
        metric_encode(&c, summary ? &r : NULL, &b);
        CHECK(metric_decode(buf_data(&b), buf_len(&b), &d, summary ? &q : NULL));
        CHECK(memcmp(c.count, d.count, sizeof c.count) == 0);
        for (int i = 0; i < c.slots * STORE_SERIES_COUNT; i++) {
            int slot = i / STORE_SERIES_COUNT, j = i % STORE_SERIES_COUNT;
            check_near(d.mean[j][slot], c.mean[j][slot], series_bits[j]);
            if (summary && isfinite(c.mean[j][slot])) {
                CHECK(q.min[j][slot] <= d.mean[j][slot] && d.mean[j][slot] <= q.max[j][slot]);
                if (isfinite(r.min[j][slot]))
                    check_near(q.min[j][slot], r.min[j][slot], series_bits[j]);
                if (isfinite(r.max[j][slot]))
                    check_near(q.max[j][slot], r.max[j][slot], series_bits[j]);
            }
        }
        metric_encode(&d, summary ? &q : NULL, &again);
        CHECK_INT(buf_len(&again), buf_len(&b));
        CHECK(memcmp(buf_data(&again), buf_data(&b), buf_len(&b)) == 0);
        buf_fini(&b);
        buf_fini(&again);
    }
}

TEST(damaged_bytes_are_refused_or_read_without_harm)
{
    struct metric_chunk c = { .slots = 60 }, d = { .slots = 60 };
    struct metric_range r;
    struct buf b = BUF_INIT;
    int refused = 0;

    metric_clear(&c, NULL);
    for (int i = 0; i < 60; i++) {
        c.count[i] = 1;
        for (int j = 0; j < STORE_SERIES_COUNT; j++)
            c.mean[j][i] = random_value();
    }
    metric_encode(&c, NULL, &b);
    for (size_t len = 0; len < buf_len(&b); len++) {
        char *cut = mem_dup(buf_data(&b), len); /* so that reading behind it is seen */
        CHECK(!metric_decode(cut, len, &d, NULL));
        free(cut);
    }
    CHECK(!metric_decode(buf_data(&b), buf_len(&b), &d, &r)); /* no summary */
    d.slots = 24;
    CHECK(!metric_decode(buf_data(&b), buf_len(&b), &d, NULL) || d.count[0] == 1);
    for (int i = 0; i < 20000; i++) {
        char *bytes = mem_dup(buf_data(&b), buf_len(&b));
        size_t len = 1 + next() % buf_len(&b);
        for (uint32_t n = next() % 8; n > 0; n--)
            bytes[next() % buf_len(&b)] = (char)next();
        bytes[0] = (char)(2 + i % 2);
        d.slots = i % 3 ? 60 : 24;
        refused += !metric_decode(bytes, len, &d, i % 2 ? &r : NULL);
        for (int j = 0; j < d.slots; j++) {
            for (int k = 0; k < STORE_SERIES_COUNT; k++)
                CHECK(isnan(d.mean[k][j]) || isfinite(d.mean[k][j]));
        }
        free(bytes);
    }
    CHECK(refused > 10000);
    buf_fini(&b);
}

TEST(series_of_a_later_release_are_skipped)
{
    struct metric_chunk c = { .slots = 8 }, d = { .slots = 8 };
    struct buf b = BUF_INIT;

    metric_clear(&c, NULL);
    for (int i = 0; i < 8; i++) {
        c.count[i] = 1;
        c.mean[CPU][i] = (float)i;
        c.mean[LOAD][i] = (float)(i * i);
    }
    metric_encode(&c, NULL, &b);
    size_t len = buf_len(&b);
    char *bytes = buf_take(&b, NULL);
    CHECK_INT(bytes[3], CPU); /* behind format, slots and number of series */
    bytes[3] = (char)200;
    CHECK(metric_decode(bytes, len, &d, NULL));
    CHECK(isnan(d.mean[CPU][7]));
    CHECK_INT(d.mean[LOAD][7], 49);
    free(bytes);
}

TEST(what_stays_costs_next_to_nothing)
{
    struct metric_chunk c = { .slots = 60 };
    struct buf b = BUF_INIT;

    metric_clear(&c, NULL);
    for (int i = 0; i < 60; i++) {
        c.count[i] = 1;
        for (int j = 0; j < STORE_SERIES_COUNT; j++)
            c.mean[j][i] = 12345.0F * (float)j;
    }
    metric_encode(&c, NULL, &b);
    CHECK(buf_len(&b) <= 10 + STORE_SERIES_COUNT * 6);
    buf_fini(&b);
}

/* --- in and out --- */

TEST(points_before_and_after_a_flush_and_a_restart)
{
    struct store *s = open_nodes(2);
    const char *want = "0+10=1 10+10=2 30+10=4 ";

    add(s, 1, T0, 1);
    add(s, 1, T0 + 10 * S, 2);
    add(s, 1, T0 + 30 * S, 4);
    add(s, 2, T0 + 30 * S, 50);
    CHECK_READ(s, 1, T0, T0 + HOUR, 1000, want);
    flush(s, T0 + 40 * S);
    CHECK_READ(s, 1, T0, T0 + HOUR, 1000, want);
    check(s);
    store_close(s);
    s = open_store();
    CHECK_READ(s, 1, T0, T0 + HOUR, 1000, want);
    add(s, 1, T0 + 50 * S, 6);
    CHECK_READ(s, 1, T0, T0 + HOUR, 1000, "0+10=1 10+10=2 30+10=4 50+10=6 ");
    flush(s, T0 + 60 * S);
    CHECK_READ(s, 1, T0 + 10 * S, T0 + 50 * S, 1000, "10+10=2 30+10=4 ");
    CHECK_READ(s, 2, 0, 0, 1000, "30+10=50 ");
    CHECK_READ(s, 3, 0, 0, 1000, "");
    check(s);
    store_close(s);
}

TEST(several_in_a_slot_are_averaged)
{
    struct store *s = open_nodes(1);
    float values[STORE_SERIES_COUNT];

    for (int i = 0; i < 5; i++)
        add(s, 1, T0 + 2 * i * S, (float)i);
    add(s, 1, T0 + 10 * S, NAN); /* nothing known: as if it were not there */
    unknown(values);
    values[LOAD] = 3;
    store_metrics_add(s, 1, T0 + 20 * S, values);
    values[CPU] = INFINITY;
    store_metrics_add(s, 1, T0 + 30 * S, values);
    CHECK_READ(s, 1, T0, T0 + MIN, 100, "0+10=2 20+10=nan 30+10=nan ");
    store_close(s);
}

TEST(what_is_no_node_and_no_time_is_ignored)
{
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;
    static const int64_t nodes[] = { 0, -1, INT64_MAX, METRIC_NODE_MAX + 1, 2, METRIC_NODE_MAX };
    static const int64_t times[] = { 0, -1, INT64_MIN };

    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        add(s, nodes[i], T0, 1);
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        add(s, 1, times[i], 1);
        flush(s, times[i]);
    }
    flush(s, T0 + DAY);
    CHECK_INT(store_metrics_size(s), 0);
    CHECK_INT(store_metrics_flush(s, T0, &err), -1); /* needs a transaction */
    CHECK_INT(err.kind, ERR_INTERNAL);
    int64_t n;
    CHECK_INT(store_metrics_prune(s, T0, 0, 1, &n, &err), -1);
    CHECK_INT(err.kind, ERR_INTERNAL);
    check(s);
    CHECK_STR(store_series_name(0), "cpu_percent");
    CHECK_STR(store_series_name(STORE_SERIES_COUNT - 1), "users");
    CHECK(!store_series_name(-1) && !store_series_name(STORE_SERIES_COUNT));
    store_close(s);
}

/* One measurement each 10 s from `from` to `to`, a flush each minute. */
static void live(struct store *s, int64_t from_ns, int64_t to_ns, float cpu)
{
    for (int64_t t = from_ns; t < to_ns; t += 10 * S) {
        add(s, 1, t, cpu);
        if (t % MIN == 50 * S)
            flush(s, t + S);
    }
}

TEST(summaries_keep_least_mean_and_greatest)
{
    struct store *s = open_nodes(1);

    for (int i = 0; i < 2 * 360; i++) {
        add(s, 1, T0 + i * 10 * S, i == 7 ? 100 : i < 360 ? 10 : 20);
        if (i % 6 == 5)
            flush(s, T0 + i * 10 * S + S);
        if (i == 40 || i == 299) { /* what is in memory alone counts too */
            CHECK_READ(s, 1, T0, T0 + 10 * MIN, 2, "0+300=10/100/13 300+300=10 ");
            CHECK_READ(s, 1, T0, T0 + HOUR, 1,
                       i == 40 ? "0+3600=10/100/12.1951 " : "0+3600=10/100/10.3 ");
        }
    }
    CHECK_READ(s, 1, T0, T0 + 2 * HOUR, 2, "0+3600=10/100/10.25 3600+3600=20 ");
    flush(s, T0 + DAY);
    check(s);
    store_close(s);
    s = open_store();
    CHECK_READ(s, 1, T0, T0 + 2 * HOUR, 2, "0+3600=10/100/10.25 3600+3600=20 ");
    CHECK_READ(s, 1, T0 + 50 * MIN, T0 + 70 * MIN, 4,
               "3000+300=10 3300+300=10 3600+300=20 3900+300=20 ");
    CHECK_READ(s, 1, T0 + 59 * MIN + 50 * S, T0 + 60 * MIN + 10 * S, 9, "3590+10=10 3600+10=20 ");
    CHECK_READ(s, 1, 0, 0, 1, "0+86400=10/100/15.125 ");
    store_close(s);
}

struct bounds {
    int64_t n, last_end_ns, max_width_ns;
};

static bool count_points(void *arg, const struct store_point *p)
{
    struct bounds *b = arg;

    CHECK(p->wall_ns >= b->last_end_ns); /* in order, none beside another */
    b->last_end_ns = p->wall_ns + p->width_ns;
    b->max_width_ns = p->width_ns > b->max_width_ns ? p->width_ns : b->max_width_ns;
    b->n++;
    return true;
}

TEST(never_more_points_than_asked_for_and_not_many_fewer)
{
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;

    live(s, T0, T0 + 20 * HOUR, 5);
    for (int i = 0; i < 3000; i++) {
        int64_t from = T0 + next() % (10 * HOUR / S) * S, max = 1 + next() % 500;
        int64_t to = from + (int64_t)(10 + next() % (10 * HOUR / S)) * S;
        struct bounds b = { 0 };
        CHECK_OK(store_metrics_read(s, 1, ALL, from, to, max, count_points, &b, &err), &err);
        int64_t possible = (to - from) / (10 * S);
        CHECK(b.n >= 1 && b.n <= max);
        CHECK(b.n >= (possible < max ? possible : max) / 3);
    }
    store_close(s);
}

static bool only_load(void *arg, const struct store_point *p)
{
    CHECK(isnan(p->mean[CPU]) && isnan(p->min[CPU]) && isnan(p->max[CPU]));
    CHECK_INT(p->mean[LOAD], 2);
    (*(int *)arg)++;
    return *(int *)arg < 3;
}

TEST(only_what_was_asked_for_and_until_it_is_enough)
{
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;
    float values[STORE_SERIES_COUNT];
    int n = 0;

    unknown(values);
    for (int i = 0; i < 100; i++) {
        values[CPU] = 1;
        values[LOAD] = i % 2 ? 2 : NAN;
        store_metrics_add(s, 1, T0 + i * 10 * S, values);
    }
    CHECK_OK(store_metrics_read(s, 1, UINT64_C(1) << LOAD, T0, T0 + HOUR, 360, only_load, &n, &err),
             &err);
    CHECK_INT(n, 3);
    CHECK_INT(store_metrics_read(s, 1, ALL, T0, T0 + HOUR, 0, only_load, &n, &err), -1);
    store_close(s);
}

static bool read_within(void *arg, const struct store_point *p)
{
    struct err err = ERR_INIT;
    struct bounds b = { 0 };

    (void)p;
    CHECK_OK(store_metrics_read(arg, 2, ALL, 0, 0, 10, count_points, &b, &err), &err);
    CHECK_INT(b.n, 1);
    return true;
}

TEST(a_callback_may_read_another_node)
{
    struct store *s = open_nodes(2);
    struct err err = ERR_INIT;

    live(s, T0, T0 + HOUR, 1);
    add(s, 2, T0, 1);
    flush(s, T0 + HOUR);
    CHECK_OK(store_metrics_read(s, 1, ALL, 0, 0, 100, read_within, s, &err), &err);
    store_close(s);
}

/* --- transactions and death --- */

TEST(what_was_rolled_back_is_written_by_the_next_flush)
{
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;

    for (int i = 0; i < 3; i++) { /* in the current window, over, and far away */
        int64_t t = T0 + i * HOUR;
        add(s, 1, t, 5);
        CHECK_OK(store_begin(s, &err), &err);
        CHECK_OK(store_metrics_flush(s, t + i * 15 * MIN, &err), &err);
        add(s, 1, t + 10 * S, 6); /* between flush and end */
        store_rollback(s);
        check(s);
        CHECK_READ(s, 1, t, t + MIN, 6,
                   i == 0   ? "0+10=5 10+10=6 "
                   : i == 1 ? "3600+10=5 3610+10=6 "
                            : "7200+10=5 7210+10=6 ");
        flush(s, t + i * 15 * MIN);
        check(s);
    }
    store_close(s);
    s = open_store();
    CHECK_READ(s, 1, T0, T0 + 3 * HOUR, 1080,
               "0+10=5 10+10=6 3600+10=5 3610+10=6 7200+10=5 7210+10=6 ");
    CHECK_READ(s, 1, T0, T0 + 3 * HOUR, 3, "0+3600=5/6/5.5 3600+3600=5/6/5.5 7200+3600=5/6/5.5 ");
    store_close(s);
}

TEST(measurements_between_flush_and_commit_are_kept)
{
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;

    for (int i = 0; i < 2; i++) {
        add(s, 1, T0 + i * HOUR, 5);
        CHECK_OK(store_begin(s, &err), &err);
        CHECK_OK(store_metrics_flush(s, T0 + i * (HOUR + 30 * MIN), &err), &err);
        add(s, 1, T0 + i * HOUR + 10 * S, 6);
        CHECK_OK(store_commit(s, &err), &err);
        flush(s, T0 + i * (HOUR + 30 * MIN));
    }
    store_close(s);
    s = open_store();
    CHECK_READ(s, 1, T0, T0 + 2 * HOUR, 720, "0+10=5 10+10=6 3600+10=5 3610+10=6 ");
    store_close(s);
}

TEST(a_restart_in_the_middle_of_a_window_loses_no_summary)
{
    /* Killed after a flush at 00:14; the next process begins at 00:18, or much later. */
    for (int i = 0; i < 2; i++) {
        int64_t base = T0 + i * DAY, later = base + (i ? 8 * HOUR : 18 * MIN);
        pid_t pid = fork();
        int status;
        if (pid == 0) {
            struct store *s = i ? open_store() : open_nodes(1);
            live(s, base, base + 14 * MIN, 8);
            add(s, 1, base + 14 * MIN, 99); /* not flushed: lost */
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        struct store *s = open_store();
        live(s, later, later + 12 * MIN, 4);
        flush(s, later + HOUR);
        CHECK_READ(s, 1, base, base + 20 * MIN, 4,
                   i ? "86400+300=8 86700+300=8 87000+300=8 "
                     : "0+300=8 300+300=8 600+300=8 900+300=4 ");
        CHECK_READ(s, 1, base, base + HOUR, 1, i ? "86400+3600=8 " : "0+3600=4/8/6.15625 ");
        check(s);
        store_close(s);
    }
}

TEST(memory_is_bounded_when_nothing_can_be_written)
{
    struct store *s = open_nodes(1);

    for (int64_t t = T0; t < T0 + 5 * HOUR; t += 10 * S)
        add(s, 1, t, 1);
    const struct metric_node *n = map_get(&s->metrics.nodes, 1);
    CHECK(n->n_open <= 4);
    flush(s, T0 + 5 * HOUR);
    CHECK_INT(n->n_open, 0);
    struct bounds b = { 0 };
    struct err err = ERR_INIT;
    CHECK_OK(store_metrics_read(s, 1, ALL, T0, T0 + 5 * HOUR, 5000, count_points, &b, &err), &err);
    CHECK(b.n >= 180 && b.n <= 240); /* the last half an hour, and a bit */
    CHECK_INT(b.last_end_ns, T0 + 5 * HOUR);
    check(s);
    store_close(s);
}

/* --- clocks --- */

TEST(a_clock_that_jumps_neither_breaks_nor_grows_it)
{
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;
    int64_t now = T0, removed;

    for (int i = 0; i < 4000; i++) {
        switch (next() % 60) {
        case 0:
            now = T0 + (int64_t)(next() % 1000) * MIN;
            break;
        case 1:
            now = (int64_t)next() * S; /* 1970 to 2106 */
            break;
        case 2:
            now = INT64_MAX - (int64_t)next();
            break;
        case 3:
            now = 5;
            break;
        default:
            now = now > INT64_MAX - 10 * S ? now : now + 10 * S;
        }
        add(s, 1, now, (float)(i % 100));
        if (i % 6 == 0) {
            CHECK_OK(store_begin(s, &err), &err);
            CHECK_OK(store_metrics_flush(s, now, &err), &err);
            CHECK_OK(store_metrics_prune(s, now, 4000, 100, &removed, &err), &err);
            CHECK_OK(store_commit(s, &err), &err);
            CHECK(store_metrics_size(s) < 8000); /* the least that always stays, and a step */
        }
    }
    check(s);
    struct bounds b = { 0 };
    CHECK_OK(store_metrics_read(s, 1, ALL, 0, 0, 100, count_points, &b, &err), &err);
    CHECK_OK(store_metrics_read(s, 1, ALL, INT64_MIN, INT64_MAX, 1, count_points,
                                &(struct bounds){ 0 }, &err),
             &err);
    store_close(s);
}

TEST(a_clock_set_back_averages_and_does_not_spoil_a_summary)
{
    struct store *s = open_nodes(1);

    live(s, T0, T0 + 2 * HOUR, 10);
    flush(s, T0 + 2 * HOUR);
    live(s, T0 + 10 * MIN, T0 + 11 * MIN, 30); /* the clock is an hour and 50 minutes behind */
    live(s, T0 + 2 * HOUR, T0 + 3 * HOUR, 10);
    flush(s, T0 + 3 * HOUR);
    CHECK_READ(s, 1, T0 + 10 * MIN - 10 * S, T0 + 10 * MIN + 20 * S, 9,
               "590+10=10 600+10=20 610+10=20 ");
    CHECK_READ(s, 1, T0, T0 + 3 * HOUR, 3, "0+3600=10/20/10.1719 3600+3600=10 7200+3600=10 ");
    check(s);
    store_close(s);
}

/* --- pruning --- */

static int64_t prune(struct store *s, int64_t now_ns, int64_t max_bytes, int64_t max)
{
    struct err err = ERR_INIT;
    int64_t removed = -1;

    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_metrics_prune(s, now_ns, max_bytes, max, &removed, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
    return removed;
}

static void prune_all(struct store *s, int64_t now_ns, int64_t max_bytes)
{
    while (prune(s, now_ns, max_bytes, 50) > 0)
        ;
    check(s);
}

TEST(the_finest_goes_after_a_day_and_the_coarser_takes_its_place)
{
    struct store *s = open_nodes(1);

    live(s, T0, T0 + 3 * DAY, 5);
    flush(s, T0 + 3 * DAY);
    prune_all(s, T0 + 3 * DAY, 0);
    CHECK_INT(s->totals[TOTAL_WINDOWS], 145);
    CHECK_INT(s->totals[TOTAL_WINDOWS + 1], 36);
    CHECK_INT(s->totals[TOTAL_WINDOWS + 2], 3);
    CHECK_READ(s, 1, T0 + HOUR, T0 + HOUR + 10 * MIN, 60, "3600+300=5 3900+300=5 ");
    /* Across the border: coarse, then fine. */
    int64_t border = T0 + 2 * DAY - 10 * MIN;
    CHECK_READ(s, 1, border - 5 * MIN, border + 20 * S, 60,
               "171900+300=5 172200+10=5 172210+10=5 ");
    store_close(s);
}

TEST(a_limit_on_bytes_takes_the_finest_first_and_leaves_the_least)
{
    struct store *s = open_nodes(3);
    float values[STORE_SERIES_COUNT];

    for (int64_t t = T0; t < T0 + DAY; t += 10 * S) {
        for (int node = 1; node <= 3; node++) {
            for (int i = 0; i < STORE_SERIES_COUNT; i++)
                values[i] = (float)(next() % 1000);
            store_metrics_add(s, node, t, values);
        }
        if (t % MIN == 0)
            flush(s, t);
    }
    flush(s, T0 + DAY);
    int64_t full = store_metrics_size(s);
    prune_all(s, T0 + DAY, full / 2);
    CHECK(store_metrics_size(s) <= full / 2 && store_metrics_size(s) > full / 2 - 12000);
    CHECK_INT(s->totals[TOTAL_WINDOWS + 1], 12);
    struct err err = ERR_INIT;
    struct bounds b = { 0 };
    CHECK_OK(store_metrics_read(s, 2, ALL, T0 + 23 * HOUR, T0 + DAY, 360, count_points, &b, &err),
             &err);
    CHECK_INT(b.n, 360);
    prune_all(s, T0 + DAY, 1);
    CHECK_INT(s->totals[TOTAL_WINDOWS], 7);
    CHECK_INT(s->totals[TOTAL_WINDOWS + 1], 12);
    CHECK_INT(s->totals[TOTAL_WINDOWS + 2], 1);
    store_close(s);
}

TEST(a_step_of_pruning_is_bounded)
{
    struct store *s = open_nodes(20);
    int64_t total = 0, n;

    for (int64_t t = T0; t < T0 + 5 * HOUR; t += MIN) {
        for (int node = 1; node <= 20; node++)
            add(s, node, t, 1);
        if (t % (5 * MIN) == 0)
            flush(s, t);
    }
    flush(s, T0 + 5 * HOUR);
    while ((n = prune(s, T0 + 5 * HOUR, 1, 7)) > 0) {
        CHECK(n <= 7);
        total += n;
        check(s);
    }
    CHECK_INT(total, (30 - 7) * 20);
    store_close(s);
}

TEST(what_was_measured_of_a_removed_node_goes_and_nothing_else)
{
    struct store *s = open_nodes(3);
    struct err err = ERR_INIT;
    int64_t rows;

    for (int64_t t = T0; t < T0 + 5 * HOUR; t += MIN) {
        for (int node = 1; node <= 3; node++)
            add(s, node, t, 1);
        if (t % (5 * MIN) == 0)
            flush(s, t);
    }
    flush(s, T0 + 5 * HOUR - MIN);
    int64_t size = store_metrics_size(s);
    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_node_remove(s, 2, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
    check(s);
    add(s, 2, T0 + 5 * HOUR, 1); /* still on its way when it was removed */
    flush(s, T0 + 6 * HOUR);
    CHECK_READ(s, 2, 0, 0, 5, "");
    for (int64_t n; (n = prune(s, T0 + 6 * HOUR, 0, 5)) > 0;)
        CHECK(n <= 5);
    check(s);
    CHECK_OK(db_exec_int(s, "SELECT count(*) FROM metric WHERE id & 16777215 = 2", &rows, &err),
             &err);
    CHECK_INT(rows, 0);
    CHECK_OK(db_exec_int(s, "SELECT count(*) FROM metric_gone", &rows, &err), &err);
    CHECK_INT(rows, 0);
    CHECK(store_metrics_size(s) > size * 6 / 10 && store_metrics_size(s) < size * 8 / 10);
    CHECK_READ(s, 3, T0, T0 + 2 * HOUR, 2, "0+3600=1 3600+3600=1 ");
    store_close(s);
}

/* --- damage --- */

TEST(a_damaged_row_is_gone_without_and_only_the_check_minds)
{
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;

    live(s, T0, T0 + HOUR, 5);
    flush(s, T0 + HOUR);
    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(db_exec(s, "spoil",
                     "UPDATE metric SET data = CAST(x'02ff' || zeroblob(length(data) - 2) AS BLOB)"
                     " WHERE id < 1 << 60",
                     &err),
             &err);
    CHECK_OK(store_commit(s, &err), &err);
    CHECK_INT(store_check(s, &err), -1);
    CHECK_INT(err.kind, ERR_CORRUPT);
    CHECK_READ(s, 1, T0, T0 + 20 * MIN, 120, "0+300=5 300+300=5 600+300=5 900+300=5 ");
    add(s, 1, T0 + 50 * MIN, 7); /* and it is written anew */
    flush(s, T0 + HOUR);
    CHECK_READ(s, 1, T0 + 50 * MIN, T0 + HOUR, 60, "3000+10=7 ");
    store_close(s);
}

TEST(the_check_finds_counts_and_owners_that_are_wrong)
{
    static const char *const spoil[] = {
        "DELETE FROM metric WHERE id < 1 << 60",
        "DELETE FROM node",
        "INSERT INTO metric_gone VALUES (1, 0)",
        "INSERT INTO metric SELECT id + (1 << 60), data FROM metric WHERE id >= 2 << 60",
        "INSERT INTO metric SELECT -id, data FROM metric",
        "UPDATE metric SET data = CAST(data || x'00' AS BLOB)",
        "INSERT INTO metric SELECT id | (1 << 59), data FROM metric WHERE id < 1 << 60",
    };
    struct store *s = open_nodes(1);
    struct err err = ERR_INIT;

    live(s, T0, T0 + HOUR, 5);
    check(s);
    for (size_t i = 0; i < ARRAY_LEN(spoil); i++) {
        CHECK_OK(db_exec(s, "spoil", "SAVEPOINT a", &err), &err);
        CHECK_OK(db_exec(s, "spoil", spoil[i], &err), &err);
        if (store_check(s, &err) == 0)
            unit_fail(__FILE__, __LINE__, "not found: %s", spoil[i]);
        CHECK_INT(err.kind, ERR_CORRUPT);
        CHECK_OK(db_exec(s, "spoil", "ROLLBACK TO a; RELEASE a", &err), &err);
        check(s);
    }
    store_close(s);
}

/* --- size and cost --- */

/* HIVE_METRICS_NODES, HIVE_METRICS_DAYS and HIVE_METRICS_LIMIT (bytes) make it big. */
static int64_t from_env(const char *name, int64_t fallback)
{
    const char *text = getenv(name);

    return text ? strtoll(text, NULL, 10) : fallback;
}

static int64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* From 0 to 1. */
static float noise(void)
{
    return (float)(next() % 65536) / 65536.0F;
}

struct machine {
    float cpu, memory, net, disk_free;
};

/* A machine that works for a while and idles for a while; its disk and its users move slowly. */
static void measure(struct machine *m, float *v)
{
    bool busy = m->cpu > 20;

    if (next() % 180 == 0)
        m->cpu = busy ? 1 : 30 + 70 * noise();
    m->memory += (noise() - 0.5F) * (busy ? 4e8F : 2e7F);
    m->memory = m->memory < 1e9F ? 1e9F : m->memory > 6e10F ? 6e10F : m->memory;
    m->net = next() % 60 == 0 ? 2e7F * noise() : m->net;
    m->disk_free -= busy ? 1e6F * noise() : 4096;
    v[CPU] = m->cpu * (0.8F + 0.2F * noise());
    v[STORE_SERIES_IOWAIT_PERCENT] = next() % 5 ? 0 : noise() * 3;
    v[LOAD] = v[CPU] / 10;
    v[STORE_SERIES_MEMORY_AVAILABLE] = m->memory;
    v[STORE_SERIES_MEMORY_TOTAL] = 6.7e10F;
    v[STORE_SERIES_SWAP_USED] = 1e8F;
    v[STORE_SERIES_NET_RX] = busy ? m->net * noise() : 300 + 2000 * noise();
    v[STORE_SERIES_NET_TX] = busy ? m->net * noise() : 300 + 2000 * noise();
    v[STORE_SERIES_DISK_READ] = next() % 4 ? 0 : 1e7F * noise();
    v[STORE_SERIES_DISK_WRITE] = 4096.0F * (float)(next() % 100);
    v[STORE_SERIES_DISK_FREE] = m->disk_free;
    v[STORE_SERIES_PRESSURE_CPU] = busy ? 10 * noise() : 0;
    v[STORE_SERIES_PRESSURE_MEMORY] = 0;
    v[STORE_SERIES_PRESSURE_IO] = next() % 3 ? 0 : noise();
    v[STORE_SERIES_USERS] = 3;
}

static void show_cost(struct store *s, int nodes, int64_t days, int64_t cpu, int64_t add_cpu)
{
    struct err err = ERR_INIT;
    int64_t pages, unused, rows, bytes;

    CHECK_OK(db_exec_int(s, "PRAGMA page_count", &pages, &err), &err);
    CHECK_OK(db_exec_int(s, "PRAGMA freelist_count", &unused, &err), &err);
    fprintf(stderr,
            "# %d nodes, %lld days: %.1f MB counted, %.1f MB of pages in use, %.1f MB file, CPU "
            "%.2f s a day, %.2f s of it in adding\n",
            nodes, (long long)days, (double)store_metrics_size(s) / 1e6,
            (double)(pages - unused) * 4096 / 1e6, (double)pages * 4096 / 1e6,
            (double)cpu / 1e9 / (double)days, (double)add_cpu / 1e9 / (double)days);
    for (int level = 0; level < METRIC_LEVELS; level++) {
        char *sql = mem_printf("SELECT count(*) FROM metric WHERE id >> 60 = %d", level);
        CHECK_OK(db_exec_int(s, sql, &rows, &err), &err);
        free(sql);
        sql = mem_printf("SELECT coalesce(sum(length(data)), 0) FROM metric WHERE id >> 60 = %d",
                         level);
        CHECK_OK(db_exec_int(s, sql, &bytes, &err), &err);
        free(sql);
        fprintf(stderr, "#   level %d: %lld rows, %lld bytes, %.0f a row\n", level, (long long)rows,
                (long long)bytes, rows ? (double)bytes / (double)rows : 0);
    }
}

TEST(size_and_cost)
{
    int nodes = (int)from_env("HIVE_METRICS_NODES", 5);
    int64_t days = from_env("HIVE_METRICS_DAYS", 1), limit = from_env("HIVE_METRICS_LIMIT", 0);
    struct store *s = open_nodes(nodes);
    struct machine *m = mem_alloc_array((size_t)nodes, sizeof *m);
    float v[STORE_SERIES_COUNT];
    int64_t cpu = 0, add_cpu = 0, pages = 0, commits = 0, before;

    for (int64_t t = T0; t < T0 + days * DAY; t += 10 * S) {
        for (int i = 0; i < nodes; i++) {
            measure(&m[i], v);
            before = i ? 0 : cpu_ns();
            store_metrics_add(s, i + 1, t, v);
            add_cpu += i ? 0 : (cpu_ns() - before) * nodes;
        }
        if (t % MIN != 50 * S)
            continue;
        before = cpu_ns();
        int wal = s->wal_pages;
        flush(s, t + S);
        while (t % (10 * MIN) == 50 * S && prune(s, t + S, limit, 1000) > 0)
            ;
        cpu += cpu_ns() - before;
        pages += s->wal_pages > wal ? s->wal_pages - wal : s->wal_pages;
        commits++;
    }
    show_cost(s, nodes, days, cpu + add_cpu, add_cpu);
    fprintf(stderr, "#   %.1f pages a flush, %.1f MB of log a day\n",
            (double)pages / (double)commits, (double)pages * 4096 / 1e6 / (double)days);
    struct bounds b = { 0 };
    struct err err = ERR_INIT;
    before = cpu_ns();
    CHECK_OK(store_metrics_read(s, 1, ALL, T0, T0 + days * DAY, 500, count_points, &b, &err), &err);
    fprintf(stderr, "#   all of a node in %lld points: %.2f ms\n", (long long)b.n,
            (double)(cpu_ns() - before) / 1e6);
    b = (struct bounds){ 0 };
    before = cpu_ns();
    CHECK_OK(store_metrics_read(s, 1, ALL, T0 + (days - 1) * DAY, T0 + days * DAY, 8640,
                                count_points, &b, &err),
             &err);
    fprintf(stderr, "#   a day of it in %lld points: %.2f ms\n", (long long)b.n,
            (double)(cpu_ns() - before) / 1e6);
    CHECK(b.n == 8640 || limit > 0);
    CHECK(limit > 0 || store_metrics_size(s) < nodes * days * 400000);
    check(s);
    free(m);
    store_close(s);
}
