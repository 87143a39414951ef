/* SPDX-License-Identifier: BSD-2-Clause */
/* Measurements on their way in: memory, rows, summaries. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store_priv.h"

#include <math.h>

#define MINUTE_NS (60 * NS_PER_S)
#define OPEN_MAX 4 /* windows of a node in memory: three more than in ordinary life */

const struct metric_level metric_levels[METRIC_LEVELS] = {
    [METRIC_FINEST] = { 10 * NS_PER_S, 60, 24 * 6 + 1, 7 },
    [METRIC_MIDDLE] = { 5 * MINUTE_NS, 24, 30 * 12 + 1, 13 },
    [METRIC_COARSEST] = { 60 * MINUTE_NS, 24, 5 * 365 + 2, 2 },
};

const char *store_series_name(int series)
{
    static const char *const names[STORE_SERIES_COUNT] = {
#define SERIES(name, text, bits) (text),
#include "store/series.def"
    };

    return series >= 0 && series < STORE_SERIES_COUNT ? names[series] : NULL;
}

int64_t store_metrics_size(const struct store *s)
{
    return s->totals[TOTAL_METRICS] * 4 / 3; /* measured: pages are three quarters full */
}

/* --- keys --- */

#define LEVEL_SHIFT 60
#define WINDOW_MASK ((INT64_C(1) << (LEVEL_SHIFT - METRIC_NODE_BITS)) - 1)

int64_t metric_key(int level, int64_t window, int64_t node)
{
    return (int64_t)level << LEVEL_SHIFT | (window & WINDOW_MASK) << METRIC_NODE_BITS | node;
}

int metric_key_level(int64_t key)
{
    return (int)(key >> LEVEL_SHIFT);
}

int64_t metric_key_window(int64_t key)
{
    return key >> METRIC_NODE_BITS & WINDOW_MASK;
}

int64_t metric_key_node(int64_t key)
{
    return key & METRIC_NODE_MAX;
}

int64_t metric_window_ns(int level)
{
    return metric_levels[level].step_ns * metric_levels[level].slots;
}

int64_t metric_window_begin(int level, int64_t window)
{
    int64_t ns = metric_window_ns(level);

    return window < METRIC_TIME_MAX / ns ? window * ns : METRIC_TIME_MAX;
}

/* --- rows --- */

int64_t metric_row_size(int64_t length)
{
    return length + 16;
}

int metric_row_get(struct store *s, int64_t key, struct metric_chunk *c, struct metric_range *r,
                   struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_METRIC_GET, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, key);
    int found = db_step(s, st, err);
    if (found < 0)
        return -1;
    bool good = found && metric_decode(sqlite3_column_blob(st, 0),
                                       (size_t)sqlite3_column_bytes(st, 0), c, r);
    sqlite3_reset(st);
    if (found && !good)
        log_warning(s->log, "%s: measurements of node %lld are damaged; going on without them",
                    s->path, (long long)metric_key_node(key));
    if (!good)
        metric_clear(c, r);
    return good;
}

static int find(struct store *s, enum statement which, int64_t from, int64_t to, int64_t *key,
                int64_t *length, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, which, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, from);
    sqlite3_bind_int64(st, 2, to);
    int found = db_step(s, st, err);
    if (found > 0) {
        *key = sqlite3_column_int64(st, 0);
        if (length)
            *length = sqlite3_column_int64(st, 1);
    }
    sqlite3_reset(st);
    return found;
}

int metric_first(struct store *s, int64_t from, int64_t to, int64_t *key, int64_t *length,
                 struct err *err)
{
    return find(s, ST_METRIC_FIRST, from, to, key, length, err);
}

int metric_last(struct store *s, int64_t from, int64_t to, int64_t *key, struct err *err)
{
    return find(s, ST_METRIC_LAST, from, to, key, NULL, err);
}

/* Whether a level has rows in the window that `key` lies in: 1, 0, -1. */
static int window_has_rows(struct store *s, int64_t key, struct err *err)
{
    int64_t from = key & ~METRIC_NODE_MAX, found_key, length;

    return metric_first(s, from, from + METRIC_NODE_MAX + 1, &found_key, &length, err);
}

/* Length of a row, -1 when there is none. */
static int row_length(struct store *s, int64_t key, int64_t *length, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_METRIC_LENGTH, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, key);
    int found = db_step(s, st, err);
    *length = found > 0 ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_reset(st);
    return found < 0 ? -1 : 0;
}

int metric_row_put(struct store *s, int64_t key, const struct metric_chunk *c,
                   const struct metric_range *r, struct err *err)
{
    struct buf data = BUF_INIT;
    int64_t old;
    int rc = -1, in_window = 1;

    metric_encode(c, r, &data);
    int64_t length = (int64_t)buf_len(&data);
    if (row_length(s, key, &old, err) == 0 &&
        (old >= 0 || (in_window = window_has_rows(s, key, err)) >= 0)) {
        sqlite3_stmt *st = db_change(s, ST_METRIC_PUT, err);
        if (st) {
            sqlite3_bind_int64(st, 1, key);
            sqlite3_bind_blob(st, 2, buf_data(&data), (int)length, SQLITE_STATIC);
            rc = db_run(s, st, err);
        }
    }
    if (rc == 0) {
        s->totals[TOTAL_METRICS] += metric_row_size(length) - (old < 0 ? 0 : metric_row_size(old));
        s->totals[TOTAL_WINDOWS + metric_key_level(key)] += !in_window;
    }
    buf_fini(&data);
    return rc;
}

int metric_row_delete(struct store *s, int64_t key, int64_t length, struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_METRIC_DELETE, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, key);
    if (db_run(s, st, err) != 0)
        return -1;
    int more = window_has_rows(s, key, err);
    if (more < 0)
        return -1;
    s->totals[TOTAL_METRICS] -= metric_row_size(length);
    s->totals[TOTAL_WINDOWS + metric_key_level(key)] -= !more;
    return 0;
}

/* --- memory --- */

struct metric_open *metric_find_open(const struct store *s, int64_t node, int64_t window)
{
    const struct metric_node *n = map_get(&s->metrics.nodes, (uint64_t)node);
    struct metric_open *o = n ? n->open : NULL;

    while (o && o->window != window)
        o = o->next;
    return o;
}

/* Takes the window to the front of its node's, from where it is or anew. */
static struct metric_open *touch_open(struct metric_node *n, int64_t window)
{
    struct metric_open **at = &n->open, *o;

    while ((o = *at) && o->window != window && o->next)
        at = &o->next;
    if (o && o->window == window) {
        *at = o->next;
    } else {
        if (n->n_open < OPEN_MAX) {
            o = mem_alloc(sizeof *o);
            n->n_open++;
        } else { /* nothing could be written for long: the one that waits longest is lost */
            *at = NULL;
            memset(o, 0, sizeof *o);
        }
        o->window = window;
        o->chunk.slots = metric_levels[METRIC_FINEST].slots;
        metric_clear(&o->chunk, NULL);
    }
    o->next = n->open;
    n->open = o;
    return o;
}

/* One more measurement in a slot: the mean moves. */
static void mix(struct metric_chunk *c, int slot, const struct metric_chunk *from, int from_slot)
{
    if (c->count[slot] < UINT16_MAX)
        c->count[slot]++;
    for (int i = 0; i < STORE_SERIES_COUNT; i++) {
        float v = from->mean[i][from_slot], *mean = &c->mean[i][slot];
        if (isfinite(v))
            *mean = isfinite(*mean) ? *mean + (v - *mean) / (float)c->count[slot] : v;
    }
}

void store_metrics_add(struct store *s, int64_t node, int64_t wall_ns,
                       const float values[STORE_SERIES_COUNT])
{
    const struct metric_level *level = &metric_levels[METRIC_FINEST];
    struct metric_chunk one = { .slots = 1 };
    bool any = false;

    for (int i = 0; i < STORE_SERIES_COUNT; i++) {
        one.mean[i][0] = values[i];
        any = any || isfinite(values[i]);
    }
    if (!any || wall_ns <= 0 || wall_ns > METRIC_TIME_MAX || node < 1 || node > METRIC_NODE_MAX)
        return;
    struct metric_node *n = map_get(&s->metrics.nodes, (uint64_t)node);
    if (!n) {
        n = mem_alloc(sizeof *n);
        n->id = node;
        map_put(&s->metrics.nodes, (uint64_t)node, n);
    }
    struct metric_open *o = touch_open(n, wall_ns / metric_window_ns(METRIC_FINEST));
    mix(&o->chunk, (int)(wall_ns / level->step_ns % level->slots), &one, 0);
    o->dirty = true;
}

void metric_overlay(struct metric_chunk *c, const struct metric_chunk *from)
{
    for (int i = 0; i < c->slots; i++) {
        if (from->count[i])
            mix(c, i, from, i);
    }
}

/* --- summaries --- */

struct summary {
    int count;
    int known[STORE_SERIES_COUNT];
    double sum[STORE_SERIES_COUNT];
    float min[STORE_SERIES_COUNT], max[STORE_SERIES_COUNT];
};

static void sum_slot(struct summary *sum, const struct metric_chunk *c, int slot)
{
    if (c->count[slot] == 0)
        return;
    sum->count++;
    for (int i = 0; i < STORE_SERIES_COUNT; i++) {
        float v = c->mean[i][slot];
        if (!isfinite(v))
            continue;
        if (sum->known[i]++ == 0)
            sum->min[i] = sum->max[i] = v;
        sum->min[i] = v < sum->min[i] ? v : sum->min[i];
        sum->max[i] = v > sum->max[i] ? v : sum->max[i];
        sum->sum[i] += (double)v;
    }
}

static void take_summary(const struct summary *sum, struct metric_chunk *c, struct metric_range *r,
                         int slot)
{
    if (sum->count == 0 || sum->count < c->count[slot])
        return;
    c->count[slot] = (uint16_t)sum->count;
    for (int i = 0; i < STORE_SERIES_COUNT; i++) {
        bool known = sum->known[i] > 0;
        c->mean[i][slot] = known ? (float)(sum->sum[i] / sum->known[i]) : NAN;
        r->min[i][slot] = known ? sum->min[i] : NAN;
        r->max[i][slot] = known ? sum->max[i] : NAN;
    }
}

/* A finest window from memory and its row, in *c or elsewhere; *found is NULL when there is none. */
static int load_finest(struct store *s, int64_t node, int64_t window, struct metric_chunk *c,
                       const struct metric_chunk **found, struct err *err)
{
    const struct metric_open *o = metric_find_open(s, node, window);

    *found = o ? &o->chunk : NULL;
    if (o && o->loaded)
        return 0;
    c->slots = metric_levels[METRIC_FINEST].slots;
    int rc = metric_row_get(s, metric_key(METRIC_FINEST, window, node), c, NULL, err);
    if (rc <= 0)
        return rc;
    if (o)
        metric_overlay(c, &o->chunk);
    *found = c;
    return 0;
}

int metric_summarise(struct store *s, int64_t node, int64_t window, int level,
                     struct metric_chunk *c, struct metric_range *r, struct err *err)
{
    const struct metric_level *to = &metric_levels[level], *from = &metric_levels[METRIC_FINEST];
    const int64_t window_ns = metric_window_ns(METRIC_FINEST), step = to->step_ns;
    const struct metric_chunk *found;
    struct metric_chunk finest;

    for (int64_t t = window * window_ns / step * step; t < (window + 1) * window_ns; t += step) {
        struct summary sum = { .count = 0 };
        for (int64_t w = t / window_ns; w * window_ns < t + step; w++) {
            if (load_finest(s, node, w, &finest, &found, err) != 0)
                return -1;
            for (int i = 0; found && i < from->slots; i++) {
                int64_t at = w * window_ns + i * from->step_ns;
                if (at >= t && at < t + step)
                    sum_slot(&sum, found, i);
            }
        }
        take_summary(&sum, c, r, (int)(t / step % to->slots));
    }
    return 0;
}

/* --- flush --- */

static void mark(struct store *s, struct metric_open *o, bool *flag)
{
    if (!o->written && !o->over)
        s->metrics.n_written++;
    *flag = true;
}

static int write_open(struct store *s, int64_t node, struct metric_open *o, struct err *err)
{
    int64_t key = metric_key(METRIC_FINEST, o->window, node);
    struct metric_chunk row = { .slots = o->chunk.slots };

    if (!o->loaded) {
        int found = metric_row_get(s, key, &row, NULL, err);
        if (found < 0)
            return -1;
        metric_overlay(&o->chunk, &row);
        o->loaded = true;
    }
    if (metric_row_put(s, key, &o->chunk, NULL, err) != 0)
        return -1;
    mark(s, o, &o->written);
    o->dirty = false;
    return 0;
}

/* Brings the rows above a finest window up to date. */
static int summarise(struct store *s, int64_t node, int64_t window, struct err *err)
{
    for (int level = METRIC_FINEST + 1; level < METRIC_LEVELS; level++) {
        struct metric_chunk c = { .slots = metric_levels[level].slots };
        struct metric_range r;
        int64_t start_ns = window * metric_window_ns(METRIC_FINEST);
        int64_t key = metric_key(level, start_ns / metric_window_ns(level), node);
        if (metric_row_get(s, key, &c, &r, err) < 0 ||
            metric_summarise(s, node, window, level, &c, &r, err) != 0 ||
            metric_row_put(s, key, &c, &r, err) != 0)
            return -1;
    }
    return 0;
}

/*
 * The window that was current at the last flush is over. For what is in memory flush_node() sees to
 * that; this does it for rows that an earlier process left.
 */
static int summarise_left(struct store *s, int64_t window, struct err *err)
{
    int64_t from = metric_key(METRIC_FINEST, window, 0), to = from + METRIC_NODE_MAX + 1;
    int64_t key = from, length;
    int found = 0;

    if (metric_window_begin(METRIC_FINEST, window) == METRIC_TIME_MAX)
        return 0;
    while ((found = metric_first(s, key, to, &key, &length, err)) > 0) {
        int64_t node = metric_key_node(key++);
        if (metric_find_open(s, node, window))
            continue;
        int exists = node_exists(s, node, err);
        if (exists < 0 || (exists && summarise(s, node, window, err) != 0))
            return -1;
    }
    return found;
}

static int flush_node(struct store *s, struct metric_node *n, int64_t current, struct err *err)
{
    int exists = n->open ? node_exists(s, n->id, err) : 0;

    if (exists < 0)
        return -1;
    for (struct metric_open *o = n->open; o; o = o->next) {
        if (!exists) { /* removed meanwhile */
            mark(s, o, &o->over);
            o->written = o->dirty;
            o->dirty = false;
            continue;
        }
        if (o->dirty && write_open(s, n->id, o, err) != 0)
            return -1;
        if (o->window == current || o->over)
            continue;
        if (summarise(s, n->id, o->window, err) != 0)
            return -1;
        mark(s, o, &o->over);
    }
    return 0;
}

int store_metrics_flush(struct store *s, int64_t now_ns, struct err *err)
{
    int64_t current = now_ns > 0 ? now_ns / metric_window_ns(METRIC_FINEST) : 0;
    int64_t *last = &s->totals[TOTAL_LAST_WINDOW];
    struct metric_node *n;
    size_t pos = 0;

    if (db_need_transaction(s, err) != 0)
        return -1;
    if (*last != current && summarise_left(s, *last, err) != 0)
        return -1;
    *last = current;
    while ((n = map_next(&s->metrics.nodes, &pos, NULL))) {
        if (flush_node(s, n, current, err) != 0)
            return -1;
    }
    return 0;
}

void metrics_committed(struct store *s)
{
    struct metric_node *n;
    size_t pos = 0;

    while (s->metrics.n_written > 0 && (n = map_next(&s->metrics.nodes, &pos, NULL))) {
        for (struct metric_open **at = &n->open, *o; (o = *at);) {
            if (o->over && !o->dirty) {
                *at = o->next;
                free(o);
                n->n_open--;
                continue;
            }
            o->over = o->written = false;
            at = &o->next;
        }
    }
    s->metrics.n_written = 0;
}

void metrics_rolled_back(struct store *s)
{
    struct metric_node *n;
    size_t pos = 0;

    while (s->metrics.n_written > 0 && (n = map_next(&s->metrics.nodes, &pos, NULL))) {
        for (struct metric_open *o = n->open; o; o = o->next) {
            o->dirty = o->dirty || o->written;
            o->over = o->written = false;
        }
    }
    s->metrics.n_written = 0;
}

void metrics_fini(struct store *s)
{
    struct metric_node *n;
    size_t pos = 0;

    while ((n = map_next(&s->metrics.nodes, &pos, NULL))) {
        for (struct metric_open *o; (o = n->open);) {
            n->open = o->next;
            free(o);
        }
        free(n);
    }
    map_fini(&s->metrics.nodes);
}
