/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers as people write them: integers, fractions, sizes and durations. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

struct unit {
    const char *name;
    int64_t value;
};

/* Largest first. */
static const struct unit size_units[] = {
    { "P", INT64_C(1) << 50 }, { "T", INT64_C(1) << 40 }, { "G", INT64_C(1) << 30 },
    { "M", INT64_C(1) << 20 }, { "K", INT64_C(1) << 10 }, { "B", 1 },
};

static const struct unit time_units[] = {
    { "w", 7 * 86400 * NS_PER_S },
    { "d", 86400 * NS_PER_S },
    { "h", 3600 * NS_PER_S },
    { "m", 60 * NS_PER_S },
    { "s", NS_PER_S },
    { "ms", NS_PER_MS },
    { "us", NS_PER_US },
    { "ns", 1 },
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "%.40s" of the safe form: a message stays readable whatever was typed. */
#define SHOWN_MAX 160
static const char *shown(const char *s, char out[SHOWN_MAX])
{
    struct buf b = BUF_INIT;

    str_append_safe(&b, s, strnlen(s, 40));
    if (strnlen(s, 41) > 40)
        buf_append_str(&b, "...");
    str_copy(out, SHOWN_MAX, buf_data(&b));
    buf_fini(&b);
    return out;
}

int str_to_int(const char *s, int64_t min, int64_t max, const char *what, int64_t *out,
               struct err *err)
{
    char text[SHOWN_MAX];
    const char *p = s;
    bool negative = *p == '-';
    int64_t value = 0;

    p += negative;
    bool ok = is_digit(*p);
    for (; ok && is_digit(*p); p++) {
        /* Counted down from zero so that INT64_MIN has room. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, *p - '0', &value))
            ok = false;
    }
    ok = ok && *p == '\0' && (negative || value != INT64_MIN);
    if (ok && !negative)
        value = -value;
    if (!ok || value < min || value > max)
        return err_set(err, ERR_INVALID,
                       "%s must be a whole number from %" PRId64 " to %" PRId64 ", not '%s'", what,
                       min, max, shown(s, text));
    *out = value;
    return 0;
}

/* -?digits[.digits][e[+-]digits]: strtod alone would take hex, "inf", and leading blanks. */
static bool is_decimal(const char *s)
{
    s += *s == '-';
    if (!is_digit(*s))
        return false;
    while (is_digit(*s))
        s++;
    if (*s == '.') {
        if (!is_digit(*++s))
            return false;
        while (is_digit(*s))
            s++;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '+' || *s == '-';
        if (!is_digit(*s))
            return false;
        while (is_digit(*s))
            s++;
    }
    return *s == '\0';
}

int str_to_double(const char *s, double min, double max, const char *what, double *out,
                  struct err *err)
{
    char text[SHOWN_MAX];
    bool ok = is_decimal(s);
    double value = ok ? strtod(s, NULL) : 0;

    if (!ok || !isfinite(value) || value < min || value > max)
        return err_set(err, ERR_INVALID, "%s must be a number from %g to %g, not '%s'", what, min,
                       max, shown(s, text));
    *out = value;
    return 0;
}

/* Reads digits[.digits] as whole + numerator/denominator; the fraction keeps nine digits.
 * Returns the first byte after it, or NULL when malformed or too large. */
static const char *read_fixed(const char *s, int64_t *whole, int64_t *num, int64_t *den)
{
    *whole = 0;
    *num = 0;
    *den = 1;
    if (!is_digit(*s))
        return NULL;
    for (; is_digit(*s); s++)
        if (__builtin_mul_overflow(*whole, 10, whole) ||
            __builtin_add_overflow(*whole, *s - '0', whole))
            return NULL;
    if (*s != '.')
        return s;
    if (!is_digit(*++s))
        return NULL;
    for (; is_digit(*s); s++) {
        if (*den < NS_PER_S) {
            *den *= 10;
            *num = *num * 10 + (*s - '0');
        }
    }
    return s;
}

/* (whole + num/den) * unit, rounded down; false on overflow. */
static bool scale(int64_t whole, int64_t num, int64_t den, int64_t unit, int64_t *out)
{
    /* unit * num / den without its overflow: num < den <= 1e9. */
    int64_t part = unit / den * num + unit % den * num / den;

    return !__builtin_mul_overflow(whole, unit, out) && !__builtin_add_overflow(*out, part, out);
}

/* Takes "G", "GiB" and "GB" alike, in any case. NULL when it is none of them. */
static const struct unit *find_size_unit(const char *suffix)
{
    for (size_t i = 0; i < ARRAY_LEN(size_units); i++) {
        const char *name = size_units[i].name;
        char iec[8], si[8];
        snprintf(iec, sizeof iec, "%siB", name);
        snprintf(si, sizeof si, "%sB", name);
        if (str_eq_nocase(suffix, name))
            return &size_units[i];
        if (size_units[i].value > 1 && (str_eq_nocase(suffix, iec) || str_eq_nocase(suffix, si)))
            return &size_units[i];
    }
    return NULL;
}

int str_to_size(const char *s, int64_t *bytes, struct err *err)
{
    char text[SHOWN_MAX];
    int64_t whole, num, den;
    const char *suffix = read_fixed(s, &whole, &num, &den);

    if (str_eq(s, "0")) {
        *bytes = 0;
        return 0;
    }
    if (suffix && *suffix == '\0') {
        err_set(err, ERR_INVALID, "the size '%s' has no unit", shown(s, text));
        return err_hint(err, "write 8G or 512M");
    }
    const struct unit *u = suffix ? find_size_unit(suffix) : NULL;
    if (!u) {
        err_set(err, ERR_INVALID, "'%s' is not a size", shown(s, text));
        return err_hint(err, "write 8G or 512M (units: B, K, M, G, T, P)");
    }
    int64_t value;
    if (!scale(whole, num, den, u->value, &value))
        return err_set(err, ERR_INVALID, "the size '%s' is too large", shown(s, text));
    *bytes = value;
    return 0;
}

/* The unit `s` begins with, and what follows it. */
static const struct unit *read_time_unit(const char *s, const char **end)
{
    size_t len = 0;

    while (s[len] >= 'a' && s[len] <= 'z')
        len++;
    for (size_t i = 0; i < ARRAY_LEN(time_units); i++) {
        if (strlen(time_units[i].name) == len && memcmp(time_units[i].name, s, len) == 0) {
            *end = s + len;
            return &time_units[i];
        }
    }
    return NULL;
}

int str_to_duration(const char *s, int64_t *ns, struct err *err)
{
    char text[SHOWN_MAX];
    const struct unit *last = NULL;
    const char *p = s;
    int64_t total = 0;

    if (str_eq(s, "0")) {
        *ns = 0;
        return 0;
    }
    do {
        int64_t whole, num, den, value;
        p = read_fixed(p, &whole, &num, &den);
        if (p && *p == '\0' && !last) {
            err_set(err, ERR_INVALID, "the duration '%s' has no unit", shown(s, text));
            return err_hint(err, "write 90s, 15m or 1h30m");
        }
        const struct unit *u = p ? read_time_unit(p, &p) : NULL;
        /* Falling order: rows are sorted, so a later component is a later row. */
        if (!u || (last && u <= last)) {
            err_set(err, ERR_INVALID, "'%s' is not a duration", shown(s, text));
            return err_hint(err, "write 90s, 15m or 1h30m (units: w, d, h, m, s, ms)");
        }
        if (!scale(whole, num, den, u->value, &value) ||
            __builtin_add_overflow(total, value, &total))
            return err_set(err, ERR_INVALID, "the duration '%s' is too long", shown(s, text));
        last = u;
    } while (*p);
    *ns = total;
    return 0;
}

void str_format_size(struct buf *b, int64_t bytes)
{
    if (bytes <= 0) {
        buf_append_char(b, '0');
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(size_units); i++) {
        int64_t unit = size_units[i].value;
        int64_t whole = bytes / unit;
        /* 1023.9M is shown as 1.0G, not as 1024M. */
        int64_t up = unit - unit / 2048;
        if (whole == 0 && (unit == 1 || bytes < up))
            continue;
        int64_t tenths = whole >= 10 ? 0 : whole * 10 + (bytes % unit * 10 + unit / 2) / unit;
        if (unit > 1 && whole < 10 && tenths < 100)
            buf_printf(b, "%" PRId64 ".%" PRId64 "%s", tenths / 10, tenths % 10,
                       size_units[i].name);
        else
            buf_printf(b, "%" PRId64 "%s", whole + (bytes % unit * 2 >= unit && unit > 1),
                       size_units[i].name);
        return;
    }
}

void str_format_duration(struct buf *b, int64_t ns)
{
    /* From here up, in which two units. */
    static const struct {
        int64_t from, big, small;
        const char *big_name, *small_name;
    } forms[] = {
        { 86400 * NS_PER_S, 86400 * NS_PER_S, 3600 * NS_PER_S, "d", "h" },
        { 3600 * NS_PER_S, 3600 * NS_PER_S, 60 * NS_PER_S, "h", "m" },
        { 120 * NS_PER_S, 60 * NS_PER_S, NS_PER_S, "m", "s" },
    };

    if (ns <= 0) {
        buf_append_str(b, "0s");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (ns < forms[i].from)
            continue;
        buf_printf(b, "%" PRId64 "%s", ns / forms[i].big, forms[i].big_name);
        if (ns % forms[i].big / forms[i].small > 0)
            buf_printf(b, "%" PRId64 "%s", ns % forms[i].big / forms[i].small, forms[i].small_name);
        return;
    }
    if (ns >= 10 * NS_PER_S)
        buf_printf(b, "%" PRId64 "s", ns / NS_PER_S);
    else if (ns >= 100 * NS_PER_MS)
        buf_printf(b, "%" PRId64 ".%" PRId64 "s", ns / NS_PER_S, ns % NS_PER_S / (100 * NS_PER_MS));
    else
        buf_printf(b, "%" PRId64 "ms", (ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* In the largest unit that divides it. Weeks are left out: "14d" is read more easily than "2w". */
static void append_exact(struct buf *b, const struct unit *units, size_t count, int64_t value)
{
    if (value <= 0) {
        buf_append_char(b, '0');
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (value % units[i].value == 0) {
            buf_printf(b, "%" PRId64 "%s", value / units[i].value, units[i].name);
            return;
        }
    }
}

void str_exact_size(struct buf *b, int64_t bytes)
{
    append_exact(b, size_units, ARRAY_LEN(size_units), bytes);
}

void str_exact_duration(struct buf *b, int64_t ns)
{
    append_exact(b, time_units + 1, ARRAY_LEN(time_units) - 1, ns);
}
