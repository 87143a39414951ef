/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to the link process: descriptors that clients hand over, to be read from or written to
 * without ever waiting.
 *
 * O_NONBLOCK belongs to the open file, which the client, its shell and other programs still use: it
 * is never set on what they share. Instead,
 *   sockets              are used with MSG_DONTWAIT;
 *   pipes and terminals  are opened anew through /proc/self/fd, which gives an open file of our own
 *                        with O_NONBLOCK; where that isn't allowed, or another file would come of
 *                        it, as with the master side of a terminal, they are asked whether they are
 *                        ready and then read or written a little (PIPE_BUF) at a time, which waits
 *                        only if another program takes what we were promised;
 *   files and /dev/null  can't be watched and don't wait (longer than a disk does); opened anew they
 *                        would lose their position, which they share with the client on purpose.
 * One that has O_NONBLOCK already is taken as it is.
 */
#ifndef HIVE_NET_SSH_LINK_STREAM_H
#define HIVE_NET_SSH_LINK_STREAM_H

#include "ev/ev.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;

struct link_stream {
    void (*ready)(struct link_stream *s,
                  unsigned events); /* set by the caller; EV_READ and so on */
    void *arg;

    struct ev_io io; /* .fd -1: closed */
    struct ev_loop *loop;
    bool socket, writes, polite; /* polite: PIPE_BUF at a time, after asking */
    bool watchable;
    dev_t dev; /* which file it is */
    ino_t ino;
};

/* Takes fd, also when it fails: ERR_INVALID when it is open in the other direction only. */
int link_stream_open(struct link_stream *s, struct ev_loop *loop, int fd, bool writes,
                     struct err *err);
bool link_stream_is_open(const struct link_stream *s);
/* `ready` is called once it may go on; not before, and not for hang-ups meanwhile, unless `hangup`
 * asks for them. */
void link_stream_watch(struct link_stream *s, bool on);
/* Only hang-ups are told: both directions of a socket are gone. */
void link_stream_watch_hangup(struct link_stream *s);
/* As read(2) and write(2), but they never wait: -1 with EAGAIN then. */
ssize_t link_stream_read(struct link_stream *s, void *data, size_t len);
ssize_t link_stream_write(struct link_stream *s, const void *data, size_t len);
bool link_stream_same_file(const struct link_stream *a, const struct link_stream *b);
/* Closes it; `shut`: also ends sending over a socket that others still have. Harmless when closed. */
void link_stream_close(struct link_stream *s, bool shut);

#endif
