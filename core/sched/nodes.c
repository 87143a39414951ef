/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes and the ledger of what is reserved there. */
#include "base/mem.h"

#include "sched/sched_priv.h"

#include "base/str.h"

struct sched_node *ledger_node(const struct sched *s, int32_t node)
{
    return node >= 0 && (size_t)node < s->n_nodes ? s->nodes[node] : NULL;
}

static const struct sched_resources nothing = { 0, 0, 0 };

struct sched_resources ledger_usable(const struct sched_node *n)
{
    if (n->state != SCHED_NODE_UP)
        return fit_closed;
    struct sched_resources left = res_max(&n->measured, &nothing);
    return res_min(&n->capacity, &left);
}

/* What is reserved beyond the capacity closes the node; what others use beyond it is just gone. */
struct sched_resources ledger_free_with(const struct sched_node *n,
                                        const struct sched_resources *reserved)
{
    if (n->state != SCHED_NODE_UP)
        return fit_closed;
    struct sched_resources ours = res_sub(&n->capacity, reserved);
    struct sched_resources theirs = res_sub(&n->measured, reserved);
    theirs = res_max(&theirs, &nothing);
    if (!res_fits(&nothing, &ours))
        return fit_closed;
    return res_min(&ours, &theirs);
}

struct sched_resources ledger_free(const struct sched_node *n)
{
    return ledger_free_with(n, &n->reserved);
}

bool ledger_takes_any(const struct sched_node *n)
{
    return !n->by_name && n->state != SCHED_NODE_GONE;
}

/* ---- the trees ---- */

static void set_leaves(struct sched *s, const struct sched_node *n)
{
    struct sched_resources untimed = res_sub(&n->reserved, &n->timed);
    struct sched_resources now = ledger_free(n), later = ledger_free_with(n, &untimed);

    if (!ledger_takes_any(n))
        now = later = fit_closed;
    if (!res_fits(&now, fit_get(&s->free_now, n->place)))
        s->grown[s->n_grown++ % GROWN_MAX] = s->place_node[n->place];
    fit_set(&s->free_now, n->place, &now);
    fit_set(&s->free_later, n->place, &later);
}

void ledger_touch(struct sched *s, struct sched_node *n)
{
    n->forced = n->forced && !res_fits(&n->reserved, &n->capacity);
    s->quiet = false;
    if (s->layout_stale)
        return;
    set_leaves(s, n);
    guard_touch(s, n);
}

struct sized {
    struct sched_resources capacity;
    int32_t node;
};

/* Fewer GPUs first, then the smaller. */
static int compare_sized(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->capacity.gpus != y->capacity.gpus)
        return x->capacity.gpus < y->capacity.gpus ? -1 : 1;
    if (x->capacity.threads != y->capacity.threads)
        return x->capacity.threads < y->capacity.threads ? -1 : 1;
    if (x->capacity.memory != y->capacity.memory)
        return x->capacity.memory < y->capacity.memory ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

void ledger_layout(struct sched *s)
{
    if (!s->layout_stale)
        return;
    s->layout_stale = false;
    struct sized *order = mem_alloc_array(s->n_nodes, sizeof(*order));
    for (size_t i = 0; i < s->n_nodes; i++)
        order[i] = (struct sized){ s->nodes[i]->capacity, (int32_t)i };
    if (s->n_nodes > 0)
        qsort(order, s->n_nodes, sizeof(*order), compare_sized);
    fit_reset(&s->free_now, s->n_nodes);
    fit_reset(&s->free_later, s->n_nodes);
    s->place_node = mem_resize(s->place_node, s->n_nodes + 1, sizeof(*s->place_node));
    for (size_t i = 0; i < s->n_nodes; i++) {
        s->place_node[i] = order[i].node;
        s->nodes[order[i].node]->place = i;
        set_leaves(s, s->nodes[order[i].node]);
    }
    free(order);
    s->n_grown += GROWN_MAX + 1; /* more than anybody remembers */
    guard_forget(s);
}

/* ---- allocations ---- */

static bool is_timed(const struct sched_alloc *a)
{
    return a->end_ns != INT64_MAX && !a->overdue;
}

static struct sched_alloc *alloc_of(struct list *link)
{
    return CONTAINER_OF(link, struct sched_alloc, link);
}

void ledger_add(struct sched *s, struct sched_alloc *a)
{
    struct sched_node *n = s->nodes[a->node];
    struct list *after = n->allocs.prev;

    /* What starts later mostly ends later, so this is short. */
    while (after != &n->allocs && alloc_of(after)->end_ns > a->end_ns)
        after = after->prev;
    list_insert_before(after->next, &a->link);
    n->reserved = res_add(&n->reserved, &a->got);
    if (is_timed(a))
        n->timed = res_add(&n->timed, &a->got);
    ledger_touch(s, n);
}

void ledger_remove(struct sched *s, struct sched_alloc *a)
{
    struct sched_node *n = s->nodes[a->node];

    list_remove(&a->link);
    n->reserved = res_sub(&n->reserved, &a->got);
    if (is_timed(a))
        n->timed = res_sub(&n->timed, &a->got);
    ledger_touch(s, n);
}

void ledger_overdue(struct sched *s, struct sched_node *n, int64_t now_ns)
{
    bool found = false;

    LIST_FOR_EACH(it, &n->allocs) {
        struct sched_alloc *a = alloc_of(it);
        if (time_add(a->end_ns, s->params.backfill_window_ns) >= now_ns)
            break;
        if (a->overdue)
            continue;
        n->timed = res_sub(&n->timed, &a->got);
        a->overdue = true;
        found = true;
    }
    if (found)
        ledger_touch(s, n);
}

void sched_alloc_moved(struct sched *s, struct sched_alloc *from, struct sched_alloc *to)
{
    (void)s;
    if (from == to)
        return;
    /* The neighbours still point to the old place, whatever became of it. */
    to->link.prev->next = &to->link;
    to->link.next->prev = &to->link;
    list_init(&from->link);
}

/* ---- the public side ---- */

static void nodes_changed(struct sched *s)
{
    s->node_version++;
    s->quiet = false;
}

int32_t sched_node_add(struct sched *s, const char *name, const struct sched_resources *capacity)
{
    struct sched_node *n = mem_alloc(sizeof(*n));

    n->name = mem_strdup(name);
    n->capacity = *capacity;
    n->measured = (struct sched_resources){ INT64_MAX, INT64_MAX, INT64_MAX };
    n->state = SCHED_NODE_UP;
    list_init(&n->allocs);
    if (s->n_nodes == s->cap_nodes) {
        s->cap_nodes = s->cap_nodes ? 2 * s->cap_nodes : 8;
        s->nodes = mem_resize(s->nodes, s->cap_nodes, sizeof(*s->nodes));
    }
    s->nodes[s->n_nodes++] = n;
    strmap_put(&s->node_index, name, (void *)(uintptr_t)s->n_nodes);
    s->layout_stale = true;
    nodes_changed(s);
    return (int32_t)s->n_nodes - 1;
}

void sched_node_set_state(struct sched *s, int32_t node, enum sched_node_state state)
{
    struct sched_node *n = ledger_node(s, node);
    if (!n || n->state == state)
        return;
    s->n_closed -= !ledger_takes_any(n);
    n->state = state;
    s->n_closed += !ledger_takes_any(n);
    nodes_changed(s);
    ledger_touch(s, n);
    guard_forget(s);
}

void sched_node_set_by_name(struct sched *s, int32_t node, bool by_name)
{
    struct sched_node *n = ledger_node(s, node);
    if (!n || n->by_name == by_name)
        return;
    s->n_closed -= !ledger_takes_any(n);
    n->by_name = by_name;
    s->n_closed += !ledger_takes_any(n);
    s->layout_stale = true;
    nodes_changed(s);
}

void sched_node_set_capacity(struct sched *s, int32_t node, const struct sched_resources *capacity)
{
    struct sched_node *n = ledger_node(s, node);
    if (!n || res_equal(&n->capacity, capacity))
        return;
    n->capacity = *capacity;
    n->forced = !res_fits(&n->reserved, capacity);
    s->layout_stale = true;
    nodes_changed(s);
}

void sched_node_set_measured(struct sched *s, int32_t node,
                             const struct sched_resources *free_measured)
{
    struct sched_node *n = ledger_node(s, node);
    if (!n)
        return;
    struct sched_resources before = res_min(&n->capacity, &n->measured);
    n->measured = *free_measured;
    struct sched_resources after = res_min(&n->capacity, &n->measured);
    if (res_equal(&before, &after))
        return;
    nodes_changed(s);
    ledger_touch(s, n);
}

void sched_node_get(const struct sched *s, int32_t node, struct sched_resources *capacity,
                    struct sched_resources *reserved)
{
    static const struct sched_resources none;
    const struct sched_node *n = ledger_node(s, node);
    if (capacity)
        *capacity = n ? n->capacity : none;
    if (reserved)
        *reserved = n ? n->reserved : none;
}

enum sched_node_state sched_node_state(const struct sched *s, int32_t node)
{
    const struct sched_node *n = ledger_node(s, node);
    return n ? n->state : SCHED_NODE_DOWN;
}

int32_t sched_node_count(const struct sched *s)
{
    return (int32_t)s->n_nodes;
}

const char *sched_node_name(const struct sched *s, int32_t node)
{
    const struct sched_node *n = ledger_node(s, node);
    return n ? n->name : "";
}

int32_t sched_node_find(const struct sched *s, const char *name)
{
    return (int32_t)(uintptr_t)strmap_get(&s->node_index, name) - 1;
}
