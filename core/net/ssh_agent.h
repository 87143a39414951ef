/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Client of ssh-agent (draft-miller-ssh-agent): lists keys and has data signed. First the protocol,
 * which is pure, then a connection that blocks until a deadline; a link process uses it, never the
 * daemon.
 *
 *     agent = ssh_agent_open(getenv("SSH_AUTH_SOCK"), timeout_ns, &err);
 *     ssh_agent_list(agent, timeout_ns, &keys, &err);
 *     ... a key of keys.key[] with why_not == NULL that the server takes ...
 *     ssh_agent_sign(agent, blob, alg, data, len, timeout_ns, &sig, &err);
 *     ssh_agent_keys_fini(&keys);
 *     ssh_agent_close(agent);
 */
#ifndef HIVE_NET_SSH_AGENT_H
#define HIVE_NET_SSH_AGENT_H

#include "base/buf.h"
#include "net/ssh_sign.h"

#include <stdint.h>

struct err;

#define SSH_AGENT_REPLY_MAX ((size_t)256 * 1024) /* OpenSSH's own limit, both ways */
#define SSH_AGENT_KEYS_MAX 2048

/* --- protocol ----------------------------------------------------------------------------------- */

/* Keys as the agent lists them, its order kept: it is the order in which to try them. Those with
 * why_not set (security keys, certificates) need the system's ssh. */
struct ssh_agent_keys {
    struct ssh_pubkey *key;
    size_t count;
};
void ssh_agent_keys_fini(struct ssh_agent_keys *keys); /* frees; empty afterwards */

/* Append a whole message, length first, to `out`. Data to sign is at most SSH_AGENT_REPLY_MAX with
 * all around it (ERR_TOO_LARGE, and nothing is appended). */
void ssh_agent_put_list(struct buf *out);
int ssh_agent_put_sign(struct buf *out, struct ssh_span key_blob, enum ssh_sign_alg alg,
                       const void *data, size_t len, struct err *err);

enum ssh_agent_event {
    SSH_AGENT_MORE,  /* the message isn't complete: read on */
    SSH_AGENT_REPLY, /* one message is there: ssh_agent_reader_message() */
    SSH_AGENT_BAD    /* a length that cannot be; err is set; nothing more to be had */
};

/* Collects one message at a time. Zeros are a new reader. */
struct ssh_agent_reader {
    struct buf in;
    bool bad;
};
void ssh_agent_reader_fini(struct ssh_agent_reader *r);
/* Takes up to len bytes, those of one message and none of the next; *used says how many. After
 * SSH_AGENT_REPLY the next call starts a new message. */
enum ssh_agent_event ssh_agent_reader_feed(struct ssh_agent_reader *r, const void *data, size_t len,
                                           size_t *used, struct err *err);
/* The message without its length, borrowed until the next feed. Only after SSH_AGENT_REPLY. */
struct ssh_span ssh_agent_reader_message(const struct ssh_agent_reader *r);

/*
 * Reads an answer to the request. ERR_DENIED when the agent refused, ERR_INVALID when it is
 * malformed or another message, ERR_TOO_LARGE for more than SSH_AGENT_KEYS_MAX keys. A key whose
 * blob is malformed is listed with why_not set: one odd key must not hide the others.
 */
int ssh_agent_parse_keys(struct ssh_span message, struct ssh_agent_keys *keys, struct err *err);
/* *signature is the signature blob, borrowed from message, and of that algorithm. */
int ssh_agent_parse_signature(struct ssh_span message, enum ssh_sign_alg alg,
                              struct ssh_span *signature, struct err *err);

/* --- connection --------------------------------------------------------------------------------- */

struct ssh_agent;

/* Connects to the agent's socket. `path` NULL or "": ERR_NOT_FOUND, there is no agent; nobody
 * listens: ERR_UNAVAILABLE. */
struct ssh_agent *ssh_agent_open(const char *path, int64_t timeout_ns, struct err *err);
void ssh_agent_close(struct ssh_agent *agent);

/*
 * One request and its answer, the time limit for both together: ERR_TIMEOUT. A connection that
 * failed (anything but ERR_DENIED) is done for: further requests are ERR_UNAVAILABLE.
 */
int ssh_agent_list(struct ssh_agent *agent, int64_t timeout_ns, struct ssh_agent_keys *keys,
                   struct err *err);
/* Appends the signature blob to `sig`. The time limit includes the user's, where the agent asks
 * for confirmation. */
int ssh_agent_sign(struct ssh_agent *agent, struct ssh_span key_blob, enum ssh_sign_alg alg,
                   const void *data, size_t len, int64_t timeout_ns, struct buf *sig,
                   struct err *err);

#endif
