/* SPDX-License-Identifier: BSD-2-Clause */
/* Patterns as ssh_config(5), PATTERNS, has them: '*' is any text, '?' one character. Pure. */
#ifndef HIVE_NET_SSH_PATTERN_H
#define HIVE_NET_SSH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/* One pattern; upper and lower case differ unless `nocase` (ASCII). Time is bounded by the product
 * of the lengths. */
bool ssh_pattern_match(const char *s, const char *pattern, size_t pattern_len, bool nocase);

/* A comma-separated list, in which '!' in front of a pattern negates it: 1 when a pattern matches
 * and no negated one does, -1 when a negated one does, 0 when none does. */
int ssh_pattern_list_match(const char *s, const char *list, size_t list_len, bool nocase);

#endif
