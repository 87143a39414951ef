/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measurements of one node over a window of time, and the bytes that they are stored as. Nothing
 * outside core/store and its tests includes this.
 */
#ifndef HIVE_STORE_METRICS_CODEC_H
#define HIVE_STORE_METRICS_CODEC_H

#include "store/store.h"

struct buf;

#define METRIC_SLOTS_MAX 60

/* Slots in which nothing is known have count 0; their values mean nothing. In the others a value is
 * NaN where it isn't known. */
struct metric_chunk {
    int slots;
    uint16_t count[METRIC_SLOTS_MAX]; /* measurements behind a slot; stored with a range only */
    float mean[STORE_SERIES_COUNT][METRIC_SLOTS_MAX];
};

/* What a summary has besides; NaN where the mean is. */
struct metric_range {
    float min[STORE_SERIES_COUNT][METRIC_SLOTS_MAX];
    float max[STORE_SERIES_COUNT][METRIC_SLOTS_MAX];
};

/* Nothing is known. c->slots stays; `r` may be NULL. */
void metric_clear(struct metric_chunk *c, struct metric_range *r);

/* Appends the bytes of `c`, with those of `r` unless it is NULL. */
void metric_encode(const struct metric_chunk *c, const struct metric_range *r, struct buf *out);

/*
 * The way back. c->slots says how many there must be, `r` (may be NULL) whether it must be a
 * summary. Series that this release doesn't know are skipped. False when the bytes are damaged: what
 * is in `c` and `r` is then of no use.
 */
bool metric_decode(const void *data, size_t len, struct metric_chunk *c, struct metric_range *r);

#endif
