/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be tested without an SSH server; the rest is in tests/lab/link.t. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/sock.h"
#include "net/ssh_link.h"
#include "net/ssh_link_client.h"
#include "net/ssh_link_msg.h"
#include "net/ssh_link_stream.h"
#include "unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_NS (30 * NS_PER_S)

/* --- words, paths ------------------------------------------------------------------------------- */

TEST(words)
{
    static const char *const good[] = { "alpha",   "ann@alpha", "alpha:2222",    "[fd00::1]:22",
                                        "fd00::1", "a,b",       "root@a:1,b@c,d" };
    static const char *const bad[] = {
        "",   "-x",  "a,",      ",a",  "a b", "a,,b", "@a",
        "a:", "a:0", "a:99999", "a;b", "a/b", "a,-b", "1,2,3,4,5,6,7,8,9"
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct err err = ERR_INIT;

        CHECK_OK(ssh_link_check_word(good[i], &err), &err);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = ERR_INIT;

        CHECK(ssh_link_check_word(bad[i], &err) == -1);
        CHECK_INT(err.kind, ERR_INVALID);
    }
    CHECK_STR(ssh_link_last("a,b@c:1"), "b@c:1");
    CHECK_STR(ssh_link_last("a"), "a");
}

static void check_path(const char *word, const char *want)
{
    char *path = ssh_link_path("/run", word, ".sock");

    CHECK_STR(path, want);
    free(path);
}

TEST(paths)
{
    char *a, *b;

    check_path("alpha", "/run/links/alpha.sock");
    check_path("Ann@alpha.lan:22", "/run/links/Ann@alpha.lan%3a22.sock");
    check_path("..", "/run/links/%2e..sock");
    check_path("a,b", "/run/links/a%2cb.sock");
    a = ssh_link_path("/run", "a-name-that-is-too-long-for-a-socket-in-most-folders-1", ".sock");
    b = ssh_link_path("/run", "a-name-that-is-too-long-for-a-socket-in-most-folders-2", ".sock");
    CHECK(strlen(a) < 64 && strlen(b) < 64);
    CHECK(!str_eq(a, b));
    free(a);
    free(b);
}

/* --- messages ----------------------------------------------------------------------------------- */

static void decode(const char *text, struct ssh_link_msg *m)
{
    struct err err = ERR_INIT;

    if (ssh_link_msg_decode(text, strlen(text), m, &err) != 0)
        unit_fail(__FILE__, __LINE__, "%s: %s", text, err.msg);
}

TEST(messages)
{
    struct ssh_link_msg m;

    decode("{\"type\":\"exec\",\"id\":7,\"command\":\"a b\",\"wait_s\":1.5,\"new\":[]}", &m);
    CHECK_INT(m.type, SSH_LINK_EXEC);
    CHECK_INT(m.id, 7);
    CHECK_STR(m.text, "a b");
    CHECK_INT(m.wait_ns, NS_PER_S * 3 / 2);
    ssh_link_msg_fini(&m);
    decode("{\"type\":\"exec\",\"id\":7,\"command_hex\":\"61e9\"}", &m);
    CHECK_STR(m.text, "a\xe9");
    CHECK_INT(m.wait_ns, -1);
    ssh_link_msg_fini(&m);
    decode("{\"type\":\"dance\",\"id\":3}", &m);
    CHECK_INT(m.type, SSH_LINK_UNKNOWN);
    CHECK_STR(m.text, "dance");
    ssh_link_msg_fini(&m);
    decode("{\"type\":\"ended\",\"id\":3,\"error\":\"x\",\"kind\":\"unavailable\",\"hint\":\"y\"}",
           &m);
    CHECK_INT(m.result.end, SSH_LINK_FAILED);
    CHECK_INT(m.result.err.kind, ERR_UNAVAILABLE);
    CHECK_STR(m.result.err.hint, "y");
    ssh_link_msg_fini(&m);
    decode("{\"type\":\"ended\",\"id\":3,\"code\":0}", &m);
    CHECK_INT(m.result.end, SSH_LINK_CODE);
    ssh_link_msg_fini(&m);
}

TEST(bad_messages)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"exec\",\"command\":\"x\"}",
        "{\"type\":\"exec\",\"id\":0,\"command\":\"x\"}",
        "{\"type\":\"exec\",\"id\":1}",
        "{\"type\":\"exec\",\"id\":1,\"command\":\"\"}",
        "{\"type\":\"exec\",\"id\":1,\"command\":\"a\\u0000\"}",
        "{\"type\":\"exec\",\"id\":1,\"command_hex\":\"6\"}",
        "{\"type\":\"exec\",\"id\":1,\"command_hex\":\"6g\"}",
        "{\"type\":\"exec\",\"id\":1,\"command\":\"x\",\"wait_s\":-1}",
        "{\"type\":\"exec\",\"id\":1,\"command\":\"x\",\"wait_s\":99999}",
        "{\"type\":\"dial\",\"id\":1,\"host\":\"h\"}",
        "{\"type\":\"dial\",\"id\":1,\"host\":\"h\",\"port\":0}",
        "{\"type\":\"signal\",\"id\":1,\"signal\":\"term\"}",
        "{\"type\":\"signal\",\"id\":1}",
        "{\"type\":\"hello\"}",
        "{\"type\":\"hello\",\"v\":0}",
        "{\"type\":\"state\",\"state\":\"odd\"}",
        "{\"type\":\"ended\",\"id\":1}",
        "{\"type\":\"ended\",\"id\":1,\"code\":-1}",
        "{\"type\":\"ended\",\"id\":1,\"signal\":\"KILL\\n\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct ssh_link_msg m;
        struct err err = ERR_INIT;

        if (ssh_link_msg_decode(bad[i], strlen(bad[i]), &m, &err) == 0)
            unit_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
        CHECK_INT(err.kind, ERR_INVALID);
    }
}

/* More than ssh_link_send() would */
static void send_many(int fd, size_t count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = { .bytes = { 0 } };
    char x = 'x';
    struct iovec iov = { .iov_base = &x, .iov_len = 1 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes };
    struct cmsghdr *c;

    msg.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
    c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
    CHECK(count <= 8); /* zeros: descriptor 0 */
    CHECK(sendmsg(fd, &msg, 0) == 1);
}

TEST(packets_carry_descriptors)
{
    int pair[2], fds[SSH_LINK_FDS];
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK_INT(ssh_link_receive(pair[1], &b, fds, &err), 0);
    CHECK_INT(ssh_link_send(pair[0], "one", 3, (const int[]){ 0, 1 }, 2), 1);
    CHECK_INT(ssh_link_receive(pair[1], &b, fds, &err), 1);
    CHECK_STR(buf_data(&b), "one");
    CHECK(fds[0] >= 0 && fds[1] >= 0 && fds[2] == -1);
    CHECK(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    ssh_link_close_fds(fds);
    for (size_t n = SSH_LINK_FDS + 1; n <= 8; n++) {
        send_many(pair[0], n);
        CHECK_INT(ssh_link_receive(pair[1], &b, fds, &err), -1);
        CHECK_INT(err.kind, ERR_INVALID);
        CHECK_INT(fds[0], -1);
    }
    err = (struct err)ERR_INIT;
    close(pair[0]);
    CHECK_INT(ssh_link_receive(pair[1], &b, fds, &err), -1);
    CHECK_INT(err.kind, ERR_NONE);
    close(pair[1]);
    buf_fini(&b);
}

/* --- streams ------------------------------------------------------------------------------------ */

static unsigned called;

static void on_ready(struct link_stream *s, unsigned events)
{
    (void)s;
    called |= events;
}

TEST(streams_leave_the_flags_of_others_alone)
{
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    struct link_stream in = { .ready = on_ready }, out = { .ready = on_ready };
    int ends[2];
    char data[8];
    ssize_t n, total = 0;

    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK_OK(link_stream_open(&in, loop, dup(ends[0]), false, &err), &err);
    CHECK_OK(link_stream_open(&out, loop, dup(ends[1]), true, &err), &err);
    CHECK(!(fcntl(ends[0], F_GETFL) & O_NONBLOCK) && !(fcntl(ends[1], F_GETFL) & O_NONBLOCK));
    CHECK(!in.polite && !out.polite);
    CHECK_INT(link_stream_read(&in, data, sizeof data), -1);
    CHECK_INT(errno, EAGAIN);
    while ((n = link_stream_write(&out, "12345678", 8)) > 0)
        total += n;
    CHECK(errno == EAGAIN && total >= 4096);
    CHECK_INT(link_stream_read(&in, data, sizeof data), 8);
    link_stream_watch(&in, true);
    CHECK_OK(ev_turn(loop, 0, &err), &err);
    CHECK(called & EV_READ);
    link_stream_close(&in, true);
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    CHECK_INT(link_stream_write(&out, "x", 1), -1);
    CHECK_INT(errno, EPIPE);
    link_stream_close(&out, true);
    close(ends[1]);
    ev_loop_destroy(loop);
}

TEST(streams_of_a_terminal)
{
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct link_stream slave = { .ready = on_ready }, other = { .ready = on_ready };
    char data[8];

    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int fd = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_OK(link_stream_open(&slave, loop, dup(fd), false, &err), &err);
    CHECK(!slave.polite);
    CHECK_INT(link_stream_read(&slave, data, sizeof data), -1);
    CHECK_INT(errno, EAGAIN);
    CHECK_INT(write(master, "hi\n", 3), 3);
    CHECK_INT(link_stream_read(&slave, data, sizeof data), 3);
    /* Opened anew, the master would be another terminal's. */
    CHECK_OK(link_stream_open(&other, loop, dup(master), true, &err), &err);
    CHECK(other.polite);
    CHECK_INT(link_stream_write(&other, "ho\n", 3), 3);
    CHECK_INT(link_stream_read(&slave, data, sizeof data), 3);
    CHECK(!(fcntl(master, F_GETFL) & O_NONBLOCK) && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
    link_stream_close(&slave, false);
    link_stream_close(&other, false);
    close(fd);
    close(master);
    ev_loop_destroy(loop);
}

TEST(streams_of_files)
{
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    struct link_stream s = { .ready = on_ready };
    char *path = mem_printf("%s/file", unit_tmpdir());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK(write(fd, "0123456789", 10) == 10 && lseek(fd, 4, SEEK_SET) == 4);
    CHECK_OK(link_stream_open(&s, loop, dup(fd), true, &err), &err);
    CHECK_INT(link_stream_write(&s, "ab", 2), 2);
    CHECK_INT(lseek(fd, 0, SEEK_CUR), 6); /* the position is shared */
    link_stream_watch(&s, true);
    link_stream_close(&s, true);
    CHECK_OK(link_stream_open(&s, loop, open("/dev/null", O_RDWR | O_CLOEXEC), false, &err), &err);
    CHECK(!s.watchable && !s.polite);
    link_stream_close(&s, false);
    CHECK(link_stream_open(&s, loop, open(path, O_RDONLY | O_CLOEXEC), true, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(!link_stream_is_open(&s));
    close(fd);
    free(path);
    ev_loop_destroy(loop);
}

/* --- a link process, in this one ---------------------------------------------------------------- */

struct rig {
    struct ev_loop *loop;
    struct ssh_link *link;
    char word[32];
    int port_fd; /* bound, and nobody listens: whoever connects is refused */
    bool ended;
    unsigned starts;
    struct ssh_link_client *client;
    struct ssh_link_run *run;
    struct ssh_link_result result;
    unsigned events;
    enum ssh_link_state state;
    unsigned changes;
};

static void on_link_ended(void *arg)
{
    ((struct rig *)arg)->ended = true;
}

static void rig_init(struct rig *r)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof in;
    struct err err = ERR_INIT;

    *r = (struct rig){ .loop = ev_loop_create(&clock_system, &err) };
    CHECK(r->loop);
    r->port_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(r->port_fd, (struct sockaddr *)&in, len) == 0);
    CHECK(getsockname(r->port_fd, (struct sockaddr *)&in, &len) == 0);
    snprintf(r->word, sizeof r->word, "127.0.0.1:%u", ntohs(in.sin_port));
}

static void rig_start(struct rig *r, int64_t idle_ns)
{
    struct err err = ERR_INIT;
    struct ssh_link_options o = { .word = r->word,
                                  .runtime_dir = unit_tmpdir(),
                                  .via = SSH_LINK_BUILTIN,
                                  .idle_ns = idle_ns,
                                  .ended = on_link_ended,
                                  .arg = r };
    int fd = ssh_link_listen(o.runtime_dir, r->word, &err);

    if (fd < 0)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    r->ended = false;
    r->link = ssh_link_create(r->loop, &o, fd, &err);
    CHECK(r->link);
}

static void rig_fini(struct rig *r)
{
    ssh_link_run_close(r->run);
    ssh_link_client_destroy(r->client);
    ssh_link_destroy(r->link);
    ev_loop_destroy(r->loop);
    close(r->port_fd);
}

#define UNTIL(r, condition)                                                                        \
    do {                                                                                           \
        int64_t until = clock_mono_ns(&clock_system) + LIMIT_NS;                                   \
        struct err turn_err = ERR_INIT;                                                            \
        while (!(condition)) {                                                                     \
            CHECK(clock_mono_ns(&clock_system) < until);                                           \
            CHECK_OK(ev_turn((r)->loop, NS_PER_S / 10, &turn_err), &turn_err);                     \
        }                                                                                          \
    } while (0)

static int rig_connect(const struct rig *r)
{
    char *path = ssh_link_path(unit_tmpdir(), r->word, ".sock");
    struct err err = ERR_INIT;
    int fd = sock_connect_unix(path, SOCK_SEQPACKET, NS_PER_S, &err);

    if (fd < 0)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    free(path);
    return fd;
}

static void say(int fd, const char *text)
{
    CHECK_INT(ssh_link_send(fd, text, strlen(text), NULL, 0), 1);
}

/* The next message but for states; *end: it was the end instead. */
static void hear(struct rig *r, int fd, struct ssh_link_msg *m, bool *end)
{
    struct buf b = BUF_INIT;
    int fds[SSH_LINK_FDS], rc = 0;
    struct err err = ERR_INIT;

    UNTIL(r, (rc = ssh_link_receive(fd, &b, fds, &err)) != 0);
    *end = rc < 0;
    if (rc > 0)
        CHECK_OK(ssh_link_msg_decode(buf_data(&b), buf_len(&b), m, &err), &err);
    buf_fini(&b);
}

static void hear_error(struct rig *r, int fd, uint32_t id, const char *part)
{
    struct ssh_link_msg m;
    bool end;

    hear(r, fd, &m, &end);
    CHECK(!end);
    CHECK(m.type == SSH_LINK_ERROR || m.type == SSH_LINK_ENDED);
    CHECK_INT(m.id, id);
    if (!strstr(m.result.err.msg, part))
        unit_fail(__FILE__, __LINE__, "\"%s\" has no \"%s\"", m.result.err.msg, part);
    ssh_link_msg_fini(&m);
}

TEST(manners)
{
    struct rig r;
    struct ssh_link_msg m;
    struct stat st;
    bool end;
    int fd;

    rig_init(&r);
    rig_start(&r, 0);
    char *folder = mem_printf("%s/links", unit_tmpdir());
    CHECK(stat(folder, &st) == 0);
    CHECK_INT(st.st_mode & 0777, 0700);
    free(folder);
    fd = rig_connect(&r);
    say(fd, "{\"type\":\"stop\"}");
    hear_error(&r, fd, 0, "'hello' has to come first");
    hear(&r, fd, &m, &end);
    CHECK(end && !r.ended);
    close(fd);

    fd = rig_connect(&r);
    say(fd, "{\"type\":\"hello\",\"v\":3,\"more\":1}");
    hear(&r, fd, &m, &end);
    CHECK(!end && m.type == SSH_LINK_HELLO && m.version == 1 && m.pid == getpid());
    CHECK_STR(m.text, r.word);
    ssh_link_msg_fini(&m);
    say(fd, "{\"type\":\"dance\",\"id\":5}");
    hear_error(&r, fd, 5, "no message 'dance'");
    say(fd, "{nonsense");
    hear_error(&r, fd, 0, "JSON");
    say(fd, "{\"type\":\"exec\",\"id\":1,\"command\":\"true\"}");
    hear_error(&r, fd, 1, "3 descriptors have to come with it");
    say(fd, "{\"type\":\"signal\",\"id\":1,\"signal\":\"TERM\"}");
    hear_error(&r, fd, 1, "nothing with the number 1 runs");
    CHECK_INT(ssh_link_send(fd, "{}", 2, (const int[]){ 0, 1, 2, 0 }, 4), 1);
    hear_error(&r, fd, 0, "more than 3 descriptors");
    hear(&r, fd, &m, &end);
    CHECK(end);
    close(fd);
    rig_fini(&r);
}

TEST(one_for_a_host)
{
    struct rig r;
    struct err err = ERR_INIT;

    rig_init(&r);
    rig_start(&r, 0);
    CHECK_INT(ssh_link_listen(unit_tmpdir(), r.word, &err), -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    ssh_link_stop(r.link);
    UNTIL(&r, r.ended);
    ssh_link_destroy(r.link);
    rig_start(&r, NS_PER_S / 5); /* nobody comes: it ends */
    UNTIL(&r, r.ended);
    rig_fini(&r);
}

/* --- clients ------------------------------------------------------------------------------------ */

static int start_here(void *arg, const char *runtime_dir, const char *word, struct err *err)
{
    struct rig *r = arg;

    (void)runtime_dir;
    (void)word;
    (void)err;
    r->starts++;
    rig_start(r, 0);
    return 0;
}

static int start_fails(void *arg, const char *runtime_dir, const char *word, struct err *err)
{
    (void)arg;
    (void)runtime_dir;
    return err_set(err, ERR_NO_SPACE, "no %s today", word);
}

static void on_changed(struct ssh_link_client *c, const struct ssh_link_status *s, void *arg)
{
    struct rig *r = arg;

    CHECK(s == ssh_link_client_status(c));
    r->state = s->state;
    r->changes++;
}

static void on_run(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct rig *r = arg;

    r->events |= event;
    r->result = *ssh_link_run_result(run);
    if (event == SSH_LINK_EV_ENDED) {
        CHECK(run == r->run);
        ssh_link_run_close(run);
        r->run = NULL;
    }
}

static void rig_client(struct rig *r, ssh_link_start_fn *start)
{
    struct err err = ERR_INIT;
    struct ssh_link_client_options o = { .runtime_dir = unit_tmpdir(),
                                         .word = r->word,
                                         .start = start,
                                         .start_arg = r,
                                         .watch = true,
                                         .changed = on_changed,
                                         .arg = r };

    r->client = ssh_link_client_open(r->loop, &o, &err);
    CHECK(r->client);
}

static void rig_exec(struct rig *r, int64_t wait_ns)
{
    struct err err = ERR_INIT;

    r->events = 0;
    r->result.end = SSH_LINK_RUNNING;
    r->run =
        ssh_link_client_exec(r->client, "true", (const int[]){ 0, 1, 2 }, wait_ns, on_run, r, &err);
    CHECK(r->run);
}

TEST(a_host_that_refuses)
{
    struct rig r;

    rig_init(&r);
    rig_client(&r, start_here);
    rig_exec(&r, 0);
    UNTIL(&r, !r.run);
    CHECK_INT(r.starts, 1);
    CHECK_INT(r.result.end, SSH_LINK_FAILED);
    CHECK_INT(r.result.err.kind, ERR_UNAVAILABLE);
    CHECK(!(r.events & SSH_LINK_EV_STARTED));
    UNTIL(&r, r.state == SSH_LINK_WAITING);
    CHECK(ssh_link_client_status(r.client)->retry_ns > 0);
    CHECK(ssh_link_client_status(r.client)->err.msg[0]);

    /* More attempts within the time that it may wait, and an end after it */
    unsigned before = r.changes;
    int64_t began = clock_mono_ns(&clock_system);
    rig_exec(&r, NS_PER_S * 2);
    UNTIL(&r, !r.run);
    CHECK(clock_mono_ns(&clock_system) - began >= NS_PER_S * 2);
    CHECK(r.changes > before);

    /* Given up by its signal, or let go of */
    rig_exec(&r, 60 * NS_PER_S);
    ssh_link_run_signal(r.run, "TERM");
    UNTIL(&r, !r.run);
    CHECK_INT(r.result.err.kind, ERR_CONFLICT);
    rig_exec(&r, 60 * NS_PER_S);
    ssh_link_run_close(r.run);
    r.run = NULL;
    rig_fini(&r);
}

TEST(a_link_that_ends)
{
    struct rig r;

    rig_init(&r);
    rig_client(&r, start_here);
    UNTIL(&r, r.state == SSH_LINK_WAITING);
    rig_exec(&r, 60 * NS_PER_S);
    UNTIL(&r, r.state == SSH_LINK_CONNECTING || r.state == SSH_LINK_WAITING);
    ssh_link_destroy(r.link); /* as if it were killed */
    r.link = NULL;
    UNTIL(&r, !r.run);
    CHECK_INT(r.result.err.kind, ERR_UNAVAILABLE);
    UNTIL(&r, r.state == SSH_LINK_STOPPED);
    rig_exec(&r, 0);
    UNTIL(&r, !r.run);
    CHECK_INT(r.starts, 2);
    ssh_link_client_stop(r.client);
    UNTIL(&r, r.ended && r.state == SSH_LINK_STOPPED);
    rig_fini(&r);
}

TEST(a_link_that_does_not_start)
{
    struct rig r;

    rig_init(&r);
    rig_client(&r, start_fails);
    rig_exec(&r, 0);
    UNTIL(&r, !r.run);
    CHECK_INT(r.result.err.kind, ERR_NO_SPACE);
    CHECK_INT(r.state, SSH_LINK_STOPPED);
    ssh_link_client_destroy(r.client);
    rig_client(&r, NULL);
    r.state = SSH_LINK_NONE;
    UNTIL(&r, r.state == SSH_LINK_STOPPED);
    CHECK_INT(ssh_link_client_status(r.client)->err.kind, ERR_UNAVAILABLE);
    rig_fini(&r);
}
