/* SPDX-License-Identifier: BSD-2-Clause */
/* What a killed shim leaves behind is ended, also when its spawner or the daemon died before. */
#include "unit/node_world.h"

#include "sys/sys.h"

#include <sys/wait.h>

/* A job whose first process has set another one apart, in a session of its own. Returns that one's pid. */
static pid_t run_leaver(struct world *w, pid_t *shim)
{
    char *left = mem_printf("%s/left", unit_tmpdir()),
         *first = mem_printf("%s/first", unit_tmpdir());
    char *script = mem_printf(
        "setsid sh -c 'echo $$ >%s.new; mv %s.new %s; exec sleep 300' & "
        "while [ ! -e %s ]; do sleep 0.01; done; echo $PPID >%s.new; mv %s.new %s; sleep 300",
        left, left, left, left, first, first, first);
    run_sh(w, 1, script);
    turn_until_file(w, first);
    pid_t pid = pid_in(left);
    *shim = pid_in(first);
    CHECK(alive(pid) && alive(*shim));
    free(left);
    free(first);
    free(script);
    return pid;
}

static pid_t first_child(void)
{
    char *path = mem_printf("/proc/self/task/%ld/children", (long)getpid());
    pid_t pid = pid_in(path);
    free(path);
    return pid;
}

TEST(spawner_killed_then_shim)
{
    struct world w;
    pid_t shim, left;

    open_world(&w);
    left = run_leaver(&w, &shim);
    CHECK(kill(first_child(), SIGKILL) == 0);
    CHECK(kill(shim, SIGKILL) == 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_LOST);
    CHECK(gone_within(left, NS_PER_S));
    close_world(&w);
}

TEST(daemon_gone_then_shim)
{
    struct world w;
    pid_t shim, left;

    open_world(&w);
    left = run_leaver(&w, &shim);
    stop_daemon(&w);
    CHECK(alive(shim) && alive(left));
    CHECK(kill(shim, SIGKILL) == 0);
    /* the spawner is still there for it */
    CHECK(gone_within(left, 5 * NS_PER_S));
    free(w.state);
    free(w.runtime);
}

TEST(all_killed_then_a_new_daemon)
{
    struct world w;
    struct err err = ERR_INIT;
    struct attempt_key key = { 1, 1, 7 };
    pid_t shim, left, spawner;

    open_world(&w);
    left = run_leaver(&w, &shim);
    spawner = first_child();
    CHECK(kill(spawner, SIGKILL) == 0);
    stop_daemon(&w);
    CHECK(kill(shim, SIGKILL) == 0);
    CHECK(gone_within(shim, 5 * NS_PER_S));
    CHECK(alive(left));
    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, false, &err), &err);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_LOST);
    CHECK(gone_within(left, NS_PER_S));
    close_world(&w);
}

static pid_t start_with(const char *entry)
{
    char name[] = "sleep", time[] = "300", first[] = "A=1", last[] = "Z=1";
    char *argv[] = { name, time, NULL };
    char *env[] = { first, (char *)(uintptr_t)entry, last, NULL };
    pid_t pid = fork();
    if (pid == 0) {
        execve("/bin/sleep", argv, env);
        _exit(127);
    }
    CHECK(pid > 0);
    /* until it is sleep: before it has our own environment */
    char *path = mem_printf("/proc/%ld/comm", (long)pid);
    for (bool there = false; !there;) {
        struct buf b = BUF_INIT;
        there = fs_read_file(path, 64, &b, NULL) == 0 && str_eq(buf_data(&b), "sleep\n");
        buf_fini(&b);
    }
    free(path);
    return pid;
}

TEST(marks_are_whole_entries)
{
    static const char *const entries[] = {
        "HIVE_ATTEMPT_PREFIX=/a/attempts/0/17.1",     "HIVE_ATTEMPT_PREFIX=/a/attempts/0/17.10",
        "HIVE_ATTEMPT_PREFIX=/a/attempts/0/17.1.out", "HIVE_ATTEMPT_PREFIX=/a/attempts/0/17.1/x",
        "XHIVE_ATTEMPT_PREFIX=/a/attempts/0/17.1",    "HIVE_ATTEMPT_PREFIX=/b/attempts/0/17.1",
        "X=HIVE_ATTEMPT_PREFIX=/a/attempts/0/17.1"
    };
    pid_t pids[ARRAY_LEN(entries)];
    int status;

    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        pids[i] = start_with(entries[i]);
    CHECK_INT(sys_kill_marked(entries[0], now() + NS_PER_S), 1);
    CHECK(waitpid(pids[0], &status, 0) == pids[0] && WIFSIGNALED(status));
    for (size_t i = 1; i < ARRAY_LEN(entries); i++) {
        CHECK_INT(waitpid(pids[i], &status, WNOHANG), 0);
        kill(pids[i], SIGKILL);
        waitpid(pids[i], &status, 0);
    }
}
