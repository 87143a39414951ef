/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lines: who gets a place next is decided, committed and handed to the node before the place is
 * free, where jobs last milliseconds (sched.h, "Lining up"). Otherwise each place would be empty
 * while the end of one job and the start of the next are synced to disk.
 *
 * A run that is lined up is a run like any other: its job is running for the store and for clients, a
 * few milliseconds early. Only the ledger doesn't count it until its predecessor has ended. The node
 * starts it the moment that happens, before this file hears of it.
 *
 * While others stand in line, ends needn't be committed one by one: they wait up to GATHER_NS for
 * more of them. Whoever asks for something meanwhile gets the turn at once.
 *
 * If the first of a line takes longer than was to be expected, those behind it go back into the
 * queue as if nothing had been: another place may be free, or take what is of less priority.
 */
#include "head/head_node.h"
#include "head/head_priv.h"

#define LOOK_NS (5 * NS_PER_MS) /* at lines that stand still */
#define GATHER_NS (2 * NS_PER_MS)

void head_line_begin(struct head *h, struct head_run *r)
{
    if (head_node_at(h, r->alloc.node)->kind != HEAD_NODE_OWN)
        return; /* the way there takes longer than what would be saved */
    list_append(&h->lines, &r->line);
}

void head_line_leave(struct head_run *r)
{
    list_remove(&r->line);
    if (r->before)
        r->before->behind = r->behind;
    if (r->behind)
        r->behind->before = r->before;
    r->before = r->behind = NULL;
}

void head_line_release(struct head *h, struct head_run *r, bool undo)
{
    struct head_run *next = r->before || undo ? NULL : r->behind;

    head_line_leave(r);
    if (!next) {
        sched_release(h->sched, &r->alloc, ev_now_ns(h->loop), undo);
        return;
    }
    sched_succeed(h->sched, &r->alloc, &next->alloc, ev_now_ns(h->loop));
    head_line_begin(h, next);
}

static bool is_late(const struct head *h, const struct head_run *first)
{
    return ev_now_ns(h->loop) - first->alloc.start_ns >= sched_line_patience_ns(&first->alloc);
}

/* 1: somebody stands behind `last` now, 0: nobody can, -1: error. */
static int line_up(struct head *h, struct head_run *last, struct err *err)
{
    struct head_run *r = head_run_spare(h);

    if (!sched_line_up(h->sched, ev_now_ns(h->loop), &last->alloc, &r->alloc))
        return 0;
    if (head_run_stage(h, r, err) != 0)
        return -1;
    r->before = last;
    last->behind = r;
    if (!ev_timer_armed(&h->line_timer))
        ev_timer_set_after(h->loop, &h->line_timer, LOOK_NS);
    return 1;
}

int head_line_fill(struct head *h, struct err *err)
{
    LIST_FOR_EACH_SAFE(it, &h->lines) {
        struct head_run *first = CONTAINER_OF(it, struct head_run, line), *last = first;
        int depth = sched_line_depth(h->sched, &first->alloc);

        if (depth == 0 || is_late(h, first)) {
            if (!first->behind)
                list_remove(&first->line); /* it ends when it ends */
            continue;
        }
        for (; last->behind; last = last->behind)
            depth--;
        for (; depth > 0; depth--, last = last->behind) {
            int rc = line_up(h, last, err);
            if (rc <= 0)
                return rc; /* what can't stand here can't stand elsewhere, as a rule */
        }
    }
    return 0;
}

/* From the last one on, so that nobody moves up meanwhile. Those that the node can't give back at
 * once follow by themselves, or begin. */
static void take_back_behind(struct head *h, struct head_run *first)
{
    struct head_run *r = first;

    while (r->behind)
        r = r->behind;
    for (; r != first; r = r->before)
        if (node_take_back(h->node, &r->key))
            head_attempt_taken_back(&r->key, h);
}

void head_line_take_back(struct head *h)
{
    LIST_FOR_EACH(it, &h->lines)
        take_back_behind(h, CONTAINER_OF(it, struct head_run, line));
}

void head_on_line_timer(struct ev_timer *t)
{
    struct head *h = CONTAINER_OF(t, struct head, line_timer);
    bool more = false;

    LIST_FOR_EACH(it, &h->lines) {
        struct head_run *first = CONTAINER_OF(it, struct head_run, line);
        if (first->behind && is_late(h, first))
            take_back_behind(h, first);
        else
            more = more || first->behind;
    }
    if (more)
        ev_timer_set_after(h->loop, t, LOOK_NS);
}

bool head_line_can_wait(struct head *h)
{
    int64_t oldest = INT64_MAX;

    LIST_FOR_EACH(it, &h->ends) {
        const struct head_end *e = CONTAINER_OF(it, struct head_end, link);
        const struct head_job *j = map_get(&h->jobs, (uint64_t)e->end.key.job);
        const struct head_run *r = j ? j->run : NULL;
        if (e->applied || e->never_started || !r || !r->behind || !r->behind->behind)
            return false;
        if (e->came_ns < oldest)
            oldest = e->came_ns;
    }
    if (oldest == INT64_MAX || ev_now_ns(h->loop) - oldest >= GATHER_NS)
        return false;
    head_arm(h, oldest + GATHER_NS);
    return true;
}
