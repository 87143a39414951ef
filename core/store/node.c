/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes: what the head knows of the machines it was given. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

static void read_node(sqlite3_stmt *st, struct store_node *n)
{
    *n = (struct store_node){
        .id = sqlite3_column_int64(st, 0),
        .name = db_text(st, 1),
        .kind = db_int32(st, 2),
        .state = db_int32(st, 3),
        .added_ns = sqlite3_column_int64(st, 4),
        .address = db_text(st, 5),
        .labels = db_text(st, 6),
        .config = db_text(st, 7),
        .error = db_text(st, 8),
        .host_id = db_text(st, 9),
        .agent_hash = db_text(st, 10),
    };
}

int store_node_get(struct store *s, const char *name,
                   void (*fn)(void *arg, const struct store_node *n), void *arg, struct err *err)
{
    struct store_node n;
    sqlite3_stmt *st = db_stmt(s, ST_NODE_GET, err);

    if (!st)
        return -1;
    db_bind_text(st, 1, name);
    int found = db_step(s, st, err);
    if (found <= 0)
        return found;
    read_node(st, &n);
    fn(arg, &n);
    sqlite3_reset(st);
    return 1;
}

int store_node_each(struct store *s, bool (*fn)(void *arg, const struct store_node *n), void *arg,
                    struct err *err)
{
    struct store_node n;
    sqlite3_stmt *st = db_stmt(s, ST_NODE_EACH, err);
    int more = -1;

    while (st && (more = db_step(s, st, err)) > 0) {
        read_node(st, &n);
        if (!fn(arg, &n))
            break;
    }
    sqlite3_reset(st);
    return more < 0 ? -1 : 0;
}

int node_exists(struct store *s, int64_t id, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_NODE_EXISTS, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    int found = db_step(s, st, err);
    sqlite3_reset(st);
    return found;
}

/* 1 found, 0, -1. */
static int find_id(struct store *s, const char *name, int64_t *id, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_NODE_FIND, err);

    if (!st)
        return -1;
    db_bind_text(st, 1, name);
    int found = db_step(s, st, err);
    if (found > 0)
        *id = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return found;
}

static void bind_text(sqlite3_stmt *st, int index, const char *text)
{
    db_bind_text(st, index, text ? text : "");
}

int store_node_put(struct store *s, const struct store_node *n, int64_t *id, struct err *err)
{
    int64_t known = 0;

    if (db_need_transaction(s, err) != 0)
        return -1;
    if (!n->name || !n->name[0]) {
        store_rollback(s);
        return err_set(err, ERR_INVALID, "a node needs a name");
    }
    int found = find_id(s, n->name, &known, err);
    if (found == 0 && (known = s->totals[TOTAL_NEXT_NODE]) > METRIC_NODE_MAX) {
        store_rollback(s);
        return err_set(err, ERR_UNAVAILABLE, "all %lld numbers for nodes are used up",
                       (long long)METRIC_NODE_MAX);
    }
    sqlite3_stmt *st =
        found < 0 ? NULL : db_change(s, found ? ST_NODE_UPDATE : ST_NODE_INSERT, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, known);
    sqlite3_bind_int64(st, 2, n->kind);
    sqlite3_bind_int64(st, 3, n->state);
    bind_text(st, 4, n->address);
    bind_text(st, 5, n->labels);
    bind_text(st, 6, n->config);
    bind_text(st, 7, n->error);
    bind_text(st, 8, n->host_id);
    bind_text(st, 9, n->agent_hash);
    if (!found) {
        db_bind_text(st, 10, n->name);
        sqlite3_bind_int64(st, 11, n->added_ns);
    }
    if (db_run(s, st, err) != 0)
        return -1;
    if (!found)
        s->totals[TOTAL_NEXT_NODE]++;
    if (id)
        *id = known;
    return 0;
}

static int run_with_id(struct store *s, enum statement which, int64_t id, struct err *err)
{
    sqlite3_stmt *st = db_change(s, which, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    return db_run(s, st, err);
}

int store_node_remove(struct store *s, int64_t id, struct err *err)
{
    if (run_with_id(s, ST_NODE_DELETE, id, err) != 0)
        return -1;
    if (sqlite3_changes(s->db) == 0) {
        store_rollback(s);
        return err_set(err, ERR_NOT_FOUND, "there is no node %lld", (long long)id);
    }
    return run_with_id(s, ST_GONE_ADD, id, err);
}
