/* SPDX-License-Identifier: BSD-2-Clause */
/* The reasons of choose.h in words. */
#include "base/mem.h"

#include "sched/choose_priv.h"

#include "base/buf.h"
#include "base/str.h"
#include "sched/resources.h"

#include <inttypes.h>

/* Whose reason is being written, and to where. */
struct telling {
    const struct choose_case *c;
    const struct choose_result *result;
    const struct choose_rank *rank;
    const struct choose_host *host;
    struct buf *b;
};

void choose_put_app(const struct choose_case *c, struct buf *b)
{
    if (c->request->app && *c->request->app)
        str_append_safe(b, c->request->app, SIZE_MAX);
    else
        buf_append_str(b, "it");
}

/* --- amounts ----------------------------------------------------------------------------------- */

/* "12.1G of 32.0G" */
static void put_memory(const struct telling *t)
{
    str_format_size(t->b, t->rank->memory_left);
    if (t->host->memory_total > 0) {
        buf_append_str(t->b, " of ");
        str_format_size(t->b, t->host->memory_total);
    }
}

/* "0.3%", "31%" */
static void put_percent(struct buf *b, int64_t permille)
{
    if (permille < 100)
        buf_printf(b, "%" PRId64 ".%" PRId64 "%%", permille / 10, permille % 10);
    else
        buf_printf(b, "%" PRId64 "%%", (permille + 5) / 10);
}

/* "7.7 of 8 cores" */
static void put_cpu(const struct telling *t)
{
    int64_t tenths = t->rank->cpu_left_milli / 100, cores = choose_cores(t->host);

    if (tenths % 10)
        buf_printf(t->b, "%" PRId64 ".%" PRId64, tenths / 10, tenths % 10);
    else
        buf_printf(t->b, "%" PRId64, tenths / 10);
    buf_printf(t->b, " of %" PRId64 " core%s", cores, cores == 1 ? "" : "s");
}

static void put_load(const struct telling *t)
{
    int64_t cores = choose_cores(t->host);

    buf_printf(t->b, "%" PRId64 ".%" PRId64 " on %" PRId64 " core%s", t->host->load_milli / 1000,
               t->host->load_milli % 1000 / 100, cores, cores == 1 ? "" : "s");
}

static void put_users(const struct telling *t)
{
    if (t->host->users <= 0)
        buf_append_str(t->b, "nobody logged in");
    else
        buf_printf(t->b, "%" PRId32 " user%s logged in", t->host->users,
                   t->host->users == 1 ? "" : "s");
}

static void put_age(const struct telling *t)
{
    if (t->host->sample_ns <= 0) {
        buf_append_str(t->b, "not measured yet");
        return;
    }
    buf_append_str(t->b, "measured ");
    str_format_duration(t->b, max_i64(t->c->now_ns - t->host->sample_ns, 0));
    buf_append_str(t->b, " ago");
}

/* "the 6.0G that firefox used before" */
static void put_need(const struct telling *t)
{
    const struct choose_request *req = t->c->request;

    buf_append_str(t->b, "the ");
    str_format_size(t->b, t->c->need_memory);
    if (req->memory > 0) {
        buf_append_str(t->b, " asked for");
        return;
    }
    buf_append_str(t->b, " that ");
    choose_put_app(t->c, t->b);
    buf_append_str(t->b, req->use && req->use->memory > 0 ? " used before" : " may need");
}

static const char *name_of(const struct telling *t, const struct choose_rank *r)
{
    return t->c->hosts[r->host].name;
}

/* --- a host that is out ------------------------------------------------------------------------ */

static void tell_out(const struct telling *t)
{
    switch (t->rank->out) {
    case CHOOSE_NOT_ASKED:
        buf_append_str(t->b, "not the host asked for");
        break;
    case CHOOSE_DOWN:
        buf_append_str(t->b, "down");
        break;
    case CHOOSE_DRAINED:
        buf_append_str(t->b, "drained");
        break;
    case CHOOSE_STALE:
        buf_append_str(t->b, "last ");
        put_age(t);
        break;
    case CHOOSE_MEMORY_SHORT:
    case CHOOSE_MEMORY_FULL:
        if (t->rank->memory_left < 0) {
            buf_append_str(t->b, "free memory unknown");
        } else {
            buf_append_str(t->b, t->rank->out == CHOOSE_MEMORY_FULL ? "memory full, " : "");
            put_memory(t);
            buf_append_str(t->b, " free");
        }
        if (t->rank->out == CHOOSE_MEMORY_SHORT) {
            buf_append_str(t->b, ", less than ");
            put_need(t);
        }
        break;
    case CHOOSE_UNMEASURED:
    case CHOOSE_IN:
    case CHOOSE_OUT_COUNT:
        put_age(t);
    }
}

/* --- the first --------------------------------------------------------------------------------- */

/* Where `a` is further ahead of `b` than anywhere else; CHOOSE_TERM_COUNT: nowhere. */
static enum choose_term widest_lead(const struct choose_rank *a, const struct choose_rank *b)
{
    enum choose_term best = CHOOSE_TERM_COUNT;
    int32_t most = 0;

    for (int i = 0; i < CHOOSE_TERM_COUNT; i++) {
        /* That it ran here last is a reason only where it decides. */
        if (i == CHOOSE_LAST && a->score - a->term[i] > b->score)
            continue;
        if (a->term[i] - b->term[i] > most) {
            most = a->term[i] - b->term[i];
            best = (enum choose_term)i;
        }
    }
    return best;
}

/* What a term goes by; larger is better. */
static int64_t standing(const struct telling *t, const struct choose_rank *r, enum choose_term term)
{
    switch (term) {
    case CHOOSE_MEMORY:
        return r->memory_left;
    case CHOOSE_CPU:
        return r->cpu_left_milli;
    case CHOOSE_IOWAIT:
        return -(int64_t)max_i64(t->c->hosts[r->host].iowait_permille, 0);
    default:
        return r->term[term];
    }
}

/* "most free memory", or "more free memory than host2" where a third one has even more. */
static void put_superlative(const struct telling *t, enum choose_term term, const char *most,
                            const char *more)
{
    const struct choose_result *all = t->result;

    for (size_t i = 1; i < all->in; i++)
        if (standing(t, &all->ranks[i], term) > standing(t, t->rank, term)) {
            buf_printf(t->b, "%s than ", more);
            str_append_safe(t->b, name_of(t, &all->ranks[1]), SIZE_MAX);
            return;
        }
    buf_append_str(t->b, most);
}

static void tell_lead(const struct telling *t, enum choose_term lead)
{
    switch (lead) {
    case CHOOSE_MEMORY:
        put_superlative(t, lead, "most free memory", "more free memory");
        buf_append_str(t->b, " (");
        put_memory(t);
        buf_append_char(t->b, ')');
        break;
    case CHOOSE_CPU:
        put_superlative(t, lead, "most free CPU", "more free CPU");
        buf_append_str(t->b, " (");
        put_cpu(t);
        buf_append_char(t->b, ')');
        break;
    case CHOOSE_IOWAIT:
        put_superlative(t, lead, "lowest iowait", "less iowait");
        buf_append_str(t->b, " (");
        put_percent(t->b, max_i64(t->host->iowait_permille, 0));
        buf_append_char(t->b, ')');
        break;
    case CHOOSE_LOAD:
        buf_append_str(t->b, "lower load (");
        put_load(t);
        buf_append_char(t->b, ')');
        break;
    case CHOOSE_USERS:
        buf_append_str(t->b, t->host->users > 0 ? "only " : "");
        put_users(t);
        break;
    case CHOOSE_AGE:
        buf_append_str(t->b, "newer measurements");
        break;
    case CHOOSE_LAST:
        choose_put_app(t->c, t->b);
        buf_append_str(t->b, " ran here last");
        break;
    case CHOOSE_STICKY:
        buf_append_str(t->b, "set for ");
        choose_put_app(t->c, t->b);
        break;
    case CHOOSE_TIGHT:
        buf_append_str(t->b, "room for ");
        put_need(t);
        break;
    case CHOOSE_TERM_COUNT:
        buf_append_str(t->b, "first of equal hosts");
    }
}

/* What else there is to know, but for what `lead` said already. */
static void put_facts(const struct telling *t, enum choose_term lead)
{
    if (lead != CHOOSE_MEMORY && t->rank->memory_left >= 0) {
        buf_append_str(t->b, ", ");
        put_memory(t);
        buf_append_str(t->b, " memory free");
    }
    if (lead != CHOOSE_CPU && t->host->cpu_permille >= 0)
        buf_printf(t->b, ", CPU %" PRId64 "%%",
                   (choose_clamp(t->host->cpu_permille, 0, 1000) + 5) / 10);
    if (lead != CHOOSE_IOWAIT && t->host->iowait_permille > CHOOSE_IOWAIT_FREE) {
        buf_append_str(t->b, ", iowait ");
        put_percent(t->b, t->host->iowait_permille);
    }
    if (t->rank->term[CHOOSE_AGE] < 0) {
        buf_append_str(t->b, ", ");
        put_age(t);
    }
    if (t->rank->term[CHOOSE_TIGHT] < 0) {
        buf_append_str(t->b, ", less than ");
        put_need(t);
    }
}

static void tell_first(const struct telling *t)
{
    enum choose_term lead = CHOOSE_TERM_COUNT;

    if (t->c->request->host) {
        buf_append_str(t->b, "asked for");
    } else if (t->result->in == 1) {
        buf_append_str(t->b, t->result->count == 1 ? "the only host" : "the only host left");
    } else {
        lead = widest_lead(t->rank, &t->result->ranks[1]);
        tell_lead(t, lead);
    }
    put_facts(t, lead);
}

/* --- the others -------------------------------------------------------------------------------- */

static void put_winner(const struct telling *t)
{
    str_append_safe(t->b, name_of(t, &t->result->ranks[0]), SIZE_MAX);
}

static void tell_loss(const struct telling *t, enum choose_term term)
{
    switch (term) {
    case CHOOSE_MEMORY:
    case CHOOSE_CPU:
        if (standing(t, t->rank, term) < 0) {
            buf_append_str(t->b, term == CHOOSE_CPU ? "CPU use unknown" : "free memory unknown");
            break;
        }
        buf_append_str(t->b, term == CHOOSE_CPU ? "less free CPU (" : "less free memory (");
        (term == CHOOSE_CPU ? put_cpu : put_memory)(t);
        buf_append_char(t->b, ')');
        break;
    case CHOOSE_IOWAIT:
        buf_append_str(t->b, "iowait ");
        put_percent(t->b, t->host->iowait_permille);
        break;
    case CHOOSE_LOAD:
        buf_append_str(t->b, "load ");
        put_load(t);
        break;
    case CHOOSE_USERS:
        put_users(t);
        break;
    case CHOOSE_AGE:
        put_age(t);
        break;
    case CHOOSE_LAST:
        choose_put_app(t->c, t->b);
        buf_append_str(t->b, " ran last on ");
        put_winner(t);
        break;
    case CHOOSE_STICKY:
        put_winner(t);
        buf_append_str(t->b, " is set for ");
        choose_put_app(t->c, t->b);
        break;
    case CHOOSE_TIGHT:
        put_memory(t);
        buf_append_str(t->b, " memory free, less than ");
        put_need(t);
        break;
    case CHOOSE_TERM_COUNT:
        buf_append_str(t->b, "as good as ");
        put_winner(t);
        buf_append_str(t->b, ", which stands before it");
    }
}

static void tell_other(const struct telling *t)
{
    const struct choose_request *req = t->c->request;
    int64_t placed = (t->rank->pending.launch_milli + 500) / 1000;

    tell_loss(t, widest_lead(&t->result->ranks[0], t->rank));
    if (placed > 0)
        buf_printf(t->b, ", %" PRId64 " just started there", placed);
    if (t->rank->overloaded && req->sticky && str_eq(req->sticky, t->host->name)) {
        buf_append_str(t->b, ", overloaded though set for ");
        choose_put_app(t->c, t->b);
    } else if (t->rank->overloaded && req->last && str_eq(req->last, t->host->name)) {
        buf_append_str(t->b, ", overloaded though ");
        choose_put_app(t->c, t->b);
        buf_append_str(t->b, " ran there last");
    }
}

void choose_words(const struct choose_case *c, struct choose_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        struct buf b = BUF_INIT;
        struct choose_rank *r = &result->ranks[i];
        struct telling t = { c, result, r, &c->hosts[r->host], &b };
        if (r->out != CHOOSE_IN)
            tell_out(&t);
        else if (i == 0)
            tell_first(&t);
        else
            tell_other(&t);
        r->why = buf_take(&b, NULL);
    }
}
