/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes of one job or task: cancel, hold, release, retry. Acknowledged after the commit. */
#include "base/mem.h"

#include "head/head_priv.h"

#include <inttypes.h>

static void mark_kill(struct head *h, struct head_job *j, int64_t grace_ns)
{
    struct head_run *r = j->run;
    if (!r || r->ended)
        return;
    r->killed = r->kill_now = true;
    r->grace_ns = grace_ns;
    h->kills = true;
    head_dirty(h, j);
}

static void cancel_queued(struct head *h, struct head_job *j)
{
    head_job_unqueue(h, j);
    j->reason = head_reason_user;
    head_job_event(h, j, JOB_EV_CANCEL);
    head_deps_settle(h, j->entry.id, j->status);
    if (j->array)
        head_array_child_ended(h, j);
}

static void cancel_array(struct head *h, struct head_job *j, int64_t grace_ns)
{
    head_array_cancel_waiting(h, j, head_reason_user);
    LIST_FOR_EACH(it, &h->runs) {
        struct head_run *r = CONTAINER_OF(it, struct head_run, link);
        if (r->job->array == j)
            mark_kill(h, r->job, grace_ns);
    }
    if (!job_status_terminal((enum job_status)j->status)) {
        head_job_unqueue(h, j);
        head_array_settle(h, j);
    }
}

static int change_live(struct head *h, struct head_job *j, enum head_change what, int64_t grace_ns,
                       struct err *err)
{
    const char *state = job_status_name((enum job_status)j->status);
    long long id = (long long)j->entry.id;
    switch (what) {
    case HEAD_CANCEL:
        if (j->tasks)
            cancel_array(h, j, grace_ns);
        else if (j->status == JOB_RUNNING)
            mark_kill(h, j, grace_ns);
        else
            cancel_queued(h, j);
        return 0;
    case HEAD_HOLD:
    case HEAD_RELEASE:
        if (j->array)
            return err_set(err, ERR_CONFLICT, "a single task can't be held or released"),
                   err_hint(err, "hold or release its array, job %lld",
                            (long long)j->array->entry.id);
        if (j->status != JOB_QUEUED && !j->tasks)
            return err_set(err, ERR_CONFLICT,
                           "job %lld is %s; only queued jobs can be held or released", id, state);
        j->held = what == HEAD_HOLD;
        j->fresh = false; /* no longer as it was inserted */
        head_dirty(h, j);
        head_job_queue(h, j);
        return 0;
    case HEAD_RETRY:
        break;
    }
    err_set(err, ERR_CONFLICT, "job %lld is %s; only a job that has ended can be retried", id,
            state);
    return err_hint(err, "cancel it first: hive cancel %lld", id);
}

struct ended {
    int64_t id, array_id;
    int status;
    bool all_succeeded; /* an array without a task to retry */
};

static void note_ended(void *arg, const struct store_job *row)
{
    struct ended *e = arg;
    e->status = row->status;
    e->array_id = row->array_id;
    e->all_succeeded = row->is_array && row->n_failed + row->n_cancelled == 0;
}

static void load_row(void *arg, const struct store_job *row)
{
    head_job_load(arg, row);
}

/* Takes a job that has ended back into memory and the queue, but doesn't let it wait there yet. */
static struct head_job *revive(struct head *h, int64_t id, struct err *err)
{
    int found = store_job_get(h->store, id, load_row, h, err);
    if (found == 0)
        err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64 " any more", id);
    if (found != 1)
        return NULL;
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);
    head_job_event(h, j, JOB_EV_RETRY);
    j->met = MET_ALL; /* and no delay: that time is long past */
    if ((!j->array && head_job_read_spec(h, j, false, err) != 0) ||
        (j->tasks && head_array_load_ahead(h, j, err) != 0))
        return NULL;
    return j;
}

/* A job that has ended goes back into the queue. Dependencies are not looked at again. */
static int retry_ended(struct head *h, const struct ended *e, struct err *err)
{
    struct head_job *array = NULL;

    if (e->array_id) {
        array = map_get(&h->jobs, (uint64_t)e->array_id);
        if (!array && !(array = revive(h, e->array_id, err)))
            return -1;
    }
    struct head_job *j = revive(h, e->id, err);
    if (!j)
        return -1;
    if (array) {
        struct head_array *a = array->tasks;
        *(e->status == JOB_SUCCEEDED   ? &a->n_succeeded
          : e->status == JOB_CANCELLED ? &a->n_cancelled
                                       : &a->n_failed) -= 1;
        head_dirty(h, array);
    }
    if (j->tasks && head_array_restore(h, j, err) != 0)
        return -1;
    head_job_queue(h, j);
    return 0;
}

static int change_ended(struct head *h, enum head_change what, int64_t id, struct err *err)
{
    struct ended e = { .id = id };
    struct err failed = ERR_INIT;
    int rc = store_job_get(h->store, id, note_ended, &e, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64, id),
               err_hint(err, "list the jobs with: hive status jobs");
    if (what != HEAD_RETRY)
        return err_set(err, ERR_CONFLICT, "job %" PRId64 " has already ended (%s)", id,
                       job_status_name((enum job_status)e.status));
    if (e.all_succeeded) {
        err_set(err, ERR_CONFLICT, "every task of array %" PRId64 " succeeded", id);
        return err_hint(err, "retry one task with: hive retry %" PRId64 "_INDEX", id);
    }
    struct head_job *array = map_get(&h->jobs, (uint64_t)e.array_id);
    if (array && job_status_terminal((enum job_status)array->status))
        return err_set(err, ERR_CONFLICT, "array %" PRId64 " is ending just now; try again",
                       e.array_id);
    if (retry_ended(h, &e, &failed) == 0)
        return 0;
    head_fail_turn(h, &failed);
    if (err)
        *err = failed;
    return -1;
}

/* Cancels a task that has no row yet. */
static int cancel_unstarted(struct head *h, struct head_job *array, int64_t task, struct err *err)
{
    struct err failed = ERR_INIT;
    if (head_array_skip(h, array, task, &failed) == 0)
        return 0;
    if (failed.kind != ERR_NOT_FOUND && failed.kind != ERR_CONFLICT)
        head_fail_turn(h, &failed);
    if (err)
        *err = failed;
    return -1;
}

static int change_job(struct head *h, enum head_change what, int64_t job, int64_t task,
                      int64_t grace_ns, struct err *err)
{
    int64_t id = job;
    int found = head_find(h, job, task, &id, err);
    if (found < 0)
        return -1;
    if (!found && task < 0) {
        err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64, job);
        return err_hint(err, "list the jobs with: hive status jobs");
    }
    if (!found) {
        struct head_job *array = map_get(&h->jobs, (uint64_t)job);
        if (array && array->tasks && what == HEAD_CANCEL)
            return cancel_unstarted(h, array, task, err);
        return err_set(err, ERR_NOT_FOUND,
                       "there is no job %" PRId64 "_%" PRId64 ", or it has not started yet", job,
                       task);
    }
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);
    if (j && job_status_terminal((enum job_status)j->status))
        return err_set(err, ERR_CONFLICT, "job %" PRId64 " is ending just now; try again", job);
    return j ? change_live(h, j, what, grace_ns, err) : change_ended(h, what, id, err);
}

int head_change(struct head *h, enum head_change what, int64_t job, int64_t task, int64_t grace_ns,
                struct head_op *op, struct err *err)
{
    if (grace_ns < 0)
        grace_ns = conf_int(h->conf, CONF_jobs_kill_grace);
    if (change_job(h, what, job, task, grace_ns, err) != 0)
        return -1;
    list_append(&h->ops, &op->link);
    ev_again(h->loop);
    return 0;
}
