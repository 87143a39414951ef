/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything that must hold at any time, checked the slow way. */
#include "base/mem.h"

#include "sched/sched_priv.h"

#include "base/err.h"

#include <inttypes.h>

/* Ends the calling function with a message unless the condition holds. */
#define MUST(cond, ...)                                                                            \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            err_set(err, ERR_INTERNAL, __VA_ARGS__);                                               \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static bool check_links(const struct list *head, const char *what, struct err *err)
{
    for (const struct list *it = head->next, *before = head; it != head; it = it->next) {
        MUST(it->prev == before, "%s: a link is broken", what);
        before = it;
    }
    return true;
}

static bool check_allocs(const struct sched *s, const struct sched_node *n, int64_t *user_threads,
                         struct err *err)
{
    struct sched_resources sum = { 0, 0, 0 }, timed = { 0, 0, 0 };
    int64_t end = INT64_MIN;

    if (!check_links(&n->allocs, n->name, err))
        return false;
    LIST_FOR_EACH(it, &n->allocs) {
        const struct sched_alloc *a = CONTAINER_OF(it, struct sched_alloc, link);
        MUST(ledger_node(s, a->node) == n, "%s: an allocation of another node", n->name);
        MUST(a->end_ns >= end, "%s: allocations are not ordered by end", n->name);
        end = a->end_ns;
        sum = res_add(&sum, &a->got);
        if (a->end_ns != INT64_MAX && !a->overdue)
            timed = res_add(&timed, &a->got);
        if (share_user(s, a->user))
            user_threads[a->user] += a->got.threads;
    }
    MUST(res_equal(&sum, &n->reserved),
         "%s: allocations add up to %" PRId64 " threads, %" PRId64 " are reserved", n->name,
         sum.threads, n->reserved.threads);
    MUST(res_equal(&timed, &n->timed), "%s: the timed part is wrong", n->name);
    MUST(n->forced || res_fits(&n->reserved, &n->capacity),
         "%s: %" PRId64 " of %" PRId64 " threads are reserved", n->name, n->reserved.threads,
         n->capacity.threads);
    return true;
}

static bool check_nodes(const struct sched *s, int64_t *user_threads, struct err *err)
{
    size_t closed = 0;

    for (size_t i = 0; i < s->n_nodes; i++) {
        const struct sched_node *n = s->nodes[i];
        struct sched_resources now = ledger_free(n), untimed = res_sub(&n->reserved, &n->timed);
        struct sched_resources later = ledger_free_with(n, &untimed);
        if (!ledger_takes_any(n))
            now = later = fit_closed;
        closed += !ledger_takes_any(n);
        if (!check_allocs(s, n, user_threads, err))
            return false;
        if (s->layout_stale)
            continue;
        MUST(s->place_node[n->place] == (int32_t)i, "%s: wrong place", n->name);
        MUST(res_equal(&now, fit_get(&s->free_now, n->place)), "%s: free is stale", n->name);
        MUST(res_equal(&later, fit_get(&s->free_later, n->place)), "%s: later is stale", n->name);
    }
    MUST(s->layout_stale || (fit_sound(&s->free_now) && fit_sound(&s->free_later)),
         "a tree of free resources is wrong");
    MUST(closed == s->n_closed, "%zu nodes are closed, not %zu", closed, s->n_closed);
    for (size_t i = 0; i < s->n_users; i++)
        MUST(s->users[i].threads == user_threads[i],
             "user %s: %" PRId64 " threads run, not %" PRId64, s->users[i].name, user_threads[i],
             s->users[i].threads);
    return true;
}

static bool check_entries(const struct sched_class *c, const struct list *list, size_t count,
                          bool limited, struct err *err)
{
    int64_t id = INT64_MIN;
    size_t n = 0;

    if (!check_links(list, "class", err))
        return false;
    LIST_FOR_EACH(it, list) {
        const struct sched_entry *e = queue_entry(it);
        MUST(e->cls == c, "job %" PRId64 " is in a class that isn't its own", e->id);
        MUST(e->id > id, "job %" PRId64 " stands behind %" PRId64, e->id, id);
        MUST(e->remaining > 0, "job %" PRId64 " is queued with nothing remaining", e->id);
        MUST(queue_at_limit(e) == limited, "job %" PRId64 " is in the wrong list", e->id);
        id = e->id;
        n++;
    }
    MUST(n == count, "a class counts %zu entries, has %zu", count, n);
    return true;
}

static bool check_class(const struct sched *s, const struct sched_class *c, struct err *err)
{
    const struct list *list = list_empty(&c->ready) ? &c->limited : &c->ready;

    if (!check_entries(c, &c->ready, c->n_ready, false, err) ||
        !check_entries(c, &c->limited, c->n_limited, true, err))
        return false;
    MUST(c->live > 0 || !list_empty(list), "a class without a use");
    MUST((c->group != NULL) == !list_empty(list), "an empty class stands in the order");
    MUST(!c->group || c->front_id == queue_entry(list->next)->id,
         "a class stands in a wrong place");
    MUST(c->blocked_ns == NO_TIME || c->n_ready > 0, "an empty class is first in line");
    MUST(s->layout_stale || c->unfit_at != s->n_grown || !place_fits(s, &c->shape),
         "a class fits somewhere and doesn't know");
    MUST(s->guard.head != c || c->blocked_ns != NO_TIME, "the blocked head isn't first in line");
    MUST(c->n_ready == 0 || res_fits(&s->least, &c->shape.need),
         "a class needs less than the least");
    return true;
}

static bool check_classes(const struct sched *s, struct err *err)
{
    size_t pos = 0, entries = 0, used = 0, waiting = 0, listed = 0;
    const struct sched_class *c;

    while ((c = map_next(&s->classes, &pos, NULL)) != NULL)
        for (; c; c = c->next_same_hash) {
            if (!check_class(s, c, err))
                return false;
            entries += c->n_ready + c->n_limited;
            used += c->group != NULL;
            waiting += c->blocked_ns != NO_TIME;
        }
    MUST(entries == s->n_queued, "%zu entries are queued, not %zu", entries, s->n_queued);
    MUST(used == s->n_classes, "%zu classes are in use, not %zu", used, s->n_classes);
    for (const struct list *it = s->waiting.next; it != &s->waiting; it = it->next)
        listed++;
    MUST(listed == waiting, "%zu classes are first in line, %zu are listed", waiting, listed);
    return check_links(&s->waiting, "classes first in line", err);
}

static bool check_groups(const struct sched *s, struct err *err)
{
    size_t classes = 0;

    for (size_t i = 0; i < s->n_groups; i++) {
        const struct sched_group *g = s->groups[i];
        MUST(g->n > 0, "an empty group");
        for (size_t k = 0; k < g->n; k++) {
            const struct sched_class *c = g->classes[k];
            MUST(c->group == g && c->shape.user == g->user && c->shape.priority == g->priority,
                 "a class is in a wrong group");
            MUST(k == 0 || g->classes[k - 1]->front_id < c->front_id, "a group is not in order");
        }
        classes += g->n;
    }
    MUST(classes == s->n_classes, "groups have %zu classes, not %zu", classes, s->n_classes);
    return true;
}

bool sched_check(const struct sched *s, struct err *err)
{
    int64_t *user_threads = mem_alloc_array(s->n_users, sizeof(*user_threads));
    bool ok = check_nodes(s, user_threads, err);

    free(user_threads);
    return ok && check_classes(s, err) && check_groups(s, err);
}
