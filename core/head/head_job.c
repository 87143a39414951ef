/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs in memory: loading, forgetting, their rows, and where a queued one waits. */
#include "base/mem.h"

#include "head/head_node.h"
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
const char head_reason_user[] = "cancelled by user";

static void refresh(struct head_job *j, const struct store_job *row)
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
        head_array_load(j, row);
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
        if (row->array_id) /* loaded before: its id is smaller */
            j->array = map_get(&h->jobs, (uint64_t)row->array_id);
    }
    refresh(j, row);
    return j;
}

void head_job_forget(struct head *h, struct head_job *j)
{
    head_job_unqueue(h, j);
    head_deps_forget(h, j);
    head_dependents_drop(h, j->entry.id);
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
        row->started_ns = head_run_started_ns(j->run);
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
        row->started_ns = a->started_wall_ns;
        row->n_succeeded = a->n_succeeded;
        row->n_failed = a->n_failed;
        row->n_cancelled = a->n_cancelled;
        if (final)
            row->exit_code = j->status == JOB_SUCCEEDED ? 0 : 1;
    }
}

/* ---- the stored specification ---- */

static void take_spec(void *arg, const struct store_job *row)
{
    *(char **)arg = mem_strdup(row->spec);
}

char *head_spec_text(struct head *h, int64_t id, struct err *err)
{
    char *text = NULL;
    int found = store_job_get(h->store, id, take_spec, &text, err);
    if (found >= 0 && !text)
        err_set(err, ERR_CORRUPT, "job %lld has no stored specification", (long long)id);
    return text;
}

int head_job_read_spec(struct head *h, struct head_job *j, bool deps, struct err *err)
{
    struct spec s;
    int rc = -1;
    char *text = head_spec_text(h, j->entry.id, err);
    yyjson_doc *doc = text ? jsonx_parse(text, strlen(text), err) : NULL;

    if (doc && spec_read(&s, yyjson_doc_get_root(doc), NULL, "", true, err) == 0) {
        j->node = s.node ? head_node_number(h, s.node) : -1;
        rc = deps ? head_job_set_deps(h, j, s.deps, s.dep_count, err) : 0;
        spec_fini(&s);
    }
    yyjson_doc_free(doc);
    free(text);
    return rc;
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

static int64_t due_of(const struct list *it)
{
    return CONTAINER_OF(it, struct head_job, wait)->not_before_wall_ns;
}

/* Into h->delayed, the soonest first. Looks from both ends: most delays are equal. */
static void delay(struct head *h, struct head_job *j, int64_t wait_ns)
{
    struct list *front = h->delayed.next, *back = h->delayed.prev;

    while (back != &h->delayed && due_of(back) > j->not_before_wall_ns) {
        if (due_of(front) > j->not_before_wall_ns) {
            back = front->prev;
            break;
        }
        front = front->next;
        back = back->prev;
    }
    list_insert_before(back->next, &j->wait);
    j->waiting = WAIT_TIME;
    head_arm(h, head_time_add(ev_now_ns(h->loop), wait_ns));
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
    if (j->attempts > 0 && j->not_before_wall_ns && wait_ns > 0) {
        delay(h, j, wait_ns);
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
