/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler as a whole: traces with fixed seeds, run in virtual time. A job ends after its real
 * duration, which the scheduler doesn't know; what it knows is the time limit, if there is one.
 */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "sched/sched.h"

#define WINDOW (60 * NS_PER_S)
#define NEVER INT64_MAX

/* ---- numbers by chance, the same on every machine ---- */

struct rng {
    uint64_t state;
};

static uint64_t rng_next(struct rng *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = r->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int64_t rng_int(struct rng *r, int64_t min, int64_t max)
{
    return min + (int64_t)(rng_next(r) % (uint64_t)(max - min + 1));
}

/* ---- the simulator ---- */

struct job {
    struct sched_entry entry;
    struct sched_alloc alloc;
    struct sched_shape shape;
    int64_t arrive_ns, duration_ns;
    int64_t start_ns, end_ns; /* NEVER: not yet; end of the last start */
};

struct sim {
    struct sched *s;
    struct job *jobs; /* by arrival */
    size_t n_jobs, arrived, ended;
    struct job **running; /* a heap by end */
    size_t n_running;
    int64_t now;
    bool check; /* all invariants after every decision */
    void (*on_end)(struct sim *sim, struct job *j);
    void *arg;
};

static struct sched *make_sched(void)
{
    struct sched_params p = { .backfill_window_ns = WINDOW, .half_life_ns = 86400 * NS_PER_S };
    return sched_create(&p);
}

static void sim_init(struct sim *sim, size_t n_jobs)
{
    *sim = (struct sim){ .s = make_sched(), .n_jobs = n_jobs, .check = true };
    sim->jobs = mem_alloc_array(n_jobs, sizeof(*sim->jobs));
    sim->running = mem_alloc_array(n_jobs, sizeof(struct job *));
    for (size_t i = 0; i < n_jobs; i++) {
        struct job *j = &sim->jobs[i];
        j->entry.id = (int64_t)i + 1;
        j->entry.remaining = 1;
        j->shape.user = j->shape.node = -1;
        j->start_ns = j->end_ns = NEVER;
    }
}

static void sim_fini(struct sim *sim)
{
    sched_destroy(sim->s);
    free(sim->jobs);
    free(sim->running);
}

static void sim_add_nodes(struct sim *sim, size_t count, int64_t threads, int64_t memory,
                          int64_t gpus)
{
    struct sched_resources r = { threads, memory, gpus };
    for (size_t i = 0; i < count; i++) {
        char *name = mem_printf("n%d", (int)sched_node_count(sim->s));
        sched_node_add(sim->s, name, &r);
        free(name);
    }
}

static void sim_check(const struct sim *sim)
{
    struct err err = ERR_INIT;
    if (sim->check && !sched_check(sim->s, &err))
        unit_fail(__FILE__, __LINE__, "at %lld ns: %s", (long long)sim->now, err.msg);
}

static void heap_push(struct sim *sim, struct job *j)
{
    size_t i = sim->n_running++;
    for (; i > 0 && sim->running[(i - 1) / 2]->end_ns > j->end_ns; i = (i - 1) / 2)
        sim->running[i] = sim->running[(i - 1) / 2];
    sim->running[i] = j;
}

static struct job *heap_pop(struct sim *sim)
{
    struct job *top = sim->running[0], *j = sim->running[--sim->n_running];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < sim->n_running; i = k) {
        if (k + 1 < sim->n_running && sim->running[k + 1]->end_ns < sim->running[k]->end_ns)
            k++;
        if (sim->running[k]->end_ns >= j->end_ns)
            break;
        sim->running[i] = sim->running[k];
    }
    sim->running[i] = j;
    return top;
}

static void sim_started(struct sim *sim, struct sched_alloc *a)
{
    struct job *j = CONTAINER_OF(a->entry, struct job, entry);
    j->alloc = *a;
    sched_alloc_moved(sim->s, a, &j->alloc);
    j->start_ns = sim->now;
    j->end_ns = sim->now + j->duration_ns;
    heap_push(sim, j);
}

static void sim_dispatch(struct sim *sim)
{
    struct sched_alloc a;
    while (sched_next(sim->s, sim->now, &a)) {
        sim_started(sim, &a);
        sim_check(sim);
    }
    sim_check(sim);
}

static void sim_enqueue(struct sim *sim, struct job *j)
{
    j->arrive_ns = sim->now;
    sched_enqueue(sim->s, &j->entry, &j->shape);
}

static int64_t sim_next_event(const struct sim *sim)
{
    int64_t t = sched_next_deadline_ns(sim->s);
    if (sim->n_running > 0 && sim->running[0]->end_ns < t)
        t = sim->running[0]->end_ns;
    if (sim->arrived < sim->n_jobs && sim->jobs[sim->arrived].arrive_ns < t)
        t = sim->jobs[sim->arrived].arrive_ns;
    return t;
}

/* One moment: what ends, what comes, what starts. False when nothing will ever happen again. */
static bool sim_step(struct sim *sim)
{
    int64_t t = sim_next_event(sim);
    if (t == NEVER)
        return false;
    CHECK(t >= sim->now);
    sim->now = t;
    while (sim->n_running > 0 && sim->running[0]->end_ns <= t) {
        struct job *j = heap_pop(sim);
        sched_release(sim->s, &j->alloc, t, false);
        sim->ended++;
        if (sim->on_end)
            sim->on_end(sim, j);
    }
    while (sim->arrived < sim->n_jobs && sim->jobs[sim->arrived].arrive_ns <= t)
        sim_enqueue(sim, &sim->jobs[sim->arrived++]);
    sim_dispatch(sim);
    return true;
}

static void sim_run(struct sim *sim)
{
    while (sim_step(sim)) {
    }
    CHECK_INT(sched_queued(sim->s), 0);
    CHECK_INT(sim->ended, sim->n_jobs);
    for (int32_t i = 0; i < sched_node_count(sim->s); i++) {
        struct sched_resources r;
        sched_node_get(sim->s, i, NULL, &r);
        CHECK(r.threads == 0 && r.memory == 0 && r.gpus == 0);
    }
}

/* ---- chaos: everything that can happen, in any order ---- */

struct chaos {
    struct rng rng;
    struct sched *s;
    struct sched_entry e[60];
    struct sched_alloc a[300];
    bool live[300];
    int64_t now;
};

static struct sched_resources chaos_resources(struct chaos *c, int64_t scale)
{
    return (struct sched_resources){ rng_int(&c->rng, 0, 4 * scale), rng_int(&c->rng, 0, 8 * scale),
                                     rng_int(&c->rng, 0, 3) == 0 ? rng_int(&c->rng, 0, scale) : 0 };
}

static void chaos_enqueue(struct chaos *c)
{
    struct sched_entry *e = &c->e[rng_int(&c->rng, 0, 59)];
    int32_t nodes = sched_node_count(c->s);
    if (e->cls)
        return;
    struct sched_shape sh = {
        .need = chaos_resources(c, 1),
        .timeout_ns = rng_int(&c->rng, 0, 2) * rng_int(&c->rng, 0, 3) * 40 * NS_PER_S,
        .user = (int32_t)rng_int(&c->rng, -1, 3),
        .priority = (int32_t)rng_int(&c->rng, 0, 8) / 4 - 1,
        .node = rng_int(&c->rng, 0, 5) == 0 ? (int32_t)rng_int(&c->rng, 0, nodes) : -1,
    };
    e->id = e - c->e + 1;
    e->remaining = rng_int(&c->rng, 0, 3) == 0 ? rng_int(&c->rng, 1, 5) : 1;
    e->max_running = rng_int(&c->rng, 0, 3) == 0 ? (int32_t)rng_int(&c->rng, 1, 3) : 0;
    sched_enqueue(c->s, e, &sh);
}

static struct sched_alloc *chaos_free_alloc(struct chaos *c, size_t *at)
{
    for (*at = 0; *at < ARRAY_LEN(c->a); ++*at)
        if (!c->live[*at])
            return &c->a[*at];
    return NULL;
}

static void chaos_start(struct chaos *c)
{
    size_t at;
    struct sched_alloc *a = chaos_free_alloc(c, &at);
    if (!a || !sched_next(c->s, c->now, a))
        return;
    c->live[at] = true;
    struct sched_resources cap, got;
    sched_node_get(c->s, a->node, &cap, &got);
    CHECK(got.threads <= cap.threads && got.memory <= cap.memory && got.gpus <= cap.gpus);
    CHECK(sched_node_state(c->s, a->node) == SCHED_NODE_UP);
    CHECK(a->entry->max_running == 0 || a->entry->running <= a->entry->max_running);
}

static void chaos_reserve(struct chaos *c)
{
    size_t at;
    struct sched_alloc *a = chaos_free_alloc(c, &at);
    if (!a)
        return;
    *a = (struct sched_alloc){
        .entry = rng_int(&c->rng, 0, 1) ? &c->e[rng_int(&c->rng, 0, 59)] : NULL,
        .node = (int32_t)rng_int(&c->rng, 0, sched_node_count(c->s) - 1),
        .user = (int32_t)rng_int(&c->rng, -1, 3),
        .got = chaos_resources(c, 1),
        .start_ns = c->now - rng_int(&c->rng, 0, 100) * NS_PER_S,
        .end_ns = rng_int(&c->rng, 0, 1) ? INT64_MAX : c->now + rng_int(&c->rng, 0, 99) * NS_PER_S,
    };
    sched_reserve(c->s, a);
    c->live[at] = true;
}

static void chaos_release(struct chaos *c)
{
    for (int tries = 0; tries < 40; tries++) {
        int64_t at = rng_int(&c->rng, 0, ARRAY_LEN(c->a) - 1);
        if (!c->live[at])
            continue;
        sched_release(c->s, &c->a[at], c->now, rng_int(&c->rng, 0, 4) == 0);
        c->live[at] = false;
        return;
    }
}

static void chaos_node(struct chaos *c)
{
    int32_t n = (int32_t)rng_int(&c->rng, 0, sched_node_count(c->s) - 1);
    struct sched_resources r = chaos_resources(c, 4);
    switch (rng_int(&c->rng, 0, 4)) {
    case 0:
        sched_node_set_state(c->s, n, SCHED_NODE_DOWN);
        break;
    case 1:
        sched_node_set_capacity(c->s, n, &r);
        break;
    case 2:
        sched_node_set_measured(c->s, n, &r);
        break;
    default:
        sched_node_set_state(c->s, n, SCHED_NODE_UP);
    }
}

static void chaos_step(struct chaos *c)
{
    switch (rng_int(&c->rng, 0, 11)) {
    case 0:
    case 1:
    case 2:
        chaos_enqueue(c);
        break;
    case 3:
        sched_dequeue(c->s, &c->e[rng_int(&c->rng, 0, 59)]);
        break;
    case 4:
        chaos_node(c);
        break;
    case 5:
        if (rng_int(&c->rng, 0, 4) == 0)
            chaos_reserve(c);
        break;
    case 6:
    case 7:
        chaos_release(c);
        break;
    default:
        chaos_start(c);
    }
}

TEST(chaos)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct chaos c = { .rng = { seed }, .s = make_sched() };
        static const char *const users[] = { "ann", "bob", "eve", "joe" };
        struct err err = ERR_INIT;
        for (size_t i = 0; i < ARRAY_LEN(users); i++)
            sched_user(c.s, users[i]);
        for (int64_t i = rng_int(&c.rng, 1, 6); i > 0; i--) {
            char name[] = { (char)('a' + i), 0 };
            struct sched_resources r = chaos_resources(&c, 4);
            sched_node_add(c.s, name, &r);
        }
        for (int step = 0; step < 1500; step++) {
            struct sched_entry *order[60];
            c.now += rng_int(&c.rng, 0, 2) == 0 ? rng_int(&c.rng, 0, 30) * NS_PER_S : 0;
            chaos_step(&c);
            if (!sched_check(c.s, &err))
                unit_fail(__FILE__, __LINE__, "seed %d, step %d: %s", (int)seed, step, err.msg);
            CHECK_INT(sched_order(c.s, c.now, order, 60), sched_queued(c.s));
        }
        sched_destroy(c.s);
    }
}

/* When it said no, a later yes must have been announced: nobody asks in between. */
TEST(a_deadline_is_never_missed)
{
    for (uint64_t seed = 100; seed < 130; seed++) {
        struct chaos c = { .rng = { seed }, .s = make_sched() };
        struct sched_alloc a;
        sched_user(c.s, "ann");
        struct sched_resources r = { 8, 8, 2 };
        sched_node_add(c.s, "a", &r);
        sched_node_add(c.s, "b", &r);
        for (int step = 0; step < 300; step++) {
            chaos_enqueue(&c);
            chaos_release(&c);
            for (int i = 0; i < 20; i++)
                chaos_start(&c);
            if (sched_next(c.s, c.now, &a))
                unit_fail(__FILE__, __LINE__, "twenty started at once");
            int64_t until = c.now + 200 * NS_PER_S, deadline = sched_next_deadline_ns(c.s);
            for (; c.now < until && c.now < deadline; c.now += 7 * NS_PER_S) {
                /* Makes it think again, though nothing changed. */
                sched_user_add_use(c.s, 0, 0.0, c.now);
                if (sched_next(c.s, c.now, &a))
                    unit_fail(__FILE__, __LINE__, "seed %d: job %d started early", (int)seed,
                              (int)a.entry->id);
            }
        }
        sched_destroy(c.s);
    }
}

/* ---- nothing starves ---- */

/* As sched.h says it: from the moment it is first in line. */
static int64_t wait_bound(int64_t longest_ns, int64_t nodes)
{
    int64_t hold = WINDOW, held = 1, factor = 1;
    while (hold < longest_ns || held < nodes) {
        hold *= 2;
        held *= 4;
        factor *= 2;
    }
    return WINDOW * (3 * factor - 2) + longest_ns;
}

/* Narrow jobs follow each other for ever: for each that ends another comes. */
static void refill(struct sim *sim, struct job *j)
{
    struct job **wide = sim->arg;
    if (j == *wide || (*wide)->start_ns != NEVER)
        return;
    static int64_t id = 1000000;
    j->entry.id = ++id;
    j->entry.remaining = 1;
    j->start_ns = j->end_ns = NEVER;
    sim->ended--;
    sim_enqueue(sim, j);
}

/* `streams` narrow jobs are always there, all of other users than the wide one, or the same. */
static void wide_against_stream(uint64_t seed, bool same_user)
{
    struct sim sim;
    struct rng rng = { seed };
    int64_t nodes = rng_int(&rng, 1, 9), longest = rng_int(&rng, 10, 1200) * NS_PER_S;

    sim_init(&sim, (size_t)nodes * 24 + 1);
    sim_add_nodes(&sim, (size_t)nodes, 8, 0, 0);
    struct job *wide = &sim.jobs[sim.n_jobs - 1];
    for (size_t i = 0; i < sim.n_jobs; i++) {
        struct job *j = &sim.jobs[i];
        static const char *const users[] = { "bob", "eve" };
        j->shape.need.threads = rng_int(&rng, 1, 2);
        j->shape.user = sched_user(sim.s, same_user ? "ann" : users[i % 2]);
        j->duration_ns = rng_int(&rng, NS_PER_S, longest);
    }
    wide->shape.need.threads = 8;
    wide->shape.user = sched_user(sim.s, "ann");
    wide->entry.id = 0; /* the oldest: what is before it by age is no starvation */
    wide->arrive_ns = longest;
    sim.on_end = refill;
    sim.arg = &wide;
    while (wide->start_ns == NEVER) {
        CHECK(sim_step(&sim));
        if (sim.now > longest + wait_bound(longest, nodes))
            unit_fail(__FILE__, __LINE__, "seed %d: still waits after %lld s, %d nodes, D %lld s",
                      (int)seed, (long long)((sim.now - longest) / NS_PER_S), (int)nodes,
                      (long long)(longest / NS_PER_S));
    }
    sim_run(&sim);
    sim_fini(&sim);
}

TEST(a_wide_job_starts_in_spite_of_an_endless_stream)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        wide_against_stream(seed, true);
        wide_against_stream(seed, false);
    }
}

/* Narrow jobs of ann and bob, whose turns alternate all the time, and a wide one of ann's. */
TEST(a_wide_job_of_a_busy_user_starts_too)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct sim sim;
        struct rng rng = { seed };
        int64_t longest = 300 * NS_PER_S;
        sim_init(&sim, 101);
        sim_add_nodes(&sim, 3, 8, 0, 0);
        struct job *wide = &sim.jobs[100];
        for (size_t i = 0; i < sim.n_jobs; i++) {
            sim.jobs[i].shape.need.threads = 1;
            sim.jobs[i].shape.user = sched_user(sim.s, i % 2 ? "bob" : "ann");
            sim.jobs[i].duration_ns = rng_int(&rng, NS_PER_S, longest);
        }
        wide->shape.need.threads = 8;
        wide->entry.id = 0;
        wide->arrive_ns = longest;
        sim.on_end = refill;
        sim.arg = &wide;
        /* Once more `longest` than the bound: until it is her turn for the first time. */
        while (wide->start_ns == NEVER) {
            CHECK(sim_step(&sim));
            CHECK(sim.now <= longest + wait_bound(longest, 3) + longest);
        }
        sim_fini(&sim);
    }
}

/* Where room is held first, something endless is in the way: room is held elsewhere too. */
TEST(held_nodes_become_more)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim sim;
        struct rng rng = { seed };
        int64_t longest = 300 * NS_PER_S;
        sim_init(&sim, 3 + 100 + 1);
        sim_add_nodes(&sim, 4, 8, 0, 0);
        struct job *wide = &sim.jobs[sim.n_jobs - 1];
        for (size_t i = 0; i < sim.n_jobs; i++) {
            sim.jobs[i].shape.need.threads = 1;
            sim.jobs[i].shape.node = i < 3 ? (int32_t)i : -1;
            sim.jobs[i].duration_ns = i < 3 ? 1000000 * NS_PER_S : rng_int(&rng, NS_PER_S, longest);
        }
        wide->shape.need.threads = 8;
        wide->entry.id = 0;
        wide->arrive_ns = longest;
        sim.on_end = refill;
        sim.arg = &wide;
        while (wide->start_ns == NEVER) {
            CHECK(sim_step(&sim));
            CHECK(sim.now <= longest + wait_bound(longest, 4));
        }
        sim_fini(&sim);
    }
}

/* Random finite traces: everything runs in the end, whatever the shapes. */
TEST(every_job_that_fits_runs)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim sim;
        struct rng rng = { seed };
        static const char *const users[] = { "ann", "bob", "eve" };
        sim_init(&sim, 200);
        sim_add_nodes(&sim, (size_t)rng_int(&rng, 1, 4), 8, 16, 0);
        sim_add_nodes(&sim, 1, 16, 64, 4);
        int64_t t = 0;
        for (size_t i = 0; i < sim.n_jobs; i++) {
            struct job *j = &sim.jobs[i];
            bool gpu = rng_int(&rng, 0, 4) == 0;
            j->arrive_ns = t += rng_int(&rng, 0, 20) * NS_PER_S;
            j->duration_ns = rng_int(&rng, 1, 600) * NS_PER_S;
            j->shape.need.threads = rng_int(&rng, 0, rng_int(&rng, 0, 3) ? 3 : 16);
            j->shape.need.memory = rng_int(&rng, 0, rng_int(&rng, 0, 3) ? 8 : 64);
            j->shape.need.gpus = gpu ? rng_int(&rng, 1, 4) : 0;
            /* Some limits are too short to be true: those jobs overrun. */
            if (rng_int(&rng, 0, 1))
                j->shape.timeout_ns = j->duration_ns * rng_int(&rng, 1, 6) / 2;
            j->shape.user = sched_user(sim.s, users[rng_int(&rng, 0, 2)]);
            j->shape.priority = (int32_t)rng_int(&rng, -1, 1);
        }
        sim_run(&sim);
        sim_fini(&sim);
    }
}

/* Something endless in the way of a wide job: it can't start, but who is behind it still gets half
 * of the time, for ever. */
TEST(an_endless_job_stops_only_those_it_must)
{
    struct sim sim;
    int64_t horizon = 100000 * NS_PER_S, used = 0;
    sim_init(&sim, 3000);
    sim_add_nodes(&sim, 1, 16, 0, 0);
    sim.check = false;
    for (size_t i = 0; i < sim.n_jobs; i++) {
        sim.jobs[i].shape.need.threads = i == 0 ? 8 : i == 1 ? 12 : 4;
        sim.jobs[i].duration_ns = i == 0 ? 10 * horizon : 50 * NS_PER_S;
    }
    while (sim.now < horizon && sim_step(&sim)) {
    }
    for (size_t i = 2; i < sim.n_jobs; i++)
        if (sim.jobs[i].start_ns < horizon)
            used += 4 * sim.jobs[i].duration_ns;
    CHECK(sim.jobs[1].start_ns == NEVER);
    CHECK(used >= 8 * horizon * 4 / 10);
    sim_fini(&sim);
}

/* ---- backfill ---- */

struct backfill_result {
    int64_t head_start;
    int passed; /* jobs that came after the head and started before it */
};

/* Some run, then comes a wide one, then (with_others) many narrow ones. All limits are known. */
static struct backfill_result backfill_case(uint64_t seed, bool with_others)
{
    struct sim sim;
    struct rng rng = { seed };
    struct backfill_result res = { 0 };
    size_t first = 24, others = 60;

    sim_init(&sim, first + 1 + others);
    sim_add_nodes(&sim, (size_t)rng_int(&rng, 1, 4), 8, 32, 0);
    for (size_t i = 0; i < sim.n_jobs; i++) {
        struct job *j = &sim.jobs[i];
        j->shape.need.threads = rng_int(&rng, 1, i == first ? 8 : 3);
        j->shape.need.memory = rng_int(&rng, 0, i == first ? 32 : 8);
        j->duration_ns = rng_int(&rng, 1, i < first ? 500 : 200) * NS_PER_S;
        j->shape.timeout_ns = j->duration_ns;
        j->arrive_ns = i < first ? 0 : i == first ? 10 * NS_PER_S : 11 * NS_PER_S;
        /* Without a limit they must obey just as well. */
        if (i > first && rng_int(&rng, 0, 3) == 0)
            j->shape.timeout_ns = 0;
    }
    sim.jobs[first].shape.need.threads = 8;
    if (!with_others)
        sim.n_jobs = first + 1;
    /* Of the first only those that start at once stay: the wide one is to be next. */
    CHECK(sim_step(&sim));
    for (size_t i = 0; i < first; i++) {
        sim.ended += sim.jobs[i].entry.cls != NULL;
        sched_dequeue(sim.s, &sim.jobs[i].entry);
    }
    sim_run(&sim);
    res.head_start = sim.jobs[first].start_ns;
    for (size_t i = first + 1; i < sim.n_jobs; i++)
        res.passed += sim.jobs[i].start_ns < res.head_start;
    sim_fini(&sim);
    return res;
}

TEST(backfill_does_not_delay_the_head)
{
    int passed = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct backfill_result alone = backfill_case(seed, false),
                               behind = backfill_case(seed, true);
        if (behind.head_start > alone.head_start)
            unit_fail(__FILE__, __LINE__, "seed %d: the head starts at %lld s instead of %lld s",
                      (int)seed, (long long)(behind.head_start / NS_PER_S),
                      (long long)(alone.head_start / NS_PER_S));
        passed += behind.passed;
    }
    CHECK(passed > 1000); /* or it was no test */
}

/* ---- fair share ---- */

static int64_t threads_of(const struct sim *sim, int32_t user, int64_t from, int64_t to)
{
    int64_t sum = 0;
    for (size_t i = 0; i < sim->n_jobs; i++) {
        const struct job *j = &sim->jobs[i];
        if (j->shape.user != user || j->start_ns == NEVER)
            continue;
        int64_t a = j->start_ns > from ? j->start_ns : from, b = j->end_ns < to ? j->end_ns : to;
        if (b > a)
            sum += (b - a) / NS_PER_S * j->shape.need.threads;
    }
    return sum;
}

/* ann floods the queue first with many short jobs, bob comes later with fewer long ones. */
TEST(two_users_share_fairly)
{
    struct sim sim;
    struct rng rng = { 7 };
    sim_init(&sim, 4000);
    sim_add_nodes(&sim, 4, 8, 0, 0);
    sim.check = false;
    int32_t ann = sched_user(sim.s, "ann"), bob = sched_user(sim.s, "bob");
    for (size_t i = 0; i < sim.n_jobs; i++) {
        struct job *j = &sim.jobs[i];
        bool is_bob = i >= 3000;
        j->shape.user = is_bob ? bob : ann;
        j->shape.need.threads = is_bob ? 2 : 1;
        j->duration_ns = rng_int(&rng, 50, is_bob ? 500 : 150) * NS_PER_S;
        j->arrive_ns = is_bob ? 500 * NS_PER_S : 0;
    }
    while (sim.now < 6000 * NS_PER_S)
        CHECK(sim_step(&sim));
    /* From bob's coming on both always want more than there is. */
    int64_t from = 500 * NS_PER_S, to = 6000 * NS_PER_S;
    int64_t a = threads_of(&sim, ann, 0, to), b = threads_of(&sim, bob, 0, to);
    if (a > b + b / 10 || b > a + a / 10)
        unit_fail(__FILE__, __LINE__, "thread-seconds of ann %lld, bob %lld", (long long)a,
                  (long long)b);
    /* bob had a lead to catch up with, and got more since. */
    CHECK(threads_of(&sim, bob, from, to) > threads_of(&sim, ann, from, to));
    CHECK(sched_queued(sim.s) > 100);
    sim_fini(&sim);
}

TEST(priority_beats_share_and_age)
{
    struct sim sim;
    struct rng rng = { 11 };
    int64_t last_high = 0, first_low = NEVER;
    sim_init(&sim, 400);
    sim_add_nodes(&sim, 2, 8, 0, 0);
    for (size_t i = 0; i < sim.n_jobs; i++) {
        struct job *j = &sim.jobs[i];
        j->shape.need.threads = 1;
        j->shape.priority = i % 2 ? 5 : 0;
        j->shape.user = sched_user(sim.s, i % 2 ? "ann" : "bob");
        j->duration_ns = rng_int(&rng, 10, 100) * NS_PER_S;
    }
    sim_run(&sim);
    for (size_t i = 0; i < sim.n_jobs; i++) {
        if (i % 2 && sim.jobs[i].start_ns > last_high)
            last_high = sim.jobs[i].start_ns;
        if (i % 2 == 0 && sim.jobs[i].start_ns < first_low)
            first_low = sim.jobs[i].start_ns;
    }
    CHECK(first_low >= last_high);
    sim_fini(&sim);
}

/* ---- against plain FIFO ---- */

struct outcome {
    double mean_wait_s, utilisation;
};

static struct outcome measure(const struct sim *sim, int64_t threads)
{
    double wait = 0.0, work = 0.0;
    int64_t last = 0;
    for (size_t i = 0; i < sim->n_jobs; i++) {
        const struct job *j = &sim->jobs[i];
        wait += (double)(j->start_ns - j->arrive_ns) / 1e9;
        work += (double)j->shape.need.threads * (double)j->duration_ns / 1e9;
        if (j->end_ns > last)
            last = j->end_ns;
    }
    return (struct outcome){ wait / (double)sim->n_jobs,
                             work / ((double)threads * (double)last / 1e9) };
}

/* A trace as a lab's: many narrow, some wide, some with time limits; more than half the load. */
static void lab_trace(struct sim *sim, uint64_t seed, int with_limit)
{
    struct rng rng = { seed };
    int64_t t = 0;
    for (size_t i = 0; i < sim->n_jobs; i++) {
        struct job *j = &sim->jobs[i];
        int64_t kind = rng_int(&rng, 0, 9);
        j->arrive_ns = t += rng_int(&rng, 0, 24) * NS_PER_S;
        j->shape.need.threads = kind < 6   ? rng_int(&rng, 1, 2)
                                : kind < 9 ? rng_int(&rng, 3, 8)
                                           : rng_int(&rng, 9, 16);
        j->duration_ns = rng_int(&rng, 20, kind < 5 ? 120 : 900) * NS_PER_S;
        if (rng_int(&rng, 0, 99) < with_limit)
            j->shape.timeout_ns = j->duration_ns * rng_int(&rng, 2, 6) / 2;
    }
}

/* The same trace served strictly in order, first fit. */
static void run_fifo(struct sim *sim, int64_t *free_threads, size_t nodes)
{
    size_t next = 0;
    while (next < sim->n_jobs || sim->n_running > 0) {
        while (sim->n_running > 0 && sim->running[0]->end_ns <= sim->now) {
            struct job *j = heap_pop(sim);
            free_threads[j->alloc.node] += j->shape.need.threads;
        }
        for (; next < sim->n_jobs && sim->jobs[next].arrive_ns <= sim->now; next++) {
            struct job *j = &sim->jobs[next];
            size_t n = 0;
            while (n < nodes && free_threads[n] < j->shape.need.threads)
                n++;
            if (n == nodes)
                break;
            free_threads[n] -= j->shape.need.threads;
            j->alloc.node = (int32_t)n;
            j->start_ns = sim->now;
            j->end_ns = sim->now + j->duration_ns;
            heap_push(sim, j);
        }
        int64_t t = sim->n_running > 0 ? sim->running[0]->end_ns : NEVER;
        if (next < sim->n_jobs && sim->jobs[next].arrive_ns > sim->now &&
            sim->jobs[next].arrive_ns < t)
            t = sim->jobs[next].arrive_ns;
        sim->now = t == NEVER ? sim->now : t;
    }
}

static void against_fifo(uint64_t seed, int with_limit)
{
    struct sim sim, fifo;
    int64_t free_threads[4] = { 16, 16, 16, 16 };
    sim_init(&sim, 1500);
    sim_init(&fifo, 1500);
    sim.check = false;
    sim_add_nodes(&sim, 4, 16, 0, 0);
    lab_trace(&sim, seed, with_limit);
    lab_trace(&fifo, seed, with_limit);
    sim_run(&sim);
    run_fifo(&fifo, free_threads, 4);
    struct outcome a = measure(&sim, 64), b = measure(&fifo, 64);
    printf("# seed %d, %3d%% with limits: mean wait %6.0f s, FIFO %6.0f s; use %.3f, FIFO %.3f\n",
           (int)seed, with_limit, a.mean_wait_s, b.mean_wait_s, a.utilisation, b.utilisation);
    CHECK(a.mean_wait_s <= b.mean_wait_s);
    CHECK(a.utilisation >= b.utilisation);
    sim_fini(&sim);
    sim_fini(&fifo);
}

TEST(better_than_fifo)
{
    static const int limits[] = { 0, 50, 100 };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        for (uint64_t seed = 1; seed <= 5; seed++)
            against_fifo(seed, limits[i]);
}

/* ---- size ---- */

static int64_t env_number(const char *name, int64_t fallback)
{
    const char *text = getenv(name);
    int64_t n = fallback;
    if (text)
        CHECK_OK(str_to_int(text, 1, 100000000, name, &n, NULL), &(struct err)ERR_INIT);
    return n;
}

/* Fills `shapes` with different ones: mixed widths, half with limits, five users. */
static void make_shapes(struct sim *sim, struct sched_shape *shapes, size_t n)
{
    struct rng rng = { 5 };
    for (size_t i = 0; i < n; i++) {
        char user[] = { 'u', (char)('0' + i % 5), 0 };
        int64_t r = rng_int(&rng, 0, 9);
        shapes[i] = (struct sched_shape){
            .need = { r < 7 ? rng_int(&rng, 1, 4) : rng_int(&rng, 5, 16), rng_int(&rng, 1, 16), 0 },
            .timeout_ns = i % 2 ? rng_int(&rng, 10, 60) * 60 * NS_PER_S : 0,
            .user = sched_user(sim->s, user),
            .node = -1,
        };
    }
}

/* By default small. SCHED_SIM_NODES=10000 SCHED_SIM_JOBS=1000000 UNIT_DEADLINE_S=3600 is the size
 * the design promises. */
TEST(scale)
{
    size_t jobs = (size_t)env_number("SCHED_SIM_JOBS", 20000), starts = 0;
    size_t nodes = (size_t)env_number("SCHED_SIM_NODES", 200);
    struct sched_shape shapes[50];
    struct sim sim;
    struct rng rng = { 3 };

    sim_init(&sim, jobs);
    sim.check = false;
    sim_add_nodes(&sim, nodes, 16, 64, 0);
    make_shapes(&sim, shapes, ARRAY_LEN(shapes));
    for (size_t i = 0; i < jobs; i++) {
        struct job *j = &sim.jobs[i];
        j->shape = shapes[rng_int(&rng, 0, ARRAY_LEN(shapes) - 1)];
        j->duration_ns = rng_int(&rng, 60 * NS_PER_S, 600 * NS_PER_S);
    }
    int64_t t0 = clock_mono_ns(&clock_system);
    for (; sim.arrived < jobs; sim.arrived++)
        sim_enqueue(&sim, &sim.jobs[sim.arrived]);
    CHECK_INT(sched_queued(sim.s), jobs);
    int64_t t1 = clock_mono_ns(&clock_system);
    sim_dispatch(&sim);
    starts = sim.n_running;
    int64_t t2 = clock_mono_ns(&clock_system);
    sim_run(&sim);
    int64_t t3 = clock_mono_ns(&clock_system);
    printf("# %zu nodes, %zu jobs in %zu classes; entry %zu bytes, allocation %zu bytes\n", nodes,
           jobs, ARRAY_LEN(shapes), sizeof(struct sched_entry), sizeof(struct sched_alloc));
    printf("# enqueue %.3f s; %zu first starts %.3f s; the rest %.3f s, %.1f us per job\n",
           (double)(t1 - t0) / 1e9, starts, (double)(t2 - t1) / 1e9, (double)(t3 - t2) / 1e9,
           (double)(t3 - t2) / 1e3 / (double)jobs);
    sim_fini(&sim);
}

/* One class, one node: each step must not depend on how many wait. */
TEST(scale_one_class)
{
    size_t jobs = (size_t)env_number("SCHED_SIM_JOBS", 20000);
    struct sim sim;

    sim_init(&sim, jobs);
    sim.check = false;
    sim_add_nodes(&sim, 1, 16, 0, 0);
    for (size_t i = 0; i < jobs; i++) {
        sim.jobs[i].shape.need.threads = 1;
        sim.jobs[i].duration_ns = 10 * NS_PER_S + (int64_t)(i % 7);
    }
    int64_t t0 = clock_mono_ns(&clock_system);
    for (; sim.arrived < jobs; sim.arrived++)
        sim_enqueue(&sim, &sim.jobs[sim.arrived]);
    for (size_t i = 0; i < jobs;
         i += 3) { /* held and released again: from the middle of the list */
        sched_dequeue(sim.s, &sim.jobs[i].entry);
        if (i % 2 == 0 && (i < 300 || i > jobs - 300))
            sched_enqueue(sim.s, &sim.jobs[i].entry, &sim.jobs[i].shape);
        else
            sim.ended++; /* cancelled */
    }
    sim_dispatch(&sim);
    sim_run(&sim);
    printf("# %zu jobs of one class: %.3f s\n", jobs,
           (double)(clock_mono_ns(&clock_system) - t0) / 1e9);
    sim_fini(&sim);
}
