/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The part of an SSH connection that is in clear: the server's version and its first KEXINIT (RFC
 * 4253, 4.2 and 7.1), looked at before libssh2 sees them. So that limits are ours, that what can't
 * work is told in words, and that libssh2 meets only what it gets right. Pure.
 */
#ifndef HIVE_NET_SSH_CLIENT_HELLO_H
#define HIVE_NET_SSH_CLIENT_HELLO_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

/* What is agreed on, in KEXINIT's order. Compression is always none. */
enum ssh_method {
    SSH_METHOD_KEX,
    SSH_METHOD_HOST_KEY,
    SSH_METHOD_CIPHER,
    SSH_METHOD_MAC,
    SSH_METHOD_COUNT
};

#define SSH_METHOD_LIST_MAX 1024 /* of ours */

/* All that hive uses, best first. Not here, on purpose: chacha20-poly1305 (libssh2 loops for ever
 * on a flipped bit), CBC, SHA-1, MD5, DSA. */
const char *ssh_method_all(enum ssh_method method);
/* "key exchange method", "cipher", ... */
const char *ssh_method_noun(enum ssh_method method);

/*
 * What of `all` to offer when ssh_config says `config` (a list, or one with a leading '+', '-' or
 * '^' as in ssh_config(5); NULL: all). Appends a list, maybe an empty one: then only the system's
 * ssh can do what is asked for.
 */
void ssh_method_offer(const char *all, const char *config, struct buf *out);

enum ssh_hello_state {
    SSH_HELLO_VERSION, /* waiting for the version */
    SSH_HELLO_KEXINIT, /* waiting for the rest of the first packet */
    SSH_HELLO_DONE,
    SSH_HELLO_BAD
};

struct ssh_hello {
    const char *offer[SSH_METHOD_COUNT]; /* ours, borrowed */
    const char *host;                    /* for messages, borrowed */
    /* what came of it */
    char software[256]; /* "OpenSSH_9.2p1 Debian-2", safe to show */
    char said[100];     /* the first line before the version, "" if none; safe to show */
    bool needs_system;  /* with SSH_HELLO_BAD: the system's ssh may know more methods */
    /* private */
    enum ssh_hello_state state;
    size_t skipped; /* bytes of lines before the version */
};

/*
 * Looks at `in`, the server's bytes so far, of which the first *released may be given to libssh2
 * (who takes them out of `in` lowers *released as much). Lines before the version are dropped from
 * `in`, and *released grows. Call it with more bytes until DONE, after which everything may be
 * given, or BAD with err set: ERR_CORRUPT (no SSH server), ERR_UNPROCESS (nothing in common),
 * ERR_TOO_LARGE.
 */
enum ssh_hello_state ssh_hello_feed(struct ssh_hello *h, struct buf *in, size_t *released,
                                    struct err *err);

#endif
