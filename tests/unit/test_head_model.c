/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The head against a simple model of it. Random requests, ends, full disks, restarts and crashes;
 * after every step each job must be what the model says, and memory, database, ledger and shims
 * must say the same (head_check.h). The model knows nothing of turns or of order: it takes over
 * what was acknowledged, sees which attempts begin, and from their ends concludes what must follow.
 */
#include "unit/head_check.h"

#define MAX_UNITS 4000
#define MAX_DEPS 2

struct dep {
    int64_t on;
    enum spec_dep_when when;
    bool met;
};

/* A job, an array or a task. */
struct unit {
    int64_t id, array, task;
    int status, attempts, retries;
    bool known, is_array, held, killed, requeue_lost;
    bool rest_cancelled; /* of an array: what never started */
    int64_t total, rows, limit;
    struct dep deps[MAX_DEPS];
    bool delayed;
    int64_t due_ns, delay_ns;
};

static struct {
    struct rig rig;
    struct unit units[MAX_UNITS];
    int64_t last;
    uint64_t seed;
    bool one_thread; /* every job takes one thread and no delay: what can start must have started */
    bool disk_was_full;
    bool brief; /* jobs last milliseconds, and others are lined up behind them */
    size_t starts, fails, taken;
} m;

static uint32_t rnd(uint32_t n)
{
    m.seed ^= m.seed << 13;
    m.seed ^= m.seed >> 7;
    m.seed ^= m.seed << 17;
    return (uint32_t)(m.seed >> 20) % n;
}

static struct unit *unit_of(int64_t id)
{
    CHECK(id > 0 && id < MAX_UNITS);
    return &m.units[id];
}

static bool over(const struct unit *u)
{
    return job_status_terminal((enum job_status)u->status);
}

static struct unit *add_unit(int64_t id)
{
    struct unit *u = unit_of(id);

    *u = (struct unit){ .id = id, .known = true, .status = JOB_QUEUED };
    if (id > m.last)
        m.last = id;
    return u;
}

/* Some known unit, or NULL. */
static struct unit *pick(void)
{
    for (int i = 0; m.last > 0 && i < 20; i++) {
        /* mostly a young one */
        int64_t back = rnd(4) ? rnd(30) : rnd((uint32_t)m.last);
        struct unit *u = unit_of(back < m.last ? m.last - back : 1);
        if (u->known)
            return u;
    }
    return NULL;
}

/* --- what follows --- */

static bool array_over(const struct unit *a)
{
    int64_t done = a->rest_cancelled ? a->total - a->rows : 0;

    for (int64_t i = 1; i <= m.last; i++)
        done += m.units[i].known && m.units[i].array == a->id && over(&m.units[i]);
    return done == a->total;
}

static void settle_array(struct unit *a)
{
    int64_t failed = 0, cancelled = a->rest_cancelled ? a->total - a->rows : 0, running = 0;

    for (int64_t i = 1; i <= m.last; i++) {
        const struct unit *t = &m.units[i];
        if (!t->known || t->array != a->id)
            continue;
        running += t->status == JOB_RUNNING;
        cancelled += t->status == JOB_CANCELLED;
        failed += over(t) && t->status != JOB_CANCELLED && t->status != JOB_SUCCEEDED;
    }
    if (array_over(a))
        a->status = failed ? JOB_FAILED : cancelled ? JOB_CANCELLED : JOB_SUCCEEDED;
    else
        a->status = running ? JOB_RUNNING : JOB_QUEUED;
}

static void settle_deps(struct unit *u)
{
    for (int k = 0; k < MAX_DEPS; k++) {
        struct dep *d = &u->deps[k];
        const struct unit *on = d->on ? unit_of(d->on) : NULL;
        if (!on || d->met || !over(on))
            continue;
        d->met = true;
        bool ok = d->when == DEP_ANY || (d->when == DEP_OK) == (on->status == JOB_SUCCEEDED);
        if (ok || over(u))
            continue;
        u->rest_cancelled = true;
        u->status = JOB_CANCELLED;
        for (int64_t i = 1; u->is_array && i <= m.last; i++)
            if (m.units[i].known && m.units[i].array == u->id && !over(&m.units[i]))
                m.units[i].status = JOB_CANCELLED;
        for (int i = 0; i < MAX_DEPS; i++)
            u->deps[i].met = true;
    }
}

/* To a fixed point in one go: arrays are older than those who wait for them. */
static void settle(void)
{
    for (int64_t i = 1; i <= m.last; i++) {
        struct unit *u = &m.units[i];
        if (!u->known)
            continue;
        if (u->is_array && !over(u))
            settle_array(u);
        if (u->status == JOB_QUEUED)
            settle_deps(u);
    }
}

static bool waits(const struct unit *u)
{
    for (int k = 0; k < MAX_DEPS; k++)
        if (u->deps[k].on && !u->deps[k].met)
            return true;
    return false;
}

static int status_after(const struct unit *u, const struct attempt_end *e, bool *again)
{
    static const int plain[] = {
        [ATTEMPT_EXITED] = JOB_FAILED,   [ATTEMPT_SIGNALED] = JOB_FAILED,
        [ATTEMPT_TIMEOUT] = JOB_TIMEOUT, [ATTEMPT_CANCELLED] = JOB_CANCELLED,
        [ATTEMPT_OOM] = JOB_OOM,         [ATTEMPT_NOT_RUN] = JOB_FAILED,
        [ATTEMPT_LOST] = JOB_LOST,
    };

    *again = false;
    if (e->outcome == ATTEMPT_EXITED && e->code == 0)
        return JOB_SUCCEEDED;
    if (u->killed || e->outcome == ATTEMPT_CANCELLED)
        return JOB_CANCELLED;
    *again = e->outcome == ATTEMPT_LOST ? u->requeue_lost : u->retries > 0;
    return *again ? JOB_QUEUED : plain[e->outcome];
}

/* --- seeing what the head did --- */

/* A row the model doesn't know yet: a task that got one. */
static struct unit *see_task(int64_t id)
{
    struct store_job row = rig_row(&m.rig, id);
    struct unit *u = add_unit(id), *a = unit_of(row.array_id);

    CHECK(a->known && a->is_array);
    u->array = row.array_id;
    u->task = row.task;
    u->retries = a->retries;
    u->requeue_lost = a->requeue_lost;
    u->delay_ns = a->delay_ns;
    a->rows++;
    CHECK(a->rows <= a->total);
    return u;
}

static void see_start(const struct shim *s)
{
    struct unit *u = unit_of(s->key.job);

    if (!u->known) {
        u = see_task(s->key.job);
        CHECK(!unit_of(u->array)->rest_cancelled);
    }
    if (u->attempts >= s->key.number)
        return;
    const struct unit *a = u->array ? unit_of(u->array) : u;
    CHECK_INT(s->key.number, u->attempts + 1);
    CHECK_INT(u->status, JOB_QUEUED);
    if (u->is_array || a->held || waits(a))
        unit_fail(__FILE__, __LINE__, "job %d starts: held %d, waits %d", (int)u->id, a->held,
                  waits(a));
    CHECK(u->due_ns <= m.rig.wall_ns);
    u->status = JOB_RUNNING;
    u->attempts++;
    u->due_ns = 0;
    m.starts++;
}

struct committed {
    int32_t attempts, number, outcome;
};

static bool see_attempt(void *arg, const struct store_attempt *a)
{
    struct committed *c = arg;

    c->attempts++;
    CHECK_INT(a->number, c->attempts);
    c->number = a->number;
    c->outcome = a->outcome;
    return true;
}

/* Shims whose end is in the database by now. */
static void see_end(struct shim *s)
{
    struct unit *u = unit_of(s->key.job);
    struct committed c = { 0, 0, 0 };
    struct err err = ERR_INIT;
    bool again = false;

    if (!u->known || u->status != JOB_RUNNING || u->attempts != s->key.number ||
        !(s->over || s->never))
        return;
    CHECK_OK(store_attempt_each(head_store(m.rig.head), u->id, see_attempt, &c, &err), &err);
    if (c.number == s->key.number && c.outcome < 0)
        return; /* not yet */
    if (s->never) {
        u->status = u->killed ? JOB_CANCELLED : JOB_QUEUED;
    } else {
        u->status = status_after(u, &s->end, &again);
        if (again && s->end.outcome != ATTEMPT_LOST) {
            u->retries--;
            u->due_ns = u->delay_ns ? m.rig.wall_ns + u->delay_ns : 0;
        }
    }
    u->killed = false;
    if (u->array) {
        settle();
    }
}

/* What was lined up and taken back is as if it had never been, once that is in the database. */
static void see_taken(struct shim *s)
{
    struct unit *u = unit_of(s->key.job);
    struct committed c = { 0, 0, 0 };
    struct err err = ERR_INIT;

    if (!s->taken || u->status != JOB_RUNNING || u->attempts != s->key.number)
        return;
    CHECK_OK(store_attempt_each(head_store(m.rig.head), u->id, see_attempt, &c, &err), &err);
    if (c.number == s->key.number && c.outcome < 0) {
        const struct shim *now = rig_shim(s->key.job, s->key.number);
        if (!now)
            return;       /* not yet */
        if (now->never) { /* a crash came before it */
            s->key.number = 0;
            return;
        } /* else it was ordered again in the same turn */
    }
    s->key.number = 0; /* seen */
    m.taken++;
    u->status = u->killed ? JOB_CANCELLED : JOB_QUEUED;
    if (!u->killed)
        u->attempts--;
    u->killed = false;
}

static void see(void)
{
    LIST_FOR_EACH(it0, &rig_world.shims)
        see_taken(CONTAINER_OF(it0, struct shim, link));
    LIST_FOR_EACH(it, &rig_world.shims)
        see_end(CONTAINER_OF(it, struct shim, link));
    settle();
    LIST_FOR_EACH(it2, &rig_world.shims)
        if (!CONTAINER_OF(it2, struct shim, link)->taken)
            see_start(CONTAINER_OF(it2, struct shim, link));
    settle();
}

/* As rig_turns(), but looks at every turn, so that nothing is missed. */
static void turns(void)
{
    rig_report();
    for (int i = 0; i < 3; i++) {
        rig_turn(&m.rig);
        see();
    }
    rig_sweep(&m.rig);
}

static void check_unit(const struct unit *u)
{
    struct store_job row = rig_row(&m.rig, u->id);
    int64_t cancelled = u->rest_cancelled ? u->total - u->rows : 0, succeeded = 0, failed = 0;

    if (row.status != u->status)
        unit_fail(__FILE__, __LINE__, "job %d (array %d) is %s (%s) and should be %s", (int)u->id,
                  (int)u->array, job_status_name((enum job_status)row.status),
                  row.reason ? row.reason : "", job_status_name((enum job_status)u->status));
    CHECK_INT(row.attempts, u->attempts);
    if (!u->is_array && !u->array)
        CHECK_INT(row.retries_left, u->retries);
    CHECK_INT(row.finished_ns > 0, over(u));
    if (!over(u))
        CHECK_INT(row.held, u->held);
    if (!u->is_array)
        return;
    for (int64_t i = 1; i <= m.last; i++) {
        const struct unit *t = &m.units[i];
        if (!t->known || t->array != u->id)
            continue;
        succeeded += t->status == JOB_SUCCEEDED;
        cancelled += t->status == JOB_CANCELLED;
        failed += over(t) && t->status != JOB_SUCCEEDED && t->status != JOB_CANCELLED;
    }
    CHECK_INT(row.n_succeeded, succeeded);
    CHECK_INT(row.n_failed, failed);
    CHECK_INT(row.n_cancelled, cancelled);
}

static bool can_start(const struct unit *u)
{
    if (!u->known || u->status != JOB_QUEUED || u->array || u->held || waits(u))
        return u->known && u->is_array && u->status == JOB_RUNNING && !u->held && !u->limit &&
               !u->rest_cancelled && u->rows < u->total;
    return u->is_array ? !u->rest_cancelled && u->rows < u->total : true;
}

static void check_all(bool thoroughly)
{
    struct err err = ERR_INIT;
    struct sched_resources have, used;

    check_head(&m.rig);
    for (int64_t i = thoroughly || m.last < 60 ? 1 : m.last - 60; i <= m.last; i++)
        if (m.units[i].known)
            check_unit(&m.units[i]);
    if (thoroughly)
        CHECK_OK(store_check(head_store(m.rig.head), &err), &err);
    if (!m.one_thread || m.rig.mono_ns < m.rig.head->resume_ns)
        return;
    sched_node_get(m.rig.head->sched, 0, &have, &used);
    for (int64_t i = 1; i <= m.last && used.threads < have.threads; i++)
        if (can_start(&m.units[i]))
            unit_fail(__FILE__, __LINE__, "job %d could run and doesn't", (int)i);
}

/* --- what clients do --- */

static int64_t pick_dep(struct unit *u, int k)
{
    struct unit *on = pick();

    if (!on || on->array || on->id == u->id)
        return 0;
    u->deps[k].on = on->id;
    u->deps[k].when = (enum spec_dep_when)rnd(3);
    return on->id;
}

static void append_job(struct buf *b, struct unit *u)
{
    static const char *const when[] = { [DEP_OK] = "ok", [DEP_ANY] = "any", [DEP_FAIL] = "fail" };
    const char *sep = "";

    u->known = true;
    u->status = JOB_QUEUED;
    buf_printf(b, "{'threads':%d,'priority':%d,", m.one_thread ? 1 : 1 + (int)rnd(3), (int)rnd(3));
    if (rnd(3) == 0)
        buf_printf(b, "'retry':%d,", u->retries = 1 + (int)rnd(3));
    if (!m.one_thread && rnd(2) == 0) {
        u->delay_ns = (1 + (int64_t)rnd(5)) * NS_PER_S;
        buf_printf(b, "'retry_delay':%d,", (int)(u->delay_ns / NS_PER_S));
    }
    if ((u->requeue_lost = rnd(2)))
        buf_append_str(b, "'on_lost':'requeue',");
    if ((u->held = rnd(8) == 0))
        buf_append_str(b, "'hold':true,");
    if ((u->is_array = rnd(4) == 0)) {
        u->total = 1 + rnd(9);
        u->limit = rnd(3);
        buf_printf(b, "'array':'0-%d:3',", (int)u->total * 3 - 1);
        if (u->limit)
            buf_printf(b, "'array_limit':%d,", (int)u->limit);
    }
    buf_append_str(b, "'after':[");
    for (int k = 0; k < MAX_DEPS && rnd(3) == 0; k++)
        if (pick_dep(u, k)) {
            buf_printf(b, "%s'%d:%s'", sep, (int)u->deps[k].on, when[u->deps[k].when]);
            sep = ",";
        }
    buf_append_str(b, "]}");
}

/* A request that waits for its answer; `units` are of a submit. */
struct request {
    struct answer a;
    enum { NOTHING, SUBMIT, CHANGE } kind;
    enum head_change what;
    int64_t id;
    int n;
    struct unit units[4];
};

static void stage_submit(struct request *q, int n)
{
    struct buf b = BUF_INIT;

    q->kind = SUBMIT;
    q->n = n;
    for (int i = 0; i < n; i++) {
        buf_append_char(&b, i ? ',' : '[');
        append_job(&b, &q->units[i]);
    }
    buf_append_char(&b, ']');
    q->id = rig_stage(&m.rig, buf_data(&b), &q->a, NULL);
    if (!q->id && !m.disk_was_full)
        unit_fail(__FILE__, __LINE__, "%s: %s", buf_data(&b), q->a.err.msg);
    fprintf(stderr, "# submit %d: %s\n", (int)q->id, buf_data(&b));
    buf_fini(&b);
}

static void take_submit(const struct request *q)
{
    for (int i = 0; i < q->n; i++) {
        struct unit *u = unit_of(q->id + i);
        CHECK(!u->known);
        *u = q->units[i];
        u->id = q->id + i;
        if (u->id > m.last)
            m.last = u->id;
    }
}

static void submit(int n)
{
    struct request q = { .kind = SUBMIT };

    stage_submit(&q, n);
    rig_turn(&m.rig);
    CHECK(q.a.done || !q.id);
    m.fails += q.a.failed;
    if (!q.a.failed)
        take_submit(&q);
    settle();
    see();
}

static void model_cancel_unit(struct unit *u)
{
    if (u->status == JOB_RUNNING)
        u->killed = true;
    else if (!over(u))
        u->status = JOB_CANCELLED;
}

static void model_cancel(struct unit *u)
{
    if (!u->is_array) {
        model_cancel_unit(u);
        return;
    }
    u->rest_cancelled = true;
    for (int64_t i = 1; i <= m.last; i++)
        if (m.units[i].known && m.units[i].array == u->id)
            model_cancel_unit(&m.units[i]);
}

static void model_retry_unit(struct unit *u)
{
    u->status = JOB_QUEUED;
    u->killed = false;
    u->due_ns = 0;
    for (int k = 0; k < MAX_DEPS; k++)
        u->deps[k].met = true;
}

static void model_retry(struct unit *u)
{
    model_retry_unit(u);
    if (u->array && over(unit_of(u->array)))
        model_retry_unit(unit_of(u->array));
    if (!u->is_array)
        return;
    u->rest_cancelled = false;
    for (int64_t i = 1; i <= m.last; i++) {
        struct unit *t = &m.units[i];
        if (t->known && t->array == u->id && t->status != JOB_SUCCEEDED)
            model_retry_unit(t);
    }
}

/* Whether the head must take it. */
static bool allowed(enum head_change what, const struct unit *u)
{
    switch (what) {
    case HEAD_CANCEL:
        return !over(u);
    case HEAD_HOLD:
    case HEAD_RELEASE:
        return !u->array && !over(u) && (u->is_array || u->status == JOB_QUEUED);
    case HEAD_RETRY:
        break;
    }
    return over(u) && (!u->is_array || u->status != JOB_SUCCEEDED);
}

static void take_change(enum head_change what, struct unit *u)
{
    if (what == HEAD_CANCEL)
        model_cancel(u);
    else if (what == HEAD_RETRY)
        model_retry(u);
    else
        u->held = what == HEAD_HOLD;
}

static void change(enum head_change what, struct unit *u)
{
    enum err_kind kind =
        rig_change(&m.rig, what, u->array ? u->array : u->id, u->array ? u->task : -1);

    m.fails += kind != ERR_NONE;
    fprintf(stderr, "# change %d of %d: error %d\n", (int)what, (int)u->id, (int)kind);
    if (!m.disk_was_full)
        CHECK_INT(kind, allowed(what, u) ? ERR_NONE : ERR_CONFLICT);
    if (kind == ERR_NONE)
        take_change(what, u);
    see();
}

/* Several requests in one turn; they see each other's effects, and fail together. */
static void burst(void)
{
    struct request q[5] = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        struct unit *u = pick();
        if (!u || rnd(3) == 0) {
            stage_submit(&q[i], 1 + (int)rnd(3));
            continue;
        }
        q[i].a.op.done = rig_answered;
        q[i].what = (enum head_change)rnd(4);
        q[i].id = u->id;
        if (head_change(m.rig.head, q[i].what, u->array ? u->array : u->id, u->array ? u->task : -1,
                        0, &q[i].a.op, &q[i].a.err) == 0)
            q[i].kind = CHANGE;
        fprintf(stderr, "# with change %d of %d: %d\n", (int)q[i].what, (int)u->id, (int)q[i].kind);
    }
    rig_turn(&m.rig);
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        m.fails += q[i].a.failed;
        if (q[i].kind == NOTHING || q[i].a.failed)
            continue;
        CHECK(q[i].a.done);
        if (q[i].kind == SUBMIT)
            take_submit(&q[i]);
        else
            take_change(q[i].what, unit_of(q[i].id));
        settle();
    }
    see();
}

/* A task of an array that may have no row yet. */
static void cancel_task(struct unit *a)
{
    int64_t task = 3 * (int64_t)rnd((uint32_t)a->total), id = rig_task(&m.rig, a->id, task);
    bool new = !id, decided = over(a) || (new && a->rest_cancelled) || (id && over(unit_of(id)));
    enum err_kind kind = rig_change(&m.rig, HEAD_CANCEL, a->id, task);

    m.fails += kind != ERR_NONE;
    if (!m.disk_was_full)
        CHECK_INT(kind == ERR_NONE, !decided);
    if (kind == ERR_NONE) {
        id = rig_task(&m.rig, a->id, task);
        struct unit *t = new ? see_task(id) : unit_of(id);
        model_cancel_unit(t);
    }
    see();
}

/* --- what the world does --- */

static void end_some(bool all)
{
    LIST_FOR_EACH(it, &rig_world.shims) {
        struct shim *s = CONTAINER_OF(it, struct shim, link);
        if (s->over || s->never || s->reported || s->taken || rig_lined_up(s) || (!all && rnd(2)))
            continue;
        enum attempt_outcome o =
            all || rnd(3) ? ATTEMPT_EXITED : (enum attempt_outcome)rnd(ATTEMPT_OUTCOME_COUNT);
        if (o == ATTEMPT_CANCELLED && !s->killed)
            o = ATTEMPT_EXITED;
        rig_end(s, o, o == ATTEMPT_EXITED && !all ? (int)rnd(2) : o == ATTEMPT_EXITED ? 0 : -1);
    }
    turns();
}

static void begin_some(void)
{
    LIST_FOR_EACH(it, &rig_world.shims) {
        struct shim *s = CONTAINER_OF(it, struct shim, link);
        if (rnd(2) && !rig_lined_up(s) && !s->taken)
            s->begun = true;
    }
}

static void restart(bool crash)
{
    struct err err = ERR_INIT;

    begin_some();
    rig_disk.fail_writes = 0;
    if (rnd(2))
        rig_report(); /* ends that come in the last moment */
    if (crash)
        m.rig.head->broken = true;
    head_destroy(m.rig.head);
    CHECK_OK(rig_open(&m.rig, &err), &err);
    see(); /* what the last turn of the head before committed */
    turns();
}

static void step(void)
{
    struct unit *u = pick();
    uint32_t what = rnd(100);

    m.disk_was_full = rnd(12) == 0;
    rig_disk.fail_writes = m.disk_was_full ? SQLITE_FULL : 0;
    m.disk_was_full = m.disk_was_full || m.rig.mono_ns < m.rig.head->resume_ns;
    if (what < 20 || !u)
        submit(1 + (int)rnd(4));
    else if (what < 27)
        burst();
    else if (what < 35)
        change(HEAD_CANCEL, u);
    else if (what < 41)
        change(HEAD_HOLD, u);
    else if (what < 50)
        change(HEAD_RELEASE, u);
    else if (what < 56)
        change(HEAD_RETRY, u);
    else if (what < 60 && u->is_array)
        cancel_task(u);
    else if (what < 92)
        end_some(false);
    else if (what < 96)
        restart(what < 94);
    if (m.brief)
        m.rig.mono_ns += rnd(30) ? rnd(3) * NS_PER_MS : (150 + rnd(2) * 1000) * NS_PER_MS;
    else
        m.rig.mono_ns += rnd(3) * NS_PER_S;
    m.rig.wall_ns = NS_PER_S * 1700000000 + m.rig.mono_ns;
    turns();
    check_all(rnd(50) == 0);
}

static void finish(void)
{
    rig_disk.fail_writes = 0;
    m.disk_was_full = false;
    for (int i = 0; i < 2000 && map_count(&m.rig.head->jobs) > 0; i++) {
        m.rig.mono_ns += 7 * NS_PER_S;
        m.rig.wall_ns += 7 * NS_PER_S;
        turns();
        for (int64_t k = 1; k <= m.last; k++)
            if (m.units[k].known && m.units[k].held && allowed(HEAD_RELEASE, &m.units[k]))
                change(HEAD_RELEASE, &m.units[k]);
        end_some(true);
    }
    CHECK_INT(map_count(&m.rig.head->jobs), 0);
    CHECK_INT(map_count(&m.rig.head->dependents), 0);
    CHECK_INT(node_running(NULL), 0);
    check_all(true);
}

static void run(uint64_t seed, int steps, bool one_thread, bool brief)
{
    memset(&m, 0, sizeof(m));
    m.brief = brief;
    rig_world.ahead = brief ? "6ms" : NULL;
    m.seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    m.one_thread = one_thread;
    rig_init(&m.rig, "4");
    m.rig.errors_expected = false;
    for (int i = 0; i < steps && m.last < MAX_UNITS - 200; i++) {
        fprintf(stderr, "# seed %d step %d\n", (int)seed, i);
        step();
    }
    finish();
    fprintf(stderr,
            "# seed %d: %d rows, %zu starts, %zu of them taken back, %zu requests refused\n",
            (int)seed, (int)m.last, m.starts, m.taken, m.fails);
    rig_fini(&m.rig);
}

#define RUN(n, one_thread, brief)                                                                  \
    TEST(model_seed_##n)                                                                           \
    {                                                                                              \
        run(n, 700, one_thread, brief);                                                            \
    }

RUN(1, false, false)
RUN(2, false, false)
RUN(3, true, false)
RUN(4, true, false)
RUN(5, false, true)
RUN(6, true, true)
RUN(7, true, true)
RUN(8, false, true)
RUN(212, false, false)

/* For long runs by hand: HEAD_MODEL_SEED=N build/dev/tests/test_head_model model_seed_given */
TEST(model_seed_given)
{
    const char *seed = getenv("HEAD_MODEL_SEED");

    uint64_t n = seed ? strtoull(seed, NULL, 10) : 9;

    run(n, 700, n % 2, n / 2 % 2);
}
