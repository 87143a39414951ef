/* SPDX-License-Identifier: BSD-2-Clause */
/* Job specifications: what is refused and in which words, what is stored, what an attempt gets. */
#include "base/buf.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "head/spec.h"
#include "unit/unit.h"

struct doc {
    yyjson_doc *json, *defaults;
    struct spec s;
    struct err err;
    bool ok;
};

/* Texts with ' for ". */
static yyjson_doc *parse(const char *text)
{
    struct err err = ERR_INIT;
    char *copy = mem_strdup(text);

    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    yyjson_doc *doc = jsonx_parse(copy, strlen(copy), &err);
    if (!doc)
        unit_fail(__FILE__, __LINE__, "%s: %s", copy, err.msg);
    free(copy);
    return doc;
}

static struct doc read_spec(const char *text, const char *defaults)
{
    struct doc d = { .json = parse(text), .defaults = defaults ? parse(defaults) : NULL };

    d.ok = spec_read(&d.s, yyjson_doc_get_root(d.json), yyjson_doc_get_root(d.defaults), "", false,
                     &d.err) == 0;
    return d;
}

static void doc_free(struct doc *d)
{
    if (d->ok)
        spec_fini(&d->s);
    yyjson_doc_free(d->json);
    yyjson_doc_free(d->defaults);
}

static struct doc good(const char *text)
{
    struct doc d = read_spec(text, NULL);

    if (!d.ok)
        unit_fail(__FILE__, __LINE__, "%s: %s", text, d.err.msg);
    return d;
}

TEST(what_is_refused_and_why)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        { "[]", "expected an object" },
        { "{}", "command is missing" },
        { "{'command':''}", "the command is empty" },
        { "{'command':' \\n\\t'}", "the command is empty" },
        { "{'argv':[]}", "the command is empty" },
        { "{'argv':['']}", "the command is empty" },
        { "{'argv':['a',1]}", "argv: expected a list of strings" },
        { "{'script':''}", "the command is empty" },
        { "{'command':'a','argv':['b']}", "command can't be used with argv or script" },
        { "{'command':'a','script':'b'}", "command can't be used with argv or script" },
        { "{'command':'a','comand':'b'}", "comand" },
        { "{'command':'a','threads':0}", "threads" },
        { "{'command':'a','threads':1.5}", "threads" },
        { "{'command':'a','threads':65537}", "threads" },
        { "{'command':'a','memory':'8'}", "memory" },
        { "{'command':'a','memory':-1}", "memory" },
        { "{'command':'a','gpus':-1}", "gpus" },
        { "{'command':'a','priority':1000001}", "priority" },
        { "{'command':'a','retry':1001}", "retry" },
        { "{'command':'a','timeout':'5'}", "timeout" },
        { "{'command':'a','timeout':-1}", "timeout" },
        { "{'command':'a','hold':'yes'}", "hold" },
        { "{'command':'a','on_lost':'forget'}", "on_lost: expected \"hold\" or \"requeue\"" },
        { "{'command':'a','workdir':'tmp'}", "workdir: expected an absolute path" },
        { "{'command':'a','stdout_path':''}", "stdout_path: the path must not be empty" },
        { "{'command':'a','stdout_path':'a%z'}", "stdout_path: there is no placeholder %z" },
        { "{'command':'a','stderr_path':'%%%'}", "stderr_path: nothing stands after its last %" },
        { "{'command':'a','env':{'A=B':'c'}}", "letters, digits and _" },
        { "{'command':'a','env':{'1A':'c'}}", "letters, digits and _" },
        { "{'command':'a','env':{'':'c'}}", "letters, digits and _" },
        { "{'command':'a','env':{'A':1}}", "env.A: expected a string" },
        { "{'command':'a','after':['x']}", "expected a job id" },
        { "{'command':'a','after':['1_2']}", "expected a job id" },
        { "{'command':'a','after':['1:maybe']}", "expected a job id" },
        { "{'command':'a','after':[1]}", "list of strings" },
        { "{'command':'a','array':'5-1'}", "array 5-1: its last task comes before its first" },
        { "{'command':'a','array':'1'}", "array 1: this is no range" },
        { "{'command':'a','array':'1-5:0'}", "a step of 0" },
        { "{'command':'a','array':'1-5%0'}", "at most 0 at once" },
        { "{'command':'a','array':'1-5x'}", "no range" },
        { "{'command':'a','array':'-1-5'}", "no range" },
        { "{'command':'a','array':'0-10000000'}", "at most 10000000" },
        { "{'command':'a','array':'0-99999999999999999999'}", "a number in it is too large" },
        { "{'command':'a','lines':[]}", "lines: there are none" },
        { "{'command':'a','lines':[1]}", "lines: each must be a string" },
        { "{'command':'a','lines':['x'],'array':'1-2'}", "can't be used together" },
        { "{'command':'a','array_limit':2}", "array_limit without array or lines" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct doc d = read_spec(rows[i].text, NULL);
        if (d.ok || !strstr(d.err.msg, rows[i].why))
            unit_fail(__FILE__, __LINE__, "%s: %s", rows[i].text, d.ok ? "taken" : d.err.msg);
        CHECK(d.err.kind == ERR_INVALID || d.err.kind == ERR_TOO_LARGE);
        doc_free(&d);
    }
}

TEST(too_much_of_everything)
{
    struct buf b = BUF_INIT;

    buf_append_str(&b, "{'command':'");
    for (int i = 0; i < LIMIT_JOB_SPEC; i++)
        buf_append_char(&b, 'x');
    buf_append_str(&b, "'}");
    struct doc d = read_spec(buf_data(&b), NULL);
    CHECK(!d.ok);
    CHECK_INT(d.err.kind, ERR_TOO_LARGE);
    doc_free(&d);
    buf_clear(&b);
    buf_append_str(&b, "{'command':'x','after':['1'");
    for (int i = 0; i < LIMIT_JOB_DEPS; i++)
        buf_append_str(&b, ",'1'");
    buf_append_str(&b, "]}");
    d = read_spec(buf_data(&b), NULL);
    CHECK(!d.ok && strstr(d.err.msg, "after"));
    doc_free(&d);
    buf_fini(&b);
}

TEST(defaults_stand_in_for_what_is_not_there)
{
    struct doc d = read_spec("{'argv':['x'],'threads':2,'name':null}",
                             "{'threads':4,'name':'d','env':{'A':'1'},'after':['7:any']}");

    CHECK(d.ok);
    CHECK_INT(d.s.threads, 2);
    CHECK_STR(d.s.name, "d");
    CHECK_INT(yyjson_obj_size(d.s.env), 1);
    CHECK_INT(d.s.dep_count, 1);
    CHECK_INT(d.s.deps[0].when, DEP_ANY);
    doc_free(&d);
}

/* An older hive left a % alone that it didn't know. */
TEST(stored_paths_are_taken_as_they_are)
{
    struct spec s;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    static const char text[] = "{\"command\":\"a\",\"stdout_path\":\"/a%z%\"}";
    yyjson_doc *doc = jsonx_parse(text, strlen(text), &err);

    CHECK_OK(spec_read(&s, yyjson_doc_get_root(doc), NULL, "", true, &err), &err);
    CHECK(spec_output_path(&s, s.stdout_path, 1, -1, "/home", &b));
    CHECK_STR(buf_data(&b), "/a%z%");
    buf_fini(&b);
    spec_fini(&s);
    yyjson_doc_free(doc);
}

TEST(arrays_as_text)
{
    static const struct {
        const char *text;
        int64_t first, last, step, limit;
    } rows[] = {
        { "0-9:2", 0, 9, 2, 0 },   { "1-100%8", 1, 100, 1, 8 }, { "5-5", 5, 5, 1, 0 },
        { "3-9:4%1", 3, 9, 4, 1 }, { "007-010", 7, 10, 1, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t first, last, step, limit;
        struct err err = ERR_INIT;
        CHECK_OK(spec_parse_array(rows[i].text, &first, &last, &step, &limit, &err), &err);
        CHECK_INT(first, rows[i].first);
        CHECK_INT(last, rows[i].last);
        CHECK_INT(step, rows[i].step);
        CHECK_INT(limit, rows[i].limit);
    }
}

TEST(names_of_jobs_without_one)
{
    static const struct {
        const char *text, *name;
    } rows[] = {
        { "{'command':'/usr/bin/sort -n | uniq'}", "sort" },
        { "{'command':'  ./run.sh;ls'}", "run.sh" },
        { "{'command':'(cd /tmp; ls)'}", "job" },
        { "{'argv':['/opt/my prog','x']}", "my prog" },
        { "{'argv':['/']}", "/" },
        { "{'argv':['a/']}", "a/" },
        { "{'script':'echo'}", "script" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct doc d = good(rows[i].text);
        struct buf b = BUF_INIT;
        spec_default_name(&d.s, &b);
        CHECK_STR(buf_data(&b), rows[i].name);
        buf_fini(&b);
        doc_free(&d);
    }
}

static void check_encoded(const char *text, const char *want)
{
    struct doc d = good(text);
    struct buf b = BUF_INIT;

    spec_encode(&d.s, &b);
    for (char *p = b.mem + b.start; *p; p++)
        if (*p == '"')
            *p = '\'';
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
    doc_free(&d);
}

TEST(the_stored_form_has_what_has_no_column)
{
    check_encoded("{'command':'x','name':'n','threads':2,'timeout':5,'hold':true,'array':'1-2'}",
                  "{'command':'x'}");
    check_encoded("{'argv':['a','b'],'env':{'K':'v'},'workdir':'/w','after':['1','2:fail'],"
                  "'retry_delay':1.5,'on_lost':'hold','node':'n','stdout_path':'o'}",
                  "{'argv':['a','b'],'env':{'K':'v'},'workdir':'/w','stdout_path':'o','node':'n',"
                  "'retry_delay':'1500ms','on_lost':'hold','after':['1:ok','2:fail']}");
    check_encoded("{'command':'x','retry_delay':'9223372036854775807ns'}",
                  "{'command':'x','retry_delay':'9223372036854775807ns'}");
}

static const char *const base_env[] = { "PATH=/bin", "HOME=/root", NULL };

static struct spec_launch launch(const struct doc *d, const char *line)
{
    struct spec_context c = { .id = 12,
                              .task = line ? 4 : -1,
                              .attempt = 2,
                              .threads = 3,
                              .gpus = 1,
                              .node = "n1",
                              .line = line,
                              .base_env = base_env,
                              .home = "/root" };
    struct spec_launch l;
    struct err err = ERR_INIT;

    CHECK_OK(spec_launch_prepare(&d->s, &c, &l, &err), &err);
    return l;
}

static const char *env_of(const struct spec_launch *l, const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);

    for (size_t i = 0; l->env[i]; i++)
        if (strncmp(l->env[i], name, n) == 0 && l->env[i][n] == '=') {
            CHECK(!found);
            found = l->env[i] + n + 1;
        }
    return found;
}

TEST(what_an_attempt_gets)
{
    struct doc d = good("{'command':'run {}','env':{'PATH':'/mine','HIVE_JOB_ID':'x','E':''},"
                        "'stdout_path':'out-%j.%a%%','stderr_path':'/e%%x'}");
    struct spec_launch l = launch(&d, "it's");

    CHECK_STR(l.argv[0], "/bin/sh");
    CHECK_STR(l.argv[2], "run 'it'\\''s'");
    CHECK_STR(env_of(&l, "PATH"), "/mine");
    CHECK_STR(env_of(&l, "HOME"), "/root");
    CHECK_STR(env_of(&l, "E"), "");
    CHECK_STR(env_of(&l, "HIVE_JOB_ID"), "12");
    CHECK_STR(env_of(&l, "HIVE_TASK_ID"), "4");
    CHECK_STR(env_of(&l, "HIVE_LINE"), "it's");
    CHECK_STR(env_of(&l, "HIVE_ATTEMPT"), "2");
    CHECK_STR(env_of(&l, "HIVE_THREADS"), "3");
    CHECK_STR(env_of(&l, "HIVE_GPUS"), "1");
    CHECK_STR(env_of(&l, "HIVE_NODE"), "n1");
    CHECK_STR(l.workdir, "/root");
    CHECK_STR(l.stdout_path, "/root/out-12.4%");
    CHECK_STR(l.stderr_path, "/e%x");
    spec_launch_fini(&l);
    doc_free(&d);
}

TEST(where_a_line_goes)
{
    static const struct {
        const char *text, *want[4];
    } rows[] = {
        { "{'argv':['p','-x{}y','{}{}']}", { "p", "-xa by", "a ba b" } },
        { "{'argv':['p','q']}", { "p", "q", "a b" } },
        { "{'command':'p'}", { "/bin/sh", "-c", "p 'a b'" } },
        { "{'script':'#!/bin/sh\\nx','argv':['1']}", { "{script}", "1", "a b" } },
        { "{'script':'x'}", { "/bin/sh", "{script}", "a b" } },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct doc d = good(rows[i].text);
        struct spec_launch l = launch(&d, "a b");
        for (size_t k = 0; k < 4; k++) {
            if (!rows[i].want[k]) {
                CHECK(!l.argv[k]);
                break;
            }
            CHECK_STR(l.argv[k], rows[i].want[k]);
        }
        spec_launch_fini(&l);
        doc_free(&d);
    }
}

TEST(ids_as_text)
{
    int64_t job, task;

    CHECK(spec_parse_id("12", &job, &task) && job == 12 && task == -1);
    CHECK(spec_parse_id("12_0", &job, &task) && job == 12 && task == 0);
    CHECK(spec_parse_id("9223372036854775807_9223372036854775807", &job, &task));
    CHECK(!spec_parse_id("", &job, &task));
    CHECK(!spec_parse_id("0", &job, &task));
    CHECK(!spec_parse_id("_1", &job, &task));
    CHECK(!spec_parse_id("1_", &job, &task));
    CHECK(!spec_parse_id("9223372036854775808", &job, &task));
    CHECK(!spec_parse_id("1_9223372036854775808", &job, &task));
    CHECK(!spec_parse_id("000000000000000000000000000001", &job, &task));
}
