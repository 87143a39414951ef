/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arrays. However many tasks an array has, it is one row and one job in memory; a task gets a row,
 * an id and a head_job of its own only when it starts, or is cancelled alone. The array's entry in
 * the scheduler stands for all tasks that can start: those never started yet (from `next` on) and
 * those that wait for a retry.
 */
#include "base/mem.h"

#include "head/head_priv.h"

#include "base/limits.h"

int64_t head_array_total(const struct head_array *a)
{
    return (a->last - a->first) / a->step + 1;
}

int64_t head_array_unstarted(const struct head_array *a)
{
    if (a->next > a->last)
        return 0;
    return (a->last - a->next) / a->step + 1 - (int64_t)map_count(&a->ahead);
}

/* ---- loading ---- */

void head_array_load(struct head_job *j, const struct store_job *row)
{
    struct head_array *a = j->tasks;

    if (!a) {
        a = j->tasks = mem_alloc(sizeof(*a));
        map_init(&a->ahead);
        list_init(&a->again);
        a->first = row->first;
        a->last = row->last;
        a->step = row->step > 0 ? row->step : 1;
        a->limit = row->limit;
    }
    a->next = row->next;
    a->started_wall_ns = row->started_ns;
    a->n_succeeded = row->n_succeeded;
    a->n_failed = row->n_failed;
    a->n_cancelled = row->n_cancelled;
}

static bool note_ahead(void *arg, int64_t task)
{
    struct head_array *a = arg;
    map_put(&a->ahead, (uint64_t)task + 1, a);
    return true;
}

int head_array_load_ahead(struct head *h, struct head_job *j, struct err *err)
{
    struct head_array *a = j->tasks;

    map_fini(&a->ahead);
    if (a->next > a->last)
        return 0;
    return store_task_each(h->store, j->entry.id, a->next, note_ahead, a, err);
}

/* ---- queueing ---- */

void head_array_queue(struct head *h, struct head_job *j)
{
    struct head_array *a = j->tasks;
    struct sched_shape shape;
    int64_t remaining = a->again_count + head_array_unstarted(a);

    if (remaining == 0 || j->held || (j->deps && j->deps->unmet)) {
        sched_dequeue(h->sched, &j->entry);
        if (j->waiting == WAIT_SCHED)
            j->waiting = WAIT_NONE;
        return;
    }
    if (j->waiting == WAIT_SCHED && j->entry.cls) {
        j->entry.remaining = remaining; /* in place: it keeps its turn */
        return;
    }
    sched_dequeue(h->sched, &j->entry);
    list_remove(&j->wait);
    j->waiting = WAIT_SCHED;
    j->entry.remaining = remaining;
    j->entry.max_running = (int32_t)a->limit;
    head_job_shape(j, &shape);
    sched_enqueue(h->sched, &j->entry, &shape);
}

/* ---- tasks ---- */

/* Makes the row and the job of a task that never started. */
static struct head_job *make_task(struct head *h, struct head_job *j, int64_t index, int status,
                                  struct err *err)
{
    struct store_job row = { .array_id = j->entry.id, .task = index, .status = status };

    if (head_txn(h, err) != 0 || store_next_ids(h->store, 1, &row.id, err) != 0)
        return NULL;
    row.priority = j->priority;
    row.threads = j->threads;
    row.gpus = j->gpus;
    row.memory = j->memory;
    row.timeout_ns = j->timeout_ns;
    row.user = sched_user_name(h->sched, j->user);
    row.retries_left = j->retries_left;
    row.submitted_ns = clock_wall_ns(h->clock);
    row.exit_code = -1;
    if (job_status_terminal((enum job_status)status))
        row.finished_ns = row.submitted_ns;
    if (store_job_insert(h->store, &row, err) != 0)
        return NULL;
    head_dirty(h, j);
    struct head_job *t = head_job_load(h, &row);
    t->fresh = true;
    head_dirty(h, t);
    return t;
}

struct head_job *head_array_take(struct head *h, struct head_job *j, struct err *err)
{
    struct head_array *a = j->tasks;

    if (!list_empty(&a->again)) {
        struct head_job *t = CONTAINER_OF(a->again.next, struct head_job, wait);
        list_remove(&t->wait);
        t->waiting = WAIT_NONE;
        a->again_count--;
        return t;
    }
    while (map_remove(&a->ahead, (uint64_t)a->next + 1))
        a->next += a->step;
    if (a->next > a->last) {
        err_set(err, ERR_INTERNAL, "array %lld has no task left to start", (long long)j->entry.id);
        return NULL;
    }
    struct head_job *t = make_task(h, j, a->next, JOB_QUEUED, err);
    if (t)
        a->next += a->step;
    return t;
}

static void cancel_task(struct head *h, struct head_job *t, const char *reason)
{
    head_job_unqueue(h, t);
    t->reason = reason;
    head_job_event(h, t, JOB_EV_CANCEL);
    t->array->tasks->n_cancelled++;
}

void head_array_cancel_waiting(struct head *h, struct head_job *j, const char *reason)
{
    struct head_array *a = j->tasks;

    a->n_cancelled += head_array_unstarted(a);
    a->next = a->last + 1;
    map_fini(&a->ahead);
    head_dirty(h, j);
    while (!list_empty(&a->again))
        cancel_task(h, CONTAINER_OF(a->again.next, struct head_job, wait), reason);
    LIST_FOR_EACH_SAFE(it, &h->delayed) {
        struct head_job *t = CONTAINER_OF(it, struct head_job, wait);
        if (t->array == j)
            cancel_task(h, t, reason);
    }
}

int head_array_skip(struct head *h, struct head_job *j, int64_t task, struct err *err)
{
    struct head_array *a = j->tasks;
    long long id = (long long)j->entry.id;

    if (task < a->first || task > a->last || (task - a->first) % a->step != 0)
        return err_set(err, ERR_NOT_FOUND, "array %lld has no task %lld", id, (long long)task);
    if (task < a->next)
        return err_set(err, ERR_CONFLICT, "task %lld of array %lld is cancelled already",
                       (long long)task, id);
    struct head_job *t = make_task(h, j, task, JOB_CANCELLED, err);
    if (!t)
        return -1;
    t->reason = head_reason_user;
    map_put(&a->ahead, (uint64_t)task + 1, a);
    a->n_cancelled++;
    if (j->waiting == WAIT_SCHED)
        head_array_queue(h, j);
    head_array_settle(h, j);
    return 0;
}

/* ---- ends ---- */

void head_array_child_ended(struct head *h, struct head_job *task)
{
    struct head_array *a = task->array->tasks;

    if (task->status == JOB_SUCCEEDED)
        a->n_succeeded++;
    else if (task->status == JOB_CANCELLED)
        a->n_cancelled++;
    else
        a->n_failed++;
    head_dirty(h, task->array);
    head_array_settle(h, task->array);
}

/* The array's own state after something happened to its tasks. */
void head_array_settle(struct head *h, struct head_job *j)
{
    struct head_array *a = j->tasks;
    int64_t done = a->n_succeeded + a->n_failed + a->n_cancelled;

    if (done < head_array_total(a)) {
        /* running means: at least one task is */
        if (j->status == JOB_RUNNING && j->entry.running == 0)
            head_job_event(h, j, JOB_EV_REQUEUE);
        return;
    }
    head_job_unqueue(h, j);
    if (job_status_terminal((enum job_status)j->status))
        return;
    if (a->n_failed) {
        head_job_event(h, j, JOB_EV_FAIL);
    } else if (a->n_cancelled) {
        j->reason = head_reason_user;
        head_job_event(h, j, JOB_EV_CANCEL);
    } else {
        if (j->status == JOB_QUEUED) /* its last tasks ended while none was running */
            head_job_event(h, j, JOB_EV_START);
        head_job_event(h, j, JOB_EV_SUCCEED);
    }
    head_deps_settle(h, j->entry.id, j->status);
}

/* ---- again ---- */

struct restore {
    struct head *h;
    struct head_job *array;
    int64_t *ids;
    size_t count, cap;
    int64_t rows;
    int64_t next; /* the first task without a row so far */
};

static bool collect_failed(void *arg, const struct store_job *row)
{
    struct restore *r = arg;

    if (r->count == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        r->ids = mem_resize(r->ids, r->cap, sizeof(*r->ids));
    }
    r->ids[r->count++] = row->id;
    return true;
}

static void load_for_retry(void *arg, const struct store_job *row)
{
    struct restore *r = arg;
    struct head_job *t = head_job_load(r->h, row);
    struct head_array *a = r->array->tasks;

    if (row->status == JOB_CANCELLED)
        a->n_cancelled--;
    else
        a->n_failed--;
    t->not_before_wall_ns = 0;
    head_job_event(r->h, t, JOB_EV_RETRY);
    head_job_queue(r->h, t);
}

static bool note_row(void *arg, int64_t task)
{
    struct restore *r = arg;
    struct head_array *a = r->array->tasks;

    r->rows++;
    if (task == r->next)
        r->next += a->step;
    else
        map_put(&a->ahead, (uint64_t)task + 1, a);
    return true;
}

/* A finished array is to run again: every task that did not succeed, and those never started. */
int head_array_restore(struct head *h, struct head_job *j, struct err *err)
{
    struct head_array *a = j->tasks;
    struct restore r = { .h = h, .array = j, .next = a->first };
    struct store_filter f = { .array_id = j->entry.id,
                              .with_tasks = true,
                              .status_mask =
                                  ~(1u << JOB_SUCCEEDED | 1u << JOB_QUEUED | 1u << JOB_RUNNING) &
                                  ((1u << JOB_STATUS_COUNT) - 1) };

    map_fini(&a->ahead);
    int rc = store_job_list(h->store, &f, collect_failed, &r, err);
    if (rc == 0)
        rc = store_task_each(h->store, j->entry.id, a->first, note_row, &r, err);
    if (rc == 0 && r.rows != a->n_succeeded + (int64_t)r.count)
        rc = err_set(err, ERR_CONFLICT, "array %lld is too old: some of its tasks are forgotten",
                     (long long)j->entry.id);
    for (size_t i = r.count; rc == 0 && i-- > 0;) /* they are listed newest first */
        if (!map_get(&h->jobs, (uint64_t)r.ids[i]) &&
            store_job_get(h->store, r.ids[i], load_for_retry, &r, err) < 0)
            rc = -1;
    free(r.ids);
    a->next = r.next;
    a->started_wall_ns = 0;
    a->n_cancelled = 0; /* what is left of it are tasks that never started */
    return rc;
}
