/* SPDX-License-Identifier: BSD-2-Clause */
/* The process `hive spawner`; how it is started is in spawner_start.c. */
#include "node/spawner.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "node/process.h"
#include "node/shim.h"
#include "sys/cgroup.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SWEEP_NS (200 * NS_PER_MS) /* at most this long at a stretch */
#define SWEEP_AGAIN_NS (50 * NS_PER_MS)
#define SWEEP_GIVE_UP_NS (10 * NS_PER_S)
#define SWEEP_TELL_NS NS_PER_S /* a shim's death is told then even if not all of its rest is gone */

struct pids {
    pid_t *items;
    size_t count, cap;
};

struct spawner {
    int ctl;
    struct cgroup_caps caps;
    struct shim_setup setup;
    struct pids shims, died; /* died: not yet told to the daemon */
    bool sweep;              /* there may be orphans */
    int64_t died_ns;         /* since when `died` is not empty */
    struct sys_reaped reaped;
};

static void pids_add(struct pids *p, pid_t pid)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->items = mem_resize(p->items, p->cap, sizeof *p->items);
    }
    p->items[p->count++] = pid;
}

static bool pids_remove(struct pids *p, pid_t pid)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i] == pid) {
            p->items[i] = p->items[--p->count];
            return true;
        }
    }
    return false;
}

static void tell(struct spawner *sp, enum spawner_msg_type type, int value, const char *text)
{
    struct spawner_msg m = { .type = (uint32_t)type, .value = value };

    if (sp->ctl < 0)
        return;
    str_copy(m.text, sizeof m.text, text);
    while (send(sp->ctl, &m, sizeof m, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void shim_gone(pid_t pid, int status, void *arg)
{
    struct spawner *sp = arg;
    char name[64];

    (void)status;
    if (!pids_remove(&sp->shims, pid))
        return;
    if (sp->died.count == 0 || sp->ctl < 0)
        sp->died_ns = clock_mono_ns(&clock_system);
    pids_add(&sp->died, pid);
    sp->sweep = true;
    cgroup_shim_name(pid, name, sizeof name);
    cgroup_remove(&sp->caps, name);
}

/* What a dead shim left behind is our child now (we are the next subreaper): whoever is not a
 * shim has to go. The daemon is told of the death when that is done, so that it doesn't run the
 * job elsewhere while a part of it still lives here. */
static void sweep(struct spawner *sp)
{
    int64_t now;

    if (!sp->sweep)
        return;
    now = clock_mono_ns(&clock_system);
    if (sys_kill_descendants(now + SWEEP_NS, sp->shims.items, sp->shims.count, &sp->reaped) == 0)
        sp->sweep = false;
    else if (now < sp->died_ns + SWEEP_TELL_NS)
        return;
    for (size_t i = 0; i < sp->died.count; i++)
        tell(sp, SPAWNER_DIED, sp->died.items[i], "");
    sp->died.count = 0;
}

static void fork_shims(struct spawner *sp, int count)
{
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            close(sp->ctl);
            dup2(0, 2); /* whoever reads the daemon's messages isn't kept waiting by its shims */
            _exit(shim_main(&sp->setup));
        }
        if (pid > 0)
            pids_add(&sp->shims, pid);
        else
            tell(sp, SPAWNER_FAILED, errno, "");
    }
}

static void receive(struct spawner *sp)
{
    struct spawner_msg m;
    ssize_t len = recv(sp->ctl, &m, sizeof m, MSG_DONTWAIT);

    if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR)) {
        close(sp->ctl);
        sp->ctl = -1;
    } else if (len == (ssize_t)sizeof m && m.type == SPAWNER_FORK) {
        fork_shims(sp, m.value);
    }
}

/* When the daemon has gone, what a killed shim leaves behind is still ours to end: we stay until
 * the last shim is gone. */
static bool needed(const struct spawner *sp)
{
    if (sp->ctl >= 0 || sp->shims.count > 0)
        return true;
    return sp->sweep && clock_mono_ns(&clock_system) < sp->died_ns + SWEEP_GIVE_UP_NS;
}

static void serve(struct spawner *sp)
{
    while (needed(sp)) {
        if (process_poll(sp->ctl, sp->sweep ? SWEEP_AGAIN_NS : -1))
            receive(sp);
        sys_reap(&sp->reaped);
        sweep(sp);
    }
}

static void close_range_of(unsigned first, unsigned last)
{
    long max = sysconf(_SC_OPEN_MAX);

    if (first > last)
        return;
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, last, 0u) == 0)
        return;
#endif
    for (unsigned fd = first; fd <= last && fd < (max > 0 && max < 65536 ? (unsigned)max : 65536u);
         fd++)
        close((int)fd);
}

int spawner_main(int argc, char **argv)
{
    struct spawner *sp;
    int64_t fd;

    if (argc != 5 || !str_eq(argv[1], "--internal") ||
        str_to_int(argv[2], 3, 1023, "descriptor", &fd, NULL) != 0 ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0 || process_prepare("hive-spawner") != 0)
        return 2;
    close_range_of(3, (unsigned)fd - 1);
    close_range_of((unsigned)fd + 1, ~0u);
    sp = mem_alloc(sizeof *sp);
    sp->ctl = (int)fd;
    sp->setup = (struct shim_setup){ argv[3], argv[4], &sp->caps };
    sp->reaped.gone = shim_gone;
    sp->reaped.arg = sp;
    cgroup_detect(&sp->caps, getppid());
    tell(sp, SPAWNER_READY, getpid(), sp->caps.note);
    serve(sp);
    cgroup_release(&sp->caps);
    free(sp->shims.items);
    free(sp->died.items);
    free(sp);
    return 0;
}
