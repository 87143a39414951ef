/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 at random moments, under a stream of submits and cancels.
 *
 *   kill9 [--kills N] [--seed S] [--starters] HIVE
 *
 * Starts the daemon, lets several clients submit jobs (work.h) with idempotency keys, kills it 0 to 60 ms after it
 * got ready (now and then before), starts it again, N times. A client that lost its connection sends the same request
 * with the same key again. In the end every acknowledged job must have come to its one right end, having run as often
 * as it should, exactly once in most cases; the daemon must not know of any other job; no process may be left.
 *
 * With --starters the processes that start jobs are killed too (spawner, shims; alone, and together with the daemon).
 * Then a job may also be "lost", but still neither run twice nor end with a result that isn't its own, and what it
 * had started must be gone.
 */
#include "faults/client.h"
#include "faults/work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 6
#define BACKLOG 120 /* lines of the log that may be missing before no more is submitted */
#define READY_MS 30000
#define DRAIN_MS 180000
#define LEFT_MS 20000

/* A client works through one thing at a time. */
struct actor {
    struct client client;
    bool busy;
    bool cancels; /* else it submits */
    size_t what;  /* job or request */
    bool resend;  /* the connection was lost before the answer */
};

struct test {
    struct work work;
    struct actor actors[CLIENTS];
    char dir[128], socket[160];
    const char *hive;
    char **env;
    pid_t daemon;
    int ready_fd;
    bool starters;
    size_t next_cancel; /* jobs before it are settled */
    long kills, early_kills, starter_kills, lost_answers;
    int failed;
};

static int64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void die(const struct test *t, const char *what)
{
    char command[256];
    printf("Bail out! %s (errno: %s); files are in %s\n", what, strerror(errno), t->dir);
    fflush(stdout);
    snprintf(command, sizeof(command), "%s/daemon.log", t->dir);
    FILE *f = fopen(command, "re");
    if (f && fseek(f, -2000, SEEK_END) != 0)
        rewind(f);
    for (char line[512]; f && fgets(line, sizeof(line), f);)
        printf("# daemon: %s", line);
    exit(1);
}

/* ---- the daemon ---- */

static void start_daemon(struct test *t)
{
    const char *const argv[] = { t->hive, "daemon",     "--listen", "none", "--threads",
                                 "16",    "--ready-fd", "9",        NULL };
    char log[160];
    posix_spawn_file_actions_t fa;
    int pair[2];

    if (pipe2(pair, O_CLOEXEC) != 0)
        die(t, "no pipe");
    snprintf(log, sizeof(log), "%s/daemon.log", t->dir);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&fa, 2, 1);
    posix_spawn_file_actions_adddup2(&fa, pair[1], 9);
    if (posix_spawn(&t->daemon, t->hive, &fa, NULL, (char *const *)(uintptr_t)argv, t->env) != 0)
        die(t, "the daemon can't be started");
    posix_spawn_file_actions_destroy(&fa);
    close(pair[1]);
    t->ready_fd = pair[0];
}

/* False when the time is over before it is ready. */
static bool wait_ready(struct test *t, int64_t until_us)
{
    struct pollfd p = { .fd = t->ready_fd, .events = POLLIN };
    char byte;
    for (;;) {
        int64_t left = until_us - now_us();
        if (left <= 0)
            return false;
        if (poll(&p, 1, (int)(left / 1000 + 1)) <= 0)
            continue;
        if (read(t->ready_fd, &byte, 1) == 1)
            return true;
        die(t, "the daemon ended by itself at its start");
    }
}

static void drop_connections(struct test *t)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        struct actor *a = &t->actors[i];
        if (a->busy && !a->resend)
            t->lost_answers++;
        a->resend = a->busy;
        client_close(&a->client);
    }
}

static void end_daemon(struct test *t, int signo)
{
    int status;
    if (kill(t->daemon, signo) != 0 || waitpid(t->daemon, &status, 0) != t->daemon)
        die(t, "the daemon can't be ended");
    if (signo == SIGKILL ? !WIFSIGNALED(status) : !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        printf("# status %#x after signal %d\n", (unsigned)status, signo);
        die(t, "the daemon ended by itself");
    }
    close(t->ready_fd);
    t->daemon = 0;
    drop_connections(t);
}

/* ---- clients ---- */

static bool find_cancel(struct test *t, size_t *job)
{
    struct work *w = &t->work;
    for (size_t i = t->next_cancel; i < w->job_count; i++) {
        struct job *j = &w->jobs[i];
        if (j->cancel_wanted && !j->cancel_sent && j->id) {
            *job = i;
            return true;
        }
        if (i == t->next_cancel && j->id && (!j->cancel_wanted || j->cancel_sent))
            t->next_cancel++;
    }
    return false;
}

static bool choose(struct test *t, struct actor *a, bool more)
{
    a->cancels = work_random(&t->work, 3) == 0 && find_cancel(t, &a->what);
    if (a->cancels) {
        t->work.jobs[a->what].cancel_sent = true;
        return true;
    }
    if (!more)
        return find_cancel(t, &a->what) ? choose(t, a, more) : false;
    a->what = work_new_request(&t->work);
    return true;
}

static void send_what(struct test *t, struct actor *a)
{
    char key[32], target[64];
    if (a->cancels) {
        snprintf(target, sizeof(target), "/jobs/%" PRId64 "/cancel", t->work.jobs[a->what].id);
        client_send(&a->client, "POST", target, NULL, "{}");
        return;
    }
    char *body = work_request_body(&t->work, a->what);
    work_request_key(&t->work, a->what, key);
    client_send(&a->client, "POST", work_request_target(&t->work, a->what), key, body);
    free(body);
}

static void on_answer(struct test *t, struct actor *a)
{
    const struct client *c = &a->client;
    /* 409: it had ended by then, or the cancel came through the first time */
    bool good = a->cancels ? c->status == 200 || c->status == 409
                           : c->status == 200 && work_acked(&t->work, a->what, c->body);
    if (!good) {
        printf("# %s %zu: HTTP %d %s\n", a->cancels ? "cancel of job" : "request", a->what,
               c->status, c->body);
        die(t, "an unexpected answer");
    }
    a->busy = a->resend = false;
}

/* Lets clients do what they can now. `more`: they may make up new work. */
static void act(struct test *t, struct actor *a, bool more)
{
    if (!a->busy) {
        if (!choose(t, a, more))
            return;
        a->busy = true;
        a->resend = true; /* until sent */
    }
    if (a->client.fd < 0 && !client_open(&a->client, t->socket))
        return;
    if (a->resend) {
        a->resend = false;
        send_what(t, a);
    }
    if (a->client.fd < 0) {
        a->resend = true;
        return;
    }
    int got = client_poll(&a->client);
    if (got < 0)
        a->resend = true;
    else if (got > 0)
        on_answer(t, a);
}

/* Until then, or (`drain`) until nobody has anything to do. False: time over. */
static bool serve(struct test *t, int64_t until_us, bool more)
{
    size_t job;

    for (;;) {
        struct pollfd p[CLIENTS];
        bool room = more && t->work.lines - work_lines(&t->work) < BACKLOG, busy = false;
        for (size_t i = 0; i < CLIENTS; i++) {
            act(t, &t->actors[i], room);
            busy |= t->actors[i].busy;
            p[i] = (struct pollfd){ .fd = t->actors[i].client.fd, .events = POLLIN };
        }
        if (!more && !busy && !find_cancel(t, &job))
            return true;
        int64_t left = until_us - now_us();
        if (left <= 0)
            return false;
        struct timespec ts = { 0, left > 2000000 ? 2000000 : (long)left * 1000 };
        if (ts.tv_nsec > 2000000)
            ts.tv_nsec = 2000000;
        ppoll(p, CLIENTS, &ts, NULL);
    }
}

/* ---- processes ---- */

static bool file_has(pid_t pid, const char *file, const char *text)
{
    char path[64], data[65536];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, data, sizeof(data)) : 0;
    if (fd >= 0)
        close(fd);
    return n > 0 && memmem(data, (size_t)n, text, strlen(text)) != NULL;
}

/* Processes of this test (its folder's name is in their environment or arguments), at most max. `comm`: only those
 * with this name, or NULL. */
static size_t find_processes(struct test *t, const char *comm, pid_t *pids, size_t max)
{
    DIR *dir = opendir("/proc");
    size_t n = 0;
    for (struct dirent *e; dir && n < max && (e = readdir(dir)) != NULL;) {
        pid_t pid = (pid_t)atoi(e->d_name);
        if (pid <= 0 || pid == getpid() || (comm && !file_has(pid, "comm", comm)))
            continue;
        if (file_has(pid, "environ", t->dir) || file_has(pid, "cmdline", t->dir))
            pids[n++] = pid;
    }
    closedir(dir);
    return n;
}

/* Between fork and exec a job has the name of its shim, and its death is that of the job. */
static bool is_job(pid_t pid)
{
    char path[64], data[256] = "", *p;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(data, 1, sizeof(data) - 1, f) : 0;
    if (f)
        fclose(f);
    p = n ? strrchr(data, ')') : NULL;
    return p && strlen(p) > 4 && file_has((pid_t)atoi(p + 4), "comm", "hive-shim");
}

static void kill_some(struct test *t, const char *comm, bool all)
{
    pid_t found[64], pids[64];
    size_t n = 0, count = find_processes(t, comm, found, 64);
    for (size_t i = 0; i < count; i++)
        if (!is_job(found[i]))
            pids[n++] = found[i];
    for (size_t i = 0; i < n; i++) {
        if (!all)
            i = work_random(&t->work, (uint32_t)n);
        if (kill(pids[i], SIGKILL) == 0)
            t->starter_kills++;
        if (!all)
            return;
    }
}

/* ---- the test ---- */

static void round_of_kills(struct test *t)
{
    uint32_t how = t->starters ? work_random(&t->work, 10) : 9;
    bool early = how == 9 && work_random(&t->work, 7) == 0;
    int64_t at;

    if (!t->daemon) {
        start_daemon(t);
        at = now_us() + work_random(&t->work, 15000);
        if (early && !wait_ready(t, at)) {
            t->early_kills++;
            t->kills++;
            end_daemon(t, SIGKILL);
            return;
        }
        if (!early && !wait_ready(t, now_us() + READY_MS * INT64_C(1000)))
            die(t, "the daemon did not get ready in time");
    }
    serve(t, now_us() + work_random(&t->work, 60000), true);
    if (how <= 3)
        kill_some(t, "hive-shim", false);
    else if (how == 4)
        kill_some(t, "hive-spawner", true);
    else if (how == 5)
        kill_some(t, "hive-shim", true);
    if (how < 6)
        return;
    t->kills++;
    /* Together: who goes first is chance. */
    if (how == 6)
        kill_some(t, "hive-shim", work_random(&t->work, 2));
    kill(t->daemon, SIGKILL);
    if (how == 7)
        kill_some(t, "hive-shim", work_random(&t->work, 2));
    end_daemon(t, SIGKILL);
}

static int64_t count_live(struct test *t)
{
    char *body = NULL, *q = NULL, *r = NULL;
    int64_t n = -1;
    if (client_call(t->socket, "GET", "/jobs?limit=1", &body) == 200) {
        q = strstr(body, "\"counts\":");
        r = q ? strstr(q, "\"running\":") : NULL;
        q = q ? strstr(q, "\"queued\":") : NULL;
        if (q && r)
            n = strtoll(q + 9, NULL, 10) + strtoll(r + 10, NULL, 10);
    }
    free(body);
    return n;
}

static void ok(struct test *t, bool good, int number, const char *name)
{
    printf("%sok %d - %s\n", good ? "" : "not ", number, name);
    fflush(stdout);
    t->failed += !good;
}

static bool nothing_left(struct test *t, bool jobs_only)
{
    int64_t end = now_us() + LEFT_MS * INT64_C(1000);
    pid_t pids[8];
    char what[128] = "";
    size_t n;
    do {
        n = find_processes(t, jobs_only ? "kill9" : NULL, pids, 8);
        if (n)
            poll(NULL, 0, 50);
    } while (n && now_us() < end);
    for (size_t i = 0; i < n; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pids[i]);
        FILE *f = fopen(path, "re");
        size_t len = f ? fread(what, 1, sizeof(what) - 1, f) : 0;
        for (size_t k = 0; k < len; k++)
            what[k] = what[k] ? what[k] : ' ';
        what[len] = '\0';
        if (f)
            fclose(f);
        printf("# left: process %d: %s\n", (int)pids[i], what);
    }
    return n == 0;
}

static void finish(struct test *t)
{
    int64_t end = now_us() + DRAIN_MS * INT64_C(1000);
    int64_t live;

    if (!t->daemon) {
        start_daemon(t);
        if (!wait_ready(t, now_us() + READY_MS * INT64_C(1000)))
            die(t, "the daemon did not get ready in time");
    }
    ok(t, serve(t, end, false), 1, "every request is acknowledged in the end");
    while ((live = count_live(t)) != 0 && now_us() < end)
        poll(NULL, 0, 100);
    if (live)
        printf("# %" PRId64 " jobs have not ended\n", live);
    ok(t, live == 0, 2, "every job ends");
    work_check(&t->work, t->socket);
    ok(t, t->work.wrong == 0, 3,
       t->starters ? "no job ran twice or has a result that isn't its own"
                   : "no job was lost, ran twice, or has a wrong exit code");
    ok(t, nothing_left(t, true), 4, "no process of a job is left");
    end_daemon(t, SIGTERM);
    ok(t, nothing_left(t, false), 5, "no process is left after the daemon's end");
    work_summary(&t->work);
    printf("# seed %s: %ld kills of the daemon (%ld before it was ready), %ld of starters, %ld "
           "answers lost\n",
           getenv("SEED_SAID"), t->kills, t->early_kills, t->starter_kills, t->lost_answers);
}

static char **make_env(const char *dir)
{
    char **env = calloc(5, sizeof(*env));
    if (!env || asprintf(&env[0], "HIVE_STATE_DIR=%s/state", dir) < 0 ||
        asprintf(&env[1], "HIVE_RUNTIME_DIR=%s/run", dir) < 0 ||
        asprintf(&env[2], "HIVE_CONFIG=%s/conf", dir) < 0 ||
        asprintf(&env[3], "PATH=/usr/bin:/bin") < 0)
        abort();
    return env;
}

static void remove_tree(const char *dir)
{
    const char *const argv[] = { "rm", "-rf", dir, NULL };
    pid_t pid;
    if (posix_spawnp(&pid, "rm", NULL, NULL, (char *const *)(uintptr_t)argv, environ) == 0)
        waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    static struct test t;
    long rounds = 1000;
    uint64_t seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    char said[32], self[4096] = "";
    const char *tmp = getenv("TMPDIR");

    if (argc > 1 && strcmp(argv[1], "job") == 0)
        return work_job_main(argc, argv);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
            rounds = atol(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--starters") == 0)
            t.starters = true;
        else
            t.hive = argv[i];
    }
    if (!t.hive || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) {
        fprintf(stderr, "usage: kill9 [--kills N] [--seed S] [--starters] HIVE\n");
        return 2;
    }
    snprintf(said, sizeof(said), "%" PRIu64, seed);
    setenv("SEED_SAID", said, 1);
    printf("# seed %s\n", said);
    snprintf(t.dir, sizeof(t.dir), "%s/hive-kill9.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(t.dir))
        die(&t, "no folder for the test");
    snprintf(t.socket, sizeof(t.socket), "%s/run/hive.sock", t.dir);
    t.env = make_env(t.dir);
    t.work = (struct work){ .dir = t.dir, .self = self, .seed = seed, .lost_allowed = t.starters };
    for (size_t i = 0; i < CLIENTS; i++)
        t.actors[i].client.fd = -1;
    for (long i = 0; i < rounds; i++)
        round_of_kills(&t);
    finish(&t);
    printf("1..5\n");
    if (t.failed)
        printf("# files are in %s\n", t.dir);
    else
        remove_tree(t.dir);
    return t.failed != 0;
}
