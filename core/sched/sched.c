/* SPDX-License-Identifier: BSD-2-Clause */
/* Life cycle, placement, and the decision. */
#include "base/mem.h"

#include "sched/sched_priv.h"

#define LINE_GROUPS_MAX 64

struct sched *sched_create(const struct sched_params *params)
{
    struct sched *s = mem_alloc(sizeof(*s));

    s->params = *params;
    s->params.backfill_window_ns = max_i64(params->backfill_window_ns, 0);
    list_init(&s->waiting);
    map_init(&s->classes);
    map_init(&s->group_index);
    strmap_init(&s->user_index);
    strmap_init(&s->node_index);
    s->guard.node = -1;
    s->node_version = 1;
    s->n_grown = GROWN_MAX + 1; /* a new class knows nothing */
    s->deadline_ns = INT64_MAX;
    return s;
}

static void free_classes(struct sched *s)
{
    size_t pos = 0;
    struct sched_class *c;

    while ((c = map_next(&s->classes, &pos, NULL)) != NULL)
        while (c) {
            struct sched_class *next = c->next_same_hash;
            free(c);
            c = next;
        }
    map_fini(&s->classes);
    for (size_t i = 0; i < s->n_groups; i++) {
        free(s->groups[i]->classes);
        free(s->groups[i]);
    }
    free(s->groups);
    map_fini(&s->group_index);
}

void sched_destroy(struct sched *s)
{
    if (!s)
        return;
    free_classes(s);
    for (size_t i = 0; i < s->n_nodes; i++) {
        free(s->nodes[i]->name);
        free(s->nodes[i]);
    }
    free(s->nodes);
    strmap_fini(&s->node_index);
    free(s->place_node);
    fit_fini(&s->free_now);
    fit_fini(&s->free_later);
    fit_fini(&s->guard.open);
    for (size_t i = 0; i < s->n_users; i++)
        free(s->users[i].name);
    free(s->users);
    strmap_fini(&s->user_index);
    free(s);
}

/* ---- placement ---- */

static bool fits_on(const struct sched *s, const struct sched_shape *shape, int32_t node)
{
    const struct sched_node *n = ledger_node(s, node);
    struct sched_resources have = n ? ledger_free(n) : fit_closed;
    return res_fits(&shape->need, &have);
}

bool place_fits(const struct sched *s, const struct sched_shape *shape)
{
    if (shape->node >= 0)
        return fits_on(s, shape, shape->node);
    return fit_first(&s->free_now, &shape->need, 0) != FIT_NONE;
}

/* Of the nodes where something became free since the class fitted nowhere. */
static int32_t find_grown(const struct sched *s, const struct sched_class *c)
{
    int32_t best = -1;

    for (uint64_t i = c->unfit_at; i < s->n_grown; i++) {
        int32_t node = s->grown[i % GROWN_MAX];
        if ((best < 0 || s->nodes[node]->place < s->nodes[best]->place) &&
            fits_on(s, &c->shape, node))
            best = node;
    }
    return best;
}

int32_t place_find(struct sched *s, struct sched_class *c)
{
    if (c->shape.node >= 0)
        return fits_on(s, &c->shape, c->shape.node) ? c->shape.node : -1;
    if (s->n_grown - c->unfit_at <= GROWN_MAX) {
        int32_t node = find_grown(s, c);
        if (node < 0)
            c->unfit_at = s->n_grown;
        return node;
    }
    size_t place = fit_first(&s->free_now, &c->shape.need, 0);
    if (place == FIT_NONE) {
        c->unfit_at = s->n_grown;
        return -1;
    }
    return s->place_node[place];
}

int32_t sched_where(struct sched *s, const struct sched_entry *e)
{
    ledger_layout(s);
    return e->cls ? place_find(s, e->cls) : -1;
}

/* On some node that is up; what others use counts only with `measured`: it comes and goes. */
static bool fits_empty(const struct sched *s, const struct sched_shape *shape, bool measured)
{
    size_t from = shape->node >= 0 ? (size_t)shape->node : 0;
    size_t end = shape->node >= 0 ? from + 1 : s->n_nodes;

    for (size_t i = from; i < end && i < s->n_nodes; i++) {
        const struct sched_node *n = s->nodes[i];
        if (shape->node < 0 && !ledger_takes_any(n))
            continue;
        struct sched_resources usable = measured ? ledger_usable(n) : n->capacity;
        if (n->state == SCHED_NODE_UP && res_fits(&shape->need, &usable))
            return true;
    }
    return false;
}

bool place_possible(struct sched *s, struct sched_class *c)
{
    if (c->possible_version != s->node_version) {
        c->possible = fits_empty(s, &c->shape, true);
        c->possible_version = s->node_version;
    }
    return c->possible;
}

/* ---- the decision ---- */

/* The front of the class leaves the queue for a place on the node. */
static void take(struct sched *s, struct sched_class *c, int32_t node, struct sched_alloc *out)
{
    struct sched_entry *e = queue_front(c);
    const struct sched_shape *shape = &c->shape;

    *out = (struct sched_alloc){
        .entry = e,
        .node = node,
        .user = shape->user,
        .got = shape->need,
        .cls = c,
        .lined_up = true,
    };
    list_init(&out->link);
    c->live++;
    queue_take_start(s, e);
}

/* Reserves what was taken. */
static void begin(struct sched *s, struct sched_alloc *a, int64_t now_ns)
{
    int64_t timeout_ns = a->cls->shape.timeout_ns;

    a->lined_up = false;
    a->start_ns = now_ns;
    a->end_ns = timeout_ns > 0 ? time_add(now_ns, timeout_ns) : INT64_MAX;
    share_start(s, a);
    ledger_add(s, a);
}

/* The first class that can't start though it could: from here on others are behind it. */
static bool becomes_head(struct sched *s, struct sched_class *c, int64_t now_ns)
{
    if (place_possible(s, c)) {
        queue_set_waiting(s, c, now_ns);
        guard_set_head(s, c);
        return true;
    }
    if (c->blocked_ns != NO_TIME && !fits_empty(s, &c->shape, false))
        queue_end_waiting(s, c);
    return false;
}

/* No node has room for what needs least of all. */
static bool all_full(const struct sched *s)
{
    if (fit_first(&s->free_now, &s->least, 0) != FIT_NONE)
        return false;
    for (size_t i = 0; s->n_closed > 0 && i < s->n_nodes; i++) {
        struct sched_resources have = ledger_free(s->nodes[i]);
        if (!ledger_takes_any(s->nodes[i]) && res_fits(&s->least, &have))
            return false;
    }
    return true;
}

bool sched_next(struct sched *s, int64_t now_ns, struct sched_alloc *out)
{
    struct sched_resources least = { INT64_MAX, INT64_MAX, INT64_MAX };
    struct queue_walk walk;
    struct sched_class *c;
    bool blocked = false, full;

    if (s->quiet && now_ns < s->deadline_ns)
        return false;
    ledger_layout(s);
    full = all_full(s);
    queue_walk_begin(s, now_ns, &walk);
    s->deadline_ns = INT64_MAX;
    /* Where all is full only the head is to be found: that may be one of a million shapes. */
    while (!(full && blocked) && (c = queue_walk_next(s, &walk)) != NULL) {
        least = res_min(&least, &c->shape.need);
        int32_t node = blocked ? guard_place(s, c, now_ns) : place_find(s, c);
        if (node >= 0) {
            take(s, c, node, out);
            begin(s, out, now_ns);
            s->quiet = false;
            return true;
        }
        if (!blocked)
            blocked = becomes_head(s, c, now_ns);
    }
    if (!blocked)
        guard_set_head(s, NULL);
    if (!(full && blocked))
        s->least = least; /* all were seen */
    s->quiet = true;
    return false;
}

int64_t sched_next_deadline_ns(const struct sched *s)
{
    return s->quiet ? s->deadline_ns : INT64_MAX;
}

void sched_reserve(struct sched *s, struct sched_alloc *a)
{
    struct sched_node *n = ledger_node(s, a->node);
    if (!n)
        return;
    a->cls = NULL;
    a->overdue = a->lined_up = false;
    share_start(s, a);
    ledger_add(s, a);
    n->forced = n->forced || !res_fits(&n->reserved, &n->capacity);
    if (a->entry)
        queue_take_reserved(s, a->entry);
}

/* The newest ones count most: a fourth. */
static void note_duration(struct sched_class *c, int64_t ns)
{
    ns = max_i64(ns, 1);
    c->usual_ns = c->usual_ns ? c->usual_ns - c->usual_ns / 4 + ns / 4 : ns;
}

void sched_release(struct sched *s, struct sched_alloc *a, int64_t now_ns, bool undo)
{
    struct sched_class *c = a->cls;

    if (!ledger_node(s, a->node))
        return;
    if (!a->lined_up) {
        ledger_remove(s, a);
        share_end(s, a, now_ns, undo);
        if (c && !undo)
            note_duration(c, now_ns - a->start_ns);
    }
    a->cls = NULL;
    a->lined_up = false;
    if (a->entry)
        queue_give_start(s, a->entry, undo ? c : NULL);
    if (c) {
        c->live--;
        queue_class_unref(s, c);
    }
}

/* ---- lining up ---- */

static bool is_brief(const struct sched_class *c)
{
    return c && c->usual_ns > 0 && c->usual_ns < SCHED_BRIEF_NS;
}

int sched_line_depth(const struct sched *s, const struct sched_alloc *a)
{
    if (s->params.ahead_ns <= 0 || !is_brief(a->cls))
        return 0;
    int64_t n = s->params.ahead_ns / a->cls->usual_ns + 1;
    return n < SCHED_LINE_MAX ? (int)n : SCHED_LINE_MAX;
}

int64_t sched_line_patience_ns(const struct sched_alloc *a)
{
    int64_t ns = a->cls ? 2 * a->cls->usual_ns : 0;

    ns = ns < 2 * SCHED_BRIEF_NS ? ns : 2 * SCHED_BRIEF_NS;
    return max_i64(ns, SCHED_BRIEF_NS / 10);
}

bool sched_line_up(struct sched *s, int64_t now_ns, const struct sched_alloc *a,
                   struct sched_alloc *out)
{
    const struct sched_node *n = ledger_node(s, a->node);
    struct sched_resources usable = n ? ledger_usable(n) : fit_closed;
    struct queue_walk walk;

    /* Ranking many groups takes longer than what is saved. */
    if (!n || s->n_queued == 0 || s->n_groups > LINE_GROUPS_MAX || n->state != SCHED_NODE_UP ||
        !res_fits(&n->reserved, &usable))
        return false;
    queue_walk_begin(s, now_ns, &walk);
    struct sched_class *c = queue_walk_next(s, &walk);
    if (!is_brief(c) || !res_equal(&c->shape.need, &a->got) ||
        (c->shape.node >= 0 ? c->shape.node != a->node : !ledger_takes_any(n)))
        return false;
    take(s, c, a->node, out);
    return true;
}

void sched_succeed(struct sched *s, struct sched_alloc *a, struct sched_alloc *next, int64_t now_ns)
{
    sched_release(s, a, now_ns, false);
    begin(s, next, now_ns);
}
