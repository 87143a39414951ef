/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of attempts when daemon, spawner or shim die. */
#include "unit/node_world.h"

#include <sys/resource.h>
#include <sys/wait.h>

static enum attempt_state state_of(const struct world *w, int64_t job, struct attempt_end *end,
                                   pid_t *shim)
{
    struct attempt_key key = { job, 1, 0 };
    enum attempt_state state;
    struct err err = ERR_INIT;
    int fd = open(w->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK_OK(attempt_inspect(fd, &key, ATTEMPT_LEAVE, &state, end, shim, &err), &err);
    close(fd);
    return state;
}

/* Without a daemon. */
static void wait_for_record(const struct world *w, int64_t job)
{
    int64_t deadline = now() + WAIT_S * NS_PER_S;
    struct attempt_end end;

    while (state_of(w, job, &end, NULL) != ATTEMPT_ENDED) {
        CHECK(now() < deadline);
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
}

TEST(daemon_restart_adopts)
{
    struct world w;
    struct attempt_key key = { 1, 1, 7 }, quick = { 2, 1, 7 }, fresh = { 3, 1, 7 };
    struct err err = ERR_INIT;
    char *a, *b, *go, *script;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    b = mem_printf("%s/b", unit_tmpdir());
    go = mem_printf("%s/go", unit_tmpdir());
    script = mem_printf("echo > %s; while [ ! -e %s ]; do sleep 0.02; done; exit 9", a, go);
    run_sh(&w, 1, script);
    free(script);
    script = mem_printf("echo > %s; sleep 0.3; exit 8", b);
    run_sh(&w, 2, script);
    turn_until_file(&w, a);
    turn_until_file(&w, b);
    stop_daemon(&w);

    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, false, &err), &err);
    CHECK_OK(node_adopt(w.node, &quick, false, &err), &err);
    CHECK_OK(node_adopt(w.node, &fresh, false, &err), &err);
    CHECK_INT(node_adopt(w.node, &key, false, &err), -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].key.job, 2);
    CHECK_INT(w.ends[0].code, 8);
    CHECK_INT(w.never_count, 1);
    CHECK_INT(w.never[0].job, 3);
    CHECK(fs_write_file(go, "", 0, 0600, false, NULL) == 0);
    turn_until_ended(&w, 2);
    CHECK_INT(w.ends[1].key.job, 1);
    CHECK_INT(w.ends[1].code, 9);
    CHECK_INT(node_running(w.node), 0);

    /* What was given up stays so, even when somebody wants it. */
    run_sh(&w, 3, "echo it ran");
    turn_until_ended(&w, 3);
    CHECK_INT(w.ends[2].outcome, ATTEMPT_NOT_RUN);
    free(a);
    free(b);
    free(go);
    free(script);
    close_world(&w);
}

/* Not in good order: nobody says goodbye, and a stale socket is left. */
TEST(killed_daemon_is_succeeded)
{
    struct world w = { 0 };
    struct attempt_key key = { 1, 1, 7 };
    struct err err = ERR_INIT;
    char *a = mem_printf("%s/a", unit_tmpdir()), *go = mem_printf("%s/go", unit_tmpdir()), *script;
    pid_t daemon = fork();

    CHECK(daemon >= 0);
    if (daemon == 0) {
        open_world(&w);
        script =
            mem_printf("echo > %s; while [ ! -e %s ]; do sleep 0.02; done; echo on; exit 9", a, go);
        run_sh(&w, 1, script);
        for (;;)
            CHECK(ev_turn(w.loop, -1, NULL) == 0);
    }
    w.state = mem_printf("%s/state", unit_tmpdir());
    w.runtime = mem_printf("%s/run", unit_tmpdir());
    turn_until_file(&w, a);
    CHECK(kill(daemon, SIGKILL) == 0 && waitpid(daemon, NULL, 0) == daemon);
    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, false, &err), &err);
    CHECK(fs_write_file(go, "", 0, 0600, false, NULL) == 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].code, 9);
    check_own(&w, 1, "out", "on\n");
    free(a);
    free(go);
    close_world(&w);
}

TEST(adopt_what_ended_without_a_daemon)
{
    struct world w;
    struct attempt_key key = { 1, 1, 0 };
    struct err err = ERR_INIT;
    char *a, *script;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("echo > %s; sleep 0.2; exit 6", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    stop_daemon(&w);
    wait_for_record(&w, 1);

    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, false, &err), &err);
    CHECK_INT(w.ended, 0); /* never from inside */
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].code, 6);
    free(a);
    free(script);
    close_world(&w);
}

/* A kill that was asked for while there was no connection is carried out when there is one. */
TEST(adopted_attempt_can_be_killed_at_once)
{
    struct world w;
    struct attempt_key key = { 1, 1, 7 };
    struct err err = ERR_INIT;
    char *a, *script;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("echo > %s; sleep 1000", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    stop_daemon(&w);
    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, false, &err), &err);
    node_kill(w.node, &key, 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_CANCELLED);
    free(a);
    free(script);
    close_world(&w);
}

/* The store has forgotten that it runs and orders it again: one run, one end. */
TEST(ordered_again_while_it_runs)
{
    struct world w;
    char *a, *script;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("echo x >> %s; sleep 0.4; exit 4", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    stop_daemon(&w);
    start_daemon(&w);
    run_sh(&w, 1, script);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].code, 4);
    check_file(a, "x\n");
    free(a);
    free(script);
    close_world(&w);
}

static pid_t shim_of(const struct world *w, int64_t job)
{
    struct attempt_end end;
    pid_t pid;

    CHECK_INT(state_of(w, job, &end, &pid), ATTEMPT_ALIVE);
    CHECK(pid > 1);
    return pid;
}

/* The machine was started again: what has left no claim, or an empty one, may have run. */
TEST(adopt_after_a_reboot)
{
    struct world w;
    struct attempt_key gone = { 1, 1, 7 }, sealed = { 2, 1, 7 }, ended = { 3, 1, 7 };
    struct attempt_key empty = { 4, 1, 7 }, dead = { 5, 1, 7 };
    struct err err = ERR_INIT;
    char *claim;

    open_world(&w);
    run_sh(&w, 3, "exit 6");
    turn_until_ended(&w, 1);
    CHECK_OK(node_adopt(w.node, &sealed, false, &err), &err);
    claim = own_file(&w, 4, "claim");
    CHECK_OK(fs_write_file(claim, "", 0, 0600, false, &err), &err);
    free(claim);
    claim = own_file(&w, 5, "claim");
    CHECK_OK(fs_write_file(claim, "hive-shim 1\npid=1\nstart=1\n", 26, 0600, false, &err), &err);
    free(claim);
    stop_daemon(&w);

    w.ended = 0;
    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &gone, true, &err), &err);
    CHECK_OK(node_adopt(w.node, &sealed, true, &err), &err);
    CHECK_OK(node_adopt(w.node, &ended, true, &err), &err);
    CHECK_OK(node_adopt(w.node, &empty, true, &err), &err);
    CHECK_OK(node_adopt(w.node, &dead, true, &err), &err);
    turn_until_ended(&w, 4);
    CHECK_INT(w.never_count, 1);
    CHECK_INT(w.never[0].job, 2);
    for (int i = 0; i < 4; i++) {
        if (w.ends[i].key.job == 3) {
            CHECK_INT(w.ends[i].outcome, ATTEMPT_EXITED);
            CHECK_INT(w.ends[i].code, 6);
        } else {
            CHECK_INT(w.ends[i].outcome, ATTEMPT_LOST);
            CHECK_STR(w.ends[i].message, NODE_REBOOTED);
        }
    }
    close_world(&w);
}

TEST(killed_shim_is_lost_and_takes_its_job_along)
{
    struct world w;
    char *a, *b, *script;
    pid_t pa, pb;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    b = mem_printf("%s/b", unit_tmpdir());
    script = mem_printf("setsid sh -c 'trap \"\" TERM; echo $$ > %s.t; mv %s.t %s; sleep 1000' & "
                        "echo $$ > %s.t; mv %s.t %s; wait",
                        b, b, b, a, a, a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    turn_until_file(&w, b);
    pa = pid_in(a);
    pb = pid_in(b);
    CHECK(kill(shim_of(&w, 1), SIGKILL) == 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_LOST);
    CHECK_INT(w.ends[0].code, -1);
    CHECK(strstr(w.ends[0].message, "was killed"));
    CHECK(gone_within(pa, NS_PER_S) && gone_within(pb, NS_PER_S));

    /* And the next one runs. */
    run_sh(&w, 2, "exit 0");
    turn_until_ended(&w, 2);
    CHECK_INT(w.ends[1].code, 0);
    free(a);
    free(b);
    free(script);
    close_world(&w);
}

static pid_t spawner_pid(void)
{
    char *path = mem_printf("/proc/self/task/%ld/children", (long)getpid());
    pid_t pid = pid_in(path);

    free(path);
    return pid;
}

TEST(killed_spawner_is_replaced)
{
    struct world w;
    char *a, *go, *script;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    go = mem_printf("%s/go", unit_tmpdir());
    script = mem_printf("echo > %s; while [ ! -e %s ]; do sleep 0.02; done; exit 9", a, go);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    CHECK(kill(spawner_pid(), SIGKILL) == 0);
    for (int i = 2; i <= 6; i++)
        run_sh(&w, i, "exit 2");
    turn_until_ended(&w, 5);
    CHECK(fs_write_file(go, "", 0, 0600, false, NULL) == 0);
    turn_until_ended(&w, 6);
    CHECK_INT(w.ends[5].key.job, 1);
    CHECK_INT(w.ends[5].code, 9);
    for (int i = 0; i < 5; i++)
        CHECK_INT(w.ends[i].code, 2);
    free(a);
    free(go);
    free(script);
    close_world(&w);
}

/* No process can be made for a while: attempts wait, and run when it can be done again. */
static void starve(void)
{
    struct rlimit none, before;
    struct world w;
    pid_t spawner;
    int64_t deadline;

    open_world(&w);
    run_sh(&w, 1, "exit 1");
    turn_until_ended(&w, 1);
    spawner = spawner_pid();
    CHECK(prlimit(spawner, RLIMIT_NPROC, NULL, &before) == 0);
    none = before;
    none.rlim_cur = 0;
    CHECK(prlimit(spawner, RLIMIT_NPROC, &none, NULL) == 0);
    for (int i = 2; i < 6; i++)
        run_sh(&w, i, "sleep 0.1; exit 2");
    deadline = now() + 1500 * NS_PER_MS;
    while (now() < deadline)
        CHECK(ev_turn(w.loop, 20 * NS_PER_MS, NULL) == 0);
    CHECK(prlimit(spawner, RLIMIT_NPROC, &before, NULL) == 0);
    turn_until_ended(&w, 5);
    for (int i = 1; i < 5; i++)
        CHECK_INT(w.ends[i].code, 2);
    close_world(&w);
}

TEST(no_more_processes_for_a_while)
{
    int status;
    pid_t pid;

    if (geteuid() != 0)
        return; /* root makes itself somebody for whom the limit holds, and who runs nothing else */
    CHECK(chown(unit_tmpdir(), 54321, 54321) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setgid(54321) == 0 && setuid(54321) == 0);
        starve();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
}

TEST(idle_shims_end_with_the_daemon)
{
    struct world w;
    char *path, *a, *script;
    pid_t pid;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("echo $PPID > %s", a);
    run_sh(&w, 1, script);
    turn_until_ended(&w, 1);
    pid = pid_in(a);
    CHECK(alive(pid));
    path = mem_printf("/proc/%ld/comm", (long)pid);
    check_file(path, "hive-shim\n");
    stop_daemon(&w);
    CHECK(gone_within(pid, 5 * NS_PER_S));
    free(path);
    free(a);
    free(script);
    free(w.state);
    free(w.runtime);
}

/* Two claims can't both win, whoever starts them. */
TEST(claimed_by_somebody_else)
{
    struct world w;
    struct err err = ERR_INIT;
    char *dir, *claim;

    open_world(&w);
    dir = mem_printf("%s/attempts/0", w.state);
    CHECK_OK(fs_mkdir_p(dir, 0700, &err), &err);
    claim = own_file(&w, 1, "claim");
    CHECK_OK(fs_write_file(claim, "hive-shim 1\npid=1\nstart=1\n", 26, 0600, false, &err), &err);
    run_sh(&w, 1, "echo it ran");
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_LOST);
    free(dir);
    free(claim);
    close_world(&w);
}

static struct stat claim_stat(const struct world *w, int64_t job)
{
    char *claim = own_file(w, job, "claim");
    struct stat st;

    CHECK(stat(claim, &st) == 0);
    free(claim);
    return st;
}

/* One after the other they have one shim, and its identity files; each keeps its own record. */
TEST(many_records_in_a_file)
{
    enum { JOBS = 450 };
    static const char *const yes[] = { "/bin/true", NULL }, *const no[] = { "/bin/false", NULL };
    struct world w;
    struct attempt_end end;
    int files = 0;
    ino_t last = 0;

    open_world(&w);
    for (int64_t i = 1; i <= JOBS; i++) {
        run_argv(&w, i, i % 3 ? yes : no);
        turn_until_ended(&w, (size_t)i);
    }
    for (int64_t i = 1; i <= JOBS; i++) {
        struct stat st = claim_stat(&w, i);
        CHECK_INT(state_of(&w, i, &end, NULL), ATTEMPT_ENDED);
        CHECK_INT(end.key.job, i);
        CHECK_INT(end.code, i % 3 ? 0 : 1);
        CHECK(st.st_size < ATTEMPT_CLAIM_MAX);
        files += st.st_ino != last;
        last = st.st_ino;
    }
    CHECK(files >= 2 && files <= 6);
    close_world(&w);
}

/* So many bytes more can the shim write into its identity file; < 0: any. Returns its size. */
static int64_t limit_records(const struct world *w, int64_t job, pid_t shim, int more)
{
    struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
    struct stat st = claim_stat(w, job);

    if (more >= 0)
        none.rlim_cur = (rlim_t)st.st_size + (rlim_t)more;
    CHECK(prlimit(shim, RLIMIT_FSIZE, &none, NULL) == 0);
    return st.st_size;
}

/* An exit record that can't be written is tried again; the daemon hears of the end at once. What was
 * written of it is taken back. */
static void record_comes_later(int more)
{
    struct world w;
    struct attempt_end end;
    char *a, *go, *script;
    int64_t size;
    pid_t shim;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    go = mem_printf("%s/go", unit_tmpdir());
    script = mem_printf("echo > %s; while [ ! -e %s ]; do sleep 0.02; done; exit 3", a, go);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    shim = shim_of(&w, 1);
    size = limit_records(&w, 1, shim, more);
    CHECK(fs_write_file(go, "", 0, 0600, false, NULL) == 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].code, 3);
    /* It goes on working meanwhile. */
    run_sh(&w, 2, "exit 4");
    turn_until_ended(&w, 2);
    CHECK_INT(w.ends[1].code, 4);
    stop_daemon(&w);
    CHECK_INT(state_of(&w, 1, &end, NULL), ATTEMPT_ALIVE);
    CHECK_INT(claim_stat(&w, 1).st_size, size);
    limit_records(&w, 1, shim, -1);
    wait_for_record(&w, 1);
    wait_for_record(&w, 2);
    CHECK_INT(state_of(&w, 1, &end, NULL), ATTEMPT_ENDED);
    CHECK_INT(end.code, 3);
    CHECK(gone_within(shim, 10 * NS_PER_S));
    free(a);
    free(go);
    free(script);
    free(w.state);
    free(w.runtime);
}

TEST(record_that_cannot_be_written_yet)
{
    record_comes_later(0);
}

TEST(record_that_was_cut)
{
    record_comes_later(20);
}

/* The same, but the end never reached a daemon: the next one hears it. */
TEST(record_that_cannot_be_written_reaches_the_next_daemon)
{
    struct world w;
    struct attempt_key key = { 1, 1, 7 };
    struct err err = ERR_INIT;
    char *a, *script;
    pid_t shim;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("echo > %s; sleep 0.2; exit 3", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    shim = shim_of(&w, 1);
    limit_records(&w, 1, shim, 5);
    stop_daemon(&w);
    nanosleep(&(struct timespec){ 0, 500000000 }, NULL); /* it ends meanwhile, most likely */
    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, false, &err), &err);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_EXITED);
    CHECK_INT(w.ends[0].code, 3);
    limit_records(&w, 1, shim, -1);
    free(a);
    free(script);
    close_world(&w);
}

TEST(second_daemon_is_refused)
{
    struct world w;
    struct err err = ERR_INIT;
    struct node_hooks hooks = { on_ended, on_never, on_taken_back, NULL };
    struct node_config cfg = { .idle_shims = 0, .slots = 1 };

    open_world(&w);
    cfg.state_dir = w.state;
    cfg.runtime_dir = w.runtime;
    cfg.spawner_fd = spawner_start(w.state, w.runtime, &err);
    CHECK(!node_create(w.loop, NULL, &cfg, &hooks, &err));
    CHECK_INT(err.kind, ERR_CONFLICT);
    run_sh(&w, 1, "exit 0");
    turn_until_ended(&w, 1);
    close_world(&w);
}
