/* SPDX-License-Identifier: BSD-2-Clause */
/* A full check, for `hive doctor` and for tests. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

static int damaged(struct store *s, const char *what, struct err *err)
{
    err_set(err, ERR_CORRUPT, "%s is damaged: %s", s->path, what);
    return err_hint(err, "put a copy of it in its place");
}

static int check_pages(struct store *s, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA integrity_check(1)", -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    const char *found = rc == SQLITE_ROW ? db_text(st, 0) : NULL;
    int result = 0;
    if (!found)
        result = db_fail(s, rc == SQLITE_ROW ? SQLITE_NOMEM : rc, "check", err);
    else if (strcmp(found, "ok") != 0)
        result = damaged(s, found, err);
    sqlite3_finalize(st);
    return result;
}

/* Counts what the totals say. */
static int check_totals(struct store *s, struct err *err)
{
    static const char sql[] = "SELECT status, array_id <> 0, finished_ns > 0, count(*) FROM job"
                              " GROUP BY 1, 2, 3";
    static const char units[] =
        "SELECT coalesce(sum(" JOB_UNITS "), 0) FROM job WHERE array_id = 0";
    static const char done[] = "SELECT coalesce(sum(" JOB_DONE "), 0) FROM job WHERE array_id = 0";
    int64_t counted[TOTAL_COUNT] = { 0 };
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

    if (rc == SQLITE_OK) {
        while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
            int32_t status = db_int32(st, 0);
            bool is_task = sqlite3_column_int(st, 1) != 0;
            int64_t n = sqlite3_column_int64(st, 3);
            if (status < 0 || status >= STORE_STATUS_MAX)
                break;
            counted[(is_task ? TOTAL_TASK : TOTAL_TOP) + status] += n;
            if (!is_task && sqlite3_column_int(st, 2))
                counted[TOTAL_ENDED] += n;
        }
    }
    sqlite3_finalize(st);
    if (rc == SQLITE_ROW)
        return damaged(s, "a job has a status that does not exist", err);
    if (rc != SQLITE_DONE)
        return db_fail(s, rc, "check", err);
    for (int i = 0; i < TOTAL_ENDED; i++) /* ids, and what check_metrics() counts */
        counted[i] = s->totals[i];
    if (db_exec_int(s, units, &counted[TOTAL_UNITS], err) != 0 ||
        db_exec_int(s, done, &counted[TOTAL_DONE], err) != 0)
        return -1;
    if (memcmp(counted, s->totals, sizeof counted) != 0)
        return damaged(s, "the counts by status are wrong", err);
    return 0;
}

/* Looks into each row of measurements. */
static int check_metrics(struct store *s, struct err *err)
{
    struct metric_chunk c;
    struct metric_range r;
    int64_t counted[TOTAL_ENDED] = { 0 }, key = INT64_MIN, length, last = -1;
    int found;

    while ((found = metric_first(s, key + 1, INT64_MAX, &key, &length, err)) > 0) {
        int level = metric_key_level(key);
        if (level < 0 || level >= METRIC_LEVELS)
            return damaged(s, "a measurement has a level that does not exist", err);
        if (metric_window_begin(level, metric_key_window(key)) == METRIC_TIME_MAX)
            return damaged(s, "a measurement has a time that can't be", err);
        c.slots = metric_levels[level].slots;
        found = metric_row_get(s, key, &c, level == METRIC_FINEST ? NULL : &r, err);
        if (found < 0)
            return -1;
        if (found == 0)
            return damaged(s, "a row of measurements can't be read", err);
        counted[TOTAL_METRICS] += metric_row_size(length);
        if (key >> METRIC_NODE_BITS != last)
            counted[TOTAL_WINDOWS + level]++;
        last = key >> METRIC_NODE_BITS;
    }
    if (found < 0)
        return -1;
    for (int i = TOTAL_METRICS; i < TOTAL_ENDED; i++) {
        if (counted[i] != s->totals[i])
            return damaged(s, "the counts of measurements are wrong", err);
    }
    return 0;
}

int store_check(struct store *s, struct err *err)
{
    /* Each counts rows that refer to nothing. */
    static const struct {
        const char *sql, *what;
    } orphans[] = {
        { "SELECT count(*) FROM job WHERE user NOT IN (SELECT id FROM user)",
          "a job without user" },
        { "SELECT count(*) FROM job WHERE array_id <> 0 AND array_id NOT IN (SELECT id FROM job)",
          "a task without array" },
        { "SELECT count(*) FROM job_spec WHERE id NOT IN (SELECT id FROM job)",
          "a spec without job" },
        { "SELECT count(*) FROM attempt WHERE job NOT IN (SELECT id FROM job)",
          "an attempt without job" },
        { "SELECT count(*) FROM line WHERE array_id NOT IN (SELECT id FROM job)",
          "a line without array" },
        { "SELECT count(*) FROM metric WHERE id & 16777215 NOT IN"
          " (SELECT id FROM node UNION SELECT node FROM metric_gone)",
          "a measurement without node" },
        { "SELECT count(*) FROM metric_gone WHERE node IN (SELECT id FROM node)",
          "a node that is and was removed" },
    };
    int64_t n;

    _Static_assert(METRIC_NODE_MAX == 16777215, "it stands in a statement");
    if (s->in_tx)
        return err_set(err, ERR_INTERNAL, "a check within a transaction");
    if (check_pages(s, err) != 0 || check_totals(s, err) != 0 || check_metrics(s, err) != 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(orphans); i++) {
        if (db_exec_int(s, orphans[i].sql, &n, err) != 0)
            return -1;
        if (n != 0)
            return damaged(s, orphans[i].what, err);
    }
    return 0;
}
