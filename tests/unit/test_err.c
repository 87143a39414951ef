/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/err.h"
#include "unit/unit.h"

#include <errno.h>

TEST(set_replaces_everything)
{
    struct err err = ERR_INIT;

    CHECK_INT(err_sys(&err, ENOSPC, "can't write %s", "x"), -1);
    err_hint(&err, "free some room");
    CHECK_INT(err_set(&err, ERR_INVALID, "bad %d", 7), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK_INT(err.sys, 0);
    CHECK_STR(err.msg, "bad 7");
    CHECK_STR(err.hint, "");
}

TEST(null_is_accepted)
{
    CHECK_INT(err_set(NULL, ERR_IO, "x"), -1);
    CHECK_INT(err_sys(NULL, EIO, "x"), -1);
    CHECK_INT(err_hint(NULL, "x"), -1);
    CHECK_INT(err_prefix(NULL, "x"), -1);
    err_clear(NULL);
}

TEST(kinds_follow_from_errno)
{
    static const struct {
        int sys;
        enum err_kind kind;
    } rows[] = {
        { ENOSPC, ERR_NO_SPACE },    { EDQUOT, ERR_NO_SPACE },  { EACCES, ERR_DENIED },
        { EPERM, ERR_DENIED },       { ENOENT, ERR_NOT_FOUND }, { EMFILE, ERR_UNAVAILABLE },
        { ENFILE, ERR_UNAVAILABLE }, { EIO, ERR_IO },           { EPIPE, ERR_IO },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        err_sys(&err, rows[i].sys, "can't read %s", "f");
        CHECK_INT(err.kind, rows[i].kind);
        CHECK_INT(err.sys, rows[i].sys);
        char want[200];
        snprintf(want, sizeof want, "can't read f: %s", strerror(rows[i].sys));
        CHECK_STR(err.msg, want);
    }
}

TEST(prefix_and_arguments_from_the_message_itself)
{
    struct err err = ERR_INIT;

    err_set(&err, ERR_IO, "inner");
    err_prefix(&err, "outer %d", 1);
    CHECK_STR(err.msg, "outer 1: inner");
    err_set(&err, ERR_IO, "again: %s", err.msg);
    CHECK_STR(err.msg, "again: outer 1: inner");
    err_prefix(&err, "%s", err.msg);
    CHECK_STR(err.msg, "again: outer 1: inner: again: outer 1: inner");
    err_clear(&err);
    CHECK_INT(err.kind, ERR_NONE);
    CHECK_STR(err.msg, "");
}

TEST(long_messages_are_cut_between_characters)
{
    struct err err = ERR_INIT;
    char text[1000];

    /* Every phase of a three-byte character at the cut. */
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\u20ac", 4);
        err_set(&err, ERR_IO, "%s", text);
        size_t len = strlen(err.msg);
        CHECK(len >= sizeof err.msg - 3 && len < sizeof err.msg);
        CHECK_INT((len - shift) % 3, 0);
        err_prefix(&err, "x");
        CHECK(strlen(err.msg) < sizeof err.msg);
        err_hint(&err, "%s", text);
        CHECK_INT((strlen(err.hint) - shift) % 3, 0);
    }
}

TEST(every_kind_has_a_name_that_reads_back)
{
    for (int i = 0; i < ERR_KIND_COUNT; i++) {
        const char *name = err_kind_name((enum err_kind)i);
        CHECK(name && *name);
        CHECK_INT(err_kind_from_name(name), i);
        CHECK(err_http_status((enum err_kind)i) >= 200);
    }
    CHECK_INT(err_kind_from_name("no such word"), ERR_INTERNAL);
    CHECK_INT(err_kind_from_name(NULL), ERR_INTERNAL);
    CHECK_STR(err_kind_name((enum err_kind)999), "internal");
}

TEST(codes)
{
    CHECK_INT(err_exit_code(ERR_NONE), 0);
    CHECK_INT(err_exit_code(ERR_USAGE), 2);
    CHECK_INT(err_exit_code(ERR_INVALID), 2);
    CHECK_INT(err_exit_code(ERR_UNAVAILABLE), 3);
    CHECK_INT(err_exit_code(ERR_DENIED), 4);
    CHECK_INT(err_exit_code(ERR_UNAUTH), 4);
    CHECK_INT(err_exit_code(ERR_NOT_FOUND), 1);
    CHECK_INT(err_http_status(ERR_UNPROCESS), 422);
    CHECK_INT(err_http_status(ERR_CONFLICT), 409);
    CHECK_INT(err_http_status(ERR_TOO_LARGE), 413);
    CHECK_INT(err_http_status(ERR_NO_SPACE), 507);
    CHECK_INT(err_http_status(ERR_INTERNAL), 500);
}
