/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/str.h"
#include "sys/proc_file.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(cpus_follow_the_affinity)
{
    cpu_set_t all, one;
    int before = sys_usable_cpus(), first = 0;

    CHECK(before >= 1);
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CHECK(before <= CPU_COUNT(&all));
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK_INT(sys_usable_cpus(), 1);
}

/* The slice is not inherited, so that jobs run as all other programs do. */
TEST(waking_soon_is_for_the_caller_alone)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice_ns, deadline_ns, period_ns;
    } s = { .size = sizeof s };
    uint64_t usual, ours, childs[2] = { 0, 0 };
    int p[2], status;

    CHECK(syscall(SYS_sched_getattr, 0, &s, (unsigned)sizeof s, 0u) == 0);
    usual = s.slice_ns;
    if (!sys_wake_soon())
        return; /* a container, or whoever started us, has forbidden it */
    CHECK(syscall(SYS_sched_getattr, 0, &s, (unsigned)sizeof s, 0u) == 0);
    ours = s.slice_ns;
    CHECK(ours <= usual); /* kernels before 6.12 say 0 */
    CHECK(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        s.size = sizeof s;
        syscall(SYS_sched_getattr, 0, &s, (unsigned)sizeof s, 0u);
        childs[0] = s.slice_ns;
        childs[1] = (uint64_t)s.nice;
        _exit(write(p[1], childs, sizeof childs) != sizeof childs);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(read(p[0], childs, sizeof childs) == sizeof childs);
    CHECK(childs[0] == usual);
    CHECK(usual == 0 || ours < usual);
}

TEST(memory)
{
    int64_t total = sys_memory_total(), available = sys_memory_available();

    CHECK(total > (1 << 20));
    CHECK(available > 0);
}

TEST(names)
{
    char *host = sys_hostname(), *root = sys_user_name(0), *nobody = sys_user_name(3999999999u);
    char *home = sys_user_home(geteuid()), *shell = sys_user_shell(0), *none;
    char boot[40], again[40];

    CHECK(host[0] && !strchr(host, '.'));
    CHECK_STR(root, "root");
    CHECK_STR(nobody, "3999999999");
    CHECK(home[0] == '/');
    CHECK(shell[0] == '/');
    sys_boot_id(boot, sizeof boot);
    sys_boot_id(again, sizeof again);
    CHECK_STR(boot, again);
    CHECK_INT(strlen(boot), 36);
    free(host);
    free(root);
    free(nobody);
    free(home);
    free(shell);
    none = sys_user_home(3999999999u);
    CHECK_STR(none, "/");
    free(none);
    none = sys_user_shell(3999999999u);
    CHECK_STR(none, "/bin/sh");
    free(none);
    CHECK(setenv("HOME", "/some/home", 1) == 0);
    none = sys_user_home(geteuid());
    CHECK_STR(none, "/some/home");
    free(none);
}

TEST(process_start_names_a_process)
{
    uint64_t own = sys_process_start(getpid());
    pid_t pid;

    CHECK(own > 0);
    CHECK(sys_process_start(getpid()) == own);
    CHECK(sys_process_start(0) == 0);
    CHECK(sys_process_start(-1) == 0);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NAME, ") Z 1 (\n");
        _exit(sys_process_start(getpid()) >= own ? 0 : 1);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
    CHECK(sys_process_start(pid) == 0);
}

TEST(stat_lines)
{
    struct proc_stat st;

    CHECK(proc_stat_parse("7 (a b) S 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 777 24\n",
                          &st));
    CHECK(st.state == 'S');
    CHECK_INT(st.ppid, 5);
    CHECK_INT(st.start, 777);
    CHECK(proc_stat_parse("7 (x) R 1 (y)) Z 99 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 5 24",
                          &st));
    CHECK(st.state == 'Z');
    CHECK_INT(st.ppid, 99);
    CHECK(!proc_stat_parse("", &st));
    CHECK(!proc_stat_parse("7 (x)", &st));
    CHECK(!proc_stat_parse("7 (x) S", &st));
    CHECK(!proc_stat_parse("7 (x) S 5 6 7", &st));
    CHECK(!proc_stat_parse("7 (x) S x 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23", &st));
}

TEST(fields_and_numbers_in_small_files)
{
    const char *text = "low 0\noom 3\noom_kill 12\nmax 7\n";
    int64_t v;
    int dir = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

    CHECK(proc_text_field(text, "oom_kill", &v));
    CHECK_INT(v, 12);
    CHECK(proc_text_field(text, "oom", &v));
    CHECK_INT(v, 3);
    CHECK(!proc_text_field(text, "oom_", &v));
    CHECK(!proc_text_field("oom_kill x", "oom_kill", &v));
    CHECK(!proc_text_field("", "oom_kill", &v));

    CHECK(!proc_file_number(dir, "n", &v));
    CHECK_INT(proc_file_write(dir, "n", "1"), 2 /* ENOENT: control files are never created */);
    fd = openat(dir, "n", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    CHECK_INT(proc_file_write(dir, "n", "max\n"), 0);
    CHECK(proc_file_number(dir, "n", &v));
    CHECK_INT(v, INT64_MAX);
    CHECK_INT(proc_file_write(dir, "n", "-1\nx"), 0);
    CHECK(proc_file_number(dir, "n", &v));
    CHECK_INT(v, -1);
    close(dir);
}
