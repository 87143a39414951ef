/* SPDX-License-Identifier: BSD-2-Clause */
/* The set of nodes. See head_node.h. */
#include "head/head_node.h"

#include "base/mem.h"

#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "head/head_measure.h"
#include "head/head_priv.h"
#include "head/reach.h"
#include "head/remote.h"
#include "net/ssh_deploy.h"
#include "node/link_msg.h"
#include "node/link_sample.h"
#include "sys/sample.h"
#include "sys/sys.h"

#include <inttypes.h>
#include <sys/random.h>
#include <sys/stat.h>

#define NAME_MAX_LEN 128
#define INTERVAL_S 10 /* between measurements while nobody looks */

/* ---- finding ---- */

struct head_node *head_node_at(const struct head *h, int32_t index)
{
    return index >= 0 && (size_t)index < h->node_count ? h->nodes[index] : NULL;
}

struct head_node *head_node_find(const struct head *h, const char *name)
{
    struct head_node *n = head_node_at(h, sched_node_find(h->sched, name));
    return n && n->listed ? n : NULL;
}

bool head_node_is_far(const struct head *h, const char *name)
{
    const struct head_node *n = name ? head_node_at(h, sched_node_find(h->sched, name)) : NULL;

    return n && n->kind == HEAD_NODE_SSH;
}

int head_node_check(const struct head *h, int32_t index, const char *where, struct err *err)
{
    const struct head_node *n = head_node_at(h, index);

    if (!n || !n->reach || reach_status(n->reach)->state != REACH_MEASURING)
        return 0;
    err_set(err, ERR_UNPROCESS, "%snode: %s can run no jobs: %s", where, n->name,
            reach_status(n->reach)->err->msg);
    return err_hint(err, "%s", reach_status(n->reach)->err->hint);
}

/* ---- what jobs may use of it ---- */

/* Negative: not known. */
static int64_t at_most(int64_t have, int64_t limit)
{
    if (have < 0)
        have = INT64_MAX / 4;
    return limit > 0 && limit < have ? limit : have;
}

static void set_capacity(struct head_node *n, int64_t threads, int64_t memory)
{
    struct sched_resources have = { .threads = at_most(threads, n->max_threads),
                                    .memory = at_most(memory, n->max_memory) };

    sched_node_set_capacity(n->head->sched, n->index, &have);
}

static void set_up(struct head_node *n, bool up)
{
    bool measured = n->reach && reach_status(n->reach)->state == REACH_MEASURING;

    sched_node_set_state(n->head->sched, n->index,
                         !n->listed    ? SCHED_NODE_GONE
                         : n->removing ? SCHED_NODE_DOWN
                         : up          ? SCHED_NODE_UP
                         : measured    ? SCHED_NODE_DRAINED
                                       : SCHED_NODE_DOWN);
    ev_again(n->head->loop); /* something may start */
}

/* A new one, or the one that had this name before. */
static struct head_node *node_make(struct head *h, const char *name)
{
    static const struct sched_resources unknown;
    int32_t index = sched_node_find(h->sched, name);
    struct head_node *n = head_node_at(h, index);

    if (n)
        return n;
    n = mem_alloc(sizeof(*n));
    n->head = h;
    n->index = sched_node_add(h->sched, name, &unknown);
    n->name = mem_strdup(name);
    n->kind = HEAD_NODE_SSH;
    h->nodes = mem_resize(h->nodes, h->node_count + 1, sizeof(*h->nodes));
    h->nodes[h->node_count++] = n;
    sched_node_set_state(h->sched, n->index, SCHED_NODE_GONE);
    return n;
}

int32_t head_node_number(struct head *h, const char *name)
{
    return node_make(h, name)->index;
}

/* ---- far nodes: what they say ---- */

static void remember_capacity(struct head_node *n);

static void on_remote_changed(struct remote *r, void *arg)
{
    struct head_node *n = arg;
    bool up = remote_state(r) == REMOTE_UP,
         was = sched_node_state(n->head->sched, n->index) == SCHED_NODE_UP;
    const struct remote_facts *f = remote_facts(r);

    if (up) {
        n->heard_wall_ns = clock_wall_ns(n->head->clock);
        set_capacity(n, f->threads, f->memory_total_bytes);
        if (!was)
            remember_capacity(n);
    } else if (!remote_connected(r) && n->reach && *remote_error(r)) {
        struct err err = ERR_INIT;
        err_set(&err, ERR_UNAVAILABLE, "%s", remote_error(r));
        reach_failed(n->reach, &err);
    }
    set_up(n, up);
}

static void on_remote_sample(const struct link_sample *s, void *arg)
{
    struct head_node *n = arg;

    n->heard_wall_ns = clock_wall_ns(n->head->clock);
    head_node_sampled(n, s);
}

static void on_remote_ended(const struct attempt_end *end, void *arg)
{
    head_attempt_ended(end, ((struct head_node *)arg)->head);
}

static void on_remote_never_started(const struct attempt_key *key, void *arg)
{
    head_attempt_never_started(key, ((struct head_node *)arg)->head);
}

static void on_remote_taken_back(const struct attempt_key *key, void *arg)
{
    head_attempt_taken_back(key, ((struct head_node *)arg)->head);
}

static void on_agent(int fd, void *arg)
{
    struct head_node *n = arg;
    struct err err = ERR_INIT;

    if (remote_connect(n->remote, fd, &err) != 0)
        reach_failed(n->reach, &err);
}

static void on_reach_changed(void *arg)
{
    struct head_node *n = arg;

    set_up(n, n->remote && remote_state(n->remote) == REMOTE_UP);
}

static void on_reach_sample(const struct sample *s, void *arg)
{
    struct link_sample_room room;
    struct head_node *n = arg;
    struct link_sample l;

    link_sample_fill(&l, s, &room);
    n->heard_wall_ns = clock_wall_ns(n->head->clock);
    head_node_sampled(n, &l);
}

/* The same for ever: nodes keep what they run for a head under it. */
static int head_id(struct head *h, char *out, size_t size, struct err *err)
{
    int64_t id = 0;
    bool own = !store_in_transaction(h->store);

    if (store_meta_get_int(h->store, "head_id", 0, &id, err) != 0)
        return -1;
    if (id == 0) {
        if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
            return err_set(err, ERR_IO, "no random numbers");
        id = id & INT64_MAX ? id & INT64_MAX : 1;
        if ((own && store_begin(h->store, err) != 0) ||
            store_meta_set_int(h->store, "head_id", id, err) != 0 ||
            (own && store_commit(h->store, err) != 0))
            return -1;
    }
    snprintf(out, size, "%016" PRIx64, (uint64_t)id);
    return 0;
}

static int make_remote(struct head_node *n, struct err *err)
{
    struct head *h = n->head;
    struct remote_config cfg = {
        .name = n->name,
        .state_dir = h->state_dir,
        .head_id = h->head_id,
        .fence = h->fence,
        .lease_s = conf_int(h->conf, CONF_nodes_lease) / NS_PER_S,
        .interval_s = INTERVAL_S,
        .output_max = conf_int(h->conf, CONF_nodes_output),
    };
    struct remote_hooks hooks = { .ended = on_remote_ended,
                                  .never_started = on_remote_never_started,
                                  .taken_back = on_remote_taken_back,
                                  .changed = on_remote_changed,
                                  .sample = on_remote_sample,
                                  .arg = n };

    n->remote = remote_create(h->loop, h->log, &cfg, &hooks, err);
    return n->remote ? 0 : -1;
}

/* What is copied to hosts: ourselves. STATE/bin may have hives for other kinds of machines. */
static struct ssh_deploy_program *program(struct head *h)
{
    struct err err = ERR_INIT;

    if (!h->program && !h->program_failed) {
        char *others = mem_printf("%s/bin", h->state_dir);
        h->program = ssh_deploy_program_open("/proc/self/exe", others, false, &err);
        h->program_failed = !h->program;
        free(others);
        if (h->program_failed)
            log_error(h->log, "hive can't be copied to hosts: %s", err.msg);
    }
    return h->program;
}

static void connect_node(struct head_node *n)
{
    struct reach_config cfg = { .runtime_dir = n->head->runtime_dir, .host = n->host };
    struct reach_hooks hooks = { on_agent, on_reach_sample, on_reach_changed, n };

    if (n->kind != HEAD_NODE_SSH || !n->listed || n->reach)
        return;
    cfg.program = program(n->head);
    cfg.id = n->head->head_id;
    n->reach = reach_create(n->head->loop, n->head->log, &cfg, &hooks);
}

/* ---- in the store ---- */

/* {"host":"ann@big","any":true,"max_threads":8,"max_memory":0,"threads":16,"memory":…}: what the
 * user asked for, and what was there when it was last seen. */
static char *config_text(const struct head_node_spec *s, int64_t threads, int64_t memory)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_str(&w, "host", s->host);
    jsonw_bool(&w, "any", s->any);
    jsonw_int(&w, "max_threads", s->threads);
    jsonw_int(&w, "max_memory", s->memory);
    jsonw_int(&w, "threads", threads);
    jsonw_int(&w, "memory", memory);
    jsonw_obj_close(&w);
    return buf_take(&b, NULL);
}

static int put_node(struct head *h, const struct head_node_spec *s, enum head_node_kind kind,
                    int64_t threads, int64_t memory, int64_t *id, struct err *err)
{
    char *config = config_text(s, threads, memory);
    struct store_node row = {
        .name = s->name,
        .kind = kind,
        .added_ns = clock_wall_ns(h->clock),
        .address = s->host,
        .config = config,
    };
    int rc = store_node_put(h->store, &row, id, err);

    free(config);
    return rc;
}

static void remember_capacity(struct head_node *n)
{
    struct head *h = n->head;
    const struct remote_facts *f = remote_facts(n->remote);
    struct head_node_spec s = { .name = n->name,
                                .host = n->host,
                                .any = n->any,
                                .threads = n->max_threads,
                                .memory = n->max_memory };
    struct err err = ERR_INIT;

    /* With the next turn; not worth more: it is only for jobs that are submitted while it is away. */
    if (n->listed && head_txn(h, &err) == 0 &&
        put_node(h, &s, n->kind, f->threads, f->memory_total_bytes, NULL, &err) != 0)
        log_warning(h->log, "what node %s has is not written down: %s", n->name, err.msg);
}

static int64_t get_number(yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    return yyjson_is_int(v) ? yyjson_get_sint(v) : 0;
}

static bool load_row(void *arg, const struct store_node *row)
{
    struct head *h = arg;
    struct head_node *n;
    yyjson_doc *doc;
    yyjson_val *o;

    if (row->kind == HEAD_NODE_OWN) {
        if (str_eq(row->name, h->node_name))
            h->nodes[0]->id = row->id;
        return true;
    }
    if (str_eq(row->name, h->node_name)) {
        log_warning(h->log, "the host %s can't be used: this machine has that name now", row->name);
        h->nodes[0]->id = row->id; /* the row stays as it is, for the day when it has another */
        return true;
    }
    n = node_make(h, row->name);
    doc = jsonx_parse(row->config, strlen(row->config), NULL);
    o = yyjson_doc_get_root(doc);
    n->kind = HEAD_NODE_SSH;
    n->listed = true;
    n->id = row->id;
    n->host = mem_strdup(row->address);
    n->any = yyjson_is_true(yyjson_obj_get(o, "any"));
    n->max_threads = get_number(o, "max_threads");
    n->max_memory = get_number(o, "max_memory");
    set_capacity(n, get_number(o, "threads"), get_number(o, "memory"));
    sched_node_set_by_name(h->sched, n->index, !n->any);
    set_up(n, false);
    yyjson_doc_free(doc);
    return true;
}

static void add_own(struct head *h)
{
    struct head_node *n = node_make(h, h->node_name);
    int64_t threads = conf_int(h->conf, CONF_daemon_threads);
    int64_t memory = conf_int(h->conf, CONF_daemon_memory);

    if (threads == 0)
        threads = sys_usable_cpus();
    if (memory == 0)
        memory = sys_memory_total();
    n->kind = HEAD_NODE_OWN;
    n->listed = n->any = true;
    set_capacity(n, threads, memory);
    set_up(n, true);
}

/* Our own machine has a row for the sake of its measurements. */
static int note_own(struct head *h, struct err *err)
{
    struct head_node_spec s = { .name = h->node_name, .host = "", .any = true };

    if (h->nodes[0]->id != 0)
        return 0;
    return store_begin(h->store, err) == 0 &&
                   put_node(h, &s, HEAD_NODE_OWN, 0, 0, &h->nodes[0]->id, err) == 0
               ? store_commit(h->store, err)
               : -1;
}

int head_nodes_load(struct head *h, struct err *err)
{
    add_own(h);
    if (head_id(h, h->head_id, sizeof(h->head_id), err) != 0 ||
        store_node_each(h->store, load_row, h, err) != 0 || note_own(h, err) != 0)
        return -1;
    for (size_t i = 0; i < h->node_count; i++)
        if (h->nodes[i]->kind == HEAD_NODE_SSH && make_remote(h->nodes[i], err) != 0)
            return -1;
    return 0;
}

void head_nodes_begin(struct head *h)
{
    for (size_t i = 0; i < h->node_count; i++)
        connect_node(h->nodes[i]);
    head_measure_begin(h);
}

static void node_let_go(struct head_node *n)
{
    reach_destroy(n->reach);
    remote_destroy(n->remote);
    n->reach = NULL;
    n->remote = NULL;
    head_node_sample_free(n);
}

void head_nodes_end(struct head *h)
{
    head_measure_end(h);
    for (size_t i = 0; i < h->node_count; i++) {
        struct head_node *n = h->nodes[i];
        node_let_go(n);
        free(n->name);
        free(n->host);
        free(n);
    }
    MEM_FREE(h->nodes);
    h->node_count = 0;
    ssh_deploy_program_close(h->program);
    h->program = NULL;
}

/* ---- adding and removing ---- */

struct node_change {
    struct head_op op; /* first: after the commit, before whoever asked hears of it */
    struct head *head;
    struct head_node_spec spec; /* strings owned; host NULL: it is removed */
    int64_t id;
};

static void change_free(struct node_change *c)
{
    free((char *)c->spec.name);
    free((char *)c->spec.host);
    free(c);
}

static void added(struct head_op *op, const struct err *failed)
{
    struct node_change *c = CONTAINER_OF(op, struct node_change, op);
    struct head_node *n;
    struct err err = ERR_INIT;

    if (!failed) {
        n = node_make(c->head, c->spec.name);
        n->kind = HEAD_NODE_SSH;
        n->listed = true;
        n->id = c->id;
        n->any = c->spec.any;
        n->max_threads = c->spec.threads;
        n->max_memory = c->spec.memory;
        free(n->host);
        n->host = mem_strdup(c->spec.host);
        sched_node_set_by_name(c->head->sched, n->index, !n->any);
        if (make_remote(n, &err) == 0)
            connect_node(n);
        else
            log_error(c->head->log, "node %s can't be used: %s", n->name, err.msg);
        set_up(n, false);
        log_info(c->head->log, "node %s was added", n->name);
    }
    change_free(c);
}

static void left(void *arg, const struct err *err)
{
    struct head_node *n = arg;

    if (err)
        log_warning(n->head->log, "removing node %s: %s", n->name, err->msg);
    /* Not from a hook of it: with the end of the turn. */
    n->leaving = true;
    ev_again(n->head->loop);
}

static void removed(struct head_op *op, const struct err *failed)
{
    struct node_change *c = CONTAINER_OF(op, struct node_change, op);
    struct head_node *n = head_node_find(c->head, c->spec.name);

    n->removing = false;
    if (failed) {
        set_up(n, n->remote && remote_state(n->remote) == REMOTE_UP);
    } else {
        n->listed = false;
        set_up(n, false);
        log_info(c->head->log, "node %s was removed", n->name);
        if (n->reach)
            reach_leave(n->reach, left, n);
        else
            n->leaving = true;
    }
    change_free(c);
}

void head_nodes_turn(struct head *h)
{
    for (size_t i = 0; i < h->node_count; i++) {
        struct head_node *n = h->nodes[i];
        if (!n->leaving)
            continue;
        n->leaving = false;
        node_let_go(n);
    }
}

/* For command lines and listings; what ssh makes of it is ssh's business. */
static int check_word(const char *word, const char *what, struct err *err)
{
    size_t len = strlen(word);

    if (len == 0 || len > NAME_MAX_LEN || word[0] == '-' ||
        strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:@%[]+") !=
            len) {
        err_set(err, ERR_INVALID, "%s: '%.60s' is no name of a host", what, word);
        return err_hint(err, "what `ssh NAME` takes, with letters, digits and . _ - : @ %% [ ] +");
    }
    return 0;
}

static struct node_change *change_begin(struct head *h, const char *name, struct head_op *op,
                                        void (*done)(struct head_op *op, const struct err *err))
{
    struct node_change *c = mem_alloc(sizeof(*c));

    c->head = h;
    c->spec.name = mem_strdup(name);
    c->op.done = done;
    list_append(&h->ops, &c->op.link);
    list_append(&h->ops, &op->link);
    return c;
}

int head_node_add(struct head *h, const struct head_node_spec *s, struct head_op *op,
                  struct err *err)
{
    struct node_change *c;
    struct head_node *old;
    int64_t id;

    if (check_word(s->host, "host", err) != 0 || check_word(s->name, "name", err) != 0)
        return -1;
    old = head_node_at(h, sched_node_find(h->sched, s->name));
    if (old && (old->listed || old->reach)) {
        err_set(err, ERR_CONFLICT,
                old->listed ? "there is a node %s already" : "node %s is just being removed",
                s->name);
        return err_hint(err,
                        old->listed ? "see it with: hive hosts list" : "try again in a moment");
    }
    if (head_txn(h, err) != 0 || put_node(h, s, HEAD_NODE_SSH, 0, 0, &id, err) != 0)
        return -1;
    c = change_begin(h, s->name, op, added);
    c->id = id;
    c->spec = (struct head_node_spec){ .name = c->spec.name,
                                       .host = mem_strdup(s->host),
                                       .any = s->any,
                                       .threads = s->threads,
                                       .memory = s->memory };
    return 0;
}

static int64_t count_runs(const struct head *h, const struct head_node *n)
{
    int64_t count = 0;

    LIST_FOR_EACH(it, &h->runs)
        count += CONTAINER_OF(it, struct head_run, link)->alloc.node == n->index;
    LIST_FOR_EACH(it2, &h->starting)
        count += CONTAINER_OF(it2, struct head_run, link)->alloc.node == n->index;
    return count;
}

int head_node_remove(struct head *h, const char *name, struct head_op *op, struct err *err)
{
    struct head_node *n = head_node_find(h, name);
    int64_t runs;

    if (!n) {
        err_set(err, ERR_NOT_FOUND, "there is no node '%.60s'", name);
        return err_hint(err, "list them with: hive hosts list");
    }
    if (n->kind == HEAD_NODE_OWN)
        return err_set(err, ERR_CONFLICT, "%s is the machine the daemon runs on", name);
    runs = count_runs(h, n);
    if (runs > 0) {
        err_set(err, ERR_CONFLICT, "%" PRId64 " job%s on node %s", runs,
                runs == 1 ? " runs" : "s run", name);
        return err_hint(err, "wait for them, or cancel them first: hive status jobs");
    }
    if (n->removing)
        return err_set(err, ERR_CONFLICT, "node %s is just being removed", name);
    if (head_txn(h, err) != 0 || store_node_remove(h->store, n->id, err) != 0)
        return -1;
    n->removing = true;
    set_up(n, false);
    change_begin(h, name, op, removed);
    return 0;
}

int head_node_again(struct head *h, const char *name, struct err *err)
{
    struct head_node *n = head_node_find(h, name);

    if (!n) {
        err_set(err, ERR_NOT_FOUND, "there is no node '%.60s'", name);
        return err_hint(err, "list them with: hive hosts list");
    }
    if (n->reach)
        reach_again(n->reach);
    return 0;
}

/* ---- attempts ---- */

int head_node_run(struct head *h, const struct head_run *r, struct remote_order *order,
                  struct err *err)
{
    struct head_node *n = head_node_at(h, r->alloc.node);

    if (n->kind == HEAD_NODE_OWN)
        return node_run(h->node, &order->run, err);
    if (!n->remote)
        return err_set(err, ERR_UNAVAILABLE, "node %s was removed", n->name);
    order->inherit_env = true;
    order->workdir_fallback = !n->any;
    order->home = h->home;
    return remote_run(n->remote, order, err);
}

void head_node_kill(struct head *h, const struct head_run *r)
{
    struct head_node *n = head_node_at(h, r->alloc.node);

    if (n->kind == HEAD_NODE_OWN)
        node_kill(h->node, &r->key, r->grace_ns);
    else if (n->remote)
        remote_kill(n->remote, &r->key, r->grace_ns);
}

int head_node_adopt(struct head *h, const struct head_run *r, const char *stdout_path,
                    const char *stderr_path, struct err *err)
{
    struct head_node *n = head_node_at(h, r->alloc.node);
    struct attempt_end end = { .key = r->key, .outcome = ATTEMPT_LOST, .code = -1 };

    if (n->kind == HEAD_NODE_OWN && n->listed)
        return node_adopt(h->node, &r->key, r->key.fence < h->boot_fence, err);
    if (n->remote)
        return remote_adopt(n->remote, &r->key, stdout_path, stderr_path, err);
    snprintf(end.message, sizeof(end.message), "node %.100s is not known any more", n->name);
    head_attempt_ended(&end, h);
    return 0;
}

/* There is more of it on the node than we copied. */
static bool output_is_cut(struct head *h, const struct attempt_key *key)
{
    static const char *const suffixes[] = { ".out", ".err" };
    bool cut = false;

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        struct buf path = BUF_INIT;
        struct stat st;
        attempt_prefix(key, &path);
        buf_append_str(&path, suffixes[i]);
        cut = cut || (fstatat(store_dirfd(h->store), buf_data(&path), &st, 0) == 0 &&
                      st.st_size > conf_int(h->conf, CONF_nodes_output));
        buf_fini(&path);
    }
    return cut;
}

void head_node_ended(struct head *h, const struct head_run *r)
{
    struct head_node *n = head_node_at(h, r->alloc.node);

    if (!n || !n->remote || !r->ended)
        return;
    if (remote_ack(n->remote, &r->key) && !output_is_cut(h, &r->key))
        remote_forget(n->remote, &r->key);
}
