/* SPDX-License-Identifier: BSD-2-Clause */
/* Idempotency keys. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store_priv.h"

#define DIGEST_SIZE 32

int store_key_get(struct store *s, const char *user, const char *key, unsigned char digest[32],
                  int64_t *first_id, int64_t *count, struct err *err)
{
    sqlite3_stmt *st = db_stmt(s, ST_KEY_GET, err);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, users_find(s, user));
    db_bind_text(st, 2, key);
    int found = db_step(s, st, err);
    if (found <= 0)
        return found;
    const void *blob = sqlite3_column_blob(st, 0);
    if (!blob || sqlite3_column_bytes(st, 0) != DIGEST_SIZE) {
        sqlite3_reset(st);
        return db_fail(s, SQLITE_CORRUPT, "read the keys in", err);
    }
    memcpy(digest, blob, DIGEST_SIZE);
    *first_id = sqlite3_column_int64(st, 1);
    *count = sqlite3_column_int64(st, 2);
    sqlite3_reset(st);
    return 1;
}

int store_key_put(struct store *s, const char *user, const char *key,
                  const unsigned char digest[32], int64_t first_id, int64_t count, int64_t now_ns,
                  struct err *err)
{
    sqlite3_stmt *st = db_change(s, ST_KEY_PUT, err);
    int32_t id = st ? users_add(s, user, err) : -1;

    if (id < 0)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    db_bind_text(st, 2, key);
    sqlite3_bind_blob(st, 3, digest, DIGEST_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, first_id);
    sqlite3_bind_int64(st, 5, count);
    sqlite3_bind_int64(st, 6, now_ns);
    return db_run(s, st, err);
}
