/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes in the store. */
#include "base/buf.h"
#include "base/err.h"
#include "store/store_priv.h"
#include "unit/unit.h"

static struct store *open_store(void)
{
    struct err err = ERR_INIT;
    struct store *s = store_open(unit_tmpdir(), NULL, &err);

    if (!s)
        unit_fail(__FILE__, __LINE__, "store_open: %s", err.msg);
    return s;
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
}

static int64_t put(struct store *s, struct store_node n)
{
    struct err err = ERR_INIT;
    int64_t id = -1;

    CHECK_OK(store_node_put(s, &n, &id, &err), &err);
    return id;
}

static void describe(void *arg, const struct store_node *n)
{
    buf_printf(arg, "%d %s k%d s%d t%lld '%s' '%s' '%s' '%s' '%s' '%s';", (int)n->id, n->name,
               n->kind, n->state, (long long)n->added_ns, n->address, n->labels, n->config,
               n->error, n->host_id, n->agent_hash);
}

static bool describe_next(void *arg, const struct store_node *n)
{
    describe(arg, n);
    return n->id != 3; /* stops there */
}

static bool names(void *arg, const struct store_node *n)
{
    buf_printf(arg, "%d:%s ", (int)n->id, n->name);
    return true;
}

static void check_names(struct store *s, const char *want)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    CHECK_OK(store_node_each(s, names, &b, &err), &err);
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
}

static const struct store_node full = {
    .id = 99, /* ignored */
    .name = "böx",
    .kind = 2,
    .state = -1,
    .added_ns = INT64_C(1700000000000000001),
    .address = "ann@10.0.0.1:22",
    .labels = "{\"gpu\":1}",
    .config = "{}",
    .error = "can't reach it",
    .host_id = "0123",
    .agent_hash = "abcd",
};

TEST(a_node_comes_back_as_it_went_in)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    begin(s);
    CHECK_INT(put(s, (struct store_node){ .name = "a" }), 1);
    CHECK_INT(put(s, full), 2);
    CHECK_INT(put(s, (struct store_node){ .name = "c" }), 3);
    CHECK_INT(put(s, (struct store_node){ .name = "d" }), 4);
    commit(s);
    store_close(s);
    s = open_store();
    CHECK_OK(store_node_each(s, describe_next, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1 a k0 s0 t0 '' '' '' '' '' '';"
                            "2 böx k2 s-1 t1700000000000000001 'ann@10.0.0.1:22' '{\"gpu\":1}' "
                            "'{}' 'can't reach it' '0123' 'abcd';"
                            "3 c k0 s0 t0 '' '' '' '' '' '';");
    buf_clear(&b);
    CHECK_INT(store_node_get(s, "c", describe, &b, &err), 1);
    CHECK_STR(buf_data(&b), "3 c k0 s0 t0 '' '' '' '' '' '';");
    CHECK_INT(store_node_get(s, "C", describe, &b, &err), 0);
    CHECK_INT(store_node_get(s, "", describe, &b, &err), 0);
    CHECK_OK(store_check(s, &err), &err);
    buf_fini(&b);
    store_close(s);
}

TEST(putting_again_writes_all_but_id_and_age)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    begin(s);
    put(s, full);
    CHECK_INT(put(s, (struct store_node){ .name = "böx", .kind = 7, .added_ns = 5, .id = 3 }), 1);
    commit(s);
    CHECK_OK(store_node_each(s, describe_next, &b, &err), &err);
    CHECK_STR(buf_data(&b), "1 böx k7 s0 t1700000000000000001 '' '' '' '' '' '';");
    buf_fini(&b);
    store_close(s);
}

TEST(ids_of_removed_nodes_are_not_reused)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;

    begin(s);
    put(s, (struct store_node){ .name = "a" });
    put(s, (struct store_node){ .name = "b" });
    CHECK_OK(store_node_remove(s, 2, &err), &err);
    commit(s);
    store_close(s);
    s = open_store();
    begin(s);
    CHECK_INT(put(s, (struct store_node){ .name = "b" }), 3);
    commit(s);
    check_names(s, "1:a 3:b ");
    begin(s);
    CHECK_INT(store_node_remove(s, 2, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(!store_in_transaction(s));
    check_names(s, "1:a 3:b ");
    CHECK_OK(store_check(s, &err), &err);
    store_close(s);
}

TEST(nodes_and_transactions)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;

    CHECK_INT(store_node_put(s, &full, NULL, &err), -1);
    CHECK_INT(err.kind, ERR_INTERNAL);
    CHECK_INT(store_node_remove(s, 1, &err), -1);
    CHECK_INT(err.kind, ERR_INTERNAL);
    begin(s);
    CHECK_INT(put(s, full), 1);
    store_rollback(s);
    check_names(s, "");
    begin(s);
    CHECK_INT(put(s, (struct store_node){ .name = "x" }), 1);
    commit(s);
    begin(s);
    CHECK_OK(store_node_remove(s, 1, &err), &err);
    store_rollback(s);
    check_names(s, "1:x ");
    static const char *const bad[] = { NULL, "" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin(s);
        put(s, (struct store_node){ .name = "y" });
        CHECK_INT(store_node_put(s, &(struct store_node){ .name = bad[i] }, NULL, &err), -1);
        CHECK_INT(err.kind, ERR_INVALID);
        CHECK(!store_in_transaction(s));
    }
    check_names(s, "1:x ");
    store_close(s);
}

TEST(numbers_for_nodes_end_some_day)
{
    struct store *s = open_store();
    struct err err = ERR_INIT;

    s->totals[TOTAL_NEXT_NODE] = METRIC_NODE_MAX;
    begin(s);
    CHECK_INT(put(s, (struct store_node){ .name = "last" }), METRIC_NODE_MAX);
    CHECK_INT(store_node_put(s, &full, NULL, &err), -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    store_close(s);
}
