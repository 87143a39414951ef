/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a command many times over a link process that is there, as a program does that keeps its
 * connection to it: for tests/bench/reach.
 *
 *   execs RUNTIME HOST COUNT AT-ONCE COMMAND
 *
 * Prints a line as tests/bench/measure does: SECONDS CPU-SECONDS P50-MS P95-MS MAX-MS; the CPU time
 * is this process's own. A command that fails ends it with status 1.
 */
#include "base/mem.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_link_client.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define AT_ONCE_MAX 64

struct series {
    struct ev_loop *loop;
    struct ssh_link_client *link;
    const char *command;
    int fds[3];
    int64_t *took_ns;
    uint64_t count, begun, ended;
    bool failed;
};

struct place {
    struct series *series;
    struct ssh_link_run *run;
    int64_t since_ns;
};

static int64_t now_ns(void)
{
    return clock_mono_ns(&clock_system);
}

static void give_up(struct series *s, const struct err *err)
{
    if (!s->failed)
        fprintf(stderr, "execs: %s\n", err->msg);
    s->failed = true;
    ev_stop(s->loop);
}

static void on_event(struct ssh_link_run *run, unsigned event, void *arg);

static void begin(struct place *p)
{
    struct series *s = p->series;
    struct err err = ERR_INIT;

    if (s->begun == s->count)
        return;
    s->begun++;
    p->since_ns = now_ns();
    p->run = ssh_link_client_exec(s->link, s->command, s->fds, -1, on_event, p, &err);
    if (!p->run)
        give_up(s, &err);
}

static void on_event(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct place *p = arg;
    struct series *s = p->series;
    const struct ssh_link_result *r = ssh_link_run_result(run);
    struct err err = ERR_INIT;

    if (event != SSH_LINK_EV_ENDED)
        return;
    s->took_ns[s->ended++] = now_ns() - p->since_ns;
    if (r->end != SSH_LINK_CODE || r->code != 0) {
        err_set(&err, ERR_UNAVAILABLE, "the command failed: %s",
                r->end == SSH_LINK_FAILED ? r->err.msg : "its status is not 0");
        give_up(s, &err);
        return;
    }
    ssh_link_run_close(run);
    p->run = NULL;
    if (s->ended == s->count)
        ev_stop(s->loop);
    else
        begin(p);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void print(struct series *s, int64_t since_ns)
{
    double all = (double)(now_ns() - since_ns) / 1e9;
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    qsort(s->took_ns, s->count, sizeof *s->took_ns, compare);
    printf("%.6f %.6f %.4f %.4f %.4f\n", all, seconds(u.ru_utime) + seconds(u.ru_stime),
           (double)s->took_ns[s->count / 2] / 1e6, (double)s->took_ns[s->count * 95 / 100] / 1e6,
           (double)s->took_ns[s->count - 1] / 1e6);
}

static int read_numbers(char **argv, int64_t *count, int64_t *at_once, struct err *err)
{
    if (str_to_int(argv[3], 1, 1000000, "COUNT", count, err) != 0)
        return -1;
    return str_to_int(argv[4], 1, AT_ONCE_MAX, "AT-ONCE", at_once, err);
}

/* False: with an error, or it was told already. */
static bool run_all(struct series *s, int64_t at_once, struct err *err)
{
    struct place places[AT_ONCE_MAX] = { 0 };
    int64_t since_ns = now_ns();
    bool ran;

    for (int64_t i = 0; i < at_once; i++) {
        places[i].series = s;
        begin(&places[i]);
    }
    ran = ev_run(s->loop, err) == 0;
    if (ran && !s->failed)
        print(s, since_ns);
    for (int64_t i = 0; i < at_once; i++)
        ssh_link_run_close(places[i].run);
    return ran && !s->failed;
}

int main(int argc, char **argv)
{
    struct ssh_link_client_options o = { .runtime_dir = argv[1], .word = argv[2] };
    struct series s = { 0 };
    struct err err = ERR_INIT;
    int64_t at_once, count;
    bool done = false;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (argc != 6 || null < 0) {
        fprintf(stderr, "execs RUNTIME HOST COUNT AT-ONCE COMMAND\n");
        return 2;
    }
    if (read_numbers(argv, &count, &at_once, &err) == 0) {
        s.count = (uint64_t)count;
        s.command = argv[5];
        s.took_ns = mem_alloc_array(s.count, sizeof *s.took_ns);
        s.fds[0] = s.fds[1] = s.fds[2] = null;
        s.loop = ev_loop_create(&clock_system, &err);
        s.link = s.loop ? ssh_link_client_open(s.loop, &o, &err) : NULL;
        done = s.link && run_all(&s, at_once, &err);
    }
    if (err.kind != ERR_NONE)
        fprintf(stderr, "execs: %s\n", err.msg);
    ssh_link_client_destroy(s.link);
    ev_loop_destroy(s.loop);
    free(s.took_ns);
    close(null);
    return done ? 0 : 1;
}
