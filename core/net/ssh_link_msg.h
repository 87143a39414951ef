/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a link process (ssh_link.h) and its clients (ssh_link_client.h) say to each other: one JSON
 * object per packet of a Unix socket of type SOCK_SEQPACKET, RUNTIME/links/NAME.sock. Unknown fields
 * are ignored, unknown types are answered with an error; a peer without "hello" first is refused.
 *
 *   client → link                                            and with it
 *     hello    v                                             always first
 *     exec     id, command (or command_hex), wait_s          stdin, stdout, stderr
 *     dial     id, host, port, wait_s                        a stream socket
 *     signal   id, signal: "TERM"
 *     close    id            lets go of it; nothing more is told about it
 *     state                  asks once
 *     watch                  asks, and is told each change from then on
 *     connect                try now, don't wait for the next attempt
 *     stop                   end
 *   link → client
 *     hello    v, host, pid
 *     state    state, via, since, error, hint, kind, retry_at, server, methods
 *     started  id
 *     ended    id and one of code, signal, (error, hint, kind): after all output was written
 *     error    error, hint, kind, id if it is about one
 *
 * `id` is the client's own number for what it asks for, from 1 on. wait_s is for how long a
 * connection that isn't there may be waited for; 0: the next attempt has to succeed.
 */
#ifndef HIVE_NET_SSH_LINK_MSG_H
#define HIVE_NET_SSH_LINK_MSG_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct buf;
struct yyjson_doc;

#define SSH_LINK_VERSION 1
#define SSH_LINK_PACKET_MAX ((size_t)160 * 1024) /* over that: the client is cut off */
#define SSH_LINK_FDS 3                           /* descriptors with one packet */
#define SSH_LINK_COMMAND_MAX ((size_t)24 * 1024) /* as SSH_CHANNEL_COMMAND_MAX */
#define SSH_LINK_HOST_MAX 255
#define SSH_LINK_WORD_MAX 512
#define SSH_LINK_HOPS_MAX 8 /* hosts in a word */
#define SSH_LINK_WAIT_MAX_S 3600

/* --- names -------------------------------------------------------------------------------------- */

/*
 * A link has a word for its name: the host as the user calls it, "HOST", "USER@HOST:PORT",
 * "[ADDRESS]:PORT"; or with the hosts to go through before it, instead of those that the user's
 * ssh_config has: "JUMP,HOST". ERR_INVALID says what is wrong with one.
 */
int ssh_link_check_word(const char *word, struct err *err);
/* The last host of a word; part of it. */
const char *ssh_link_last(const char *word);
/* RUNTIME/links/NAME and the suffix (".sock", ".log"), NAME being the word made fit for a file name,
 * short enough for a socket in most runtime folders. malloc'd. */
char *ssh_link_path(const char *runtime_dir, const char *word, const char *suffix);

/* --- messages ----------------------------------------------------------------------------------- */

enum ssh_link_type {
    SSH_LINK_HELLO,
    SSH_LINK_EXEC,
    SSH_LINK_DIAL,
    SSH_LINK_SIGNAL,
    SSH_LINK_CLOSE,
    SSH_LINK_STATE, /* asks without `state`, tells with it */
    SSH_LINK_WATCH,
    SSH_LINK_CONNECT,
    SSH_LINK_STOP,
    SSH_LINK_STARTED,
    SSH_LINK_ENDED,
    SSH_LINK_ERROR,
    SSH_LINK_UNKNOWN /* `text` is its name */
};

enum ssh_link_state {
    SSH_LINK_NONE, /* not told */
    SSH_LINK_CONNECTING,
    SSH_LINK_HANDSHAKE,
    SSH_LINK_AUTH,
    SSH_LINK_UP,
    SSH_LINK_WAITING, /* for the next attempt; the error says why */
    SSH_LINK_STOPPED
};

enum ssh_link_end { SSH_LINK_RUNNING, SSH_LINK_CODE, SSH_LINK_SIGNALED, SSH_LINK_FAILED };

/* How a command ended: what the host said, or why nobody knows. */
struct ssh_link_result {
    enum ssh_link_end end;
    uint32_t code;   /* CODE */
    char signal[32]; /* SIGNALED; without SIG */
    struct err err;  /* FAILED: ERR_UNAVAILABLE when the connection broke, and the like */
};

struct ssh_link_msg {
    enum ssh_link_type type;
    uint32_t id;      /* 0: none */
    int64_t version;  /* HELLO */
    int64_t pid;      /* HELLO */
    const char *text; /* EXEC: the command; HELLO, DIAL: the host; SIGNAL: its name */
    uint16_t port;    /* DIAL */
    int64_t wait_ns;  /* EXEC, DIAL; -1: not given */
    enum ssh_link_state state;
    const char *via;               /* STATE: "builtin", "system" */
    const char *server;            /* STATE; or NULL */
    const char *methods;           /* STATE; or NULL */
    int64_t since_ns;              /* STATE: wall time, 0: unknown */
    int64_t retry_ns;              /* STATE: wall time, 0: none */
    struct ssh_link_result result; /* ENDED; ERROR and STATE: .err */

    struct yyjson_doc *doc; /* what the strings are borrowed from; ours */
    char *own;              /* the same */
};

/* "up", "waiting", ...; "" for NONE. */
const char *ssh_link_state_word(enum ssh_link_state state);

/* Appends it. Fields that its type doesn't have are not looked at. */
void ssh_link_msg_encode(const struct ssh_link_msg *m, struct buf *out);
/* Reads a packet: ERR_INVALID when it is malformed, ERR_TOO_LARGE. On success ssh_link_msg_fini()
 * frees. A field that its type needs is there, and within its limits. */
int ssh_link_msg_decode(const char *data, size_t len, struct ssh_link_msg *m, struct err *err);
void ssh_link_msg_fini(struct ssh_link_msg *m);

/* --- packets ------------------------------------------------------------------------------------ */

/* Sends a packet with `count` descriptors, at most SSH_LINK_FDS, not waiting: 1, or 0: no room now,
 * or -1: the peer is gone. */
int ssh_link_send(int fd, const void *data, size_t len, const int *fds, size_t count);
/*
 * Takes one, not waiting: 1 with the packet in `out` (cleared first) and the descriptors, which are
 * the caller's then, in fds, the others -1; 0: none is there; -1: the end, or with an error what is
 * wrong with it. More than SSH_LINK_FDS descriptors are an error.
 */
int ssh_link_receive(int fd, struct buf *out, int fds[SSH_LINK_FDS], struct err *err);
void ssh_link_close_fds(int fds[SSH_LINK_FDS]);

#endif
