/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rights of the blocked head against those behind it (the rules stand in sched.h).
 *
 * The node of the shadow time is found lazily: `node` is the soonest of those looked at so far, and
 * before anything is placed on another node that one is looked at. If it turns out to be sooner, it
 * becomes the node. So no placement ever makes the soonest node later, though most nodes are never
 * looked at.
 */
#include "base/mem.h"

#include "sched/sched_priv.h"

void guard_forget(struct sched *s)
{
    s->guard.node = -1;
    s->guard.holding = false;
}

void guard_set_head(struct sched *s, struct sched_class *head)
{
    if (s->guard.head == head)
        return;
    s->guard.head = head;
    guard_forget(s);
}

/* ---- room that is held ---- */

/* Of a node where room is held others get what the head won't lack: a need of nothing always fits,
 * a need of something only beyond what the head needs of it. */
static struct sched_resources open_part(const struct sched *s, const struct sched_node *n)
{
    static const struct sched_resources nothing = { 0, 0, 0 };
    struct sched_resources free_now = ledger_free(n);

    if (n->held != s->hold_number || !res_fits(&nothing, &free_now))
        return free_now;
    struct sched_resources left = res_sub(&free_now, &s->guard.head->shape.need);
    return res_max(&left, &nothing);
}

/* The same for jobs that don't ask for a node. */
static struct sched_resources open_to_any(const struct sched *s, const struct sched_node *n)
{
    return ledger_takes_any(n) ? open_part(s, n) : fit_closed;
}

void guard_touch(struct sched *s, struct sched_node *n)
{
    struct guard *g = &s->guard;

    if (g->node >= 0 && s->nodes[g->node] == n)
        g->node = -1;
    if (g->holding) {
        struct sched_resources open = open_to_any(s, n);
        fit_set(&g->open, n->place, &open);
    }
}

struct lack {
    double amount;
    struct sched_node *node;
};

static double lack_of(int64_t need, int64_t have)
{
    return need > have ? (double)(need - have) / (double)need : 0.0;
}

static int compare_lack(const void *a, const void *b)
{
    const struct lack *x = a, *y = b;
    if (x->amount < y->amount || x->amount > y->amount)
        return x->amount < y->amount ? -1 : 1;
    return x->node->place < y->node->place ? -1 : x->node->place > y->node->place;
}

static void hold_node(struct sched *s, struct sched_node *n)
{
    n->held = s->hold_number;
}

/* Chooses the `count` nodes where the head lacks least. */
static void hold_choose(struct sched *s, size_t count)
{
    const struct sched_shape *shape = &s->guard.head->shape;
    struct lack *lacks = mem_alloc_array(s->n_nodes, sizeof(*lacks));
    size_t n = 0;

    for (size_t i = 0; i < s->n_nodes; i++) {
        struct sched_node *node = s->nodes[i];
        struct sched_resources usable = ledger_usable(node), have = ledger_free(node);
        if (!res_fits(&shape->need, &usable) || !ledger_takes_any(node))
            continue;
        lacks[n++] = (struct lack){
            .amount = lack_of(shape->need.threads, have.threads) +
                      lack_of(shape->need.memory, have.memory) +
                      lack_of(shape->need.gpus, have.gpus),
            .node = node,
        };
    }
    if (n > count)
        qsort(lacks, n, sizeof(*lacks), compare_lack);
    for (size_t i = 0; i < n && i < count; i++)
        hold_node(s, lacks[i].node);
    free(lacks);
}

static void hold_begin(struct sched *s, size_t count)
{
    struct guard *g = &s->guard;

    s->hold_number++;
    if (g->head->shape.node >= 0)
        hold_node(s, s->nodes[g->head->shape.node]);
    else
        hold_choose(s, count);
    g->holding = true;
    fit_reset(&g->open, s->n_nodes);
    for (size_t i = 0; i < s->n_nodes; i++) {
        struct sched_resources open = open_to_any(s, s->nodes[i]);
        fit_set(&g->open, s->nodes[i]->place, &open);
    }
}

/* In which window the head is. True while room is held: on how many nodes, and until when. */
static bool hold_window(const struct sched *s, int64_t now_ns, size_t *count, int64_t *until_ns)
{
    int64_t len = s->params.backfill_window_ns, begin = s->guard.head->blocked_ns;

    *count = 1;
    *until_ns = INT64_MAX;
    if (len <= 0) {
        *count = SIZE_MAX;
        return true;
    }
    for (;;) {
        int64_t hold = time_add(begin, len), end = time_add(hold, len);
        if (now_ns < hold)
            return false;
        if (now_ns < end) {
            *until_ns = end;
            return true;
        }
        begin = end;
        len = time_add(len, len);
        *count = *count > SIZE_MAX / 4 ? SIZE_MAX : *count * 4;
    }
}

/* Whether room is held now; begins and ends holding. */
static bool hold_refresh(struct sched *s, int64_t now_ns)
{
    struct guard *g = &s->guard;
    int64_t until;
    size_t count;

    if (!hold_window(s, now_ns, &count, &until)) {
        g->holding = false;
        return false;
    }
    if (!g->holding || g->hold_until_ns != until)
        hold_begin(s, count);
    g->hold_until_ns = until;
    return true;
}

/* ---- the shadow time ---- */

struct shadow {
    int64_t at_ns; /* INT64_MAX: unknown */
    struct sched_resources extra;
};

/* When the head could start on node n, by the time limits of what runs there. */
static struct shadow shadow_on(struct sched *s, struct sched_node *n, int64_t now_ns)
{
    const struct sched_resources *need = &s->guard.head->shape.need;
    struct sched_resources usable = ledger_usable(n), reserved = n->reserved;
    struct shadow sh = { .at_ns = INT64_MAX };

    if (!res_fits(need, &usable))
        return sh;
    ledger_overdue(s, n, now_ns);
    LIST_FOR_EACH(it, &n->allocs) {
        const struct sched_alloc *a = CONTAINER_OF(it, struct sched_alloc, link);
        if (a->end_ns > sh.at_ns || a->end_ns == INT64_MAX)
            break;
        if (a->overdue)
            continue;
        reserved = res_sub(&reserved, &a->got);
        struct sched_resources have = ledger_free_with(n, &reserved);
        if (!res_fits(need, &have))
            continue;
        sh.at_ns = a->end_ns;
        sh.extra = res_sub(&have, need);
    }
    return sh;
}

static void set_shadow(struct guard *g, int32_t node, const struct shadow *sh)
{
    g->node = node;
    g->shadow_ns = sh->at_ns;
    g->extra = sh->extra;
}

/* Finds a node with a known shadow time if there is one. */
static bool shadow_refresh(struct sched *s, int64_t now_ns)
{
    struct guard *g = &s->guard;
    const struct sched_shape *head = &g->head->shape;
    size_t from = 0;

    /* While it isn't overdue itself it's as it was when found. */
    if (g->node >= 0)
        ledger_overdue(s, s->nodes[g->node], now_ns);
    if (g->node >= 0)
        return true;
    if (head->node >= 0) {
        struct shadow sh = shadow_on(s, s->nodes[head->node], now_ns);
        if (sh.at_ns != INT64_MAX)
            set_shadow(g, head->node, &sh);
        return g->node >= 0;
    }
    while ((from = fit_first(&s->free_later, &head->need, from)) != FIT_NONE) {
        int32_t node = s->place_node[from++];
        struct shadow sh = shadow_on(s, s->nodes[node], now_ns);
        if (sh.at_ns == INT64_MAX)
            continue; /* what is in the way there is overdue */
        set_shadow(g, node, &sh);
        return true;
    }
    return false;
}

/* The same moment for all that should have ended already. */
static bool sooner(int64_t a_ns, int64_t b_ns, int64_t now_ns)
{
    return max_i64(a_ns, now_ns) < max_i64(b_ns, now_ns);
}

/* Whether something of this shape may start on `node` while the shadow time is known. */
static bool allowed(struct sched *s, const struct sched_shape *shape, int32_t node, int64_t now_ns)
{
    struct guard *g = &s->guard;
    int32_t only = g->head->shape.node;

    if (node != g->node) {
        if (only >= 0 ? node != only : !ledger_takes_any(s->nodes[node]))
            return true;
        struct shadow sh = shadow_on(s, s->nodes[node], now_ns);
        if (!sooner(sh.at_ns, g->shadow_ns, now_ns))
            return true;
        set_shadow(g, node, &sh);
    }
    if (shape->timeout_ns > 0 && time_add(now_ns, shape->timeout_ns) <= g->shadow_ns)
        return true;
    return res_fits(&shape->need, &g->extra);
}

/* When the shadow time becomes unknown because something on its node doesn't end. */
static int64_t shadow_doubt(const struct sched *s)
{
    LIST_FOR_EACH(it, &s->nodes[s->guard.node]->allocs) {
        const struct sched_alloc *a = CONTAINER_OF(it, struct sched_alloc, link);
        if (!a->overdue)
            return time_add(time_add(a->end_ns, s->params.backfill_window_ns), 1);
    }
    return INT64_MAX;
}

static int32_t place_shadowed(struct sched *s, const struct sched_shape *shape, int64_t now_ns)
{
    size_t from = 0;

    if (shape->node >= 0)
        return allowed(s, shape, shape->node, now_ns) ? shape->node : -1;
    while ((from = fit_first(&s->free_now, &shape->need, from)) != FIT_NONE) {
        int32_t node = s->place_node[from++], was = s->guard.node;
        if (allowed(s, shape, node, now_ns))
            return node;
        if (was != s->guard.node)
            from = 0; /* a sooner node was found: the one before is open now */
    }
    return -1;
}

static int32_t place_held(const struct sched *s, const struct sched_shape *shape)
{
    if (shape->node >= 0) {
        struct sched_resources have = open_part(s, s->nodes[shape->node]);
        return res_fits(&shape->need, &have) ? shape->node : -1;
    }
    size_t place = fit_first(&s->guard.open, &shape->need, 0);
    return place == FIT_NONE ? -1 : s->place_node[place];
}

int32_t guard_place(struct sched *s, struct sched_class *c, int64_t now_ns)
{
    const struct sched_shape *shape = &c->shape;
    int32_t node = place_find(s, c);

    if (node < 0)
        return -1;
    if (shadow_refresh(s, now_ns)) {
        s->guard.holding = false;
        node = place_shadowed(s, shape, now_ns);
        if (node < 0)
            s->deadline_ns = min_i64(s->deadline_ns, shadow_doubt(s));
        return node;
    }
    if (!hold_refresh(s, now_ns))
        return node;
    node = place_held(s, shape);
    if (node < 0)
        s->deadline_ns = min_i64(s->deadline_ns, s->guard.hold_until_ns);
    return node;
}
