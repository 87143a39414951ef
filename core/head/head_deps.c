/* SPDX-License-Identifier: BSD-2-Clause */
/* Who waits for whom. A job knows what it waits for, and head.dependents the way back. */
#include "base/mem.h"

#include "head/head_priv.h"

#include "base/limits.h"

#include <inttypes.h>

#define FEW_STALE 8 /* so many ids that mean nothing any more are no reason to tidy up */

bool head_deps_matter(const struct head_job *j)
{
    return j->status == JOB_QUEUED && !j->array && j->attempts == 0 && !(j->met & MET_ALL);
}

/* ---- the way back ---- */

static void depend_on(struct head *h, int64_t on, int64_t id)
{
    struct head_dependents *d = map_get(&h->dependents, (uint64_t)on);

    if (!d) {
        d = mem_alloc(sizeof(*d));
        map_put(&h->dependents, (uint64_t)on, d);
    }
    if (d->count > 0 && d->ids[d->count - 1] == id)
        return; /* named twice */
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 4;
        d->ids = mem_resize(d->ids, d->cap, sizeof(*d->ids));
    }
    d->ids[d->count++] = id;
}

void head_dependents_drop(struct head *h, int64_t id)
{
    struct head_dependents *d = map_remove(&h->dependents, (uint64_t)id);

    if (d)
        free(d->ids);
    free(d);
}

static bool waits_for(const struct head_job *j, int64_t on)
{
    for (size_t i = 0; j && j->deps && i < j->deps->count; i++)
        if (j->deps->item[i].job == on)
            return true;
    return false;
}

/* Each id that is left behind costs a search later, so that leaving one costs little. */
static void leave_behind(struct head *h, int64_t on, int64_t id)
{
    struct head_dependents *d = map_get(&h->dependents, (uint64_t)on);
    size_t kept = 0;

    if (!d)
        return;
    if (d->ids[d->count - 1] == id) {
        d->count--;
    } else if (++d->stale > d->count / 2 + FEW_STALE) {
        for (size_t i = 0; i < d->count; i++)
            if (waits_for(map_get(&h->jobs, (uint64_t)d->ids[i]), on))
                d->ids[kept++] = d->ids[i];
        d->count = kept;
        d->stale = 0;
    }
    if (d->count == 0)
        head_dependents_drop(h, on);
}

static void stop_waiting(struct head *h, struct head_job *j)
{
    for (size_t i = 0; i < j->deps->count; i++) {
        int64_t on = j->deps->item[i].job;
        j->deps->item[i].job = 0;
        if (on)
            leave_behind(h, on, j->entry.id);
    }
    j->deps->unmet = 0;
}

void head_deps_forget(struct head *h, struct head_job *j)
{
    if (!j->deps)
        return;
    stop_waiting(h, j);
    if (j->reason == j->deps->reason)
        j->reason = NULL;
    MEM_FREE(j->deps);
}

/* ---- beginning to wait ---- */

/* What j waited for may be retried, and the daemon started again: then j mustn't wait again. */
static void note_met(struct head_job *j, int64_t bit)
{
    j->met |= bit;
    j->fresh = false; /* no longer as it was inserted */
}

static int64_t dep_bit(size_t i)
{
    _Static_assert(LIMIT_JOB_DEPS < 62, "a bit for each dependency");
    return (int64_t)MET_ALL << (i + 1);
}

static bool dep_met(enum spec_dep_when when, int status)
{
    return when == DEP_ANY || (when == DEP_OK) == (status == JOB_SUCCEEDED);
}

static void get_status(void *arg, const struct store_job *row)
{
    *(int *)arg = row->status;
}

/* 1 and the status of any job; 0 when there is none (any more), -1 error. */
static int status_of(struct head *h, int64_t id, int *status, struct err *err)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);

    if (!j)
        return store_job_get(h->store, id, get_status, status, err);
    *status = j->status;
    return 1;
}

/* Job `on` did not end as j requires: j is cancelled. */
static void cancel_dependent(struct head *h, struct head_job *j, int64_t on, int status)
{
    stop_waiting(h, j);
    snprintf(j->deps->reason, sizeof(j->deps->reason),
             "job %" PRId64 ", which it waits for, ended as %s", on,
             job_status_name((enum job_status)status));
    j->reason = j->deps->reason;
    if (j->tasks) /* one may have been cancelled alone, and retried */
        head_array_cancel_waiting(h, j, "its array was cancelled");
    head_job_unqueue(h, j);
    head_job_event(h, j, JOB_EV_CANCEL);
}

int head_job_set_deps(struct head *h, struct head_job *j, const struct spec_dep *deps, size_t count,
                      struct err *err)
{
    const struct spec_dep *failed = NULL;
    int64_t met_before = j->met;
    int how = 0;

    head_deps_forget(h, j);
    if (count == 0)
        return 0;
    j->deps = mem_alloc(sizeof(*j->deps) + count * sizeof(j->deps->item[0]));
    j->deps->count = count;
    for (size_t i = 0; i < count; i++) {
        struct spec_dep *d = &j->deps->item[i];
        int status = JOB_QUEUED;
        if (j->met & dep_bit(i))
            continue;
        int found = status_of(h, deps[i].job, &status, err);
        if (found < 0)
            return -1;
        if (found == 0) {
            note_met(j, dep_bit(i)); /* pruned: it ended long ago */
        } else if (!job_status_terminal((enum job_status)status)) {
            *d = deps[i];
            j->deps->unmet++;
            depend_on(h, d->job, j->entry.id);
        } else if (dep_met(deps[i].when, status)) {
            note_met(j, dep_bit(i));
        } else {
            failed = &deps[i];
            how = status;
        }
    }
    if (failed) {
        cancel_dependent(h, j, failed->job, how);
        head_deps_settle(h, j->entry.id, j->status);
    } else if (j->deps->unmet == 0) {
        note_met(j, MET_ALL);
    }
    if (j->met != met_before)
        head_dirty(h, j);
    return 0;
}

/* ---- the end of waiting ---- */

/* One dependent learns how `id` ended. True when that ended the dependent as well. */
static bool settle_one(struct head *h, struct head_job *j, int64_t id, int status)
{
    bool failed = false, waited = false;

    for (size_t i = 0; j->deps && i < j->deps->count; i++) {
        struct spec_dep *d = &j->deps->item[i];
        if (d->job != id)
            continue;
        d->job = 0;
        j->deps->unmet--;
        waited = true;
        failed = failed || !dep_met(d->when, status);
        note_met(j, dep_bit(i));
    }
    if (!waited || j->status != JOB_QUEUED)
        return false;
    head_dirty(h, j); /* should the turn fail, it waits again */
    if (failed) {
        cancel_dependent(h, j, id, status);
    } else if (j->deps->unmet == 0) {
        note_met(j, MET_ALL);
        head_job_queue(h, j);
    }
    return failed;
}

/* A loop and not a recursion, because chains may be long. */
void head_deps_settle(struct head *h, int64_t id, int status)
{
    struct ended {
        int64_t id;
        int status;
    } *todo = mem_alloc(sizeof(*todo));
    size_t n = 1, cap = 1;

    todo[0] = (struct ended){ id, status };
    while (n > 0) {
        struct ended e = todo[--n];
        struct head_dependents *d = map_remove(&h->dependents, (uint64_t)e.id);
        if (!d)
            continue;
        if (n + d->count > cap) {
            cap = 2 * (n + d->count);
            todo = mem_resize(todo, cap, sizeof(*todo));
        }
        for (size_t i = 0; i < d->count; i++) {
            struct head_job *j = map_get(&h->jobs, (uint64_t)d->ids[i]);
            if (j && settle_one(h, j, e.id, e.status))
                todo[n++] = (struct ended){ j->entry.id, j->status };
        }
        free(d->ids);
        free(d);
    }
    free(todo);
}
