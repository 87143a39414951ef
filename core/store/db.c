/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store_priv.h"

#include <errno.h>

static const char *const sql[ST_COUNT] = {
#define STATEMENT(name, text) [ST_##name] = (text),
#include "store/statements.def"
};

static bool is_failed_sync(int rc)
{
    return rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC || rc == SQLITE_IOERR_TRUNCATE;
}

static enum err_kind kind_of(int rc, int sys)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return ERR_CORRUPT;
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_CORRUPTFS)
            return ERR_CORRUPT;
        return sys == ENOSPC || sys == EDQUOT ? ERR_NO_SPACE : ERR_IO;
    case SQLITE_CANTOPEN:
        return sys == EACCES || sys == EPERM ? ERR_DENIED : ERR_IO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return ERR_DENIED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return ERR_CONFLICT;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    case SQLITE_NOMEM:
        return ERR_UNAVAILABLE;
    default:
        return ERR_INTERNAL;
    }
}

static void set_hint(struct store *s, enum err_kind kind, struct err *err)
{
    switch (kind) {
    case ERR_CORRUPT:
        err_hint(err,
                 "put a copy of it in its place, or move hive.db and hive.db-wal away to begin "
                 "with an empty queue; `sqlite3 hive.db .recover` may save what is in it");
        break;
    case ERR_CONFLICT:
        err_hint(err, "close the program (sqlite3?) that has it open");
        break;
    case ERR_NO_SPACE:
        err_hint(err, "make room on the disk of %s", s->dir);
        break;
    case ERR_DENIED:
        err_hint(err, "see who owns it: ls -la %s", s->dir);
        break;
    default:
        break;
    }
}

int db_fail(struct store *s, int rc, const char *doing, struct err *err)
{
    int sys = sqlite3_system_errno(s->db);
    bool lost = is_failed_sync(rc);
    const char *why = sqlite3_errstr(rc);

    if ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN || rc == SQLITE_FULL)
        why = sys ? strerror(sys) : why;
    else if ((rc & 0xff) == SQLITE_ERROR || (rc & 0xff) == SQLITE_CONSTRAINT)
        why = sqlite3_errmsg(s->db);
    enum err_kind kind = kind_of(rc, sys);
    err_set(err, kind, "can't %s %s: %s%s", doing, s->path, lost ? "the sync failed: " : "", why);
    if (err)
        err->sys = sys;
    set_hint(s, kind, err);
    if (lost) {
        s->broken = true;
        log_error(s->log, "can't %s %s: the sync failed: %s", doing, s->path, why);
    }
    store_rollback(s);
    return -1;
}

int db_need_transaction(struct store *s, struct err *err)
{
    if (s->in_tx)
        return 0;
    return err_set(err, ERR_INTERNAL, "a change to the store outside of a transaction");
}

sqlite3_stmt *db_stmt(struct store *s, enum statement which, struct err *err)
{
    if (!sqlite3_stmt_busy(s->stmts[which]))
        return s->stmts[which];
    err_set(err, ERR_INTERNAL, "the store is called again from within the same call");
    return NULL;
}

sqlite3_stmt *db_change(struct store *s, enum statement which, struct err *err)
{
    return db_need_transaction(s, err) == 0 ? db_stmt(s, which, err) : NULL;
}

int db_run(struct store *s, sqlite3_stmt *st, struct err *err)
{
    int rc = sqlite3_step(st);

    if (rc == SQLITE_DONE) {
        sqlite3_reset(st);
        return 0;
    }
    db_fail(s, rc, "write to", err);
    sqlite3_reset(st);
    return -1;
}

int db_step(struct store *s, sqlite3_stmt *st, struct err *err)
{
    int rc = sqlite3_step(st);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc != SQLITE_DONE)
        db_fail(s, rc, "read", err);
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : -1;
}

int db_exec(struct store *s, const char *doing, const char *text, struct err *err)
{
    int rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : db_fail(s, rc, doing, err);
}

int db_exec_int(struct store *s, const char *text, int64_t *out, struct err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, text, -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    else
        db_fail(s, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, "read", err);
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : -1;
}

int db_prepare_all(struct store *s, struct err *err)
{
    for (int i = 0; i < ST_COUNT; i++) {
        int rc =
            sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmts[i], NULL);
        if (rc == SQLITE_OK)
            continue;
        /* Our own texts are right: a table that does not fit them is not ours. */
        if ((rc & 0xff) != SQLITE_ERROR)
            return db_fail(s, rc, "read", err);
        err_set(err, ERR_CORRUPT, "%s is damaged: %s", s->path, sqlite3_errmsg(s->db));
        set_hint(s, ERR_CORRUPT, err);
        return -1;
    }
    return 0;
}

void db_finalize_all(struct store *s)
{
    for (int i = 0; i < ST_COUNT; i++) {
        sqlite3_finalize(s->stmts[i]);
        s->stmts[i] = NULL;
    }
}

void db_checkpoint(struct store *s)
{
    if (s->wal_pages < s->wal_checkpointed) /* the log began anew */
        s->wal_checkpointed = 0;
    if (s->broken || s->wal_pages - s->wal_checkpointed < s->checkpoint_pages)
        return;
    /* Also when it fails: the next try comes after as many pages again. */
    s->wal_checkpointed = s->wal_pages;
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc == SQLITE_OK)
        return;
    struct err err = ERR_INIT;
    db_fail(s, rc, "copy the log into", &err);
    if (!s->broken)
        log_warning(s->log, "%s; what was saved stays in %s-wal", err.msg, s->path);
}

void db_extend_log(struct store *s)
{
    const int64_t header = 32, frame = 24 + 4096; /* of the log's format; pages are of 4 KiB */
    const int64_t ahead = 256 * 1024, enough = 32 * 1024;
    const int piece = 32 * 1024; /* SQLite writes less than 128 KiB at once */
    int64_t end = header + s->wal_pages * frame;
    sqlite3_file *file = NULL;

    /* Without a commit since the log was opened nobody has said how long it is. */
    if (s->broken || s->wal_pages == 0 || end + enough <= s->wal_room ||
        sqlite3_file_control(s->db, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &file) != SQLITE_OK ||
        !file || !file->pMethods)
        return;
    s->wal_room = end + ahead; /* also when it fails: then the log grows as it would anyway */
    char *zeros = mem_alloc((size_t)piece);
    int rc = SQLITE_OK;
    for (int64_t at = end; rc == SQLITE_OK && at < end + ahead; at += piece)
        rc = file->pMethods->xWrite(file, zeros, piece, at);
    if (rc != SQLITE_OK && file->pMethods->xTruncate(file, end) != SQLITE_OK)
        log_debug(s->log, "%s-wal can't be made longer", s->path);
    free(zeros);
}

const char *db_text(sqlite3_stmt *st, int column)
{
    return (const char *)sqlite3_column_text(st, column);
}

int32_t db_int32(sqlite3_stmt *st, int column)
{
    int64_t v = sqlite3_column_int64(st, column);

    return v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

int db_bind_text(sqlite3_stmt *st, int index, const char *text)
{
    return text ? sqlite3_bind_text(st, index, text, -1, SQLITE_STATIC)
                : sqlite3_bind_null(st, index);
}
