/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "unit/unit.h"

#include <math.h>

static yyjson_doc *parse(const char *text)
{
    struct err err = ERR_INIT;
    yyjson_doc *doc = jsonx_parse(text, strlen(text), &err);

    if (!doc)
        unit_fail(__FILE__, __LINE__, "%s: %s", text, err.msg);
    return doc;
}

static void check_refused(const char *text, size_t len, const char *part)
{
    struct err err = ERR_INIT;

    if (jsonx_parse(text, len, &err))
        unit_fail(__FILE__, __LINE__, "accepted: %s", text);
    CHECK_INT(err.kind, ERR_INVALID);
    if (!strstr(err.msg, part))
        unit_fail(__FILE__, __LINE__, "'%s' is not in '%s'", part, err.msg);
}

TEST(parse_refuses)
{
    static const char *const bad[] = { "",
                                       "{",
                                       "[1,]",
                                       "{\"a\":1,}",
                                       "// c\n1",
                                       "[1] 2",
                                       "'a'",
                                       "NaN",
                                       "[Infinity]",
                                       "01",
                                       "{a:1}",
                                       "\"\x80\"",
                                       "\"\xed\xa0\x80\"",
                                       "\"\\ud800\"",
                                       "\"a\nb\"",
                                       "\xef\xbb\xbf{}",
                                       "\"\\u0000" };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_refused(bad[i], strlen(bad[i]), "invalid JSON at line 1");
    check_refused("{\n \"a\": ?}", 10, "line 2, column 7");
    check_refused(NULL, 0, "line 1");
    check_refused("{\"a\":\"x\\u0000y\"}", 16, "NUL");
    check_refused("{\"a\0b\":1}", 9, "line 1");
    check_refused("{\"a\\u0000\":1}", 13, "NUL");
}

TEST(escaped_backslash_before_u0000_is_no_nul)
{
    yyjson_doc *doc = parse("\"\\\\u0000\"");

    CHECK_STR(yyjson_get_str(yyjson_doc_get_root(doc)), "\\u0000");
    yyjson_doc_free(doc);
}

TEST(depth)
{
    char text[4 * LIMIT_JSON_DEPTH];
    size_t d = LIMIT_JSON_DEPTH;

    memset(text, '[', d);
    memset(text + d, ']', d);
    struct err err = ERR_INIT;
    yyjson_doc *doc = jsonx_parse(text, 2 * d, &err);
    CHECK(doc);
    yyjson_doc_free(doc);
    memset(text, '[', d + 1);
    memset(text + d + 1, ']', d + 1);
    check_refused(text, 2 * d + 2, "nested too deeply");
    /* Siblings are not depth, and brackets in strings are text. */
    doc = parse("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                "[],[],[],[],[],[],[],[],[],[],\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"]");
    yyjson_doc_free(doc);
}

TEST(typed_fields)
{
    yyjson_doc *doc = parse("{\"s\":\"text\",\"i\":42,\"f\":4.0,\"neg\":-3,\"b\":true,\"n\":null,"
                            "\"size\":\"8G\",\"bytes\":1024,\"d\":\"1h30m\",\"sec\":1.5,"
                            "\"a\":[1,2],\"o\":{\"x\":1},\"s\":\"second\"}");
    yyjson_val *o = yyjson_doc_get_root(doc), *sub;
    struct err err = ERR_INIT;
    const char *s = "old";
    int64_t i = 5;
    bool b = false;

    CHECK_INT(jsonx_get_str(o, "", "s", 10, &s, &err), 1);
    CHECK_STR(s, "text");
    CHECK_INT(jsonx_get_str(o, "", "none", 10, &s, &err), 0);
    CHECK_INT(jsonx_get_str(o, "", "n", 10, &s, &err), 0);
    CHECK_STR(s, "text");
    CHECK_INT(jsonx_get_int(o, "", "none", 0, 9, &i, &err), 0);
    CHECK_INT(i, 5);
    CHECK_INT(jsonx_get_int(o, "", "i", 0, 100, &i, &err), 1);
    CHECK_INT(i, 42);
    CHECK_INT(jsonx_get_int(o, "", "f", 0, 100, &i, &err), 1);
    CHECK_INT(i, 4);
    CHECK_INT(jsonx_get_int(o, "", "neg", -5, 100, &i, &err), 1);
    CHECK_INT(i, -3);
    CHECK_INT(jsonx_get_bool(o, "", "b", &b, &err), 1);
    CHECK(b);
    CHECK_INT(jsonx_get_size(o, "", "size", &i, &err), 1);
    CHECK_INT(i, INT64_C(8) << 30);
    CHECK_INT(jsonx_get_size(o, "", "bytes", &i, &err), 1);
    CHECK_INT(i, 1024);
    CHECK_INT(jsonx_get_duration(o, "", "d", &i, &err), 1);
    CHECK_INT(i, 5400 * NS_PER_S);
    CHECK_INT(jsonx_get_duration(o, "", "sec", &i, &err), 1);
    CHECK_INT(i, 1500 * NS_PER_MS);
    CHECK_INT(jsonx_get_duration(o, "", "i", &i, &err), 1);
    CHECK_INT(i, 42 * NS_PER_S);
    CHECK_INT(jsonx_get_array(o, "", "a", 2, &sub, &err), 1);
    CHECK_INT(yyjson_arr_size(sub), 2);
    CHECK_INT(jsonx_get_object(o, "", "o", &sub, &err), 1);
    CHECK_INT(jsonx_get_int(sub, "o.", "x", 0, 1, &i, &err), 1);
    yyjson_doc_free(doc);
}

static void check_msg(int rc, const struct err *err, const char *want)
{
    CHECK_INT(rc, -1);
    CHECK_INT(err->kind, ERR_INVALID);
    CHECK_STR(err->msg, want);
}

TEST(wrong_fields_are_named)
{
    yyjson_doc *doc =
        parse("{\"s\":\"text\",\"i\":420,\"f\":1.5,\"neg\":-3,\"b\":true,\"a\":[1,2,3],"
              "\"o\":{},\"big\":18446744073709551615,\"huge\":1e300,\"gs\":\"8 gigs\","
              "\"e\":1e18}");
    yyjson_val *o = yyjson_doc_get_root(doc), *sub = NULL;
    struct err e = ERR_INIT;
    const char *s = "old";
    int64_t i = 5;
    bool b = false;

    check_msg(jsonx_get_str(o, "jobs[3].", "i", 9, &s, &e), &e,
              "jobs[3].i must be a string, not 420");
    check_msg(jsonx_get_str(o, "", "s", 3, &s, &e), &e, "s is longer than 3 bytes");
    check_msg(jsonx_get_int(o, "", "s", 1, 64, &i, &e), &e,
              "s must be a whole number from 1 to 64, not the string \"text\"");
    check_msg(jsonx_get_int(o, "", "i", 1, 64, &i, &e), &e,
              "i must be a whole number from 1 to 64, not 420");
    check_msg(jsonx_get_int(o, "", "f", 1, 64, &i, &e), &e,
              "f must be a whole number from 1 to 64, not 1.5");
    check_msg(jsonx_get_int(o, "", "big", 1, INT64_MAX, &i, &e), &e,
              "big must be a whole number from 1 to 9223372036854775807, not 18446744073709551615");
    CHECK_INT(jsonx_get_int(o, "", "huge", 1, INT64_MAX, &i, &e), -1);
    CHECK_INT(jsonx_get_int(o, "", "e", 1, INT64_MAX, &i, &e), -1); /* over 2^53: not exact */
    check_msg(jsonx_get_bool(o, "", "i", &b, &e), &e, "i must be true or false, not 420");
    check_msg(jsonx_get_size(o, "", "gs", &i, &e), &e, "gs: '8 gigs' is not a size");
    check_msg(jsonx_get_size(o, "", "neg", &i, &e), &e,
              "neg must be a number of bytes or a string such as \"8G\", not -3");
    check_msg(jsonx_get_duration(o, "", "neg", &i, &e), &e,
              "neg must be a number of seconds or a string such as \"1h30m\", not -3");
    CHECK_INT(jsonx_get_duration(o, "", "huge", &i, &e), -1);
    CHECK_INT(jsonx_get_duration(o, "", "big", &i, &e), -1);
    check_msg(jsonx_get_duration(o, "", "s", &i, &e), &e, "s: 'text' is not a duration");
    check_msg(jsonx_get_array(o, "", "a", 2, &sub, &e), &e, "a has 3 items; the limit is 2");
    check_msg(jsonx_get_array(o, "", "b", 2, &sub, &e), &e, "b must be an array, not true");
    check_msg(jsonx_get_object(o, "", "a", &sub, &e), &e, "a must be an object, not an array");
    yyjson_val *a = yyjson_obj_get(o, "a");
    check_msg(jsonx_get_int(a, "jobs[3].", "x", 0, 1, &i, &e), &e, "jobs[3] must be an object");
    check_msg(jsonx_get_int(NULL, "", "x", 0, 1, &i, &e), &e, "the value must be an object");
    CHECK_INT(i, 5);
    CHECK(!sub && !b);
    CHECK_STR(s, "old");
    yyjson_doc_free(doc);
}

TEST(only_fields)
{
    static const char *const known[] = { "command", "threads", NULL };
    yyjson_doc *doc = parse("{\"command\":1,\"thraeds\":2}");
    yyjson_doc *fine = parse("{\"command\":1}");
    yyjson_doc *twice = parse("{\"command\":1,\"threads\":2,\"command\":1}");
    struct err err = ERR_INIT;

    check_msg(jsonx_only_fields(yyjson_doc_get_root(twice), "", known, &err), &err,
              "field \"command\" is given twice");
    yyjson_doc_free(twice);
    CHECK_INT(jsonx_only_fields(yyjson_doc_get_root(fine), "", known, &err), 0);
    check_msg(jsonx_only_fields(yyjson_doc_get_root(doc), "jobs[0].", known, &err), &err,
              "unknown field \"jobs[0].thraeds\"");
    CHECK_STR(err.hint, "did you mean \"jobs[0].threads\"?");
    CHECK_INT(jsonx_only_fields(NULL, "", known, &err), -1);
    yyjson_doc_free(doc);
    yyjson_doc_free(fine);
}

TEST(write)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_str(&w, "s", "a\"b\\c\n\x01\x7f\u20ac/");
    jsonw_str(&w, "none", NULL);
    jsonw_strn(&w, "bad", "x\xff\xc3\xa4\xe2\x82y", 7);
    jsonw_arr_open(&w, "list");
    jsonw_bool(&w, NULL, true);
    jsonw_bool(&w, NULL, false);
    jsonw_null(&w, NULL);
    jsonw_obj_open(&w, NULL);
    jsonw_obj_close(&w);
    jsonw_arr_open(&w, NULL);
    jsonw_arr_close(&w);
    jsonw_arr_close(&w);
    jsonw_time(&w, "t", 1);
    jsonw_time(&w, "never", 0);
    jsonw_raw(&w, "raw", "{\"x\":[]}");
    jsonw_int(&w, "min", INT64_MIN);
    jsonw_obj_close(&w);
    CHECK_STR(buf_data(&b),
              "{\"api\":1,\"s\":\"a\\\"b\\\\c\\n\\u0001\x7f\u20ac/\",\"none\":null,"
              "\"bad\":\"x\ufffd\u00e4\ufffd\ufffdy\",\"list\":[true,false,null,{},[]],"
              "\"t\":\"1970-01-01T00:00:00.000Z\",\"never\":null,\"raw\":{\"x\":[]},"
              "\"min\":-9223372036854775808}");
    yyjson_doc *doc = parse(buf_data(&b));
    yyjson_doc_free(doc);
    buf_fini(&b);
}

/* Every byte and every pair with a quote or backslash comes back as it went in. */
TEST(strings_read_back)
{
    for (unsigned c = 1; c < 128; c++) {
        struct buf b = BUF_INIT;
        struct jsonw w;
        char in[] = { 'x', (char)c, '"', (char)c, '\\', (char)c, '\0' };
        jsonw_init(&w, &b);
        jsonw_str(&w, NULL, in);
        yyjson_doc *doc = parse(buf_data(&b));
        CHECK_STR(yyjson_get_str(yyjson_doc_get_root(doc)), in);
        yyjson_doc_free(doc);
        buf_fini(&b);
    }
}

static void check_double(double v, const char *want)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_double(&w, NULL, v);
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
}

TEST(doubles)
{
    check_double(0.1, "0.1");
    check_double(1, "1");
    check_double(-0.0, "0");
    check_double(-2.5, "-2.5");
    check_double(1.0 / 3, "0.3333333333333333");
    check_double(5e-324, "4.94065645841247e-324");
    check_double(1e300, "1e+300");
    check_double(0.1 + 0.2, "0.30000000000000004");
    check_double((double)INFINITY, "null");
    check_double((double)NAN, "null");
}

TEST(sixty_levels)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    for (int i = 0; i < 63; i++)
        jsonw_arr_open(&w, NULL);
    jsonw_int(&w, NULL, 1);
    jsonw_int(&w, NULL, 2);
    for (int i = 0; i < 63; i++)
        jsonw_arr_close(&w);
    CHECK(strstr(buf_data(&b), "[1,2]"));
    CHECK_INT(buf_len(&b), 63 * 2 + 3);
    buf_fini(&b);
}
