/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why this wins against processes that fork as fast as they can: a process with a pending SIGKILL
 * can't fork any more, so whoever is signalled first and asked for its children afterwards has
 * given the complete answer; and whoever loses its parent becomes our own child, the first we look
 * at in the next pass. What a forking chain needs for one step is many times what a pass takes.
 *
 * No stranger is hit: our own children keep their pid until we reap them, and deeper processes are
 * signalled through a descriptor of their /proc folder, which stands for one process only, after
 * checking that their parent is who we came from.
 */
#include "sys/kill_tree.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "sys/proc_file.h"
#include "sys/sys.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct process {
    pid_t pid, parent;
};

struct process_list {
    struct process *items;
    size_t count, cap;
};

static void list_add(struct process_list *l, pid_t pid, pid_t parent)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->items = mem_resize(l->items, l->cap, sizeof *l->items);
    }
    l->items[l->count++] = (struct process){ pid, parent };
}

/* Adds the pids in a "children" file. False when the kernel has no such file. */
static bool add_children_file(int dirfd, const char *path, pid_t parent, struct process_list *out)
{
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    char text[4096];
    pid_t pid = 0;
    ssize_t n;

    if (fd < 0)
        return errno != ENOENT;
    while ((n = read(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (isdigit((unsigned char)text[i])) {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 0) {
                list_add(out, pid, parent);
                pid = 0;
            }
        }
    }
    close(fd);
    return true;
}

/* Adds the children of all threads of the process whose /proc folder is procfd. */
static void add_children(int procfd, pid_t pid, struct process_list *out)
{
    char path[64];
    struct stat st;
    struct dirent *e;
    DIR *dir;
    int fd;

    /* The folder has a link per thread: nearly all processes need no look into it. */
    if (fstatat(procfd, "task", &st, 0) != 0)
        return;
    if (st.st_nlink <= 3) {
        snprintf(path, sizeof path, "task/%ld/children", (long)pid);
        add_children_file(procfd, path, pid, out);
        return;
    }
    fd = openat(procfd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(dir))) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        snprintf(path, sizeof path, "task/%.20s/children", e->d_name);
        add_children_file(procfd, path, pid, out);
    }
    closedir(dir);
}

/* Every process with its parent, for kernels without "children" files. */
static void snapshot(struct process_list *all)
{
    DIR *dir = opendir("/proc");
    struct proc_stat st;
    struct dirent *e;
    char path[300], text[1024];

    if (!dir)
        return;
    while ((e = readdir(dir))) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        snprintf(path, sizeof path, "%s/stat", e->d_name);
        if (proc_file_read(dirfd(dir), path, text, sizeof text) > 0 && proc_stat_parse(text, &st))
            list_add(all, (pid_t)strtol(e->d_name, NULL, 10), st.ppid);
    }
    closedir(dir);
}

static void add_children_from(const struct process_list *all, pid_t parent,
                              struct process_list *out)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].parent == parent)
            list_add(out, all->items[i].pid, parent);
}

static bool is_spared(const struct kill_walk *w, pid_t pid)
{
    for (size_t i = 0; i < w->spares; i++)
        if (w->spare[i] == pid)
            return true;
    return false;
}

static bool parent_is(int procfd, pid_t a, pid_t b)
{
    struct proc_stat st;
    char text[1024];

    return proc_file_read(procfd, "stat", text, sizeof text) > 0 && proc_stat_parse(text, &st) &&
           (st.ppid == a || st.ppid == b);
}

static void send_signal(int procfd, pid_t pid, int signo)
{
#ifdef SYS_pidfd_send_signal
    if (syscall(SYS_pidfd_send_signal, procfd, signo, NULL, 0) == 0 || errno == ESRCH ||
        errno == EPERM)
        return;
#endif
    kill(pid, signo);
}

/* Direct children first of all, so that those that fork in a chain are hit soonest. */
static void signal_children(struct kill_walk *w, struct process_list *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->count; i++) {
        if (is_spared(w, l->items[i].pid))
            continue;
        if (w->signo == SIGKILL)
            kill(l->items[i].pid, SIGKILL);
        w->signature = (w->signature + (uint64_t)l->items[i].pid) * UINT64_C(0x9e3779b97f4a7c15);
        l->items[kept++] = l->items[i];
    }
    l->count = kept;
    w->children = kept;
}

/* Other signals may or may not end a process, and a dead one can't be asked for its children: they
 * are sent when all are known, parents first, so that a shell doesn't start its next command. */
static void signal_list(const struct kill_walk *w, const struct process_list *l)
{
    pid_t self = getpid();
    char path[64];

    for (size_t i = 0; i < l->count; i++) {
        struct process p = l->items[i];
        int procfd;

        snprintf(path, sizeof path, "/proc/%ld", (long)p.pid);
        procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (procfd < 0)
            continue;
        if (parent_is(procfd, p.parent, self))
            send_signal(procfd, p.pid, w->signo);
        close(procfd);
    }
}

void kill_walk(struct kill_walk *w)
{
    struct process_list l = { NULL, 0, 0 }, all = { NULL, 0, 0 };
    pid_t self = getpid();
    char path[64];

    w->signature = 0;
    snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)self);
    if (!w->scan_proc && !add_children_file(AT_FDCWD, path, self, &l))
        w->scan_proc = true;
    if (w->scan_proc) {
        snapshot(&all);
        add_children_from(&all, self, &l);
    }
    signal_children(w, &l);

    /* The list grows while we go: breadth first. */
    for (size_t i = 0; i < l.count; i++) {
        struct process p = l.items[i];
        int procfd;

        snprintf(path, sizeof path, "/proc/%ld", (long)p.pid);
        procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (procfd < 0)
            continue;
        if (i >= w->children) {
            if (!parent_is(procfd, p.parent, self)) {
                close(procfd);
                continue;
            }
            if (w->signo == SIGKILL)
                send_signal(procfd, p.pid, SIGKILL);
        }
        if (w->scan_proc)
            add_children_from(&all, p.pid, &l);
        else
            add_children(procfd, p.pid, &l);
        close(procfd);
    }
    if (w->signo != SIGKILL)
        signal_list(w, &l);
    w->signalled = l.count;
    free(l.items);
    free(all.items);
}

static int64_t timeval_ns(const struct timeval *tv)
{
    return (int64_t)tv->tv_sec * NS_PER_S + (int64_t)tv->tv_usec * NS_PER_US;
}

static void note_reaped(struct sys_reaped *r, pid_t pid, int status, const struct rusage *ru)
{
    int64_t rss = (int64_t)ru->ru_maxrss * 1024;

    if (!r)
        return;
    r->user_ns += timeval_ns(&ru->ru_utime);
    r->system_ns += timeval_ns(&ru->ru_stime);
    if (rss > r->max_rss)
        r->max_rss = rss;
    if (pid == r->watch) {
        r->seen = true;
        r->status = status;
    }
    if (r->gone)
        r->gone(pid, status, r->arg);
}

bool sys_reap(struct sys_reaped *r)
{
    struct rusage ru;
    int status;

    for (;;) {
        /* __WALL: also children that were made without SIGCHLD as their exit signal. */
        pid_t pid = wait4(-1, &status, WNOHANG | __WALL, &ru);
        if (pid == 0)
            return true;
        if (pid > 0)
            note_reaped(r, pid, status, &ru);
        else if (errno != EINTR)
            return false;
    }
}

/* While other children turn up than before somebody is forking: no time to sleep. */
static void pause_between(const struct kill_walk *w, uint64_t last, unsigned *idle)
{
    if (w->signature != last)
        *idle = 0;
    if (++*idle <= 8) {
        sched_yield();
        return;
    }
    unsigned steps = *idle - 9 < 5 ? *idle - 9 : 5;
    struct timespec ts = { 0, (long)(150000u << steps) };
    nanosleep(&ts, NULL);
}

int sys_kill_descendants(int64_t deadline_mono_ns, const pid_t *spare, size_t spares,
                         struct sys_reaped *r)
{
    struct kill_walk w = { .signo = SIGKILL, .spare = spare, .spares = spares };
    uint64_t last = 0;
    unsigned idle = 0;

    for (;;) {
        if (!sys_reap(r))
            return 0;
        kill_walk(&w);
        if (!sys_reap(r))
            return 0;
        /* A stopping walk must have found nothing: what it signalled may still have to die. */
        if (spares > 0 && w.children == 0)
            return 0;
        if (clock_mono_ns(&clock_system) >= deadline_mono_ns)
            return -1;
        pause_between(&w, last, &idle);
        last = w.signature;
    }
}

void sys_signal_descendants(int signo)
{
    struct kill_walk w = { .signo = signo };

    kill_walk(&w);
}
