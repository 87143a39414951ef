/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_known_hosts.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "net/ssh_known_line.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_WAIT_NS (5 * NS_PER_S)
#define LOCK_PAUSE_NS (20 * NS_PER_MS)
#define LINKS_MAX 16           /* symbolic links that lead to the file */
#define SHOWN_MAX ((size_t)80) /* bytes of a bad name in a message */
#define TRIES_MAX 10           /* times that others may change the file while it is edited */

/* --- text ------------------------------------------------------------------------------------- */

static bool is_form(const struct ssh_known_forms *forms, const char *name, size_t len)
{
    char *copy = mem_strndup(name, len);
    bool is =
        str_eq_nocase(copy, forms->name) || (forms->address && str_eq_nocase(copy, forms->address));

    free(copy);
    return is;
}

/* The names of a line without those of the host. Negations alone would name nobody: they go,
 * too. */
static void other_names(const struct ssh_known_line *line, const struct ssh_known_forms *forms,
                        struct buf *out)
{
    const char *at = line->hosts, *end = line->hosts + line->hosts_len;
    bool somebody = false;

    while (!line->hashed && at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t len = (size_t)((comma ? comma : end) - at);
        if (!is_form(forms, at, len)) {
            if (buf_len(out) > 0)
                buf_append_char(out, ',');
            buf_append(out, at, len);
            somebody = somebody || (len > 0 && *at != '!');
        }
        at += len + 1;
    }
    if (!somebody)
        buf_clear(out);
}

static bool is_about(const struct ssh_known_line *line, const struct ssh_known_forms *forms)
{
    return ssh_known_line_names(line, forms->name) || ssh_known_line_names(line, forms->address);
}

/* Appends what is left of a line that is about the host. */
static int strip_line(const char *file, const struct ssh_known_line *line, const char *text,
                      size_t len, const struct ssh_known_forms *forms, struct buf *out,
                      struct err *err)
{
    struct buf names = BUF_INIT;
    struct ssh_known_line left = *line;
    int rc = 0;

    other_names(line, forms, &names);
    left.hosts = buf_data(&names);
    left.hosts_len = buf_len(&names);
    left.hashed = false;
    if (is_about(&left, forms)) {
        err_set(err, ERR_CONFLICT, "%s:%d: the host is meant by a pattern, perhaps with others",
                file, line->number);
        rc = err_hint(err, "edit that line by hand");
    } else if (left.hosts_len > 0) {
        buf_append(out, text, (size_t)(line->hosts - text));
        buf_append(out, left.hosts, left.hosts_len);
        buf_append(out, line->hosts + line->hosts_len,
                   (size_t)(text + len - (line->hosts + line->hosts_len)));
    }
    buf_fini(&names);
    return rc;
}

int ssh_known_hosts_remove_text(const char *file, const char *text, size_t len,
                                const struct ssh_known_name *host, const void *keep,
                                size_t keep_len, struct buf *out, size_t *removed, struct err *err)
{
    struct ssh_known_forms forms;
    size_t before = buf_len(out), changed = 0;
    int number = 0, rc = 0;

    ssh_known_forms_init(&forms, host);
    for (size_t at = 0; rc == 0 && at < len;) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t n = newline ? (size_t)(newline - text) - at : len - at;
        size_t whole = newline ? n + 1 : n;
        struct ssh_known_line line;
        const char *why;
        bool is_line = ssh_known_line_parse(text + at, n, ++number, &line, &why);
        bool kept =
            is_line && keep && line.key_len == keep_len && memcmp(line.key, keep, keep_len) == 0;
        if (is_line && !kept && line.marker == SSH_KNOWN_PLAIN && is_about(&line, &forms)) {
            rc = strip_line(file, &line, text + at, whole, &forms, out, err);
            changed++;
        } else {
            buf_append(out, text + at, whole);
        }
        if (is_line)
            ssh_known_line_fini(&line);
        at += whole;
    }
    ssh_known_forms_fini(&forms);
    if (rc != 0)
        buf_truncate(out, before);
    else if (removed)
        *removed = changed;
    return rc;
}

/* Whether a line can hold the name, as a name and nothing else. */
static int check_name(const char *name, const char *what, struct err *err)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len <= SSH_KNOWN_NAME_MAX && !strchr("@#", name[0]);

    for (size_t i = 0; ok && i < len; i++)
        ok = name[i] > ' ' && name[i] <= '~' && !strchr(",*?!|[]", name[i]);
    if (ok)
        return 0;
    struct buf shown = BUF_INIT;
    str_append_safe(&shown, name, len < SHOWN_MAX ? len : SHOWN_MAX);
    err_set(err, ERR_INVALID, "\"%s\" is no %s that known_hosts could hold", buf_data(&shown),
            what);
    buf_fini(&shown);
    return -1;
}

static void append_hashed(const char *name, const unsigned char *salt, struct buf *out)
{
    unsigned char hash[SSH_KNOWN_SALT_SIZE];

    ssh_known_hash(salt, name, hash);
    buf_append_str(out, "|1|");
    ssh_base64_encode(salt, SSH_KNOWN_SALT_SIZE, true, out);
    buf_append_char(out, '|');
    ssh_base64_encode(hash, sizeof hash, true, out);
}

static void append_key(const char *type, const void *key, size_t key_len, struct buf *out)
{
    buf_printf(out, " %s ", type);
    ssh_base64_encode(key, key_len, true, out);
    buf_append_char(out, '\n');
}

int ssh_known_hosts_line(const struct ssh_known_name *host, const void *key, size_t key_len,
                         const unsigned char *salt, struct buf *out, struct err *err)
{
    struct ssh_known_forms forms;
    char type[SSH_KEY_TYPE_MAX];

    if (check_name(host->name, "host name", err) != 0)
        return -1;
    if (host->address && check_name(host->address, "address", err) != 0)
        return -1;
    /* Half of the limit of a line, for base64 and the names. */
    if (key_len > SSH_KNOWN_LINE_MAX / 2 || !ssh_key_blob_type(key, key_len, type))
        return err_set(err, ERR_INVALID, "what should become the key of %s is no SSH key",
                       host->name);
    ssh_known_forms_init(&forms, host);
    if (str_eq(forms.address, forms.name))
        MEM_FREE(forms.address);
    if (salt) {
        append_hashed(forms.name, salt, out);
        append_key(type, key, key_len, out);
        if (forms.address) {
            /* Another salt, so that nobody sees that both lines are about one host. */
            unsigned char other[SSH_KNOWN_SALT_SIZE];
            ssh_known_hash(salt, "address", other);
            append_hashed(forms.address, other, out);
            append_key(type, key, key_len, out);
        }
    } else {
        buf_printf(out, "%s%s%s", forms.name, forms.address ? "," : "",
                   forms.address ? forms.address : "");
        append_key(type, key, key_len, out);
    }
    ssh_known_forms_fini(&forms);
    return 0;
}

/* --- file ------------------------------------------------------------------------------------- */

/* What is to become of a file's text. */
struct edit {
    const struct ssh_known_name *host;
    const void *key; /* NULL: only remove */
    size_t key_len;
    unsigned flags;
    size_t removed;
};

/* Follows links from the last part of the path on: what they lead to needn't exist. malloc'd. */
static char *follow_links(const char *path, struct err *err)
{
    char *at = fs_absolute(path);
    char to[4096];

    for (int i = 0; i < LINKS_MAX; i++) {
        ssize_t n = readlink(at, to, sizeof to - 1);
        if (n < 0)
            return at;
        to[n] = '\0';
        char *dir = mem_strndup(at, (size_t)(strrchr(at, '/') - at) + 1);
        char *next = fs_join(dir, to);
        free(dir);
        free(at);
        at = next;
    }
    free(at);
    err_set(err, ERR_INVALID, "too many symbolic links lead from %s", path);
    return NULL;
}

/* The folder is what is locked: the file is replaced, and a lock file would stay behind. */
static int lock_folder(const char *dir, struct err *err)
{
    int64_t deadline = clock_mono_ns(&clock_system) + LOCK_WAIT_NS;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(err, errno, "can't open the folder %s", dir);
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        /* Network file systems that can't lock a folder: that the file is compared before it is
         * replaced must do. */
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fd;
        if (clock_mono_ns(&clock_system) > deadline) {
            close(fd);
            err_set(err, ERR_UNAVAILABLE, "another program has locked the folder %s", dir);
            return err_hint(err, "try again");
        }
        struct timespec pause = { 0, LOCK_PAUSE_NS };
        nanosleep(&pause, NULL);
    }
    return fd;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads the file and says what it was; one that is missing is empty and has inode 0. */
static int read_known(const char *path, struct buf *text, struct stat *st, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    memset(st, 0, sizeof *st);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return err_sys(err, errno, "can't open %s", path);
    int rc = fstat(fd, st) != 0 ? err_sys(err, errno, "can't look at %s", path) : 0;
    if (rc == 0 && !S_ISREG(st->st_mode))
        rc = err_set(err, ERR_CONFLICT, "%s is not a file", path);
    if (rc == 0)
        rc = fs_read_fd(fd, path, SSH_KNOWN_FILE_MAX, text, err);
    close(fd);
    return rc;
}

/* Gives the new file the owner and mode of the old one. */
static int dress(int fd, const struct stat *old)
{
    mode_t mode = old->st_ino ? old->st_mode & 07777 : 0600;

    if (old->st_ino && (old->st_uid != geteuid() || old->st_gid != getegid()) &&
        fchown(fd, old->st_uid, old->st_gid) != 0) {
        if (old->st_uid != geteuid())
            return -1;
        /* Another group must not get what the file's group had. */
        mode &= ~(mode_t)0070;
    }
    return fchmod(fd, mode);
}

static int fill(int fd, const struct buf *text, const struct stat *old, const char *path,
                struct err *err)
{
    if (fs_write_all(fd, buf_data(text), buf_len(text)) != 0 || dress(fd, old) != 0 ||
        fsync(fd) != 0)
        return err_sys(err, errno, "can't write %s", path);
    return 0;
}

/* 0: replaced; 1: somebody changed the file meanwhile; -1. */
static int replace(const char *path, const char *dir, int dirfd, const struct buf *text,
                   const struct stat *old, struct err *err)
{
    char *temp = fs_join(dir, ".hive-known-XXXXXX");
    int fd = mkostemp(temp, O_CLOEXEC);
    struct stat now;

    if (fd < 0) {
        err_sys(err, errno, "can't write a file in %s", dir);
        free(temp);
        return -1;
    }
    int rc = fill(fd, text, old, path, err);
    if (close(fd) != 0 && errno != EINTR && rc == 0)
        rc = err_sys(err, errno, "can't write %s", path);
    if (rc == 0) {
        memset(&now, 0, sizeof now);
        if (stat(path, &now) != 0 && errno != ENOENT)
            rc = err_sys(err, errno, "can't look at %s", path);
        else if (!same_file(&now, old))
            rc = 1;
        else if (rename(temp, path) != 0)
            rc = err_sys(err, errno, "can't replace %s", path);
    }
    if (rc != 0)
        unlink(temp);
    else if (fsync(dirfd) != 0 && errno != EINVAL)
        rc = err_sys(err, errno, "can't write the folder %s to disk", dir);
    free(temp);
    return rc;
}

static int append_line(const struct edit *e, struct buf *out, struct err *err)
{
    unsigned char salt[SSH_KNOWN_SALT_SIZE];
    size_t len = buf_len(out);

    if (getrandom(salt, sizeof salt, 0) != (ssize_t)sizeof salt)
        return err_sys(err, errno, "there are no random numbers");
    if (len > 0 && buf_data(out)[len - 1] != '\n')
        buf_append_char(out, '\n');
    return ssh_known_hosts_line(e->host, e->key, e->key_len,
                                e->flags & SSH_KNOWN_HASH ? salt : NULL, out, err);
}

/* What the file says about the key now. */
static int look(const char *path, const struct buf *text, const struct edit *e,
                struct ssh_known_found *found, struct err *err)
{
    struct ssh_known_hosts *known = ssh_known_hosts_create();
    int rc = ssh_known_hosts_add_text(known, path, buf_data(text), buf_len(text), err);

    if (rc == 0) {
        ssh_known_hosts_check(known, e->host, e->key, e->key_len, found);
        found->file = NULL;
    }
    ssh_known_hosts_destroy(known);
    return rc;
}

/* The edit, from text to text. */
static int apply(struct edit *e, const char *path, const struct buf *text, struct buf *out,
                 struct err *err)
{
    struct ssh_known_found found = { .status = SSH_KNOWN_UNKNOWN };

    e->removed = 0;
    if (!e->key || (e->flags & SSH_KNOWN_REPLACE)) {
        if (ssh_known_hosts_remove_text(path, buf_data(text), buf_len(text), e->host, e->key,
                                        e->key_len, out, &e->removed, err) != 0)
            return -1;
    } else {
        buf_append(out, buf_data(text), buf_len(text));
    }
    if (!e->key)
        return 0;
    if (look(path, out, e, &found, err) != 0)
        return -1;
    if (found.status == SSH_KNOWN_REVOKED) {
        err_set(err, ERR_DENIED, "%s:%d: this key is revoked", path, found.line);
        return err_hint(err, "ask who runs the host for its new key");
    }
    if (found.status == SSH_KNOWN_MATCH && !found.without_port)
        return 0;
    if (append_line(e, out, err) != 0)
        return -1;
    if (buf_len(out) > SSH_KNOWN_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s would be larger than the limit of %zu bytes", path,
                       SSH_KNOWN_FILE_MAX);
    return 0;
}

/* 1: try again. */
static int edit_once(struct edit *e, const char *path, const char *dir, int dirfd, struct err *err)
{
    struct buf text = BUF_INIT, out = BUF_INIT;
    struct stat old;
    int rc = read_known(path, &text, &old, err);

    if (rc == 0)
        rc = apply(e, path, &text, &out, err);
    if (rc == 0 && (buf_len(&out) != buf_len(&text) ||
                    memcmp(buf_data(&out), buf_data(&text), buf_len(&out)) != 0))
        rc = replace(path, dir, dirfd, &out, &old, err);
    buf_fini(&text);
    buf_fini(&out);
    return rc;
}

static int edit_file(struct edit *e, const char *path, struct err *err)
{
    char *target = follow_links(path, err);

    if (!target)
        return -1;
    size_t dir_len = (size_t)(strrchr(target, '/') - target);
    char *dir = mem_strndup(target, dir_len ? dir_len : 1);
    int rc = e->key ? fs_mkdir_p(dir, 0700, err) : 0;
    int dirfd = -1;

    /* Nothing to forget in a folder that isn't there. */
    if (!e->key && access(dir, F_OK) != 0 && errno == ENOENT)
        goto out;
    if (rc == 0)
        rc = dirfd = lock_folder(dir, err);
    for (int i = 0; rc >= 0 && i < TRIES_MAX; i++) {
        rc = edit_once(e, target, dir, dirfd, err);
        if (rc == 0)
            break;
    }
    if (rc > 0) {
        err_set(err, ERR_UNAVAILABLE, "%s is changed by another program again and again", path);
        rc = err_hint(err, "try again");
    }
    if (dirfd >= 0)
        close(dirfd);
out:
    free(dir);
    free(target);
    return rc;
}

int ssh_known_hosts_trust(const char *path, const struct ssh_known_name *host, const void *key,
                          size_t key_len, unsigned flags, size_t *removed, struct err *err)
{
    struct edit e = { .host = host, .key = key, .key_len = key_len, .flags = flags };
    struct buf line = BUF_INIT;
    /* What is wrong with the name or the key is said before any folder is made. */
    int rc = ssh_known_hosts_line(host, key, key_len, NULL, &line, err);

    buf_fini(&line);
    if (rc == 0)
        rc = edit_file(&e, path, err);
    if (rc == 0 && removed)
        *removed = e.removed;
    return rc;
}

int ssh_known_hosts_forget(const char *path, const struct ssh_known_name *host, size_t *removed,
                           struct err *err)
{
    struct edit e = { .host = host };
    int rc = edit_file(&e, path, err);

    if (rc == 0 && removed)
        *removed = e.removed;
    return rc;
}
