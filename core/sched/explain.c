/* SPDX-License-Identifier: BSD-2-Clause */
/* Why an entry waits, in words; and what could never run. */
#include "base/mem.h"

#include "sched/sched_priv.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <inttypes.h>

#define COUNT_MAX 100  /* jobs counted one by one before "over" is said */
#define BEFORE_SHOWN 5 /* jobs before it that explain names */

/* ---- words for amounts ---- */

enum resource { THREADS, MEMORY, GPUS, RESOURCE_COUNT };

static int64_t amount(const struct sched_resources *r, enum resource which)
{
    return which == THREADS ? r->threads : which == MEMORY ? r->memory : r->gpus;
}

/* "8", "16.0G" */
static void put_number(struct buf *b, enum resource which, int64_t n)
{
    if (which == MEMORY)
        str_format_size(b, max_i64(n, 0));
    else
        buf_printf(b, "%" PRId64, max_i64(n, 0));
}

/* "8 threads", "16.0G memory", "1 GPU" */
static void put_amount(struct buf *b, enum resource which, int64_t n)
{
    static const char *const one[] = { "thread", "memory", "GPU" };
    static const char *const many[] = { "threads", "memory", "GPUs" };

    put_number(b, which, n);
    buf_printf(b, " %s", n == 1 ? one[which] : many[which]);
}

static void put_need(struct buf *b, const struct sched_resources *need)
{
    put_amount(b, THREADS, need->threads);
    for (enum resource r = MEMORY; r < RESOURCE_COUNT; r++)
        if (amount(need, r) > 0) {
            buf_append_str(b, ", ");
            put_amount(b, r, amount(need, r));
        }
}

/* The first resource of which there is too little; RESOURCE_COUNT: none. */
static enum resource first_lack(const struct sched_resources *need,
                                const struct sched_resources *have)
{
    enum resource r = THREADS;
    while (r < RESOURCE_COUNT && amount(need, r) <= amount(have, r))
        r++;
    return r;
}

/* How far it is from fitting: the sum of the parts of the need that are missing. */
static double lacking(const struct sched_resources *need, const struct sched_resources *have)
{
    double sum = 0.0;
    for (enum resource r = THREADS; r < RESOURCE_COUNT; r++) {
        int64_t want = amount(need, r), got = max_i64(amount(have, r), 0);
        if (want > got)
            sum += (double)(want - got) / (double)want;
    }
    return sum;
}

/* ---- what no node could run ---- */

static const struct sched_node *largest(const struct sched *s, enum resource r)
{
    const struct sched_node *best = NULL;
    for (size_t i = 0; i < s->n_nodes; i++)
        if (ledger_takes_any(s->nodes[i]) &&
            (!best || amount(&s->nodes[i]->capacity, r) > amount(&best->capacity, r)))
            best = s->nodes[i];
    return best;
}

static const struct sched_node *closest(const struct sched *s, const struct sched_resources *need)
{
    const struct sched_node *best = NULL;
    for (size_t i = 0; i < s->n_nodes; i++)
        if (ledger_takes_any(s->nodes[i]) &&
            (!best || lacking(need, &s->nodes[i]->capacity) < lacking(need, &best->capacity)))
            best = s->nodes[i];
    return best;
}

/* It has never said what it has. */
static bool is_unknown(const struct sched_node *n)
{
    return n->state == SCHED_NODE_DOWN && n->capacity.threads == 0 && n->capacity.memory == 0;
}

/* Appends the reason when no known node could run it even if it were empty; false: one could. */
static bool put_impossible(const struct sched *s, const struct sched_shape *shape, struct buf *b)
{
    const struct sched_resources *need = &shape->need;
    const struct sched_node *only = ledger_node(s, shape->node), *n;

    if (shape->node >= 0 && (!only || only->state == SCHED_NODE_GONE)) {
        buf_append_str(b, "asks for a node that is not known");
        return true;
    }
    if (only) {
        enum resource r = first_lack(need, &only->capacity);
        if (r == RESOURCE_COUNT || is_unknown(only))
            return false;
        buf_append_str(b, "asks for ");
        put_amount(b, r, amount(need, r));
        buf_printf(b, "; node %s has ", only->name);
        put_number(b, r, amount(&only->capacity, r));
        return true;
    }
    for (size_t i = 0; i < s->n_nodes; i++)
        if (ledger_takes_any(s->nodes[i]) && res_fits(need, &s->nodes[i]->capacity))
            return false;
    if (!largest(s, THREADS)) {
        buf_append_str(b, "asks for no node; all there are take only jobs that ask for them");
        return true;
    }
    for (enum resource r = THREADS; r < RESOURCE_COUNT; r++) {
        n = largest(s, r);
        if (amount(need, r) <= amount(&n->capacity, r))
            continue;
        buf_append_str(b, "asks for ");
        put_amount(b, r, amount(need, r));
        buf_printf(b, "; the largest node, %s, has ", n->name);
        put_number(b, r, amount(&n->capacity, r));
        return true;
    }
    n = closest(s, need);
    buf_append_str(b, "asks for ");
    put_need(b, need);
    buf_printf(b, " on one node; the closest, %s, has ", n->name);
    put_need(b, &n->capacity);
    return true;
}

int sched_check_possible(const struct sched *s, const struct sched_shape *shape, struct err *err)
{
    struct buf b = BUF_INIT;
    int rc = 0;

    if (s->n_nodes == 0 && shape->node < 0)
        return 0;
    if (put_impossible(s, shape, &b)) {
        rc = err_set(err, ERR_UNPROCESS, "%s", buf_data(&b));
        err_hint(err, "ask for less; `hive status nodes` shows what the nodes have");
    }
    buf_fini(&b);
    return rc;
}

/* ---- who is before it ---- */

/* Entries of c older than id; counts on to at most `max`. */
static size_t older_in(const struct sched_class *c, int64_t id, size_t max)
{
    const struct list *const lists[] = { &c->ready, &c->limited };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (const struct list *it = lists[i]->next; it != lists[i] && n < max; it = it->next) {
            if (queue_entry(it)->id >= id)
                break;
            n++;
        }
    return n;
}

static size_t group_rank(const struct sched *s, const struct sched_group *g)
{
    size_t i = 0;
    while (s->groups[i] != g)
        i++;
    return i;
}

/* Jobs before e; more than COUNT_MAX may be any number above it. queue_walk_begin() went before. */
static size_t count_before(const struct sched *s, const struct sched_entry *e)
{
    const struct sched_group *own = e->cls->group;
    size_t rank = group_rank(s, own), n = 0;
    bool first = queue_first_in_line(e);

    for (size_t i = 0; i < rank; i++) {
        const struct sched_group *g = s->groups[i];
        if (first && g->priority == own->priority)
            break;
        for (size_t k = 0; k < g->n; k++)
            n += g->classes[k]->n_ready + g->classes[k]->n_limited;
    }
    for (size_t k = 0; !first && k < own->n && n <= COUNT_MAX; k++)
        n += older_in(own->classes[k], e->id, COUNT_MAX + 1 - n);
    LIST_FOR_EACH(it, &s->waiting) {
        const struct sched_class *c = CONTAINER_OF(it, struct sched_class, waiting);
        if (c == e->cls && first)
            break;
        if (c->shape.priority != own->priority)
            continue;
        bool counted =
            c->group == own ? queue_front(c)->id <= e->id : group_rank(s, c->group) < rank;
        n += first || !counted;
    }
    return n;
}

static void put_before(struct buf *out, size_t n)
{
    if (n > COUNT_MAX)
        buf_printf(out, "over %d jobs before it", COUNT_MAX);
    else
        buf_printf(out, "%zu %s before it", n, n == 1 ? "job" : "jobs");
}

/* ---- the short reason ---- */

static const char *state_word(const struct sched_node *n)
{
    return n->state == SCHED_NODE_DRAINED ? "drained"
           : n->state == SCHED_NODE_GONE  ? "not known any more"
                                          : "down";
}

/* Reasons that lie with the nodes being away; true when one was found. */
static bool put_away(const struct sched *s, const struct sched_shape *shape, struct buf *out)
{
    const struct sched_node *n = ledger_node(s, shape->node), *away = NULL;
    size_t count = 0;

    if (s->n_nodes == 0) {
        buf_append_str(out, "no node is known yet");
        return true;
    }
    if (n && n->state != SCHED_NODE_UP) {
        buf_printf(out, "node %s is %s", n->name, state_word(n));
        return true;
    }
    if (put_impossible(s, shape, out))
        return true;
    for (size_t i = 0; i < s->n_nodes; i++) {
        if (!res_fits(&shape->need, &s->nodes[i]->capacity) ||
            (!n && !ledger_takes_any(s->nodes[i])))
            continue;
        if (s->nodes[i]->state == SCHED_NODE_UP)
            return false;
        away = s->nodes[i];
        count++;
    }
    if (count == 1)
        buf_printf(out, "node %s is %s", away->name, state_word(away));
    else
        buf_printf(out, "all %zu nodes that could run it are drained or down", count);
    return true;
}

/* What is missing on the node that is closest to taking it; false when one could now. */
static bool put_lack(const struct sched *s, const struct sched_shape *shape, struct buf *out)
{
    const struct sched_node *best = NULL;
    double least = 0.0;

    if (place_fits(s, shape))
        return false;
    for (size_t i = 0; i < s->n_nodes; i++) {
        const struct sched_node *n = s->nodes[i];
        struct sched_resources have = ledger_free(n);
        double lack = lacking(&shape->need, &have);
        if (n->state != SCHED_NODE_UP || !res_fits(&shape->need, &n->capacity) ||
            (shape->node >= 0 ? (size_t)shape->node != i : !ledger_takes_any(n)))
            continue;
        if (!best || lack < least) {
            best = n;
            least = lack;
        }
    }
    if (!best)
        return false;
    struct sched_resources have = ledger_free(best);
    enum resource r = first_lack(&shape->need, &have);
    if (r == RESOURCE_COUNT)
        return false;
    buf_append_str(out, "needs ");
    put_amount(out, r, amount(&shape->need, r));
    buf_append_str(out, ", ");
    put_number(out, r, amount(&have, r));
    buf_printf(out, " free on %s", best->name);
    return true;
}

void sched_reason(const struct sched *s, const struct sched_entry *e, int64_t now_ns,
                  struct buf *out)
{
    struct queue_walk walk;
    const struct sched_class *c = e->cls, *head = s->guard.head;

    if (!c)
        return;
    if (queue_at_limit(e)) {
        buf_printf(out, "array limit of %d reached", e->max_running);
        return;
    }
    if (put_away(s, &c->shape, out))
        return;
    if (queue_front(c) == e) {
        if (put_lack(s, &c->shape, out))
            return;
        if (head && head != c && queue_front(head)) {
            buf_printf(out, "room is kept for job %" PRId64, queue_front(head)->id);
            return;
        }
    }
    queue_walk_begin(s, now_ns, &walk);
    size_t n = count_before(s, e);
    if (n > 0)
        put_before(out, n);
    else
        buf_append_str(out, SCHED_STARTS_NEXT);
}

/* ---- the long one ---- */

static void put_why_before(const struct sched *s, const struct sched_entry *other,
                           const struct sched_entry *e, struct buf *out)
{
    const struct sched_shape *a = &other->cls->shape, *b = &e->cls->shape;

    buf_printf(out, "before it: job %" PRId64 ", ", other->id);
    if (a->priority != b->priority)
        buf_printf(out, "priority %d over %d\n", a->priority, b->priority);
    else if (queue_first_in_line(other))
        buf_append_str(out, "which is first in line for room\n");
    else if (a->user != b->user) {
        buf_append_str(out, "whose user ");
        str_append_safe(out, sched_user_name(s, a->user), SIZE_MAX);
        buf_append_str(out, " has used less lately\n");
    } else
        buf_append_str(out, "which is older\n");
}

static void explain_place(const struct sched *s, const struct sched_entry *e, int64_t now_ns,
                          struct buf *out)
{
    struct sched_entry *first[BEFORE_SHOWN];
    struct queue_walk walk;

    queue_walk_begin(s, now_ns, &walk);
    size_t before = count_before(s, e);
    if (before > 0) {
        put_before(out, before);
        buf_append_char(out, '\n');
    } else {
        buf_append_str(out, "first in the queue\n");
    }
    size_t n = sched_order(s, now_ns, first, BEFORE_SHOWN);
    for (size_t i = 0; i < n && i < before && first[i] != e; i++)
        put_why_before(s, first[i], e, out);
}

/* Notes what part of the node others use. */
static void put_others(const struct sched_node *n, enum resource r, struct buf *out)
{
    struct sched_resources usable = ledger_usable(n);
    int64_t others = amount(&n->capacity, r) - amount(&usable, r);
    if (others <= 0)
        return;
    buf_append_str(out, "; others use ");
    put_number(out, r, others);
}

static void explain_node(const struct sched *s, const struct sched_class *c, size_t i,
                         struct buf *out)
{
    const struct sched_node *n = s->nodes[i];
    const struct sched_resources *need = &c->shape.need;
    struct sched_resources have = ledger_free(n);
    enum resource small = first_lack(need, &n->capacity), r;

    if (n->state == SCHED_NODE_GONE)
        return;
    buf_printf(out, "%s: ", n->name);
    if (c->shape.node >= 0 && (size_t)c->shape.node != i) {
        buf_append_str(out, "not the node it asks for\n");
    } else if (c->shape.node < 0 && !ledger_takes_any(n)) {
        buf_printf(out, "only for jobs that ask for it (--node %s)\n", n->name);
    } else if (is_unknown(n)) {
        buf_append_str(out, "down; what it has is not known yet\n");
    } else if (small != RESOURCE_COUNT) {
        buf_append_str(out, "too small: asks for ");
        put_amount(out, small, amount(need, small));
        buf_append_str(out, ", the node has ");
        put_number(out, small, amount(&n->capacity, small));
        buf_append_char(out, '\n');
    } else if (n->state != SCHED_NODE_UP) {
        buf_printf(out, "%s\n", state_word(n));
    } else if ((r = first_lack(need, &have)) != RESOURCE_COUNT) {
        buf_append_str(out, "asks for ");
        put_amount(out, r, amount(need, r));
        buf_append_str(out, ", ");
        put_number(out, r, amount(&have, r));
        buf_append_str(out, " of ");
        put_number(out, r, amount(&n->capacity, r));
        buf_append_str(out, " free");
        put_others(n, r, out);
        buf_append_char(out, '\n');
    } else {
        const struct sched_class *head = s->guard.head;
        if (head && head != c && queue_front(head))
            buf_printf(out, "has room, kept for job %" PRId64 "\n", queue_front(head)->id);
        else
            buf_append_str(out, "has room\n");
    }
}

void sched_explain(const struct sched *s, const struct sched_entry *e, int64_t now_ns,
                   struct buf *out)
{
    const struct sched_class *c = e->cls;

    if (!c) {
        buf_append_str(out, "not in the queue\n");
        return;
    }
    sched_reason(s, e, now_ns, out);
    buf_append_char(out, '\n');
    explain_place(s, e, now_ns, out);
    buf_append_str(out, "asks for ");
    put_need(out, &c->shape.need);
    if (c->shape.timeout_ns > 0) {
        buf_append_str(out, ", for at most ");
        str_format_duration(out, c->shape.timeout_ns);
    }
    buf_append_char(out, '\n');
    for (size_t i = 0; i < s->n_nodes; i++)
        explain_node(s, c, i, out);
}
