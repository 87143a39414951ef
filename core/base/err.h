/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors as values.
 *
 * Every fallible function in core/ takes a `struct err *` as its last parameter, returns -1 or NULL
 * on failure and leaves the object untouched on success. The message says what went wrong, in the
 * words of the person who has to act on it; the hint says what to do next. Only cmd/ prints them,
 * only core/head turns them into HTTP answers.
 *
 * `err` may be NULL where a caller doesn't care: every function here accepts that.
 */
#ifndef HIVE_BASE_ERR_H
#define HIVE_BASE_ERR_H

enum err_kind {
    ERR_NONE = 0,
    ERR_USAGE,       /* wrong command line                    exit 2            */
    ERR_INVALID,     /* a value is malformed or out of range  exit 2, HTTP 400  */
    ERR_UNPROCESS,   /* well-formed but can't be accepted     exit 1, HTTP 422  */
    ERR_NOT_FOUND,   /* no such job, node, file, route        exit 1, HTTP 404  */
    ERR_DENIED,      /* not allowed                           exit 4, HTTP 403  */
    ERR_UNAUTH,      /* who are you?                          exit 4, HTTP 401  */
    ERR_CONFLICT,    /* state doesn't allow it                exit 1, HTTP 409  */
    ERR_TOO_LARGE,   /* over a limit                          exit 1, HTTP 413  */
    ERR_NO_SPACE,    /* disk full                             exit 1, HTTP 507  */
    ERR_UNAVAILABLE, /* no daemon, busy, shutting down        exit 3, HTTP 503  */
    ERR_TIMEOUT,     /* deadline passed                       exit 1, HTTP 504  */
    ERR_CORRUPT,     /* stored data can't be read             exit 1, HTTP 500  */
    ERR_VERSION,     /* stored data is from a newer hive      exit 1, HTTP 500  */
    ERR_IO,          /* the system refused                    exit 1, HTTP 500  */
    ERR_INTERNAL,    /* a defect of ours                      exit 1, HTTP 500  */
    ERR_KIND_COUNT
};

struct err {
    enum err_kind kind;
    int sys; /* errno behind it, or 0 */
    char msg[512];
    char hint[256];
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        .kind = ERR_NONE                                                                           \
    }

/* Records an error (replacing an earlier one, hint included). Always returns -1, so that a function
 * can end with `return err_set(err, ...)`. Messages are cut at the size of the field. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, for a failed system call: the kind follows from `sys` (ENOSPC and EDQUOT:
 * ERR_NO_SPACE, EACCES and EPERM: ERR_DENIED, ENOENT: ERR_NOT_FOUND, EMFILE/ENFILE:
 * ERR_UNAVAILABLE, else ERR_IO) and ": " plus strerror(sys) is appended. */
int err_sys(struct err *err, int sys, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Sets what to do next ("try: hive status"). Call after err_set. Returns -1. */
int err_hint(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "PREFIX: " before the message: used where context is known on the way up. Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void err_clear(struct err *err);

/* Word for a kind as the API shows it: "invalid", "not_found", ... Never NULL. */
const char *err_kind_name(enum err_kind kind);
/* The kind with that name, or ERR_INTERNAL for an unknown word. */
enum err_kind err_kind_from_name(const char *name);
/* Exit code of a command that ends with this error (table above). */
int err_exit_code(enum err_kind kind);
/* HTTP status of an API answer with this error (table above). */
int err_http_status(enum err_kind kind);

#endif
