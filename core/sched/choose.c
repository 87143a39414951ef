/* SPDX-License-Identifier: BSD-2-Clause */
/* The formula of choose.h, and the order that follows from it. */
#include "base/mem.h"

#include "sched/choose_priv.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "sched/resources.h"

#define REASONS_SHOWN 5 /* hosts that a refusal names */
#define INTERVAL_MIN_NS INT64_C(1000000)
#define INTERVAL_MAX_NS INT64_C(86400000000000)

const char *choose_term_name(enum choose_term term)
{
    static const char *const names[CHOOSE_TERM_COUNT] = { "memory", "cpu",    "iowait",
                                                          "load",   "users",  "age",
                                                          "last",   "sticky", "tight" };
    return (unsigned)term < CHOOSE_TERM_COUNT ? names[term] : "";
}

const char *choose_out_name(enum choose_out out)
{
    static const char *const names[CHOOSE_OUT_COUNT] = {
        "", "not-asked", "down", "drained", "unmeasured", "stale", "memory-short", "memory-full"
    };
    return (unsigned)out < CHOOSE_OUT_COUNT ? names[out] : "";
}

/* --- one host ---------------------------------------------------------------------------------- */

/* How old the measurements are; only for hosts that have some. */
static int64_t sample_age(const struct choose_case *c, const struct choose_host *h)
{
    return max_i64(c->now_ns - h->sample_ns, 0);
}

static void measure_room(const struct choose_host *h, struct choose_rank *r)
{
    r->memory_left = r->cpu_left_milli = -1;
    if (h->memory_available >= 0) {
        int64_t taken = choose_clamp(h->promised_memory, 0, CHOOSE_BYTES_MAX) + r->pending.memory;
        r->memory_left = max_i64(min_i64(h->memory_available, CHOOSE_BYTES_MAX) - taken, 0);
    }
    if (h->cpu_permille >= 0) {
        int64_t taken =
            choose_clamp(h->promised_cpu_milli, 0, CHOOSE_MILLI_MAX) + r->pending.cpu_milli;
        int64_t idle = choose_cores(h) * (1000 - min_i64(h->cpu_permille, 1000));
        r->cpu_left_milli = max_i64(idle - taken, 0);
    }
}

static int64_t memory_floor(const struct choose_host *h)
{
    return choose_clamp(h->memory_total / CHOOSE_FLOOR_PART, CHOOSE_FLOOR_MIN, CHOOSE_FLOOR_MAX);
}

static enum choose_out out_by_memory(const struct choose_case *c, const struct choose_host *h,
                                     const struct choose_rank *r)
{
    if (c->request->memory > 0 && r->memory_left < c->request->memory)
        return CHOOSE_MEMORY_SHORT;
    if (r->memory_left >= 0 && r->memory_left < memory_floor(h))
        return CHOOSE_MEMORY_FULL;
    return CHOOSE_IN;
}

static enum choose_out find_out(const struct choose_case *c, const struct choose_host *h,
                                const struct choose_rank *r)
{
    bool asked = c->request->host != NULL;

    if (asked && !str_eq(c->request->host, h->name))
        return CHOOSE_NOT_ASKED;
    if (h->state == SCHED_NODE_DOWN)
        return CHOOSE_DOWN;
    if (h->state == SCHED_NODE_DRAINED)
        return CHOOSE_DRAINED;
    if (h->sample_ns <= 0 && !asked)
        return CHOOSE_UNMEASURED;
    if (h->sample_ns > 0 && !asked && sample_age(c, h) > CHOOSE_AGE_STALE * c->interval_ns)
        return CHOOSE_STALE;
    return out_by_memory(c, h, r);
}

/* points * n / (n + half), rising from 0 towards points. */
static int32_t curve(int64_t points, int64_t n, int64_t half)
{
    return n <= 0 ? 0 : (int32_t)(points * n / (n + half));
}

static bool is_tight(const struct choose_case *c, const struct choose_rank *r)
{
    return r->memory_left >= 0 && r->memory_left < c->need_memory;
}

static bool is_overloaded(const struct choose_case *c, const struct choose_host *h,
                          const struct choose_rank *r)
{
    return is_tight(c, r) || h->iowait_permille >= CHOOSE_IOWAIT_OVERLOAD ||
           (r->cpu_left_milli >= 0 && r->cpu_left_milli < CHOOSE_CPU_OVERLOAD) ||
           h->load_milli > 2 * 1000 * choose_cores(h);
}

static int32_t age_term(const struct choose_case *c, const struct choose_host *h)
{
    if (h->sample_ns <= 0)
        return -CHOOSE_AGE_POINTS;
    int64_t fresh = CHOOSE_AGE_FRESH * c->interval_ns, stale = CHOOSE_AGE_STALE * c->interval_ns;
    int64_t late = choose_clamp(sample_age(c, h), fresh, stale) - fresh;
    return (int32_t) - (CHOOSE_AGE_POINTS * late / (stale - fresh));
}

static void score_host(const struct choose_case *c, const struct choose_host *h,
                       struct choose_rank *r)
{
    const struct choose_request *req = c->request;
    int64_t iowait = min_i64(h->iowait_permille, 1000) - CHOOSE_IOWAIT_FREE;
    int64_t cores_milli = choose_cores(h) * 1000;
    int64_t over = choose_clamp(h->load_milli, 0, CHOOSE_MILLI_MAX) - cores_milli;
    int32_t *t = r->term;

    r->overloaded = is_overloaded(c, h, r);
    t[CHOOSE_MEMORY] =
        curve(CHOOSE_MEMORY_POINTS, r->memory_left - c->need_memory, CHOOSE_MEMORY_HALF);
    t[CHOOSE_CPU] =
        curve(CHOOSE_CPU_POINTS, r->cpu_left_milli, max_i64(CHOOSE_CPU_HALF, c->need_cpu_milli));
    t[CHOOSE_IOWAIT] = (int32_t)-choose_clamp(iowait * 5 / 2, 0, CHOOSE_IOWAIT_POINTS);
    t[CHOOSE_LOAD] = -curve(CHOOSE_LOAD_POINTS, over, cores_milli);
    t[CHOOSE_USERS] =
        (int32_t)-choose_clamp(h->users * (int64_t)CHOOSE_USER_POINTS, 0, CHOOSE_USERS_POINTS);
    t[CHOOSE_AGE] = age_term(c, h);
    if (req->last && str_eq(req->last, h->name) && !r->overloaded)
        t[CHOOSE_LAST] = (int32_t)(CHOOSE_LAST_POINTS * 1000 / (1000 + r->pending.launch_milli));
    if (req->sticky && str_eq(req->sticky, h->name) && !r->overloaded)
        t[CHOOSE_STICKY] = CHOOSE_STICKY_POINTS;
    if (is_tight(c, r))
        t[CHOOSE_TIGHT] = -CHOOSE_TIGHT_POINTS;
    for (int i = 0; i < CHOOSE_TERM_COUNT; i++)
        r->score += t[i];
}

/* --- all of them ------------------------------------------------------------------------------- */

static int by_rank(const void *pa, const void *pb)
{
    const struct choose_rank *a = pa, *b = pb;

    if ((a->out == CHOOSE_IN) != (b->out == CHOOSE_IN))
        return a->out == CHOOSE_IN ? -1 : 1;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->host < b->host ? -1 : 1; /* qsort() isn't stable; this makes it so */
}

static int refuse_unknown(const struct choose_case *c, size_t count, struct err *err)
{
    const char **names = mem_alloc_array(count + 1, sizeof *names);
    char *shown = str_safe(c->request->host);

    for (size_t i = 0; i < count; i++)
        names[i] = c->hosts[i].name;
    const char *near = str_did_you_mean(c->request->host, names);
    err_set(err, ERR_NOT_FOUND, "there is no host '%s'", shown);
    if (near)
        err_hint(err, "did you mean '%s'?", near);
    else
        err_hint(err, "try: hive hosts list, or add it: hive hosts add %s", shown);
    free(shown);
    free(names);
    return -1;
}

/* Nothing is in. */
static int refuse(const struct choose_case *c, const struct choose_result *result, struct err *err)
{
    struct buf b = BUF_INIT;
    size_t told = 0, silent = 0;

    buf_append_str(&b, "no host can take ");
    choose_put_app(c, &b);
    for (size_t i = 0; i < result->count; i++) {
        const struct choose_rank *r = &result->ranks[i];
        if (r->out == CHOOSE_NOT_ASKED)
            continue;
        if (told == REASONS_SHOWN) {
            silent++;
            continue;
        }
        buf_append_str(&b, told++ ? "; " : ": ");
        str_append_safe(&b, c->hosts[r->host].name, SIZE_MAX);
        buf_printf(&b, ": %s", r->why);
    }
    if (silent)
        buf_printf(&b, "; and %zu more", silent);
    if (result->count == 0)
        buf_append_str(&b, ": none is known");
    err_set(err, ERR_UNAVAILABLE, "%s", buf_data(&b));
    err_hint(err, "%s", result->count ? "try: hive hosts check" : "try: hive hosts add NAME");
    buf_fini(&b);
    return -1;
}

static void rank_all(const struct choose_case *c, size_t count, const struct choose_ledger *ledger,
                     struct choose_result *out)
{
    out->ranks = mem_alloc_array(count, sizeof *out->ranks);
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        const struct choose_host *h = &c->hosts[i];
        struct choose_rank *r = &out->ranks[i];
        r->host = i;
        if (ledger)
            choose_ledger_pending(ledger, h->id, h->sample_ns, &r->pending);
        measure_room(h, r);
        r->out = find_out(c, h, r);
        if (r->out == CHOOSE_IN) {
            score_host(c, h, r);
            out->in++;
        }
    }
    if (count > 1)
        qsort(out->ranks, count, sizeof *out->ranks, by_rank);
}

int choose_hosts(const struct choose_host *hosts, size_t count, const struct choose_ledger *ledger,
                 const struct choose_request *request, int64_t interval_ns, int64_t now_ns,
                 struct choose_result *out, struct err *err)
{
    struct choose_case c = {
        .hosts = hosts,
        .request = request,
        .need_memory = choose_expected_memory(request->use),
        .need_cpu_milli = choose_expected_cpu(request->use),
        .interval_ns = choose_clamp(interval_ns, INTERVAL_MIN_NS, INTERVAL_MAX_NS),
        .now_ns = now_ns,
    };
    bool found = !request->host;

    if (request->memory > 0)
        c.need_memory = min_i64(request->memory, CHOOSE_BYTES_MAX);
    *out = (struct choose_result){ 0 };
    for (size_t i = 0; i < count && !found; i++)
        found = str_eq(hosts[i].name, request->host);
    if (!found)
        return refuse_unknown(&c, count, err);
    rank_all(&c, count, ledger, out);
    choose_words(&c, out);
    return out->in > 0 ? 0 : refuse(&c, out, err);
}

void choose_result_fini(struct choose_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        free(result->ranks[i].why);
    free(result->ranks);
    *result = (struct choose_result){ 0 };
}
