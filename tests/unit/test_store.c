/* SPDX-License-Identifier: BSD-2-Clause */
/* The store's contract: rows come back as they went in, transactions hold or leave no trace. */
#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"
#include "unit/unit.h"

#define FIRST_TERMINAL 2

static struct store *open_store(void)
{
    struct err err = ERR_INIT;
    struct store *s = store_open(unit_tmpdir(), NULL, &err);

    if (!s)
        unit_fail(__FILE__, __LINE__, "store_open: %s", err.msg);
    return s;
}

static struct store *reopen(struct store *s)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_check(s, &err), &err);
    store_close(s);
    return open_store();
}

static int64_t add(struct store *s, struct store_job j)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_next_ids(s, 1, &j.id, &err), &err);
    CHECK_OK(store_job_insert(s, &j, &err), &err);
    return j.id;
}

static void begin(struct store *s)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_begin(s, &err), &err);
}

static void commit(struct store *s)
{
    struct err err = ERR_INIT;

    CHECK_OK(store_commit(s, &err), &err);
    CHECK(!store_broken(s));
}

/* A job as one line, with every field that is not 0. */
static void describe(void *arg, const struct store_job *j)
{
    struct buf *b = arg;

    buf_printf(b, "%d %d %d %d|", (int)j->id, (int)j->array_id, (int)j->task, (int)j->status);
    buf_printf(b, "%d %d %d %d %d|", j->held, j->is_array, j->priority, j->threads, j->gpus);
    buf_printf(b, "%lld %lld|", (long long)j->memory, (long long)j->timeout_ns);
    buf_printf(b, "%s %s %s %s|", j->user, j->name ? j->name : "-", j->command ? j->command : "-",
               j->spec ? j->spec : "-");
    buf_printf(b, "%d %d|", j->attempts, j->retries_left);
    buf_printf(b, "%lld %lld %lld %lld|", (long long)j->submitted_ns, (long long)j->started_ns,
               (long long)j->finished_ns, (long long)j->not_before_ns);
    buf_printf(b, "%d %d %s %s|", j->exit_code, j->signal, j->node ? j->node : "-",
               j->reason ? j->reason : "-");
    buf_printf(b, "%lld %lld %lld %lld %lld %lld %lld %lld;", (long long)j->first,
               (long long)j->last, (long long)j->step, (long long)j->limit, (long long)j->next,
               (long long)j->n_succeeded, (long long)j->n_failed, (long long)j->n_cancelled);
}

static bool describe_some(void *arg, const struct store_job *j)
{
    describe(arg, j);
    return true;
}

static bool ids(void *arg, const struct store_job *j)
{
    buf_printf(arg, "%d ", (int)j->id);
    return true;
}

static void check_job(struct store *s, int64_t id, const char *want)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_INT(store_job_get(s, id, describe, &b, &err), 1);
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
}

static const struct store_job full = {
    .task = 0,
    .status = 5,
    .held = true,
    .is_array = true,
    .priority = -7,
    .threads = 8,
    .gpus = 2,
    .memory = INT64_C(8589934592),
    .timeout_ns = 3600,
    .user = "ann",
    .name = "näme",
    .command = "run 'it'",
    .spec = "{\"a\":1}",
    .attempts = 3,
    .retries_left = 4,
    .submitted_ns = INT64_C(1700000000000000001),
    .started_ns = 12,
    .finished_ns = 13,
    .not_before_ns = 14,
    .exit_code = -1,
    .signal = 9,
    .node = "n1",
    .reason = "why",
    .first = -5,
    .last = 100,
    .step = 2,
    .limit = 10,
    .next = 7,
    .n_succeeded = 1,
    .n_failed = 2,
    .n_cancelled = 3,
};

TEST(a_job_comes_back_as_it_went_in)
{
    struct store *s = open_store();

    begin(s);
    add(s, full);
    add(s, (struct store_job){ .user = "bob" });
    add(s, (struct store_job){ .user = NULL, .array_id = 1, .task = 42, .name = "" });
    commit(s);
    for (int i = 0; i < 2; i++) {
        check_job(s, 1,
                  "1 0 0 5|1 1 -7 8 2|8589934592 3600|ann näme run 'it' {\"a\":1}|3 4|"
                  "1700000000000000001 12 13 14|-1 9 n1 why|-5 100 2 10 7 1 2 3;");
        check_job(s, 2, "2 0 0 0|0 0 0 0 0|0 0|bob - - -|0 0|0 0 0 0|0 0 - -|0 0 0 0 0 0 0 0;");
        check_job(s, 3, "3 1 42 0|0 0 0 0 0|0 0|  - -|0 0|0 0 0 0|0 0 - -|0 0 0 0 0 0 0 0;");
        s = reopen(s);
    }
    store_close(s);
}

TEST(an_update_writes_what_changes_and_nothing_else)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct store_job j = full;

    begin(s);
    j.is_array = false;
    add(s, (struct store_job){ .user = "bob", .name = "n", .command = "c", .spec = "{}" });
    j.id = 1;
    CHECK_OK(store_job_update(s, &j, &err), &err);
    commit(s);
    check_job(s, 1,
              "1 0 0 5|1 0 -7 0 0|0 0|bob n c {}|3 4|0 12 13 14|-1 9 n1 why|0 0 0 0 7 1 2 3;");
    /* Back to the beginning, as a retry does. */
    begin(s);
    CHECK_OK(store_job_update(s, &(struct store_job){ .id = 1 }, &err), &err);
    commit(s);
    check_job(s, 1, "1 0 0 0|0 0 0 0 0|0 0|bob n c {}|0 0|0 0 0 0|0 0 - -|0 0 0 0 0 0 0 0;");
    CHECK_OK(store_check(s, &err), &err);
    store_close(s);
}

TEST(jobs_and_tasks_that_are_not_there)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;

    begin(s);
    add(s, (struct store_job){ .is_array = true });
    add(s, (struct store_job){ .array_id = 1, .task = 5 });
    commit(s);
    CHECK_INT(store_job_get(s, 3, describe, NULL, &err), 0);
    CHECK_INT(store_job_get(s, 0, describe, NULL, &err), 0);
    CHECK_INT(store_job_get(s, -1, describe, NULL, &err), 0);
    CHECK_INT(store_task_get(s, 1, 4, describe, NULL, &err), 0);
    CHECK_INT(store_task_get(s, 0, 0, describe, NULL, &err), 0);
    CHECK_INT(store_task_get(s, 2, 5, describe, NULL, &err), 0);
    CHECK_INT(err.kind, ERR_NONE);
    struct buf b = BUF_INIT;
    CHECK_INT(store_task_get(s, 1, 5, describe, &b, &err), 1);
    CHECK_STR(buf_data(&b), "2 1 5 0|0 0 0 0 0|0 0| - - -|0 0|0 0 0 0|0 0 - -|0 0 0 0 0 0 0 0;");
    buf_fini(&b);
    begin(s);
    CHECK_INT(store_job_update(s, &(struct store_job){ .id = 9 }, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(!store_in_transaction(s));
    store_close(s);
}

TEST(a_transaction_that_is_rolled_back_leaves_no_trace)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    int64_t counts[8], value;

    begin(s);
    add(s, (struct store_job){ .user = "ann" });
    commit(s);
    for (int i = 0; i < 2; i++) {
        begin(s);
        CHECK_INT(add(s, (struct store_job){ .user = "eve", .spec = "{}" }), 2);
        CHECK_OK(store_meta_set_int(s, "fence", 3, &err), &err);
        CHECK_OK(store_job_update(s, &(struct store_job){ .id = 1, .status = 3 }, &err), &err);
        CHECK_OK(store_job_counts(s, counts, 8, &err), &err);
        CHECK_INT(counts[0], 1);
        CHECK_INT(counts[3], 1);
        store_rollback(s);
        CHECK(!store_in_transaction(s));
        CHECK_INT(store_job_get(s, 2, describe, NULL, &err), 0);
        CHECK_OK(store_meta_get_int(s, "fence", -1, &value, &err), &err);
        CHECK_INT(value, -1);
        CHECK_OK(store_job_counts(s, counts, 8, &err), &err);
        CHECK_INT(counts[0], 1);
        CHECK_INT(counts[3], 0);
    }
    begin(s);
    CHECK_INT(add(s, (struct store_job){ .user = "bob" }), 2);
    commit(s);
    check_job(s, 2, "2 0 0 0|0 0 0 0 0|0 0|bob - - -|0 0|0 0 0 0|0 0 - -|0 0 0 0 0 0 0 0;");
    begin(s); /* closing rolls back */
    add(s, (struct store_job){ .user = "eve" });
    store_close(s);
    s = open_store();
    CHECK_INT(store_job_get(s, 3, describe, NULL, &err), 0);
    CHECK_OK(store_check(s, &err), &err);
    store_close(s);
}

TEST(a_failed_change_takes_the_transaction_with_it)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    int64_t first;

    begin(s);
    add(s, (struct store_job){ .is_array = true });
    add(s, (struct store_job){ .array_id = 1, .task = 5 });
    commit(s);

    const struct store_job bad[] = {
        { .id = 3, .array_id = 1, .task = 5 },   /* the task exists */
        { .id = 1 },                             /* the id is taken */
        { .id = 3, .status = STORE_STATUS_MAX }, /* no such status */
        { .id = 3, .status = -1 },
        { .id = 1000 }, /* not reserved */
        { .id = 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin(s);
        CHECK_OK(store_next_ids(s, 2, &first, &err), &err);
        CHECK_INT(first, 3);
        CHECK_OK(store_job_insert(s, &(struct store_job){ .id = 4, .user = "x" }, &err), &err);
        CHECK_INT(store_job_insert(s, &bad[i], &err), -1);
        CHECK_INT(err.kind, ERR_INTERNAL);
        CHECK(!store_in_transaction(s));
        CHECK_INT(store_job_get(s, 4, describe, NULL, &err), 0);
        CHECK_INT(store_commit(s, &err), -1);
    }
    CHECK_OK(store_check(s, &err), &err);
    store_close(s);
}

TEST(changes_need_a_transaction)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct store_job j = { .id = 1 };
    struct store_attempt a = { .job = 1, .number = 1 };
    unsigned char digest[32] = { 0 };
    int64_t n;

#define CHECK_REFUSED(call)                                                                        \
    do {                                                                                           \
        err_clear(&err);                                                                           \
        CHECK_INT((call), -1);                                                                     \
        CHECK_INT(err.kind, ERR_INTERNAL);                                                         \
    } while (0)
    CHECK_REFUSED(store_next_ids(s, 1, &n, &err));
    CHECK_REFUSED(store_job_insert(s, &j, &err));
    CHECK_REFUSED(store_job_update(s, &j, &err));
    CHECK_REFUSED(store_attempt_insert(s, &a, &err));
    CHECK_REFUSED(store_attempt_update(s, &a, &err));
    CHECK_REFUSED(store_line_insert(s, 1, 1, "x", 1, &err));
    CHECK_REFUSED(store_key_put(s, "u", "k", digest, 1, 1, 1, &err));
    CHECK_REFUSED(store_use_set(s, "u", 1, 1, &err));
    CHECK_REFUSED(store_meta_set_int(s, "x", 1, &err));
    CHECK_REFUSED(store_prune(s, 2, 1, 1, 1, 1, NULL, NULL, &n, &err));
    CHECK_REFUSED(store_commit(s, &err));
    begin(s);
    CHECK_REFUSED(store_begin(s, &err));
    CHECK(store_in_transaction(s)); /* that did not end it */
    CHECK_REFUSED(store_meta_set_int(s, ".next_id", 1, &err));
    CHECK_REFUSED(store_check(s, &err));
    store_rollback(s);
    store_rollback(s);
    store_close(s);
    store_close(NULL);
}

TEST(ids_are_not_reused)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    int64_t first, removed;

    begin(s);
    CHECK_OK(store_next_ids(s, 1000, &first, &err), &err);
    CHECK_INT(first, 1);
    CHECK_OK(store_next_ids(s, 1, &first, &err), &err);
    CHECK_INT(first, 1001);
    CHECK_OK(
        store_job_insert(s, &(struct store_job){ .id = 1001, .status = 2, .finished_ns = 5 }, &err),
        &err);
    commit(s);
    begin(s);
    CHECK_OK(store_prune(s, FIRST_TERMINAL, 6, 0, 0, 10, NULL, NULL, &removed, &err), &err);
    CHECK_INT(removed, 1);
    commit(s);
    s = reopen(s);
    begin(s);
    CHECK_OK(store_next_ids(s, 1, &first, &err), &err);
    CHECK_INT(first, 1002);
    CHECK_INT(store_next_ids(s, 0, &first, &err), -1);
    CHECK_INT(store_next_ids(s, INT64_MAX - 5, &first, &err), -1);
    store_close(s);
}

TEST(small_facts)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    int64_t v;

    CHECK_OK(store_meta_get_int(s, "fence", 17, &v, &err), &err);
    CHECK_INT(v, 17);
    begin(s);
    CHECK_OK(store_meta_set_int(s, "fence", INT64_MIN, &err), &err);
    CHECK_OK(store_meta_set_int(s, "fence", INT64_MAX, &err), &err);
    commit(s);
    s = reopen(s);
    CHECK_OK(store_meta_get_int(s, "fence", 17, &v, &err), &err);
    CHECK_INT(v, INT64_MAX);
    store_close(s);
}

static bool stop_after_two(void *arg, const struct store_job *j)
{
    ids(arg, j);
    return buf_len(arg) < 4;
}

TEST(live_jobs_come_by_id_and_only_they)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    begin(s);
    for (int i = 1; i <= 300; i++) {
        bool live = i < 3 || i == 100 || i == 290 || i == 300;
        /* Users and statuses fall against the ids, and some are tasks. */
        add(s, (struct store_job){ .user = i < 200 ? "zoe" : "amy",
                                   .status = live ? i % 2 : 2 + i % 3,
                                   .finished_ns = live ? 0 : 1,
                                   .command = "c",
                                   .spec = "{}",
                                   .array_id = i == 100 || i == 101 ? 1 : 0,
                                   .task = i });
    }
    commit(s);
    CHECK_OK(store_job_each_live(s, FIRST_TERMINAL, false, ids, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1 2 100 290 300 ");
    buf_clear(&b);
    CHECK_OK(store_job_each_live(s, 1, true, ids, &b, &err), &err);
    CHECK_STR(buf_data(&b), "2 100 290 300 ");
    buf_clear(&b);
    CHECK_OK(store_job_each_live(s, FIRST_TERMINAL, true, stop_after_two, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1 2 ");
    buf_clear(&b);
    CHECK_OK(store_job_each_live(s, 0, true, ids, &b, &err), &err);
    CHECK_STR(buf_data(&b), "");
    buf_fini(&b);
    store_close(s);
}

TEST(live_jobs_with_and_without_text)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    begin(s);
    add(s, (struct store_job){ .user = "u", .name = "n", .command = "c", .spec = "{}" });
    commit(s);
    CHECK_OK(store_job_each_live(s, FIRST_TERMINAL, true, describe_some, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1 0 0 0|0 0 0 0 0|0 0|u n c {}|0 0|0 0 0 0|0 0 - -|0 0 0 0 0 0 0 0;");
    buf_clear(&b);
    CHECK_OK(store_job_each_live(s, FIRST_TERMINAL, false, describe_some, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1 0 0 0|0 0 0 0 0|0 0|u n - -|0 0|0 0 0 0|0 0 - -|0 0 0 0 0 0 0 0;");
    buf_fini(&b);
    store_close(s);
}

static bool attempts(void *arg, const struct store_attempt *a)
{
    buf_printf(arg, "%d.%d f%llu %s o%d x%d s%d|%d %d %d %d %d %d|%s;", (int)a->job, a->number,
               (unsigned long long)a->fence, a->node ? a->node : "-", a->outcome, a->exit_code,
               a->signal, (int)a->started_ns, (int)a->finished_ns, (int)a->duration_ns,
               (int)a->user_ns, (int)a->system_ns, (int)a->max_rss, a->message ? a->message : "-");
    return true;
}

TEST(attempts_of_a_job)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct store_attempt a = { .job = 2,
                               .number = 2,
                               .fence = UINT64_MAX,
                               .node = "n",
                               .outcome = -1,
                               .exit_code = -1,
                               .started_ns = 1 };

    begin(s);
    add(s, (struct store_job){ .user = "u" });
    add(s, (struct store_job){ .user = "u" });
    CHECK_OK(store_attempt_insert(s, &a, &err), &err);
    a.number = 1;
    CHECK_OK(store_attempt_insert(s, &a, &err), &err);
    a.job = 1;
    CHECK_OK(store_attempt_insert(s, &a, &err), &err);
    a = (struct store_attempt){ .job = 2,
                                .number = 1,
                                .fence = 3,
                                .outcome = 4,
                                .exit_code = 5,
                                .signal = 6,
                                .started_ns = 7,
                                .finished_ns = 8,
                                .duration_ns = 9,
                                .user_ns = 10,
                                .system_ns = 11,
                                .max_rss = 12,
                                .message = "m" };
    CHECK_OK(store_attempt_update(s, &a, &err), &err);
    commit(s);
    s = reopen(s);
    CHECK_OK(store_attempt_each(s, 2, attempts, &b, &err), &err);
    CHECK_STR(buf_data(&b), "2.1 f3 n o4 x5 s6|7 8 9 10 11 12|m;"
                            "2.2 f18446744073709551615 n o-1 x-1 s0|1 0 0 0 0 0|-;");
    buf_clear(&b);
    CHECK_OK(store_attempt_each_open(s, attempts, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1.1 f18446744073709551615 n o-1 x-1 s0|1 0 0 0 0 0|-;"
                            "2.2 f18446744073709551615 n o-1 x-1 s0|1 0 0 0 0 0|-;");
    buf_clear(&b);
    CHECK_OK(store_attempt_each(s, 3, attempts, &b, &err), &err);
    CHECK_STR(buf_data(&b), "");
    begin(s);
    a.number = 3;
    CHECK_INT(store_attempt_update(s, &a, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(!store_in_transaction(s));
    buf_fini(&b);
    store_close(s);
}

TEST(lines_of_an_array)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    char *big = mem_alloc(65536), *line;

    memset(big, 'x', 65536);
    begin(s);
    add(s, (struct store_job){ .is_array = true });
    CHECK_OK(store_line_insert(s, 1, 0, "", 0, &err), &err);
    CHECK_OK(store_line_insert(s, 1, -3, "not \xff utf-8, and cut here", 12, &err), &err);
    CHECK_OK(store_line_insert(s, 1, 7, big, 65536, &err), &err);
    commit(s);
    CHECK_OK(store_line_get(s, 1, 0, &line, &err), &err);
    CHECK_STR(line, "");
    free(line);
    CHECK_OK(store_line_get(s, 1, -3, &line, &err), &err);
    CHECK_STR(line, "not \xff utf-8,");
    free(line);
    CHECK_OK(store_line_get(s, 1, 7, &line, &err), &err);
    CHECK_INT(strlen(line), 65536);
    CHECK(memcmp(line, big, 65536) == 0);
    free(line);
    CHECK_OK(store_line_get(s, 1, 8, &line, &err), &err);
    CHECK(line == NULL);
    free(big);
    store_close(s);
}

TEST(keys_belong_to_users)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    unsigned char one[32], two[32], got[32];
    int64_t first, count;

    memset(one, 1, sizeof one);
    memset(two, 2, sizeof two);
    begin(s);
    CHECK_INT(store_key_get(s, "ann", "k", got, &first, &count, &err), 0);
    CHECK_OK(store_key_put(s, "ann", "k", one, 5, 2, 100, &err), &err);
    CHECK_OK(store_key_put(s, "bob", "k", two, 7, 1, 100, &err), &err);
    CHECK_INT(store_key_get(s, "ann", "k", got, &first, &count, &err), 1);
    commit(s);
    s = reopen(s);
    CHECK_INT(store_key_get(s, "ann", "k", got, &first, &count, &err), 1);
    CHECK(memcmp(got, one, 32) == 0);
    CHECK_INT(first, 5);
    CHECK_INT(count, 2);
    CHECK_INT(store_key_get(s, "eve", "k", got, &first, &count, &err), 0);
    CHECK_INT(store_key_get(s, "ann", "K", got, &first, &count, &err), 0);
    begin(s);
    CHECK_OK(store_key_put(s, "ann", "k", two, 9, 1, 200, &err), &err);
    commit(s);
    CHECK_INT(store_key_get(s, "ann", "k", got, &first, &count, &err), 1);
    CHECK(memcmp(got, two, 32) == 0);
    CHECK_INT(first, 9);
    CHECK_INT(store_key_get(s, "bob", "k", got, &first, &count, &err), 1);
    CHECK_INT(first, 7);
    store_close(s);
}

static void uses(void *arg, const char *user, double thread_seconds, int64_t wall_ns)
{
    buf_printf(arg, "%s %.3f %lld;", user, thread_seconds, (long long)wall_ns);
}

TEST(use_by_user)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    begin(s);
    add(s, (struct store_job){ .user = "nobody" });
    CHECK_OK(store_use_set(s, "bob", 1.5, 10, &err), &err);
    CHECK_OK(store_use_set(s, "ann", 2.25, 20, &err), &err);
    CHECK_OK(store_use_set(s, "bob", 3.5, 30, &err), &err);
    commit(s);
    s = reopen(s);
    CHECK_OK(store_use_each(s, uses, &b, &err), &err);
    CHECK_STR(buf_data(&b), "bob 3.500 30;ann 2.250 20;");
    buf_fini(&b);
    store_close(s);
}

struct nested {
    struct store *s;
    int64_t again, below;
};

static bool nest(void *arg, const struct store_job *j)
{
    struct nested *n = arg;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    n->again = store_job_get(n->s, j->id, describe, &b, &err);
    n->below = store_attempt_each(n->s, j->id, attempts, &b, &err);
    CHECK_STR(j->name, "still there");
    buf_fini(&b);
    return true;
}

TEST(a_callback_may_read_other_things)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct nested n = { s, 9, 9 };

    begin(s);
    add(s, (struct store_job){ .name = "still there" });
    commit(s);
    CHECK_OK(store_job_list(s, &(struct store_filter){ 0 }, nest, &n, &err), &err);
    CHECK_INT(n.below, 0);
    CHECK_INT(n.again, -1); /* refused, not mixed up: a listing reads job by job */
    store_close(s);
}

static void note_first(void *arg, const struct store_job *j)
{
    *(int64_t *)arg = j->first;
}

static bool ask_array(void *arg, const struct store_job *j)
{
    struct nested *n = arg;
    struct err err = ERR_INIT;

    CHECK_INT(store_array_get(n->s, j->array_id, note_first, &n->below, &err), 1);
    CHECK_STR(j->name, "a task");
    return true;
}

TEST(a_callback_may_ask_for_the_array_of_its_task)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct nested n = { s, 0, 0 };

    begin(s);
    add(s, (struct store_job){ .is_array = true, .first = 17 });
    add(s, (struct store_job){ .array_id = 1, .task = 17, .name = "a task" });
    commit(s);
    CHECK_OK(store_job_list(s, &(struct store_filter){ .array_id = 1 }, ask_array, &n, &err), &err);
    CHECK_INT(n.below, 17);
    CHECK_INT(store_array_get(s, 99, note_first, &n.below, &err), 0);
    store_close(s);
}

static bool note_task(void *arg, int64_t task)
{
    buf_printf(arg, "%d ", (int)task);
    return task < 9;
}

TEST(the_tasks_of_an_array_that_have_rows)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    static const int tasks[] = { 5, 2, 11, 7, 9, 0 };

    begin(s);
    add(s, (struct store_job){ .is_array = true });
    add(s, (struct store_job){ .is_array = true });
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        add(s, (struct store_job){ .array_id = 1, .task = tasks[i], .status = (int)i });
    add(s, (struct store_job){ .array_id = 2, .task = 6 });
    commit(s);
    CHECK_OK(store_task_each(s, 1, 2, note_task, &b, &err), &err);
    CHECK_STR(buf_data(&b), "2 5 7 9 ");
    buf_clear(&b);
    CHECK_OK(store_task_each(s, 1, 12, note_task, &b, &err), &err);
    CHECK_OK(store_task_each(s, 3, 0, note_task, &b, &err), &err);
    CHECK_STR(buf_data(&b), "");
    buf_fini(&b);
    store_close(s);
}
