/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a folder to an open database: lock, make or migrate, check.
 *
 * A new database is made under another name and renamed when it is whole and on disk: hive.db never
 * exists half-made, and so an empty or short one is damage, not a beginning.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_KIB 2048

static int corrupt(struct store *s, const char *what, struct err *err)
{
    err_set(err, ERR_CORRUPT, "%s %s", s->path, what);
    return err_hint(err, "put a copy of it in its place, or move hive.db and hive.db-wal away "
                         "to begin with an empty queue");
}

static int take_lock(struct store *s, struct err *err)
{
    char pid[32];

    s->lockfd =
        openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (s->lockfd < 0)
        return err_sys(err, errno, "can't open %s/lock", s->dir);
    if (flock(s->lockfd, LOCK_EX | LOCK_NB) != 0) {
        int sys = errno;
        ssize_t n = sys == EWOULDBLOCK ? pread(s->lockfd, pid, sizeof pid - 1, 0) : 0;
        close(s->lockfd);
        s->lockfd = -1; /* so that closing leaves the other's pid in it */
        if (sys != EWOULDBLOCK)
            return err_sys(err, sys, "can't lock %s/lock", s->dir);
        pid[n > 0 ? n : 0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        err_set(err, ERR_CONFLICT, "another hive daemon (pid %s) is using %s",
                pid[0] ? pid : "unknown", s->dir);
        return err_hint(err, "see what it does: hive status");
    }
    int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(s->lockfd, 0) != 0 || pwrite(s->lockfd, pid, (size_t)len, 0) != len)
        return err_sys(err, errno, "can't write to %s/lock", s->dir);
    return 0;
}

/* Makes the file `fd`, written under the name `from`, durable, and gives it the name `to`. Closes
 * fd, which was opened before the first write: a failed write-back since then is an error here. */
static int put_in_place(struct store *s, int fd, const char *from, const char *to, struct err *err)
{
    int rc = fsync(fd);
    int sys = errno;

    close(fd);
    if (rc != 0)
        return err_sys(err, sys, "can't sync %s/%s", s->dir, from);
    if (renameat(s->dirfd, from, s->dirfd, to) != 0 || fsync(s->dirfd) != 0)
        return err_sys(err, errno, "can't rename %s/%s to %s", s->dir, from, to);
    return 0;
}

/* An empty file that only its owner reads, in the place of what an earlier try left; its
 * descriptor, or -1. */
static int make_file(struct store *s, const char *name, struct err *err)
{
    static const char *const suffix[] = { "", "-journal", "-wal" };

    for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
        char *old = mem_printf("%s%s", name, suffix[i]);
        int rc = unlinkat(s->dirfd, old, 0);
        int sys = errno;
        if (rc != 0 && sys != ENOENT)
            err_sys(err, sys, "can't remove %s/%s", s->dir, old);
        free(old);
        if (rc != 0 && sys != ENOENT)
            return -1;
    }
    int fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, errno, "can't make %s/%s", s->dir, name);
    return fd;
}

/* Runs steps [from, to) and writes the version, in one transaction. */
static int run_steps(struct store *s, const struct schema_step *steps, int from, int to,
                     struct err *err)
{
    char version[64];

    if (db_exec(s, "write to", "BEGIN IMMEDIATE", err) != 0)
        return -1;
    s->in_tx = true; /* an error rolls back */
    for (int i = from; i < to; i++) {
        if (db_exec(s, "change the tables of", steps[i].sql, err) != 0)
            return -1;
    }
    snprintf(version, sizeof version, "PRAGMA user_version = %d", to);
    if (db_exec(s, "write to", version, err) != 0 || db_exec(s, "write to", "COMMIT", err) != 0)
        return -1;
    s->in_tx = false;
    return 0;
}

static int open_file(struct store *s, const char *name, struct err *err)
{
    char *path = fs_join(s->dir, name);
    int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);

    free(path);
    if (rc != SQLITE_OK)
        return db_fail(s, rc, "open", err);
    /* What is in the file is data, whoever wrote it: no view or trigger in it is run. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* Until it is known to be ours and sound, closing must leave the log as it is. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 16 * 1024 * 1024);
    return 0;
}

/* WAL, or whatever the file was switched to by hand. */
static int use_wal(struct store *s, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    const char *mode = rc == SQLITE_ROW ? db_text(st, 0) : "";
    bool is_wal = mode && strcmp(mode, "wal") == 0;
    if (rc == SQLITE_ROW)
        rc = sqlite3_step(st); /* only now a switch is committed */
    if (rc != SQLITE_DONE)
        db_fail(s, rc, "open the log of", err);
    else if (!is_wal)
        err_set(err, ERR_IO, "can't switch %s to a write-ahead log", s->path);
    sqlite3_finalize(st);
    return rc == SQLITE_DONE && is_wal ? 0 : -1;
}

/* Writes the tables into the empty file, by SQLite. */
static int fill_database(struct store *s, const char *name, const struct schema_step *steps,
                         int count, struct err *err)
{
    char identity[64];

    if (open_file(s, name, err) != 0)
        return -1;
    snprintf(identity, sizeof identity, "PRAGMA application_id = %d", SCHEMA_APPLICATION_ID);
    if (db_exec(s, "make",
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 4096;"
                "PRAGMA journal_mode = MEMORY",
                err) != 0 ||
        db_exec(s, "make", identity, err) != 0 || run_steps(s, steps, 0, count, err) != 0 ||
        use_wal(s, err) != 0)
        return -1;
    /* Closing removes the log again, which is empty. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    int rc = sqlite3_close(s->db);
    s->db = NULL;
    return rc == SQLITE_OK ? 0 : err_set(err, ERR_INTERNAL, "%s was not closed", s->path);
}

static int make_database(struct store *s, const struct schema_step *steps, int count,
                         struct err *err)
{
    int fd = make_file(s, "hive.db.new", err);

    if (fd < 0)
        return -1;
    if (fill_database(s, "hive.db.new", steps, count, err) != 0) {
        close(fd);
        return -1;
    }
    return put_in_place(s, fd, "hive.db.new", "hive.db", err);
}

/* Makes hive.db if there is nothing; an error where there should be something. */
static int find_or_make(struct store *s, const struct schema_step *steps, int count,
                        struct err *err)
{
    struct stat db, wal;

    if (fstatat(s->dirfd, "hive.db", &db, 0) == 0) {
        if (!S_ISREG(db.st_mode))
            return corrupt(s, "is not a file", err);
        if (db.st_size == 0)
            return corrupt(s, "is empty: not a hive database", err);
        return 0;
    }
    if (errno != ENOENT)
        return err_sys(err, errno, "can't open %s", s->path);
    /* SQLite would take an old log for that of the new database. */
    if (fstatat(s->dirfd, "hive.db-wal", &wal, 0) == 0 && wal.st_size > 0)
        return corrupt(s, "is missing, but there is a hive.db-wal", err);
    return make_database(s, steps, count, err);
}

/* A copy of the whole database, with what is in its log, under hive.db.before-vN. */
static int put_copy_aside(struct store *s, int version, struct err *err)
{
    char *name = mem_printf("hive.db.before-v%d", version);
    char *temporary = mem_printf("%s.new", name);
    char *path = fs_join(s->dir, temporary);
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);
    int fd = make_file(s, temporary, err);
    int rc = fd < 0 ? -1 : 0;

    if (rc == 0)
        rc = sql ? db_exec(s, "put a copy aside of", sql, err)
                 : db_fail(s, SQLITE_NOMEM, "copy", err);
    if (rc == 0)
        rc = put_in_place(s, fd, temporary, name, err);
    else if (fd >= 0)
        close(fd);
    sqlite3_free(sql);
    free(path);
    free(temporary);
    free(name);
    return rc;
}

/* SQLite notices whole pages that are missing at the end, but fills up half a page with zeros. With
 * something in the log the file may be short: then the pages are there. */
static int check_whole(struct store *s, struct err *err)
{
    struct stat db, wal;
    int64_t page_size, pages;

    if (db_exec_int(s, "PRAGMA page_size", &page_size, err) != 0 ||
        db_exec_int(s, "PRAGMA page_count", &pages, err) != 0)
        return -1;
    if (fstatat(s->dirfd, "hive.db", &db, 0) != 0)
        return err_sys(err, errno, "can't read %s", s->path);
    if (fstatat(s->dirfd, "hive.db-wal", &wal, 0) == 0 && wal.st_size > 0)
        return 0;
    return db.st_size < page_size * pages ? corrupt(s, "is cut short", err) : 0;
}

static int bring_up_to_date(struct store *s, const struct schema_step *steps, int count,
                            struct err *err)
{
    int64_t application, version;

    if (db_exec_int(s, "PRAGMA application_id", &application, err) != 0 ||
        db_exec_int(s, "PRAGMA user_version", &version, err) != 0)
        return -1;
    if (application != SCHEMA_APPLICATION_ID || version < 1)
        return corrupt(s, "is a database, but not hive's", err);
    if (version > count) {
        err_set(err, ERR_VERSION, "%s is from a newer hive (version %lld; this one knows %d)",
                s->path, (long long)version, count);
        return err_hint(err, "use the newer hive");
    }
    if (version == count)
        return 0;
    log_info(s->log, "%s: bringing it from version %lld to %d", s->path, (long long)version, count);
    if (put_copy_aside(s, count, err) != 0)
        return -1;
    return run_steps(s, steps, (int)version, count, err);
}

int open_database(struct store *s, const char *state_dir, const struct schema_step *steps,
                  int count, struct err *err)
{
    char settings[256];

    s->dir = fs_absolute(state_dir);
    s->path = fs_join(s->dir, "hive.db");
    if (fs_mkdir_p(s->dir, 0700, err) != 0)
        return -1;
    s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0)
        return err_sys(err, errno, "can't open %s", s->dir);
    if (take_lock(s, err) != 0 || find_or_make(s, steps, count, err) != 0)
        return -1;
    if (open_file(s, "hive.db", err) != 0)
        return -1;
    snprintf(settings, sizeof settings,
             "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA cache_size = -%d;"
             "PRAGMA cell_size_check = ON; PRAGMA wal_autocheckpoint = 0;"
             "PRAGMA journal_size_limit = 67108864",
             CACHE_KIB);
    if (db_exec(s, "open", settings, err) != 0 || check_whole(s, err) != 0 ||
        bring_up_to_date(s, steps, count, err) != 0)
        return -1;
    return db_prepare_all(s, err);
}

int open_for_writing(struct store *s, struct err *err)
{
    if (use_wal(s, err) != 0)
        return -1;
    /* The log may be new in the folder, and SQLite does not mind when a folder's sync fails. */
    if (fsync(s->dirfd) != 0)
        return err_sys(err, errno, "can't sync %s", s->dir);
    return 0;
}
