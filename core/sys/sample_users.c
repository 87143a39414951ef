/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is logged in, as three different sources tell it. */
#include "sys/sample_parse.h"

#include "base/mem.h"

#include <ctype.h>

/*
 * glibc's struct utmp where time_t has 64 bits. On machines that also run 32-bit programs the
 * fields behind `exit` have their 32-bit sizes; nothing that is read here lies there.
 */
#define UTMP_TYPE 0 /* short */
#define UTMP_PID 4  /* int */
#define UTMP_USER 44
#define UTMP_USER_SIZE 32
#define UTMP_SHORT 384
#define UTMP_LONG 400
#define USER_PROCESS 7
#define LAST_TYPE 9

void sample_users_add(struct sample_users *u, const char *name, size_t len)
{
    char copy[sizeof u->names[0]];

    if (u->count < 0)
        u->count = u->sessions = 0;
    if (len >= sizeof copy)
        len = sizeof copy - 1;
    for (size_t i = 0; i < len; i++) {
        if (name[i] <= ' ' || name[i] > '~')
            return;
        copy[i] = name[i];
    }
    copy[len] = '\0';
    if (len == 0 || u->sessions >= SAMPLE_SESSIONS_MAX)
        return;
    u->sessions++;
    for (int i = 0; i < u->count; i++) {
        if (strcmp(u->names[i], copy) == 0)
            return;
    }
    if (u->count < SAMPLE_USERS_MAX)
        memcpy(u->names[u->count++], copy, sizeof copy);
}

/* How many of the first records look like records, if each has `size` bytes; 0 when one doesn't. */
static size_t plausible(const unsigned char *data, size_t len, size_t size)
{
    size_t n = 0;

    for (; n < 16 && (n + 1) * size <= len; n++) {
        const unsigned char *r = data + n * size;
        int16_t type;
        memcpy(&type, r + UTMP_TYPE, sizeof type);
        if (type < 0 || type > LAST_TYPE)
            return 0;
        for (size_t i = UTMP_USER; i < UTMP_USER + UTMP_USER_SIZE && r[i] != 0; i++) {
            if (r[i] < ' ' || r[i] == 0x7F)
                return 0;
        }
    }
    return n;
}

bool sample_parse_utmp(const void *data, size_t len, bool (*alive)(int64_t pid, void *arg),
                       void *arg, struct sample_users *u)
{
    const unsigned char *bytes = data;
    size_t as_short = plausible(bytes, len, UTMP_SHORT), as_long = plausible(bytes, len, UTMP_LONG);
    size_t size = UTMP_SHORT, records;

    if (as_short == 0 && as_long == 0)
        return false;
    /* Both may look right while there are few; the length then tells. */
    if (as_short == 0 || (as_long > 0 && len % UTMP_SHORT != 0 && len % UTMP_LONG == 0))
        size = UTMP_LONG;
    records = len / size;
    if (u->count < 0)
        u->count = u->sessions = 0;
    for (size_t i = 0; i < records; i++) {
        const char *name = (const char *)bytes + i * size + UTMP_USER;
        int16_t type;
        int32_t pid;
        memcpy(&type, bytes + i * size + UTMP_TYPE, sizeof type);
        memcpy(&pid, bytes + i * size + UTMP_PID, sizeof pid);
        if (type == USER_PROCESS && pid > 0 && alive(pid, arg))
            sample_users_add(u, name, strnlen(name, UTMP_USER_SIZE));
    }
    return true;
}

static bool line_value(const char *line, size_t len, const char *key, const char **value,
                       size_t *value_len)
{
    size_t n = strlen(key);

    if (len < n || memcmp(line, key, n) != 0)
        return false;
    *value = line + n;
    *value_len = len - n;
    return true;
}

static bool is_text(const char *value, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(value, text, len) == 0;
}

void sample_parse_session(const char *text, size_t len, struct sample_users *u)
{
    const char *line, *value, *user = NULL;
    size_t line_len, n, user_len = 0;
    bool counts = true;

    while (sample_next_line(&text, &len, &line, &line_len)) {
        if (line_value(line, line_len, "USER=", &value, &n)) {
            user = value;
            user_len = n;
        } else if (line_value(line, line_len, "CLASS=", &value, &n)) {
            /* not greeter, lock-screen, background (cron), manager (systemd --user) */
            counts = counts && (is_text(value, n, "user") || is_text(value, n, "user-early") ||
                                is_text(value, n, "user-light"));
        } else if (line_value(line, line_len, "STATE=", &value, &n)) {
            counts = counts && !is_text(value, n, "closing");
        }
    }
    if (user && counts)
        sample_users_add(u, user, user_len);
}

void sample_parse_who(const char *text, size_t len, struct sample_users *u)
{
    const char *line;
    size_t line_len;
    bool first = true;

    if (u->count < 0)
        u->count = u->sessions = 0;
    while (sample_next_line(&text, &len, &line, &line_len)) {
        size_t n = 0;
        while (n < line_len && !isspace((unsigned char)line[n]))
            n++;
        bool heading = first && is_text(line, n, "USER") && memmem(line, line_len, "TTY", 3);
        first = false;
        if (n > 0 && !heading)
            sample_users_add(u, line, n);
    }
}
