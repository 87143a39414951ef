/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/str.h"

#include "base/buf.h"
#include "base/mem.h"

bool str_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* ASCII only: the locale must not decide whether two header names are the same. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_eq_nocase(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t len = strlen(s);
    size_t tail = strlen(suffix);

    return len >= tail && memcmp(s + len - tail, suffix, tail) == 0;
}

bool str_copy(char *dst, size_t size, const char *src)
{
    size_t len = strlen(src);
    bool fits = len < size;

    if (!fits)
        len = size - 1;
    memcpy(dst, src, len);
    dst[len] = '\0';
    return fits;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

char *str_trim(char *s)
{
    size_t len;

    while (is_blank(*s))
        s++;
    len = strlen(s);
    while (len > 0 && is_blank(s[len - 1]))
        len--;
    s[len] = '\0';
    return s;
}

/* Characters that mean nothing to a shell anywhere in a word. '=' is left out: as the first word,
 * A=b would be an assignment. '~' too: at the start it is somebody's home. */
static bool shell_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_@%+:,./-", c));
}

void str_append_shell_quoted(struct buf *b, const char *s)
{
    const char *p = s;

    /* --option=value reads better bare, and can't be an assignment. */
    while (shell_plain(*p) || (*p == '=' && s[0] == '-'))
        p++;
    if (p != s && *p == '\0') {
        buf_append_str(b, s);
        return;
    }
    buf_append_char(b, '\'');
    for (p = s; *p; p++) {
        if (*p == '\'')
            buf_append_str(b, "'\\''");
        else
            buf_append_char(b, *p);
    }
    buf_append_char(b, '\'');
}

#define DISTANCE_MAX_WORD 64
#define DISTANCE_FAR 1000

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Optimal string alignment: three rows are enough, the third for transpositions. */
unsigned str_distance(const char *a, const char *b)
{
    unsigned rows[3][DISTANCE_MAX_WORD + 1];
    unsigned *before = rows[0], *prev = rows[1], *cur = rows[2];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > DISTANCE_MAX_WORD || b_len > DISTANCE_MAX_WORD)
        return DISTANCE_FAR;
    for (size_t j = 0; j <= b_len; j++)
        cur[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *spare = before;
        before = prev;
        prev = cur;
        cur = spare;
        cur[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned change = a[i - 1] == b[j - 1] ? 0 : 1;
            cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < cur[j])
                cur[j] = before[j - 2] + 1;
        }
    }
    return cur[b_len];
}

const char *str_did_you_mean(const char *word, const char *const *names)
{
    size_t len = strlen(word);
    unsigned best_distance = len <= 4 ? 2 : len <= 8 ? 3 : 4; /* one more than is accepted */
    const char *best = NULL;

    for (size_t i = 0; names[i]; i++) {
        unsigned d = str_distance(word, names[i]);
        /* An abbreviation is nearer than its distance says. */
        if (len >= 3 && str_starts(names[i], word))
            d = 1;
        /* Replacing every letter is no resemblance: "ab" is not "xy". */
        if (d < best_distance && d < len) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

bool str_secret_eq(const void *a, const void *b, size_t len)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned char diff = 0;

    for (size_t i = 0; i < len; i++)
        diff = (unsigned char)(diff | (x[i] ^ y[i]));
    return diff == 0;
}

void str_hex(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = '\0';
}
