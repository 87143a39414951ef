/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "unit/unit.h"

#include <inttypes.h>

TEST(integers)
{
    struct err err = ERR_INIT;
    int64_t v = 5;

    CHECK_OK(str_to_int("42", 1, 64, "threads", &v, &err), &err);
    CHECK_INT(v, 42);
    CHECK_OK(str_to_int("-7", -10, 10, "priority", &v, &err), &err);
    CHECK_INT(v, -7);
    CHECK_OK(str_to_int("-9223372036854775808", INT64_MIN, INT64_MAX, "n", &v, &err), &err);
    CHECK_INT(v, INT64_MIN);
    CHECK_OK(str_to_int("9223372036854775807", INT64_MIN, INT64_MAX, "n", &v, &err), &err);
    CHECK_INT(v, INT64_MAX);
    CHECK_OK(str_to_int("007", 0, 10, "n", &v, &err), &err);
    CHECK_INT(v, 7);
    v = 5;
    CHECK_INT(str_to_int("100", 1, 64, "threads", &v, &err), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK_STR(err.msg, "threads must be a whole number from 1 to 64, not '100'");
    CHECK_INT(v, 5);
}

TEST(integers_refused)
{
    static const char *const bad[] = { "",
                                       "-",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "1x",
                                       "0x1",
                                       "1.0",
                                       "1e3",
                                       "--1",
                                       "\u0663",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "99999999999999999999999999" };
    int64_t v = 5;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = ERR_INIT;
        if (str_to_int(bad[i], INT64_MIN, INT64_MAX, "n", &v, &err) != -1)
            unit_fail(__FILE__, __LINE__, "'%s' was accepted", bad[i]);
        CHECK_INT(err.kind, ERR_INVALID);
        CHECK_INT(v, 5);
    }
    CHECK_INT(str_to_int("x", 0, 1, "n", &v, NULL), -1);
}

/* What a stranger typed is shown, but cut and made safe. */
TEST(messages_quote_safely)
{
    struct err err = ERR_INIT;
    char text[200];
    int64_t v;

    memset(text, 0x1b, sizeof text);
    text[sizeof text - 1] = '\0';
    CHECK_INT(str_to_int(text, 0, 1, "n", &v, &err), -1);
    CHECK(!strchr(err.msg, 0x1b));
    CHECK(strstr(err.msg, "\\e\\e"));
    CHECK(str_ends(err.msg, "...'"));
    CHECK(strlen(err.msg) < 200);
}

TEST(fractions)
{
    static const char *const bad[] = {
        "", "nan", "inf", "0x10", " 1", "1.", ".5", "1e", "1,5", "-"
    };
    struct err err = ERR_INIT;
    double v = 9;

    CHECK_OK(str_to_double("2.5", 0, 10, "factor", &v, &err), &err);
    CHECK(v >= 2.5 && v <= 2.5);
    CHECK_OK(str_to_double("-1e-2", -1, 10, "factor", &v, &err), &err);
    CHECK(v >= -0.01 && v <= -0.01);
    CHECK_INT(str_to_double("11", 0, 10, "factor", &v, &err), -1);
    CHECK_STR(err.msg, "factor must be a number from 0 to 10, not '11'");
    CHECK_INT(str_to_double("1e999", 0, 10, "factor", &v, &err), -1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_INT(str_to_double(bad[i], -1000, 1000, "n", &v, NULL), -1);
}

TEST(sizes)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } rows[] = {
        { "0", 0 },
        { "0B", 0 },
        { "1B", 1 },
        { "1K", 1024 },
        { "512M", INT64_C(512) << 20 },
        { "8G", INT64_C(8) << 30 },
        { "8g", INT64_C(8) << 30 },
        { "8GiB", INT64_C(8) << 30 },
        { "8GB", INT64_C(8) << 30 },
        { "1.5G", INT64_C(3) << 29 },
        { "0.5K", 512 },
        { "2T", INT64_C(2) << 40 },
        { "3P", INT64_C(3) << 50 },
        { "8191P", INT64_C(8191) << 50 },
        { "9223372036854775807B", INT64_MAX },
        { "0.1234567891234K", 126 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        int64_t v = -1;
        CHECK_OK(str_to_size(rows[i].text, &v, &err), &err);
        CHECK_INT(v, rows[i].bytes);
    }
}

TEST(sizes_refused)
{
    static const char *const bad[] = {
        "",          "G",   "-1G",    "+1G", "1 G",  " 1G",   "1G ",
        "1.G",       ".5G", "1.5.5G", "1X",  "1GG",  "1GiBB", "1iB",
        "BB",        "1BB", "1,5G",   "00",  "1e3M", "8192P", "9223372036854775808B",
        "1\xc2\xa0G"
    };
    struct err err = ERR_INIT;
    int64_t v = 5;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err_clear(&err);
        if (str_to_size(bad[i], &v, &err) != -1)
            unit_fail(__FILE__, __LINE__, "'%s' was accepted", bad[i]);
        CHECK_INT(err.kind, ERR_INVALID);
        CHECK_INT(v, 5);
    }
    CHECK_INT(str_to_size("8", &v, &err), -1);
    CHECK_STR(err.msg, "the size '8' has no unit");
    CHECK_STR(err.hint, "write 8G or 512M");
    CHECK_INT(str_to_size("8192P", &v, &err), -1);
    CHECK_STR(err.msg, "the size '8192P' is too large");
}

TEST(durations)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        { "0", 0 },
        { "0s", 0 },
        { "250ms", 250 * NS_PER_MS },
        { "90s", 90 * NS_PER_S },
        { "15m", 900 * NS_PER_S },
        { "1h30m", 5400 * NS_PER_S },
        { "1d12h", 36 * 3600 * NS_PER_S },
        { "2w", 14 * 86400 * NS_PER_S },
        { "1w1d1h1m1s1ms", 694861001 * NS_PER_MS },
        { "1m500ms", 60500 * NS_PER_MS },
        { "0.5s", 500 * NS_PER_MS },
        { "1.5h", 5400 * NS_PER_S },
        { "3us", 3000 },
        { "7ns", 7 },
        { "9223372036854775807ns", INT64_MAX },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        int64_t v = -1;
        CHECK_OK(str_to_duration(rows[i].text, &v, &err), &err);
        CHECK_INT(v, rows[i].ns);
    }
}

TEST(durations_refused)
{
    static const char *const bad[] = { "",     "s",     "-1s",    "1 s",  "1s ",   "1h1h",   "1m1h",
                                       "1s1m", "1x",    "1S",     "1sec", "1h30",  "1mm",    "1.s",
                                       "00",   "1h-1m", "16000w", "1e3s", "1ms1s", "106752d" };
    struct err err = ERR_INIT;
    int64_t v = 5;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err_clear(&err);
        if (str_to_duration(bad[i], &v, &err) != -1)
            unit_fail(__FILE__, __LINE__, "'%s' was accepted", bad[i]);
        CHECK_INT(err.kind, ERR_INVALID);
        CHECK_INT(v, 5);
    }
    CHECK_INT(str_to_duration("90", &v, &err), -1);
    CHECK_STR(err.msg, "the duration '90' has no unit");
    CHECK_STR(err.hint, "write 90s, 15m or 1h30m");
}

static void check_form(void (*form)(struct buf *, int64_t), int64_t value, const char *want)
{
    struct buf b = BUF_INIT;

    form(&b, value);
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
}

TEST(sizes_for_people)
{
    const int64_t m = 1 << 20, g = 1 << 30;

    check_form(str_format_size, 0, "0");
    check_form(str_format_size, -5, "0");
    check_form(str_format_size, 1, "1B");
    check_form(str_format_size, 1023, "1023B");
    check_form(str_format_size, 1024, "1.0K");
    check_form(str_format_size, 1536, "1.5K");
    check_form(str_format_size, 512 * m, "512M");
    check_form(str_format_size, 8 * g, "8.0G");
    check_form(str_format_size, 10 * g, "10G");
    check_form(str_format_size, 10 * g - 1, "10G");
    check_form(str_format_size, g - 1, "1.0G");
    check_form(str_format_size, 1023 * m, "1023M");
    check_form(str_format_size, 1023 * m + m * 6 / 10, "1.0G");
    check_form(str_format_size, INT64_MAX, "8192P");
}

TEST(durations_for_people)
{
    check_form(str_format_duration, 0, "0s");
    check_form(str_format_duration, -1, "0s");
    check_form(str_format_duration, 1, "1ms");
    check_form(str_format_duration, 3 * NS_PER_MS, "3ms");
    check_form(str_format_duration, 200 * NS_PER_MS, "0.2s");
    check_form(str_format_duration, 9999 * NS_PER_MS, "9.9s");
    check_form(str_format_duration, 10 * NS_PER_S, "10s");
    check_form(str_format_duration, 90 * NS_PER_S, "90s");
    check_form(str_format_duration, 120 * NS_PER_S, "2m");
    check_form(str_format_duration, 125 * NS_PER_S, "2m5s");
    check_form(str_format_duration, 5400 * NS_PER_S, "1h30m");
    check_form(str_format_duration, 51 * 3600 * NS_PER_S, "2d3h");
    check_form(str_format_duration, 48 * 3600 * NS_PER_S + 59 * NS_PER_S, "2d");
    check_form(str_format_duration, INT64_MAX, "106751d23h");
}

/* Always below 8 bytes, and within a twentieth of the truth, over the whole range. */
TEST(short_sizes_are_short_and_near)
{
    for (int64_t v = 1; v < INT64_MAX / 3 * 2; v += v / 37 + 1) {
        struct buf b = BUF_INIT;
        int64_t back;
        str_format_size(&b, v);
        CHECK(buf_len(&b) < 8);
        if (str_to_size(buf_data(&b), &back, NULL) == 0) {
            int64_t off = back > v ? back - v : v - back;
            if (off > v / 19)
                unit_fail(__FILE__, __LINE__, "%" PRId64 " became %s", v, buf_data(&b));
        }
        buf_fini(&b);
    }
}

TEST(exact_forms_read_back)
{
    check_form(str_exact_size, 0, "0");
    check_form(str_exact_size, 1536 << 20, "1536M");
    check_form(str_exact_size, 1025, "1025B");
    check_form(str_exact_duration, 90 * NS_PER_S, "90s");
    check_form(str_exact_duration, 250 * NS_PER_MS, "250ms");
    check_form(str_exact_duration, 14 * 86400 * NS_PER_S, "14d");
    for (int64_t v = 1; v < INT64_MAX / 3 * 2; v += v / 7 + 1) {
        struct buf b = BUF_INIT;
        int64_t back = -1;
        str_exact_size(&b, v);
        CHECK_INT(str_to_size(buf_data(&b), &back, NULL), 0);
        CHECK_INT(back, v);
        buf_clear(&b);
        str_exact_duration(&b, v);
        CHECK_INT(str_to_duration(buf_data(&b), &back, NULL), 0);
        CHECK_INT(back, v);
        buf_fini(&b);
    }
}
