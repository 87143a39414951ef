/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent: a node on another machine, for one head, which it speaks to over two descriptors with
 * the link protocol (link_msg.h). It runs attempts as the daemon of a single machine does (node.h).
 *
 * A lost connection (end of input, nobody reads the output) is not the end of what runs: with
 * attempts running it stays without a connection until they have ended, until the next agent for
 * the same head comes, or until the lease ends: then it ends them all. Without, it is done at once.
 * When it is killed meanwhile, their shims watch the lease.
 *
 *   STATE/agent/HEAD/HOST/  its state folder, as of a node; HOST, because a home folder may be shared
 *       lock                flock'd by the agent that serves this head; "PID START" of it
 *       fence               the highest fence seen
 *       boot                id of the boot in which attempts were ordered
 *       lease               up to when jobs may run without a word from the head (shim.h)
 *   RUNTIME/agent/HEAD/     sockets of the node
 *
 * A new agent asks the one that holds the lock to let go with SIGTERM, and kills one that doesn't:
 * attempts go on under their shims either way, and are taken up. Those that wait for a shim or for
 * another attempt never start then.
 *
 * Nothing is kept about ends that the head has not acknowledged: after a reconnect it names the
 * attempts whose end it doesn't know, and their files say what became of them.
 */
#ifndef HIVE_NODE_AGENT_H
#define HIVE_NODE_AGENT_H

#include <stddef.h>
#include <stdint.h>

struct agent;
struct err;
struct ev_loop;
struct log;

struct agent_config {
    const char *state_dir, *runtime_dir; /* STATE and RUNTIME; absolute, made if missing */
    const char *version;                 /* of hive, for hello */
    int in_fd, out_fd; /* stay the caller's, and as they are: not made non-blocking */
    int idle_shims;    /* as in struct node_config */
    /* The agent is done: 0 in good order, -1 with the reason in `err`. Called once, never from
     * inside an agent_ function; agent_destroy() may not be called in it. */
    void (*done)(int rc, const struct err *err, void *arg);
    /* No connection any more: neither descriptor is used from now on. May be NULL. */
    void (*alone)(void *arg);
    void *arg;
};

/* Says hello. SIGPIPE must be ignored by the process. `log` may be NULL; log must outlive it. */
struct agent *agent_create(struct ev_loop *loop, const struct log *log,
                           const struct agent_config *cfg, struct err *err);
/* Lets go of all that runs, which goes on. NULL is legal. */
void agent_destroy(struct agent *a);

#endif
