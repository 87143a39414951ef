/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A name service that only glibc's switch knows (nsswitch.conf: "hosts: files lab"), for tests of
 * programs that can't load one. A name is a comment "#lab ADDRESS NAME" in /etc/hosts, so that who
 * reads that file itself finds nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <nss.h>
#include <stdio.h>
#include <string.h>

enum nss_status _nss_lab_gethostbyname2_r(const char *name, int family, struct hostent *result,
                                          char *buffer, size_t len, int *errnop, int *h_errnop);
enum nss_status _nss_lab_gethostbyname_r(const char *name, struct hostent *result, char *buffer,
                                         size_t len, int *errnop, int *h_errnop);

/* What a hostent points to, in the caller's buffer. */
struct store {
    struct in_addr address;
    char *addresses[2], *aliases[1];
    char name[256];
};

static int find(const char *name, struct in_addr *address)
{
    char line[512], text[64], known[256];
    FILE *f = fopen("/etc/hosts", "re");
    int found = 0;

    while (f && !found && fgets(line, sizeof(line), f))
        found = sscanf(line, "#lab %63s %255s", text, known) == 2 && !strcmp(known, name) &&
                inet_pton(AF_INET, text, address) == 1;
    if (f)
        fclose(f);
    return found;
}

enum nss_status _nss_lab_gethostbyname2_r(const char *name, int family, struct hostent *result,
                                          char *buffer, size_t len, int *errnop, int *h_errnop)
{
    struct store *s =
        (struct store *)(void *)(buffer + (-(size_t)buffer & (_Alignof(struct store) - 1)));
    struct in_addr address;

    if (family != AF_INET || strlen(name) >= sizeof(s->name) || !find(name, &address)) {
        *h_errnop = HOST_NOT_FOUND;
        return NSS_STATUS_NOTFOUND;
    }
    if (len < sizeof(*s) + _Alignof(struct store)) {
        *errnop = ERANGE;
        *h_errnop = NETDB_INTERNAL;
        return NSS_STATUS_TRYAGAIN;
    }
    s->address = address;
    s->addresses[0] = (char *)&s->address;
    s->addresses[1] = s->aliases[0] = NULL;
    snprintf(s->name, sizeof(s->name), "%s", name);
    *result = (struct hostent){ s->name, s->aliases, AF_INET, sizeof(s->address), s->addresses };
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_lab_gethostbyname_r(const char *name, struct hostent *result, char *buffer,
                                         size_t len, int *errnop, int *h_errnop)
{
    return _nss_lab_gethostbyname2_r(name, AF_INET, result, buffer, len, errnop, h_errnop);
}
