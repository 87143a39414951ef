/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes as the queue sees them: added, kept, removed. Hosts are never reached here; tests/lab/nodes.t does that. */
#include "unit/head_check.h"

#include "head/head_node.h"
#include "head/reach.h"
#include "net/ssh_deploy.h"

/* --- a host that nobody reaches --------------------------------------------------------------- */

struct reach {
    struct reach_hooks hooks;
    struct reach_status status;
    struct err err;
    void (*left)(void *arg, const struct err *err);
    void *left_arg;
};

struct ssh_deploy_program *ssh_deploy_program_open(const char *path, const char *others,
                                                   bool dynamic, struct err *err)
{
    (void)path;
    (void)others;
    (void)dynamic;
    (void)err;
    return mem_alloc(1);
}

void ssh_deploy_program_close(struct ssh_deploy_program *program)
{
    free(program);
}

static int reaches, again;
static struct reach *last;

struct reach *reach_create(struct ev_loop *loop, const struct log *log,
                           const struct reach_config *cfg, const struct reach_hooks *hooks)
{
    struct reach *r = mem_alloc(sizeof *r);

    (void)loop;
    (void)log;
    CHECK(cfg->host && cfg->runtime_dir);
    r->hooks = *hooks;
    r->status = (struct reach_status){ .state = REACH_CONNECTING, .err = &r->err };
    reaches++;
    last = r;
    return r;
}

void reach_destroy(struct reach *r)
{
    reaches -= r != NULL;
    free(r);
}

void reach_again(struct reach *r)
{
    (void)r;
    again++;
}

void reach_measure(struct reach *r, int64_t interval_s)
{
    (void)r;
    (void)interval_s;
}

void reach_failed(struct reach *r, const struct err *err)
{
    r->err = *err;
}

void reach_leave(struct reach *r, void (*done)(void *arg, const struct err *err), void *arg)
{
    r->left = done;
    r->left_arg = arg;
}

const struct reach_status *reach_status(const struct reach *r)
{
    return &r->status;
}

void reach_text(const struct reach *r, char *out, size_t size)
{
    (void)r;
    str_copy(out, size, "connecting");
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct rig r;

static enum err_kind finish(struct answer *a, int rc)
{
    if (rc != 0)
        return a->err.kind;
    rig_turn(&r);
    CHECK(a->done);
    return a->failed ? a->err.kind : ERR_NONE;
}

static enum err_kind add(const char *name, const char *host, bool any)
{
    struct answer a = { .op.done = rig_answered };
    struct head_node_spec s = { .name = name, .host = host, .any = any, .threads = 3 };

    return finish(&a, head_node_add(r.head, &s, &a.op, &a.err));
}

static enum err_kind take_away(const char *name)
{
    struct answer a = { .op.done = rig_answered };

    return finish(&a, head_node_remove(r.head, name, &a.op, &a.err));
}

/* "name kind any status,…" of what is listed. */
static void expect_nodes(const char *want)
{
    struct buf b = BUF_INIT, got = BUF_INIT;
    struct jsonw w;
    yyjson_doc *doc;

    jsonw_init(&w, &b);
    jsonw_arr_open(&w, NULL);
    head_nodes(r.head, NULL, &w);
    jsonw_arr_close(&w);
    doc = yyjson_read(buf_data(&b), buf_len(&b), 0);
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_doc_get_root(doc));
    for (yyjson_val *n; (n = yyjson_arr_iter_next(&it)) != NULL;)
        buf_printf(&got, "%s%s %s%s %s", buf_len(&got) ? "," : "",
                   yyjson_get_str(yyjson_obj_get(n, "name")),
                   yyjson_get_str(yyjson_obj_get(n, "kind")),
                   yyjson_is_true(yyjson_obj_get(n, "any")) ? " any" : "",
                   yyjson_get_str(yyjson_obj_get(n, "status")));
    CHECK_STR(buf_data(&got), want);
    yyjson_doc_free(doc);
    buf_fini(&b);
    buf_fini(&got);
}

static void begin(void)
{
    rig_init(&r, "2");
    expect_nodes("n1 own any up");
}

/* --- tests ------------------------------------------------------------------------------------ */

TEST(a_node_is_there_after_the_commit_and_after_a_restart)
{
    begin();
    CHECK_INT(add("big", "ann@big.local:2222", false), ERR_NONE);
    CHECK_INT(add("nfs", "nfs", true), ERR_NONE);
    expect_nodes("n1 own any up,big ssh down,nfs ssh any down");
    CHECK_INT(reaches, 2);
    CHECK_INT(add("big", "other", false), ERR_CONFLICT);
    CHECK_INT(add("n1", "other", false), ERR_CONFLICT);
    rig_restart(&r);
    expect_nodes("n1 own any up,big ssh down,nfs ssh any down");
    CHECK_STR(head_node_find(r.head, "big")->host, "ann@big.local:2222");
    CHECK_INT(head_node_find(r.head, "big")->max_threads, 3);
    CHECK_INT(reaches, 2);
    rig_crash(&r);
    expect_nodes("n1 own any up,big ssh down,nfs ssh any down");
    rig_fini(&r);
}

TEST(names_are_for_command_lines)
{
    static const char *const bad[] = { "", "-oProxyCommand=x", "a b", "a/b", "a'b", "a\nb", "a;b",
                                       "ä" };

    begin();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK_INT(add("ok", bad[i], false), ERR_INVALID);
        CHECK_INT(add(bad[i], "ok", false), ERR_INVALID);
    }
    CHECK_INT(add("ok", "[fe80::1%eth0]:22", false), ERR_NONE);
    rig_fini(&r);
}

TEST(a_full_disk_changes_nothing)
{
    struct answer a = { .op.done = rig_answered };

    begin();
    CHECK_INT(add("big", "big", false), ERR_NONE);
    rig_disk.fail_writes = SQLITE_FULL;
    CHECK(add("small", "small", false) != ERR_NONE);
    expect_nodes("n1 own any up,big ssh down");
    CHECK_INT(reaches, 1);
    rig_pass(&r, 2 * NS_PER_S);
    CHECK(take_away("big") != ERR_NONE);
    rig_disk.fail_writes = 0;
    rig_pass(&r, 2 * NS_PER_S);
    expect_nodes("n1 own any up,big ssh down");
    CHECK_INT(sched_node_state(r.head->sched, 1), SCHED_NODE_DOWN);
    CHECK_INT(finish(&a, head_node_remove(r.head, "big", &a.op, &a.err)), ERR_NONE);
    rig_fini(&r);
}

TEST(jobs_stay_where_they_asked_to_be)
{
    struct answer a;

    begin();
    CHECK_INT(rig_stage(&r, "{'node':'big'}", &a, NULL), 0);
    CHECK_INT(a.err.kind, ERR_UNPROCESS);
    CHECK_INT(add("big", "big", false), ERR_NONE);
    int64_t there = rig_submit(&r, "{'node':'big','threads':2}"), here = rig_submit(&r, "{}");
    rig_turns(&r);
    CHECK_INT(rig_status(&r, there), JOB_QUEUED);
    CHECK_INT(rig_status(&r, here), JOB_RUNNING);
    CHECK_INT(take_away("big"), ERR_NONE);
    expect_nodes("n1 own any up");
    CHECK_INT(take_away("big"), ERR_NOT_FOUND);
    CHECK_INT(take_away("n1"), ERR_CONFLICT);
    last->left(last->left_arg, NULL);
    rig_turns(&r);
    CHECK_INT(reaches, 0);
    CHECK_INT(rig_stage(&r, "{'node':'big'}", &a, NULL), 0);
    /* Also for a daemon that never knew the node. */
    rig_restart(&r);
    rig_turns(&r);
    CHECK_INT(rig_status(&r, there), JOB_QUEUED);
    rig_end(rig_shim(here, 0), ATTEMPT_EXITED, 0);
    rig_turns(&r);
    CHECK_INT(rig_status(&r, there), JOB_QUEUED);
    CHECK_INT(rig_status(&r, here), JOB_SUCCEEDED);
    CHECK_INT(add("big", "elsewhere", false), ERR_NONE);
    CHECK_STR(head_node_find(r.head, "big")->host, "elsewhere");
    CHECK_INT(reaches, 1);
    check_head(&r);
    rig_fini(&r);
}

TEST(a_host_that_is_only_measured_takes_no_jobs)
{
    struct answer a;

    begin();
    CHECK_INT(add("big", "big", false), ERR_NONE);
    err_set(&last->err, ERR_UNPROCESS, "it is aarch64");
    last->status.state = REACH_MEASURING;
    last->hooks.changed(last->hooks.arg);
    expect_nodes("n1 own any up,big ssh drained");
    CHECK_INT(rig_stage(&r, "{'node':'big'}", &a, NULL), 0);
    CHECK_STR(a.err.msg, "node: big can run no jobs: it is aarch64");
    struct err err = ERR_INIT;
    CHECK_OK(head_node_again(r.head, "big", &err), &err);
    CHECK_INT(again, 1);
    CHECK(head_node_again(r.head, "nowhere", &err) != 0);
    rig_fini(&r);
}

TEST(a_host_with_the_name_of_this_machine)
{
    begin();
    CHECK_INT(add("big", "big", false), ERR_NONE);
    rig_set(&r, CONF_daemon_node_name, "big");
    rig_restart(&r);
    expect_nodes("big own any up");
    CHECK_INT(take_away("big"), ERR_CONFLICT);
    rig_set(&r, CONF_daemon_node_name, "n1");
    rig_restart(&r);
    expect_nodes("n1 own any up,big ssh down");
    rig_fini(&r);
}
