/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/shim.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "node/process.h"
#include "node/shim_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECONNECT_NS (250 * NS_PER_MS)

/* --- the daemon ------------------------------------------------------------------------------- */

static void lose_daemon(struct shim *s)
{
    if (s->sock >= 0)
        close(s->sock);
    s->sock = -1;
    s->quit = true;
    s->next_len = 0;
    s->connect_at_ns = clock_mono_ns(&clock_system) + RECONNECT_NS;
    s->lease_at_ns = s->connect_at_ns;
}

void shim_send(struct shim *s, const struct shim_msg *m)
{
    ssize_t n;

    if (s->sock < 0 || shim_msg_encode(m, &s->out, NULL) != 0)
        return;
    do
        n = send(s->sock, buf_data(&s->out), buf_len(&s->out), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        lose_daemon(s);
}

void shim_drop_next(struct shim *s)
{
    struct shim_msg m = { .type = SHIM_DROPPED, .key = s->next_key };

    if (s->next_len == 0)
        return;
    s->next_len = 0;
    shim_send(s, &m);
}

/* Connecting to a Unix socket doesn't take time: it works or fails at once. */
static int connect_daemon(const struct shim *s)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd, size = 2 * SHIM_PACKET_MAX;
    char *path = mem_printf("%s/shim.sock", s->setup->runtime_dir);
    bool fits = str_copy(addr.sun_path, sizeof addr.sun_path, path);

    free(path);
    fd = fits ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    fcntl(fd, F_SETFL, 0);
    return fd;
}

/* Says who we are and what we run, or ran without being able to write it down. */
static void greet(struct shim *s)
{
    struct shim_msg m = { .type = SHIM_HELLO, .pid = s->pid, .start = s->start };

    if (s->job.active)
        m.key = s->job.msg.key;
    else if (s->unwritten_count > 0)
        m.key = s->unwritten[0].key;
    shim_send(s, &m);
    for (size_t i = 0; i < s->unwritten_count; i++) {
        struct shim_msg e = { .type = SHIM_ENDED,
                              .key = s->unwritten[i].key,
                              .end = s->unwritten[i] };
        shim_send(s, &e);
    }
}

static void reconnect(struct shim *s, int64_t now_ns)
{
    s->sock = connect_daemon(s);
    if (s->sock < 0) {
        s->connect_at_ns = now_ns + RECONNECT_NS;
        return;
    }
    s->connect_at_ns = s->lease_at_ns = 0;
    greet(s);
}

/* --- messages --------------------------------------------------------------------------------- */

static bool same(const struct attempt_key *a, const struct attempt_key *b)
{
    return a->job == b->job && a->number == b->number;
}

static void handle_other(struct shim *s, const struct shim_msg *m)
{
    bool ours = s->job.active && same(&m->key, &s->job.msg.key);
    bool next = s->next_len > 0 && same(&m->key, &s->next_key);

    if (m->type == SHIM_QUIT) {
        s->quit = true;
        shim_drop_next(s);
    } else if (next && (m->type == SHIM_KILL || m->type == SHIM_DROP))
        shim_drop_next(s);
    else if (m->type == SHIM_KILL && ours)
        shim_job_kill(s, m->grace_ns);
    else if (m->type == SHIM_SIGNAL && ours && s->job.started)
        sys_signal_descendants(m->signo);
}

static void begin(struct shim *s, const struct shim_msg *m)
{
    s->job.msg = *m;
    s->job.end.code = -1;
    shim_job_begin(s);
}

/* What it points to is decoded again when its time has come. */
static void keep_next(struct shim *s, const struct shim_msg *m, size_t len)
{
    s->next_len = len;
    s->next_key = m->key;
    if (s->quit)
        shim_drop_next(s);
}

static void begin_next(struct shim *s)
{
    struct shim_msg m;
    char *packet = s->next;
    size_t len = s->next_len;

    s->next = s->packet;
    s->packet = packet;
    s->next_len = 0;
    if (shim_msg_decode(packet, len, &m, NULL) == 0)
        begin(s, &m);
}

/* `packet` must stay as it is while the job runs, so what comes meanwhile goes elsewhere. */
static void receive(struct shim *s, int flags)
{
    bool idle = !s->job.active, full = s->next_len > 0;
    char small[256], *to = idle ? s->packet : full ? small : s->next;
    size_t room = !idle && full ? sizeof small : SHIM_PACKET_MAX;
    struct shim_msg m;
    ssize_t n = recv(s->sock, to, room, flags);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        lose_daemon(s);
        return;
    }
    if (shim_msg_decode(to, (size_t)n, &m, NULL) != 0) {
        if (idle)
            lose_daemon(s); /* so that the daemon doesn't wait for an answer */
        return;
    }
    if (m.type == SHIM_RUN && idle && !s->quit) {
        begin(s, &m);
        return;
    }
    if (m.type == SHIM_RUN && !idle && !full)
        keep_next(s, &m, (size_t)n);
    else
        handle_other(s, &m);
    shim_msg_fini(&m);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void earlier(int64_t *due, int64_t t)
{
    if (t != 0 && (*due == 0 || t < *due))
        *due = t;
}

static int64_t next_due(const struct shim *s)
{
    int64_t due = 0;

    if (s->job.active) {
        earlier(&due, s->job.start_at_ns);
        earlier(&due, s->job.timeout_at_ns);
        earlier(&due, s->job.kill_at_ns);
        earlier(&due, s->lease_at_ns);
    }
    earlier(&due, s->rewrite_at_ns);
    if (s->sock < 0)
        earlier(&due, s->connect_at_ns);
    return due;
}

static void wait_for_events(struct shim *s)
{
    int64_t due = next_due(s), left = due ? due - clock_mono_ns(&clock_system) : -1;

    if (process_poll(s->sock, due && left < 0 ? 0 : left))
        receive(s, MSG_DONTWAIT);
    else
        shim_job_reap(s);
}

/* Up to when the attempt may run without a daemon; INT64_MAX: there is no lease. */
static int64_t read_lease(const struct shim *s)
{
    char text[SHIM_LEASE_SIZE + 1] = "";
    int fd = openat(s->state_fd, "lease", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, text, SHIM_LEASE_SIZE) : 0;
    int64_t until = INT64_MAX;

    if (fd >= 0)
        close(fd);
    if (n == SHIM_LEASE_SIZE && text[SHIM_LEASE_SIZE - 1] == '\n')
        text[SHIM_LEASE_SIZE - 1] = '\0';
    if (!str_starts(text, "hive-lease 1 ") ||
        str_to_int(text + 13, 0, INT64_MAX, "lease", &until, NULL) != 0)
        return INT64_MAX;
    return until;
}

static void watch_lease(struct shim *s, int64_t now)
{
    int64_t until = read_lease(s);

    s->lease_at_ns = until == INT64_MAX ? 0 : until;
    if (now < until)
        return;
    s->lease_at_ns = 0;
    str_copy(s->job.end.message, sizeof s->job.end.message,
             "the node heard nothing from its head, and its agent was killed");
    shim_job_kill(s, SHIM_LEASE_GRACE_NS);
}

static void tick(struct shim *s)
{
    int64_t due = next_due(s), now;

    if (due == 0 || (now = clock_mono_ns(&clock_system)) < due)
        return;
    shim_job_tick(s, now);
    if (s->rewrite_at_ns != 0 && now >= s->rewrite_at_ns)
        shim_rewrite(s, now);
    if (s->sock < 0 && now >= s->connect_at_ns)
        reconnect(s, now);
    if (s->job.active && s->lease_at_ns != 0 && now >= s->lease_at_ns)
        watch_lease(s, now);
}

static void serve(struct shim *s)
{
    for (;;) {
        bool idle;

        while (!s->job.active && s->next_len > 0)
            begin_next(s);
        idle = !s->job.active && s->unwritten_count == 0;
        if (idle && s->quit)
            return;
        if (idle)
            receive(s, 0);
        else
            wait_for_events(s);
        tick(s);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

int shim_main(const struct shim_setup *setup)
{
    struct shim *s = mem_alloc(sizeof *s);
    int code = 1;

    s->setup = setup;
    s->sock = s->identity.fd = s->job.out = s->job.err = -1;
    s->group.memory_fd = s->group.kill_fd = s->group.peak_fd = -1;
    s->pid = getpid();
    s->start = sys_process_start(s->pid);
    s->packet = mmap(NULL, 2 * SHIM_PACKET_MAX + SHIM_EXEC_STACK, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    s->state_fd = open(setup->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (process_prepare("hive-shim") == 0 && s->packet != MAP_FAILED && s->state_fd >= 0 &&
        s->null_fd >= 0 && shim_identity_renew(&s->identity, s->state_fd, NULL) == 0) {
        s->next = s->packet + SHIM_PACKET_MAX;
        s->stack = s->next + SHIM_PACKET_MAX;
        reconnect(s, 0);
        s->quit = s->sock < 0;
        serve(s);
        shim_identity_drop(&s->identity, s->state_fd);
        if (s->group_made) {
            cgroup_destroy(&s->group);
            cgroup_release(setup->caps);
        }
        code = 0;
    }
    /* The process ends now; everything goes with it. */
    return code;
}
