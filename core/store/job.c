/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/store_priv.h"

/* Statuses are bits in masks and places in the totals. */
static int check_status(int32_t status, struct err *err)
{
    if (status >= 0 && status < STORE_STATUS_MAX)
        return 0;
    return err_set(err, ERR_INTERNAL, "there is no job status %d", (int)status);
}

/* --- reading --- */

/* The columns are JOB_FACTS of statements.def, then name, command and spec. */
static void read_job(struct store *s, sqlite3_stmt *st, struct store_job *j)
{
    j->id = sqlite3_column_int64(st, 0);
    j->status = db_int32(st, 1);
    j->user = users_name(s, sqlite3_column_int64(st, 2));
    j->array_id = sqlite3_column_int64(st, 3);
    j->task = sqlite3_column_int64(st, 4);
    j->submitted_ns = sqlite3_column_int64(st, 5);
    j->started_ns = sqlite3_column_int64(st, 6);
    j->finished_ns = sqlite3_column_int64(st, 7);
    j->held = sqlite3_column_int64(st, 8) != 0;
    j->is_array = sqlite3_column_int64(st, 9) != 0;
    j->priority = db_int32(st, 10);
    j->threads = db_int32(st, 11);
    j->gpus = db_int32(st, 12);
    j->memory = sqlite3_column_int64(st, 13);
    j->timeout_ns = sqlite3_column_int64(st, 14);
    j->attempts = db_int32(st, 15);
    j->retries_left = db_int32(st, 16);
    j->not_before_ns = sqlite3_column_int64(st, 17);
    j->exit_code = db_int32(st, 18);
    j->signal = db_int32(st, 19);
    j->node = db_text(st, 20);
    j->reason = db_text(st, 21);
    j->first = sqlite3_column_int64(st, 22);
    j->last = sqlite3_column_int64(st, 23);
    j->step = sqlite3_column_int64(st, 24);
    j->limit = sqlite3_column_int64(st, 25);
    j->next = sqlite3_column_int64(st, 26);
    j->n_succeeded = sqlite3_column_int64(st, 27);
    j->n_failed = sqlite3_column_int64(st, 28);
    j->n_cancelled = sqlite3_column_int64(st, 29);
    j->name = db_text(st, 30);
    j->command = db_text(st, 31);
    j->spec = db_text(st, 32);
}

static int deliver(struct store *s, enum statement which, int64_t id,
                   bool (*fn)(void *arg, const struct store_job *j), void *arg, bool *go_on,
                   struct err *err)
{
    struct store_job j;
    sqlite3_stmt *st = db_stmt(s, which, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    int found = db_step(s, st, err);
    if (found <= 0)
        return found;
    read_job(s, st, &j);
    *go_on = fn(arg, &j);
    sqlite3_reset(st);
    return 1;
}

int job_deliver(struct store *s, int64_t id, bool (*fn)(void *arg, const struct store_job *j),
                void *arg, bool *go_on, struct err *err)
{
    return deliver(s, ST_JOB_GET, id, fn, arg, go_on, err);
}

struct one {
    void (*fn)(void *arg, const struct store_job *j);
    void *arg;
};

static bool call_one(void *arg, const struct store_job *j)
{
    const struct one *one = arg;

    one->fn(one->arg, j);
    return true;
}

int store_job_get(struct store *s, int64_t id, void (*fn)(void *arg, const struct store_job *j),
                  void *arg, struct err *err)
{
    struct one one = { fn, arg };
    bool go_on;

    return job_deliver(s, id, call_one, &one, &go_on, err);
}

int store_array_get(struct store *s, int64_t id, void (*fn)(void *arg, const struct store_job *j),
                    void *arg, struct err *err)
{
    struct one one = { fn, arg };
    bool go_on;

    return deliver(s, ST_ARRAY_GET, id, call_one, &one, &go_on, err);
}

int store_task_get(struct store *s, int64_t array_id, int64_t task,
                   void (*fn)(void *arg, const struct store_job *j), void *arg, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_TASK_GET, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, array_id);
    sqlite3_bind_int64(st, 2, task);
    int found = db_step(s, st, err);
    if (found <= 0)
        return found;
    int64_t id = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return store_job_get(s, id, fn, arg, err);
}

int store_task_each(struct store *s, int64_t array_id, int64_t from,
                    bool (*fn)(void *arg, int64_t task), void *arg, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_TASKS_FROM, err);
    int more;

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, array_id);
    sqlite3_bind_int64(st, 2, from);
    while ((more = db_step(s, st, err)) > 0) {
        if (!fn(arg, sqlite3_column_int64(st, 0)))
            break;
    }
    sqlite3_reset(st);
    return more < 0 ? -1 : 0;
}

/* --- loading at start --- */

struct id_list {
    int64_t *ids;
    size_t count, cap;
};

static int collect(struct store *s, sqlite3_stmt *st, struct id_list *l, struct err *err)
{
    int more;

    while ((more = db_step(s, st, err)) > 0) {
        if (l->count == l->cap) {
            l->cap = l->cap ? 2 * l->cap : 256;
            l->ids = mem_resize(l->ids, l->cap, sizeof *l->ids);
        }
        l->ids[l->count++] = sqlite3_column_int64(st, 0);
    }
    return more;
}

/* As much room as the totals say is needed: doubling would cost twice the memory at the end. */
static void make_room(const struct store *s, int32_t first_terminal, struct id_list *l)
{
    int64_t n = 0;

    for (int32_t i = 0; i < first_terminal && i < STORE_STATUS_MAX; i++)
        n += s->totals[TOTAL_TOP + i] + s->totals[TOTAL_TASK + i];
    l->cap = n > 0 ? (size_t)n : 0;
    l->ids = mem_alloc_array(l->cap, sizeof *l->ids);
}

static int collect_live(struct store *s, int32_t first_terminal, struct id_list *l, struct err *err)
{
    sqlite3_stmt *top = db_stmt(s, ST_LIVE_TOP, err);
    sqlite3_stmt *task = db_stmt(s, ST_LIVE_TASK, err);

    if (!top || !task)
        return -1;
    for (int32_t user = 1; user <= s->n_names; user++) {
        sqlite3_bind_int64(top, 1, user);
        sqlite3_bind_int64(top, 2, first_terminal);
        if (collect(s, top, l, err) != 0)
            return -1;
    }
    sqlite3_bind_int64(task, 1, first_terminal);
    return collect(s, task, l, err);
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Goes forward row by row while the next live one is near, and seeks where it is not: as quick as a
 * plain read of the table when nearly all is alive, and doesn't read a long history for a few. */
static int deliver_live(struct store *s, const struct id_list *l, sqlite3_stmt *st,
                        bool (*fn)(void *arg, const struct store_job *j), void *arg,
                        struct err *err)
{
    const int64_t near = 32;
    int64_t at = 0; /* where the statement stands; 0: nowhere */
    struct store_job j;

    for (size_t i = 0; i < l->count; i++) {
        if (at == 0 || l->ids[i] - at > near) {
            sqlite3_reset(st);
            sqlite3_bind_int64(st, 1, l->ids[i]);
        }
        do {
            int more = db_step(s, st, err);
            if (more < 0)
                return -1;
            at = more ? sqlite3_column_int64(st, 0) : INT64_MAX;
        } while (at < l->ids[i]);
        if (at != l->ids[i]) {
            sqlite3_reset(st);
            return db_fail(s, SQLITE_CORRUPT, "read the jobs in", err);
        }
        read_job(s, st, &j);
        if (!fn(arg, &j))
            break;
    }
    sqlite3_reset(st);
    return 0;
}

int store_job_each_live(struct store *s, int32_t first_terminal, bool with_text,
                        bool (*fn)(void *arg, const struct store_job *j), void *arg,
                        struct err *err)
{
    struct id_list l = { NULL, 0, 0 };
    sqlite3_stmt *st = db_stmt(s, with_text ? ST_JOB_FROM : ST_JOB_FROM_BRIEF, err);
    if (!st)
        return -1;
    make_room(s, first_terminal, &l);
    int rc = collect_live(s, first_terminal, &l, err);
    if (rc == 0) {
        qsort(l.ids, l.count, sizeof *l.ids, compare_ids);
        rc = deliver_live(s, &l, st, fn, arg, err);
    }
    free(l.ids);
    sqlite3_db_release_memory(s->db); /* this is for the start; then comes idleness, or not */
    return rc;
}

/* --- changing --- */

void job_count(struct store *s, const struct job_place *place, int64_t by)
{
    s->totals[(place->is_task ? TOTAL_TASK : TOTAL_TOP) + place->status] += by;
    if (place->ended && !place->is_task)
        s->totals[TOTAL_ENDED] += by;
    s->totals[TOTAL_UNITS] += by * place->units;
    s->totals[TOTAL_DONE] += by * place->done;
}

/* Within what can be, whatever a damaged row says: sums must not overflow. */
static int64_t bounded(int64_t n)
{
    _Static_assert(LIMIT_ARRAY_TASKS == 10000000, "it stands in JOB_UNITS and JOB_DONE");
    return n < 0 ? 0 : n > LIMIT_ARRAY_TASKS ? LIMIT_ARRAY_TASKS : n;
}

static int64_t array_tasks(int64_t first, int64_t last, int64_t step)
{
    if (first < 0 || last < first)
        return 1;
    return bounded((last - first) / (step > 0 ? step : 1)) + 1;
}

static int64_t array_done(const struct store_job *j)
{
    return bounded(j->n_succeeded) + bounded(j->n_failed) + bounded(j->n_cancelled);
}

/* `tasks` and `done`: of an array. A task is counted with its array. */
static void count_units(struct job_place *p, int64_t tasks, int64_t done)
{
    p->units = p->is_task ? 0 : p->is_array ? tasks : 1;
    p->done = p->is_task ? 0 : p->is_array ? done : p->ended;
}

int job_place(struct store *s, int64_t id, struct job_place *out, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_JOB_PLACE, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    int found = db_step(s, st, err);
    if (found <= 0)
        return found;
    out->status = db_int32(st, 0);
    out->ended = sqlite3_column_int64(st, 1) > 0;
    out->is_task = sqlite3_column_int64(st, 2) != 0;
    out->is_array = sqlite3_column_int64(st, 3) != 0;
    count_units(out,
                array_tasks(sqlite3_column_int64(st, 4), sqlite3_column_int64(st, 5),
                            sqlite3_column_int64(st, 6)),
                bounded(sqlite3_column_int64(st, 7)) + bounded(sqlite3_column_int64(st, 8)) +
                    bounded(sqlite3_column_int64(st, 9)));
    sqlite3_reset(st);
    if (out->status < 0 || out->status >= STORE_STATUS_MAX)
        return db_fail(s, SQLITE_CORRUPT, "read the jobs in", err);
    return 1;
}

static void bind_insert(sqlite3_stmt *st, const struct store_job *j, int32_t user)
{
    const int64_t numbers[] = {
        j->id,           j->status,        user,          j->array_id,
        j->task,         j->submitted_ns,  j->started_ns, j->finished_ns,
        j->held,         j->is_array,      j->priority,   j->threads,
        j->gpus,         j->memory,        j->timeout_ns, j->attempts,
        j->retries_left, j->not_before_ns, j->exit_code,  j->signal,
    };
    const int64_t array[] = {
        j->first, j->last, j->step, j->limit, j->next, j->n_succeeded, j->n_failed, j->n_cancelled,
    };
    int at = 1;

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sqlite3_bind_int64(st, at++, numbers[i]);
    db_bind_text(st, at++, j->node);
    db_bind_text(st, at++, j->reason);
    for (size_t i = 0; i < ARRAY_LEN(array); i++)
        sqlite3_bind_int64(st, at++, array[i]);
    db_bind_text(st, at++, j->name);
    db_bind_text(st, at, j->command);
}

static int insert_spec(struct store *s, const struct store_job *j, struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_SPEC_INSERT, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, j->id);
    db_bind_text(st, 2, j->spec);
    return db_run(s, st, err);
}

int store_job_insert(struct store *s, const struct store_job *j, struct err *err)
{
    struct job_place place = { j->status, j->finished_ns > 0, j->array_id != 0, j->is_array, 0, 0 };
    sqlite3_stmt *st = db_change(s, ST_JOB_INSERT, err);

    if (!st)
        return -1;
    if (check_status(j->status, err) != 0)
        goto fail;
    if (j->id < 1 || j->id >= s->totals[TOTAL_NEXT_ID]) {
        err_set(err, ERR_INTERNAL, "job id %lld was not reserved", (long long)j->id);
        goto fail;
    }
    int32_t user = users_add(s, j->user, err);
    if (user < 0)
        return -1;
    bind_insert(st, j, user);
    if (db_run(s, st, err) != 0 || (j->spec && insert_spec(s, j, err) != 0))
        return -1;
    count_units(&place, array_tasks(j->first, j->last, j->step), array_done(j));
    job_count(s, &place, 1);
    return 0;
fail:
    store_rollback(s);
    return -1;
}

static void bind_update(sqlite3_stmt *st, const struct store_job *j)
{
    sqlite3_bind_int64(st, 1, j->id);
    sqlite3_bind_int64(st, 2, j->held);
    sqlite3_bind_int64(st, 3, j->priority);
    sqlite3_bind_int64(st, 4, j->started_ns);
    sqlite3_bind_int64(st, 5, j->attempts);
    sqlite3_bind_int64(st, 6, j->retries_left);
    sqlite3_bind_int64(st, 7, j->not_before_ns);
    sqlite3_bind_int64(st, 8, j->exit_code);
    sqlite3_bind_int64(st, 9, j->signal);
    db_bind_text(st, 10, j->node);
    db_bind_text(st, 11, j->reason);
    sqlite3_bind_int64(st, 12, j->next);
    sqlite3_bind_int64(st, 13, j->n_succeeded);
    sqlite3_bind_int64(st, 14, j->n_failed);
    sqlite3_bind_int64(st, 15, j->n_cancelled);
}

int store_job_update(struct store *s, const struct store_job *j, struct err *err)
{
    struct job_place old, new = { .status = j->status, .ended = j->finished_ns > 0 };

    if (db_need_transaction(s, err) != 0)
        return -1;
    int found = check_status(j->status, err) == 0 ? job_place(s, j->id, &old, err) : -1;
    if (found == 0)
        err_set(err, ERR_NOT_FOUND, "there is no job %lld", (long long)j->id);
    if (found <= 0) {
        store_rollback(s);
        return -1;
    }
    new.is_task = old.is_task;
    new.is_array = old.is_array;
    count_units(&new, old.units, array_done(j));
    /* finished_ns is known only roughly here, but only an ended job has one to be changed. */
    bool moves = new.status != old.status || new.ended || old.ended;
    sqlite3_stmt *st = db_change(s, moves ? ST_JOB_MOVE : ST_JOB_UPDATE, err);
    if (!st)
        return -1;
    bind_update(st, j);
    if (moves) {
        sqlite3_bind_int64(st, 16, j->status);
        sqlite3_bind_int64(st, 17, j->finished_ns);
    }
    if (db_run(s, st, err) != 0)
        return -1;
    job_count(s, &old, -1);
    job_count(s, &new, 1);
    return 0;
}
