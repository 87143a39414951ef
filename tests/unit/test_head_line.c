/* SPDX-License-Identifier: BSD-2-Clause */
/* Attempts that are decided ahead: what is stored, and what becomes of them when it comes otherwise. */
#include "unit/head_check.h"

static struct rig r;

static void turns(int n)
{
    rig_report();
    for (int i = 0; i < n; i++)
        rig_turn(&r);
}

static void pass(int64_t ns)
{
    r.mono_ns += ns;
    r.wall_ns += ns;
    turns(4);
}

static void end_ok(int64_t id)
{
    rig_end(rig_shim(id, 0), ATTEMPT_EXITED, 0);
}

/* One place; job 0 has run and was brief; ids[] are the others, the first of them runs. */
static void begin(int64_t *ids, int n, const char *json)
{
    rig_world.ahead = "6ms";
    rig_init(&r, "1");
    int64_t first = rig_submit(&r, json);
    for (int i = 0; i < n; i++)
        ids[i] = rig_submit(&r, json);
    CHECK(rig_shim(first, 1) && !rig_shim(ids[0], 1));
    r.mono_ns += NS_PER_MS;
    end_ok(first);
    turns(2);
    check_head(&r);
}

static void expect(int64_t id, int status, int attempts)
{
    CHECK_INT(rig_status(&r, id), status);
    CHECK_INT(rig_row(&r, id).attempts, attempts);
}

TEST(the_next_ones_are_handed_over_before_the_place_is_free)
{
    int64_t ids[12];
    struct sched_resources used;

    begin(ids, 12, "{}");
    for (int i = 0; i < 12; i++) {
        bool lined = i <= 7; /* 1 ms each, 6 ms ahead */
        expect(ids[i], lined ? JOB_RUNNING : JOB_QUEUED, lined ? 1 : 0);
        CHECK_INT(rig_shim(ids[i], 1) != NULL, lined);
        if (lined)
            CHECK_INT(rig_shim(ids[i], 1)->after.job, i ? ids[i - 1] : 0);
    }
    sched_node_get(r.head->sched, 0, NULL, &used);
    CHECK_INT(used.threads, 1);
    char *json = rig_object(&r, ids[1]);
    char *reason = mem_printf("\"reason\":\"starts the moment job %lld ends\"", (long long)ids[0]);
    CHECK(strstr(json, reason));
    free(json);
    free(reason);
    rig_fini(&r);
}

TEST(ends_are_gathered_while_nobody_waits_for_a_place)
{
    int64_t ids[12];

    begin(ids, 12, "{}");
    end_ok(ids[0]);
    turns(2);
    expect(ids[0], JOB_RUNNING, 1); /* not committed yet */
    end_ok(ids[1]);
    pass(NS_PER_MS);
    expect(ids[0], JOB_RUNNING, 1);
    pass(2 * NS_PER_MS);
    expect(ids[0], JOB_SUCCEEDED, 1);
    expect(ids[1], JOB_SUCCEEDED, 1);
    expect(ids[4], JOB_RUNNING, 1);
    check_head(&r);

    end_ok(ids[2]);
    turns(1);
    expect(ids[2], JOB_RUNNING, 1);
    rig_submit(&r, "{'hold':true}"); /* somebody asks: all is brought up to date */
    expect(ids[2], JOB_SUCCEEDED, 1);
    check_head(&r);
    rig_fini(&r);
}

TEST(the_last_of_a_line_is_not_kept_waiting)
{
    int64_t ids[2];

    begin(ids, 2, "{}");
    end_ok(ids[0]); /* one stands behind it, nobody behind that one */
    turns(2);
    expect(ids[0], JOB_SUCCEEDED, 1);
    end_ok(ids[1]);
    turns(2);
    expect(ids[1], JOB_SUCCEEDED, 1);
    CHECK_INT(map_count(&r.head->jobs), 0);
    check_head(&r);
    rig_fini(&r);
}

TEST(they_go_back_when_the_first_takes_long)
{
    int64_t ids[4];

    begin(ids, 4, "{}");
    expect(ids[3], JOB_RUNNING, 1);
    pass(4 * NS_PER_MS);
    expect(ids[3], JOB_RUNNING, 1);
    pass(3 * NS_PER_MS);            /* 5 ms is the least patience */
    expect(ids[1], JOB_RUNNING, 1); /* its starter has it already, and is asked */
    turns(1);
    for (int i = 1; i < 4; i++) {
        expect(ids[i], JOB_QUEUED, 0);
        CHECK(!rig_shim(ids[i], 0));
    }
    expect(ids[0], JOB_RUNNING, 1);
    check_head(&r);
    pass(NS_PER_S);
    expect(ids[1], JOB_QUEUED, 0); /* nor are they lined up again */
    end_ok(ids[0]);
    turns(2);
    expect(ids[0], JOB_SUCCEEDED, 1);
    expect(ids[1], JOB_RUNNING, 1);
    CHECK(rig_shim(ids[1], 1));
    check_head(&r);
    rig_fini(&r);
}

TEST(dependencies_stay_met_for_what_goes_back)
{
    int64_t ids[1];

    begin(ids, 1, "{}");
    char *json = mem_printf("{'after':['%lld:ok']}", (long long)ids[0]);
    int64_t b = rig_submit(&r, json), c = rig_submit(&r, json), d = rig_submit(&r, "{}");
    end_ok(ids[0]);
    pass(3 * NS_PER_MS);
    CHECK_INT(rig_shim(b, 1)->after.job, d);
    CHECK_INT(rig_shim(c, 1)->after.job, b);
    pass(3 * SCHED_BRIEF_NS);
    turns(1);
    expect(b, JOB_QUEUED, 0);
    expect(c, JOB_QUEUED, 0);
    rig_shim(d, 1)->begun = true;
    rig_crash(&r);
    check_head(&r);
    end_ok(d);
    turns(3);
    expect(b, JOB_RUNNING, 1);
    free(json);
    rig_fini(&r);
}

TEST(a_cancel_takes_one_out_of_the_line)
{
    int64_t ids[4];

    begin(ids, 4, "{}");
    CHECK_INT(rig_change(&r, HEAD_CANCEL, ids[1], -1), ERR_NONE);
    turns(1);
    pass(3 * NS_PER_MS);
    expect(ids[1], JOB_CANCELLED, 1);
    expect(ids[2], JOB_RUNNING, 1);
    check_head(&r);
    end_ok(ids[0]);
    turns(1);
    pass(3 * NS_PER_MS);
    expect(ids[0], JOB_SUCCEEDED, 1);
    end_ok(ids[2]);
    end_ok(ids[3]);
    turns(1);
    pass(3 * NS_PER_MS);
    expect(ids[3], JOB_SUCCEEDED, 1);
    check_head(&r);
    rig_fini(&r);
}

TEST(a_daemon_that_stops_puts_them_back)
{
    int64_t ids[4];

    begin(ids, 4, "{}");
    rig_shim(ids[0], 1)->begun = true;
    rig_restart(&r);
    expect(ids[1], JOB_QUEUED, 1); /* its starter had it already */
    for (int i = 2; i < 4; i++)
        expect(ids[i], JOB_QUEUED, 0);
    expect(ids[0], JOB_RUNNING, 1);
    check_head(&r);
    end_ok(ids[0]);
    turns(3);
    expect(ids[1], JOB_RUNNING, 2);
    CHECK(rig_shim(ids[1], 2));
    rig_fini(&r);
}

/* After kill -9 nobody knows that they were only lined up: their attempt is used up, they run. */
TEST(a_crash_costs_them_a_number_and_nothing_else)
{
    int64_t ids[4];

    begin(ids, 4, "{}");
    rig_shim(ids[0], 1)->begun = true;
    rig_crash(&r);
    check_head(&r);
    for (int i = 1; i < 4; i++)
        expect(ids[i], JOB_QUEUED, 1);
    end_ok(ids[0]);
    turns(3);
    expect(ids[1], JOB_RUNNING, 2);
    CHECK(rig_shim(ids[1], 2));
    rig_fini(&r);
}

TEST(one_that_can_not_be_ordered_does_not_let_others_start_early)
{
    int64_t ids[4];

    rig_world.ahead = "6ms";
    rig_init(&r, "1");
    int64_t first = rig_submit(&r, "{}");
    for (int i = 0; i < 4; i++)
        ids[i] = rig_submit(&r, "{}");
    r.mono_ns += NS_PER_MS;
    end_ok(first);
    rig_report();
    rig_turn(&r); /* the first of the four is ordered in this turn ... */
    CHECK(rig_shim(ids[0], 1));
    /* ... and those behind it too, or in the next; whichever fails, who comes after it must wait for
     * one that the node knows */
    for (int i = 1; i < 4; i++) {
        const struct shim *s = rig_shim(ids[i], 1);
        CHECK(s && rig_shim(s->after.job, 1));
    }
    rig_fini(&r);
}

TEST(those_behind_one_that_failed_move_up)
{
    int64_t ids[4];

    rig_world.ahead = "6ms";
    rig_init(&r, "1");
    int64_t first = rig_submit(&r, "{}");
    for (int i = 0; i < 4; i++)
        ids[i] = rig_submit(&r, "{}");
    r.mono_ns += NS_PER_MS;
    end_ok(first);
    rig_world.refuse_run = 2; /* the first in place, and the first in line */
    turns(4);
    expect(ids[0], JOB_FAILED, 1);
    expect(ids[1], JOB_FAILED, 1);
    expect(ids[2], JOB_RUNNING, 1);
    CHECK(!rig_lined_up(rig_shim(ids[2], 1)));
    CHECK(rig_lined_up(rig_shim(ids[3], 1)));
    check_head(&r);
    rig_fini(&r);
}

TEST(nothing_is_lined_up_when_that_is_switched_off)
{
    int64_t ids[4];

    rig_world.ahead = NULL;
    rig_init(&r, "1");
    int64_t first = rig_submit(&r, "{}");
    for (int i = 0; i < 4; i++)
        ids[i] = rig_submit(&r, "{}");
    end_ok(first);
    turns(3);
    expect(ids[0], JOB_RUNNING, 1);
    expect(ids[1], JOB_QUEUED, 0);
    rig_fini(&r);
}
