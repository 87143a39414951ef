/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests of the agent: agents as processes of their own, and a head that is the test. */
#ifndef HIVE_TESTS_UNIT_AGENT_RIG_H
#define HIVE_TESTS_UNIT_AGENT_RIG_H

#include "unit/node_world.h"

#include "node/agent.h"
#include "node/link_msg.h"
#include "sys/sys.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define RIG_FN NODE_WORLD_FN
#define HEAD_ID "00112233445566778899aabbccddeeff"

/* An agent and our ends of its standard input and output. */
struct far {
    pid_t pid;
    int in, out;
    struct buf got;
    char *folder;         /* its state folder, below the base */
    struct link_msg last; /* valid until the next is asked for */
};

RIG_FN char *base_dir(const char *name)
{
    return mem_printf("%s/%s", unit_tmpdir(), name);
}

struct agent_process {
    struct ev_loop *loop;
    struct ev_signal term;
    int rc;
};

RIG_FN void process_done(int rc, const struct err *err, void *arg)
{
    struct agent_process *p = arg;

    (void)err;
    p->rc = rc;
    ev_stop(p->loop);
}

RIG_FN void process_term(struct ev_signal *s)
{
    ev_stop(s->loop);
}

/* Ours in a sanitizer build: what it has not freed. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

RIG_FN int agent_process_main(int in, int out)
{
    struct agent_process p = { .loop = ev_loop_create(&clock_system, NULL) };
    char *state = base_dir("state"), *runtime = base_dir("run");
    struct agent_config cfg = { .state_dir = state,
                                .runtime_dir = runtime,
                                .version = "test",
                                .in_fd = in,
                                .out_fd = out,
                                .idle_shims = 1,
                                .done = process_done,
                                .arg = &p };
    struct agent *a;

    signal(SIGPIPE, SIG_IGN);
    p.term = (struct ev_signal){ .signo = SIGTERM, .fn = process_term };
    CHECK(ev_signal_add(p.loop, &p.term, NULL) == 0);
    a = agent_create(p.loop, NULL, &cfg, NULL);
    CHECK(a);
    CHECK(ev_run(p.loop, NULL) == 0);
    agent_destroy(a);
    ev_signal_remove(&p.term);
    ev_loop_destroy(p.loop);
    free(state);
    free(runtime);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
        return 99;
    return p.rc == 0 ? 0 : 1;
}

/* Some SSH servers give programs pipes, others sockets. */
static bool rig_sockets;

RIG_FN void make_stream(int fds[2])
{
    CHECK((rig_sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)
                       : pipe2(fds, O_CLOEXEC)) == 0);
}

RIG_FN void start_agent(struct far *f)
{
    int in[2], out[2];
    char host[128] = "";

    memset(f, 0, sizeof *f);
    make_stream(in);
    make_stream(out);
    f->pid = fork();
    CHECK(f->pid >= 0);
    if (f->pid == 0) {
        close(in[1]);
        close(out[0]);
        _exit(agent_process_main(in[0], out[1]));
    }
    close(in[0]);
    close(out[1]);
    f->in = in[1];
    f->out = out[0];
    gethostname(host, sizeof host - 1);
    f->folder = mem_printf("%s/state/agent/" HEAD_ID "/%s", unit_tmpdir(), host);
}

/* --- talking ---------------------------------------------------------------------------------- */

RIG_FN void say_text(struct far *f, const char *text, size_t len)
{
    CHECK(fs_write_all(f->in, text, len) == 0);
}

RIG_FN void say(struct far *f, const struct link_msg *m)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(link_msg_encode(m, &b, &err), &err);
    buf_append_char(&b, '\n');
    say_text(f, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

RIG_FN bool read_more(struct far *f, int64_t deadline)
{
    struct pollfd p = { .fd = f->out, .events = POLLIN };
    int64_t left = (deadline - now()) / NS_PER_MS;
    ssize_t n;

    if (left <= 0 || poll(&p, 1, (int)left + 1) <= 0)
        return false;
    n = read(f->out, buf_reserve(&f->got, 65536), 65536);
    if (n > 0)
        buf_added(&f->got, (size_t)n);
    return n > 0;
}

/* The next message but samples; NULL: none came in that time, or the agent closed. */
RIG_FN struct link_msg *next_within(struct far *f, int64_t ns, bool samples)
{
    int64_t deadline = now() + ns;
    struct err err = ERR_INIT;

    for (;;) {
        const char *nl = memchr(buf_data(&f->got), '\n', buf_len(&f->got));
        if (!nl) {
            if (!read_more(f, deadline))
                return NULL;
            continue;
        }
        link_msg_fini(&f->last);
        CHECK_OK(
            link_msg_decode(buf_data(&f->got), (size_t)(nl - buf_data(&f->got)), &f->last, &err),
            &err);
        buf_consume(&f->got, (size_t)(nl - buf_data(&f->got)) + 1);
        if (f->last.type != LINK_SAMPLE || samples)
            return &f->last;
    }
}

RIG_FN struct link_msg *expect(struct far *f, enum link_type type)
{
    struct link_msg *m = next_within(f, WAIT_S * NS_PER_S, type == LINK_SAMPLE);

    if (!m)
        unit_fail(__FILE__, __LINE__, "no %s came", link_type_name(type));
    if (m->type != type)
        unit_fail(__FILE__, __LINE__, "%s came, not %s: %s", link_type_name(m->type),
                  link_type_name(type), m->type == LINK_ERROR ? m->message : "");
    return m;
}

RIG_FN void welcome_fence(struct far *f, uint64_t fence, const struct attempt_key *named, size_t n,
                          int64_t lease_s)
{
    struct link_msg m = { .type = LINK_WELCOME,
                          .v = LINK_VERSION,
                          .head = HEAD_ID,
                          .key = { .fence = fence },
                          .lease_s = lease_s,
                          .attempts = named,
                          .attempt_count = n };

    CHECK_STR(expect(f, LINK_HELLO)->version, "test");
    say(f, &m);
}

/* A new agent that serves: hello, welcome, agreed. */
RIG_FN void open_link(struct far *f, const struct attempt_key *named, size_t n)
{
    start_agent(f);
    welcome_fence(f, 7, named, n, 60);
    CHECK_INT(expect(f, LINK_AGREED)->attempt_count, n);
}

RIG_FN void hang_up(struct far *f)
{
    if (f->in >= 0)
        close(f->in);
    if (f->out >= 0)
        close(f->out);
    f->in = f->out = -1;
}

/* Its exit status, -1: it goes on. */
RIG_FN int ended_within(struct far *f, int64_t ns)
{
    int64_t deadline = now() + ns;
    int status = 0;

    while (waitpid(f->pid, &status, WNOHANG) == 0) {
        if (now() > deadline)
            return -1;
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
    }
    f->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* An agent that was ended otherwise. */
RIG_FN void drop_far(struct far *f)
{
    hang_up(f);
    link_msg_fini(&f->last);
    buf_fini(&f->got);
    free(f->folder);
}

/* Nothing runs any more: it ends by itself when we hang up. */
RIG_FN void close_link(struct far *f)
{
    hang_up(f);
    CHECK_INT(ended_within(f, WAIT_S * NS_PER_S), 0);
    drop_far(f);
}

/* --- orders ----------------------------------------------------------------------------------- */

RIG_FN struct link_msg run_message(int64_t job, const char *const *argv)
{
    struct link_msg m = { .type = LINK_RUN, .key = { job, 1, 7 } };

    m.run = request(job, argv);
    return m;
}

RIG_FN void order(struct far *f, int64_t job, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    struct link_msg m = run_message(job, argv);

    say(f, &m);
}

RIG_FN void about(struct far *f, enum link_type type, int64_t job)
{
    struct link_msg m = { .type = type, .key = { job, 1, 0 } };

    say(f, &m);
}

/* The end of this job's attempt, acknowledged. */
RIG_FN struct attempt_end expect_end(struct far *f, int64_t job)
{
    struct attempt_end end = expect(f, LINK_ENDED)->end;

    CHECK_INT(end.key.job, job);
    about(f, LINK_ACK, job);
    return end;
}

RIG_FN void ask(struct far *f, int64_t id, int64_t job, bool follow)
{
    struct link_msg m = { .type = LINK_READ, .id = id, .key = { job, 1, 0 }, .follow = follow };

    say(f, &m);
}

/* All data of a stream up to its eof. */
RIG_FN void collect_data(struct far *f, int64_t id, struct buf *b)
{
    for (;;) {
        struct link_msg *m = expect(f, LINK_DATA);
        CHECK_INT(m->id, id);
        buf_append(b, m->data, m->data_len);
        if (m->eof)
            return;
    }
}

RIG_FN void wait_path(const char *path)
{
    int64_t deadline = now() + WAIT_S * NS_PER_S;

    while (access(path, F_OK) != 0) {
        if (now() > deadline)
            unit_fail(__FILE__, __LINE__, "%s did not appear", path);
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
    }
}

#endif
