/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/opt.h"
#include "base/str.h"
#include "unit/unit.h"

struct args {
    bool follow, quiet;
    const char *name;
    int64_t threads, memory, timeout;
    struct opt_list env;
    const char *called;
    int calls;
};

static int call(void *base, const char *value, struct err *err)
{
    struct args *a = base;

    a->called = value;
    a->calls++;
    if (value && str_eq(value, "bad"))
        return err_set(err, ERR_INVALID, "nothing good");
    return 0;
}

static const struct opt table[] = {
    { 'f', "follow", OPT_FLAG, NULL, "print new output as it comes",
      .dest = offsetof(struct args, follow) },
    { 'q', "quiet", OPT_FLAG, NULL, "print the id alone", .dest = offsetof(struct args, quiet),
      .script = true },
    { 'n', "name", OPT_STR, "NAME", "name of the job", .dest = offsetof(struct args, name),
      .script = true },
    { 't', "threads", OPT_INT, "N", "threads to reserve (default 1)",
      .dest = offsetof(struct args, threads), .min = 1, .max = 64, .script = true },
    { 'm', "memory", OPT_SIZE, "SIZE", "memory to reserve", .dest = offsetof(struct args, memory) },
    { 0, "timeout", OPT_DURATION, "TIME", "time limit", .dest = offsetof(struct args, timeout) },
    { 0, "env", OPT_LIST, "K=V", "environment variable of the job, may be given several times",
      .dest = offsetof(struct args, env) },
    { 0, "after", OPT_CALL, "ID[:ok|any|fail]", "wait for another job", .parse = call },
    { 'x', "mark", OPT_CALL, NULL, "call without a value", .parse = call },
    { 0, "secret", OPT_FLAG, NULL, "an old name", .dest = offsetof(struct args, quiet),
      .hidden = true },
    OPT_END
};

#define MAX_ARGS 32

struct run {
    struct args args;
    char *argv[MAX_ARGS];
    int argc, first, rc;
    bool dashdash;
    struct err err;
};

/* Parses the words of `line`, separated by blanks. */
static void run(struct run *r, const char *line, unsigned flags)
{
    static char text[400];
    char *save;

    *r = (struct run){ .first = -1 };
    str_copy(text, sizeof text, line);
    r->argv[r->argc++] = text + sizeof text - 1;
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        r->argv[r->argc++] = w;
    r->rc = opt_parse(table, &r->args, r->argc, r->argv, flags, &r->first, &r->dashdash, &r->err);
}

static void check_ok(const struct run *r, const char *operands)
{
    struct buf b = BUF_INIT;

    if (r->rc != 0)
        unit_fail(__FILE__, __LINE__, "%s", r->err.msg);
    for (int i = r->first; i < r->argc; i++)
        buf_printf(&b, "%s%s", i > r->first ? " " : "", r->argv[i]);
    CHECK_STR(buf_data(&b), operands);
    buf_fini(&b);
}

static void check_usage(const char *line, unsigned flags, const char *msg, const char *hint)
{
    struct run r;

    run(&r, line, flags);
    CHECK_INT(r.rc, -1);
    CHECK_STR(r.err.msg, msg);
    CHECK_STR(r.err.hint, hint);
    CHECK_INT(r.err.kind, ERR_USAGE);
    opt_list_fini(&r.args.env);
}

TEST(spellings)
{
    static const char *const lines[] = { "-t4",   "-t 4",     "--threads=4", "--threads 4",
                                         "-fqt4", "-fq -t 4", "-t 9 -t 4" };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct run r;
        run(&r, lines[i], 0);
        check_ok(&r, "");
        CHECK_INT(r.args.threads, 4);
        CHECK_INT(r.first, r.argc);
    }
}

TEST(all_types)
{
    struct run r;

    run(&r,
        "-f --name=x= -n y -m 1.5G --timeout 1h30m --env A=1 --env=B=2 --env C --after 7 -x "
        "--secret",
        0);
    check_ok(&r, "");
    CHECK(r.args.follow && r.args.quiet);
    CHECK_STR(r.args.name, "y");
    CHECK_INT(r.args.memory, INT64_C(3) << 29);
    CHECK_INT(r.args.timeout, 5400 * NS_PER_S);
    CHECK_INT(r.args.env.count, 3);
    CHECK_STR(r.args.env.items[0], "A=1");
    CHECK_STR(r.args.env.items[2], "C");
    CHECK_INT(r.args.calls, 2);
    CHECK(!r.args.called);
    opt_list_fini(&r.args.env);
    opt_list_fini(&r.args.env);
}

TEST(operands)
{
    struct run r;

    run(&r, "one -f two -t 3 three", 0);
    check_ok(&r, "one two three");
    CHECK(r.args.follow && !r.dashdash);
    run(&r, "one -- -f --unknown", 0);
    check_ok(&r, "one -f --unknown");
    CHECK(!r.args.follow && r.dashdash);
    run(&r, "- -f -", 0);
    check_ok(&r, "- -");
    run(&r, "-f -- a -- b", 0);
    check_ok(&r, "a -- b");
    run(&r, "", 0);
    check_ok(&r, "");
    CHECK_INT(r.first, 1);
    /* A value may look like an option, or like the end of them. */
    run(&r, "-n -f x", 0);
    check_ok(&r, "x");
    CHECK_STR(r.args.name, "-f");
    run(&r, "-n -- x", 0);
    check_ok(&r, "x");
    CHECK(!r.dashdash);
}

TEST(stop_at_the_first_operand)
{
    struct run r;

    run(&r, "-t 2 make -j4 --follow", OPT_STOP_AT_ARG);
    check_ok(&r, "make -j4 --follow");
    CHECK(!r.args.follow);
    run(&r, "-t 2 -- make -j4", OPT_STOP_AT_ARG);
    check_ok(&r, "make -j4");
    CHECK(r.dashdash);
    run(&r, "make -- x", OPT_STOP_AT_ARG);
    check_ok(&r, "make -- x");
    CHECK(!r.dashdash);
}

TEST(usage_errors)
{
    check_usage("--thraeds 4", 0, "unknown option --thraeds", "did you mean --threads?");
    check_usage("--thread 4", 0, "unknown option --thread", "did you mean --threads?");
    check_usage("--xyzzy=4", 0, "unknown option --xyzzy", "");
    check_usage("--secre", 0, "unknown option --secre", ""); /* hidden stays hidden */
    check_usage("-fz", 0, "unknown option -z", "");
    check_usage("-\u00e4", 0, "unknown option -\u00e4", "");
    check_usage("-\x1b", 0, "unknown option -\\e", "");
    check_usage("--follow=yes", 0, "--follow takes no value", "");
    check_usage("-n", 0, "-n needs a value: NAME", "");
    check_usage("--name", 0, "--name needs a value: NAME", "");
    check_usage("-t 65", 0, "-t must be a whole number from 1 to 64, not '65'", "");
    check_usage("--threads=", 0, "--threads must be a whole number from 1 to 64, not ''", "");
    check_usage("-m 8", 0, "-m: the size '8' has no unit", "write 8G or 512M");
    check_usage("--timeout 5x", 0, "--timeout: '5x' is not a duration",
                "write 90s, 15m or 1h30m (units: w, d, h, m, s, ms)");
    check_usage("--after bad", 0, "--after: nothing good", "");
    check_usage("--env A --env", 0, "--env needs a value: K=V", "");
    check_usage("---", 0, "unknown option ---", "");
    check_usage("--=x", 0, "unknown option --", "");
}

TEST(script_lines)
{
    struct run r;

    run(&r, "-t 4 --name x", OPT_SCRIPT);
    check_ok(&r, "");
    check_usage("-f", OPT_SCRIPT, "-f can't be used in a #HIVE line", "");
    check_usage("--memory 1G", OPT_SCRIPT, "--memory can't be used in a #HIVE line", "");
    check_usage("--memry 1G", OPT_SCRIPT, "unknown option --memry", "");
}

TEST(errors_leave_argv_alone_and_err_may_be_null)
{
    struct run r;
    int first;

    run(&r, "one -f --unknown two", 0);
    CHECK_INT(r.rc, -1);
    CHECK_STR(r.argv[1], "one");
    CHECK_STR(r.argv[4], "two");
    CHECK_INT(opt_parse(table, &r.args, r.argc, r.argv, 0, &first, NULL, NULL), -1);
    run(&r, "-t x", 0);
    CHECK_INT(opt_parse(table, &r.args, r.argc, r.argv, 0, &first, NULL, NULL), -1);
}

TEST(no_table)
{
    char name[] = "x", operand[] = "y", option[] = "-z";
    char *argv[] = { name, operand, NULL };
    char *bad[] = { name, option, NULL };
    struct buf b = BUF_INIT;
    int first = 0;

    CHECK_INT(opt_parse(NULL, NULL, 2, argv, 0, &first, NULL, NULL), 0);
    CHECK_INT(first, 1);
    CHECK_INT(opt_parse(NULL, NULL, 2, bad, 0, &first, NULL, NULL), -1);
    CHECK_INT(opt_parse(NULL, NULL, 0, argv, 0, &first, NULL, NULL), 0);
    opt_help(NULL, &b, 80);
    opt_man(NULL, &b);
    CHECK_INT(buf_len(&b), 0);
}

TEST(help)
{
    struct buf b = BUF_INIT;

    opt_help(table, &b, 60);
    CHECK(str_starts(buf_data(&b), "  -f, --follow        print new output as it comes\n"));
    CHECK(strstr(buf_data(&b), "\n      --timeout TIME  time limit\n"));
    /* Too long for its column: a line of its own. */
    CHECK(strstr(buf_data(&b), "\n      --after ID[:ok|any|fail]\n"
                               "                      wait for another job\n"));
    CHECK(!strstr(buf_data(&b), "secret"));
    for (const char *line = buf_data(&b); *line; line = strchr(line, '\n') + 1)
        CHECK(strchr(line, '\n') - line <= 60);
    buf_fini(&b);
}

TEST(man_page)
{
    static const struct opt odd[] = {
        { 0, "two-words", OPT_STR, "A|\"B\"", ".dot and \\ and -", .dest = 0 }, OPT_END
    };
    struct buf b = BUF_INIT;

    opt_man(table, &b);
    CHECK(str_starts(buf_data(&b), ".It Fl f , Fl \\-follow\nprint new output as it comes\n"));
    CHECK(strstr(buf_data(&b), "\n.It Fl \\-env Ar \"\\&K=V\"\n"));
    CHECK(!strstr(buf_data(&b), "secret"));
    buf_clear(&b);
    opt_man(odd, &b);
    CHECK_STR(buf_data(&b),
              ".It Fl \\-two\\-words Ar \"\\&A|\"\"B\"\"\"\n\\&.dot and \\e and \\-\n");
    buf_fini(&b);
}

static void check_words(const char *line, const char *want)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    int argc = 0;
    char **words = opt_split_words(line, &argc, &err);

    if (!words)
        unit_fail(__FILE__, __LINE__, "%s: %s", line, err.msg);
    for (int i = 0; i < argc; i++)
        buf_printf(&b, "<%s>", words[i]);
    CHECK(!words[argc]);
    CHECK_STR(buf_data(&b), want);
    opt_free_words(words);
    buf_fini(&b);
}

TEST(words)
{
    check_words("", "<#HIVE>");
    check_words("  \t\r\n", "<#HIVE>");
    check_words(" -t 4 --name=x\n", "<#HIVE><-t><4><--name=x>");
    check_words("--env 'A=two words' --env \"B=it's\"",
                "<#HIVE><--env><A=two words><--env><B=it's>");
    check_words("a'b'\"c\"\\ d", "<#HIVE><abc d>");
    check_words("'' \"\"", "<#HIVE><><>");
    check_words("\"\\\" \\\\ \\$ \\n\" '\\'", "<#HIVE><\" \\ $ \\n><\\>");
    check_words("$HOME * ~ `id` a#b # c", "<#HIVE><$HOME><*><~><`id`><a#b><#><c>");
    opt_free_words(NULL);
}

TEST(words_refused)
{
    static const char *const bad[] = { "'open", "\"open", "\"open\\\"", "x\\", "a 'b' 'c" };
    struct err err = ERR_INIT;
    struct buf many = BUF_INIT;
    int argc = 5;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK(!opt_split_words(bad[i], &argc, &err));
        CHECK_INT(err.kind, ERR_USAGE);
    }
    for (int i = 0; i < LIMIT_JOB_ARGS + 1; i++)
        buf_append_str(&many, "x ");
    CHECK(!opt_split_words(buf_data(&many), &argc, &err));
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    CHECK_INT(argc, 5);
    buf_truncate(&many, buf_len(&many) - 2);
    char **words = opt_split_words(buf_data(&many), &argc, &err);
    CHECK(words);
    CHECK_INT(argc, LIMIT_JOB_ARGS + 1);
    opt_free_words(words);
    buf_fini(&many);
}
