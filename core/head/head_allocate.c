/* SPDX-License-Identifier: BSD-2-Clause */
/* See head_allocate.h. */
#include "head/head_allocate.h"

#include "base/mem.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/hosts_file.h"
#include "base/str.h"
#include "head/head_apps.h"
#include "head/head_measure.h"
#include "head/head_node.h"
#include "head/head_priv.h"
#include "head/reach.h"
#include "head/remote.h"
#include "node/link_msg.h"
#include "sys/sys.h"

#define SAVE_NS (30 * NS_PER_S)
#define STICKY_MAX 4096
/* Numbers go on over restarts, so that a late report can't meet somebody else's place. */
#define IDS_PER_START INT64_C(1000000000)

struct place {
    struct list link; /* head_allocate.places, oldest first */
    int64_t id;
    uint64_t ticket;
    int32_t node;
    char *app;
    int64_t placed_ns, heard_ns; /* heard_ns 0: not reported yet */
    int64_t pid;
    int64_t memory, cpu_milli; /* peak, average; -1 unknown */
};

struct sticky {
    char *app, *host;
};

struct head_allocate {
    struct head *head;
    struct head_apps *apps;
    struct choose_ledger *ledger;
    struct list places;
    size_t place_count;
    int64_t last_id;
    struct sticky *sticky;
    size_t sticky_count;
    char *path;
    bool dirty, read_only;
    struct ev_timer save_timer;
};

/* ---- keeping ---- */

static void load(struct head_allocate *a)
{
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;

    if (fs_read_file(a->path, HEAD_APPS_TEXT_MAX, &text, &err) == 0)
        head_apps_read(a->apps, buf_data(&text), buf_len(&text), &err);
    /* What can't be read now may be there the next time. */
    a->read_only = err.kind != ERR_NONE && err.kind != ERR_NOT_FOUND && err.kind != ERR_CORRUPT;
    if (err.kind != ERR_NONE && err.kind != ERR_NOT_FOUND)
        log_warning(a->head->log, "%s: %s; what applications used before is not known%s", a->path,
                    err.msg, a->read_only ? ", nor written down" : "");
    buf_fini(&text);
}

static void save(struct head_allocate *a)
{
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;

    ev_timer_clear(&a->save_timer);
    if (!a->dirty || a->read_only)
        return;
    a->dirty = false;
    head_apps_write(a->apps, &text);
    if (fs_write_file(a->path, buf_data(&text), buf_len(&text), 0600, false, &err) != 0)
        log_warning(a->head->log, "what applications use is not written down: %s", err.msg);
    buf_fini(&text);
}

static void on_save(struct ev_timer *t)
{
    save(CONTAINER_OF(t, struct head_allocate, save_timer));
}

static void changed(struct head_allocate *a)
{
    a->dirty = true;
    if (!ev_timer_armed(&a->save_timer))
        ev_timer_set_after(a->head->loop, &a->save_timer, SAVE_NS);
}

/* ---- sticky ---- */

static int add_sticky(struct head_allocate *a, char *text, struct err *err)
{
    char *equals = strchr(text, '=');
    struct hosts_entry host;

    if (!equals)
        return err_set(err, ERR_INVALID, "there is no '=' in it");
    *equals = '\0';
    if (hosts_entry_parse(str_trim(equals + 1), &host, err) != 0)
        return -1;
    hosts_entry_fini(&host);
    char *app = hosts_app_name(text);
    if (!*app || a->sticky_count == STICKY_MAX) {
        free(app);
        return err_set(err, ERR_INVALID,
                       a->sticky_count == STICKY_MAX ? "there are too many"
                                                     : "there is no application");
    }
    a->sticky = mem_resize(a->sticky, a->sticky_count + 1, sizeof(*a->sticky));
    a->sticky[a->sticky_count++] = (struct sticky){ app, mem_strdup(str_trim(equals + 1)) };
    return 0;
}

static void read_sticky(struct head_allocate *a, const char *setting)
{
    char *text = mem_strdup(setting);
    size_t len;

    for (char *p = text; *p; p += len) {
        struct err err = ERR_INIT;
        len = strcspn(p, ",");
        char *piece = mem_strndup(p, len), *shown = str_safe(str_trim(piece));
        if (*str_trim(piece) && add_sticky(a, str_trim(piece), &err) != 0)
            log_warning(a->head->log, "launch.sticky: '%.80s': %s; expected APP=HOST, APP=HOST",
                        shown, err.msg);
        free(shown);
        free(piece);
        len += p[len] == ',';
    }
    free(text);
}

static const char *find_sticky(const struct head_allocate *a, const char *app)
{
    for (size_t i = 0; i < a->sticky_count; i++)
        if (str_eq(a->sticky[i].app, app))
            return a->sticky[i].host;
    return NULL;
}

/* ---- life ---- */

void head_allocate_begin(struct head *h)
{
    struct head_allocate *a = mem_alloc(sizeof(*a));

    h->allocate = a;
    a->head = h;
    a->apps = head_apps_create();
    a->ledger = choose_ledger_create();
    list_init(&a->places);
    a->last_id = (int64_t)(h->fence % 1000000000) * IDS_PER_START;
    a->path = fs_join(h->state_dir, "apps.json");
    a->save_timer.fn = on_save;
    load(a);
    read_sticky(a, conf_str(h->conf, CONF_launch_sticky));
}

static void forget(struct head_allocate *a, struct place *p)
{
    choose_ledger_drop(a->ledger, p->ticket);
    list_remove(&p->link);
    a->place_count--;
    free(p->app);
    free(p);
}

void head_allocate_end(struct head *h)
{
    struct head_allocate *a = h->allocate;

    if (!a)
        return;
    save(a);
    while (!list_empty(&a->places))
        forget(a, CONTAINER_OF(a->places.next, struct place, link));
    for (size_t i = 0; i < a->sticky_count; i++) {
        free(a->sticky[i].app);
        free(a->sticky[i].host);
    }
    free(a->sticky);
    choose_ledger_destroy(a->ledger);
    head_apps_destroy(a->apps);
    free(a->path);
    free(a);
    h->allocate = NULL;
}

/* ---- places ---- */

static void end_place(struct head_allocate *a, struct place *p, int64_t at_ns)
{
    struct choose_run run = { p->memory, p->cpu_milli, at_ns - p->placed_ns };

    head_apps_used(a->apps, p->app, &run, clock_wall_ns(a->head->clock));
    changed(a);
    forget(a, p);
}

/* The oldest are first, but for those that go on for long. */
static void sweep(struct head_allocate *a, int64_t now)
{
    LIST_FOR_EACH_SAFE(it, &a->places) {
        struct place *p = CONTAINER_OF(it, struct place, link);
        if (!p->heard_ns && now - p->placed_ns > CHOOSE_LEDGER_KEEP_NS)
            forget(a, p);
        else if (p->heard_ns && now - p->heard_ns > HEAD_ALLOCATION_SILENT_NS)
            end_place(a, p, p->heard_ns);
    }
    choose_ledger_prune(a->ledger, now);
}

static struct place *find_place(struct head_allocate *a, int64_t id, struct err *err)
{
    LIST_FOR_EACH(it, &a->places) {
        struct place *p = CONTAINER_OF(it, struct place, link);
        if (p->id == id)
            return p;
    }
    err_set(err, ERR_NOT_FOUND, "there is no allocation %lld", (long long)id);
    err_hint(err, "they are forgotten when the daemon ends, and after 10 minutes without a report");
    return NULL;
}

static int64_t add_place(struct head_allocate *a, int32_t node, const char *app,
                         const struct choose_use *use)
{
    struct place *p = mem_alloc(sizeof(*p));
    int64_t now = ev_now_ns(a->head->loop);

    if (a->place_count == HEAD_ALLOCATIONS_MAX)
        forget(a, CONTAINER_OF(a->places.next, struct place, link));
    p->id = ++a->last_id;
    p->ticket = choose_ledger_add(a->ledger, node, now, use);
    p->node = node;
    p->app = mem_strdup(app);
    p->placed_ns = now;
    p->memory = p->cpu_milli = -1;
    list_append(&a->places, &p->link);
    a->place_count++;
    return p->id;
}

static void note_started(struct head_allocate *a, struct place *p, int64_t pid)
{
    struct head *h = a->head;

    if (!p->heard_ns) {
        head_apps_ran(a->apps, p->app, head_node_at(h, p->node)->name, clock_wall_ns(h->clock));
        changed(a);
    }
    p->heard_ns = ev_now_ns(h->loop);
    if (pid > 0)
        p->pid = pid;
}

int head_allocate_report(struct head *h, int64_t id, const struct head_allocate_report *report,
                         struct err *err)
{
    struct head_allocate *a = h->allocate;
    struct place *p = find_place(a, id, err);

    if (!p)
        return -1;
    note_started(a, p, report->pid);
    if (report->memory > p->memory)
        p->memory = report->memory;
    if (report->cpu_milli >= 0)
        p->cpu_milli = report->cpu_milli;
    if (report->ended)
        end_place(a, p, ev_now_ns(h->loop));
    return 0;
}

int head_allocate_drop(struct head *h, int64_t id, struct err *err)
{
    struct place *p = find_place(h->allocate, id, err);

    if (!p)
        return -1;
    forget(h->allocate, p);
    return 0;
}

/* By its name, or as ssh is told. */
static struct head_node *find_node(const struct head *h, const char *word)
{
    struct head_node *n = head_node_find(h, word);

    for (size_t i = 0; i < h->node_count && !n; i++)
        if (h->nodes[i]->listed && str_eq(h->nodes[i]->host, word))
            n = h->nodes[i];
    return n;
}

bool head_allocate_started(struct head *h, const char *command, const char *host, int64_t pid)
{
    struct head_allocate *a = h->allocate;
    struct head_node *n = find_node(h, host);
    char *app = hosts_app_name(command);
    bool found = false;

    LIST_FOR_EACH(it, &a->places) {
        struct place *p = CONTAINER_OF(it, struct place, link);
        found = n && !p->heard_ns && p->node == n->index && str_eq(p->app, app);
        if (found) {
            note_started(a, p, pid);
            break;
        }
    }
    if (n && !found && *app) {
        head_apps_ran(a->apps, app, n->name, clock_wall_ns(h->clock));
        changed(a);
    }
    free(app);
    return n != NULL;
}

/* ---- choosing ---- */

static int32_t permille(double percent)
{
    return percent < 0 ? -1 : (int32_t)(percent * 10 + 0.5);
}

static int64_t more_than_zero(int64_t n)
{
    return n > 0 ? n : 0;
}

/* What jobs reserved and don't use. One that was not measured yet will use all of it; one that is
 * lined up has nothing yet. */
static void put_promised(const struct head *h, struct head_allocated *out)
{
    struct choose_host **by_node = mem_alloc_array(h->node_count, sizeof(struct choose_host *));

    for (size_t i = 0; i < out->count; i++)
        by_node[out->hosts[i].id] = &out->hosts[i];
    LIST_FOR_EACH(it, &h->runs) {
        const struct head_run *r = CONTAINER_OF(it, struct head_run, link);
        struct choose_host *c = by_node[r->alloc.node];
        int64_t cpu_milli = r->use.cpu_percent > 0 ? (int64_t)(r->use.cpu_percent * 10) : 0;
        if (!c || r->before || r->ended)
            continue;
        c->promised_memory += more_than_zero(r->alloc.got.memory - r->use.memory_bytes);
        c->promised_cpu_milli += more_than_zero(r->alloc.got.threads * 1000 - cpu_milli);
    }
    free(by_node);
}

/* A host where hive can't run can still be measured, and who brings all that is needed there with ssh
 * can use it. */
static enum sched_node_state state_of(const struct head_node *n, bool far)
{
    if (far && n->reach && reach_status(n->reach)->state == REACH_MEASURING)
        return SCHED_NODE_UP;
    return sched_node_state(n->head->sched, n->index);
}

static void put_host(struct head_node *n, bool far, struct choose_host *c)
{
    struct sched_resources have;
    struct link_sample s;
    int64_t cores;

    *c = (struct choose_host){ .id = n->index, .name = n->name };
    sched_node_get(n->head->sched, n->index, &have, NULL);
    c->state = state_of(n, far);
    c->sample_ns = head_node_latest(n, &s, &c->users);
    cores = n->kind == HEAD_NODE_OWN ? sys_usable_cpus()
            : n->remote              ? remote_facts(n->remote)->threads
                                     : 0;
    c->cores = (int32_t)(cores > 0 ? cores : have.threads);
    c->cpu_permille = permille(s.cpu_percent);
    c->iowait_permille = permille(s.iowait_percent);
    c->load_milli = s.load[0] < 0 ? -1 : (int64_t)(s.load[0] * 1000);
    c->memory_total = s.memory_total_bytes;
    c->memory_available = s.memory_available_bytes;
}

static void put_hosts(struct head *h, bool far, struct head_allocated *out)
{
    out->hosts = mem_alloc_array(h->node_count, sizeof(*out->hosts));
    for (size_t i = 0; i < h->node_count; i++)
        if (h->nodes[i]->listed && !(far && h->nodes[i]->kind == HEAD_NODE_OWN))
            put_host(h->nodes[i], far, &out->hosts[out->count++]);
    put_promised(h, out);
}

/* The name of the node that is meant, or the word itself. */
static const char *node_word(const struct head *h, const char *word)
{
    const struct head_node *n = word ? find_node(h, word) : NULL;

    return n ? n->name : word;
}

int head_allocate(struct head *h, const struct head_allocate_request *request,
                  struct head_allocated *out, struct err *err)
{
    struct head_allocate *a = h->allocate;
    int64_t now = ev_now_ns(h->loop);
    const struct head_app *app;

    *out = (struct head_allocated){ .app = hosts_app_name(request->command) };
    if (!*out->app) {
        err_set(err, ERR_INVALID, "there is no program in the command");
        return err_hint(err, "such as: firefox https://example.org");
    }
    head_measure_looked(h);
    sweep(a, now);
    put_hosts(h, request->far, out);
    app = head_apps_find(a->apps, out->app);
    struct choose_request r = {
        .app = out->app,
        .host = node_word(h, request->host),
        .sticky = node_word(h, find_sticky(a, out->app)),
        .last = app ? app->host : NULL,
        .memory = request->memory,
        .use = app ? &app->use : NULL,
    };
    if (choose_hosts(out->hosts, out->count, a->ledger, &r, HEAD_MEASURE_NS, now, &out->result,
                     err) != 0) {
        /* The daemon is there, and will say the same again. */
        if (err && err->kind == ERR_UNAVAILABLE)
            err->kind = ERR_UNPROCESS;
        return -1;
    }
    if (!request->dry_run)
        out->id = add_place(a, out->hosts[out->result.ranks[0].host].id, out->app, r.use);
    return 0;
}

void head_allocated_fini(struct head_allocated *a)
{
    choose_result_fini(&a->result);
    free(a->hosts);
    free(a->app);
    *a = (struct head_allocated){ 0 };
}

const char *head_allocate_address(const struct head *h, int32_t node)
{
    const struct head_node *n = head_node_at(h, node);

    return n && n->kind == HEAD_NODE_SSH ? n->host : NULL;
}
