/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a node does for its head: runs attempts and says how they ended. This is the near side of
 * every node; a remote one has the link protocol in between, the standalone daemon calls it
 * directly.
 *
 * Processes behind it: the spawner (spawner.h) forks shims on request. Each shim connects back to
 * RUNTIME/shim.sock, says who it is and what it runs, takes one attempt at a time, and stays for
 * the next one: an attempt then costs one vfork. A shim outlives the daemon: it finishes its
 * attempt, writes the exit record, and meanwhile tries to reach the next daemon's shim.sock.
 */
#ifndef HIVE_NODE_NODE_H
#define HIVE_NODE_NODE_H

#include "node/attempt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct ev_loop;
struct log;
struct node;
struct sample;

/*
 * Starts the spawner by executing /proc/self/exe, and returns its control descriptor without
 * waiting for it. The process inherits umask, limits and control group of the caller, and jobs
 * inherit them from it: call before changing those. `state_dir` and `runtime_dir` are absolute and
 * exist. The spawner ends when the descriptor is closed and the last of its shims has ended.
 */
int spawner_start(const char *state_dir, const char *runtime_dir, struct err *err);

struct node_config {
    const char *state_dir, *runtime_dir; /* absolute */
    int spawner_fd;                      /* from spawner_start; taken over, even on failure */
    int idle_shims;                      /* kept ready when nothing runs */
    int slots;                           /* most attempts at once: shims kept while work flows */
};

struct node_hooks {
    /* An attempt ended. Never called from inside a node_ function. After it the key is
     * forgotten. */
    void (*ended)(const struct attempt_end *end, void *arg);
    /* An attempt found by node_adopt() never started and never will. Never called from inside a
     * node_ function. */
    void (*never_started)(const struct attempt_key *key, void *arg);
    /* An attempt that node_take_back() asked for has not begun; it is forgotten and its number may
     * be used again. Never called from inside a node_ function. */
    void (*taken_back)(const struct attempt_key *key, void *arg);
    void *arg;
};

/* Waits (at most 10 s) until the spawner is ready. ERR_CONFLICT when another daemon serves
 * runtime_dir. `log` may be NULL; log and hooks->arg must outlive the node. */
struct node *node_create(struct ev_loop *loop, const struct log *log, const struct node_config *cfg,
                         const struct node_hooks *hooks, struct err *err);
/* Lets go of everything: running attempts go on under their shims, idle shims end, what has not
 * begun never will. No hook is called any more. Not to be called from a hook. */
void node_destroy(struct node *n);

struct node_run {
    struct attempt_key key;
    /* Starts only when this attempt has ended, at once then; job 0, or one that isn't known here
     * (any more): doesn't wait. Stands behind those who wait for it already; where one of these is
     * taken back or cancelled, the others move up. */
    struct attempt_key after;
    const char *const *argv; /* NULL-terminated; argv[0] is searched in PATH of `env` */
    /* NULL-terminated "K=V": the whole environment, but for HIVE_ATTEMPT_PREFIX, which is added:
     * what the paths of the attempt's files begin with, and by which what it started is known. */
    const char *const *env;
    const char *workdir; /* absolute */
    /* Absolute, or NULL for the attempt's own file; missing parent folders are NOT made. Both the
     * same path: one file for both. */
    const char *stdout_path, *stderr_path;
    bool append; /* outputs given by path are appended to, not truncated (a retry) */
    /* Text for the attempt's file ".script" (0700), or NULL; an argv element "{script}" is replaced
     * by its absolute path. */
    const char *script;
    int64_t timeout_ns;   /* 0: none; counted from the start, monotonic */
    int64_t grace_ns;     /* between SIGTERM and SIGKILL on timeout */
    int64_t memory_bytes; /* 0: no limit */
};

/*
 * Starts an attempt as soon as a shim is free (one is forked if none is). What it points to is
 * copied. -1 when the request is too large (ERR_TOO_LARGE), the key is out of range (ERR_INVALID)
 * or running already (ERR_CONFLICT); everything else, a failure to start included, comes back
 * through `ended`.
 */
int node_run(struct node *n, const struct node_run *run, struct err *err);

/*
 * Ends an attempt with its whole tree: SIGTERM now and SIGKILL after grace_ns (0: SIGKILL now).
 * `ended` follows with ATTEMPT_CANCELLED (or what it was, if it ended by itself before). Unknown
 * keys are ignored. Calling again with a shorter grace makes it so.
 */
void node_kill(struct node *n, const struct attempt_key *key, int64_t grace_ns);

/*
 * Takes back an attempt that still waits for another (`after`). True: it is forgotten, no hook
 * follows, and its number may be used again. False: it is left alone if it has begun or doesn't wait
 * for another; if its shim was already told of it, the shim is asked, and either `taken_back`
 * follows or it begins like any other.
 */
bool node_take_back(struct node *n, const struct attempt_key *key);

/* Sends a signal to all processes of the job; used for suspend, and signals forwarded by a client.
 * Dropped when the attempt has not begun. */
void node_signal(struct node *n, const struct attempt_key *key, int signo);

/*
 * After a restart: takes up an attempt that the store says is running. Its fate is found in its
 * files and reported through `ended` or `never_started`, or it is alive and `ended` comes when it
 * ends. ERR_CONFLICT when the key is known already, ERR_INVALID when it is out of range; system
 * errors otherwise.
 *
 * `rebooted`: the machine was started anew since the attempt was ordered. Its files are not synced:
 * where none is left it may have run all the same, so that it is ATTEMPT_LOST with the message
 * NODE_REBOOTED, as one is that was running. Only what was given up before it started never did.
 */
int node_adopt(struct node *n, const struct attempt_key *key, bool rebooted, struct err *err);
#define NODE_REBOOTED "the machine was restarted while it ran"

/* What is enforced here, for people: "" or "memory limits are not enforced: …". */
const char *node_memory_note(const struct node *n);
/*
 * What the machine is doing (sys/sample.h), at most 10 s old, and at most 2 s for whoever asks every
 * few seconds. Borrowed, until the next turn. NULL when it can't be measured.
 */
const struct sample *node_measure(struct node *n);
/* What the process tree of an attempt uses. */
struct node_use {
    struct attempt_key key;
    int64_t cpu_ns; /* user and system, since it was first looked at, or nearly since it began */
    int64_t memory_bytes; /* as sample_tree.memory */
};
/* Of running attempts, at most `max`; returns how many. Reads a file for each process of the
 * machine. */
size_t node_measure_uses(struct node *n, struct node_use *out, size_t max);
/* Attempts given to node_run or node_adopt whose end has not been reported. */
size_t node_running(const struct node *n);

#endif
