/* SPDX-License-Identifier: BSD-2-Clause */
#include "sys/sys.h"

#include "base/mem.h"
#include "base/str.h"
#include "sys/cgroup_path.h"
#include "sys/proc_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls fn for our own group and each above it, up to the top of the hierarchy. */
static void each_group_up(const char *controller, void (*fn)(const char *dir, void *arg), void *arg)
{
    struct cgroup_place *p = mem_alloc(sizeof *p);

    if (cgroup_place_find(controller, p)) {
        size_t top = strlen(p->mount);
        for (;;) {
            fn(p->own, arg);
            char *slash = strrchr(p->own, '/');
            if (strlen(p->own) <= top || !slash)
                break;
            *slash = '\0';
        }
    }
    free(p);
}

static bool group_number(const char *dir, const char *file, int64_t *out)
{
    char *path = mem_printf("%s/%s", dir, file);
    bool ok = proc_file_number(AT_FDCWD, path, out);

    free(path);
    return ok;
}

static void quota_to_cpus(int64_t quota, int64_t period, int *cpus)
{
    if (quota <= 0 || quota == INT64_MAX || period <= 0)
        return;
    int64_t n = (quota - 1) / period + 1;
    if (n < *cpus)
        *cpus = (int)n;
}

static void cap_cpus_v1(const char *dir, void *arg)
{
    int64_t quota, period;

    if (group_number(dir, "cpu.cfs_quota_us", &quota) &&
        group_number(dir, "cpu.cfs_period_us", &period))
        quota_to_cpus(quota, period, arg);
}

static void cap_cpus_v2(const char *dir, void *arg)
{
    char *path = mem_printf("%s/cpu.max", dir), text[64], *blank;

    if (proc_file_read(AT_FDCWD, path, text, sizeof text) > 0 && !str_starts(text, "max")) {
        int64_t quota = strtoll(text, &blank, 10);
        quota_to_cpus(quota, strtoll(blank, NULL, 10), arg);
    }
    free(path);
}

int sys_usable_cpus(void)
{
    int cpus = 0;

    /* The kernel wants a mask at least as large as its own; grow until it fits. */
    for (size_t n = 1024; n <= 65536 && cpus == 0; n *= 4) {
        cpu_set_t *set = CPU_ALLOC(n);
        if (!set)
            break;
        if (sched_getaffinity(0, CPU_ALLOC_SIZE(n), set) == 0)
            cpus = CPU_COUNT_S(CPU_ALLOC_SIZE(n), set);
        CPU_FREE(set);
        if (cpus == 0 && errno != EINVAL)
            break;
    }
    if (cpus == 0)
        cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    each_group_up("cpu", cap_cpus_v1, &cpus);
    each_group_up(NULL, cap_cpus_v2, &cpus);
    return cpus > 0 ? cpus : 1;
}

static int64_t meminfo(const char *name)
{
    int64_t kib;

    if (!proc_file_field(AT_FDCWD, "/proc/meminfo", name, &kib) || kib < 0 ||
        kib > INT64_MAX / 1024)
        return -1;
    return kib * 1024;
}

static void cap_memory(const char *dir, const char *file, int64_t *bytes)
{
    int64_t limit;

    if (group_number(dir, file, &limit) && limit > 0 && (*bytes < 0 || limit < *bytes))
        *bytes = limit;
}

static void cap_memory_v1(const char *dir, void *arg)
{
    cap_memory(dir, "memory.limit_in_bytes", arg);
}

static void cap_memory_v2(const char *dir, void *arg)
{
    cap_memory(dir, "memory.max", arg);
}

int64_t sys_memory_total(void)
{
    int64_t bytes = meminfo("MemTotal:");

    if (bytes < 0)
        return -1;
    each_group_up("memory", cap_memory_v1, &bytes);
    each_group_up(NULL, cap_memory_v2, &bytes);
    return bytes;
}

int64_t sys_memory_available(void)
{
    return meminfo("MemAvailable:");
}

char *sys_hostname(void)
{
    char name[256] = "";

    if (gethostname(name, sizeof name - 1) != 0)
        name[0] = '\0';
    name[strcspn(name, ".")] = '\0';
    return name[0] ? str_safe(name) : mem_strdup("localhost");
}

void sys_boot_id(char *out, size_t size)
{
    char text[64];

    out[0] = '\0';
    if (proc_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", text, sizeof text) > 0)
        str_copy(out, size, str_trim(text));
}

/* One field of the user database as a copy, or NULL. */
static char *passwd_field(uid_t uid, char *(*pick)(const struct passwd *))
{
    struct passwd pw, *found = NULL;
    char *mem = mem_alloc(65536), *copy = NULL;

    if (getpwuid_r(uid, &pw, mem, 65536, &found) == 0 && found && pick(found) && pick(found)[0])
        copy = mem_strdup(pick(found));
    free(mem);
    return copy;
}

static char *pick_name(const struct passwd *pw)
{
    return pw->pw_name;
}

static char *pick_home(const struct passwd *pw)
{
    return pw->pw_dir;
}

static char *pick_shell(const struct passwd *pw)
{
    return pw->pw_shell;
}

char *sys_user_name(uid_t uid)
{
    char *name = passwd_field(uid, pick_name);

    return name ? name : mem_printf("%u", (unsigned)uid);
}

char *sys_user_home(uid_t uid)
{
    const char *env = getenv("HOME");
    char *home;

    if (uid == geteuid() && env && env[0] == '/')
        return mem_strdup(env);
    home = passwd_field(uid, pick_home);
    return home ? home : mem_strdup("/");
}

char *sys_user_shell(uid_t uid)
{
    char *shell = passwd_field(uid, pick_shell);

    return shell ? shell : mem_strdup("/bin/sh");
}

uint64_t sys_process_start(pid_t pid)
{
    struct proc_stat st;
    char path[64], text[1024];

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (proc_file_read(AT_FDCWD, path, text, sizeof text) <= 0 || !proc_stat_parse(text, &st))
        return 0;
    return st.start;
}

/* As the kernel has it (struct sched_attr); not every C library knows it. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice_ns, deadline_ns, period_ns;
};

#define RESET_ON_FORK 1u
#define SLICE_NS 100000u /* the shortest there is */

bool sys_wake_soon(void)
{
    struct scheduling s = { .size = sizeof s };

    if (syscall(SYS_sched_getattr, 0, &s, (unsigned)sizeof s, 0u) != 0 || s.policy != SCHED_OTHER)
        return false; /* somebody chose something else for us */
    s.size = sizeof s;
    s.flags |= RESET_ON_FORK;
    s.slice_ns = SLICE_NS;
    return syscall(SYS_sched_setattr, 0, &s, 0u) == 0;
}
