/* SPDX-License-Identifier: BSD-2-Clause */
/* Both ends live in one process and one loop: a test sends bytes, then turns the loop until what it
 * waits for is there. Time is the test's: nothing here waits for a real deadline. */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/http_server.h"
#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_NS (20 * NS_PER_S) /* of real time, for what should come at once */
#define HELD_MAX 2048

struct world {
    int64_t now, wall;
    struct clock clock;
    struct ev_loop *loop;
    struct log log;
    struct http_server *server;
    struct err err;
    char *path;
    char tcp[32];

    struct http_request *held[HELD_MAX]; /* waiting for an answer */
    size_t held_count;
    int handled, gone, drained, warnings;
    bool answer_in_hook;
    bool no_calls; /* in the before-sleep phase and outside turns the server calls nobody */
    struct http_request *write_in_hook;
    int close_in_hook; /* a descriptor, or 0 */
    struct ev_hook hook;
    size_t stream_left; /* bytes /stream has to write yet */
    size_t stream_peak;
    bool stream_forever;
};

static struct world w;

static int64_t fake_mono(void *arg)
{
    (void)arg;
    return w.now;
}

static int64_t fake_wall(void *arg)
{
    (void)arg;
    return w.wall;
}

static void on_log(void *arg, enum log_level level, const char *line)
{
    (void)arg;
    (void)line;
    w.warnings += level <= LOG_WARNING;
}

/* --- the application --- */

static void reply_text(struct http_request *req, int status, const char *text)
{
    struct buf b = BUF_INIT;

    buf_append_str(&b, text);
    http_reply(req, status, "text/plain", &b);
    CHECK_INT(buf_len(&b), 0);
}

static void forget(struct http_request *req)
{
    for (size_t i = 0; i < w.held_count; i++)
        if (w.held[i] == req)
            w.held[i] = w.held[--w.held_count];
}

static void on_gone(struct http_request *req, void *data)
{
    CHECK(data == &w && http_request_data(req) == &w);
    CHECK(!w.no_calls);
    w.gone++;
    forget(req);
}

static void produce(struct http_request *req)
{
    static char block[10000];

    memset(block, 'x', sizeof(block));
    while (w.stream_left > 0 || w.stream_forever) {
        size_t n =
            w.stream_left < sizeof(block) && !w.stream_forever ? w.stream_left : sizeof(block);
        w.stream_left -= w.stream_forever ? 0 : n;
        if (!http_stream_write(req, block, n))
            return;
    }
    http_stream_end(req);
}

static void on_drained(struct http_request *req, void *data)
{
    CHECK(data == &w);
    CHECK(!w.no_calls);
    w.drained++;
    produce(req);
}

static bool on_check(struct http_request *req, void *arg)
{
    const struct http_message *m = http_request_message(req);

    CHECK(arg == &w && !w.no_calls);
    if (str_starts(m->path, "/refuse")) {
        reply_text(req, 403, "no");
        return false;
    }
    if (str_eq(m->path, "/silent-refusal"))
        return false;
    if (str_eq(m->path, "/data-early"))
        http_request_set_data(req, &w, on_gone);
    return true;
}

static void on_handle(struct http_request *req, void *arg)
{
    const struct http_message *m = http_request_message(req);
    size_t len;

    CHECK(arg == &w && !w.no_calls);
    w.handled++;
    const char *body = http_request_body(req, &len);
    CHECK(body[len] == '\0');
    if (str_eq(m->path, "/echo")) {
        struct buf b = BUF_INIT;
        buf_append(&b, body, len);
        http_reply(req, 200, "application/octet-stream", &b);
    } else if (str_eq(m->path, "/empty")) {
        http_reply(req, 204, NULL, NULL);
    } else if (str_eq(m->path, "/headers")) {
        http_reply_header(req, "X-One", "a\r\nX-Forged: b\x01\x7f");
        http_reply_header(req, "X-Two", "c");
        reply_text(req, 200, "ok");
    } else if (str_eq(m->path, "/big")) {
        struct buf b = BUF_INIT;
        memset(buf_reserve(&b, 10000000), 'x', 10000000);
        buf_added(&b, 10000000);
        http_reply(req, 200, "text/plain", &b);
    } else if (str_eq(m->path, "/stream")) {
        http_request_set_data(req, &w, on_gone);
        http_stream_begin(req, 200, "text/plain", on_drained);
        produce(req);
    } else if (str_eq(m->path, "/stop")) {
        http_server_stop_accepting(w.server);
        reply_text(req, 200, "stopping");
    } else {
        http_request_set_data(req, &w, on_gone);
        CHECK(w.held_count < HELD_MAX);
        w.held[w.held_count++] = req;
    }
}

static void on_before_sleep(struct ev_hook *h)
{
    (void)h;
    w.no_calls = true; /* the server's own hook comes after this one */
    for (size_t i = 0; w.answer_in_hook && i < w.held_count; i++)
        reply_text(w.held[i], 200, "held");
    if (w.answer_in_hook)
        w.held_count = 0;
    if (w.close_in_hook)
        close(w.close_in_hook);
    if (w.write_in_hook)
        http_stream_write(w.write_in_hook, "x", 1);
    w.close_in_hook = 0;
    w.write_in_hook = NULL;
}

/* --- the fixture --- */

static void setup(void)
{
    static const struct http_server_hooks hooks = { on_check, on_handle, &w };
    struct sock_addr a = { .host = "127.0.0.1" };

    w.now = 1000 * NS_PER_S;
    w.wall = INT64_C(784111777) * NS_PER_S; /* the date in RFC 9110 */
    w.clock = (struct clock){ fake_mono, fake_wall, NULL };
    w.log = (struct log){ LOG_DEBUG, on_log, NULL };
    w.path = mem_printf("%s/s", unit_tmpdir());
    w.loop = ev_loop_create(&w.clock, &w.err);
    CHECK(w.loop);
    w.server = http_server_create(w.loop, &w.log, &hooks);
    w.hook.fn = on_before_sleep;
    ev_hook_add(w.loop, &w.hook);
    int fd = sock_listen_unix(w.path, SOCK_STREAM, &w.err);
    CHECK(fd >= 0);
    CHECK_OK(http_server_listen(w.server, fd, HTTP_UNIX, &w.err), &w.err);
    fd = sock_listen_tcp(&a, &w.err);
    CHECK(fd >= 0);
    CHECK_OK(http_server_listen(w.server, fd, HTTP_TCP, &w.err), &w.err);
    snprintf(w.tcp, sizeof(w.tcp), "127.0.0.1:%u", a.port);
}

static void teardown(void)
{
    w.no_calls = false;
    http_server_destroy(w.server);
    ev_hook_remove(&w.hook);
    ev_loop_destroy(w.loop);
    free(w.path);
    CHECK_INT(w.held_count, 0);
}

static void turn(void)
{
    w.no_calls = false;
    CHECK_OK(ev_turn(w.loop, NS_PER_MS, &w.err), &w.err);
}

/* Turns until the condition holds. */
#define AWAIT(cond)                                                                                \
    do {                                                                                           \
        int64_t until_ = clock_mono_ns(&clock_system) + PATIENCE_NS;                               \
        while (!(cond)) {                                                                          \
            if (clock_mono_ns(&clock_system) > until_)                                             \
                unit_fail(__FILE__, __LINE__, "waited in vain: %s", #cond);                        \
            turn();                                                                                \
        }                                                                                          \
    } while (0)

static int nonblocking(int fd)
{
    if (fd < 0)
        unit_fail(__FILE__, __LINE__, "%s", w.err.msg);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

static int dial(void)
{
    return nonblocking(sock_connect_unix(w.path, SOCK_STREAM, NS_PER_S, &w.err));
}

static int dial_tcp(void)
{
    return nonblocking(sock_connect_tcp(w.tcp, NS_PER_S, &w.err));
}

/* One end of a conversation: what came from the server so far. */
struct peer {
    int fd;
    struct buf got;
    bool closed, reset;
};

static bool receive(struct peer *p)
{
    char data[65536];

    for (int i = 0; i < 16; i++) {
        ssize_t n = recv(p->fd, data, sizeof(data), MSG_DONTWAIT);
        if (n > 0)
            buf_append(&p->got, data, (size_t)n);
        if (n == 0)
            p->closed = true;
        if (n < 0 && errno != EAGAIN)
            p->closed = p->reset = true;
        if (n <= 0)
            break;
    }
    return p->closed;
}

static void put(struct peer *p, const char *text)
{
    CHECK_INT(send(p->fd, text, strlen(text), MSG_NOSIGNAL), (int64_t)strlen(text));
}

static bool has(struct peer *p, const char *text)
{
    receive(p);
    return strstr(buf_data(&p->got), text) != NULL;
}

static size_t count(struct peer *p, const char *text)
{
    size_t n = 0;

    receive(p);
    for (const char *s = buf_data(&p->got); (s = strstr(s, text)); s++)
        n++;
    return n;
}

static void hang_up(struct peer *p)
{
    close(p->fd);
    buf_fini(&p->got);
}

/* Sends a text on a connection of its own and returns all of the answer up to the close. */
static struct peer talk(int fd, const char *text)
{
    struct peer p = { .fd = fd };

    put(&p, text);
    AWAIT(receive(&p));
    CHECK(!p.reset);
    return p;
}

#define HOST "Host: localhost\r\n"
#define ONCE HOST "Connection: close\r\n"

/* --- whole answers --- */

TEST(one_request_and_close)
{
    setup();
    for (int tcp = 0; tcp < 2; tcp++) {
        struct peer p = talk(tcp ? dial_tcp() : dial(),
                             "POST /echo HTTP/1.1\r\n" ONCE "Content-Length: 5\r\n\r\nhello");
        CHECK_STR(buf_data(&p.got), "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                    "Content-Type: application/octet-stream\r\n"
                                    "Content-Length: 5\r\nConnection: close\r\n\r\nhello");
        hang_up(&p);
    }
    AWAIT(http_server_connections(w.server) == 0);
    CHECK_INT(w.handled, 2);
    CHECK_INT(w.gone, 0);
    teardown();
}

TEST(keep_alive_head_and_empty)
{
    setup();
    struct peer p = { .fd = dial() };
    for (int i = 1; i <= 3; i++) {
        put(&p, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
        AWAIT(count(&p, "\r\n\r\nhello") == (size_t)i);
    }
    CHECK_INT(count(&p, "Connection:"), 0);
    buf_clear(&p.got);
    put(&p, "HEAD /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&p, "\r\n\r\n"));
    CHECK(has(&p, "Content-Length: 2\r\n"));
    CHECK(!has(&p, "ok"));
    buf_clear(&p.got);
    put(&p, "DELETE /empty HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&p, "\r\n\r\n"));
    CHECK(has(&p, "HTTP/1.1 204 No Content\r\n"));
    CHECK(!has(&p, "Content-Length"));
    buf_clear(&p.got);
    put(&p, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&p, "\r\n\r\nok"));
    CHECK(has(&p, "\r\nX-One: aX-Forged: b\r\nX-Two: c\r\n"));
    CHECK_INT(http_server_connections(w.server), 1);
    hang_up(&p);
    AWAIT(http_server_connections(w.server) == 0);
    teardown();
}

TEST(http_1_0_closes)
{
    setup();
    struct peer p = talk(dial(), "GET /headers HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(has(&p, "Connection: close\r\n"));
    hang_up(&p);
    teardown();
}

TEST(pipelined_requests_are_answered_in_order)
{
    struct buf b = BUF_INIT;

    setup();
    struct peer p = { .fd = dial() };
    for (int i = 0; i < 500; i++)
        buf_printf(&b, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n%04d", i);
    put(&p, buf_data(&b));
    AWAIT(has(&p, "\r\n\r\n0499"));
    const char *s = buf_data(&p.got);
    for (int i = 0; i < 500; i++) {
        char want[16];
        snprintf(want, sizeof(want), "\r\n\r\n%04d", i);
        s = strstr(s, want);
        CHECK(s);
    }
    hang_up(&p);
    buf_fini(&b);
    teardown();
}

TEST(pipelined_requests_held_back_are_handled_one_by_one)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\nGET /3 HTTP/1.1\r\n" ONCE
            "\r\n");
    for (int i = 1; i <= 3; i++) {
        AWAIT(w.held_count == 1);
        for (int k = 0; k < 5; k++)
            turn();
        CHECK_INT(w.handled, i);
        struct http_request *req = w.held[--w.held_count];
        CHECK(http_request_message(req)->path[1] == '0' + i);
        reply_text(req, 200, "late");
    }
    AWAIT(receive(&p));
    CHECK_INT(count(&p, "late"), 3);
    hang_up(&p);
    teardown();
}

TEST(answers_from_the_before_sleep_hook)
{
    enum { N = 100 };
    struct peer p[N];

    setup();
    w.answer_in_hook = true;
    for (int i = 0; i < N; i++) {
        p[i] = (struct peer){ .fd = i % 3 ? dial() : dial_tcp() };
        /* Every second one has another request right behind, which must not be handled from within
         * the hook (on_handle checks). */
        put(&p[i], i % 2 ? "GET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" ONCE "\r\n"
                         : "GET /a HTTP/1.1\r\n" ONCE "\r\n");
    }
    turn();
    CHECK(w.handled >= N); /* one turn takes them all: they share a commit */
    for (int i = 0; i < N; i++) {
        AWAIT(receive(&p[i]));
        CHECK_INT(count(&p[i], "held"), i % 2 ? 2 : 1);
        hang_up(&p[i]);
    }
    AWAIT(http_server_connections(w.server) == 0);
    CHECK_INT(w.handled, N + N / 2);
    teardown();
}

TEST(a_big_answer_to_a_slow_reader)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET /big HTTP/1.1\r\n" HOST "\r\nPOST /echo HTTP/1.1\r\n" ONCE
            "Content-Length: 3\r\n\r\nend");
    while (w.handled == 0)
        turn();
    for (int i = 0; i < 20; i++)
        turn();
    CHECK_INT(w.handled, 1); /* the second waits until the first answer is nearly out */
    char small[5000];
    ssize_t n;
    int64_t until = clock_mono_ns(&clock_system) + PATIENCE_NS;
    while ((n = recv(p.fd, small, sizeof(small), MSG_DONTWAIT)) != 0) {
        if (n > 0)
            buf_append(&p.got, small, (size_t)n);
        else
            turn();
        CHECK(clock_mono_ns(&clock_system) < until);
    }
    const char *body = strstr(buf_data(&p.got), "\r\n\r\n") + 4;
    CHECK_INT(strspn(body, "x"), 10000000);
    CHECK(str_starts(body + 10000000, "HTTP/1.1 200 OK\r\n"));
    CHECK(str_ends(buf_data(&p.got), "\r\n\r\nend"));
    hang_up(&p);
    teardown();
}

/* --- bodies --- */

/* Sends all of b while the loop turns, whatever comes back meanwhile; stops when it can't be
 * sent. */
static void pump(struct peer *p, struct buf *b)
{
    int64_t until = clock_mono_ns(&clock_system) + PATIENCE_NS;

    while (buf_len(b) > 0) {
        ssize_t n = send(p->fd, buf_data(b), buf_len(b), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            break;
        if (n > 0)
            buf_consume(b, (size_t)n);
        receive(p);
        turn();
        CHECK(clock_mono_ns(&clock_system) < until);
    }
}

TEST(large_and_chunked_bodies)
{
    struct buf b = BUF_INIT;

    setup();
    for (int chunked = 0; chunked < 2; chunked++) {
        struct peer p = { .fd = dial_tcp() };
        buf_append_str(&b, "POST /echo HTTP/1.1\r\n" ONCE);
        if (!chunked) {
            buf_printf(&b, "Content-Length: 3000000\r\n\r\n%03000000d", 0);
        } else {
            buf_append_str(&b, "Transfer-Encoding: chunked\r\n\r\n");
            for (int i = 0; i < 300; i++)
                buf_printf(&b, "2710\r\n%010000d\r\n", 0);
            buf_append_str(&b, "0\r\nTrailer: x\r\n\r\n");
        }
        pump(&p, &b);
        CHECK_INT(buf_len(&b), 0);
        AWAIT(receive(&p));
        CHECK(has(&p, "Content-Length: 3000000\r\n"));
        CHECK_INT(strspn(strstr(buf_data(&p.got), "\r\n\r\n") + 4, "0"), 3000000);
        hang_up(&p);
        buf_clear(&b);
    }
    buf_fini(&b);
    teardown();
}

TEST(expect_100_continue)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    AWAIT(has(&p, "HTTP/1.1 100 Continue\r\n\r\n"));
    put(&p, "ok");
    AWAIT(has(&p, "\r\n\r\nok"));
    CHECK_INT(count(&p, "100 Continue"), 1);
    /* The body comes along unasked, or there is none: no need to send it. */
    buf_clear(&p.got);
    put(&p, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
    AWAIT(has(&p, "\r\n\r\nhi"));
    put(&p, "POST /headers HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n");
    AWAIT(has(&p, "\r\n\r\nok"));
    CHECK_INT(count(&p, "100 Continue"), 0);
    hang_up(&p);
    /* Refused: no 100. */
    p = (struct peer){ .fd = dial() };
    put(&p, "POST /refuse HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    AWAIT(receive(&p));
    CHECK(str_starts(buf_data(&p.got), "HTTP/1.1 403 "));
    hang_up(&p);
    teardown();
}

TEST(refused_by_check)
{
    setup();
    struct peer p = { .fd = dial() };
    /* Without a body the connection goes on. */
    put(&p, "GET /refuse HTTP/1.1\r\n" HOST "\r\nGET /refuse HTTP/1.1\r\n" HOST
            "Content-Length: 0\r\n\r\nGET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&p, "\r\n\r\nok"));
    CHECK_INT(count(&p, "403 Forbidden"), 2);
    CHECK_INT(w.handled, 1);
    CHECK_INT(count(&p, "Connection: close"), 0);
    /* With one it ends; what follows is no request. */
    buf_clear(&p.got);
    put(&p, "POST /refuse HTTP/1.1\r\n" HOST "Content-Length: 50\r\n\r\n");
    put(&p, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(receive(&p));
    CHECK(!p.reset);
    CHECK(has(&p, "403 Forbidden") && has(&p, "Connection: close"));
    CHECK_INT(w.handled, 1);
    hang_up(&p);
    /* A defect of the application: an answer is due all the same. */
    p = talk(dial(), "GET /silent-refusal HTTP/1.1\r\n" HOST "\r\n");
    CHECK(has(&p, "HTTP/1.1 500 ") && has(&p, "\"kind\":\"internal\""));
    hang_up(&p);
    AWAIT(http_server_connections(w.server) == 0);
    teardown();
}

TEST(too_large_is_said_before_and_while_the_body_comes)
{
    struct buf b = BUF_INIT;

    setup();
    for (int i = 0; i < 3; i++) {
        struct peer p = { .fd = i ? dial_tcp() : dial() };
        buf_printf(&b, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100000000\r\n\r\n");
        if (i == 2) { /* a client that looks for an answer only after 100 MB */
            memset(buf_reserve(&b, 100000000), 'x', 100000000);
            buf_added(&b, 100000000);
            pump(&p, &b);
            CHECK_INT(buf_len(&b), 0);
        } else {
            put(&p, buf_data(&b));
        }
        AWAIT(receive(&p));
        CHECK(!p.reset);
        put(&p, "the client may still be sending"); /* and must not be told off for it */
        CHECK(str_starts(buf_data(&p.got), "HTTP/1.1 413 Content Too Large\r\n"));
        CHECK(str_ends(buf_data(&p.got),
                       "\r\nConnection: close\r\n\r\n"
                       "{\"api\":1,\"error\":{\"kind\":\"too_large\",\"message\":\"body too "
                       "large\"}}\n"));
        hang_up(&p);
        buf_clear(&b);
    }
    CHECK_INT(w.handled, 0);
    AWAIT(http_server_connections(w.server) == 0);
    buf_fini(&b);
    teardown();
}

/* --- bad input --- */

TEST(malformed_requests_get_a_clear_answer)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/1.1\nHost: x\n\n", 400 },
        { "\x16\x03\x01\x02\x01\x01\xfc\x03\x03", 400 }, /* TLS: no line end needed to see it */
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400 },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
          "0\r\n\r\n",
          400 },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501 },
        { "GET / HTTP/1.1\r\n" HOST " folded: y\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400 },
        { "GET / HTTP/2.0\r\n\r\n", 505 },
    };

    setup();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char want[40];
        struct peer p = talk(i % 2 ? dial_tcp() : dial(), rows[i].text);
        snprintf(want, sizeof(want), "HTTP/1.1 %d ", rows[i].status);
        CHECK(str_starts(buf_data(&p.got), want));
        CHECK(has(&p, "\r\nConnection: close\r\n"));
        CHECK(has(&p, "\r\nContent-Type: application/json\r\n"));
        CHECK(has(&p, "\r\n\r\n{\"api\":1,\"error\":{\"kind\":\"invalid\",\"message\":\""));
        CHECK(str_ends(buf_data(&p.got), "\"}}\n"));
        hang_up(&p);
    }
    CHECK_INT(w.handled, 0);
    struct peer p = talk(dial(), "GET /headers HTTP/1.1\r\n" ONCE "\r\n");
    CHECK(has(&p, "200 OK"));
    hang_up(&p);
    teardown();
}

TEST(good_requests_before_a_bad_one_are_answered)
{
    setup();
    struct peer p =
        talk(dial(), "GET /headers HTTP/1.1\r\n" HOST "\r\nGET /headers HTTP/1.1\r\n" HOST
                     "\r\nrubbish\r\n\r\nGET /headers HTTP/1.1\r\n" HOST "\r\n");
    CHECK_INT(count(&p, "200 OK"), 2);
    CHECK_INT(count(&p, "400 Bad Request"), 1);
    CHECK_INT(w.handled, 2);
    hang_up(&p);
    teardown();
}

TEST(header_flood)
{
    struct buf b = BUF_INIT;

    setup();
    struct peer p = { .fd = dial_tcp() };
    buf_append_str(&b, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 200000; i++)
        buf_printf(&b, "X-%d: y\r\n", i);
    pump(&p, &b);
    AWAIT(receive(&p));
    CHECK(str_starts(buf_data(&p.got), "HTTP/1.1 431 "));
    hang_up(&p);
    buf_clear(&b);
    p = (struct peer){ .fd = dial_tcp() };
    buf_append_str(&b, "GET / HTTP/1.1\r\n" HOST "X: ");
    memset(buf_reserve(&b, 10000000), 'x', 10000000);
    buf_added(&b, 10000000);
    pump(&p, &b);
    AWAIT(receive(&p));
    CHECK(str_starts(buf_data(&p.got), "HTTP/1.1 431 "));
    hang_up(&p);
    buf_fini(&b);
    teardown();
}

/* --- deadlines --- */

static void let_pass(int64_t seconds)
{
    w.now += seconds * NS_PER_S;
    for (int i = 0; i < 3; i++)
        turn();
}

TEST(slow_headers)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET / HTT");
    AWAIT(http_server_connections(w.server) == 1);
    /* A byte now and then doesn't help. */
    for (int i = 0; i < LIMIT_HTTP_HEADER_S - 1; i++) {
        let_pass(1);
        CHECK(!receive(&p));
        put(&p, i == 0 ? "P/1.1\r\n" : i == 1 ? "Host: " : "x");
    }
    CHECK_INT(buf_len(&p.got), 0);
    let_pass(2);
    AWAIT(receive(&p));
    CHECK(str_starts(buf_data(&p.got), "HTTP/1.1 408 Request Timeout\r\n"));
    CHECK(has(&p, "Connection: close") && has(&p, "\"kind\":\"timeout\""));
    hang_up(&p);
    AWAIT(http_server_connections(w.server) == 0);
    teardown();
}

TEST(idle_connections_are_closed_without_a_word)
{
    setup();
    struct peer fresh = { .fd = dial() };
    struct peer used = { .fd = dial_tcp() };
    put(&used, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&used, "\r\n\r\nok"));
    buf_clear(&used.got);
    let_pass(LIMIT_HTTP_IDLE_S / 2);
    put(&used, "\r\n"); /* no request */
    let_pass(LIMIT_HTTP_IDLE_S / 2 - 1);
    CHECK(!receive(&fresh) && !receive(&used));
    let_pass(2);
    AWAIT(receive(&fresh) && receive(&used));
    CHECK_INT(buf_len(&fresh.got) + buf_len(&used.got), 0);
    CHECK_INT(http_server_connections(w.server), 0);
    hang_up(&fresh);
    hang_up(&used);
    teardown();
}

TEST(a_body_that_stops_arriving)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "POST /data-early HTTP/1.1\r\n" HOST "Content-Length: 50\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        put(&p, "x");
        turn();
        let_pass(LIMIT_HTTP_BODY_S - 1);
        CHECK(!receive(&p));
    }
    let_pass(2);
    AWAIT(receive(&p));
    CHECK(str_starts(buf_data(&p.got), "HTTP/1.1 408 "));
    CHECK_INT(w.gone, 1); /* `check` had left its data */
    CHECK_INT(w.handled, 0);
    hang_up(&p);
    teardown();
}

TEST(a_handler_has_all_the_time_it_wants)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    let_pass(100000);
    CHECK(!receive(&p));
    reply_text(w.held[--w.held_count], 200, "late");
    AWAIT(has(&p, "late"));
    let_pass(LIMIT_HTTP_IDLE_S - 1);
    CHECK(!receive(&p));
    let_pass(2);
    AWAIT(receive(&p));
    hang_up(&p);
    teardown();
}

TEST(a_peer_that_takes_nothing)
{
    setup();
    w.stream_forever = true;
    struct peer p = { .fd = dial() };
    put(&p, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.handled == 1);
    for (int i = 0; i < 5; i++) { /* as long as it takes some now and then */
        let_pass(LIMIT_HTTP_WRITE_S - 1);
        CHECK_INT(w.gone, 0);
        receive(&p);
        turn();
    }
    let_pass(LIMIT_HTTP_WRITE_S + 1);
    CHECK_INT(w.gone, 1);
    CHECK_INT(http_server_connections(w.server), 0);
    hang_up(&p);
    /* The same with a whole answer. */
    p = (struct peer){ .fd = dial() };
    put(&p, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.handled == 2);
    let_pass(LIMIT_HTTP_WRITE_S + 1);
    CHECK_INT(http_server_connections(w.server), 0);
    hang_up(&p);
    teardown();
}

TEST(lingering_has_an_end)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "rubbish\r\n\r\n");
    AWAIT(has(&p, "400 Bad Request"));
    for (int i = 0; i < 3; i++) {
        put(&p, "more rubbish");
        turn();
    }
    CHECK_INT(http_server_connections(w.server), 1);
    let_pass(10);
    CHECK_INT(http_server_connections(w.server), 0);
    hang_up(&p);
    teardown();
}

/* --- clients that leave --- */

TEST(client_gone_before_the_answer)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    turn();
    CHECK_INT(w.gone, 0);
    hang_up(&p);
    AWAIT(w.gone == 1);
    CHECK_INT(http_server_connections(w.server), 0);
    /* It sends and closes at once: handled, then gone. */
    p = (struct peer){ .fd = dial() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    hang_up(&p);
    AWAIT(w.gone == 2);
    CHECK_INT(w.handled, 2);
    /* Over TCP it is the answer that finds nobody. */
    p = (struct peer){ .fd = dial_tcp() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    hang_up(&p);
    turn();
    reply_text(w.held[--w.held_count], 200, "to nobody");
    AWAIT(http_server_connections(w.server) == 0);
    CHECK_INT(w.gone, 2);
    /* Unless it resets the connection. */
    p = (struct peer){ .fd = dial_tcp() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    struct linger reset = { .l_onoff = 1 };
    CHECK(setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    hang_up(&p);
    AWAIT(w.gone == 3);
    teardown();
}

TEST(client_gone_in_the_middle_of_a_request)
{
    setup();
    static const char *const texts[] = { "GET / HT", "POST /echo HTTP/1.1\r\n" HOST
                                                     "Content-Length: 10\r\n\r\nhal" };
    for (size_t i = 0; i < 4; i++) {
        struct peer p = { .fd = i < 2 ? dial() : dial_tcp() };
        put(&p, texts[i % 2]);
        turn();
        hang_up(&p);
        AWAIT(http_server_connections(w.server) == 0);
    }
    CHECK_INT(w.handled, 0);
    teardown();
}

TEST(a_client_that_only_finished_sending_gets_its_answer)
{
    setup();
    for (int tcp = 0; tcp < 2; tcp++) {
        struct peer p = { .fd = tcp ? dial_tcp() : dial() };
        put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
        CHECK(shutdown(p.fd, SHUT_WR) == 0);
        AWAIT(w.held_count == 1);
        for (int i = 0; i < 5; i++)
            turn();
        CHECK_INT(w.gone, 0);
        reply_text(w.held[--w.held_count], 200, "here");
        AWAIT(receive(&p));
        CHECK(has(&p, "here"));
        hang_up(&p);
        p = (struct peer){ .fd = tcp ? dial_tcp() : dial() };
        put(&p, "GET /hold HTTP/1.1\r\nHo");
        CHECK(shutdown(p.fd, SHUT_WR) == 0);
        AWAIT(receive(&p));
        CHECK(has(&p, "HTTP/1.1 400 "));
        hang_up(&p);
    }
    AWAIT(http_server_connections(w.server) == 0);
    teardown();
}

/* --- streams --- */

/* Undoes the chunked coding of an answer; returns the body's length, or -1 when it has no end. */
static int64_t unchunk(const struct buf *answer)
{
    const char *end = buf_data(answer) + buf_len(answer);
    const char *s = strstr(buf_data(answer), "\r\n\r\n");
    int64_t total = 0;

    CHECK(s);
    for (s += 4; s < end;) {
        char *mark;
        long n = strtol(s, &mark, 16);
        CHECK(mark > s && str_starts(mark, "\r\n"));
        s = mark + 2;
        if (n == 0) {
            CHECK_STR(s, "\r\n");
            return total;
        }
        if (end - s < n + 2)
            return -1;
        CHECK(memcmp(s + n, "\r\n", 2) == 0);
        total += n;
        s += n + 2;
    }
    return -1;
}

TEST(stream_with_back_pressure)
{
    setup();
    for (int tcp = 0; tcp < 2; tcp++) {
        w.stream_left = 20000000;
        w.drained = 0;
        struct peer p = { .fd = tcp ? dial_tcp() : dial() };
        put(&p, "GET /stream HTTP/1.1\r\n" ONCE "\r\n");
        /* The reader sleeps: what is unsent is bounded, once the kernel's buffers are full. */
        int size = 65536, still = 0;
        CHECK(setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
        AWAIT(w.handled == tcp + 1);
        for (size_t left = 0; still < 50; still = left == w.stream_left ? still + 1 : 0) {
            left = w.stream_left;
            turn();
        }
        CHECK(w.stream_left > 10000000);
        AWAIT(receive(&p));
        CHECK(has(&p, "Transfer-Encoding: chunked\r\n") && !has(&p, "Content-Length"));
        CHECK_INT(unchunk(&p.got), 20000000);
        CHECK(w.drained > 5);
        hang_up(&p);
    }
    CHECK_INT(w.gone, 0);
    teardown();
}

TEST(stream_is_sent_at_the_end_of_each_turn_and_keeps_the_connection)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    struct http_request *req = w.held[--w.held_count];
    http_stream_begin(req, 200, "text/event-stream", NULL);
    turn();
    CHECK(has(&p, "text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"));
    CHECK(http_stream_write(req, "tick", 4));
    CHECK(http_stream_write(req, "", 0)); /* is no end */
    turn();
    CHECK(has(&p, "\r\n\r\n4\r\ntick\r\n"));
    http_stream_end(req);
    AWAIT(has(&p, "tick\r\n0\r\n\r\n"));
    buf_clear(&p.got);
    put(&p, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&p, "\r\n\r\nok"));
    /* HEAD: the same headers, no chunk at all. */
    buf_clear(&p.got);
    w.stream_left = 100;
    put(&p, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&p, "\r\n\r\n"));
    put(&p, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&p, "chunked\r\n\r\nHTTP/1.1 200 OK"));
    hang_up(&p);
    teardown();
}

TEST(stream_to_http_1_0_ends_with_the_connection)
{
    setup();
    w.stream_left = 100000;
    struct peer p = talk(dial(), "GET /stream HTTP/1.0\r\n\r\n");
    CHECK(has(&p, "Connection: close\r\n\r\nxxxx") && !has(&p, "chunked"));
    CHECK_INT(buf_len(&p.got) -
                  (size_t)(strstr(buf_data(&p.got), "\r\n\r\n") + 4 - buf_data(&p.got)),
              100000);
    hang_up(&p);
    teardown();
}

TEST(stream_aborted_is_seen_to_be_incomplete)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    struct http_request *req = w.held[--w.held_count];
    http_stream_begin(req, 200, "text/plain", NULL);
    CHECK(http_stream_write(req, "half", 4));
    http_stream_abort(req);
    AWAIT(receive(&p));
    CHECK_INT(unchunk(&p.got), -1);
    CHECK(has(&p, "half"));
    hang_up(&p);
    /* HTTP/1.0 has no end mark: a reset it is. */
    p = (struct peer){ .fd = dial_tcp() };
    put(&p, "GET /hold HTTP/1.0\r\n\r\n");
    AWAIT(w.held_count == 1);
    req = w.held[--w.held_count];
    http_stream_begin(req, 200, "text/plain", NULL);
    http_stream_abort(req);
    AWAIT(receive(&p));
    CHECK(p.reset);
    hang_up(&p);
    CHECK_INT(w.gone, 0);
    teardown();
}

TEST(stream_whose_client_leaves)
{
    setup();
    for (int tcp = 0; tcp < 2; tcp++) {
        struct peer p = { .fd = tcp ? dial_tcp() : dial() };
        w.gone = 0;
        put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
        AWAIT(w.held_count == 1);
        struct http_request *req = w.held[0];
        http_stream_begin(req, 200, "text/plain", NULL);
        turn();
        hang_up(&p);
        /* An event now and then, as a dashboard gets them. */
        int64_t until = clock_mono_ns(&clock_system) + PATIENCE_NS;
        while (w.gone == 0) {
            http_stream_write(req, "event", 5);
            turn();
            CHECK(clock_mono_ns(&clock_system) < until);
        }
        CHECK_INT(w.held_count, 0);
        CHECK_INT(http_server_connections(w.server), 0);
    }
    teardown();
}

TEST(stream_that_breaks_in_the_before_sleep_phase)
{
    setup();
    struct peer p = { .fd = dial() };
    put(&p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    http_stream_begin(w.held[0], 200, "text/plain", NULL);
    turn();
    w.close_in_hook = p.fd;
    w.write_in_hook = w.held[0];
    turn();
    CHECK_INT(w.gone, 0); /* not yet: on_gone would see that it may not be called */
    turn();
    CHECK_INT(w.gone, 1);
    CHECK_INT(http_server_connections(w.server), 0);
    buf_fini(&p.got);
    teardown();
}

/* --- limits of the machine --- */

TEST(waiting_costs_no_turns)
{
    struct peer p[3];

    setup();
    for (int i = 0; i < 3; i++) {
        p[i] = (struct peer){ .fd = i ? dial() : dial_tcp() };
        put(&p[i], "GET /headers HTTP/1.1\r\n" HOST "\r\n"); /* from here on it is watched */
        AWAIT(has(&p[i], "\r\n\r\nok"));
        put(&p[i],
            i == 2 ? "GET /stream HTTP/1.1\r\n" HOST "\r\n" : "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    }
    w.stream_forever = true;
    AWAIT(w.handled == 6);
    /* Nothing can be done now about what comes next. */
    for (int i = 0; i < 3; i++) {
        put(&p[i], "GET /next HTTP/1.1\r\n" HOST "\r\n");
        CHECK(i > 0 || shutdown(p[i].fd, SHUT_WR) == 0);
    }
    for (int i = 0; i < 10; i++)
        turn();
    w.no_calls = false;
    int64_t before = clock_mono_ns(&clock_system);
    CHECK_OK(ev_turn(w.loop, 100 * NS_PER_MS, &w.err), &w.err);
    CHECK(clock_mono_ns(&clock_system) - before >= 100 * NS_PER_MS);
    for (int i = 0; i < 3; i++)
        hang_up(&p[i]);
    teardown();
}

TEST(no_free_descriptors)
{
    struct rlimit old, low;
    struct peer p[4];

    setup();
    /* Made before descriptors run out: connected, not accepted. */
    for (int i = 0; i < 4; i++) {
        p[i] = (struct peer){ .fd = dial() };
        put(&p[i], "GET /headers HTTP/1.1\r\n" ONCE "\r\n");
    }
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = old;
    low.rlim_cur = (rlim_t)p[3].fd; /* every number below is taken */
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (int i = 0; i < 20; i++)
        turn();
    CHECK_INT(w.handled, 0);
    CHECK_INT(w.warnings, 1); /* said once, and not spinning: it waits for a second */
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    for (int i = 0; i < 20; i++)
        turn();
    CHECK_INT(w.handled, 0);
    let_pass(2);
    for (int i = 0; i < 4; i++) {
        AWAIT(receive(&p[i]));
        CHECK(has(&p[i], "200 OK"));
        hang_up(&p[i]);
    }
    teardown();
}

TEST(no_free_descriptors_costs_an_idle_connection)
{
    struct rlimit old, low;

    setup();
    struct peer idle = { .fd = dial() };
    put(&idle, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&idle, "\r\n\r\nok"));
    struct peer p = { .fd = dial() };
    put(&p, "GET /headers HTTP/1.1\r\n" ONCE "\r\n");
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = old;
    low.rlim_cur = (rlim_t)p.fd;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    AWAIT(receive(&p));
    CHECK(has(&p, "\r\n\r\nok"));
    AWAIT(receive(&idle));
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    hang_up(&p);
    hang_up(&idle);
    teardown();
}

TEST(more_connections_than_allowed)
{
    enum { N = LIMIT_HTTP_CONNECTIONS + 50 };
    static struct peer p[N];
    struct rlimit lim;

    CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
    if (lim.rlim_max < 2 * N + 100) {
        fprintf(stderr, "# skipped: needs %d descriptors\n", 2 * N + 100);
        return;
    }
    lim.rlim_cur = 2 * N + 100;
    CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
    setup();
    struct peer idle = { .fd = dial() };
    put(&idle, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&idle, "200 OK"));
    /* All over TCP and busy: some of the room is not theirs. */
    size_t most = LIMIT_HTTP_CONNECTIONS - LIMIT_HTTP_CONNECTIONS / 8;
    for (int i = 0; i < N; i++) {
        p[i] = (struct peer){ .fd = dial_tcp() };
        put(&p[i], "GET /hold HTTP/1.1\r\n" ONCE "\r\n");
        turn();
    }
    for (int i = 0; i < 10; i++)
        turn();
    CHECK_INT(http_server_connections(w.server), most + 1);
    CHECK_INT(w.held_count, most);
    CHECK_INT(w.warnings, 1);
    CHECK(!receive(&idle));
    hang_up(&idle);
    struct peer local = talk(dial(), "GET /headers HTTP/1.1\r\n" ONCE "\r\n");
    CHECK(has(&local, "200 OK"));
    hang_up(&local);
    /* As answers go out, those who wait get in. */
    w.answer_in_hook = true;
    for (int i = 0; i < N; i++) {
        AWAIT(receive(&p[i]));
        CHECK(has(&p[i], "held"));
        hang_up(&p[i]);
    }
    CHECK_INT(http_server_connections(w.server), 0);
    /* Idle ones make room at once. */
    for (int i = 0; i < N; i++) {
        p[i] = (struct peer){ .fd = dial() };
        put(&p[i], "GET /headers HTTP/1.1\r\n" HOST "\r\n");
        AWAIT(has(&p[i], "200 OK"));
    }
    CHECK_INT(http_server_connections(w.server), LIMIT_HTTP_CONNECTIONS);
    CHECK(receive(&p[0]) && receive(&p[49]) && !receive(&p[50]) && !receive(&p[N - 1]));
    for (int i = 0; i < N; i++)
        hang_up(&p[i]);
    teardown();
}

/* --- who is there --- */

TEST(uid_of_the_client)
{
    setup();
    for (int tcp = 0; tcp < 2; tcp++) {
        struct err err = ERR_INIT;
        uid_t uid = 99;
        struct peer p = { .fd = tcp ? dial_tcp() : dial() };
        put(&p, "GET /hold HTTP/1.1\r\n" ONCE "\r\n");
        AWAIT(w.held_count == 1);
        struct http_request *req = w.held[--w.held_count];
        CHECK_INT(http_request_kind(req), tcp ? HTTP_TCP : HTTP_UNIX);
        for (int i = 0; i < 2; i++) { /* the second time from memory */
            CHECK_OK(http_request_uid(req, &uid, &err), &err);
            CHECK_INT(uid, getuid());
        }
        reply_text(req, 200, "ok");
        hang_up(&p);
    }
    /* One who has closed already is nobody. */
    struct err err = ERR_INIT;
    uid_t uid = 99;
    struct peer p = { .fd = dial_tcp() };
    put(&p, "GET /hold HTTP/1.1\r\n" ONCE "\r\n");
    hang_up(&p);
    AWAIT(w.held_count == 1);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(http_request_uid(w.held[0], &uid, &err), -1);
        CHECK_INT(err.kind, ERR_NOT_FOUND);
        CHECK_INT(uid, 99);
    }
    reply_text(w.held[--w.held_count], 401, "who?");
    AWAIT(http_server_connections(w.server) == 0);
    teardown();
}

TEST(uid_of_another_user)
{
    struct err err = ERR_INIT;
    uid_t uid = 99;
    int status;

    if (geteuid() != 0) {
        fprintf(stderr, "# skipped: only root can become another user\n");
        return;
    }
    setup();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        static const char text[] = "GET /hold HTTP/1.1\r\n" ONCE "\r\n";
        char got[1000];
        if (setgid(54321) != 0 || setuid(54321) != 0)
            _exit(2);
        int fd = sock_connect_tcp(w.tcp, 10 * NS_PER_S, &err);
        if (fd < 0 || send(fd, text, strlen(text), 0) < 0 || recv(fd, got, sizeof(got), 0) <= 0)
            _exit(3);
        _exit(0);
    }
    AWAIT(w.held_count == 1);
    struct http_request *req = w.held[--w.held_count];
    CHECK_OK(http_request_uid(req, &uid, &err), &err);
    CHECK_INT(uid, 54321);
    reply_text(req, 200, "ok");
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    AWAIT(http_server_connections(w.server) == 0);
    teardown();
}

/* --- the end --- */

TEST(stop_accepting_lets_requests_finish)
{
    setup();
    struct peer idle = { .fd = dial() };
    put(&idle, "GET /headers HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(has(&idle, "\r\n\r\nok"));
    struct peer held = { .fd = dial() };
    put(&held, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.held_count == 1);
    struct peer half = { .fd = dial() };
    put(&half, "GET /headers HTTP/1.1\r\nHo");
    turn();
    struct peer big = { .fd = dial() };
    put(&big, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(w.handled == 3);
    struct peer last = { .fd = dial() };
    put(&last, "GET /stop HTTP/1.1\r\n" HOST "\r\n");
    AWAIT(receive(&last));
    CHECK(has(&last, "stopping") && has(&last, "Connection: close"));
    AWAIT(receive(&idle));
    CHECK(!receive(&held) && !receive(&half));
    CHECK(sock_connect_unix(w.path, SOCK_STREAM, NS_PER_S, &w.err) == -1);
    reply_text(w.held[--w.held_count], 200, "done");
    AWAIT(receive(&held));
    CHECK(has(&held, "done") && has(&held, "Connection: close"));
    put(&half, "st: x\r\n\r\n");
    AWAIT(receive(&half));
    CHECK(has(&half, "\r\n\r\nok"));
    AWAIT(receive(&big));
    CHECK(buf_len(&big.got) > 10000000);
    AWAIT(http_server_connections(w.server) == 0);
    hang_up(&idle);
    hang_up(&held);
    hang_up(&half);
    hang_up(&big);
    hang_up(&last);
    teardown();
}

TEST(destroy_tells_who_is_waiting)
{
    setup();
    struct peer a = { .fd = dial() };
    struct peer b = { .fd = dial_tcp() };
    struct peer c = { .fd = dial() };
    put(&a, "GET /hold HTTP/1.1\r\n" HOST "\r\nGET /hold HTTP/1.1\r\n" HOST "\r\n");
    w.stream_forever = true;
    put(&b, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    put(&c, "GET /hold HTT");
    AWAIT(w.handled == 2);
    w.no_calls = false;
    http_server_destroy(w.server);
    w.server = NULL;
    CHECK_INT(w.gone, 2);
    receive(&a);
    CHECK(a.closed);
    hang_up(&a);
    hang_up(&b);
    hang_up(&c);
    teardown(); /* destroys NULL */
}
