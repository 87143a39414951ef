/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets with descriptors over a Unix socket. */
#include "base/mem.h"

#include "base/buf.h"
#include "net/ssh_link_msg.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* One more than is allowed: so that too many are seen, and not lost in silence. */
#define FDS_ROOM (SSH_LINK_FDS + 1)

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDS_ROOM * sizeof(int))];
};

int ssh_link_send(int fd, const void *data, size_t len, const int *fds, size_t count)
{
    union control control = { .bytes = { 0 } };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (count > FDS_ROOM)
        return -1;
    if (count > 0) {
        struct cmsghdr *c;

        msg.msg_control = control.bytes;
        msg.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    for (;;) {
        ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0)
            return 1;
        if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

void ssh_link_close_fds(int fds[SSH_LINK_FDS])
{
    for (size_t i = 0; i < SSH_LINK_FDS; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* Into fds; false: there were too many, and all of them are closed. */
static bool take_fds(struct msghdr *msg, int fds[SSH_LINK_FDS])
{
    size_t count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t bytes = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < bytes / sizeof(int); i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (count < SSH_LINK_FDS)
                fds[count] = fd;
            else
                close(fd);
            count++;
        }
    }
    if (count <= SSH_LINK_FDS && !(msg->msg_flags & MSG_CTRUNC))
        return true;
    ssh_link_close_fds(fds);
    return false;
}

int ssh_link_receive(int fd, struct buf *out, int fds[SSH_LINK_FDS], struct err *err)
{
    union control control;
    struct iovec iov;
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    for (size_t i = 0; i < SSH_LINK_FDS; i++)
        fds[i] = -1;
    buf_clear(out);
    iov.iov_base = buf_reserve(out, SSH_LINK_PACKET_MAX);
    iov.iov_len = SSH_LINK_PACKET_MAX;
    do {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    buf_added(out, (size_t)n);
    if (!take_fds(&msg, fds))
        return err_set(err, ERR_INVALID, "more than %d descriptors came with a message",
                       SSH_LINK_FDS);
    if (msg.msg_flags & MSG_TRUNC) {
        ssh_link_close_fds(fds);
        return err_set(err, ERR_TOO_LARGE, "a message has more than %zu bytes",
                       SSH_LINK_PACKET_MAX);
    }
    return n > 0 ? 1 : -1;
}
