/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is at the other end of a socket. For TCP the kernel is asked for the *client's* socket, by
 * the address pair seen from the client's side, and says who owns it. What must not be believed:
 *   - a socket without an inode: it was closed, and its owner then reads as 0, which is root;
 *   - any state but a connected one: the lookup falls back to listeners on the client's port, and a
 *     port that was given up can be in use again for a connection that is being tried;
 *   - an answer for addresses other than those asked for;
 *   - any answer once our own end is no longer connected: until then the kernel gives the address
 *     pair to nobody else.
 */
#include "net/sock.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

int sock_peer_uid(int fd, uid_t *uid, pid_t *pid, struct err *err)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return err_sys(err, errno, "the kernel doesn't tell who is at the other end of a socket");
    *uid = cred.uid;
    if (pid)
        *pid = cred.pid;
    return 0;
}

/* One end of a connection as inet_diag writes it: IPv4 in the first of four words. */
struct end {
    int family;
    uint32_t addr[4];
    uint16_t port; /* network order */
};

static int to_end(const struct sockaddr_storage *ss, struct end *end)
{
    *end = (struct end){ .family = ss->ss_family };
    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)ss;
        end->addr[0] = in->sin_addr.s_addr;
        end->port = in->sin_port;
        return 0;
    }
    if (ss->ss_family != AF_INET6)
        return -1;
    const struct sockaddr_in6 *in6 = (const void *)ss;
    memcpy(end->addr, &in6->sin6_addr, sizeof(end->addr));
    end->port = in6->sin6_port;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        end->family = AF_INET;
        end->addr[0] = end->addr[3];
        end->addr[1] = end->addr[2] = end->addr[3] = 0;
    }
    return 0;
}

static bool same_end(const struct end *end, int family, const uint32_t *addr, uint16_t port)
{
    /* A client may use an IPv6 socket to an IPv4 address. */
    const uint32_t mapped[4] = { 0, 0, htonl(0xffff), end->addr[0] };
    size_t len = family == AF_INET ? sizeof(uint32_t) : sizeof(mapped);
    bool as_mapped = end->family == AF_INET && family == AF_INET6;

    if (end->port != port || (end->family == AF_INET6 && family != AF_INET6))
        return false;
    return memcmp(as_mapped ? mapped : end->addr, addr, len) == 0;
}

static bool connected_state(int state)
{
    /* The client may have shut down its sending side and still own the socket. */
    return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 ||
           state == TCP_CLOSE_WAIT;
}

static bool still_connected(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           connected_state(info.tcpi_state);
}

/* Sends the question and returns the length of the answer in `answer`, or -1. */
static ssize_t ask(const struct end *client, const struct end *server, void *answer, size_t size,
                   struct err *err)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 req;
    } msg = {
        .head = { .nlmsg_len = sizeof(msg),
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST,
                  .nlmsg_seq = 1 },
        .req = { .sdiag_family = (uint8_t)client->family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = UINT32_MAX,
                 .id = { .idiag_sport = client->port,
                         .idiag_dport = server->port,
                         .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } },
    };
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    ssize_t n = -1;
    int sys = 0;

    memcpy(msg.req.id.idiag_src, client->addr, sizeof(client->addr));
    memcpy(msg.req.id.idiag_dst, server->addr, sizeof(server->addr));
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) {
        sys = errno;
    } else {
        /* The answer is there when sendto() returns: reading never has to wait. */
        if (sendto(fd, &msg, sizeof(msg), 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ||
            (n = recv(fd, answer, size, MSG_DONTWAIT)) < 0)
            sys = errno;
        close(fd);
    }
    if (sys == 0)
        return n;
    return err_set(err, ERR_UNAVAILABLE, "the kernel doesn't tell who owns a TCP connection: %s",
                   strerror(sys));
}

static int read_answer(const void *answer, size_t len, const struct end *client,
                       const struct end *server, uid_t *uid, struct err *err)
{
    struct nlmsghdr head;
    struct inet_diag_msg m;

    if (len < sizeof(head))
        return err_set(err, ERR_UNAVAILABLE, "short answer from sock_diag");
    memcpy(&head, answer, sizeof(head));
    const char *payload = (const char *)answer + NLMSG_HDRLEN;
    if (head.nlmsg_type == NLMSG_ERROR && len >= NLMSG_HDRLEN + sizeof(int)) {
        int sys;
        memcpy(&sys, payload, sizeof(sys));
        if (sys != -ENOENT)
            return err_set(err, ERR_UNAVAILABLE,
                           "the kernel doesn't tell who owns a TCP connection: %s", strerror(-sys));
    }
    if (head.nlmsg_type == SOCK_DIAG_BY_FAMILY && len >= NLMSG_HDRLEN + sizeof(m)) {
        memcpy(&m, payload, sizeof(m));
        if (connected_state(m.idiag_state) && m.idiag_inode != 0 &&
            same_end(client, m.idiag_family, m.id.idiag_src, m.id.idiag_sport) &&
            same_end(server, m.idiag_family, m.id.idiag_dst, m.id.idiag_dport)) {
            *uid = m.idiag_uid;
            return 0;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the client's socket is not of this machine, or closed");
}

int sock_tcp_peer_uid(int fd, uid_t *uid, struct err *err)
{
    struct sockaddr_storage here, there;
    socklen_t here_len = sizeof(here), there_len = sizeof(there);
    struct end client, server;
    char answer[1024];
    uid_t found = (uid_t)-1;

    if (getsockname(fd, (struct sockaddr *)&here, &here_len) != 0 ||
        getpeername(fd, (struct sockaddr *)&there, &there_len) != 0 ||
        to_end(&here, &server) != 0 || to_end(&there, &client) != 0 ||
        client.family != server.family)
        return err_set(err, ERR_NOT_FOUND, "the socket is not connected");
    ssize_t n = ask(&client, &server, answer, sizeof(answer), err);
    if (n < 0 || read_answer(answer, (size_t)n, &client, &server, &found, err) != 0)
        return -1;
    if (!still_connected(fd))
        return err_set(err, ERR_NOT_FOUND, "the client has gone");
    *uid = found;
    return 0;
}
