/* SPDX-License-Identifier: BSD-2-Clause */
/* Users by number: small numbers in rows and indices instead of names. Users are never removed. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

static void remember(struct store *s, const char *name)
{
    if ((s->n_names & (s->n_names - 1)) == 0) /* at each power of two */
        s->names = mem_resize(s->names, s->n_names ? 2 * (size_t)s->n_names : 1, sizeof *s->names);
    s->names[s->n_names++] = mem_strdup(name);
    strmap_put(&s->ids, name, (void *)(intptr_t)s->n_names);
}

int users_load(struct store *s, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_USER_EACH, err);
    int more = -1;

    while (st && (more = db_step(s, st, err)) > 0) {
        const char *name = db_text(st, 1);
        if (sqlite3_column_int64(st, 0) != s->n_names + 1 || !name || strmap_get(&s->ids, name)) {
            db_fail(s, SQLITE_CORRUPT, "read the users in", err);
            sqlite3_reset(st);
            return -1;
        }
        remember(s, name);
    }
    s->n_saved = s->n_names;
    return more;
}

void users_fini(struct store *s)
{
    for (int32_t i = 0; i < s->n_names; i++)
        free(s->names[i]);
    MEM_FREE(s->names);
    s->n_names = 0;
    strmap_fini(&s->ids);
}

int32_t users_find(const struct store *s, const char *name)
{
    return (int32_t)(intptr_t)strmap_get(&s->ids, name ? name : "");
}

int32_t users_add(struct store *s, const char *name, struct err *err)
{
    int32_t known = users_find(s, name);

    if (known)
        return known;
    sqlite3_stmt *st = db_change(s, ST_USER_ADD, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, s->n_names + 1);
    db_bind_text(st, 2, name ? name : "");
    if (db_run(s, st, err) != 0)
        return -1;
    remember(s, name ? name : "");
    return s->n_names;
}

const char *users_name(const struct store *s, int64_t id)
{
    return id >= 1 && id <= s->n_names ? s->names[id - 1] : "?";
}

void users_rollback(struct store *s)
{
    while (s->n_names > s->n_saved) {
        char *name = s->names[--s->n_names];
        strmap_remove(&s->ids, name);
        free(name);
    }
}

int store_use_set(struct store *s, const char *user, double thread_seconds, int64_t wall_ns,
                  struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_USE_SET, err);
    int32_t id = st ? users_add(s, user, err) : -1;

    if (id < 0)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_double(st, 2, thread_seconds);
    sqlite3_bind_int64(st, 3, wall_ns ? wall_ns : 1);
    return db_run(s, st, err);
}

int store_use_each(struct store *s,
                   void (*fn)(void *arg, const char *user, double thread_seconds, int64_t wall_ns),
                   void *arg, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_USE_EACH, err);
    int more = -1;

    while (st && (more = db_step(s, st, err)) > 0) {
        const char *name = db_text(st, 0);
        fn(arg, name ? name : "", sqlite3_column_double(st, 1), sqlite3_column_int64(st, 2));
    }
    return more;
}
