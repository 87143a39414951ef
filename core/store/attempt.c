/* SPDX-License-Identifier: BSD-2-Clause */
/* Attempts, and the lines of --each-line. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

static void bind_attempt(sqlite3_stmt *st, const struct store_attempt *a)
{
    sqlite3_bind_int64(st, 1, a->job);
    sqlite3_bind_int64(st, 2, a->number);
    sqlite3_bind_int64(st, 3, (int64_t)a->fence);
    db_bind_text(st, 4, a->node);
    sqlite3_bind_int64(st, 5, a->outcome);
    sqlite3_bind_int64(st, 6, a->exit_code);
    sqlite3_bind_int64(st, 7, a->signal);
    sqlite3_bind_int64(st, 8, a->started_ns);
    sqlite3_bind_int64(st, 9, a->finished_ns);
    sqlite3_bind_int64(st, 10, a->duration_ns);
    sqlite3_bind_int64(st, 11, a->user_ns);
    sqlite3_bind_int64(st, 12, a->system_ns);
    sqlite3_bind_int64(st, 13, a->max_rss);
    db_bind_text(st, 14, a->message);
}

/* The columns are ATTEMPT of statements.def. */
static void read_attempt(sqlite3_stmt *st, struct store_attempt *a)
{
    a->job = sqlite3_column_int64(st, 0);
    a->number = db_int32(st, 1);
    a->fence = (uint64_t)sqlite3_column_int64(st, 2);
    a->node = db_text(st, 3);
    a->outcome = db_int32(st, 4);
    a->exit_code = db_int32(st, 5);
    a->signal = db_int32(st, 6);
    a->started_ns = sqlite3_column_int64(st, 7);
    a->finished_ns = sqlite3_column_int64(st, 8);
    a->duration_ns = sqlite3_column_int64(st, 9);
    a->user_ns = sqlite3_column_int64(st, 10);
    a->system_ns = sqlite3_column_int64(st, 11);
    a->max_rss = sqlite3_column_int64(st, 12);
    a->message = db_text(st, 13);
}

int store_attempt_insert(struct store *s, const struct store_attempt *a, struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_ATTEMPT_INSERT, err);

    if (!st)
        return -1;
    bind_attempt(st, a);
    return db_run(s, st, err);
}

int store_attempt_update(struct store *s, const struct store_attempt *a, struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_ATTEMPT_UPDATE, err);

    if (!st)
        return -1;
    bind_attempt(st, a);
    if (db_run(s, st, err) != 0)
        return -1;
    if (sqlite3_changes(s->db) > 0)
        return 0;
    store_rollback(s);
    return err_set(err, ERR_NOT_FOUND, "job %lld has no attempt %d", (long long)a->job,
                   (int)a->number);
}

int store_attempt_remove(struct store *s, int64_t job, int32_t number, struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_ATTEMPT_REMOVE, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, job);
    sqlite3_bind_int64(st, 2, number);
    return db_run(s, st, err);
}

static int each(struct store *s, sqlite3_stmt *st,
                bool (*fn)(void *arg, const struct store_attempt *a), void *arg, struct err *err)
{
    struct store_attempt a;
    int more;

    while ((more = db_step(s, st, err)) > 0) {
        read_attempt(st, &a);
        if (!fn(arg, &a))
            break;
    }
    sqlite3_reset(st);
    return more < 0 ? -1 : 0;
}

int store_attempt_each(struct store *s, int64_t job,
                       bool (*fn)(void *arg, const struct store_attempt *a), void *arg,
                       struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_ATTEMPT_EACH, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, job);
    return each(s, st, fn, arg, err);
}

int store_attempt_each_open(struct store *s, bool (*fn)(void *arg, const struct store_attempt *a),
                            void *arg, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_ATTEMPT_EACH_OPEN, err);

    return st ? each(s, st, fn, arg, err) : -1;
}

int store_line_insert(struct store *s, int64_t array_id, int64_t task, const char *line, size_t len,
                      struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_LINE_INSERT, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, array_id);
    sqlite3_bind_int64(st, 2, task);
    sqlite3_bind_text64(st, 3, line, len, SQLITE_STATIC, SQLITE_UTF8);
    return db_run(s, st, err);
}

int store_line_get(struct store *s, int64_t array_id, int64_t task, char **line, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_LINE_GET, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, array_id);
    sqlite3_bind_int64(st, 2, task);
    int found = db_step(s, st, err);
    if (found < 0)
        return -1;
    *line = found ? mem_strdup(db_text(st, 0)) : NULL;
    sqlite3_reset(st);
    return 0;
}
