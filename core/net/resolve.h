/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses of hosts, as the system knows them: /etc/hosts, DNS, mDNS ("printer.local") and whatever
 * else /etc/nsswitch.conf names, through getent(1). sys/getent.h has the limits, the cache and what
 * happens where there is no getent: `hive resolve --internal NAME` (cmd/) then asks the C library.
 * Addresses, in any form that inet_aton(3) takes and with "%SCOPE" after IPv6, are answered without
 * any of it.
 */
#ifndef HIVE_NET_RESOLVE_H
#define HIVE_NET_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct buf;
struct err;
struct getent;
struct getent_options;
struct resolve_request;

#define RESOLVE_NAME_MAX 253
#define RESOLVE_ADDRESSES_MAX 64 /* of a name that has more: the first ones */

struct resolve_address {
    struct sockaddr_storage addr; /* AF_INET or AF_INET6, with the port that was asked for */
    socklen_t len;
};

/* A name that may be looked up: letters, digits, '-' and '_', in parts of 1 to 63 of them with dots
 * between; no '-' at the start; a dot at the end is fine. ERR_INVALID says what is wrong. */
int resolve_check_name(const char *name, struct err *err);

/* The address that `host` is, without looking anything up: 1, or 0: it is none (it may be a name),
 * or -1, ERR_NOT_FOUND: it is one of the other family. */
int resolve_literal(const char *host, uint16_t port, int family, struct resolve_address *out,
                    struct err *err);

/*
 * Asks for the addresses of `host`. `family` is AF_UNSPEC, AF_INET or AF_INET6. `fn` is called once,
 * by the loop and never from within this call, unless it is cancelled before: with the addresses in
 * the order in which the system wants them tried, each once, borrowed until it returns; or with 0
 * of them and an error as in sys/getent.h. No address of the family is ERR_NOT_FOUND. NULL when
 * `host` can't be one (ERR_INVALID, ERR_NOT_FOUND), or ERR_UNAVAILABLE. Capitals don't matter.
 */
typedef void resolve_fn(void *arg, const struct resolve_address *found, size_t count,
                        const struct err *err);
struct resolve_request *resolve_ask(struct getent *g, const char *host, uint16_t port, int family,
                                    resolve_fn *fn, void *arg, struct err *err);
void resolve_cancel(struct resolve_request *r); /* NULL is legal */

/* The same for processes that may wait: at most `max` addresses into `out`; how many, or -1.
 * `options` as for getent_create(), NULL: all defaults. */
int resolve_wait(const char *host, uint16_t port, int family, const struct getent_options *options,
                 struct resolve_address *out, size_t max, struct err *err);

/* `hive resolve --internal NAME`: asks the C library, which may take long, and appends lines as
 * `getent ahosts` prints them. Returns the exit status. */
int resolve_helper(const char *name, struct buf *out);

/*
 * What `getent ahosts` printed: lines that begin with an address. Addresses into `out`, at most
 * RESOLVE_ADDRESSES_MAX, each once, port 0; lines without one are passed over. How many.
 */
size_t resolve_parse(const char *text, size_t len, struct resolve_address *out);

#endif
