/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests of the node with real processes: a daemon's loop and node in a folder of the test's
 * own. The test program is its own spawner, as hive is. */
#ifndef HIVE_TESTS_UNIT_NODE_WORLD_H
#define HIVE_TESTS_UNIT_NODE_WORLD_H

#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "ev/ev.h"
#include "node/attempt.h"
#include "node/node.h"
#include "node/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NODE_WORLD_FN static __attribute__((unused))

/* "PROGRAM spawner --internal FD STATE RUNTIME", before the runner looks at the arguments. Not
 * every C library hands them to a constructor. */
__attribute__((constructor)) static void be_the_spawner(void)
{
    char text[4096], *argv[8];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC), argc = 0;
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;

    if (fd >= 0)
        close(fd);
    for (ssize_t at = 0; at < len && argc < 8; at += (ssize_t)strlen(text + at) + 1)
        argv[argc++] = text + at;
    if (argc == 6 && str_eq(argv[1], "spawner"))
        _exit(spawner_main(argc - 1, argv + 1));
}

#define WAIT_S 20

struct world {
    char *state, *runtime;
    struct ev_loop *loop;
    struct node *node;
    struct attempt_end ends[64];
    size_t ended;
    struct attempt_key never[8];
    size_t never_count;
    struct attempt_key back[8];
    size_t back_count;
};

NODE_WORLD_FN void on_ended(const struct attempt_end *end, void *arg)
{
    struct world *w = arg;

    w->ends[w->ended++ % ARRAY_LEN(w->ends)] = *end;
}

NODE_WORLD_FN void on_never(const struct attempt_key *key, void *arg)
{
    struct world *w = arg;

    w->never[w->never_count++ % ARRAY_LEN(w->never)] = *key;
}

NODE_WORLD_FN void on_taken_back(const struct attempt_key *key, void *arg)
{
    struct world *w = arg;

    w->back[w->back_count++ % ARRAY_LEN(w->back)] = *key;
}

NODE_WORLD_FN void start_daemon(struct world *w)
{
    struct err err = ERR_INIT;
    struct node_config cfg = {
        .state_dir = w->state, .runtime_dir = w->runtime, .idle_shims = 1, .slots = 4
    };
    struct node_hooks hooks = { on_ended, on_never, on_taken_back, w };

    w->loop = ev_loop_create(&clock_system, &err);
    CHECK(w->loop);
    cfg.spawner_fd = spawner_start(w->state, w->runtime, &err);
    CHECK(cfg.spawner_fd >= 0);
    w->node = node_create(w->loop, NULL, &cfg, &hooks, &err);
    if (!w->node)
        unit_fail(__FILE__, __LINE__, "node_create: %s", err.msg);
}

NODE_WORLD_FN void stop_daemon(struct world *w)
{
    node_destroy(w->node);
    ev_loop_destroy(w->loop);
    w->node = NULL;
}

NODE_WORLD_FN void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->state = mem_printf("%s/state", unit_tmpdir());
    w->runtime = mem_printf("%s/run", unit_tmpdir());
    CHECK(mkdir(w->state, 0700) == 0 && mkdir(w->runtime, 0700) == 0);
    start_daemon(w);
}

NODE_WORLD_FN void close_world(struct world *w)
{
    stop_daemon(w);
    free(w->state);
    free(w->runtime);
}

NODE_WORLD_FN int64_t now(void)
{
    return clock_mono_ns(&clock_system);
}

NODE_WORLD_FN void turn_until_ended(struct world *w, size_t count)
{
    int64_t deadline = now() + WAIT_S * NS_PER_S;

    while (w->ended < count) {
        if (now() > deadline)
            unit_fail(__FILE__, __LINE__, "%zu of %zu attempts ended in %d s", w->ended, count,
                      WAIT_S);
        CHECK(ev_turn(w->loop, 50 * NS_PER_MS, NULL) == 0);
    }
}

/* Turns until the path exists. */
NODE_WORLD_FN void turn_until_file(struct world *w, const char *path)
{
    int64_t deadline = now() + WAIT_S * NS_PER_S;

    while (access(path, F_OK) != 0) {
        if (now() > deadline)
            unit_fail(__FILE__, __LINE__, "%s did not appear", path);
        if (w->node)
            CHECK(ev_turn(w->loop, 5 * NS_PER_MS, NULL) == 0);
        else
            nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
}

/* Zombies are not: whoever has to reap them may be the test runner, later. */
NODE_WORLD_FN bool alive(pid_t pid)
{
    char *path = mem_printf("/proc/%ld/stat", (long)pid);
    struct buf b = BUF_INIT;
    bool yes = fs_read_file(path, 4096, &b, NULL) == 0 && !strstr(buf_data(&b), ") Z ");

    buf_fini(&b);
    free(path);
    return yes;
}

/* A process that is nobody's child of ours: polls until it is gone. */
NODE_WORLD_FN bool gone_within(pid_t pid, int64_t ns)
{
    int64_t deadline = now() + ns;

    while (alive(pid)) {
        if (now() > deadline)
            return false;
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
    }
    return true;
}

NODE_WORLD_FN const char *const default_env[] = { "PATH=/usr/local/bin:/usr/bin:/bin",
                                                  "HIVE_TEST=yes", NULL };

NODE_WORLD_FN struct node_run request(int64_t job, const char *const *argv)
{
    return (
        struct node_run){ .key = { job, 1, 7 }, .argv = argv, .env = default_env, .workdir = "/" };
}

NODE_WORLD_FN void run_argv(struct world *w, int64_t job, const char *const *argv)
{
    struct node_run r = request(job, argv);
    struct err err = ERR_INIT;

    CHECK_OK(node_run(w->node, &r, &err), &err);
}

NODE_WORLD_FN void run_sh(struct world *w, int64_t job, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };

    run_argv(w, job, argv);
}

/* "out", "err", "claim", "script" of the job's first attempt. */
NODE_WORLD_FN char *own_file(const struct world *w, int64_t job, const char *name)
{
    return mem_printf("%s/attempts/%lld/%lld.1.%s", w->state, (long long)(job / 1024),
                      (long long)job, name);
}

NODE_WORLD_FN char *file_text(const char *path)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file(path, 1 << 20, &b, &err), &err);
    return buf_take(&b, NULL);
}

NODE_WORLD_FN void check_file(const char *path, const char *want)
{
    char *text = file_text(path);

    CHECK_STR(text, want);
    free(text);
}

NODE_WORLD_FN void check_own(const struct world *w, int64_t job, const char *name, const char *want)
{
    char *path = own_file(w, job, name);

    check_file(path, want);
    free(path);
}

NODE_WORLD_FN pid_t pid_in(const char *path)
{
    char *text = file_text(path);
    pid_t pid = (pid_t)strtol(text, NULL, 10);

    free(text);
    CHECK(pid > 1);
    return pid;
}

#endif
