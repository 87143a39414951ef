/* SPDX-License-Identifier: BSD-2-Clause */
/* Measurements on their way out. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

#include <math.h>

/* Slots that fall into one point, added up. */
struct reading {
    struct store *s;
    int64_t node;
    uint64_t series;
    bool (*fn)(void *arg, const struct store_point *p);
    void *arg;
    bool stopped;
    int64_t width_ns, base_ns; /* of points: one begins at base_ns, and at every width from there */
    /* The point that is being added up. */
    bool any;
    int64_t at_ns, widest_ns;
    double weight[STORE_SERIES_COUNT], sum[STORE_SERIES_COUNT];
    float min[STORE_SERIES_COUNT], max[STORE_SERIES_COUNT];
};

static void deliver(struct reading *rd)
{
    float mean[STORE_SERIES_COUNT];
    bool known = false;

    for (int i = 0; i < STORE_SERIES_COUNT && rd->any; i++) {
        mean[i] = NAN;
        if (rd->weight[i] > 0) {
            mean[i] = (float)(rd->sum[i] / rd->weight[i]);
            known = true;
        } else {
            rd->min[i] = rd->max[i] = NAN;
        }
    }
    if (known) {
        struct store_point p = { rd->at_ns, rd->widest_ns, rd->min, mean, rd->max };
        rd->stopped = !rd->fn(rd->arg, &p);
    }
    rd->any = false;
}

static void add_slot(struct reading *rd, int64_t at_ns, int64_t step_ns,
                     const struct metric_chunk *c, const struct metric_range *r, int slot)
{
    int64_t point = at_ns - (at_ns - rd->base_ns) % rd->width_ns;
    double weight = r ? c->count[slot] : 1;

    if (rd->any && point != rd->at_ns)
        deliver(rd);
    if (rd->stopped)
        return;
    if (!rd->any) {
        rd->any = true;
        rd->at_ns = point;
        rd->widest_ns = rd->width_ns;
        memset(rd->weight, 0, sizeof rd->weight);
        memset(rd->sum, 0, sizeof rd->sum);
    }
    if (step_ns > rd->widest_ns)
        rd->widest_ns = step_ns;
    for (int i = 0; i < STORE_SERIES_COUNT; i++) {
        float mean = c->mean[i][slot];
        if (!(rd->series >> i & 1) || !isfinite(mean))
            continue;
        float min = r ? r->min[i][slot] : mean, max = r ? r->max[i][slot] : mean;
        if (!(rd->weight[i] > 0) || min < rd->min[i])
            rd->min[i] = min;
        if (!(rd->weight[i] > 0) || max > rd->max[i])
            rd->max[i] = max;
        rd->weight[i] += weight;
        rd->sum[i] += weight * (double)mean;
    }
}

/* A window from its row and from memory: 1, 0 there is nothing, -1. */
static int load(struct reading *rd, int level, int64_t window, struct metric_chunk *c,
                struct metric_range *r, struct err *err)
{
    const int64_t finest_ns = metric_window_ns(METRIC_FINEST), ns = metric_window_ns(level);
    const struct metric_node *n = map_get(&rd->s->metrics.nodes, (uint64_t)rd->node);

    c->slots = metric_levels[level].slots;
    int found = metric_row_get(rd->s, metric_key(level, window, rd->node), c,
                               level == METRIC_FINEST ? NULL : r, err);
    if (found < 0)
        return -1;
    for (const struct metric_open *o = n ? n->open : NULL; o; o = o->next) {
        if (o->window * finest_ns / ns != window)
            continue;
        found = 1;
        if (level == METRIC_FINEST) {
            if (o->loaded)
                *c = o->chunk;
            else
                metric_overlay(c, &o->chunk);
        } else if (metric_summarise(rd->s, rd->node, o->window, level, c, r, err) != 0) {
            return -1;
        }
    }
    return found;
}

/* Where a level has no window, the next coarser one is asked. */
static int read_level(struct reading *rd, int level, int64_t from_ns, int64_t to_ns,
                      struct err *err)
{
    const int64_t ns = metric_window_ns(level), step = metric_levels[level].step_ns;
    struct metric_chunk c;
    struct metric_range r;
    int64_t missing_ns = -1; /* since then */

    for (int64_t w = from_ns / ns; w * ns < to_ns && !rd->stopped; w++) {
        int64_t begin = w * ns > from_ns ? w * ns : from_ns;
        int64_t end = (w + 1) * ns < to_ns ? (w + 1) * ns : to_ns;
        int found = load(rd, level, w, &c, &r, err);
        if (found < 0)
            return -1;
        if (!found) {
            missing_ns = missing_ns < 0 ? begin : missing_ns;
            continue;
        }
        if (missing_ns >= 0 && level < METRIC_COARSEST &&
            read_level(rd, level + 1, missing_ns, begin, err) != 0)
            return -1;
        missing_ns = -1;
        for (int i = 0; i < c.slots && !rd->stopped; i++) {
            int64_t at = w * ns + i * step;
            if (c.count[i] && at >= begin && at < end)
                add_slot(rd, at, step, &c, level == METRIC_FINEST ? NULL : &r, i);
        }
    }
    if (missing_ns >= 0 && level < METRIC_COARSEST && !rd->stopped)
        return read_level(rd, level + 1, missing_ns, to_ns, err);
    return 0;
}

static void widen(int64_t *from_ns, int64_t *to_ns, int level, int64_t first, int64_t last)
{
    int64_t begin = metric_window_begin(level, first);
    int64_t end = metric_window_begin(level, last) + metric_window_ns(level);

    *from_ns = begin < *from_ns ? begin : *from_ns;
    *to_ns = end > *to_ns ? end : *to_ns;
}

/* The time of which anything is known, of any node. */
static int find_bounds(struct store *s, int64_t node, int64_t *from_ns, int64_t *to_ns,
                       struct err *err)
{
    const struct metric_node *n = map_get(&s->metrics.nodes, (uint64_t)node);
    int64_t first, last, length;

    *from_ns = INT64_MAX;
    *to_ns = 0;
    for (int level = 0; level < METRIC_LEVELS; level++) {
        int64_t from = metric_key(level, 0, 0), to = metric_key(level + 1, 0, 0);
        int found = metric_first(s, from, to, &first, &length, err);
        if (found > 0)
            found = metric_last(s, from, to, &last, err);
        if (found < 0)
            return -1;
        if (found > 0)
            widen(from_ns, to_ns, level, metric_key_window(first), metric_key_window(last));
    }
    for (const struct metric_open *o = n ? n->open : NULL; o; o = o->next)
        widen(from_ns, to_ns, METRIC_FINEST, o->window, o->window);
    return 0;
}

static int64_t points_in(int64_t from_ns, int64_t to_ns, int64_t base_ns, int64_t width_ns)
{
    return (to_ns - 1 - base_ns) / width_ns - (from_ns - base_ns) / width_ns + 1;
}

/*
 * How wide points are: whole steps, few enough, and at the same places whenever the same span is
 * asked for a little later, so that a graph moves and does not flicker.
 */
static void choose_width(struct reading *rd, int64_t step_ns, int64_t from_ns, int64_t to_ns,
                         int64_t max_points)
{
    int64_t slots = (to_ns - from_ns + step_ns - 1) / step_ns;
    int64_t width = (slots + max_points - 1) / max_points * step_ns;

    rd->base_ns = 0;
    for (int i = 0; i < 3; i++) {
        rd->width_ns = width + i * step_ns;
        if (points_in(from_ns, to_ns, 0, rd->width_ns) <= max_points)
            return;
    }
    rd->width_ns = width;
    rd->base_ns = from_ns;
}

int store_metrics_read(struct store *s, int64_t node, uint64_t series, int64_t from_ns,
                       int64_t to_ns, int64_t max_points,
                       bool (*fn)(void *arg, const struct store_point *p), void *arg,
                       struct err *err)
{
    struct reading rd = { .s = s, .node = node, .series = series, .fn = fn, .arg = arg };
    int64_t oldest_ns, newest_ns;
    int level = METRIC_COARSEST;

    if (max_points < 1 || node < 1 || node > METRIC_NODE_MAX)
        return err_set(err, ERR_INTERNAL, "measurements of node %lld in %lld points",
                       (long long)node, (long long)max_points);
    int exists = node_exists(s, node, err);
    if (exists <= 0)
        return exists;
    if (find_bounds(s, node, &oldest_ns, &newest_ns, err) != 0)
        return -1;
    from_ns = from_ns > 0 ? from_ns : oldest_ns;
    to_ns = to_ns > 0 ? to_ns : newest_ns;
    if (to_ns > METRIC_TIME_MAX)
        to_ns = METRIC_TIME_MAX;
    if (from_ns >= to_ns)
        return 0;
    while (level > METRIC_FINEST && (to_ns - from_ns) / metric_levels[level].step_ns < max_points)
        level--;
    from_ns -= from_ns % metric_levels[level].step_ns;
    choose_width(&rd, metric_levels[level].step_ns, from_ns, to_ns, max_points);
    if (from_ns < oldest_ns)
        from_ns += (oldest_ns - from_ns) / rd.width_ns * rd.width_ns;
    if (read_level(&rd, level, from_ns, to_ns < newest_ns ? to_ns : newest_ns, err) != 0)
        return -1;
    if (rd.any && !rd.stopped)
        deliver(&rd);
    return 0;
}
