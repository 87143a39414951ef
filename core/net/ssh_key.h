/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SSH keys: private ones from files, public ones from `.pub` files and as blobs (RFC 4253, 6.6).
 * Blocking only where a file is read; no network, no globals.
 *
 * Formats of private keys, by what the file says and not by its name:
 *     -----BEGIN OPENSSH PRIVATE KEY-----    openssh-key-v1 (OpenSSH's PROTOCOL.key), bcrypt
 *     -----BEGIN RSA PRIVATE KEY-----        PKCS#1 (RFC 8017), DEK-Info encryption (RFC 1421)
 *     -----BEGIN EC PRIVATE KEY-----         SEC 1 (RFC 5915), the same
 *     -----BEGIN PRIVATE KEY-----            PKCS#8 (RFC 5958, 8410): RSA, EC, Ed25519
 *     -----BEGIN ENCRYPTED PRIVATE KEY-----  PKCS#8 by PBES2 (RFC 8018): PBKDF2 and AES-CBC
 * Types: Ed25519, ECDSA on the NIST curves 256, 384 and 521, RSA of 2048 to 4096 bits. What is well
 * known and not done here (security keys, certificates, DSA, other sizes, other ciphers) is
 * ERR_UNPROCESS with what to do instead, mostly the system's ssh; a caller that chooses between the
 * builtin client and the system's decides by that kind.
 *
 * Life of a private key:
 *
 *     key = ssh_key_load(path, &err);          ERR_UNPROCESS, ERR_DENIED, ERR_INVALID, ...
 *     ssh_key_public(key, &blob)               offer it to the server (false: it is in the
 *                                              encrypted part; see ssh_pubkey_load of PATH.pub)
 *     if (ssh_key_locked(key))                 only now, when the server wants it
 *         ssh_key_unlock(key, &ask, &err);     ERR_UNAUTH: wrong passphrase
 *     ssh_sign(key, ...)                       ssh_sign.h
 *     ssh_key_destroy(key);
 *
 * A key that is not locked is whole: its numbers fit each other, and the private part belongs to
 * the public one. Secrets are cleared from memory when a key is destroyed and when reading fails.
 */
#ifndef HIVE_NET_SSH_KEY_H
#define HIVE_NET_SSH_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "net/ssh_wire.h"

struct err;
struct ssh_key;

#define SSH_KEY_FILE_MAX ((size_t)64 * 1024)
#define SSH_KEY_PASSPHRASE_MAX 1024
#define SSH_KEY_ATTEMPTS 3 /* passphrases that ssh_key_unlock asks for, as ssh does */
/* Work that an encrypted file may ask for: about 9 s and 3 s. ssh-keygen makes 16 rounds unless
 * told otherwise, openssl 2048 iterations. */
#define SSH_KEY_BCRYPT_MAX 1024
#define SSH_KEY_PBKDF2_MAX 2000000

enum ssh_key_type {
    SSH_KEY_OTHER, /* well formed, not for the builtin client, or not known yet */
    SSH_KEY_ED25519,
    SSH_KEY_ECDSA_256,
    SSH_KEY_ECDSA_384,
    SSH_KEY_ECDSA_521,
    SSH_KEY_RSA,
    SSH_KEY_TYPE_COUNT
};

/* OpenSSH's name ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"); "" for SSH_KEY_OTHER. */
const char *ssh_key_type_name(enum ssh_key_type type);
/* SSH_KEY_OTHER for unknown names. */
enum ssh_key_type ssh_key_type_from_name(struct ssh_span name);

/*
 * Reads a private key file. It must be a regular file of the calling process's user or root that
 * nobody else can read or write (else ERR_DENIED with the chmod to run), at most SSH_KEY_FILE_MAX
 * bytes. `path` appears in messages. NULL on failure.
 */
struct ssh_key *ssh_key_load(const char *path, struct err *err);
/* The same from memory, which the caller keeps and clears. `name` is for messages. */
struct ssh_key *ssh_key_parse(const char *text, size_t len, const char *name, struct err *err);
void ssh_key_destroy(struct ssh_key *key);

/* SSH_KEY_OTHER while it is locked and the file doesn't tell. */
enum ssh_key_type ssh_key_type(const struct ssh_key *key);
/* The public key blob, borrowed until the key is destroyed or unlocked. False while it is locked
 * and the file doesn't tell. What a locked file tells is checked when it is unlocked. */
bool ssh_key_public(const struct ssh_key *key, struct ssh_span *blob);
/* The name given at load, made safe to show. */
const char *ssh_key_name(const struct ssh_key *key);

/* True when the private part is still encrypted. */
bool ssh_key_locked(const struct ssh_key *key);

/* Where passphrases come from: a terminal, an askpass program, a test. */
struct ssh_key_ask {
    /*
     * Writes the passphrase of the key `name` to out[0..size) and returns its length, without a
     * NUL; attempt counts from 0. -1 with err set when there is none to be had, which ends
     * ssh_key_unlock with that error. `out` is cleared by the caller.
     */
    ssize_t (*passphrase)(void *arg, const char *name, unsigned attempt, char *out, size_t size,
                          struct err *err);
    void *arg;
};

/*
 * Decrypts a locked key; 0 at once for one that isn't. Asks up to SSH_KEY_ATTEMPTS times, then
 * ERR_UNAUTH. A file that is damaged behind a right passphrase is ERR_INVALID. Takes the time that
 * its KDF wants (see above). On failure the key stays locked and may be tried again.
 */
int ssh_key_unlock(struct ssh_key *key, const struct ssh_key_ask *ask, struct err *err);
/* The same with one given passphrase. */
int ssh_key_unlock_with(struct ssh_key *key, const char *passphrase, size_t len, struct err *err);

/* --- public keys -------------------------------------------------------------------------------- */

struct ssh_pubkey {
    enum ssh_key_type type; /* SSH_KEY_OTHER: see why_not */
    char *name;             /* the type's name as the blob has it, safe to show */
    char *comment;          /* safe to show, maybe "" */
    char *why_not;          /* why the builtin client can't use it, or NULL */
    unsigned char *blob;
    size_t blob_len;
};

/*
 * Takes apart a public key blob. A type that the builtin client doesn't use (security keys,
 * certificates, DSA, RSA of other sizes, unknown ones) is no error but sets why_not. Malformed, or over
 * SSH_PUBKEY_MAX bytes: ERR_INVALID. On success the caller owns *out.
 */
#define SSH_PUBKEY_MAX ((size_t)16 * 1024)
int ssh_pubkey_parse(struct ssh_span blob, struct ssh_span comment, struct ssh_pubkey *out,
                     struct err *err);
/* The text of a `.pub` file: "TYPE BASE64 [COMMENT]", one key; blank lines and # lines before it are
 * skipped. `name` is for messages. */
int ssh_pubkey_parse_text(const char *text, size_t len, const char *name, struct ssh_pubkey *out,
                          struct err *err);
/* Reads such a file, at most SSH_KEY_FILE_MAX bytes; anybody may own it. */
int ssh_pubkey_load(const char *path, struct ssh_pubkey *out, struct err *err);
/* Frees what is in it, and empties it. */
void ssh_pubkey_fini(struct ssh_pubkey *pub);

#endif
