/* SPDX-License-Identifier: BSD-2-Clause */
/* One line of known_hosts, shared by ssh_known_hosts.c and ssh_known_hosts_edit.c only. Pure. */
#ifndef HIVE_NET_SSH_KNOWN_LINE_H
#define HIVE_NET_SSH_KNOWN_LINE_H

#include "net/ssh_known_hosts.h"
#include "net/ssh_wire.h"

#define SSH_KNOWN_SALT_SIZE 20 /* also of the hash: SHA-1's size */

enum ssh_known_marker { SSH_KNOWN_PLAIN, SSH_KNOWN_AUTHORITY, SSH_KNOWN_IS_REVOKED };

struct ssh_known_line {
    enum ssh_known_marker marker;
    int number;
    const char *hosts; /* borrowed from the text: patterns, or a hashed name */
    size_t hosts_len;
    bool hashed;
    unsigned char salt[SSH_KNOWN_SALT_SIZE], hash[SSH_KNOWN_SALT_SIZE];
    unsigned char *key; /* the blob, malloc'd */
    size_t key_len;
};

/* Takes a line (without '\n') apart. False: there is no host in it, *why then says what is wrong,
 * or is NULL for a comment or a blank line. */
bool ssh_known_line_parse(const char *text, size_t len, int number, struct ssh_known_line *line,
                          const char **why);
void ssh_known_line_fini(struct ssh_known_line *line);

/* Whether the line is about that name, in lower case, "NAME" or "[NAME]:PORT"; NULL never is. */
bool ssh_known_line_names(const struct ssh_known_line *line, const char *name);

/* The hash of a name (HMAC-SHA1). */
void ssh_known_hash(const unsigned char salt[SSH_KNOWN_SALT_SIZE], const char *name,
                    unsigned char out[SSH_KNOWN_SALT_SIZE]);

/* A host as lines name it. NULL where there is no such form. */
struct ssh_known_forms {
    char *name;    /* with the port, where it belongs to the name */
    char *bare;    /* without, where `name` is with it */
    char *address; /* with the port */
};
void ssh_known_forms_init(struct ssh_known_forms *forms, const struct ssh_known_name *host);
void ssh_known_forms_fini(struct ssh_known_forms *forms);

#endif
