/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue, read from beginning to end. From a copy: opening the original may change it (what its
 * log has is folded in, and an older one is brought up to date).
 */
#include "base/mem.h"

#include "cmd/doctor.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *const files[] = { "hive.db", "hive.db-wal" };

/* Held until it is closed: no daemon opens the queue meanwhile. -1: one has it; -2: there is no
 * lock, and so no daemon yet. */
static int take_lock(const char *state_dir)
{
    char *path = fs_join(state_dir, "lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);

    free(path);
    if (fd < 0)
        return -2;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    return -1;
}

static int64_t size_of(const char *folder, const char *name)
{
    char *path = fs_join(folder, name);
    struct stat st;
    int rc = stat(path, &st);

    free(path);
    return rc == 0 ? (int64_t)st.st_size : -1;
}

static int copy_bytes(int in, int out, const char *path, struct err *err)
{
    ssize_t n;

    do {
        n = sendfile(out, in, NULL, (size_t)1 << 30);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0 ? 0 : err_sys(err, errno, "cannot copy %s", path);
}

/* A file that isn't there is none in the copy. */
static int copy_file(const char *from, const char *to, const char *name, struct err *err)
{
    char *source = fs_join(from, name), *target = fs_join(to, name);
    int in = open(source, O_RDONLY | O_CLOEXEC), out = -1, rc = 0;

    if (in < 0 && errno != ENOENT)
        rc = err_sys(err, errno, "cannot open %s", source);
    if (in >= 0) {
        out = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        rc = out < 0 ? err_sys(err, errno, "cannot make %s", target)
                     : copy_bytes(in, out, source, err);
        close(in);
    }
    if (out >= 0)
        close(out);
    free(source);
    free(target);
    return rc;
}

static int copy_all(const char *from, const char *to, struct err *err)
{
    int64_t need = 0;
    struct statvfs room;

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        need += size_of(from, files[i]) > 0 ? size_of(from, files[i]) : 0;
    if (statvfs(to, &room) == 0 && (int64_t)(room.f_bavail * room.f_frsize) < 2 * need) {
        err_set(err, ERR_NO_SPACE, "no room in %s for a copy of the queue", to);
        return err_hint(err, "set TMPDIR to a folder with more room");
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (copy_file(from, to, files[i], err) != 0)
            return -1;
    return 0;
}

static int check_copy(const char *state_dir, struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    char *folder = fs_join(tmp && *tmp ? tmp : "/var/tmp", "hive-doctor.XXXXXX");
    struct store *s = NULL;
    int rc = -1;

    if (!mkdtemp(folder)) {
        err_sys(err, errno, "cannot make a folder %s", folder);
    } else {
        if (copy_all(state_dir, folder, err) == 0)
            s = store_open(folder, NULL, err);
        if (s)
            rc = store_check(s, err);
        store_close(s);
        fs_remove_tree(AT_FDCWD, folder, NULL);
    }
    free(folder);
    return rc;
}

void doctor_check_store(const char *state_dir, struct doctor_report *r)
{
    struct err err = ERR_INIT;
    struct buf size = BUF_INIT;
    int lock = take_lock(state_dir);

    if (lock == -1) {
        doctor_add(r, "queue", DOCTOR_NOTE, "a daemon has it open: it can't be checked now");
        doctor_fix(r, "end the daemon, then: hive doctor --deep");
    } else if (size_of(state_dir, files[0]) < 0) {
        doctor_add(r, "queue", DOCTOR_OK, "there is none yet");
    } else if (check_copy(state_dir, &err) != 0) {
        doctor_add_err(r, "queue", DOCTOR_PROBLEM, &err);
    } else {
        str_format_size(&size, size_of(state_dir, files[0]));
        doctor_add(r, "queue", DOCTOR_OK, "%s, all of it can be read", buf_data(&size));
    }
    buf_fini(&size);
    if (lock >= 0)
        close(lock);
}
