/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs in memory: loading, forgetting, where a queued job waits, and who waits for whom. */
#include "base/mem.h"

#include "head/head_priv.h"

#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"

void head_dirty(struct head *h, struct head_job *j)
{
    if (j->dirty)
        return;
    j->dirty = true;
    j->next_dirty = h->dirty;
    h->dirty = j;
}

void head_job_event(struct head *h, struct head_job *j, enum job_event ev)
{
    int next = job_status_next((enum job_status)j->status, ev);
    if (next < 0) {
        log_error(h->log, "job %lld: event %s in state %s ignored", (long long)j->entry.id,
                  job_event_name(ev), job_status_name((enum job_status)j->status));
        return;
    }
    j->status = (uint8_t)next;
    head_dirty(h, j);
}

/* ---- rows ---- */

/* Stored with a running job whose cancel was acknowledged, so that a restart doesn't forget it. */
const char head_reason_cancelling[] = "cancelling";

static void refresh(struct head *h, struct head_job *j, const struct store_job *row)
{
    j->status = (uint8_t)row->status;
    j->held = row->held;
    j->priority = row->priority;
    j->attempts = row->attempts;
    j->retries_left = row->retries_left;
    j->not_before_wall_ns = row->not_before_ns;
    j->reason = row->status == JOB_RUNNING && str_eq(row->reason, head_reason_cancelling)
                    ? head_reason_cancelling
                    : NULL;
    if (row->is_array)
        head_array_load(h, j, row);
}

struct head_job *head_job_load(struct head *h, const struct store_job *row)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)row->id);
    if (!j) {
        j = mem_alloc(sizeof(*j));
        list_init(&j->wait);
        list_init(&j->entry.link);
        j->entry.id = row->id;
        j->task = row->task;
        j->memory = row->memory;
        j->timeout_ns = row->timeout_ns;
        j->threads = row->threads;
        j->gpus = row->gpus;
        j->node = -1;
        j->user = sched_user(h->sched, row->user ? row->user : "");
        map_put(&h->jobs, (uint64_t)row->id, j);
        if (row->array_id) {
            j->array = map_get(&h->jobs, (uint64_t)row->array_id);
            if (j->array) {
                j->array->tasks->live++;
                j->node = j->array->node;
            }
        }
    }
    refresh(h, j, row);
    return j;
}

static void forget_deps(struct head *h, struct head_job *j)
{
    for (size_t i = 0; j->deps && i < j->deps->count; i++) {
        struct head_dependents *d = map_get(&h->dependents, (uint64_t)j->deps->item[i].job);
        for (size_t k = 0; d && k < d->count; k++)
            if (d->ids[k] == j->entry.id)
                d->ids[k] = d->ids[--d->count];
    }
    if (j->deps && j->reason == j->deps->reason)
        j->reason = NULL;
    MEM_FREE(j->deps);
}

void head_job_forget(struct head *h, struct head_job *j)
{
    head_job_unqueue(h, j);
    forget_deps(h, j);
    if (j->array)
        j->array->tasks->live--;
    if (j->tasks) {
        map_fini(&j->tasks->ahead);
        free(j->tasks);
    }
    map_remove(&h->jobs, (uint64_t)j->entry.id);
    free(j);
}

static void row_of_end(const struct head_run *r, struct store_job *row)
{
    const struct attempt_end *e = &r->end;
    row->finished_ns = e->finished_ns;
    row->signal = e->signal;
    row->exit_code = e->code;
    if (e->message[0])
        row->reason = e->message;
}

void head_job_row(struct head *h, const struct head_job *j, struct store_job *row)
{
    memset(row, 0, sizeof(*row));
    row->id = j->entry.id;
    row->array_id = j->array ? j->array->entry.id : 0;
    row->task = j->task;
    row->is_array = j->tasks != NULL;
    row->status = j->status;
    row->held = j->held;
    row->priority = j->priority;
    row->attempts = j->attempts;
    row->retries_left = j->retries_left;
    row->not_before_ns = j->not_before_wall_ns;
    row->exit_code = -1;
    row->reason = j->reason;
    bool final = job_status_terminal((enum job_status)j->status);
    if (j->run) {
        row->node = sched_node_name(h->sched, j->run->alloc.node);
        row->started_ns = j->run->started_wall_ns;
        if (j->run->ended && final)
            row_of_end(j->run, row);
        else if (j->run->killed)
            row->reason = head_reason_cancelling;
    }
    if (final && !row->finished_ns)
        row->finished_ns = clock_wall_ns(h->clock);
    if (j->tasks) {
        const struct head_array *a = j->tasks;
        row->next = a->next;
        row->n_succeeded = a->n_succeeded;
        row->n_failed = a->n_failed;
        row->n_cancelled = a->n_cancelled;
        if (final)
            row->exit_code = j->status == JOB_SUCCEEDED ? 0 : 1;
    }
}

/* ---- where a queued job waits ---- */

void head_job_shape(const struct head_job *j, struct sched_shape *shape)
{
    memset(shape, 0, sizeof(*shape));
    shape->need.threads = j->threads;
    shape->need.memory = j->memory;
    shape->need.gpus = j->gpus;
    shape->timeout_ns = j->timeout_ns;
    shape->user = j->user;
    shape->priority = j->priority;
    shape->node = j->node;
}

static void park(struct head *h, struct head_job *j, enum head_wait why)
{
    j->waiting = (uint8_t)why;
    list_append(&h->parked, &j->wait);
}

void head_job_queue(struct head *h, struct head_job *j)
{
    struct sched_shape shape;

    if (j->waiting != WAIT_NONE)
        head_job_unqueue(h, j);
    if (j->held) {
        park(h, j, WAIT_HELD);
        return;
    }
    if (j->deps && j->deps->unmet > 0) {
        park(h, j, WAIT_DEPS);
        return;
    }
    int64_t wait_ns = j->not_before_wall_ns - clock_wall_ns(h->clock);
    if (j->not_before_wall_ns && wait_ns > 0) {
        park(h, j, WAIT_TIME);
        head_arm(h, ev_now_ns(h->loop) + wait_ns);
        return;
    }
    if (j->array) {
        j->waiting = WAIT_AGAIN;
        list_append(&j->array->tasks->again, &j->wait);
        j->array->tasks->again_count++;
        head_array_queue(h, j->array);
        return;
    }
    if (j->tasks) {
        head_array_queue(h, j);
        return;
    }
    j->waiting = WAIT_SCHED;
    j->entry.remaining = 1;
    head_job_shape(j, &shape);
    sched_enqueue(h->sched, &j->entry, &shape);
}

void head_job_unqueue(struct head *h, struct head_job *j)
{
    enum head_wait was = (enum head_wait)j->waiting;
    j->waiting = WAIT_NONE;
    list_remove(&j->wait);
    sched_dequeue(h->sched, &j->entry);
    if (was == WAIT_AGAIN && j->array) {
        j->array->tasks->again_count--;
        head_array_queue(h, j->array);
    }
}

/* ---- dependencies ---- */

static void depend_on(struct head *h, int64_t on, int64_t id)
{
    struct head_dependents *d = map_get(&h->dependents, (uint64_t)on);
    if (!d) {
        d = mem_alloc(sizeof(*d));
        map_put(&h->dependents, (uint64_t)on, d);
    }
    for (size_t i = 0; i < d->count; i++)
        if (d->ids[i] == id)
            return;
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 4;
        d->ids = mem_resize(d->ids, d->cap, sizeof(*d->ids));
    }
    d->ids[d->count++] = id;
}

static bool dep_met(enum spec_dep_when when, int status)
{
    return when == DEP_ANY || (when == DEP_OK) == (status == JOB_SUCCEEDED);
}

/* Job `on` did not end as j requires: j is cancelled. */
static void cancel_dependent(struct head *h, struct head_job *j, int64_t on, int status)
{
    snprintf(j->deps->reason, sizeof(j->deps->reason),
             "job %" PRId64 ", which it waits for, ended as %s", on,
             job_status_name((enum job_status)status));
    j->reason = j->deps->reason;
    head_job_event(h, j, JOB_EV_CANCEL);
}

static void get_status(void *arg, const struct store_job *row)
{
    *(int *)arg = row->status;
}

/* Status of any job, -1 when there is no such job (any more), -2 error. */
static int status_of(struct head *h, int64_t id, struct err *err)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);
    int status = -1;
    if (j)
        return j->status;
    return store_job_get(h->store, id, get_status, &status, err) < 0 ? -2 : status;
}

/* Sets what j waits for. A dependency that has already failed cancels the job. */
int head_job_set_deps(struct head *h, struct head_job *j, const struct spec_dep *deps, size_t count,
                      struct err *err)
{
    forget_deps(h, j);
    if (count == 0)
        return 0;
    j->deps = mem_alloc(sizeof(*j->deps) + count * sizeof(j->deps->item[0]));
    j->deps->count = count;
    for (size_t i = 0; i < count; i++) {
        struct spec_dep *d = &j->deps->item[i];
        int status = status_of(h, deps[i].job, err);
        if (status == -2)
            return -1;
        *d = deps[i];
        if (status >= 0 && !job_status_terminal((enum job_status)status)) {
            j->deps->unmet++;
            depend_on(h, d->job, j->entry.id);
        } else if (status < 0 || dep_met(d->when, status)) {
            d->job = 0; /* pruned jobs ended long ago: nothing to wait for */
        } else if (j->status == JOB_QUEUED) {
            cancel_dependent(h, j, d->job, status);
        }
    }
    return 0;
}

int head_deps_from_spec(struct head *h, struct head_job *j, const char *spec, struct err *err)
{
    struct spec_dep deps[LIMIT_JOB_DEPS];
    size_t count = 0;
    if (!spec || !strstr(spec, "\"after\""))
        return 0;
    yyjson_doc *doc = jsonx_parse(spec, strlen(spec), err);
    if (!doc)
        return -1;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(yyjson_doc_get_root(doc), "after"));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL && count < LIMIT_JOB_DEPS;)
        if (yyjson_is_str(v) && spec_parse_dep(yyjson_get_str(v), &deps[count], NULL) == 0)
            count++;
    yyjson_doc_free(doc);
    return head_job_set_deps(h, j, deps, count, err);
}

/* One dependent learns how `id` ended. True when that ended the dependent as well. */
static bool settle_one(struct head *h, struct head_job *j, int64_t id, int status)
{
    bool failed = false;
    for (size_t i = 0; j->deps && i < j->deps->count; i++) {
        struct spec_dep *d = &j->deps->item[i];
        if (d->job != id)
            continue;
        d->job = 0;
        j->deps->unmet--;
        failed |= !dep_met(d->when, status);
    }
    head_dirty(h, j);
    if (j->status != JOB_QUEUED)
        return false;
    if (!failed) {
        head_job_queue(h, j);
        return false;
    }
    head_job_unqueue(h, j);
    cancel_dependent(h, j, id, status);
    if (j->tasks)
        j->tasks->n_cancelled += head_array_unstarted(j->tasks), j->tasks->cancelled = true;
    return true;
}

/* Job `id` ended: who waits for it is released or cancelled, and so on down the chain (a loop, because
 * chains may be long). */
void head_deps_settle(struct head *h, int64_t id, int status)
{
    int64_t *todo = mem_alloc_array(1, sizeof(*todo));
    int *how = mem_alloc_array(1, sizeof(*how));
    size_t n = 1;
    todo[0] = id;
    how[0] = status;
    while (n > 0) {
        n--;
        int64_t ended = todo[n];
        int with = how[n];
        struct head_dependents *d = map_remove(&h->dependents, (uint64_t)ended);
        if (!d)
            continue;
        todo = mem_resize(todo, n + d->count + 1, sizeof(*todo));
        how = mem_resize(how, n + d->count + 1, sizeof(*how));
        for (size_t i = 0; i < d->count; i++) {
            struct head_job *j = map_get(&h->jobs, (uint64_t)d->ids[i]);
            if (j && settle_one(h, j, ended, with)) {
                todo[n] = j->entry.id;
                how[n++] = j->status;
            }
        }
        free(d->ids);
        free(d);
    }
    free(todo);
    free(how);
}
