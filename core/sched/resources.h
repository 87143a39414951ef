/* SPDX-License-Identifier: BSD-2-Clause */
/* Arithmetic on struct sched_resources. Inside of core/sched. */
#ifndef HIVE_SCHED_RESOURCES_H
#define HIVE_SCHED_RESOURCES_H

#include "sched/sched.h"

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline bool res_fits(const struct sched_resources *need, const struct sched_resources *have)
{
    return need->threads <= have->threads && need->memory <= have->memory &&
           need->gpus <= have->gpus;
}

static inline bool res_equal(const struct sched_resources *a, const struct sched_resources *b)
{
    return a->threads == b->threads && a->memory == b->memory && a->gpus == b->gpus;
}

static inline struct sched_resources res_add(const struct sched_resources *a,
                                             const struct sched_resources *b)
{
    return (struct sched_resources){ a->threads + b->threads, a->memory + b->memory,
                                     a->gpus + b->gpus };
}

static inline struct sched_resources res_sub(const struct sched_resources *a,
                                             const struct sched_resources *b)
{
    return (struct sched_resources){ a->threads - b->threads, a->memory - b->memory,
                                     a->gpus - b->gpus };
}

static inline struct sched_resources res_min(const struct sched_resources *a,
                                             const struct sched_resources *b)
{
    return (struct sched_resources){ min_i64(a->threads, b->threads), min_i64(a->memory, b->memory),
                                     min_i64(a->gpus, b->gpus) };
}

static inline struct sched_resources res_max(const struct sched_resources *a,
                                             const struct sched_resources *b)
{
    return (struct sched_resources){ max_i64(a->threads, b->threads), max_i64(a->memory, b->memory),
                                     max_i64(a->gpus, b->gpus) };
}

#endif
