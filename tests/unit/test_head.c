/* SPDX-License-Identifier: BSD-2-Clause */
/* The head, event by event: what a job becomes, what is stored, and what survives a restart. */
#include "unit/head_rig.h"

#include "base/limits.h"
#include "sys/sample.h"
#include "sys/sys.h"

static struct rig r;

static void check_json(const char *json, const char *part)
{
    if (!strstr(json, part))
        unit_fail(__FILE__, __LINE__, "no %s in %s", part, json);
}

static void check_object(int64_t id, const char *part)
{
    char *json = rig_object(&r, id);

    check_json(json, part);
    free(json);
}

static void end_with(int64_t id, enum attempt_outcome outcome, int code)
{
    rig_end(rig_shim(id, 0), outcome, code);
    rig_turns(&r);
}

static void submit_n(const char *json, int n)
{
    for (int i = 0; i < n; i++)
        rig_submit(&r, json);
}

/* --- the life of a job --- */

TEST(a_job_runs_and_ends)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'name':'x'}");

    CHECK_INT(rig_status(&r, id), JOB_RUNNING);
    CHECK(rig_shim(id, 1));
    end_with(id, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    CHECK_INT(rig_row(&r, id).exit_code, 0);
    CHECK_INT(map_count(&r.head->jobs), 0);
    rig_fini(&r);
}

TEST(each_outcome_has_its_status)
{
    static const struct {
        enum attempt_outcome outcome;
        int code, status, killed_status;
    } rows[] = {
        { ATTEMPT_EXITED, 0, JOB_SUCCEEDED, JOB_SUCCEEDED },
        { ATTEMPT_EXITED, 3, JOB_FAILED, JOB_CANCELLED },
        { ATTEMPT_SIGNALED, -1, JOB_FAILED, JOB_CANCELLED },
        { ATTEMPT_TIMEOUT, -1, JOB_TIMEOUT, JOB_CANCELLED },
        { ATTEMPT_OOM, -1, JOB_OOM, JOB_CANCELLED },
        { ATTEMPT_NOT_RUN, 127, JOB_FAILED, JOB_CANCELLED },
        { ATTEMPT_LOST, -1, JOB_LOST, JOB_CANCELLED },
        { ATTEMPT_CANCELLED, -1, JOB_CANCELLED, JOB_CANCELLED },
    };

    rig_init(&r, "2");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t plain = rig_submit(&r, "{}"), killed = rig_submit(&r, "{'retry':3}");
        CHECK_INT(rig_change(&r, HEAD_CANCEL, killed, -1), ERR_NONE);
        CHECK(rig_shim(killed, 1)->killed);
        check_object(killed, "\"reason\":\"cancelling\"");
        rig_end(rig_shim(plain, 0), rows[i].outcome, rows[i].code);
        end_with(killed, rows[i].outcome, rows[i].code);
        CHECK_INT(rig_status(&r, plain), rows[i].status);
        CHECK_INT(rig_status(&r, killed), rows[i].killed_status);
        CHECK_INT(rig_row(&r, killed).attempts, 1);
        if (rows[i].killed_status == JOB_CANCELLED)
            CHECK_STR(rig_row(&r, killed).reason, "cancelled by user");
    }
    rig_fini(&r);
}

TEST(a_cancel_in_the_turn_in_which_the_job_ends_takes_its_retries)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'retry':3}");
    struct answer a = { .op.done = rig_answered };
    struct err err = ERR_INIT;

    rig_end(rig_shim(id, 1), ATTEMPT_EXITED, 1);
    rig_report();
    CHECK_OK(head_change(r.head, HEAD_CANCEL, id, -1, 0, &a.op, &err), &err);
    rig_turns(&r);
    CHECK(a.done && !a.failed);
    CHECK_INT(rig_status(&r, id), JOB_CANCELLED);
    CHECK_INT(rig_world.ordered, 1);
    rig_fini(&r);
}

TEST(retries_are_made_and_counted)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'retry':2,'retry_delay':'10s'}");

    end_with(id, ATTEMPT_EXITED, 1);
    CHECK_INT(rig_status(&r, id), JOB_QUEUED);
    check_object(id, "\"reason\":\"retry in 10s\"");
    rig_pass(&r, 9 * NS_PER_S);
    CHECK(!rig_shim(id, 0));
    rig_restart(&r);
    CHECK(!rig_shim(id, 0));
    rig_pass(&r, 2 * NS_PER_S);
    CHECK(rig_shim(id, 2));
    end_with(id, ATTEMPT_SIGNALED, -1);
    rig_pass(&r, 11 * NS_PER_S);
    end_with(id, ATTEMPT_TIMEOUT, -1);
    CHECK_INT(rig_status(&r, id), JOB_TIMEOUT);
    CHECK_INT(rig_row(&r, id).attempts, 3);
    CHECK_INT(rig_row(&r, id).retries_left, 0);
    rig_fini(&r);
}

TEST(delays_of_any_length_wake_in_their_order)
{
    static const char *const delays[] = { "5s", "1s", "9s", "3s", "7s", "1s", "106751d", "4s" };
    int64_t ids[ARRAY_LEN(delays)];

    rig_init(&r, "8");
    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        char *json = mem_printf("{'retry':1,'retry_delay':'%s'}", delays[i]);
        ids[i] = rig_submit(&r, json);
        free(json);
    }
    for (size_t i = 0; i < ARRAY_LEN(delays); i++)
        end_with(ids[i], ATTEMPT_EXITED, 1);
    for (int s = 1; s <= 10; s++) {
        rig_pass(&r, NS_PER_S);
        for (size_t i = 0; i < ARRAY_LEN(delays); i++)
            CHECK_INT(rig_shim(ids[i], 2) != NULL, i != 6 && s >= delays[i][0] - '0');
    }
    CHECK_INT(rig_change(&r, HEAD_CANCEL, ids[6], -1), ERR_NONE);
    rig_fini(&r);
}

TEST(what_is_lost_follows_the_policy)
{
    rig_init(&r, "4");
    int64_t hold = rig_submit(&r, "{'retry':1}"), again = rig_submit(&r, "{'on_lost':'requeue'}");

    end_with(hold, ATTEMPT_LOST, -1);
    CHECK_INT(rig_status(&r, hold), JOB_LOST);
    CHECK(rig_row(&r, hold).finished_ns > 0);
    end_with(again, ATTEMPT_LOST, -1);
    CHECK_INT(rig_status(&r, again), JOB_RUNNING);
    CHECK(rig_shim(again, 2));
    rig_set(&r, CONF_jobs_on_lost, "requeue");
    int64_t setting = rig_submit(&r, "{}"), own = rig_submit(&r, "{'on_lost':'hold'}");
    end_with(setting, ATTEMPT_LOST, -1);
    end_with(own, ATTEMPT_LOST, -1);
    CHECK_INT(rig_status(&r, setting), JOB_RUNNING);
    CHECK_INT(rig_status(&r, own), JOB_LOST);
    rig_fini(&r);
}

/* What the store has to say of the last start of the machine changes. */
static void reboot(void)
{
    struct store *s = head_store(r.head);
    struct err err = ERR_INIT;
    int64_t boot;

    CHECK_OK(store_begin(s, &err), &err);
    CHECK_OK(store_meta_get_int(s, "boot", 0, &boot, &err), &err);
    CHECK(boot > 0);
    CHECK_OK(store_meta_set_int(s, "boot", boot ^ 4, &err), &err);
    CHECK_OK(store_commit(s, &err), &err);
}

static bool lost_in_reboot(void *arg, const struct store_attempt *a)
{
    *(bool *)arg = a->outcome == ATTEMPT_LOST && str_eq(a->message, NODE_REBOOTED);
    return true;
}

/* Nothing was left of either attempt: without a restart of the machine that means it never began. */
TEST(what_ran_when_the_machine_was_restarted_is_lost)
{
    struct err err = ERR_INIT;
    bool told = false;

    rig_init(&r, "2");
    int64_t hold = rig_submit(&r, "{}"), again = rig_submit(&r, "{'on_lost':'requeue'}");
    rig_crash(&r);
    CHECK_INT(rig_status(&r, hold), JOB_RUNNING);
    CHECK(rig_shim(hold, 2) && rig_shim(again, 2));

    reboot();
    r.head->broken = true;
    head_destroy(r.head);
    CHECK_OK(rig_open(&r, &err), &err);
    rig_crash(&r); /* before it wrote down what it found */
    CHECK_INT(rig_status(&r, hold), JOB_LOST);
    CHECK_OK(store_attempt_each(head_store(r.head), hold, lost_in_reboot, &told, &err), &err);
    CHECK(told);
    CHECK_INT(rig_row(&r, hold).attempts, 2);
    CHECK_INT(rig_status(&r, again), JOB_RUNNING);
    CHECK(rig_shim(again, 3));

    /* That one was ordered since. */
    rig_crash(&r);
    CHECK(rig_shim(again, 4));
    rig_end(rig_shim(again, 4), ATTEMPT_EXITED, 0);
    rig_turns(&r);
    CHECK_INT(rig_status(&r, again), JOB_SUCCEEDED);
    rig_fini(&r);
}

TEST(an_attempt_that_cannot_be_ordered_is_an_end)
{
    rig_init(&r, "2");
    rig_world.refuse_run = 2;
    int64_t id = rig_submit(&r, "{'retry':1}");

    rig_turns(&r);
    CHECK_INT(rig_status(&r, id), JOB_FAILED);
    CHECK_STR(rig_row(&r, id).reason, "the test says no");
    CHECK_INT(rig_row(&r, id).exit_code, 125);
    CHECK_INT(rig_row(&r, id).attempts, 2);
    rig_fini(&r);
}

TEST(default_timeout_and_limits_of_time)
{
    rig_init(&r, "4");
    rig_set(&r, CONF_jobs_default_timeout, "1h");
    int64_t a = rig_submit(&r, "{}"), b = rig_submit(&r, "{'timeout':'5s'}");
    int64_t c = rig_submit(&r, "{'timeout':'106751d','retry':1,'retry_delay':'106751d'}");

    CHECK_INT(rig_row(&r, a).timeout_ns, 3600 * NS_PER_S);
    CHECK_INT(rig_row(&r, b).timeout_ns, 5 * NS_PER_S);
    r.wall_ns -= 10 * NS_PER_S; /* started in the future */
    rig_restart(&r);
    CHECK_INT(rig_status(&r, c), JOB_RUNNING);
    end_with(c, ATTEMPT_EXITED, 1);
    CHECK_INT(rig_status(&r, c), JOB_QUEUED);
    rig_restart(&r);
    rig_pass(&r, 3600 * NS_PER_S);
    CHECK_INT(rig_status(&r, c), JOB_QUEUED);
    rig_fini(&r);
}

/* --- changes --- */

TEST(hold_and_release)
{
    rig_init(&r, "1");
    int64_t running = rig_submit(&r, "{}"), id = rig_submit(&r, "{}");
    int64_t held = rig_submit(&r, "{'hold':true}");

    CHECK_INT(rig_change(&r, HEAD_HOLD, running, -1), ERR_CONFLICT);
    CHECK_INT(rig_change(&r, HEAD_HOLD, id, -1), ERR_NONE);
    rig_shim(running, 1)->begun = true;
    rig_restart(&r);
    end_with(running, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_world.ordered, 1);
    check_object(held, "\"reason\":\"held; release it with: hive release\"");
    CHECK_INT(rig_change(&r, HEAD_RELEASE, held, -1), ERR_NONE);
    CHECK(rig_shim(held, 1));
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NONE);
    CHECK_INT(rig_change(&r, HEAD_RELEASE, id, -1), ERR_CONFLICT);
    CHECK_INT(rig_change(&r, HEAD_RELEASE, 999, -1), ERR_NOT_FOUND);
    rig_fini(&r);
}

/* Ids can be guessed: a change may come in the turn of the submit. */
TEST(a_hold_in_the_turn_of_the_submit_is_stored)
{
    rig_init(&r, "1");
    struct answer a, b = { .op.done = rig_answered };
    struct err err = ERR_INIT;
    int64_t id = rig_stage(&r, "{}", &a, NULL);

    CHECK_OK(head_change(r.head, HEAD_HOLD, id, -1, 0, &b.op, &err), &err);
    rig_turns(&r);
    CHECK(a.done && b.done && !a.failed && !b.failed);
    CHECK(rig_row(&r, id).held);
    rig_restart(&r);
    CHECK_INT(rig_world.ordered, 0);
    rig_fini(&r);
}

TEST(a_cancel_in_the_turn_of_the_submit)
{
    rig_init(&r, "1");
    struct answer a, b = { .op.done = rig_answered };
    struct err err = ERR_INIT;
    int64_t id = rig_stage(&r, "{}", &a, NULL);

    CHECK_OK(head_change(r.head, HEAD_CANCEL, id, -1, 0, &b.op, &err), &err);
    CHECK(head_change(r.head, HEAD_CANCEL, id, -1, 0, &b.op, &err) != 0);
    CHECK_INT(err.kind, ERR_CONFLICT);
    rig_turns(&r);
    CHECK_INT(rig_status(&r, id), JOB_CANCELLED);
    CHECK_INT(rig_world.ordered, 0);
    rig_fini(&r);
}

TEST(a_cancel_is_remembered_over_a_restart)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{'retry':5}");

    rig_turns(&r);
    rig_shim(id, 1)->begun = true;
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NONE);
    rig_shim(id, 1)->killed = false;
    rig_restart(&r);
    CHECK(rig_shim(id, 1)->killed);
    end_with(id, ATTEMPT_EXITED, 1);
    CHECK_INT(rig_status(&r, id), JOB_CANCELLED);
    rig_fini(&r);
}

TEST(a_job_that_ended_can_be_retried)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{}");

    CHECK_INT(rig_change(&r, HEAD_RETRY, id, -1), ERR_CONFLICT);
    end_with(id, ATTEMPT_EXITED, 1);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_CONFLICT);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, -1), ERR_NONE);
    CHECK(rig_shim(id, 2));
    end_with(id, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, -1), ERR_NONE);
    end_with(id, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_row(&r, id).attempts, 3);
    rig_fini(&r);
}

/* --- idempotency --- */

TEST(a_key_stands_for_one_submit)
{
    rig_init(&r, "1");
    struct answer a, b, c;
    int64_t first = rig_stage(&r, "{'name':'aaaa'}", &a, "k");

    CHECK_INT(rig_stage(&r, "{'name':'aaaa'}", &b, "k"), first); /* in the same turn */
    CHECK_INT(rig_stage(&r, "{'name':'bbbbb'}", &c, "k"), 0);
    CHECK_INT(c.err.kind, ERR_UNPROCESS);
    rig_turns(&r);
    CHECK(a.done && b.done && !a.failed && !b.failed);
    CHECK_INT(rig_stage(&r, "{'name':'aaaa'}", &b, "k"), first);
    rig_shim(first, 1)->begun = true;
    rig_restart(&r); /* ends the turn first */
    CHECK(b.done);
    CHECK_INT(rig_stage(&r, "{'name':'aaaa'}", &b, "k"), first);
    rig_turns(&r);
    CHECK_INT(rig_world.ordered, 1);
    rig_fini(&r);
}

/* --- dependencies --- */

TEST(dependencies_release_and_cancel)
{
    rig_init(&r, "8");
    int64_t a = rig_submit(&r, "{}"), b = rig_submit(&r, "{}");
    int64_t ok = rig_submit(&r, "{'after':['1','2:any','1:ok']}");
    int64_t fail = rig_submit(&r, "{'after':['2:fail']}");
    int64_t not_ok = rig_submit(&r, "{'after':['1','2']}");
    int64_t chain = rig_submit(&r, "{'after':['5']}");
    int64_t any = rig_submit(&r, "{'after':['5:any']}");

    check_object(not_ok, "\"reason\":\"waiting for job 1, 2\"");
    rig_restart(&r);
    end_with(a, ATTEMPT_EXITED, 0);
    rig_restart(&r);
    CHECK(!rig_shim(ok, 0) && !rig_shim(fail, 0) && !rig_shim(not_ok, 0));
    check_object(not_ok, "\"reason\":\"waiting for job 2\"");
    end_with(b, ATTEMPT_EXITED, 7);
    CHECK(rig_shim(ok, 1) && rig_shim(fail, 1) && rig_shim(any, 1));
    CHECK_INT(rig_status(&r, not_ok), JOB_CANCELLED);
    CHECK_STR(rig_row(&r, not_ok).reason, "job 2, which it waits for, ended as failed");
    CHECK_INT(rig_status(&r, chain), JOB_CANCELLED);
    CHECK_STR(rig_row(&r, chain).reason, "job 5, which it waits for, ended as cancelled");
    CHECK_INT(map_count(&r.head->dependents), 0);
    rig_fini(&r);
}

TEST(a_dependency_that_has_ended_counts_at_submit)
{
    rig_init(&r, "8");
    int64_t a = rig_submit(&r, "{}");
    struct answer refused;

    end_with(a, ATTEMPT_EXITED, 1);
    int64_t dead = rig_submit(&r, "{'after':['1']}"), live = rig_submit(&r, "{'after':['1:any']}");
    int64_t array = rig_submit(&r, "{'after':['1'],'array':'1-10'}");
    CHECK_INT(rig_status(&r, dead), JOB_CANCELLED);
    CHECK_INT(rig_status(&r, live), JOB_RUNNING);
    CHECK_INT(rig_status(&r, array), JOB_CANCELLED);
    CHECK_INT(rig_row(&r, array).n_cancelled, 10);
    CHECK_INT(rig_stage(&r, "{'after':['77']}", &refused, NULL), 0);
    CHECK_INT(refused.err.kind, ERR_UNPROCESS);
    rig_fini(&r);
}

TEST(a_dependency_in_the_same_turn)
{
    rig_init(&r, "1");
    struct answer a, b, c = { .op.done = rig_answered };
    struct err err = ERR_INIT;
    int64_t first = rig_stage(&r, "{}", &a, NULL), second = rig_stage(&r, "{'after':['1']}", &b, 0);

    CHECK_OK(head_change(r.head, HEAD_CANCEL, first, -1, 0, &c.op, &err), &err);
    rig_turns(&r);
    CHECK_INT(rig_status(&r, second), JOB_CANCELLED);
    rig_fini(&r);
}

TEST(a_job_that_was_retried_waits_for_nobody_any_more)
{
    rig_init(&r, "1");
    int64_t a = rig_submit(&r, "{}"), b = rig_submit(&r, "{'after':['1']}");
    int64_t array = rig_submit(&r, "{'after':['1'],'array':'1-3'}");

    end_with(a, ATTEMPT_EXITED, 1);
    int64_t blocker = rig_submit(&r, "{'priority':9}");
    CHECK_INT(rig_change(&r, HEAD_RETRY, b, -1), ERR_NONE);
    CHECK_INT(rig_change(&r, HEAD_RETRY, array, -1), ERR_NONE);
    CHECK_INT(rig_status(&r, b), JOB_QUEUED);
    rig_restart(&r); /* reads the dependency again, which failed */
    CHECK_INT(rig_status(&r, b), JOB_QUEUED);
    CHECK_INT(rig_status(&r, array), JOB_QUEUED);
    end_with(blocker, ATTEMPT_EXITED, 0);
    CHECK(rig_shim(b, 1));
    rig_fini(&r);
}

TEST(what_was_met_stays_met)
{
    rig_init(&r, "8");
    int64_t a = rig_submit(&r, "{}"), b = rig_submit(&r, "{}");
    int64_t id = rig_submit(&r, "{'after':['1:fail','2','1']}");
    int64_t other = rig_submit(&r, "{'after':['1:fail','2']}");
    int64_t held = rig_submit(&r, "{'after':['1:fail'],'hold':true}");

    end_with(a, ATTEMPT_EXITED, 1);
    CHECK_INT(rig_status(&r, id), JOB_CANCELLED);
    int64_t late = rig_submit(&r, "{'after':['1:fail','2']}");
    CHECK_INT(rig_change(&r, HEAD_RETRY, a, -1), ERR_NONE);
    end_with(a, ATTEMPT_EXITED, 0);
    rig_shim(b, 0)->begun = true;
    rig_restart(&r);
    CHECK_INT(rig_status(&r, other), JOB_QUEUED);
    end_with(b, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_status(&r, other), JOB_RUNNING);
    CHECK_INT(rig_status(&r, late), JOB_RUNNING);
    CHECK_INT(rig_change(&r, HEAD_RELEASE, held, -1), ERR_NONE);
    CHECK_INT(rig_status(&r, held), JOB_RUNNING);
    rig_fini(&r);
}

TEST(a_chain_of_100000_dependencies)
{
    enum { LENGTH = 100000 };
    struct buf b = BUF_INIT;

    rig_init(&r, "1");
    int64_t first = rig_submit(&r, "{'hold':true}");
    for (int part = 0; part < 10; part++) {
        /* ids of a bulk follow each other, but each must exist when the next is checked */
        for (int i = 0; i < LENGTH / 10; i++) {
            struct answer a;
            buf_clear(&b);
            buf_printf(&b, "{'after':['%d']}", part * (LENGTH / 10) + i + 1);
            CHECK(rig_stage(&r, buf_data(&b), &a, NULL) > 0);
            list_remove(&a.op.link); /* it goes out of scope */
        }
        rig_turns(&r);
    }
    CHECK_INT(map_count(&r.head->jobs), LENGTH + 1);
    rig_restart(&r);
    CHECK_INT(map_count(&r.head->jobs), LENGTH + 1);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, first, -1), ERR_NONE);
    CHECK_INT(map_count(&r.head->jobs), 0);
    CHECK_INT(rig_status(&r, LENGTH + 1), JOB_CANCELLED);
    buf_fini(&b);
    rig_fini(&r);
}

TEST(many_that_wait_for_one)
{
    enum { COUNT = 20000 };

    rig_init(&r, "1");
    int64_t first = rig_submit(&r, "{'hold':true}");
    for (int i = 0; i < COUNT; i++) {
        struct answer a;
        CHECK(rig_stage(&r, "{'after':['1']}", &a, NULL) > 0);
        list_remove(&a.op.link);
    }
    rig_turns(&r);
    for (int i = 0; i < COUNT; i++) { /* the oldest first: they stand at the front */
        struct answer a = { .op.done = rig_answered };
        CHECK(head_change(r.head, HEAD_CANCEL, first + 1 + i, -1, 0, &a.op, NULL) == 0);
        list_remove(&a.op.link);
        if (i % 100 == 99)
            rig_turn(&r);
    }
    CHECK_INT(map_count(&r.head->jobs), 1);
    struct head_dependents *d = map_get(&r.head->dependents, (uint64_t)first);
    CHECK(!d || d->count < 50);
    rig_fini(&r);
}

/* --- arrays --- */

static void check_array(int64_t id, int succeeded, int failed, int cancelled, int status)
{
    struct store_job row = rig_row(&r, id);

    CHECK_INT(row.n_succeeded, succeeded);
    CHECK_INT(row.n_failed, failed);
    CHECK_INT(row.n_cancelled, cancelled);
    CHECK_INT(row.status, status);
}

static void end_task(int64_t array, int64_t task, int code)
{
    end_with(rig_task(&r, array, task), ATTEMPT_EXITED, code);
}

TEST(an_array_runs_task_by_task)
{
    rig_init(&r, "8");
    int64_t id = rig_submit(&r, "{'array':'3-9:2%2','command':'x $HIVE_TASK_ID'}");

    CHECK_INT(rig_world.ordered, 2);
    check_object(id, "\"array\":{\"id\":\"1\",\"first\":3,\"last\":9,\"step\":2,\"limit\":2,"
                     "\"total\":4,\"queued\":2,\"running\":2");
    end_task(id, 3, 0);
    CHECK(rig_row(&r, id).started_ns > 0);
    check_object(rig_task(&r, id, 5), "\"name\":\"x\"");
    check_object(rig_task(&r, id, 5), "\"command\":\"x $HIVE_TASK_ID\"");
    check_object(rig_task(&r, id, 5), "\"id\":\"1_5\"");
    end_task(id, 5, 1);
    rig_restart(&r);
    CHECK_INT(rig_world.ordered, 6); /* the two that had not begun were begun again */
    end_task(id, 7, 0);
    end_task(id, 9, 0);
    check_array(id, 3, 1, 0, JOB_FAILED);
    CHECK_INT(map_count(&r.head->jobs), 0);
    rig_fini(&r);
}

TEST(an_array_that_was_cancelled_does_not_go_on)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'array':'1-100'}");

    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 50), ERR_NONE);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 50), ERR_CONFLICT);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 101), ERR_NOT_FOUND);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NONE);
    check_array(id, 0, 0, 98, JOB_RUNNING);
    rig_shim(rig_task(&r, id, 1), 0)->begun = rig_shim(rig_task(&r, id, 2), 0)->begun = true;
    rig_restart(&r);
    check_array(id, 0, 0, 98, JOB_RUNNING);
    end_task(id, 1, 0);
    check_array(id, 1, 0, 98, JOB_RUNNING);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 60), ERR_CONFLICT); /* with the others */
    end_task(id, 2, 9);
    check_array(id, 1, 0, 99, JOB_CANCELLED);
    CHECK_STR(rig_row(&r, id).reason, "cancelled by user");
    CHECK_INT(rig_world.ordered, 2);
    rig_fini(&r);
}

TEST(a_task_of_a_cancelled_array_is_retried_alone)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'array':'1-10'}");

    end_task(id, 1, 4);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NONE);
    end_task(id, 2, 4);
    end_task(id, 3, 4);
    check_array(id, 0, 1, 9, JOB_FAILED);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, 1), ERR_NONE);
    rig_turns(&r);
    check_array(id, 0, 0, 9, JOB_RUNNING);
    CHECK_INT(node_running(NULL), 1);
    rig_restart(&r);
    CHECK_INT(node_running(NULL), 1);
    end_task(id, 1, 0);
    check_array(id, 1, 0, 9, JOB_CANCELLED);
    CHECK_INT(node_running(NULL), 0);
    rig_fini(&r);
}

TEST(a_cancelled_array_is_retried_as_a_whole)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'array':'1-6'}");

    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 4), ERR_NONE);
    end_task(id, 1, 0);
    end_task(id, 2, 4);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NONE);
    end_task(id, 3, 4);
    end_task(id, 5, 0);
    check_array(id, 2, 1, 3, JOB_FAILED);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, -1), ERR_NONE);
    rig_restart(&r);
    for (int i = 2; i <= 6; i++)
        if (i != 5)
            end_task(id, i, 0);
    check_array(id, 6, 0, 0, JOB_SUCCEEDED);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, -1), ERR_CONFLICT);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, 3), ERR_NONE);
    rig_turns(&r);
    CHECK_INT(node_running(NULL), 1);
    end_task(id, 3, 1);
    check_array(id, 5, 1, 0, JOB_FAILED);
    rig_fini(&r);
}

/* A task with a row although the array has not come to it yet: it must not get a second one. */
TEST(a_task_that_was_cancelled_alone_and_retried)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{'array':'1-4'}");

    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 3), ERR_NONE);
    CHECK_STR(rig_row(&r, rig_task(&r, id, 3)).reason, "cancelled by user");
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, 3), ERR_NONE);
    rig_restart(&r);
    CHECK_INT(node_running(NULL), 1);
    rig_restart(&r);
    for (int i = 0; i < 4; i++) {
        struct shim *s = CONTAINER_OF(rig_world.shims.next, struct shim, link);
        CHECK(!list_empty(&rig_world.shims));
        end_with(s->key.job, ATTEMPT_EXITED, 0);
        rig_restart(&r);
    }
    check_array(id, 4, 0, 0, JOB_SUCCEEDED);
    rig_fini(&r);
}

TEST(a_task_skipped_at_the_end_of_an_array_is_retried)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{'array':'1-3'}");

    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 2), ERR_NONE);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 3), ERR_NONE);
    end_task(id, 1, 0);
    check_array(id, 1, 0, 2, JOB_CANCELLED);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, 2), ERR_NONE);
    rig_restart(&r);
    end_task(id, 2, 0);
    check_array(id, 2, 0, 1, JOB_CANCELLED);
    CHECK_INT(rig_world.ordered, 3);
    rig_fini(&r);
}

TEST(an_array_is_cancelled_while_its_tasks_wait_for_a_retry)
{
    rig_init(&r, "3");
    int64_t id = rig_submit(&r, "{'array':'1-3','retry':2,'retry_delay':'10s'}");

    end_task(id, 1, 1);
    end_task(id, 2, 1);
    rig_pass(&r, 5 * NS_PER_S);
    CHECK_INT(rig_status(&r, rig_task(&r, id, 1)), JOB_QUEUED);
    CHECK_INT(rig_change(&r, HEAD_HOLD, id, -1), ERR_NONE);
    rig_pass(&r, 6 * NS_PER_S); /* both stand in the array's line, which is held */
    CHECK_INT(node_running(NULL), 1);
    end_task(id, 3, 1);
    CHECK_INT(rig_status(&r, id), JOB_QUEUED);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NONE);
    check_array(id, 0, 0, 3, JOB_CANCELLED);
    rig_pass(&r, 20 * NS_PER_S);
    CHECK_INT(node_running(NULL), 0);
    CHECK_INT(map_count(&r.head->jobs), 0);
    rig_fini(&r);
}

TEST(a_dependency_on_an_array)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'array':'1-2'}"), ok = rig_submit(&r, "{'after':['1']}");
    int64_t fail = rig_submit(&r, "{'after':['1:fail']}");
    struct answer a;

    CHECK_INT(rig_stage(&r, "{'after':['3']}", &a, NULL), 0); /* a task has no dependents */
    CHECK_INT(rig_task(&r, id, 2), 3);
    end_task(id, 1, 0);
    CHECK(!rig_shim(ok, 0));
    end_task(id, 2, 0);
    CHECK(rig_shim(ok, 1));
    CHECK_INT(rig_status(&r, fail), JOB_CANCELLED);
    rig_fini(&r);
}

/* The task waits in the array's line although the array still waits for another job. */
TEST(an_array_whose_dependency_fails_while_a_retried_task_waits)
{
    rig_init(&r, "2");
    int64_t a = rig_submit(&r, "{}"), id = rig_submit(&r, "{'after':['1'],'array':'1-3'}");

    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 2), ERR_NONE);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, 2), ERR_NONE);
    CHECK_INT(rig_status(&r, rig_task(&r, id, 2)), JOB_QUEUED);
    end_with(a, ATTEMPT_EXITED, 1);
    check_array(id, 0, 0, 3, JOB_CANCELLED);
    CHECK_INT(rig_status(&r, rig_task(&r, id, 2)), JOB_CANCELLED);
    CHECK_INT(map_count(&r.head->jobs), 0);
    rig_fini(&r);
}

TEST(an_array_of_lines)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'lines':['a b','c'],'command':'echo {}'}");

    CHECK_STR(rig_shim(rig_task(&r, id, 1), 1)->command, "echo 'a b'");
    CHECK_STR(rig_shim(rig_task(&r, id, 2), 1)->command, "echo c");
    rig_fini(&r);
}

/* --- what is kept --- */

TEST(priority_and_fair_share_survive_a_restart)
{
    rig_init(&r, "1");
    int64_t running = rig_submit(&r, "{}"), low = rig_submit(&r, "{}");
    int64_t high = rig_submit(&r, "{'priority':7}");
    int32_t ann = sched_user(r.head->sched, "ann");

    rig_pass(&r, 100 * NS_PER_S);
    end_with(running, ATTEMPT_EXITED, 0);
    double use = sched_user_use(r.head->sched, ann, r.mono_ns);
    CHECK(use > 99 && use < 101);
    rig_shim(high, 1)->begun = true;
    rig_restart(&r);
    CHECK(!rig_shim(low, 0));
    CHECK_INT(rig_row(&r, high).priority, 7);
    double after = sched_user_use(r.head->sched, sched_user(r.head->sched, "ann"), r.mono_ns);
    CHECK(after > use - 1 && after < use + 1);
    rig_pass(&r, 24 * 3600 * NS_PER_S); /* the half-life */
    end_with(high, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, low, -1), ERR_NONE);
    rig_fini(&r);
}

/* A machine that was started just now: the monotonic clock is younger than the use. */
TEST(fair_share_decays_while_the_machine_is_off)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{}");

    rig_pass(&r, 1000 * NS_PER_S);
    end_with(id, ATTEMPT_EXITED, 0);
    rig_restart(&r);
    head_destroy(r.head);
    r.mono_ns = NS_PER_S;
    r.wall_ns += 48 * 3600 * NS_PER_S;
    struct err err = ERR_INIT;
    CHECK_OK(rig_open(&r, &err), &err);
    double use = sched_user_use(r.head->sched, sched_user(r.head->sched, "ann"), r.mono_ns);
    CHECK(use > 240 && use < 260);
    rig_fini(&r);
}

TEST(use_is_stored_even_if_nothing_ends_later)
{
    rig_init(&r, "1");
    int64_t a = rig_submit(&r, "{}");

    end_with(a, ATTEMPT_EXITED, 0); /* the first is written at once */
    int64_t b = rig_submit(&r, "{}");
    rig_pass(&r, 20 * NS_PER_S);
    end_with(b, ATTEMPT_EXITED, 0);
    CHECK_INT(map_count(&r.head->use_changed), 1);
    rig_pass(&r, 11 * NS_PER_S);
    CHECK_INT(map_count(&r.head->use_changed), 0);
    rig_fini(&r);
}

static char *output_file(int64_t job)
{
    return mem_printf("%s/attempts/0/%d.1.out", r.state_dir, (int)job);
}

static void make_output(int64_t job)
{
    char *up = mem_printf("%s/attempts", r.state_dir),
         *zero = mem_printf("%s/attempts/0", r.state_dir);
    char *out = output_file(job);

    mkdir(up, 0700);
    mkdir(zero, 0700);
    FILE *f = fopen(out, "w");
    CHECK(f);
    fclose(f);
    free(up);
    free(zero);
    free(out);
}

static bool has_output(int64_t job)
{
    char *out = output_file(job);
    bool found = access(out, F_OK) == 0;
    free(out);
    return found;
}

static bool has_row(int64_t id)
{
    struct store_job row;
    return store_job_get(head_store(r.head), id, rig_take_row, &row, NULL) == 1;
}

TEST(history_is_pruned_with_its_output)
{
    rig_init(&r, "4");
    rig_set(&r, CONF_history_keep, "1h");
    int64_t old = rig_submit(&r, "{}");
    make_output(old);
    end_with(old, ATTEMPT_EXITED, 0);
    int64_t later = rig_submit(&r, "{}"), live = rig_submit(&r, "{}");
    rig_pass(&r, 3000 * NS_PER_S);
    end_with(later, ATTEMPT_EXITED, 0);
    rig_pass(&r, 1000 * NS_PER_S);
    rig_pass(&r, 61 * NS_PER_S);
    CHECK(!has_row(old) && !has_output(old));
    CHECK(has_row(later) && has_row(live));
    rig_fini(&r);
}

TEST(history_is_limited_in_number)
{
    rig_init(&r, "1");
    rig_set(&r, CONF_history_max_jobs, "3");
    submit_n("{}", 450);
    for (int i = 1; i <= 450; i++)
        end_with(i, ATTEMPT_EXITED, 0);
    for (int i = 0; i < 10; i++) { /* in steps */
        rig_pass(&r, 61 * NS_PER_S);
        rig_pass(&r, NS_PER_S);
        rig_pass(&r, NS_PER_S);
    }
    CHECK(!has_row(447));
    CHECK(has_row(448) && has_row(450));
    rig_fini(&r);
}

TEST(a_node_says_what_was_measured)
{
    struct sample s = { .load = { 3.26, 0, 12 }, .memory = { .available = 7, .swap_total = 100 } };
    struct buf b = BUF_INIT;
    struct jsonw w;

    s.usable = (struct sample_cpu){ .user = 20.123, .kernel = 10, .iowait = 5.5, .idle = 64.377 };
    s.memory.swap_used = -1;
    s.cpu_pressure.some = s.memory_pressure.some = -1;
    s.io_pressure.some = 0.5;
    s.uptime_ns = 90 * NS_PER_S;
    s.users.count = 2;
    str_copy(s.users.names[0], sizeof(s.users.names[0]), "ann");
    str_copy(s.users.names[1], sizeof(s.users.names[1]), "bob");
    rig_init(&r, "2");
    rig_world.sample = &s;
    jsonw_init(&w, &b);
    jsonw_arr_open(&w, NULL);
    head_nodes(r.head, NULL, &w);
    jsonw_arr_close(&w);
    check_json(buf_data(&b), "\"memory_available_bytes\":7,\"cpu_percent\":30.12,"
                             "\"iowait_percent\":5.5,\"cores_percent\":[],\"load\":[3.26,0,12]");
    check_json(buf_data(&b), "\"swap_total_bytes\":100,\"swap_used_bytes\":null");
    check_json(buf_data(&b), "{\"cpu_percent\":null,\"memory_percent\":null,\"io_percent\":0.5}");
    check_json(buf_data(&b), "\"uptime_seconds\":90,\"users\":[\"ann\",\"bob\"]");
    rig_world.sample = NULL;
    buf_clear(&b);
    jsonw_init(&w, &b);
    jsonw_arr_open(&w, NULL);
    head_nodes(r.head, NULL, &w);
    jsonw_arr_close(&w);
    check_json(buf_data(&b), "\"iowait_percent\":null,\"cores_percent\":[],\"load\":[]");
    buf_fini(&b);
    rig_fini(&r);
}

/* 1 GiB is left of what is installed; the rest is used by others, or by our own job. */
TEST(memory_that_others_use_is_not_given_away)
{
    int64_t gib = INT64_C(1) << 30, total = sys_memory_total();
    struct sample s = { .memory = { .total = total, .available = gib } };

    if (total < 6 * gib)
        return; /* a machine where the system's share is all there is */
    rig_world.memory = "0";
    rig_world.sample = &s;
    rig_init(&r, "4");
    rig_pass(&r, 11 * NS_PER_S);
    char *small = mem_printf("{'memory':%lld}", (long long)(512 << 20));
    char *large = mem_printf("{'memory':%lld}", (long long)(total / 2));
    int64_t a = rig_submit(&r, small), b = rig_submit(&r, large);
    rig_turns(&r);
    CHECK_INT(rig_status(&r, a), JOB_RUNNING);
    CHECK_INT(rig_status(&r, b), JOB_QUEUED);
    char *object = rig_object(&r, b);
    CHECK(strstr(object, "memory, ") && strstr(object, "free on n1"));
    s.memory.available = total - gib;
    rig_pass(&r, 11 * NS_PER_S);
    CHECK_INT(rig_status(&r, b), JOB_RUNNING);
    rig_world.memory = NULL;
    rig_world.sample = NULL;
    free(object);
    free(small);
    free(large);
    rig_fini(&r);
}

/* Rows without files are pruned again; files without rows would never be. */
TEST(output_goes_before_the_rows_that_lead_to_it)
{
    rig_init(&r, "4");
    rig_set(&r, CONF_history_keep, "1h");
    int64_t old = rig_submit(&r, "{}");
    make_output(old);
    end_with(old, ATTEMPT_EXITED, 0);
    rig_disk.fail_writes = SQLITE_FULL;
    rig_pass(&r, 4000 * NS_PER_S);
    rig_pass(&r, 61 * NS_PER_S);
    CHECK(has_row(old) && !has_output(old));
    rig_disk.fail_writes = 0;
    rig_crash(&r);
    rig_pass(&r, 61 * NS_PER_S);
    rig_pass(&r, 61 * NS_PER_S);
    CHECK(!has_row(old));
    rig_fini(&r);
}

TEST(a_retry_of_a_job_that_was_pruned)
{
    rig_init(&r, "1");
    rig_set(&r, CONF_history_keep, "1m");
    int64_t id = rig_submit(&r, "{}");

    end_with(id, ATTEMPT_EXITED, 1);
    rig_pass(&r, 200 * NS_PER_S);
    rig_pass(&r, 200 * NS_PER_S);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, -1), ERR_NOT_FOUND);
    rig_fini(&r);
}

/* --- the end of the daemon --- */

TEST(closing_starts_nothing_and_tells_nobody)
{
    rig_init(&r, "1");
    int64_t a = rig_submit(&r, "{}"), b = rig_submit(&r, "{}");

    rig_end(rig_shim(a, 1), ATTEMPT_EXITED, 0);
    rig_report();
    r.changes = 0;
    rig_restart(&r);
    CHECK_INT(rig_status(&r, a), JOB_SUCCEEDED);
    CHECK_INT(rig_row(&r, b).attempts, 1);
    CHECK_INT(rig_world.ordered, 2);
    rig_fini(&r);
}
