/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The head's side of a far node: whatever comes over the connection, each attempt is told of exactly
 * once, and nothing is left behind. The input is what the node says; a byte 0xff and the next one
 * are something that happens on our side.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "ev/ev.h"
#include "head/remote.h"
#include "node/link_msg.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOBS 8
#define GREETING                                                                                   \
    "{\"type\":\"hello\",\"v\":1,\"name\":\"n\",\"threads\":1}\n"                                  \
    "{\"type\":\"agreed\",\"state_dir\":\"/s\"}\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct clock clock;
    int64_t now_ns;
    struct ev_loop *loop;
    struct remote *remote;
    int peer;
    int ordered, told[JOBS + 1];
    size_t tellings;
};

static int64_t read_clock(void *arg)
{
    return *(int64_t *)arg;
}

static void note(struct world *w, const struct attempt_key *key)
{
    if (key->job < 1 || key->job > w->ordered || key->number != 1 || w->told[key->job]++)
        abort();
    w->tellings++;
    if (key->job % 2)
        remote_ack(w->remote, key);
}

static void on_ended(const struct attempt_end *end, void *arg)
{
    if ((unsigned)end->outcome >= ATTEMPT_OUTCOME_COUNT)
        abort();
    note(arg, &end->key);
}

static void on_never_started(const struct attempt_key *key, void *arg)
{
    note(arg, key);
}

static char folder[64];

static void remove_folder(void)
{
    fs_remove_tree(AT_FDCWD, folder, NULL);
}

static const char *state_folder(void)
{
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/hive-fuzz-remote.XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(folder))
            abort();
        atexit(remove_folder);
    }
    return folder;
}

static void turn(struct world *w)
{
    char sink[65536];

    for (int i = 0; i < 3; i++) {
        if (ev_turn(w->loop, 0, NULL) != 0)
            abort();
        while (w->peer >= 0 && recv(w->peer, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
    }
}

static void node_says(struct world *w, const void *data, size_t len)
{
    if (len > 0 && w->peer >= 0)
        (void)!send(w->peer, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void reconnect(struct world *w)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
        remote_connect(w->remote, pair[0], NULL) != 0)
        abort();
    if (w->peer >= 0)
        close(w->peer);
    w->peer = pair[1];
}

static void order(struct world *w)
{
    static const char *const argv[] = { "x", NULL }, *const env[] = { NULL };
    struct remote_order o = { .run = { .argv = argv, .env = env, .workdir = "/" } };

    if (w->ordered == JOBS)
        return;
    o.run.key = (struct attempt_key){ ++w->ordered, 1, 1 };
    if (w->ordered % 3 == 0)
        o.run.stdout_path = o.run.stderr_path = "/f";
    if (remote_run(w->remote, &o, NULL) != 0)
        abort();
}

static void happen(struct world *w, uint8_t what)
{
    struct attempt_key key = { what / 8 % JOBS + 1, 1, 1 };

    switch (what % 8) {
    case 0:
        order(w);
        break;
    case 1:
        w->now_ns += (int64_t)(what / 8) * NS_PER_S;
        break;
    case 2:
        remote_kill(w->remote, &key, 0);
        break;
    case 3:
        remote_ack(w->remote, &key);
        break;
    case 4:
        remote_forget(w->remote, &key);
        break;
    case 5:
        reconnect(w);
        break;
    case 6:
        remote_disconnect(w->remote);
        break;
    default:
        node_says(w, GREETING, sizeof GREETING - 1);
        break;
    }
}

static void open_world(struct world *w)
{
    struct remote_config cfg = { .name = "far",
                                 .state_dir = state_folder(),
                                 .head_id = "0123456789abcdef",
                                 .fence = 1,
                                 .lease_s = 20,
                                 .output_max = 20 };
    struct remote_hooks hooks = { .ended = on_ended, .never_started = on_never_started, .arg = w };

    memset(w, 0, sizeof *w);
    w->now_ns = NS_PER_S;
    w->clock = (struct clock){ read_clock, read_clock, &w->now_ns };
    w->loop = ev_loop_create(&w->clock, NULL);
    w->peer = -1;
    w->remote = w->loop ? remote_create(w->loop, NULL, &cfg, &hooks, NULL) : NULL;
    if (!w->remote)
        abort();
    reconnect(w);
}

/* Time goes by, nobody comes back: everything has a fate. */
static void check_fates(struct world *w)
{
    remote_disconnect(w->remote);
    for (int i = 0; i < 4; i++) {
        w->now_ns += 100 * NS_PER_S;
        turn(w);
    }
    if (remote_running(w->remote) != 0 || w->tellings != (size_t)w->ordered)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w;
    size_t i = 0;

    open_world(&w);
    while (i < size) {
        const uint8_t *mark = memchr(data + i, 0xff, size - i);
        size_t len = mark ? (size_t)(mark - data) - i : size - i;
        node_says(&w, data + i, len);
        turn(&w);
        i += len;
        if (mark && i + 1 < size) {
            happen(&w, data[i + 1]);
            turn(&w);
        }
        i += mark ? 2 : 0;
    }
    turn(&w);
    check_fates(&w);
    remote_destroy(w.remote);
    if (w.peer >= 0)
        close(w.peer);
    ev_loop_destroy(w.loop);
    remove_folder();
    if (mkdir(folder, 0700) != 0)
        abort();
    return 0;
}
