/* SPDX-License-Identifier: BSD-2-Clause */
/* A far node that says odd things, or nothing; time is the test's. */
#include "unit/remote_rig.h"

static const struct attempt_key first = { 1, 1, 7 };

/* Turns until it is away, with this in its error. */
static void check_away(struct rig *g, const char *word)
{
    UNTIL(g, !remote_connected(g->remote));
    if (!strstr(remote_error(g->remote), word))
        unit_fail(__FILE__, __LINE__, "\"%s\" is not in \"%s\"", word, remote_error(g->remote));
    turn(g);
    turn(g);
    CHECK_INT(remote_state(g->remote), REMOTE_AWAY);
}

/* An attempt that runs there; its output is asked for. */
static void start_first(struct rig *g)
{
    far_run(g, 1, "x");
    CHECK_INT(far_expect(g, LINK_RUN)->key.job, 1);
    CHECK(!far_expect(g, LINK_READ)->is_stderr);
    CHECK(g->far.last.follow && g->far.last.id == 1 && g->far.last.offset == 0);
    CHECK(far_expect(g, LINK_READ)->is_stderr);
    CHECK_INT(g->far.last.id, 2);
}

TEST(greeting)
{
    struct rig g;

    open_rig(&g, true);
    CHECK_STR(remote_name(g.remote), "far");
    CHECK_STR(remote_facts(g.remote)->version, "");
    CHECK(!remote_connected(g.remote) && g.changes == 0);
    connect_test(&g);
    far_text(&g, "Welcome to host\r\n\r\nLast login: yesterday\n\xff\xfe\x1b[0m$ ");
    far_hello(&g);
    CHECK_STR(far_expect(&g, LINK_WELCOME)->head, HEAD_ID);
    CHECK(g.far.last.v == LINK_VERSION && g.far.last.key.fence == 7 && g.far.last.lease_s == 60);
    CHECK_INT(remote_state(g.remote), REMOTE_AWAY);
    CHECK_INT(remote_facts(g.remote)->threads, 3);
    struct link_msg m = { .type = LINK_AGREED, .memory_note = "note" };
    far_say(&g, &m);
    UNTIL(&g, remote_state(g.remote) == REMOTE_UP);
    turn(&g);
    CHECK(g.changes > 0);
    CHECK_STR(remote_facts(g.remote)->memory_note, "note");
    CHECK_STR(remote_facts(g.remote)->name, "host");
    CHECK_STR(remote_error(g.remote), "");
    close(g.far.in);
    g.far.in = -1;
    size_t changes = g.changes;
    check_away(&g, "the connection ");
    CHECK_INT(g.changes, changes + 1);
    CHECK_STR(remote_facts(g.remote)->name, "host");
    connect_test(&g);
    CHECK_STR(remote_error(g.remote), "");
    CHECK_INT(far_agree(&g), 0);
    remote_disconnect(g.remote);
    CHECK_STR(remote_error(g.remote), "");
    CHECK(!remote_connected(g.remote));
    close_rig(&g);
}

TEST(greeting_in_pieces)
{
    static const char text[] =
        "motd\n{\"type\":\"hello\",\"v\":1,\"name\":\"host\",\"threads\":1}\n"
        "{\"type\":\"agreed\",\"attempts\":[]}\n";
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    for (const char *p = text; *p; p++) {
        far_write(&g, p, 1);
        turn(&g);
    }
    UNTIL(&g, remote_state(g.remote) == REMOTE_UP);
    close_rig(&g);
}

TEST(who_is_not_hive)
{
    struct rig g;
    char *much = mem_alloc(REMOTE_PREFACE_MAX + 2);

    open_rig(&g, true);
    connect_test(&g);
    far_text(&g, "Welcome\nbash: hive: command not found\n\n");
    close(g.far.in);
    g.far.in = -1;
    check_away(&g, "bash: hive: command not found");
    CHECK(logged(&g, "node far is away"));

    memset(much, 'x', REMOTE_PREFACE_MAX + 1);
    connect_test(&g);
    far_text(&g, much);
    check_away(&g, "64 KiB");
    for (size_t i = 80; i < REMOTE_PREFACE_MAX; i += 80)
        much[i] = '\n';
    connect_test(&g);
    far_text(&g, much);
    check_away(&g, "64 KiB");
    much[REMOTE_PREFACE_MAX - 2] = '\0'; /* this much is fine */
    connect_test(&g);
    far_text(&g, much);
    far_agree(&g);

    connect_test(&g);
    far_text(&g, "password: ");
    pass(&g, REMOTE_GREETING_NS - 1);
    CHECK(remote_connected(g.remote));
    pass(&g, 1);
    check_away(&g, "hello");
    connect_test(&g);
    far_hello(&g);
    far_expect(&g, LINK_WELCOME);
    pass(&g, REMOTE_GREETING_NS);
    check_away(&g, "what runs there");
    free(much);
    close_rig(&g);
}

TEST(another_version)
{
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    far_text(&g,
             "{\"type\":\"hello\",\"v\":2,\"name\":\"host\",\"threads\":1,\"version\":\"9\"}\n");
    check_away(&g, "version 2 of the link protocol");
    connect_test(&g);
    far_text(&g, "{\"type\":\"hello\",\"v\":1}\n");
    check_away(&g, "name is missing");
    connect_test(&g);
    far_hello(&g);
    far_text(&g, "{\"type\":\"error\",\"message\":\"stale fence\"}\n");
    check_away(&g, "stale fence");
    close_rig(&g);
}

TEST(what_is_no_socket_is_refused)
{
    struct rig g;
    struct err err = ERR_INIT;
    int pair[2];

    open_rig(&g, true);
    CHECK(pipe2(pair, O_CLOEXEC) == 0);
    CHECK(remote_connect(g.remote, pair[0], &err) == -1 && err.kind == ERR_INVALID);
    CHECK(fcntl(pair[0], F_GETFD) == -1);
    close(pair[1]);
    CHECK(!remote_connected(g.remote));
    close_rig(&g);
}

TEST(pings_carry_the_newest_stamp)
{
    struct rig g;
    struct link_msg pong = { .type = LINK_PONG, .id = 1, .stamp = 55 };
    struct link_msg late = { .type = LINK_PONG, .id = 1, .stamp = 54 };

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    CHECK(far_expect(&g, LINK_PING)->id == 1 && g.far.last.stamp == 0);
    far_say(&g, &pong);
    far_say(&g, &late);
    pass(&g, 15 * NS_PER_S); /* a lease of 60 s */
    CHECK(far_expect(&g, LINK_PING)->id == 2 && g.far.last.stamp == 55);
    CHECK(!far_next(&g, true));
    /* of the next connection they are its own */
    connect_test(&g);
    far_agree(&g);
    CHECK_INT(far_expect(&g, LINK_PING)->stamp, 0);
    far_say(&g, &late);
    pass(&g, 15 * NS_PER_S);
    CHECK_INT(far_expect(&g, LINK_PING)->stamp, 54);
    close_rig(&g);
}

TEST(silence_ends_a_connection)
{
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    for (int i = 0; i < 10; i++) {
        pass(&g, 40 * NS_PER_S);
        CHECK_INT(remote_state(g.remote), REMOTE_UP);
        far_text(&g, "\n"); /* whatever it is */
        turn(&g);
    }
    pass(&g, 45 * NS_PER_S);
    check_away(&g, "nothing was heard of it for 45s");
    close_rig(&g);
}

TEST(odd_things_are_ignored_with_a_line)
{
    struct rig g;
    char *line = mem_alloc(LINK_LINE_MAX + 2);

    open_rig(&g, true);
    connect_test(&g);
    far_hello(&g);
    far_expect(&g, LINK_WELCOME);
    far_ended(&g, 1, 0); /* too early */
    far_text(&g, "{\"type\":\"agreed\"}\n{\"type\":\"agreed\"}\n");
    UNTIL(&g, remote_state(g.remote) == REMOTE_UP);
    UNTIL(&g, logged(&g, "it agrees once more"));
    CHECK(logged(&g, "it says \"ended\", which it has no reason to"));
    start_first(&g);
    far_ended(&g, 99, 0);
    far_text(&g, "{\"type\":\"never_started\",\"job\":98,\"attempt\":1}\n"
                 "{\"type\":\"taken_back\",\"job\":1,\"attempt\":1}\n"
                 "{\"type\":\"kill\",\"job\":1,\"attempt\":1}\n"
                 "{\"type\":\"dance\"}\n[\n"
                 "{\"type\":\"hello\",\"v\":1,\"name\":\"host\",\"threads\":1}\n");
    far_data(&g, 77, 0, "x", false);
    UNTIL(&g, logged(&g, "not asked for (77)"));
    CHECK(logged(&g, "job 99 attempt 1") && logged(&g, "job 98") && logged(&g, "\"taken_back\""));
    CHECK(logged(&g, "\"kill\"") && logged(&g, "unknown type") && logged(&g, "\"hello\""));
    CHECK(g.ended == 0 && g.never_count == 0 && remote_state(g.remote) == REMOTE_UP);

    /* but not for ever, and not without an end */
    size_t before = buf_len(&g.logged);
    for (int i = 0; i < 900; i++)
        far_text(&g, "nonsense\n");
    for (int i = 0; i < 20; i++)
        turn(&g);
    CHECK_INT(remote_state(g.remote), REMOTE_UP);
    CHECK(buf_len(&g.logged) - before < 3000);
    for (int i = 0; i < 200; i++)
        far_text(&g, "nonsense\n");
    check_away(&g, "make no sense");

    connect_test(&g);
    far_agree(&g);
    memset(line, ' ', LINK_LINE_MAX + 1);
    far_text(&g, line);
    check_away(&g, "over 1024 KiB");
    CHECK_INT(remote_running(g.remote), 1);
    free(line);
    close_rig(&g);
}

TEST(a_node_that_does_not_read)
{
    struct rig g;
    char *big = mem_alloc(120 * 1024);
    const char *argv[] = { "x", big, NULL };
    int64_t job = 1;

    memset(big, 'x', 120 * 1024 - 1);
    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    for (; remote_connected(g.remote) && job < 1000; job++) {
        struct remote_order o = far_order(job, argv);
        CHECK(remote_run(g.remote, &o, NULL) == 0);
        turn(&g);
    }
    CHECK(job > 500 && job < 1000);
    check_away(&g, "doesn't read");
    free(big);
    close_rig(&g);
}

/* --- fates ------------------------------------------------------------------------------------ */

TEST(ends_wait_for_output_but_not_for_long)
{
    struct rig g;

    open_rig(&g, true);
    g.ack = false;
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_data(&g, 1, 0, "one\n", false);
    far_ended(&g, 1, 3);
    far_data(&g, 1, 4, "two\n", true);
    UNTIL(&g, mirror_size(&g, 1, "out") == 8);
    pass(&g, REMOTE_OUTPUT_NS - 1);
    CHECK(g.ended == 0 && remote_running(g.remote) == 1);
    pass(&g, 1);
    CHECK(g.ended == 1 && g.ends[0].code == 3 && g.ends[0].key.fence == 7);
    CHECK_INT(remote_running(g.remote), 0);
    CHECK(remote_ack(g.remote, &first));
    CHECK_INT(far_expect(&g, LINK_ACK)->key.job, 1);
    /* the rest still comes, and then it may be forgotten */
    remote_forget(g.remote, &first);
    CHECK(!far_next(&g, false));
    far_data(&g, 2, 0, "err\n", true);
    CHECK_INT(far_expect(&g, LINK_FORGET)->key.job, 1);
    check_mirror(&g, 1, "out", "one\ntwo\n");
    check_mirror(&g, 1, "err", "err\n");
    CHECK_INT(g.ended, 1);
    /* nothing is known of it any more */
    far_run(&g, 1, "x");
    close_rig(&g);
}

TEST(an_end_is_told_once_and_named_until_it_is_acknowledged)
{
    struct rig g;

    open_rig(&g, true);
    g.ack = false;
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_data(&g, 1, 0, "", true);
    far_data(&g, 2, 0, "", true);
    far_ended(&g, 1, 0);
    UNTIL(&g, g.ended == 1);
    far_ended(&g, 1, 4);
    for (int i = 0; i < 2; i++) {
        connect_test(&g);
        CHECK_INT(far_agree(&g), 1);
        far_ended(&g, 1, 5);
        pass(&g, 7 * NS_PER_S);
    }
    CHECK(g.ended == 1 && g.ends[0].code == 0);
    remote_disconnect(g.remote);
    remote_ack(g.remote, &first);
    remote_ack(g.remote, &first);
    connect_test(&g);
    CHECK_INT(far_agree(&g), 0);
    close_rig(&g);
}

TEST(what_was_ordered_while_it_is_away_never_started)
{
    struct rig g;
    struct attempt_key key = { 2, 1, 7 };
    struct link_msg never = { .type = LINK_NEVER_STARTED, .key = key };

    open_rig(&g, true);
    far_run(&g, 1, "x");
    CHECK_INT(remote_running(g.remote), 1);
    pass(&g, REMOTE_UNSENT_NS - 1);
    CHECK_INT(g.never_count, 0);
    pass(&g, 1);
    CHECK(g.never_count == 1 && g.never[0].job == 1);
    /* killed: at once, but not from inside the call */
    far_run(&g, 3, "x");
    remote_kill(g.remote, &(struct attempt_key){ 3, 1, 7 }, 0);
    CHECK_INT(g.never_count, 1);
    pass(&g, 0);
    CHECK(g.never_count == 2 && g.never[1].job == 3);
    /* it comes back, and is not asked: it may have forgotten what it never heard of */
    far_run(&g, 2, "x");
    connect_test(&g);
    CHECK_INT(far_agree(&g), 0);
    UNTIL(&g, g.never_count == 3);
    far_say(&g, &never);
    UNTIL(&g, logged(&g, "job 2 attempt 1"));
    CHECK(g.never[2].job == 2 && g.never_count == 3 && g.ended == 0);
    /* ordered between welcome and agreement */
    connect_test(&g);
    far_hello(&g);
    CHECK_INT(far_expect(&g, LINK_WELCOME)->attempt_count, 0);
    far_run(&g, 4, "x");
    far_text(&g, "{\"type\":\"agreed\"}\n");
    UNTIL(&g, g.never_count == 4);
    CHECK_INT(g.never[3].job, 4);
    CHECK_INT(remote_running(g.remote), 0);
    CHECK(!far_next(&g, false));
    close_rig(&g);
}

TEST(a_kill_waits_for_its_node)
{
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    remote_kill(g.remote, &first, 9 * NS_PER_S);
    CHECK(far_expect(&g, LINK_KILL)->grace_ns == 9 * NS_PER_S);
    remote_disconnect(g.remote);
    remote_kill(g.remote, &first, 5 * NS_PER_S);
    remote_kill(g.remote, &first, 8 * NS_PER_S);
    remote_signal(g.remote, &first, 10);
    connect_test(&g);
    CHECK_INT(far_agree(&g), 1);
    CHECK(far_expect(&g, LINK_KILL)->grace_ns == 5 * NS_PER_S && g.far.last.key.fence == 7);
    far_expect(&g, LINK_READ);
    far_expect(&g, LINK_READ);
    remote_signal(g.remote, &first, 10);
    CHECK_INT(far_expect(&g, LINK_SIGNAL)->signo, 10);
    CHECK(!far_next(&g, false));
    close_rig(&g);
}

/* The end was told already, and the caller has asked to forget it. */
TEST(what_can_not_be_copied_late_stays_there)
{
    struct rig g;
    char *folder, *path;

    open_rig(&g, true);
    g.ack = false;
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_ended(&g, 1, 0);
    turn(&g);
    pass(&g, REMOTE_OUTPUT_NS);
    CHECK_INT(g.ended, 1);
    CHECK(remote_ack(g.remote, &first));
    far_expect(&g, LINK_ACK);
    remote_forget(g.remote, &first);
    folder = mem_printf("%s/attempts/0", g.state);
    path = mirror_path(&g, 1, "out");
    CHECK(fs_mkdir_p(folder, 0700, NULL) == 0 && mkfifo(path, 0600) == 0);
    far_data(&g, 1, 0, "x", true);
    far_data(&g, 2, 0, "x", true);
    UNTIL(&g, mirror_size(&g, 1, "err") == 1);
    CHECK(!far_next(&g, false));
    CHECK(logged(&g, "stdout of job 1"));
    free(folder);
    free(path);
    close_rig(&g);
}

TEST(what_a_node_refuses_to_run_never_started)
{
    struct rig g;
    struct link_msg m = { .type = LINK_ERROR,
                          .key = { 1, 1, 7 },
                          .about = "run",
                          .kind = "conflict",
                          .message = "this attempt is here already" };

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_say(&g, &m);
    UNTIL(&g, logged(&g, "is here already"));
    CHECK_INT(remote_running(g.remote), 1);
    m.kind = "unavailable";
    m.message = "this node is being drained";
    far_say(&g, &m);
    UNTIL(&g, g.never_count == 1);
    far_run(&g, 2, "x");
    m.kind = "conflict";
    m.message = "stale fence 7";
    m.key = (struct attempt_key){ 2, 1, 8 };
    far_say(&g, &m);
    check_away(&g, "stale fence 7");
    CHECK_INT(remote_running(g.remote), 1);
    close_rig(&g);
}

/* --- the lease -------------------------------------------------------------------------------- */

/* Of 60 s: it ends for sure after 60 + 10 + 30 s. */
#define GONE_NS (100 * NS_PER_S)

TEST(a_node_that_stays_away_has_lost_what_it_ran)
{
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    pass(&g, 15 * NS_PER_S); /* the last ping */
    far_text(&g, "\n");
    turn(&g);
    pass(&g, 10 * NS_PER_S);
    close(g.far.in);
    g.far.in = -1;
    check_away(&g, "the connection ");
    far_run(&g, 2, "x");
    pass(&g, GONE_NS - 10 * NS_PER_S - 1);
    CHECK(g.ended == 0 && g.never_count == 1);
    pass(&g, 1);
    CHECK_INT(g.ended, 1);
    CHECK(g.ends[0].outcome == ATTEMPT_LOST && g.ends[0].code == -1 && g.ends[0].key.job == 1);
    CHECK_STR(g.ends[0].message, "node far was not heard of for 100s");
    CHECK_INT(remote_running(g.remote), 0);

    /* when it is back, it isn't asked for it, and isn't listened to */
    connect_test(&g);
    CHECK_INT(far_agree(&g), 0);
    far_ended(&g, 1, 0);
    UNTIL(&g, logged(&g, "job 1 attempt 1"));
    CHECK(g.ended == 1 && !far_next(&g, false));
    close_rig(&g);
}

TEST(a_lost_attempt_is_not_named_before_it_is_acknowledged_either)
{
    struct rig g;

    open_rig(&g, true);
    g.ack = false;
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    remote_disconnect(g.remote);
    pass(&g, GONE_NS);
    CHECK_INT(g.ended, 1);
    connect_test(&g);
    CHECK_INT(far_agree(&g), 0);
    far_ended(&g, 1, 0);
    pass(&g, NS_PER_S);
    remote_ack(g.remote, &first);
    CHECK(g.ended == 1 && !far_next(&g, false));
    close_rig(&g);
}

/* What may have got there counts, even though nobody agreed. */
TEST(a_welcome_renews_the_lease)
{
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    remote_disconnect(g.remote);
    pass(&g, 90 * NS_PER_S);
    connect_test(&g);
    far_text(&g, "motd\n");
    turn(&g);
    far_hello(&g);
    CHECK_INT(far_expect(&g, LINK_WELCOME)->attempt_count, 1);
    pass(&g, 20 * NS_PER_S);
    CHECK_INT(g.ended, 0);
    far_text(&g, "{\"type\":\"agreed\"}\n");
    UNTIL(&g, remote_state(g.remote) == REMOTE_UP);
    far_text(&g, "\n");
    remote_disconnect(g.remote);
    pass(&g, GONE_NS - 1);
    CHECK_INT(g.ended, 0);
    pass(&g, 1);
    CHECK(g.ended == 1 && g.ends[0].outcome == ATTEMPT_LOST);
    close_rig(&g);
}

TEST(what_a_former_head_left_is_adopted_or_lost)
{
    struct rig g;
    struct attempt_key late = { 2, 1, 3 }, odd = { 0, 1, 3 };
    struct err err = ERR_INIT;

    open_rig(&g, true);
    pass(&g, 1000 * NS_PER_S);
    CHECK(remote_adopt(g.remote, &first, NULL, NULL, NULL) == 0);
    CHECK(remote_adopt(g.remote, &first, NULL, NULL, &err) == -1 && err.kind == ERR_CONFLICT);
    CHECK(remote_adopt(g.remote, &odd, NULL, NULL, &err) == -1 && err.kind == ERR_INVALID);
    CHECK(remote_adopt(g.remote, &late, "/f", "/f", NULL) == 0);
    remote_kill(g.remote, &late, 0);
    connect_test(&g);
    far_hello(&g);
    CHECK_INT(far_expect(&g, LINK_WELCOME)->attempt_count, 2);
    CHECK_INT(g.far.last.attempts[1].fence, 3);
    CHECK(remote_adopt(g.remote, &(struct attempt_key){ 9, 1, 3 }, NULL, NULL, &err) == -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    far_text(&g, "{\"type\":\"agreed\"}\n");
    CHECK_INT(far_expect(&g, LINK_KILL)->key.job, 2);
    CHECK_INT(g.far.last.key.fence, 7); /* ours, or it would be stale */
    far_expect(&g, LINK_READ);
    far_expect(&g, LINK_READ);
    CHECK_STR(far_expect(&g, LINK_READ)->path, "/f"); /* once for both */
    CHECK(!far_next(&g, false));
    remote_disconnect(g.remote);
    pass(&g, GONE_NS);
    CHECK_INT(g.ended, 2);
    close_rig(&g);
}

/* --- orders ----------------------------------------------------------------------------------- */

TEST(what_can_not_be_ordered_is_refused_here)
{
    struct rig g;
    struct err err = ERR_INIT;
    char *big = mem_alloc(LINK_LINE_MAX + 1);
    const char *argv[] = { "x", NULL }, *bigs[] = { big, NULL };
    const char *none[] = { NULL };
    struct remote_order o = far_order(1, argv);

    memset(big, 'x', LINK_LINE_MAX);
    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    CHECK(remote_run(g.remote, &o, NULL) == 0);
    CHECK(remote_run(g.remote, &o, &err) == -1 && err.kind == ERR_CONFLICT);
    o.run.key.job = 2;
    o.run.argv = bigs;
    CHECK(remote_run(g.remote, &o, &err) == -1 && err.kind == ERR_TOO_LARGE);
    o.run.argv = none;
    CHECK(remote_run(g.remote, &o, &err) == -1 && err.kind == ERR_INVALID);
    o.run.argv = argv;
    o.run.key.number = 0;
    CHECK(remote_run(g.remote, &o, &err) == -1 && err.kind == ERR_INVALID);
    CHECK_INT(remote_running(g.remote), 1);
    o.run.key.number = 1;
    for (int64_t job = 2; job <= LINK_ATTEMPTS_MAX; job++) {
        o.run.key.job = job;
        CHECK(remote_run(g.remote, &o, NULL) == 0);
    }
    o.run.key.job++;
    CHECK(remote_run(g.remote, &o, &err) == -1 && err.kind == ERR_UNAVAILABLE);
    connect_test(&g);
    CHECK_INT(far_agree(&g), LINK_ATTEMPTS_MAX);
    free(big);
    close_rig(&g);
}

TEST(a_bad_configuration_is_refused)
{
    struct rig g;
    struct remote_hooks none = { 0 };
    struct err err = ERR_INIT;
    struct remote_config bad[6];

    open_rig(&g, true);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = g.cfg;
    bad[0].head_id = "../../../../../../x";
    bad[1].head_id = "0123";
    bad[2].fence = 0;
    bad[3].lease_s = LINK_LEASE_MAX_S + 1;
    bad[4].interval_s = -1;
    bad[5].output_max = -1;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK(!remote_create(g.loop, NULL, &bad[i], &none, &err));
        CHECK_INT(err.kind, ERR_INVALID);
    }
    bad[0] = g.cfg;
    bad[0].state_dir = "/nowhere";
    CHECK(!remote_create(g.loop, NULL, &bad[0], &none, &err) && err.kind == ERR_NOT_FOUND);
    remote_destroy(NULL);
    close_rig(&g);
}

TEST(what_is_to_be_forgotten_is_remembered)
{
    struct rig g;

    open_rig(&g, true);
    for (int64_t job = 1; job <= 5; job++)
        remote_forget(g.remote, &(struct attempt_key){ job, 1, 3 });
    remote_forget(g.remote, &(struct attempt_key){ 0, 1, 3 });
    connect_test(&g);
    far_agree(&g);
    for (int64_t job = 1; job <= 5; job++)
        CHECK_INT(far_expect(&g, LINK_FORGET)->key.job, job);
    remote_forget(g.remote, &(struct attempt_key){ 6, 1, 3 });
    CHECK_INT(far_expect(&g, LINK_FORGET)->key.job, 6);
    CHECK_INT(g.far.last.key.fence, 7);
    CHECK(!far_next(&g, false));
    close_rig(&g);
}

TEST(samples_and_how_often)
{
    struct rig g;

    open_rig(&g, true);
    remote_measure(g.remote, 5);
    connect_test(&g);
    far_hello(&g);
    CHECK_INT(far_expect(&g, LINK_WELCOME)->sample_interval_s, 5);
    far_text(&g, "{\"type\":\"agreed\"}\n");
    UNTIL(&g, remote_state(g.remote) == REMOTE_UP);
    remote_measure(g.remote, 5);
    remote_measure(g.remote, LINK_INTERVAL_MAX_S + 1);
    remote_measure(g.remote, 0);
    CHECK_INT(far_expect(&g, LINK_MEASURE)->interval_s, 0);
    CHECK(!far_next(&g, false));
    far_text(&g, "{\"type\":\"sample\",\"load\":[2]}\n{\"type\":\"sample\",\"load\":[3]}\n");
    UNTIL(&g, g.samples > 0 && g.load > 2.5); /* the newest */
    /* one that comes with the end of the connection */
    far_text(&g, "{\"type\":\"sample\",\"load\":[4]}\n");
    close(g.far.in);
    g.far.in = -1;
    UNTIL(&g, g.load > 3.5);
    far_text(&g, "");
    close_rig(&g);
}

TEST(in_a_hook_anything_may_be_called)
{
    struct rig g;
    int pair[2];

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    turn(&g);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    g.connect_next = pair[0];
    close(g.far.in);
    g.far.in = g.far.out = pair[1];
    CHECK(fcntl(pair[1], F_SETFL, O_NONBLOCK) == 0);
    UNTIL(&g, g.connect_next == -1);
    CHECK(remote_connected(g.remote));
    far_agree(&g);
    close_rig(&g);
}

/* --- output ----------------------------------------------------------------------------------- */

TEST(output_that_is_not_the_next_piece_stops_it)
{
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_data(&g, 1, 0, "one\n", false);
    far_data(&g, 1, 3, "one\n", false);
    CHECK_INT(far_expect(&g, LINK_STOP_READ)->id, 1);
    far_data(&g, 1, 4, "more\n", false); /* was under way */
    far_data(&g, 2, 0, "", true);
    far_ended(&g, 1, 0);
    UNTIL(&g, g.ended == 1);
    check_mirror(&g, 1, "out", "one\n");
    CHECK(logged(&g, "stdout of job 1 attempt 1 on node far is not copied on"));
    CHECK(!logged(&g, "not asked for"));
    close_rig(&g);
}

TEST(output_that_can_not_be_read_there)
{
    struct rig g;
    struct link_msg refused = {
        .type = LINK_ERROR, .id = 1, .about = "read", .message = "too many files"
    };

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_say(&g, &refused);
    far_text(&g, "{\"type\":\"data\",\"id\":2,\"eof\":true,\"message\":\"Input/output error\"}\n");
    far_ended(&g, 1, 0);
    UNTIL(&g, g.ended == 1);
    CHECK(logged(&g, "too many files") && logged(&g, "stderr of job 1"));
    CHECK(mirror_size(&g, 1, "out") == -1 && mirror_size(&g, 1, "err") == -1);
    close_rig(&g);
}

TEST(a_mirror_goes_on_where_it_ended)
{
    struct rig g;

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_data(&g, 1, 0, "12345", false);
    UNTIL(&g, mirror_size(&g, 1, "out") == 5);
    connect_test(&g);
    CHECK_INT(far_agree(&g), 1);
    CHECK(far_expect(&g, LINK_READ)->id == 3 && g.far.last.offset == 5);
    far_expect(&g, LINK_READ);
    far_data(&g, 1, 5, "old id", false);
    UNTIL(&g, logged(&g, "not asked for (1)"));
    far_data(&g, 3, 5, "678\n", true);
    far_data(&g, 4, 0, "", true);
    far_ended(&g, 1, 0);
    UNTIL(&g, g.ended == 1);
    check_mirror(&g, 1, "out", "12345678\n");
    close_rig(&g);
}

TEST(a_mirror_has_a_limit)
{
    static const char want[] =
        "0123456\n89\n[hive: output is longer; the rest is on far in /far/attempts/0/1.1.out]\n";
    struct rig g;

    open_rig(&g, true);
    remote_destroy(g.remote);
    g.cfg.output_max = 10;
    make_remote(&g);
    connect_test(&g);
    far_agree(&g);
    start_first(&g);
    far_data(&g, 2, 0, "0123456789", true); /* as much as may be */
    far_data(&g, 1, 0, "0123456\n", false);
    far_data(&g, 1, 8, "89abc", false);
    CHECK_INT(far_expect(&g, LINK_STOP_READ)->id, 1);
    check_mirror(&g, 1, "out", want);
    check_mirror(&g, 1, "err", "0123456789");
    /* the next one sees that it is full */
    remote_destroy(g.remote);
    make_remote(&g);
    CHECK(remote_adopt(g.remote, &first, NULL, NULL, NULL) == 0);
    connect_test(&g);
    CHECK_INT(far_agree(&g), 1);
    CHECK(far_expect(&g, LINK_READ)->is_stderr && g.far.last.offset == 10);
    CHECK(!far_next(&g, false));
    far_data(&g, 1, 10, "", true);
    far_ended(&g, 1, 0);
    UNTIL(&g, g.ended == 1);
    check_mirror(&g, 1, "out", want);
    check_mirror(&g, 1, "err", "0123456789");
    close_rig(&g);
}

/* The mirror's file is nobody else's: not followed, not waited for. */
TEST(a_mirror_that_can_not_be_written)
{
    struct rig g;
    char *folder, *path;

    open_rig(&g, true);
    g.ack = false;
    folder = mem_printf("%s/attempts/0", g.state);
    path = mirror_path(&g, 1, "out");
    CHECK(fs_mkdir_p(folder, 0700, NULL) == 0);
    CHECK(symlink("/etc/passwd", path) == 0);
    free(path);
    path = mirror_path(&g, 1, "err");
    CHECK(mkfifo(path, 0600) == 0);
    connect_test(&g);
    far_agree(&g);
    far_run(&g, 1, "x");
    far_expect(&g, LINK_RUN);
    CHECK(!far_next(&g, false));
    far_ended(&g, 1, 0);
    UNTIL(&g, g.ended == 1);
    CHECK(logged(&g, "stdout of job 1") && logged(&g, "stderr of job 1"));
    CHECK(!remote_ack(g.remote, &first)); /* it is there only */
    CHECK(remote_ack(g.remote, &first));
    free(path);
    free(folder);
    close_rig(&g);
}

/* More runs than is read at once: those that ended come first, the others have their turns. */
TEST(reads_are_shared)
{
    enum { JOBS = 40 };
    struct rig g;
    int64_t last = 0, job = 0;
    size_t reads = 0;
    struct link_msg *m;

    open_rig(&g, true);
    connect_test(&g);
    far_agree(&g);
    for (int i = 1; i <= JOBS; i++)
        far_run(&g, i, "x");
    while ((m = far_next(&g, false)))
        reads += m->type == LINK_READ;
    CHECK_INT(reads, LINK_READS_MAX);

    far_ended(&g, JOBS, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(far_expect(&g, LINK_STOP_READ)->id, i + 1);
        CHECK_INT(far_expect(&g, LINK_READ)->key.job, JOBS);
        last = g.far.last.id;
    }
    CHECK(!far_next(&g, false));
    far_data(&g, last - 1, 0, "x", true);
    far_data(&g, last, 0, "", true);
    UNTIL(&g, g.ended == 1);
    check_mirror(&g, JOBS, "out", "x");
    CHECK_INT(far_expect(&g, LINK_ACK)->key.job, JOBS);
    CHECK_INT(far_expect(&g, LINK_READ)->key.job, 33);
    CHECK_INT(far_expect(&g, LINK_READ)->key.job, 33);

    /* after a while, the others: 7 jobs wait, 6 of them never had a turn */
    pass(&g, 2 * NS_PER_S);
    reads = 0;
    while ((m = far_next(&g, false))) {
        reads += m->type == LINK_READ;
        job = m->type == LINK_READ ? m->key.job : job;
    }
    CHECK_INT(reads, 14);
    CHECK_INT(job, 1);
    close_rig(&g);
}
