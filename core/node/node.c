/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/node.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "node/node_internal.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_SOON_NS (20 * NS_PER_MS) /* a shim's lock goes a moment after its connection */
#define LOOK_NS (250 * NS_PER_MS)
#define SETTLE_NS                                                                                  \
    NS_PER_S /* without news from the spawner a dead shim's job is taken for gone then */
#define KILL_REST_NS (200 * NS_PER_MS)
#define RERUNS 3

/* --- runs ------------------------------------------------------------------------------------- */

static uint64_t run_id(const struct attempt_key *key)
{
    return (uint64_t)key->job << 16 | (uint64_t)key->number;
}

struct run *run_find(const struct node *n, const struct attempt_key *key)
{
    return attempt_key_valid(key) ? map_get(&n->runs, run_id(key)) : NULL;
}

static struct run *run_create(struct node *n, const struct attempt_key *key, struct err *err)
{
    struct run *r;

    if (!attempt_key_valid(key)) {
        err_set(err, ERR_INVALID, "job %" PRId64 " attempt %" PRId32 " is out of range", key->job,
                key->number);
        return NULL;
    }
    if (run_find(n, key)) {
        err_set(err, ERR_CONFLICT, "job %" PRId64 " attempt %" PRId32 " runs already", key->job,
                key->number);
        return NULL;
    }
    r = mem_alloc(sizeof *r);
    r->key = *key;
    r->state = RUN_LOOSE;
    r->grace_ns = -1;
    list_init(&r->link);
    map_put(&n->runs, run_id(key), r);
    return r;
}

static void run_destroy(struct run *r)
{
    list_remove(&r->link);
    buf_fini(&r->packet);
    free(r->end);
    free(r);
}

void run_wait(struct run *r, struct node *n)
{
    list_remove(&r->link);
    list_append(&n->waiting, &r->link);
    n->waiting_count++;
    r->state = RUN_WAITING;
}

static void leave_queue(struct node *n, struct run *r)
{
    if (r->state == RUN_WAITING)
        n->waiting_count--;
    list_remove(&r->link);
    r->state = RUN_DONE;
}

void run_leave_line(struct node *n, struct run *r)
{
    struct run *behind = r->behind;

    if (r->before) {
        r->before->behind = behind;
        r->stood = r->before->key;
    }
    if (behind) {
        behind->before = r->before;
        if (!r->before)
            run_wait(behind, n);
        else if (r->before->conn)
            conn_send_next(r->before->conn);
    }
    r->before = r->behind = NULL;
}

/* `end` NULL: never started. */
static void finish_later(struct node *n, struct run *r, const struct attempt_end *end)
{
    leave_queue(n, r);
    run_leave_line(n, r);
    if (end) {
        r->end = mem_dup(end, sizeof *end);
        r->end->key = r->key;
    }
    list_append(&n->done, &r->link);
    if (!ev_timer_armed(&n->report))
        ev_timer_set(n->loop, &n->report, ev_now_ns(n->loop));
}

void run_finish(struct node *n, struct run *r, const struct attempt_end *end)
{
    leave_queue(n, r);
    run_leave_line(n, r);
    map_remove(&n->runs, run_id(&r->key));
    run_destroy(r);
    n->hooks.ended(end, n->hooks.arg);
}

static void report_due(struct ev_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, report);
    struct list now;

    if (n->waiting_count > 0) { /* who stood behind one of them */
        conns_assign(n);
        shims_tend(n);
    }
    /* What the hooks bring about is for the next turn. */
    list_init(&now);
    while (!list_empty(&n->done)) {
        struct list *it = n->done.next;
        list_remove(it);
        list_append(&now, it);
    }
    while (!list_empty(&now)) {
        struct run *r = CONTAINER_OF(now.next, struct run, link);
        struct attempt_key key = r->key;
        struct attempt_end *end = r->end;

        bool back = r->wanted_back;

        r->end = NULL;
        map_remove(&n->runs, run_id(&key));
        run_destroy(r);
        if (end)
            n->hooks.ended(end, n->hooks.arg);
        else if (back)
            n->hooks.taken_back(&key, n->hooks.arg);
        else
            n->hooks.never_started(&key, n->hooks.arg);
        free(end);
    }
}

static void finish_without_record(struct node *n, struct run *r, enum attempt_outcome outcome,
                                  int code, const char *message)
{
    struct attempt_end end = { .outcome = outcome, .code = code };

    str_copy(end.message, sizeof end.message, message);
    if (outcome != ATTEMPT_LOST)
        end.finished_ns = clock_wall_ns(ev_clock(n->loop));
    finish_later(n, r, &end);
}

/* --- runs without a connection ---------------------------------------------------------------- */

static bool stand_behind(struct node *n, struct run *r, const struct attempt_key *after)
{
    struct run *before = after->job ? run_find(n, after) : NULL;

    /* One that was cancelled while it waited had no place to give: its predecessor has. */
    while (before && before->state == RUN_DONE)
        before = before->stood.job ? run_find(n, &before->stood) : NULL;
    if (!before)
        return false;
    while (before->behind)
        before = before->behind;
    r->state = RUN_LINED;
    r->before = before;
    before->behind = r;
    return true;
}

void run_dropped(struct node *n, struct run *r)
{
    if (r->grace_ns >= 0)
        finish_without_record(n, r, ATTEMPT_CANCELLED, -1, "");
    else if (r->wanted_back)
        finish_later(n, r, NULL);
    /* Else it is in its line as before, and nobody has heard of it. */
}

/* Nobody has claimed it. */
static void settle_unclaimed(struct node *n, struct run *r)
{
    if (r->unclaimed != ATTEMPT_LEAVE)
        finish_later(n, r, NULL);
    else if (r->refused)
        finish_without_record(n, r, ATTEMPT_NOT_RUN, 125, "this attempt was given up before");
    else if (r->grace_ns >= 0)
        finish_without_record(n, r, ATTEMPT_CANCELLED, -1, "");
    else if (r->wanted_back)
        finish_later(n, r, NULL);
    else if (++r->reruns > RERUNS)
        finish_without_record(n, r, ATTEMPT_NOT_RUN, 125,
                              "the processes that should start it died again and again");
    else if (stand_behind(n, r, &r->stood)) {
        list_remove(&r->link);
    } else {
        run_wait(r, n);
        shims_tend(n);
        conns_assign(n);
    }
}

/* "HIVE_ATTEMPT_PREFIX=/…": in the environment of all that an attempt starts, and of nothing else. */
static char *make_mark(const struct node *n, const struct attempt_key *key)
{
    struct buf b = BUF_INIT;

    buf_printf(&b, "HIVE_ATTEMPT_PREFIX=%s/", n->state_dir);
    attempt_prefix(key, &b);
    return buf_take(&b, NULL);
}

/* The spawner kills what a dead shim leaves behind. Where it was dead itself, or not ours,
 * nobody did. */
static void kill_rest(struct node *n, const struct run *r)
{
    char *mark;
    int killed;

    if (r->shim_died)
        return;
    mark = make_mark(n, &r->key);
    killed = sys_kill_marked(mark, clock_mono_ns(&clock_system) + KILL_REST_NS);
    if (killed > 0)
        log_warning(n->log, "job %" PRId64 " attempt %" PRId32 " had left %d processes; killed",
                    r->key.job, r->key.number, killed);
    free(mark);
}

static void settle_dead(struct node *n, struct run *r)
{
    char message[128];

    kill_rest(n, r);
    if (r->unclaimed == ATTEMPT_GONE)
        str_copy(message, sizeof message, NODE_REBOOTED);
    else if (r->shim > 0)
        snprintf(message, sizeof message, "the process that watched it (%ld) was killed",
                 (long)r->shim);
    else
        snprintf(message, sizeof message, "the process that watched it is gone");
    log_warning(n->log, "job %" PRId64 " attempt %" PRId32 " is lost: %s", r->key.job,
                r->key.number, message);
    finish_without_record(n, r, ATTEMPT_LOST, -1, message);
}

static int look_at(struct node *n, struct run *r, struct err *err)
{
    struct attempt_key any = { r->key.job, r->key.number, 0 };
    bool settled =
        r->shim == 0 || r->shim_died || ev_now_ns(n->loop) >= r->loose_since_ns + SETTLE_NS;
    struct shim_conn *c = conns_find_stranger(n, &r->key);
    enum attempt_state state;
    struct attempt_end end;
    pid_t shim;

    if (c) {
        conn_bind(c, r);
        return 0;
    }
    if (attempt_inspect(n->state_fd, &any, r->unclaimed, &state, &end, &shim, err) != 0)
        return -1;
    if (state == ATTEMPT_ENDED)
        finish_later(n, r, &end);
    else if (state == ATTEMPT_ALIVE && !r->disowned)
        r->shim = shim;
    else if (state == ATTEMPT_NEVER_STARTED && settled)
        settle_unclaimed(n, r);
    else if (state != ATTEMPT_NEVER_STARTED && settled)
        settle_dead(n, r);
    return 0;
}

static void look_soon(struct node *n)
{
    if (!list_empty(&n->loose) && !ev_timer_armed(&n->look))
        ev_timer_set_after(n->loop, &n->look, LOOK_NS);
}

static void look_due(struct ev_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, look);
    struct err err = ERR_INIT;

    LIST_FOR_EACH_SAFE(it, &n->loose) {
        struct run *r = CONTAINER_OF(it, struct run, link);
        if (look_at(n, r, &err) != 0) {
            log_error(n->log, "cannot find out about job %" PRId64 ": %s", r->key.job, err.msg);
            break;
        }
    }
    look_soon(n);
}

void run_loosen(struct node *n, struct run *r, pid_t shim)
{
    leave_queue(n, r);
    r->state = RUN_LOOSE;
    r->conn = NULL;
    r->shim = shim;
    r->shim_died = r->disowned = false;
    r->loose_since_ns = ev_now_ns(n->loop);
    list_append(&n->loose, &r->link);
    ev_timer_set_after(n->loop, &n->look, LOOK_SOON_NS);
}

void runs_shim_died(struct node *n, pid_t shim)
{
    LIST_FOR_EACH_SAFE(it, &n->loose) {
        struct run *r = CONTAINER_OF(it, struct run, link);
        if (r->shim == shim) {
            r->shim_died = true;
            look_at(n, r, NULL);
        }
    }
}

/* A shim runs one attempt at a time: whatever else it had is over, whatever its lock says. */
void runs_shim_seen(struct node *n, pid_t shim, const struct attempt_key *doing)
{
    LIST_FOR_EACH_SAFE(it, &n->loose) {
        struct run *r = CONTAINER_OF(it, struct run, link);
        if (r->shim == shim && (r->key.job != doing->job || r->key.number != doing->number)) {
            r->disowned = true;
            r->shim_died = true;
            look_at(n, r, NULL);
        }
    }
}

/* --- interface -------------------------------------------------------------------------------- */

static void tend_due(struct ev_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, tend);

    if (n->listener_paused) {
        n->listener_paused = false;
        ev_io_change(&n->listener, EV_READ);
    }
    conns_trim(n);
    shims_tend(n);
}

/* The message for the shim: what was asked for, with our mark. */
static int encode_run(struct node *n, const struct node_run *run, struct buf *packet,
                      struct err *err)
{
    struct shim_msg m = { .type = SHIM_RUN, .key = run->key, .run = *run };
    size_t count = 0;
    int rc;

    while (run->env[count])
        count++;
    const char **env = mem_alloc_array(count + 2, sizeof *env);
    char *mark = make_mark(n, &run->key);
    memcpy(env, run->env, count * sizeof *env);
    env[count] = mark;
    m.run.env = env;
    rc = shim_msg_encode(&m, packet, err);
    free(mark);
    free(env);
    return rc;
}

int node_run(struct node *n, const struct node_run *run, struct err *err)
{
    struct shim_conn *stranger;
    struct run *r = run_create(n, &run->key, err);

    if (!r)
        return -1;
    if (encode_run(n, run, &r->packet, err) != 0) {
        map_remove(&n->runs, run_id(&r->key));
        run_destroy(r);
        return -1;
    }
    if (stand_behind(n, r, &run->after)) {
        if (r->before->conn)
            conn_send_next(r->before->conn);
        return 0;
    }
    run_wait(r, n);
    stranger = conns_find_stranger(n, &run->key);
    if (stranger)
        conn_bind(stranger, r);
    conns_assign(n);
    if (r->state == RUN_WAITING)
        shims_tend(n);
    return 0;
}

void node_kill(struct node *n, const struct attempt_key *key, int64_t grace_ns)
{
    struct run *r = run_find(n, key);

    if (!r || r->state == RUN_DONE)
        return;
    if (grace_ns < 0)
        grace_ns = 0;
    if (r->grace_ns < 0 || grace_ns < r->grace_ns)
        r->grace_ns = grace_ns;
    if (r->state == RUN_WAITING || (r->state == RUN_LINED && !r->conn))
        finish_without_record(n, r, ATTEMPT_CANCELLED, -1, "");
    else if (r->conn)
        conn_kill(r->conn, key, grace_ns);
}

bool node_take_back(struct node *n, const struct attempt_key *key)
{
    struct run *r = run_find(n, key);

    if (!r || r->state != RUN_LINED)
        return false;
    if (r->conn) {
        if (!r->wanted_back)
            conn_drop(r->conn, key);
        r->wanted_back = true;
        return false;
    }
    run_leave_line(n, r);
    map_remove(&n->runs, run_id(key));
    run_destroy(r);
    return true;
}

void node_signal(struct node *n, const struct attempt_key *key, int signo)
{
    struct run *r = run_find(n, key);

    if (r && r->conn)
        conn_signal(r->conn, key, signo);
}

int node_adopt(struct node *n, const struct attempt_key *key, bool rebooted, struct err *err)
{
    struct run *r = run_create(n, key, err);

    if (!r)
        return -1;
    r->unclaimed = rebooted ? ATTEMPT_GONE : ATTEMPT_SEAL;
    run_loosen(n, r, 0);
    if (look_at(n, r, err) != 0) {
        map_remove(&n->runs, run_id(&r->key));
        run_destroy(r);
        return -1;
    }
    return 0;
}

const char *node_memory_note(const struct node *n)
{
    return n->memory_note;
}

size_t node_running(const struct node *n)
{
    return map_count(&n->runs);
}

/* --- life ------------------------------------------------------------------------------------- */

static int open_state(struct node *n, struct err *err)
{
    n->state_fd = open(n->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (n->state_fd < 0)
        return err_sys(err, errno, "cannot open the state folder %s", n->state_dir);
    if ((mkdirat(n->state_fd, "attempts", 0700) != 0 && errno != EEXIST) ||
        (mkdirat(n->state_fd, "shims", 0700) != 0 && errno != EEXIST))
        return err_sys(err, errno, "cannot make folders in %s", n->state_dir);
    attempt_clean_shims(n->state_fd);
    return 0;
}

struct node *node_create(struct ev_loop *loop, const struct log *log, const struct node_config *cfg,
                         const struct node_hooks *hooks, struct err *err)
{
    struct node *n = mem_alloc(sizeof *n);

    n->loop = loop;
    n->log = log;
    n->hooks = *hooks;
    n->state_dir = mem_strdup(cfg->state_dir);
    n->runtime_dir = mem_strdup(cfg->runtime_dir);
    n->socket_path = fs_join(cfg->runtime_dir, "shim.sock");
    n->idle_shims = cfg->idle_shims;
    n->slots = cfg->slots;
    n->state_fd = n->listener.fd = -1;
    n->spawner.fd = cfg->spawner_fd;
    map_init(&n->runs);
    list_init(&n->waiting);
    list_init(&n->loose);
    list_init(&n->done);
    list_init(&n->conns);
    list_init(&n->idle);
    n->report.fn = report_due;
    n->look.fn = look_due;
    n->tend.fn = tend_due;
    if (open_state(n, err) != 0 || spawner_attach(n, cfg->spawner_fd, err) != 0 ||
        conns_listen(n, err) != 0) {
        node_destroy(n);
        return NULL;
    }
    measure_begin(n);
    shims_tend(n);
    return n;
}

void node_destroy(struct node *n)
{
    struct run *r;
    size_t pos = 0;

    if (!n)
        return;
    ev_timer_clear(&n->report);
    ev_timer_clear(&n->look);
    ev_timer_clear(&n->tend);
    measure_end(n);
    conns_close(n);
    /* It stays as long as its shims do. */
    spawner_detach(n, map_count(&n->runs) == 0 ? SPAWNER_PATIENCE_MS : 1);
    while ((r = map_next(&n->runs, &pos, NULL)))
        run_destroy(r);
    map_fini(&n->runs);
    if (n->state_fd >= 0)
        close(n->state_fd);
    free(n->state_dir);
    free(n->runtime_dir);
    free(n->socket_path);
    free(n);
}
