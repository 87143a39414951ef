/* SPDX-License-Identifier: BSD-2-Clause */
/* A far node: its life, and the hooks, which are all called from one timer: whoever is told may call
 * anything then. */
#include "head/remote_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* --- hooks ------------------------------------------------------------------------------------ */

void remote_tell_soon(struct remote *r)
{
    if (!ev_timer_armed(&r->tell))
        ev_timer_set_after(r->loop, &r->tell, 0);
}

void remote_note_change(struct remote *r)
{
    r->changed = true;
    remote_tell_soon(r);
}

static void tell_fate(struct remote *r)
{
    struct remote_attempt *t = CONTAINER_OF(r->telling.next, struct remote_attempt, wait);
    struct attempt_key key = t->key;
    struct attempt_end *end = t->end; /* acknowledged in the hook, it is gone */

    t->end = NULL;
    remote_attempts_told(r, t);
    if (end && r->hooks.ended)
        r->hooks.ended(end, r->hooks.arg);
    else if (!end && r->hooks.never_started)
        r->hooks.never_started(&key, r->hooks.arg);
    free(end);
}

static void tell_sample(struct remote *r)
{
    struct link_msg *m = r->sample;

    r->sample = NULL;
    if (!m)
        return;
    if (r->hooks.sample)
        r->hooks.sample(&m->sample, r->hooks.arg);
    link_msg_fini(m);
    free(m);
}

static void tell_due(struct ev_timer *timer)
{
    struct remote *r = CONTAINER_OF(timer, struct remote, tell);

    if (r->changed) {
        r->changed = false;
        if (r->hooks.changed)
            r->hooks.changed(r, r->hooks.arg);
    }
    while (!list_empty(&r->telling))
        tell_fate(r);
    tell_sample(r);
}

/* --- what is known ---------------------------------------------------------------------------- */

void remote_set_fact(struct remote *r, int fact, const char *text)
{
    const char **const shown[FACT_COUNT] = {
        [FACT_NAME] = &r->facts.name,       [FACT_VERSION] = &r->facts.version,
        [FACT_ARCH] = &r->facts.arch,       [FACT_OS] = &r->facts.os,
        [FACT_BOOT] = &r->facts.boot_id,    [FACT_NOTE] = &r->facts.memory_note,
        [FACT_STATE] = &r->facts.state_dir,
    };

    free(r->fact_text[fact]);
    *shown[fact] = r->fact_text[fact] = mem_strdup(text ? text : "");
    remote_note_change(r);
}

bool remote_connected(const struct remote *r)
{
    return r->phase != PHASE_NONE;
}

enum remote_state remote_state(const struct remote *r)
{
    return r->phase == PHASE_UP ? REMOTE_UP : REMOTE_AWAY;
}

const char *remote_error(const struct remote *r)
{
    return r->error ? r->error : "";
}

const struct remote_facts *remote_facts(const struct remote *r)
{
    return &r->facts;
}

const char *remote_name(const struct remote *r)
{
    return r->name;
}

size_t remote_running(const struct remote *r)
{
    return r->running;
}

void remote_measure(struct remote *r, int64_t interval_s)
{
    struct link_msg m = { .type = LINK_MEASURE, .interval_s = interval_s };

    if (interval_s < 0 || interval_s > LINK_INTERVAL_MAX_S || interval_s == r->interval_s)
        return;
    r->interval_s = interval_s;
    /* One that is being greeted was told the former interval, or will be told this one. */
    if (r->phase == PHASE_UP || r->phase == PHASE_AGREEING)
        remote_conn_send(r, &m);
}

/* --- life ------------------------------------------------------------------------------------- */

static int check(const struct remote_config *cfg, struct err *err)
{
    size_t digits = strspn(cfg->head_id, "0123456789abcdef");

    if (cfg->head_id[digits] || digits < LINK_HEAD_MIN || digits > LINK_HEAD_MAX)
        return err_set(err, ERR_INVALID, "a head's id has %d to %d hexadecimal digits",
                       LINK_HEAD_MIN, LINK_HEAD_MAX);
    if (cfg->fence < 1 || cfg->fence > LINK_FENCE_MAX)
        return err_set(err, ERR_INVALID, "the fence is out of range");
    if (cfg->lease_s < 0 || cfg->lease_s > LINK_LEASE_MAX_S)
        return err_set(err, ERR_INVALID, "a lease must be at most %d s", LINK_LEASE_MAX_S);
    if (cfg->interval_s < 0 || cfg->interval_s > LINK_INTERVAL_MAX_S)
        return err_set(err, ERR_INVALID, "samples must come at least every %d s",
                       LINK_INTERVAL_MAX_S);
    if (cfg->output_max < 0)
        return err_set(err, ERR_INVALID, "the limit of output must not be negative");
    return 0;
}

struct remote *remote_create(struct ev_loop *loop, const struct log *log,
                             const struct remote_config *cfg, const struct remote_hooks *hooks,
                             struct err *err)
{
    struct remote *r;
    int fd;

    if (check(cfg, err) != 0)
        return NULL;
    fd = open(cfg->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        err_sys(err, errno, "cannot open the state folder %s", cfg->state_dir);
        return NULL;
    }
    r = mem_alloc(sizeof *r);
    r->loop = loop;
    r->log = log;
    r->hooks = *hooks;
    r->name = mem_strdup(cfg->name);
    r->head_id = mem_strdup(cfg->head_id);
    r->fence = cfg->fence;
    r->lease_ns = (cfg->lease_s ? cfg->lease_s : LINK_LEASE_DEFAULT_S) * NS_PER_S;
    r->interval_s = cfg->interval_s;
    r->output_max = cfg->output_max ? cfg->output_max : REMOTE_OUTPUT_MAX;
    r->state_fd = fd;
    r->tell.fn = tell_due;
    for (int i = 0; i < FACT_COUNT; i++)
        remote_set_fact(r, i, "");
    ev_timer_clear(&r->tell);
    r->changed = false;
    r->facts.memory_total_bytes = -1;
    remote_conn_init(r);
    remote_attempts_init(r);
    remote_output_init(r);
    return r;
}

void remote_destroy(struct remote *r)
{
    if (!r)
        return;
    remote_conn_fini(r);
    remote_attempts_fini(r);
    ev_timer_clear(&r->tell);
    r->hooks = (struct remote_hooks){ 0 };
    tell_sample(r);
    for (int i = 0; i < FACT_COUNT; i++)
        free(r->fact_text[i]);
    close(r->state_fd);
    free(r->name);
    free(r->head_id);
    free(r);
}
