/* SPDX-License-Identifier: BSD-2-Clause */
/* From a welcome to serving: the agent before us lets go. */
#include "base/mem.h"

#include "node/agent_priv.h"

#include <inttypes.h>
#include <signal.h>

#define LOOK_NS (20 * NS_PER_MS)
#define PATIENCE_NS (5 * NS_PER_S) /* then it is killed */
#define GIVE_UP_NS (15 * NS_PER_S)

static int refuse_stale(struct agent *a, struct err *err)
{
    if (a->welcome.key.fence >= a->fence)
        return 0;
    return err_set(err, ERR_CONFLICT,
                   "stale fence %" PRIu64 ": this node has been told %" PRIu64
                   " by a later start of the daemon",
                   a->welcome.key.fence, a->fence);
}

/* Not ours to serve, or it can't be done: the head is told, and that is all. */
static void fail(struct agent *a, const struct err *err)
{
    link_error(a, &a->welcome, err);
    agent_finish(a, err);
}

static void begin(struct agent *a)
{
    struct err err = ERR_INIT;

    /* The agent before us may have heard of a higher one. */
    if (state_read_fence(a, &err) != 0 || refuse_stale(a, &err) != 0 || serve_begin(a, &err) != 0)
        fail(a, &err);
}

static void look(struct agent *a)
{
    int64_t waited = ev_now_ns(a->loop) - a->take_since_ns;
    struct err err = ERR_INIT;
    int got = state_lock(a, &err);

    if (got == 0 && waited >= GIVE_UP_NS) {
        err_set(&err, ERR_CONFLICT, "another agent serves this head and doesn't let go");
        err_hint(&err, "see who has %s/lock open", a->state_dir);
        got = -1;
    }
    if (got < 0) {
        fail(a, &err);
    } else if (got > 0) {
        begin(a);
    } else {
        /* It may have been starting when it was asked, and not have had its pid written down. */
        if (waited >= PATIENCE_NS)
            state_signal_holder(a, SIGKILL);
        else if (!a->take_asked)
            a->take_asked = state_signal_holder(a, SIGTERM);
        ev_timer_set_after(a->loop, &a->take, LOOK_NS);
    }
}

static void take_due(struct ev_timer *t)
{
    look(CONTAINER_OF(t, struct agent, take));
}

void take_welcome(struct agent *a, struct link_msg *m)
{
    struct err err = ERR_INIT;

    a->welcome = *m;
    m->owned = NULL;
    a->state = AGENT_TAKING;
    a->take.fn = take_due;
    a->take_since_ns = ev_now_ns(a->loop);
    if (m->v != LINK_VERSION)
        err_set(&err, ERR_VERSION,
                "the head speaks version %" PRId64 " of the link protocol, not %d", m->v,
                LINK_VERSION);
    /* Asked before anything is done to the agent before us: it may serve a later head. */
    if (err.kind || state_open(a, a->welcome.head, &err) != 0 || refuse_stale(a, &err) != 0)
        fail(a, &err);
    else
        look(a);
}

void take_stop(struct agent *a)
{
    ev_timer_clear(&a->take);
    link_msg_fini(&a->welcome);
}
