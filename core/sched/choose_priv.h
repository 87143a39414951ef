/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by choose*.c only. */
#ifndef HIVE_SCHED_CHOOSE_PRIV_H
#define HIVE_SCHED_CHOOSE_PRIV_H

#include "sched/choose.h"

struct buf;

/* Bounds for what comes from measurements, so that no arithmetic here can overflow. */
#define CHOOSE_BYTES_MAX (INT64_C(1) << 50)
#define CHOOSE_MILLI_MAX INT64_C(1000000000)

/* What is being decided. */
struct choose_case {
    const struct choose_host *hosts;
    const struct choose_request *request;
    int64_t need_memory, need_cpu_milli; /* expected, or asked for */
    int64_t interval_ns, now_ns;
};

static inline int64_t choose_clamp(int64_t n, int64_t min, int64_t max)
{
    return n < min ? min : n > max ? max : n;
}

static inline int64_t choose_cores(const struct choose_host *h)
{
    return choose_clamp(h->cores, 1, 1000000);
}

/* Puts words to every rank; these are in order. */
void choose_words(const struct choose_case *c, struct choose_result *result);
/* The application, for messages. */
void choose_put_app(const struct choose_case *c, struct buf *b);

#endif
