/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A head in a test: the real store on a disk that fails when asked, a clock that stands still, and
 * in place of core/node a world of shims that begin, end and outlive the head as the test says.
 * (It defines the functions of node.h, so that the linker doesn't take the real ones.)
 */
#ifndef HIVE_TESTS_HEAD_RIG_H
#define HIVE_TESTS_HEAD_RIG_H

#include "base/buf.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "head/head_priv.h"
#include "node/attempt.h"
#include "unit/unit.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the disk --------------------------------------------------------------------------------- */

/* The one disk of the test; a VFS has no other way to know it than a global. */
static struct {
    sqlite3_vfs real;
    sqlite3_io_methods real_io[2], io[2]; /* of the database, of other files */
    int fail_writes;                      /* with this, from now on */
    int fail_reads;
    int fail_sync;
    int writes;
} rig_disk;

static inline const sqlite3_io_methods *rig_disk_real(const sqlite3_file *f)
{
    return &rig_disk.real_io[f->pMethods == &rig_disk.io[1]];
}

static inline int rig_disk_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    errno = rig_disk.fail_writes == SQLITE_FULL ? ENOSPC : EIO;
    if (rig_disk.fail_writes)
        return rig_disk.fail_writes;
    rig_disk.writes++;
    return rig_disk_real(f)->xWrite(f, data, n, at);
}

static inline int rig_disk_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    errno = EIO;
    return rig_disk.fail_reads ? rig_disk.fail_reads : rig_disk_real(f)->xRead(f, data, n, at);
}

/* Nothing here survives a power failure: a sync only has to succeed or fail. */
static inline int rig_disk_sync(sqlite3_file *f, int flags)
{
    (void)f;
    (void)flags;
    errno = EIO;
    return rig_disk.fail_sync ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static inline int rig_disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags,
                                int *out)
{
    (void)vfs;
    int rc = rig_disk.real.xOpen(&rig_disk.real, path, f, flags, out);
    if (rc != SQLITE_OK || !f->pMethods)
        return rc;
    int kind = (flags & SQLITE_OPEN_MAIN_DB) == 0;
    sqlite3_io_methods *io = &rig_disk.io[kind];
    rig_disk.real_io[kind] = *io = *f->pMethods;
    io->iVersion = 1; /* without shared memory: the store needs none */
    io->xWrite = rig_disk_write;
    io->xRead = rig_disk_read;
    io->xSync = rig_disk_sync;
    f->pMethods = io;
    return rc;
}

static inline void rig_disk_use(void)
{
    static sqlite3_vfs vfs;

    sqlite3_initialize();
    vfs = rig_disk.real = *sqlite3_vfs_find(NULL);
    vfs.zName = "rig";
    vfs.xOpen = rig_disk_open;
    CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

/* --- shims ------------------------------------------------------------------------------------ */

struct shim {
    struct list link; /* rig_world.shims */
    struct attempt_key key;
    bool begun; /* else node_destroy() ends it without a trace */
    bool known; /* to the node of now */
    bool killed;
    bool over;     /* `end` is what became of it */
    bool never;    /* it never began */
    bool asked;    /* back; whether it has begun by then shows with the next report */
    bool taken;    /* back, before it was begun: its number may be used again */
    bool reported; /* one of the two, to the node of now; its files are still there */
    int64_t grace_ns;
    struct attempt_end end;
    struct attempt_key after; /* not begun before this one has ended; job 0: none */
    char *command;            /* argv's last word */
    char *stdout_path;
    bool append;
};

struct node {
    struct node_hooks hooks;
};

/* What is outside of the daemon, and goes on without it. */
static struct {
    struct list shims; /* live ones, and files of those that ended */
    struct node *node;
    size_t ordered; /* attempts ever */
    int refuse_run; /* so many node_run() fail */
    const char *note;
    const int64_t *wall_ns;
    const struct sample *sample; /* NULL: nothing is measured */
    int64_t use_cpu_ns;          /* of every attempt; 0: that isn't measured */
    const char *memory;          /* daemon.memory; NULL: 16G */
    const char *ahead;           /* jobs.ahead; NULL: 0, for here all jobs are over in no time */
} rig_world;

/* Only files: the head knows, now or since before it was started again. */
static inline bool rig_shim_gone(const struct shim *s)
{
    return s->taken || s->reported || (!s->known && (s->over || s->never));
}

/* The one with that number; with 0 the live one. */
static inline struct shim *rig_shim(int64_t job, int32_t number)
{
    LIST_FOR_EACH(it, &rig_world.shims) {
        struct shim *s = CONTAINER_OF(it, struct shim, link);
        if (s->key.job == job && !s->taken &&
            (number == 0 ? !rig_shim_gone(s) : s->key.number == number))
            return s;
    }
    return NULL;
}

static inline void rig_shim_free(struct shim *s)
{
    list_remove(&s->link);
    free(s->command);
    free(s->stdout_path);
    free(s);
}

struct node *node_create(struct ev_loop *loop, const struct log *log, const struct node_config *cfg,
                         const struct node_hooks *hooks, struct err *err)
{
    struct node *n = mem_alloc(sizeof(*n));

    (void)loop;
    (void)log;
    (void)cfg;
    (void)err;
    CHECK(!rig_world.node);
    n->hooks = *hooks;
    rig_world.node = n;
    return n;
}

void node_destroy(struct node *n)
{
    if (!n)
        return;
    LIST_FOR_EACH_SAFE(it, &rig_world.shims) {
        struct shim *s = CONTAINER_OF(it, struct shim, link);
        s->known = s->reported = false;
        if (!s->begun && !s->taken && !s->over)
            rig_shim_free(s);
    }
    rig_world.node = NULL;
    free(n);
}

int node_run(struct node *n, const struct node_run *run, struct err *err)
{
    size_t argc = 0;

    CHECK(n == rig_world.node);
    if (rig_world.refuse_run > 0) {
        rig_world.refuse_run--;
        return err_set(err, ERR_TOO_LARGE, "the test says no");
    }
    LIST_FOR_EACH(it, &rig_world.shims) {
        struct shim *s = CONTAINER_OF(it, struct shim, link);
        bool gone = rig_shim_gone(s) && s->key.number < run->key.number;
        CHECK(s->key.job != run->key.job || gone || s->taken);
    }
    struct shim *s = mem_alloc(sizeof(*s));
    s->key = run->key;
    s->known = true;
    s->grace_ns = -1;
    s->after = run->after;
    while (run->argv[argc + 1])
        argc++;
    s->command = mem_strdup(run->argv[argc]);
    s->stdout_path = mem_strdup(run->stdout_path);
    s->append = run->append;
    list_append(&rig_world.shims, &s->link);
    rig_world.ordered++;
    return 0;
}

/* Whether it waits for one that has not ended, or for one that itself waits. */
static inline bool rig_lined_up(const struct shim *s)
{
    struct shim *before = s->after.job ? rig_shim(s->after.job, s->after.number) : NULL;

    if (s->begun || s->over || s->never || !before)
        return false;
    /* One that was killed while it waited is out of the line. */
    return before->over && !before->begun ? rig_lined_up(before) : !before->over;
}

/* An attempt ends. */
static inline void rig_end(struct shim *s, enum attempt_outcome outcome, int code)
{
    CHECK(s != NULL);
    CHECK(!s->over);
    CHECK(!rig_lined_up(s) || outcome == ATTEMPT_CANCELLED);
    s->begun = !rig_lined_up(s);
    s->over = true;
    s->end = (struct attempt_end){ .key = s->key,
                                   .outcome = outcome,
                                   .code = code,
                                   .started_ns = *rig_world.wall_ns,
                                   .finished_ns = *rig_world.wall_ns };
    if (outcome == ATTEMPT_SIGNALED)
        s->end.signal = 9;
    if (outcome == ATTEMPT_LOST)
        s->end.finished_ns = 0;
}

void node_kill(struct node *n, const struct attempt_key *key, int64_t grace_ns)
{
    struct shim *s = rig_shim(key->job, key->number);

    CHECK(n == rig_world.node);
    if (!s || !s->known)
        return;
    s->killed = true;
    s->grace_ns = grace_ns;
    if (rig_lined_up(s))
        rig_end(s, ATTEMPT_CANCELLED, -1);
}

bool node_take_back(struct node *n, const struct attempt_key *key)
{
    struct shim *s = rig_shim(key->job, key->number);

    CHECK(n == rig_world.node);
    if (!s || !s->known || !rig_lined_up(s))
        return false;
    /* The first of those who wait is known to its starter already. */
    s->asked = !rig_lined_up(rig_shim(s->after.job, s->after.number));
    s->taken = !s->asked;
    return s->taken;
}

int node_adopt(struct node *n, const struct attempt_key *key, bool rebooted, struct err *err)
{
    struct shim *s = rig_shim(key->job, key->number);

    (void)err;
    CHECK(n == rig_world.node);
    if (!s) {
        s = mem_alloc(sizeof(*s));
        s->key = *key;
        s->never = !rebooted;
        s->over = rebooted;
        s->end = (struct attempt_end){
            .key = *key, .outcome = ATTEMPT_LOST, .code = -1, .message = NODE_REBOOTED
        };
        list_append(&rig_world.shims, &s->link);
    }
    CHECK(!s->known);
    s->known = true;
    return 0;
}

const char *node_memory_note(const struct node *n)
{
    (void)n;
    return rig_world.note ? rig_world.note : "";
}

const struct sample *node_measure(struct node *n)
{
    (void)n;
    return rig_world.sample;
}

size_t node_measure_uses(struct node *n, struct node_use *out, size_t max)
{
    size_t count = 0;

    (void)n;
    LIST_FOR_EACH(it, &rig_world.shims) {
        const struct shim *s = CONTAINER_OF(it, struct shim, link);
        if (s->known && !s->over && !s->never && count < max && rig_world.use_cpu_ns)
            out[count++] = (struct node_use){ s->key, rig_world.use_cpu_ns, 4096 };
    }
    return count;
}

size_t node_running(const struct node *n)
{
    size_t count = 0;

    (void)n;
    LIST_FOR_EACH(it, &rig_world.shims)
        count += !rig_shim_gone(CONTAINER_OF(it, struct shim, link));
    return count;
}

/* --- the head --------------------------------------------------------------------------------- */

struct rig {
    struct head *head;
    struct ev_loop *loop;
    struct conf *conf;
    struct clock clock;
    struct log log;
    int64_t mono_ns, wall_ns;
    char *state_dir;
    bool broken;
    bool errors_expected; /* else a line of the level "error" fails the test */
    size_t changes;
    void (*changed)(struct rig *r, int64_t job, bool final);
};

static inline int64_t rig_mono(void *arg)
{
    return ((struct rig *)arg)->mono_ns;
}

static inline int64_t rig_wall(void *arg)
{
    return ((struct rig *)arg)->wall_ns;
}

static inline void rig_log(void *arg, enum log_level level, const char *line)
{
    struct rig *r = arg;

    fprintf(stderr, "# log %d: %s\n", (int)level, line);
    if (level == LOG_ERROR && !r->errors_expected)
        unit_fail(__FILE__, __LINE__, "an error was logged: %s", line);
}

static inline void rig_changed(void *arg, int64_t job, bool final)
{
    struct rig *r = arg;

    r->changes++;
    if (r->changed)
        r->changed(r, job, final);
}

static inline void rig_broken(void *arg, const struct err *err)
{
    fprintf(stderr, "# broken: %s\n", err->msg);
    ((struct rig *)arg)->broken = true;
}

static inline int rig_open(struct rig *r, struct err *err)
{
    struct head_hooks hooks = { rig_changed, rig_broken, r };
    struct head_config cfg = { .conf = r->conf,
                               .state_dir = r->state_dir,
                               .runtime_dir = r->state_dir,
                               .address = "here",
                               .spawner_fd = -1 };

    r->broken = false;
    r->head = head_create(r->loop, &r->log, &cfg, &hooks, err);
    return r->head ? 0 : -1;
}

static inline void rig_set(struct rig *r, enum conf_key key, const char *value)
{
    struct err err = ERR_INIT;
    CHECK_OK(conf_set(r->conf, key, value, CONF_FROM_FLAG, &err), &err);
}

static inline void rig_init(struct rig *r, const char *threads)
{
    struct err err = ERR_INIT;

    *r = (struct rig){ .mono_ns = NS_PER_S * 1000, .wall_ns = NS_PER_S * 1700000000 };
    rig_disk_use();
    list_init(&rig_world.shims);
    rig_world.wall_ns = &r->wall_ns;
    r->clock = (struct clock){ rig_mono, rig_wall, r };
    r->log = (struct log){ LOG_WARNING, rig_log, r };
    r->conf = conf_create();
    rig_set(r, CONF_daemon_threads, threads);
    rig_set(r, CONF_jobs_ahead, rig_world.ahead ? rig_world.ahead : "0");
    rig_set(r, CONF_daemon_memory, rig_world.memory ? rig_world.memory : "16G");
    rig_set(r, CONF_daemon_node_name, "n1");
    r->state_dir = mem_printf("%s/state", unit_tmpdir());
    CHECK(mkdir(r->state_dir, 0700) == 0);
    r->loop = ev_loop_create(&r->clock, &err);
    CHECK(r->loop);
    CHECK_OK(rig_open(r, &err), &err);
}

static inline void rig_fini(struct rig *r)
{
    head_destroy(r->head);
    while (!list_empty(&rig_world.shims))
        rig_shim_free(CONTAINER_OF(rig_world.shims.next, struct shim, link));
    ev_loop_destroy(r->loop);
    conf_destroy(r->conf);
    free(r->state_dir);
}

/* Reports what ended or never began; only a node of now can. */
static inline void rig_report(void)
{
    struct node_hooks hooks = rig_world.node->hooks;

    LIST_FOR_EACH(it, &rig_world.shims) {
        struct shim *s = CONTAINER_OF(it, struct shim, link);
        if (s->known && s->asked && !s->taken && rig_lined_up(s)) {
            s->taken = true;
            hooks.taken_back(&s->key, hooks.arg);
        }
        s->asked = false;
        if (!s->known || s->taken || s->reported || !(s->over || s->never))
            continue;
        s->reported = true;
        if (s->never)
            hooks.never_started(&s->key, hooks.arg);
        else
            hooks.ended(&s->end, hooks.arg);
    }
}

/* Forgets files that nobody will ask for again. */
static inline void rig_sweep(struct rig *r)
{
    LIST_FOR_EACH_SAFE(it, &rig_world.shims) {
        struct shim *s = CONTAINER_OF(it, struct shim, link);
        if (rig_shim_gone(s) && list_empty(&r->head->ends))
            rig_shim_free(s);
    }
}

static inline void rig_turn(struct rig *r)
{
    struct err err = ERR_INIT;

    CHECK_OK(ev_turn(r->loop, 0, &err), &err);
}

/* Reports, then turns until nothing is left to do at this time. */
static inline void rig_turns(struct rig *r)
{
    rig_report();
    for (int i = 0; i < 4; i++)
        rig_turn(r);
    rig_sweep(r);
}

static inline void rig_pass(struct rig *r, int64_t ns)
{
    r->mono_ns += ns;
    r->wall_ns += ns;
    rig_turns(r);
}

static inline void rig_restart(struct rig *r)
{
    struct err err = ERR_INIT;

    head_destroy(r->head);
    CHECK_OK(rig_open(r, &err), &err);
    rig_turns(r);
}

/* As after kill -9: nothing more is written. */
static inline void rig_crash(struct rig *r)
{
    r->head->broken = true;
    rig_restart(r);
}

/* --- asking ----------------------------------------------------------------------------------- */

struct answer {
    struct head_op op;
    bool done, failed;
    struct err err;
};

static inline void rig_answered(struct head_op *op, const struct err *err)
{
    struct answer *a = CONTAINER_OF(op, struct answer, op);

    CHECK(!a->done);
    a->done = true;
    a->failed = err != NULL;
    if (err)
        a->err = *err;
}

/* Stages a submit of a list of jobs, or one, as JSON with ' for ". The first id, or 0 when it was
 * refused at once. */
static inline int64_t rig_stage(struct rig *r, const char *json, struct answer *a, const char *key)
{
    static const char *const defaults = "{\"argv\":[\"true\"]}";
    unsigned char digest[32];
    char *text = mem_strdup(json);

    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    memset(digest, text[strlen(text) / 2], sizeof(digest));
    *a = (struct answer){ .op.done = rig_answered };
    yyjson_doc *doc = jsonx_parse(text, strlen(text), &a->err);
    yyjson_doc *def = jsonx_parse(defaults, strlen(defaults), NULL);
    if (!doc)
        unit_fail(__FILE__, __LINE__, "%s: %s", text, a->err.msg);
    yyjson_val *root = yyjson_doc_get_root(doc);
    size_t n = yyjson_is_arr(root) ? yyjson_arr_size(root) : 1, done = 0;
    struct spec *specs = mem_alloc_array(n, sizeof(*specs));
    struct head_submit s = { .specs = specs, .count = n, .user = "ann" };
    s.key = key;
    s.digest = digest;
    for (; done < n; done++) {
        yyjson_val *v = yyjson_is_arr(root) ? yyjson_arr_get(root, done) : root;
        bool own = yyjson_obj_get(v, "command") != NULL;
        if (spec_read(&specs[done], v, own ? NULL : yyjson_doc_get_root(def), "", false, &a->err))
            break;
        if (head_check(r->head, &specs[done], "", NULL, &a->err) != 0) {
            done++;
            break;
        }
    }
    bool ok = a->err.kind == ERR_NONE && head_submit(r->head, &s, &a->op, &a->err) == 0;
    if (!ok)
        a->failed = true;
    for (size_t i = 0; i < done; i++)
        spec_fini(&specs[i]);
    free(specs);
    yyjson_doc_free(doc);
    yyjson_doc_free(def);
    free(text);
    return ok ? s.first_id : 0;
}

static inline int64_t rig_submit(struct rig *r, const char *json)
{
    struct answer a;
    int64_t id = rig_stage(r, json, &a, NULL);

    if (!id)
        unit_fail(__FILE__, __LINE__, "%s: %s", json, a.err.msg);
    rig_turn(r);
    CHECK(a.done);
    if (a.failed)
        unit_fail(__FILE__, __LINE__, "%s: %s", json, a.err.msg);
    return id;
}

/* ERR_NONE when it was done. */
static inline enum err_kind rig_change(struct rig *r, enum head_change what, int64_t job,
                                       int64_t task)
{
    struct answer a = { .op.done = rig_answered };

    if (head_change(r->head, what, job, task, -1, &a.op, &a.err) != 0)
        return a.err.kind;
    rig_turn(r);
    CHECK(a.done);
    return a.failed ? a.err.kind : ERR_NONE;
}

static inline void rig_take_row(void *arg, const struct store_job *row)
{
    struct store_job *out = arg;

    *out = *row;
    out->user = out->name = out->command = out->spec = out->node = NULL;
    /* the rest of our texts are short */
    static char reasons[8][300];
    static int next;
    if (row->reason) {
        next = (next + 1) % 8;
        str_copy(reasons[next], sizeof(reasons[next]), row->reason);
        out->reason = reasons[next];
    }
}

static inline struct store_job rig_row(struct rig *r, int64_t id)
{
    struct store_job row = { 0 };
    struct err err = ERR_INIT;

    if (store_job_get(head_store(r->head), id, rig_take_row, &row, &err) != 1)
        unit_fail(__FILE__, __LINE__, "job %d: %s", (int)id, err.msg);
    return row;
}

static inline int rig_status(struct rig *r, int64_t id)
{
    return rig_row(r, id).status;
}

/* Internal id of a task, 0 when it has no row. */
static inline int64_t rig_task(struct rig *r, int64_t array, int64_t task)
{
    struct err err = ERR_INIT;
    int64_t id = 0;
    int found = head_find(r->head, array, task, &id, &err);

    CHECK(found >= 0);
    return found ? id : 0;
}

/* The job object as JSON text; malloc'd. */
static inline char *rig_object(struct rig *r, int64_t id)
{
    struct buf b = BUF_INIT;
    struct jsonw w;
    struct err err = ERR_INIT;

    jsonw_init(&w, &b);
    CHECK_INT(head_job_object(r->head, id, NULL, &w, &err), 1);
    return buf_take(&b, NULL);
}

#endif
