/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Beowulf's socket, ~/.beowulf/run/daemon: its clients are answered as beowulfd did
 * (net/beowulf_wire.h). They get to a host with SSH alone, so our own machine is none for them, unless
 * it is among the hosts as one that is reached with SSH ("localhost"); and `host` in an answer is what
 * ssh is told. A client may ask for several things, one after the other; it is given up when it says
 * nothing, or takes nothing, for BEOWULF_IDLE_NS.
 */
#ifndef HIVE_HEAD_BEOWULF_H
#define HIVE_HEAD_BEOWULF_H

#include <stdint.h>

struct beowulf;
struct err;
struct ev_loop;
struct head;
struct log;

#define BEOWULF_CLIENTS_MAX 64 /* at once; others wait to be accepted */
#define BEOWULF_IDLE_NS INT64_C(30000000000)

/* Serves a listening, non-blocking Unix socket, which is taken over, also on failure. Only processes of
 * our own user and of root are served. `head` and `log` are borrowed. */
struct beowulf *beowulf_create(struct ev_loop *loop, const struct log *log, struct head *head,
                               int fd, struct err *err);
/* Closes all; before the head is destroyed. NULL is legal. The socket's file is the caller's to
 * remove. */
void beowulf_destroy(struct beowulf *b);

#endif
