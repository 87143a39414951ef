/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "net/sock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRANGER 54321 /* a uid that is nobody's */

static char *in_tmpdir(const char *name)
{
    return mem_printf("%s/%s", unit_tmpdir(), name);
}

static bool can_accept(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 10000) == 1;
}

static int accept_one(int fd)
{
    CHECK(can_accept(fd));
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    CHECK(conn >= 0);
    return conn;
}

static void check_flags(int fd, bool nonblocking)
{
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_INT((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, nonblocking);
}

/* --- Unix sockets --- */

TEST(unix_listen_and_connect)
{
    struct err err = ERR_INIT;
    char *path = in_tmpdir("s");
    struct stat st;
    uid_t uid = 0;
    pid_t pid = 0;

    umask(0);
    int fd = sock_listen_unix(path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    check_flags(fd, true);
    CHECK(stat(path, &st) == 0);
    CHECK(S_ISSOCK(st.st_mode));
    CHECK_INT(st.st_mode & 07777, 0600);
    int client = sock_connect_unix(path, SOCK_STREAM, NS_PER_S, &err);
    CHECK(client >= 0);
    check_flags(client, false);
    int conn = accept_one(fd);
    CHECK_OK(sock_peer_uid(conn, &uid, &pid, &err), &err);
    CHECK_INT(uid, getuid());
    CHECK_INT(pid, getpid());
    close(conn);
    close(client);
    close(fd);
    free(path);
}

TEST(unix_seqpacket)
{
    struct err err = ERR_INIT;
    char *path = in_tmpdir("s");
    char got[8];

    int fd = sock_listen_unix(path, SOCK_SEQPACKET, &err);
    CHECK(fd >= 0);
    int client = sock_connect_unix(path, SOCK_SEQPACKET, NS_PER_S, &err);
    CHECK(client >= 0);
    int conn = accept_one(fd);
    CHECK(send(client, "abc", 3, 0) == 3 && send(client, "d", 1, 0) == 1);
    CHECK_INT(recv(conn, got, sizeof(got), 0), 3);
    close(conn);
    close(client);
    close(fd);
    free(path);
}

TEST(unix_stale_socket_is_replaced)
{
    struct err err = ERR_INIT;
    char *path = in_tmpdir("s");

    int fd = sock_listen_unix(path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    close(fd); /* the file stays, as after a kill -9 */
    CHECK(sock_connect_unix(path, SOCK_STREAM, NS_PER_S, &err) == -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    fd = sock_listen_unix(path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    int client = sock_connect_unix(path, SOCK_STREAM, NS_PER_S, &err);
    CHECK(client >= 0);
    close(client);
    close(fd);
    free(path);
}

TEST(unix_live_socket_is_a_conflict)
{
    struct err err = ERR_INIT;
    char *path = in_tmpdir("s");

    int fd = sock_listen_unix(path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    CHECK(sock_listen_unix(path, SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK(strstr(err.msg, path));
    CHECK(sock_listen_unix(path, SOCK_SEQPACKET, &err) == -1); /* of another type: lives as well */
    CHECK_INT(err.kind, ERR_CONFLICT);
    int client = sock_connect_unix(path, SOCK_STREAM, NS_PER_S, &err);
    CHECK(client >= 0); /* and it was left alone */
    close(client);
    close(fd);
    free(path);
}

TEST(unix_live_socket_with_a_full_queue_is_a_conflict)
{
    struct err err = ERR_INIT;
    char *path = in_tmpdir("s");
    int clients[8], n = 0;

    int fd = sock_listen_unix(path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    CHECK(listen(fd, 1) == 0); /* a daemon that is stuck */
    while (n < 8 && (clients[n] = sock_connect_unix(path, SOCK_STREAM, NS_PER_MS, &err)) >= 0)
        n++;
    CHECK(n < 8);
    CHECK_INT(err.kind, ERR_TIMEOUT);
    CHECK(sock_listen_unix(path, SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    while (n > 0)
        close(clients[--n]);
    close(fd);
    free(path);
}

TEST(unix_other_files_are_left_alone)
{
    struct err err = ERR_INIT;
    char *path = in_tmpdir("s");
    char *target = in_tmpdir("elsewhere");
    struct stat st;

    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(file >= 0 && write(file, "mine", 4) == 4);
    CHECK(sock_listen_unix(path, SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK(stat(path, &st) == 0 && st.st_size == 4);
    close(file);
    unlink(path);
    CHECK(symlink(target, path) == 0); /* a dangling link, in place of the socket */
    CHECK(sock_listen_unix(path, SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK(lstat(target, &st) != 0);
    unlink(path);
    CHECK(mkdir(path, 0700) == 0);
    CHECK(sock_listen_unix(path, SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    free(target);
    free(path);
}

TEST(unix_bad_paths)
{
    struct err err = ERR_INIT;
    char longest[SOCK_PATH_MAX + 2];

    memset(longest, 'x', sizeof(longest));
    longest[SOCK_PATH_MAX + 1] = '\0';
    CHECK(sock_listen_unix(longest, SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(strstr(err.hint, "HIVE_RUNTIME_DIR"));
    CHECK(sock_connect_unix(longest, SOCK_STREAM, NS_PER_S, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(sock_listen_unix("", SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(chdir(unit_tmpdir()) == 0);
    longest[SOCK_PATH_MAX] = '\0'; /* just fits, and is relative */
    int fd = sock_listen_unix(longest, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    close(fd);
    CHECK(sock_listen_unix("no/such/folder", SOCK_STREAM, &err) == -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(sock_connect_unix("no/such/folder", SOCK_STREAM, NS_PER_S, &err) == -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
}

/* Of many that start at once over a stale socket exactly one gets it. */
TEST(unix_race_for_a_stale_socket)
{
    struct err err = ERR_INIT;
    char *path = in_tmpdir("s");
    enum { N = 12 };
    int start[2], result[2], hold[2], won = 0;
    char c;

    int fd = sock_listen_unix(path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    close(fd);
    CHECK(pipe2(start, O_CLOEXEC) == 0 && pipe2(result, O_CLOEXEC) == 0 &&
          pipe2(hold, O_CLOEXEC) == 0);
    for (int i = 0; i < N; i++) {
        if (fork() == 0) {
            close(start[1]);
            close(hold[1]);
            if (read(start[0], &c, 1) != 0) /* all go when the parent closes it */
                _exit(2);
            int mine = sock_listen_unix(path, SOCK_STREAM, &err);
            c = mine >= 0 ? 'y' : err.kind == ERR_CONFLICT ? 'n' : '?';
            if (write(result[1], &c, 1) != 1 || read(hold[0], &c, 1) != 0)
                _exit(2);
            _exit(0);
        }
    }
    close(start[1]);
    for (int i = 0; i < N; i++) {
        CHECK(read(result[0], &c, 1) == 1);
        CHECK(c != '?');
        won += c == 'y';
    }
    CHECK_INT(won, 1);
    int client = sock_connect_unix(path, SOCK_STREAM, NS_PER_S, &err);
    CHECK(client >= 0);
    close(client);
    close(hold[1]);
    for (int i = 0; i < N; i++)
        CHECK(wait(NULL) > 0);
    close(start[0]);
    close(result[0]);
    close(result[1]);
    close(hold[0]);
    free(path);
}

/* --- addresses --- */

TEST(addresses)
{
    static const struct {
        const char *text, *host; /* NULL: refused */
        unsigned port;
        bool loopback;
    } rows[] = {
        { "127.0.0.1:8080", "127.0.0.1", 8080, true },
        { "127.1.2.3:1", "127.1.2.3", 1, true },
        { "[::1]:0", "::1", 0, true },
        { "localhost:8080", "127.0.0.1", 8080, true },
        { "LocalHost:1", "127.0.0.1", 1, true },
        { ":8080", "::", 8080, false },
        { "0.0.0.0:80", "0.0.0.0", 80, false },
        { "[::]:80", "::", 80, false },
        { "10.0.0.1:65535", "10.0.0.1", 65535, false },
        { "[2001:db8::1]:443", "2001:db8::1", 443, false },
        { "[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, true },
        { "[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1, false },
        { "", NULL, 0, false },
        { ":", NULL, 0, false },
        { "8080", NULL, 0, false },
        { "127.0.0.1", NULL, 0, false },
        { "127.0.0.1:", NULL, 0, false },
        { "127.0.0.1:x", NULL, 0, false },
        { "127.0.0.1:-1", NULL, 0, false },
        { "127.0.0.1:+1", NULL, 0, false },
        { "127.0.0.1: 1", NULL, 0, false },
        { "127.0.0.1:65536", NULL, 0, false },
        { "127.0.0.1:99999999999999999999", NULL, 0, false },
        { "127.1:80", NULL, 0, false },
        { "0177.0.0.1:80", NULL, 0, false },
        { "256.0.0.1:80", NULL, 0, false },
        { "::1:80", NULL, 0, false },
        { "[::1]", NULL, 0, false },
        { "[::1]x:80", NULL, 0, false },
        { "[]:80", NULL, 0, false },
        { "[127.0.0.1]:80", NULL, 0, false },
        { "[localhost]:80", NULL, 0, false },
        { "[fe80::1%lo]:80", NULL, 0, false },
        { "example.com:80", NULL, 0, false },
        { " 127.0.0.1:80", NULL, 0, false },
        { "127.0.0.1.evil.example.com.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:80",
          NULL, 0, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sock_addr a = { .port = 7 };
        struct err err = ERR_INIT;
        int rc = sock_parse_addr(rows[i].text, &a, &err);
        if ((rc == 0) != (rows[i].host != NULL))
            unit_fail(__FILE__, __LINE__, "'%s' gives %d %s", rows[i].text, rc, err.msg);
        if (rc != 0) {
            CHECK_INT(err.kind, ERR_INVALID);
            CHECK(*err.msg);
            CHECK_INT(a.port, 7); /* untouched */
            continue;
        }
        CHECK_STR(a.host, rows[i].host);
        CHECK_INT(a.port, rows[i].port);
        CHECK_INT(a.loopback, rows[i].loopback);
    }
}

/* --- TCP --- */

static int listen_on(const char *text, struct sock_addr *a)
{
    struct err err = ERR_INIT;

    CHECK_OK(sock_parse_addr(text, a, &err), &err);
    int fd = sock_listen_tcp(a, &err);
    if (fd < 0)
        unit_fail(__FILE__, __LINE__, "%s: %s", text, err.msg);
    check_flags(fd, true);
    CHECK(a->port != 0);
    return fd;
}

static bool has_ipv6(void)
{
    struct sock_addr a = { .host = "::1" };
    int fd = sock_listen_tcp(&a, NULL);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void check_owner(int listener, const char *host, uint16_t port)
{
    struct err err = ERR_INIT;
    char *to = mem_printf("%s:%u", host, port);
    uid_t uid = 99;

    int client = sock_connect_tcp(to, NS_PER_S, &err);
    if (client < 0)
        unit_fail(__FILE__, __LINE__, "%s: %s", to, err.msg);
    check_flags(client, false);
    int conn = accept_one(listener);
    CHECK_OK(sock_tcp_peer_uid(conn, &uid, &err), &err);
    CHECK_INT(uid, getuid());
    close(client);
    close(conn);
    free(to);
}

TEST(tcp_listen_connect_and_owner)
{
    struct err err = ERR_INIT;
    struct sock_addr a, again;
    char *text;

    int fd = listen_on("127.0.0.1:0", &a);
    check_owner(fd, "127.0.0.1", a.port);
    check_owner(fd, "localhost", a.port);
    again = a;
    CHECK(sock_listen_tcp(&again, &err) == -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    close(fd);
    text = mem_printf("127.0.0.1:%u", a.port);
    CHECK(sock_connect_tcp(text, NS_PER_S, &err) == -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    free(text);
    /* An address that is not ours (TEST-NET-1). */
    struct sock_addr foreign = { .host = "192.0.2.1" };
    CHECK(sock_listen_tcp(&foreign, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
}

TEST(tcp_all_addresses_and_ipv6)
{
    struct sock_addr a;

    int fd = listen_on(":0", &a);
    check_owner(fd, "127.0.0.1", a.port);
    if (has_ipv6()) {
        check_owner(fd, "[::1]", a.port);
        check_owner(fd, "[::ffff:127.0.0.1]", a.port);
        close(fd);
        fd = listen_on("[::1]:0", &a);
        check_owner(fd, "[::1]", a.port);
        check_owner(fd, "localhost", a.port);
    }
    close(fd);
    /* IPv4 only, reached from an IPv6 socket. */
    fd = listen_on("127.0.0.1:0", &a);
    if (has_ipv6())
        check_owner(fd, "[::ffff:127.0.0.1]", a.port);
    close(fd);
}

TEST(tcp_connect_to_nonsense)
{
    struct err err = ERR_INIT;

    CHECK(sock_connect_tcp("", NS_PER_S, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(sock_connect_tcp(":80", NS_PER_S, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(sock_connect_tcp("127.0.0.1:http", NS_PER_S, &err) == -1);
    CHECK_INT(err.kind, ERR_INVALID);
}

TEST(tcp_owner_of_a_closed_client_is_nobody)
{
    struct err err = ERR_INIT;
    struct sock_addr a;
    uid_t uid = 99;

    int fd = listen_on("127.0.0.1:0", &a);
    char *to = mem_printf("127.0.0.1:%u", a.port);
    int client = sock_connect_tcp(to, NS_PER_S, &err);
    CHECK(client >= 0);
    int conn = accept_one(fd);
    /* Only finished sending: still there. */
    CHECK(shutdown(client, SHUT_WR) == 0);
    CHECK(can_accept(conn));
    CHECK_OK(sock_tcp_peer_uid(conn, &uid, &err), &err);
    /* Closed: the kernel now says uid 0 for it, which must not be believed. */
    close(client);
    uid = 99;
    CHECK(sock_tcp_peer_uid(conn, &uid, &err) == -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK_INT(uid, 99);
    close(conn);

    /* Reset by the client. */
    client = sock_connect_tcp(to, NS_PER_S, &err);
    CHECK(client >= 0);
    conn = accept_one(fd);
    struct linger reset = { .l_onoff = 1 };
    CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
    close(client);
    CHECK(can_accept(conn));
    CHECK(sock_tcp_peer_uid(conn, &uid, &err) == -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    close(conn);

    /* No connection at all. */
    CHECK(sock_tcp_peer_uid(fd, &uid, &err) == -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    close(fd);
    free(to);
}

/* Connects as another user, and stays until `hold` is closed. */
static pid_t connect_as(uid_t uid, const char *to, int hold[2], bool stay)
{
    pid_t pid = fork();
    char c;

    if (pid != 0)
        return pid;
    struct err err = ERR_INIT;
    close(hold[1]);
    if (setgid(uid) != 0 || setuid(uid) != 0)
        _exit(2);
    int fd = sock_connect_tcp(to, 10 * NS_PER_S, &err);
    if (fd < 0 || (stay && read(hold[0], &c, 1) != 0))
        _exit(3);
    close(fd);
    _exit(0);
}

TEST(tcp_owner_is_the_other_user)
{
    struct err err = ERR_INIT;
    struct sock_addr a;
    uid_t uid = 99;
    int hold[2], status;

    if (geteuid() != 0) {
        fprintf(stderr, "# skipped: only root can become another user\n");
        return;
    }
    CHECK(pipe2(hold, O_CLOEXEC) == 0);
    int fd = listen_on("127.0.0.1:0", &a);
    char *to = mem_printf("127.0.0.1:%u", a.port);
    pid_t pid = connect_as(STRANGER, to, hold, true);
    int conn = accept_one(fd);
    CHECK_OK(sock_tcp_peer_uid(conn, &uid, &err), &err);
    CHECK_INT(uid, STRANGER);
    close(hold[1]);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(conn);
    close(hold[0]);

    /* A stranger who closes at once is not taken for root. */
    CHECK(pipe2(hold, O_CLOEXEC) == 0);
    pid = connect_as(STRANGER, to, hold, false);
    conn = accept_one(fd);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    uid = 99;
    CHECK(sock_tcp_peer_uid(conn, &uid, &err) == -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    close(conn);
    close(hold[0]);
    close(hold[1]);
    close(fd);
    free(to);
}
