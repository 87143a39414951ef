/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The link process, `hive link HOST`: owns the SSH connection to one host, and runs over it what its
 * clients ask for, on descriptors that they hand over. As a ControlMaster of OpenSSH it outlives
 * them: a daemon that restarts drops no window, and a crash in SSH code touches no queue. What is
 * said over its socket is in ssh_link_msg.h; ssh_link_client.h is the other side.
 *
 *     fd = ssh_link_listen(runtime_dir, "alpha", &err);          ERR_CONFLICT: there is one already
 *     link = ssh_link_create(loop, &options, fd, &err);
 *     ev_run(loop, &err);                                        until options.ended
 *     ssh_link_destroy(link);
 *
 * It connects at once, and again when the connection is lost: at first within seconds, then up to a
 * minute apart, at random within that; once a minute where waiting doesn't mend what is wrong (host
 * keys, user keys, settings). ssh_config is read anew each time. A client's "connect" is obeyed at
 * once, and so is a command that comes when the last attempt is 5 s old.
 *
 * A command waits for the connection (wait_s, 15 s where its client doesn't say), and for others to
 * end where the server allows no more at once (MaxSessions). Then bytes go both ways with
 * back-pressure: stdin is not read while the host takes none, output is not taken while nobody reads
 * it. "ended" comes after all output was written and closed.
 *
 * When the reader of stdout is gone, the command gets SIGHUP, and 2 s later its channel is closed, so
 * that it gets SIGPIPE when it goes on. A client that goes takes its commands along: their input
 * ends, they get SIGHUP, and their channels are closed 2 s later. (OpenSSH sends no signals to
 * commands of root: of those, one that neither reads nor writes runs on, as it does when ssh is
 * killed.)
 */
#ifndef HIVE_NET_SSH_LINK_H
#define HIVE_NET_SSH_LINK_H

#include <stdint.h>

struct err;
struct ev_loop;
struct log;
struct ssh_link;

#define SSH_LINK_CLIENTS_MAX 256
#define SSH_LINK_COMMANDS_MAX 1024 /* running and waiting, of all clients */
#define SSH_LINK_UNSENT_MAX 512    /* messages that a client doesn't read before it is cut off */

enum ssh_link_via {
    SSH_LINK_AUTO, /* the builtin client; the system's ssh for what only that can do */
    SSH_LINK_BUILTIN,
    SSH_LINK_SYSTEM
};

struct ssh_link_options {
    const char *word; /* ssh_link_check_word(); the strings are copied */
    const char *runtime_dir;
    enum ssh_link_via via;
    int64_t idle_ns;       /* ends after this time without a client; 0: never */
    const struct log *log; /* borrowed; may be NULL */
    /* It has ended: asked to, or idle. The loop may be stopped; called once, by the loop. */
    void (*ended)(void *arg);
    void *arg;
};

/* The hosts that ssh_config says to go through (ProxyJump), as the word of their link; malloc'd. NULL:
 * none. */
struct ssh_config;
char *ssh_link_jumps(const struct ssh_config *config);

/* The listening socket, in a folder of our own (0700). ERR_CONFLICT: that link process is there. */
int ssh_link_listen(const char *runtime_dir, const char *word, struct err *err);
/* listen_fd is the link's from then on, and its file too, also when it fails. */
struct ssh_link *ssh_link_create(struct ev_loop *loop, const struct ssh_link_options *options,
                                 int listen_fd, struct err *err);
/* Commands end, clients are told, the host too; `ended` follows within 2 s. */
void ssh_link_stop(struct ssh_link *link);
/* NULL is legal. */
void ssh_link_destroy(struct ssh_link *link);

#endif
