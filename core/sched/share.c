/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fair share. A user's use u follows du/dt = threads - u / T, with T the mean life (half-life over
 * ln 2): it decays, and grows as long as something runs, so that long jobs count before they end.
 * The rank adds what the threads it has now will use soon: without that, everything that is free
 * at one moment would go to one user.
 */
#include "base/mem.h"

#include "sched/sched_priv.h"

#define DEFAULT_HALF_LIFE_NS (INT64_C(86400) * 1000000000)
#define AHEAD_S 600.0 /* use that a start counts for at once */
#define LN2 0.69314718055994530942

/* 2^-halves, for halves >= 0; libm isn't linked for this one function. */
static double decay(double halves)
{
    double whole = 1.0, term = 1.0, sum = 1.0;

    if (halves > 1000.0)
        return 0.0;
    int n = (int)halves;
    double x = (halves - n) * LN2;
    for (; n > 0; n--)
        whole *= 0.5;
    for (int i = 1; i < 20; i++) { /* e^-x, 0 <= x < 0.7 */
        term *= -x / i;
        sum += term;
    }
    return whole * sum;
}

static double half_life_s(const struct sched *s)
{
    int64_t ns = s->params.half_life_ns;
    return (double)(ns > 0 ? ns : DEFAULT_HALF_LIFE_NS) / NS_PER_SECOND;
}

static double mean_life_s(const struct sched *s)
{
    return half_life_s(s) / LN2;
}

/* What `threads` add up to from from_ns to to_ns, decayed to to_ns. */
static double grown(const struct sched *s, int64_t threads, int64_t from_ns, int64_t to_ns)
{
    if (to_ns <= from_ns)
        return 0.0;
    double halves = (double)(to_ns - from_ns) / NS_PER_SECOND / half_life_s(s);
    return (double)threads * mean_life_s(s) * (1.0 - decay(halves));
}

static double use_at(const struct sched *s, const struct sched_user *u, int64_t now_ns)
{
    if (u->at_ns == NO_TIME || now_ns <= u->at_ns)
        return u->use;
    double halves = (double)(now_ns - u->at_ns) / NS_PER_SECOND / half_life_s(s);
    return u->use * decay(halves) + grown(s, u->threads, u->at_ns, now_ns);
}

/* Brings the account up to now, before something in it changes. */
static void settle(const struct sched *s, struct sched_user *u, int64_t now_ns)
{
    u->use = use_at(s, u, now_ns);
    if (u->at_ns == NO_TIME || now_ns > u->at_ns)
        u->at_ns = now_ns;
    u->key_at_ns = NO_TIME;
}

struct sched_user *share_user(const struct sched *s, int32_t user)
{
    return user >= 0 && (size_t)user < s->n_users ? &s->users[user] : NULL;
}

double share_key(const struct sched *s, int32_t user, int64_t now_ns)
{
    const struct sched_user *u = share_user(s, user);
    return u ? use_at(s, u, now_ns) + AHEAD_S * (double)u->threads : 0.0;
}

double share_key_cached(struct sched *s, int32_t user, int64_t now_ns)
{
    struct sched_user *u = share_user(s, user);
    if (!u)
        return 0.0;
    if (u->key_at_ns != now_ns) {
        u->key = share_key(s, user, now_ns);
        u->key_at_ns = now_ns;
    }
    return u->key;
}

void share_start(struct sched *s, struct sched_alloc *a)
{
    struct sched_user *u = share_user(s, a->user);
    a->use_from_ns = a->start_ns;
    if (!u)
        return;
    settle(s, u, a->start_ns);
    a->use_from_ns = u->at_ns;
    u->threads += a->got.threads;
}

void share_end(struct sched *s, const struct sched_alloc *a, int64_t now_ns, bool undo)
{
    struct sched_user *u = share_user(s, a->user);
    if (!u)
        return;
    settle(s, u, now_ns);
    u->threads -= a->got.threads;
    if (undo)
        u->use -= grown(s, a->got.threads, a->use_from_ns, u->at_ns);
    if (u->use < 0.0)
        u->use = 0.0;
}

int32_t sched_user(struct sched *s, const char *name)
{
    void *known = strmap_get(&s->user_index, name);
    if (known)
        return (int32_t)((uintptr_t)known - 1);
    if (s->n_users == s->cap_users) {
        s->cap_users = s->cap_users ? 2 * s->cap_users : 8;
        s->users = mem_resize(s->users, s->cap_users, sizeof(*s->users));
    }
    s->users[s->n_users++] = (struct sched_user){
        .name = mem_strdup(name),
        .at_ns = NO_TIME,
        .key_at_ns = NO_TIME,
    };
    strmap_put(&s->user_index, name, (void *)(uintptr_t)s->n_users);
    return (int32_t)s->n_users - 1;
}

const char *sched_user_name(const struct sched *s, int32_t user)
{
    const struct sched_user *u = share_user(s, user);
    return u ? u->name : "";
}

double sched_user_use(const struct sched *s, int32_t user, int64_t now_ns)
{
    const struct sched_user *u = share_user(s, user);
    return u ? use_at(s, u, now_ns) : 0.0;
}

void sched_user_add_use(struct sched *s, int32_t user, double thread_seconds, int64_t now_ns)
{
    struct sched_user *u = share_user(s, user);
    if (!u)
        return;
    settle(s, u, now_ns);
    u->use += thread_seconds;
    s->quiet = false;
}
