/* SPDX-License-Identifier: BSD-2-Clause */
/* Submits: what can be checked at once is; then rows are staged, acknowledged after the commit. */
#include "base/mem.h"

#include "head/head_node.h"
#include "head/head_priv.h"

#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- checks before anything is stored ---- */

static void shape_of_spec(struct head *h, const struct spec *s, const char *user,
                          struct sched_shape *shape)
{
    memset(shape, 0, sizeof(*shape));
    shape->need.threads = s->threads;
    shape->need.memory = s->memory;
    shape->need.gpus = s->gpus;
    shape->timeout_ns = s->timeout_ns;
    shape->priority = (int32_t)s->priority;
    shape->user = user ? sched_user(h->sched, user) : -1;
    shape->node = s->node ? sched_node_find(h->sched, s->node) : -1;
}

/* The folder an output file will be made in must be there and writable. Names with placeholders are
 * known only at the start. */
static int check_output(struct head *h, const struct spec *s, const char *path, const char *what,
                        const char *where, struct err *err)
{
    struct buf b = BUF_INIT;
    int rc = 0;
    if (!spec_output_path(s, path, 0, -1, h->home, &b))
        return 0;
    char *full = buf_take(&b, NULL);
    char *slash = strrchr(full, '/');
    struct stat st;
    if (stat(full, &st) == 0 && S_ISDIR(st.st_mode)) {
        rc = err_set(err, ERR_UNPROCESS, "%s%s: %s is a folder", where, what, full);
    } else if (slash > full && !strchr(path, '%')) {
        bool exists = access(full, F_OK) == 0;
        if (!exists)
            *slash = '\0';
        if (access(full, W_OK) != 0)
            rc = err_set(err, ERR_UNPROCESS, "%s%s: cannot write %s: %s", where, what, full,
                         strerror(errno));
        if (rc)
            err_hint(err, "make the folder first, or name another path");
    }
    free(full);
    return rc;
}

static void note_exists(void *arg, const struct store_job *row)
{
    *(bool *)arg = row->array_id == 0;
}

static int check_deps(struct head *h, const struct spec *s, const char *where, struct err *err)
{
    for (size_t i = 0; i < s->dep_count; i++) {
        struct head_job *j = map_get(&h->jobs, (uint64_t)s->deps[i].job);
        bool exists = j && !j->array;
        if (!exists && store_job_get(h->store, s->deps[i].job, note_exists, &exists, err) < 0)
            return -1;
        if (!exists) {
            err_set(err, ERR_UNPROCESS, "%safter: there is no job %" PRId64, where, s->deps[i].job);
            return err_hint(err, "list the jobs with: hive status jobs");
        }
    }
    return 0;
}

int head_check(struct head *h, const struct spec *s, const char *where, struct buf *warnings,
               struct err *err)
{
    struct sched_shape shape;
    struct stat st;

    shape_of_spec(h, s, NULL, &shape);
    if (s->node && !head_node_find(h, s->node)) {
        err_set(err, ERR_UNPROCESS, "%snode: there is no node '%s'", where, s->node);
        return err_hint(err, "list the nodes with: hive status nodes");
    }
    if (shape.node >= 0 && head_node_check(h, shape.node, where, err) != 0)
        return -1;
    if (sched_check_possible(h->sched, &shape, err) != 0)
        return *where ? err_prefix(err, "%.*s", (int)strlen(where) - 1, where) : -1;
    if (check_deps(h, s, where, err) != 0)
        return -1;
    /* Of another machine's folders nothing is known here. */
    const struct head_node *far = head_node_at(h, shape.node);
    if (far && far->kind != HEAD_NODE_OWN)
        return 0;
    if (s->workdir && (stat(s->workdir, &st) != 0 || !S_ISDIR(st.st_mode)))
        return err_set(err, ERR_UNPROCESS, "%sworkdir: there is no folder %s", where, s->workdir);
    if (check_output(h, s, s->stdout_path, "stdout_path", where, err) != 0 ||
        check_output(h, s, s->stderr_path, "stderr_path", where, err) != 0)
        return -1;
    const char *note = node_memory_note(h->node);
    if (s->memory && *note && warnings && !strstr(buf_data(warnings), note))
        buf_printf(warnings, "%s\n", note);
    return 0;
}

/* ---- submit ---- */

static int stage_job(struct head *h, const struct spec *s, const char *user, int64_t id,
                     struct buf *text, struct err *err)
{
    struct store_job row = { .id = id, .status = JOB_QUEUED, .exit_code = -1, .user = user };

    buf_clear(text);
    spec_command_text(s, text);
    buf_append_char(text, '\0');
    size_t name_at = buf_len(text);
    if (s->name)
        buf_append_str(text, s->name);
    else
        spec_default_name(s, text);
    buf_append_char(text, '\0');
    size_t spec_at = buf_len(text);
    spec_encode(s, text);
    row.command = buf_data(text);
    row.name = buf_data(text) + name_at;
    row.spec = buf_data(text) + spec_at;
    row.held = s->hold;
    row.priority = (int32_t)s->priority;
    row.threads = (int32_t)s->threads;
    row.gpus = (int32_t)s->gpus;
    row.memory = s->memory;
    row.timeout_ns = s->timeout_ns ? s->timeout_ns : conf_int(h->conf, CONF_jobs_default_timeout);
    row.retries_left = (int32_t)s->retry;
    row.submitted_ns = clock_wall_ns(h->clock);
    row.is_array = s->is_array;
    if (s->is_array) {
        row.first = row.next = s->first;
        row.last = s->last;
        row.step = s->step;
        row.limit = s->limit;
    }
    if (store_job_insert(h->store, &row, err) != 0)
        return -1;
    int64_t index = 0;
    yyjson_arr_iter it = yyjson_arr_iter_with(s->lines);
    for (yyjson_val *v; s->lines && (v = yyjson_arr_iter_next(&it)) != NULL;)
        if (store_line_insert(h->store, id, ++index, yyjson_get_str(v), yyjson_get_len(v), err))
            return -1;
    struct head_job *j = head_job_load(h, &row);
    j->fresh = true;
    j->node = s->node ? sched_node_find(h->sched, s->node) : -1;
    head_dirty(h, j);
    if (head_job_set_deps(h, j, s->deps, s->dep_count, err) != 0)
        return -1;
    if (j->status == JOB_QUEUED)
        head_job_queue(h, j);
    return 0;
}

static const char *owner_of(const struct head_submit *s)
{
    return s->owner ? s->owner : s->user;
}

int head_known_key(struct head *h, struct head_submit *s, struct err *err)
{
    unsigned char digest[32];
    int64_t count = 0;

    s->existing = false;
    if (!s->key)
        return 0;
    int rc = store_key_get(h->store, owner_of(s), s->key, digest, &s->first_id, &count, err);
    if (rc <= 0)
        return rc;
    if (memcmp(digest, s->digest, sizeof(digest)) != 0) {
        err_set(err, ERR_UNPROCESS, "this Idempotency-Key was used for a different request");
        return err_hint(err, "use a new key for a new request");
    }
    s->existing = true;
    s->count = (size_t)count;
    return 1;
}

int head_submit(struct head *h, struct head_submit *s, struct head_op *op, struct err *err)
{
    struct buf text = BUF_INIT;
    struct err failed = ERR_INIT;

    int rc = head_known_key(h, s, err);
    if (rc < 0)
        return -1;
    if (rc == 0 && map_count(&h->jobs) + s->count > LIMIT_QUEUED_JOBS)
        return err_set(err, ERR_UNAVAILABLE, "the queue is full: %d jobs have not ended",
                       LIMIT_QUEUED_JOBS);
    if (rc == 0) {
        rc = head_txn(h, &failed);
        if (rc == 0)
            rc = store_next_ids(h->store, (int64_t)s->count, &s->first_id, &failed);
        for (size_t i = 0; rc == 0 && i < s->count; i++)
            rc = stage_job(h, &s->specs[i], s->user, s->first_id + (int64_t)i, &text, &failed);
        if (rc == 0 && s->key)
            rc = store_key_put(h->store, owner_of(s), s->key, s->digest, s->first_id,
                               (int64_t)s->count, clock_wall_ns(h->clock), &failed);
        buf_fini(&text);
    }
    if (rc < 0) {
        head_fail_turn(h, &failed);
        if (err)
            *err = failed;
        return -1;
    }
    list_append(&h->ops, &op->link);
    ev_again(h->loop);
    return 0;
}

void head_forecast(struct head *h, const struct spec *s, const char *user, struct buf *out)
{
    struct sched_shape shape;
    struct sched_entry e;

    if (s->hold) {
        buf_append_str(out, "would be held until released");
        return;
    }
    for (size_t i = 0; i < s->dep_count; i++) {
        if (map_get(&h->jobs, (uint64_t)s->deps[i].job)) {
            buf_printf(out, "would wait for job %" PRId64, s->deps[i].job);
            return;
        }
    }
    memset(&e, 0, sizeof(e));
    list_init(&e.link);
    e.id = INT64_MAX;
    e.remaining = 1;
    shape_of_spec(h, s, user, &shape);
    sched_enqueue(h->sched, &e, &shape);
    size_t at = buf_len(out);
    sched_reason(h->sched, &e, ev_now_ns(h->loop), out);
    int32_t where = sched_where(h->sched, &e);
    sched_dequeue(h->sched, &e);
    if (buf_len(out) == at || str_eq(buf_data(out) + at, SCHED_STARTS_NEXT)) {
        buf_truncate(out, at);
        buf_printf(out, "would start now on %s",
                   where >= 0 ? sched_node_name(h->sched, where) : h->node_name);
    } else {
        char *why = mem_strdup(buf_data(out) + at);
        buf_truncate(out, at);
        buf_printf(out, "would wait: %s", why);
        free(why);
    }
}
