/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's folders: who serves this head, the highest fence, the boot, and who is alive. */
#include "base/mem.h"

#include "node/agent_priv.h"
#include "node/shim.h"

#include "base/fs.h"
#include "base/str.h"
#include "sys/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SMALL_FILE 4096

/* The whole name, as a file name: sys_hostname() has only what is before the first dot. */
char *state_host_name(void)
{
    char name[128] = "";
    size_t len;

    if (gethostname(name, sizeof name - 1) != 0 || !name[0])
        str_copy(name, sizeof name, "localhost");
    len = strlen(name);
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || (c == '.' && i > 0);
        if (!fine)
            name[i] = '_';
    }
    return mem_strdup(name);
}

/* BASE/agent/HEAD[/HOST], private, and so is BASE if we make it. */
static char *open_below(const char *base, const char *head, const char *host, struct err *err)
{
    char *path = host ? mem_printf("%s/agent/%s/%s", base, head, host)
                      : mem_printf("%s/agent/%s", base, head);

    if (fs_private_dir(base, err) == 0 && fs_private_dir(path, err) == 0)
        return path;
    free(path);
    return NULL;
}

int state_open(struct agent *a, const char *head, struct err *err)
{
    a->head = mem_strdup(head);
    a->state_dir = open_below(a->state_base, head, a->host, err);
    a->runtime_dir = a->state_dir ? open_below(a->runtime_base, head, NULL, err) : NULL;
    if (!a->runtime_dir)
        return -1;
    a->state_fd = open(a->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a->state_fd < 0)
        return err_sys(err, errno, "cannot open the state folder %s", a->state_dir);
    return state_read_fence(a, err);
}

/* The text of a small file, cut at its first newline; "" when there is none. NULL: error. */
static char *read_line(const struct agent *a, const char *name, struct err *err)
{
    char *path = fs_join(a->state_dir, name);
    struct buf b = BUF_INIT;
    struct err e = ERR_INIT;
    char *text = NULL;

    if (fs_read_file(path, SMALL_FILE, &b, &e) == 0 || e.kind == ERR_NOT_FOUND) {
        text = buf_take(&b, NULL);
        text[strcspn(text, "\n")] = '\0';
    } else if (err) {
        *err = e;
    }
    buf_fini(&b);
    free(path);
    return text;
}

static int write_line(const struct agent *a, const char *name, const char *text, struct err *err)
{
    char *path = fs_join(a->state_dir, name), *line = mem_printf("%s\n", text);
    int rc = fs_write_file(path, line, strlen(line), 0600, true, err);

    free(line);
    free(path);
    return rc;
}

/* --- fence and boot --------------------------------------------------------------------------- */

int state_read_fence(struct agent *a, struct err *err)
{
    char *text = read_line(a, "fence", err);
    int64_t fence = 0;
    int rc = text ? 0 : -1;

    if (text && *text && str_to_int(text, 0, LINK_FENCE_MAX, "fence", &fence, err) != 0) {
        rc = err_prefix(err, "%s/fence", a->state_dir);
        err_hint(err, "remove that file if no other daemon uses this machine");
    }
    if (rc == 0)
        a->fence = (uint64_t)fence;
    free(text);
    return rc;
}

int state_note_fence(struct agent *a, uint64_t fence, struct err *err)
{
    char text[32];

    if (fence <= a->fence)
        return 0;
    snprintf(text, sizeof text, "%" PRIu64, fence);
    if (write_line(a, "fence", text, err) != 0)
        return -1;
    a->fence = fence;
    return 0;
}

void state_note_lease(struct agent *a)
{
    char text[64];
    int len = snprintf(text, sizeof text, SHIM_LEASE_FORMAT, a->renewed_ns + a->lease_ns);

    if (a->lease_ns == 0 || a->renewed_ns < a->lease_written_ns + NS_PER_S)
        return;
    if (a->lease_fd < 0)
        a->lease_fd =
            openat(a->state_fd, "lease", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* As long as it says an earlier time, shims are only too careful. */
    if (a->lease_fd >= 0 && pwrite(a->lease_fd, text, (size_t)len, 0) == len)
        a->lease_written_ns = a->renewed_ns;
}

int state_read_boot(struct agent *a, struct err *err)
{
    char *text = read_line(a, "boot", err);

    if (!text)
        return -1;
    a->fresh = *text == '\0';
    a->rebooted = !str_eq(text, a->boot_id);
    free(text);
    return 0;
}

/* Not before the head knows what became of all that ran in an earlier boot: an agent that comes
 * after one that was killed must find the same. */
void state_note_boot(struct agent *a)
{
    struct err err = ERR_INIT;

    if (!a->rebooted || a->before_boot > 0)
        return;
    if (write_line(a, "boot", a->boot_id, &err) != 0)
        log_error(a->log, "%s", err.msg);
    else
        a->rebooted = a->fresh = false;
}

/* --- who serves this head --------------------------------------------------------------------- */

int state_lock(struct agent *a, struct err *err)
{
    char text[64];
    int len;

    if (a->lock_fd < 0)
        a->lock_fd = openat(a->state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (a->lock_fd < 0)
        return err_sys(err, errno, "cannot open %s/lock", a->state_dir);
    if (flock(a->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK || errno == EINTR
                   ? 0
                   : err_sys(err, errno, "cannot lock %s/lock", a->state_dir);
    len = snprintf(text, sizeof text, "%ld %" PRIu64 "\n", (long)getpid(),
                   sys_process_start(getpid()));
    if (ftruncate(a->lock_fd, 0) != 0 || pwrite(a->lock_fd, text, (size_t)len, 0) != len)
        return err_sys(err, errno, "cannot write %s/lock", a->state_dir);
    return 1;
}

static bool read_holder(const struct agent *a, pid_t *pid, uint64_t *start)
{
    char text[64], *blank;
    int64_t number, ticks;
    ssize_t n = pread(a->lock_fd, text, sizeof text - 1, 0);

    if (n <= 0)
        return false;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    blank = strchr(text, ' ');
    if (!blank)
        return false;
    *blank = '\0';
    if (str_to_int(text, 2, INT32_MAX, "pid", &number, NULL) != 0 ||
        str_to_int(blank + 1, 1, INT64_MAX, "start", &ticks, NULL) != 0)
        return false;
    *pid = (pid_t)number;
    *start = (uint64_t)ticks;
    return true;
}

bool state_signal_holder(struct agent *a, int signo)
{
    uint64_t start;
    bool sent = false;
    pid_t pid;

    if (!read_holder(a, &pid, &start) || pid == getpid())
        return false;
#ifdef SYS_pidfd_open
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0) {
        /* Whoever has the pid is pinned now: is it the one that wrote it down? */
        sent = sys_process_start(pid) == start &&
               syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) == 0;
        close(fd);
        return sent;
    }
    if (errno != ENOSYS)
        return false;
#endif
    if (sys_process_start(pid) == start)
        sent = kill(pid, signo) == 0;
    return sent;
}

/* --- who is alive ----------------------------------------------------------------------------- */

/* Identity files of shims that live; a claim is a link to one of them (attempt.h), so that looking
 * at inode numbers is enough to pass over all that has ended. */
struct living {
    ino_t *items;
    size_t count, cap;
};

static void find_living(const struct agent *a, struct living *l)
{
    int fd = openat(a->state_fd, "shims", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    struct stat st;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(dir))) {
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        if (l->count == l->cap) {
            l->cap = l->cap ? l->cap * 2 : 16;
            l->items = mem_resize(l->items, l->cap, sizeof *l->items);
        }
        l->items[l->count++] = st.st_ino;
    }
    closedir(dir);
}

static bool is_living(const struct living *l, ino_t ino)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i] == ino)
            return true;
    return false;
}

/* "17.1.claim" */
static bool parse_claim_name(const char *name, struct attempt_key *key)
{
    char text[64], *dot;
    int64_t job, number;

    if (!str_ends(name, ".claim") || !str_copy(text, sizeof text, name))
        return false;
    text[strlen(text) - strlen(".claim")] = '\0';
    dot = strchr(text, '.');
    if (!dot)
        return false;
    *dot = '\0';
    if (str_to_int(text, 1, ATTEMPT_JOB_MAX, "job", &job, NULL) != 0 ||
        str_to_int(dot + 1, 1, ATTEMPT_NUMBER_MAX, "attempt", &number, NULL) != 0)
        return false;
    *key = (struct attempt_key){ .job = job, .number = (int32_t)number };
    return true;
}

static int look_in(struct agent *a, int dirfd, const struct living *l,
                   int (*fn)(struct agent *a, const struct attempt_key *key))
{
    int fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3), rc = 0;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct attempt_key key;
    struct attempt_end end;
    enum attempt_state state;
    struct dirent *e;
    struct stat st;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while (rc == 0 && (e = readdir(dir))) {
        if (!parse_claim_name(e->d_name, &key) ||
            fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !is_living(l, st.st_ino))
            continue;
        if (attempt_inspect(a->state_fd, &key, ATTEMPT_LEAVE, &state, &end, NULL, NULL) == 0 &&
            state == ATTEMPT_ALIVE)
            rc = fn(a, &key);
    }
    closedir(dir);
    return rc;
}

int state_each_alive(struct agent *a, int (*fn)(struct agent *a, const struct attempt_key *key),
                     struct err *err)
{
    struct living l = { 0 };
    int fd = openat(a->state_fd, "attempts", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;

    if (!dir) {
        rc = err_sys(err, errno, "cannot look into %s/attempts", a->state_dir);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    find_living(a, &l);
    while (rc == 0 && l.count > 0 && (e = readdir(dir))) {
        int sub = e->d_name[0] == '.'
                      ? -1
                      : openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (sub < 0)
            continue;
        rc = look_in(a, sub, &l, fn);
        close(sub);
    }
    closedir(dir);
    free(l.items);
    return rc;
}
