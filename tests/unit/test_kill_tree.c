/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Killing what doesn't want to be killed. Every hostile process inherits the writing end of a pipe,
 * so the reading end tells for sure when none is left. All of them give up by themselves after
 * GIVE_UP_S or FORK_MAX forks, so that a failing test takes no machine down.
 */
#include "unit/unit.h"

#include "base/clock.h"
#include "sys/kill_tree.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP_S 15
#define FORK_MAX 200000
#define BOMB_MAX 200
#define NOBODY 65534

/* Shared by all processes of a test. */
struct arena {
    int64_t give_up_ns;
    atomic_int forks;
    atomic_int running; /* how many came to where they do harm */
};

static int64_t now(void)
{
    return clock_mono_ns(&clock_system);
}

static void nap(int64_t ns)
{
    nanosleep(&(struct timespec){ 0, (long)ns }, NULL);
}

static bool may_go_on(struct arena *a)
{
    return now() < a->give_up_ns && atomic_fetch_add(&a->forks, 1) < FORK_MAX;
}

static void wait_for_the_end(struct arena *a)
{
    while (now() < a->give_up_ns)
        nap(20 * NS_PER_MS);
    _exit(0);
}

static void ignore_all(void)
{
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP && s != SIGCHLD)
            signal(s, SIG_IGN);
}

/* Each process lives just long enough to make the next. */
static void chain(struct arena *a)
{
    while (may_go_on(a)) {
        pid_t pid = fork();
        if (pid > 0)
            _exit(0);
        setsid();
        atomic_fetch_add(&a->running, 1);
    }
    _exit(0);
}

static void several_chains(struct arena *a)
{
    for (int i = 0; i < 3; i++)
        if (fork() == 0)
            chain(a);
    chain(a);
}

/* The classical double fork, again and again, the parent staying for a moment. */
static void daemonise(struct arena *a)
{
    while (may_go_on(a)) {
        pid_t pid = fork();
        if (pid > 0) {
            waitpid(pid, NULL, 0);
            nap(NS_PER_MS);
            _exit(0);
        }
        setsid();
        pid = fork();
        if (pid > 0)
            _exit(0);
        atomic_fetch_add(&a->running, 1);
    }
    _exit(0);
}

static void bomb(struct arena *a)
{
    ignore_all();
    for (;;) {
        if (now() > a->give_up_ns)
            _exit(0);
        if (atomic_fetch_add(&a->forks, 1) >= BOMB_MAX) {
            nap(2 * NS_PER_MS);
        } else if (fork() == 0) {
            setsid();
            atomic_fetch_add(&a->running, 1);
        }
    }
}

/* A chain of parents that wait for their children, each in a session of its own. */
static void deep(struct arena *a)
{
    ignore_all();
    for (int i = 0; i < 60; i++) {
        setsid();
        pid_t pid = fork();
        if (pid != 0) {
            atomic_fetch_add(&a->running, 1);
            wait_for_the_end(a);
        }
    }
    wait_for_the_end(a);
}

static void stopped(struct arena *a)
{
    for (int i = 0; i < 20; i++) {
        if (fork() == 0) {
            setsid();
            atomic_fetch_add(&a->running, 1);
            raise(SIGSTOP);
            wait_for_the_end(a);
        }
    }
    atomic_fetch_add(&a->running, 1);
    raise(SIGSTOP);
    wait_for_the_end(a);
}

static void *thread_forks(void *arg)
{
    struct arena *a = arg;

    for (int i = 0; i < 5; i++) {
        if (fork() == 0) {
            setsid();
            ignore_all();
            atomic_fetch_add(&a->running, 1);
            wait_for_the_end(a);
        }
    }
    wait_for_the_end(a);
    return NULL;
}

static void children_of_threads(struct arena *a)
{
    pthread_t t;

    if (pthread_create(&t, NULL, thread_forks, a) == 0)
        wait_for_the_end(a);
    _exit(1);
}

struct variant {
    void (*run)(struct arena *a);
    int running; /* reached before it is killed */
};

static struct arena *arena_create(void)
{
    struct arena *a =
        mmap(NULL, sizeof *a, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(a != MAP_FAILED);
    a->give_up_ns = now() + GIVE_UP_S * NS_PER_S;
    return a;
}

/* In a process of its own, as the uid. Failing ends it with a code other than 0. */
static void kill_variant(const struct variant *v, uid_t uid)
{
    struct arena *a = arena_create();
    struct sys_reaped r = { 0 };
    int64_t begun;
    int fds[2];
    pid_t pid;

    if (uid != geteuid())
        CHECK(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && pipe2(fds, O_CLOEXEC) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        v->run(a);
        _exit(0);
    }
    close(fds[1]);
    while (atomic_load(&a->running) < v->running) {
        CHECK(now() < a->give_up_ns);
        nap(NS_PER_MS);
    }
    r.watch = pid;
    begun = now();
    CHECK_INT(sys_kill_descendants(begun + 8 * NS_PER_S, NULL, 0, &r), 0);
    CHECK(r.seen);
    struct pollfd p = { .fd = fds[0], .events = POLLIN };
    CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP)); /* none is left, anywhere */
    int64_t took = now() - begun;
    fprintf(stderr, "# uid %d: %d forks, killed in %.1f ms\n", (int)uid, atomic_load(&a->forks),
            (double)took / 1e6);
    CHECK(took < 2 * NS_PER_S);
    _exit(0);
}

static void check_variant(void (*run)(struct arena *a), int running)
{
    struct variant v = { run, running };

    for (int i = 0; i < 2; i++) {
        uid_t uid = i == 0 ? geteuid() : NOBODY;
        int status;
        if (i == 1 && geteuid() != 0)
            break;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            kill_variant(&v, uid);
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK_INT(status, 0);
    }
}

TEST(kills_a_chain)
{
    check_variant(chain, 50);
}

TEST(kills_several_chains)
{
    check_variant(several_chains, 200);
}

TEST(kills_daemonising_loops)
{
    check_variant(daemonise, 20);
}

TEST(kills_a_fork_bomb)
{
    check_variant(bomb, BOMB_MAX / 2);
}

TEST(kills_deep_trees)
{
    check_variant(deep, 60);
}

TEST(kills_stopped_processes)
{
    check_variant(stopped, 21);
}

TEST(kills_children_of_threads)
{
    check_variant(children_of_threads, 5);
}

/* --- without hostility ------------------------------------------------------------------------ */

static pid_t sleeper(void)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        for (;;)
            pause();
    }
    return pid;
}

/* A child with a child of its own in another session; *inner is set when both are there. */
static pid_t sleeper_with_child(pid_t *inner)
{
    int fds[2];

    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            child = getpid();
            if (write(fds[1], &child, sizeof child) != (ssize_t)sizeof child)
                _exit(1);
        }
        for (;;)
            pause();
    }
    CHECK(read(fds[0], inner, sizeof *inner) == (ssize_t)sizeof *inner);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

TEST(spared_children_keep_their_subtrees)
{
    pid_t inner, other_inner, spared, other;
    struct sys_reaped r = { 0 };

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    spared = sleeper_with_child(&inner);
    other = sleeper_with_child(&other_inner);
    r.watch = other;
    CHECK_INT(sys_kill_descendants(now() + 5 * NS_PER_S, &spared, 1, &r), 0);
    CHECK(r.seen && WIFSIGNALED(r.status) && WTERMSIG(r.status) == SIGKILL);
    CHECK(kill(other, 0) != 0 && errno == ESRCH);
    CHECK(kill(other_inner, 0) != 0 && errno == ESRCH);
    CHECK(kill(spared, 0) == 0 && kill(inner, 0) == 0);
    CHECK(sys_reap(&r)); /* the spared one is left */
    CHECK_INT(sys_kill_descendants(now() + 5 * NS_PER_S, NULL, 0, &r), 0);
    CHECK(kill(inner, 0) != 0 && errno == ESRCH);
}

TEST(scan_without_children_files)
{
    struct kill_walk w = { .signo = SIGKILL, .scan_proc = true };
    pid_t inner;
    int status;

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    sleeper_with_child(&inner);
    kill_walk(&w);
    CHECK_INT(w.children, 1);
    CHECK_INT(w.signalled, 2);
    CHECK(waitpid(-1, &status, 0) > 0 && waitpid(-1, &status, 0) > 0);
    CHECK(waitpid(-1, &status, 0) < 0 && errno == ECHILD);
}

static void count_gone(pid_t pid, int status, void *arg)
{
    (void)pid;
    (void)status;
    ++*(int *)arg;
}

TEST(signals_reach_all_and_reaping_adds_up)
{
    int gone = 0;
    struct sys_reaped r = { .gone = count_gone, .arg = &gone };
    int64_t deadline = now() + 10 * NS_PER_S;
    pid_t inner, pid;

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    pid = sleeper_with_child(&inner);
    sleeper();
    r.watch = pid;
    sys_signal_descendants(SIGTERM);
    while (sys_reap(&r)) {
        CHECK(now() < deadline);
        nap(NS_PER_MS);
    }
    CHECK_INT(gone, 3);
    CHECK(r.seen && WTERMSIG(r.status) == SIGTERM);
    CHECK(r.max_rss > 0);
    CHECK(!sys_reap(NULL));
    CHECK_INT(sys_kill_descendants(0, NULL, 0, NULL), 0);
}

/* A child that may not be signalled any more, as after a job started something setuid. */
TEST(gives_up_at_the_deadline)
{
    int status;
    pid_t pid;

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK_INT(sys_kill_descendants(0, NULL, 0, NULL), 0);
    if (geteuid() != 0)
        return;
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        pid = sleeper();
        CHECK(setgid(NOBODY) == 0 && setresuid(NOBODY, NOBODY, 0) == 0);
        int64_t begun = now();
        CHECK_INT(sys_kill_descendants(begun + 100 * NS_PER_MS, NULL, 0, NULL), -1);
        CHECK(now() - begun < 2 * NS_PER_S);
        CHECK(seteuid(0) == 0);
        CHECK_INT(sys_kill_descendants(now() + 5 * NS_PER_S, NULL, 0, NULL), 0);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
}
