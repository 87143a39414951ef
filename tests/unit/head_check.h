/* SPDX-License-Identifier: BSD-2-Clause */
/* What must hold after every turn of a head: memory, database, ledger and shims say the same. */
#ifndef HIVE_TESTS_HEAD_CHECK_H
#define HIVE_TESTS_HEAD_CHECK_H

#include "unit/head_rig.h"

static inline size_t check_list(const struct list *list)
{
    size_t n = 0;

    LIST_FOR_EACH(it, list) {
        CHECK(it->next->prev == it);
        n++;
    }
    return n;
}

static inline bool check_row_is_live(void *arg, const struct store_job *row)
{
    (void)row;
    ++*(size_t *)arg;
    return true;
}

/* The row says what memory says. */
static inline void check_row(struct rig *r, const struct head_job *j)
{
    struct store_job row = rig_row(r, j->entry.id);

    CHECK_INT(row.status, j->status);
    CHECK_INT(row.held, j->held);
    CHECK_INT(row.attempts, j->attempts);
    CHECK_INT(row.retries_left, j->retries_left);
    CHECK_INT(row.priority, j->priority);
    CHECK_INT(row.not_before_ns, j->not_before_wall_ns);
    CHECK_INT(row.is_array, j->tasks != NULL);
    CHECK_INT(row.array_id, j->array ? j->array->entry.id : 0);
    if (j->tasks) {
        CHECK_INT(row.next, j->tasks->next);
        CHECK_INT(row.started_ns, j->tasks->started_wall_ns);
        CHECK_INT(row.n_succeeded, j->tasks->n_succeeded);
        CHECK_INT(row.n_failed, j->tasks->n_failed);
        CHECK_INT(row.n_cancelled, j->tasks->n_cancelled);
    }
    if (j->run)
        CHECK_INT(row.started_ns, j->run->started_wall_ns);
    CHECK(!job_status_terminal((enum job_status)j->status));
    CHECK(!j->dirty && !j->fresh);
}

static inline void check_deps(struct rig *r, const struct head_job *j)
{
    size_t unmet = 0;

    for (size_t i = 0; j->deps && i < j->deps->count; i++) {
        int64_t on = j->deps->item[i].job;
        bool found = false;
        if (!on)
            continue;
        unmet++;
        CHECK(map_get(&r->head->jobs, (uint64_t)on));
        struct head_dependents *d = map_get(&r->head->dependents, (uint64_t)on);
        for (size_t k = 0; d && k < d->count; k++)
            found = found || d->ids[k] == j->entry.id;
        CHECK(found);
    }
    CHECK_INT(j->deps ? j->deps->unmet : 0, unmet);
    if (unmet > 0)
        CHECK(j->status == JOB_QUEUED && (j->waiting == WAIT_DEPS || j->waiting == WAIT_HELD));
}

/* A job is in exactly one place. */
static inline void check_place(const struct head_job *j)
{
    bool linked = !list_empty(&j->wait), queued = j->entry.cls != NULL;

    CHECK_INT(queued, j->waiting == WAIT_SCHED);
    CHECK_INT(linked, j->waiting != WAIT_NONE && j->waiting != WAIT_SCHED);
    if (j->tasks)
        return;
    CHECK_INT(j->run != NULL, j->status == JOB_RUNNING);
    CHECK_INT(j->waiting == WAIT_NONE, j->status == JOB_RUNNING);
    CHECK_INT(j->entry.running, j->status == JOB_RUNNING && !j->array);
    if (j->held && j->status == JOB_QUEUED)
        CHECK_INT(j->waiting, WAIT_HELD);
}

static inline void check_array_job(struct rig *r, const struct head_job *j)
{
    const struct head_array *a = j->tasks;
    int64_t live = 0, running = 0, startable = a->again_count + head_array_unstarted(a);
    size_t pos = 0;
    struct head_job *t;

    while ((t = map_next(&r->head->jobs, &pos, NULL)) != NULL)
        if (t->array == j) {
            live++;
            running += t->status == JOB_RUNNING;
        }
    CHECK_INT(a->again_count, check_list(&a->again));
    CHECK_INT(j->entry.running, running);
    CHECK_INT(j->status, running ? JOB_RUNNING : JOB_QUEUED);
    CHECK_INT(a->n_succeeded + a->n_failed + a->n_cancelled + live + head_array_unstarted(a),
              head_array_total(a));
    CHECK(live + head_array_unstarted(a) > 0);
    CHECK(a->limit == 0 || running <= a->limit);
    if (j->entry.cls)
        CHECK_INT(j->entry.remaining, startable);
    else
        CHECK(startable == 0 || j->held || (j->deps && j->deps->unmet > 0));
}

/* It was taken back, and that is not applied yet. */
static inline bool check_taken_back(const struct rig *r, const struct attempt_key *key)
{
    LIST_FOR_EACH(it, &r->head->ends) {
        const struct head_end *e = CONTAINER_OF(it, struct head_end, link);
        if (e->taken_back && e->end.key.job == key->job && e->end.key.number == key->number)
            return true;
    }
    return false;
}

/* Every attempt has a shim, or an end that is not applied yet, and threads are reserved for it. */
static inline void check_runs(struct rig *r)
{
    struct sched_resources reserved;
    int64_t threads = 0, memory = 0;
    size_t pending = 0;
    struct err err = ERR_INIT;

    LIST_FOR_EACH(it, &r->head->runs) {
        struct head_run *run = CONTAINER_OF(it, struct head_run, link);
        struct shim *s = rig_shim(run->key.job, run->key.number);
        CHECK(run->job->run == run);
        CHECK(s ? s->known : check_taken_back(r, &run->key));
        CHECK_INT(run->job->attempts, run->key.number);
        CHECK(!run->kill_now && !run->fresh && !run->ended);
        CHECK_INT(run->alloc.lined_up, run->before != NULL);
        CHECK(!run->before || run->before->behind == run);
        CHECK(!run->behind || run->behind->before == run);
        if (!run->before) {
            threads += run->alloc.got.threads;
            memory += run->alloc.got.memory;
        }
        pending += !s || s->reported;
    }
    CHECK_INT(check_list(&r->head->runs), node_running(NULL) + pending);
    sched_node_get(r->head->sched, 0, NULL, &reserved);
    CHECK_INT(reserved.threads, threads);
    CHECK_INT(reserved.memory, memory);
    if (!sched_check(r->head->sched, &err))
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
}

static inline void check_head(struct rig *r)
{
    struct head *h = r->head;
    size_t live = 0, pos = 0, waiting = 0;
    struct err err = ERR_INIT;
    struct head_job *j;

    CHECK(list_empty(&h->starting) && list_empty(&h->over) && list_empty(&h->ops));
    CHECK(!h->dirty && !h->txn && !h->kills && !store_in_transaction(h->store));
    CHECK_OK(store_job_each_live(h->store, JOB_SUCCEEDED, false, check_row_is_live, &live, &err),
             &err);
    CHECK_INT(map_count(&h->jobs), live);
    while ((j = map_next(&h->jobs, &pos, NULL)) != NULL) {
        check_row(r, j);
        check_deps(r, j);
        check_place(j);
        if (j->tasks)
            check_array_job(r, j);
        waiting += j->waiting == WAIT_HELD || j->waiting == WAIT_DEPS || j->waiting == WAIT_TIME;
    }
    CHECK_INT(check_list(&h->parked) + check_list(&h->delayed), waiting);
    LIST_FOR_EACH(it, &h->delayed)
        CHECK(it->next == &h->delayed ||
              CONTAINER_OF(it, struct head_job, wait)->not_before_wall_ns <=
                  CONTAINER_OF(it->next, struct head_job, wait)->not_before_wall_ns);
    check_runs(r);
}

#endif
