/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names as the system knows them: hosts and users that come from mDNS, LDAP, sssd and whatever else
 * /etc/nsswitch.conf names. A static program can't load those services, and asking them may take
 * seconds, so getent(1) is asked: a process for each name, while the event loop goes on.
 *
 * This is what is common to all databases: processes, deadlines, a cache, and askers of one name
 * sharing one process. Hosts are in net/resolve.h, users in sys/nss_user.h; both take the same
 * `struct getent`, so that its limits hold for all of them together.
 *
 * Where there is no getent, or one that doesn't know the database, hive's own file is started
 * instead for the kinds that have a `helper`. The processes have a clean environment, nothing on
 * stdin and stderr, and a process group of their own, which is killed when the deadline passes.
 */
#ifndef HIVE_SYS_GETENT_H
#define HIVE_SYS_GETENT_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct ev_loop;
struct getent;
struct getent_request;

#define GETENT_PROCESSES_MAX 16       /* at once; others wait */
#define GETENT_NAMES_MAX 1024         /* in the cache, and as many under way or waiting */
#define GETENT_OUTPUT_MAX (64 * 1024) /* bytes; what prints more is killed */
#define GETENT_TIMEOUT_NS INT64_C(5000000000)
#define GETENT_KEEP_NS INT64_C(60000000000)
#define GETENT_KEEP_FAILED_NS INT64_C(5000000000)
/* A name that found no free process in so many times the deadline is given up. */
#define GETENT_PATIENCE 6

/* Exit status of a helper: there is no such name; who could know doesn't answer. */
#define GETENT_HELPER_NOT_FOUND 67
#define GETENT_HELPER_NO_ANSWER 75

struct getent_options {
    const char *program; /* NULL: found as getent_find() does; "": none */
    const char *helper;  /* hive's file; NULL: our own; "": none */
    const char *passwd;  /* for sys/nss_user.h; NULL: /etc/passwd */
    /* 0: as above. The deadline is for one name, from the start of its process. */
    int64_t timeout_ns, keep_ns, keep_failed_ns;
};

/* A database, as constant data: requests with the same `kind` and key are the same. */
struct getent_kind {
    const char *database; /* getent's word */
    const char *what;     /* for messages: "host" */
    /* hive's internal command that prints the same for a key: `hive HELPER --internal KEY`. NULL:
     * there is none, and without a getent nothing is ever found. */
    const char *helper;
    /* Makes a value of what was printed (at most GETENT_OUTPUT_MAX bytes, and a NUL after them), or
     * NULL with an error. */
    void *(*parse)(const char *key, const char *text, size_t len, struct err *err);
    void (*destroy)(void *value);
};

/* `loop` and the strings of `options` (NULL: all defaults) are borrowed. */
struct getent *getent_create(struct ev_loop *loop, const struct getent_options *options);
/* Requests must have been answered or cancelled before. Kills what still runs, and waits for that up
 * to 0.2 s. Not from within an answer. NULL is legal. */
void getent_destroy(struct getent *g);
struct ev_loop *getent_loop(const struct getent *g);
const char *getent_passwd_file(const struct getent *g);

/* /usr/bin/getent, /bin/getent, or the first one in `path` (as $PATH; relative folders are passed
 * over; may be NULL). malloc'd; NULL: there is none. */
char *getent_find(const char *path);

/*
 * Asks for `key`, of which the caller knows that it is fit for a command line: not empty, and
 * without '-' at its start. `fn` is called once, by the loop and never from within this call,
 * unless it is cancelled before: with a value borrowed until it returns, or with NULL and an error:
 *   ERR_NOT_FOUND     nobody knows the name
 *   ERR_TIMEOUT       no answer within the deadline, or from no name server
 *   ERR_TOO_LARGE     over GETENT_OUTPUT_MAX
 *   ERR_UNAVAILABLE   no process could be had (not cached; all others are), or neither a getent nor
 *                     a helper is there
 *   ERR_IO            getent failed, or printed what can't be understood
 * The request is gone when `fn` is called. `fn` may ask and cancel others. NULL with
 * ERR_UNAVAILABLE when GETENT_NAMES_MAX names are under way.
 */
struct getent_request *getent_ask(struct getent *g, const struct getent_kind *kind, const char *key,
                                  void (*fn)(void *arg, const void *value, const struct err *err),
                                  void *arg, struct err *err);
/* `fn` won't be called. A process for whom nobody waits any more is killed. NULL is legal. */
void getent_cancel(struct getent_request *r);

#endif
