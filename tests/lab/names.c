/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For tests/lab/names.t, linked statically as hive is: looks up what only the system knows.
 *
 *   names host NAME | names user NAME | names uid NUMBER
 *   names libc NAME                 with the C library alone
 *   names nogetent NAME             as `host` where there is no getent: the helper is this file
 *   names resolve --internal NAME   which is called like this
 *
 * Prints addresses, or a line as in /etc/passwd. 1: not found, 2: anything else.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/resolve.h"
#include "sys/getent.h"
#include "sys/nss_user.h"

#include <netdb.h>

static int failed(const struct err *err)
{
    fprintf(stderr, "names: %s\n", err->msg);
    return err->kind == ERR_NOT_FOUND ? 1 : 2;
}

static int host(const char *name, const struct getent_options *options)
{
    struct resolve_address found[RESOLVE_ADDRESSES_MAX];
    struct err err = ERR_INIT;
    char text[128];
    int n = resolve_wait(name, 22, AF_UNSPEC, options, found, RESOLVE_ADDRESSES_MAX, &err);

    for (int i = 0; i < n; i++) {
        if (getnameinfo((const struct sockaddr *)&found[i].addr, found[i].len, text, sizeof text,
                        NULL, 0, NI_NUMERICHOST) == 0)
            puts(text);
    }
    return n < 0 ? failed(&err) : 0;
}

static int user(const char *name, uid_t uid)
{
    struct nss_user u;
    struct err err = ERR_INIT;
    int rc = name ? nss_user_by_name(name, NULL, &u, &err) : nss_user_by_uid(uid, NULL, &u, &err);

    if (rc != 0)
        return failed(&err);
    printf("%s:%u:%u:%s:%s\n", u.name, (unsigned)u.uid, (unsigned)u.gid, u.home, u.shell);
    nss_user_fini(&u);
    return 0;
}

static int libc(const char *name)
{
    struct addrinfo *found;

    if (getaddrinfo(name, NULL, NULL, &found) != 0)
        return 1;
    freeaddrinfo(found);
    return 0;
}

static int internal(const char *name)
{
    struct buf out = BUF_INIT;
    int code = resolve_helper(name, &out);

    fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    buf_fini(&out);
    return code;
}

int main(int argc, char **argv)
{
    static const struct getent_options no_getent = { .program = "" };
    int64_t uid;

    if (argc == 4 && str_eq(argv[1], "resolve") && str_eq(argv[2], "--internal"))
        return internal(argv[3]);
    if (argc != 3)
        return 2;
    if (str_eq(argv[1], "host"))
        return host(argv[2], NULL);
    if (str_eq(argv[1], "nogetent"))
        return host(argv[2], &no_getent);
    if (str_eq(argv[1], "libc"))
        return libc(argv[2]);
    if (str_eq(argv[1], "user"))
        return user(argv[2], 0);
    if (str_eq(argv[1], "uid") && str_to_int(argv[2], 0, UINT32_MAX, "uid", &uid, NULL) == 0)
        return user(NULL, (uid_t)uid);
    return 2;
}
