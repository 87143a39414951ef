/* SPDX-License-Identifier: BSD-2-Clause */
/* Life cycle, transactions, ids, counts and small facts. */
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store_priv.h"

#include <sys/stat.h>
#include <unistd.h>

/* Pages (of 4 KiB) in the log after which they are copied into hive.db. Four times as many save
 * hardly any work, and make the commit that has to wait for it four times as slow. */
#define CHECKPOINT_PAGES 1024

/* --- totals --- */

static void total_name(int which, char *name, size_t size)
{
    if (which == TOTAL_NEXT_ID)
        snprintf(name, size, ".next_id");
    else if (which == TOTAL_NEXT_NODE)
        snprintf(name, size, ".next_node");
    else if (which == TOTAL_LAST_WINDOW)
        snprintf(name, size, ".last_window");
    else if (which == TOTAL_UNITS || which == TOTAL_DONE)
        snprintf(name, size, which == TOTAL_UNITS ? ".units" : ".done");
    else if (which == TOTAL_METRICS)
        snprintf(name, size, ".metrics");
    else if (which < TOTAL_ENDED)
        snprintf(name, size, ".windows.%d", which - TOTAL_WINDOWS);
    else if (which == TOTAL_ENDED)
        snprintf(name, size, ".ended");
    else if (which < TOTAL_TASK)
        snprintf(name, size, ".top.%d", which - TOTAL_TOP);
    else
        snprintf(name, size, ".task.%d", which - TOTAL_TASK);
}

static int find_max_id(struct store *s, enum statement which, int64_t *max_id, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, which, err);
    int more = st ? db_step(s, st, err) : -1;

    if (more < 0)
        return -1;
    *max_id = more ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return 0;
}

/* Makes sure that the next id lies behind all that there are. */
static int check_next_id(struct store *s, int which, enum statement max, struct err *err)
{
    int64_t max_id, *next = &s->totals[which];

    if (find_max_id(s, max, &max_id, err) != 0)
        return -1;
    if (max_id == INT64_MAX || *next == INT64_MAX)
        return db_fail(s, SQLITE_CORRUPT, "read the ids in", err);
    /* Can't be, but an id that is used twice would be worse than a number left out. */
    if (*next <= max_id) {
        log_warning(s->log, "%s: next id %lld is taken; going on after %lld", s->path,
                    (long long)*next, (long long)max_id);
        *next = max_id + 1;
    }
    return 0;
}

static int totals_load(struct store *s, struct err *err)
{
    char name[16];
    /* Memory is sized by the totals: no more rows than could be in the file (there are more than 8
     * bytes to each). Nothing is by the bytes of measurements; that is only so that no sum of them
     * overflows. */
    int64_t most = store_size(s) / 8;

    for (int i = 0; i < TOTAL_COUNT; i++) {
        bool is_id = i == TOTAL_NEXT_ID || i == TOTAL_NEXT_NODE;
        int64_t limit = i == TOTAL_METRICS ? 64 * most : i >= TOTAL_WINDOWS ? most : INT64_MAX;
        total_name(i, name, sizeof name);
        if (store_meta_get_int(s, name, is_id, &s->totals[i], err) != 0)
            return -1;
        if (!is_id && (s->totals[i] < 0 || s->totals[i] > limit))
            return db_fail(s, SQLITE_CORRUPT, "read the counts in", err);
    }
    if (check_next_id(s, TOTAL_NEXT_ID, ST_MAX_ID, err) != 0 ||
        check_next_id(s, TOTAL_NEXT_NODE, ST_NODE_MAX_ID, err) != 0)
        return -1;
    memcpy(s->saved_totals, s->totals, sizeof s->totals);
    return 0;
}

static int meta_set(struct store *s, const char *name, int64_t value, struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_META_SET, err);

    if (!st)
        return -1;
    db_bind_text(st, 1, name);
    sqlite3_bind_int64(st, 2, value);
    return db_run(s, st, err);
}

static int totals_save(struct store *s, struct err *err)
{
    char name[16];

    for (int i = 0; i < TOTAL_COUNT; i++) {
        if (s->totals[i] == s->saved_totals[i])
            continue;
        total_name(i, name, sizeof name);
        if (meta_set(s, name, s->totals[i], err) != 0)
            return -1;
    }
    return 0;
}

/* --- life cycle --- */

static int note_wal_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct store *s = arg;

    (void)db;
    (void)name;
    s->wal_pages = pages;
    return SQLITE_OK;
}

struct store *store_open_steps(const char *state_dir, const struct schema_step *steps, int count,
                               const struct log *log, struct err *err)
{
    struct store *s = mem_alloc(sizeof *s);

    s->log = log;
    s->dirfd = s->lockfd = -1;
    s->checkpoint_pages = CHECKPOINT_PAGES;
    strmap_init(&s->ids);
    map_init(&s->metrics.nodes);
    if (open_database(s, state_dir, steps, count, err) != 0 || users_load(s, err) != 0 ||
        totals_load(s, err) != 0 || open_for_writing(s, err) != 0) {
        store_close(s);
        return NULL;
    }
    sqlite3_wal_hook(s->db, note_wal_pages, s);
    /* From here on the files are ours to tidy up. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return s;
}

struct store *store_open(const char *state_dir, const struct log *log, struct err *err)
{
    return store_open_steps(state_dir, schema_steps, STORE_SCHEMA_VERSION, log, err);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    store_rollback(s);
    db_finalize_all(s);
    /* What a failed sync left behind is for the next start to look at, with a fresh page cache. */
    if (s->db && s->broken)
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_close(s->db) != SQLITE_OK)
        log_error(s->log, "%s was not closed: a defect", s->path);
    users_fini(s);
    metrics_fini(s);
    if (s->lockfd >= 0) {
        /* No pid in the file of a lock nobody holds. The file stays: removing it would race. */
        if (ftruncate(s->lockfd, 0) != 0)
            log_debug(s->log, "the lock file can't be emptied");
        close(s->lockfd);
    }
    if (s->dirfd >= 0)
        close(s->dirfd);
    free(s->path);
    free(s->dir);
    free(s);
}

bool store_broken(const struct store *s)
{
    return s->broken;
}

int store_dirfd(const struct store *s)
{
    return s->dirfd;
}

int64_t store_size(const struct store *s)
{
    struct stat db, wal;

    if (fstatat(s->dirfd, "hive.db", &db, 0) != 0)
        return -1;
    return db.st_size + (fstatat(s->dirfd, "hive.db-wal", &wal, 0) == 0 ? wal.st_size : 0);
}

/* --- transactions --- */

int store_begin(struct store *s, struct err *err)
{
    if (s->in_tx)
        return err_set(err, ERR_INTERNAL, "a transaction within a transaction");
    if (s->broken) {
        err_set(err, ERR_IO, "%s can't be used any more: a sync failed", s->path);
        return err_hint(err, "stop hive, look after the disk, start again");
    }
    sqlite3_stmt *st = db_stmt(s, ST_BEGIN, err);
    if (!st || db_run(s, st, err) != 0)
        return -1;
    s->in_tx = true;
    return 0;
}

int store_commit(struct store *s, struct err *err)
{
    if (db_need_transaction(s, err) != 0 || totals_save(s, err) != 0)
        return -1;
    sqlite3_stmt *st = db_stmt(s, ST_COMMIT, err);
    if (!st || db_run(s, st, err) != 0)
        return -1;
    s->in_tx = false;
    memcpy(s->saved_totals, s->totals, sizeof s->totals);
    s->n_saved = s->n_names;
    metrics_committed(s);
    db_checkpoint(s);
    db_extend_log(s);
    return 0;
}

void store_rollback(struct store *s)
{
    if (!s->in_tx)
        return;
    s->in_tx = false;
    /* Some errors make SQLite roll back by itself. */
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    memcpy(s->totals, s->saved_totals, sizeof s->totals);
    users_rollback(s);
    metrics_rolled_back(s);
}

bool store_in_transaction(const struct store *s)
{
    return s->in_tx;
}

/* --- small facts --- */

int store_meta_get_int(struct store *s, const char *name, int64_t fallback, int64_t *out,
                       struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_META_GET, err);

    if (!st)
        return -1;
    db_bind_text(st, 1, name);
    int found = db_step(s, st, err);
    if (found < 0)
        return -1;
    *out = found ? sqlite3_column_int64(st, 0) : fallback;
    sqlite3_reset(st);
    return 0;
}

int store_meta_set_int(struct store *s, const char *name, int64_t value, struct err *err)
{
    if (name[0] == '.')
        return err_set(err, ERR_INTERNAL, "%s is a name of the store's own", name);
    return meta_set(s, name, value, err);
}

int store_next_ids(struct store *s, int64_t count, int64_t *first, struct err *err)
{
    if (db_need_transaction(s, err) != 0)
        return -1;
    if (count < 1 || count > INT64_MAX - 1 - s->totals[TOTAL_NEXT_ID])
        return err_set(err, ERR_INTERNAL, "%lld ids asked for", (long long)count);
    *first = s->totals[TOTAL_NEXT_ID];
    s->totals[TOTAL_NEXT_ID] += count;
    return 0;
}

int store_job_counts(struct store *s, int64_t *counts, size_t n, struct err *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++)
        counts[i] = i < STORE_STATUS_MAX ? s->totals[TOTAL_TOP + i] : 0;
    return 0;
}

void store_unit_counts(const struct store *s, int64_t *all, int64_t *done)
{
    *all = s->totals[TOTAL_UNITS];
    *done = s->totals[TOTAL_DONE];
}
