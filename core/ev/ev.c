/* SPDX-License-Identifier: BSD-2-Clause */
#include "ev/ev.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Events fetched at once. Large, so that the requests of many clients fall into one turn and share
 * what the hooks do at its end. */
#define EV_BATCH 256

/* The clock goes on during suspend, epoll_wait's time-out doesn't: never sleep longer than this
 * while a timer is armed, so that after a resume leases end about when they should. */
#define EV_MAX_SLEEP_NS (5 * NS_PER_S)

struct ev_heap_slot {
    int64_t due_ns;
    uint64_t seq; /* order of arming: breaks ties, and marks what was armed during this turn */
    struct ev_timer *timer;
};

struct ev_loop {
    const struct clock *clock;
    int epoll_fd;
    int64_t now_ns;
    bool in_turn, stop, again;

    struct epoll_event batch[EV_BATCH];
    int batch_len, batch_pos; /* what of it has not been dispatched yet */

    struct ev_heap_slot *heap;
    size_t heap_len, heap_cap;
    uint64_t seq;

    struct ev_io signal_io; /* fd -1 until a signal is watched */
    sigset_t signal_mask;
    struct list signals;
    struct list *signal_next; /* the list walk in progress: removing an item moves it on */

    struct list hooks;
    struct list *hook_next;
};

struct ev_loop *ev_loop_create(const struct clock *clock, struct err *err)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0) {
        err_sys(err, errno, "cannot create an epoll descriptor");
        return NULL;
    }
    struct ev_loop *loop = mem_alloc(sizeof(*loop));
    loop->clock = clock;
    loop->epoll_fd = fd;
    loop->signal_io.fd = -1;
    sigemptyset(&loop->signal_mask);
    list_init(&loop->signals);
    list_init(&loop->hooks);
    return loop;
}

void ev_loop_destroy(struct ev_loop *loop)
{
    if (!loop)
        return;
    if (loop->signal_io.fd >= 0) {
        ev_io_remove(&loop->signal_io);
        close(loop->signal_io.fd);
    }
    close(loop->epoll_fd);
    free(loop->heap);
    free(loop);
}

const struct clock *ev_clock(const struct ev_loop *loop)
{
    return loop->clock;
}

int64_t ev_now_ns(const struct ev_loop *loop)
{
    return loop->in_turn ? loop->now_ns : clock_mono_ns(loop->clock);
}

/* --- descriptors --- */

static uint32_t to_epoll(unsigned events)
{
    return (events & EV_READ ? (uint32_t)EPOLLIN : 0) |
           (events & EV_WRITE ? (uint32_t)EPOLLOUT : 0);
}

int ev_io_add(struct ev_loop *loop, struct ev_io *io, struct err *err)
{
    struct epoll_event e = { .events = to_epoll(io->events), .data = { .ptr = io } };

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, io->fd, &e) != 0) {
        int sys = errno;
        if (sys == ENOSPC || sys == ENOMEM) {
            err_set(err, ERR_UNAVAILABLE, "the kernel has no room to watch another descriptor");
            return err_hint(err, "see /proc/sys/fs/epoll/max_user_watches");
        }
        return err_set(err, ERR_INVALID, "cannot watch descriptor %d: %s", io->fd, strerror(sys));
    }
    io->loop = loop;
    return 0;
}

void ev_io_change(struct ev_io *io, unsigned events)
{
    if (io->events == events)
        return;
    io->events = events;
    if (!io->loop)
        return;
    struct epoll_event e = { .events = to_epoll(events), .data = { .ptr = io } };
    epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &e);
}

void ev_io_remove(struct ev_io *io)
{
    struct ev_loop *loop = io->loop;

    if (!loop)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    io->loop = NULL;
    for (int i = loop->batch_pos; i < loop->batch_len; i++)
        if (loop->batch[i].data.ptr == io)
            loop->batch[i].data.ptr = NULL;
}

static void dispatch_io(struct ev_loop *loop)
{
    while (loop->batch_pos < loop->batch_len) {
        const struct epoll_event *e = &loop->batch[loop->batch_pos++];
        struct ev_io *io = e->data.ptr;
        if (!io)
            continue;
        unsigned ready = 0;
        if (e->events & EPOLLIN)
            ready |= EV_READ;
        if (e->events & EPOLLOUT)
            ready |= EV_WRITE;
        ready &= io->events; /* an earlier handler of this turn may have changed them */
        if (e->events & (EPOLLERR | EPOLLHUP))
            ready |= EV_HANGUP | EV_READ;
        if (ready)
            io->fn(io, ready);
    }
}

/* --- timers: a binary heap --- */

static bool earlier(const struct ev_heap_slot *a, const struct ev_heap_slot *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static void heap_place(struct ev_loop *loop, size_t at, struct ev_heap_slot s)
{
    loop->heap[at] = s;
    s.timer->slot = at + 1;
}

/* Puts s where it belongs, starting at the free place `at`. */
static void heap_settle(struct ev_loop *loop, size_t at, struct ev_heap_slot s)
{
    while (at > 0 && earlier(&s, &loop->heap[(at - 1) / 2])) {
        heap_place(loop, at, loop->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= loop->heap_len)
            break;
        if (child + 1 < loop->heap_len && earlier(&loop->heap[child + 1], &loop->heap[child]))
            child++;
        if (!earlier(&loop->heap[child], &s))
            break;
        heap_place(loop, at, loop->heap[child]);
        at = child;
    }
    heap_place(loop, at, s);
}

static size_t heap_grow(struct ev_loop *loop)
{
    if (loop->heap_len == loop->heap_cap) {
        loop->heap_cap = loop->heap_cap ? loop->heap_cap * 2 : 16;
        loop->heap = mem_resize(loop->heap, loop->heap_cap, sizeof(*loop->heap));
    }
    return loop->heap_len++;
}

void ev_timer_set(struct ev_loop *loop, struct ev_timer *t, int64_t due_ns)
{
    int64_t now = ev_now_ns(loop);
    size_t at = t->slot ? t->slot - 1 : heap_grow(loop);

    t->due_ns = due_ns;
    t->loop = loop;
    /* Everything overdue counts as due now and queues behind what was so before: a timer that keeps
     * arming itself in the past can't starve the others. */
    heap_settle(loop, at, (struct ev_heap_slot){ due_ns > now ? due_ns : now, ++loop->seq, t });
}

void ev_timer_set_after(struct ev_loop *loop, struct ev_timer *t, int64_t delay_ns)
{
    int64_t due;

    if (__builtin_add_overflow(ev_now_ns(loop), delay_ns, &due))
        due = INT64_MAX;
    ev_timer_set(loop, t, due);
}

void ev_timer_clear(struct ev_timer *t)
{
    if (t->slot == 0)
        return;
    struct ev_loop *loop = t->loop;
    size_t at = t->slot - 1;
    struct ev_heap_slot last = loop->heap[--loop->heap_len];
    if (at < loop->heap_len)
        heap_settle(loop, at, last);
    t->slot = 0;
    t->loop = NULL;
}

bool ev_timer_armed(const struct ev_timer *t)
{
    return t->slot != 0;
}

static void fire_timers(struct ev_loop *loop)
{
    uint64_t last = loop->seq; /* what is armed from here on waits for the next turn */

    while (loop->heap_len > 0) {
        struct ev_heap_slot top = loop->heap[0];
        if (top.due_ns > loop->now_ns || top.seq > last)
            break;
        ev_timer_clear(top.timer);
        top.timer->fn(top.timer);
    }
}

/* --- signals --- */

static void call_signal(struct ev_loop *loop, int signo)
{
    struct list *it = loop->signals.next;

    while (it != &loop->signals) {
        struct ev_signal *s = CONTAINER_OF(it, struct ev_signal, link);
        loop->signal_next = it->next;
        if (s->signo == signo)
            s->fn(s);
        it = loop->signal_next;
    }
    loop->signal_next = NULL;
}

static void on_signal_io(struct ev_io *io, unsigned ready)
{
    struct ev_loop *loop = CONTAINER_OF(io, struct ev_loop, signal_io);
    struct signalfd_siginfo info[16];
    ssize_t n;

    (void)ready;
    /* No more than the kernel can have pending at once (one of each kind, and some queued ones). */
    n = read(io->fd, info, sizeof(info));
    for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(info[0]); i++)
        call_signal(loop, (int)info[i].ssi_signo);
}

int ev_signal_add(struct ev_loop *loop, struct ev_signal *s, struct err *err)
{
    sigset_t mask = loop->signal_mask;
    sigset_t one;

    sigemptyset(&one);
    if (sigaddset(&one, s->signo) != 0 || sigaddset(&mask, s->signo) != 0)
        return err_set(err, ERR_INVALID, "no such signal: %d", s->signo);
    int fd = signalfd(loop->signal_io.fd, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_sys(err, errno, "cannot watch signals");
    if (!loop->signal_io.loop) {
        loop->signal_io =
            (struct ev_io){ .fd = fd, .events = EV_READ, .fn = on_signal_io, .loop = NULL };
        if (ev_io_add(loop, &loop->signal_io, err) != 0) {
            close(fd);
            loop->signal_io.fd = -1;
            return -1;
        }
    }
    sigprocmask(SIG_BLOCK, &one, NULL);
    loop->signal_mask = mask;
    list_append(&loop->signals, &s->link);
    s->loop = loop;
    return 0;
}

void ev_signal_remove(struct ev_signal *s)
{
    struct ev_loop *loop = s->loop;
    bool others = false;

    if (!loop)
        return;
    if (loop->signal_next == &s->link)
        loop->signal_next = s->link.next;
    list_remove(&s->link);
    s->loop = NULL;
    LIST_FOR_EACH(it, &loop->signals)
        others = others || CONTAINER_OF(it, struct ev_signal, link)->signo == s->signo;
    if (!others) {
        sigdelset(&loop->signal_mask, s->signo);
        signalfd(loop->signal_io.fd, &loop->signal_mask, 0);
    }
}

/* --- hooks --- */

void ev_hook_add(struct ev_loop *loop, struct ev_hook *h)
{
    list_append(&loop->hooks, &h->link);
    if (loop->hook_next == &loop->hooks) /* the walk was at its end: go on with this one */
        loop->hook_next = &h->link;
    h->loop = loop;
}

void ev_hook_remove(struct ev_hook *h)
{
    struct ev_loop *loop = h->loop;

    if (!loop)
        return;
    if (loop->hook_next == &h->link)
        loop->hook_next = h->link.next;
    list_remove(&h->link);
    h->loop = NULL;
}

static void call_hooks(struct ev_loop *loop)
{
    struct list *it = loop->hooks.next;

    while (it != &loop->hooks) {
        struct ev_hook *h = CONTAINER_OF(it, struct ev_hook, link);
        loop->hook_next = it->next;
        h->fn(h);
        it = loop->hook_next;
    }
    loop->hook_next = NULL;
}

/* --- the loop --- */

/* Milliseconds to sleep, rounded up: a turn that comes too early would find no timer due. */
static int sleep_ms(const struct ev_loop *loop, int64_t max_wait_ns)
{
    int64_t wait = max_wait_ns < 0 ? INT64_MAX : max_wait_ns;

    if (loop->again)
        return 0;
    if (loop->heap_len > 0) {
        int64_t left = loop->heap[0].due_ns - clock_mono_ns(loop->clock);
        if (left < 0)
            left = 0;
        if (left < wait)
            wait = left;
        if (wait > EV_MAX_SLEEP_NS)
            wait = EV_MAX_SLEEP_NS;
    }
    if (wait / NS_PER_MS >= INT_MAX)
        return max_wait_ns < 0 ? -1 : INT_MAX;
    return (int)((wait + NS_PER_MS - 1) / NS_PER_MS);
}

int ev_turn(struct ev_loop *loop, int64_t max_wait_ns, struct err *err)
{
    int wait = sleep_ms(loop, max_wait_ns);
    int n = epoll_wait(loop->epoll_fd, loop->batch, EV_BATCH, wait);

    if (n < 0 && errno != EINTR)
        return err_sys(err, errno, "epoll_wait failed");
    loop->again = false;
    loop->batch_pos = 0;
    loop->batch_len = n > 0 ? n : 0;
    loop->now_ns = clock_mono_ns(loop->clock);
    loop->in_turn = true;
    dispatch_io(loop);
    fire_timers(loop);
    call_hooks(loop);
    loop->in_turn = false;
    return 0;
}

int ev_run(struct ev_loop *loop, struct err *err)
{
    int rc = 0;

    while (!loop->stop && rc == 0)
        rc = ev_turn(loop, -1, err);
    loop->stop = false;
    return rc;
}

void ev_stop(struct ev_loop *loop)
{
    loop->stop = true;
}

void ev_again(struct ev_loop *loop)
{
    loop->again = true;
}
