/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files about measurements share. Nothing outside core/store and its tests includes this.
 *
 * Time is cut into windows: 10 minutes of 10-second slots, 2 hours of 5-minute slots, a day of hour
 * slots. A row of the table metric is a window of a node. The finest windows of the last minutes are
 * in memory too, and written anew with each flush until they are over; then the slots of both coarser
 * levels that lie above them are computed, from rows of the finest level alone, so that nothing goes
 * wrong when it is done twice.
 */
#ifndef HIVE_STORE_METRICS_H
#define HIVE_STORE_METRICS_H

#include "base/map.h"
#include "store/metrics_codec.h"

enum { METRIC_FINEST, METRIC_MIDDLE, METRIC_COARSEST, METRIC_LEVELS };

struct metric_level {
    int64_t step_ns;
    int slots;
    int64_t keep;  /* windows, the one that is being written included */
    int64_t least; /* that stay whatever the limit on bytes */
};
extern const struct metric_level metric_levels[METRIC_LEVELS];

/* A finest window in memory. */
struct metric_open {
    struct metric_open *next; /* of the same node, last touched first */
    int64_t window;
    bool loaded;  /* what a row had is in it */
    bool dirty;   /* there is more in it than in the row */
    bool written; /* in the transaction that is open */
    bool over;    /* summarised in that transaction: goes with the commit */
    struct metric_chunk chunk;
};

struct metric_node {
    int64_t id;
    struct metric_open *open;
    int n_open;
};

struct metrics {
    struct map nodes; /* struct metric_node by id */
    int n_written;    /* windows with `written` or `over` */
};

struct err;
struct store;

/* --- keys of rows --- */

#define METRIC_NODE_BITS 24
#define METRIC_NODE_MAX ((INT64_C(1) << METRIC_NODE_BITS) - 1)

int64_t metric_key(int level, int64_t window, int64_t node);
int metric_key_level(int64_t key);
int64_t metric_key_window(int64_t key);
int64_t metric_key_node(int64_t key);
int64_t metric_window_ns(int level);
/* Times up to here are measured; what lies behind is ignored, and so nothing overflows. */
#define METRIC_TIME_MAX (INT64_MAX - INT64_C(172800000000000))
/* Where a window begins; one that can't be, from a damaged key, at METRIC_TIME_MAX. */
int64_t metric_window_begin(int level, int64_t window);

/* --- rows --- */

/* Reads a row: 1, 0 (there is none, or it is damaged), -1. `r` as for metric_decode(). */
int metric_row_get(struct store *s, int64_t key, struct metric_chunk *c, struct metric_range *r,
                   struct err *err);
int metric_row_put(struct store *s, int64_t key, const struct metric_chunk *c,
                   const struct metric_range *r, struct err *err);
/* Removes a row that is `length` bytes long. */
int metric_row_delete(struct store *s, int64_t key, int64_t length, struct err *err);
/* The first and last row of [from, to): 1 found, 0, -1. */
int metric_first(struct store *s, int64_t from, int64_t to, int64_t *key, int64_t *length,
                 struct err *err);
int metric_last(struct store *s, int64_t from, int64_t to, int64_t *key, struct err *err);
/* What a row of that length adds to TOTAL_METRICS, which is stored: not to be changed. */
int64_t metric_row_size(int64_t length);

/* --- memory --- */

struct metric_open *metric_find_open(const struct store *s, int64_t node, int64_t window);

/* Puts what `from` knows to what `c` knows; a slot that both have becomes a mean. */
void metric_overlay(struct metric_chunk *c, const struct metric_chunk *from);

/*
 * Computes the slots of `level` (not the finest) that lie above a finest window, from rows and
 * memory, into the window of that level, which is `c` and `r` and holds what is known already. A
 * slot that rests on more than there is now stays.
 */
int metric_summarise(struct store *s, int64_t node, int64_t window, int level,
                     struct metric_chunk *c, struct metric_range *r, struct err *err);

void metrics_fini(struct store *s);
void metrics_committed(struct store *s);
void metrics_rolled_back(struct store *s);

#endif
