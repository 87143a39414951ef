/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups of attempts; what can be used at all is found out in cgroup_detect.c. */
#include "sys/cgroup.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/proc_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

void cgroup_shim_name(pid_t pid, char *name, size_t size)
{
    struct stat st;
    unsigned long space = stat("/proc/self/ns/pid", &st) == 0 ? (unsigned long)st.st_ino : 0;

    snprintf(name, size, "hive-shim-%lu-%ld", space, (long)pid);
}

/* Makes a fresh folder; one left by a dead process of the same pid is replaced, or reused when
 * it can't be removed. */
static int make_group(const char *base, const char *name, struct err *err)
{
    char *path = mem_printf("%s/%s", base, name);
    int fd = -1;

    rmdir(path);
    int made = mkdir(path, 0755);
    /* Another daemon that shared the base and ended may have removed it. */
    if (made != 0 && errno == ENOENT && mkdir(base, 0755) == 0)
        made = mkdir(path, 0755);
    if (made == 0 || errno == EEXIST)
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err_sys(err, errno, "cannot make the control group %s", path);
    free(path);
    return fd;
}

int cgroup_create(struct cgroup *g, const struct cgroup_caps *caps, const char *name,
                  struct err *err)
{
    memset(g, 0, sizeof *g);
    g->memory_fd = g->kill_fd = g->peak_fd = -1;
    g->memory = caps->memory;
    g->caps = caps;
    str_copy(g->name, sizeof g->name, name);
    if (caps->memory != CGROUP_MEMORY_NONE) {
        g->memory_fd = make_group(caps->memory_base, name, err);
        if (g->memory_fd < 0)
            return -1;
    }
    if (!caps->kill)
        return 0;
    if (caps->memory == CGROUP_MEMORY_V2)
        g->kill_fd = g->memory_fd;
    else if ((g->kill_fd = make_group(caps->kill_base, name, err)) < 0) {
        cgroup_destroy(g);
        return -1;
    }
    return 0;
}

static int64_t count_oom_kills(const struct cgroup *g)
{
    int64_t n;
    const char *file = g->memory == CGROUP_MEMORY_V1 ? "memory.oom_control" : "memory.events";

    if (g->memory == CGROUP_MEMORY_NONE || !proc_file_field(g->memory_fd, file, "oom_kill", &n))
        return -1;
    return n;
}

static int write_limit(const struct cgroup *g, const char *file, int64_t bytes, const char *none)
{
    char text[32];

    if (bytes > 0)
        snprintf(text, sizeof text, "%" PRId64, bytes);
    return proc_file_write(g->memory_fd, file, bytes > 0 ? text : none);
}

/* The kernel keeps memory <= memory+swap, so when the limit grows the sum has to grow first. Cached
 * pages of the attempt before may be in the way of a smaller limit: they are given up first. */
static int set_limit_v1(const struct cgroup *g, int64_t bytes)
{
    int rc;

    proc_file_write(g->memory_fd, "memory.force_empty", "0");
    write_limit(g, "memory.memsw.limit_in_bytes", 0, "-1");
    rc = write_limit(g, "memory.limit_in_bytes", bytes, "-1");
    if (rc == 0 && bytes > 0)
        write_limit(g, "memory.memsw.limit_in_bytes", bytes,
                    "-1"); /* absent without swap accounting */
    proc_file_write(g->memory_fd, "memory.max_usage_in_bytes", "0");
    return rc;
}

static int set_limit_v2(const struct cgroup *g, int64_t bytes)
{
    int rc = write_limit(g, "memory.max", bytes, "max");

    if (rc == 0) /* absent without swap accounting */
        proc_file_write(g->memory_fd, "memory.swap.max", bytes > 0 ? "0" : "max");
    return rc;
}

/* Since Linux 6.12 a write sets the peak back for those who read it through the same descriptor. */
static void reset_peak_v2(struct cgroup *g, bool first)
{
    if (g->peak_fd < 0)
        g->peak_fd = openat(g->memory_fd, "memory.peak", O_RDWR | O_CLOEXEC);
    if (g->peak_fd >= 0) {
        g->peak_known = write(g->peak_fd, "r", 1) == 1 || first;
        return;
    }
    g->peak_fd = openat(g->memory_fd, "memory.peak", O_RDONLY | O_CLOEXEC);
    g->peak_known = g->peak_fd >= 0 && first;
}

int cgroup_set_memory(struct cgroup *g, int64_t bytes, struct err *err)
{
    bool first = !g->used;
    int rc = 0;

    g->used = true;
    switch (g->memory) {
    case CGROUP_MEMORY_NONE:
        return 0;
    case CGROUP_MEMORY_V1:
        rc = set_limit_v1(g, bytes);
        break;
    case CGROUP_MEMORY_V2:
        rc = set_limit_v2(g, bytes);
        reset_peak_v2(g, first);
        break;
    }
    if (rc != 0)
        return err_sys(err, rc, "cannot set the memory limit of %" PRId64 " bytes", bytes);
    g->oom_kills = count_oom_kills(g);
    return 0;
}

bool cgroup_alive(const struct cgroup *g)
{
    return (g->memory_fd < 0 || faccessat(g->memory_fd, "cgroup.procs", F_OK, 0) == 0) &&
           (g->kill_fd < 0 || faccessat(g->kill_fd, "cgroup.procs", F_OK, 0) == 0);
}

static int enter_one(int fd)
{
    int procs, sys = 0;

    if (fd < 0)
        return 0;
    procs = openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (procs < 0)
        return errno;
    if (write(procs, "0", 1) != 1)
        sys = errno;
    close(procs);
    return sys;
}

int cgroup_enter(const struct cgroup *g)
{
    int sys = enter_one(g->memory_fd);

    if (sys == 0 && g->kill_fd != g->memory_fd)
        sys = enter_one(g->kill_fd);
    return sys;
}

bool cgroup_kill(struct cgroup *g)
{
    return g->kill_fd >= 0 && proc_file_write(g->kill_fd, "cgroup.kill", "1") == 0;
}

int64_t cgroup_oom_kills(struct cgroup *g)
{
    int64_t n = count_oom_kills(g);

    return n >= 0 && g->oom_kills >= 0 && n >= g->oom_kills ? n - g->oom_kills : -1;
}

int64_t cgroup_memory_peak(struct cgroup *g)
{
    char text[32];
    int64_t n;

    if (g->memory == CGROUP_MEMORY_V1)
        return proc_file_number(g->memory_fd, "memory.max_usage_in_bytes", &n) ? n : -1;
    if (g->memory != CGROUP_MEMORY_V2 || !g->peak_known)
        return -1;
    ssize_t len = pread(g->peak_fd, text, sizeof text - 1, 0);
    if (len <= 0)
        return -1;
    text[len] = '\0';
    return str_to_int(str_trim(text), 0, INT64_MAX, "peak", &n, NULL) == 0 ? n : -1;
}

void cgroup_destroy(struct cgroup *g)
{
    if (g->memory_fd < 0 && g->kill_fd < 0)
        return;
    if (g->peak_fd >= 0)
        close(g->peak_fd);
    if (g->memory_fd >= 0)
        close(g->memory_fd);
    if (g->kill_fd >= 0 && g->kill_fd != g->memory_fd)
        close(g->kill_fd);
    g->memory_fd = g->kill_fd = g->peak_fd = -1;
    cgroup_remove(g->caps, g->name);
}

void cgroup_remove(const struct cgroup_caps *caps, const char *name)
{
    const char *const bases[] = { caps->memory_base, caps->kill_base };

    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        if (!bases[i][0])
            continue;
        char *path = mem_printf("%s/%s", bases[i], name);
        rmdir(path);
        free(path);
    }
}
