/* SPDX-License-Identifier: BSD-2-Clause */
/* Agents that lose their head, and those that come after them. */
#include "unit/agent_rig.h"

#define SLEEPER "exec sleep 100"

/* Starts a job that writes its pid down, and gives that. */
static pid_t order_sleeper(struct far *f, int64_t job)
{
    char *file = mem_printf("%s/pid.%lld", unit_tmpdir(), (long long)job);
    char *script = mem_printf("echo $$ >%s.new; mv %s.new %s; " SLEEPER, file, file, file);
    pid_t pid;

    order(f, job, script);
    wait_path(file);
    pid = pid_in(file);
    free(script);
    free(file);
    return pid;
}

static const struct attempt_key first = { 1, 1, 7 };

TEST(without_jobs_it_ends_with_its_input)
{
    struct far f;

    start_agent(&f);
    expect(&f, LINK_HELLO);
    close_link(&f);
    open_link(&f, NULL, 0);
    close_link(&f);
}

TEST(a_socket_ends_as_a_pipe_does)
{
    struct far f;

    rig_sockets = true;
    open_link(&f, NULL, 0);
    close_link(&f);
    open_link(&f, NULL, 0);
    CHECK(shutdown(f.in, SHUT_WR) == 0);
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    drop_far(&f);
}

TEST(it_ends_when_nobody_reads)
{
    struct far f;

    open_link(&f, NULL, 0);
    close(f.out);
    f.out = -1;
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    drop_far(&f);
}

TEST(alone_it_stays_until_its_jobs_have_ended)
{
    struct far f;
    char *go = mem_printf("%s/go", unit_tmpdir());
    char *script = mem_printf("while [ ! -e %s ]; do sleep 0.01; done; exit 4", go);

    open_link(&f, NULL, 0);
    order(&f, 1, script);
    hang_up(&f);
    CHECK_INT(ended_within(&f, 300 * NS_PER_MS), -1);
    close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    drop_far(&f);

    open_link(&f, &first, 1);
    CHECK_INT(expect_end(&f, 1).code, 4);
    close_link(&f);
    free(script);
    free(go);
}

/* The first one still has its connection, or not: the next takes over. */
static void take_over(bool connected, int signo)
{
    struct far old, f;
    pid_t pid;

    open_link(&old, NULL, 0);
    pid = order_sleeper(&old, 1);
    if (!connected)
        hang_up(&old);
    if (signo)
        kill(old.pid, signo);
    open_link(&f, &first, 1);
    CHECK(alive(pid));
    CHECK_INT(ended_within(&old, WAIT_S * NS_PER_S), signo ? 128 + SIGKILL : 0);
    CHECK(!next_within(&f, 200 * NS_PER_MS, false));
    about(&f, LINK_KILL, 1);
    CHECK_INT(expect_end(&f, 1).outcome, ATTEMPT_CANCELLED);
    CHECK(!next_within(&f, 100 * NS_PER_MS, false));
    CHECK(!alive(pid));
    close_link(&f);
    drop_far(&old);
}

TEST(the_next_agent_takes_up_what_runs)
{
    take_over(false, 0);
}

TEST(the_next_agent_need_not_wait_for_the_end_of_a_connection)
{
    take_over(true, 0);
}

TEST(jobs_survive_the_kill_of_their_agent)
{
    take_over(true, SIGKILL);
}

TEST(a_frozen_agent_is_killed)
{
    take_over(false, SIGSTOP);
}

TEST(an_end_is_reported_until_it_is_acknowledged)
{
    struct far f;

    open_link(&f, NULL, 0);
    order(&f, 1, "exit 5");
    CHECK_INT(expect(&f, LINK_ENDED)->end.code, 5);
    close_link(&f);
    for (int i = 0; i < 2; i++) {
        open_link(&f, &first, 1);
        CHECK_INT(expect(&f, LINK_ENDED)->end.code, 5);
        close_link(&f);
    }
    open_link(&f, NULL, 0);
    CHECK(!next_within(&f, 100 * NS_PER_MS, false));
    close_link(&f);
}

TEST(the_lease_ends_what_a_lost_head_left)
{
    struct far f;
    struct attempt_end e;
    pid_t pid;

    start_agent(&f);
    welcome_fence(&f, 7, NULL, 0, 2);
    expect(&f, LINK_AGREED);
    pid = order_sleeper(&f, 1);
    hang_up(&f);
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    CHECK(!alive(pid));
    drop_far(&f);
    open_link(&f, &first, 1);
    e = expect_end(&f, 1);
    CHECK_INT(e.outcome, ATTEMPT_CANCELLED);
    close_link(&f);
}

/* With nobody left to watch it: each shim does. */
TEST(the_lease_ends_what_a_killed_agent_left)
{
    struct far f;
    struct attempt_end e;
    int64_t begun = now();
    pid_t pid;

    start_agent(&f);
    welcome_fence(&f, 7, NULL, 0, 2);
    expect(&f, LINK_AGREED);
    pid = order_sleeper(&f, 1);
    hang_up(&f);
    kill(f.pid, SIGKILL);
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 128 + SIGKILL);
    CHECK(alive(pid));
    CHECK(gone_within(pid, WAIT_S * NS_PER_S));
    CHECK(now() - begun >= 2 * NS_PER_S);
    drop_far(&f);
    open_link(&f, &first, 1);
    e = expect_end(&f, 1);
    CHECK_INT(e.outcome, ATTEMPT_CANCELLED);
    CHECK(strstr(e.message, "heard nothing"));
    close_link(&f);
}

TEST(the_lease_ends_though_the_connection_seems_to_be_there)
{
    struct far f;
    struct link_msg ping = { .type = LINK_PING, .id = 1 };
    int64_t begun;
    pid_t pid;

    start_agent(&f);
    welcome_fence(&f, 7, NULL, 0, 2);
    expect(&f, LINK_AGREED);
    pid = order_sleeper(&f, 1);
    begun = now();
    while (now() < begun + 3 * NS_PER_S) { /* longer than the lease: each ping renews it */
        say(&f, &ping);
        ping.stamp = expect(&f, LINK_PONG)->stamp;
        nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
    }
    CHECK(alive(pid));
    CHECK(strstr(expect(&f, LINK_ENDED)->end.message, "2 s"));
    CHECK(!alive(pid));
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    drop_far(&f);
}

/* They may have been on their way for long: what they say is as old as the stamp they carry. */
TEST(words_that_were_said_long_ago_renew_nothing)
{
    struct far f;
    struct link_msg ping = { .type = LINK_PING, .id = 1 };
    struct link_msg *m;
    int64_t begun;

    start_agent(&f);
    welcome_fence(&f, 7, NULL, 0, 2);
    expect(&f, LINK_AGREED);
    order_sleeper(&f, 1);
    begun = now();
    say(&f, &ping);
    ping.stamp = expect(&f, LINK_PONG)->stamp;
    CHECK(ping.stamp > begun - NS_PER_S && ping.stamp <= now());
    char *line = mem_printf("{\"type\":\"ping\",\"stamp\":%lld}\n", (long long)ping.stamp);
    signal(SIGPIPE, SIG_IGN);
    do {
        CHECK(now() < begun + WAIT_S * NS_PER_S);
        CHECK(write(f.in, line, strlen(line)) > 0 || errno == EPIPE);
        m = next_within(&f, WAIT_S * NS_PER_S, false);
        CHECK(m);
        nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
    } while (m->type == LINK_PONG);
    free(line);
    CHECK(strstr(m->end.message, "2 s"));
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    drop_far(&f);
}

/* A stamp of the future was never given. */
TEST(a_lease_can_not_be_had_in_advance)
{
    struct far f;
    struct link_msg ping = { .type = LINK_PING, .id = 1, .stamp = INT64_MAX };

    start_agent(&f);
    welcome_fence(&f, 7, NULL, 0, 2);
    expect(&f, LINK_AGREED);
    order_sleeper(&f, 1);
    say(&f, &ping);
    expect(&f, LINK_PONG);
    CHECK(strstr(expect(&f, LINK_ENDED)->end.message, "2 s"));
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    drop_far(&f);
}

TEST(a_stale_head_is_refused_and_changes_nothing)
{
    struct far f, stale;
    struct link_msg m = { .type = LINK_KILL, .key = { 1, 1, 6 } };
    pid_t pid;

    open_link(&f, NULL, 0);
    pid = order_sleeper(&f, 1);
    start_agent(&stale);
    welcome_fence(&stale, 6, NULL, 0, 60);
    CHECK(strstr(expect(&stale, LINK_ERROR)->message, "stale fence 6"));
    CHECK_INT(stale.last.key.fence, 7);
    CHECK_INT(ended_within(&stale, WAIT_S * NS_PER_S), 1);
    drop_far(&stale);

    say(&f, &m);
    CHECK_STR(expect(&f, LINK_ERROR)->about, "kill");
    const char *argv[] = { "true", NULL };
    m = run_message(2, argv);
    m.key.fence = m.run.key.fence = 6;
    say(&f, &m);
    CHECK_STR(expect(&f, LINK_ERROR)->about, "run");
    CHECK(alive(pid));
    m = (struct link_msg){ .type = LINK_KILL, .key = { 1, 1, 7 } };
    say(&f, &m);
    expect_end(&f, 1);
    close_link(&f);
}

TEST(another_version_is_refused)
{
    struct far f;
    struct link_msg m = {
        .type = LINK_WELCOME, .v = LINK_VERSION + 1, .head = HEAD_ID, .key = { .fence = 1 }
    };

    start_agent(&f);
    expect(&f, LINK_HELLO);
    say(&f, &m);
    CHECK_STR(expect(&f, LINK_ERROR)->kind, "version");
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 1);
    drop_far(&f);
}

TEST(what_the_head_does_not_know_is_ended)
{
    struct far f;
    pid_t one, two;

    open_link(&f, NULL, 0);
    one = order_sleeper(&f, 1);
    two = order_sleeper(&f, 2);
    order(&f, 3, "exit 0");
    expect(&f, LINK_ENDED);
    hang_up(&f);
    struct far old = f;

    start_agent(&f);
    welcome_fence(&f, 8, &first, 1, 60);
    CHECK_INT(expect(&f, LINK_AGREED)->unwanted_count, 1);
    CHECK_INT(f.last.unwanted[0].job, 2);
    CHECK(gone_within(two, WAIT_S * NS_PER_S));
    CHECK(alive(one));
    about(&f, LINK_KILL, 1);
    CHECK_INT(expect_end(&f, 1).key.fence, 7);
    CHECK(!next_within(&f, 100 * NS_PER_MS, false));
    close_link(&f);
    CHECK_INT(ended_within(&old, WAIT_S * NS_PER_S), 0);
    drop_far(&old);
}

TEST(what_never_came_never_starts)
{
    struct far f;

    open_link(&f, NULL, 0); /* there was an agent in this boot */
    close_link(&f);
    open_link(&f, &first, 1);
    CHECK_INT(expect(&f, LINK_NEVER_STARTED)->key.job, 1);
    about(&f, LINK_ACK, 1);
    order(&f, 1, "exit 0"); /* not even now */
    CHECK_INT(expect(&f, LINK_ENDED)->end.outcome, ATTEMPT_NOT_RUN);
    close_link(&f);
}

TEST(an_emptied_state_folder_means_lost)
{
    struct far f;
    struct attempt_end e;

    open_link(&f, &first, 1);
    e = expect(&f, LINK_ENDED)->end;
    CHECK_INT(e.outcome, ATTEMPT_LOST);
    CHECK(strstr(e.message, "emptied"));
    close_link(&f); /* not acknowledged: the next one says the same */
    open_link(&f, &first, 1);
    CHECK_INT(expect_end(&f, 1).outcome, ATTEMPT_LOST);
    close_link(&f);
}

TEST(a_reboot_means_lost)
{
    struct far f;
    char *boot;

    open_link(&f, NULL, 0);
    boot = mem_printf("%s/boot", f.folder);
    close_link(&f);
    CHECK(fs_write_file(boot, "another-boot\n", 13, 0600, false, NULL) == 0);
    for (int i = 0; i < 2; i++) {
        struct attempt_end e;
        open_link(&f, &first, 1);
        e = expect(&f, LINK_ENDED)->end;
        CHECK_INT(e.outcome, ATTEMPT_LOST);
        CHECK_STR(e.message, NODE_REBOOTED);
        if (i == 1) {
            struct link_msg ping = { .type = LINK_PING, .id = 1 };
            about(&f, LINK_ACK, 1);
            say(&f, &ping);
            expect(&f, LINK_PONG);
            char *text = file_text(boot);
            CHECK(strlen(text) > 13);
            free(text);
        } else {
            check_file(boot, "another-boot\n");
        }
        close_link(&f);
    }
    free(boot);
}

TEST(heads_do_not_meet)
{
    struct far f, other;
    struct link_msg m = { .type = LINK_WELCOME,
                          .v = LINK_VERSION,
                          .head = "ffffffffffffffffffff",
                          .key = { .fence = 1 } };
    pid_t pid;

    open_link(&f, NULL, 0);
    pid = order_sleeper(&f, 1);
    start_agent(&other);
    expect(&other, LINK_HELLO);
    say(&other, &m);
    CHECK_INT(expect(&other, LINK_AGREED)->unwanted_count, 0);
    close_link(&other);
    CHECK(alive(pid));
    about(&f, LINK_KILL, 1);
    expect_end(&f, 1);
    close_link(&f);
}

TEST(a_damaged_fence_is_no_fence)
{
    struct far f;
    char *path;

    open_link(&f, NULL, 0);
    path = mem_printf("%s/fence", f.folder);
    close_link(&f);
    check_file(path, "7\n");
    CHECK(fs_write_file(path, "seven\n", 6, 0600, false, NULL) == 0);
    start_agent(&f);
    welcome_fence(&f, 7, NULL, 0, 60);
    CHECK(strstr(expect(&f, LINK_ERROR)->message, "/fence"));
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 1);
    drop_far(&f);
    free(path);
}
