/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/sys and its tests. */
#ifndef HIVE_SYS_CGROUP_DETECT_H
#define HIVE_SYS_CGROUP_DETECT_H

#include "sys/cgroup.h"
#include "sys/cgroup_path.h"

/* cgroup_detect() with the places given: NULL where there is no such hierarchy. */
void cgroup_detect_in(struct cgroup_caps *caps, pid_t parent, const struct cgroup_place *v1_memory,
                      const struct cgroup_place *v2);

#endif
