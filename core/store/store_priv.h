/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the store share. Nothing outside core/store and its tests includes this.
 *
 * How SQLite is used, and why (measured with 1,000,000 jobs):
 *   - locking_mode=EXCLUSIVE: STATE/lock keeps other daemons out anyway. No lock calls per
 *     transaction, and the index of the write-ahead log is plain memory instead of a mapped file,
 *     so that a state folder on NFS works. The price: no look into hive.db from outside meanwhile.
 *   - Checkpoints are ours (db_checkpoint): SQLite's own ignores a failed sync of hive.db, after
 *     which the log would be overwritten though its pages may never have reached the disk.
 *   - The counts by status and the next id live in memory, and in rows of meta that are written
 *     once per commit.
 */
#ifndef HIVE_STORE_STORE_PRIV_H
#define HIVE_STORE_STORE_PRIV_H

#include "base/map.h"
#include "store/metrics.h"
#include "store/schema.h"
#include "store/store.h"

#include <sqlite3.h>

enum statement {
#define STATEMENT(name, sql) ST_##name,
#include "store/statements.def"
    ST_COUNT
};

/* Numbers that are kept in memory and written to meta, at commit, where they changed. */
enum {
    TOTAL_NEXT_ID,
    TOTAL_NEXT_NODE,
    TOTAL_LAST_WINDOW, /* of finest measurements, at the last flush */
    TOTAL_UNITS,       /* plain jobs, and of arrays the tasks, rows or not */
    TOTAL_DONE,        /* of these, at their end */
    TOTAL_METRICS,     /* bytes of measurements, as metric_row_size() counts */
    TOTAL_WINDOWS,     /* different windows by level */
    TOTAL_ENDED = TOTAL_WINDOWS + METRIC_LEVELS, /* plain jobs and arrays with finished_ns set */
    TOTAL_TOP,                                   /* plain jobs and arrays by status */
    TOTAL_TASK = TOTAL_TOP + STORE_STATUS_MAX,   /* tasks by status */
    TOTAL_COUNT = TOTAL_TASK + STORE_STATUS_MAX
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *stmts[ST_COUNT];
    const struct log *log;
    char *dir;  /* absolute */
    char *path; /* of hive.db */
    int dirfd;
    int lockfd;
    bool broken;
    bool in_tx;
    int64_t totals[TOTAL_COUNT];
    int64_t saved_totals[TOTAL_COUNT]; /* as committed */
    /* Users have small numbers, 1, 2, ...; names[n - 1] is the name, ids the way back (value: the
     * number as a pointer). The first n_saved are committed. */
    struct strmap ids;
    char **names;
    int32_t n_names, n_saved;
    struct metrics metrics;
    int wal_pages;        /* in the log after the last commit */
    int wal_checkpointed; /* of those, when the last checkpoint was tried */
    int64_t wal_room;     /* up to here the log's file has been written to, as far as is known */
    int checkpoint_pages; /* so many more, and the next one is due; tests lower it */
};

/* store_open() with other steps than those of this release, for tests of migration. */
struct store *store_open_steps(const char *state_dir, const struct schema_step *steps, int count,
                               const struct log *log, struct err *err);

/* --- db.c: SQLite with our errors --- */

/*
 * Turns the result `rc` of a call into an error ("can't DOING PATH: why"), notices a failed
 * sync and rolls an open transaction back. Always returns -1.
 */
int db_fail(struct store *s, int rc, const char *doing, struct err *err);

/* A prepared statement, ready for binding; NULL and ERR_INTERNAL when it is being stepped already
 * (a callback that repeats the call it came from). */
sqlite3_stmt *db_stmt(struct store *s, enum statement which, struct err *err);
/* The same for a change, which needs a transaction. */
sqlite3_stmt *db_change(struct store *s, enum statement which, struct err *err);
/* Runs a change to its end. */
int db_run(struct store *s, sqlite3_stmt *st, struct err *err);
/* Next row: 1, none: 0 (the statement is reset), error: -1 (likewise). */
int db_step(struct store *s, sqlite3_stmt *st, struct err *err);
/* SQL without results, given as text; `doing` as for db_fail. */
int db_exec(struct store *s, const char *doing, const char *sql, struct err *err);
/* First column of the first row, an integer. */
int db_exec_int(struct store *s, const char *sql, int64_t *out, struct err *err);
int db_prepare_all(struct store *s, struct err *err);
void db_finalize_all(struct store *s);
/* Copies the log into hive.db when it is long enough. Never fails; may break the store. */
void db_checkpoint(struct store *s);

/*
 * After a commit: writes zeros behind the end of the log when little is left of those written before.
 * A commit that makes the file longer waits for its inode too (and for the file system's journal),
 * twice as long as one that writes over what is there. SQLite ends its reading at zeros as it does at
 * what an earlier round left behind. Never fails.
 */
void db_extend_log(struct store *s);

/* Text of a column, NULL where it is NULL. Valid until the next step. */
const char *db_text(sqlite3_stmt *st, int column);
int32_t db_int32(sqlite3_stmt *st, int column); /* clamped: a damaged row is no undefined value */
int db_bind_text(sqlite3_stmt *st, int index, const char *text);

/* Fails with ERR_INTERNAL outside a transaction (and does nothing else). */
int db_need_transaction(struct store *s, struct err *err);

/* --- users.c --- */

int users_load(struct store *s, struct err *err);
void users_fini(struct store *s);
/* Number of a user; 0: unknown. NULL is "". */
int32_t users_find(const struct store *s, const char *name);
/* The same, adding the user (needs a transaction); -1 and an error. */
int32_t users_add(struct store *s, const char *name, struct err *err);
const char *users_name(const struct store *s, int64_t id); /* "?" when there is none */
/* After a rollback: forgets who was added meanwhile. */
void users_rollback(struct store *s);

/* --- node.c --- */

/* 1 there is such a node, 0, -1. */
int node_exists(struct store *s, int64_t id, struct err *err);

/* --- open.c --- */

/* Takes the lock and opens, makes or migrates the database. Statements are prepared. */
int open_database(struct store *s, const char *state_dir, const struct schema_step *steps,
                  int count, struct err *err);
/* The last step, when all that was read turned out to be sound. */
int open_for_writing(struct store *s, struct err *err);

/* --- job.c --- */

/* Reads the job `id` and calls fn when there is one: 1, 0, -1. */
int job_deliver(struct store *s, int64_t id, bool (*fn)(void *arg, const struct store_job *j),
                void *arg, bool *go_on, struct err *err);
/* What a row adds to TOTAL_UNITS and TOTAL_DONE, in SQL; job.c has the same in C. */
#define JOB_UNITS                                                                                  \
    "iif(NOT is_array OR first < 0 OR last < first, 1,"                                            \
    " min((last - first) / max(step, 1), 10000000) + 1)"
#define JOB_DONE                                                                                   \
    "iif(is_array, min(max(n_succeeded, 0), 10000000) + min(max(n_failed, 0), 10000000)"           \
    " + min(max(n_cancelled, 0), 10000000), finished_ns > 0)"
/* What the totals need to know of a row. */
struct job_place {
    int32_t status;
    bool ended;
    bool is_task;
    bool is_array;
    int64_t units, done; /* what it adds to TOTAL_UNITS and TOTAL_DONE */
};
/* 1 found, 0 not, -1 error (a status that is none: ERR_CORRUPT). */
int job_place(struct store *s, int64_t id, struct job_place *out, struct err *err);
void job_count(struct store *s, const struct job_place *place, int64_t by);

#endif
