/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

struct ended {
    int64_t finished_ns, id;
    bool is_array;
};

struct pruning {
    struct store *s;
    int32_t first_terminal;
    int64_t budget; /* rows that may still go */
    void (*fn)(void *arg, int64_t job, int32_t attempt);
    void *arg;
    struct ended *found; /* candidates, oldest first */
    size_t n, cap;
};

/* 1 when a task of the array is not at its end, 0, -1. */
static int has_live_task(struct pruning *p, int64_t array_id, struct err *err)
{
    sqlite3_stmt *st = db_stmt(p->s, ST_TASK_LIVE, err);
    int found = st ? 0 : -1;

    for (int32_t status = 0; status < p->first_terminal && found == 0; status++) {
        sqlite3_bind_int64(st, 1, array_id);
        sqlite3_bind_int64(st, 2, status);
        found = db_step(p->s, st, err);
        sqlite3_reset(st);
    }
    return found;
}

static int by_end(const void *a, const void *b)
{
    const struct ended *x = a, *y = b;

    if (x->finished_ns != y->finished_ns)
        return x->finished_ns < y->finished_ns ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Adds the oldest of one status, as many as could be removed in this call. */
static int find_ended(struct pruning *p, int32_t status, struct err *err)
{
    sqlite3_stmt *st = db_stmt(p->s, ST_ENDED_FIRST, err);
    int64_t left = p->budget;
    int more = -1;

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, status);
    while (left > 0 && (more = db_step(p->s, st, err)) > 0) {
        struct ended e = { sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1),
                           sqlite3_column_int64(st, 2) != 0 };
        int live = e.is_array ? has_live_task(p, e.id, err) : 0;
        if (live < 0) {
            more = -1;
            break;
        }
        if (live)
            continue;
        if (p->n == p->cap) {
            p->cap = p->cap ? 2 * p->cap : 64;
            p->found = mem_resize(p->found, p->cap, sizeof *p->found);
        }
        p->found[p->n++] = e;
        left--;
    }
    sqlite3_reset(st);
    return more < 0 ? -1 : 0;
}

/* Names the attempts to the caller, then removes them. */
static int prune_attempts(struct pruning *p, int64_t job, struct err *err)
{
    sqlite3_stmt *st = db_stmt(p->s, ST_ATTEMPT_EACH, err);
    int more = -1;
    bool any = false;

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, job);
    while ((more = db_step(p->s, st, err)) > 0) {
        any = true;
        if (p->fn)
            p->fn(p->arg, job, db_int32(st, 1));
    }
    if (more < 0 || !any)
        return more;
    st = db_change(p->s, ST_ATTEMPT_DELETE, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, job);
    return db_run(p->s, st, err);
}

static int delete_by_id(struct store *s, enum statement which, int64_t id, struct err *err)
{
    sqlite3_stmt *st = db_change(s, which, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    return db_run(s, st, err);
}

/* One row of job with all that hangs on it but tasks and lines. */
static int prune_row(struct pruning *p, int64_t id, struct err *err)
{
    struct job_place place;
    int found = job_place(p->s, id, &place, err);

    if (found <= 0)
        return found < 0 ? -1 : db_fail(p->s, SQLITE_CORRUPT, "read the jobs in", err);
    if (prune_attempts(p, id, err) != 0 || delete_by_id(p->s, ST_SPEC_DELETE, id, err) != 0 ||
        delete_by_id(p->s, ST_JOB_DELETE, id, err) != 0)
        return -1;
    job_count(p->s, &place, -1);
    p->budget--;
    return 0;
}

/* Tasks, then lines, while the budget lasts. */
static int prune_array(struct pruning *p, int64_t id, struct err *err)
{
    while (p->budget > 0) {
        sqlite3_stmt *st = db_stmt(p->s, ST_TASK_FIRST, err);
        if (!st)
            return -1;
        sqlite3_bind_int64(st, 1, id);
        int found = db_step(p->s, st, err);
        if (found < 0)
            return -1;
        if (found == 0)
            break;
        int64_t task = sqlite3_column_int64(st, 0);
        sqlite3_reset(st);
        if (prune_row(p, task, err) != 0)
            return -1;
    }
    sqlite3_stmt *st = db_change(p->s, ST_LINE_DELETE, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, p->budget);
    if (db_run(p->s, st, err) != 0)
        return -1;
    p->budget -= sqlite3_changes(p->s->db);
    return 0;
}

static int prune_jobs(struct pruning *p, int64_t before_ns, int64_t keep_jobs, struct err *err)
{
    int64_t excess = keep_jobs > 0 ? p->s->totals[TOTAL_ENDED] - keep_jobs : 0;

    if (before_ns == 0 && excess <= 0)
        return 0;
    for (int32_t status = p->first_terminal; status < STORE_STATUS_MAX; status++) {
        if (p->s->totals[TOTAL_TOP + status] > 0 && find_ended(p, status, err) != 0)
            return -1;
    }
    if (p->n > 0)
        qsort(p->found, p->n, sizeof *p->found, by_end);
    for (size_t i = 0; i < p->n && p->budget > 0; i++, excess--) {
        const struct ended *e = &p->found[i];
        if (e->finished_ns >= before_ns && excess <= 0)
            break;
        if (e->is_array && prune_array(p, e->id, err) != 0)
            return -1;
        if (p->budget > 0 && prune_row(p, e->id, err) != 0)
            return -1;
    }
    return 0;
}

static int prune_keys(struct pruning *p, int64_t before_ns, struct err *err)
{
    while (p->budget > 0) {
        sqlite3_stmt *st = db_stmt(p->s, ST_KEY_OLDEST, err);
        int found = st ? db_step(p->s, st, err) : -1;
        if (found <= 0)
            return found;
        int64_t id = sqlite3_column_int64(st, 0), created_ns = sqlite3_column_int64(st, 1);
        sqlite3_reset(st);
        if (created_ns >= before_ns)
            return 0;
        if (delete_by_id(p->s, ST_KEY_DELETE, id, err) != 0)
            return -1;
        p->budget--;
    }
    return 0;
}

int store_prune(struct store *s, int32_t first_terminal, int64_t before_ns, int64_t keep_jobs,
                int64_t key_before_ns, int64_t max,
                void (*fn)(void *arg, int64_t job, int32_t attempt), void *arg, int64_t *removed,
                struct err *err)
{
    struct pruning p = {
        .s = s, .first_terminal = first_terminal, .budget = max, .fn = fn, .arg = arg
    };

    if (db_need_transaction(s, err) != 0)
        return -1;
    int rc = prune_keys(&p, key_before_ns, err);
    if (rc == 0)
        rc = prune_jobs(&p, before_ns, keep_jobs, err);
    if (rc == 0)
        *removed = max - p.budget;
    free(p.found);
    return rc;
}
