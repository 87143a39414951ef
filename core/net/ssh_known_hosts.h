/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * known_hosts: which key a host must show. The format and what it means are those of sshd(8),
 * SSH_KNOWN_HOSTS FILE FORMAT. Nothing here waits for the network, and there are no globals.
 *
 * A link to one host:
 *
 *     known = ssh_known_hosts_create();
 *     ssh_known_hosts_add_file(known, path, &err);          each file that ssh_config names
 *     ssh_known_hosts_types(known, &host, &types);          put these first in the offer of
 *     ... key exchange, the server shows a key ...          host key algorithms
 *     ssh_known_hosts_check(known, &host, key, len, &found);
 *     if (found.status != SSH_KNOWN_MATCH) ...              refuse, and say why
 *     ssh_known_hosts_destroy(known);
 *
 * `hive hosts trust` shows ssh_key_fingerprint() and then calls ssh_known_hosts_trust().
 *
 * Lines that are no known_hosts lines are skipped and kept in a list for the user; they hide no
 * other line. A file that can't be read is an error, because it may hold revocations.
 */
#ifndef HIVE_NET_SSH_KNOWN_HOSTS_H
#define HIVE_NET_SSH_KNOWN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct ssh_known_hosts;

#define SSH_KNOWN_FILE_MAX ((size_t)4 * 1024 * 1024)
#define SSH_KNOWN_LINE_MAX ((size_t)16 * 1024)
#define SSH_KNOWN_NAME_MAX 255  /* of a host that is looked up or added */
#define SSH_KNOWN_TYPES_MAX 16  /* of key types that are listed for a host */
#define SSH_KNOWN_BAD_MAX 100   /* of bad lines that are listed; all are counted */
#define SSH_KEY_TYPE_MAX 64     /* a type's name with its NUL (RFC 4251, 6: 64 characters) */
#define SSH_FINGERPRINT_SIZE 51 /* "SHA256:", 43 characters, NUL */

/* --- keys ------------------------------------------------------------------------------------- */

/* Name of a public key blob's type ("ssh-ed25519"), bounds checked; false when the blob is none or
 * the name is not printable ASCII without blanks and commas. */
bool ssh_key_blob_type(const void *blob, size_t len, char out[SSH_KEY_TYPE_MAX]);

/* "SHA256:…" as `ssh-keygen -l` prints it. */
void ssh_key_fingerprint(const void *blob, size_t len, char out[SSH_FINGERPRINT_SIZE]);

/* Appends base64 (RFC 4648, section 4), padded when `pad`. */
void ssh_base64_encode(const void *data, size_t len, bool pad, struct buf *out);

/* --- reading ---------------------------------------------------------------------------------- */

struct ssh_known_hosts *ssh_known_hosts_create(void);
void ssh_known_hosts_destroy(struct ssh_known_hosts *known);

/* Adds a file's text, which is copied. `file` is for messages. ERR_TOO_LARGE over
 * SSH_KNOWN_FILE_MAX; nothing is added then. */
int ssh_known_hosts_add_text(struct ssh_known_hosts *known, const char *file, const char *text,
                             size_t len, struct err *err);
/* Reads and adds a file. A missing one is fine: nothing is added. */
int ssh_known_hosts_add_file(struct ssh_known_hosts *known, const char *path, struct err *err);

/* How many lines were skipped, and the n-th of them (n below that number and SSH_KNOWN_BAD_MAX).
 * `why` is a sentence without a full stop; both strings are borrowed. */
size_t ssh_known_hosts_bad_count(const struct ssh_known_hosts *known);
void ssh_known_hosts_bad(const struct ssh_known_hosts *known, size_t n, const char **file,
                         int *line, const char **why);

/* --- looking up ------------------------------------------------------------------------------- */

/* Who is looked for. Names are compared in lower case. */
struct ssh_known_name {
    const char *name;    /* the host as the user or HostName says it, or HostKeyAlias */
    const char *address; /* numeric; NULL: lines about the address don't count (CheckHostIP no, the
                            default of ssh_config(5)) */
    uint16_t port;       /* 0 or 22: lines are "NAME", otherwise "[NAME]:PORT" */
    bool alias;          /* name is a HostKeyAlias: the port is not part of what is looked for */
};

enum ssh_known_status {
    SSH_KNOWN_UNKNOWN,    /* no key of this host is known */
    SSH_KNOWN_MATCH,      /* this key is known for this host */
    SSH_KNOWN_CHANGED,    /* other keys of this type are known, this one isn't */
    SSH_KNOWN_OTHER_TYPE, /* keys are known, but none of this type */
    SSH_KNOWN_REVOKED     /* a @revoked line for this host has this key; wins over everything */
};

struct ssh_known_found {
    enum ssh_known_status status;
    const char *file;  /* the line that decided, borrowed from `known`; NULL for UNKNOWN */
    int line;          /* counted from 1 */
    bool by_address;   /* CHANGED or REVOKED by a line about the address */
    bool without_port; /* MATCH by a line for the name alone, while the port isn't 22: ssh, too,
                          takes that */
    bool authority;    /* a @cert-authority line is for this host: only the system's ssh can check
                          a certificate */
};

/* Key types of a host, each once, in the order of lines. */
struct ssh_known_types {
    char name[SSH_KNOWN_TYPES_MAX][SSH_KEY_TYPE_MAX];
    size_t count;
};

/*
 * Compares a host's key with what is known; never fails. The rules, in this order:
 *   - a @revoked line for the name, for the name without its port, or for the address, with this
 *     key: REVOKED, whatever other lines say;
 *   - a line for the name with this key: MATCH; but CHANGED by the address when the address is
 *     known only with other keys of this type;
 *   - a line for the name with another key of this type: CHANGED;
 *   - a line for the name: OTHER_TYPE;
 *   - the port isn't 22 and a line for the name alone has this key: MATCH, without_port;
 *   - else UNKNOWN.
 */
void ssh_known_hosts_check(const struct ssh_known_hosts *known, const struct ssh_known_name *host,
                           const void *key, size_t key_len, struct ssh_known_found *found);

/* The types of keys known for the name (where there are none, for the name without the port), those
 * revoked left out. RSA keys are "ssh-rsa", whatever the signature algorithm. Returns whether a
 * @cert-authority line is for this host. */
bool ssh_known_hosts_types(const struct ssh_known_hosts *known, const struct ssh_known_name *host,
                           struct ssh_known_types *types);

/* --- changing a file (ssh_known_hosts_edit.c) ------------------------------------------------- */

enum ssh_known_edit_flags {
    SSH_KNOWN_HASH = 1,   /* write the name hashed (HashKnownHosts) */
    SSH_KNOWN_REPLACE = 2 /* remove the host's other keys, of all types */
};

/*
 * Text to text; `out` gets the new file. Removing takes the name off each line without a marker
 * that names it (as `ssh-keygen -R`, which takes the whole line even where it names other hosts);
 * a line left without names goes. Lines with markers stay, and so do those with the key `keep` (may
 * be NULL) and every other byte. `removed` (may be NULL) counts the lines that changed.
 * ERR_CONFLICT when the host is meant by a wildcard, with file and line: only a person can say what
 * else that line is for. `file` is for messages.
 */
int ssh_known_hosts_remove_text(const char *file, const char *text, size_t len,
                                const struct ssh_known_name *host, const void *keep,
                                size_t keep_len, struct buf *out, size_t *removed, struct err *err);
/* Appends the line for a key, hashed when `salt` (20 random bytes) isn't NULL. With an address
 * there is a name for it, too. ERR_INVALID for names that a known_hosts line can't hold, and for no
 * key. */
int ssh_known_hosts_line(const struct ssh_known_name *host, const void *key, size_t key_len,
                         const unsigned char *salt, struct buf *out, struct err *err);

/*
 * Adds a host's key to the file at `path`; a key that is there already stays as it is. The file is
 * replaced atomically (written, synced, renamed) and keeps its mode and owner; a symbolic link is
 * followed; a missing file is made with 0600, its folder with 0700. Other hives that do the same
 * wait for each other (at most 5 s: ERR_UNAVAILABLE), and what others appended meanwhile is seen
 * before it is replaced. ERR_DENIED when the file revokes the key. `removed` as above.
 */
int ssh_known_hosts_trust(const char *path, const struct ssh_known_name *host, const void *key,
                          size_t key_len, unsigned flags, size_t *removed, struct err *err);
/* Removes a host's keys from the file; a missing file is fine. */
int ssh_known_hosts_forget(const char *path, const struct ssh_known_name *host, size_t *removed,
                           struct err *err);

#endif
