/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store on a disk that fails. A VFS in front of SQLite's own makes the n-th write, sync,
 * truncation or removal fail, or stops everything there as a power failure does; for every n of a
 * life of submits, starts and ends, reopening must show exactly what was committed.
 *
 * What is not synced may be lost in a power failure: the VFS remembers each file as it was at its
 * last sync, and afterwards puts any mixture of old and new sectors in its place. (Syncs therefore
 * need not reach the real disk, which makes this quick.)
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "store/store_priv.h"
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES 8
#define SECTOR 512

enum op { OP_WRITE, OP_SYNC, OP_TRUNCATE, OP_DELETE, OP_COUNT };

struct image {
    char *path;
    unsigned char *data;
    size_t len;
};

/* The one disk of the test; a VFS has no other way to know it than a global. */
static struct {
    sqlite3_vfs *real;
    /* plan */
    int fail_at; /* the fail_at-th operation (from 1) that `mask` allows fails; 0: none */
    unsigned mask;
    int rc;         /* with this, after half the bytes of a write */
    bool power_off; /* instead: from there on nothing reaches the disk */
    /* state */
    int count;
    bool fired;
    enum op fired_op;
    bool off;
    int syncs;
    struct image synced[MAX_FILES];
} disk;

struct file {
    sqlite3_file base;
    char *path;
    sqlite3_file *real;
};

static struct image *find_image(const char *path)
{
    for (int i = 0; i < MAX_FILES; i++) {
        if (disk.synced[i].path && strcmp(disk.synced[i].path, path) == 0)
            return &disk.synced[i];
    }
    for (int i = 0; i < MAX_FILES; i++) {
        if (!disk.synced[i].path) {
            disk.synced[i].path = mem_strdup(path);
            return &disk.synced[i];
        }
    }
    unit_fail(__FILE__, __LINE__, "too many files");
}

static void forget(struct image *im)
{
    free(im->path);
    free(im->data);
    *im = (struct image){ 0 };
}

static struct image read_image(const char *path)
{
    struct image im = { NULL, NULL, 0 };
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return im;
    CHECK(fstat(fd, &st) == 0);
    im.len = (size_t)st.st_size;
    im.data = mem_alloc(im.len + 1);
    CHECK(pread(fd, im.data, im.len, 0) == (ssize_t)im.len);
    close(fd);
    return im;
}

static void remember(const char *path)
{
    struct image *im = find_image(path);
    struct image now = read_image(path);

    free(im->data);
    im->data = now.data;
    im->len = now.len;
}

/* SQLITE_OK, or what the operation is to fail with. */
static int pass(enum op op)
{
    if (disk.off)
        return SQLITE_IOERR;
    if (!(disk.mask >> op & 1) || ++disk.count != disk.fail_at)
        return SQLITE_OK;
    disk.fired = true;
    disk.fired_op = op;
    disk.off = disk.power_off;
    errno = EIO;
    return disk.power_off ? SQLITE_IOERR : disk.rc;
}

static int file_close(sqlite3_file *f)
{
    struct file *file = (struct file *)(void *)f;

    free(file->path);
    return file->real->pMethods ? file->real->pMethods->xClose(file->real) : SQLITE_OK;
}

static sqlite3_file *real(sqlite3_file *f)
{
    return ((struct file *)(void *)f)->real;
}

static int file_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return real(f)->pMethods->xRead(real(f), data, n, at);
}

static int file_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    bool was_off = disk.off;
    int rc = pass(OP_WRITE);

    /* A write that fails is half done, and a power failure tears it. */
    if (rc != SQLITE_OK && was_off)
        return rc;
    int done = real(f)->pMethods->xWrite(real(f), data, rc == SQLITE_OK ? n : n / 2, at);
    return rc != SQLITE_OK ? rc : done;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int rc = pass(OP_TRUNCATE);

    return rc != SQLITE_OK ? SQLITE_IOERR_TRUNCATE : real(f)->pMethods->xTruncate(real(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    if (pass(OP_SYNC) != SQLITE_OK)
        return SQLITE_IOERR_FSYNC;
    disk.syncs++;
    remember(((struct file *)(void *)f)->path);
    return SQLITE_OK;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real(f)->pMethods->xFileSize(real(f), size);
}

static int file_lock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xLock(real(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xUnlock(real(f), level);
}

static int file_check_lock(sqlite3_file *f, int *out)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int file_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}

static int file_character(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static const sqlite3_io_methods methods = {
    .iVersion = 1, /* without shared memory: the store needs none */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_character,
};

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *out)
{
    struct file *file = (struct file *)(void *)f;

    (void)vfs;
    *file = (struct file){ .real = (sqlite3_file *)(void *)(file + 1) };
    if (disk.off)
        return SQLITE_CANTOPEN;
    int rc = disk.real->xOpen(disk.real, path, file->real, flags, out);
    if (rc != SQLITE_OK)
        return rc;
    file->path = mem_strdup(path);
    if (path)
        remember(path);
    file->base.pMethods = &methods;
    return SQLITE_OK;
}

static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    (void)vfs;
    if (pass(OP_DELETE) != SQLITE_OK)
        return SQLITE_IOERR_DELETE;
    forget(find_image(path));
    return disk.real->xDelete(disk.real, path, sync_dir);
}

static void use_disk(void)
{
    static sqlite3_vfs vfs;

    disk.real = sqlite3_vfs_find(NULL);
    vfs = *disk.real;
    vfs.zName = "failing";
    vfs.szOsFile = (int)sizeof(struct file) + disk.real->szOsFile;
    vfs.xOpen = disk_open;
    vfs.xDelete = disk_delete;
    CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

static void forget_all(void)
{
    for (int i = 0; i < MAX_FILES; i++)
        forget(&disk.synced[i]);
}

static void repair_disk(void)
{
    disk.fail_at = 0;
    disk.off = false;
    disk.fired = false;
    disk.count = 0;
}

static void plan(int fail_at, unsigned mask, int rc, bool power_off)
{
    repair_disk();
    disk.fail_at = fail_at;
    disk.mask = mask;
    disk.rc = rc;
    disk.power_off = power_off;
}

/* --- what is stored --- */

#define ROUNDS 3
#define PER_ROUND 3 /* submit, start, end */
#define COMMITS (ROUNDS * PER_ROUND)
#define JOBS 2 /* in a round */

/*
 * The nodes' part of a transaction: one more node a round, which the round's end removes but in the
 * last, and measurements of it and of the first, 4 minutes later each time so that windows end.
 */
static int change_node(struct store *s, int n, struct err *err)
{
    int round = n / PER_ROUND;
    int64_t now = (1000000 + n * 240) * NS_PER_S, id = 1 + round, removed;
    struct store_node node = { .name = mem_printf("n%d", round), .state = n % PER_ROUND };
    float values[STORE_SERIES_COUNT];
    int rc = 0;

    for (int i = 0; i < STORE_SERIES_COUNT; i++)
        values[i] = (float)(n * 1000 + i);
    if (n % PER_ROUND < 2)
        rc = store_node_put(s, &node, &id, err);
    else if (round > 0 && round < ROUNDS - 1)
        rc = store_node_remove(s, id, err);
    free((char *)node.name);
    store_metrics_add(s, id, now, values);
    store_metrics_add(s, 1, now, values);
    return rc != 0 || store_metrics_flush(s, now, err) != 0 ||
                   store_metrics_prune(s, now, 1, 3, &removed, err) != 0
               ? -1
               : 0;
}

/* The n-th transaction of the life (from 0). Which jobs it touches follows from n. */
static int change(struct store *s, int n, struct err *err)
{
    int round = n / PER_ROUND;
    static char spec[3000];

    memset(spec, 'x', sizeof spec - 1);
    if (store_begin(s, err) != 0)
        return -1;
    for (int i = 0; i < JOBS; i++) {
        int64_t first;
        struct store_job j = { .id = 1 + round * JOBS + i,
                               .user = round % 2 ? "bob" : "ann",
                               .spec = spec,
                               .status = n % PER_ROUND };
        struct store_attempt a = { .job = j.id, .number = 1, .outcome = -1, .node = "n" };
        int rc = 0;
        if (n % PER_ROUND == 0) {
            rc = store_next_ids(s, 1, &first, err);
            if (rc == 0)
                rc = store_job_insert(s, &j, err);
        } else if (n % PER_ROUND == 1) {
            rc = store_job_update(s, &j, err);
            if (rc == 0)
                rc = store_attempt_insert(s, &a, err);
        } else {
            j.finished_ns = 100 + n;
            a.outcome = 2;
            rc = store_job_update(s, &j, err);
            if (rc == 0)
                rc = store_attempt_update(s, &a, err);
        }
        if (rc != 0)
            return -1;
    }
    return change_node(s, n, err) != 0 ? -1 : store_commit(s, err);
}

static void note_status(void *arg, const struct store_job *j)
{
    *(int *)arg = j->status;
}

static bool note_outcome(void *arg, const struct store_attempt *a)
{
    *(int *)arg = a->outcome;
    return true;
}

static bool count_node(void *arg, const struct store_node *n)
{
    (void)n;
    ++*(int *)arg;
    return true;
}

static bool count_point(void *arg, const struct store_point *p)
{
    CHECK(p->mean[1] > 0);
    ++*(int *)arg;
    return true;
}

/* Nodes are those of so many transactions, and each of these left a measurement. */
static void check_nodes(struct store *s, int changes)
{
    struct err err = ERR_INIT;
    int nodes = 0, points = 0;
    int left = changes == 0 ? 0 : 1; /* the first round's stays */

    for (int round = 1; round < ROUNDS; round++) {
        int done = changes - round * PER_ROUND;
        left += done >= 1 && (done < PER_ROUND || round == ROUNDS - 1);
    }
    CHECK_OK(store_node_each(s, count_node, &nodes, &err), &err);
    CHECK_INT(nodes, left);
    CHECK_OK(store_metrics_read(s, 1, UINT64_MAX, 1000000 * NS_PER_S, 1003600 * NS_PER_S, 1000,
                                count_point, &points, &err),
             &err);
    CHECK_INT(points, changes);
}

/* Number of the life's transactions that the store shows; fails unless it shows them wholly. */
static int count_job_changes(struct store *s)
{
    struct err err = ERR_INIT;
    int n = 0;

    CHECK_OK(store_check(s, &err), &err);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < JOBS; i++) {
            int64_t id = 1 + round * JOBS + i;
            int status = -1, outcome = -9;
            int found = store_job_get(s, id, note_status, &status, &err);
            CHECK(found >= 0);
            CHECK_OK(store_attempt_each(s, id, note_outcome, &outcome, &err), &err);
            CHECK_INT(outcome, status < 1 ? -9 : status == 1 ? -1 : 2);
            if (i == 0) {
                if (found)
                    CHECK_INT(n, round * PER_ROUND); /* all before it is done */
                n += status + 1;
            } else {
                CHECK_INT(round * PER_ROUND + status + 1,
                          found || n == round * PER_ROUND ? n : round * PER_ROUND);
            }
            if (!found)
                return n;
        }
    }
    return n;
}

static int count_changes(struct store *s)
{
    int n = count_job_changes(s);

    check_nodes(s, n);
    return n;
}

/* A fresh state folder for each life, and only the files of the last one to look at. */
static char *fresh_dir(void)
{
    struct err err = ERR_INIT;
    int fd = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK_OK(fs_remove_tree(fd, "state", &err), &err);
    close(fd);
    forget_all();
    return fs_join(unit_tmpdir(), "state");
}

static struct store *open_store(const char *dir, struct err *err)
{
    struct store *s = store_open(dir, NULL, err);

    if (s)
        s->checkpoint_pages = 10;
    return s;
}

/* After the repair: all commits that were acknowledged are there, and at most `extra` more. */
static void check_reopened(const char *dir, int acknowledged, int extra, const char *what, int at)
{
    struct err err = ERR_INIT;
    struct store *s = open_store(dir, &err);

    if (!s)
        unit_fail(__FILE__, __LINE__, "%s %d: not opened again: %s", what, at, err.msg);
    int n = count_changes(s);
    if (n < acknowledged || n > acknowledged + extra)
        unit_fail(__FILE__, __LINE__, "%s %d: %d acknowledged, %d found", what, at, acknowledged,
                  n);
    /* And it can be gone on with. */
    for (; n < COMMITS; n++)
        CHECK_OK(change(s, n, &err), &err);
    CHECK_INT(count_changes(s), COMMITS);
    store_close(s);
}

/* --- failures --- */

/* One life with one failure. Returns false when it was over before the failure. */
static bool live_with_failure(const char *dir, int at, enum err_kind kind, const char *what)
{
    struct err err = ERR_INIT;
    struct store *s = open_store(dir, &err);
    int done = 0, errors = 0;

    if (!s) { /* it failed while it was made */
        CHECK(disk.fired);
        repair_disk();
        check_reopened(dir, 0, 0, what, at);
        return true;
    }
    while (done < COMMITS && !store_broken(s)) {
        if (change(s, done, &err) == 0) {
            done++;
            continue;
        }
        CHECK(!store_in_transaction(s));
        CHECK_INT(++errors, 1);
        CHECK(disk.fired);
        CHECK_INT(err.kind, disk.fired_op == OP_SYNC ? ERR_IO : kind);
        CHECK(strstr(err.msg, "hive.db"));
        CHECK_INT(store_broken(s), disk.fired_op == OP_SYNC);
    }
    bool in_life = disk.fired;
    CHECK_INT(store_broken(s), in_life && disk.fired_op == OP_SYNC);
    if (store_broken(s)) {
        int before = disk.count;
        CHECK_INT(store_begin(s, &err), -1);
        CHECK_INT(err.kind, ERR_IO);
        store_close(s);
        CHECK_INT(disk.count, before); /* nothing more is written or removed */
        s = NULL;
    }
    store_close(s);
    bool fired = disk.fired;
    repair_disk();
    check_reopened(dir, done, errors, what, at);
    return fired;
}

static void check_failures(unsigned mask, int rc, enum err_kind kind, const char *what)
{
    int at = 1;

    use_disk();
    for (;; at++) {
        char *dir = fresh_dir();
        plan(at, mask, rc, false);
        bool fired = live_with_failure(dir, at, kind, what);
        free(dir);
        if (!fired)
            break;
    }
    fprintf(stderr, "# %s: %d places\n", what, at - 1);
    CHECK(at > 5);
    forget_all();
}

TEST(no_space_at_any_write)
{
    check_failures(1U << OP_WRITE, SQLITE_FULL, ERR_NO_SPACE, "no space at write");
}

TEST(an_io_error_at_any_write)
{
    check_failures(1U << OP_WRITE, SQLITE_IOERR_WRITE, ERR_IO, "error at write");
}

TEST(a_failed_sync_anywhere_breaks_the_store)
{
    check_failures(1U << OP_SYNC, SQLITE_IOERR_FSYNC, ERR_IO, "error at sync");
}

/* --- power failures --- */

static void write_image(const char *path, const unsigned char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_INT(fs_write_all(fd, data, len), 0);
    close(fd);
}

/* What the disk has when power comes back: of the sectors written since the last sync, none, all
 * or some. */
static void come_back(const struct image *old, const struct image *new, unsigned variant)
{
    size_t len = variant == 0                          ? old->len
                 : variant == 1 || new->len > old->len ? new->len
                                                       : old->len;
    unsigned char *data = mem_alloc(len + 1);
    unsigned x = variant;

    for (size_t at = 0; at < len; at += SECTOR) {
        size_t n = len - at < SECTOR ? len - at : SECTOR;
        x = x * 1103515245 + 12345;
        const struct image *from = variant == 0 ? old : variant == 1 || x >> 16 & 1 ? new : old;
        if (at < from->len)
            memcpy(data + at, from->data + at, at + n > from->len ? from->len - at : n);
    }
    write_image(old->path, data, len);
    free(data);
}

static bool live_until_power_fails(const char *dir, int at)
{
    struct err err = ERR_INIT;
    struct image synced[MAX_FILES], written[MAX_FILES];
    int done = 0;

    plan(at, 1U << OP_WRITE | 1U << OP_SYNC | 1U << OP_TRUNCATE | 1U << OP_DELETE, 0, true);
    struct store *s = open_store(dir, &err);
    while (s && done < COMMITS && change(s, done, &err) == 0)
        done++;
    store_close(s);
    bool fired = disk.fired;
    memcpy(synced, disk.synced, sizeof synced);
    memset(disk.synced, 0, sizeof disk.synced);
    for (int i = 0; i < MAX_FILES; i++)
        written[i] = synced[i].path ? read_image(synced[i].path) : (struct image){ 0 };
    for (unsigned variant = 0; variant < 4; variant++) {
        free(fresh_dir());
        CHECK(mkdir(dir, 0700) == 0);
        for (int i = 0; i < MAX_FILES; i++) {
            /* What never got the name hive.db is left from making it, and in nobody's way. */
            if (synced[i].path && written[i].data && !strstr(synced[i].path, ".new"))
                come_back(&synced[i], &written[i], variant);
        }
        repair_disk();
        check_reopened(dir, done, 1, "power failure", at);
        forget_all();
    }
    for (int i = 0; i < MAX_FILES; i++) {
        forget(&synced[i]);
        free(written[i].data);
    }
    return fired;
}

TEST(power_failure_at_any_moment)
{
    int at = 1;

    use_disk();
    for (;; at++) {
        char *dir = fresh_dir();
        bool fired = live_until_power_fails(dir, at);
        free(dir);
        if (!fired)
            break;
    }
    fprintf(stderr, "# power failure: %d places\n", at - 1);
    CHECK(at > 50);
    forget_all();
}

/* --- migration --- */

static bool migrate_until_power_fails(int at)
{
    static struct schema_step steps[STORE_SCHEMA_VERSION + 2];
    struct err err = ERR_INIT;
    char *dir = fresh_dir();

    memcpy(steps, schema_steps, STORE_SCHEMA_VERSION * sizeof *steps);
    steps[STORE_SCHEMA_VERSION].sql =
        "ALTER TABLE job ADD COLUMN colour TEXT; UPDATE job SET colour = 'red';";
    steps[STORE_SCHEMA_VERSION + 1].sql =
        "CREATE TABLE tint (id INTEGER); INSERT INTO tint SELECT id FROM job";
    repair_disk();
    struct store *s = open_store(dir, &err);
    CHECK(s);
    for (int n = 0; n < 4; n++)
        CHECK_OK(change(s, n, &err), &err);
    store_close(s);
    plan(at, 1U << OP_WRITE | 1U << OP_SYNC | 1U << OP_TRUNCATE | 1U << OP_DELETE, 0, true);
    store_close(store_open_steps(dir, steps, STORE_SCHEMA_VERSION + 2, NULL, &err));
    bool fired = disk.fired;
    repair_disk();
    /* Either it is as before, or it is done; and then it can be done. */
    s = store_open(dir, NULL, &err);
    if (!s)
        CHECK_INT(err.kind, ERR_VERSION);
    store_close(s);
    s = store_open_steps(dir, steps, STORE_SCHEMA_VERSION + 2, NULL, &err);
    if (!s)
        unit_fail(__FILE__, __LINE__, "stopped at %d: %s", at, err.msg);
    CHECK_INT(count_changes(s), 4);
    int64_t tints;
    CHECK_OK(db_exec_int(s, "SELECT count(*) FROM tint", &tints, &err), &err);
    CHECK_INT(tints, 2 * JOBS);
    store_close(s);
    free(dir);
    return fired;
}

TEST(a_migration_may_be_interrupted_at_any_moment)
{
    int at = 1;

    use_disk();
    while (migrate_until_power_fails(at))
        at++;
    fprintf(stderr, "# migration: %d places\n", at - 1);
    CHECK(at > 10);
    forget_all();
}

/* --- cost --- */

TEST(syncs_are_shared_and_not_wasted)
{
    struct err err = ERR_INIT;

    use_disk();
    char *dir = fresh_dir();
    plan(0, 0, 0, false);
    struct store *s = store_open(dir, NULL, &err);
    CHECK(s);
    CHECK_OK(change(s, 0, &err), &err); /* begins the log: syncs its header too */
    disk.syncs = 0;
    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
    CHECK_INT(disk.syncs, 0);
    CHECK_OK(change(s, 1, &err), &err);
    CHECK_INT(disk.syncs, 1);
    CHECK_OK(change(s, 2, &err), &err);
    CHECK_INT(disk.syncs, 2);
    store_close(s);
    free(dir);
    forget_all();
}
