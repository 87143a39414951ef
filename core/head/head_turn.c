/* SPDX-License-Identifier: BSD-2-Clause */
/* The head's turn: gather, decide, commit, act; or put everything back. See head.h. */
#include "base/mem.h"

#include "head/head_node.h"
#include "head/head_priv.h"

#include "base/buf.h"

#define RESUME_NS NS_PER_S          /* pause after a failed turn */
#define USE_SAVE_NS (30 * NS_PER_S) /* fair share is written at most this often */
#define PRUNE_NS (60 * NS_PER_S)
#define PRUNE_AGAIN_NS (50 * NS_PER_MS)
#define PRUNE_BATCH 200
#define KEY_KEEP_NS (7 * 24 * 3600 * NS_PER_S)

void head_arm(struct head *h, int64_t due_mono_ns)
{
    if (!ev_timer_armed(&h->timer) || due_mono_ns < h->timer.due_ns)
        ev_timer_set(h->loop, &h->timer, due_mono_ns);
}

int head_txn(struct head *h, struct err *err)
{
    if (h->broken)
        return err_set(err, ERR_UNAVAILABLE,
                       "the daemon is stopping: its database can't be trusted");
    if (store_in_transaction(h->store))
        return 0;
    if (h->txn) /* what was inserted in this turn is gone with it */
        return err_set(err, ERR_IO, "a failed read ended the transaction");
    if (store_begin(h->store, err) != 0)
        return -1;
    h->txn = true;
    return 0;
}

void head_finish_ops(struct head *h, const struct err *err)
{
    struct list ops;

    list_init(&ops); /* an answer may lead to the next request */
    while (!list_empty(&h->ops)) {
        struct list *it = h->ops.next;
        list_remove(it);
        list_append(&ops, it);
    }
    while (!list_empty(&ops)) {
        struct head_op *op = CONTAINER_OF(ops.next, struct head_op, link);
        list_remove(&op->link);
        op->done(op, err);
    }
}

/* ---- a turn that can't be committed ---- */

static void reload_row(void *arg, const struct store_job *row)
{
    head_job_load(arg, row);
}

/* Puts one job back to what its row says; forgets it when that isn't live. */
static int reload(struct head *h, int64_t id, struct err *err)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);

    if (!j)
        return 0;
    head_job_unqueue(h, j);
    int found = store_job_get(h->store, id, reload_row, h, err);
    if (found < 0)
        return -1;
    if (!found || job_status_terminal((enum job_status)j->status)) {
        head_job_forget(h, j);
        return 0;
    }
    if (j->run) {
        j->run->killed = j->reason != NULL;
        j->run->kill_now = false;
        j->reason = NULL;
    }
    return j->tasks ? head_array_load_ahead(h, j, err) : 0;
}

static int requeue_reloaded(struct head *h, int64_t id, struct err *err)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);

    if (!j || (j->status != JOB_QUEUED && !j->tasks))
        return 0;
    if (head_deps_matter(j) && head_job_read_spec(h, j, true, err) != 0)
        return -1;
    if (!job_status_terminal((enum job_status)j->status))
        head_job_queue(h, j);
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int reload_dirty(struct head *h, struct err *err)
{
    size_t count = 0, n = 0;
    int rc = 0;

    for (struct head_job *j = h->dirty; j; j = j->next_dirty)
        count++;
    int64_t *ids = mem_alloc_array(count + 1, sizeof(*ids));
    for (struct head_job *j = h->dirty, *next; j; j = next) {
        next = j->next_dirty;
        j->dirty = j->fresh = false;
        j->next_dirty = NULL;
        ids[n++] = j->entry.id;
    }
    h->dirty = NULL;
    qsort(ids, n, sizeof(*ids), compare_ids);
    for (size_t i = n; rc == 0 && i-- > 0;) /* tasks before their arrays, who waits before whom */
        rc = reload(h, ids[i], err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = requeue_reloaded(h, ids[i], err);
    free(ids);
    return rc;
}

static void give_up(struct head *h, const struct err *err)
{
    h->broken = true;
    log_error(h->log, "%s; stopping, because nobody can tell what is on disk", err->msg);
    h->hooks.broken(h->hooks.arg, err);
}

void head_fail_turn(struct head *h, const struct err *why)
{
    struct err err = *why, reading = ERR_INIT; /* `why` may be of an op that goes away */

    store_rollback(h->store);
    h->txn = h->kills = false;
    LIST_FOR_EACH_SAFE(it, &h->starting)
        head_run_undo(h, CONTAINER_OF(it, struct head_run, link));
    LIST_FOR_EACH_SAFE(it2, &h->over)
        head_run_undo(h, CONTAINER_OF(it2, struct head_run, link));
    LIST_FOR_EACH(it3, &h->ends)
        CONTAINER_OF(it3, struct head_end, link)->applied = false;
    if (h->broken) {
        head_finish_ops(h, &err);
        return;
    }
    if (store_broken(h->store) || reload_dirty(h, &reading) != 0) {
        head_finish_ops(h, &err);
        give_up(h, reading.kind ? &reading : &err);
        return;
    }
    log_warning(h->log, "nothing was saved: %s; trying again", err.msg);
    /* A stream of requests that fail must not put off the next try for ever. */
    if (ev_now_ns(h->loop) >= h->resume_ns)
        h->resume_ns = ev_now_ns(h->loop) + RESUME_NS;
    head_arm(h, h->resume_ns);
    head_finish_ops(h, &err);
}

/* ---- the end of a turn ---- */

static int write_turn(struct head *h, struct err *err)
{
    struct store_job row;

    if (head_txn(h, err) != 0)
        return -1;
    LIST_FOR_EACH(it, &h->over)
        if (head_write_run(h, CONTAINER_OF(it, struct head_run, link), err) != 0)
            return -1;
    LIST_FOR_EACH(it2, &h->starting)
        if (head_write_run(h, CONTAINER_OF(it2, struct head_run, link), err) != 0)
            return -1;
    for (struct head_job *j = h->dirty; j; j = j->next_dirty) {
        if (j->fresh && j->status == JOB_QUEUED && !j->tasks)
            continue; /* inserted as it is */
        head_job_row(h, j, &row);
        if (store_job_update(h->store, &row, err) != 0)
            return -1;
    }
    return 0;
}

static bool use_is_due(const struct head *h)
{
    return map_count(&h->use_changed) > 0 &&
           (h->closing || ev_now_ns(h->loop) - h->use_saved_ns >= USE_SAVE_NS);
}

static int save_use(struct head *h, struct err *err)
{
    int64_t now = ev_now_ns(h->loop), wall = clock_wall_ns(h->clock);
    size_t pos = 0;
    uint64_t key;

    if (!use_is_due(h))
        return 0;
    while (map_next(&h->use_changed, &pos, &key)) {
        int32_t user = (int32_t)(key - 1);
        if (store_use_set(h->store, sched_user_name(h->sched, user),
                          sched_user_use(h->sched, user, now), wall, err) != 0)
            return -1;
    }
    return 0;
}

static int commit_turn(struct head *h, struct err *err)
{
    bool use = use_is_due(h);

    if (write_turn(h, err) != 0 || save_use(h, err) != 0)
        return -1;
    if (!store_in_transaction(h->store))
        return err_set(err, ERR_IO, "a failed read ended the transaction");
    if (store_commit(h->store, err) != 0)
        return -1;
    h->txn = false;
    if (use) {
        map_fini(&h->use_changed);
        h->use_saved_ns = ev_now_ns(h->loop);
    }
    if (map_count(&h->use_changed) > 0)
        head_arm(h, h->use_saved_ns + USE_SAVE_NS);
    return 0;
}

struct note {
    int64_t id;
    bool final;
};

static struct note *take_dirty(struct head *h, size_t *count)
{
    size_t n = 0;
    for (struct head_job *j = h->dirty; j; j = j->next_dirty)
        n++;
    struct note *notes = mem_alloc_array(n + 1, sizeof(*notes));
    *count = n;
    n = 0;
    for (struct head_job *j = h->dirty, *next; j; j = next) {
        next = j->next_dirty;
        j->dirty = j->fresh = false;
        j->next_dirty = NULL;
        notes[n].id = j->entry.id;
        notes[n++].final = job_status_terminal((enum job_status)j->status);
    }
    h->dirty = NULL;
    return notes;
}

/* After the commit: jobs that ended leave memory, watchers hear of every change. */
static void settle_dirty(struct head *h)
{
    size_t n;
    struct note *notes = take_dirty(h, &n);

    while (!list_empty(&h->over)) {
        struct head_run *r = CONTAINER_OF(h->over.next, struct head_run, link);
        head_node_ended(h, r);
        head_run_free(r);
    }
    for (int pass = 0; pass < 2; pass++) /* tasks before their arrays */
        for (size_t i = 0; i < n; i++) {
            struct head_job *j = notes[i].final ? map_get(&h->jobs, (uint64_t)notes[i].id) : NULL;
            if (j && (j->tasks != NULL) == (pass == 1))
                head_job_forget(h, j);
        }
    if (h->hooks.changed && !h->closing)
        for (size_t i = 0; i < n; i++)
            h->hooks.changed(h->hooks.arg, notes[i].id, notes[i].final);
    free(notes);
}

static void apply_ends(struct head *h)
{
    LIST_FOR_EACH(it, &h->ends) {
        struct head_end *e = CONTAINER_OF(it, struct head_end, link);
        if (!e->applied)
            head_apply_end(h, e);
        e->applied = true;
    }
}

static void drop_applied_ends(struct head *h)
{
    while (!list_empty(&h->ends)) {
        struct head_end *e = CONTAINER_OF(h->ends.next, struct head_end, link);
        if (!e->applied)
            break;
        list_remove(&e->link);
        free(e);
    }
}

static void finish_turn(struct head *h)
{
    struct err err = ERR_INIT;

    drop_applied_ends(h);
    head_act(h);
    head_finish_ops(h, NULL);
    settle_dirty(h);
    if (store_broken(h->store)) { /* this turn is safe in the log; moving it on failed */
        err_set(&err, ERR_IO, "the database's checkpoint could not be synced");
        give_up(h, &err);
    }
}

/* ---- history ---- */

static void note_attempt(void *arg, int64_t job, int32_t attempt)
{
    struct attempt_key key = { .job = job, .number = attempt };
    buf_append(arg, &key, sizeof(key));
}

/* Before the rows are gone for good: after a crash in between they are pruned again, where files
 * without rows would stay for ever. */
static void remove_files(struct head *h, struct buf *keys)
{
    struct err err = ERR_INIT;
    struct attempt_key key;

    for (; buf_len(keys) >= sizeof(key); buf_consume(keys, sizeof(key))) {
        memcpy(&key, buf_data(keys), sizeof(key));
        if (attempt_remove(store_dirfd(h->store), &key, &err) != 0)
            log_warning(h->log, "old output stays: %s", err.msg);
    }
}

static int prune(struct head *h, int64_t *removed, struct err *err)
{
    int64_t wall = clock_wall_ns(h->clock), keep = conf_int(h->conf, CONF_history_keep);
    struct buf keys = BUF_INIT;
    int rc = -1;

    if (store_begin(h->store, err) == 0 &&
        store_prune(h->store, JOB_SUCCEEDED, keep > 0 && keep < wall ? wall - keep : 0,
                    conf_int(h->conf, CONF_history_max_jobs), wall - KEY_KEEP_NS, PRUNE_BATCH,
                    note_attempt, &keys, removed, err) == 0) {
        remove_files(h, &keys);
        rc = store_commit(h->store, err);
    }
    buf_fini(&keys);
    return rc;
}

/* In a transaction of its own: what clients wait for doesn't wait for it. */
static void prune_history(struct head *h)
{
    struct err err = ERR_INIT;
    int64_t removed = 0;

    h->prune_due = false;
    ev_timer_set_after(h->loop, &h->prune_timer, PRUNE_NS);
    if (prune(h, &removed, &err) != 0)
        head_fail_turn(h, &err);
    else if (removed >= PRUNE_BATCH)
        ev_timer_set_after(h->loop, &h->prune_timer, PRUNE_AGAIN_NS);
}

/* ---- the turn ---- */

void head_turn_end(struct head *h)
{
    struct err err = ERR_INIT;
    int rc = 0;

    if (h->broken)
        return;
    head_nodes_turn(h);
    if (!h->closing && !h->txn && !h->dirty && list_empty(&h->ops) && head_line_can_wait(h))
        return;
    if (ev_now_ns(h->loop) < h->resume_ns && !h->closing) {
        head_arm(h, h->resume_ns);
    } else {
        apply_ends(h);
        rc = h->closing ? 0 : head_dispatch(h, &err);
    }
    if (rc == 0 && (h->dirty || !list_empty(&h->ops) || h->txn || use_is_due(h))) {
        rc = commit_turn(h, &err);
        if (rc == 0)
            finish_turn(h);
    }
    if (rc != 0) {
        head_fail_turn(h, &err);
        return;
    }
    drop_applied_ends(h);
    if (h->prune_due && !h->broken && !h->closing && ev_now_ns(h->loop) >= h->resume_ns)
        prune_history(h);
}

/* ---- timers ---- */

void head_on_timer(struct ev_timer *t)
{
    struct head *h = CONTAINER_OF(t, struct head, timer);
    int64_t now = clock_wall_ns(h->clock);

    while (!list_empty(&h->delayed)) {
        struct head_job *j = CONTAINER_OF(h->delayed.next, struct head_job, wait);
        if (j->not_before_wall_ns > now) {
            head_arm(h, head_time_add(ev_now_ns(h->loop), j->not_before_wall_ns - now));
            break;
        }
        head_job_queue(h, j);
    }
}

void head_on_prune(struct ev_timer *t)
{
    CONTAINER_OF(t, struct head, prune_timer)->prune_due = true;
}
