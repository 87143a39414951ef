/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A node that is reached by the link protocol (node/link_msg.h): the head's side. It does for a far
 * machine what node.h does for our own; between the two is a connection that comes and goes, which
 * somebody else makes and hands over (remote_connect).
 *
 *   REMOTE_AWAY   no connection, or both sides have not agreed yet on what runs there
 *   REMOTE_UP     orders get there at once
 *
 * Every attempt that was ordered has a fate, told exactly once, by one of the hooks:
 *   - the node says how it ended, or that it never started;
 *   - what was ordered while the node was away was not sent, and never started: told when the node
 *     is back, or after REMOTE_UNSENT_NS without it, or when it is killed;
 *   - a node that stayed away until its lease has ended for sure has killed all it ran: ATTEMPT_LOST.
 *     When it comes back it is not asked for those any more, and ends what it may still have of them.
 * Who was told keeps it until remote_ack(); only then does the node forget it.
 *
 * The lease: the node ends what it runs when for lease_s it got no word of which it knows that it
 * was said in that time: a `ping` carries the newest `stamp` that the node gave, so that one which
 * was long on its way renews nothing. We count from the last ping or welcome that was sent, which
 * is later than any stamp it carries, and add LINK_LEASE_GRACE_S and REMOTE_MARGIN_NS.
 *
 * Output is mirrored while it comes: stdout and stderr of attempt J.N to STATE/attempts/.../J.N.out
 * and .err (attempt_prefix(), 0600) of the head, byte for byte from where the mirror ends; of files
 * that the job names itself, too (one file for both: in .out). An end is told when both are there, or REMOTE_OUTPUT_NS after it
 * came; the rest of the output then follows. At most LINK_READS_MAX streams are read at once: those
 * of attempts that ended first, the others in turns.
 */
#ifndef HIVE_HEAD_REMOTE_H
#define HIVE_HEAD_REMOTE_H

#include "node/node.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct ev_loop;
struct link_sample;
struct log;
struct remote;

#define REMOTE_UNSENT_NS INT64_C(10000000000)   /* an order waits for a node that is away */
#define REMOTE_OUTPUT_NS INT64_C(5000000000)    /* an end waits for its output */
#define REMOTE_MARGIN_NS INT64_C(30000000000)   /* clocks, timers and machines that are late */
#define REMOTE_GREETING_NS INT64_C(60000000000) /* from connecting to agreeing */
#define REMOTE_PREFACE_MAX (64 * 1024)          /* bytes that a login shell may print before it */
#define REMOTE_OUTPUT_MAX (INT64_C(1) << 30) /* mirrored bytes of one stream, if not configured */

struct remote_config {
    const char *name;      /* of the node, for messages */
    const char *state_dir; /* the head's, absolute: where output is mirrored */
    const char *head_id;   /* LINK_HEAD_MIN to LINK_HEAD_MAX of 0-9a-f, the same for ever */
    uint64_t fence;        /* of this start of the head */
    int64_t lease_s;       /* 1 .. LINK_LEASE_MAX_S; 0: LINK_LEASE_DEFAULT_S */
    int64_t interval_s;    /* between samples, 0 .. LINK_INTERVAL_MAX_S; 0: none */
    int64_t output_max;    /* bytes mirrored of one stream; 0: REMOTE_OUTPUT_MAX */
};

/* None of them is ever called from inside a remote_ function; in all of them remote_ functions may
 * be called, but remote_destroy(). Each may be NULL. */
struct remote_hooks {
    /* As in struct node_hooks. `ended` also with ATTEMPT_LOST. */
    void (*ended)(const struct attempt_end *end, void *arg);
    void (*never_started)(const struct attempt_key *key, void *arg);
    void (*taken_back)(const struct attempt_key *key, void *arg);
    /* State or facts have changed; once for several changes in one turn of the loop. */
    void (*changed)(struct remote *r, void *arg);
    /* The newest sample; borrowed for the time of the call. */
    void (*sample)(const struct link_sample *s, void *arg);
    void *arg;
};

enum remote_state { REMOTE_AWAY, REMOTE_UP };

/* What the node said of itself when it last connected; "" and 0 before. Foreign text: to be made
 * safe before it is shown. */
struct remote_facts {
    const char *name; /* its host name */
    const char *version, *arch, *os, *boot_id;
    const char *memory_note; /* what is enforced there, for people */
    const char *state_dir;   /* attempt_prefix() of its files is below */
    int64_t threads;
    int64_t memory_total_bytes; /* -1: not known */
};

/* An order: what node_run() takes, and how much of it is to be filled in there. */
struct remote_order {
    struct node_run run;
    /* The node's own HOME, USER, LOGNAME, SHELL, PATH, LANG, LC_ALL, LC_CTYPE, TZ and TMPDIR come
     * first in the environment; what run.env names overrides them. */
    bool inherit_env;
    /* A run.workdir that isn't there: if it is in or below `home`, the same folder in the HOME of
     * the node; that HOME itself when it isn't there either, or not below `home`. */
    bool workdir_fallback;
    const char *home; /* of the user here, absolute; may be NULL */
};

/* Copies the configuration. `log` may be NULL; log and hooks->arg must outlive it. ERR_INVALID for
 * what is out of range, system errors for the state folder. */
struct remote *remote_create(struct ev_loop *loop, const struct log *log,
                             const struct remote_config *cfg, const struct remote_hooks *hooks,
                             struct err *err);
/* Lets go: what runs there goes on until its lease ends or a head takes it up. No hook is called any
 * more. Not to be called from a hook. NULL is legal. */
void remote_destroy(struct remote *r);

/*
 * Speaks with the `hive agent --stdio` that is at the other end of a connected stream socket; what
 * comes before its hello is skipped. The descriptor is taken over, even on failure; a former
 * connection is closed. Whether they get on with each other is said by `changed`: REMOTE_UP, or
 * REMOTE_AWAY again with remote_error().
 */
int remote_connect(struct remote *r, int fd, struct err *err);
/* Closes the connection, if there is one, without an error. */
void remote_disconnect(struct remote *r);
/* There is a connection, agreed on or not yet. */
bool remote_connected(const struct remote *r);

enum remote_state remote_state(const struct remote *r);
/* Why the last connection ended, "" when that was asked for or there is one. Foreign text may be in
 * it. Borrowed, until the next change. */
const char *remote_error(const struct remote *r);
/* Borrowed, until the next `changed`. */
const struct remote_facts *remote_facts(const struct remote *r);
const char *remote_name(const struct remote *r);

/*
 * Orders an attempt; what it points to is copied. -1, and nothing follows: ERR_INVALID or
 * ERR_TOO_LARGE for what the node would refuse, ERR_CONFLICT when the key is known already,
 * ERR_UNAVAILABLE when LINK_ATTEMPTS_MAX attempts are not acknowledged yet. Everything else comes
 * back by a hook.
 */
int remote_run(struct remote *r, const struct remote_order *order, struct err *err);
/* As node_kill(). While the node is away it is kept until it is back. */
void remote_kill(struct remote *r, const struct attempt_key *key, int64_t grace_ns);
/* As node_signal(). Dropped while the node is away. */
void remote_signal(struct remote *r, const struct attempt_key *key, int signo);
/*
 * After a restart of the head, before remote_connect(): takes up an attempt that the store says is
 * there. The paths are those of its order. ERR_CONFLICT when it is known or there is a connection,
 * ERR_INVALID when the key is out of range, ERR_UNAVAILABLE over LINK_ATTEMPTS_MAX.
 */
int remote_adopt(struct remote *r, const struct attempt_key *key, const char *stdout_path,
                 const char *stderr_path, struct err *err);
/* What a hook told about this attempt is on our disk. Others are ignored. False: some of its output
 * could not be written here (the disk was full), and is on the node only: don't remote_forget() it
 * yet. */
bool remote_ack(struct remote *r, const struct attempt_key *key);
/*
 * Its files there are removed, after its output was fetched as far as it is mirrored (what then can't
 * be written here stays there); for an attempt that isn't running. While the node is away that is remembered, for LINK_ATTEMPTS_MAX attempts and
 * this life of the head. Our mirror is the caller's to remove.
 */
void remote_forget(struct remote *r, const struct attempt_key *key);
/* Samples every so many seconds from now on, 0 .. LINK_INTERVAL_MAX_S; 0: none. */
void remote_measure(struct remote *r, int64_t interval_s);
/* Attempts given to remote_run or remote_adopt of whose fate no hook has told yet. */
size_t remote_running(const struct remote *r);

#endif
