/* SPDX-License-Identifier: BSD-2-Clause */
/* Running attempts and ending them. */
#include "unit/node_world.h"

#include "sys/sample.h"

#include <grp.h>
#include <sys/wait.h>

/* --- running ---------------------------------------------------------------------------------- */

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
    check_own(&w, 1, "out", "out\nyes\n/\n");
    check_own(&w, 1, "err", "err\n");

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
    CHECK_OK(attempt_inspect(fd, &w.ends[0].key, ATTEMPT_LEAVE, &state, &end, NULL, &err), &err);
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

    open_world(&w);
    for (int64_t i = 1; i <= 40; i++)
        run_sh(&w, i, "exit 0");
    CHECK_INT(node_running(w.node), 40);
    turn_until_ended(&w, 40);
    for (size_t i = 0; i < 40; i++)
        CHECK_INT(w.ends[i].code, 0);
    CHECK_INT(node_running(w.node), 0);
    close_world(&w);
}

/* What the job's process finds: session leader, no signal blocked or ignored, no foreign
 * descriptor. */
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
    path = own_file(&w, 4, "out");
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
    check_own(&w, 5, "out", "got x y\n");

    /* Without "#!" sh runs it, as a shell would. */
    r.key.job = 6;
    r.script = "echo \"plain $1\"\n";
    CHECK_OK(node_run(w.node, &r, &err), &err);
    turn_until_ended(&w, 2);
    check_own(&w, 6, "out", "plain x y\n");
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
    check_not_run(&w, &r, 125,
                  "cannot enter the working folder /no/where: No such file or directory");

    r.key.job++;
    r.workdir = "/";
    r.stdout_path = "/no/where/out";
    check_not_run(&w, &r, 125, "cannot write output /no/where/out: No such file or directory");

    r.key.job++;
    r.stdout_path = NULL;
    file = mem_printf("%s/interp", unit_tmpdir());
    CHECK(fs_write_file(file, "#!/no/interpreter\n", 18, 0755, false, NULL) == 0);
    argv[0] = file;
    message =
        mem_printf("cannot run %s: the interpreter or loader it asks for was not found", file);
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

/* Nothing was claimed, so nothing may be written either. */
TEST(state_folder_that_cannot_be_written)
{
    struct world w;
    const char *argv[] = { "true", NULL };
    struct node_run r = request(1, argv);
    char *attempts;

    open_world(&w);
    attempts = mem_printf("%s/attempts", w.state);
    CHECK(rmdir(attempts) == 0 && fs_write_file(attempts, "", 0, 0600, false, NULL) == 0);
    check_not_run(&w, &r, 125, "cannot claim the job in the state folder (link): Not a directory");
    CHECK(unlink(attempts) == 0);
    r.key.job = 2;
    CHECK(node_run(w.node, &r, NULL) == 0);
    turn_until_ended(&w, 2);
    CHECK_INT(w.ends[1].outcome, ATTEMPT_EXITED);
    free(attempts);
    close_world(&w);
}

/* Somebody clears the folder of identity files: the shim makes itself a new one. */
TEST(identity_file_that_was_removed)
{
    struct world w;
    char *shims;

    open_world(&w);
    run_sh(&w, 1, "exit 1");
    turn_until_ended(&w, 1);
    shims = mem_printf("%s/shims", w.state);
    CHECK(fs_remove_tree(AT_FDCWD, shims, NULL) == 0);
    run_sh(&w, 2, "exit 2");
    turn_until_ended(&w, 2);
    CHECK_INT(w.ends[1].code, 2);
    free(shims);
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
    want = mem_printf("%d %s/attempts/0/1.1.script\n", 150 * 1024, w.state);
    check_own(&w, 1, "out", want);
    free(want);
    free(big);
    close_world(&w);
}

/* --- ending ----------------------------------------------------------------------------------- */

TEST(kill_ends_the_tree)
{
    struct world w;
    char *a, *b, *script;
    pid_t pa, pb;

    open_world(&w);
    a = mem_printf("%s/a", unit_tmpdir());
    b = mem_printf("%s/b", unit_tmpdir());
    script =
        mem_printf("trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ > %s.t; mv %s.t %s; sleep "
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
    check_own(&w, 1, "out", "bye\n");
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
                        "while :; do :; done",
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

/* Runs `fn` in a world of its own in a process with another uid, where that can be done. */
static void as_nobody(void (*fn)(struct world *w))
{
    struct world w;
    int status;
    pid_t pid;

    if (geteuid() != 0)
        return;
    CHECK(chown(unit_tmpdir(), 65534, 65534) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
        open_world(&w);
        fn(&w);
        close_world(&w);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
}

static void as_myself(void (*fn)(struct world *w))
{
    struct world w;

    open_world(&w);
    fn(&w);
    close_world(&w);
}

/* Shell processes that fork, leave their session and end, as fast as they can, ignoring what can be
 * ignored. Bounded by their number and by a file that must exist. */
static void cancel_a_chain(struct world *w)
{
    static const char text[] = "#!/bin/sh\n"
                               "trap '' TERM INT HUP QUIT\n"
                               "n=$(($1 + 1)); [ $n -lt 5000 ] && [ -e \"$2\" ] || exit 0\n"
                               "[ $n = 20 ] && echo > \"$2.20\"\n"
                               "setsid \"$0\" $n \"$2\" &\n";
    char *chain = mem_printf("%s/chain", unit_tmpdir()), *go = mem_printf("%s/go", unit_tmpdir());
    char *twenty = mem_printf("%s.20", go);
    char *script = mem_printf(
        "trap '' TERM; for i in 1 2 3; do %s 0 %s & done; while :; do sleep 1; done", chain, go);
    int64_t begun;

    CHECK(fs_write_file(go, "", 0, 0600, false, NULL) == 0);
    CHECK(fs_write_file(chain, text, sizeof text - 1, 0755, false, NULL) == 0);
    run_sh(w, 1, script);
    turn_until_file(w, twenty);
    begun = now();
    node_kill(w->node, &(struct attempt_key){ 1, 1, 7 }, 0);
    turn_until_ended(w, 1);
    CHECK(now() - begun < 2 * NS_PER_S);
    CHECK_INT(w->ends[0].outcome, ATTEMPT_CANCELLED);

    /* Nothing is left that could make this file again. */
    CHECK(unlink(twenty) == 0);
    run_sh(w, 2, "sleep 0.2");
    turn_until_ended(w, 2);
    CHECK(access(twenty, F_OK) != 0);
    free(chain);
    free(go);
    free(twenty);
    free(script);
}

TEST(cancel_beats_forking_chains)
{
    as_myself(cancel_a_chain);
}

TEST(cancel_beats_forking_chains_as_nobody)
{
    as_nobody(cancel_a_chain);
}

/* --- limits ----------------------------------------------------------------------------------- */

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
    CHECK(strstr(w.ends[0].message, "memory limit")); /* mostly of tail, now and then of sh */

    /* The process itself; also in a group that was used before, and with a peak that starts
     * anew. */
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

/* --- measuring -------------------------------------------------------------------------------- */

TEST(the_machine_is_measured_again_while_somebody_looks)
{
    struct world w;
    const struct sample *s;
    int64_t first, deadline = now() + WAIT_S * NS_PER_S;

    open_world(&w);
    s = node_measure(w.node);
    CHECK(s && s->memory.total > 0 && s->core_count > 0);
    first = s->taken_ns;
    CHECK(now() - first < 2 * NS_PER_S);
    while ((s = node_measure(w.node))->taken_ns == first && now() < deadline)
        CHECK(ev_turn(w.loop, 100 * NS_PER_MS, NULL) == 0);
    CHECK(s->taken_ns > first);
    CHECK(s->interval_ns > 0 && sample_cpu_busy(&s->cpu) >= 0);
    close_world(&w);
}
