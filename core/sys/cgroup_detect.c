/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be done with control groups is found out by doing it. */
#include "sys/cgroup_detect.h"

#include "base/mem.h"
#include "base/str.h"
#include "sys/proc_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAEMON_GROUP "hive-daemon"
#define BASE_GROUP "hive"

static int write_in(const char *dir, const char *file, const char *text)
{
    char *path = mem_printf("%s/%s", dir, file);
    int sys = proc_file_write(AT_FDCWD, path, text);

    free(path);
    return sys;
}

static bool may_write(const char *dir, const char *file)
{
    char *path = mem_printf("%s/%s", dir, file);
    bool ok = faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;

    free(path);
    return ok;
}

static bool has_word(const char *dir, const char *file, const char *word)
{
    char *path = mem_printf("%s/%s", dir, file), text[1024], *save = NULL;
    bool found = false;

    if (proc_file_read(AT_FDCWD, path, text, sizeof text) > 0)
        for (char *w = strtok_r(text, " \n", &save); w && !found; w = strtok_r(NULL, " \n", &save))
            found = str_eq(w, word);
    free(path);
    return found;
}

static int make_dir(const char *path)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : errno;
}

/* A group in `base` with all these files writable. 0 or errno. */
static int probe(const char *base, const char *const *files)
{
    char *path = mem_printf("%s/hive-probe-%ld", base, (long)getpid());
    int sys = make_dir(path);

    for (; sys == 0 && *files; files++)
        if (!may_write(path, *files))
            sys = errno ? errno : EACCES;
    rmdir(path);
    free(path);
    return sys;
}

/* Groups of shims that died with their spawner. */
static void clean(const char *base)
{
    DIR *dir = opendir(base);
    struct dirent *e;
    char prefix[64];

    cgroup_shim_name(0, prefix, sizeof prefix);
    prefix[strlen(prefix) - 1] = '\0';
    while (dir && (e = readdir(dir))) {
        long pid = str_starts(e->d_name, prefix) ? strtol(e->d_name + strlen(prefix), NULL, 10) : 0;
        if (pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH)
            unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
    }
    if (dir)
        closedir(dir);
}

static bool use_base(char *field, size_t size, const char *base)
{
    if (!str_copy(field, size, base)) {
        field[0] = '\0';
        return false;
    }
    clean(base);
    return true;
}

/* --- v1 --------------------------------------------------------------------------------------- */

static int detect_v1(struct cgroup_caps *caps, const struct cgroup_place *place)
{
    static const char *const files[] = { "cgroup.procs", "memory.limit_in_bytes", NULL };
    char *base = mem_printf("%s/" BASE_GROUP, place->own);
    int sys = make_dir(base);

    if (sys == 0)
        sys = probe(base, files);
    if (sys == 0 && use_base(caps->memory_base, sizeof caps->memory_base, base))
        caps->memory = CGROUP_MEMORY_V1;
    free(base);
    return sys;
}

/* --- v2 --------------------------------------------------------------------------------------- */

static void move_to(const char *dir, pid_t pid)
{
    char text[16];

    snprintf(text, sizeof text, "%ld", (long)pid);
    write_in(dir, "cgroup.procs", text);
}

/* Lets groups below `dir` have memory limits. With processes of ours alone in it, they move to a
 * group beside; with others, nothing can be done and all is left as it was. 0 or errno. */
static int enable_memory(const char *dir, pid_t parent)
{
    char *leaf;
    int sys;

    if (has_word(dir, "cgroup.subtree_control", "memory"))
        return 0;
    sys = write_in(dir, "cgroup.subtree_control", "+memory");
    if (sys != EBUSY)
        return sys;
    leaf = mem_printf("%s/" DAEMON_GROUP, dir);
    sys = make_dir(leaf);
    if (sys == 0) {
        move_to(leaf, getpid());
        if (parent > 0)
            move_to(leaf, parent);
        sys = write_in(dir, "cgroup.subtree_control", "+memory");
        if (sys != 0) {
            move_to(dir, getpid());
            if (parent > 0)
                move_to(dir, parent);
            rmdir(leaf);
        }
    }
    free(leaf);
    return sys;
}

static int try_v2_base(struct cgroup_caps *caps, const char *base, pid_t parent)
{
    static const char *const files[] = { "cgroup.procs", "memory.max", NULL };
    static const char *const kill_files[] = { "cgroup.kill", NULL };
    int sys;

    if (!has_word(base, "cgroup.controllers", "memory"))
        return ENOTSUP;
    sys = enable_memory(base, parent);
    if (sys == 0)
        sys = probe(base, files);
    if (sys != 0 || !use_base(caps->memory_base, sizeof caps->memory_base, base))
        return sys;
    caps->memory = CGROUP_MEMORY_V2;
    if (probe(base, kill_files) == 0) {
        caps->kill = true;
        str_copy(caps->kill_base, sizeof caps->kill_base, base);
    }
    return 0;
}

/* Root may make a group of its own at the top when its own can't be divided (a login session). */
static int try_v2_top(struct cgroup_caps *caps, const struct cgroup_place *place)
{
    char *base = mem_printf("%s/" BASE_GROUP, place->mount);
    int sys = EACCES;

    if (has_word(place->mount, "cgroup.controllers", "memory")) {
        sys = enable_memory(place->mount, 0);
        if (sys == 0)
            sys = make_dir(base);
        if (sys == 0)
            sys = try_v2_base(caps, base, 0);
    }
    free(base);
    return sys;
}

static int detect_v2(struct cgroup_caps *caps, const struct cgroup_place *place, pid_t parent)
{
    char *base = mem_strdup(place->own);
    int sys;

    /* Where an earlier start of the daemon, or systemd (DelegateSubgroup=), has put us. */
    if (str_ends(base, "/" DAEMON_GROUP))
        *strrchr(base, '/') = '\0';
    sys = try_v2_base(caps, base, parent);
    if (sys != 0 && sys != ENOTSUP && geteuid() == 0)
        sys = try_v2_top(caps, place);
    free(base);
    return sys;
}

/* A group for killing alone needs no controller and may be anywhere below our own. */
static void detect_kill(struct cgroup_caps *caps, const struct cgroup_place *place)
{
    static const char *const files[] = { "cgroup.procs", "cgroup.kill", NULL };
    char *base = mem_printf("%s/" BASE_GROUP, place->own);

    if (make_dir(base) == 0) {
        if (probe(base, files) == 0)
            caps->kill = use_base(caps->kill_base, sizeof caps->kill_base, base);
        else
            rmdir(base);
    }
    free(base);
}

static void explain(struct cgroup_caps *caps, int sys)
{
    const char *why = "the memory controller of the kernel's control groups is not available here";

    if (sys == EACCES || sys == EPERM)
        why = "this user may not make control groups; run hive as a systemd service with "
              "Delegate=yes "
              "(hive service install), or as root";
    else if (sys == EROFS)
        why = "control groups are read-only here; in a container, mount them writable";
    else if (sys == EBUSY)
        why = "other processes share hive's control group; run hive as a systemd service with "
              "Delegate=yes (hive service install)";
    snprintf(caps->note, sizeof caps->note, "memory limits are not enforced: %s", why);
}

void cgroup_detect_in(struct cgroup_caps *caps, pid_t parent, const struct cgroup_place *v1_memory,
                      const struct cgroup_place *v2)
{
    int sys = ENOTSUP;

    memset(caps, 0, sizeof *caps);
    if (v1_memory)
        sys = detect_v1(caps, v1_memory);
    else if (v2)
        sys = detect_v2(caps, v2, parent);
    if (caps->memory == CGROUP_MEMORY_NONE)
        explain(caps, sys);
    if (v2 && !caps->kill && caps->memory != CGROUP_MEMORY_V2)
        detect_kill(caps, v2);
}

void cgroup_detect(struct cgroup_caps *caps, pid_t parent)
{
    struct cgroup_place *v1 = mem_alloc(sizeof *v1), *v2 = mem_alloc(sizeof *v2);
    bool has_v1 = cgroup_place_find("memory", v1), has_v2 = cgroup_place_find(NULL, v2);

    cgroup_detect_in(caps, parent, has_v1 ? v1 : NULL, has_v2 ? v2 : NULL);
    free(v1);
    free(v2);
}

void cgroup_release(const struct cgroup_caps *caps)
{
    const char *const bases[] = { caps->memory_base, caps->kill_base };

    /* In other places it is a group that was there before us. */
    for (size_t i = 0; i < ARRAY_LEN(bases); i++)
        if (str_ends(bases[i], "/" BASE_GROUP))
            rmdir(bases[i]);
}
