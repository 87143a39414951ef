/* SPDX-License-Identifier: BSD-2-Clause */
/* The head's life and its turn: gather, decide, commit, act. See head.h. */
#include "base/mem.h"

#include "head/head_priv.h"

#include "base/fs.h"
#include "base/str.h"
#include "sys/sys.h"

#include <unistd.h>

#define RESUME_NS NS_PER_S          /* pause after a failed commit */
#define USE_SAVE_NS (30 * NS_PER_S) /* fair share is written at most this often */
#define PRUNE_NS (60 * NS_PER_S)
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
    return store_in_transaction(h->store) ? 0 : store_begin(h->store, err);
}

/* ---- a turn that can't be committed ---- */

static void reload_row(void *arg, const struct store_job *row)
{
    head_job_load(arg, row);
}

struct reload_deps {
    struct head *h;
    struct head_job *j;
};

static void reload_spec(void *arg, const struct store_job *row)
{
    struct reload_deps *d = arg;
    struct err err = ERR_INIT;
    if (head_deps_from_spec(d->h, d->j, row->spec, &err) != 0)
        log_error(d->h->log, "job %lld: %s", (long long)row->id, err.msg);
}

/* Puts one dirty job back to what its row says. */
static void reload(struct head *h, int64_t id)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);
    if (!j)
        return;
    head_job_unqueue(h, j);
    if (store_job_get(h->store, id, reload_row, h, NULL) != 1 ||
        job_status_terminal((enum job_status)j->status))
        head_job_forget(h, j);
}

static void requeue_reloaded(struct head *h, int64_t id)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);
    if (!j || (j->status != JOB_QUEUED && !j->tasks))
        return;
    struct reload_deps d = { h, j };
    if (j->status == JOB_QUEUED && !j->array)
        store_job_get(h->store, id, reload_spec, &d, NULL);
    head_job_queue(h, j);
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void reload_dirty(struct head *h)
{
    size_t count = 0, n = 0;
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
    for (size_t i = n; i-- > 0;) /* tasks before their arrays: a forgotten array must have none */
        reload(h, ids[i]);
    for (size_t i = 0; i < n; i++)
        requeue_reloaded(h, ids[i]);
    free(ids);
}

static void finish_ops(struct head *h, const struct err *err)
{
    struct list ops;
    list_init(&ops);
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

static void give_up(struct head *h, const struct err *err)
{
    h->broken = true;
    log_error(h->log, "%s; stopping, because nobody can tell what is on disk", err->msg);
    h->hooks.broken(h->hooks.arg, err);
}

void head_fail_turn(struct head *h, const struct err *err)
{
    store_rollback(h->store);
    LIST_FOR_EACH_SAFE(it, &h->starting)
        head_run_undo(h, CONTAINER_OF(it, struct head_run, link));
    LIST_FOR_EACH_SAFE(it2, &h->over)
        head_run_undo(h, CONTAINER_OF(it2, struct head_run, link));
    LIST_FOR_EACH(it3, &h->ends)
        CONTAINER_OF(it3, struct head_end, link)->applied = false;
    if (store_broken(h->store)) {
        finish_ops(h, err);
        give_up(h, err);
        return;
    }
    log_warning(h->log, "nothing was saved: %s; trying again", err->msg);
    reload_dirty(h);
    h->resume_ns = ev_now_ns(h->loop) + RESUME_NS;
    head_arm(h, h->resume_ns);
    finish_ops(h, err);
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

static void save_use(struct head *h)
{
    int64_t now = ev_now_ns(h->loop);
    if (list_empty(&h->over) || now - h->use_saved_ns < USE_SAVE_NS)
        return;
    h->use_saved_ns = now;
    LIST_FOR_EACH(it, &h->over) {
        int32_t user = CONTAINER_OF(it, struct head_run, link)->alloc.user;
        store_use_set(h->store, sched_user_name(h->sched, user),
                      sched_user_use(h->sched, user, now), clock_wall_ns(h->clock), NULL);
    }
}

/* After the commit: jobs that ended leave memory, watchers hear of every change. */
static void settle_dirty(struct head *h)
{
    struct head_job *list = h->dirty;
    size_t n = 0, count = 0;
    for (struct head_job *j = list; j; j = j->next_dirty)
        count++;
    struct note {
        int64_t id;
        bool final;
    } *notes = mem_alloc_array(count + 1, sizeof(*notes));
    h->dirty = NULL;
    for (struct head_job *j = list, *next; j; j = next) {
        next = j->next_dirty;
        j->dirty = j->fresh = false;
        j->next_dirty = NULL;
        notes[n].id = j->entry.id;
        notes[n].final = job_status_terminal((enum job_status)j->status);
        n++;
    }
    while (!list_empty(&h->over))
        head_run_free(CONTAINER_OF(h->over.next, struct head_run, link));
    for (int pass = 0; pass < 2; pass++) /* tasks before their arrays */
        for (size_t i = 0; i < n; i++) {
            struct head_job *j = notes[i].final ? map_get(&h->jobs, (uint64_t)notes[i].id) : NULL;
            if (j && (j->tasks != NULL) == (pass == 1))
                head_job_forget(h, j);
        }
    if (h->hooks.changed)
        for (size_t i = 0; i < n; i++)
            h->hooks.changed(h->hooks.arg, notes[i].id, notes[i].final);
    free(notes);
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

static void on_turn_end(struct ev_hook *hook)
{
    struct head *h = CONTAINER_OF(hook, struct head, hook);
    struct err err = ERR_INIT;

    if (h->broken)
        return;
    if (ev_now_ns(h->loop) >= h->resume_ns) {
        LIST_FOR_EACH(it, &h->ends) {
            struct head_end *e = CONTAINER_OF(it, struct head_end, link);
            if (!e->applied)
                head_apply_end(h, e);
            e->applied = true;
        }
        head_dispatch(h);
        if (h->broken || ev_now_ns(h->loop) < h->resume_ns)
            return; /* the turn failed on the way */
    }
    if (h->dirty || !list_empty(&h->ops) || store_in_transaction(h->store)) {
        int rc = write_turn(h, &err);
        if (rc == 0) {
            save_use(h);
            rc = store_in_transaction(h->store) ? store_commit(h->store, &err) : 0;
        }
        if (rc != 0) {
            head_fail_turn(h, &err);
            return;
        }
        drop_applied_ends(h);
        head_act(h);
        finish_ops(h, NULL);
        settle_dirty(h);
        if (store_broken(h->store)) { /* this turn is safe in the log; moving it on failed */
            err_set(&err, ERR_IO, "the database's checkpoint could not be synced");
            give_up(h, &err);
        }
    }
    drop_applied_ends(h);
}

/* ---- timers ---- */

static void wake_delayed(struct head *h)
{
    int64_t now = clock_wall_ns(h->clock);
    LIST_FOR_EACH_SAFE(it, &h->parked) {
        struct head_job *j = CONTAINER_OF(it, struct head_job, wait);
        if (j->waiting != WAIT_TIME)
            continue;
        if (j->not_before_wall_ns <= now)
            head_job_queue(h, j);
        else
            head_arm(h, ev_now_ns(h->loop) + (j->not_before_wall_ns - now));
    }
}

static void on_timer(struct ev_timer *t)
{
    struct head *h = CONTAINER_OF(t, struct head, timer);
    wake_delayed(h);
}

static void remove_attempt(void *arg, int64_t job, int32_t attempt)
{
    struct buf *b = arg;
    struct attempt_key key = { .job = job, .number = attempt };
    buf_append(b, &key, sizeof(key));
}

static void on_prune(struct ev_timer *t)
{
    struct head *h = CONTAINER_OF(t, struct head, prune_timer);
    struct err err = ERR_INIT;
    struct buf keys = BUF_INIT;
    int64_t removed = 0, wall = clock_wall_ns(h->clock);
    int64_t keep = conf_int(h->conf, CONF_history_keep);

    ev_timer_set_after(h->loop, t, PRUNE_NS);
    if (h->broken || ev_now_ns(h->loop) < h->resume_ns || store_in_transaction(h->store))
        return;
    if (store_begin(h->store, &err) != 0 ||
        store_prune(h->store, JOB_SUCCEEDED, keep ? wall - keep : 0,
                    conf_int(h->conf, CONF_history_max_jobs), wall - KEY_KEEP_NS, PRUNE_BATCH,
                    remove_attempt, &keys, &removed, &err) != 0 ||
        store_commit(h->store, &err) != 0) {
        head_fail_turn(h, &err);
        buf_fini(&keys);
        return;
    }
    const struct attempt_key *k = (const void *)buf_data(&keys);
    for (size_t i = 0; i < buf_len(&keys) / sizeof(*k); i++)
        if (attempt_remove(store_dirfd(h->store), &k[i], &err) != 0)
            log_warning(h->log, "old output stays: %s", err.msg);
    buf_fini(&keys);
    if (removed >= PRUNE_BATCH)
        ev_timer_set_after(h->loop, t, 50 * NS_PER_MS);
}

/* ---- life ---- */

static bool load_live(void *arg, const struct store_job *row)
{
    head_job_load(arg, row);
    return true;
}

static void load_use(void *arg, const char *user, double use, int64_t wall_ns)
{
    struct head *h = arg;
    int64_t ago = clock_wall_ns(h->clock) - wall_ns;
    int64_t now = ev_now_ns(h->loop);
    sched_user_add_use(h->sched, sched_user(h->sched, user), use,
                       ago > 0 && ago < now ? now - ago : now);
}

static bool collect_dependent(void *arg, const struct store_job *row)
{
    struct buf *ids = arg;
    if (row->spec && !row->array_id && row->status == JOB_QUEUED && strstr(row->spec, "\"after\""))
        buf_append(ids, &row->id, sizeof(row->id));
    return true;
}

/* The same rows give the same memory: called once at start. */
static int load_queue(struct head *h, struct err *err)
{
    struct buf ids = BUF_INIT;
    uint64_t key;
    size_t pos = 0;
    struct head_job *j;

    if (store_job_each_live(h->store, JOB_SUCCEEDED, false, load_live, h, err) != 0 ||
        store_job_each_live(h->store, JOB_SUCCEEDED, true, collect_dependent, &ids, err) != 0) {
        buf_fini(&ids);
        return -1;
    }
    for (size_t i = 0; i < buf_len(&ids) / sizeof(int64_t); i++) {
        int64_t id;
        memcpy(&id, buf_data(&ids) + i * sizeof(id), sizeof(id));
        struct reload_deps d = { h, map_get(&h->jobs, (uint64_t)id) };
        if (d.j && store_job_get(h->store, id, reload_spec, &d, err) < 0) {
            buf_fini(&ids);
            return -1;
        }
    }
    buf_fini(&ids);
    if (head_adopt_all(h, err) != 0)
        return -1;
    while ((j = map_next(&h->jobs, &pos, &key)) != NULL) {
        if (j->status == JOB_RUNNING && !j->run && !j->tasks) {
            log_error(h->log, "job %lld is running without an attempt; queued again",
                      (long long)j->entry.id);
            head_job_event(h, j, JOB_EV_REQUEUE);
        }
        if (j->status == JOB_QUEUED || j->tasks)
            head_job_queue(h, j);
    }
    return 0;
}

static char **make_base_env(struct head *h)
{
    static const char *const passed[] = {
        "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", NULL
    };
    char **env = mem_alloc_array(16, sizeof(*env));
    size_t n = 0;
    char *user = sys_user_name(getuid()), *shell = sys_user_shell(getuid());
    env[n++] = mem_printf("HOME=%s", h->home);
    env[n++] = mem_printf("USER=%s", user);
    env[n++] = mem_printf("LOGNAME=%s", user);
    env[n++] = mem_printf("SHELL=%s", shell);
    for (size_t i = 0; passed[i]; i++) {
        const char *v = getenv(passed[i]);
        if (v)
            env[n++] = mem_printf("%s=%s", passed[i], v);
    }
    if (!getenv("PATH"))
        env[n++] = mem_strdup("PATH=/usr/local/bin:/usr/bin:/bin");
    free(user);
    free(shell);
    return env;
}

static void add_node(struct head *h)
{
    struct sched_resources have = { 0 };
    have.threads = conf_int(h->conf, CONF_daemon_threads);
    if (have.threads == 0)
        have.threads = sys_usable_cpus();
    have.memory = conf_int(h->conf, CONF_daemon_memory);
    if (have.memory == 0)
        have.memory = sys_memory_total();
    if (have.memory < 0)
        have.memory = INT64_MAX / 4;
    const char *name = conf_str(h->conf, CONF_daemon_node_name);
    h->node_name = *name ? mem_strdup(name) : sys_hostname();
    sched_node_add(h->sched, h->node_name, &have);
}

static int open_all(struct head *h, const struct head_config *cfg, int *spawner_fd, struct err *err)
{
    int64_t fence = 0;
    struct sched_params params = {
        .backfill_window_ns = conf_int(h->conf, CONF_jobs_backfill_window),
        .half_life_ns = conf_int(h->conf, CONF_jobs_fair_share_half_life),
    };
    h->store = store_open(cfg->state_dir, h->log, err);
    if (!h->store)
        return -1;
    if (store_begin(h->store, err) != 0 ||
        store_meta_get_int(h->store, "fence", 0, &fence, err) != 0 ||
        store_meta_set_int(h->store, "fence", fence + 1, err) != 0 ||
        store_commit(h->store, err) != 0)
        return -1;
    h->fence = (uint64_t)fence + 1;
    h->sched = sched_create(&params);
    add_node(h);
    h->home = sys_user_home(getuid());
    h->base_env = make_base_env(h);
    struct sched_resources have, used;
    sched_node_get(h->sched, 0, &have, &used);
    struct node_config nc = { .state_dir = cfg->state_dir,
                              .runtime_dir = cfg->runtime_dir,
                              .spawner_fd = *spawner_fd,
                              .idle_shims = (int)conf_int(h->conf, CONF_daemon_idle_shims),
                              .slots = (int)have.threads };
    struct node_hooks nh = { head_attempt_ended, head_attempt_never_started, h };
    *spawner_fd = -1;
    h->node = node_create(h->loop, h->log, &nc, &nh, err);
    if (!h->node)
        return -1;
    if (store_use_each(h->store, load_use, h, err) != 0)
        return -1;
    return load_queue(h, err);
}

struct head *head_create(struct ev_loop *loop, const struct log *log, const struct head_config *cfg,
                         const struct head_hooks *hooks, struct err *err)
{
    struct head *h = mem_alloc(sizeof(*h));
    int spawner_fd = cfg->spawner_fd;

    h->loop = loop;
    h->log = log;
    h->conf = cfg->conf;
    h->clock = ev_clock(loop);
    h->hooks = *hooks;
    h->state_dir = mem_strdup(cfg->state_dir);
    h->address = mem_strdup(cfg->address);
    map_init(&h->jobs);
    map_init(&h->dependents);
    list_init(&h->runs);
    list_init(&h->starting);
    list_init(&h->over);
    list_init(&h->parked);
    list_init(&h->ops);
    list_init(&h->ends);
    h->timer.fn = on_timer;
    h->prune_timer.fn = on_prune;
    h->hook.fn = on_turn_end;
    ev_hook_add(loop, &h->hook);
    if (open_all(h, cfg, &spawner_fd, err) != 0) {
        if (spawner_fd >= 0)
            close(spawner_fd);
        h->broken = true; /* nothing is to be written any more */
        head_destroy(h);
        return NULL;
    }
    ev_timer_set_after(loop, &h->prune_timer, PRUNE_NS / 10);
    ev_again(loop);
    return h;
}

static void free_jobs(struct head *h)
{
    uint64_t key;
    size_t pos = 0;
    struct head_job *j;
    struct head_dependents *d;
    while ((j = map_next(&h->jobs, &pos, &key)) != NULL) {
        free(j->deps);
        if (j->tasks)
            map_fini(&j->tasks->ahead);
        free(j->tasks);
        free(j);
    }
    pos = 0;
    while ((d = map_next(&h->dependents, &pos, &key)) != NULL) {
        free(d->ids);
        free(d);
    }
    map_fini(&h->jobs);
    map_fini(&h->dependents);
}

static void free_runs(struct list *runs)
{
    while (!list_empty(runs)) {
        struct head_run *r = CONTAINER_OF(runs->next, struct head_run, link);
        list_remove(&r->link);
        free(r);
    }
}

void head_destroy(struct head *h)
{
    if (!h)
        return;
    if (!h->broken)
        on_turn_end(&h->hook);
    ev_hook_remove(&h->hook);
    ev_timer_clear(&h->timer);
    ev_timer_clear(&h->prune_timer);
    node_destroy(h->node);
    free_runs(&h->runs);
    free_runs(&h->starting);
    free_runs(&h->over);
    free(h->spare);
    while (!list_empty(&h->ends)) {
        struct head_end *e = CONTAINER_OF(h->ends.next, struct head_end, link);
        list_remove(&e->link);
        free(e);
    }
    free_jobs(h);
    sched_destroy(h->sched);
    store_close(h->store);
    for (size_t i = 0; h->base_env && h->base_env[i]; i++)
        free(h->base_env[i]);
    free(h->base_env);
    free(h->state_dir);
    free(h->address);
    free(h->node_name);
    free(h->home);
    free(h);
}

void head_set_address(struct head *h, const char *address)
{
    free(h->address);
    h->address = mem_strdup(address);
}

struct store *head_store(struct head *h)
{
    return h->store;
}
