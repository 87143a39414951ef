/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests/bench/run can't measure with a shell. Needs the C library alone.
 *
 *   measure spawn COUNT SLOTS PROGRAM [ARGUMENT…]   the raw limit: posix_spawn and wait, SLOTS at once
 *   measure each COUNT PROGRAM [ARGUMENT…]          one after the other
 *   measure http SOCKET COUNT METHOD PATH [FILE]    requests over a Unix socket, a connection each
 *   measure sync FOLDER COUNT                       fdatasync after 32 KiB, as a commit of hive's does
 *
 * Each prints one line: SECONDS CPU-SECONDS P50-MS P95-MS MAX-MS, times of single calls being those
 * from start to end. The programs' output is thrown away. `http` shows the last answer's body on
 * standard error if its status isn't 200.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct series {
    double begin, end;
    double *ms;
    size_t count, max;
};

static void die(const char *what)
{
    fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static size_t number(const char *text, const char *what)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*end != '\0' || n < 1 || n > 100000000) {
        fprintf(stderr, "measure: %s: expected a number, got '%s'\n", what, text);
        exit(2);
    }
    return (size_t)n;
}

static void series_begin(struct series *s, size_t max)
{
    s->ms = calloc(max, sizeof *s->ms);
    if (!s->ms)
        die("memory");
    s->max = max;
    s->count = 0;
    s->begin = now_s();
}

static void series_add(struct series *s, double since)
{
    if (s->count < s->max)
        s->ms[s->count++] = (now_s() - since) * 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void series_print(struct series *s)
{
    s->end = now_s();
    if (s->count > 1)
        qsort(s->ms, s->count, sizeof *s->ms, compare);
    printf("%.6f %.6f %.4f %.4f %.4f\n", s->end - s->begin,
           cpu_s(RUSAGE_SELF) + cpu_s(RUSAGE_CHILDREN), s->count ? s->ms[s->count / 2] : 0,
           s->count ? s->ms[s->count * 95 / 100] : 0, s->count ? s->ms[s->count - 1] : 0);
    free(s->ms);
}

/* --- programs -------------------------------------------------------------------------------- */

static pid_t start(char **argv, posix_spawn_file_actions_t *to_null)
{
    pid_t pid;
    int sys = posix_spawnp(&pid, argv[0], to_null, NULL, argv, environ);

    if (sys != 0) {
        errno = sys;
        die(argv[0]);
    }
    return pid;
}

static int finish(void)
{
    int status;

    while (wait(&status) < 0)
        if (errno != EINTR)
            die("wait");
    return status;
}

static void spawn_many(size_t count, size_t slots, char **argv, struct series *s)
{
    posix_spawn_file_actions_t to_null;
    size_t running = 0, failed = 0;

    posix_spawn_file_actions_init(&to_null);
    posix_spawn_file_actions_addopen(&to_null, 1, "/dev/null", O_WRONLY, 0);
    series_begin(s, slots == 1 ? count : 1);
    for (size_t started = 0, done = 0; done < count; done++) {
        double since = now_s();
        for (; running < slots && started < count; running++, started++)
            start(argv, &to_null);
        if (finish() != 0)
            failed++;
        running--;
        series_add(s, since);
    }
    series_print(s);
    posix_spawn_file_actions_destroy(&to_null);
    if (failed > 0) {
        fprintf(stderr, "measure: %zu of %zu calls of %s failed\n", failed, count, argv[0]);
        exit(1);
    }
}

/* --- requests -------------------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *data;
    size_t got = 0;
    ssize_t n = 1;

    if (fd < 0 || fstat(fd, &st) != 0)
        die(path);
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        die("memory");
    while (n > 0 && got < (size_t)st.st_size) {
        n = read(fd, data + got, (size_t)st.st_size - got);
        if (n > 0)
            got += (size_t)n;
    }
    close(fd);
    *len = got;
    return data;
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0)
            die("send");
        data += n;
        len -= (size_t)n;
    }
}

static int connect_to(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        die(path);
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die(path);
    return fd;
}

/* One request; the server closes after its answer. False when the status isn't 200. */
static int request(const char *path, const char *head, size_t head_len, const char *body,
                   size_t len)
{
    static char answer[1 << 16];
    size_t got = 0;
    ssize_t n;
    int fd = connect_to(path);

    send_all(fd, head, head_len);
    send_all(fd, body, len);
    do {
        n = recv(fd, answer + got, sizeof answer - 1 - got, 0);
        if (n > 0 && got < sizeof answer / 2)
            got += (size_t)n; /* of a long answer only the beginning is kept */
    } while (n > 0);
    close(fd);
    answer[got] = '\0';
    if (strncmp(answer, "HTTP/1.1 200", 12) == 0)
        return 1;
    fprintf(stderr, "measure: %s\n", answer);
    return 0;
}

static int http(const char *sock, size_t count, const char *method, const char *path,
                const char *file)
{
    struct series s;
    size_t len = 0;
    char *body = file ? read_file(file, &len) : NULL;
    char head[2048];
    int ok = 1;
    int head_len = snprintf(head, sizeof head,
                            "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s"
                            "Content-Length: %zu\r\n\r\n",
                            method, path, file ? "Content-Type: application/json\r\n" : "", len);

    series_begin(&s, count);
    for (size_t i = 0; ok && i < count; i++) {
        double since = now_s();
        ok = request(sock, head, (size_t)head_len, body ? body : "", len);
        series_add(&s, since);
    }
    series_print(&s);
    free(body);
    return ok ? 0 : 1;
}

/* --- the disk -------------------------------------------------------------------------------- */

#define CHUNK 32768
#define CHUNKS 128

static void sync_many(const char *folder, size_t count)
{
    static char data[CHUNK];
    struct series s;
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/measure-sync", folder);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    unlink(path);
    for (int i = 0; i < CHUNKS; i++)
        if (pwrite(fd, data, CHUNK, (off_t)i * CHUNK) != CHUNK)
            die("write");
    if (fsync(fd) != 0)
        die("fsync");
    series_begin(&s, count);
    for (size_t i = 0; i < count; i++) {
        double since = now_s();
        data[0]++;
        if (pwrite(fd, data, CHUNK, (off_t)(i % CHUNKS) * CHUNK) != CHUNK || fdatasync(fd) != 0)
            die("fdatasync");
        series_add(&s, since);
    }
    series_print(&s);
    close(fd);
}

int main(int argc, char **argv)
{
    struct series s;

    if (argc >= 5 && strcmp(argv[1], "spawn") == 0) {
        spawn_many(number(argv[2], "COUNT"), number(argv[3], "SLOTS"), argv + 4, &s);
        return 0;
    }
    if (argc >= 4 && strcmp(argv[1], "each") == 0) {
        spawn_many(number(argv[2], "COUNT"), 1, argv + 3, &s);
        return 0;
    }
    if ((argc == 6 || argc == 7) && strcmp(argv[1], "http") == 0)
        return http(argv[2], number(argv[3], "COUNT"), argv[4], argv[5],
                    argc == 7 ? argv[6] : NULL);
    if (argc == 4 && strcmp(argv[1], "sync") == 0) {
        sync_many(argv[2], number(argv[3], "COUNT"));
        return 0;
    }
    fputs("measure: see the head of measure.c\n", stderr);
    return 2;
}
