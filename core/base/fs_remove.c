/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Removing a folder that a job filled. Its depth and its names are the job's, so nothing here
 * recurses or holds a descriptor per level: a subfolder of a subfolder is moved up to the top
 * before its parent is removed, and its turn comes there. What is mounted below stays: removing a
 * mount point is EBUSY before anything in it is looked at.
 */
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct removal {
    int top;             /* the folder to be emptied */
    const char *name;    /* for messages */
    unsigned next_moved; /* number in the name of the next folder moved to the top */
    unsigned long done;  /* entries removed or moved in this pass */
};

/* Gives ourselves access to a folder that its owner (us, through a job) locked. O_PATH and /proc,
 * because chmod by name would follow a link put there in between. */
static void unlock_dir(int dirfd, const char *name)
{
    char path[64];
    int fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int ignored = chmod(path, 0700); /* a failure shows at the next try to open it */
    (void)ignored;
    close(fd);
}

static int open_dir(int dirfd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dirfd, name, flags);

    if (fd < 0 && errno == EACCES) {
        unlock_dir(dirfd, name);
        fd = openat(dirfd, name, flags);
    }
    return fd;
}

static int fail(const struct removal *r, const char *entry, struct err *err)
{
    return err_sys(err, errno, "can't remove %s in %s", entry, r->name);
}

/* Removes whatever is not a non-empty folder. 1: it is one. */
static int remove_simple(struct removal *r, int fd, const char *name, struct err *err)
{
    if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
        goto removed;
    if (errno == EACCES) { /* fd's folder may be read-only */
        int ignored = fchmod(fd, 0700);
        (void)ignored;
        if (unlinkat(fd, name, 0) == 0)
            goto removed;
    }
    /* EPERM is what POSIX has for folders; other reasons for it show below. */
    if (errno != EISDIR && errno != EPERM)
        return fail(r, name, err);
    if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        goto removed;
    if (errno == EACCES) {
        int ignored = fchmod(fd, 0700);
        (void)ignored;
        if (unlinkat(fd, name, AT_REMOVEDIR) == 0)
            goto removed;
    }
    if (errno != ENOTEMPTY && errno != EEXIST)
        return fail(r, name, err);
    return 1;
removed:
    r->done++;
    return 0;
}

static int move_to_top(struct removal *r, int fd, const char *name, struct err *err)
{
    char to[32];
    bool unlocked = false;

    for (;;) {
        snprintf(to, sizeof to, ".hive-rm-%u", r->next_moved);
        /* An empty folder of that name is replaced: it was to go anyway. */
        if (renameat(fd, name, r->top, to) == 0)
            break;
        if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR) {
            r->next_moved++;
            continue;
        }
        /* Moving a folder rewrites its "..": it has to be writable. */
        if (errno != EACCES || unlocked)
            return fail(r, name, err);
        unlock_dir(fd, name);
        unlocked = true;
    }
    r->next_moved++;
    r->done++;
    return 0;
}

static bool is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Calls `each` for every entry of the folder; takes fd. */
static int for_entries(struct removal *r, int fd, struct err *err,
                       int (*each)(struct removal *, int, const char *, struct err *))
{
    DIR *dir = fdopendir(fd);
    struct dirent *e;
    int rc = 0;

    if (!dir) {
        rc = fail(r, ".", err);
        close(fd);
        return rc;
    }
    while (rc == 0 && (errno = 0, e = readdir(dir)))
        if (!is_dot(e->d_name))
            rc = each(r, dirfd(dir), e->d_name, err);
    if (rc == 0 && errno != 0)
        rc = fail(r, ".", err);
    closedir(dir);
    return rc;
}

/* An entry two levels down. */
static int remove_inner(struct removal *r, int fd, const char *name, struct err *err)
{
    int rc = remove_simple(r, fd, name, err);

    return rc == 1 ? move_to_top(r, fd, name, err) : rc;
}

/* An entry of the top folder. */
static int remove_outer(struct removal *r, int fd, const char *name, struct err *err)
{
    int rc = remove_simple(r, fd, name, err);

    if (rc != 1)
        return rc;
    int sub = open_dir(fd, name);
    if (sub < 0)
        return errno == ENOENT ? 0 : fail(r, name, err);
    if (for_entries(r, sub, err, remove_inner) != 0)
        return -1;
    /* ENOTEMPTY: somebody is still writing there; the next pass sees to it. */
    if (unlinkat(fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT && errno != ENOTEMPTY &&
        errno != EEXIST)
        return fail(r, name, err);
    return 0;
}

static int empty_top(struct removal *r, int dirfd, const char *name, struct err *err)
{
    for (;;) {
        r->done = 0;
        /* A description of its own for each pass: readdir starts at the beginning again. */
        int fd = openat(r->top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return fail(r, ".", err);
        if (for_entries(r, fd, err, remove_outer) != 0)
            return -1;
        if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if ((errno != ENOTEMPTY && errno != EEXIST) || r->done == 0)
            return err_sys(err, errno, "can't remove the folder %s", name);
    }
}

int fs_remove_tree(int dirfd, const char *name, struct err *err)
{
    struct removal r = { .name = name };
    struct stat st;

    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return err_sys(err, errno, "can't remove %s", name);
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0)
        return 0;
    r.top = open_dir(dirfd, name);
    if (r.top < 0)
        return errno == ENOENT ? 0 : err_sys(err, errno, "can't open the folder %s", name);
    int rc = -1;
    if (fstat(r.top, &st) != 0) {
        err_sys(err, errno, "can't look at %s", name);
    } else if ((st.st_mode & 0700) != 0700 && fchmod(r.top, 0700) != 0) {
        err_sys(err, errno, "can't open the folder %s", name);
    } else {
        rc = empty_top(&r, dirfd, name, err);
    }
    close(r.top);
    return rc;
}
