/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_pattern.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(char a, char b, bool nocase)
{
    return a == b || (nocase && lower(a) == lower(b));
}

/* What follows the last '*' is tried further on each time it fails: no recursion, and earlier stars
 * never need another try. */
bool ssh_pattern_match(const char *s, const char *pattern, size_t pattern_len, bool nocase)
{
    const char *p = pattern, *end = pattern + pattern_len;
    const char *star = NULL, *from = NULL;

    while (*s) {
        if (p < end && *p == '*') {
            star = ++p;
            from = s;
        } else if (p < end && (*p == '?' || same(*p, *s, nocase))) {
            p++;
            s++;
        } else if (star) {
            p = star;
            s = ++from;
        } else {
            return false;
        }
    }
    while (p < end && *p == '*')
        p++;
    return p == end;
}

int ssh_pattern_list_match(const char *s, const char *list, size_t list_len, bool nocase)
{
    const char *at = list, *end = list + list_len;
    int result = 0;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        bool negated = at < stop && *at == '!';
        if (negated)
            at++;
        if (ssh_pattern_match(s, at, (size_t)(stop - at), nocase)) {
            if (negated)
                return -1;
            result = 1;
        }
        at = stop + 1;
    }
    return result;
}
