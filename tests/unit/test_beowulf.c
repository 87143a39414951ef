/* SPDX-License-Identifier: BSD-2-Clause */
/* Beowulf's socket with real clients; what is allocated is made up here (head_allocate.o isn't linked). */
#include "head/beowulf.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "ev/ev.h"
#include "head/head_allocate.h"
#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALLOCATE "{\"cmd\":\"allocate\",\"app\":\"firefox\"}"
#define ALLOCATED "{\"host\":\"host1.local\",\"reason\":\"lowest iowait\"}\n"
#define REPORT "{\"cmd\":\"report\",\"app\":\"firefox\",\"pid\":12345,\"host\":\"host1.local\"}"
#define REPORTED "{\"status\":\"ok\"}\n"

struct head {
    int places;
    struct buf reports;
};

/* --- in place of head_allocate.o --------------------------------------------------------------- */

int head_allocate(struct head *h, const struct head_allocate_request *request,
                  struct head_allocated *out, struct err *err)
{
    *out = (struct head_allocated){ .app = mem_strdup("app") };
    CHECK(request->far && !request->dry_run && !request->host);
    if (str_eq(request->command, "huge")) {
        err_set(err, ERR_UNPROCESS, "no host can take huge");
        return err_hint(err, "try: hive hosts check");
    }
    h->places++;
    out->hosts = mem_alloc_array(1, sizeof(*out->hosts));
    out->hosts[0].id = 7;
    out->hosts[0].name = "h1";
    out->count = 1;
    out->result.ranks = mem_alloc_array(1, sizeof(*out->result.ranks));
    out->result.ranks[0].why = mem_strdup("lowest iowait");
    out->result.count = out->result.in = 1;
    return 0;
}

void head_allocated_fini(struct head_allocated *a)
{
    for (size_t i = 0; i < a->result.count; i++)
        free(a->result.ranks[i].why);
    free(a->result.ranks);
    free(a->hosts);
    free(a->app);
}

const char *head_allocate_address(const struct head *h, int32_t node)
{
    (void)h;
    CHECK_INT(node, 7);
    return "host1.local";
}

bool head_allocate_started(struct head *h, const char *command, const char *host, int64_t pid)
{
    buf_printf(&h->reports, "%s %s %d;", command, host, (int)pid);
    return false;
}

/* --- the world --------------------------------------------------------------------------------- */

static struct world {
    struct clock clock;
    int64_t now;
    struct ev_loop *loop;
    struct head head;
    struct beowulf *b;
    char *path;
} w;

static int64_t now(void *arg)
{
    return ((struct world *)arg)->now;
}

static void begin(void)
{
    struct err err = ERR_INIT;

    w = (struct world){ .now = 1000 * NS_PER_S };
    w.clock = (struct clock){ now, now, &w };
    w.loop = ev_loop_create(&w.clock, &err);
    w.path = mem_printf("%s/daemon", unit_tmpdir());
    int fd = sock_listen_unix(w.path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    w.b = beowulf_create(w.loop, NULL, &w.head, fd, &err);
    CHECK(w.b);
    signal(SIGPIPE, SIG_IGN);
}

static void end(void)
{
    beowulf_destroy(w.b);
    ev_loop_destroy(w.loop);
    buf_fini(&w.head.reports);
    free(w.path);
}

static int dial(void)
{
    struct err err = ERR_INIT;
    int fd = sock_connect_unix(w.path, SOCK_STREAM, NS_PER_S, &err);

    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

static void turns(void)
{
    for (int i = 0; i < 5; i++)
        CHECK(ev_turn(w.loop, 0, NULL) == 0);
}

static void say(int fd, const char *text)
{
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
    turns();
}

/* What came, and "$" when that was the end. */
static void heard(int fd, const char *want)
{
    char text[65536];
    size_t len = 0;
    ssize_t n;

    turns();
    while ((n = recv(fd, text + len, sizeof(text) - 2 - len, 0)) > 0)
        len += (size_t)n;
    if (n == 0)
        text[len++] = '$';
    text[len] = '\0';
    CHECK_STR(text, want);
}

/* --- tests ------------------------------------------------------------------------------------- */

TEST(the_seeds_bytes)
{
    begin();
    int fd = dial();
    say(fd, ALLOCATE);
    heard(fd, ALLOCATED);
    say(fd, REPORT);
    heard(fd, REPORTED);
    CHECK_STR(buf_data(&w.head.reports), "firefox host1.local 12345;");
    CHECK_INT(w.head.places, 1);
    close(fd);
    end();
}

TEST(every_framing)
{
    int fd;

    begin();
    fd = dial();
    say(fd, ALLOCATE "\n" REPORT "\r\n");
    heard(fd, ALLOCATED REPORTED);
    say(fd, "{\n \"cmd\": \"allo");
    heard(fd, "");
    say(fd, "cate\", \"app\": \"gimp --x\", \"frob\": [{}]\n}");
    heard(fd, ALLOCATED);
    close(fd);
    fd = dial(); /* half-closed, the client of a shell script */
    CHECK(send(fd, ALLOCATE "\n", strlen(ALLOCATE) + 1, 0) > 0);
    shutdown(fd, SHUT_WR);
    heard(fd, ALLOCATED "$");
    close(fd);
    fd = dial();
    CHECK(send(fd, "nonsense", 8, 0) > 0);
    shutdown(fd, SHUT_WR);
    turns();
    char text[512] = "";
    CHECK(recv(fd, text, sizeof(text) - 1, 0) > 0);
    CHECK(str_starts(text, "{\"error\":\""));
    close(fd);
    fd = dial(); /* nothing at all */
    shutdown(fd, SHUT_WR);
    heard(fd, "$");
    close(fd);
    end();
}

TEST(errors_end_nothing)
{
    begin();
    int fd = dial();
    say(fd, "{\"cmd\":\"allocate\",\"app\":\"huge\"}");
    heard(fd, "{\"error\":\"no host can take huge (try: hive hosts check)\"}\n");
    say(fd, "{\"cmd\":\"frob\"}");
    heard(fd, "{\"error\":\"unknown cmd 'frob' (cmd is allocate or report)\"}\n");
    say(fd, "{\"cmd\":\"report\",\"app\":\"x\"}"); /* no host, no pid */
    heard(fd, REPORTED);
    say(fd, ALLOCATE);
    heard(fd, ALLOCATED);
    close(fd);
    end();
}

TEST(too_long_is_answered_and_closed)
{
    struct buf b = BUF_INIT;
    char text[512] = "";

    begin();
    int fd = dial();
    buf_append_str(&b, "{\"cmd\":\"");
    while (buf_len(&b) < 70000)
        buf_append_char(&b, 'x');
    for (size_t at = 0; at < buf_len(&b);) {
        ssize_t n = send(fd, buf_data(&b) + at, buf_len(&b) - at, MSG_NOSIGNAL);
        if (n < 0)
            break;
        at += (size_t)n;
        turns();
    }
    turns();
    CHECK(recv(fd, text, sizeof(text) - 1, 0) > 0);
    CHECK(strstr(text, "longer than 64 KiB"));
    ssize_t n = recv(fd, text, sizeof(text), 0);
    CHECK(n == 0 || (n < 0 && errno == ECONNRESET));
    buf_fini(&b);
    close(fd);
    end();
}

TEST(who_says_nothing_is_given_up)
{
    begin();
    int silent = dial(), half = dial(), busy = dial();
    turns();
    say(half, "{\"cmd\":");
    w.now += BEOWULF_IDLE_NS - NS_PER_S;
    turns();
    say(busy, ALLOCATE);
    w.now += 2 * NS_PER_S;
    heard(silent, "$");
    char text[512] = "";
    turns();
    CHECK(recv(half, text, sizeof(text) - 1, 0) > 0);
    CHECK(str_starts(text, "{\"error\":"));
    heard(half, "$");
    heard(busy, ALLOCATED);
    close(silent);
    close(half);
    close(busy);
    end();
}

TEST(more_clients_than_are_served_at_once_wait)
{
    int fds[BEOWULF_CLIENTS_MAX + 4];

    begin();
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial();
        turns();
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        say(fds[i], ALLOCATE);
    heard(fds[BEOWULF_CLIENTS_MAX - 1], ALLOCATED);
    heard(fds[BEOWULF_CLIENTS_MAX], "");
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
    turns();
    turns();
    for (size_t i = BEOWULF_CLIENTS_MAX; i < ARRAY_LEN(fds); i++)
        heard(fds[i], ALLOCATED);
    for (size_t i = 4; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    turns();
    end();
}

TEST(who_does_not_read_is_not_read_from)
{
    int sent = 0;

    begin();
    int fd = dial();
    for (int idle = 0; idle < 20; idle++) {
        while (send(fd, ALLOCATE, strlen(ALLOCATE), MSG_NOSIGNAL) == (ssize_t)strlen(ALLOCATE)) {
            sent++;
            idle = 0;
        }
        turns();
    }
    CHECK(w.head.places < sent);
    int before = w.head.places;
    turns();
    CHECK_INT(w.head.places, before);
    w.now += BEOWULF_IDLE_NS + NS_PER_S;
    turns(); /* given up */
    close(fd);
    fd = dial();
    say(fd, ALLOCATE);
    heard(fd, ALLOCATED);
    close(fd);
    end();
}

TEST(other_users_are_not_served)
{
    int result[2], status;
    char c = 0;

    if (getuid() != 0)
        return; /* nobody else can be made */
    begin();
    CHECK(chmod(unit_tmpdir(), 0755) == 0 && chmod(w.path, 0666) == 0);
    CHECK(pipe(result) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (setresuid(65534, 65534, 65534) != 0)
            _exit(3);
        int fd = sock_connect_unix(w.path, SOCK_STREAM, NS_PER_S, NULL);
        if (fd < 0)
            _exit(2);
        (void)!send(fd, ALLOCATE, strlen(ALLOCATE), MSG_NOSIGNAL);
        (void)!write(result[1], "c", 1);
        _exit(recv(fd, &c, 1, 0) <= 0 ? 0 : 1);
    }
    close(result[1]);
    CHECK(read(result[0], &c, 1) == 1);
    turns();
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    CHECK_INT(w.head.places, 0);
    close(result[0]);
    end();
}
