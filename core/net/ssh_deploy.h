/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts this hive on a host that is reached with SSH, and says what to run there. Nothing waits, and
 * no SSH is in it: commands go through a link process (ssh_link_client.h).
 *
 *     program = ssh_deploy_program_open("/proc/self/exe", NULL, false, &err);    once per process
 *     deploy = ssh_deploy_start(loop, client, &options, &err);
 *     ... options.done(result): ssh_link_client_exec(client, result->command, ...)
 *
 * One command asks what the host is and whether the file is there: then that is all. Else a second
 * one takes the file from its input. On the host:
 *
 *   PLACE/hive/bin/SHA256/hive     the file, 0700; SHA256 is its own. Its folder's time of change is
 *                                  when it was last asked for
 *   PLACE/hive/bin/SHA256/.new.*   one on its way
 *
 * PLACE is the first of these where a program may be kept and run: $XDG_CACHE_HOME or ~/.cache,
 * $XDG_RUNTIME_DIR or /run/user/UID; then /tmp/hive-UID and /var/tmp/hive-UID (0700, our own), with
 * bin/ directly in them. A place is passed over when it is not there, not writable, somebody else's,
 * too full, or mounted noexec, and when its name has a character that login shells don't agree on.
 *
 * The file comes by rename, complete and compared: any number of daemons may do this at once, in a
 * home that hosts share, too. One that is cut, of the wrong size, or (where there is a sha256sum)
 * of other content is replaced. Copies of other versions that nobody asked for in 30 days, and that
 * nothing on that host runs, are removed when a new one comes: whoever keeps agents running calls
 * this once in a while, and at least on each connection.
 */
#ifndef HIVE_NET_SSH_DEPLOY_H
#define HIVE_NET_SSH_DEPLOY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct ssh_deploy;
struct ssh_deploy_program;
struct ssh_link_client;

#define SSH_DEPLOY_PATH_MAX 1024 /* a file's name there; a longer one is passed over */
#define SSH_DEPLOY_FILE_MAX (256 * 1024 * 1024)

/* --- what is copied ----------------------------------------------------------------------------- */

/*
 * The file to copy, held open: an update of hive on this machine changes nothing for a daemon that
 * runs on. Reads and hashes it, some 10 ms. `others`: NULL, or a folder with hives for hosts of other
 * architectures, "hive-aarch64" and so on as uname -m says; read when such a host comes. A hive that
 * needs libraries (not the static one) is ERR_UNPROCESS unless `dynamic`.
 */
struct ssh_deploy_program *ssh_deploy_program_open(const char *path, const char *others,
                                                   bool dynamic, struct err *err);
/* Nothing that was started may be under way. NULL is legal. */
void ssh_deploy_program_close(struct ssh_deploy_program *program);
/* As uname -m calls what it runs on. Borrowed. */
const char *ssh_deploy_program_arch(const struct ssh_deploy_program *program);
/* Lower-case hex. Borrowed. */
const char *ssh_deploy_program_sha256(const struct ssh_deploy_program *program);

/* --- copying ------------------------------------------------------------------------------------ */

enum ssh_deploy_kind {
    SSH_DEPLOY_AGENT, /* hive is there: run `command` */
    SSH_DEPLOY_SHELL, /* it can't be; sample_script_command() and plain commands work: `err` says why */
    SSH_DEPLOY_FAILED, /* nothing is known, or nothing works: `err` */
};

/* What became of it. Strings are "" where not known, and borrowed for the call. They are the host's
 * words, bounded and free of control characters, but of any encoding. */
struct ssh_deploy_result {
    enum ssh_deploy_kind kind;
    struct err err;      /* SHELL: why, with what to do about it; FAILED: ERR_UNAVAILABLE for a
                            connection that is lost, and so on; AGENT: why not in the first place
                            where it was wanted, or ERR_NONE */
    const char *command; /* AGENT: the agent, for any login shell */
    const char *path;    /* AGENT: the file; see ssh_deploy_command() */
    bool copied;         /* now; else it was there */
    bool own;            /* `path` is a hive that somebody installed there, of the same version */
    bool noexec;         /* a better place than this can be written to, but nothing run from it */
    int64_t sent_bytes;  /* of the file, all attempts together */
    const char *os, *arch, *home; /* uname -s, uname -m, $HOME */
    int64_t uid;                  /* -1: not known */
};

struct ssh_deploy_options {
    struct ssh_deploy_program *program; /* borrowed until the end; NULL: with shell_only */
    const char *version;                /* HIVE_VERSION: what a hive there has to say it is */
    /* Who does this, and to which host: what an earlier attempt of the same id left behind is
     * removed. At a time one per id. Any text; NULL: only what is a day old is removed. */
    const char *id;
    int64_t wait_ns;   /* for the connection, as of ssh_link_client_exec(); 0: its default */
    int64_t answer_ns; /* for an answer to a question, once connected; 0: 30 s */
    int64_t stall_ns;  /* the copy stops with ERR_TIMEOUT when it comes no further; 0: 120 s */
    bool shell_only;   /* copies nothing: the answer is SHELL, with no `err`, or FAILED */
    /* From the loop, some times a second while bytes go. May be NULL. May cancel. */
    void (*progress)(struct ssh_deploy *deploy, int64_t sent, int64_t total, void *arg);
    /* Once, from the loop. The deploy is gone already: its pointer is invalid. */
    void (*done)(const struct ssh_deploy_result *result, void *arg);
    void *arg;
};

/* Begins; the client has to live until the end. The options are copied. NULL: ERR_TOO_LARGE,
 * ERR_UNAVAILABLE. */
struct ssh_deploy *ssh_deploy_start(struct ev_loop *loop, struct ssh_link_client *client,
                                    const struct ssh_deploy_options *options, struct err *err);
/* Ends it without `done`. The pointer is invalid then. NULL is legal. */
void ssh_deploy_cancel(struct ssh_deploy *deploy);

/* Appends the command line that runs a file as found by this module with arguments as they are
 * ("agent --stdio"; without anything that a shell looks at): exec PATH ARGS, quoted for any login
 * shell. ERR_INVALID: no quotes help. */
struct buf;
int ssh_deploy_command(const char *path, const char *args, struct buf *out, struct err *err);

/* --- and taking it back ------------------------------------------------------------------------- */

struct ssh_deploy_removed {
    int removed;       /* files */
    const char *left;  /* folders with the state of agents there, a line for each; "": none */
    const char *stuck; /* what could not be removed, a line for each */
    struct err err;    /* ERR_NONE, or why nothing is known */
};

struct ssh_deploy_remove_options {
    const struct ssh_deploy_program *program; /* borrowed until the end; its own file is removed */
    bool all;                                 /* files of all versions */
    int64_t wait_ns, answer_ns;               /* as above */
    /* Once, from the loop; the deploy is gone already. */
    void (*done)(const struct ssh_deploy_removed *removed, void *arg);
    void *arg;
};

/* Removes copies from all places, also of programs that still run (they go on), and folders of ours
 * that are empty then. May be cancelled as above. */
struct ssh_deploy *ssh_deploy_remove(struct ev_loop *loop, struct ssh_link_client *client,
                                     const struct ssh_deploy_remove_options *options,
                                     struct err *err);

#endif
