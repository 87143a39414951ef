/* SPDX-License-Identifier: BSD-2-Clause */
/* From what was measured on this machine (sys/sample.h) to what the link protocol says of it. */
#ifndef HIVE_NODE_LINK_SAMPLE_H
#define HIVE_NODE_LINK_SAMPLE_H

struct link_sample;
struct sample;

/* Nothing is known. */
void link_sample_clear(struct link_sample *l);
/* All but `running` and `uses`, which become 0. `users` has room for SAMPLE_USERS_MAX + 1 pointers
 * and is what l->users then points to; the names stay the sample's. A control group's limit on memory
 * isn't in it (sys_memory_total()). */
void link_sample_fill(struct link_sample *l, const struct sample *s, const char **users);

#endif
