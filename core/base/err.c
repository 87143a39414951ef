/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/err.h"

#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>

/* Everything about a kind in one row; the order is that of enum err_kind. */
static const struct {
    const char *name;
    int exit_code;
    int http_status;
} kinds[] = {
    [ERR_NONE] = { "none", 0, 200 },
    [ERR_USAGE] = { "usage", 2, 400 },
    [ERR_INVALID] = { "invalid", 2, 400 },
    [ERR_UNPROCESS] = { "unprocessable", 1, 422 },
    [ERR_NOT_FOUND] = { "not_found", 1, 404 },
    [ERR_DENIED] = { "denied", 4, 403 },
    [ERR_UNAUTH] = { "unauthorized", 4, 401 },
    [ERR_CONFLICT] = { "conflict", 1, 409 },
    [ERR_TOO_LARGE] = { "too_large", 1, 413 },
    [ERR_NO_SPACE] = { "no_space", 1, 507 },
    [ERR_UNAVAILABLE] = { "unavailable", 3, 503 },
    [ERR_TIMEOUT] = { "timeout", 1, 504 },
    [ERR_CORRUPT] = { "corrupt", 1, 500 },
    [ERR_VERSION] = { "version", 1, 500 },
    [ERR_IO] = { "io", 1, 500 },
    [ERR_INTERNAL] = { "internal", 1, 500 },
};

_Static_assert(ARRAY_LEN(kinds) == ERR_KIND_COUNT, "a row for every kind");

static enum err_kind known_kind(enum err_kind kind)
{
    return (unsigned)kind < ERR_KIND_COUNT ? kind : ERR_INTERNAL;
}

/* vsnprintf cuts at a byte; a message is shown as UTF-8, so half a character must not stay. */
static void drop_partial_char(char *s)
{
    size_t len = strlen(s);
    size_t back = 0;

    while (back < 3 && back < len && ((unsigned char)s[len - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back == len)
        return;
    unsigned char lead = (unsigned char)s[len - 1 - back];
    size_t need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (need > back)
        s[len - 1 - back] = '\0';
}

/* Formats into `tmp` first, because the arguments may point into the destination. */
__attribute__((format(printf, 3, 0))) static void set_text(char *dst, size_t size, const char *fmt,
                                                           va_list ap)
{
    char tmp[sizeof(((struct err *)0)->msg)];
    int len = vsnprintf(tmp, size < sizeof tmp ? size : sizeof tmp, fmt, ap);

    if (len < 0)
        tmp[0] = '\0';
    else if ((size_t)len >= size)
        drop_partial_char(tmp);
    memcpy(dst, tmp, strlen(tmp) + 1);
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    set_text(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    err->kind = known_kind(kind);
    err->sys = 0;
    err->hint[0] = '\0';
    return -1;
}

static enum err_kind kind_of_errno(int sys)
{
    switch (sys) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EMFILE:
    case ENFILE:
        return ERR_UNAVAILABLE;
    default:
        return ERR_IO;
    }
}

int err_sys(struct err *err, int sys, const char *fmt, ...)
{
    char what[sizeof err->msg];
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    set_text(what, sizeof what, fmt, ap);
    va_end(ap);
    err_set(err, kind_of_errno(sys), "%s: %s", what, strerror(sys));
    err->sys = sys;
    return -1;
}

int err_hint(struct err *err, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    set_text(err->hint, sizeof err->hint, fmt, ap);
    va_end(ap);
    return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
    char prefix[sizeof err->msg];
    char rest[sizeof err->msg];
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    set_text(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(rest, err->msg, sizeof rest);
    if ((size_t)snprintf(err->msg, sizeof err->msg, "%s: %s", prefix, rest) >= sizeof err->msg)
        drop_partial_char(err->msg);
    return -1;
}

void err_clear(struct err *err)
{
    if (!err)
        return;
    err->kind = ERR_NONE;
    err->sys = 0;
    err->msg[0] = '\0';
    err->hint[0] = '\0';
}

const char *err_kind_name(enum err_kind kind)
{
    return kinds[known_kind(kind)].name;
}

enum err_kind err_kind_from_name(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_LEN(kinds); i++)
        if (strcmp(name, kinds[i].name) == 0)
            return (enum err_kind)i;
    return ERR_INTERNAL;
}

int err_exit_code(enum err_kind kind)
{
    return kinds[known_kind(kind)].exit_code;
}

int err_http_status(enum err_kind kind)
{
    return kinds[known_kind(kind)].http_status;
}
