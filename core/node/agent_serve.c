/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent does for its head once both have agreed on what runs. */
#include "base/mem.h"

#include "node/agent_priv.h"
#include "node/link_sample.h"

#include "base/str.h"
#include "sys/sample.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

static uint64_t attempt_id(const struct attempt_key *key)
{
    return (uint64_t)key->job << 16 | (uint64_t)key->number;
}

struct agent_attempt *serve_find(const struct agent *a, const struct attempt_key *key)
{
    return map_get(&a->attempts, attempt_id(key));
}

static struct agent_attempt *attempt_add(struct agent *a, const struct attempt_key *key)
{
    struct agent_attempt *t = mem_alloc(sizeof *t);

    t->key = *key;
    list_init(&t->link);
    list_append(&a->running, &t->link);
    map_put(&a->attempts, attempt_id(key), t);
    return t;
}

static void attempt_drop(struct agent *a, struct agent_attempt *t)
{
    list_remove(&t->link);
    map_remove(&a->attempts, attempt_id(&t->key));
    if (t->before_boot) {
        a->before_boot--;
        state_note_boot(a);
    }
    free(t->end);
    free(t);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void attempt_over(struct agent *a, struct agent_attempt *t, const struct attempt_end *end)
{
    t->over = true;
    list_remove(&t->link);
    reads_look(a);
    if (t->unwanted) {
        attempt_drop(a, t);
        return;
    }
    if (end) {
        t->end = mem_dup(end, sizeof *end);
        t->end->key = t->key;
    }
    list_append(&a->unsent, &t->link);
}

static void on_ended(const struct attempt_end *end, void *arg)
{
    struct agent *a = arg;
    struct agent_attempt *t = serve_find(a, &end->key);

    if (!t || t->over)
        return;
    attempt_over(a, t, end);
    t = serve_find(a, &end->key);
    if (!t)
        return;
    if (a->state == AGENT_ENDING && end->outcome == ATTEMPT_CANCELLED && !end->message[0])
        snprintf(t->end->message, sizeof t->end->message,
                 "the node heard nothing from its head for %" PRId64 " s", a->lease_ns / NS_PER_S);
    else if (a->fresh && t->before_boot && end->outcome == ATTEMPT_LOST)
        str_copy(t->end->message, sizeof t->end->message,
                 "the node's state folder was emptied while it ran");
}

static void on_never_started(const struct attempt_key *key, void *arg)
{
    struct agent_attempt *t = serve_find(arg, key);

    if (t && !t->over)
        attempt_over(arg, t, NULL);
}

static void send_end(struct agent *a, struct agent_attempt *t)
{
    struct link_msg m = { .type = t->end ? LINK_ENDED : LINK_NEVER_STARTED, .key = t->key };

    if (t->end)
        m.end = *t->end;
    link_send(a, &m);
    list_remove(&t->link);
}

/* --- samples ---------------------------------------------------------------------------------- */

static struct link_use *measure_uses(struct agent *a, size_t *count)
{
    size_t most =
        node_running(a->node) < LINK_ATTEMPTS_MAX ? node_running(a->node) : LINK_ATTEMPTS_MAX;
    struct node_use *got = mem_alloc_array(most + 1, sizeof *got);
    struct link_use *uses = mem_alloc_array(most + 1, sizeof *uses);

    *count = node_measure_uses(a->node, got, most);
    for (size_t i = 0; i < *count; i++) {
        uses[i] = (struct link_use){ got[i].key, got[i].cpu_ns, got[i].memory_bytes };
        uses[i].key.fence = 0;
    }
    free(got);
    return uses;
}

static void send_sample(struct agent *a)
{
    const struct sample *s = node_measure(a->node);
    struct link_msg m = { .type = LINK_SAMPLE };
    struct link_sample_room room;
    struct link_use *uses;

    a->sample_due = false;
    if (!s)
        return;
    link_sample_fill(&m.sample, s, &room);
    m.sample.memory_total_bytes = sys_memory_total();
    m.sample.running = (int64_t)node_running(a->node);
    m.sample.uses = uses = measure_uses(a, &m.sample.use_count);
    link_send(a, &m);
    free(uses);
}

static void sample_due(struct ev_timer *t)
{
    struct agent *a = CONTAINER_OF(t, struct agent, sample);

    a->sample_due = true;
    ev_timer_set_after(a->loop, t, a->interval_ns);
}

static void measure_each(struct agent *a, int64_t interval_s)
{
    a->interval_ns = interval_s * NS_PER_S;
    a->sample_due = false;
    if (a->interval_ns > 0)
        ev_timer_set_after(a->loop, &a->sample, 0);
    else
        ev_timer_clear(&a->sample);
}

/* What wasn't sent for want of room is measured when there is: only the newest counts. */
void serve_pump(struct agent *a)
{
    if (!a->node)
        return;
    while (link_has_room(a) && !list_empty(&a->unsent))
        send_end(a, CONTAINER_OF(a->unsent.next, struct agent_attempt, link));
    reads_pump(a);
    if (a->sample_due && link_has_room(a))
        send_sample(a);
}

/* --- messages --------------------------------------------------------------------------------- */

static void refuse(struct agent *a, const struct link_msg *m, enum err_kind kind, const char *why)
{
    struct err err = ERR_INIT;

    err_set(&err, kind, "%s", why);
    link_error(a, m, &err);
}

/* True when it was ordered by an earlier start of the head than the node knows of. */
static bool is_stale(struct agent *a, const struct link_msg *m)
{
    struct err err = ERR_INIT;

    if (m->key.fence == 0 || m->key.fence >= a->fence)
        return false;
    err_set(&err, ERR_CONFLICT,
            "stale fence %" PRIu64 ": this node has been told %" PRIu64
            " by a later start of the daemon",
            m->key.fence, a->fence);
    link_error(a, m, &err);
    return true;
}

static void on_run(struct agent *a, const struct link_msg *m)
{
    struct attempt_end end = { .key = m->key, .outcome = ATTEMPT_NOT_RUN, .code = 125 };
    struct err err = ERR_INIT;
    struct agent_order o;
    struct agent_before before[2];
    int rc;

    if (a->draining) {
        refuse(a, m, ERR_UNAVAILABLE, "this node is being drained");
        return;
    }
    if (serve_find(a, &m->key)) {
        refuse(a, m, ERR_CONFLICT, "this attempt is here already");
        return;
    }
    order_fill(a, m, &o);
    reads_look_before(&o.run, before);
    rc = state_note_fence(a, m->key.fence, &err) == 0 ? node_run(a->node, &o.run, &err) : -1;
    order_fini(&o);
    if (rc == 0) {
        memcpy(attempt_add(a, &m->key)->before, before, sizeof before);
        return;
    }
    end.finished_ns = clock_wall_ns(ev_clock(a->loop));
    str_copy(end.message, sizeof end.message, err.msg);
    attempt_over(a, attempt_add(a, &m->key), &end);
}

static void on_kill(struct agent *a, const struct link_msg *m)
{
    node_kill(a->node, &m->key, m->grace_ns);
}

static void on_signal(struct agent *a, const struct link_msg *m)
{
    node_signal(a->node, &m->key, m->signo);
}

static void on_take_back(struct agent *a, const struct link_msg *m)
{
    refuse(a, m, ERR_UNAVAILABLE, "this version takes nothing back");
}

static void on_ack(struct agent *a, const struct link_msg *m)
{
    struct agent_attempt *t = serve_find(a, &m->key);

    if (t && t->over)
        attempt_drop(a, t);
    else if (t)
        refuse(a, m, ERR_CONFLICT, "this attempt has not ended");
}

static void on_forget(struct agent *a, const struct link_msg *m)
{
    struct agent_attempt *t = serve_find(a, &m->key);
    struct err err = ERR_INIT;

    if (t && !t->over) {
        refuse(a, m, ERR_CONFLICT, "this attempt has not ended");
        return;
    }
    if (t)
        attempt_drop(a, t);
    if (attempt_remove(a->state_fd, &m->key, &err) != 0)
        link_error(a, m, &err);
}

static void on_read(struct agent *a, const struct link_msg *m)
{
    reads_begin(a, m);
}

static void on_stop_read(struct agent *a, const struct link_msg *m)
{
    reads_stop(a, m->id);
}

static void on_measure(struct agent *a, const struct link_msg *m)
{
    measure_each(a, m->interval_s);
}

static void on_ping(struct agent *a, const struct link_msg *m)
{
    int64_t now = ev_now_ns(a->loop);
    struct link_msg pong = { .type = LINK_PONG, .id = m->id, .stamp = now };

    if (m->stamp > a->renewed_ns && m->stamp <= now)
        a->renewed_ns = m->stamp;
    state_note_lease(a);
    link_send(a, &pong);
}

static void on_drain(struct agent *a, const struct link_msg *m)
{
    (void)m;
    a->draining = true;
}

/* What a node is told; the rest of the types it says itself. */
static void (*const handlers[LINK_TYPE_COUNT])(struct agent *a, const struct link_msg *m) = {
    [LINK_RUN] = on_run,
    [LINK_KILL] = on_kill,
    [LINK_SIGNAL] = on_signal,
    [LINK_TAKE_BACK] = on_take_back,
    [LINK_ACK] = on_ack,
    [LINK_READ] = on_read,
    [LINK_STOP_READ] = on_stop_read,
    [LINK_FORGET] = on_forget,
    [LINK_MEASURE] = on_measure,
    [LINK_PING] = on_ping,
    [LINK_DRAIN] = on_drain,
};

void serve_message(struct agent *a, const struct link_msg *m)
{
    if (!handlers[m->type])
        refuse(a, m, ERR_INVALID,
               m->type == LINK_WELCOME ? "there was a welcome already"
                                       : "only a node says such a thing");
    else if (!a->node && m->type != LINK_PING)
        refuse(a, m, ERR_CONFLICT, "there was no welcome yet");
    else if (!is_stale(a, m))
        handlers[m->type](a, m);
}

/* --- beginning and end ------------------------------------------------------------------------ */

/* Jobs' helpers outlive the connection: they must not hold its stderr open, or the channel of an
 * SSH session would never close. */
static int start_spawner(struct agent *a, struct err *err)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    if (null >= 0)
        dup2(null, STDERR_FILENO);
    fd = spawner_start(a->state_dir, a->runtime_dir, err);
    if (saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
    }
    if (null >= 0)
        close(null);
    return fd;
}

static int open_node(struct agent *a, struct err *err)
{
    struct node_config cfg = { .state_dir = a->state_dir,
                               .runtime_dir = a->runtime_dir,
                               .spawner_fd = start_spawner(a, err),
                               .idle_shims = a->idle_shims,
                               .slots = sys_usable_cpus() };
    struct node_hooks hooks = { .ended = on_ended, .never_started = on_never_started, .arg = a };

    if (cfg.spawner_fd < 0)
        return -1;
    a->node = node_create(a->loop, a->log, &cfg, &hooks, err);
    return a->node ? 0 : -1;
}

static int adopt_named(struct agent *a, struct err *err)
{
    for (size_t i = 0; i < a->welcome.attempt_count; i++) {
        const struct attempt_key *key = &a->welcome.attempts[i];
        struct agent_attempt *t;

        if (serve_find(a, key))
            continue;
        if (node_adopt(a->node, key, a->rebooted, err) != 0)
            return -1;
        t = attempt_add(a, key);
        t->before_boot = a->rebooted;
        a->before_boot += a->rebooted;
    }
    return 0;
}

/* Runs here, and the head doesn't know it (any more). It was ordered before this welcome, as the
 * fence shows: a later head's welcome would have made this one stale. */
static int adopt_unwanted(struct agent *a, const struct attempt_key *key)
{
    struct agent_attempt *t = serve_find(a, key);

    if (t || node_adopt(a->node, key, false, NULL) != 0)
        return 0;
    log_warning(a->log,
                "job %" PRId64 " attempt %" PRId32 " runs here, which its head doesn't know; ended",
                key->job, key->number);
    t = attempt_add(a, key);
    t->unwanted = true;
    node_kill(a->node, key, LINK_LEASE_GRACE_S * NS_PER_S);
    if (a->unwanted_count < LINK_ATTEMPTS_MAX) {
        a->unwanted = mem_resize(a->unwanted, a->unwanted_count + 1, sizeof *a->unwanted);
        a->unwanted[a->unwanted_count++] = *key;
    }
    return 0;
}

static void say_agreed(struct agent *a)
{
    struct link_msg m = { .type = LINK_AGREED,
                          .memory_note = node_memory_note(a->node),
                          .state_dir = a->state_dir,
                          .attempts = a->welcome.attempts,
                          .attempt_count = a->welcome.attempt_count,
                          .unwanted = a->unwanted,
                          .unwanted_count = a->unwanted_count };

    link_send(a, &m);
    MEM_FREE(a->unwanted);
    a->unwanted_count = 0;
}

int serve_begin(struct agent *a, struct err *err)
{
    int64_t lease_s = a->welcome.lease_s ? a->welcome.lease_s : LINK_LEASE_DEFAULT_S;

    if (state_note_fence(a, a->welcome.key.fence, err) != 0 || state_read_boot(a, err) != 0 ||
        open_node(a, err) != 0 || adopt_named(a, err) != 0 ||
        state_each_alive(a, adopt_unwanted, err) != 0)
        return -1;
    state_note_boot(a);
    say_agreed(a);
    a->lease_ns = lease_s * NS_PER_S;
    ev_timer_set(a->loop, &a->lease, a->renewed_ns + a->lease_ns);
    state_note_lease(a);
    a->sample.fn = sample_due;
    /* The connection may have been lost meanwhile. */
    a->state = a->connected ? AGENT_SERVING : AGENT_ALONE;
    if (a->connected)
        measure_each(a, a->welcome.sample_interval_s);
    link_msg_fini(&a->welcome);
    ev_again(a->loop);
    return 0;
}

void serve_end(struct agent *a)
{
    struct agent_attempt *t;
    size_t pos = 0;

    ev_timer_clear(&a->sample);
    node_destroy(a->node);
    a->node = NULL;
    while ((t = map_next(&a->attempts, &pos, NULL))) {
        free(t->end);
        free(t);
    }
    map_fini(&a->attempts);
    MEM_FREE(a->unwanted);
}
