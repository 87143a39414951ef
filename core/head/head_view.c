/* SPDX-License-Identifier: BSD-2-Clause */
/* What clients see: job and node objects, reasons, the order of the queue. Reads rows and adds what
 * only memory knows. */
#include "base/mem.h"

#include "head/head_measure.h"
#include "head/head_node.h"
#include "head/head_priv.h"
#include "head/reach.h"
#include "head/remote.h"

#include "base/fs.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "sys/sample.h"
#include "sys/sys.h"

#include <inttypes.h>

struct found {
    int64_t id;
    bool is_task;
};

static void note_found(void *arg, const struct store_job *row)
{
    *(struct found *)arg = (struct found){ row->id, row->array_id != 0 };
}

/* A task has a row number of its own, but clients know it as JOB_TASK only. */
int head_find(struct head *h, int64_t job, int64_t task, int64_t *id, struct err *err)
{
    const struct head_job *j = task < 0 ? map_get(&h->jobs, (uint64_t)job) : NULL;
    struct found f = { job, false };
    int rc = 1;

    if (task >= 0)
        rc = store_task_get(h->store, job, task, note_found, &f, err);
    else if (j)
        f.is_task = j->array != NULL;
    else
        rc = store_job_get(h->store, job, note_found, &f, err);
    *id = f.id;
    return rc == 1 && task < 0 && f.is_task ? 0 : rc;
}

/* ---- why it waits ---- */

static void reason_deps(const struct head_job *j, struct buf *b)
{
    const char *sep = "waiting for job ";
    for (size_t i = 0; i < j->deps->count; i++)
        if (j->deps->item[i].job) {
            buf_printf(b, "%s%" PRId64, sep, j->deps->item[i].job);
            sep = ", ";
        }
}

/* How many attempts the machine works at: who is lined up behind another has not begun. */
static int64_t running_now(struct head *h, int32_t node)
{
    int64_t n = 0;

    LIST_FOR_EACH(it, &h->runs) {
        const struct head_run *r = CONTAINER_OF(it, struct head_run, link);
        n += !r->before && !r->ended && (node < 0 || r->alloc.node == node);
    }
    return n;
}

static void live_reason(struct head *h, const struct head_job *j, struct buf *b)
{
    switch ((enum head_wait)j->waiting) {
    case WAIT_HELD:
        buf_append_str(b, "held; release it with: hive release");
        break;
    case WAIT_DEPS:
        reason_deps(j, b);
        break;
    case WAIT_TIME:
        buf_append_str(b, "retry in ");
        str_format_duration(b, j->not_before_wall_ns - clock_wall_ns(h->clock));
        break;
    case WAIT_SCHED:
        sched_reason(h->sched, &j->entry, ev_now_ns(h->loop), b);
        break;
    case WAIT_AGAIN:
        buf_append_str(b, "waiting for its array's turn");
        break;
    case WAIT_NONE:
        if (j->run && j->run->killed)
            buf_append_str(b, head_reason_cancelling);
        else if (j->run && j->run->before)
            buf_printf(b, "starts the moment job %" PRId64 " ends", j->run->before->key.job);
        else if (j->tasks && j->held)
            buf_append_str(b, "held");
        break;
    }
}

/* ---- job objects ---- */

static void put_id(struct jsonw *w, const char *key, const struct store_job *row)
{
    char text[48];
    if (row->array_id)
        snprintf(text, sizeof(text), "%" PRId64 "_%" PRId64, row->array_id, row->task);
    else
        snprintf(text, sizeof(text), "%" PRId64, row->id);
    jsonw_str(w, key, text);
}

static void put_array(struct head *h, const struct store_job *row, struct jsonw *w)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)row->id);
    char id[24];

    if (!row->is_array) {
        jsonw_null(w, "array");
        return;
    }
    int64_t total = (row->last - row->first) / (row->step > 0 ? row->step : 1) + 1;
    int64_t done = row->n_succeeded + row->n_failed + row->n_cancelled;
    int64_t running = j ? j->entry.running : 0;
    snprintf(id, sizeof(id), "%" PRId64, row->id);
    jsonw_obj_open(w, "array");
    jsonw_str(w, "id", id);
    jsonw_int(w, "first", row->first);
    jsonw_int(w, "last", row->last);
    jsonw_int(w, "step", row->step);
    jsonw_int(w, "limit", row->limit);
    jsonw_int(w, "total", total);
    jsonw_int(w, "queued", total - done - running);
    jsonw_int(w, "running", running);
    jsonw_int(w, "succeeded", row->n_succeeded);
    jsonw_int(w, "failed", row->n_failed);
    jsonw_int(w, "cancelled", row->n_cancelled);
    jsonw_obj_close(w);
}

static void put_output(struct head *h, const struct spec *s, const struct store_job *row,
                       const char *key, const char *path, bool is_stderr, struct jsonw *w)
{
    struct buf b = BUF_INIT;
    int64_t id = row->array_id ? row->array_id : row->id;
    if (spec_output_path(s, path, id, row->array_id ? row->task : -1, h->home, &b)) {
        jsonw_str(w, key, buf_data(&b));
    } else if (row->attempts > 0 && !row->is_array) {
        struct attempt_key k = { .job = row->id, .number = row->attempts };
        buf_printf(&b, "%s/", h->state_dir);
        attempt_prefix(&k, &b);
        buf_append_str(&b, is_stderr ? ".err" : ".out");
        jsonw_str(w, key, buf_data(&b));
    } else {
        jsonw_null(w, key);
    }
    buf_fini(&b);
}

static void put_spec(struct head *h, const struct store_job *row, const char *text, struct jsonw *w)
{
    struct spec s;
    memset(&s, 0, sizeof(s));
    yyjson_doc *doc = text ? jsonx_parse(text, strlen(text), NULL) : NULL;
    if (doc)
        spec_read(&s, yyjson_doc_get_root(doc), NULL, "", true, NULL);
    jsonw_str(w, "workdir", s.workdir ? s.workdir : h->home);
    put_output(h, &s, row, "stdout_path", s.stdout_path, false, w);
    put_output(h, &s, row, "stderr_path", s.stderr_path, true, w);
    jsonw_arr_open(w, "after");
    for (size_t i = 0; i < s.dep_count; i++) {
        char dep[48];
        snprintf(dep, sizeof(dep), "%" PRId64 ":%s", s.deps[i].job,
                 spec_dep_when_name(s.deps[i].when));
        jsonw_str(w, NULL, dep);
    }
    jsonw_arr_close(w);
    spec_fini(&s);
    yyjson_doc_free(doc);
}

/* A task shows its array's texts. */
struct parent {
    char *name, *command, *spec;
};

static void take_parent(void *arg, const struct store_job *row)
{
    struct parent *p = arg;
    p->name = mem_strdup(row->name);
    p->command = mem_strdup(row->command);
    p->spec = mem_strdup(row->spec);
}

static void put_state(struct head *h, const struct store_job *row, const struct head_job *j,
                      struct jsonw *w)
{
    struct buf reason = BUF_INIT;
    if (j && (j->status == JOB_QUEUED || j->status == JOB_RUNNING) && row->status == j->status)
        live_reason(h, j, &reason);
    jsonw_str(w, "status", job_status_name((enum job_status)row->status));
    jsonw_str(w, "reason", buf_len(&reason) ? buf_data(&reason) : row->reason);
    buf_fini(&reason);
    if (row->exit_code < 0)
        jsonw_null(w, "exit_code");
    else
        jsonw_int(w, "exit_code", row->exit_code);
    if (row->signal)
        jsonw_int(w, "signal", row->signal);
    else
        jsonw_null(w, "signal");
    jsonw_str(w, "node", row->node);
    jsonw_str(w, "node_address", row->node ? h->address : NULL);
}

void head_job_fields(struct head *h, const struct store_job *row, struct jsonw *w)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)row->id);
    struct parent p = { 0 };
    char id[24];

    if (row->array_id)
        store_array_get(h->store, row->array_id, take_parent, &p, NULL);
    put_id(w, "id", row);
    put_id(w, "job_id", row);
    jsonw_str(w, "name", row->name ? row->name : p.name);
    jsonw_str(w, "command", row->command ? row->command : p.command);
    put_state(h, row, j, w);
    jsonw_str(w, "user", row->user);
    jsonw_int(w, "threads", row->threads);
    jsonw_int(w, "memory_bytes", row->memory);
    jsonw_int(w, "gpus", row->gpus);
    jsonw_int(w, "priority", row->priority);
    jsonw_int(w, "attempts", row->attempts);
    jsonw_int(w, "retries_left", row->retries_left);
    jsonw_bool(w, "held", row->held);
    if (row->timeout_ns)
        jsonw_double(w, "timeout_seconds", (double)row->timeout_ns / 1e9);
    else
        jsonw_null(w, "timeout_seconds");
    put_spec(h, row, row->spec ? row->spec : p.spec, w);
    jsonw_time(w, "submitted_at", row->submitted_ns);
    jsonw_time(w, "started_at", row->started_ns);
    jsonw_time(w, "finished_at", row->finished_ns);
    put_array(h, row, w);
    snprintf(id, sizeof(id), "%" PRId64, row->array_id);
    jsonw_str(w, "array_id", row->array_id ? id : NULL);
    if (row->array_id)
        jsonw_int(w, "task", row->task);
    else
        jsonw_null(w, "task");
    if (j && j->run && !j->run->ended)
        head_run_put_use(h, j->run, w);
    free(p.name);
    free(p.command);
    free(p.spec);
}

struct object {
    struct head *h;
    const char *key;
    struct jsonw *w;
};

static void put_object(void *arg, const struct store_job *row)
{
    struct object *o = arg;
    jsonw_obj_open(o->w, o->key);
    head_job_fields(o->h, row, o->w);
    jsonw_obj_close(o->w);
}

int head_job_object(struct head *h, int64_t id, const char *key, struct jsonw *w, struct err *err)
{
    struct object o = { h, key, w };
    return store_job_get(h->store, id, put_object, &o, err);
}

struct state {
    int32_t status, attempts, exit_code, signal;
    int64_t array_id, task;
    int64_t first, last, step, done, failed, cancelled;
    bool is_array;
    char *reason, *spec;
};

static void take_state(void *arg, const struct store_job *row)
{
    struct state *s = arg;
    s->status = row->status;
    s->attempts = row->attempts;
    s->exit_code = row->exit_code;
    s->signal = row->signal;
    s->array_id = row->array_id;
    s->task = row->task;
    s->is_array = row->is_array;
    s->first = row->first;
    s->last = row->last;
    s->step = row->step > 0 ? row->step : 1;
    s->failed = row->n_failed;
    s->cancelled = row->n_cancelled;
    s->done = row->n_succeeded + row->n_failed + row->n_cancelled;
    s->reason = mem_strdup(row->reason);
    s->spec = mem_strdup(row->spec);
}

/* How it ended, in words. */
static void put_end_reason(const struct state *s, struct buf *b)
{
    buf_append_str(b, job_status_name((enum job_status)s->status));
    if (s->reason)
        buf_printf(b, ": %s", s->reason);
    else if (s->signal)
        buf_printf(b, ": ended by signal %d (%s)", s->signal, strsignal(s->signal));
    else if (s->exit_code >= 0)
        buf_printf(b, ": exit code %d", s->exit_code);
}

static void state_free(struct state *s)
{
    free(s->reason);
    free(s->spec);
}

/* Where an array stands, and how to ask on. */
static void explain_array(const struct state *s, const struct head_job *j, int64_t id,
                          struct buf *lines)
{
    int64_t total = (s->last - s->first) / s->step + 1, running = j ? j->entry.running : 0;
    const struct {
        int64_t n;
        const char *word;
    } parts[] = { { total - s->done - running, "queued" },
                  { running, "running" },
                  { s->done - s->failed - s->cancelled, "succeeded" },
                  { s->failed, "failed" },
                  { s->cancelled, "cancelled" } };
    const char *sep = ": ";

    buf_printf(lines, "%" PRId64 " task%s", total, total == 1 ? "" : "s");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i].n > 0) {
            buf_printf(lines, "%s%" PRId64 " %s", sep, parts[i].n, parts[i].word);
            sep = ", ";
        }
    buf_printf(lines, "; one of them: hive explain %" PRId64 "_TASK\n", id);
}

int head_explain(struct head *h, int64_t id, struct buf *reason, struct buf *lines, struct err *err)
{
    struct state s = { 0 };
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);
    int rc = store_job_get(h->store, id, take_state, &s, err);
    if (rc != 1)
        return rc;
    if (j)
        live_reason(h, j, reason);
    if (buf_len(reason) == 0)
        put_end_reason(&s, reason);
    if (j && j->waiting == WAIT_SCHED)
        sched_explain(h->sched, &j->entry, ev_now_ns(h->loop), lines);
    else if (j && j->waiting == WAIT_HELD)
        buf_append_str(lines, "held by a user; it takes no part until it is released\n");
    else if (j && j->waiting == WAIT_DEPS)
        buf_append_str(lines,
                       "enters the queue when the jobs it waits for have ended as required\n");
    if (s.is_array)
        explain_array(&s, j, id, lines);
    state_free(&s);
    return 1;
}

/* ---- tasks without a row ---- */

static int no_such_task(const struct state *s, int64_t job, int64_t task, struct err *err)
{
    int64_t last = s->first + (s->last - s->first) / s->step * s->step;

    err_set(err, ERR_NOT_FOUND, "there is no task %" PRId64 "_%" PRId64, job, task);
    if (s->step == 1 || s->first == last)
        return err_hint(err,
                        "the tasks of array %" PRId64 " are %" PRId64 "_%" PRId64 " to %" PRId64
                        "_%" PRId64,
                        job, job, s->first, job, last);
    return err_hint(err,
                    "the tasks of array %" PRId64 " are %" PRId64 "_%" PRId64 ", %" PRId64
                    "_%" PRId64 " and so on in steps of %" PRId64 " to %" PRId64 "_%" PRId64,
                    job, job, s->first, job, s->first + s->step, s->step, job, last);
}

int head_task_missing(struct head *h, int64_t job, int64_t task, bool *live, struct err *err)
{
    struct state s = { 0 };
    struct head_job *j = map_get(&h->jobs, (uint64_t)job);
    int rc = store_job_get(h->store, job, take_state, &s, err);

    if (rc == 1 && s.array_id)
        rc = 0; /* the number of a task's row is nobody's business */
    if (rc == 0) {
        err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64, job);
        err_hint(err, "list the jobs with: hive status jobs");
    } else if (rc == 1 && !s.is_array) {
        err_set(err, ERR_NOT_FOUND,
                "there is no task %" PRId64 "_%" PRId64 ": job %" PRId64 " is no array", job, task,
                job);
        err_hint(err, "name the job alone: %" PRId64, job);
    } else if (rc == 1 && (task < s.first || task > s.last || (task - s.first) % s.step != 0)) {
        no_such_task(&s, job, task, err);
    } else if (rc == 1) {
        *live = j && j->tasks && task >= j->tasks->next &&
                !job_status_terminal((enum job_status)s.status);
        if (!*live && s.cancelled == 0)
            err_set(err, ERR_NOT_FOUND, "task %" PRId64 "_%" PRId64 " is forgotten", job, task);
        else
            goto out;
    }
    rc = -1;
out:
    state_free(&s);
    return rc;
}

struct missing {
    struct object to;
    int64_t task;
    bool live;
    const char *reason;
};

static void put_missing(void *arg, const struct store_job *array)
{
    const struct missing *m = arg;
    struct store_job row = {
        .array_id = array->id,
        .task = m->task,
        .status = m->live ? JOB_QUEUED : JOB_CANCELLED,
        .held = m->live && array->held,
        .priority = array->priority,
        .threads = array->threads,
        .gpus = array->gpus,
        .memory = array->memory,
        .timeout_ns = array->timeout_ns,
        .user = array->user,
        .retries_left = array->retries_left,
        .submitted_ns = array->submitted_ns,
        .finished_ns = m->live ? 0 : array->finished_ns,
        .exit_code = -1,
        .reason = m->reason,
    };

    put_object((void *)(uintptr_t)&m->to, &row);
}

int head_task_object(struct head *h, int64_t job, int64_t task, bool live, const char *reason,
                     const char *key, struct jsonw *w, struct err *err)
{
    struct missing m = { { h, key, w }, task, live, reason };

    return store_job_get(h->store, job, put_missing, &m, err);
}

/* ---- lists ---- */

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* So many that wait outside of the scheduler are counted. */
#define COUNT_MAX 100000

struct gather {
    struct head *h;
    const char *user; /* only this one's, or NULL */
    int64_t *ids;
    size_t count, max;
    int64_t total; /* those beyond max, too */
};

static void gather(struct gather *g, int64_t id)
{
    struct head_job *j = map_get(&g->h->jobs, (uint64_t)id);
    if (!j || (g->user && !str_eq(sched_user_name(g->h->sched, j->user), g->user)))
        return;
    g->total++;
    if (g->count < g->max)
        g->ids[g->count++] = id;
}

static void gather_scheduled(struct gather *g)
{
    struct head *h = g->h;
    size_t all = sched_queued(h->sched), want = g->user ? all : g->max - g->count;
    struct sched_entry **order = mem_alloc_array(want + 1, sizeof(struct sched_entry *));
    size_t got = sched_order(h->sched, ev_now_ns(h->loop), order, want);

    for (size_t i = 0; i < got; i++)
        gather(g, order[i]->id);
    free(order);
    if (!g->user)
        g->total += (int64_t)(all - got);
}

/* False when there were too many to be counted. */
static bool gather_waiting(struct gather *g, const struct list *list)
{
    size_t looked = 0;

    LIST_FOR_EACH(it, list) {
        if (g->count >= g->max && ++looked > COUNT_MAX)
            return false;
        gather(g, CONTAINER_OF(it, struct head_job, wait)->entry.id);
    }
    return true;
}

size_t head_queue(struct head *h, uint32_t status_mask, const char *user, int64_t *ids, size_t max,
                  int64_t *total)
{
    struct gather g = { h, user, ids, 0, max, 0 };
    bool counted = true;

    if (status_mask & 1u << JOB_RUNNING)
        LIST_FOR_EACH(it, &h->runs)
            gather(&g, CONTAINER_OF(it, struct head_run, link)->key.job);
    if (status_mask & 1u << JOB_QUEUED) {
        gather_scheduled(&g);
        size_t parked = g.count;
        counted = gather_waiting(&g, &h->parked);
        counted = gather_waiting(&g, &h->delayed) && counted;
        if (g.count > parked)
            qsort(ids + parked, g.count - parked, sizeof(*ids), compare_ids);
    }
    *total = counted ? g.total : -1;
    return g.count;
}

void head_node_name(struct head *h, const char **name, const char **address)
{
    *name = h->node_name;
    *address = h->address;
}

static const char *node_status(struct head *h, const struct head_node *n)
{
    if (sched_node_state(h->sched, n->index) == SCHED_NODE_UP)
        return "up";
    if (sched_node_state(h->sched, n->index) == SCHED_NODE_DRAINED)
        return "drained";
    return n->remote && remote_running(n->remote) > 0 ? "suspect" : "down";
}

/* How a host is reached, and what is in the way. */
static void put_reach(const struct head_node *n, struct jsonw *w)
{
    const struct remote_facts *f = n->remote ? remote_facts(n->remote) : NULL;
    const struct reach_status *s = n->reach ? reach_status(n->reach) : NULL;
    const struct err *err = s && s->err && s->err->kind != ERR_NONE ? s->err : NULL;
    char text[80] = "";

    if (n->reach)
        reach_text(n->reach, text, sizeof(text));
    jsonw_str(w, "kind", n->kind == HEAD_NODE_OWN ? "own" : "ssh");
    jsonw_bool(w, "any", n->any);
    jsonw_str(w, "connection", *text ? text : NULL);
    jsonw_str(w, "error", err ? err->msg : NULL);
    jsonw_str(w, "hint", err && err->hint[0] ? err->hint : NULL);
    jsonw_time(w, "retry_at", s ? s->retry_ns : 0);
    jsonw_str(w, "arch", f && *f->arch ? f->arch : NULL);
    jsonw_str(w, "os", f && *f->os ? f->os : NULL);
    jsonw_str(w, "version", f && *f->version ? f->version : NULL);
}

static void put_node(struct head *h, struct head_node *n, struct jsonw *w)
{
    const char *note = n->kind == HEAD_NODE_OWN ? node_memory_note(h->node)
                       : n->remote              ? remote_facts(n->remote)->memory_note
                                                : "";
    struct sched_resources have, used;

    sched_node_get(h->sched, n->index, &have, &used);
    jsonw_obj_open(w, NULL);
    jsonw_str(w, "name", n->name);
    jsonw_str(w, "address", n->kind == HEAD_NODE_OWN ? h->address : n->host);
    jsonw_str(w, "status", node_status(h, n));
    jsonw_int(w, "threads_total", have.threads);
    jsonw_int(w, "threads_used", used.threads);
    jsonw_int(w, "memory_total_bytes", have.memory);
    jsonw_int(w, "memory_used_bytes", used.memory);
    head_node_put_measured(n, w);
    jsonw_arr_open(w, "gpus");
    jsonw_arr_close(w);
    jsonw_int(w, "running_jobs", running_now(h, n->index));
    jsonw_str(w, "memory_enforcement", *note ? "none" : "cgroup");
    jsonw_str(w, "note", *note ? note : NULL);
    jsonw_time(w, "last_heartbeat",
               n->kind == HEAD_NODE_OWN ? clock_wall_ns(h->clock) : n->heard_wall_ns);
    put_reach(n, w);
    jsonw_obj_close(w);
}

size_t head_nodes(struct head *h, const char *name, struct jsonw *w)
{
    size_t count = 0;

    head_measure_looked(h);
    for (size_t i = 0; i < h->node_count; i++) {
        if (!h->nodes[i]->listed || (name && !str_eq(name, h->nodes[i]->name)))
            continue;
        put_node(h, h->nodes[i], w);
        count++;
    }
    return count;
}

int head_totals(struct head *h, struct head_totals *t, struct err *err)
{
    struct sched_resources have, used;
    int64_t all;

    (void)err;
    memset(t, 0, sizeof(*t));
    for (size_t i = 0; i < h->node_count; i++) {
        if (!h->nodes[i]->listed)
            continue;
        sched_node_get(h->sched, h->nodes[i]->index, &have, &used);
        t->threads_total += have.threads;
        t->threads_used += used.threads;
    }
    store_unit_counts(h->store, &all, &t->finished);
    t->running = running_now(h, -1);
    if (all > t->finished + t->running)
        t->queued = all - t->finished - t->running;
    return 0;
}

/* ---- output ---- */

struct attempt_place {
    const struct head *h;
    int32_t number;
    bool far;
};

static bool note_place(void *arg, const struct store_attempt *a)
{
    struct attempt_place *p = arg;

    if (a->number == p->number)
        p->far = head_node_is_far(p->h, a->node);
    return a->number < p->number;
}

/* Of what a far node wrote, wherever the job wanted it, there is a copy among our own files. */
static bool is_copy(struct head *h, int64_t id, int32_t attempt)
{
    struct attempt_place p = { .h = h, .number = attempt };

    if (h->node_count == 1) /* for who follows a log, this is asked ten times a second */
        return false;
    return store_attempt_each(h->store, id, note_place, &p, NULL) == 0 && p.far;
}

static void find_output(struct head *h, const struct state *s, int64_t id, bool is_stderr,
                        struct head_output *o)
{
    struct parent p = { 0 };
    struct spec spec;
    struct buf b = BUF_INIT;

    memset(&spec, 0, sizeof(spec));
    if (s->array_id)
        store_array_get(h->store, s->array_id, take_parent, &p, NULL);
    const char *text = s->spec ? s->spec : p.spec;
    yyjson_doc *doc = text ? jsonx_parse(text, strlen(text), NULL) : NULL;
    if (doc)
        spec_read(&spec, yyjson_doc_get_root(doc), NULL, "", true, NULL);
    if (is_copy(h, id, o->attempt) ||
        !spec_output_path(&spec, is_stderr ? spec.stderr_path : spec.stdout_path,
                          s->array_id ? s->array_id : id, s->array_id ? s->task : -1, h->home,
                          &b)) {
        struct attempt_key k = { .job = id, .number = o->attempt };
        buf_printf(&b, "%s/", h->state_dir);
        attempt_prefix(&k, &b);
        /* A far job that named one file for both has one copy. */
        bool both = spec.stdout_path && str_eq(spec.stdout_path, spec.stderr_path);
        buf_append_str(&b, is_stderr && !both ? ".err" : ".out");
    }
    o->path = buf_take(&b, NULL);
    spec_fini(&spec);
    yyjson_doc_free(doc);
    free(p.name);
    free(p.command);
    free(p.spec);
}

int head_output(struct head *h, int64_t id, int32_t attempt, bool is_stderr, struct head_output *o,
                struct err *err)
{
    struct state s = { 0 };
    struct head_job *j = map_get(&h->jobs, (uint64_t)id);

    memset(o, 0, sizeof(*o));
    int rc = store_job_get(h->store, id, take_state, &s, err);
    if (rc == 1) {
        o->attempt = attempt ? attempt : s.attempts;
        o->attempts = s.attempts;
        o->is_array = s.is_array;
        o->known = o->attempt > 0 && o->attempt <= s.attempts;
        o->final = job_status_terminal((enum job_status)s.status) && !(j && j->dirty);
        o->attempt_over = o->final || o->attempt < s.attempts || (j && !j->run);
        if (o->known)
            find_output(h, &s, id, is_stderr, o);
    }
    free(s.reason);
    free(s.spec);
    return rc;
}
