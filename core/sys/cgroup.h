/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control groups for attempts: a memory limit that holds, an out-of-memory death that can be told
 * from others, and one write that kills everything. Uses what this machine gives to this user: v2
 * (memory and cgroup.kill), v1 (memory), a hybrid of both (v1 memory, v2 for killing), or nothing,
 * which is a state with a name and not an error.
 *
 * Groups are folders "hive-shim-NAMESPACE-PID" in a base folder. v1: in "hive" below our own group. v2: in
 * our own group, if it is ours to divide (systemd: Delegate=yes); as v2 has no processes in groups
 * that are divided, the daemon then moves to "hive-daemon" beside them; root without such a group
 * uses "hive" at the top.
 */
#ifndef HIVE_SYS_CGROUP_H
#define HIVE_SYS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

enum cgroup_memory { CGROUP_MEMORY_NONE, CGROUP_MEMORY_V1, CGROUP_MEMORY_V2 };

struct cgroup_caps {
    enum cgroup_memory memory;
    bool kill;              /* a v2 hierarchy with cgroup.kill is ours to use */
    char memory_base[4096]; /* folder for groups with a memory limit, "" when there is none */
    char kill_base[4096];   /* folder for groups for killing (the same for pure v2), or "" */
    char note[256];         /* why memory limits are not enforced, for people; "" when they are */
};

/*
 * Finds out by trying what can be used: makes the base folders and, for a moment, a group in them;
 * removes groups of shims that are gone. `parent` (0: none) is a process that moves along with the
 * caller where v2 requires it: the daemon, when its spawner asks. Never fails: caps say what there
 * is.
 */
void cgroup_detect(struct cgroup_caps *caps, pid_t parent);

/* Removes the base folders that are ours and empty. For the end of the process that detected. */
void cgroup_release(const struct cgroup_caps *caps);

/* One group (or v1+v2 pair) of a shim, reused for its attempts one after another. */
struct cgroup {
    enum cgroup_memory memory;
    int memory_fd; /* folder descriptors, -1 when not in use */
    int kill_fd;   /* the same number as memory_fd for pure v2 */
    int peak_fd;   /* v2: resets of the peak hold for one descriptor */
    bool peak_known, used;
    int64_t oom_kills; /* when the limit was set */
    char name[64];
    const struct cgroup_caps *caps;
};

/* The name for the group of shim `pid`. The PID namespace is a part of it: containers may share a
 * hierarchy, and each would take the others' groups for those of dead processes. */
void cgroup_shim_name(pid_t pid, char *name, size_t size);
/* Makes the group; `name` is unique on this machine. With caps of none this succeeds and does
 * nothing. `caps` is borrowed. */
int cgroup_create(struct cgroup *g, const struct cgroup_caps *caps, const char *name,
                  struct err *err);
/* Sets the limit in bytes for what will run in it (0: none; swap is limited with it where possible)
 * and starts counting OOM kills and, where the kernel can, the peak anew. */
int cgroup_set_memory(struct cgroup *g, int64_t bytes, struct err *err);
/* False when somebody removed it: what is empty can be removed by whoever may write there. */
bool cgroup_alive(const struct cgroup *g);
/* Puts the calling process into it. Async-signal-safe, for use between vfork and exec: 0 or
 * errno. */
int cgroup_enter(const struct cgroup *g);
/* Kills all in it. False when it can't (no cgroup.kill): use sys_kill_descendants. */
bool cgroup_kill(struct cgroup *g);
/* How many OOM kills happened in it since the limit was set; -1 unknown. */
int64_t cgroup_oom_kills(struct cgroup *g);
/* Peak memory in bytes since the limit was set; -1 unknown. */
int64_t cgroup_memory_peak(struct cgroup *g);
/* Removes the group (must be empty of processes). Harmless when it was never created but zeroed
 * with fds of -1. */
void cgroup_destroy(struct cgroup *g);
/* Removes the group of another, dead process by its name. Missing is fine. */
void cgroup_remove(const struct cgroup_caps *caps, const char *name);

#endif
