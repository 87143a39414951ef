/* SPDX-License-Identifier: BSD-2-Clause */
/* #HIVE lines, and what `hive submit` makes of its options. */
#include "base/mem.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/submit.h"
#include "cmd/submit_script.h"

#include <sys/stat.h>
#include <unistd.h>

static int parse(struct script *s, const char *text, struct err *err)
{
    return script_parse(s, "job.sh", mem_strdup(text), strlen(text), err);
}

TEST(lines_before_the_first_command_count)
{
    struct err err = ERR_INIT;
    struct script s;
    CHECK_OK(parse(&s,
                   "#!/bin/sh\n"
                   "# a comment, #HIVE -t 9 inside it\n"
                   "#HIVE -t 4 --name 'two words'\n"
                   "\n"
                   "#HIVE\t-m 8G\r\n"
                   "#HIVEMIND is something else\n"
                   "  # indented\n"
                   "#HIVE\n"
                   "run\n"
                   "#HIVE -t 5\n",
                   &err),
             &err);
    CHECK_INT(s.count, 3);
    CHECK_INT(s.lines[0].number, 3);
    CHECK_INT(s.lines[0].argc, 5);
    CHECK_STR(s.lines[0].argv[1], "-t");
    CHECK_STR(s.lines[0].argv[4], "two words");
    CHECK_INT(s.lines[1].number, 5);
    CHECK_STR(s.lines[1].argv[2], "8G");
    CHECK_INT(s.lines[2].argc, 1);
    CHECK_INT(s.late_line, 10);
    script_fini(&s);
}

TEST(no_options_and_no_newline_at_the_end)
{
    struct err err = ERR_INIT;
    struct script s;
    CHECK_OK(parse(&s, "#!/bin/sh", &err), &err);
    CHECK_INT(s.count, 0);
    CHECK_INT(s.late_line, 0);
    script_fini(&s);
    CHECK_OK(parse(&s, "#HIVE -t 1", &err), &err);
    CHECK_INT(s.count, 1);
    script_fini(&s);
    CHECK_OK(parse(&s, "", &err), &err);
    script_fini(&s);
}

TEST(errors_name_file_and_line)
{
    struct err err = ERR_INIT;
    struct script s;
    CHECK(parse(&s, "#!/bin/sh\n#HIVE --name 'x\n", &err) != 0);
    CHECK(str_starts(err.msg, "job.sh:2: "));
    script_fini(&s);
}

TEST(what_json_can_not_carry_is_refused)
{
    struct err err = ERR_INIT;
    struct script s;
    static const char nul[] = "#!/bin/sh\nx\0y\n";
    char *text = mem_dup(nul, sizeof(nul));
    CHECK(script_parse(&s, "job.sh", text, sizeof(nul) - 1, &err) != 0);
    CHECK(strstr(err.hint, "hive submit -- job.sh") != NULL);
    script_fini(&s);
    CHECK(parse(&s, "#!/bin/sh\n# caf\xe9\n", &err) != 0);
    script_fini(&s);
    CHECK(parse(&s, "#!/bin/sh\r\necho\r\n", &err) != 0);
    CHECK(strstr(err.msg, "carriage return") != NULL);
    script_fini(&s);
}

TEST(what_a_script_is)
{
    CHECK(script_is("#!/bin/sh\n", 10));
    CHECK(!script_has_options("#!/bin/sh\n", 10));
    CHECK(script_is("# x\n#HIVE -t 2\n", 15));
    CHECK(!script_is("echo\n#HIVE -t 2\n", 16));
    CHECK(!script_is("#HIVEX\n", 7));
    CHECK(!script_is("", 0));
    CHECK(!script_is("#", 1));
}

TEST(which_words_name_a_script)
{
    struct err err = ERR_INIT;
    char *text = NULL;
    size_t len = 0;
    CHECK(chdir(unit_tmpdir()) == 0);
    CHECK_OK(fs_write_file("true", "#!/bin/sh\n", 10, 0755, false, &err), &err);
    CHECK_OK(fs_write_file("job.sh", "#!/bin/sh\n", 10, 0644, false, &err), &err);
    CHECK_OK(fs_write_file("data", "no script\n", 10, 0644, false, &err), &err);
    CHECK(mkfifo("pipe", 0600) == 0);
    CHECK_INT(script_find("true", script_is, &text, &len, &err), 0); /* in PATH: the program */
    CHECK_INT(script_find("data", script_is, &text, &len, &err), 0);
    CHECK_INT(script_find("pipe", script_is, &text, &len, &err), 0);
    CHECK_INT(script_find(".", script_is, &text, &len, &err), 0);
    CHECK_INT(script_find("missing", script_is, &text, &len, &err), 0);
    CHECK_INT(script_find("job.sh", script_has_options, &text, &len, &err), 0);
    CHECK_INT(script_find("./true", script_is, &text, &len, &err), 1);
    MEM_FREE(text);
    CHECK_INT(script_find("job.sh", script_is, &text, &len, &err), 1);
    CHECK_INT(len, 10);
    CHECK_STR(text, "#!/bin/sh\n");
    free(text);
}

TEST(a_script_that_is_too_large)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    char *text = NULL;
    size_t len;
    char *path = fs_join(unit_tmpdir(), "big.sh");
    buf_append_str(&b, "#!/bin/sh\n");
    for (int i = 0; i < 20000; i++)
        buf_append_str(&b, "echo line\n");
    CHECK_OK(fs_write_file(path, buf_data(&b), buf_len(&b), 0644, false, &err), &err);
    CHECK_INT(script_find(path, script_is, &text, &len, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    free(path);
    buf_fini(&b);
}

/* --- the specification --- */

static char *spec(const char *const *argv, struct err *err)
{
    struct submit_args a;
    struct buf body = BUF_INIT;
    char *words[32];
    int argc = 0, first = 0;
    submit_args_init(&a);
    while (argv[argc]) {
        words[argc] = mem_strdup(argv[argc]);
        argc++;
    }
    int rc = opt_parse(submit_options, &a, argc, words, OPT_STOP_AT_ARG, &first, NULL, err);
    struct submit_work work = { .command = rc == 0 ? words[first] : NULL };
    if (rc == 0)
        rc = submit_spec(&a, &work, &body, err);
    submit_args_fini(&a);
    for (int i = 0; i < argc; i++)
        free(words[i]);
    if (rc != 0)
        buf_fini(&body);
    return rc == 0 ? buf_take(&body, NULL) : NULL;
}

#define SPEC(...) spec((const char *const[]){ "submit", __VA_ARGS__, NULL }, &err)

TEST(only_what_was_given_is_sent)
{
    struct err err = ERR_INIT;
    char *got = SPEC("--workdir", "/w", "true");
    CHECK_STR(got, "{\"command\":\"true\",\"workdir\":\"/w\"}");
    free(got);
}

TEST(every_option_reaches_the_specification)
{
    struct err err = ERR_INIT;
    CHECK(setenv("UNIT_VARIABLE", "from here", 1) == 0);
    char *got = SPEC("-n", "N", "-t", "4", "-m", "1G", "-g", "2", "-p", "-5", "--after", "1,2:any",
                     "--after", "3:fail", "--array", "1-9:2%3", "--env", "A=1", "--env", "A=2",
                     "--env=UNIT_VARIABLE", "--workdir=/w", "true");
    CHECK_STR(got,
              "{\"command\":\"true\",\"name\":\"N\",\"threads\":4,\"memory\":1073741824,\"gpus\":2,"
              "\"priority\":-5,\"after\":[\"1\",\"2:any\",\"3:fail\"],\"array\":\"1-9:2%3\","
              "\"env\":{\"A\":\"2\",\"UNIT_VARIABLE\":\"from here\"},\"workdir\":\"/w\"}");
    free(got);
    got = SPEC("--workdir=/w", "-o", "out-%j", "-e", "err", "--timeout", "90s", "--retry", "3",
               "--retry-delay", "1500ms", "--on-lost", "requeue", "--hold", "--node", "n1", "true");
    yyjson_doc *doc = jsonx_parse(got, strlen(got), &err);
    yyjson_val *root = yyjson_doc_get_root(doc);
    CHECK_STR(yyjson_get_str(yyjson_obj_get(root, "stdout_path")), "out-%j");
    CHECK_STR(yyjson_get_str(yyjson_obj_get(root, "stderr_path")), "err");
    CHECK_STR(yyjson_get_str(yyjson_obj_get(root, "on_lost")), "requeue");
    CHECK_STR(yyjson_get_str(yyjson_obj_get(root, "node")), "n1");
    CHECK_INT(yyjson_get_int(yyjson_obj_get(root, "retry")), 3);
    CHECK(yyjson_get_bool(yyjson_obj_get(root, "hold")));
    int64_t ns = 0;
    CHECK_INT(jsonx_get_duration(root, "", "timeout", &ns, &err), 1);
    CHECK_INT(ns, INT64_C(90000000000));
    CHECK_INT(jsonx_get_duration(root, "", "retry_delay", &ns, &err), 1);
    CHECK_INT(ns, INT64_C(1500000000));
    yyjson_doc_free(doc);
    free(got);
}

TEST(lines_become_tasks)
{
    struct err err = ERR_INIT;
    char *path = fs_join(unit_tmpdir(), "lines");
    CHECK_OK(fs_write_file(path, "a b\r\n\nc", 7, 0644, false, &err), &err);
    char *got = SPEC("--workdir=/", "--each-line", path, "--array", "%8", "x");
    CHECK_STR(got,
              "{\"command\":\"x\",\"lines\":[\"a b\",\"c\"],\"array_limit\":8,\"workdir\":\"/\"}");
    free(got);
    CHECK(SPEC("--each-line", path, "--array", "1-3", "x") == NULL);
    CHECK_INT(err.kind, ERR_USAGE);
    CHECK_OK(fs_write_file(path, "ok\nca\xff\n", 7, 0644, false, &err), &err);
    CHECK(SPEC("--each-line", path, "x") == NULL);
    CHECK(strstr(err.msg, "lines:2: ") != NULL);
    CHECK_OK(fs_write_file(path, "\n\n", 2, 0644, false, &err), &err);
    CHECK(SPEC("--each-line", path, "x") == NULL);
    free(path);
}

TEST(values_that_are_refused)
{
    struct err err = ERR_INIT;
    static const char *const bad[][3] = {
        { "--threads", "0", "x" },
        { "--threads", "x", "x" },
        { "--memory", "8", "x" },
        { "--timeout", "5", "x" },
        { "--on-lost", "no", "x" },
        { "--env", "=x", "x" },
        { "--env", "UNIT_NOT_SET", "x" },
        { "--after", "", "x" },
        { "--name", "\xff", "x" },
        { "--after", "1,,2", "x" },
        { "--idempotency-key", "a b", "x" },
        { "--idempotency-key", "", "x" },
        { "--idempotency-key", "a\r\nX: y", "x" },
        { "--retry", "-1", "x" },
        { "--priority", "99999999999", "x" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err_clear(&err);
        char *got = SPEC(bad[i][0], bad[i][1], bad[i][2]);
        if (got || err.kind != ERR_USAGE)
            unit_fail(__FILE__, __LINE__, "%s '%s': %s", bad[i][0], bad[i][1], got ? got : err.msg);
    }
}
