/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "node/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void shim_identity_drop(struct shim_identity *id, int state_fd)
{
    if (id->fd < 0)
        return;
    unlinkat(state_fd, id->path, 0);
    close(id->fd);
    id->fd = -1;
}

static int write_identity(int fd, pid_t pid, uint64_t start)
{
    char text[96];
    int n =
        snprintf(text, sizeof text, "hive-shim 1\npid=%ld\nstart=%" PRIu64 "\n", (long)pid, start);

    return fs_write_all(fd, text, (size_t)n);
}

static int open_identity(int state_fd, const char *path)
{
    return openat(state_fd, path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                  0600);
}

/* A daemon that clears away stale files may take a new one for stale before it is locked: then
 * it has no name any more when the lock is ours. 1: done, 0: that happened, -1: errno. */
static int make_identity(struct shim_identity *id, int state_fd, pid_t pid, uint64_t start)
{
    struct stat st;
    int fd;

    fd = open_identity(state_fd, id->path);
    if (fd < 0 && errno == ENOENT && mkdirat(state_fd, "shims", 0700) == 0)
        fd = open_identity(state_fd, id->path);
    /* Of a process of an earlier boot with our numbers: claims lead there, so that only the name
     * is taken from it. */
    if (fd < 0 && errno == EEXIST && unlinkat(state_fd, id->path, 0) == 0)
        fd = open_identity(state_fd, id->path);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX) != 0 || write_identity(fd, pid, start) != 0 || fstat(fd, &st) != 0) {
        int saved = errno;
        unlinkat(state_fd, id->path, 0);
        close(fd);
        errno = saved;
        return -1;
    }
    if (st.st_nlink == 0) {
        close(fd);
        return 0;
    }
    id->fd = fd;
    id->size = st.st_size;
    return 1;
}

int shim_identity_renew(struct shim_identity *id, int state_fd, struct err *err)
{
    struct shim_identity fresh = { .fd = -1, .serial = id->serial + 1 };
    pid_t pid = getpid();
    uint64_t start = sys_process_start(pid);
    int made = 0;

    if (fresh.serial > 1)
        snprintf(fresh.path, sizeof fresh.path, "shims/%ld-%" PRIu64 "-%u", (long)pid, start,
                 fresh.serial);
    else
        snprintf(fresh.path, sizeof fresh.path, "shims/%ld-%" PRIu64, (long)pid, start);
    for (int tries = 0; made == 0 && tries < 100; tries++)
        made = make_identity(&fresh, state_fd, pid, start);
    if (made <= 0)
        return err_sys(err, made < 0 ? errno : EBUSY, "cannot make %s in the state folder",
                       fresh.path);
    shim_identity_drop(id, state_fd);
    *id = fresh;
    return 0;
}

/* Not fsync'd: a machine that loses power has lost the job as well, and the daemon makes what it
 * hears durable. */
int shim_identity_append(struct shim_identity *id, const char *record, size_t len)
{
    ssize_t n;
    int sys;

    if (id->cut && ftruncate(id->fd, id->size) != 0)
        return errno;
    id->cut = false;
    do
        n = write(id->fd, record, len);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)len) {
        id->size += n;
        return 0;
    }
    sys = n < 0 ? errno : ENOSPC;
    id->cut = ftruncate(id->fd, id->size) != 0;
    return sys;
}
