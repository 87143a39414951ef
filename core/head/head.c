/* SPDX-License-Identifier: BSD-2-Clause */
/* The head's life: opening, loading the queue, closing. */
#include "base/mem.h"

#include "head/head_allocate.h"
#include "head/head_node.h"
#include "head/head_priv.h"

#include "base/buf.h"
#include "sys/nss_user.h"
#include "sys/sys.h"

#include <unistd.h>

#define PRUNE_FIRST_NS (6 * NS_PER_S)

struct loading {
    struct head *h;
    struct buf ids;   /* of live jobs, in the order of age */
    struct buf specs; /* of those whose specification has to be looked at */
};

static void add_id(struct buf *b, int64_t id)
{
    buf_append(b, &id, sizeof(id));
}

/* The n-th id, or 0. */
static int64_t get_id(const struct buf *b, size_t n)
{
    int64_t id = 0;
    if (n < buf_len(b) / sizeof(id))
        memcpy(&id, buf_data(b) + n * sizeof(id), sizeof(id));
    return id;
}

static bool load_live(void *arg, const struct store_job *row)
{
    struct loading *l = arg;
    head_job_load(l->h, row);
    add_id(&l->ids, row->id);
    if (row->spec && (strstr(row->spec, "\"after\"") || strstr(row->spec, "\"node\"")))
        add_id(&l->specs, row->id);
    return true;
}

static int read_live(struct loading *l, struct err *err)
{
    struct head *h = l->h;
    int64_t id;

    if (store_job_each_live(h->store, JOB_SUCCEEDED, true, load_live, l, err) != 0)
        return -1;
    for (size_t i = 0; (id = get_id(&l->ids, i)) != 0; i++) {
        struct head_job *j = map_get(&h->jobs, (uint64_t)id);
        if (j->tasks && head_array_load_ahead(h, j, err) != 0)
            return -1;
    }
    for (size_t i = 0; (id = get_id(&l->specs, i)) != 0; i++) {
        struct head_job *j = map_get(&h->jobs, (uint64_t)id);
        if (head_job_read_spec(h, j, head_deps_matter(j), err) != 0)
            return -1;
    }
    return 0;
}

static void queue_loaded(struct head *h, struct head_job *j)
{
    if (j->status == JOB_RUNNING && !j->run && !j->tasks) {
        log_error(h->log, "job %lld is running without an attempt; queued again",
                  (long long)j->entry.id);
        head_job_event(h, j, JOB_EV_REQUEUE);
    }
    if (!job_status_terminal((enum job_status)j->status) && (j->status == JOB_QUEUED || j->tasks))
        head_job_queue(h, j);
}

/* The same rows give the same memory: called once at start. */
static int load_queue(struct head *h, struct err *err)
{
    struct loading l = { .h = h };
    int64_t id;
    int rc = read_live(&l, err);

    if (rc == 0)
        rc = head_adopt_all(h, err);
    for (size_t i = 0; rc == 0 && (id = get_id(&l.ids, i)) != 0; i++)
        queue_loaded(h, map_get(&h->jobs, (uint64_t)id));
    for (size_t i = 0; rc == 0 && (id = get_id(&l.ids, i)) != 0; i++) {
        struct head_job *j = map_get(&h->jobs, (uint64_t)id);
        if (j->tasks && !job_status_terminal((enum job_status)j->status))
            head_array_settle(h, j);
    }
    buf_fini(&l.ids);
    buf_fini(&l.specs);
    return rc;
}

static void load_use(void *arg, const char *user, double use, int64_t wall_ns)
{
    struct head *h = arg;
    int64_t now = ev_now_ns(h->loop), wall = clock_wall_ns(h->clock);
    int64_t ago = wall_ns > 0 && wall_ns < wall ? wall - wall_ns : 0;
    /* before the machine's start, monotonic time is negative */
    sched_user_add_use(h->sched, sched_user(h->sched, user), use, now - ago);
}

static char **make_base_env(const struct head *h, const struct nss_user *me)
{
    static const char *const passed[] = {
        "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", NULL
    };
    char **env = mem_alloc_array(16, sizeof(*env));
    size_t n = 0;
    env[n++] = mem_printf("HOME=%s", h->home);
    env[n++] = mem_printf("USER=%s", me->name);
    env[n++] = mem_printf("LOGNAME=%s", me->name);
    env[n++] = mem_printf("SHELL=%s", me->shell);
    for (size_t i = 0; passed[i]; i++) {
        const char *v = getenv(passed[i]);
        if (v)
            env[n++] = mem_printf("%s=%s", passed[i], v);
    }
    if (!getenv("PATH"))
        env[n++] = mem_strdup("PATH=/usr/local/bin:/usr/bin:/bin");
    return env;
}

/*
 * Who may ask is our own user and root (api_guard.c): their names are found out once, here, where
 * asking a directory may keep us waiting some seconds. Later nothing is looked up any more.
 */
static void learn_users(struct head *h)
{
    struct nss_user me, root;
    struct err err = ERR_INIT;

    if (nss_user_self(&me, &err) != 0)
        log_warning(h->log, "jobs get the user's number as its name: %s", err.msg);
    h->user = mem_strdup(me.name);
    h->home = mem_strdup(me.home);
    h->base_env = make_base_env(h, &me);
    if (nss_user_by_uid(0, NULL, &root, NULL) == 0)
        h->root = mem_strdup(root.name);
    nss_user_fini(&root);
    nss_user_fini(&me);
}

char *head_user_name(const struct head *h, uid_t uid)
{
    if (uid == getuid())
        return mem_strdup(h->user);
    return uid == 0 && h->root ? mem_strdup(h->root) : mem_printf("%u", (unsigned)uid);
}

/* Names this start of the machine; 0 when it can't be told. */
static int64_t boot_number(void)
{
    char id[64] = "";

    sys_boot_id(id, sizeof(id));
    return id[0] ? (int64_t)(map_hash(id, strlen(id)) >> 1 | 1) : 0;
}

/*
 * A number for this start of the daemon, larger than all before; and from which number on the
 * machine has been running. As that is written down, what ran before a restart of the machine is
 * known also to a daemon that follows one that died while it looked.
 */
static int raise_fence(struct head *h, struct err *err)
{
    struct store *s = h->store;
    int64_t fence = 0, boot = 0, boot_fence = 0, now = boot_number();

    if (store_begin(s, err) != 0 || store_meta_get_int(s, "fence", 0, &fence, err) != 0 ||
        store_meta_get_int(s, "boot", 0, &boot, err) != 0 ||
        store_meta_get_int(s, "boot_fence", 0, &boot_fence, err) != 0)
        return -1;
    fence++;
    if (now != 0 && now != boot) {
        if (boot != 0)
            boot_fence = fence;
        if (store_meta_set_int(s, "boot", now, err) != 0 ||
            store_meta_set_int(s, "boot_fence", boot_fence, err) != 0)
            return -1;
    }
    h->fence = (uint64_t)fence;
    h->boot_fence = (uint64_t)boot_fence;
    return store_meta_set_int(s, "fence", fence, err) != 0 || store_commit(s, err) != 0 ? -1 : 0;
}

static int open_all(struct head *h, const struct head_config *cfg, int *spawner_fd, struct err *err)
{
    struct sched_params params = {
        .backfill_window_ns = conf_int(h->conf, CONF_jobs_backfill_window),
        .half_life_ns = conf_int(h->conf, CONF_jobs_fair_share_half_life),
        .ahead_ns = conf_int(h->conf, CONF_jobs_ahead),
    };
    h->store = store_open(cfg->state_dir, h->log, err);
    if (!h->store)
        return -1;
    if (raise_fence(h, err) != 0)
        return -1;
    h->sched = sched_create(&params);
    const char *name = conf_str(h->conf, CONF_daemon_node_name);
    h->node_name = *name ? mem_strdup(name) : sys_hostname();
    if (head_nodes_load(h, err) != 0)
        return -1;
    learn_users(h);
    struct sched_resources have, used;
    sched_node_get(h->sched, 0, &have, &used);
    struct node_config nc = { .state_dir = cfg->state_dir,
                              .runtime_dir = cfg->runtime_dir,
                              .spawner_fd = *spawner_fd,
                              .idle_shims = (int)conf_int(h->conf, CONF_daemon_idle_shims),
                              .slots = (int)have.threads };
    struct node_hooks nh = { head_attempt_ended, head_attempt_never_started,
                             head_attempt_taken_back, h };
    *spawner_fd = -1;
    h->node = node_create(h->loop, h->log, &nc, &nh, err);
    if (!h->node)
        return -1;
    if (store_use_each(h->store, load_use, h, err) != 0)
        return -1;
    if (load_queue(h, err) != 0)
        return -1;
    head_allocate_begin(h);
    head_nodes_begin(h);
    return 0;
}

static void on_turn_end(struct ev_hook *hook)
{
    head_turn_end(CONTAINER_OF(hook, struct head, hook));
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
    h->runtime_dir = mem_strdup(cfg->runtime_dir);
    h->address = mem_strdup(cfg->address);
    map_init(&h->jobs);
    map_init(&h->dependents);
    map_init(&h->use_changed);
    list_init(&h->runs);
    list_init(&h->starting);
    list_init(&h->over);
    list_init(&h->lines);
    list_init(&h->parked);
    list_init(&h->delayed);
    list_init(&h->ops);
    list_init(&h->ends);
    h->timer.fn = head_on_timer;
    h->prune_timer.fn = head_on_prune;
    h->line_timer.fn = head_on_line_timer;
    h->hook.fn = on_turn_end;
    ev_hook_add(loop, &h->hook);
    if (open_all(h, cfg, &spawner_fd, err) != 0) {
        if (spawner_fd >= 0)
            close(spawner_fd);
        h->broken = true; /* nothing is to be written any more */
        head_destroy(h);
        return NULL;
    }
    ev_timer_set_after(loop, &h->prune_timer, PRUNE_FIRST_NS);
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
    map_fini(&h->use_changed);
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
    struct err err = ERR_INIT;

    if (!h)
        return;
    h->closing = true;
    if (!h->broken)
        head_line_take_back(h);
    head_turn_end(h);
    err_set(&err, ERR_UNAVAILABLE, "the daemon is stopping");
    head_finish_ops(h, &err);
    ev_hook_remove(&h->hook);
    ev_timer_clear(&h->timer);
    ev_timer_clear(&h->prune_timer);
    ev_timer_clear(&h->line_timer);
    head_allocate_end(h);
    head_nodes_end(h);
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
    free(h->runtime_dir);
    free(h->address);
    free(h->node_name);
    free(h->home);
    free(h->user);
    free(h->root);
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
