/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets: listeners, connections, and who is at the other end. All descriptors are close-on-exec;
 * they are non-blocking unless said otherwise.
 */
#ifndef HIVE_NET_SOCK_H
#define HIVE_NET_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

/* Longest path of a Unix socket (sun_path without NUL); longer ones: ERR_INVALID with a hint to set
 * HIVE_RUNTIME_DIR. */
#define SOCK_PATH_MAX 107

/*
 * Listens on a Unix socket, type SOCK_STREAM or SOCK_SEQPACKET, mode 0600. A stale socket file
 * (nobody accepts) is replaced; a live one is ERR_CONFLICT; anything that is not a socket is left
 * alone: ERR_CONFLICT. Two processes that try at once can't both succeed: while it works, this call
 * holds an flock(2) on the folder. Returns the descriptor; removing the file is the caller's.
 */
int sock_listen_unix(const char *path, int type, struct err *err);

struct sock_addr {
    char host[64]; /* numeric, without brackets */
    uint16_t port;
    bool loopback; /* 127.0.0.0/8, ::1 */
};

/*
 * "127.0.0.1:8080", "[::1]:0", "localhost:8080", ":8080" (all addresses, both families),
 * "0.0.0.0:80". Names other than localhost are refused: ERR_INVALID.
 */
int sock_parse_addr(const char *text, struct sock_addr *addr, struct err *err);
/*
 * Listens on TCP; port 0 takes a free one, addr->port is set to it. "::" takes IPv4 connections
 * too. Accepted sockets inherit TCP_NODELAY and keep-alive probes. An address in use is
 * ERR_CONFLICT. Returns the descriptor.
 */
int sock_listen_tcp(struct sock_addr *addr, struct err *err);

/*
 * Blocking connects with a deadline; the returned socket is blocking. Nobody listening:
 * ERR_UNAVAILABLE; no answer in time: ERR_TIMEOUT. host_port is as for sock_parse_addr but for an
 * empty host, or has a name; looking up a name may take longer than the deadline.
 */
int sock_connect_unix(const char *path, int type, int64_t timeout_ns, struct err *err);
int sock_connect_tcp(const char *host_port, int64_t timeout_ns, struct err *err);

/* uid of the process that connected to (or listens at) the other end of a Unix socket
 * (SO_PEERCRED), pid too if not NULL. */
int sock_peer_uid(int fd, uid_t *uid, pid_t *pid, struct err *err);
/*
 * uid of the owner of the other end of an accepted TCP connection from this same machine, asked
 * from the kernel by address pair (sock_diag(7), inet_diag). The owner is who created the client's
 * socket. ERR_NOT_FOUND when it has no local owner (remote peer, another network namespace, or
 * already closed): the caller then treats it as a stranger. ERR_UNAVAILABLE when the kernel can't
 * tell.
 */
int sock_tcp_peer_uid(int fd, uid_t *uid, struct err *err);

#endif
