/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event loop: descriptors (epoll), timers, signals (signalfd), and "before sleep" hooks. One
 * loop, one thread.
 *
 * A turn of the loop: wait until something is ready or a timer is due; call the handlers of ready
 * descriptors; call due timers; call the before-sleep hooks. The hooks are where work that was
 * gathered during the turn is done once: the head commits its database transaction there, and only
 * then sends the answers.
 *
 * Handlers may add and remove any watch, timer or hook, their own included; a removed one is never
 * called again, even if its event was already fetched, so its memory may be freed at once. The
 * structs are embedded in the caller's own and owned by the caller. They must be zeroed before
 * first use, except for the fields the caller sets: those above `loop`. What a handler must not do
 * is call ev_turn() or ev_run() itself.
 */
#ifndef HIVE_EV_EV_H
#define HIVE_EV_EV_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock;
struct err;
struct ev_loop;

/* `clock` is borrowed and must outlive the loop. */
struct ev_loop *ev_loop_create(const struct clock *clock, struct err *err);
/* Everything added must have been removed before. NULL is legal. */
void ev_loop_destroy(struct ev_loop *loop);
const struct clock *ev_clock(const struct ev_loop *loop);
/* Monotonic time: in a handler that of the start of this turn (cheap: use it instead of asking the
 * clock), outside a turn the clock's. */
int64_t ev_now_ns(const struct ev_loop *loop);

/* Turns until ev_stop(); a stop asked for before the call is honoured too, after no turn at all.
 * -1 only if epoll itself fails. */
int ev_run(struct ev_loop *loop, struct err *err);
/* ev_run() returns when this turn is over, hooks included. */
void ev_stop(struct ev_loop *loop);
/* One turn, waiting at most max_wait_ns (negative: until something happens). For tests. */
int ev_turn(struct ev_loop *loop, int64_t max_wait_ns, struct err *err);

#define EV_READ 1u
#define EV_WRITE 2u
/* Error, or both directions shut down. Always reported, asked for or not, and always together with
 * EV_READ so that the last bytes are read. It comes again each turn until the watch is removed. A
 * peer that shut down its sending direction only is EV_READ and a read of 0 bytes. */
#define EV_HANGUP 4u

struct ev_io {
    int fd;
    unsigned events; /* EV_READ, EV_WRITE or 0; changed through ev_io_change() once added */
    void (*fn)(struct ev_io *io, unsigned ready);
    struct ev_loop *loop; /* set while added */
};

/* Starts watching io->fd for io->events (may be 0: only hang-up). ERR_UNAVAILABLE when the kernel
 * has no room; ERR_INVALID for what can't be watched (a regular file, an fd watched already). */
int ev_io_add(struct ev_loop *loop, struct ev_io *io, struct err *err);
/* Changes what is watched; no system call if nothing changes. When not added, only stores it. */
void ev_io_change(struct ev_io *io, unsigned events);
/* Call it before close(fd). Harmless when not added. */
void ev_io_remove(struct ev_io *io);

struct ev_timer {
    void (*fn)(struct ev_timer *t);
    struct ev_loop *loop; /* set while armed */
    int64_t due_ns;       /* monotonic; as it was asked for */
    size_t slot;          /* private: place in the heap + 1, 0 when not set */
};

/* (Re)arms, one shot. Timers fire in the order of their times, those of the same time in the order
 * they were armed. A time in the past, or a timer armed by a timer's handler, fires in the next
 * turn at the earliest. After the machine was suspended a timer may be up to 5 s late. */
void ev_timer_set(struct ev_loop *loop, struct ev_timer *t, int64_t due_ns);
/* The same, counted from ev_now_ns(). */
void ev_timer_set_after(struct ev_loop *loop, struct ev_timer *t, int64_t delay_ns);
void ev_timer_clear(struct ev_timer *t); /* harmless when not armed */
bool ev_timer_armed(const struct ev_timer *t);

struct ev_signal {
    int signo;
    void (*fn)(struct ev_signal *s);
    struct list link;
    struct ev_loop *loop; /* set while added */
};

/* Blocks the signal for the process and delivers it to fn through the loop; several that arrive
 * before the loop looks are one call. Children must reset their mask (the spawner does). */
int ev_signal_add(struct ev_loop *loop, struct ev_signal *s, struct err *err);
/* Harmless when not added. The signal stays blocked: one that is pending must not kill a daemon
 * that is just ending in good order. */
void ev_signal_remove(struct ev_signal *s);

struct ev_hook {
    void (*fn)(struct ev_hook *h);
    struct list link;
    struct ev_loop *loop; /* set while added */
};

/* Called at the end of every turn, in the order they were added; one that is added by a hook is
 * called in the same turn. When a hook leaves a timer that is due, or calls ev_again(), the next
 * turn doesn't sleep. */
void ev_hook_add(struct ev_loop *loop, struct ev_hook *h);
void ev_hook_remove(struct ev_hook *h); /* harmless when not added */
/* The next turn doesn't wait: there is more to do. */
void ev_again(struct ev_loop *loop);

#endif
