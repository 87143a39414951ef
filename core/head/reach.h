/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeps an agent at hand on a host that is reached with SSH: starts the link process of the host,
 * waits for it to be connected, puts hive there if it isn't, starts the agent, and hands over a
 * socket with the agent at its other end. When the agent ends or the connection is lost it begins
 * again, later each time as long as that fails at once. Nothing in it waits.
 *
 * The link process is one of its own (net/ssh_link.h) and outlives the daemon.
 */
#ifndef HIVE_HEAD_REACH_H
#define HIVE_HEAD_REACH_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct log;
struct reach;
struct sample;
struct ssh_deploy_program;

enum reach_state {
    REACH_STARTING,   /* the link process */
    REACH_CONNECTING, /* it connects and logs in */
    REACH_COPYING,    /* hive is looked for there, or copied */
    REACH_TALKING,    /* an agent was started and handed over */
    REACH_MEASURING,  /* hive can't run there (err says why): its shell is asked for measurements */
    REACH_WAITING     /* for the next try: reach_status.err, .retry_ns */
};

struct reach_status {
    enum reach_state state;
    /* Why it waits, or what is in the way while it connects; kind ERR_NONE: nothing. */
    const struct err *err;
    int64_t retry_ns;         /* WAITING, or CONNECTING after a failure: wall time; 0: unknown */
    int copied_percent;       /* COPYING: 0..100 while it is copied, -1 while it is looked for */
    const char *via, *server; /* "builtin" or "system"; "OpenSSH_9.2p1 …"; "" unknown */
};

struct reach_config {
    const char *runtime_dir;            /* absolute */
    const char *host;                   /* as ssh would be told: "big.local", "ann@big" */
    const char *id;                     /* of who reaches it: no two heads have the same */
    struct ssh_deploy_program *program; /* what is copied there; borrowed. NULL: nothing
                                         can be, and so nothing runs there */
};

struct reach_hooks {
    /* A socket with `hive agent --stdio` at its other end: the callee's. */
    void (*agent)(int fd, void *arg);
    /* MEASURING: borrowed for the call. */
    void (*sample)(const struct sample *s, void *arg);
    void (*changed)(void *arg); /* reach_status() has */
    void *arg;
};

/* Begins. Strings are copied; hooks are called from the loop only. */
struct reach *reach_create(struct ev_loop *loop, const struct log *log,
                           const struct reach_config *cfg, const struct reach_hooks *hooks);
/* Lets go of the link process, which stays; the agent hears that its input ends. NULL is legal. Not
 * from a hook. */
void reach_destroy(struct reach *r);
/* Seconds between the samples of a host that is MEASURING. */
void reach_measure(struct reach *r, int64_t interval_s);
/* Tries now instead of later. */
void reach_again(struct reach *r);
/* The agent that was handed over is of no use: another one is started, later. */
void reach_failed(struct reach *r, const struct err *err);
/* Takes hive's files away from the host, if it is connected, then ends the link process; `done` is
 * called, once, before r is to be destroyed. */
void reach_leave(struct reach *r, void (*done)(void *arg, const struct err *err), void *arg);
/* Borrowed, until the next change. */
const struct reach_status *reach_status(const struct reach *r);
/* "connecting", "copying hive (40 %)", ... for people, without the error. */
void reach_text(const struct reach *r, char *out, size_t size);

#endif
