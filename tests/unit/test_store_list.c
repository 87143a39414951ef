/* SPDX-License-Identifier: BSD-2-Clause */
/* Listing against a model that does it the slow way, with random jobs and random filters. */
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "store/store_priv.h"
#include "unit/unit.h"

#define JOBS 600
#define FIRST_TERMINAL 2

static const char *const users[] = { "ann", "bob", "a_b", "" };
static const char *const names[] = { "train", "Evaluate", "100%", "a_b", NULL };

struct world {
    struct store *s;
    struct store_job jobs[JOBS + 1]; /* by id; id 0: not there */
    uint64_t seed;
};

static uint32_t roll(struct world *w, uint32_t n)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->seed >> 33) % n;
}

static void change_status(struct world *w, struct store_job *j)
{
    j->status = (int32_t)roll(w, 5);
    /* Few different times: many jobs end at once. */
    j->finished_ns = j->status >= FIRST_TERMINAL ? 1000 + roll(w, 20) : 0;
}

static void fill(struct world *w)
{
    struct err err = ERR_INIT;
    int64_t first;

    CHECK_OK(store_begin(w->s, &err), &err);
    CHECK_OK(store_next_ids(w->s, JOBS, &first, &err), &err);
    for (int64_t id = 1; id <= JOBS; id++) {
        struct store_job *j = &w->jobs[id];
        if (roll(w, 20) == 0)
            continue; /* a gap, as pruning leaves */
        *j = (struct store_job){
            .id = id, .user = users[roll(w, 4)], .name = names[roll(w, 5)], .submitted_ns = 500 + id
        };
        j->command = roll(w, 2) ? "python TRAIN.py" : NULL;
        int64_t array = roll(w, 2) ? 1 + roll(w, 5) : 0;
        if (id <= 5) {
            j->is_array = true;
        } else if (array && w->jobs[array].id) {
            j->array_id = array;
            j->task = id;
        }
        change_status(w, j);
        CHECK_OK(store_job_insert(w->s, j, &err), &err);
    }
    CHECK_OK(store_commit(w->s, &err), &err);
}

static void stir(struct world *w)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_begin(w->s, &err), &err);
    for (int i = 0; i < 100; i++) {
        struct store_job *j = &w->jobs[1 + roll(w, JOBS)];
        if (!j->id)
            continue;
        change_status(w, j);
        CHECK_OK(store_job_update(w->s, j, &err), &err);
    }
    CHECK_OK(store_commit(w->s, &err), &err);
}

static bool has(const char *text, const char *part)
{
    return text && strcasestr(text, part);
}

static bool wanted(const struct store_filter *f, const struct store_job *j)
{
    if (!j->id || (f->status_mask && !(f->status_mask >> j->status & 1)))
        return false;
    if (f->user && !str_eq(f->user, j->user))
        return false;
    if (f->array_id ? j->array_id != f->array_id : j->array_id != 0 && !f->with_tasks)
        return false;
    if (f->by_finish && j->finished_ns == 0)
        return false;
    if (f->since_ns && j->finished_ns < f->since_ns &&
        (f->by_finish || j->submitted_ns < f->since_ns))
        return false;
    return !f->name_like || has(j->name, f->name_like) || has(j->command, f->name_like);
}

/* The ids a listing should give, in order; the model behind all. */
static void expect(const struct world *w, const struct store_filter *f, struct buf *out)
{
    int64_t time = INT64_MAX;

    do {
        int64_t next = -1; /* the end before `time` */
        for (int64_t id = JOBS; id >= 1; id--) {
            const struct store_job *j = &w->jobs[id];
            if (wanted(f, j) && (!f->by_finish || j->finished_ns == time))
                buf_printf(out, "%d ", (int)id);
            if (j->finished_ns < time && j->finished_ns > next)
                next = j->finished_ns;
        }
        time = next;
    } while (f->by_finish && time > 0);
}

static bool note_id(void *arg, const struct store_job *j)
{
    buf_printf(arg, "%d ", (int)j->id);
    return true;
}

/* Goes through the pages until there is nothing more. */
static void collect(struct store *s, struct store_filter f, struct buf *out)
{
    struct err err = ERR_INIT;
    struct store_resume resume = { -1, -1 };

    f.resume = &resume;
    for (int pages = 0; resume.id != 0; pages++) {
        CHECK(pages < 2 * JOBS);
        CHECK_OK(store_job_list(s, &f, note_id, out, &err), &err);
        f.before_id = resume.id;
        f.before_finished_ns = resume.finished_ns;
    }
}

static struct store_filter random_filter(struct world *w)
{
    struct store_filter f = { 0 };

    if (roll(w, 2))
        f.status_mask = roll(w, 64);
    if (roll(w, 3) == 0)
        f.user = roll(w, 5) ? users[roll(w, 4)] : "nobody";
    if (roll(w, 3) == 0)
        f.name_like = (const char *[]){ "train", "%", "_", "A_B", "", "x" }[roll(w, 6)];
    if (roll(w, 4) == 0)
        f.since_ns = 400 + roll(w, 700);
    if (roll(w, 3) == 0)
        f.by_finish = true;
    else if (roll(w, 3) == 0)
        f.array_id = 1 + roll(w, 6);
    else
        f.with_tasks = roll(w, 2);
    f.limit = roll(w, 2) ? 1 + roll(w, 100) : 0;
    f.max_scan = roll(w, 3) == 0 ? 1 + roll(w, 100) : 0;
    return f;
}

TEST(listing_agrees_with_the_model)
{
    struct world *w = mem_alloc(sizeof *w);
    struct err err = ERR_INIT;
    struct buf want = BUF_INIT, got = BUF_INIT;

    w->seed = 20;
    w->s = store_open(unit_tmpdir(), NULL, &err);
    CHECK(w->s);
    fill(w);
    for (int i = 0; i < 600; i++) {
        struct store_filter f = random_filter(w);
        buf_clear(&want);
        buf_clear(&got);
        expect(w, &f, &want);
        collect(w->s, f, &got);
        if (!str_eq(buf_data(&got), buf_data(&want)))
            unit_fail(
                __FILE__, __LINE__,
                "mask %x user %s name %s array %d tasks %d since %d by_finish %d limit %d scan "
                "%d:\n# got  %s\n# want %s",
                f.status_mask, f.user ? f.user : "-", f.name_like ? f.name_like : "-",
                (int)f.array_id, f.with_tasks, (int)f.since_ns, f.by_finish, (int)f.limit,
                (int)f.max_scan, buf_data(&got), buf_data(&want));
        if (i % 50 == 0)
            stir(w);
    }
    CHECK_OK(store_check(w->s, &err), &err);
    store_close(w->s);
    buf_fini(&want);
    buf_fini(&got);
    free(w);
}

TEST(a_page_has_at_most_limit_jobs)
{
    struct world *w = mem_alloc(sizeof *w);
    struct err err = ERR_INIT;
    struct buf got = BUF_INIT;
    struct store_filter f = { .limit = 3 };

    w->s = store_open(unit_tmpdir(), NULL, &err);
    CHECK(w->s);
    CHECK_OK(store_job_list(w->s, &f, note_id, &got, &err), &err);
    CHECK_STR(buf_data(&got), "");
    int64_t first;
    CHECK_OK(store_begin(w->s, &err), &err);
    CHECK_OK(store_next_ids(w->s, 5, &first, &err), &err);
    for (int64_t id = 1; id <= 5; id++)
        CHECK_OK(store_job_insert(w->s, &(struct store_job){ .id = id, .user = "u" }, &err), &err);
    /* Also what is not committed yet. */
    CHECK_OK(store_job_list(w->s, &f, note_id, &got, &err), &err);
    CHECK_STR(buf_data(&got), "5 4 3 ");
    f.before_id = 3;
    CHECK_OK(store_job_list(w->s, &f, note_id, &got, &err), &err);
    CHECK_STR(buf_data(&got), "5 4 3 2 1 ");
    f = (struct store_filter){ .by_finish = true, .array_id = 1 };
    CHECK_INT(store_job_list(w->s, &f, note_id, &got, &err), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    store_close(w->s);
    buf_fini(&got);
    free(w);
}

/* So many tasks that they are found by a scan instead of being sorted. */
TEST(many_tasks)
{
    struct err err = ERR_INIT;
    struct store *s = store_open(unit_tmpdir(), NULL, &err);
    struct buf got = BUF_INIT;
    int64_t first;

    CHECK(s);
    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_next_ids(s, 25002, &first, &err), &err);
    CHECK_OK(store_job_insert(s, &(struct store_job){ .id = 1, .is_array = true }, &err), &err);
    for (int64_t id = 2; id <= 25001; id++) {
        struct store_job j = { .id = id, .array_id = 1, .task = id, .status = id == 9 };
        CHECK_OK(store_job_insert(s, &j, &err), &err);
    }
    CHECK_OK(store_job_insert(s, &(struct store_job){ .id = 25002 }, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
    struct store_filter f = { .with_tasks = true, .limit = 3 };
    CHECK_OK(store_job_list(s, &f, note_id, &got, &err), &err);
    CHECK_STR(buf_data(&got), "25002 25001 25000 ");
    buf_clear(&got);
    f = (struct store_filter){ .with_tasks = true, .status_mask = 2 };
    CHECK_OK(store_job_list(s, &f, note_id, &got, &err), &err);
    CHECK_STR(buf_data(&got), "9 ");
    buf_clear(&got);
    f = (struct store_filter){ .array_id = 1, .limit = 2, .before_id = 20 };
    CHECK_OK(store_job_list(s, &f, note_id, &got, &err), &err);
    CHECK_STR(buf_data(&got), "19 18 ");
    buf_fini(&got);
    store_close(s);
}
