/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/sock.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

_Static_assert(SOCK_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path) - 1, "sun_path");

/* --- Unix sockets --- */

static int unix_address(const char *path, struct sockaddr_un *un, struct err *err)
{
    *un = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (*path != '\0' && str_copy(un->sun_path, sizeof(un->sun_path), path))
        return 0;
    if (*path == '\0')
        return err_set(err, ERR_INVALID, "empty path for a socket");
    err_set(err, ERR_INVALID, "path of the socket is %zu bytes, over the %d that Linux allows: %s",
            strlen(path), SOCK_PATH_MAX, path);
    return err_hint(err, "set HIVE_RUNTIME_DIR to a shorter path");
}

/* Whether somebody accepts at the address; an error other than "nobody" counts as somebody, because
 * then the file must not be removed. */
static bool unix_is_live(const struct sockaddr_un *un, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return true;
    int rc = connect(fd, (const struct sockaddr *)un, sizeof(*un));
    bool live = rc == 0 || (errno != ECONNREFUSED && errno != ENOENT);
    close(fd);
    return live;
}

/* Opens the socket's folder and locks it, so that nobody else is between looking at a stale
 * socket and replacing it. Returns -1 without err where that can't be done: better no lock than
 * no daemon. */
static int lock_folder(const char *path)
{
    char dir[SOCK_PATH_MAX + 1];
    int64_t until = clock_mono_ns(&clock_system) + NS_PER_S;

    str_copy(dir, sizeof(dir), path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* The holder is done within microseconds; one that is not must not keep us from starting. */
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
           clock_mono_ns(&clock_system) < until)
        poll(NULL, 0, 1);
    return fd;
}

static int bind_unix(int fd, const struct sockaddr_un *un, int type, struct err *err)
{
    const struct sockaddr *sa = (const struct sockaddr *)un;
    struct stat st;

    if (bind(fd, sa, sizeof(*un)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return err_sys(err, errno, "cannot make the socket %s", un->sun_path);
    if (lstat(un->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return err_set(err, ERR_CONFLICT, "%s exists and is not a socket", un->sun_path);
    if (unix_is_live(un, type)) {
        err_set(err, ERR_CONFLICT, "another process listens on %s", un->sun_path);
        return err_hint(err, "only one daemon can run there; see: hive status");
    }
    if (unlink(un->sun_path) != 0 && errno != ENOENT)
        return err_sys(err, errno, "cannot remove the stale socket %s", un->sun_path);
    if (bind(fd, sa, sizeof(*un)) != 0)
        return err_sys(err, errno, "cannot make the socket %s", un->sun_path);
    return 0;
}

int sock_listen_unix(const char *path, int type, struct err *err)
{
    struct sockaddr_un un;

    if (unix_address(path, &un, err) != 0)
        return -1;
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(err, errno, "cannot create a socket");
    int lock = lock_folder(path);
    /* On Linux the file takes its mode from the socket: it is never open to others, not even
     * between bind and a chmod. */
    int rc = fchmod(fd, 0600);
    if (rc != 0)
        err_sys(err, errno, "cannot set the mode of a socket");
    else
        rc = bind_unix(fd, &un, type, err);
    if (rc == 0 && listen(fd, BACKLOG) != 0)
        rc = err_sys(err, errno, "cannot listen on %s", path);
    if (lock >= 0)
        close(lock);
    if (rc == 0)
        return fd;
    close(fd);
    return -1;
}

static int64_t ns_left(int64_t until)
{
    int64_t left = until - clock_mono_ns(&clock_system);

    return left > 0 ? left : 0;
}

static int64_t deadline(int64_t timeout_ns)
{
    int64_t until;

    if (__builtin_add_overflow(clock_mono_ns(&clock_system), timeout_ns, &until))
        until = INT64_MAX;
    return until;
}

/* A Unix connect doesn't wait for an accept, only for a place in the queue, and that wait is ruled
 * by the send time-out. */
static int connect_unix(int fd, const struct sockaddr_un *un, int64_t until)
{
    int sys;

    do {
        int64_t us = ns_left(until) / NS_PER_US + 1; /* 0 would mean for ever */
        struct timeval tv = { .tv_sec = us / 1000000, .tv_usec = us % 1000000 };
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
        sys = connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0 : errno;
    } while (sys == EINTR && ns_left(until) > 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){ 0 }, sizeof(struct timeval));
    return sys;
}

int sock_connect_unix(const char *path, int type, int64_t timeout_ns, struct err *err)
{
    struct sockaddr_un un;

    if (unix_address(path, &un, err) != 0)
        return -1;
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, errno, "cannot create a socket");
    int sys = connect_unix(fd, &un, deadline(timeout_ns));
    if (sys == 0)
        return fd;
    close(fd);
    switch (sys) {
    case ENOENT:
    case ECONNREFUSED:
        return err_set(err, ERR_UNAVAILABLE, "nobody listens on %s", path);
    case EAGAIN:
    case EINTR:
        return err_set(err, ERR_TIMEOUT, "%s doesn't accept connections", path);
    default:
        return err_sys(err, sys, "cannot connect to %s", path);
    }
}

/* --- TCP --- */

/* Splits "HOST:PORT" or "[HOST]:PORT". */
static int split_host_port(const char *text, char *host, size_t size, uint16_t *port,
                           struct err *err)
{
    const char *colon = strrchr(text, ':');
    const char *from = text;
    size_t len = colon ? (size_t)(colon - text) : 0;
    int64_t n = 0;

    if (colon && len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        from = text + 1;
        len -= 2;
    } else if (colon && memchr(text, ':', len)) {
        err_set(err, ERR_INVALID, "malformed address '%s'", text);
        return err_hint(err, "write an IPv6 address in brackets: [::1]:8080");
    }
    if (!colon || len >= size) {
        err_set(err, ERR_INVALID, "malformed address '%s'", text);
        return err_hint(err, "write ADDRESS:PORT, for example 127.0.0.1:8080");
    }
    memcpy(host, from, len);
    host[len] = '\0';
    if (str_to_int(colon + 1, 0, 65535, "port", &n, err) != 0)
        return -1;
    *port = (uint16_t)n;
    return 0;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

int sock_parse_addr(const char *text, struct sock_addr *addr, struct err *err)
{
    struct sock_addr a = { .port = 0 };
    struct in6_addr any;

    if (split_host_port(text, a.host, sizeof(a.host), &a.port, err) != 0)
        return -1;
    if (a.host[0] == '\0' && text[0] == ':') {
        str_copy(a.host, sizeof(a.host), "::");
    } else if (str_eq_nocase(a.host, "localhost") && text[0] != '[') {
        str_copy(a.host, sizeof(a.host), "127.0.0.1");
    } else if (inet_pton(text[0] == '[' ? AF_INET6 : AF_INET, a.host, &any) != 1) {
        err_set(err, ERR_INVALID, "'%s' is no IP address", text);
        return err_hint(err, "write ADDRESS:PORT, for example 127.0.0.1:8080, [::1]:8080 or "
                             "localhost:8080");
    }
    a.loopback = is_loopback(a.host);
    *addr = a;
    return 0;
}

static socklen_t to_sockaddr(const struct sock_addr *addr, struct sockaddr_storage *ss)
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ss;

    memset(ss, 0, sizeof(*ss));
    if (inet_pton(AF_INET, addr->host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        return sizeof(*in);
    }
    memset(ss, 0, sizeof(*ss));
    if (inet_pton(AF_INET6, addr->host, &in6->sin6_addr) != 1)
        return 0;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(addr->port);
    return sizeof(*in6);
}

static int bind_tcp(int fd, struct sock_addr *addr, struct sockaddr_storage *ss, socklen_t len,
                    struct err *err)
{
    const int on = 1, off = 0, idle_s = 60;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    if (ss->ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, (const struct sockaddr *)ss, len) != 0 || listen(fd, BACKLOG) != 0) {
        int sys = errno;
        if (sys == EADDRINUSE) {
            err_set(err, ERR_CONFLICT, "port %u of %s is in use", addr->port, addr->host);
            return err_hint(err, "choose another with --listen ADDR:PORT, or --listen none");
        }
        if (sys == EADDRNOTAVAIL)
            return err_set(err, ERR_INVALID, "%s is no address of this machine", addr->host);
        return err_sys(err, sys, "cannot listen on %s port %u", addr->host, addr->port);
    }
    if (getsockname(fd, (struct sockaddr *)ss, &len) != 0)
        return err_sys(err, errno, "cannot ask for the address of a socket");
    addr->port = ntohs(ss->ss_family == AF_INET ? ((struct sockaddr_in *)(void *)ss)->sin_port
                                                : ((struct sockaddr_in6 *)(void *)ss)->sin6_port);
    return 0;
}

int sock_listen_tcp(struct sock_addr *addr, struct err *err)
{
    struct sockaddr_storage ss;
    socklen_t len = to_sockaddr(addr, &ss);

    if (len == 0)
        return err_set(err, ERR_INVALID, "'%s' is no IP address", addr->host);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && str_eq(addr->host, "::")) {
        /* A kernel without IPv6: "all addresses" are those of IPv4. */
        str_copy(addr->host, sizeof(addr->host), "0.0.0.0");
        len = to_sockaddr(addr, &ss);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd < 0)
        return err_sys(err, errno, "cannot create a socket for %s", addr->host);
    if (bind_tcp(fd, addr, &ss, len, err) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Returns 0 or an errno. */
static int connect_until(int fd, const struct sockaddr *sa, socklen_t len, int64_t until)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int sys = 0;
    socklen_t size = sizeof(sys);

    if (connect(fd, sa, len) == 0)
        return 0;
    if (errno != EINPROGRESS && errno != EINTR)
        return errno;
    for (;;) {
        int64_t ms = (ns_left(until) + NS_PER_MS - 1) / NS_PER_MS;
        int n = poll(&p, 1, ms > INT32_MAX ? INT32_MAX : (int)ms);
        if (n == 0)
            return ETIMEDOUT;
        if (n > 0)
            break;
        if (errno != EINTR)
            return errno;
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &size) == 0 ? sys : errno;
}

/* Tries one address. Returns the descriptor, or -1 with *sys. */
static int try_address(const struct sockaddr *sa, socklen_t len, int64_t until, int *sys)
{
    const int on = 1;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        *sys = errno;
        return -1;
    }
    *sys = connect_until(fd, sa, len, until);
    if (*sys == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        return fd;
    }
    close(fd);
    return -1;
}

static int try_name(const char *host, uint16_t port, int64_t until, int *sys, struct err *err)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    char service[8];
    int fd = -1;

    snprintf(service, sizeof(service), "%u", port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0) {
        *sys = 0;
        return err_set(err, ERR_UNAVAILABLE, "cannot find the address of %s: %s", host,
                       gai_strerror(rc));
    }
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = try_address(a->ai_addr, a->ai_addrlen, until, sys);
    freeaddrinfo(list);
    return fd;
}

int sock_connect_tcp(const char *host_port, int64_t timeout_ns, struct err *err)
{
    struct sock_addr a = { .port = 0 };
    struct sockaddr_storage ss;
    char host[256];
    int64_t until = deadline(timeout_ns);
    int sys = 0;
    int fd = -1;

    if (split_host_port(host_port, host, sizeof(host), &a.port, err) != 0)
        return -1;
    if (host[0] == '\0')
        return err_set(err, ERR_INVALID, "no host in the address '%s'", host_port);
    /* Both, in the order of our own listeners, and without asking /etc/hosts, which may lack it. */
    bool local = str_eq_nocase(host, "localhost");
    str_copy(a.host, sizeof(a.host), local ? "127.0.0.1" : host);
    socklen_t len = strlen(host) < sizeof(a.host) ? to_sockaddr(&a, &ss) : 0;
    if (len > 0)
        fd = try_address((const struct sockaddr *)&ss, len, until, &sys);
    else
        fd = try_name(host, a.port, until, &sys, err);
    if (fd < 0 && local) {
        int ignored;
        str_copy(a.host, sizeof(a.host), "::1");
        len = to_sockaddr(&a, &ss);
        fd = try_address((const struct sockaddr *)&ss, len, until, &ignored);
    }
    if (fd >= 0 || sys == 0)
        return fd;
    if (sys == ECONNREFUSED)
        return err_set(err, ERR_UNAVAILABLE, "nobody listens on %s", host_port);
    if (sys == ETIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "no answer from %s", host_port);
    if (sys == EHOSTUNREACH || sys == ENETUNREACH || sys == ENETDOWN || sys == EADDRNOTAVAIL)
        return err_set(err, ERR_UNAVAILABLE, "cannot reach %s: %s", host_port, strerror(sys));
    return err_sys(err, sys, "cannot connect to %s", host_port);
}
