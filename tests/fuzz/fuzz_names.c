/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What getent prints: addresses of a host, users. Whatever the text: no more addresses than there
 * may be, each once and with a family; a user is one that a line made of it gives again.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/resolve.h"
#include "sys/nss_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void try_addresses(const char *text, size_t len)
{
    struct resolve_address a[RESOLVE_ADDRESSES_MAX];
    size_t n = resolve_parse(text, len, a);

    require(n <= RESOLVE_ADDRESSES_MAX);
    for (size_t i = 0; i < n; i++) {
        require(a[i].addr.ss_family == AF_INET || a[i].addr.ss_family == AF_INET6);
        for (size_t j = 0; j < i; j++)
            require(a[i].len != a[j].len || memcmp(&a[i].addr, &a[j].addr, a[i].len) != 0);
    }
}

static void try_user(const struct nss_user *u)
{
    struct nss_user again;
    char *line = mem_printf("%s:x:%u:%u::%s:%s", u->name, (unsigned)u->uid, (unsigned)u->gid,
                            u->home, u->shell);

    require(u->uid != (uid_t)-1 && u->home[0] == '/' && u->shell[0] == '/');
    require(u->name[0] && u->name[0] != '-' && strlen(u->name) <= NSS_USER_NAME_MAX);
    if (strlen(line) <= NSS_USER_LINE_MAX) {
        require(nss_user_parse(line, strlen(line), &again, NULL) == 0);
        require(str_eq(u->name, again.name) && u->uid == again.uid && u->gid == again.gid);
        require(str_eq(u->home, again.home) && str_eq(u->shell, again.shell));
        nss_user_fini(&again);
    }
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    struct resolve_address address;
    struct nss_user u, by_name;
    struct err err = ERR_INIT;

    try_addresses(text, size);
    resolve_literal(text, 22, AF_UNSPEC, &address, NULL);
    require(resolve_check_name(text, &err) == 0 || err.kind == ERR_INVALID);
    if (nss_user_parse(text, size, &u, NULL) == 0)
        try_user(&u);
    nss_user_fini(&u);
    if (nss_user_scan(text, size, NULL, 1000, &u, NULL) == 0) {
        require(u.uid == 1000);
        try_user(&u);
        require(nss_user_scan(text, size, u.name, 0, &by_name, NULL) == 0);
        require(str_eq(by_name.name, u.name));
        nss_user_fini(&by_name);
    }
    nss_user_fini(&u);
    free(text);
    return 0;
}
