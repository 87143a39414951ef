/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "base/err.h"
#include "net/ssh_link_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool may(int fd, bool writes)
{
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;

    return mode == O_RDWR || mode == (writes ? O_WRONLY : O_RDONLY);
}

/* Opening the master of a terminal makes another terminal. */
static bool can_open_anew(int fd, const struct stat *st)
{
    unsigned number;

    if (S_ISFIFO(st->st_mode))
        return true;
    return S_ISCHR(st->st_mode) && isatty(fd) && ioctl(fd, TIOCGPTN, &number) != 0;
}

static int open_anew(int fd, bool writes, const struct stat *want)
{
    char path[64];
    struct stat st;
    int again;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    again = open(path, (writes ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (again < 0)
        return -1;
    if (fstat(again, &st) == 0 && st.st_dev == want->st_dev && st.st_ino == want->st_ino &&
        st.st_rdev == want->st_rdev)
        return again;
    close(again);
    return -1;
}

static void on_io(struct ev_io *io, unsigned ready)
{
    struct link_stream *s = CONTAINER_OF(io, struct link_stream, io);

    s->ready(s, ready);
}

int link_stream_open(struct link_stream *s, struct ev_loop *loop, int fd, bool writes,
                     struct err *err)
{
    struct stat st;
    int again;

    s->io = (struct ev_io){ .fd = -1, .fn = on_io };
    s->loop = loop;
    s->writes = writes;
    if (fstat(fd, &st) != 0 || !may(fd, writes)) {
        close(fd);
        return err_set(err, ERR_INVALID, "a descriptor that came with the command can't be %s",
                       writes ? "written to" : "read from");
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    s->socket = S_ISSOCK(st.st_mode);
    s->watchable = !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISDIR(st.st_mode);
    s->polite = false;
    if (s->watchable && !s->socket && !(fcntl(fd, F_GETFL) & O_NONBLOCK)) {
        again = can_open_anew(fd, &st) ? open_anew(fd, writes, &st) : -1;
        if (again >= 0) {
            close(fd);
            fd = again;
        } else {
            s->polite = true;
        }
    }
    s->io.fd = fd;
    /* /dev/null and its like: the kernel says which. */
    if (s->watchable) {
        if (ev_io_add(loop, &s->io, NULL) != 0)
            s->watchable = s->polite = false;
        ev_io_remove(&s->io);
    }
    return 0;
}

bool link_stream_is_open(const struct link_stream *s)
{
    return s->io.fd >= 0;
}

/* Hang-ups are told again in each turn, so that what isn't wanted isn't watched at all. */
void link_stream_watch(struct link_stream *s, bool on)
{
    unsigned events = s->writes ? EV_WRITE : EV_READ;

    if (!on || s->io.fd < 0 || !s->watchable) {
        ev_io_remove(&s->io);
        return;
    }
    ev_io_change(&s->io, events);
    if (!s->io.loop && ev_io_add(s->loop, &s->io, NULL) != 0)
        s->ready(s, events | EV_HANGUP);
}

void link_stream_watch_hangup(struct link_stream *s)
{
    if (s->io.fd < 0 || !s->watchable)
        return;
    ev_io_change(&s->io, 0);
    if (!s->io.loop)
        ev_io_add(s->loop, &s->io, NULL);
}

/* False: it would wait. */
static bool ask(const struct link_stream *s)
{
    struct pollfd p = { .fd = s->io.fd, .events = s->writes ? POLLOUT : POLLIN };

    if (!s->polite || poll(&p, 1, 0) > 0)
        return true;
    errno = EAGAIN;
    return false;
}

static size_t portion(const struct link_stream *s, size_t len)
{
    return s->polite && len > PIPE_BUF ? PIPE_BUF : len;
}

ssize_t link_stream_read(struct link_stream *s, void *data, size_t len)
{
    ssize_t n;

    do {
        if (!ask(s))
            return -1;
        n = s->socket ? recv(s->io.fd, data, len, MSG_DONTWAIT)
                      : read(s->io.fd, data, portion(s, len));
    } while (n < 0 && errno == EINTR);
    return n;
}

ssize_t link_stream_write(struct link_stream *s, const void *data, size_t len)
{
    ssize_t n;

    do {
        if (!ask(s))
            return -1;
        n = s->socket ? send(s->io.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                      : write(s->io.fd, data, portion(s, len));
    } while (n < 0 && errno == EINTR);
    return n;
}

bool link_stream_same_file(const struct link_stream *a, const struct link_stream *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

void link_stream_close(struct link_stream *s, bool shut)
{
    if (s->io.fd < 0)
        return;
    ev_io_remove(&s->io);
    if (shut && s->socket)
        shutdown(s->io.fd, SHUT_WR);
    close(s->io.fd);
    s->io.fd = -1;
}
