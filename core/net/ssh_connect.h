/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP connections that an event loop waits for: one address after another, with a deadline for all
 * of them. Looking a name up waits (resolve.h), so it is for a link process and never for the daemon;
 * addresses never wait.
 */
#ifndef HIVE_NET_SSH_CONNECT_H
#define HIVE_NET_SSH_CONNECT_H

#include "net/resolve.h"
#include "net/ssh_config.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct err;
struct ev_loop;
struct ssh_connect;

#define SSH_CONNECT_ADDRESSES_MAX 16

/* Finds at most SSH_CONNECT_ADDRESSES_MAX addresses, in the order to try; returns how many, or
 * -1. `family` is AF_UNSPEC, AF_INET or AF_INET6. */
typedef int ssh_connect_resolve_fn(void *arg, const char *host, uint16_t port, int family,
                                   struct resolve_address *out, struct err *err);

/* resolve_wait(), with hints for users of ~/.ssh/config. */
int ssh_connect_resolve(void *arg, const char *host, uint16_t port, int family,
                        struct resolve_address *out, struct err *err);

struct ssh_connect_target {
    const char *host; /* name or address */
    uint16_t port;
    enum ssh_config_family family;
    const char *bind_address;        /* to connect from, numeric; NULL: any */
    ssh_connect_resolve_fn *resolve; /* NULL: ssh_connect_resolve */
    void *resolve_arg;
};

/*
 * Starts. `done` is called once, by the loop and never from within this call, unless it is
 * cancelled before: with a connected, non-blocking socket that is the callee's, or with -1 and an
 * error that names the last address and what became of it (ERR_UNAVAILABLE, ERR_TIMEOUT,
 * ERR_NOT_FOUND, ERR_INVALID). The object is gone when `done` is called. Strings of `target` are
 * not kept. Each address gets an even share of the time that is left.
 */
struct ssh_connect *ssh_connect_start(struct ev_loop *loop, const struct ssh_connect_target *target,
                                      int64_t timeout_ns,
                                      void (*done)(void *arg, int fd, const struct err *err),
                                      void *arg);
void ssh_connect_cancel(struct ssh_connect *c); /* NULL is legal */

/* "10.0.0.1", "fd00::1%eth0": the address without its port into out; "?" for other families. */
void ssh_connect_address_text(const struct sockaddr_storage *addr, char *out, size_t size);

#endif
