/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Users as the system knows them: /etc/passwd first, then, for those of LDAP, sssd and the like,
 * getent(1) (sys/getent.h has the limits, the cache and the errors). "Nobody" is never made up:
 * who isn't known is ERR_NOT_FOUND.
 */
#ifndef HIVE_SYS_NSS_USER_H
#define HIVE_SYS_NSS_USER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct ev_loop;
struct getent;
struct getent_options;
struct nss_user_request;

#define NSS_USER_NAME_MAX 256                        /* bytes */
#define NSS_USER_LINE_MAX 4096                       /* longer lines are passed over */
#define NSS_USER_FILE_MAX ((size_t)16 * 1024 * 1024) /* a longer one is left to getent */

struct nss_user {
    uid_t uid;
    gid_t gid;
    char *name;
    char *home;  /* absolute; "/" where there is none */
    char *shell; /* "/bin/sh" where there is none */
};

void nss_user_fini(struct nss_user *u); /* frees; harmless on a zeroed one */

/* One line of /etc/passwd, without its line feed. ERR_INVALID: not seven fields, numbers that are
 * none (or uid -1, which stands for "no user"), control characters, a relative home or shell, or too
 * long. nss_user_fini() frees. */
int nss_user_parse(const char *line, size_t len, struct nss_user *out, struct err *err);
/* The user called `name`, or with `name` NULL the first one with `uid`, in the text of such a file.
 * Bad lines are passed over. ERR_NOT_FOUND. */
int nss_user_scan(const char *text, size_t len, const char *name, uid_t uid, struct nss_user *out,
                  struct err *err);

/*
 * `fn` is called once, by the loop and never from within this call, unless cancelled before: with a
 * user borrowed until it returns, or NULL and an error. Names have at most NSS_USER_NAME_MAX bytes
 * and no ':', control characters or '-' at the start, else NULL with ERR_INVALID; a name of digits
 * alone is looked for in /etc/passwd only, because getent takes it for a uid. The first part,
 * reading /etc/passwd, is done within the call.
 */
typedef void nss_user_fn(void *arg, const struct nss_user *user, const struct err *err);
struct nss_user_request *nss_user_ask_name(struct getent *g, const char *name, nss_user_fn *fn,
                                           void *arg, struct err *err);
struct nss_user_request *nss_user_ask_uid(struct getent *g, uid_t uid, nss_user_fn *fn, void *arg,
                                          struct err *err);
void nss_user_cancel(struct nss_user_request *r); /* NULL is legal */

/* The same for commands that may wait. `options` as for getent_create(), NULL: all defaults.
 * nss_user_fini() frees. */
int nss_user_by_name(const char *name, const struct getent_options *options, struct nss_user *out,
                     struct err *err);
int nss_user_by_uid(uid_t uid, const struct getent_options *options, struct nss_user *out,
                    struct err *err);
/* The user that this process runs as. $HOME, where it is absolute, goes before the home that the
 * system knows. Always fills `out`: what can't be found out is the number as a name, "/" and
 * "/bin/sh", and then -1 says why. */
int nss_user_self(struct nss_user *out, struct err *err);

#endif
