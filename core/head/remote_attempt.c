/* SPDX-License-Identifier: BSD-2-Clause */
/* Attempts on a far node: what was ordered, what became of it, and when it is given up. */
#include "head/remote_priv.h"

#include "base/str.h"

#include <inttypes.h>

#define FORGETS_MAX LINK_ATTEMPTS_MAX

static uint64_t id_of(const struct attempt_key *key)
{
    return (uint64_t)key->job << 16 | (uint64_t)key->number;
}

struct remote_attempt *remote_attempt_find(const struct remote *r, const struct attempt_key *key)
{
    return map_get(&r->attempts, id_of(key));
}

static struct remote_attempt *attempt_add(struct remote *r, const struct attempt_key *key)
{
    struct remote_attempt *t = mem_alloc(sizeof *t);

    t->key = *key;
    list_init(&t->wait);
    list_append(&r->all, &t->all);
    map_put(&r->attempts, id_of(key), t);
    r->running++;
    return t;
}

static void attempt_free(struct remote_attempt *t)
{
    list_remove(&t->all);
    list_remove(&t->wait);
    remote_output_fini(t);
    free(t->end);
    free(t);
}

static void wait_for(struct remote *r, struct remote_attempt *t, enum attempt_wait what)
{
    struct list *lists[] = { NULL, &r->unsent, &r->ending, &r->telling };

    list_remove(&t->wait);
    t->waits = what;
    if (lists[what])
        list_append(lists[what], &t->wait);
}

/* Of these lists the first is due first. */
static void arm_for(struct remote *r, struct ev_timer *timer, const struct list *waiting)
{
    if (!list_empty(waiting) && !ev_timer_armed(timer))
        ev_timer_set(r->loop, timer,
                     CONTAINER_OF(waiting->next, struct remote_attempt, wait)->due_ns);
}

static struct remote_attempt *first_due(struct remote *r, const struct list *waiting)
{
    struct remote_attempt *t =
        list_empty(waiting) ? NULL : CONTAINER_OF(waiting->next, struct remote_attempt, wait);

    return t && t->due_ns <= ev_now_ns(r->loop) ? t : NULL;
}

/* --- forgetting ------------------------------------------------------------------------------- */

static void forget(struct remote *r, const struct attempt_key *key)
{
    if (r->phase == PHASE_UP) {
        remote_conn_about(r, LINK_FORGET, key);
    } else if (r->forget_count < FORGETS_MAX) {
        if ((r->forget_count & (r->forget_count - 1)) == 0)
            r->forgets = mem_resize(r->forgets, r->forget_count ? 2 * r->forget_count : 1,
                                    sizeof *r->forgets);
        r->forgets[r->forget_count++] = *key;
    }
}

static void forget_kept(struct remote *r)
{
    for (size_t i = 0; i < r->forget_count; i++)
        remote_conn_about(r, LINK_FORGET, &r->forgets[i]);
    MEM_FREE(r->forgets);
    r->forget_count = 0;
}

/* Acknowledged, and nothing is to be fetched any more. */
static void drop_if_done(struct remote *r, struct remote_attempt *t)
{
    if (!t->acked || !remote_output_done(t))
        return;
    if (t->forget && !t->uncopied)
        forget(r, &t->key);
    map_remove(&r->attempts, id_of(&t->key));
    attempt_free(t);
}

void remote_forget(struct remote *r, const struct attempt_key *key)
{
    struct remote_attempt *t = remote_attempt_find(r, key);

    if (t)
        t->forget = true;
    else if (attempt_key_valid(key))
        forget(r, key);
}

bool remote_ack(struct remote *r, const struct attempt_key *key)
{
    struct remote_attempt *t = remote_attempt_find(r, key);
    bool copied = !t || !t->uncopied;

    if (!t || !t->told || t->acked)
        return copied;
    t->acked = true;
    if (r->phase == PHASE_UP && t->sent && !t->gone)
        remote_conn_about(r, LINK_ACK, &t->key);
    drop_if_done(r, t);
    return copied;
}

/* --- fates ------------------------------------------------------------------------------------ */

static void tell(struct remote *r, struct remote_attempt *t)
{
    wait_for(r, t, WAIT_TELL);
    remote_tell_soon(r);
}

void remote_attempts_told(struct remote *r, struct remote_attempt *t)
{
    wait_for(r, t, WAIT_NOTHING);
    t->told = true;
    r->running--;
}

void remote_attempt_settle(struct remote *r, struct remote_attempt *t,
                           const struct attempt_end *end, bool gone)
{
    if (t->over)
        return;
    t->over = true;
    t->gone = gone;
    if (end) {
        t->end = mem_dup(end, sizeof *end);
        t->end->key = t->key;
    }
    wait_for(r, t, WAIT_NOTHING);
    if (!end || gone)
        remote_output_give_up(r, t);
    else
        remote_output_hurry(r, t);
    if (remote_output_done(t)) {
        tell(r, t);
        return;
    }
    t->due_ns = ev_now_ns(r->loop) + REMOTE_OUTPUT_NS;
    wait_for(r, t, WAIT_OUTPUT);
    arm_for(r, &r->ending_due, &r->ending);
}

void remote_attempt_output_done(struct remote *r, struct remote_attempt *t)
{
    if (!remote_output_done(t))
        return;
    if (t->waits == WAIT_OUTPUT)
        tell(r, t);
    drop_if_done(r, t);
}

static void on_ending_due(struct ev_timer *timer)
{
    struct remote *r = CONTAINER_OF(timer, struct remote, ending_due);
    struct remote_attempt *t;

    while ((t = first_due(r, &r->ending)))
        tell(r, t);
    arm_for(r, timer, &r->ending);
}

/* What was never sent can't have started, whoever comes back. */
static void on_unsent_due(struct ev_timer *timer)
{
    struct remote *r = CONTAINER_OF(timer, struct remote, unsent_due);
    struct remote_attempt *t;

    while ((t = first_due(r, &r->unsent)))
        remote_attempt_settle(r, t, NULL, true);
    arm_for(r, timer, &r->unsent);
}

void remote_attempt_on_ended(struct remote *r, const struct link_msg *m)
{
    struct remote_attempt *t = remote_attempt_find(r, &m->key);

    if (!t)
        remote_conn_complain(r,
                             "it reports the end of job %" PRId64 " attempt %" PRId32
                             ", which is not known to be there",
                             m->key.job, m->key.number);
    else /* once more after a reconnect: it is told, or about to be */
        remote_attempt_settle(r, t, &m->end, false);
}

void remote_attempt_on_never_started(struct remote *r, const struct link_msg *m)
{
    struct remote_attempt *t = remote_attempt_find(r, &m->key);

    if (!t)
        remote_conn_complain(r,
                             "it says of job %" PRId64 " attempt %" PRId32
                             " that it never started, which is not known to be there",
                             m->key.job, m->key.number);
    else
        remote_attempt_settle(r, t, NULL, false);
}

void remote_attempt_on_refused(struct remote *r, const struct link_msg *m)
{
    struct remote_attempt *t = remote_attempt_find(r, &m->key);

    if (!t || t->over)
        return;
    if (m->key.fence > r->fence)
        remote_conn_drop(r, "it serves a later start of the daemon: %s", m->message);
    else if (!str_eq(m->kind, err_kind_name(ERR_CONFLICT))) /* that is: it is there already */
        remote_attempt_settle(r, t, NULL, false);
}

/* --- the lease -------------------------------------------------------------------------------- */

static void lose(struct remote *r, struct remote_attempt *t)
{
    struct attempt_end end = { .key = t->key, .outcome = ATTEMPT_LOST, .code = -1 };
    struct buf b = BUF_INIT;

    str_format_duration(&b, (ev_now_ns(r->loop) - r->heard_ns) / NS_PER_S * NS_PER_S);
    snprintf(end.message, sizeof end.message, "node %.128s was not heard of for %s", r->name,
             buf_data(&b));
    buf_fini(&b);
    remote_attempt_settle(r, t, &end, true);
}

/* When it has ended for sure. */
static int64_t lease_end(const struct remote *r)
{
    return r->renewed_ns + r->lease_ns + LINK_LEASE_GRACE_S * NS_PER_S + REMOTE_MARGIN_NS;
}

static void on_lease_due(struct ev_timer *timer)
{
    struct remote *r = CONTAINER_OF(timer, struct remote, lease);
    size_t lost = 0;

    if (ev_now_ns(r->loop) < lease_end(r)) { /* a welcome was sent since */
        ev_timer_set(r->loop, timer, lease_end(r));
        return;
    }
    LIST_FOR_EACH_SAFE(it, &r->all) {
        struct remote_attempt *t = CONTAINER_OF(it, struct remote_attempt, all);
        if (!t->sent)
            continue;
        lost += !t->over;
        if (!t->over) {
            lose(r, t);
            continue;
        }
        /* What is left of its output may never come. */
        remote_output_give_up(r, t);
        remote_attempt_output_done(r, t);
    }
    if (lost > 0)
        log_warning(r->log, "node %s stays away: %zu jobs there are lost", r->name, lost);
}

static void arm_lease(struct remote *r)
{
    if (r->phase != PHASE_UP)
        ev_timer_set(r->loop, &r->lease, lease_end(r));
}

/* --- orders ----------------------------------------------------------------------------------- */

static int check_new(const struct remote *r, const struct attempt_key *key, struct err *err)
{
    if (!attempt_key_valid(key) || key->fence > LINK_FENCE_MAX)
        return err_set(err, ERR_INVALID, "job %" PRId64 " attempt %" PRId32 ": out of range",
                       key->job, key->number);
    if (remote_attempt_find(r, key))
        return err_set(err, ERR_CONFLICT, "job %" PRId64 " attempt %" PRId32 " is there already",
                       key->job, key->number);
    if (map_count(&r->attempts) >= LINK_ATTEMPTS_MAX)
        return err_set(err, ERR_UNAVAILABLE, "node %s has %d attempts already", r->name,
                       LINK_ATTEMPTS_MAX);
    return 0;
}

/* As the node will read it: what it would refuse has no fate there. */
static int encode_order(const struct remote_order *o, struct buf *line, struct err *err)
{
    struct link_msg got, m = { .type = LINK_RUN,
                               .key = o->run.key,
                               .run = o->run,
                               .inherit_env = o->inherit_env,
                               .workdir_fallback = o->workdir_fallback,
                               .head_home = o->home };

    if (link_msg_encode(&m, line, err) != 0 ||
        link_msg_decode(buf_data(line), buf_len(line), &got, err) != 0)
        return -1;
    link_msg_fini(&got);
    return 0;
}

int remote_run(struct remote *r, const struct remote_order *o, struct err *err)
{
    struct buf line = BUF_INIT;
    struct remote_attempt *t;
    int rc = check_new(r, &o->run.key, err);

    if (rc == 0)
        rc = encode_order(o, &line, err);
    if (rc == 0) {
        t = attempt_add(r, &o->run.key);
        remote_output_add(t, o->run.stdout_path, o->run.stderr_path);
        if (r->phase == PHASE_UP) {
            t->sent = true;
            remote_conn_send_line(r, &line);
            remote_output_begin(r, t);
        } else {
            t->due_ns = ev_now_ns(r->loop) + REMOTE_UNSENT_NS;
            wait_for(r, t, WAIT_SEND);
            arm_for(r, &r->unsent_due, &r->unsent);
        }
    }
    buf_fini(&line);
    return rc;
}

int remote_adopt(struct remote *r, const struct attempt_key *key, const char *stdout_path,
                 const char *stderr_path, struct err *err)
{
    struct remote_attempt *t;

    if (check_new(r, key, err) != 0)
        return -1;
    if (r->phase != PHASE_NONE)
        return err_set(err, ERR_CONFLICT, "node %s is connected already", r->name);
    t = attempt_add(r, key);
    t->sent = true;
    remote_output_add(t, stdout_path, stderr_path);
    /* Our former life may have renewed its lease until now. */
    r->renewed_ns = r->heard_ns = ev_now_ns(r->loop);
    arm_lease(r);
    return 0;
}

static void send_kill(struct remote *r, const struct remote_attempt *t)
{
    struct link_msg m = { .type = LINK_KILL, .key = t->key, .grace_ns = t->grace_ns };

    m.key.fence = r->fence;
    remote_conn_send(r, &m);
}

void remote_kill(struct remote *r, const struct attempt_key *key, int64_t grace_ns)
{
    struct remote_attempt *t = remote_attempt_find(r, key);

    if (!t || t->over)
        return;
    if (grace_ns < 0)
        grace_ns = 0;
    if (!t->killed || grace_ns < t->grace_ns)
        t->grace_ns = grace_ns;
    t->killed = true;
    if (!t->sent)
        remote_attempt_settle(r, t, NULL, true);
    else if (r->phase == PHASE_UP)
        send_kill(r, t);
}

void remote_signal(struct remote *r, const struct attempt_key *key, int signo)
{
    struct remote_attempt *t = remote_attempt_find(r, key);
    struct link_msg m = { .type = LINK_SIGNAL, .signo = signo };

    if (!t || t->over || r->phase != PHASE_UP || signo < 1 || signo > 64)
        return;
    m.key = t->key;
    m.key.fence = r->fence;
    remote_conn_send(r, &m);
}

/* --- coming and going ------------------------------------------------------------------------- */

/* What was never sent is not named: a node that has no memory of a former boot couldn't tell it from
 * what it ran then, and would call it lost. Those whose end was told, but not acknowledged, too: the node mustn't think that nobody asks for
 * what it knows of a time before its last boot. */
struct attempt_key *remote_attempts_name(struct remote *r, size_t *count)
{
    struct attempt_key *keys = mem_alloc_array(map_count(&r->attempts) + 1, sizeof *keys);
    size_t n = 0;

    LIST_FOR_EACH(it, &r->all) {
        struct remote_attempt *t = CONTAINER_OF(it, struct remote_attempt, all);
        if (t->sent && !t->gone && !t->acked)
            keys[n++] = t->key;
    }
    *count = n;
    return keys;
}

/* Both agree: the fate of all that was named will be said. */
void remote_attempts_up(struct remote *r)
{
    ev_timer_clear(&r->lease);
    forget_kept(r);
    LIST_FOR_EACH_SAFE(it, &r->all) {
        struct remote_attempt *t = CONTAINER_OF(it, struct remote_attempt, all);
        if (t->waits == WAIT_SEND)
            remote_attempt_settle(r, t, NULL, true);
        if (t->killed && !t->over)
            send_kill(r, t);
        if (t->sent)
            remote_output_begin(r, t);
    }
}

void remote_attempts_away(struct remote *r)
{
    remote_output_away(r);
    arm_lease(r);
}

/* --- life ------------------------------------------------------------------------------------- */

void remote_attempts_init(struct remote *r)
{
    map_init(&r->attempts);
    list_init(&r->all);
    list_init(&r->unsent);
    list_init(&r->ending);
    list_init(&r->telling);
    r->unsent_due.fn = on_unsent_due;
    r->ending_due.fn = on_ending_due;
    r->lease.fn = on_lease_due;
}

void remote_attempts_fini(struct remote *r)
{
    ev_timer_clear(&r->unsent_due);
    ev_timer_clear(&r->ending_due);
    ev_timer_clear(&r->lease);
    ev_timer_clear(&r->rotate);
    LIST_FOR_EACH_SAFE(it, &r->all)
        attempt_free(CONTAINER_OF(it, struct remote_attempt, all));
    map_fini(&r->attempts);
    free(r->forgets);
}
