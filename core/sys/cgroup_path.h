/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/sys: where the control group of this process is in the file system. */
#ifndef HIVE_SYS_CGROUP_PATH_H
#define HIVE_SYS_CGROUP_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define CGROUP_PATH_MAX 4096

struct cgroup_place {
    char mount[CGROUP_PATH_MAX]; /* top of the hierarchy as we see it */
    char own[CGROUP_PATH_MAX];   /* our group: `mount` or below it */
};

/* The hierarchy of a v1 controller, or v2 with NULL. False when it isn't mounted or our group is
 * not visible in it. */
bool cgroup_place_find(const char *controller, struct cgroup_place *place);

/* The same from the texts of /proc/self/mountinfo and /proc/self/cgroup. */
bool cgroup_place_parse(const char *mountinfo, const char *cgroup, const char *controller,
                        struct cgroup_place *place);

#endif
