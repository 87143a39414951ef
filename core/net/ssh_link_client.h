/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Client of a link process (ssh_link.h): runs commands on a host that is reached with SSH, without
 * any SSH in this process.
 *
 *     struct ssh_link_client_options o = { .runtime_dir = dir, .word = "alpha",
 *                                          .start = ssh_link_start, .changed = on_changed };
 *     client = ssh_link_client_open(loop, &o, &err);
 *     run = ssh_link_client_exec(client, "uname -a", fds, -1, on_event, arg, &err);
 *     ... on_event: SSH_LINK_EV_STARTED, SSH_LINK_EV_ENDED: ssh_link_run_result(run) ...
 *     ssh_link_run_close(run);
 *     ssh_link_client_destroy(client);
 *
 * Nothing waits, but for what `start` does. When the link process dies, all that ran has ended with
 * ERR_UNAVAILABLE and the state is STOPPED; the next exec, dial or connect starts another one.
 * Callbacks come from the loop, never from within a call; in them everything here may be called,
 * destroying included.
 */
#ifndef HIVE_NET_SSH_LINK_CLIENT_H
#define HIVE_NET_SSH_LINK_CLIENT_H

#include "base/err.h"
#include "net/ssh_link_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct ssh_link_client;
struct ssh_link_run;

/* What is known of the connection. Strings are borrowed until the next change; "" for nothing. */
struct ssh_link_status {
    enum ssh_link_state state;
    struct err err;
    int64_t since_ns, retry_ns; /* wall time; 0: unknown, none */
    const char *via, *server, *methods;
    int64_t pid; /* of the link process */
};

/* Starts the link process for a word; it listens when this returns 0. Also 0: it was there. */
typedef int ssh_link_start_fn(void *arg, const char *runtime_dir, const char *word,
                              struct err *err);

/*
 * By running this program again, `hive link -- WORD`: waits some milliseconds, 10 s at most, until
 * it is in the background. For commands and link processes; a daemon has a spawner. `arg`: NULL, or
 * the text of an option to add, "--ssh=system".
 */
int ssh_link_start(void *arg, const char *runtime_dir, const char *word, struct err *err);

/*
 * The same for an event loop: `done` is called once, by the loop, unless it is cancelled before: with
 * NULL when the process listens. `option` as `arg` above. Cancelling kills what has not gone to the
 * background yet. NULL: no process could be made.
 */
struct ssh_link_starting;
struct ssh_link_starting *ssh_link_start_begin(struct ev_loop *loop, const char *runtime_dir,
                                               const char *word, const char *option,
                                               void (*done)(void *arg, const struct err *err),
                                               void *arg, struct err *err);
void ssh_link_start_cancel(struct ssh_link_starting *s); /* NULL is legal */

struct ssh_link_client_options {
    const char *runtime_dir, *word; /* copied */
    ssh_link_start_fn *start;       /* NULL: the link process has to be there */
    void *start_arg;
    bool watch; /* `changed` is called for each change, and not only when the link is lost */
    void (*changed)(struct ssh_link_client *client, const struct ssh_link_status *status,
                    void *arg);
    void *arg;
};

/* Connects, starting the link process if need be. Errors that come later are told by `changed`
 * (STOPPED) and by what runs. NULL: ERR_INVALID for a word that is none. */
struct ssh_link_client *ssh_link_client_open(struct ev_loop *loop,
                                             const struct ssh_link_client_options *options,
                                             struct err *err);
/* What runs is let go of; pointers to it are invalid. NULL is legal. */
void ssh_link_client_destroy(struct ssh_link_client *client);

/* As last told; NONE before. Borrowed. */
const struct ssh_link_status *ssh_link_client_status(const struct ssh_link_client *client);
/* Tries to reach the host now; starts the link process if it is gone. */
void ssh_link_client_connect(struct ssh_link_client *client);
/* Ends the link process, for all its clients. */
void ssh_link_client_stop(struct ssh_link_client *client);

#define SSH_LINK_EV_STARTED 1u
#define SSH_LINK_EV_ENDED 2u /* once, and last: ssh_link_run_result() */

typedef void ssh_link_event_fn(struct ssh_link_run *run, unsigned event, void *arg);

/*
 * Runs a command with these three descriptors as its stdin, stdout, stderr; they stay the caller's,
 * who will want to close his copies. They may be anything; a terminal's input is read as long as the
 * command runs, also when the caller is in the background. wait_ns: how long to wait for the
 * connection; -1: 15 s. NULL: ERR_TOO_LARGE, ERR_UNAVAILABLE.
 */
struct ssh_link_run *ssh_link_client_exec(struct ssh_link_client *client, const char *command,
                                          const int fds[3], int64_t wait_ns,
                                          ssh_link_event_fn *event, void *arg, struct err *err);
/* A TCP connection from the host on; `fd` is a stream socket, which stays the caller's. */
struct ssh_link_run *ssh_link_client_dial(struct ssh_link_client *client, const char *host,
                                          uint16_t port, int fd, int64_t wait_ns,
                                          ssh_link_event_fn *event, void *arg, struct err *err);
/* "TERM", without SIG. One that has not started is given up. */
void ssh_link_run_signal(struct ssh_link_run *run, const char *name);
/* RUNNING before it has ended. Borrowed. */
const struct ssh_link_result *ssh_link_run_result(const struct ssh_link_run *run);
/* Lets go of it. The pointer is invalid afterwards. NULL is legal. */
void ssh_link_run_close(struct ssh_link_run *run);

#endif
