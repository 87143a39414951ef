/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Turns that can't be committed. What a client asked for in such a turn has not happened; what the
 * world did (an attempt ended) happens again, once.
 */
#include "unit/head_check.h"

static struct rig r;

static void disk_full(void)
{
    rig_disk.fail_writes = SQLITE_FULL;
}

static void disk_repaired(void)
{
    rig_disk.fail_writes = 0;
    rig_pass(&r, 2 * NS_PER_S);
    check_head(&r);
}

static enum err_kind stage_failing(const char *json)
{
    struct answer a;

    CHECK(rig_stage(&r, json, &a, NULL) > 0);
    rig_turns(&r);
    CHECK(a.done);
    check_head(&r);
    return a.failed ? a.err.kind : ERR_NONE;
}

static void end_failing(int64_t id, enum attempt_outcome outcome, int code)
{
    rig_end(rig_shim(id, 0), outcome, code);
    rig_turns(&r);
    check_head(&r);
}

TEST(a_submit_on_a_full_disk_leaves_no_trace)
{
    rig_init(&r, "2");
    rig_submit(&r, "{}");
    disk_full();
    CHECK_INT(stage_failing("{}"), ERR_NO_SPACE);
    CHECK_INT(stage_failing("[{'array':'1-5'},{'after':['1']},{'hold':true}]"), ERR_NO_SPACE);
    CHECK_INT(map_count(&r.head->jobs), 1);
    CHECK(map_count(&r.head->dependents) == 0);
    disk_repaired();
    CHECK_INT(rig_submit(&r, "{'after':['1']}"), 2); /* the ids were given back */
    check_head(&r);
    rig_restart(&r);
    check_head(&r);
    rig_fini(&r);
}

TEST(an_end_on_a_full_disk_is_kept)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{'retry':1}"), next = rig_submit(&r, "{}");

    disk_full();
    end_failing(id, ATTEMPT_EXITED, 1);
    CHECK_INT(rig_status(&r, id), JOB_RUNNING);
    for (int i = 0; i < 5; i++) {
        rig_pass(&r, NS_PER_S);
        check_head(&r);
    }
    CHECK_INT(rig_world.ordered, 1);
    disk_repaired();
    CHECK_INT(rig_world.ordered, 2);
    CHECK(rig_shim(id, 2));
    CHECK_INT(rig_row(&r, id).retries_left, 0);
    CHECK_INT(rig_status(&r, next), JOB_QUEUED);
    end_failing(id, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    rig_fini(&r);
}

/* The next try doesn't depend on which timer came first, nor on requests that go on failing. */
TEST(the_next_try_comes_whatever_else_happens)
{
    rig_init(&r, "2");
    int64_t soon = rig_submit(&r, "{'retry':1,'retry_delay':'1s'}"), id = rig_submit(&r, "{}");

    end_failing(soon, ATTEMPT_EXITED, 1);
    rig_pass(&r, 900 * NS_PER_MS);
    disk_full();
    end_failing(id, ATTEMPT_EXITED, 0);
    for (int i = 0; i < 4; i++) {
        rig_pass(&r, 200 * NS_PER_MS); /* meanwhile the retry is due */
        CHECK_INT(stage_failing("{}"), ERR_NO_SPACE);
    }
    rig_disk.fail_writes = 0;
    rig_pass(&r, 210 * NS_PER_MS);
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    CHECK_INT(rig_status(&r, soon), JOB_RUNNING);
    check_head(&r);
    rig_fini(&r);
}

/* No request comes: only the head's own timer can do it. */
TEST(the_head_wakes_itself)
{
    rig_init(&r, "2");
    int64_t soon = rig_submit(&r, "{'retry':1,'retry_delay':'1s'}"), id = rig_submit(&r, "{}");

    end_failing(soon, ATTEMPT_EXITED, 1);
    rig_pass(&r, 900 * NS_PER_MS);
    disk_full();
    end_failing(id, ATTEMPT_EXITED, 0);
    rig_disk.fail_writes = 0;
    for (int i = 0; i < 20; i++) { /* as long as a timer is armed */
        if (!ev_timer_armed(&r.head->timer))
            break;
        int64_t wait = r.head->timer.due_ns - r.mono_ns;
        if (wait > 2 * NS_PER_S)
            break;
        rig_pass(&r, wait > 0 ? wait : 0);
    }
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    CHECK_INT(rig_status(&r, soon), JOB_RUNNING);
    rig_fini(&r);
}

TEST(a_cancel_that_was_not_saved_has_not_happened)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{}"), queued = rig_submit(&r, "{'threads':2}");

    disk_full();
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NO_SPACE);
    check_head(&r);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, queued, -1), ERR_NO_SPACE);
    check_head(&r);
    CHECK_INT(rig_status(&r, queued), JOB_QUEUED);
    disk_repaired();
    CHECK(!rig_shim(id, 1)->killed);
    end_failing(id, ATTEMPT_EXITED, 1);
    CHECK_INT(rig_status(&r, id), JOB_FAILED);
    CHECK(rig_shim(queued, 1));
    rig_fini(&r);
}

/* A second cancel that fails must not undo the first. */
TEST(a_cancel_that_was_saved_stays)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{'retry':1}");
    struct answer a;

    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NONE);
    disk_full();
    CHECK(rig_stage(&r, "{}", &a, NULL) > 0);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NO_SPACE);
    check_head(&r);
    end_failing(id, ATTEMPT_EXITED, 1);
    disk_repaired();
    CHECK_INT(rig_status(&r, id), JOB_CANCELLED);
    rig_fini(&r);
}

TEST(changes_that_were_not_saved)
{
    rig_init(&r, "1");
    int64_t run = rig_submit(&r, "{}"), a = rig_submit(&r, "{}"),
            b = rig_submit(&r, "{'hold':true}");

    end_failing(run, ATTEMPT_EXITED, 1);
    end_failing(a, ATTEMPT_EXITED, 1);
    int64_t c = rig_submit(&r, "{}"), d = rig_submit(&r, "{}");
    disk_full();
    CHECK_INT(rig_change(&r, HEAD_RELEASE, b, -1), ERR_NO_SPACE);
    CHECK_INT(rig_change(&r, HEAD_HOLD, d, -1), ERR_NO_SPACE);
    CHECK_INT(rig_change(&r, HEAD_RETRY, run, -1), ERR_NO_SPACE);
    check_head(&r);
    CHECK_INT(rig_status(&r, run), JOB_FAILED);
    disk_repaired();
    CHECK(rig_row(&r, b).held && !rig_row(&r, d).held);
    end_failing(c, ATTEMPT_EXITED, 0);
    CHECK(rig_shim(d, 1));
    CHECK_INT(rig_change(&r, HEAD_RETRY, run, -1), ERR_NONE);
    check_head(&r);
    rig_fini(&r);
}

TEST(tasks_that_were_not_saved_did_not_start)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'array':'1-6','retry':1}");

    disk_full();
    end_failing(rig_task(&r, id, 1), ATTEMPT_EXITED, 1);
    end_failing(rig_task(&r, id, 2), ATTEMPT_EXITED, 0);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, 5), ERR_NO_SPACE);
    check_head(&r);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, id, -1), ERR_NO_SPACE);
    check_head(&r);
    CHECK_INT(rig_task(&r, id, 3), 0);
    rig_pass(&r, 2 * NS_PER_S);
    check_head(&r);
    CHECK_INT(rig_world.ordered, 2);
    disk_repaired();
    CHECK_INT(rig_world.ordered, 4);
    CHECK(rig_shim(rig_task(&r, id, 1), 2));
    CHECK_INT(rig_row(&r, id).n_succeeded, 1);
    for (int i = 1; i <= 6; i++)
        if (i != 2)
            end_failing(rig_task(&r, id, i), ATTEMPT_EXITED, 0);
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    rig_fini(&r);
}

TEST(the_last_task_ends_on_a_full_disk)
{
    rig_init(&r, "1");
    int64_t id = rig_submit(&r, "{'array':'1-2%1'}"), after = rig_submit(&r, "{'after':['1']}");

    end_failing(rig_task(&r, id, 1), ATTEMPT_EXITED, 0);
    disk_full();
    end_failing(rig_task(&r, id, 2), ATTEMPT_EXITED, 0);
    rig_disk.fail_writes = 0; /* a start needs some room */
    rig_crash(&r);
    check_head(&r);
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    CHECK(rig_shim(after, 1));
    rig_fini(&r);
}

TEST(a_finished_array_stays_finished_when_its_retry_fails)
{
    rig_init(&r, "2");
    int64_t id = rig_submit(&r, "{'array':'1-3'}");

    for (int i = 1; i <= 3; i++)
        end_failing(rig_task(&r, id, i), ATTEMPT_EXITED, i == 2);
    disk_full();
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, -1), ERR_NO_SPACE);
    check_head(&r);
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, 2), ERR_NO_SPACE);
    check_head(&r);
    CHECK_INT(map_count(&r.head->jobs), 0);
    disk_repaired();
    CHECK_INT(rig_change(&r, HEAD_RETRY, id, 2), ERR_NONE);
    rig_turns(&r);
    check_head(&r);
    CHECK_INT(node_running(NULL), 1);
    rig_fini(&r);
}

TEST(dependencies_settle_when_the_disk_is_back)
{
    rig_init(&r, "4");
    int64_t a = rig_submit(&r, "{}"), b = rig_submit(&r, "{'after':['1']}");
    int64_t c = rig_submit(&r, "{'after':['1:fail']}"), d = rig_submit(&r, "{'after':['3:any']}");

    disk_full();
    end_failing(a, ATTEMPT_EXITED, 0);
    CHECK_INT(rig_status(&r, b), JOB_QUEUED);
    CHECK_INT(rig_status(&r, c), JOB_QUEUED);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, c, -1), ERR_NO_SPACE);
    check_head(&r);
    disk_repaired();
    CHECK_INT(rig_status(&r, b), JOB_RUNNING);
    CHECK_INT(rig_status(&r, c), JOB_CANCELLED);
    CHECK_INT(rig_status(&r, d), JOB_RUNNING);
    rig_fini(&r);
}

/* A read that fails ends SQLite's transaction: what was staged before it must not be acknowledged.
 * */
TEST(a_failed_read_in_a_turn_fails_the_turn)
{
    rig_init(&r, "1");
    int64_t first = rig_submit(&r, "{}");
    struct answer a;
    struct err err = ERR_INIT;
    struct store_job row;

    for (int i = 0; i < 3000; i++) { /* more than stays in the page cache */
        CHECK(rig_stage(&r, "{'hold':true,'name':'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'}", &a, 0) > 0);
        list_remove(&a.op.link);
    }
    rig_turns(&r);
    int64_t id = rig_stage(&r, "{}", &a, NULL);
    sqlite3_db_release_memory(*(sqlite3 **)(void *)r.head->store);
    rig_disk.fail_reads = SQLITE_IOERR_READ;
    int rc = 0;
    for (int64_t i = 1; rc >= 0 && i < id; i++)
        rc = store_job_get(r.head->store, i, rig_take_row, &row, &err);
    rig_disk.fail_reads = 0;
    if (rc < 0)
        CHECK(!store_in_transaction(r.head->store));
    rig_turns(&r);
    CHECK(a.done);
    CHECK_INT(a.failed, rc < 0);
    CHECK_INT(store_job_get(r.head->store, id, rig_take_row, &row, &err), rc >= 0);
    fprintf(stderr, "# the read %s\n", rc < 0 ? "failed" : "came from the cache");
    check_head(&r);
    rig_pass(&r, 2 * NS_PER_S);
    CHECK_INT(rig_status(&r, first), JOB_RUNNING);
    rig_fini(&r);
}

TEST(a_failed_sync_stops_the_daemon)
{
    rig_init(&r, "1");
    rig_submit(&r, "{}");
    struct answer a, b = { .op.done = rig_answered };
    struct err err = ERR_INIT;

    r.errors_expected = true;
    rig_disk.fail_sync = 1;
    CHECK(rig_stage(&r, "{}", &a, NULL) > 0);
    rig_turns(&r);
    CHECK(a.done && a.failed && r.broken);
    rig_disk.fail_sync = 0;
    CHECK_INT(rig_stage(&r, "{}", &a, NULL), 0);
    if (head_change(r.head, HEAD_CANCEL, 1, -1, 0, &b.op, &err) == 0) {
        head_destroy(r.head); /* answers who still waits */
        CHECK(b.done && b.failed);
        CHECK_OK(rig_open(&r, &err), &err);
        rig_turns(&r);
    } else {
        rig_restart(&r);
    }
    check_head(&r);
    CHECK_INT(rig_status(&r, 1), JOB_RUNNING);
    rig_fini(&r);
}

TEST(pruning_on_a_full_disk)
{
    rig_init(&r, "1");
    rig_set(&r, CONF_history_keep, "1m");
    int64_t id = rig_submit(&r, "{}");

    end_failing(id, ATTEMPT_EXITED, 0);
    int64_t live = rig_submit(&r, "{}");
    disk_full();
    for (int i = 0; i < 5; i++) {
        rig_pass(&r, 61 * NS_PER_S);
        check_head(&r);
    }
    CHECK_INT(rig_status(&r, id), JOB_SUCCEEDED);
    disk_repaired();
    for (int i = 0; i < 3; i++)
        rig_pass(&r, 61 * NS_PER_S);
    struct store_job row;
    CHECK_INT(store_job_get(r.head->store, id, rig_take_row, &row, NULL), 0);
    CHECK_INT(rig_status(&r, live), JOB_RUNNING);
    rig_fini(&r);
}
