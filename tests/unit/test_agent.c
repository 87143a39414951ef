/* SPDX-License-Identifier: BSD-2-Clause */
/* What an agent does for a head that stays. */
#include "unit/agent_rig.h"

TEST(hello_says_what_the_machine_is)
{
    struct far f;
    struct link_msg *m;
    char boot[40];

    start_agent(&f);
    m = expect(&f, LINK_HELLO);
    sys_boot_id(boot, sizeof boot);
    CHECK_INT(m->v, LINK_VERSION);
    CHECK_STR(m->version, "test");
    CHECK_STR(m->boot_id, boot);
    CHECK(m->name[0] && m->arch[0] && m->os[0]);
    CHECK_INT(m->threads, sys_usable_cpus());
    CHECK_INT(m->memory_total_bytes, sys_memory_total());
    close_link(&f);
}

TEST(attempts_end_as_they_end)
{
    struct far f;
    struct attempt_end e;
    const char *none[] = { "/nowhere/program", NULL };
    struct link_msg m = run_message(4, none);

    open_link(&f, NULL, 0);
    order(&f, 1, "exit 0");
    e = expect_end(&f, 1);
    CHECK(e.outcome == ATTEMPT_EXITED && e.code == 0 && e.started_ns > 0 && e.finished_ns > 0);
    CHECK_INT(e.key.fence, 7);
    order(&f, 2, "exit 3");
    e = expect_end(&f, 2);
    CHECK(e.outcome == ATTEMPT_EXITED && e.code == 3);
    order(&f, 3, "kill -SEGV $$");
    e = expect_end(&f, 3);
    CHECK(e.outcome == ATTEMPT_SIGNALED && e.signal == SIGSEGV);
    say(&f, &m);
    e = expect_end(&f, 4);
    CHECK(e.outcome == ATTEMPT_NOT_RUN && e.code == 127 && e.message[0]);
    close_link(&f);
}

TEST(everything_of_an_order_arrives)
{
    struct far f;
    struct attempt_end e;
    const char *argv[] = { "{script}", "a b", NULL };
    const char *env[] = { "PATH=/usr/bin:/bin", "WORD=wört", NULL };
    struct link_msg m = run_message(1, argv);
    char *out = mem_printf("%s/both", unit_tmpdir());

    m.run.env = env;
    m.run.script = "#!/bin/sh\npwd; echo \"$1 $WORD\"; echo err >&2\nexec sleep 100\n";
    m.run.workdir = "/usr";
    m.run.stdout_path = m.run.stderr_path = out;
    m.run.timeout_ns = NS_PER_S;
    open_link(&f, NULL, 0);
    say(&f, &m);
    e = expect_end(&f, 1);
    CHECK_INT(e.outcome, ATTEMPT_TIMEOUT);
    check_file(out, "/usr\na b wört\nerr\n");
    free(out);
    close_link(&f);
}

TEST(one_behind_the_other)
{
    struct far f;
    const char *argv[] = { "true", NULL };
    struct link_msg m = run_message(2, argv);
    char *go = mem_printf("%s/go", unit_tmpdir());
    char *script = mem_printf("while [ ! -e %s ]; do sleep 0.01; done", go);

    m.run.after = (struct attempt_key){ 1, 1, 7 };
    open_link(&f, NULL, 0);
    order(&f, 1, script);
    say(&f, &m);
    CHECK(!next_within(&f, 200 * NS_PER_MS, false));
    close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    expect_end(&f, 1);
    expect_end(&f, 2);
    free(script);
    free(go);
    close_link(&f);
}

TEST(killing_ends_the_whole_tree)
{
    struct far f;
    char *file = mem_printf("%s/pid", unit_tmpdir());
    char *script = mem_printf("setsid sh -c 'echo $$ >%s.new; mv %s.new %s; exec sleep 100' & wait",
                              file, file, file);
    struct attempt_end e;
    pid_t pid;

    open_link(&f, NULL, 0);
    order(&f, 1, script);
    wait_path(file);
    pid = pid_in(file);
    CHECK(alive(pid));
    about(&f, LINK_KILL, 1);
    e = expect_end(&f, 1);
    CHECK_INT(e.outcome, ATTEMPT_CANCELLED);
    CHECK(gone_within(pid, NS_PER_S));
    free(script);
    free(file);
    close_link(&f);
}

TEST(signals_arrive)
{
    struct far f;
    struct link_msg m = { .type = LINK_SIGNAL, .key = { 1, 1, 0 }, .signo = SIGUSR1 };
    char *file = mem_printf("%s/ready", unit_tmpdir());
    char *script = mem_printf("trap 'exit 9' USR1; : >%s; while :; do sleep 0.01; done", file);

    open_link(&f, NULL, 0);
    order(&f, 1, script);
    wait_path(file);
    say(&f, &m);
    CHECK_INT(expect_end(&f, 1).code, 9);
    free(script);
    free(file);
    close_link(&f);
}

TEST(output_is_read_in_pieces)
{
    struct far f;
    struct buf b = BUF_INIT;
    struct link_msg m = { .type = LINK_READ, .key = { 1, 1, 0 } };
    char *named = mem_printf("%s/named", unit_tmpdir());

    open_link(&f, NULL, 0);
    order(&f, 1, "seq 100000; echo no >&2");
    expect_end(&f, 1);

    ask(&f, 1, 1, false);
    collect_data(&f, 1, &b);
    CHECK_INT(buf_len(&b), 588895);
    CHECK(memcmp(buf_data(&b), "1\n2\n3\n", 6) == 0 && str_ends(buf_data(&b), "\n100000\n"));
    buf_clear(&b);

    m.id = 2;
    m.is_stderr = true;
    say(&f, &m);
    collect_data(&f, 2, &b);
    CHECK_STR(buf_data(&b), "no\n");
    buf_clear(&b);

    m.id = 3;
    m.is_stderr = false;
    m.offset = 588895 - 7;
    m.limit = 3;
    say(&f, &m);
    collect_data(&f, 3, &b);
    CHECK_STR(buf_data(&b), "100");
    CHECK_INT(f.last.size, 588895);
    buf_clear(&b);

    CHECK(fs_write_file(named, "named\n", 6, 0600, false, NULL) == 0);
    m = (struct link_msg){ .type = LINK_READ, .id = 4, .key = { 1, 1, 0 }, .path = named };
    say(&f, &m);
    collect_data(&f, 4, &b);
    CHECK_STR(buf_data(&b), "named\n");
    buf_clear(&b);

    /* nothing there, no file at all, nonsense */
    ask(&f, 5, 99, true);
    collect_data(&f, 5, &b);
    CHECK(f.last.message && buf_len(&b) == 0);
    m.path = "/";
    m.id = 6;
    say(&f, &m);
    collect_data(&f, 6, &b);
    CHECK(f.last.message);
    m.path = "relative";
    say(&f, &m);
    CHECK_INT(expect(&f, LINK_ERROR)->id, 6);

    about(&f, LINK_FORGET, 1);
    ask(&f, 7, 1, false);
    collect_data(&f, 7, &b);
    CHECK(f.last.message);
    buf_fini(&b);
    free(named);
    close_link(&f);
}

TEST(output_is_followed_to_the_end)
{
    struct far f;
    struct buf b = BUF_INIT;
    char *go = mem_printf("%s/go", unit_tmpdir());
    char *script = mem_printf("echo one; while [ ! -e %s ]; do sleep 0.01; done; echo two", go);
    bool data = false, end = false;

    open_link(&f, NULL, 0);
    order(&f, 1, script);
    ask(&f, 1, 1, true);
    ask(&f, 2, 1, true);
    while (buf_len(&b) < 8) {
        struct link_msg *m = expect(&f, LINK_DATA);
        CHECK(!m->eof);
        buf_append(&b, m->data, m->data_len);
    }
    CHECK_STR(buf_data(&b), "one\none\n");
    CHECK(!next_within(&f, 300 * NS_PER_MS, false));
    f.last.id = 0;
    struct link_msg stop = { .type = LINK_STOP_READ, .id = 2 };
    say(&f, &stop);
    buf_clear(&b);
    close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    while (!data || !end) {
        struct link_msg *m = next_within(&f, WAIT_S * NS_PER_S, false);
        CHECK(m && (m->type == LINK_ENDED || (m->type == LINK_DATA && m->id == 1)));
        end |= m->type == LINK_ENDED;
        if (m->type == LINK_DATA)
            buf_append(&b, m->data, m->data_len);
        data |= m->type == LINK_DATA && m->eof;
    }
    CHECK_STR(buf_data(&b), "two\n");
    about(&f, LINK_ACK, 1);
    buf_fini(&b);
    free(script);
    free(go);
    close_link(&f);
}

/* The head doesn't read, with more on its way than fits: output waits, orders are still followed. */
static void do_not_read(void)
{
    struct far f;
    size_t sizes[4] = { 0 };
    int eofs = 0;
    bool ended = false;
    char *file = mem_printf("%s/pid", unit_tmpdir());
    char *script = mem_printf("echo $$ >%s.new; mv %s.new %s; exec sleep 100", file, file, file);
    pid_t pid;

    open_link(&f, NULL, 0);
    order(&f, 1, "head -c 6000000 /dev/zero");
    expect_end(&f, 1);
    order(&f, 2, script);
    wait_path(file);
    pid = pid_in(file);
    for (int64_t id = 1; id <= 4; id++)
        ask(&f, id, 1, false);
    about(&f, LINK_KILL, 2);
    CHECK(gone_within(pid, WAIT_S * NS_PER_S));
    while (eofs < 4 || !ended) {
        struct link_msg *m = next_within(&f, WAIT_S * NS_PER_S, false);
        CHECK(m && (m->type == LINK_ENDED || m->type == LINK_DATA));
        ended |= m->type == LINK_ENDED;
        if (m->type != LINK_DATA)
            continue;
        CHECK_INT(m->offset, sizes[m->id - 1]);
        sizes[m->id - 1] += m->data_len;
        eofs += m->eof;
    }
    for (int i = 0; i < 4; i++)
        CHECK_INT(sizes[i], 6000000);
    about(&f, LINK_ACK, 2);
    free(script);
    free(file);
    close_link(&f);
}

TEST(a_head_that_does_not_read)
{
    do_not_read();
}

TEST(a_head_that_does_not_read_a_socket)
{
    rig_sockets = true;
    do_not_read();
}

TEST(samples_come_when_asked_for)
{
    struct far f;
    struct link_msg m = { .type = LINK_MEASURE, .interval_s = 1 };
    struct link_sample s;

    open_link(&f, NULL, 0);
    CHECK(!next_within(&f, 200 * NS_PER_MS, true));
    order(&f, 1, "while :; do :; done");
    say(&f, &m);
    for (;;) { /* until the job has used something, and that is seen in the machine's numbers too */
        s = expect(&f, LINK_SAMPLE)->sample;
        CHECK(s.memory_total_bytes > 0 && s.memory_available_bytes > 0 && s.load[0] >= 0);
        CHECK_INT(s.running, 1);
        if (s.use_count == 1 && s.uses[0].cpu_ns > NS_PER_S / 2 && s.cpu_percent > 1)
            break;
    }
    CHECK_INT(s.uses[0].key.job, 1);
    CHECK(s.uses[0].memory_bytes > 0);
    CHECK(s.uses[0].cpu_ns < 30 * NS_PER_S);

    m.interval_s = 0;
    say(&f, &m);
    about(&f, LINK_KILL, 1);
    expect_end(&f, 1);
    close_link(&f);
}

TEST(pings_are_answered_before_the_welcome_too)
{
    struct far f;
    struct link_msg m = { .type = LINK_PING, .id = 5 };

    start_agent(&f);
    expect(&f, LINK_HELLO);
    say(&f, &m);
    CHECK_INT(expect(&f, LINK_PONG)->id, 5);
    order(&f, 1, "exit 0");
    CHECK_STR(expect(&f, LINK_ERROR)->about, "run");
    CHECK_INT(f.last.key.job, 1);
    close_link(&f);
}

TEST(what_is_not_understood_is_answered)
{
    static const char *const bad[] = { "\n{}\n",
                                       "[1]\n",
                                       "{\"type\":\"dance\"}\n",
                                       "\xff\xfe\n",
                                       "{\"type\":\"hello\"}\n",
                                       "{\"type\":\"kill\",\"job\":0,\"attempt\":1}\n" };
    struct far f;
    struct link_msg ping = { .type = LINK_PING, .id = 1 };
    char *line;

    open_link(&f, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        say_text(&f, bad[i], strlen(bad[i]));
        CHECK(expect(&f, LINK_ERROR)->message[0]);
    }
    line = mem_alloc(3 * LINK_LINE_MAX);
    memset(line, 'x', 3 * LINK_LINE_MAX);
    line[3 * LINK_LINE_MAX - 1] = '\n';
    say_text(&f, line, 3 * LINK_LINE_MAX);
    CHECK_STR(expect(&f, LINK_ERROR)->kind, "too_large");
    free(line);
    say(&f, &ping);
    expect(&f, LINK_PONG);
    close_link(&f);
}

TEST(a_flood_of_garbage_is_survived)
{
    struct far f;
    struct buf b = BUF_INIT;
    struct link_msg ping = { .type = LINK_PING, .id = 1 };
    size_t sent = 0, errors = 0;

    open_link(&f, NULL, 0);
    for (int i = 0; i < 50000; i++)
        buf_append_str(&b, "garbage \x01 that is no JSON\n");
    CHECK(fcntl(f.in, F_SETFL, O_NONBLOCK) == 0);
    /* Answers have to be read: it stops reading otherwise. */
    while (errors < 50000) {
        ssize_t n = sent < buf_len(&b) ? write(f.in, buf_data(&b) + sent, buf_len(&b) - sent) : 0;
        sent += n > 0 ? (size_t)n : 0;
        struct link_msg *m = next_within(&f, WAIT_S * NS_PER_S, false);
        CHECK(m && m->type == LINK_ERROR);
        errors++;
    }
    CHECK_INT(sent, buf_len(&b));
    say(&f, &ping);
    expect(&f, LINK_PONG);
    buf_fini(&b);
    close_link(&f);
}

TEST(a_thousand_quick_jobs_are_reported_once)
{
    enum { JOBS = 1000 };
    static int seen[JOBS + 1];
    struct far f;
    int left = JOBS;
    int64_t next = 1;

    open_link(&f, NULL, 0);
    while (left > 0) {
        for (; next <= JOBS && next <= JOBS - left + 50; next++) {
            const char *argv[] = { "true", NULL };
            struct link_msg m = run_message(next, argv);
            say(&f, &m);
        }
        struct attempt_end end = expect(&f, LINK_ENDED)->end;
        CHECK(end.outcome == ATTEMPT_EXITED && end.code == 0);
        CHECK(end.key.job >= 1 && end.key.job <= JOBS && ++seen[end.key.job] == 1);
        about(&f, LINK_ACK, end.key.job);
        left--;
    }
    CHECK(!next_within(&f, 100 * NS_PER_MS, false));
    close_link(&f);
}

TEST(what_can_not_be_ordered_ends_at_once)
{
    struct far f;
    char *big = mem_alloc(200 * 1024);
    const char *argv[] = { "true", big, NULL };
    struct link_msg m = run_message(1, argv);
    struct attempt_end e;

    memset(big, 'x', 200 * 1024 - 1);
    open_link(&f, NULL, 0);
    say(&f, &m);
    e = expect(&f, LINK_ENDED)->end;
    CHECK(e.outcome == ATTEMPT_NOT_RUN && e.code == 125 && e.message[0]);
    about(&f, LINK_ACK, 1);

    order(&f, 2, "sleep 100");
    order(&f, 2, "true");
    CHECK_STR(expect(&f, LINK_ERROR)->kind, "conflict");
    about(&f, LINK_FORGET, 2);
    CHECK_STR(expect(&f, LINK_ERROR)->about, "forget");
    about(&f, LINK_ACK, 2);
    CHECK_STR(expect(&f, LINK_ERROR)->about, "ack");
    about(&f, LINK_KILL, 2);
    expect_end(&f, 2);
    free(big);
    close_link(&f);
}

TEST(drained_it_ends_after_the_last_job)
{
    struct far f;
    struct link_msg drain = { .type = LINK_DRAIN };

    open_link(&f, NULL, 0);
    order(&f, 1, "sleep 0.2");
    say(&f, &drain);
    order(&f, 2, "true");
    CHECK_INT(expect(&f, LINK_ERROR)->key.job, 2);
    expect(&f, LINK_ENDED);
    CHECK_INT(ended_within(&f, 200 * NS_PER_MS), -1); /* not before it is acknowledged */
    about(&f, LINK_ACK, 1);
    CHECK_INT(ended_within(&f, WAIT_S * NS_PER_S), 0);
    drop_far(&f);
}
