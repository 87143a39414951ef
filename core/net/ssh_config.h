/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the user's ssh would do to reach a host: reads ~/.ssh/config and /etc/ssh/ssh_config by the
 * rules of ssh_config(5). No network, no globals; files, environment and the user come from the
 * caller, so that tests and the fuzzer need none.
 *
 *     struct ssh_config_input in = { .host = "build1", .local_user = "ann", .home = "/home/ann",
 *                                    .local_host = "desk", .uid = 1000, .io = &ssh_config_files };
 *     if (ssh_config_read(&in, &config, &err) != 0) ...     FILE:LINE, what was expected
 *     if (config.needs_system) ...                          only the system's ssh can: config.why
 *     ... connect to config.host, config.port ...
 *     ssh_config_fini(&config);
 *
 * The first value wins, IdentityFile accumulates, and all is checked where ssh checks it: also in
 * blocks that don't match. Unlike ssh, an unknown keyword is a note and no error.
 */
#ifndef HIVE_NET_SSH_CONFIG_H
#define HIVE_NET_SSH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;

#define SSH_CONFIG_FILE_MAX ((size_t)1024 * 1024)
#define SSH_CONFIG_LINE_MAX ((size_t)8 * 1024)
#define SSH_CONFIG_DEPTH_MAX 16    /* of files that include files, as ssh */
#define SSH_CONFIG_INCLUDES_MAX 64 /* files included for one host */
#define SSH_CONFIG_IDENTITIES_MAX 100
#define SSH_CONFIG_HOSTS_FILES_MAX 32
#define SSH_CONFIG_JUMPS_MAX 16
#define SSH_CONFIG_NOTES_MAX 50

/* --- what goes in ----------------------------------------------------------------------------- */

struct ssh_config_file {
    uid_t uid;         /* owner */
    bool others_write; /* somebody else than the owner may write it */
};

/* Where files and names come from. All calls but read may be NULL: nothing is found. */
struct ssh_config_io {
    /* Appends a file's content, at most SSH_CONFIG_FILE_MAX bytes (else ERR_TOO_LARGE), and says
     * whose it is. ERR_NOT_FOUND when it is missing. */
    int (*read)(void *arg, const char *path, struct buf *out, struct ssh_config_file *file,
                struct err *err);
    /* Calls found() for each path that the glob(7) pattern matches, sorted, until it returns
     * false. */
    int (*glob)(void *arg, const char *pattern, bool (*found)(void *to, const char *path), void *to,
                struct err *err);
    /* A variable of the environment, borrowed, or NULL. */
    const char *(*env)(void *arg, const char *name);
    /* Home folder of a user ("~NAME"), malloc'd, or NULL. */
    char *(*home_of)(void *arg, const char *user);
    void *arg;
};

/* Real files, getenv(), the passwd file (ssh_config_io.c). A file that its owner's own group may
 * write, and nobody else is in it, counts as the owner's, as in Debian's ssh. */
extern const struct ssh_config_io ssh_config_files;

struct ssh_config_input {
    const char *host; /* as typed, without user and port */
    const char *user; /* as typed; NULL: from the files, else local_user */
    uint16_t port;    /* as typed; 0: from the files, else 22 */
    const char *local_user, *home, *local_host;
    uid_t uid;
    const char *file; /* read this one and no other, as ssh -F; "none": none at all; NULL: the
                         user's and the system's */
    const struct ssh_config_io *io;
};

/* --- what comes out --------------------------------------------------------------------------- */

struct ssh_config_list {
    char **item;
    size_t count;
};

struct ssh_config_jump {
    char *user; /* NULL: by that host's own configuration */
    char *host;
    uint16_t port; /* 0: by that host's own configuration */
};

enum ssh_config_strict {
    SSH_STRICT_ASK, /* the default */
    SSH_STRICT_YES,
    SSH_STRICT_NO,
    SSH_STRICT_ACCEPT_NEW
};

enum ssh_config_family { SSH_FAMILY_ANY, SSH_FAMILY_INET, SSH_FAMILY_INET6 };

/* Paths are absolute where they can be ("~" and tokens are expanded). Strings that may be NULL say
 * so. */
struct ssh_config {
    char *host; /* to connect to: HostName, lower case; an address in its usual form */
    uint16_t port;
    char *user;
    char *host_key_alias; /* or NULL. Look it up in known_hosts instead of host */

    /* In the order to try; some may not exist. To ssh, PATH-cert.pub is a certificate for PATH;
     * whether there is one is not looked at here. */
    struct ssh_config_list identity_files;
    bool identity_defaults; /* nobody asked for these: missing ones are no news */
    bool identities_only;
    char *agent; /* socket of the agent, or NULL: none */

    struct ssh_config_list user_known_hosts; /* the first is the one to add to; may be empty */
    struct ssh_config_list global_known_hosts;
    enum ssh_config_strict strict; /* hive is strict whatever this says */
    bool hash_known_hosts;
    bool check_host_ip; /* look the address up, too: not through jumps and not with an alias */

    struct ssh_config_jump *jump; /* hosts to go through, the nearest first */
    size_t jump_count;
    char *proxy_command; /* unexpanded, or NULL */

    int connect_timeout_s;       /* 0: the system's */
    int server_alive_interval_s; /* 0: no messages */
    int server_alive_count_max;
    char *bind_address; /* or NULL */
    enum ssh_config_family family;

    bool password_auth, kbdint_auth, pubkey_auth, batch_mode;
    int required_rsa_size; /* bits; 0: not set */
    /* As written (with a leading '+', '-' or '^', perhaps), or NULL. */
    char *host_key_algorithms, *kex_algorithms, *ciphers, *macs, *preferred_auth;

    bool needs_system; /* the builtin client can't do what is asked for */
    char *why;         /* a sentence with FILE:LINE, or NULL */

    struct ssh_config_list notes; /* "FILE:LINE: ..." for the user: unknown keywords and the like */
};

/*
 * Finds out how to reach in->host. Fills *out, to be freed with ssh_config_fini(). On failure *out
 * is empty: ERR_INVALID for a bad value or line (FILE:LINE, what was expected) and for a host or
 * user that can't be one, ERR_DENIED for a file that others can write, ERR_TOO_LARGE over a limit.
 */
int ssh_config_read(const struct ssh_config_input *in, struct ssh_config *out, struct err *err);

/* Frees what is in it, and empties it. */
void ssh_config_fini(struct ssh_config *config);

#endif
