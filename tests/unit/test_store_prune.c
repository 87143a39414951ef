/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"
#include "unit/unit.h"

#define QUEUED 0
#define DONE 2
#define FAILED 3

static struct store *open_store(void)
{
    struct err err = ERR_INIT;
    struct store *s = store_open(unit_tmpdir(), NULL, &err);

    if (!s)
        unit_fail(__FILE__, __LINE__, "store_open: %s", err.msg);
    CHECK_OK(store_begin(s, &err), &err);
    return s;
}

static int64_t add(struct store *s, struct store_job j)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_next_ids(s, 1, &j.id, &err), &err);
    j.spec = "{}";
    CHECK_OK(store_job_insert(s, &j, &err), &err);
    struct store_attempt a = { .job = j.id, .number = 1, .outcome = j.finished_ns ? 2 : -1 };
    CHECK_OK(store_attempt_insert(s, &a, &err), &err);
    return j.id;
}

static void note_attempt(void *arg, int64_t job, int32_t attempt)
{
    buf_printf(arg, "%d.%d ", (int)job, (int)attempt);
}

static bool note_id(void *arg, const struct store_job *j)
{
    buf_printf(arg, "%d ", (int)j->id);
    return true;
}

/* Prunes once, then checks what went and what is left, and that nothing hangs in the air. */
static void check_prune(struct store *s, int64_t before_ns, int64_t keep, int64_t max,
                        const char *gone, const char *left, int line)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    int64_t removed;

    if (!store_in_transaction(s))
        CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_prune(s, DONE, before_ns, keep, 0, max, note_attempt, &b, &removed, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
    unit_check_str(__FILE__, line, "attempts to remove", buf_data(&b), gone);
    buf_clear(&b);
    CHECK_OK(store_job_list(s, &(struct store_filter){ .with_tasks = true }, note_id, &b, &err),
             &err);
    unit_check_str(__FILE__, line, "jobs left", buf_data(&b), left);
    buf_fini(&b);
    CHECK_OK(store_check(s, &err), &err);
}
#define CHECK_PRUNE(s, before, keep, max, gone, left)                                              \
    check_prune(s, before, keep, max, gone, left, __LINE__)

TEST(by_time)
{
    struct store *s = open_store();

    add(s, (struct store_job){ .status = DONE, .finished_ns = 30 });
    add(s, (struct store_job){ .status = FAILED, .finished_ns = 10 });
    add(s, (struct store_job){ .status = QUEUED });
    add(s, (struct store_job){ .status = DONE, .finished_ns = 20 });
    CHECK_PRUNE(s, 0, 0, 10, "", "4 3 2 1 ");
    CHECK_PRUNE(s, 10, 0, 10, "", "4 3 2 1 ");
    CHECK_PRUNE(s, 30, 0, 10, "2.1 4.1 ", "3 1 ");
    CHECK_PRUNE(s, INT64_MAX, 0, 10, "1.1 ", "3 ");
    CHECK_PRUNE(s, INT64_MAX, 0, 10, "", "3 ");
    store_close(s);
}

TEST(by_number)
{
    struct store *s = open_store();

    for (int i = 1; i <= 6; i++)
        add(s, (struct store_job){ .status = i % 2 ? DONE : FAILED, .finished_ns = 10 });
    add(s, (struct store_job){ .status = QUEUED });
    CHECK_PRUNE(s, 0, 6, 10, "", "7 6 5 4 3 2 1 ");
    CHECK_PRUNE(s, 0, 4, 10, "1.1 2.1 ", "7 6 5 4 3 ");
    CHECK_PRUNE(s, 5, 1, 2, "3.1 4.1 ", "7 6 5 "); /* in steps of two */
    CHECK_PRUNE(s, 5, 1, 2, "5.1 ", "7 6 ");
    CHECK_PRUNE(s, 5, 1, 2, "", "7 6 ");
    store_close(s);
}

TEST(an_array_goes_in_steps_with_all_that_is_its)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    char *line;

    add(s, (struct store_job){ .status = DONE, .finished_ns = 10, .is_array = true });
    for (int i = 1; i <= 3; i++) {
        add(s, (struct store_job){ .array_id = 1, .task = i, .status = DONE, .finished_ns = 5 });
        CHECK_OK(store_line_insert(s, 1, i, "x", 1, &err), &err);
    }
    add(s, (struct store_job){ .status = DONE, .finished_ns = 11 });
    CHECK_PRUNE(s, 100, 0, 2, "2.1 3.1 ", "5 4 1 ");
    CHECK_PRUNE(s, 100, 0, 2, "4.1 ", "5 1 "); /* and a line */
    CHECK_PRUNE(s, 100, 0, 2, "", "5 1 ");
    CHECK_OK(store_line_get(s, 1, 3, &line, &err), &err);
    CHECK(!line);
    CHECK_PRUNE(s, 100, 0, 2, "1.1 5.1 ", "");
    store_close(s);
}

TEST(an_array_with_a_live_task_stays)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;

    add(s, (struct store_job){ .status = DONE, .finished_ns = 10, .is_array = true });
    add(s, (struct store_job){ .array_id = 1, .task = 1, .status = DONE, .finished_ns = 9 });
    add(s, (struct store_job){ .array_id = 1, .task = 2, .status = QUEUED });
    add(s, (struct store_job){ .status = DONE, .finished_ns = 11 });
    CHECK_PRUNE(s, 100, 0, 1, "4.1 ", "3 2 1 "); /* and does not block what comes behind it */
    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_job_update(s, &(struct store_job){ .id = 3, .status = DONE, .finished_ns = 12 },
                              &err),
             &err);
    CHECK_PRUNE(s, 100, 0, 10, "2.1 3.1 1.1 ", "");
    store_close(s);
}

TEST(keys_by_age)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    unsigned char digest[32] = { 0 };
    int64_t removed, n;
    char key[16];

    for (int i = 1; i <= 5; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK_OK(store_key_put(s, "u", key, digest, i, 1, i * 10, &err), &err);
    }
    CHECK_OK(store_key_put(s, "u", "k1", digest, 1, 1, 60, &err), &err);
    CHECK_OK(store_prune(s, DONE, 0, 0, 40, 1, NULL, NULL, &removed, &err), &err);
    CHECK_INT(removed, 1);
    CHECK_OK(store_prune(s, DONE, 0, 0, 40, 10, NULL, NULL, &removed, &err), &err);
    CHECK_INT(removed, 1);
    CHECK_OK(store_prune(s, DONE, 0, 0, 40, 10, NULL, NULL, &removed, &err), &err);
    CHECK_INT(removed, 0);
    for (int i = 1; i <= 5; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK_INT(store_key_get(s, "u", key, digest, &n, &n, &err), i == 1 || i >= 4);
    }
    store_close(s);
}
