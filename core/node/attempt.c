/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/attempt.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char sealed_text[] = "hive-sealed 1\n";
static const char shim_text[] = "hive-shim 1\n";

bool attempt_key_valid(const struct attempt_key *key)
{
    return key->job > 0 && key->job <= ATTEMPT_JOB_MAX && key->number > 0 &&
           key->number <= ATTEMPT_NUMBER_MAX;
}

void attempt_prefix(const struct attempt_key *key, struct buf *b)
{
    buf_printf(b, "attempts/%" PRId64 "/%" PRId64 ".%" PRId32, key->job / 1024, key->job,
               key->number);
}

static char *attempt_path(const struct attempt_key *key, const char *suffix)
{
    struct buf b = BUF_INIT;

    attempt_prefix(key, &b);
    buf_append_str(&b, suffix);
    return buf_take(&b, NULL);
}

static bool make_folder(int state_dirfd, const char *path)
{
    return mkdirat(state_dirfd, path, 0700) == 0 || errno == EEXIST;
}

int attempt_make_folder(int state_dirfd, const struct attempt_key *key)
{
    char *folder = attempt_path(key, "");
    int sys = 0;

    *strrchr(folder, '/') = '\0';
    if (!make_folder(state_dirfd, "attempts") || !make_folder(state_dirfd, folder))
        sys = errno;
    free(folder);
    errno = sys;
    return sys == 0 ? 0 : -1;
}

static pid_t claim_pid(const char *text)
{
    const char *p = strstr(text, "\npid=");
    int64_t pid = 0;

    if (p) {
        char *num = mem_strndup(p + 5, strcspn(p + 5, "\n"));
        if (str_to_int(num, 1, INT32_MAX, "pid", &pid, NULL) != 0)
            pid = 0;
        free(num);
    }
    return (pid_t)pid;
}

enum lock { LOCK_ERROR, LOCK_HELD, LOCK_FREE };

/* A shim holds its lock through all links of the file, so a shared lock is refused as long as it
 * lives. */
static enum lock test_lock(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return LOCK_FREE;
    return errno == EWOULDBLOCK ? LOCK_HELD : LOCK_ERROR;
}

/* Of something that is no file there is nothing to read. What is longer than it should be is read
 * as far as it may. 0 or -1 with errno. */
static int read_text(int fd, struct buf *text)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -1;
    while (S_ISREG(st.st_mode) && buf_len(text) < ATTEMPT_CLAIM_MAX) {
        size_t room = ATTEMPT_CLAIM_MAX - buf_len(text);
        if (room > 16 * 1024)
            room = 16 * 1024;
        ssize_t n = read(fd, buf_reserve(text, room), room);
        if (n == 0)
            break;
        if (n > 0)
            buf_added(text, (size_t)n);
        else if (errno != EINTR)
            return -1;
    }
    return 0;
}

/* What a claim says. */
struct claim {
    bool there;
    enum lock lock;
    struct buf text;
};

static int read_claim(int state_dirfd, const struct attempt_key *key, struct claim *c,
                      struct err *err)
{
    char *path = attempt_path(key, ".claim");
    int fd = openat(state_dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc = 0;

    buf_clear(&c->text);
    c->there = fd >= 0;
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            rc = err_sys(err, errno, "cannot open %s", path);
    } else {
        /* Read after the lock was tried: a shim that was seen dead has written all it will. */
        c->lock = test_lock(fd);
        if (c->lock == LOCK_ERROR)
            rc = err_sys(err, errno, "cannot lock the claim of job %" PRId64, key->job);
        else if (read_text(fd, &c->text) != 0)
            rc = err_sys(err, errno, "cannot read %s", path);
        close(fd);
    }
    free(path);
    return rc;
}

/* Claims it for nobody. 1: done; 0: somebody was faster; -1: error. */
static int seal_attempt(int state_dirfd, const struct attempt_key *key, struct err *err)
{
    char *claim = attempt_path(key, ".claim"), *tmp = attempt_path(key, ".claim.tmp");
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, result = -1;
    int fd = openat(state_dirfd, tmp, flags, 0600);

    if (fd < 0 && errno == ENOENT && attempt_make_folder(state_dirfd, key) == 0)
        fd = openat(state_dirfd, tmp, flags, 0600);
    if (fd < 0 || fs_write_all(fd, sealed_text, sizeof sealed_text - 1) != 0) {
        err_sys(err, errno, "cannot write %s", tmp);
    } else if (linkat(state_dirfd, tmp, state_dirfd, claim, 0) == 0) {
        result = 1;
    } else if (errno == EEXIST) {
        result = 0;
    } else {
        err_sys(err, errno, "cannot make %s", claim);
    }
    if (fd >= 0)
        close(fd);
    unlinkat(state_dirfd, tmp, 0);
    free(claim);
    free(tmp);
    return result;
}

static enum attempt_state conclude(const struct attempt_key *key, const struct claim *c,
                                   struct attempt_end *end, pid_t *shim_pid)
{
    if (str_eq(buf_data(&c->text), sealed_text))
        return ATTEMPT_NEVER_STARTED;
    if (attempt_end_find(buf_data(&c->text), buf_len(&c->text), key, end))
        return ATTEMPT_ENDED;
    if (c->lock == LOCK_FREE)
        return ATTEMPT_DEAD;
    if (shim_pid)
        *shim_pid = claim_pid(buf_data(&c->text));
    return ATTEMPT_ALIVE;
}

int attempt_inspect(int state_dirfd, const struct attempt_key *key,
                    enum attempt_unclaimed unclaimed, enum attempt_state *state,
                    struct attempt_end *end, pid_t *shim_pid, struct err *err)
{
    struct claim c = { .text = BUF_INIT };
    int rc = read_claim(state_dirfd, key, &c, err);

    if (shim_pid)
        *shim_pid = 0;
    if (rc == 0 && !c.there && unclaimed == ATTEMPT_SEAL) {
        int sealed = seal_attempt(state_dirfd, key, err);
        if (sealed < 0 || (sealed == 0 && read_claim(state_dirfd, key, &c, err) != 0))
            rc = -1;
    }
    if (rc == 0 && c.there)
        *state = conclude(key, &c, end, shim_pid);
    else if (rc == 0)
        *state = unclaimed == ATTEMPT_GONE ? ATTEMPT_DEAD : ATTEMPT_NEVER_STARTED;
    buf_fini(&c.text);
    return rc;
}

int attempt_remove(int state_dirfd, const struct attempt_key *key, struct err *err)
{
    static const char *const suffixes[] = { ".out", ".err", ".script", ".claim.tmp", ".claim" };
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char *path = attempt_path(key, suffixes[i]);
        if (unlinkat(state_dirfd, path, 0) != 0 && errno != ENOENT && errno != ENOTDIR)
            rc = err_sys(err, errno, "cannot remove %s", path);
        free(path);
    }
    return rc;
}

/* Removes an identity file that nobody holds. False when it is something else. */
static bool remove_stale_shim(int dirfd, const char *name)
{
    char head[sizeof shim_text] = "";
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool stale = false;

    if (fd < 0)
        return false;
    /* One that is just being made may be empty and not yet locked: its maker copes
     * (shim_identity.c). */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        ssize_t n = read(fd, head, sizeof head - 1);
        stale = n == 0 || (n > 0 && str_eq(head, shim_text));
    }
    /* Removed while locked, so that its maker, who locks before he uses it, sees that it is
     * gone. */
    if (stale)
        stale = unlinkat(dirfd, name, 0) == 0;
    close(fd);
    return stale;
}

int attempt_clean_shims(int state_dirfd)
{
    int fd = openat(state_dirfd, "shims", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while ((e = readdir(dir)))
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && remove_stale_shim(fd, e->d_name))
            count++;
    closedir(dir);
    return count;
}
