/* SPDX-License-Identifier: BSD-2-Clause */
/* Measurements that must go: of removed nodes, too old, too many. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

struct pruning {
    struct store *s;
    int64_t now_ns;
    int64_t budget; /* steps that may still be taken */
};

/* --- removed nodes --- */

static int run_gone(struct store *s, enum statement which, int64_t node, int64_t next,
                    struct err *err)
{
    sqlite3_stmt *st = db_change(s, which, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, node);
    if (which == ST_GONE_NEXT)
        sqlite3_bind_int64(st, 2, next);
    return db_run(s, st, err);
}

/* From window to window, for rows of a node don't lie together. *next is INT64_MAX at the end. */
static int prune_node(struct pruning *p, int64_t node, int64_t *next, struct err *err)
{
    const int64_t window = METRIC_NODE_MAX + 1;

    for (; p->budget > 0; p->budget--) {
        int64_t want = (*next & ~METRIC_NODE_MAX) | node, key, length;
        int found = metric_first(p->s, want, INT64_MAX, &key, &length, err);
        if (found < 0)
            return -1;
        if (found == 0) {
            *next = INT64_MAX;
            return 0;
        }
        if (key == want && metric_row_delete(p->s, key, length, err) != 0)
            return -1;
        *next = key & ~METRIC_NODE_MAX;
        if (metric_key_node(key) >= node) /* this window is done */
            *next += window;
    }
    return 0;
}

static int prune_gone(struct pruning *p, struct err *err)
{
    while (p->budget > 0) {
        sqlite3_stmt *st = db_stmt(p->s, ST_GONE_FIRST, err);
        int found = st ? db_step(p->s, st, err) : -1;
        if (found <= 0)
            return found;
        int64_t node = sqlite3_column_int64(st, 0), next = sqlite3_column_int64(st, 1);
        sqlite3_reset(st);
        if (prune_node(p, node, &next, err) != 0)
            return -1;
        bool done = next == INT64_MAX;
        if (run_gone(p->s, done ? ST_GONE_DELETE : ST_GONE_NEXT, node, next, err) != 0)
            return -1;
        p->budget -= done;
    }
    return 0;
}

/* --- windows --- */

/*
 * The window of a level that is furthest from now: the oldest, or one from a clock that ran ahead. A
 * limit by age would let one wrong clock remove everything, and would keep what lies in the future.
 */
static int find_furthest(struct pruning *p, int level, int64_t *window, struct err *err)
{
    int64_t from = metric_key(level, 0, 0), to = metric_key(level + 1, 0, 0), first, last, length;
    int64_t now = p->now_ns > 0 ? p->now_ns / metric_window_ns(level) : 0;
    int found = metric_first(p->s, from, to, &first, &length, err);

    if (found > 0)
        found = metric_last(p->s, from, to, &last, err);
    if (found <= 0)
        return found;
    first = metric_key_window(first);
    last = metric_key_window(last);
    *window = last - now > now - first ? last : first;
    return 1;
}

static int prune_window(struct pruning *p, int level, int64_t window, struct err *err)
{
    int64_t from = metric_key(level, window, 0), to = from + METRIC_NODE_MAX + 1, key, length;

    for (; p->budget > 0; p->budget--) {
        int found = metric_first(p->s, from, to, &key, &length, err);
        if (found <= 0)
            return found;
        if (metric_row_delete(p->s, key, length, err) != 0)
            return -1;
    }
    return 0;
}

/* The level that must lose a window, or METRIC_LEVELS. */
static int choose_level(const struct store *s, int64_t max_bytes)
{
    const int64_t *windows = &s->totals[TOTAL_WINDOWS];

    for (int i = 0; i < METRIC_LEVELS; i++) {
        if (windows[i] > metric_levels[i].keep)
            return i;
    }
    for (int i = 0; i < METRIC_LEVELS && max_bytes > 0 && store_metrics_size(s) > max_bytes; i++) {
        if (windows[i] > metric_levels[i].least)
            return i;
    }
    return METRIC_LEVELS;
}

int store_metrics_prune(struct store *s, int64_t now_ns, int64_t max_bytes, int64_t max,
                        int64_t *removed, struct err *err)
{
    struct pruning p = { .s = s, .now_ns = now_ns, .budget = max };
    int level;

    if (db_need_transaction(s, err) != 0 || prune_gone(&p, err) != 0)
        return -1;
    while (p.budget > 0 && (level = choose_level(s, max_bytes)) < METRIC_LEVELS) {
        int64_t window;
        int found = find_furthest(&p, level, &window, err);
        if (found < 0 || (found && prune_window(&p, level, window, err) != 0))
            return -1;
        if (!found)
            break;
    }
    *removed = max - p.budget;
    return 0;
}
