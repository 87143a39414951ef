/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests of remote nodes: the head's side in our loop; at the other end a real agent, which is a
 * process of its own, or the test itself. */
#ifndef HIVE_TESTS_UNIT_REMOTE_RIG_H
#define HIVE_TESTS_UNIT_REMOTE_RIG_H

#include "unit/agent_rig.h"

#include "base/log.h"
#include "head/remote.h"

#define ENDS 2048

struct rig {
    struct clock clock; /* of the test's own where `fake` */
    bool fake;
    int64_t fake_ns;
    struct ev_loop *loop;
    struct remote *remote;
    struct remote_config cfg;
    struct log log;
    char *state;       /* of the head */
    struct buf logged; /* lines of the log */
    struct far far;    /* the agent, or our end of the connection */
    struct attempt_end ends[ENDS];
    size_t ended;
    struct attempt_key never[64];
    size_t never_count;
    size_t changes, samples;
    double load;
    bool ack;         /* in the hook */
    int connect_next; /* in the next `changed` to REMOTE_AWAY; -1 */
};

static int64_t rig_clock(void *arg)
{
    return ((struct rig *)arg)->fake_ns;
}

RIG_FN void rig_log(void *arg, enum log_level level, const char *line)
{
    struct rig *g = arg;

    (void)level;
    buf_printf(&g->logged, "%s\n", line);
}

RIG_FN void rig_ended(const struct attempt_end *end, void *arg)
{
    struct rig *g = arg;

    CHECK(g->ended < ENDS);
    g->ends[g->ended++] = *end;
    if (g->ack)
        remote_ack(g->remote, &end->key);
}

RIG_FN void rig_never(const struct attempt_key *key, void *arg)
{
    struct rig *g = arg;

    CHECK(g->never_count < ARRAY_LEN(g->never));
    g->never[g->never_count++] = *key;
    if (g->ack)
        remote_ack(g->remote, key);
}

RIG_FN void rig_changed(struct remote *r, void *arg)
{
    struct rig *g = arg;

    CHECK(r == g->remote);
    g->changes++;
    if (g->connect_next >= 0 && remote_state(r) == REMOTE_AWAY && !remote_connected(r)) {
        CHECK(remote_connect(r, g->connect_next, NULL) == 0);
        g->connect_next = -1;
    }
}

RIG_FN void rig_sample(const struct link_sample *s, void *arg)
{
    struct rig *g = arg;

    g->samples++;
    g->load = s->load[0];
    CHECK(s->memory_total_bytes != 0);
}

RIG_FN void make_remote(struct rig *g)
{
    struct remote_hooks hooks = { .ended = rig_ended,
                                  .never_started = rig_never,
                                  .changed = rig_changed,
                                  .sample = rig_sample,
                                  .arg = g };
    struct err err = ERR_INIT;

    g->remote = remote_create(g->loop, &g->log, &g->cfg, &hooks, &err);
    if (!g->remote)
        unit_fail(__FILE__, __LINE__, "remote_create: %s", err.msg);
}

RIG_FN void open_rig(struct rig *g, bool fake)
{
    memset(g, 0, sizeof *g);
    g->fake = fake;
    g->fake_ns = 1000 * NS_PER_S;
    g->clock = fake ? (struct clock){ rig_clock, rig_clock, g } : clock_system;
    g->loop = ev_loop_create(&g->clock, NULL);
    CHECK(g->loop);
    g->state = mem_printf("%s/head", unit_tmpdir());
    CHECK(mkdir(g->state, 0700) == 0);
    g->log = (struct log){ .level = LOG_INFO, .write = rig_log, .arg = g };
    g->cfg = (struct remote_config){
        .name = "far", .state_dir = g->state, .head_id = HEAD_ID, .fence = 7, .lease_s = 60
    };
    g->connect_next = -1;
    g->ack = true;
    g->far.in = g->far.out = -1;
    make_remote(g);
}

RIG_FN void turn(struct rig *g)
{
    CHECK(ev_turn(g->loop, 5 * NS_PER_MS, NULL) == 0);
}

/* Turns until it is so. */
#define UNTIL(g, cond)                                                                             \
    do {                                                                                           \
        int64_t until_deadline = now() + WAIT_S * NS_PER_S;                                        \
        while (!(cond)) {                                                                          \
            if (now() > until_deadline)                                                            \
                unit_fail(__FILE__, __LINE__, "not in %d s: %s; log:\n%s", WAIT_S, #cond,          \
                          buf_data(&(g)->logged));                                                 \
            turn(g);                                                                               \
        }                                                                                          \
    } while (0)

RIG_FN bool logged(const struct rig *g, const char *word)
{
    return strstr(buf_data(&g->logged), word) != NULL;
}

/* --- a real agent ----------------------------------------------------------------------------- */

RIG_FN void spawn_agent(struct rig *g, int *fd)
{
    char host[128] = "";
    int pair[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    g->far.pid = fork();
    CHECK(g->far.pid >= 0);
    if (g->far.pid == 0) {
        /* Also those of the test, which it would keep open. */
        for (int other = 3; other < 64; other++)
            if (other != pair[1])
                close(other);
        _exit(agent_process_main(pair[1], dup(pair[1])));
    }
    close(pair[1]);
    *fd = pair[0];
    gethostname(host, sizeof host - 1);
    free(g->far.folder);
    g->far.folder = mem_printf("%s/state/agent/" HEAD_ID "/%s", unit_tmpdir(), host);
}

RIG_FN void connect_agent(struct rig *g)
{
    struct err err = ERR_INIT;
    int fd;

    spawn_agent(g, &fd);
    CHECK_OK(remote_connect(g->remote, fd, &err), &err);
    UNTIL(g, remote_state(g->remote) == REMOTE_UP);
}

RIG_FN void wait_agent(struct rig *g, int want)
{
    CHECK_INT(ended_within(&g->far, WAIT_S * NS_PER_S), want);
}

RIG_FN struct remote_order far_order(int64_t job, const char *const *argv)
{
    return (struct remote_order){ .run = request(job, argv) };
}

RIG_FN void far_run(struct rig *g, int64_t job, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    struct remote_order o = far_order(job, argv);
    struct err err = ERR_INIT;

    CHECK_OK(remote_run(g->remote, &o, &err), &err);
}

RIG_FN const struct attempt_end *end_of(const struct rig *g, int64_t job)
{
    for (size_t i = 0; i < g->ended; i++)
        if (g->ends[i].key.job == job)
            return &g->ends[i];
    return NULL;
}

/* --- the test as a node ----------------------------------------------------------------------- */

RIG_FN void connect_test(struct rig *g)
{
    struct err err = ERR_INIT;
    int pair[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK_OK(remote_connect(g->remote, pair[0], &err), &err);
    if (g->far.in >= 0)
        close(g->far.in);
    buf_clear(&g->far.got);
    g->far.in = g->far.out = pair[1];
    CHECK(fcntl(pair[1], F_SETFL, O_NONBLOCK) == 0);
}

/* However much it is: we turn meanwhile. */
RIG_FN void far_write(struct rig *g, const char *data, size_t len)
{
    int64_t deadline = now() + WAIT_S * NS_PER_S;

    while (len > 0) {
        ssize_t n = send(g->far.in, data, len, MSG_NOSIGNAL);
        CHECK(n > 0 || errno == EAGAIN || errno == EPIPE);
        if (n < 0 && errno == EPIPE)
            return;
        CHECK(now() < deadline);
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        if (n <= 0)
            turn(g);
    }
}

RIG_FN void far_text(struct rig *g, const char *text)
{
    far_write(g, text, strlen(text));
}

RIG_FN void far_say(struct rig *g, const struct link_msg *m)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(link_msg_encode(m, &b, &err), &err);
    buf_append_char(&b, '\n');
    far_write(g, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

RIG_FN void far_hello(struct rig *g)
{
    struct link_msg m = { .type = LINK_HELLO,
                          .v = LINK_VERSION,
                          .name = "host",
                          .version = "test",
                          .arch = "x86_64",
                          .threads = 3 };

    far_say(g, &m);
}

/* The next message of the head but pings; NULL: none in some turns. */
RIG_FN struct link_msg *far_next(struct rig *g, bool pings)
{
    struct err err = ERR_INIT;

    for (int idle = 0; idle < 8;) {
        const char *nl = memchr(buf_data(&g->far.got), '\n', buf_len(&g->far.got));
        if (!nl) {
            ssize_t n = recv(g->far.out, buf_reserve(&g->far.got, 65536), 65536, 0);
            if (n > 0)
                buf_added(&g->far.got, (size_t)n);
            if (n <= 0)
                CHECK(ev_turn(g->loop, NS_PER_MS, NULL) == 0);
            idle = n > 0 ? 0 : idle + 1;
            continue;
        }
        link_msg_fini(&g->far.last);
        size_t len = (size_t)(nl - buf_data(&g->far.got));
        CHECK_OK(link_msg_decode(buf_data(&g->far.got), len, &g->far.last, &err), &err);
        buf_consume(&g->far.got, len + 1);
        if (g->far.last.type != LINK_PING || pings)
            return &g->far.last;
    }
    return NULL;
}

RIG_FN struct link_msg *far_expect(struct rig *g, enum link_type type)
{
    struct link_msg *m = far_next(g, type == LINK_PING);

    if (!m || m->type != type)
        unit_fail(__FILE__, __LINE__, "%s came, not %s; log:\n%s",
                  m ? link_type_name(m->type) : "nothing", link_type_name(type),
                  buf_data(&g->logged));
    return m;
}

/* Hello, welcome, agreed: how many attempts the welcome names. */
RIG_FN size_t far_agree(struct rig *g)
{
    struct link_msg m = { .type = LINK_AGREED, .memory_note = "note", .state_dir = "/far" };
    size_t named;

    far_hello(g);
    named = far_expect(g, LINK_WELCOME)->attempt_count;
    far_say(g, &m);
    UNTIL(g, remote_state(g->remote) == REMOTE_UP);
    return named;
}

RIG_FN void far_ended(struct rig *g, int64_t job, int code)
{
    struct link_msg m = { .type = LINK_ENDED, .key = { job, 1, 7 } };

    m.end = (struct attempt_end){ .outcome = ATTEMPT_EXITED, .code = code };
    far_say(g, &m);
}

RIG_FN void far_data(struct rig *g, int64_t id, int64_t offset, const char *text, bool eof)
{
    struct link_msg m = { .type = LINK_DATA,
                          .id = id,
                          .offset = offset,
                          .data = text,
                          .data_len = strlen(text),
                          .eof = eof };

    far_say(g, &m);
}

/* Time goes by, and what is due is done. */
RIG_FN void pass(struct rig *g, int64_t ns)
{
    g->fake_ns += ns;
    for (int i = 0; i < 4; i++)
        CHECK(ev_turn(g->loop, NS_PER_MS, NULL) == 0);
}

/* --- both ------------------------------------------------------------------------------------- */

RIG_FN char *mirror_path(const struct rig *g, int64_t job, const char *suffix)
{
    return mem_printf("%s/attempts/%lld/%lld.1.%s", g->state, (long long)(job / 1024),
                      (long long)job, suffix);
}

RIG_FN void check_mirror(const struct rig *g, int64_t job, const char *suffix, const char *want)
{
    char *path = mirror_path(g, job, suffix);

    check_file(path, want);
    free(path);
}

RIG_FN int64_t mirror_size(const struct rig *g, int64_t job, const char *suffix)
{
    char *path = mirror_path(g, job, suffix);
    struct stat st;
    int64_t size = stat(path, &st) == 0 ? st.st_size : -1;

    free(path);
    return size;
}

RIG_FN void close_rig(struct rig *g)
{
    remote_destroy(g->remote);
    if (g->far.pid > 0)
        wait_agent(g, 0);
    if (g->far.in >= 0)
        close(g->far.in);
    ev_loop_destroy(g->loop);
    link_msg_fini(&g->far.last);
    buf_fini(&g->far.got);
    free(g->far.folder);
    buf_fini(&g->logged);
    free(g->state);
}

#endif
