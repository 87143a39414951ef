/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only source of time. A context owns a `struct clock`; tests replace the functions. All times
 * are int64 nanoseconds: `mono` never jumps and means nothing across reboots, `wall` is Unix time
 * and may jump. Durations, deadlines and timeouts use mono; only what people see is wall time.
 */
#ifndef HIVE_BASE_CLOCK_H
#define HIVE_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

struct clock {
    int64_t (*mono_ns)(void *arg);
    int64_t (*wall_ns)(void *arg);
    void *arg;
};

/* CLOCK_BOOTTIME (goes on during suspend) and CLOCK_REALTIME. */
extern const struct clock clock_system;

int64_t clock_mono_ns(const struct clock *c);
int64_t clock_wall_ns(const struct clock *c);

/* RFC 3339 in UTC with milliseconds ("2026-11-20T18:13:14.250Z") into `out` of at least
 * CLOCK_RFC3339_SIZE bytes. 0 or negative means unknown and gives "". */
#define CLOCK_RFC3339_SIZE 32
void clock_format_rfc3339(int64_t wall_ns, char *out, size_t size);
/* Parses RFC 3339 with any offset and 0 to 9 fraction digits, the whole string. A leap second
 * counts as the second after it. False, and *wall_ns untouched, when malformed or outside of what
 * int64 nanoseconds hold (the years 1678 to 2262). */
bool clock_parse_rfc3339(const char *s, int64_t *wall_ns);

#endif
