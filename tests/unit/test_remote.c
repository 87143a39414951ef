/* SPDX-License-Identifier: BSD-2-Clause */
/* Far nodes that are real agents. */
#include "unit/remote_rig.h"

#include <sys/resource.h>

static const struct attempt_key first = { 1, 1, 7 };

static char *go_file(void)
{
    return mem_printf("%s/go", unit_tmpdir());
}

static void touch(const char *path)
{
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void compare(const struct rig *g, int64_t job, const char *path)
{
    char *mirror = mirror_path(g, job, "out");
    struct buf a = BUF_INIT, b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file(mirror, 1 << 28, &a, &err), &err);
    CHECK_OK(fs_read_file(path, 1 << 28, &b, &err), &err);
    CHECK_INT(buf_len(&a), buf_len(&b));
    CHECK(memcmp(buf_data(&a), buf_data(&b), buf_len(&a)) == 0);
    buf_fini(&a);
    buf_fini(&b);
    free(mirror);
}

TEST(attempts_run_and_their_output_is_here)
{
    struct rig g;
    struct stat st;
    const char *argv[] = { "no-such-program", NULL };
    struct remote_order o = far_order(3, argv);
    char *path;

    open_rig(&g, false);
    connect_agent(&g);
    CHECK(remote_facts(g.remote)->threads > 0 && remote_facts(g.remote)->memory_total_bytes > 0);
    CHECK_STR(remote_facts(g.remote)->version, "test");
    CHECK_STR(remote_facts(g.remote)->state_dir, g.far.folder);
    far_run(&g, 1, "echo out; echo err >&2; exit 3");
    far_run(&g, 2, "kill -SEGV $$");
    CHECK(remote_run(g.remote, &o, NULL) == 0);
    CHECK_INT(remote_running(g.remote), 3);
    UNTIL(&g, g.ended == 3);
    CHECK(end_of(&g, 1)->outcome == ATTEMPT_EXITED && end_of(&g, 1)->code == 3);
    CHECK(end_of(&g, 1)->started_ns > 0 && end_of(&g, 1)->key.fence == 7);
    CHECK(end_of(&g, 2)->outcome == ATTEMPT_SIGNALED && end_of(&g, 2)->signal == SIGSEGV);
    CHECK(end_of(&g, 3)->outcome == ATTEMPT_NOT_RUN && end_of(&g, 3)->code == 127);
    CHECK_INT(remote_running(g.remote), 0);
    check_mirror(&g, 1, "out", "out\n");
    check_mirror(&g, 1, "err", "err\n");
    check_mirror(&g, 2, "out", ""); /* it had none, and that can be shown */
    path = mirror_path(&g, 1, "out");
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    free(path);

    /* forgotten, only the mirror is left */
    path = mem_printf("%s/attempts/0/1.1.out", g.far.folder);
    CHECK(access(path, F_OK) == 0);
    remote_forget(g.remote, &first);
    UNTIL(&g, access(path, F_OK) != 0);
    check_mirror(&g, 1, "out", "out\n");
    free(path);
    close_rig(&g);
}

TEST(much_output_is_copied_byte_for_byte)
{
    struct rig g;
    char *copy = mem_printf("%s/copy", unit_tmpdir());
    char *script = mem_printf("head -c 10000000 /dev/urandom | tee %s", copy);

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, script);
    UNTIL(&g, g.ended == 1 && mirror_size(&g, 1, "out") == 10000000);
    compare(&g, 1, copy);
    free(script);
    free(copy);
    close_rig(&g);
}

TEST(output_comes_while_it_runs)
{
    struct rig g;
    char *go = go_file();
    char *script = mem_printf("echo one; while [ ! -e %s ]; do sleep 0.01; done; echo two", go);

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, script);
    UNTIL(&g, mirror_size(&g, 1, "out") == 4);
    CHECK_INT(g.ended, 0);
    touch(go);
    UNTIL(&g, g.ended == 1);
    check_mirror(&g, 1, "out", "one\ntwo\n"); /* before the end was told */
    free(script);
    free(go);
    close_rig(&g);
}

TEST(files_that_a_job_names_are_copied_too)
{
    struct rig g;
    char *out = base_dir("out.txt"), *both = base_dir("both.txt");
    const char *argv[] = { "sh", "-c", "echo out; echo err >&2", NULL };
    struct remote_order o = far_order(1, argv);

    CHECK(fs_write_file(out, "of a former job\n", 16, 0600, false, NULL) == 0);
    open_rig(&g, false);
    connect_agent(&g);
    o.run.stdout_path = out;
    CHECK(remote_run(g.remote, &o, NULL) == 0);
    o.run.key.job = 2;
    o.run.stdout_path = o.run.stderr_path = both;
    CHECK(remote_run(g.remote, &o, NULL) == 0);
    o.run.key.job = 3;
    o.run.stdout_path = o.run.stderr_path = "/dev/null";
    CHECK(remote_run(g.remote, &o, NULL) == 0);
    UNTIL(&g, g.ended == 3);
    check_mirror(&g, 1, "out", "out\n");
    check_mirror(&g, 1, "err", "err\n");
    check_mirror(&g, 2, "out", "out\nerr\n");
    check_file(out, "out\n");
    CHECK_INT(mirror_size(&g, 2, "err"), -1);
    CHECK_INT(mirror_size(&g, 3, "out"), -1);
    free(out);
    free(both);
    close_rig(&g);
}

TEST(orders_are_filled_in_there)
{
    struct rig g;
    const char *argv[] = { "sh", "-c", "pwd; echo $HOME,$MINE", NULL };
    const char *env[] = { "MINE=1", NULL };
    struct remote_order o = far_order(1, argv);
    char *home = base_dir("home"), *sub = mem_printf("%s/sub", home);
    char *want = mem_printf("%s\n%s,1\n", sub, home);

    CHECK(fs_mkdir_p(sub, 0700, NULL) == 0);
    CHECK(setenv("HOME", home, 1) == 0);
    open_rig(&g, false);
    connect_agent(&g);
    o.run.env = env;
    o.run.workdir = "/nowhere/sub";
    o.home = "/nowhere";
    o.inherit_env = o.workdir_fallback = true;
    CHECK(remote_run(g.remote, &o, NULL) == 0);
    UNTIL(&g, g.ended == 1);
    check_mirror(&g, 1, "out", want);
    free(home);
    free(sub);
    free(want);
    close_rig(&g);
}

TEST(kills_and_signals_get_there)
{
    struct rig g;
    struct attempt_key second = { 2, 1, 7 };
    char *file = base_dir("ready");
    char *script = mem_printf("trap 'exit 9' USR1; : >%s; while :; do sleep 0.01; done", file);

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, "echo x; sleep 100 & wait");
    far_run(&g, 2, script);
    UNTIL(&g, access(file, F_OK) == 0 && mirror_size(&g, 1, "out") == 2);
    remote_signal(g.remote, &second, SIGUSR1);
    remote_kill(g.remote, &first, 0);
    UNTIL(&g, g.ended == 2);
    CHECK_INT(end_of(&g, 1)->outcome, ATTEMPT_CANCELLED);
    CHECK_INT(end_of(&g, 2)->code, 9);
    free(file);
    free(script);
    close_rig(&g);
}

TEST(an_agent_dies_and_the_next_takes_over)
{
    struct rig g;
    char *go = go_file(), *copy = base_dir("copy");
    char *script = mem_printf("(seq 20000; while [ ! -e %s ]; do sleep 0.01; done; seq 30000) | "
                              "tee %s; exit 4",
                              go, copy);

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, script);
    UNTIL(&g, mirror_size(&g, 1, "out") > 0);
    kill(g.far.pid, SIGKILL);
    UNTIL(&g, !remote_connected(g.remote));
    CHECK(remote_error(g.remote)[0]);
    wait_agent(&g, 128 + SIGKILL);
    connect_agent(&g);
    CHECK(g.ended == 0 && g.never_count == 0);
    touch(go);
    UNTIL(&g, g.ended == 1);
    CHECK_INT(end_of(&g, 1)->code, 4);
    compare(&g, 1, copy);
    far_run(&g, 2, "true");
    UNTIL(&g, g.ended == 2);
    free(go);
    free(copy);
    free(script);
    close_rig(&g);
}

TEST(an_end_is_told_once_whatever_happens_to_the_connection)
{
    struct rig g;

    open_rig(&g, false);
    g.ack = false;
    connect_agent(&g);
    far_run(&g, 1, "exit 5");
    UNTIL(&g, g.ended == 1);
    for (int i = 2; i < 4; i++) { /* between the end and its acknowledgement */
        remote_disconnect(g.remote);
        wait_agent(&g, 0);
        connect_agent(&g);
        far_run(&g, i, "true");
        UNTIL(&g, g.ended == (size_t)i);
        CHECK_INT(g.ends[i - 1].key.job, i);
    }
    for (int64_t job = 1; job < 4; job++)
        remote_ack(g.remote, &(struct attempt_key){ job, 1, 7 });
    remote_disconnect(g.remote);
    wait_agent(&g, 0);
    connect_agent(&g);
    far_run(&g, 4, "true");
    UNTIL(&g, g.ended == 4);
    CHECK_INT(g.ends[3].key.job, 4);
    close_rig(&g);
}

TEST(ended_while_nobody_was_there)
{
    struct rig g;
    char *go = go_file();
    char *script = mem_printf("while [ ! -e %s ]; do sleep 0.01; done; echo done", go);

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, script);
    UNTIL(&g, mirror_size(&g, 1, "out") >= -1 && remote_running(g.remote) == 1);
    turn(&g);
    remote_disconnect(g.remote);
    touch(go);
    wait_agent(&g, 0);
    connect_agent(&g);
    UNTIL(&g, g.ended == 1);
    CHECK_INT(end_of(&g, 1)->code, 0);
    check_mirror(&g, 1, "out", "done\n");
    free(go);
    free(script);
    close_rig(&g);
}

TEST(ordered_while_it_is_away)
{
    struct rig g;

    open_rig(&g, false);
    far_run(&g, 1, "true");
    connect_agent(&g);
    UNTIL(&g, g.never_count == 1);
    CHECK(g.never[0].job == 1 && g.ended == 0);
    CHECK_INT(mirror_size(&g, 1, "out"), -1);
    close_rig(&g);
}

TEST(killed_while_it_is_away)
{
    struct rig g;

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, "echo x; exec sleep 100");
    UNTIL(&g, mirror_size(&g, 1, "out") == 2);
    remote_disconnect(g.remote);
    remote_kill(g.remote, &first, 0);
    turn(&g);
    CHECK_INT(g.ended, 0);
    pid_t old = g.far.pid;
    connect_agent(&g);
    UNTIL(&g, g.ended == 1);
    CHECK_INT(end_of(&g, 1)->outcome, ATTEMPT_CANCELLED);
    waitpid(old, NULL, 0);
    close_rig(&g);
}

TEST(the_head_starts_anew)
{
    struct rig g;
    char *go = go_file();
    char *script = mem_printf("echo one; while [ ! -e %s ]; do sleep 0.01; done; echo two", go);
    struct attempt_key never = { 2, 1, 7 };

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, script);
    UNTIL(&g, mirror_size(&g, 1, "out") == 4);
    remote_destroy(g.remote);
    pid_t old = g.far.pid;
    g.cfg.fence = 8;
    make_remote(&g);
    CHECK(remote_adopt(g.remote, &first, NULL, NULL, NULL) == 0);
    CHECK(remote_adopt(g.remote, &never, NULL, NULL, NULL) == 0);
    connect_agent(&g);
    UNTIL(&g, g.never_count == 1);
    CHECK_INT(g.never[0].job, 2);
    touch(go);
    UNTIL(&g, g.ended == 1);
    check_mirror(&g, 1, "out", "one\ntwo\n");
    waitpid(old, NULL, 0);
    free(go);
    free(script);
    close_rig(&g);
}

TEST(what_is_not_adopted_is_ended)
{
    struct rig g;
    char *file = base_dir("pid");
    char *script = mem_printf("echo $$ >%s.new; mv %s.new %s; exec sleep 100", file, file, file);

    open_rig(&g, false);
    connect_agent(&g);
    far_run(&g, 1, script);
    UNTIL(&g, access(file, F_OK) == 0);
    pid_t pid = pid_in(file), old = g.far.pid;
    remote_destroy(g.remote);
    g.cfg.fence = 8;
    make_remote(&g);
    connect_agent(&g);
    CHECK(logged(&g, "ran there unasked"));
    CHECK(gone_within(pid, WAIT_S * NS_PER_S));
    CHECK_INT(g.ended, 0);
    waitpid(old, NULL, 0);
    free(file);
    free(script);
    close_rig(&g);
}

/* Pings renew it; without them it ends, which is no news to a head that is there. */
TEST(a_short_lease_is_kept_alive)
{
    struct rig g;
    int64_t until;

    open_rig(&g, false);
    remote_destroy(g.remote);
    g.cfg.lease_s = 2;
    make_remote(&g);
    connect_agent(&g);
    far_run(&g, 1, "exec sleep 100");
    for (until = now() + 5 * NS_PER_S; now() < until;)
        turn(&g);
    CHECK(g.ended == 0 && remote_state(g.remote) == REMOTE_UP);
    pid_t old = g.far.pid;
    remote_disconnect(g.remote);
    CHECK_INT(waitpid(old, NULL, 0), old); /* of its own */
    connect_agent(&g);
    UNTIL(&g, g.ended == 1);
    CHECK_INT(end_of(&g, 1)->outcome, ATTEMPT_CANCELLED);
    close_rig(&g);
}

TEST(more_at_once_than_is_read_at_once)
{
    enum { JOBS = 50 };
    struct rig g;
    char *go = go_file();

    open_rig(&g, false);
    connect_agent(&g);
    for (int i = 1; i <= JOBS; i++) {
        char *script = mem_printf("echo a%d; echo e%d >&2; while [ ! -e %s ]; do sleep 0.1; done; "
                                  "echo b%d",
                                  i, i, go, i);
        far_run(&g, i, script);
        free(script);
    }
    UNTIL(&g, mirror_size(&g, JOBS, "out") > 0); /* the last one had its turn */
    touch(go);
    UNTIL(&g, g.ended == JOBS);
    for (int i = 1; i <= JOBS; i++) {
        char *out = mem_printf("a%d\nb%d\n", i, i), *err = mem_printf("e%d\n", i);
        check_mirror(&g, i, "out", out);
        check_mirror(&g, i, "err", err);
        free(out);
        free(err);
    }
    free(go);
    close_rig(&g);
}

TEST(hundreds_of_quick_jobs_each_told_once)
{
    enum { JOBS = 400 };
    static int seen[JOBS + 1];
    struct rig g;
    int64_t next = 1;

    open_rig(&g, false);
    connect_agent(&g);
    while (g.ended < JOBS) {
        for (; next <= JOBS && next <= (int64_t)g.ended + 30; next++) {
            char *script = mem_printf("echo %lld", (long long)next);
            far_run(&g, next, script);
            free(script);
        }
        size_t had = g.ended;
        UNTIL(&g, g.ended > had);
    }
    for (size_t i = 0; i < g.ended; i++) {
        char *want = mem_printf("%lld\n", (long long)g.ends[i].key.job);
        CHECK_INT(++seen[g.ends[i].key.job], 1);
        CHECK_INT(g.ends[i].code, 0);
        check_mirror(&g, g.ends[i].key.job, "out", want);
        free(want);
    }
    close_rig(&g);
}

TEST(a_full_disk_here_stops_the_copy_and_nothing_else)
{
    struct rig g;
    struct rlimit limit;

    open_rig(&g, false);
    g.ack = false;
    connect_agent(&g);
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    signal(SIGXFSZ, SIG_IGN);
    limit.rlim_cur = 100000;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    far_run(&g, 1, "head -c 1000000 /dev/zero; echo err >&2; exit 2");
    UNTIL(&g, g.ended == 1);
    CHECK_INT(g.ends[0].code, 2);
    CHECK_INT(mirror_size(&g, 1, "out"), 100000);
    check_mirror(&g, 1, "err", "err\n");
    CHECK(!remote_ack(g.remote, &first));
    CHECK(logged(&g, "stdout of job 1 attempt 1 on node far is not copied on"));
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    close_rig(&g);
}

TEST(samples_come)
{
    struct rig g;

    open_rig(&g, false);
    connect_agent(&g);
    remote_measure(g.remote, 1);
    UNTIL(&g, g.samples >= 2);
    CHECK(g.load >= 0);
    close_rig(&g);
}
