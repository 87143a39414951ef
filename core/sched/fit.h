/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A row of places, each with so many resources, and the question "which is the first with at least
 * these?": a binary tree of maxima over the row. Answers take O(log n) where one resource decides,
 * somewhat more where different places have much of different ones.
 */
#ifndef HIVE_SCHED_FIT_H
#define HIVE_SCHED_FIT_H

#include "sched/sched.h"

#define FIT_NONE SIZE_MAX

struct fit {
    size_t leaves; /* a power of two, or 0 */
    struct sched_resources *max;
};

/* A place where nothing fits, not even a need of nothing. */
extern const struct sched_resources fit_closed;

void fit_fini(struct fit *f);
/* `count` places, all closed. */
void fit_reset(struct fit *f, size_t count);
void fit_set(struct fit *f, size_t place, const struct sched_resources *value);
const struct sched_resources *fit_get(const struct fit *f, size_t place);
/* First place >= from with at least `need`, or FIT_NONE. */
size_t fit_first(const struct fit *f, const struct sched_resources *need, size_t from);
/* True when every inner number is the maximum of those below. For checks. */
bool fit_sound(const struct fit *f);

#endif
