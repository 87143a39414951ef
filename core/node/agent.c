/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of an agent. */
#include "node/agent.h"

#include "base/mem.h"
#include "base/str.h"
#include "node/agent_priv.h"
#include "sys/sys.h"

#include <inttypes.h>
#include <sys/utsname.h>
#include <unistd.h>

#define WELCOME_NS (60 * NS_PER_S) /* a head that says nothing is no head */

/* --- ending ----------------------------------------------------------------------------------- */

void agent_finish(struct agent *a, const struct err *err)
{
    if (a->state == AGENT_DONE)
        return;
    a->state = AGENT_DONE;
    if (err)
        a->failure = *err;
    ev_timer_clear(&a->lease);
    ev_timer_clear(&a->sample);
    take_stop(a);
    ev_again(a->loop);
}

static bool idle(const struct agent *a)
{
    return !a->node || node_running(a->node) == 0;
}

void agent_lost(struct agent *a)
{
    bool was = a->connected;

    if (a->state == AGENT_DONE) {
        link_close(a);
        return;
    }
    link_close(a);
    reads_end(a);
    ev_timer_clear(&a->sample);
    if (was && a->alone)
        a->alone(a->arg);
    if (a->state == AGENT_SERVING)
        a->state = AGENT_ALONE;
    if (a->state == AGENT_ALONE && !idle(a))
        log_info(a->log, "no connection to the head; %zu jobs go on for at most %" PRId64 " s",
                 node_running(a->node), a->lease_ns / NS_PER_S);
    /* The agent before us was asked to let go already: somebody has to watch the lease. */
    if (a->state != AGENT_TAKING && idle(a))
        agent_finish(a, NULL);
    ev_again(a->loop);
}

void agent_end_lease(struct agent *a)
{
    size_t pos = 0;
    struct agent_attempt *t;

    log_warning(a->log, "heard nothing from the head for %" PRId64 " s; ending all that runs",
                a->lease_ns / NS_PER_S);
    a->state = AGENT_ENDING;
    while ((t = map_next(&a->attempts, &pos, NULL)))
        if (!t->over)
            node_kill(a->node, &t->key, LINK_LEASE_GRACE_S * NS_PER_S);
    ev_again(a->loop);
}

static void lease_due(struct ev_timer *t)
{
    struct agent *a = CONTAINER_OF(t, struct agent, lease);
    bool greeting = a->state == AGENT_GREETING;
    int64_t due = a->renewed_ns + (greeting ? WELCOME_NS : a->lease_ns);
    struct err err = ERR_INIT;

    if (ev_now_ns(a->loop) < due) {
        ev_timer_set(a->loop, t, due);
    } else if (greeting) {
        err_set(&err, ERR_TIMEOUT, "no head said welcome within %d s",
                (int)(WELCOME_NS / NS_PER_S));
        link_error(a, NULL, &err);
        agent_finish(a, &err);
    } else if (a->state == AGENT_SERVING || a->state == AGENT_ALONE) {
        agent_end_lease(a);
    } /* else: taking over, which has an end of its own, and arms it again */
}

/* --- the end of a turn ------------------------------------------------------------------------ */

static void say_done(struct agent *a)
{
    void (*done)(int rc, const struct err *err, void *arg) = a->done;

    a->done = NULL;
    if (done)
        done(a->failure.kind ? -1 : 0, &a->failure, a->arg);
}

static bool is_over(const struct agent *a)
{
    if (a->state == AGENT_ALONE || a->state == AGENT_ENDING)
        return idle(a);
    return a->state == AGENT_SERVING && a->draining && idle(a) && map_count(&a->attempts) == 0;
}

static void turn_end(struct ev_hook *h)
{
    struct agent *a = CONTAINER_OF(h, struct agent, turn_end);
    bool full;

    link_handle(a);
    serve_pump(a);
    full = a->connected && !link_has_room(a);
    link_flush(a);
    if (full && link_has_room(a)) /* what waited for room has no other event to wait for */
        ev_again(a->loop);
    if (is_over(a))
        agent_finish(a, NULL);
    if (a->state == AGENT_DONE)
        say_done(a);
}

/* --- life ------------------------------------------------------------------------------------- */

static void say_hello(struct agent *a)
{
    struct utsname u;
    struct link_msg m = { .type = LINK_HELLO,
                          .v = LINK_VERSION,
                          .name = a->host,
                          .version = a->version,
                          .boot_id = a->boot_id,
                          .threads = sys_usable_cpus(),
                          .memory_total_bytes = sys_memory_total() };
    char *os = NULL;

    if (uname(&u) == 0) {
        m.arch = u.machine;
        m.os = os = mem_printf("%s %s", u.sysname, u.release);
    }
    link_send(a, &m);
    free(os);
}

struct agent *agent_create(struct ev_loop *loop, const struct log *log,
                           const struct agent_config *cfg, struct err *err)
{
    struct agent *a = mem_alloc(sizeof *a);

    a->loop = loop;
    a->log = log;
    a->done = cfg->done;
    a->alone = cfg->alone;
    a->arg = cfg->arg;
    a->state_base = mem_strdup(cfg->state_dir);
    a->runtime_base = mem_strdup(cfg->runtime_dir);
    a->version = mem_strdup(cfg->version);
    a->idle_shims = cfg->idle_shims;
    a->host = state_host_name();
    a->state_fd = a->lock_fd = a->lease_fd = -1;
    a->renewed_ns = ev_now_ns(loop);
    a->lease.fn = lease_due;
    a->turn_end.fn = turn_end;
    map_init(&a->attempts);
    list_init(&a->running);
    list_init(&a->unsent);
    list_init(&a->reads_ready);
    list_init(&a->reads_waiting);
    sys_boot_id(a->boot_id, sizeof a->boot_id);
    ev_hook_add(loop, &a->turn_end);
    if (link_open(a, cfg->in_fd, cfg->out_fd, err) != 0) {
        agent_destroy(a);
        return NULL;
    }
    ev_timer_set_after(loop, &a->lease, WELCOME_NS);
    say_hello(a);
    ev_again(loop);
    return a;
}

void agent_destroy(struct agent *a)
{
    if (!a)
        return;
    link_flush(a);
    link_close(a);
    ev_hook_remove(&a->turn_end);
    ev_timer_clear(&a->lease);
    take_stop(a);
    reads_end(a);
    serve_end(a);
    orders_end(a);
    if (a->lease_fd >= 0)
        close(a->lease_fd);
    if (a->state_fd >= 0)
        close(a->state_fd);
    /* Last: until here the state folder is ours. */
    if (a->lock_fd >= 0)
        close(a->lock_fd);
    free(a->state_base);
    free(a->runtime_base);
    free(a->version);
    free(a->host);
    free(a->head);
    free(a->state_dir);
    free(a->runtime_dir);
    free(a);
}
