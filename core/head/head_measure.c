/* SPDX-License-Identifier: BSD-2-Clause */
/* See head_measure.h. */
#include "head/head_measure.h"

#include "base/mem.h"

#include "base/jsonx.h"
#include "head/head_node.h"
#include "head/head_priv.h"
#include "head/reach.h"
#include "head/remote.h"
#include "node/link_msg.h"
#include "node/link_sample.h"
#include "sys/sample.h"
#include "sys/sys.h"

#include <math.h>

#define OWN_NS (10 * NS_PER_S) /* our own machine is asked, for its history */
#define FLUSH_NS (60 * NS_PER_S)
#define PRUNE_NS (600 * NS_PER_S)
#define PRUNE_ROWS 200
#define LOOKED_NS (10 * NS_PER_S) /* so long somebody counts as looking */
#define USES_MAX 4096
#define SLOW_S 10
#define FAST_S 2
#define STALE_NS (3 * SLOW_S * NS_PER_S) /* what is older is not shown as if it were now */

struct head_sample {
    struct link_sample s; /* users owned, no uses */
    int64_t mono_ns;
};

void head_node_sample_free(struct head_node *n)
{
    if (!n->sample)
        return;
    for (size_t i = 0; n->sample->s.users && n->sample->s.users[i]; i++)
        free((char *)n->sample->s.users[i]);
    free((void *)n->sample->s.users);
    free((void *)n->sample->s.cores);
    MEM_FREE(n->sample);
}

static const char **copy_users(const char *const *users)
{
    size_t count = 0;

    while (users && users[count])
        count++;
    const char **copy = mem_alloc_array(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_strdup(users[i]);
    copy[count] = NULL;
    return copy;
}

/* ---- history ---- */

static float known(double v)
{
    return v < 0 ? NAN : (float)v;
}

static void keep(struct head_node *n, const struct link_sample *s)
{
    float v[STORE_SERIES_COUNT];
    int users = 0;

    for (int i = 0; i < STORE_SERIES_COUNT; i++)
        v[i] = NAN;
    while (s->users && s->users[users])
        users++;
    v[STORE_SERIES_CPU_PERCENT] = known(s->cpu_percent);
    v[STORE_SERIES_IOWAIT_PERCENT] = known(s->iowait_percent);
    v[STORE_SERIES_LOAD1] = known(s->load[0]);
    v[STORE_SERIES_MEMORY_AVAILABLE] = known((double)s->memory_available_bytes);
    v[STORE_SERIES_MEMORY_TOTAL] = known((double)s->memory_total_bytes);
    v[STORE_SERIES_SWAP_USED] = known((double)s->swap_used_bytes);
    v[STORE_SERIES_NET_RX] = known(s->rx_bytes_per_s);
    v[STORE_SERIES_NET_TX] = known(s->tx_bytes_per_s);
    v[STORE_SERIES_DISK_READ] = known(s->disk_read_bytes_per_s);
    v[STORE_SERIES_DISK_WRITE] = known(s->disk_write_bytes_per_s);
    v[STORE_SERIES_DISK_FREE] = known((double)s->disk_free_bytes);
    v[STORE_SERIES_PRESSURE_CPU] = known(s->cpu_pressure_percent);
    v[STORE_SERIES_PRESSURE_MEMORY] = known(s->memory_pressure_percent);
    v[STORE_SERIES_PRESSURE_IO] = known(s->io_pressure_percent);
    v[STORE_SERIES_USERS] = (float)users;
    store_metrics_add(n->head->store, n->id, clock_wall_ns(n->head->clock), v);
}

/* In a transaction of their own: nothing that is waited for depends on them. */
static void flush(struct head *h)
{
    struct err err = ERR_INIT;
    int64_t removed = 0, now = clock_wall_ns(h->clock);
    bool prune = ev_now_ns(h->loop) - h->metrics_pruned_ns >= PRUNE_NS;

    if (h->broken || store_in_transaction(h->store) || store_begin(h->store, &err) != 0)
        return; /* the next time */
    if (store_metrics_flush(h->store, now, &err) != 0 ||
        (prune && store_metrics_prune(h->store, now, conf_int(h->conf, CONF_history_metrics_size),
                                      PRUNE_ROWS, &removed, &err) != 0) ||
        store_commit(h->store, &err) != 0) {
        store_rollback(h->store);
        log_warning(h->log, "measurements are not written down: %s", err.msg);
        return;
    }
    if (prune && removed == 0)
        h->metrics_pruned_ns = ev_now_ns(h->loop);
}

/* ---- what jobs use ---- */

static void note_use(struct head *h, const struct attempt_key *key, int64_t cpu_ns,
                     int64_t memory_bytes)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)key->job);
    struct head_run *r = j ? j->run : NULL;
    int64_t now = ev_now_ns(h->loop);

    if (!r || r->key.number != key->number || r->use.at_ns == now)
        return;
    r->use.cpu_percent = -1;
    if (r->use.at_ns && cpu_ns >= r->use.cpu_ns)
        r->use.cpu_percent =
            100.0 * (double)(cpu_ns - r->use.cpu_ns) / (double)(now - r->use.at_ns);
    r->use.at_ns = now;
    r->use.cpu_ns = cpu_ns;
    r->use.memory_bytes = memory_bytes;
}

static void measure_own_uses(struct head *h)
{
    struct node_use *uses = mem_alloc_array(USES_MAX, sizeof(*uses));
    size_t n = node_measure_uses(h->node, uses, USES_MAX);

    for (size_t i = 0; i < n; i++)
        note_use(h, &uses[i].key, uses[i].cpu_ns, uses[i].memory_bytes);
    h->uses_ns = ev_now_ns(h->loop);
    free(uses);
}

void head_run_put_use(struct head *h, const struct head_run *r, struct jsonw *w)
{
    if (!r->use.at_ns || ev_now_ns(h->loop) - r->use.at_ns > STALE_NS)
        return;
    jsonw_double(w, "cpu_seconds", (double)(r->use.cpu_ns / NS_PER_MS) / 1e3);
    jsonw_int(w, "memory_used_bytes", r->use.memory_bytes);
    if (r->use.cpu_percent >= 0)
        jsonw_double(w, "cpu_percent", (double)(int64_t)(r->use.cpu_percent * 10 + 0.5) / 10);
    else
        jsonw_null(w, "cpu_percent");
}

/* ---- what others leave ---- */

/* The system's own use of a machine is not held against those who ask for all of its memory. */
static int64_t system_share(int64_t total)
{
    return total / 16 + (INT64_C(512) << 20);
}

/*
 * Memory that others use is no node's to give. Where the user said how much jobs may use, that
 * counts alone. CPUs are shared by the kernel, so that busy ones keep nobody waiting.
 */
static void apply_measured(struct head_node *n, const struct link_sample *s)
{
    struct head *h = n->head;
    struct sched_resources left = { INT64_MAX, INT64_MAX, INT64_MAX };
    int64_t others = s->memory_total_bytes - s->memory_available_bytes;
    bool told =
        n->kind == HEAD_NODE_OWN ? conf_int(h->conf, CONF_daemon_memory) != 0 : n->max_memory != 0;

    if (!told && s->memory_total_bytes > 0 && s->memory_available_bytes >= 0) {
        LIST_FOR_EACH(it, &h->runs) {
            const struct head_run *r = CONTAINER_OF(it, struct head_run, link);
            if (r->alloc.node == n->index)
                others -= r->use.memory_bytes;
        }
        others -= system_share(s->memory_total_bytes);
        left.memory = s->memory_total_bytes - (others > 0 ? others : 0);
    }
    sched_node_set_measured(h->sched, n->index, &left);
    ev_again(h->loop); /* something may start */
}

/* ---- measuring ---- */

static void own_sample(struct head *h, struct link_sample *l, struct link_sample_room *room)
{
    const struct sample *s = node_measure(h->node);

    if (s) {
        link_sample_fill(l, s, room);
        l->memory_total_bytes = sys_memory_total();
    } else {
        link_sample_clear(l);
    }
}

static void set_interval(struct head *h, int64_t interval_s)
{
    if (h->measure_s == interval_s)
        return;
    h->measure_s = interval_s;
    for (size_t i = 0; i < h->node_count; i++) {
        if (h->nodes[i]->remote)
            remote_measure(h->nodes[i]->remote, interval_s);
        if (h->nodes[i]->reach)
            reach_measure(h->nodes[i]->reach, interval_s);
    }
}

static void on_measure(struct ev_timer *t)
{
    struct head *h = CONTAINER_OF(t, struct head, measure_timer);
    struct link_sample_room room;
    struct link_sample l;
    int64_t now = ev_now_ns(h->loop);

    own_sample(h, &l, &room);
    keep(h->nodes[0], &l);
    measure_own_uses(h);
    apply_measured(h->nodes[0], &l);
    if (now - h->looked_ns >= LOOKED_NS)
        set_interval(h, SLOW_S);
    if (now - h->metrics_flushed_ns >= FLUSH_NS) {
        h->metrics_flushed_ns = now;
        flush(h);
    }
    ev_timer_set_after(h->loop, t, OWN_NS);
}

void head_measure_begin(struct head *h)
{
    h->measure_s = SLOW_S;
    h->metrics_flushed_ns = h->metrics_pruned_ns = ev_now_ns(h->loop);
    h->looked_ns = ev_now_ns(h->loop) - LOOKED_NS;
    h->measure_timer.fn = on_measure;
    ev_timer_set_after(h->loop, &h->measure_timer, OWN_NS);
}

void head_measure_end(struct head *h)
{
    if (!h->measure_timer.fn)
        return;
    ev_timer_clear(&h->measure_timer);
    flush(h);
}

void head_measure_looked(struct head *h)
{
    h->looked_ns = ev_now_ns(h->loop);
    set_interval(h, FAST_S);
    if (h->looked_ns - h->uses_ns >= FAST_S * NS_PER_S)
        measure_own_uses(h);
}

void head_node_sampled(struct head_node *n, const struct link_sample *s)
{
    head_node_sample_free(n);
    n->sample = mem_alloc(sizeof(*n->sample));
    n->sample->s = *s;
    n->sample->s.users = copy_users(s->users);
    n->sample->s.cores = s->core_count ? mem_dup(s->cores, s->core_count) : NULL;
    n->sample->s.uses = NULL;
    n->sample->s.use_count = 0;
    n->sample->mono_ns = ev_now_ns(n->head->loop);
    keep(n, &n->sample->s);
    for (size_t i = 0; i < s->use_count; i++)
        note_use(n->head, &s->uses[i].key, s->uses[i].cpu_ns, s->uses[i].memory_bytes);
    apply_measured(n, s);
}

int64_t head_node_latest(struct head_node *n, struct link_sample *out, int32_t *users)
{
    struct link_sample_room room;
    const struct sample *own = NULL;

    link_sample_clear(out);
    *users = -1;
    if (n->kind == HEAD_NODE_OWN) {
        own = node_measure(n->head->node);
        own_sample(n->head, out, &room);
        if (own) /* what is available is of the machine, not of our control group */
            out->memory_total_bytes = own->memory.total;
    } else if (n->sample) {
        *out = n->sample->s;
    }
    if (out->users)
        for (*users = 0; out->users[*users]; (*users)++)
            ;
    out->users = NULL;
    out->cores = NULL;
    out->core_count = 0;
    return own ? own->taken_ns : n->sample ? n->sample->mono_ns : 0;
}

/* ---- for clients ---- */

/* As exact as it was measured: hundredths. */
static void put_known(struct jsonw *w, const char *key, double value)
{
    if (value < 0)
        jsonw_null(w, key);
    else
        jsonw_double(w, key, (double)(int64_t)(value * 100 + 0.5) / 100);
}

static void put_known_int(struct jsonw *w, const char *key, int64_t value)
{
    if (value < 0)
        jsonw_null(w, key);
    else
        jsonw_int(w, key, value);
}

/* CPUs are those that jobs may use. */
static void put_sample(struct jsonw *w, const struct link_sample *s)
{
    put_known_int(w, "memory_available_bytes", s->memory_available_bytes);
    put_known(w, "cpu_percent", s->cpu_percent);
    put_known(w, "iowait_percent", s->iowait_percent);
    jsonw_arr_open(w, "cores_percent");
    for (size_t i = 0; i < s->core_count; i++)
        put_known_int(w, NULL, s->cores[i]);
    jsonw_arr_close(w);
    jsonw_arr_open(w, "load");
    for (int i = 0; i < 3 && s->load[i] >= 0; i++)
        put_known(w, NULL, s->load[i]);
    jsonw_arr_close(w);
    put_known_int(w, "swap_total_bytes", s->swap_total_bytes);
    put_known_int(w, "swap_used_bytes", s->swap_used_bytes);
    put_known_int(w, "disk_total_bytes", s->disk_total_bytes);
    put_known_int(w, "disk_free_bytes", s->disk_free_bytes);
    put_known(w, "disk_read_bytes_per_s", s->disk_read_bytes_per_s);
    put_known(w, "disk_write_bytes_per_s", s->disk_write_bytes_per_s);
    put_known(w, "net_rx_bytes_per_s", s->rx_bytes_per_s);
    put_known(w, "net_tx_bytes_per_s", s->tx_bytes_per_s);
    jsonw_obj_open(w, "pressure");
    put_known(w, "cpu_percent", s->cpu_pressure_percent);
    put_known(w, "memory_percent", s->memory_pressure_percent);
    put_known(w, "io_percent", s->io_pressure_percent);
    jsonw_obj_close(w);
    put_known(w, "uptime_seconds", s->uptime_s);
    jsonw_arr_open(w, "users");
    for (size_t i = 0; s->users && s->users[i]; i++)
        jsonw_str(w, NULL, s->users[i]);
    jsonw_arr_close(w);
}

void head_node_put_measured(struct head_node *n, struct jsonw *w)
{
    struct link_sample_room room;
    struct link_sample own;

    if (n->kind == HEAD_NODE_OWN) {
        own_sample(n->head, &own, &room);
        if (own.memory_available_bytes < 0)
            own.memory_available_bytes = sys_memory_available();
        put_sample(w, &own);
    } else if (n->sample && ev_now_ns(n->head->loop) - n->sample->mono_ns < STALE_NS) {
        put_sample(w, &n->sample->s);
    } else {
        link_sample_clear(&own);
        put_sample(w, &own);
    }
}

/* ---- over time ---- */

static void put_values(struct jsonw *w, const char *key, uint64_t series, const float *v)
{
    jsonw_arr_open(w, key);
    for (int i = 0; i < STORE_SERIES_COUNT; i++)
        if (series >> i & 1 && isnan(v[i]))
            jsonw_null(w, NULL);
        else if (series >> i & 1)
            jsonw_double(w, NULL, (double)(int64_t)((double)v[i] * 100 + 0.5) / 100);
    jsonw_arr_close(w);
}

struct history {
    const struct head_history *q;
    struct jsonw *w;
};

static bool put_point(void *arg, const struct store_point *p)
{
    const struct history *t = arg;

    jsonw_obj_open(t->w, NULL);
    jsonw_time(t->w, "at", p->wall_ns);
    jsonw_int(t->w, "seconds", p->width_ns / NS_PER_S);
    put_values(t->w, "mean", t->q->series, p->mean);
    put_values(t->w, "min", t->q->series, p->min);
    put_values(t->w, "max", t->q->series, p->max);
    jsonw_obj_close(t->w);
    return true;
}

int head_node_history(struct head *h, const struct head_history *q, struct jsonw *w,
                      struct err *err)
{
    struct head_node *n = head_node_find(h, q->node);
    struct history t = { q, w };

    if (!n)
        return 0;
    jsonw_arr_open(w, "series");
    for (int i = 0; i < STORE_SERIES_COUNT; i++)
        if (q->series >> i & 1)
            jsonw_str(w, NULL, store_series_name(i));
    jsonw_arr_close(w);
    jsonw_arr_open(w, "points");
    int rc = store_metrics_read(h->store, n->id, q->series, q->from_ns, q->to_ns, q->max_points,
                                put_point, &t, err);
    jsonw_arr_close(w);
    return rc == 0 ? 1 : -1;
}
