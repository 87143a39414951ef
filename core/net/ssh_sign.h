/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SSH signatures: Ed25519 (RFC 8709), ECDSA (RFC 5656) and RSA with SHA-2 (RFC 8332). There is no
 * "ssh-rsa" signature, which is SHA-1: who asks for one gets an error in words. Pure.
 *
 * With libssh2's sign callback, which is given the bytes to sign and returns what goes *into* the
 * signature blob:
 *
 *     ssh_sign_userauth_alg(data, len, &alg, &err)     what libssh2 has agreed on
 *     ssh_sign(key, alg, data, len, &blob, &err)       or ssh_agent_sign()
 *     ssh_sign_split(blob, alg, &inner, &err)          copy inner for libssh2
 */
#ifndef HIVE_NET_SSH_SIGN_H
#define HIVE_NET_SSH_SIGN_H

#include "net/ssh_key.h"

struct buf;
struct err;

enum ssh_sign_alg {
    SSH_SIGN_NONE,
    SSH_SIGN_ED25519,
    SSH_SIGN_ECDSA_256,
    SSH_SIGN_ECDSA_384,
    SSH_SIGN_ECDSA_521,
    SSH_SIGN_RSA_SHA256,
    SSH_SIGN_RSA_SHA512,
    SSH_SIGN_ALG_COUNT
};

/* "rsa-sha2-256" and so on; "" for SSH_SIGN_NONE. */
const char *ssh_sign_alg_name(enum ssh_sign_alg alg);
/* The type of key that makes such signatures. */
enum ssh_key_type ssh_sign_alg_key(enum ssh_sign_alg alg);
/* ERR_UNPROCESS for "ssh-rsa" and for names that are not known. */
int ssh_sign_alg_parse(struct ssh_span name, enum ssh_sign_alg *alg, struct err *err);

/*
 * Chooses for a key of that type. server_sig_algs is the server's list (RFC 8308, 3.1), comma
 * separated, or NULL when it sent none; then RSA uses rsa-sha2-256, which RFC 8332 recommends most.
 * From a list, RSA prefers rsa-sha2-512. The list counts for RSA alone: servers leave types out of
 * it that they take. ERR_UNPROCESS when the server takes none of ours.
 */
int ssh_sign_pick(enum ssh_key_type type, const char *server_sig_algs, enum ssh_sign_alg *alg,
                  struct err *err);

/*
 * The algorithm in the bytes that a "publickey" request signs (RFC 4252, section 7), which is the
 * one the server was told. ERR_INVALID when these bytes are anything else, so that a signature is
 * never made over something that isn't a login.
 */
int ssh_sign_userauth_alg(const void *data, size_t len, enum ssh_sign_alg *alg, struct err *err);

/*
 * Appends the signature blob over data to `out`: string algorithm, string signature. The key must
 * be unlocked (ERR_CONFLICT) and of the algorithm's type (ERR_INVALID). An RSA signature is checked
 * before it leaves: a wrong one gives the key away.
 */
int ssh_sign(const struct ssh_key *key, enum ssh_sign_alg alg, const void *data, size_t len,
             struct buf *out, struct err *err);

/*
 * Takes a signature blob apart, for instance an agent's: *inner is the signature without its name,
 * borrowed from blob. ERR_INVALID when it is malformed, of another algorithm (an old agent that
 * made a SHA-1 one), or of a length that cannot be.
 */
int ssh_sign_split(struct ssh_span blob, enum ssh_sign_alg alg, struct ssh_span *inner,
                   struct err *err);

#endif
