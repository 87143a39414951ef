/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "ev/ev.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t fake_mono(void *arg)
{
    return *(const int64_t *)arg;
}

/* A loop whose time stands still until a test moves it. */
struct fixture {
    int64_t now;
    struct clock clock;
    struct ev_loop *loop;
    struct err err;
};

static void setup(struct fixture *f)
{
    *f = (struct fixture){ .now = 1000 * NS_PER_S };
    f->clock = (struct clock){ fake_mono, fake_mono, &f->now };
    f->loop = ev_loop_create(&f->clock, &f->err);
    CHECK(f->loop);
}

static void turn(struct fixture *f)
{
    CHECK_OK(ev_turn(f->loop, 0, &f->err), &f->err);
}

/* --- descriptors --- */

struct watch {
    struct ev_io io;
    unsigned ready;
    int calls;
    struct watch *victim; /* removed, and its memory overwritten, by the handler */
    bool read;
};

static void on_watch(struct ev_io *io, unsigned ready)
{
    struct watch *w = CONTAINER_OF(io, struct watch, io);
    char c;

    w->ready = ready;
    w->calls++;
    if (w->read)
        CHECK(read(io->fd, &c, 1) >= 0);
    if (w->victim) {
        ev_io_remove(&w->victim->io);
        memset(w->victim, 0xff, sizeof(*w->victim));
        w->victim = NULL;
    }
}

static void pair(int fd[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == 0);
}

TEST(io_readable_and_writable)
{
    struct fixture f;
    int fd[2];

    setup(&f);
    pair(fd);
    struct watch w = { .io = { .fd = fd[0], .events = EV_READ, .fn = on_watch } };
    CHECK_OK(ev_io_add(f.loop, &w.io, &f.err), &f.err);
    turn(&f);
    CHECK_INT(w.calls, 0);
    CHECK(write(fd[1], "x", 1) == 1);
    turn(&f);
    CHECK_INT(w.ready, EV_READ);
    ev_io_change(&w.io, EV_READ | EV_WRITE);
    turn(&f);
    CHECK_INT(w.ready, EV_READ | EV_WRITE);
    ev_io_change(&w.io, 0);
    turn(&f);
    CHECK_INT(w.calls, 2);
    ev_io_remove(&w.io);
    ev_io_remove(&w.io); /* harmless */
    ev_io_change(&w.io, EV_READ);
    turn(&f);
    CHECK_INT(w.calls, 2);
    close(fd[0]);
    close(fd[1]);
    ev_loop_destroy(f.loop);
}

TEST(io_hangup_is_reported_unasked_and_with_read)
{
    struct fixture f;
    int fd[2];

    setup(&f);
    pair(fd);
    struct watch w = { .io = { .fd = fd[0], .events = 0, .fn = on_watch } };
    CHECK_OK(ev_io_add(f.loop, &w.io, &f.err), &f.err);
    CHECK(write(fd[1], "x", 1) == 1);
    close(fd[1]);
    turn(&f);
    CHECK_INT(w.ready, EV_READ | EV_HANGUP);
    ev_io_remove(&w.io);
    close(fd[0]);
    ev_loop_destroy(f.loop);
}

TEST(io_removed_is_not_called_even_when_its_event_was_fetched)
{
    struct fixture f;
    int a[2], b[2];

    setup(&f);
    pair(a);
    pair(b);
    struct watch *first = mem_alloc(sizeof(*first));
    struct watch *second = mem_alloc(sizeof(*second));
    first->io = (struct ev_io){ .fd = a[0], .events = EV_READ, .fn = on_watch };
    second->io = (struct ev_io){ .fd = b[0], .events = EV_READ, .fn = on_watch };
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    CHECK_OK(ev_io_add(f.loop, &first->io, &f.err), &f.err);
    CHECK_OK(ev_io_add(f.loop, &second->io, &f.err), &f.err);
    /* Whichever comes first kills the other, whose memory is rubbish then. */
    first->victim = second;
    second->victim = first;
    turn(&f);
    bool first_won = second->io.fd != b[0];
    struct watch *winner = first_won ? first : second;
    CHECK_INT(winner->calls, 1);
    ev_io_remove(&winner->io);
    free(first);
    free(second);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    ev_loop_destroy(f.loop);
}

static void on_watch_quieten(struct ev_io *io, unsigned ready)
{
    struct watch *w = CONTAINER_OF(io, struct watch, io);

    (void)ready;
    w->calls++;
    if (w->victim)
        ev_io_change(&w->victim->io, 0);
}

TEST(io_change_holds_for_events_already_fetched)
{
    struct fixture f;
    int a[2], b[2];

    setup(&f);
    pair(a);
    pair(b);
    struct watch one = { .io = { .fd = a[0], .events = EV_READ, .fn = on_watch_quieten } };
    struct watch two = { .io = { .fd = b[0], .events = EV_READ, .fn = on_watch_quieten } };
    one.victim = &two;
    two.victim = &one;
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    CHECK_OK(ev_io_add(f.loop, &one.io, &f.err), &f.err);
    CHECK_OK(ev_io_add(f.loop, &two.io, &f.err), &f.err);
    turn(&f);
    CHECK_INT(one.calls + two.calls, 1);
    ev_io_remove(&one.io);
    ev_io_remove(&two.io);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    ev_loop_destroy(f.loop);
}

TEST(io_what_cannot_be_watched_is_an_error)
{
    struct fixture f;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    setup(&f);
    struct watch w = { .io = { .fd = fd, .events = EV_READ, .fn = on_watch } };
    CHECK(ev_io_add(f.loop, &w.io, &f.err) == -1);
    CHECK_INT(f.err.kind, ERR_INVALID);
    CHECK(!w.io.loop);
    close(fd);
    ev_loop_destroy(f.loop);
}

TEST(io_more_ready_than_one_batch)
{
    struct fixture f;
    struct rlimit lim;
    enum { N = 600 };
    static struct watch w[N];
    static int fd[N][2];
    int calls = 0;

    CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
    lim.rlim_cur = lim.rlim_max < 4096 ? lim.rlim_max : 4096;
    CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
    setup(&f);
    for (int i = 0; i < N; i++) {
        pair(fd[i]);
        CHECK(write(fd[i][1], "x", 1) == 1);
        w[i] = (struct watch){ .io = { .fd = fd[i][0], .events = EV_READ, .fn = on_watch },
                               .read = true };
        CHECK_OK(ev_io_add(f.loop, &w[i].io, &f.err), &f.err);
    }
    for (int i = 0; i < 4; i++)
        turn(&f);
    for (int i = 0; i < N; i++) {
        calls += w[i].calls;
        ev_io_remove(&w[i].io);
        close(fd[i][0]);
        close(fd[i][1]);
    }
    CHECK_INT(calls, N);
    ev_loop_destroy(f.loop);
}

/* --- timers --- */

struct tick {
    struct ev_timer t;
    struct ev_loop *loop;
    int id;
    int calls;
    int64_t again_at; /* re-arms itself for then, when not 0 */
    struct tick *clears;
};

static int order[64];
static int fired;

static void on_tick(struct ev_timer *t)
{
    struct tick *k = CONTAINER_OF(t, struct tick, t);

    CHECK(!ev_timer_armed(t));
    k->calls++;
    order[fired++ % 64] = k->id;
    if (k->again_at)
        ev_timer_set(k->loop, t, k->again_at);
    if (k->clears)
        ev_timer_clear(&k->clears->t);
}

static struct tick make_tick(struct fixture *f, int id)
{
    return (struct tick){ .t = { .fn = on_tick }, .loop = f->loop, .id = id };
}

TEST(timers_fire_in_order_and_once)
{
    struct fixture f;
    struct tick k[20];

    setup(&f);
    for (int i = 0; i < 20; i++) {
        k[i] = make_tick(&f, i);
        /* 0, 7, 14, 1, 8, ... ms */
        ev_timer_set(f.loop, &k[i].t, f.now + (i * 7 % 20) * NS_PER_MS);
    }
    ev_timer_set(f.loop, &k[3].t, f.now + 50 * NS_PER_MS); /* was 1 ms */
    ev_timer_clear(&k[5].t);                               /* 15 ms */
    turn(&f);
    CHECK_INT(fired, 1);
    f.now += 20 * NS_PER_MS;
    turn(&f);
    CHECK_INT(fired, 18);
    for (int i = 1; i < fired; i++)
        CHECK(order[i - 1] * 7 % 20 < order[i] * 7 % 20);
    CHECK_INT(k[5].calls, 0);
    CHECK(ev_timer_armed(&k[3].t));
    f.now += 100 * NS_PER_MS;
    turn(&f);
    turn(&f);
    CHECK_INT(k[3].calls, 1);
    CHECK_INT(fired, 19);
    ev_loop_destroy(f.loop);
}

TEST(timers_random_order_against_a_plain_list)
{
    struct fixture f;
    enum { N = 500 };
    static struct tick k[N];
    uint32_t seed = 12345;

    setup(&f);
    for (int i = 0; i < N; i++)
        k[i] = make_tick(&f, i);
    for (int round = 0; round < 3000; round++) {
        seed = seed * 1664525 + 1013904223;
        struct tick *t = &k[(seed >> 8) % N];
        if (seed % 5 == 0)
            ev_timer_clear(&t->t);
        else
            ev_timer_set(f.loop, &t->t, f.now + (int64_t)((seed >> 4) % 1000) * NS_PER_MS);
        if (round % 100 == 99) {
            int want[N], armed = 0, due = 0;
            f.now += 30 * NS_PER_MS;
            for (int i = 0; i < N; i++) {
                want[i] = k[i].calls + (ev_timer_armed(&k[i].t) && k[i].t.due_ns <= f.now);
                due += want[i] - k[i].calls;
                armed += ev_timer_armed(&k[i].t);
            }
            int before = fired;
            turn(&f);
            CHECK_INT(fired - before, due);
            for (int i = 0; i < N; i++) {
                CHECK_INT(k[i].calls, want[i]);
                armed -= ev_timer_armed(&k[i].t);
            }
            CHECK_INT(armed, due);
        }
    }
    for (int i = 0; i < N; i++)
        ev_timer_clear(&k[i].t);
    ev_loop_destroy(f.loop);
}

TEST(timer_in_the_past_fires_next_turn_and_starves_nobody)
{
    struct fixture f;

    setup(&f);
    struct tick selfish = make_tick(&f, 1);
    struct tick other = make_tick(&f, 2);
    selfish.again_at = 1;
    ev_timer_set(f.loop, &selfish.t, 1);
    ev_timer_set(f.loop, &other.t, f.now);
    turn(&f);
    CHECK_INT(selfish.calls, 1);
    CHECK_INT(other.calls, 1);
    ev_timer_set(f.loop, &other.t, f.now);
    turn(&f);
    CHECK_INT(selfish.calls, 2);
    CHECK_INT(other.calls, 2);
    ev_timer_clear(&selfish.t);
    ev_loop_destroy(f.loop);
}

TEST(timer_cleared_by_another_handler_of_the_same_turn)
{
    struct fixture f;

    setup(&f);
    struct tick a = make_tick(&f, 1);
    struct tick b = make_tick(&f, 2);
    a.clears = &b;
    ev_timer_set(f.loop, &a.t, f.now);
    ev_timer_set(f.loop, &b.t, f.now);
    turn(&f);
    CHECK_INT(a.calls, 1);
    CHECK_INT(b.calls, 0);
    ev_loop_destroy(f.loop);
}

TEST(timer_after_never_overflows)
{
    struct fixture f;

    setup(&f);
    struct tick a = make_tick(&f, 1);
    ev_timer_set_after(f.loop, &a.t, INT64_MAX);
    turn(&f);
    CHECK_INT(a.calls, 0);
    CHECK_INT(a.t.due_ns, INT64_MAX);
    ev_timer_clear(&a.t);
    ev_loop_destroy(f.loop);
}

TEST(clock_that_jumps_ahead_fires_what_is_due_once)
{
    struct fixture f;

    setup(&f);
    struct tick a = make_tick(&f, 1);
    struct tick b = make_tick(&f, 2);
    ev_timer_set_after(f.loop, &a.t, NS_PER_S);
    ev_timer_set_after(f.loop, &b.t, 30 * 86400 * NS_PER_S);
    f.now += 86400 * NS_PER_S; /* a day asleep */
    turn(&f);
    CHECK_INT(a.calls, 1);
    CHECK_INT(b.calls, 0);
    CHECK_INT(ev_now_ns(f.loop), f.now);
    ev_timer_clear(&b.t);
    ev_loop_destroy(f.loop);
}

TEST(real_timer_is_never_early)
{
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    struct tick a = { .t = { .fn = on_tick }, .loop = loop };
    int64_t due = clock_mono_ns(&clock_system) + 20 * NS_PER_MS + 1;

    ev_timer_set(loop, &a.t, due);
    while (a.calls == 0)
        CHECK_OK(ev_turn(loop, -1, &err), &err);
    CHECK(clock_mono_ns(&clock_system) >= due);
    ev_loop_destroy(loop);
}

/* --- signals --- */

struct sig {
    struct ev_signal s;
    int calls;
    struct ev_signal *removes;
};

static void on_sig(struct ev_signal *s)
{
    struct sig *g = CONTAINER_OF(s, struct sig, s);

    g->calls++;
    if (g->removes)
        ev_signal_remove(g->removes);
}

TEST(signals_reach_their_handlers)
{
    struct fixture f;
    sigset_t pending;

    setup(&f);
    struct sig one = { .s = { .signo = SIGUSR1, .fn = on_sig } };
    struct sig same = { .s = { .signo = SIGUSR1, .fn = on_sig } };
    struct sig two = { .s = { .signo = SIGUSR2, .fn = on_sig } };
    CHECK_OK(ev_signal_add(f.loop, &one.s, &f.err), &f.err);
    CHECK_OK(ev_signal_add(f.loop, &same.s, &f.err), &f.err);
    CHECK_OK(ev_signal_add(f.loop, &two.s, &f.err), &f.err);
    raise(SIGUSR1);
    turn(&f);
    CHECK_INT(one.calls, 1);
    CHECK_INT(same.calls, 1);
    CHECK_INT(two.calls, 0);
    raise(SIGUSR2);
    turn(&f);
    CHECK_INT(two.calls, 1);
    /* The first removes the second while both are to be called. */
    one.removes = &same.s;
    raise(SIGUSR1);
    turn(&f);
    CHECK_INT(one.calls, 2);
    CHECK_INT(same.calls, 1);
    ev_signal_remove(&one.s);
    ev_signal_remove(&one.s);
    raise(SIGUSR1); /* stays blocked: must not kill us */
    turn(&f);
    CHECK_INT(one.calls, 2);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    ev_signal_remove(&two.s);
    ev_loop_destroy(f.loop);
}

TEST(signal_number_out_of_range)
{
    struct fixture f;

    setup(&f);
    struct sig one = { .s = { .signo = 4711, .fn = on_sig } };
    CHECK(ev_signal_add(f.loop, &one.s, &f.err) == -1);
    CHECK_INT(f.err.kind, ERR_INVALID);
    ev_loop_destroy(f.loop);
}

/* --- hooks --- */

struct hook {
    struct ev_hook h;
    int id;
    int calls;
    struct ev_hook *removes, *adds;
    bool again;
    struct ev_loop *loop;
};

static void on_hook(struct ev_hook *h)
{
    struct hook *k = CONTAINER_OF(h, struct hook, h);

    k->calls++;
    order[fired++ % 64] = k->id;
    if (k->removes)
        ev_hook_remove(k->removes);
    if (k->adds)
        ev_hook_add(k->loop, k->adds);
    k->removes = k->adds = NULL;
    if (k->again)
        ev_again(k->loop);
}

TEST(hooks_run_in_order_at_the_end_of_each_turn)
{
    struct fixture f;

    setup(&f);
    struct hook a = { .h = { .fn = on_hook }, .id = 1, .loop = f.loop };
    struct hook b = { .h = { .fn = on_hook }, .id = 2, .loop = f.loop };
    struct tick t = make_tick(&f, 9);
    ev_hook_add(f.loop, &a.h);
    ev_hook_add(f.loop, &b.h);
    ev_timer_set(f.loop, &t.t, f.now);
    turn(&f);
    CHECK_INT(fired, 3);
    CHECK(order[0] == 9 && order[1] == 1 && order[2] == 2);
    turn(&f);
    CHECK_INT(fired, 5);
    ev_hook_remove(&a.h);
    ev_hook_remove(&a.h);
    ev_hook_remove(&b.h);
    turn(&f);
    CHECK_INT(fired, 5);
    ev_loop_destroy(f.loop);
}

TEST(hooks_may_remove_and_add_hooks)
{
    struct fixture f;

    setup(&f);
    struct hook a = { .h = { .fn = on_hook }, .id = 1, .loop = f.loop };
    struct hook b = { .h = { .fn = on_hook }, .id = 2, .loop = f.loop };
    struct hook c = { .h = { .fn = on_hook }, .id = 3, .loop = f.loop };
    ev_hook_add(f.loop, &a.h);
    ev_hook_add(f.loop, &b.h);
    a.removes = &b.h;
    a.adds = &c.h;
    turn(&f);
    CHECK_INT(b.calls, 0);
    CHECK_INT(c.calls, 1);
    c.removes = &c.h;
    turn(&f);
    turn(&f);
    CHECK_INT(c.calls, 2);
    CHECK_INT(a.calls, 3);
    ev_hook_remove(&a.h);
    ev_loop_destroy(f.loop);
}

TEST(again_and_timers_due_keep_the_loop_awake)
{
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    struct hook a = { .h = { .fn = on_hook }, .id = 1, .loop = loop, .again = true };

    ev_hook_add(loop, &a.h);
    for (int i = 0; i < 5; i++) /* only the first turn is told not to wait */
        CHECK_OK(ev_turn(loop, i == 0 ? 0 : -1, &err), &err);
    CHECK_INT(a.calls, 5);
    a.again = false;
    struct tick t = { .t = { .fn = on_tick }, .loop = loop, .again_at = 1 };
    ev_timer_set(loop, &t.t, 1);
    CHECK_OK(ev_turn(loop, 0, &err), &err);
    for (int i = 0; i < 5; i++)
        CHECK_OK(ev_turn(loop, -1, &err), &err);
    CHECK_INT(t.calls, 6);
    ev_timer_clear(&t.t);
    ev_hook_remove(&a.h);
    ev_loop_destroy(loop);
}

static void on_stop(struct ev_timer *t)
{
    ev_stop(t->loop ? t->loop : CONTAINER_OF(t, struct tick, t)->loop);
}

TEST(run_ends_after_the_turn_of_the_stop)
{
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    struct hook a = { .h = { .fn = on_hook }, .id = 1, .loop = loop };
    struct tick t = { .t = { .fn = on_stop }, .loop = loop };

    ev_hook_add(loop, &a.h);
    ev_timer_set(loop, &t.t, 0);
    CHECK_OK(ev_run(loop, &err), &err);
    CHECK_INT(a.calls, 1); /* the hook of the last turn still ran */
    ev_stop(loop);
    CHECK_OK(ev_run(loop, &err), &err);
    CHECK_INT(a.calls, 1);
    ev_hook_remove(&a.h);
    ev_loop_destroy(loop);
}

TEST(now_stands_still_within_a_turn)
{
    struct fixture f;

    setup(&f);
    CHECK_INT(ev_now_ns(f.loop), f.now);
    f.now += 5;
    CHECK_INT(ev_now_ns(f.loop), f.now); /* outside a turn: the clock's */
    CHECK(ev_clock(f.loop) == &f.clock);
    ev_loop_destroy(f.loop);
    ev_loop_destroy(NULL);
}
