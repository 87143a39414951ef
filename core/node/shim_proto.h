/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages between daemon and shim over a SOCK_SEQPACKET Unix socket, one packet each, at most
 * SHIM_PACKET_MAX bytes: a version byte, a type byte, then fields in fixed order (integers
 * little-endian, strings with a 32-bit length). Decoding checks every length. A shim must still be
 * understood by the daemon of another hive version after an upgrade: fields are only ever added at
 * the end of a message, what is missing there reads as 0 or NULL, what is too much is ignored.
 *
 *   shim → daemon   HELLO key pid start    on connecting; key of the running attempt, or job 0
 *                   ENDED attempt_end      after the exit record is written (or could not be)
 *                   REFUSED key            somebody else claimed that attempt before
 *                   DROPPED key            it has not begun and will not here
 *   daemon → shim   RUN node_run           to an idle shim; to a busy one: the next, one at most
 *                   KILL key grace         ignored unless that attempt is running or the next
 *                   SIGNAL key signo       ignored unless that attempt is running
 *                   DROP key               the next: is given up. Ignored once it has begun
 *                   QUIT                   an idle shim ends, a busy one after its attempt
 *
 * The next one begins the moment the attempt before has ended, without asking; ENDED of the one
 * before is sent first. DROPPED answers KILL and DROP of the next. It also comes unasked, before
 * REFUSED or ENDED of the one before, where the shim will not go on. So when ENDED comes the next
 * has begun, unless DROPPED came first.
 */
#ifndef HIVE_NODE_SHIM_PROTO_H
#define HIVE_NODE_SHIM_PROTO_H

#include "node/attempt.h"
#include "node/node.h"

struct buf;

#define SHIM_PROTO_VERSION 1
#define SHIM_PACKET_MAX (160 * 1024)

enum shim_msg_type {
    SHIM_HELLO = 1,
    SHIM_ENDED,
    SHIM_REFUSED,
    SHIM_RUN,
    SHIM_KILL,
    SHIM_SIGNAL,
    SHIM_QUIT,
    SHIM_DROP,
    SHIM_DROPPED,
    SHIM_MSG_TYPES
};

struct shim_msg {
    enum shim_msg_type type;
    struct attempt_key key; /* all but QUIT; in HELLO job 0 means idle */
    pid_t pid;              /* HELLO */
    uint64_t start;         /* HELLO: sys_process_start of the shim */
    int64_t grace_ns;       /* KILL */
    int32_t signo;          /* SIGNAL */
    struct attempt_end end; /* ENDED; end.key is key */
    struct node_run run;    /* RUN; run.key is key; strings point into the packet and `ptrs` */
    const char **ptrs;      /* owned: argv and env arrays */
};

/* Encodes into b (cleared first). ERR_TOO_LARGE over SHIM_PACKET_MAX. */
int shim_msg_encode(const struct shim_msg *m, struct buf *b, struct err *err);
/* Decodes; strings borrow from `data`, which must outlive m. ERR_CORRUPT otherwise, and m then
 * needs no shim_msg_fini. */
int shim_msg_decode(const char *data, size_t len, struct shim_msg *m, struct err *err);
void shim_msg_fini(struct shim_msg *m); /* frees ptrs */

#endif
