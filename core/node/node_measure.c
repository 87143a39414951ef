/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine's measurements, more often while somebody looks. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "node/node_internal.h"

#define SELDOM_NS (10 * NS_PER_S)
#define OFTEN_NS (2 * NS_PER_S)

static void measure_due(struct ev_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, measure);
    bool looked_at = n->often && ev_now_ns(n->loop) - n->looked_ns < SELDOM_NS;

    n->sample = sampler_take(n->sampler);
    ev_timer_set_after(n->loop, t, looked_at ? OFTEN_NS : SELDOM_NS);
}

void measure_begin(struct node *n)
{
    const char *folders[] = { n->state_dir, NULL };
    struct sampler_options options = { .clock = ev_clock(n->loop), .folders = folders };
    struct err err = ERR_INIT;

    n->measure.fn = measure_due;
    n->sampler = sampler_create(&options, &err);
    if (!n->sampler) {
        log_warning(n->log, "this machine is not measured: %s", err.msg);
        return;
    }
    measure_due(&n->measure);
}

void measure_end(struct node *n)
{
    ev_timer_clear(&n->measure);
    sampler_destroy(n->sampler);
    sampler_destroy(n->trees);
    n->sampler = n->trees = NULL;
    n->sample = NULL;
}

const struct sample *node_measure(struct node *n)
{
    int64_t now = ev_now_ns(n->loop);

    if (!n->sampler)
        return NULL;
    n->often = n->looked_ns && now - n->looked_ns < SELDOM_NS / 2;
    n->looked_ns = now;
    /* The last one may be ten seconds old, and is what the rates are against. */
    if (!ev_timer_armed(&n->measure) || n->measure.due_ns - now > OFTEN_NS) {
        n->sample = sampler_take(n->sampler);
        ev_timer_set_after(n->loop, &n->measure, n->often ? OFTEN_NS : SELDOM_NS);
    }
    return n->sample;
}
