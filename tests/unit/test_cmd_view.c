/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables, job objects, exit codes, and output made safe for a terminal. */
#include "base/mem.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/follow.h"
#include "cmd/job_view.h"
#include "cmd/status.h"
#include "cmd/table.h"

static const struct table_column columns[] = {
    { .title = "ID" },
    { .title = "NAME", .min = 6 },
    { .title = "N", .right = true },
};

static char *table(unsigned width, const char *const *cells)
{
    struct table t;
    struct buf b = BUF_INIT;
    table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; cells[i]; i++)
        table_add(&t, cells[i]);
    table_print(&t, &b, 0, width, false);
    table_fini(&t);
    return buf_take(&b, NULL);
}

TEST(table_is_aligned)
{
    char *got = table(0, (const char *const[]){ "1", "a", "10", "12_34", "name", "", NULL });
    CHECK_STR(got, "ID     NAME   N\n1      a     10\n12_34  name   -\n");
    free(got);
}

TEST(table_fits_and_keeps_ids)
{
    CHECK(setenv("LC_ALL", "C", 1) == 0);
    char *got =
        table(20, (const char *const[]){ "123456789", "a long name that is cut", "1", NULL });
    CHECK_STR(got, "ID         NAME    N\n123456789  a lon~  1\n");
    free(got);
    CHECK(setenv("LC_ALL", "C.UTF-8", 1) == 0);
    got = table(20, (const char *const[]){ "123456789", "äöüäöüäöü", "1", NULL });
    CHECK_STR(got, "ID         NAME    N\n123456789  äöüäö…  1\n");
    free(got);
}

static void check_width(const char *text, size_t width)
{
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");
        char *line = mem_strndup(p, len);
        if (str_width(line) > width)
            unit_fail(__FILE__, __LINE__, "wider than %zu: %s", width, line);
        free(line);
        p += len + (p[len] == '\n');
    }
}

TEST(a_narrow_table_leaves_columns_out)
{
    static const struct table_column narrow[] = {
        { .title = "ID" },           { .title = "NAME", .min = 4 },
        { .title = "A", .drop = 2 }, { .title = "NUMBER", .right = true },
        { .title = "B", .drop = 1 },
    };
    CHECK(setenv("LC_ALL", "C", 1) == 0);
    for (unsigned width = 4; width < 60; width++) {
        struct table t;
        struct buf b = BUF_INIT;
        table_init(&t, narrow, ARRAY_LEN(narrow));
        for (size_t i = 0; i < ARRAY_LEN(narrow); i++)
            table_add(&t, (const char *const[]){ "1", "a long name", "aa", "7", "bb" }[i]);
        table_print(&t, &b, 0, width, false);
        check_width(buf_data(&b), width < 12 ? 12 : width);
        CHECK((strstr(buf_data(&b), "bb") != NULL) == (width >= 24));
        CHECK((strstr(buf_data(&b), "aa") != NULL) == (width >= 20));
        table_fini(&t);
        buf_fini(&b);
    }
}

TEST(headings_count_what_is_below)
{
    static const struct {
        const char *jobs;
        int64_t total;
        unsigned width;
        const char *want;
    } rows[] = {
        { "[]", 0, 0, "QUEUED (0)\n" },
        { "[{'id':'1'},{'id':'2'}]", 2, 0, "QUEUED (2)\n" },
        { "[{'id':'1'},{'id':'2'}]", 9, 0, "QUEUED (9)\n" },
        { "[{'id':'1','array':{'queued':96}}]", 1, 0, "QUEUED (96 tasks of an array)\n" },
        { "[{'id':'1','array':{'queued':1}}]", 1, 0, "QUEUED (1 task of an array)\n" },
        { "[{'id':'1','array':{'queued':96}}]", 2, 0, "QUEUED (2)\n" },
        { "[{'id':'1','array':{'queued':96}},{'id':'1_3','array_id':'1'},{'id':'7'}]", 3, 0,
          "QUEUED (1 job, 96 tasks of an array)\n" },
        { "[{'id':'1_2','array_id':'1'},{'id':'1_3','array_id':'1'}]", 2, 0,
          "QUEUED (2 tasks of an array)\n" },
        { "[{'id':'1_2','array_id':'1'},{'id':'3_3','array_id':'3'},{'id':'7'},{'id':'8'}]", 4, 0,
          "QUEUED (2 jobs, 2 tasks of arrays)\n" },
        { "[{'id':'1_2','array_id':'1'},{'id':'7'}]", 2, 30, "QUEUED (2)\n" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct status_style style = { .width = rows[i].width };
        struct buf out = BUF_INIT;
        struct err err = ERR_INIT;
        char *json = mem_strdup(rows[i].jobs);
        for (char *p = json; *p; p++)
            if (*p == '\'')
                *p = '"';
        yyjson_doc *doc = jsonx_parse(json, strlen(json), &err);
        CHECK(doc != NULL);
        status_view_section(&out, STATUS_LIST_QUEUED, yyjson_doc_get_root(doc), rows[i].total,
                            &style);
        if (!str_starts(buf_data(&out), rows[i].want))
            unit_fail(__FILE__, __LINE__, "%s: %s", rows[i].jobs, buf_data(&out));
        yyjson_doc_free(doc);
        buf_fini(&out);
        free(json);
    }
}

TEST(table_makes_names_safe)
{
    char *got = table(0, (const char *const[]){ "1", "a\033[2Jb\nc", "1", NULL });
    CHECK(strstr(got, "\033") == NULL);
    CHECK(strstr(got, "\\e[2Jb\\nc") != NULL);
    free(got);
}

static struct job_view view(const char *json, yyjson_doc **doc)
{
    struct job_view v;
    struct err err = ERR_INIT;
    *doc = jsonx_parse(json, strlen(json), &err);
    CHECK(*doc != NULL);
    job_view_read(&v, yyjson_doc_get_root(*doc));
    return v;
}

TEST(exit_codes_of_waiting)
{
    static const struct {
        const char *json;
        int code;
    } cases[] = {
        { "{\"status\":\"succeeded\",\"exit_code\":0}", 0 },
        { "{\"status\":\"failed\",\"exit_code\":3}", 3 },
        { "{\"status\":\"failed\",\"exit_code\":255}", 255 },
        { "{\"status\":\"failed\",\"exit_code\":126}", 126 },
        { "{\"status\":\"failed\",\"signal\":11}", 139 },
        { "{\"status\":\"failed\",\"exit_code\":null}", 125 },
        { "{\"status\":\"failed\",\"array\":{\"total\":3}}", 1 },
        { "{\"status\":\"timeout\",\"signal\":9}", 124 },
        { "{\"status\":\"cancelled\"}", 125 },
        { "{\"status\":\"cancelled\",\"signal\":15}", 143 },
        { "{\"status\":\"oom\",\"signal\":9}", 137 },
        { "{\"status\":\"oom\"}", 137 },
        { "{\"status\":\"oom\",\"exit_code\":2}", 2 },
        { "{\"status\":\"lost\"}", 125 },
        { "{\"status\":\"failed\",\"signal\":99999}", 125 },
        { "{\"status\":\"failed\",\"exit_code\":99999}", 125 },
        { "{}", 125 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        yyjson_doc *doc;
        struct job_view v = view(cases[i].json, &doc);
        if (job_view_exit_code(&v) != cases[i].code)
            unit_fail(__FILE__, __LINE__, "%s: %d", cases[i].json, job_view_exit_code(&v));
        yyjson_doc_free(doc);
    }
}

TEST(final_states)
{
    yyjson_doc *doc;
    struct job_view v = view("{\"status\":\"running\"}", &doc);
    CHECK(!job_view_final(&v));
    yyjson_doc_free(doc);
    v = view("{\"status\":\"lost\"}", &doc);
    CHECK(job_view_final(&v));
    yyjson_doc_free(doc);
    v = view("{\"status\":\"a word of the future\"}", &doc);
    CHECK(!job_view_final(&v));
    yyjson_doc_free(doc);
}

TEST(views_survive_any_shape)
{
    static const char *const shapes[] = {
        "{}",
        "[]",
        "null",
        "1",
        "{\"id\":1,\"status\":[],\"array\":1,\"after\":{},\"timeout_seconds\":1e300}",
        "{\"array\":{},\"submitted_at\":\"never\",\"threads\":\"x\",\"memory_bytes\":-1}",
    };
    struct status_style style = { .width = 40, .color = true, .now_ns = 1 };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct buf out = BUF_INIT;
        char *list = mem_printf("[%s,%s]", shapes[i], shapes[i]);
        yyjson_doc *doc = jsonx_parse(list, strlen(list), NULL);
        yyjson_val *root = yyjson_doc_get_root(doc);
        for (int k = STATUS_LIST_RUNNING; k <= STATUS_LIST_ANY; k++)
            status_view_section(&out, (enum status_list)k, root, 5, &style);
        status_view_nodes(&out, root, &style);
        status_view_job(&out, yyjson_arr_get_first(root), root, &style);
        CHECK(buf_len(&out) > 0);
        yyjson_doc_free(doc);
        free(list);
        buf_fini(&out);
    }
}

/* However the bytes are cut into pieces, the same comes out. */
TEST(filter_does_not_depend_on_pieces)
{
    static const char text[] = "a\tb\r\nä€😀 \033[31m\xff\xc3 \xe2\x82\n\x9b end \xf0\x9f";
    struct buf whole = BUF_INIT;
    struct follow_filter f = { .held_len = 0 };
    follow_filter_feed(&f, text, sizeof(text) - 1, &whole);
    follow_filter_end(&f, &whole);
    CHECK(strchr(buf_data(&whole), '\033') == NULL);
    CHECK(strstr(buf_data(&whole), "a\tb\r\nä€😀 ") == buf_data(&whole));
    for (size_t step = 1; step < 8; step++) {
        struct buf pieces = BUF_INIT;
        f = (struct follow_filter){ .held_len = 0 };
        for (size_t at = 0; at < sizeof(text) - 1; at += step) {
            size_t n = sizeof(text) - 1 - at < step ? sizeof(text) - 1 - at : step;
            follow_filter_feed(&f, text + at, n, &pieces);
        }
        follow_filter_end(&f, &pieces);
        CHECK_STR(buf_data(&pieces), buf_data(&whole));
        buf_fini(&pieces);
    }
    buf_fini(&whole);
}

TEST(errors_of_the_daemon_come_through)
{
    struct err err = ERR_INIT;
    static const char body[] =
        "{\"api\":1,\"error\":{\"kind\":\"not_found\",\"message\":\"there is no job 9\","
        "\"hint\":\"try: hive status\"}}";
    CHECK_INT(client_decode_error(404, body, sizeof(body) - 1, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK_STR(err.msg, "there is no job 9");
    CHECK_STR(err.hint, "try: hive status");
    err_clear(&err);
    CHECK_INT(client_decode_error(502, "<html>", 6, &err), -1);
    CHECK_INT(err.kind, ERR_INTERNAL);
    CHECK(strstr(err.msg, "502") != NULL);
    err_clear(&err);
    CHECK_INT(client_decode_error(500, "{\"error\":{\"kind\":1}}", 20, &err), -1);
    CHECK_INT(err.kind, ERR_INTERNAL);
}

TEST(job_ids)
{
    static const char *const bad[] = {
        "", "x", "0", "-1", "1_", "_1", "1_2_3", "1 ", "99999999999999999999", "../1"
    };
    struct err err = ERR_INIT;
    CHECK_OK(client_check_id("12", &err), &err);
    CHECK_OK(client_check_id("12_0", &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (client_check_id(bad[i], &err) == 0)
            unit_fail(__FILE__, __LINE__, "'%s' passed", bad[i]);
    CHECK_INT(err.kind, ERR_USAGE);
}
