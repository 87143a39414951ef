/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The durable side of the queue: jobs, attempts, idempotency keys, nodes with what was measured of
 * them, and small facts in one SQLite database (WAL, synchronous=FULL). Only this layer sees SQLite.
 *
 * Use: store_begin(); any number of changes; store_commit(). Nothing counts before the commit
 * returned 0: the head answers clients and starts jobs only then, and so many submits share one
 * sync. Every change needs a transaction. A failed change or commit rolls the whole transaction
 * back, at once (store_in_transaction() is false then). ERR_NO_SPACE and ERR_IO are survivable:
 * the database is as it was before store_begin(), try again later. store_broken() tells when they
 * are not: a sync failed, what was written may or may not be on disk, and the daemon must stop.
 * A broken store refuses every further transaction and leaves its files alone when closed.
 *
 * Statuses, outcomes and specs are the caller's numbers and texts; the store gives them back as
 * they were. It knows two things about them: a status is 0..STORE_STATUS_MAX-1, and a job that
 * reached its end has finished_ns set (a live one has 0).
 *
 * Strings are borrowed in both directions: in rows given to callbacks they are valid during the
 * call. A callback may read other things (the attempts of the job it was given), but neither
 * repeat the call it was called from nor change anything.
 *
 * While it is open the database belongs to this process alone; `sqlite3 hive.db` by hand says
 * "database is locked" then (core/store/store_priv.h says why).
 */
#ifndef HIVE_STORE_STORE_H
#define HIVE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct log;
struct store;

#define STORE_SCHEMA_VERSION 2
#define STORE_STATUS_MAX 32 /* statuses are 0..31, for they are bits in masks */

/* --- life cycle --- */

/*
 * Opens STATE/hive.db, making folder (0700) and file (0600) if missing, after taking the lock
 * STATE/lock (flock; holds our pid): a second daemon gets ERR_CONFLICT naming the pid that has it.
 * An older schema is migrated in one transaction after a copy was put aside (hive.db.before-vN, N
 * being the new version); a newer one is ERR_VERSION; a file that is no database of hive's or is
 * damaged is ERR_CORRUPT with a hint how to go on. Where it fails, hive.db is as it was.
 * `log` is borrowed until store_close() and may be NULL.
 */
struct store *store_open(const char *state_dir, const struct log *log, struct err *err);
/* Rolls back what is not committed, folds the write-ahead log into hive.db, gives up the lock. */
void store_close(struct store *s);
/* A sync failed: stop. May become true in a commit that returned 0 (that commit is on disk). */
bool store_broken(const struct store *s);
/* The state folder, opened; borrowed. */
int store_dirfd(const struct store *s);
/* The size of database and write-ahead log in bytes, -1 unknown. */
int64_t store_size(const struct store *s);
/* Reads everything and compares all that must agree: ERR_CORRUPT says what does not. Takes seconds
 * for a million jobs; for tests and `hive doctor`. Not within a transaction. */
int store_check(struct store *s, struct err *err);

/* --- transactions --- */

int store_begin(struct store *s, struct err *err);  /* nested calls are a defect: ERR_INTERNAL */
int store_commit(struct store *s, struct err *err); /* an empty transaction costs no sync */
void store_rollback(struct store *s);               /* harmless without a transaction */
bool store_in_transaction(const struct store *s);

/* --- small facts by name --- */

/* *out is `fallback` where there is none. Names that begin with '.' are the store's own. */
int store_meta_get_int(struct store *s, const char *name, int64_t fallback, int64_t *out,
                       struct err *err);
int store_meta_set_int(struct store *s, const char *name, int64_t value, struct err *err);

/* --- jobs --- */

/*
 * A unit of work: a plain job, an array (one row however many tasks), or a task of an array (made
 * when it starts or is changed individually). Ids grow from 1 and are never reused, also not after
 * pruning.
 */
struct store_job {
    int64_t id;
    int64_t array_id; /* a task's array, else 0 */
    int64_t task;     /* a task's index */
    int32_t status;
    bool held;
    bool is_array;
    int32_t priority;
    int32_t threads;
    int32_t gpus;
    int64_t memory; /* bytes reserved, 0 none */
    int64_t timeout_ns;
    const char *user; /* NULL is stored as "" */
    const char *name;
    const char *command;                           /* for people; NULL in a task: its array's */
    const char *spec;                              /* everything else, JSON; likewise */
    int32_t attempts;                              /* made so far */
    int32_t retries_left;                          /* automatic ones */
    int64_t submitted_ns, started_ns, finished_ns; /* wall; 0 not yet */
    int64_t not_before_ns;                         /* wall; 0 at once (delayed retry) */
    int32_t exit_code;                             /* -1 none */
    int32_t signal;                                /* 0 none */
    const char *node;                              /* where the last attempt ran, NULL none */
    const char *reason;                            /* short, or NULL */
    int64_t first, last, step, limit;              /* arrays: task indexes; at most `limit` at
                                                       once, 0 all */
    int64_t next;                                  /* arrays: tasks before it have own rows */
    int64_t n_succeeded, n_failed, n_cancelled;    /* arrays: finished tasks; failed: every
                                                       unsuccessful end but cancelled */
};

/* Reserves `count` (1 or more) consecutive ids inside the transaction. */
int store_next_ids(struct store *s, int64_t count, int64_t *first, struct err *err);
/* Adds a job under an id from store_next_ids. A task must not exist yet. */
int store_job_insert(struct store *s, const struct store_job *j, struct err *err);
/*
 * Writes the fields that change: status, held, priority, attempts, retries_left, started_ns,
 * finished_ns, not_before_ns, exit_code, signal, node, reason, next and the array's counters. The
 * others of `j` but id are ignored. ERR_NOT_FOUND when there is no such job.
 */
int store_job_update(struct store *s, const struct store_job *j, struct err *err);

/* One job by id. Calls fn at most once; returns 1 found, 0 not, -1 error. */
int store_job_get(struct store *s, int64_t id, void (*fn)(void *arg, const struct store_job *j),
                  void *arg, struct err *err);
/* The same for a task by array and index. */
int store_task_get(struct store *s, int64_t array_id, int64_t task,
                   void (*fn)(void *arg, const struct store_job *j), void *arg, struct err *err);
/* As store_job_get, and may be called from within the callback of store_job_get, store_task_get and
 * store_job_list, for what a task doesn't have and its array has. */
int store_array_get(struct store *s, int64_t id, void (*fn)(void *arg, const struct store_job *j),
                    void *arg, struct err *err);
/* Indexes of the tasks of an array that have rows, from `from` on, rising. May be called from
 * within any callback but its own. fn returns false to stop. */
int store_task_each(struct store *s, int64_t array_id, int64_t from,
                    bool (*fn)(void *arg, int64_t task), void *arg, struct err *err);

/*
 * All jobs, arrays and tasks whose status is below first_terminal, by id; for loading at start.
 * Costs what there is alive, not what there is. spec and command are NULL when !with_text. fn
 * returns false to stop.
 */
int store_job_each_live(struct store *s, int32_t first_terminal, bool with_text,
                        bool (*fn)(void *arg, const struct store_job *j), void *arg,
                        struct err *err);

/* Where the next page of a listing begins: before_id and before_finished_ns of its filter. */
struct store_resume {
    int64_t id; /* 0: there is nothing more */
    int64_t finished_ns;
};

/*
 * Which jobs, for a page: newest first by id, at most `limit`. Zeroed, it means all jobs. Status,
 * user, array and by_finish have indices: a page costs what is on it. name_like and since_ns look
 * at the jobs one by one; max_scan bounds that.
 */
struct store_filter {
    uint32_t status_mask;  /* bit per status; 0: all */
    const char *user;      /* NULL: all */
    const char *name_like; /* part of name or command, ASCII case ignored; NULL: all. A task has no
                              command of its own and often no name */
    int64_t array_id;      /* only tasks of it; 0: plain jobs and arrays, tasks left out unless
                              with_tasks */
    bool with_tasks;
    int64_t since_ns;  /* submitted or finished at or after */
    int64_t before_id; /* only older ones; 0: from the newest */
    int64_t limit;     /* 0: no limit */
    /* Order by end instead, newest first: only finished ones, no tasks (else ERR_INVALID). The
     * page begins behind (before_finished_ns, before_id), for many jobs may end at one time. */
    bool by_finish;
    int64_t before_finished_ns;  /* by_finish only; 0: from the newest */
    int64_t max_scan;            /* look at about so many jobs at most; 0: at all */
    struct store_resume *resume; /* out, may be NULL: where to go on */
};
/* fn returns false to stop; the page then ends with that job. */
int store_job_list(struct store *s, const struct store_filter *f,
                   bool (*fn)(void *arg, const struct store_job *j), void *arg, struct err *err);
/* Number of jobs (tasks not counted) by status; costs nothing (it is kept up to date, and includes
 * the changes of the open transaction). counts has n entries. */
int store_job_counts(struct store *s, int64_t *counts, size_t n, struct err *err);
/* Plain jobs and the tasks of arrays (rows or not), and how many of these have ended. As cheap. */
void store_unit_counts(const struct store *s, int64_t *all, int64_t *done);

/* --- attempts --- */

struct store_attempt {
    int64_t job;
    int32_t number;
    uint64_t fence;
    const char *node;
    int32_t outcome; /* -1: still running */
    int32_t exit_code, signal;
    int64_t started_ns, finished_ns, duration_ns;
    int64_t user_ns, system_ns, max_rss;
    const char *message;
};
int store_attempt_insert(struct store *s, const struct store_attempt *a, struct err *err);
/* Writes everything but job and number, which say what; a node of NULL leaves the node as it is.
 * ERR_NOT_FOUND when there is no such attempt. */
int store_attempt_update(struct store *s, const struct store_attempt *a, struct err *err);
/* Removes one that was never begun; fine when it isn't there. */
int store_attempt_remove(struct store *s, int64_t job, int32_t number, struct err *err);
/* The attempts of a job, by number. fn returns false to stop. */
int store_attempt_each(struct store *s, int64_t job,
                       bool (*fn)(void *arg, const struct store_attempt *a), void *arg,
                       struct err *err);
/* Attempts without outcome, of all jobs, by job and number. */
int store_attempt_each_open(struct store *s, bool (*fn)(void *arg, const struct store_attempt *a),
                            void *arg, struct err *err);

/* --- lines of --each-line, by task index --- */

int store_line_insert(struct store *s, int64_t array_id, int64_t task, const char *line, size_t len,
                      struct err *err);
/* *line is malloc'd and NUL-terminated; NULL when there is none. */
int store_line_get(struct store *s, int64_t array_id, int64_t task, char **line, struct err *err);

/* --- idempotency keys --- */

/* Each user has keys of their own; `digest` is of the request they came with. Returns 1 found (with
 * the digest to compare and the jobs that were made), 0 not, -1 error. */
int store_key_get(struct store *s, const char *user, const char *key, unsigned char digest[32],
                  int64_t *first_id, int64_t *count, struct err *err);
/* Replaces an earlier one. */
int store_key_put(struct store *s, const char *user, const char *key,
                  const unsigned char digest[32], int64_t first_id, int64_t count, int64_t now_ns,
                  struct err *err);

/* --- fair share: decayed use per user --- */

int store_use_set(struct store *s, const char *user, double thread_seconds, int64_t wall_ns,
                  struct err *err);
/* Users for whom a use was set. */
int store_use_each(struct store *s,
                   void (*fn)(void *arg, const char *user, double thread_seconds, int64_t wall_ns),
                   void *arg, struct err *err);

/* --- nodes --- */

/*
 * A machine as the head knows it. Ids are small integers from 1, never reused: a name that is
 * removed and added again is another node, without the old one's measurements.
 */
struct store_node {
    int64_t id;
    const char *name;       /* as the user calls it; unique, not empty */
    int32_t kind;           /* how it is reached; the caller's number */
    int32_t state;          /* likewise */
    int64_t added_ns;       /* wall */
    const char *address;    /* the texts: NULL is stored as "" */
    const char *labels;     /* JSON */
    const char *config;     /* JSON: what the user asked for */
    const char *error;      /* the last one, for people */
    const char *host_id;    /* what the machine calls itself, to notice when it is another one */
    const char *agent_hash; /* of the hive that was put there */
};

/*
 * Writes a node by its name: all fields of one that is there but id and added_ns, or a new one. The
 * id in `n` is ignored; *id (may be NULL) says which it is. ERR_INVALID when the name is empty.
 */
int store_node_put(struct store *s, const struct store_node *n, int64_t *id, struct err *err);
/* One node by name. Calls fn at most once; returns 1 found, 0 not, -1 error. */
int store_node_get(struct store *s, const char *name,
                   void (*fn)(void *arg, const struct store_node *n), void *arg, struct err *err);
/* All nodes, by id. fn returns false to stop. */
int store_node_each(struct store *s, bool (*fn)(void *arg, const struct store_node *n), void *arg,
                    struct err *err);
/* ERR_NOT_FOUND when there is no such node. What was measured of it goes step by step, in
 * store_metrics_prune(). */
int store_node_remove(struct store *s, int64_t id, struct err *err);

/* --- measurements of nodes over time --- */

/*
 * Three levels: a mean for every 10 seconds, kept for a day; mean, least and greatest of every 5
 * minutes for 30 days and of every hour for 5 years. These are spans of time in which something was
 * recorded of any node: a week in which hive didn't run removes nothing. The least and the greatest
 * are of the means of 10 seconds. Values are rounded as series.def says, below 1/64 to steps of 1e-4;
 * NaN is "not known", infinite ones are taken for that; what is above 1.4e17 counts as that.
 *
 * Time is a grid of wall-clock slots. Measurements that come faster are averaged, late and missing
 * ones leave slots unknown, and when the clock is set back, what it passes again is averaged with
 * what is there: so no clock can make it grow beyond its grid. A clock that was wrong for a while
 * costs as much history as that while is long.
 */
enum store_series {
#define SERIES(name, text, bits) STORE_SERIES_##name,
#include "store/series.def"
    STORE_SERIES_COUNT
};

/* "cpu_percent" and so on; NULL when there is no such series. */
const char *store_series_name(int series);

/*
 * Takes what was measured, in memory alone: costs next to nothing, needs no transaction and can't
 * fail. A wall_ns that is not positive and a node that is none are ignored. Lost when the process
 * dies before the next store_metrics_flush() is committed. Where that fails for long, the newest
 * half an hour of each node is kept, about 4.5 KB for every 10 minutes and node.
 */
void store_metrics_add(struct store *s, int64_t node, int64_t wall_ns,
                       const float values[STORE_SERIES_COUNT]);

/*
 * Writes what was added, in the transaction that is open; to be called every minute or so, and
 * before closing. When the transaction is rolled back the next flush writes it again. `now_ns` is
 * wall time: what lies in a span of 10 minutes that is over is summarised and leaves the memory.
 */
int store_metrics_flush(struct store *s, int64_t now_ns, struct err *err);

struct store_point {
    int64_t wall_ns, width_ns; /* from wall_ns on, that long */
    /* Each by series, STORE_SERIES_COUNT of them; NaN: not known, or not asked for. */
    const float *min, *mean, *max;
};

/*
 * The measurements of a node in [from_ns, to_ns), as points by time, at most max_points (1 or
 * more; a point that lies at an edge may reach beyond it). They come from the coarsest level that
 * has so many points in that time, or from the finest; what a level no longer has, from the next
 * coarser one. What was added but not flushed is in it. Nothing is said about times of which
 * nothing is known. `series` has a bit for each that is wanted. from_ns <= 0 means from the oldest
 * on, to_ns <= 0 up to the newest. fn returns false to stop; it may call this function too.
 * Stored measurements that are damaged count as missing: only store_check() minds.
 */
int store_metrics_read(struct store *s, int64_t node, uint64_t series, int64_t from_ns,
                       int64_t to_ns, int64_t max_points,
                       bool (*fn)(void *arg, const struct store_point *p), void *arg,
                       struct err *err);

/* What is stored of measurements takes about so many bytes. (The file does not become smaller by
 * pruning: room in it is used again.) */
int64_t store_metrics_size(const struct store *s);

/*
 * Removes what is beyond the times above, what is left of removed nodes, and, while
 * store_metrics_size() is above max_bytes (0: no limit), more: the finest level first, in it what
 * is furthest from now_ns. An hour of the finest and a day of the next level stay whatever the
 * limit. At most about `max` rows a call. *removed says how many steps it took: 0, nothing is left
 * to do. A row holds 10 minutes, 2 hours or a day of a node.
 */
int store_metrics_prune(struct store *s, int64_t now_ns, int64_t max_bytes, int64_t max,
                        int64_t *removed, struct err *err);

/* --- pruning --- */

/*
 * Removes finished jobs (plain ones, and arrays without live tasks, with tasks, lines and attempts)
 * that ended before `before_ns` (0: no limit by time) or are beyond the newest `keep_jobs` (0: no
 * limit by number), oldest first, and keys older than key_before_ns. At most about `max` rows
 * (jobs, tasks, lines, keys) a call, so that it can be done in small steps; a big array takes
 * several, its own row goes last. fn is called for every attempt whose files are to be removed
 * after the commit. *removed says how many rows went: 0, nothing is left to do.
 */
int store_prune(struct store *s, int32_t first_terminal, int64_t before_ns, int64_t keep_jobs,
                int64_t key_before_ns, int64_t max,
                void (*fn)(void *arg, int64_t job, int32_t attempt), void *arg, int64_t *removed,
                struct err *err);

#endif
