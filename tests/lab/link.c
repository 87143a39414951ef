/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A network cable that can be bad: passes Ethernet frames between two TAP devices, late, slowly or
 * not at all. Not every kernel has sch_netem and nftables; TAP is everywhere. Needs the C library
 * alone.
 *
 *   link relay DEVICE-A DEVICE-B SOCKET   makes the devices, goes on in the background, prints its pid
 *   link set SOCKET [SETTING…]            changes settings at once; prints counters
 *   link rtt ADDRESS PORT TIMEOUT-MS      prints the milliseconds until a TCP connection is made or
 *                                         refused
 *
 * Settings: drop=none|in|out|both  delay=MS  jitter=MS  loss=PERCENT  rate=KBIT/S (0: no limit).
 * "out" is from A to B. delay, jitter, loss and rate hold for each direction, or for one with "in."
 * or "out." before them. Frames never overtake each other. With a rate, up to one second of frames is
 * queued; what comes then is dropped.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { OUT, IN, DIRECTIONS, FRAME_MAX = 65536, QUEUE_MAX = 64 << 20 };

struct frame {
    struct frame *next;
    int64_t due_ns;
    size_t len;
    unsigned char data[];
};

struct direction {
    double delay_ms, jitter_ms, loss_percent, rate_kbit;
    int drop;
    int from, to;
    struct frame *first, **end;
    size_t queued;    /* bytes */
    int64_t sent_ns;  /* when the last queued frame has left a line of this rate */
    int64_t last_due; /* frames keep their order */
    unsigned long passed, dropped;
};

static void die(const char *what)
{
    fprintf(stderr, "link: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- the cable --- */

static int open_tun(void)
{
    char name[64];
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    /* A container's /dev often lacks it although the kernel has it. */
    snprintf(name, sizeof(name), "/tmp/.link-tun.%ld", (long)getpid());
    if (mknod(name, S_IFCHR | 0600, makedev(10, 200)) < 0)
        return -1;
    fd = open(name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    unlink(name);
    return fd;
}

static int open_tap(const char *device)
{
    struct ifreq r;
    int fd = open_tun();

    if (fd < 0)
        die("/dev/net/tun");
    memset(&r, 0, sizeof(r));
    r.ifr_flags = IFF_TAP | IFF_NO_PI;
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", device);
    if (ioctl(fd, TUNSETIFF, &r) < 0)
        die(device);
    return fd;
}

/* 0 … 1, from a fixed start: what a test sees once it sees again. */
static double random_part(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) / 9007199254740992.0;
}

static void take(struct direction *d, const unsigned char *data, size_t len)
{
    int64_t now = now_ns(), due;
    struct frame *f;

    if (d->sent_ns < now)
        d->sent_ns = now;
    if (d->drop || random_part() * 100 < d->loss_percent || d->sent_ns - now > 1000000000 ||
        d->queued + len > QUEUE_MAX) {
        d->dropped++;
        return;
    }
    f = malloc(sizeof(*f) + len);
    if (!f)
        die("memory");
    if (d->rate_kbit > 0)
        d->sent_ns += (int64_t)((double)len * 8e6 / d->rate_kbit);
    due = d->sent_ns + (int64_t)((d->delay_ms + random_part() * d->jitter_ms) * 1e6);
    if (due < d->last_due)
        due = d->last_due;
    d->last_due = f->due_ns = due;
    f->next = NULL;
    f->len = len;
    memcpy(f->data, data, len);
    *d->end = f;
    d->end = &f->next;
    d->queued += len;
}

/* Takes a bounded number at once, so that the other direction and settings get their turn. */
static void receive(struct direction *d)
{
    static unsigned char data[FRAME_MAX];
    ssize_t n;

    for (int i = 0; i < 64 && (n = read(d->from, data, sizeof(data))) > 0; i++)
        take(d, data, (size_t)n);
}

/* Sends what is due. Returns when the next one is, or INT64_MAX. */
static int64_t forward(struct direction *d)
{
    int64_t now = now_ns();
    struct frame *f;

    while ((f = d->first) != NULL && f->due_ns <= now) {
        /* A device that is down or full loses frames, and a cable that is cut loses those in it. */
        if (!d->drop && write(d->to, f->data, f->len) == (ssize_t)f->len)
            d->passed++;
        else
            d->dropped++;
        d->queued -= f->len;
        d->first = f->next;
        if (!d->first)
            d->end = &d->first;
        free(f);
    }
    return d->first ? d->first->due_ns : INT64_MAX;
}

/* --- settings --- */

static int set_number(struct direction *d, const char *key, size_t len, const char *value)
{
    static const struct {
        const char *key;
        size_t offset;
    } fields[] = {
        { "delay", offsetof(struct direction, delay_ms) },
        { "jitter", offsetof(struct direction, jitter_ms) },
        { "loss", offsetof(struct direction, loss_percent) },
        { "rate", offsetof(struct direction, rate_kbit) },
    };
    char *end;
    double n = strtod(value, &end);

    if (end == value || *end || !(n >= 0) || n > 1e9)
        return -1;
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        if (strlen(fields[i].key) == len && !memcmp(fields[i].key, key, len)) {
            memcpy((char *)d + fields[i].offset, &n, sizeof(n));
            return 0;
        }
    return -1;
}

static int set_drop(struct direction d[], const char *value)
{
    int both = !strcmp(value, "both"), out = !strcmp(value, "out"), in = !strcmp(value, "in");

    if (!both && !out && !in && strcmp(value, "none"))
        return -1;
    d[OUT].drop = out || both;
    d[IN].drop = in || both;
    return 0;
}

static int set(struct direction d[], const char *word)
{
    const char *equals = strchr(word, '=');
    int first = OUT, last = IN;

    if (!equals)
        return -1;
    if (!strncmp(word, "drop=", 5))
        return set_drop(d, equals + 1);
    if (!strncmp(word, "out.", 4)) {
        last = OUT;
        word += 4;
    } else if (!strncmp(word, "in.", 3)) {
        first = IN;
        word += 3;
    }
    for (int i = first; i <= last; i++)
        if (set_number(&d[i], word, (size_t)(equals - word), equals + 1) < 0)
            return -1;
    return 0;
}

/* One line of settings, one line as answer. Who connects is our own test: it writes at once. */
static void serve(int listener, struct direction d[])
{
    char line[1024], answer[1200], *save = NULL;
    struct timeval limit = { .tv_sec = 1 };
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), len;
    ssize_t n;

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    n = recv(fd, line, sizeof(line) - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    len = 0;
    for (char *w = strtok_r(line, " \n", &save); w && !len; w = strtok_r(NULL, " \n", &save))
        if (set(d, w) < 0)
            len = snprintf(answer, sizeof(answer), "bad setting: %s\n", w);
    if (!len)
        len = snprintf(answer, sizeof(answer),
                       "out %lu passed %lu dropped, in %lu passed %lu dropped\n", d[OUT].passed,
                       d[OUT].dropped, d[IN].passed, d[IN].dropped);
    if (send(fd, answer, (size_t)len, MSG_NOSIGNAL) < 0)
        fprintf(stderr, "link: answer: %s\n", strerror(errno));
    close(fd);
}

static void address(struct sockaddr_un *a, const char *path)
{
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(a->sun_path)) {
        errno = ENAMETOOLONG;
        die(path);
    }
    snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
}

static void loop(int listener, struct direction d[])
{
    struct pollfd p[] = { { d[OUT].from, POLLIN, 0 },
                          { d[IN].from, POLLIN, 0 },
                          { listener, POLLIN, 0 } };

    for (;;) {
        int64_t out = forward(&d[OUT]), in = forward(&d[IN]);
        int64_t wait = (out < in ? out : in) - now_ns();
        struct timespec t;

        if (wait < 0)
            wait = 0;
        t.tv_sec = wait > 3600000000000 ? 3600 : wait / 1000000000;
        t.tv_nsec = wait % 1000000000;
        if (ppoll(p, 3, &t, NULL) < 0 && errno != EINTR)
            die("poll");
        /* A TAP that is down says POLLERR for ever; without this, that would be a busy loop. */
        if ((p[OUT].revents | p[IN].revents) & POLLERR)
            poll(NULL, 0, 10);
        receive(&d[OUT]);
        receive(&d[IN]);
        if (p[2].revents)
            serve(listener, d);
    }
}

static int relay(const char *a, const char *b, const char *path)
{
    struct direction d[DIRECTIONS];
    struct sockaddr_un where;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), null;
    pid_t pid;

    memset(d, 0, sizeof(d));
    d[OUT].from = d[IN].to = open_tap(a);
    d[OUT].to = d[IN].from = open_tap(b);
    d[OUT].end = &d[OUT].first;
    d[IN].end = &d[IN].first;
    address(&where, path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&where, sizeof(where)) < 0 ||
        listen(listener, 8) < 0)
        die(path);
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid > 0) {
        printf("%ld\n", (long)pid);
        return fflush(stdout) != 0;
    }
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    setsid();
    loop(listener, d);
    return 0;
}

static int ask(const char *path, char **words)
{
    char line[1024] = "", answer[1200];
    struct sockaddr_un where;
    size_t len = 0;
    ssize_t n;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    for (; *words; words++) {
        int more = snprintf(line + len, sizeof(line) - len, "%s ", *words);

        if (more < 0 || (size_t)more >= sizeof(line) - len - 1) {
            fputs("link: too many settings\n", stderr);
            return 2;
        }
        len += (size_t)more;
    }
    line[len++] = '\n';
    address(&where, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&where, sizeof(where)) < 0 ||
        send(fd, line, len, 0) < 0)
        die(path);
    n = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
    if (n <= 0)
        die("no answer");
    answer[n] = '\0';
    if (strncmp(answer, "out ", 4)) {
        fprintf(stderr, "link: %s", answer);
        return 2;
    }
    fputs(answer, stdout);
    return 0;
}

/* --- rtt --- */

static int rtt(const char *host, const char *port, int timeout_ms)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV },
                    *a;
    struct pollfd p = { .events = POLLOUT };
    int64_t start = now_ns();
    int error = 0;
    socklen_t len = sizeof(error);

    if (getaddrinfo(host, port, &hints, &a) != 0) {
        fprintf(stderr, "link: not an address: %s port %s\n", host, port);
        return 2;
    }
    p.fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(p.fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
        die(host);
    freeaddrinfo(a);
    if (poll(&p, 1, timeout_ms) != 1) {
        fprintf(stderr, "link: no answer within %d ms\n", timeout_ms);
        return 1;
    }
    getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error && error != ECONNREFUSED) {
        errno = error;
        die(host);
    }
    printf("%.1f\n", (double)(now_ns() - start) / 1e6);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "relay"))
        return relay(argv[2], argv[3], argv[4]);
    if (argc >= 3 && !strcmp(argv[1], "set"))
        return ask(argv[2], argv + 3);
    if (argc == 5 && !strcmp(argv[1], "rtt"))
        return rtt(argv[2], argv[3], (int)strtol(argv[4], NULL, 10));
    fputs("usage: link relay DEVICE-A DEVICE-B SOCKET | set SOCKET [SETTING…] | rtt ADDRESS PORT "
          "TIMEOUT-MS\n",
          stderr);
    return 2;
}
