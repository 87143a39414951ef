/* SPDX-License-Identifier: BSD-2-Clause */
/* Attempts that wait for the end of another one. */
#include "unit/node_world.h"

#include <sys/wait.h>

static void run_after(struct world *w, int64_t job, int64_t after, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    struct node_run r = request(job, argv);
    struct err err = ERR_INIT;

    r.after = (struct attempt_key){ after, 1, 7 };
    CHECK_OK(node_run(w->node, &r, &err), &err);
}

static struct attempt_key key(int64_t job)
{
    return (struct attempt_key){ job, 1, 7 };
}

static const struct attempt_end *end_of(const struct world *w, int64_t job)
{
    for (size_t i = 0; i < w->ended; i++)
        if (w->ends[i].key.job == job)
            return &w->ends[i];
    unit_fail(__FILE__, __LINE__, "job %d has not ended", (int)job);
}

/* Job 1 runs until this is made. */
static char *make_gate(char **script)
{
    char *gate = mem_printf("%s/gate", unit_tmpdir());

    *script = mem_printf("until [ -e '%s' ]; do sleep 0.01; done", gate);
    return gate;
}

static void open_gate(const char *gate)
{
    int fd = open(gate, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    close(fd);
}

/* Until a shim has claimed it. */
static void turn_until_runs(struct world *w, int64_t job)
{
    char *claim = own_file(w, job, "claim");

    turn_until_file(w, claim);
    free(claim);
}

static void turn_for(struct world *w, int64_t ns)
{
    for (int64_t until = now() + ns; now() < until;)
        CHECK(ev_turn(w->loop, 5 * NS_PER_MS, NULL) == 0);
}

TEST(one_after_the_other)
{
    struct world w;
    char *script, *gate = make_gate(&script);

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, "exit 2");
    run_after(&w, 3, 2, "exit 3");
    run_after(&w, 4, 1, "exit 4"); /* the place behind 1 is taken: behind 3 */
    CHECK_INT(node_running(w.node), 4);
    turn_for(&w, 100 * NS_PER_MS);
    CHECK_INT(w.ended, 0);
    open_gate(gate);
    turn_until_ended(&w, 4);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(w.ends[i].key.job, i + 1);
        CHECK_INT(w.ends[i].code, i ? i + 1 : 0);
        CHECK(i == 0 || w.ends[i].started_ns >= w.ends[i - 1].finished_ns);
    }
    run_after(&w, 5, 1, "exit 5"); /* 1 is unknown by now */
    turn_until_ended(&w, 5);
    CHECK_INT(end_of(&w, 5)->code, 5);
    free(script);
    free(gate);
    close_world(&w);
}

TEST(who_is_cancelled_leaves_the_line)
{
    struct world w;
    char *script, *gate = make_gate(&script);
    struct attempt_key two = key(2);

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, "exit 2");
    run_after(&w, 3, 2, "exit 3");
    node_kill(w.node, &two, 0);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].key.job, 2);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_CANCELLED);
    turn_for(&w, 50 * NS_PER_MS);
    CHECK_INT(w.ended, 1); /* 3 waits for 1 now */
    open_gate(gate);
    turn_until_ended(&w, 3);
    CHECK_INT(w.ends[1].key.job, 1);
    CHECK_INT(w.ends[2].key.job, 3);
    CHECK_INT(w.ends[2].code, 3);
    free(script);
    free(gate);
    close_world(&w);
}

/* Whoever orders the next one may not have heard of the cancel's end yet. */
TEST(behind_one_that_was_cancelled_means_behind_who_was_before_it)
{
    struct world w;
    char *script, *gate = make_gate(&script);
    struct attempt_key two = key(2), three = key(3);

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, "exit 2");
    run_after(&w, 3, 2, "exit 3");
    node_kill(w.node, &three, 0);
    run_after(&w, 4, 3, "exit 4");
    node_kill(w.node, &two, 0);
    run_after(&w, 5, 2, "exit 5"); /* 4 stands behind 1 already */
    turn_until_ended(&w, 2);
    turn_for(&w, 50 * NS_PER_MS);
    CHECK_INT(w.ended, 2);
    open_gate(gate);
    turn_until_ended(&w, 5);
    CHECK_INT(w.ends[2].key.job, 1);
    CHECK_INT(w.ends[3].key.job, 4);
    CHECK_INT(w.ends[4].key.job, 5);
    CHECK(w.ends[3].started_ns >= w.ends[2].finished_ns);
    CHECK(w.ends[4].started_ns >= w.ends[3].finished_ns);
    free(script);
    free(gate);
    close_world(&w);
}

TEST(what_was_taken_back_was_never_there)
{
    struct world w;
    char *script, *gate = make_gate(&script), *claim;
    struct attempt_key one = key(1), two = key(2), three = key(3);

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, "exit 2");
    run_after(&w, 3, 2, "exit 3");
    turn_until_runs(&w, 1); /* else 2 could not have been handed over */
    CHECK(!node_take_back(w.node, &one));
    CHECK(node_take_back(w.node, &three));
    CHECK(!node_take_back(w.node, &three));
    CHECK(!node_take_back(w.node, &two)); /* its shim is asked */
    while (w.back_count == 0)
        turn_for(&w, 5 * NS_PER_MS);
    CHECK_INT(w.back[0].job, 2);
    CHECK_INT(node_running(w.node), 1);
    turn_for(&w, 50 * NS_PER_MS);
    CHECK_INT(w.ended + w.never_count, 0);
    CHECK_INT(w.back_count, 1);
    run_after(&w, 3, 1, "exit 3");
    run_after(&w, 2, 3, "exit 22"); /* the same number again */
    open_gate(gate);
    turn_until_ended(&w, 3);
    CHECK_INT(w.ends[1].key.job, 3);
    CHECK_INT(end_of(&w, 2)->code, 22);
    CHECK(!node_take_back(w.node, &three));
    claim = own_file(&w, 2, "claim");
    CHECK(access(claim, F_OK) == 0);
    free(claim);
    free(script);
    free(gate);
    close_world(&w);
}

TEST(the_line_goes_on_when_the_first_is_killed_or_lost)
{
    struct world w;
    struct attempt_key one = key(1);
    char *file = NULL, *script;
    struct buf b = BUF_INIT;

    open_world(&w);
    run_sh(&w, 1, "sleep 100");
    run_after(&w, 2, 1, "exit 2");
    turn_for(&w, 20 * NS_PER_MS);
    node_kill(w.node, &one, 0);
    turn_until_ended(&w, 2);
    CHECK_INT(end_of(&w, 1)->outcome, ATTEMPT_CANCELLED);
    CHECK_INT(end_of(&w, 2)->code, 2);

    file = mem_printf("%s/ppid", unit_tmpdir());
    script = mem_printf("echo $PPID >'%s.new'; mv '%s.new' '%s'; sleep 100", file, file, file);
    run_sh(&w, 3, script);
    run_after(&w, 4, 3, "exit 4");
    turn_until_file(&w, file);
    CHECK(fs_read_file(file, 64, &b, NULL) == 0);
    CHECK(kill((pid_t)strtol(buf_data(&b), NULL, 10), SIGKILL) == 0); /* its shim */
    turn_until_ended(&w, 4);
    CHECK_INT(end_of(&w, 3)->outcome, ATTEMPT_LOST);
    CHECK_INT(end_of(&w, 4)->code, 4);
    buf_fini(&b);
    free(file);
    free(script);
    close_world(&w);
}

/* What waits when the daemon goes has never begun, and the next daemon finds that out. */
TEST(a_restart_ends_the_line)
{
    struct world w;
    char *script, *gate = make_gate(&script);
    struct attempt_key one = key(1), two = key(2);
    struct err err = ERR_INIT;

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, "exit 2");
    turn_until_runs(&w, 1);
    stop_daemon(&w);
    start_daemon(&w);
    CHECK_OK(node_adopt(w.node, &one, false, &err), &err);
    CHECK_OK(node_adopt(w.node, &two, false, &err), &err);
    open_gate(gate);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].key.job, 1);
    CHECK_INT(w.ends[0].code, 0);
    while (w.never_count == 0)
        turn_for(&w, 10 * NS_PER_MS);
    CHECK_INT(w.never[0].job, 2);
    CHECK_INT(w.ended, 1);
    free(script);
    free(gate);
    close_world(&w);
}

static void wait_for_file(const char *path)
{
    struct world nobody = { 0 };

    turn_until_file(&nobody, path);
}

/* The shim has it already: nothing has to pass between shim and daemon. */
TEST(the_next_begins_while_the_daemon_does_something_else)
{
    struct world w;
    char *script, *gate = make_gate(&script);
    char *file = mem_printf("%s/second", unit_tmpdir()), *touch = mem_printf(": >'%s'", file);

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, touch);
    run_after(&w, 3, 2, "exit 3");
    turn_until_runs(&w, 1);
    open_gate(gate);
    wait_for_file(file);
    CHECK_INT(w.ended, 0);
    turn_until_ended(&w, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT(w.ends[i].key.job, i + 1);
    CHECK(w.ends[1].started_ns >= w.ends[0].finished_ns);
    free(file);
    free(touch);
    free(script);
    free(gate);
    close_world(&w);
}

/* It is asked back, or killed, when it has begun already: it is too late for the one, not for the
 * other. */
TEST(what_has_begun_is_not_given_back)
{
    struct world w;
    char *script, *gate = make_gate(&script);
    char *file = mem_printf("%s/second", unit_tmpdir());
    char *second = mem_printf(": >'%s'; sleep 100", file);
    struct attempt_key two = key(2);

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, second);
    turn_until_runs(&w, 1);
    open_gate(gate);
    wait_for_file(file);
    CHECK(!node_take_back(w.node, &two));
    turn_until_ended(&w, 1);
    turn_for(&w, 50 * NS_PER_MS);
    CHECK_INT(w.ended, 1);
    CHECK_INT(w.back_count, 0);
    CHECK_INT(node_running(w.node), 1);
    node_kill(w.node, &two, 0);
    turn_until_ended(&w, 2);
    CHECK_INT(end_of(&w, 2)->outcome, ATTEMPT_CANCELLED);
    CHECK(end_of(&w, 2)->started_ns != 0);
    free(file);
    free(second);
    free(script);
    free(gate);
    close_world(&w);
}

TEST(the_next_that_is_killed_never_ran)
{
    struct world w;
    char *script, *gate = make_gate(&script), *claim;
    struct attempt_key two = key(2);

    open_world(&w);
    run_sh(&w, 1, script);
    run_after(&w, 2, 1, "exit 2");
    run_after(&w, 3, 2, "exit 3");
    turn_until_runs(&w, 1);
    CHECK(!node_take_back(w.node, &two)); /* and killed before the answer: cancelled it is */
    node_kill(w.node, &two, NS_PER_S);
    turn_until_ended(&w, 1);
    CHECK_INT(w.ends[0].key.job, 2);
    CHECK_INT(w.ends[0].outcome, ATTEMPT_CANCELLED);
    CHECK_INT(w.ends[0].started_ns, 0);
    claim = own_file(&w, 2, "claim");
    CHECK(access(claim, F_OK) != 0);
    open_gate(gate);
    turn_until_ended(&w, 3);
    CHECK_INT(w.ends[2].key.job, 3);
    CHECK_INT(w.back_count, 0);
    free(claim);
    free(script);
    free(gate);
    close_world(&w);
}

/* With its shim dies what that had next; it begins elsewhere, once the first is known to be over. */
TEST(the_next_outlives_its_shim)
{
    struct world w;
    char *pid_file = mem_printf("%s/ppid", unit_tmpdir());
    char *first = mem_printf("echo $PPID >'%s.new'; mv '%s.new' '%s'; sleep 100", pid_file,
                             pid_file, pid_file);
    struct buf b = BUF_INIT;

    open_world(&w);
    run_sh(&w, 1, first);
    run_after(&w, 2, 1, "exit 2");
    run_after(&w, 3, 2, "exit 3");
    turn_until_file(&w, pid_file);
    CHECK(fs_read_file(pid_file, 64, &b, NULL) == 0);
    CHECK(kill((pid_t)strtol(buf_data(&b), NULL, 10), SIGKILL) == 0);
    turn_until_ended(&w, 3);
    CHECK_INT(end_of(&w, 1)->outcome, ATTEMPT_LOST);
    CHECK_INT(end_of(&w, 2)->code, 2);
    CHECK_INT(end_of(&w, 3)->code, 3);
    buf_fini(&b);
    free(pid_file);
    free(first);
    close_world(&w);
}

/* Orders are up to 160 KiB: two of these are in the shim at once. */
TEST(large_orders_one_behind_the_other)
{
    struct world w;
    char *script, *gate = make_gate(&script), *env = mem_alloc(120 * 1024);
    const char *envs[] = { "PATH=/usr/bin:/bin", env, NULL };
    struct err err = ERR_INIT;

    memset(env, 'x', 120 * 1024 - 1);
    memcpy(env, "BIG=", 4);
    open_world(&w);
    for (int job = 1; job <= 4; job++) {
        const char *argv[] = { "sh", "-c", job == 1 ? script : "test ${#BIG} = 122875", NULL };
        struct node_run r = request(job, argv);
        r.env = envs;
        r.after = (struct attempt_key){ job - 1, 1, 7 };
        CHECK_OK(node_run(w.node, &r, &err), &err);
    }
    turn_until_runs(&w, 1);
    open_gate(gate);
    turn_until_ended(&w, 4);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(w.ends[i].key.job, i + 1);
        CHECK_INT(w.ends[i].code, 0);
    }
    free(env);
    free(script);
    free(gate);
    close_world(&w);
}
