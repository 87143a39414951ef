/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening: the lock, databases of other versions, damaged ones, migration, kill -9, a full disk. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "store/store_priv.h"
#include "unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DATA "tests/data/store"

static char *in_dir(const char *name)
{
    return fs_join(unit_tmpdir(), name);
}

static struct store *open_store(void)
{
    struct err err = ERR_INIT;
    struct store *s = store_open(unit_tmpdir(), NULL, &err);

    if (!s)
        unit_fail(__FILE__, __LINE__, "store_open: %s", err.msg);
    return s;
}

/* Commits `n` more jobs, in one transaction. */
static int try_add_jobs(struct store *s, int64_t n, struct err *err)
{
    int64_t first;

    if (store_begin(s, err) != 0 || store_next_ids(s, n, &first, err) != 0)
        return -1;
    for (int64_t i = 0; i < n; i++) {
        struct store_job j = { .id = first + i, .user = "u", .spec = "{}" };
        if (store_job_insert(s, &j, err) != 0)
            return -1;
    }
    return store_commit(s, err);
}

static void add_jobs(struct store *s, int64_t n)
{
    struct err err = ERR_INIT;

    CHECK_OK(try_add_jobs(s, n, &err), &err);
}

static int try_add_nothing(struct store *s, struct err *err)
{
    return store_begin(s, err) != 0 ? -1 : store_commit(s, err);
}

static int64_t count_queued(struct store *s)
{
    struct err err = ERR_INIT;
    int64_t n;

    CHECK_OK(store_job_counts(s, &n, 1, &err), &err);
    CHECK_OK(store_check(s, &err), &err);
    return n;
}

/* --- lock and permissions --- */

TEST(a_second_daemon_is_told_who_has_it)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    char pid[32];

    snprintf(pid, sizeof pid, "(pid %d)", (int)getpid());
    CHECK(!store_open(unit_tmpdir(), NULL, &err));
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK(strstr(err.msg, pid));
    CHECK(strstr(err.msg, unit_tmpdir()));
    CHECK(err.hint[0]);
    add_jobs(s, 1); /* the first is not disturbed */
    CHECK(!store_open(unit_tmpdir(), NULL, &err));
    CHECK(strstr(err.msg, pid));
    store_close(s);
    s = open_store();
    CHECK_INT(count_queued(s), 1);
    store_close(s);
}

TEST(files_are_for_the_owner_alone)
{
    struct err err = ERR_INIT;
    char *dir = in_dir("deep/state");
    struct stat st;

    umask(0);
    struct store *s = store_open(dir, NULL, &err);
    CHECK(s);
    add_jobs(s, 1);
    CHECK(fstat(store_dirfd(s), &st) == 0);
    CHECK_INT(st.st_mode & 07777, 0700);
    CHECK(fstatat(store_dirfd(s), "hive.db", &st, 0) == 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_INT(store_size(s) > st.st_size, 1);
    CHECK(fstatat(store_dirfd(s), "hive.db-wal", &st, 0) == 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK(fstatat(store_dirfd(s), "lock", &st, 0) == 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK(fcntl(store_dirfd(s), F_GETFD) & FD_CLOEXEC);
    CHECK(fstatat(store_dirfd(s), "hive.db-shm", &st, 0) != 0);
    store_close(s);
    free(dir);
}

TEST(places_where_nothing_can_be_stored)
{
    struct err err = ERR_INIT;
    char *file = in_dir("file"), *below = in_dir("file/state"), *db = in_dir("hive.db");

    CHECK_OK(fs_write_file(file, "x", 1, 0600, false, &err), &err);
    CHECK(!store_open(file, NULL, &err));
    CHECK(strstr(err.msg, file));
    CHECK(!store_open(below, NULL, &err));
    CHECK(strstr(err.msg, file));
    CHECK(mkdir(db, 0700) == 0);
    CHECK(!store_open(unit_tmpdir(), NULL, &err));
    CHECK_INT(err.kind, ERR_CORRUPT);
    CHECK(strstr(err.msg, "hive.db"));
    free(file);
    free(below);
    free(db);
}

TEST(another_program_has_the_database_open)
{
    struct err err = ERR_INIT;
    char *path = in_dir("hive.db");
    sqlite3 *db;

    store_close(open_store());
    pid_t pid = fork(); /* locks of SQLite's don't count within one process */
    if (pid == 0) {
        if (sqlite3_open(path, &db) != SQLITE_OK ||
            sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE; BEGIN IMMEDIATE", 0, 0, 0) != 0)
            _exit(1);
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, WUNTRACED) == pid);
    CHECK(WIFSTOPPED(status));
    CHECK(!store_open(unit_tmpdir(), NULL, &err));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK(strstr(err.msg, path));
    store_close(open_store());
    free(path);
}

/* --- stored databases --- */

static void run_sql(const char *db_path, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    CHECK(sqlite3_open(db_path, &db) == SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        unit_fail(__FILE__, __LINE__, "%s", message);
    sqlite3_close(db);
}

static void run_file(const char *db_path, const char *file)
{
    struct buf sql = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file(file, 1 << 20, &sql, &err), &err);
    run_sql(db_path, buf_data(&sql));
    buf_fini(&sql);
}

/* Calls fn for every .sql file of a folder; returns how many there were. */
static int each_file(const char *dir, void (*fn)(const char *path))
{
    DIR *d = opendir(dir);
    int n = 0;

    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (!str_ends(e->d_name, ".sql"))
            continue;
        char *path = fs_join(dir, e->d_name);
        fn(path);
        free(path);
        n++;
    }
    closedir(d);
    return n;
}

static void describe(void *arg, const struct store_job *j)
{
    buf_printf(arg, "%d a%d t%d s%d %s %s %s %s|", (int)j->id, (int)j->array_id, (int)j->task,
               j->status, j->user, j->name ? j->name : "-", j->node ? j->node : "-",
               j->spec ? j->spec : "-");
}

static bool describe_more(void *arg, const struct store_job *j)
{
    describe(arg, j);
    return true;
}

static bool attempt(void *arg, const struct store_attempt *a)
{
    buf_printf(arg, "%d.%d o%d %s|", (int)a->job, a->number, a->outcome, a->node);
    return true;
}

static void use(void *arg, const char *user, double thread_seconds, int64_t wall_ns)
{
    buf_printf(arg, "%s %.1f %lld|", user, thread_seconds, (long long)wall_ns);
}

static bool node(void *arg, const struct store_node *n)
{
    buf_printf(arg, "%d %s %s|", (int)n->id, n->name, n->address);
    return true;
}

static bool point(void *arg, const struct store_point *p)
{
    buf_printf(arg, "%lld %g|", (long long)p->wall_ns, (double)p->mean[0]);
    return true;
}

/* What version 2 brought; in a database of version 1 it must be possible to begin with it. */
static void check_nodes(struct store *s, int version)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    float values[STORE_SERIES_COUNT] = { 12.5F };
    int64_t id, now = INT64_C(1700000200000000000);

    CHECK_OK(store_node_each(s, node, &b, &err), &err);
    for (int64_t i = 1; i <= 3; i++)
        CHECK_OK(store_metrics_read(s, i, 1, now - 200 * NS_PER_S, now + 100 * NS_PER_S, 99, point,
                                    &b, &err),
                 &err);
    CHECK_STR(buf_data(&b), version < 2 ? ""
                                        : "1 big ann@big|3 small |1700000100000000000 12.5|"
                                          "1700000110000000000 100|1700000200000000000 3|");
    buf_clear(&b);
    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_node_put(s, &(struct store_node){ .name = "new" }, &id, &err), &err);
    CHECK_INT(id, version < 2 ? 1 : 4);
    store_metrics_add(s, id, now, values);
    CHECK_OK(store_metrics_flush(s, now, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
    CHECK_OK(store_metrics_read(s, id, 1, now, now + 100 * NS_PER_S, 99, point, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1700000200000000000 12.5|");
    CHECK_OK(store_check(s, &err), &err);
    buf_fini(&b);
}

/* The copy that was put aside of a database of version 1 is one. */
static void check_copy(void)
{
    char *copy = in_dir("hive.db.before-v2");
    sqlite3 *db;
    sqlite3_stmt *st;

    CHECK(sqlite3_open_v2(copy, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db,
                             "SELECT user_version, (SELECT count(*) FROM job),"
                             " (SELECT count(*) FROM sqlite_schema WHERE name = 'metric')"
                             " FROM pragma_user_version",
                             -1, &st, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(st) == SQLITE_ROW);
    CHECK_INT(sqlite3_column_int(st, 0), 1);
    CHECK_INT(sqlite3_column_int(st, 1), 5);
    CHECK_INT(sqlite3_column_int(st, 2), 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    CHECK(unlink(copy) == 0);
    free(copy);
}

static void check_valid(const char *file)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    char *path = in_dir("hive.db");
    unsigned char digest[32];
    int64_t v, first, count;

    unlink(path);
    run_file(path, file);
    struct store *s = open_store();
    CHECK_OK(store_check(s, &err), &err);
    CHECK_OK(
        store_job_list(s, &(struct store_filter){ .with_tasks = true }, describe_more, &b, &err),
        &err);
    buf_append_char(&b, '\n');
    for (int64_t job = 1; job <= 6; job++)
        CHECK_OK(store_attempt_each(s, job, attempt, &b, &err), &err);
    CHECK_OK(store_use_each(s, use, &b, &err), &err);
    CHECK_STR(buf_data(&b), "6 a0 t0 s0 ann late - {}|4 a2 t2 s1 bob - small -|"
                            "3 a2 t1 s2 bob - big -|2 a0 t0 s0 bob sweep - {}|"
                            "1 a0 t0 s2 ann train big {\"argv\":[\"python\",\"train.py\"]}|\n"
                            "1.1 o2 big|3.1 o2 big|4.1 o-1 small|ann 236.5 1700000060000000000|");
    buf_fini(&b);
    CHECK_OK(store_meta_get_int(s, "fence", 0, &v, &err), &err);
    CHECK_INT(v, 7);
    CHECK_INT(store_key_get(s, "ann", "nightly", digest, &first, &count, &err), 1);
    char *line;
    CHECK_OK(store_line_get(s, 2, 2, &line, &err), &err);
    CHECK_STR(line, "--lr 0.2");
    free(line);
    check_nodes(s, strstr(file, "v1.sql") ? 1 : 2);
    if (strstr(file, "v1.sql"))
        check_copy();
    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_next_ids(s, 1, &first, &err), &err);
    CHECK_INT(first, 7);
    store_close(s);
    free(path);
}

TEST(databases_of_earlier_releases)
{
    CHECK_INT(each_file(DATA "/valid", check_valid), STORE_SCHEMA_VERSION);
}

static void read_into(const char *name, struct buf *b)
{
    char *path = in_dir(name);
    struct err err = ERR_INIT;

    if (access(path, F_OK) == 0)
        CHECK_OK(fs_read_file(path, 1 << 24, b, &err), &err);
    free(path);
}

/* Opening must fail so, and leave database and log as they were. */
static void check_refused(const char *what, enum err_kind kind)
{
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct err err = ERR_INIT;

    read_into("hive.db", &before);
    read_into("hive.db-wal", &before);
    if (store_open(unit_tmpdir(), NULL, &err))
        unit_fail(__FILE__, __LINE__, "%s was opened", what);
    if (err.kind != kind || !strstr(err.msg, "hive.db") || !err.hint[0])
        unit_fail(__FILE__, __LINE__, "%s: %s: %s (%s)", what, err_kind_name(err.kind), err.msg,
                  err.hint);
    read_into("hive.db", &after);
    read_into("hive.db-wal", &after);
    if (buf_len(&before) != buf_len(&after) ||
        memcmp(buf_data(&before), buf_data(&after), buf_len(&before)) != 0)
        unit_fail(__FILE__, __LINE__, "%s was changed", what);
    buf_fini(&before);
    buf_fini(&after);
}

static void make_patched(const char *patch)
{
    char *path = in_dir("hive.db"), *newest;

    unlink(path);
    newest = mem_printf(DATA "/valid/v%d.sql", STORE_SCHEMA_VERSION);
    run_file(path, newest);
    run_file(path, patch);
    free(newest);
    free(path);
}

static void check_damaged(const char *file)
{
    make_patched(file);
    check_refused(file, ERR_CORRUPT);
}

static void check_newer(const char *file)
{
    make_patched(file);
    check_refused(file, ERR_VERSION);
}

TEST(damaged_databases_are_refused_and_left_alone)
{
    CHECK(each_file(DATA "/damaged", check_damaged) > 10);
}

TEST(databases_of_later_releases_are_refused_and_left_alone)
{
    CHECK(each_file(DATA "/newer", check_newer) > 0);
}

/* Opens, adds `n` jobs a commit each, and ends without closing, as kill -9 does. With 0 it commits
 * nothing, which must not be taken for an empty log. */
static void add_and_die(int n)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct err err = ERR_INIT;
        struct store *s = open_store();
        if (n == 0)
            CHECK_OK(try_add_nothing(s, &err), &err);
        for (int i = 0; i < n; i++)
            add_jobs(s, 1);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

TEST(the_zeros_ahead_of_the_log_hide_nothing)
{
    /* The log is made longer several times, and never shorter than what is in it. */
    static const int rounds[] = { 1, 30, 0, 90, 0, 0, 7, 1 };
    int64_t total = 0;
    struct err err = ERR_INIT;

    for (size_t i = 0; i < ARRAY_LEN(rounds); i++) {
        add_and_die(rounds[i]);
        total += rounds[i];
        struct stat st;
        char *wal = in_dir("hive.db-wal");
        CHECK(stat(wal, &st) == 0 && st.st_size > 0);
        free(wal);
    }
    struct store *s = open_store();
    CHECK_INT(count_queued(s), total);
    CHECK_OK(store_check(s, &err), &err);
    store_close(s);
}

TEST(a_later_release_that_was_killed_keeps_its_log)
{
    char *path = in_dir("hive.db");
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct store *s = open_store();
        add_jobs(s, 1);
        if (sqlite3_exec(s->db, "PRAGMA user_version = 999", NULL, NULL, NULL) != SQLITE_OK)
            _exit(1);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    check_refused("with a log", ERR_VERSION);
    char *back = mem_printf("PRAGMA user_version = %d", STORE_SCHEMA_VERSION);
    run_sql(path, back);
    free(back);
    struct store *s = open_store();
    CHECK_INT(count_queued(s), 1);
    store_close(s);
    free(path);
}

TEST(files_that_are_no_databases)
{
    static const char *const text[] = { "x", "SQLite format 3", "this is not a database at all\n" };
    char *path = in_dir("hive.db"), *wal = in_dir("hive.db-wal");
    struct buf noise = BUF_INIT, whole = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(fs_write_file(path, "", 0, 0600, false, &err), &err);
    check_refused("an empty file", ERR_CORRUPT);
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        CHECK_OK(fs_write_file(path, text[i], strlen(text[i]), 0600, false, &err), &err);
        check_refused(text[i], ERR_CORRUPT);
    }
    for (unsigned i = 0, x = 1; i < 20000; i++, x = x * 1103515245 + 12345)
        buf_append_char(&noise, (char)(x >> 16));
    CHECK_OK(fs_write_file(path, buf_data(&noise), buf_len(&noise), 0600, false, &err), &err);
    check_refused("noise", ERR_CORRUPT);

    unlink(path);
    CHECK_OK(fs_write_file(wal, buf_data(&noise), buf_len(&noise), 0600, false, &err), &err);
    check_refused("a log alone", ERR_CORRUPT);
    unlink(wal);

    run_file(path, DATA "/valid/v2.sql");
    read_into("hive.db", &whole);
    for (size_t len = 1; len < buf_len(&whole); len += 3001) {
        CHECK_OK(fs_write_file(path, buf_data(&whole), len, 0600, false, &err), &err);
        check_refused("a part of a database", ERR_CORRUPT);
    }
    buf_fini(&noise);
    buf_fini(&whole);
    free(path);
    free(wal);
}

/* --- migration --- */

/* This release's steps, and two of a later one. */
#define LATER (STORE_SCHEMA_VERSION + 2)

static const struct schema_step *with_steps(struct schema_step *steps, const char *one,
                                            const char *two)
{
    memcpy(steps, schema_steps, STORE_SCHEMA_VERSION * sizeof *steps);
    steps[STORE_SCHEMA_VERSION].sql = one;
    steps[STORE_SCHEMA_VERSION + 1].sql = two;
    return steps;
}

TEST(an_older_database_is_brought_up_to_date_after_a_copy_was_put_aside)
{
    struct err err = ERR_INIT;
    struct schema_step steps[LATER];
    struct stat st;
    int64_t v;

    _Static_assert(LATER == 4, "it stands in names below");
    with_steps(steps, "ALTER TABLE job ADD COLUMN colour TEXT; CREATE TABLE tint (id INTEGER);",
               "INSERT INTO tint SELECT id FROM job");
    struct store *s = open_store();
    add_jobs(s, 5);
    store_close(s);
    for (int i = 0; i < 2; i++) { /* the second time there is nothing to do */
        s = store_open_steps(unit_tmpdir(), steps, LATER, NULL, &err);
        CHECK(s);
        CHECK_INT(count_queued(s), 5);
        CHECK_OK(db_exec_int(s, "SELECT count(*) FROM tint", &v, &err), &err);
        CHECK_INT(v, 5);
        CHECK(fstatat(store_dirfd(s), "hive.db.before-v4", &st, 0) == 0);
        CHECK_INT(st.st_mode & 07777, 0600);
        CHECK(fstatat(store_dirfd(s), "hive.db.before-v4.new", &st, 0) != 0);
        store_close(s);
    }
    CHECK(!store_open(unit_tmpdir(), NULL, &err));
    CHECK_INT(err.kind, ERR_VERSION);
    /* The way back. */
    char *path = in_dir("hive.db"), *copy = in_dir("hive.db.before-v4");
    CHECK(rename(copy, path) == 0);
    s = open_store();
    CHECK_INT(count_queued(s), 5);
    store_close(s);
    free(path);
    free(copy);
}

TEST(a_step_that_fails_changes_nothing)
{
    struct err err = ERR_INIT;
    struct schema_step steps[LATER];

    with_steps(steps, "CREATE TABLE tint (id INTEGER)", "INSERT INTO nowhere VALUES (1)");
    struct store *s = open_store();
    add_jobs(s, 5);
    store_close(s);
    CHECK(!store_open_steps(unit_tmpdir(), steps, LATER, NULL, &err));
    CHECK(strstr(err.msg, "nowhere"));
    s = open_store();
    CHECK_INT(count_queued(s), 5);
    int64_t v;
    CHECK_OK(db_exec_int(s, "SELECT count(*) FROM sqlite_schema WHERE name = 'tint'", &v, &err),
             &err);
    CHECK_INT(v, 0);
    store_close(s);
}

/* --- kill -9 --- */

static void submit_for_ever(int acks)
{
    struct err err = ERR_INIT;
    struct store *s = open_store();

    s->checkpoint_pages = 40;
    for (;;) {
        if (try_add_jobs(s, 3, &err) != 0 || write(acks, "", 1) != 1)
            _exit(1);
    }
}

TEST(what_was_acknowledged_survives_kill_9)
{
    int64_t known = 0;

    for (int i = 0; i < 6; i++) {
        int acks[2];
        char byte;
        int64_t seen = 0;

        CHECK(pipe2(acks, O_CLOEXEC) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            close(acks[0]);
            submit_for_ever(acks[1]);
        }
        close(acks[1]);
        while (seen < 1 + i * 7 && read(acks[0], &byte, 1) == 1)
            seen++;
        kill(pid, SIGKILL);
        while (read(acks[0], &byte, 1) == 1) /* acknowledged before it died */
            seen++;
        CHECK(waitpid(pid, NULL, 0) == pid);
        close(acks[0]);
        CHECK(seen >= 1 + i * 7);
        struct store *s = open_store();
        int64_t n = count_queued(s);
        CHECK(n >= known + 3 * seen && n <= known + 3 * (seen + 1) && n % 3 == 0);
        known = n;
        store_close(s);
    }
}

/* --- a full disk --- */

TEST(a_full_disk_is_survived)
{
    struct err err = ERR_INIT;
    char *mnt = in_dir("small"), *file = in_dir("small/filler");
    int64_t committed = 0;

    CHECK(mkdir(mnt, 0700) == 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("small", mnt, "tmpfs", 0, "size=2m") != 0) {
        fprintf(stderr, "# left out: it takes root to mount a small disk\n");
        free(mnt);
        free(file);
        return;
    }
    /* Room for the database, and a file that takes the rest but some. */
    struct store *s = store_open(mnt, NULL, &err);
    CHECK(s);
    s->checkpoint_pages = 20;
    char *filler = mem_alloc(1 << 20);
    CHECK_OK(fs_write_file(file, filler, 1 << 20, 0600, false, &err), &err);
    free(filler);
    while (try_add_jobs(s, 50, &err) == 0)
        CHECK((committed += 50) < 1000000);
    CHECK_INT(err.kind, ERR_NO_SPACE);
    CHECK(strstr(err.msg, "hive.db"));
    CHECK(err.hint[0]);
    CHECK(!store_broken(s));
    CHECK(!store_in_transaction(s));
    CHECK(committed > 0);
    CHECK_INT(count_queued(s), committed);
    CHECK_INT(try_add_jobs(s, 5000, &err), -1);
    CHECK_INT(err.kind, ERR_NO_SPACE);
    CHECK(unlink(file) == 0);
    add_jobs(s, 500); /* and on it goes */
    CHECK_INT(count_queued(s), committed + 500);
    store_close(s);
    s = store_open(mnt, NULL, &err);
    CHECK(s);
    CHECK_INT(count_queued(s), committed + 500);
    store_close(s);
    CHECK(umount(mnt) == 0);
    free(mnt);
    free(file);
}
