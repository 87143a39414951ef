/* SPDX-License-Identifier: BSD-2-Clause */
/* The node with real processes: this test program is its own spawner, as hive is. */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "ev/ev.h"
#include "node/attempt.h"
#include "node/node.h"
#include "node/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* "PROGRAM spawner --internal FD STATE RUNTIME", before the runner looks at the arguments. */
__attribute__((constructor)) static void be_the_spawner(int argc, char **argv)
{
    if (argc == 6 && str_eq(argv[1], "spawner"))
        _exit(spawner_main(argc - 1, argv + 1));
}

#define WAIT_S 20

struct world {
    char *state, *runtime;
    struct ev_loop *loop;
    struct node *node;
    struct attempt_end ends[64];
    size_t ended;
    struct attempt_key never[8];
    size_t never_count;
};

static void on_ended(const struct attempt_end *end, void *arg)
{
    struct world *w = arg;

    w->ends[w->ended++ % ARRAY_LEN(w->ends)] = *end;
}

static void on_never(const struct attempt_key *key, void *arg)
{
    struct world *w = arg;

    w->never[w->never_count++ % ARRAY_LEN(w->never)] = *key;
}

static void start_daemon(struct world *w)
{
    struct err err = ERR_INIT;
    struct node_config cfg = { .state_dir = w->state,
                               .runtime_dir = w->runtime,
                               .idle_shims = 1,
                               .slots = 4 };
    struct node_hooks hooks = { on_ended, on_never, w };

    w->loop = ev_loop_create(&clock_system, &err);
    CHECK(w->loop);
    cfg.spawner_fd = spawner_start(w->state, w->runtime, &err);
    CHECK(cfg.spawner_fd >= 0);
    w->node = node_create(w->loop, NULL, &cfg, &hooks, &err);
    if (!w->node)
        unit_fail(__FILE__, __LINE__, "node_create: %s", err.msg);
}

static void stop_daemon(struct world *w)
{
    node_destroy(w->node);
    ev_loop_destroy(w->loop);
    w->node = NULL;
}

static void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->state = mem_printf("%s/state", unit_tmpdir());
    w->runtime = mem_printf("%s/run", unit_tmpdir());
    CHECK(mkdir(w->state, 0700) == 0 && mkdir(w->runtime, 0700) == 0);
    start_daemon(w);
}

static void close_world(struct world *w)
{
    stop_daemon(w);
    free(w->state);
    free(w->runtime);
}

static int64_t now(void)
{
    return clock_mono_ns(&clock_system);
}

static void turn_until_ended(struct world *w, size_t count)
{
    int64_t deadline = now() + WAIT_S * NS_PER_S;

    while (w->ended < count) {
        if (now() > deadline)
            unit_fail(__FILE__, __LINE__, "%zu of %zu attempts ended in %d s", w->ended, count,
                      WAIT_S);
        CHECK(ev_turn(w->loop, 50 * NS_PER_MS, NULL) == 0);
    }
}

/* Turns until the path exists. */
static void turn_until_file(struct world *w, const char *path)
{
    int64_t deadline = now() + WAIT_S * NS_PER_S;

    while (access(path, F_OK) != 0) {
        if (now() > deadline)
            unit_fail(__FILE__, __LINE__, "%s did not appear", path);
        if (w->node)
            CHECK(ev_turn(w->loop, 5 * NS_PER_MS, NULL) == 0);
        else
            nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
}

/* Zombies are not: whoever has to reap them may be the test runner, later. */
static bool alive(pid_t pid)
{
    char *path = mem_printf("/proc/%ld/stat", (long)pid);
    struct buf b = BUF_INIT;
    bool yes = fs_read_file(path, 4096, &b, NULL) == 0 && !strstr(buf_data(&b), ") Z ");

    buf_fini(&b);
    free(path);
    return yes;
}

/* A process that is nobody's child of ours: polls until it is gone. */
static bool gone_within(pid_t pid, int64_t ns)
{
    int64_t deadline = now() + ns;

    while (alive(pid)) {
        if (now() > deadline)
            return false;
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
    }
    return true;
}

static const char *const default_env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "HIVE_TEST=yes",
                                           NULL };

static struct node_run request(int64_t job, const char *const *argv)
{
    return (struct node_run){
        .key = { job, 1, 7 }, .argv = argv, .env = default_env, .workdir = "/"
    };
}

static void run_argv(struct world *w, int64_t job, const char *const *argv)
{
    struct node_run r = request(job, argv);
    struct err err = ERR_INIT;

    CHECK_OK(node_run(w->node, &r, &err), &err);
}

static void run_sh(struct world *w, int64_t job, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };

    run_argv(w, job, argv);
}

static char *own_file(const struct world *w, int64_t job, const char *name)
{
    return mem_printf("%s/attempts/%lld/%lld.1/%s", w->state, (long long)(job / 1024),
                      (long long)job, name);
}

static char *file_text(const char *path)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file(path, 1 << 20, &b, &err), &err);
    return buf_take(&b, NULL);
}

static void check_file(const char *path, const char *want)
{
    char *text = file_text(path);

    CHECK_STR(text, want);
    free(text);
}

static void check_own(const struct world *w, int64_t job, const char *name, const char *want)
{
    char *path = own_file(w, job, name);

    check_file(path, want);
    free(path);
}

static pid_t pid_in(const char *path)
{
    char *text = file_text(path);
    pid_t pid = (pid_t)strtol(text, NULL, 10);

    free(text);
    CHECK(pid > 1);
    return pid;
}

/* --- running --------------------------------------------------------------------------------------- */

TEST(exit_codes_signals_and_output)
{
    struct world w;

    open_world(&w);
    run_sh(&w, 1, "echo out; echo err >&2; echo $HIVE_TEST; pwd; cat; exit 7");
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_EXITED);
    CHECK_INT(w.ends[0].code, 7);
    CHECK_INT(w.ends[0].signal, 0);
    CHECK_INT(w.ends[0].key.job, 1);
    CHECK_INT(w.ends[0].key.fence, 7);
    CHECK(w.ends[0].started_ns > 0 && w.ends[0].finished_ns >= w.ends[0].started_ns);
    CHECK(w.ends[0].duration_ns > 0 && w.ends[0].max_rss > 0);
    check_own(&w, 1, "stdout", "out\nyes\n/\n");
    check_own(&w, 1, "stderr", "err\n");

    run_sh(&w, 2, "kill -TERM $$");
    turn_until_ended(&w, 2);
    CHECK_INT(w.ends[1].outcome, ATTEMPT_SIGNALED);
    CHECK_INT(w.ends[1].signal, SIGTERM);
    CHECK_INT(w.ends[1].code, -1);
    CHECK_INT(node_running(w.node), 0);
    close_world(&w);
}

TEST(exit_record_on_disk_is_what_was_reported)
{
    struct world w;
    struct attempt_end end;
    enum attempt_state state;
    struct err err = ERR_INIT;
    int fd;

    open_world(&w);
    run_sh(&w, 3, "exit 42");
    turn_until_ended(&w, 1);
    fd = open(w.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_OK(attempt_inspect(fd, &w.ends[0].key, false, &state, &end, NULL, &err), &err);
    CHECK_INT(state, ATTEMPT_ENDED);
    CHECK_INT(end.code, 42);
    CHECK_INT(end.started_ns, w.ends[0].started_ns);
    CHECK_INT(end.duration_ns, w.ends[0].duration_ns);
    close(fd);
    close_world(&w);
}

TEST(many_runs_use_few_processes)
{
    struct world w;
    char *shims;

    open_world(&w);
    for (int64_t i = 1; i <= 40; i++)
        run_sh(&w, i, "exit 0");
    CHECK_INT(node_running(w.node), 40);
    turn_until_ended(&w, 40);
    for (size_t i = 0; i < 40; i++)
        CHECK_INT(w.ends[i].code, 0);
    CHECK_INT(node_running(w.node), 0);
    shims = mem_printf("%s/shims", w.state);
    free(shims);
    close_world(&w);
}

/* What the job's process finds: session leader, no signal blocked or ignored, no foreign descriptor. */
TEST(clean_process_state)
{
    struct world w;
    char *path, *text;

    open_world(&w);
    signal(SIGPIPE, SIG_IGN);
    run_sh(&w, 4,
           "grep -E '^(SigBlk|SigIgn):' /proc/self/status; ls /proc/self/fd | wc -l;"
           "readlink /proc/self/fd/0; set -- $(cat /proc/$$/stat); [ $1 = $6 ] && echo leader");
    turn_until_ended(&w, 1);
    path = own_file(&w, 4, "stdout");
    text = file_text(path);
    CHECK_STR(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n4\n/dev/null\nleader\n");
    free(text);
    free(path);
    close_world(&w);
}

TEST(output_paths_append_and_shared)
{
    struct world w;
    struct node_run r;
    struct err err = ERR_INIT;
    const char *argv[] = { "sh", "-c", "echo a; echo b >&2; echo c", NULL };
    char *out;

    open_world(&w);
    out = mem_printf("%s/out", unit_tmpdir());
    for (int i = 0; i < 3; i++) {
        r = request(10 + i, argv);
        r.stdout_path = r.stderr_path = out;
        r.append = i == 2;
        CHECK_OK(node_run(w.node, &r, &err), &err);
        turn_until_ended(&w, (size_t)i + 1);
        CHECK_INT(w.ends[i].code, 0);
        check_file(out, i < 2 ? "a\nb\nc\n" : "a\nb\nc\na\nb\nc\n");
    }
    free(out);
    close_world(&w);
}

TEST(script_is_written_and_named)
{
    struct world w;
    struct err err = ERR_INIT;
    const char *argv[] = { "{script}", "x y", NULL };
    struct node_run r = request(5, argv);

    open_world(&w);
    r.script = "#!/bin/sh\necho \"got $1\"\n";
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].code, 0);
    check_own(&w, 5, "stdout", "got x y\n");

    /* Without "#!" sh runs it, as a shell would. */
    r.key.job = 6;
    r.script = "echo \"plain $1\"\n";
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 2);
    check_own(&w, 6, "stdout", "plain x y\n");
    close_world(&w);
}

static void check_not_run(struct world *w, const struct node_run *r, int code, const char *message)
{
    struct err err = ERR_INIT;
    size_t i = w->ended;

    CHECK_OK(node_run(w->node, r, &err), &err);
    turn_until_ended(w, i + 1);
    CHECK_INT(w->ends[i].outcome, ATTEMPT_NOT_RUN);
    CHECK_STR(w->ends[i].message, message);
    CHECK_INT(w->ends[i].code, code);
    CHECK_INT(w->ends[i].started_ns, 0);
}

TEST(what_cannot_be_run_says_why)
{
    struct world w;
    const char *argv[] = { "no-such-program", NULL };
    struct node_run r = request(20, argv);
    char *file, *message;

    open_world(&w);
    check_not_run(&w, &r, 127, "cannot run no-such-program: not found in PATH");

    r.key.job++;
    argv[0] = "./x";
    check_not_run(&w, &r, 127, "cannot run ./x: No such file or directory");

    r.key.job++;
    argv[0] = "/";
    check_not_run(&w, &r, 126, "cannot run /: Permission denied");

    r.key.job++;
    r.workdir = "/no/where";
    check_not_run(&w, &r, 125, "cannot enter the working folder /no/where: No such file or directory");

    r.key.job++;
    r.workdir = "/";
    r.stdout_path = "/no/where/out";
    check_not_run(&w, &r, 125, "cannot write output /no/where/out: No such file or directory");

    r.key.job++;
    r.stdout_path = NULL;
    file = mem_printf("%s/interp", unit_tmpdir());
    CHECK(fs_write_file(file, "#!/no/interpreter\n", 18, 0755, false, NULL) == 0);
    argv[0] = file;
    message = mem_printf("cannot run %s: the interpreter or loader it asks for was not found", file);
    check_not_run(&w, &r, 126, message);
    free(message);
    free(file);
    close_world(&w);
}

TEST(refused_requests)
{
    struct world w;
    struct err err = ERR_INIT;
    const char *argv[] = { "true", NULL };
    struct node_run r = request(1, argv);
    char *big;

    open_world(&w);
    CHECK_OK(node_run(w.node, &r, &err), &err);
    CHECK_INT(node_run(w.node, &r, &err), -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    r.key.job = 0;
    CHECK_INT(node_run(w.node, &r, &err), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    r.key.job = 2;
    big = mem_alloc(200 * 1024);
    memset(big, 'x', 200 * 1024 - 1);
    r.script = big;
    CHECK_INT(node_run(w.node, &r, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    free(big);
    turn_until_ended(&w, 1);
    CHECK_INT(node_running(w.node), 0);
    close_world(&w);
}

/* The largest environment and script that fit into a packet arrive whole. */
TEST(large_request)
{
    struct world w;
    struct err err = ERR_INIT;
    const char *argv[] = { "wc", "-c", "{script}", NULL };
    struct node_run r = request(1, argv);
    char *big, *want;

    open_world(&w);
    big = mem_alloc(150 * 1024 + 1);
    memset(big, 'x', 150 * 1024);
    r.script = big;
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 1);
    want = mem_printf("%d %s/attempts/0/1.1/script\n", 150 * 1024, w.state);
    check_own(&w, 1, "stdout", want);
    free(want);
    free(big);
    close_world(&w);
}

/* --- ending --------------------------------------------------------------------------------------- */

TEST(kill_ends_the_tree)
{
    struct world w;
    char *a, *b, *script;
    pid_t pa, pb;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    b = mem_printf("%s/b", unit_tmpdir());
    script = mem_printf("trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ > %s.t; mv %s.t %s; sleep "
                        "1000' & echo $$ > %s.t; mv %s.t %s; sleep 1000; sleep 1000",
                        b, b, b, a, a, a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    turn_until_file(&w, b);
    pa = pid_in(a);
    pb = pid_in(b);
    CHECK(alive(pa) && alive(pb));
    node_kill(w.node, &(struct attempt_key){ 1, 1, 7 }, 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_CANCELLED);
    CHECK_INT(w.ends[0].signal, SIGKILL);
    CHECK(!alive(pa) && !alive(pb));
    free(a);
    free(b);
    free(script);
    close_world(&w);
}

TEST(kill_with_grace_lets_it_clean_up)
{
    struct world w;
    char *a, *script;
    int64_t begun;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("trap 'echo bye; exit 3' TERM; echo > %s; while :; do sleep 0.05; done", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    begun = now();
    node_kill(w.node, &(struct attempt_key){ 1, 1, 7 }, 15 * NS_PER_S);
    turn_until_ended(&w, 1);
    CHECK(now() - begun < 10 * NS_PER_S);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_CANCELLED);
    CHECK_INT(w.ends[0].code, 3);
    check_own(&w, 1, "stdout", "bye\n");
    free(a);
    free(script);
    close_world(&w);
}

TEST(kill_again_with_shorter_grace)
{
    struct world w;
    struct attempt_key key = { 1, 1, 7 };
    char *a, *script;
    int64_t begun;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("trap '' TERM; echo > %s; while :; do sleep 0.05; done", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    begun = now();
    node_kill(w.node, &key, 1000 * NS_PER_S);
    node_kill(w.node, &key, 200 * NS_PER_MS);
    turn_until_ended(&w, 1);
    CHECK(now() - begun >= 150 * NS_PER_MS);
    CHECK_INT(w.ends[0].signal, SIGKILL);
    free(a);
    free(script);
    close_world(&w);
}

TEST(kill_before_it_began_and_of_unknown_keys)
{
    struct world w;

    open_world(&w);
    run_sh(&w, 1, "exit 0");
    /* The loop has not turned: no shim can have said hello, the run waits. */
    node_kill(w.node, &(struct attempt_key){ 1, 1, 7 }, 0);
    node_kill(w.node, &(struct attempt_key){ 99, 1, 7 }, 0);
    node_kill(w.node, &(struct attempt_key){ -4, 0, 7 }, 0);
    CHECK_INT(w.ended, 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_CANCELLED);
    CHECK_INT(w.ends[0].code, -1);
    CHECK_INT(w.ends[0].signal, 0);
    close_world(&w);
}

TEST(timeout)
{
    struct world w;
    struct err err = ERR_INIT;
    const char *argv[] = { "sleep", "1000", NULL };
    struct node_run r = request(1, argv);

    open_world(&w);
    r.timeout_ns = 200 * NS_PER_MS;
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_TIMEOUT);
    CHECK_INT(w.ends[0].signal, SIGKILL);
    CHECK(w.ends[0].duration_ns >= 200 * NS_PER_MS);

    r.key.job = 2;
    r.grace_ns = 15 * NS_PER_S;
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 2);
    CHECK_INT(w.ends[1].outcome, ATTEMPT_TIMEOUT);
    CHECK_INT(w.ends[1].signal, SIGTERM);
    close_world(&w);
}

/* The job is its first process: what that leaves behind goes with it. */
TEST(background_processes_end_with_the_job)
{
    struct world w;
    char *a, *script;
    pid_t pid;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("setsid sleep 1000 & echo $! > %s; exit 5", a);
    run_sh(&w, 1, script);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_EXITED);
    CHECK_INT(w.ends[0].code, 5);
    pid = pid_in(a);
    CHECK(!alive(pid));
    free(a);
    free(script);
    close_world(&w);
}

TEST(signals_stop_and_continue)
{
    struct world w;
    struct attempt_key key = { 1, 1, 7 };
    char *a, *b, *script;
    pid_t pid;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    b = mem_printf("%s/b", unit_tmpdir());
    script = mem_printf("trap 'echo > %s; exit 0' USR1; echo $$ > %s.t; mv %s.t %s; "
                        "while :; do sleep 0.02; done",
                        b, a, a, a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    pid = pid_in(a);
    node_signal(w.node, &key, SIGSTOP);
    for (int64_t deadline = now() + WAIT_S * NS_PER_S;;) {
        char *stat = mem_printf("/proc/%ld/stat", (long)pid), *text = file_text(stat);
        bool stopped = strstr(text, ") T ") != NULL;
        free(stat);
        free(text);
        if (stopped)
            break;
        CHECK(now() < deadline);
        CHECK(ev_turn(w.loop, 2 * NS_PER_MS, NULL) == 0);
    }
    node_signal(w.node, &key, SIGCONT);
    node_signal(w.node, &key, SIGUSR1);
    turn_until_file(&w, b);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_EXITED);
    free(a);
    free(b);
    free(script);
    close_world(&w);
}

/* --- death of others --------------------------------------------------------------------------------- */

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
    CHECK_OK(node_adopt(w.node, &key, &err), &err);
    CHECK_OK(node_adopt(w.node, &quick, &err), &err);
    CHECK_OK(node_adopt(w.node, &fresh, &err), &err);
    CHECK_INT(node_adopt(w.node, &key, &err), -1);
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

TEST(adopt_what_ended_without_a_daemon)
{
    struct world w;
    struct attempt_key key = { 1, 1, 0 };
    struct err err = ERR_INIT;
    char *a, *exit_file, *script;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    script = mem_printf("echo > %s; sleep 0.2; exit 6", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    stop_daemon(&w);
    exit_file = own_file(&w, 1, "exit");
    turn_until_file(&w, exit_file);

    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, &err), &err);
    CHECK_INT(w.ended, 0); /* never from inside */
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].code, 6);
    free(a);
    free(exit_file);
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
    CHECK_OK(node_adopt(w.node, &key, &err), &err);
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
    struct attempt_key key = { job, 1, 0 };
    enum attempt_state state;
    struct attempt_end end;
    struct err err = ERR_INIT;
    pid_t pid;
    int fd = open(w->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK_OK(attempt_inspect(fd, &key, false, &state, &end, &pid, &err), &err);
    CHECK_INT(state, ATTEMPT_ALIVE);
    CHECK(pid > 1);
    close(fd);
    return pid;
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

TEST(idle_shims_end_with_the_daemon)
{
    struct world w;
    struct attempt_end end;
    char *path, *a, *script;
    pid_t pid;

    (void)end;
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
    dir = own_file(&w, 1, "");
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

/* An exit record that can't be written is tried again; the daemon hears of the end at once. */
TEST(record_that_cannot_be_written_yet)
{
    struct world w;
    char *dir, *tmp, *record;

    open_world(&w);
    dir = own_file(&w, 1, "");
    tmp = own_file(&w, 1, "exit.tmp");
    record = own_file(&w, 1, "exit");
    CHECK(fs_mkdir_p(tmp, 0700, NULL) == 0); /* a folder is in the way */
    run_sh(&w, 1, "exit 3");
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].code, 3);
    CHECK(access(record, F_OK) != 0);
    stop_daemon(&w);
    CHECK(access(record, F_OK) != 0);
    CHECK(rmdir(tmp) == 0);
    turn_until_file(&w, record);
    free(dir);
    free(tmp);
    free(record);
    free(w.state);
    free(w.runtime);
}

/* The same, but the end never reached a daemon: the next one hears it. */
TEST(record_that_cannot_be_written_reaches_the_next_daemon)
{
    struct world w;
    struct attempt_key key = { 1, 1, 7 };
    struct err err = ERR_INIT;
    char *tmp, *a, *script;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    tmp = own_file(&w, 1, "exit.tmp");
    CHECK(fs_mkdir_p(tmp, 0700, NULL) == 0);
    script = mem_printf("echo > %s; sleep 0.2; exit 3", a);
    run_sh(&w, 1, script);
    turn_until_file(&w, a);
    stop_daemon(&w);
    nanosleep(&(struct timespec){ 0, 500000000 }, NULL); /* it ends meanwhile, most likely */
    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &key, &err), &err);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_EXITED);
    CHECK_INT(w.ends[0].code, 3);
    CHECK(rmdir(tmp) == 0);
    free(tmp);
    free(a);
    free(script);
    close_world(&w);
}

TEST(second_daemon_is_refused)
{
    struct world w;
    struct err err = ERR_INIT;
    struct node_hooks hooks = { on_ended, on_never, NULL };
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

TEST(memory_limit)
{
    struct world w;
    struct err err = ERR_INIT;
    const char *argv[] = { "sh", "-c", "head -c 200m /dev/zero | tail -c 150m > /dev/null", NULL };
    struct node_run r = request(1, argv);

    open_world(&w);
    if (node_memory_note(w.node)[0]) {
        fprintf(stderr, "# not checked: %s\n", node_memory_note(w.node));
        close_world(&w);
        return;
    }
    r.memory_bytes = 32 << 20;
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 1);
    CHECK_STR(attempt_outcome_name(w.ends[0].outcome), "oom");
    CHECK(strstr(w.ends[0].message, "one of its processes"));

    /* The process itself; also in a group that was used before, and with a peak that starts anew. */
    argv[2] = "x=$(head -c 150m /dev/zero | tr '\\0' x)";
    r.key.job = 2;
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 2);
    CHECK_STR(attempt_outcome_name(w.ends[1].outcome), "oom");
    CHECK_INT(w.ends[1].signal, SIGKILL);
    CHECK_STR(w.ends[1].message, "killed at its memory limit");

    argv[2] = "exit 1";
    r.key.job = 3;
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 3);
    CHECK_STR(attempt_outcome_name(w.ends[2].outcome), "exited");
    CHECK(w.ends[2].max_rss < (20 << 20));

    argv[2] = "sleep 1000";
    r.key.job = 4;
    r.timeout_ns = NS_PER_S / 2;
    r.memory_bytes = 400 << 20;
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 4);
    CHECK_STR(attempt_outcome_name(w.ends[3].outcome), "timeout");
    close_world(&w);
}
