/* SPDX-License-Identifier: BSD-2-Clause */
/* From what was measured on this machine (sys/sample.h) to what the link protocol says of it. */
#ifndef HIVE_NODE_LINK_SAMPLE_H
#define HIVE_NODE_LINK_SAMPLE_H

#include "node/link_msg.h"
#include "sys/sample.h"

/* What the lists of a link_sample point to. */
struct link_sample_room {
    const char *users[SAMPLE_USERS_MAX + 1];
    signed char cores[LINK_CORES_MAX];
};

/* Nothing is known. */
void link_sample_clear(struct link_sample *l);
/* All but `running` and `uses`, which become 0. The disk is that of the sample's first folder. Names
 * stay the sample's. A control group's limit on memory isn't in it (sys_memory_total()). */
void link_sample_fill(struct link_sample *l, const struct sample *s, struct link_sample_room *room);

#endif
