/* SPDX-License-Identifier: BSD-2-Clause */
/* Most servers here are scripts: a child that accepts, reads a request and says what it was told.
 * The last test talks to the real one. */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/sock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* One request and what is said to it. */
struct line {
    const char *want; /* must be in the request; NULL: wait for its first byte only */
    const char *say;
    enum { THEN_STAY, THEN_CLOSE, THEN_HANG } then; /* HANG: silent until the client closes */
};

struct script {
    char *path;
    pid_t pid;
};

static bool read_request(int fd, const char *want)
{
    struct buf b = BUF_INIT;
    char c;

    while (!str_ends(buf_data(&b), "\r\n\r\n") && read(fd, &c, 1) == 1)
        buf_append_char(&b, c);
    const char *length = strstr(buf_data(&b), "Content-Length: ");
    long left = length ? strtol(length + 16, NULL, 10) : 0;
    while (left-- > 0 && read(fd, &c, 1) == 1)
        buf_append_char(&b, c);
    bool ok = strstr(buf_data(&b), want) != NULL;
    if (!ok)
        fprintf(stderr, "# wanted '%s' in: %s\n", want, buf_data(&b));
    buf_fini(&b);
    return ok;
}

static _Noreturn void run_script(int listener, const struct line *lines, size_t count)
{
    struct pollfd p = { .fd = listener, .events = POLLIN };
    char c;
    int fd = -1;

    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < count; i++) {
        if (fd < 0) {
            if (poll(&p, 1, 20000) != 1 || (fd = accept(listener, NULL, NULL)) < 0)
                _exit(2);
        }
        if (lines[i].want ? !read_request(fd, lines[i].want) : read(fd, &c, 1) != 1)
            _exit(3);
        if (write(fd, lines[i].say, strlen(lines[i].say)) < 0 && errno != EPIPE)
            _exit(4);
        if (lines[i].then == THEN_HANG)
            while (read(fd, &c, 1) > 0)
                ;
        if (lines[i].then != THEN_STAY) {
            close(fd);
            fd = -1;
        }
    }
    _exit(0);
}

static struct http_client *start(struct script *s, const struct line *lines, size_t count)
{
    struct err err = ERR_INIT;

    s->path = mem_printf("%s/s", unit_tmpdir());
    unlink(s->path);
    int fd = sock_listen_unix(s->path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    fflush(NULL);
    s->pid = fork();
    CHECK(s->pid >= 0);
    if (s->pid == 0)
        run_script(fd, lines, count);
    close(fd);
    struct http_client *c = http_client_open_unix(s->path, &err);
    if (!c)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    return c;
}

static void finish(struct script *s, struct http_client *c)
{
    int status = -1;

    http_client_close(c);
    CHECK(waitpid(s->pid, &status, 0) == s->pid);
    CHECK_INT(status, 0);
    free(s->path);
}

#define OK_HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static const struct http_client_request get = { .method = "GET", .path = "/x?y=1" };

TEST(requests_on_one_connection)
{
    static const char *const headers[] = { "Idempotency-Key: k1", "X-Other: 2", NULL };
    static const struct line lines[] = {
        { "GET /x?y=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", OK_HI, THEN_STAY },
        { "Idempotency-Key: k1\r\nX-Other: 2\r\nContent-Type: application/json\r\n"
          "Content-Length: 4\r\n\r\n{\"\"}",
          "HTTP/1.1 201 Created\r\nTransfer-Encoding: "
          "chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
          THEN_STAY },
        { "DELETE /j HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", THEN_STAY },
        { "HEAD /x", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", THEN_STAY },
        { "Content-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
          "HTTP/1.1 422 Unprocessable Content\r\nConnection: close\r\n\r\nto the end", THEN_CLOSE },
    };
    struct script s;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    struct http_client *c = start(&s, lines, ARRAY_LEN(lines));
    CHECK_INT(http_client_call(c, &get, 100, &b, &err), 200);
    CHECK_STR(buf_data(&b), "hi");
    struct http_client_request post = {
        .method = "POST", .path = "/j", .headers = headers, .body = "{\"\"}", .body_len = 4
    };
    CHECK_INT(http_client_call(c, &post, 100, &b, &err), 201);
    CHECK_STR(buf_data(&b), "hiabc"); /* appended */
    struct http_client_request del = { .method = "DELETE", .path = "/j" };
    CHECK_INT(http_client_call(c, &del, 100, &b, &err), 204);
    struct http_client_request head = { .method = "HEAD", .path = "/x" };
    CHECK_INT(http_client_call(c, &head, 100, &b, &err), 200);
    struct http_client_request last = {
        .method = "PUT", .path = "/j", .body = "", .content_type = "text/plain", .last = true
    };
    buf_clear(&b);
    CHECK_INT(http_client_call(c, &last, 100, &b, &err), 422);
    CHECK_STR(buf_data(&b), "to the end");
    CHECK_INT(err.kind, ERR_NONE);
    buf_fini(&b);
    finish(&s, c);
}

TEST(a_connection_closed_in_between_is_opened_anew)
{
    static const struct line lines[] = {
        { "GET", OK_HI, THEN_CLOSE },
        { "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
          THEN_CLOSE },
        { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi unasked", THEN_CLOSE },
        { "GET", OK_HI, THEN_STAY },
    };
    struct script s;
    struct err err = ERR_INIT;

    struct http_client *c = start(&s, lines, ARRAY_LEN(lines));
    for (int i = 0; i < 4; i++) {
        struct buf b = BUF_INIT;
        int rc = http_client_call(c, &get, 100, &b, &err);
        /* The close may come after the next request was sent: then it was not sent twice. */
        if (rc < 0) {
            CHECK_INT(err.kind, ERR_UNAVAILABLE);
            rc = http_client_call(c, &get, 100, &b, &err);
        }
        CHECK_INT(rc, 200);
        CHECK_STR(buf_data(&b), "hi");
        buf_fini(&b);
    }
    finish(&s, c);
}

static void fails(const char *say, int then, int64_t timeout_ns, enum err_kind kind)
{
    struct line line = { "GET", say, then };
    struct script s;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct http_client_request r = get;

    r.timeout_ns = timeout_ns;
    struct http_client *c = start(&s, &line, 1);
    CHECK_INT(http_client_call(c, &r, 100, &b, &err), -1);
    if (err.kind != kind)
        unit_fail(__FILE__, __LINE__, "%s: %s %s", say, err_kind_name(err.kind), err.msg);
    CHECK(*err.msg);
    buf_fini(&b);
    finish(&s, c);
}

TEST(answers_that_fail)
{
    const int64_t ms = NS_PER_MS;

    fails("", THEN_CLOSE, 0, ERR_UNAVAILABLE);
    fails("HTTP/1.1 200 OK\r\nContent-Le", THEN_CLOSE, 0, ERR_UNAVAILABLE);
    fails("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", THEN_CLOSE, 0, ERR_UNAVAILABLE);
    fails("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", THEN_CLOSE, 0,
          ERR_UNAVAILABLE);
    fails("HTTP/1.1 100 Continue\r\n\r\n", THEN_CLOSE, 0, ERR_UNAVAILABLE);
    fails("", THEN_HANG, 30 * ms, ERR_TIMEOUT);
    fails("HTTP/1.1 200 OK\r\nContent-Le", THEN_HANG, 30 * ms, ERR_TIMEOUT);
    fails("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", THEN_HANG, 30 * ms, ERR_TIMEOUT);
    fails("SSH-2.0-OpenSSH_9.2\r\n", THEN_HANG, 0, ERR_CORRUPT);
    fails("\x15\x03\x01", THEN_HANG, 0, ERR_CORRUPT);
    fails("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", THEN_HANG, 0,
          ERR_CORRUPT);
    fails("HTTP/1.1 101 Switching Protocols\r\n\r\n", THEN_HANG, 0, ERR_CORRUPT);
    fails("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"
          "0123456789012345678901234567890123456789012345678901234567890123456789"
          "0123456789012345678901234567890",
          THEN_HANG, 0, ERR_TOO_LARGE);
}

TEST(an_early_answer_to_a_large_body_is_seen)
{
    static const struct line lines[] = {
        { NULL,
          "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
          THEN_HANG },
    };
    enum { SIZE = 30000000 };
    struct script s;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    char *body = mem_alloc(SIZE);

    struct http_client *c = start(&s, lines, ARRAY_LEN(lines));
    struct http_client_request r = {
        .method = "POST", .path = "/", .body = body, .body_len = SIZE
    };
    CHECK_INT(http_client_call(c, &r, 100, &b, &err), 413);
    CHECK_STR(buf_data(&b), "no");
    buf_fini(&b);
    free(body);
    finish(&s, c);
}

TEST(requests_that_cannot_be_sent)
{
    static const char *const paths[] = { "", "x", "http://x/", "/a b", "/a\r\nX: y", "/\t" };
    static const char *const bad[] = { "X: y\r\nHost: z", NULL };
    struct script s;
    struct err err = ERR_INIT;

    /* A connection on which nothing ever comes. */
    struct http_client *c = start(&s, &(struct line){ "", "", THEN_HANG }, 1);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct http_client_request r = { .method = "GET", .path = paths[i] };
        CHECK_INT(http_client_call(c, &r, 0, NULL, &err), -1);
        CHECK_INT(err.kind, ERR_INVALID);
    }
    struct http_client_request r = { .method = "GET", .path = "/", .headers = bad };
    CHECK_INT(http_client_call(c, &r, 0, NULL, &err), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    finish(&s, c);
}

TEST(nobody_listens)
{
    struct err err = ERR_INIT;
    char *path = mem_printf("%s/none", unit_tmpdir());
    struct sock_addr a = { .host = "127.0.0.1" };

    CHECK(!http_client_open_unix(path, &err));
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    int fd = sock_listen_tcp(&a, &err);
    CHECK(fd >= 0);
    close(fd);
    char *to = mem_printf("127.0.0.1:%u", a.port);
    err_clear(&err);
    CHECK(!http_client_open_tcp(to, &err));
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    CHECK(!http_client_open_tcp("nonsense", &err));
    CHECK_INT(err.kind, ERR_INVALID);
    http_client_close(NULL);
    free(to);
    free(path);
}

struct seen {
    struct buf text;
    int status;
    size_t stop_at;
};

static bool on_data(void *arg, int status, const char *data, size_t len)
{
    struct seen *s = arg;

    s->status = status;
    buf_append(&s->text, data, len);
    return s->stop_at == 0 || buf_len(&s->text) < s->stop_at;
}

TEST(streams)
{
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    static const struct line lines[] = {
        { "GET", CHUNKED "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", THEN_STAY },
        { "GET", CHUNKED "2\r\nab\r\n", THEN_CLOSE },
        { "GET", CHUNKED "2\r\nab\r\n", THEN_HANG },
        { "GET", CHUNKED "2\r\nab\r\n", THEN_HANG },
        { "GET", "", THEN_CLOSE },
    };
    struct script s;
    struct err err = ERR_INIT;
    struct seen seen = { .status = 0 };
    struct http_client_request r = get;
    bool complete = false;

    struct http_client *c = start(&s, lines, ARRAY_LEN(lines));
    CHECK_INT(http_client_stream(c, &r, on_data, &seen, &complete, &err), 200);
    CHECK(complete);
    CHECK_INT(seen.status, 200);
    CHECK_STR(buf_data(&seen.text), "abc");
    /* cut off by the server */
    buf_clear(&seen.text);
    CHECK_INT(http_client_stream(c, &r, on_data, &seen, &complete, &err), 200);
    CHECK(!complete);
    CHECK_STR(buf_data(&seen.text), "ab");
    /* stopped by us */
    buf_clear(&seen.text);
    seen.stop_at = 1;
    CHECK_INT(http_client_stream(c, &r, on_data, &seen, &complete, &err), 200);
    CHECK(!complete);
    CHECK_INT(err.kind, ERR_NONE);
    /* silence */
    seen.stop_at = 0;
    r.idle_ns = 30 * NS_PER_MS;
    CHECK_INT(http_client_stream(c, &r, on_data, &seen, &complete, &err), -1);
    CHECK_INT(err.kind, ERR_TIMEOUT);
    CHECK(!complete);
    /* no answer at all */
    CHECK_INT(http_client_stream(c, &r, on_data, &seen, &complete, &err), -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    buf_fini(&seen.text);
    finish(&s, c);
}

/* --- with the real server --- */

static void echo(struct http_request *req, void *arg)
{
    struct buf b = BUF_INIT;
    size_t len;

    (void)arg;
    const char *body = http_request_body(req, &len);
    buf_append(&b, body, len);
    http_reply(req, 200, "application/octet-stream", &b);
}

static void on_term(struct ev_signal *s)
{
    ev_stop(s->loop);
}

static _Noreturn void serve(int listener, enum http_listener_kind kind)
{
    static const struct http_server_hooks hooks = { NULL, echo, NULL };
    struct err err = ERR_INIT;
    struct ev_signal term = { .signo = SIGTERM, .fn = on_term };
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    struct http_server *server = http_server_create(loop, NULL, &hooks);

    if (ev_signal_add(loop, &term, &err) != 0 ||
        http_server_listen(server, listener, kind, &err) != 0 || ev_run(loop, &err) != 0)
        _exit(2);
    ev_signal_remove(&term);
    http_server_destroy(server);
    ev_loop_destroy(loop);
    _exit(0);
}

TEST(client_and_server)
{
    struct err err = ERR_INIT;
    struct sock_addr a = { .host = "127.0.0.1" };
    char *path = mem_printf("%s/s", unit_tmpdir());
    enum { SIZE = 5000000 };
    char *body = mem_alloc(SIZE);
    sigset_t term;

    memset(body, 'b', SIZE);
    /* The child must not be hit before it listens for the signal. */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    for (int tcp = 0; tcp < 2; tcp++) {
        int fd = tcp ? sock_listen_tcp(&a, &err) : sock_listen_unix(path, SOCK_STREAM, &err);
        CHECK(fd >= 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0)
            serve(fd, tcp ? HTTP_TCP : HTTP_UNIX);
        close(fd);
        char *to = tcp ? mem_printf("127.0.0.1:%u", a.port) : mem_strdup(path);
        struct http_client *c =
            tcp ? http_client_open_tcp(to, &err) : http_client_open_unix(to, &err);
        CHECK(c);
        for (int i = 0; i < 50; i++) {
            struct buf b = BUF_INIT;
            size_t len = i == 25 ? SIZE : (size_t)i * 100;
            struct http_client_request r = {
                .method = "POST", .path = "/", .body = body, .body_len = len, .last = i % 10 == 9
            };
            CHECK_INT(http_client_call(c, &r, SIZE, &b, &err), 200);
            CHECK_INT(buf_len(&b), len);
            CHECK(memcmp(buf_data(&b), body, len) == 0);
            buf_fini(&b);
        }
        http_client_close(c);
        int status;
        kill(pid, SIGTERM);
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK_INT(status, 0);
        free(to);
    }
    free(body);
    free(path);
}
