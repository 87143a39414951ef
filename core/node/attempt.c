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

void attempt_dir(const struct attempt_key *key, struct buf *b)
{
    buf_printf(b, "attempts/%" PRId64 "/%" PRId64 ".%" PRId32, key->job / 1024, key->job,
               key->number);
}

static char *attempt_path(const struct attempt_key *key, const char *file)
{
    struct buf b = BUF_INIT;

    attempt_dir(key, &b);
    buf_append_char(&b, '/');
    buf_append_str(&b, file);
    return buf_take(&b, NULL);
}

/* Opens a file of an attempt and reads it. 1: done; 0: there is none; -1: error. *fd stays open. */
static int read_part(int state_dirfd, const struct attempt_key *key, const char *file,
                     struct buf *text, int *fd, struct err *err)
{
    char *path = attempt_path(key, file);
    int result = 1;

    *fd = openat(state_dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0) {
        result =
            errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, errno, "cannot open %s", path);
    } else if (fs_read_fd(*fd, path, ATTEMPT_RECORD_MAX, text, err) != 0) {
        close(*fd);
        *fd = -1;
        result = -1;
    }
    free(path);
    return result;
}

/* The exit record: true when there is one and it can be read. */
static bool read_exit(int state_dirfd, const struct attempt_key *key, struct attempt_end *end)
{
    struct buf text = BUF_INIT;
    int fd;
    bool ok = read_part(state_dirfd, key, "exit", &text, &fd, NULL) == 1;

    if (ok) {
        close(fd);
        ok = attempt_end_decode(buf_data(&text), buf_len(&text), key, end, NULL) == 0;
    }
    buf_fini(&text);
    return ok;
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

/* What the claim says: there is none; sealed; its shim lives; its shim is gone. A shim holds its
 * lock through all links of the file, so a shared lock is refused as long as it lives. */
enum claim { CLAIM_NONE, CLAIM_SEALED, CLAIM_LOCKED, CLAIM_FREE };

static int read_claim(int state_dirfd, const struct attempt_key *key, enum claim *claim, pid_t *pid,
                      struct err *err)
{
    struct buf text = BUF_INIT;
    int fd, got = read_part(state_dirfd, key, "claim", &text, &fd, err), result = 0;

    *claim = CLAIM_NONE;
    *pid = 0;
    if (got == 1) {
        *pid = claim_pid(buf_data(&text));
        if (str_eq(buf_data(&text), sealed_text))
            *claim = CLAIM_SEALED;
        else if (flock(fd, LOCK_SH | LOCK_NB) == 0)
            *claim = CLAIM_FREE;
        else if (errno == EWOULDBLOCK)
            *claim = CLAIM_LOCKED;
        else
            result = err_sys(err, errno, "cannot lock the claim of job %" PRId64, key->job);
        close(fd);
    }
    buf_fini(&text);
    return got < 0 ? -1 : result;
}

static int make_dirs(int state_dirfd, const struct attempt_key *key)
{
    struct buf b = BUF_INIT;
    char *slash;
    int rc;

    attempt_dir(key, &b);
    rc = mkdirat(state_dirfd, buf_data(&b), 0700);
    if (rc != 0 && errno == ENOENT) {
        char *parent = mem_strdup(buf_data(&b));
        slash = strrchr(parent, '/');
        *slash = '\0';
        if (mkdirat(state_dirfd, "attempts", 0700) == 0 || errno == EEXIST)
            rc = mkdirat(state_dirfd, parent, 0700);
        if (rc == 0 || errno == EEXIST)
            rc = mkdirat(state_dirfd, buf_data(&b), 0700);
        free(parent);
    }
    buf_fini(&b);
    return rc == 0 || errno == EEXIST ? 0 : -1;
}

/* Claims it for nobody. 1: done; 0: somebody was faster; -1: error. */
static int seal_attempt(int state_dirfd, const struct attempt_key *key, struct err *err)
{
    char *claim = attempt_path(key, "claim"), *tmp = attempt_path(key, "claim.tmp");
    int fd, result = -1;

    if (make_dirs(state_dirfd, key) != 0) {
        err_sys(err, errno, "cannot make the folder of job %" PRId64, key->job);
        goto out;
    }
    fd = openat(state_dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
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
out:
    free(claim);
    free(tmp);
    return result;
}

int attempt_inspect(int state_dirfd, const struct attempt_key *key, bool seal,
                    enum attempt_state *state, struct attempt_end *end, pid_t *shim_pid,
                    struct err *err)
{
    enum claim claim;
    pid_t pid;

    if (shim_pid)
        *shim_pid = 0;
    if (read_claim(state_dirfd, key, &claim, &pid, err) != 0)
        return -1;
    if (claim == CLAIM_NONE && seal) {
        int sealed = seal_attempt(state_dirfd, key, err);
        if (sealed < 0 || (sealed == 0 && read_claim(state_dirfd, key, &claim, &pid, err) != 0))
            return -1;
    }
    if (claim == CLAIM_NONE || claim == CLAIM_SEALED) {
        *state = ATTEMPT_NEVER_STARTED;
        return 0;
    }
    /* The record is looked for after the lock: a shim that was seen dead has written all it
     * will. */
    if (read_exit(state_dirfd, key, end)) {
        *state = ATTEMPT_ENDED;
    } else if (claim == CLAIM_LOCKED) {
        *state = ATTEMPT_ALIVE;
        if (shim_pid)
            *shim_pid = pid;
    } else {
        *state = ATTEMPT_DEAD;
    }
    return 0;
}

int attempt_remove(int state_dirfd, const struct attempt_key *key, struct err *err)
{
    struct buf b = BUF_INIT;
    int rc;

    attempt_dir(key, &b);
    rc = fs_remove_tree(state_dirfd, buf_data(&b), err);
    buf_fini(&b);
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
