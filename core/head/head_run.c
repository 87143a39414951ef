/* SPDX-License-Identifier: BSD-2-Clause */
/* Attempts: starting what the scheduler picked, and what follows from their ends. */
#include "base/mem.h"

#include "head/head_node.h"
#include "head/head_priv.h"
#include "head/remote.h"

#include "base/jsonx.h"
#include "base/str.h"

#include <inttypes.h>

static void run_bind(struct head *h, struct head_run *r, struct head_job *j)
{
    r->job = j;
    r->key.job = j->entry.id;
    r->key.number = j->attempts;
    r->key.fence = h->fence;
    j->run = r;
}

static struct head_run *run_alloc(void)
{
    struct head_run *r = mem_alloc(sizeof(*r));
    list_init(&r->link);
    list_init(&r->line);
    return r;
}

struct head_run *head_run_spare(struct head *h)
{
    if (!h->spare)
        h->spare = run_alloc();
    return h->spare;
}

void head_run_free(struct head_run *r)
{
    list_remove(&r->link);
    head_line_leave(r);
    if (r->job && r->job->run == r)
        r->job->run = NULL;
    free(r);
}

/* ---- starting ---- */

static int stage(struct head *h, struct head_run *r, struct err *err)
{
    struct head_job *j = CONTAINER_OF(r->alloc.entry, struct head_job, entry);
    struct head_job *array = j->tasks ? j : NULL;

    if (head_txn(h, err) != 0)
        return -1;
    if (array && !(j = head_array_take(h, array, err)))
        return -1;
    CONTAINER_OF(r->alloc.entry, struct head_job, entry)->waiting =
        r->alloc.entry->cls ? WAIT_SCHED : WAIT_NONE;
    j->attempts++;
    j->not_before_wall_ns = 0;
    r->fresh = true;
    r->started_wall_ns = clock_wall_ns(h->clock);
    run_bind(h, r, j);
    list_append(&h->starting, &r->link);
    head_job_event(h, j, JOB_EV_START);
    if (!array)
        return 0;
    if (!array->tasks->started_wall_ns) {
        array->tasks->started_wall_ns = r->started_wall_ns;
        head_dirty(h, array);
    }
    if (array->status == JOB_QUEUED)
        head_job_event(h, array, JOB_EV_START);
    return 0;
}

int head_run_stage(struct head *h, struct head_run *r, struct err *err)
{
    h->spare = NULL;
    if (stage(h, r, err) == 0)
        return 0;
    sched_release(h->sched, &r->alloc, ev_now_ns(h->loop), true);
    head_run_free(r);
    return -1;
}

int head_dispatch(struct head *h, struct err *err)
{
    struct head_run *r;

    while (r = head_run_spare(h), sched_next(h->sched, ev_now_ns(h->loop), &r->alloc)) {
        if (head_run_stage(h, r, err) != 0)
            return -1;
        head_line_begin(h, r);
    }
    if (head_line_fill(h, err) != 0)
        return -1;
    int64_t due = sched_next_deadline_ns(h->sched);
    if (due != INT64_MAX)
        head_arm(h, due);
    return 0;
}

static int order(struct head *h, struct head_run *r, const struct spec *s, const char *line,
                 struct err *err)
{
    struct head_job *j = r->job;
    bool far = head_node_at(h, r->alloc.node)->kind != HEAD_NODE_OWN;
    struct spec_context c = {
        .id = j->array ? j->array->entry.id : j->entry.id,
        .task = j->array ? j->task : -1,
        .attempt = j->attempts,
        .threads = j->threads,
        .gpus = j->gpus,
        .node = sched_node_name(h->sched, r->alloc.node),
        .line = line,
        .base_env = far ? NULL : (const char *const *)h->base_env,
        .home = h->home,
    };
    struct spec_launch l;
    if (spec_launch_prepare(s, &c, &l, err) != 0)
        return -1;
    struct remote_order order = { .run = {
                                      .key = r->key,
                                      .after =
                                          r->before ? r->before->key : (struct attempt_key){ 0 },
                                      .argv = (const char *const *)l.argv,
                                      .env = (const char *const *)l.env,
                                      .workdir = l.workdir,
                                      .stdout_path = l.stdout_path,
                                      .stderr_path = l.stderr_path,
                                      .append = j->attempts > 1,
                                      .script = l.script,
                                      .timeout_ns = j->timeout_ns,
                                      .grace_ns = conf_int(h->conf, CONF_jobs_kill_grace),
                                      .memory_bytes = j->memory,
                                  } };
    int rc = head_node_run(h, r, &order, err);
    spec_launch_fini(&l);
    return rc;
}

/* Reads the specification back and orders the attempt from the node. */
static int start_one(struct head *h, struct head_run *r, struct err *err)
{
    struct head_job *j = r->job;
    struct spec spec;
    char *line = NULL;
    int rc = -1;

    int64_t id = j->array ? j->array->entry.id : j->entry.id;
    char *text = head_spec_text(h, id, err);
    yyjson_doc *doc = text ? jsonx_parse(text, strlen(text), err) : NULL;
    if (doc && spec_read(&spec, yyjson_doc_get_root(doc), NULL, "", true, err) == 0) {
        if (!j->array || store_line_get(h->store, id, j->task, &line, err) == 0)
            rc = order(h, r, &spec, line, err);
        spec_fini(&spec);
    }
    yyjson_doc_free(doc);
    free(line);
    free(text);
    return rc;
}

static void kill_marked(struct head *h)
{
    h->kills = false;
    LIST_FOR_EACH(it, &h->runs) {
        struct head_run *r = CONTAINER_OF(it, struct head_run, link);
        if (r->kill_now)
            head_node_kill(h, r);
        r->kill_now = false;
    }
}

void head_act(struct head *h)
{
    if (h->kills)
        kill_marked(h);
    while (!list_empty(&h->starting)) {
        struct head_run *r = CONTAINER_OF(h->starting.next, struct head_run, link);
        struct err err = ERR_INIT;
        r->fresh = false;
        list_remove(&r->link);
        list_append(&h->runs, &r->link);
        if (start_one(h, r, &err) != 0) {
            struct attempt_end end = { .key = r->key, .outcome = ATTEMPT_NOT_RUN, .code = 125 };
            end.finished_ns = clock_wall_ns(h->clock);
            str_copy(end.message, sizeof(end.message), err.msg);
            if (r->before) /* the node must not be told to wait for it */
                head_line_leave(r);
            head_attempt_ended(&end, h);
        }
    }
}

/* Once that is known, when the program started; before, when that was decided. */
int64_t head_run_started_ns(const struct head_run *r)
{
    return r->ended && r->end.started_ns ? r->end.started_ns : r->started_wall_ns;
}

int head_write_run(struct head *h, struct head_run *r, struct err *err)
{
    struct store_attempt a = {
        .job = r->key.job,
        .number = r->key.number,
        .fence = r->key.fence,
        .node = sched_node_name(h->sched, r->alloc.node),
        .outcome = -1,
        .exit_code = -1,
        .started_ns = head_run_started_ns(r),
    };
    if (r->taken_back)
        return store_attempt_remove(h->store, r->key.job, r->key.number, err);
    if (r->ended) {
        const struct attempt_end *e = &r->end;
        a.outcome = (int32_t)e->outcome;
        a.exit_code = e->code;
        a.signal = e->signal;
        a.finished_ns = e->finished_ns;
        a.duration_ns = e->duration_ns;
        a.user_ns = e->user_ns;
        a.system_ns = e->system_ns;
        a.max_rss = e->max_rss;
        a.message = e->message[0] ? e->message : NULL;
        return store_attempt_update(h->store, &a, err);
    }
    return r->fresh ? store_attempt_insert(h->store, &a, err) : 0;
}

/* Takes back what this turn did to a run, after its transaction was rolled back. */
void head_run_undo(struct head *h, struct head_run *r)
{
    if (r->ended) {
        r->ended = r->taken_back = false;
        r->job->run = r;
        list_remove(&r->link);
        list_append(&h->runs, &r->link);
        sched_reserve(h->sched, &r->alloc);
        return;
    }
    head_line_release(h, r, true);
    if (r->job->array) /* its entry got a start back that may have been a retry's */
        head_dirty(h, r->job->array);
    head_run_free(r);
}

/* ---- ends ---- */

static enum job_event event_of(const struct head_run *r)
{
    const struct attempt_end *e = &r->end;
    switch (e->outcome) {
    case ATTEMPT_EXITED:
        if (e->code == 0)
            return JOB_EV_SUCCEED;
        break;
    case ATTEMPT_TIMEOUT:
        return r->killed ? JOB_EV_CANCEL : JOB_EV_TIMEOUT;
    case ATTEMPT_OOM:
        return r->killed ? JOB_EV_CANCEL : JOB_EV_OOM;
    case ATTEMPT_CANCELLED: /* a far node does that without being asked, when its lease ends */
        return r->killed || r->alloc.node == 0 ? JOB_EV_CANCEL : JOB_EV_LOSE;
    case ATTEMPT_LOST:
        return r->killed ? JOB_EV_CANCEL : JOB_EV_LOSE;
    case ATTEMPT_SIGNALED:
    case ATTEMPT_NOT_RUN:
    case ATTEMPT_OUTCOME_COUNT:
        break;
    }
    return r->killed ? JOB_EV_CANCEL : JOB_EV_FAIL;
}

struct policy {
    int64_t delay_ns;
    enum spec_on_lost on_lost;
};

/* False when the specification can't be read: no retry then. */
static bool read_policy(struct head *h, int64_t id, struct policy *p)
{
    struct err err = ERR_INIT;
    struct spec s;
    char *text = head_spec_text(h, id, &err);
    yyjson_doc *doc = text ? jsonx_parse(text, strlen(text), &err) : NULL;
    bool ok = doc && spec_read(&s, yyjson_doc_get_root(doc), NULL, "", true, &err) == 0;

    if (ok) {
        p->delay_ns = s.retry_delay_ns;
        p->on_lost = s.on_lost;
        spec_fini(&s);
    } else {
        log_error(h->log, "job %" PRId64 " is not retried: %s", id, err.msg);
    }
    yyjson_doc_free(doc);
    free(text);
    return ok;
}

/* True when policy puts the job back into the queue; consumes a retry. */
static bool wants_retry(struct head *h, struct head_job *j, enum job_event ev)
{
    struct policy p = { 0 };

    if (ev == JOB_EV_SUCCEED || ev == JOB_EV_CANCEL)
        return false;
    if (ev != JOB_EV_LOSE && j->retries_left <= 0)
        return false;
    if (!read_policy(h, j->array ? j->array->entry.id : j->entry.id, &p))
        return false;
    if (ev == JOB_EV_LOSE)
        return p.on_lost == ON_LOST_DEFAULT
                   ? str_eq(conf_str(h->conf, CONF_jobs_on_lost), "requeue")
                   : p.on_lost == ON_LOST_REQUEUE;
    j->retries_left--;
    j->not_before_wall_ns = p.delay_ns ? head_time_add(clock_wall_ns(h->clock), p.delay_ns) : 0;
    return true;
}

static void job_over(struct head *h, struct head_job *j, struct head_run *r)
{
    enum job_event ev = event_of(r);
    if (ev == JOB_EV_LOSE && r->alloc.node == 0 && !str_eq(r->end.message, NODE_REBOOTED))
        str_copy(r->end.message, sizeof(r->end.message),
                 "its starter died without leaving a result");
    else if (ev == JOB_EV_CANCEL)
        j->reason = head_reason_user;
    if (wants_retry(h, j, ev)) {
        head_job_event(h, j, JOB_EV_REQUEUE);
        j->run = NULL;
        head_job_queue(h, j);
        return;
    }
    head_job_event(h, j, ev);
    head_deps_settle(h, j->entry.id, j->status);
    if (j->array)
        head_array_child_ended(h, j);
}

void head_apply_end(struct head *h, struct head_end *e)
{
    struct head_job *j = map_get(&h->jobs, (uint64_t)e->end.key.job);
    struct head_run *r = j ? j->run : NULL;

    if (!r || r->ended || r->fresh || r->key.number != e->end.key.number)
        return; /* somebody else's, or an old story */
    head_line_release(h, r, false);
    map_put(&h->use_changed, (uint64_t)r->alloc.user + 1, h);
    r->ended = true;
    r->end = e->end;
    if (!r->end.finished_ns)
        r->end.finished_ns = clock_wall_ns(h->clock);
    list_remove(&r->link);
    list_append(&h->over, &r->link);
    if (e->never_started && !r->killed) {
        str_copy(r->end.message, sizeof(r->end.message), "the daemon ended before it was started");
        r->taken_back = e->taken_back;
        if (r->taken_back) {
            j->attempts--;
            j->met = MET_ALL;
        }
        head_job_event(h, j, JOB_EV_REQUEUE);
        j->run = NULL;
        head_job_queue(h, j);
    } else {
        if (e->never_started)
            r->end.outcome = ATTEMPT_CANCELLED;
        job_over(h, j, r);
    }
    if (j->array && j->array->tasks)
        head_array_settle(h, j->array);
}

static struct head_end *note_end(struct head *h, const struct attempt_end *end)
{
    struct head_end *e = mem_alloc(sizeof(*e));

    e->end = *end;
    e->came_ns = ev_now_ns(h->loop);
    list_append(&h->ends, &e->link);
    ev_again(h->loop);
    return e;
}

void head_attempt_ended(const struct attempt_end *end, void *arg)
{
    note_end(arg, end);
}

void head_attempt_never_started(const struct attempt_key *key, void *arg)
{
    struct attempt_end end = { .key = *key, .outcome = ATTEMPT_NOT_RUN, .code = -1 };

    note_end(arg, &end)->never_started = true;
}

void head_attempt_taken_back(const struct attempt_key *key, void *arg)
{
    struct attempt_end end = { .key = *key, .outcome = ATTEMPT_NOT_RUN, .code = -1 };
    struct head_end *e = note_end(arg, &end);

    e->never_started = e->taken_back = true;
}

/* ---- after a restart ---- */

/* What was ours under another name is still ours. */
static int32_t node_of(const struct head *h, const char *name)
{
    const struct head_node *n = name ? head_node_at(h, sched_node_find(h->sched, name)) : NULL;

    return n && n->kind == HEAD_NODE_SSH ? n->index : 0;
}

static bool adopt_one(void *arg, const struct store_attempt *a)
{
    struct head *h = arg;
    struct head_job *j = map_get(&h->jobs, (uint64_t)a->job);
    int64_t now = ev_now_ns(h->loop), ran = clock_wall_ns(h->clock) - a->started_ns;

    if (!j || j->status != JOB_RUNNING || j->attempts != a->number || j->run)
        return true;
    struct head_run *r = run_alloc();
    run_bind(h, r, j);
    list_append(&h->runs, &r->link);
    r->key.fence = a->fence;
    r->started_wall_ns = a->started_ns;
    r->killed = j->reason != NULL;
    j->reason = NULL;
    r->alloc.entry = j->array ? &j->array->entry : &j->entry;
    r->alloc.node = node_of(h, a->node);
    r->alloc.user = j->user;
    r->alloc.got =
        (struct sched_resources){ .threads = j->threads, .memory = j->memory, .gpus = j->gpus };
    /* how long it may still run is the shim's business; for planning this is near enough */
    if (ran < 0)
        ran = 0;
    r->alloc.start_ns = now;
    r->alloc.end_ns = INT64_MAX;
    if (j->timeout_ns)
        r->alloc.end_ns = head_time_add(now, j->timeout_ns > ran ? j->timeout_ns - ran : 0);
    sched_reserve(h->sched, &r->alloc);
    return true;
}

/* A far node is told again where the job's output is. */
static int adopt(struct head *h, const struct head_run *r, struct err *err)
{
    struct head_job *j = r->job;
    int64_t id = j->array ? j->array->entry.id : j->entry.id, task = j->array ? j->task : -1;
    struct buf out = BUF_INIT, errors = BUF_INIT;
    struct spec s;
    yyjson_doc *doc = NULL;
    char *text = NULL;
    bool has_out = false, has_err = false;

    if (r->alloc.node != 0) {
        text = head_spec_text(h, id, err);
        doc = text ? jsonx_parse(text, strlen(text), NULL) : NULL;
    }
    if (doc && spec_read(&s, yyjson_doc_get_root(doc), NULL, "", true, NULL) == 0) {
        has_out = spec_output_path(&s, s.stdout_path, id, task, h->home, &out);
        has_err = spec_output_path(&s, s.stderr_path, id, task, h->home, &errors);
        spec_fini(&s);
    }
    int rc = head_node_adopt(h, r, has_out ? buf_data(&out) : NULL,
                             has_err ? buf_data(&errors) : NULL, err);
    buf_fini(&out);
    buf_fini(&errors);
    yyjson_doc_free(doc);
    free(text);
    return rc;
}

int head_adopt_all(struct head *h, struct err *err)
{
    if (store_attempt_each_open(h->store, adopt_one, h, err) != 0)
        return -1;
    LIST_FOR_EACH(it, &h->runs) {
        struct head_run *r = CONTAINER_OF(it, struct head_run, link);
        if (adopt(h, r, err) != 0)
            return -1;
        if (r->killed)
            head_node_kill(h, r);
    }
    return 0;
}
