/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listing. Jobs come newest first out of several streams that are each in that order: one for every
 * user and status (index job_top), for every status of an array's tasks (job_task_status), or for
 * every status by end (job_ended). A heap holds the next job of each stream, so that a page costs
 * one seek per stream and one per job, however many jobs there are. What no index knows, names and
 * times, is found by a scan.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store_priv.h"

/* Up to so many tasks are sorted for one page; more of them are dense enough for a scan. */
#define MAX_SORTED_TASKS 20000

struct stream {
    int64_t id, finished_ns; /* its next job */
    int64_t who;             /* user or array */
    int32_t status;
    enum statement next;   /* gives the job after (id, finished_ns) */
    const int64_t *sorted; /* or NULL; then ids come from here, and from nowhere else */
};

struct listing {
    struct store *s;
    const struct store_filter *f;
    bool (*fn)(void *arg, const struct store_job *j);
    void *arg;
    int64_t delivered, examined;
    bool stopped; /* fn said so, or the page is full, or max_scan is reached */
    struct store_resume last;
    struct stream *heap;
    size_t n, cap;
    int64_t *sorted; /* ids of tasks, newest first, then a 0 */
};

/* --- one job --- */

static bool contains(const char *text, const char *part)
{
    return text && strcasestr(text, part);
}

static bool matches(const struct store_filter *f, const struct store_job *j)
{
    if (f->status_mask &&
        (j->status < 0 || j->status >= STORE_STATUS_MAX || !(f->status_mask >> j->status & 1)))
        return false;
    if (f->user && !str_eq(f->user, j->user))
        return false;
    if (f->since_ns && j->finished_ns < f->since_ns &&
        (f->by_finish || j->submitted_ns < f->since_ns))
        return false;
    return !f->name_like || contains(j->name, f->name_like) || contains(j->command, f->name_like);
}

static bool deliver(void *arg, const struct store_job *j)
{
    struct listing *l = arg;

    if (!matches(l->f, j))
        return true;
    l->delivered++;
    return l->fn(l->arg, j) && (l->f->limit == 0 || l->delivered < l->f->limit);
}

static int examine(struct listing *l, int64_t id, int64_t finished_ns, struct err *err)
{
    bool go_on = true;
    int found = job_deliver(l->s, id, deliver, l, &go_on, err);

    if (found <= 0)
        return found < 0 ? -1 : db_fail(l->s, SQLITE_CORRUPT, "read the jobs in", err);
    l->last = (struct store_resume){ id, finished_ns };
    l->examined++;
    l->stopped = !go_on || (l->f->max_scan > 0 && l->examined >= l->f->max_scan);
    return 0;
}

/* --- streams --- */

/* Moves to the stream's next job: 1, 0 when there is none, -1. */
static int stream_next(struct store *s, struct stream *st, enum statement which, struct err *err)
{
    if (st->sorted) {
        st->id = *st->sorted++;
        return st->id != 0;
    }
    sqlite3_stmt *stmt = db_stmt(s, which, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, st->who);
    sqlite3_bind_int64(stmt, 2, st->status);
    sqlite3_bind_int64(stmt, 3, st->id);
    if (which == ST_ENDED_WITH || which == ST_ENDED_BELOW)
        sqlite3_bind_int64(stmt, 4, st->finished_ns);
    int found = db_step(s, stmt, err);
    if (found > 0) {
        st->id = sqlite3_column_int64(stmt, 0);
        st->finished_ns = sqlite3_column_int64(stmt, 1);
        sqlite3_reset(stmt);
    } else if (found == 0 && which == ST_ENDED_WITH) {
        return stream_next(s, st, ST_ENDED_BELOW, err);
    }
    return found;
}

static bool newer(const struct stream *a, const struct stream *b)
{
    return a->finished_ns != b->finished_ns ? a->finished_ns > b->finished_ns : a->id > b->id;
}

static void swap(struct stream *a, struct stream *b)
{
    struct stream t = *a;

    *a = *b;
    *b = t;
}

static void sift_down(struct listing *l, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < l->n; at = child) {
        if (child + 1 < l->n && newer(&l->heap[child + 1], &l->heap[child]))
            child++;
        if (!newer(&l->heap[child], &l->heap[at]))
            return;
        swap(&l->heap[child], &l->heap[at]);
    }
}

static int add_stream(struct listing *l, const struct stream *st, struct err *err)
{
    struct stream first = *st;
    int found = stream_next(l->s, &first, first.next, err);

    if (found <= 0)
        return found;
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->heap = mem_resize(l->heap, l->cap, sizeof *l->heap);
    }
    l->heap[l->n++] = first;
    for (size_t at = l->n - 1; at > 0 && newer(&l->heap[at], &l->heap[(at - 1) / 2]);
         at = (at - 1) / 2)
        swap(&l->heap[at], &l->heap[(at - 1) / 2]);
    return 0;
}

/* A stream for each status that is asked for and exists. */
static int add_streams(struct listing *l, enum statement next, int64_t who, struct err *err)
{
    const struct store_filter *f = l->f;
    const int64_t *totals = &l->s->totals[next == ST_TASK_BELOW ? TOTAL_TASK : TOTAL_TOP];
    struct stream st = { .id = f->before_id ? f->before_id : INT64_MAX, .who = who, .next = next };

    if (next == ST_ENDED_WITH)
        st.finished_ns = f->before_finished_ns ? f->before_finished_ns : INT64_MAX;
    for (st.status = 0; st.status < STORE_STATUS_MAX; st.status++) {
        if (totals[st.status] == 0 || (f->status_mask && !(f->status_mask >> st.status & 1)))
            continue;
        if (add_stream(l, &st, err) != 0)
            return -1;
    }
    return 0;
}

static int add_users(struct listing *l, struct err *err)
{
    int32_t only = l->f->user ? users_find(l->s, l->f->user) : 0;

    if (l->f->user)
        return only ? add_streams(l, ST_TOP_BELOW, only, err) : 0;
    for (int32_t user = 1; user <= l->s->n_names; user++) {
        if (add_streams(l, ST_TOP_BELOW, user, err) != 0)
            return -1;
    }
    return 0;
}

static int by_falling_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x > y ? -1 : x < y;
}

/* Tasks of all arrays as one stream. There are at most `count` of them. */
static int add_tasks(struct listing *l, int64_t count, struct err *err)
{
    sqlite3_stmt *st = db_stmt(l->s, ST_TASKS_WITH_STATUS, err);
    int64_t n = 0;

    if (!st)
        return -1;
    l->sorted = mem_alloc_array((size_t)count + 1, sizeof *l->sorted);
    for (int status = 0; status < STORE_STATUS_MAX; status++) {
        int more;
        if (l->f->status_mask && !(l->f->status_mask >> status & 1))
            continue;
        sqlite3_bind_int64(st, 1, status);
        sqlite3_bind_int64(st, 2, l->f->before_id ? l->f->before_id : INT64_MAX);
        while ((more = db_step(l->s, st, err)) > 0 && n < count)
            l->sorted[n++] = sqlite3_column_int64(st, 0);
        sqlite3_reset(st);
        if (more < 0)
            return -1;
    }
    qsort(l->sorted, (size_t)n, sizeof *l->sorted, by_falling_id);
    return add_stream(l, &(struct stream){ .sorted = l->sorted }, err);
}

static int merge_streams(struct listing *l, struct err *err)
{
    while (l->n > 0 && !l->stopped) {
        struct stream *first = &l->heap[0];
        if (examine(l, first->id, first->finished_ns, err) != 0)
            return -1;
        int more = stream_next(l->s, first, first->next, err);
        if (more < 0)
            return -1;
        if (more == 0)
            *first = l->heap[--l->n];
        sift_down(l, 0);
    }
    if (l->n == 0)
        l->last = (struct store_resume){ 0, 0 };
    return 0;
}

/* --- scan --- */

/* A LIKE pattern for text that contains `part`. */
static char *like_pattern(const char *part)
{
    struct buf b = BUF_INIT;

    buf_append_char(&b, '%');
    for (; *part; part++) {
        if (strchr("%_\\", *part))
            buf_append_char(&b, '\\');
        buf_append_char(&b, *part);
    }
    buf_append_char(&b, '%');
    return buf_take(&b, NULL);
}

static int scan(struct listing *l, struct err *err)
{
    const struct store_filter *f = l->f;
    int64_t before = f->before_id ? f->before_id : l->s->totals[TOTAL_NEXT_ID];
    int64_t from = f->max_scan > 0 && before > f->max_scan ? before - f->max_scan : 1;
    int32_t user = f->user ? users_find(l->s, f->user) : 0;
    sqlite3_stmt *st = db_stmt(l->s, ST_SCAN, err);
    int more = 0;

    if (!st)
        return -1;
    if (f->user && !user)
        return 0;
    char *pattern = f->name_like ? like_pattern(f->name_like) : NULL;
    sqlite3_bind_int64(st, 1, before);
    sqlite3_bind_int64(st, 2, from);
    sqlite3_bind_int64(st, 3, f->with_tasks);
    sqlite3_bind_int64(st, 4, f->status_mask);
    sqlite3_bind_int64(st, 5, user);
    sqlite3_bind_int64(st, 6, f->since_ns);
    db_bind_text(st, 7, pattern);
    while (!l->stopped && (more = db_step(l->s, st, err)) > 0) {
        if (examine(l, sqlite3_column_int64(st, 0), 0, err) != 0) {
            more = -1;
            break;
        }
    }
    sqlite3_reset(st);
    sqlite3_bind_null(st, 7);
    free(pattern);
    if (more < 0)
        return -1;
    if (!l->stopped)
        l->last = (struct store_resume){ from > 1 ? from : 0, 0 };
    return 0;
}

/* --- which way --- */

static int64_t count_tasks(const struct listing *l)
{
    int64_t n = 0;

    for (int i = 0; i < STORE_STATUS_MAX; i++) {
        if (!l->f->status_mask || l->f->status_mask >> i & 1)
            n += l->s->totals[TOTAL_TASK + i];
    }
    return n;
}

static int run(struct listing *l, struct err *err)
{
    const struct store_filter *f = l->f;

    if (f->by_finish)
        return add_streams(l, ST_ENDED_WITH, 0, err) == 0 ? merge_streams(l, err) : -1;
    if (f->array_id)
        return add_streams(l, ST_TASK_BELOW, f->array_id, err) == 0 ? merge_streams(l, err) : -1;
    int64_t tasks = f->with_tasks ? count_tasks(l) : 0;
    if (f->name_like || f->since_ns || tasks > MAX_SORTED_TASKS)
        return scan(l, err);
    if (add_users(l, err) != 0 || (tasks > 0 && add_tasks(l, tasks, err) != 0))
        return -1;
    return merge_streams(l, err);
}

int store_job_list(struct store *s, const struct store_filter *f,
                   bool (*fn)(void *arg, const struct store_job *j), void *arg, struct err *err)
{
    struct listing l = { .s = s, .f = f, .fn = fn, .arg = arg };

    if (f->by_finish && (f->array_id || f->with_tasks))
        return err_set(err, ERR_INVALID, "tasks can't be listed by their end");
    int rc = run(&l, err);
    if (rc == 0 && f->resume)
        *f->resume = l.last;
    free(l.heap);
    free(l.sorted);
    return rc;
}
