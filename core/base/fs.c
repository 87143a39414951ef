/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fs.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_dir(const char *path, mode_t mode, struct err *err)
{
    struct stat st;

    if (mkdir(path, mode) == 0)
        return 0;
    int sys = errno;
    /* Also after other errors than EEXIST: mkdir("/") on a read-only system says EROFS. */
    if (stat(path, &st) != 0)
        return err_sys(err, sys, "can't make the folder %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_CONFLICT, "%s is in the way: it is not a folder", path);
    return 0;
}

int fs_mkdir_p(const char *path, mode_t mode, struct err *err)
{
    char *copy = mem_strdup(path);
    int rc = 0;

    for (char *p = copy; rc == 0 && *p; p++) {
        if (*p != '/' || p == copy || p[-1] == '/')
            continue;
        *p = '\0';
        rc = make_dir(copy, mode, err);
        *p = '/';
    }
    if (rc == 0)
        rc = make_dir(copy, mode, err);
    free(copy);
    return rc;
}

int fs_read_fd(int fd, const char *name, size_t limit, struct buf *b, struct err *err)
{
    size_t before = buf_len(b);

    for (;;) {
        char *at = buf_reserve(b, 16 * 1024);
        ssize_t n = read(fd, at, 16 * 1024);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int sys = errno;
            buf_truncate(b, before);
            return err_sys(err, sys, "can't read %s", name);
        }
        if (n == 0)
            return 0;
        buf_added(b, (size_t)n);
        if (buf_len(b) - before > limit) {
            buf_truncate(b, before);
            return err_set(err, ERR_TOO_LARGE, "%s is larger than the limit of %zu bytes", name,
                           limit);
        }
    }
}

int fs_read_file(const char *path, size_t limit, struct buf *b, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return err_sys(err, errno, "can't open %s", path);
    int rc = fs_read_fd(fd, path, limit, b, err);
    close(fd);
    return rc;
}

int fs_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The folder part of a path: "." when there is none. malloc'd. */
static char *parent_of(const char *path)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    while (len > 1 && path[len - 1] == '/')
        len--;
    return len == 0 ? mem_strdup(".") : mem_strndup(path, len);
}

/* The new name is only safe once the folder that holds it is on disk. */
static int sync_dir(const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(err, errno, "can't open the folder %s", dir);
    int rc = 0;
    /* EINVAL: a file system on which folders can't be synced (some network ones). */
    if (fsync(fd) != 0 && errno != EINVAL)
        rc = err_sys(err, errno, "can't write the folder %s to disk", dir);
    close(fd);
    return rc;
}

/* Fills the temporary file; its name is removed by the caller when this fails. */
static int fill_temp(int fd, const char *path, const void *data, size_t len, mode_t mode,
                     bool durable, struct err *err)
{
    if (fs_write_all(fd, data, len) != 0 || fchmod(fd, mode) != 0)
        return err_sys(err, errno, "can't write %s", path);
    if (durable && fsync(fd) != 0)
        return err_sys(err, errno, "can't write %s to disk", path);
    return 0;
}

int fs_write_file(const char *path, const void *data, size_t len, mode_t mode, bool durable,
                  struct err *err)
{
    char *dir = parent_of(path);
    char *temp = mem_printf("%s/.hive-XXXXXX", dir);
    int fd = mkostemp(temp, O_CLOEXEC);
    int rc = -1;

    if (fd < 0) {
        err_sys(err, errno, "can't write a file in %s", dir);
        goto out;
    }
    rc = fill_temp(fd, path, data, len, mode, durable, err);
    /* Network file systems report a failed write here. */
    if (close(fd) != 0 && errno != EINTR && rc == 0)
        rc = err_sys(err, errno, "can't write %s", path);
    if (rc == 0 && rename(temp, path) != 0)
        rc = err_sys(err, errno, "can't replace %s", path);
    if (rc != 0)
        unlink(temp);
    else if (durable)
        rc = sync_dir(dir, err);
out:
    free(temp);
    free(dir);
    return rc;
}

char *fs_join(const char *a, const char *b)
{
    size_t len = strlen(a);

    if (*b == '/' || len == 0)
        return mem_strdup(b);
    while (len > 0 && a[len - 1] == '/')
        len--;
    return mem_printf("%.*s/%s", (int)len, a, b);
}

char *fs_absolute(const char *path)
{
    if (*path == '/')
        return mem_strdup(path);
    char *here = getcwd(NULL, 0);
    /* The current folder was removed: the path stays relative, and using it gives ENOENT. */
    char *out = here ? fs_join(here, path) : mem_strdup(path);
    free(here);
    return out;
}

/* The variable's value, or NULL when unset or empty. */
static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* The XDG specification: a relative path is to be ignored. */
static const char *xdg(const char *name)
{
    const char *value = env(name);

    return value && *value == '/' ? value : NULL;
}

static char *home_dir(void)
{
    const char *home = env("HOME");
    char mem[4096];
    struct passwd pw, *found = NULL;

    if (home)
        return fs_absolute(home);
    if (getpwuid_r(geteuid(), &pw, mem, sizeof mem, &found) == 0 && found && found->pw_dir &&
        *found->pw_dir == '/')
        return mem_strdup(found->pw_dir);
    return mem_strdup("/");
}

static char *below_home(const char *rest)
{
    char *home = home_dir();
    char *out = fs_join(home, rest);

    free(home);
    return out;
}

char *fs_state_dir(void)
{
    if (env("HIVE_STATE_DIR"))
        return fs_absolute(env("HIVE_STATE_DIR"));
    if (geteuid() == 0)
        return mem_strdup("/var/lib/hive");
    if (xdg("XDG_STATE_HOME"))
        return fs_join(xdg("XDG_STATE_HOME"), "hive");
    return below_home(".local/state/hive");
}

char *fs_runtime_dir(void)
{
    if (env("HIVE_RUNTIME_DIR"))
        return fs_absolute(env("HIVE_RUNTIME_DIR"));
    if (env("HIVE_STATE_DIR")) {
        char *state = fs_state_dir();
        char *out = fs_join(state, "run");
        free(state);
        return out;
    }
    if (geteuid() == 0)
        return mem_strdup("/run/hive");
    if (xdg("XDG_RUNTIME_DIR"))
        return fs_join(xdg("XDG_RUNTIME_DIR"), "hive");
    return mem_printf("/tmp/hive-%u", (unsigned)geteuid());
}

char *fs_user_config(void)
{
    if (env("HIVE_CONFIG"))
        return fs_absolute(env("HIVE_CONFIG"));
    if (xdg("XDG_CONFIG_HOME"))
        return fs_join(xdg("XDG_CONFIG_HOME"), "hive/hive.conf");
    return below_home(".config/hive/hive.conf");
}

char *fs_system_config(void)
{
    return mem_strdup(env("HIVE_CONFIG") ? "" : "/etc/hive/hive.conf");
}

static bool is_empty_dir(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *e;

    if (!dir) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    while ((e = readdir(dir)))
        if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
            break;
    closedir(dir);
    return !e;
}

/* Checks what is open, not what the name meant a moment ago. */
static int check_private(int fd, const char *path, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_sys(err, errno, "can't look at %s", path);
    if (st.st_uid != geteuid()) {
        err_set(err, ERR_DENIED, "the folder %s belongs to another user (uid %u)", path,
                (unsigned)st.st_uid);
        return err_hint(err, "remove it, or set HIVE_RUNTIME_DIR or HIVE_STATE_DIR");
    }
    if ((st.st_mode & 0077) == 0)
        return 0;
    /* Only a fresh folder is closed: HIVE_STATE_DIR=/srv must not lock everybody out of /srv. */
    if (!is_empty_dir(fd)) {
        err_set(err, ERR_DENIED, "others may look into the folder %s, and it is in use", path);
        return err_hint(err, "chmod 700 %s", path);
    }
    if (fchmod(fd, 0700) != 0)
        return err_sys(err, errno, "can't make the folder %s private", path);
    return 0;
}

int fs_private_dir(const char *path, struct err *err)
{
    char *parent = parent_of(path);
    int rc = fs_mkdir_p(parent, 0700, err);

    free(parent);
    if (rc != 0)
        return -1;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_sys(err, errno, "can't make the folder %s", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* A symbolic link gives ENOTDIR (O_DIRECTORY is looked at first) or ELOOP. */
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return err_set(err, ERR_DENIED, "%s is a file or a symbolic link, not a folder", path);
    if (fd < 0)
        return err_sys(err, errno, "can't open the folder %s", path);
    rc = check_private(fd, path, err);
    close(fd);
    return rc;
}
