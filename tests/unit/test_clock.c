/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/clock.h"
#include "unit/unit.h"

#include <time.h>

static int64_t fixed_ns(void *arg)
{
    return *(int64_t *)arg;
}

TEST(clocks)
{
    int64_t now = 42;
    const struct clock fake = { fixed_ns, fixed_ns, &now };

    CHECK_INT(clock_mono_ns(&fake), 42);
    CHECK_INT(clock_wall_ns(&fake), 42);
    int64_t a = clock_mono_ns(&clock_system);
    int64_t b = clock_mono_ns(&clock_system);
    CHECK(a > 0 && b >= a);
    int64_t wall = clock_wall_ns(&clock_system) / NS_PER_S - (int64_t)time(NULL);
    CHECK(wall >= -2 && wall <= 2);
}

static void check_format(int64_t ns, const char *want)
{
    char out[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(ns, out, sizeof out);
    CHECK_STR(out, want);
}

TEST(format)
{
    check_format(0, "");
    check_format(-1, "");
    check_format(1, "1970-01-01T00:00:00.000Z");
    check_format(INT64_C(1795198394250999999), "2026-11-20T18:13:14.250Z");
    check_format(INT64_C(951782400) * NS_PER_S, "2000-02-29T00:00:00.000Z");
    check_format(INT64_MAX, "2262-04-11T23:47:16.854Z");
}

static void check_parse(const char *s, int64_t want)
{
    int64_t ns = 7;

    if (!clock_parse_rfc3339(s, &ns))
        unit_fail(__FILE__, __LINE__, "%s was refused", s);
    CHECK_INT(ns, want);
}

TEST(parse)
{
    check_parse("1970-01-01T00:00:00Z", 0);
    check_parse("2026-11-20T18:13:14.250Z", INT64_C(1795198394250000000));
    check_parse("2026-11-20t18:13:14.25z", INT64_C(1795198394250000000));
    check_parse("2026-11-20 20:13:14.250000001+02:00", INT64_C(1795198394250000001));
    check_parse("2026-11-20T12:43:14.25-05:30", INT64_C(1795198394250000000));
    check_parse("1969-12-31T23:59:59.5Z", -NS_PER_S / 2);
    check_parse("2016-12-31T23:59:60Z", INT64_C(1483228800) * NS_PER_S);
    check_parse("2000-02-29T00:00:00-00:00", INT64_C(951782400) * NS_PER_S);
    check_parse("2262-04-11T23:47:16.854775807Z", INT64_MAX);
}

TEST(parse_refuses)
{
    static const char *const bad[] = {
        "",
        "2026-11-20",
        "2026-11-20T18:13:14",
        "2026-11-20T18:13:14.Z",
        "2026-11-20T18:13:14.1234567890Z",
        "2026-11-20T18:13:14Z ",
        "2026-13-20T18:13:14Z",
        "2026-00-20T18:13:14Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T18:60:14Z",
        "2026-11-20T18:13:61Z",
        "2026-11-20T18:13:14+24:00",
        "2026-11-20T18:13:14+02:60",
        "2026-11-20T18:13:14+0200",
        "2026-11-20T18:13:14+02",
        "26-11-20T18:13:14Z",
        " 2026-11-20T18:13:14Z",
        "-026-11-20T18:13:14Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2262-04-11T23:47:16.854775808Z",
    };
    int64_t ns = 7;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (clock_parse_rfc3339(bad[i], &ns))
            unit_fail(__FILE__, __LINE__, "'%s' was accepted", bad[i]);
        CHECK_INT(ns, 7);
    }
}

/* Every day of four centuries, and the C library's opinion of it. */
TEST(format_and_parse_agree)
{
    for (int64_t day = 1; day < 106751; day++) {
        char out[CLOCK_RFC3339_SIZE], want[CLOCK_RFC3339_SIZE];
        int64_t ns = day * 86400 * NS_PER_S + 43199 * NS_PER_S + 7 * NS_PER_MS, back;
        time_t sec = (time_t)(ns / NS_PER_S);
        struct tm tm;
        clock_format_rfc3339(ns, out, sizeof out);
        CHECK(strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.007Z", gmtime_r(&sec, &tm)) > 0);
        CHECK_STR(out, want);
        CHECK(clock_parse_rfc3339(out, &back));
        CHECK_INT(back, ns);
    }
}
