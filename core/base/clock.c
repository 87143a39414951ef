/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/clock.h"

#include "base/mem.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts = { 0 };

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t system_mono_ns(void *arg)
{
    (void)arg;
    return read_clock(CLOCK_BOOTTIME);
}

static int64_t system_wall_ns(void *arg)
{
    (void)arg;
    return read_clock(CLOCK_REALTIME);
}

const struct clock clock_system = { system_mono_ns, system_wall_ns, NULL };

int64_t clock_mono_ns(const struct clock *c)
{
    return c->mono_ns(c->arg);
}

int64_t clock_wall_ns(const struct clock *c)
{
    return c->wall_ns(c->arg);
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; the year starts in March here, so that
 * the leap day is its last. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

void clock_format_rfc3339(int64_t wall_ns, char *out, size_t size)
{
    struct tm tm;
    time_t sec = (time_t)(wall_ns / NS_PER_S);

    if (size == 0)
        return;
    out[0] = '\0';
    if (wall_ns <= 0 || !gmtime_r(&sec, &tm))
        return;
    snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ns % NS_PER_S / NS_PER_MS));
}

/* Exactly `count` digits at *s; moves on. -1 when they are not there. */
static int read_digits(const char **s, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return -1;
        value = value * 10 + (**s - '0');
    }
    return value;
}

static bool read_char(const char **s, char c)
{
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* ".5" -> 500000000; absent is 0; -1 when malformed. */
static int64_t read_fraction(const char **s)
{
    int64_t ns = 0, unit = NS_PER_S;

    if (!read_char(s, '.'))
        return 0;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        unit /= 10;
        if (unit == 0)
            return -1;
        ns += (**s - '0') * unit;
    }
    return unit == NS_PER_S ? -1 : ns;
}

/* Z or +hh:mm, in seconds east of UTC. */
static bool read_offset(const char **s, int64_t *seconds)
{
    *seconds = 0;
    if (read_char(s, 'Z') || read_char(s, 'z'))
        return true;
    int sign = **s == '-' ? -1 : 1;
    if (!read_char(s, '+') && !read_char(s, '-'))
        return false;
    int hours = read_digits(s, 2);
    if (hours < 0 || hours > 23 || !read_char(s, ':'))
        return false;
    int minutes = read_digits(s, 2);
    if (minutes < 0 || minutes > 59)
        return false;
    *seconds = (int64_t)sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse_rfc3339(const char *s, int64_t *wall_ns)
{
    int year, month, day, hour, minute, second;

    if ((year = read_digits(&s, 4)) < 0 || !read_char(&s, '-') ||
        (month = read_digits(&s, 2)) < 1 || month > 12 || !read_char(&s, '-') ||
        (day = read_digits(&s, 2)) < 1 || day > days_in_month(year, month))
        return false;
    if (!read_char(&s, 'T') && !read_char(&s, 't') && !read_char(&s, ' '))
        return false;
    /* 60 is a leap second: counted as the first second of the next minute. */
    if ((hour = read_digits(&s, 2)) < 0 || hour > 23 || !read_char(&s, ':') ||
        (minute = read_digits(&s, 2)) < 0 || minute > 59 || !read_char(&s, ':') ||
        (second = read_digits(&s, 2)) < 0 || second > 60)
        return false;
    int64_t ns = read_fraction(&s);
    int64_t offset;
    if (ns < 0 || !read_offset(&s, &offset) || *s != '\0')
        return false;
    int64_t total =
        days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    if (__builtin_mul_overflow(total, NS_PER_S, &total) ||
        __builtin_add_overflow(total, ns, &total))
        return false;
    *wall_ns = total;
    return true;
}
