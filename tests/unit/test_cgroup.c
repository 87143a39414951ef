/* SPDX-License-Identifier: BSD-2-Clause */
/* Control groups: the logic against texts and made-up folders, and what this machine really has. */
#include "unit/unit.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "sys/cgroup.h"
#include "sys/cgroup_detect.h"
#include "sys/cgroup_path.h"
#include "sys/proc_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- where our group is ----------------------------------------------------------------------- */

static const char hybrid_mounts[] =
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
    "30 22 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    "31 22 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 22 0:28 / /sys/fs/cgroup/mem\\040ory rw shared:1 master:2 - cgroup cgroup rw,memory\n";
static const char hybrid_groups[] = "9:name=systemd:/s\n4:memory:/user/a\n3:cpu,cpuacct:/\n"
                                    "0::/user.slice/b:c\n";

TEST(place_in_a_hybrid_system)
{
    struct cgroup_place p;

    CHECK(cgroup_place_parse(hybrid_mounts, hybrid_groups, "memory", &p));
    CHECK_STR(p.mount, "/sys/fs/cgroup/mem ory");
    CHECK_STR(p.own, "/sys/fs/cgroup/mem ory/user/a");
    CHECK(cgroup_place_parse(hybrid_mounts, hybrid_groups, "cpu", &p));
    CHECK_STR(p.own, "/sys/fs/cgroup/cpu,cpuacct");
    CHECK(cgroup_place_parse(hybrid_mounts, hybrid_groups, NULL, &p));
    CHECK_STR(p.own, "/sys/fs/cgroup/unified/user.slice/b:c");
    CHECK(!cgroup_place_parse(hybrid_mounts, hybrid_groups, "pids", &p));
    CHECK(!cgroup_place_parse(hybrid_mounts, hybrid_groups, "mem", &p));
    CHECK(!cgroup_place_parse("", hybrid_groups, "memory", &p));
    CHECK(!cgroup_place_parse(hybrid_mounts, "", "memory", &p));
}

TEST(place_in_containers)
{
    struct cgroup_place p;

    /* A part of the hierarchy is mounted, our path is told from its top. */
    CHECK(cgroup_place_parse("1 2 0:3 /docker/x /sys/fs/cgroup rw - cgroup2 c rw\n",
                             "0::/docker/x/y\n", NULL, &p));
    CHECK_STR(p.own, "/sys/fs/cgroup/y");
    CHECK(!cgroup_place_parse("1 2 0:3 /docker/x /sys/fs/cgroup rw - cgroup2 c rw\n",
                              "0::/docker/xy\n", NULL, &p));
    /* A namespace that we are outside of. */
    CHECK(!cgroup_place_parse("1 2 0:3 / /sys/fs/cgroup rw - cgroup2 c rw\n", "0::/../other\n",
                              NULL, &p));
    CHECK(
        !cgroup_place_parse("1 2 0:3 / /sys/fs/cgroup rw - cgroup2 c rw\n", "0::/..\n", NULL, &p));
    CHECK(!cgroup_place_parse("1 2 0:3 / /sys/fs/cgroup\n- cgroup2\n", "0::/\n", NULL, &p));
}

/* --- made-up folders -------------------------------------------------------------------------- */

static char *path_of(const char *name)
{
    return mem_printf("%s/%s", unit_tmpdir(), name);
}

static void put(const char *name, const char *text)
{
    char *path = path_of(name), *dir = mem_strdup(path);
    struct err err = ERR_INIT;

    *strrchr(dir, '/') = '\0';
    CHECK_OK(fs_mkdir_p(dir, 0700, &err), &err);
    CHECK_OK(fs_write_file(path, text, strlen(text), 0600, false, &err), &err);
    free(path);
    free(dir);
}

static void check_text(const char *name, const char *want)
{
    char *path = path_of(name), text[256];

    CHECK(proc_file_read(AT_FDCWD, path, text, sizeof text) >= 0);
    /* Control files are written at their beginning, so what was there before may show behind. */
    if (!str_starts(text, want))
        unit_check_str(__FILE__, __LINE__, name, text, want);
    free(path);
}

static struct cgroup_caps fake_caps(enum cgroup_memory memory)
{
    struct cgroup_caps caps = { .memory = memory, .kill = memory == CGROUP_MEMORY_V2 };

    snprintf(caps.memory_base, sizeof caps.memory_base, "%s/base", unit_tmpdir());
    if (caps.kill)
        str_copy(caps.kill_base, sizeof caps.kill_base, caps.memory_base);
    return caps;
}

TEST(v2_files)
{
    struct cgroup_caps caps = fake_caps(CGROUP_MEMORY_V2);
    struct err err = ERR_INIT;
    struct cgroup g;

    put("base/g/memory.max", "max");
    put("base/g/memory.swap.max", "max");
    put("base/g/memory.events", "low 0\noom 2\noom_kill 3\n");
    put("base/g/memory.peak", "4096\n");
    put("base/g/cgroup.procs", "");
    put("base/g/cgroup.kill", "");
    CHECK_OK(cgroup_create(&g, &caps, "g", &err), &err);
    CHECK_OK(cgroup_set_memory(&g, 1 << 20, &err), &err);
    check_text("base/g/memory.max", "1048576");
    check_text("base/g/memory.swap.max", "0");
    CHECK_INT(cgroup_oom_kills(&g), 0);
    put("base/g/memory.events", "low 0\noom 2\noom_kill 5\n");
    CHECK_INT(cgroup_oom_kills(&g), 2);
    CHECK_INT(cgroup_enter(&g), 0);
    check_text("base/g/cgroup.procs", "0");
    CHECK(cgroup_kill(&g));
    check_text("base/g/cgroup.kill", "1");
    CHECK_OK(cgroup_set_memory(&g, 0, &err), &err);
    check_text("base/g/memory.max", "max");
    CHECK_INT(cgroup_oom_kills(&g), 0);
    cgroup_destroy(&g);
    cgroup_destroy(&g);
}

TEST(v2_without_peak_or_swap)
{
    struct cgroup_caps caps = fake_caps(CGROUP_MEMORY_V2);
    struct err err = ERR_INIT;
    struct cgroup g;

    put("base/g/memory.max", "max");
    CHECK_OK(cgroup_create(&g, &caps, "g", &err), &err);
    CHECK_OK(cgroup_set_memory(&g, 1 << 20, &err), &err);
    CHECK_INT(cgroup_memory_peak(&g), -1);
    CHECK_INT(cgroup_oom_kills(&g), -1);
    CHECK(!cgroup_kill(&g));
    CHECK(cgroup_enter(&g) != 0);
    cgroup_destroy(&g);
}

TEST(v1_files)
{
    struct cgroup_caps caps = fake_caps(CGROUP_MEMORY_V1);
    struct err err = ERR_INIT;
    struct cgroup g;

    put("base/g/memory.limit_in_bytes", "");
    put("base/g/memory.memsw.limit_in_bytes", "");
    put("base/g/memory.max_usage_in_bytes", "777\n");
    put("base/g/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    CHECK_OK(cgroup_create(&g, &caps, "g", &err), &err);
    CHECK(g.kill_fd < 0);
    CHECK_OK(cgroup_set_memory(&g, 4096, &err), &err);
    check_text("base/g/memory.limit_in_bytes", "4096");
    check_text("base/g/memory.memsw.limit_in_bytes", "4096");
    put("base/g/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    CHECK_INT(cgroup_oom_kills(&g), 1);
    put("base/g/memory.max_usage_in_bytes", "999\n");
    CHECK_INT(cgroup_memory_peak(&g), 999);
    CHECK(!cgroup_kill(&g));
    cgroup_destroy(&g);
}

TEST(limit_that_cannot_be_set_is_an_error)
{
    struct cgroup_caps caps = fake_caps(CGROUP_MEMORY_V2);
    struct err err = ERR_INIT;
    struct cgroup g;

    put("base/x", "");
    CHECK_OK(cgroup_create(&g, &caps, "g", &err), &err);
    CHECK_INT(cgroup_set_memory(&g, 4096, &err), -1);
    CHECK(str_starts(err.msg, "cannot set the memory limit of 4096 bytes"));
    cgroup_destroy(&g);
    str_copy(caps.memory_base, sizeof caps.memory_base, "/no/where");
    CHECK_INT(cgroup_create(&g, &caps, "g", &err), -1);
    cgroup_destroy(&g);
}

TEST(no_groups_at_all)
{
    struct cgroup_caps caps;
    struct err err = ERR_INIT;
    struct cgroup g;

    cgroup_detect_in(&caps, 0, NULL, NULL);
    CHECK_INT(caps.memory, CGROUP_MEMORY_NONE);
    CHECK(!caps.kill);
    CHECK(str_starts(caps.note, "memory limits are not enforced: "));
    CHECK_OK(cgroup_create(&g, &caps, "g", &err), &err);
    CHECK_OK(cgroup_set_memory(&g, 4096, &err), &err);
    CHECK_INT(cgroup_enter(&g), 0);
    CHECK_INT(cgroup_oom_kills(&g), -1);
    CHECK_INT(cgroup_memory_peak(&g), -1);
    CHECK(!cgroup_kill(&g));
    cgroup_destroy(&g);
}

TEST(detection_in_made_up_v2)
{
    struct cgroup_place place;
    struct cgroup_caps caps;

    /* A group without the controller. */
    snprintf(place.mount, sizeof place.mount, "%s", unit_tmpdir());
    snprintf(place.own, sizeof place.own, "%s/own", unit_tmpdir());
    put("own/cgroup.controllers", "cpu pids\n");
    cgroup_detect_in(&caps, 0, NULL, &place);
    CHECK_INT(caps.memory, CGROUP_MEMORY_NONE);
    CHECK(str_ends(caps.note, "not available here"));

    /* Divided already, the daemon beside: the base is above. No file appears in a made-up folder by
     * itself, so the probing fails, but nothing is left behind. */
    put("own/cgroup.controllers", "cpu memory pids\n");
    put("own/cgroup.subtree_control", "memory\n");
    put("own/hive-daemon/cgroup.procs", "");
    snprintf(place.own, sizeof place.own, "%s/own/hive-daemon", unit_tmpdir());
    cgroup_detect_in(&caps, 0, NULL, &place);
    CHECK_INT(caps.memory, CGROUP_MEMORY_NONE);
    char *probe = mem_printf("%s/own/hive-probe-%ld", unit_tmpdir(), (long)getpid());
    CHECK(access(probe, F_OK) != 0);
    free(probe);
}

/* --- this machine ----------------------------------------------------------------------------- */

static void run_in(struct cgroup *g, const char *script, int *status)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        if (cgroup_enter(g) != 0)
            _exit(99);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(98);
    }
    CHECK(waitpid(pid, status, 0) == pid);
}

static bool detect_here(struct cgroup_caps *caps)
{
    cgroup_detect(caps, 0);
    fprintf(stderr, "# memory %d, kill %d, %s\n", (int)caps->memory, caps->kill, caps->note);
    CHECK((caps->memory == CGROUP_MEMORY_NONE) == (caps->note[0] != '\0'));
    return caps->memory != CGROUP_MEMORY_NONE;
}

static const char hungry[] = "x=$(head -c 60m /dev/zero | tr '\\0' x); exit 0";

TEST(limits_hold_here)
{
    struct cgroup_caps caps;
    struct err err = ERR_INIT;
    struct cgroup g;
    int status;
    int64_t small, peak;

    if (!detect_here(&caps)) {
        cgroup_release(&caps);
        return;
    }
    CHECK_OK(cgroup_create(&g, &caps, "hive-shim-test", &err), &err);
    CHECK_OK(cgroup_set_memory(&g, 16 << 20, &err), &err);
    run_in(&g, hungry, &status);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(cgroup_oom_kills(&g) >= 1);

    CHECK_OK(cgroup_set_memory(&g, 1 << 30, &err), &err);
    CHECK_INT(cgroup_oom_kills(&g), 0);
    run_in(&g, hungry, &status);
    CHECK_INT(status, 0);
    CHECK_INT(cgroup_oom_kills(&g), 0);
    peak = cgroup_memory_peak(&g);
    CHECK(peak == -1 || peak > (60 << 20));

    /* Smaller again, with what the last one left in the cache. */
    CHECK_OK(cgroup_set_memory(&g, 8 << 20, &err), &err);
    run_in(&g, "exit 4", &status);
    CHECK_INT(WEXITSTATUS(status), 4);
    small = cgroup_memory_peak(&g);
    CHECK(small == -1 || small < (8 << 20) + 1);
    cgroup_destroy(&g);
    CHECK_OK(cgroup_create(&g, &caps, "hive-shim-test", &err), &err);
    cgroup_destroy(&g);
    cgroup_release(&caps);
}

TEST(killing_through_the_group_here)
{
    struct cgroup_caps caps;
    struct err err = ERR_INIT;
    struct cgroup g;
    int status;
    pid_t pid;

    detect_here(&caps);
    if (!caps.kill) {
        cgroup_release(&caps);
        return;
    }
    CHECK_OK(cgroup_create(&g, &caps, "hive-shim-test2", &err), &err);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (cgroup_enter(&g) != 0)
            _exit(99);
        raise(SIGSTOP);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(cgroup_kill(&g));
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cgroup_destroy(&g);
    cgroup_release(&caps);
}

TEST(groups_of_dead_shims_are_removed)
{
    struct cgroup_caps caps;
    struct err err = ERR_INIT;
    struct cgroup dead, alive, other;
    char name[64], foreign[64], *path;
    int status;
    pid_t pid;

    if (!detect_here(&caps)) {
        cgroup_release(&caps);
        return;
    }
    pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid);
    cgroup_shim_name(pid, name, sizeof name);
    CHECK_OK(cgroup_create(&dead, &caps, name, &err), &err);
    path = mem_printf("%s/%s", caps.memory_base, name);
    /* The same process, seen from another PID namespace: nobody here can tell whether it lives. */
    snprintf(foreign, sizeof foreign, "hive-shim-1-%ld", (long)pid);
    CHECK_OK(cgroup_create(&other, &caps, foreign, &err), &err);
    cgroup_shim_name(getpid(), name, sizeof name);
    CHECK_OK(cgroup_create(&alive, &caps, name, &err), &err);
    detect_here(&caps);
    CHECK(access(path, F_OK) != 0);
    free(path);
    CHECK(!cgroup_alive(&dead));
    CHECK(cgroup_alive(&alive));
    CHECK(cgroup_alive(&other));
    cgroup_destroy(&other);
    path = mem_printf("%s/%s", caps.memory_base, name);
    CHECK(access(path, F_OK) == 0);
    free(path);
    cgroup_destroy(&alive);
    cgroup_destroy(&dead);
    cgroup_release(&caps);
}

/* Somebody who may not make groups is told what to do. */
TEST(note_for_those_without_permission)
{
    struct cgroup_caps caps;
    int status;
    pid_t pid;

    if (geteuid() != 0)
        return;
    pid = fork();
    if (pid == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(9);
        cgroup_detect(&caps, 0);
        fprintf(stderr, "# %s\n", caps.note);
        _exit(caps.memory == CGROUP_MEMORY_NONE && caps.note[0] ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
}
