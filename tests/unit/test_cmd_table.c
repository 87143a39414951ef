/* SPDX-License-Identifier: BSD-2-Clause */
/* What holds for every command, those nobody has written yet included. */
#include "base/mem.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/later.h"

#define FAIL(...) unit_fail(__FILE__, __LINE__, __VA_ARGS__)

TEST(names_are_unique_and_plain)
{
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        CHECK(cmd_find(cmd->name) == cmd);
        for (const char *p = cmd->name; *p; p++)
            if (!((*p >= 'a' && *p <= 'z') || *p == '-'))
                FAIL("%s: a name has small letters and '-' only", cmd->name);
    }
    CHECK(cmd_find("no-such-command") == NULL);
    CHECK_STR(cmd_suggest("statsu"), "status");
    CHECK(cmd_suggest("zzzzzzzz") == NULL);
}

TEST(every_command_is_described)
{
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        if (!cmd->run || !cmd->summary || !cmd->summary[0] || !cmd->synopsis || !cmd->synopsis[0] ||
            !cmd->description || !cmd->description[0])
            FAIL("%s: run, summary, synopsis and description are needed", cmd->name);
        if (str_ends(cmd->summary, ".") || strlen(cmd->summary) > 60)
            FAIL("%s: the summary is one short line without a full stop", cmd->name);
        if (!cmd->hidden && (!cmd->examples || !cmd->examples[0].line))
            FAIL("%s: an example is needed", cmd->name);
        for (const struct cmd_example *e = cmd->examples; e && e->line; e++)
            if (!strstr(e->line, cmd->name) || !e->what)
                FAIL("%s: example '%s' does not use it", cmd->name, e->line);
    }
}

TEST(every_option_is_described_once)
{
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        for (const struct opt *o = cmd->options; o && o->name; o++) {
            if (!o->help || !o->help[0] || str_ends(o->help, "."))
                FAIL("%s --%s: help without a full stop is needed", cmd->name, o->name);
            if (str_eq(o->name, "help") || str_eq(o->name, "version") || o->short_name == 'h')
                FAIL("%s --%s: the dispatcher's own", cmd->name, o->name);
            if ((o->type == OPT_FLAG) != (o->arg == NULL))
                FAIL("%s --%s: a flag has no value, everything else has", cmd->name, o->name);
            if (o->type == OPT_CALL && !o->parse)
                FAIL("%s --%s: no function to parse it", cmd->name, o->name);
            if (o->type == OPT_INT && o->min >= o->max)
                FAIL("%s --%s: no range", cmd->name, o->name);
            for (const struct opt *p = o + 1; p->name; p++)
                if (str_eq(o->name, p->name) || (o->short_name && o->short_name == p->short_name))
                    FAIL("%s --%s: twice", cmd->name, o->name);
        }
    }
}

static void check_lines(const char *what, const char *text, size_t width)
{
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");
        char *line = mem_strndup(p, len);
        /* Usage and examples stand on one line each, however long. */
        if (str_width(line) > width && !strstr(line, "hive ") && !strstr(line, "workload-manager"))
            FAIL("%s: a line is too long: %s", what, line);
        if (len > 0 && p[len - 1] == ' ')
            FAIL("%s: a line ends in a blank: %s", what, line);
        free(line);
        p += len + (p[len] == '\n');
    }
}

TEST(help_names_everything_and_fits)
{
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        struct buf b = BUF_INIT;
        cmd_help_one(cmd, &b, 80);
        check_lines(cmd->name, buf_data(&b), 80);
        for (size_t s = 0; cmd->synopsis[s]; s++)
            CHECK(strstr(buf_data(&b), cmd->synopsis[s]) != NULL);
        for (const struct opt *o = cmd->options; o && o->name; o++) {
            char *name = mem_printf("--%s", o->name);
            if (!o->hidden && !strstr(buf_data(&b), name))
                FAIL("%s: %s is not in its help", cmd->name, name);
            free(name);
        }
        CHECK(strstr(buf_data(&b), "--help") != NULL);
        buf_fini(&b);
    }
}

/* Who makes it takes it out of the table of later.c. */
TEST(what_a_later_version_has_is_not_here_already)
{
    CHECK(later_has("submit", "nodes"));
    CHECK(!later_has("submit", "node"));
    CHECK(!later_has("submit", NULL));
    CHECK(!later_has("nodes", NULL));
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        if (later_has(cmd->name, NULL))
            FAIL("%s is there, and in the table of what later versions have", cmd->name);
        for (const struct opt *o = cmd->options; o && o->name; o++)
            if (later_has(cmd->name, o->name))
                FAIL("%s --%s is there, and in the table of what later versions have", cmd->name,
                     o->name);
    }
}

static char *unknown(const char *name, const char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return cmd_unknown_option(cmd_find(name), argc, (char **)(uintptr_t)argv);
}

static void check_unknown(const char *want, const char *const *argv)
{
    char *got = unknown(argv[0], argv);
    if (!str_eq(got, want))
        FAIL("%s %s: %s instead of %s", argv[0], argv[1], got ? got : "none", want ? want : "none");
    free(got);
}

TEST(the_option_that_is_unknown_is_found)
{
#define UNKNOWN(want, ...) check_unknown(want, (const char *const[]){ __VA_ARGS__, NULL })
    UNKNOWN("--nodes", "submit", "--nodes", "2", "true");
    UNKNOWN("--nodes", "submit", "-t", "2", "-qf", "--name=x", "--nodes=2", "true");
    UNKNOWN(NULL, "submit", "true", "--nodes");
    UNKNOWN(NULL, "submit", "--", "--nodes");
    UNKNOWN(NULL, "submit", "--name", "--nodes", "true");
    UNKNOWN(NULL, "submit", "-n", "--nodes", "true");
    UNKNOWN(NULL, "submit", "-X", "--nodes");
    UNKNOWN(NULL, "submit", "-qX", "--nodes");
    UNKNOWN("--x", "status", "12", "--x");
#undef UNKNOWN
}

/* Without roff's escapes. */
static char *unescape(const char *s)
{
    static const char *const escapes[][2] = {
        { "\\(aq", "'" },     { "\\(ga", "`" }, { "\\(ti", "~" }, { "\\(ha", "^" },
        { "\\[u2026]", "…" }, { "\\-", "-" },   { "\\e", "\\" },  { "\\&", "" },
    };
    struct buf b = BUF_INIT;
    while (*s) {
        size_t i = 0;
        while (i < ARRAY_LEN(escapes) && !str_starts(s, escapes[i][0]))
            i++;
        if (i < ARRAY_LEN(escapes)) {
            buf_append_str(&b, escapes[i][1]);
            s += strlen(escapes[i][0]);
        } else {
            buf_append_char(&b, *s++);
        }
    }
    return buf_take(&b, NULL);
}

TEST(manual_page_says_the_same_as_help)
{
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        struct buf b = BUF_INIT;
        cmd_man(cmd, &b);
        for (const char *p = buf_data(&b); *p; p++)
            if ((unsigned char)*p >= 0x80)
                FAIL("%s: the manual page is not ASCII", cmd->name);
        char *text = unescape(buf_data(&b));
        for (size_t s = 0; cmd->synopsis[s]; s++)
            if (!strstr(text, cmd->synopsis[s]))
                FAIL("%s: '%s' is not in its manual page", cmd->name, cmd->synopsis[s]);
        for (const struct cmd_example *e = cmd->examples; e && e->line; e++)
            if (!strstr(text, e->line))
                FAIL("%s: '%s' is not in its manual page", cmd->name, e->line);
        free(text);
        buf_fini(&b);
    }
}

TEST(overview_lists_what_is_not_hidden)
{
    struct buf b = BUF_INIT;
    cmd_help_all(&b);
    check_lines("overview", buf_data(&b), 80);
    for (size_t i = 0; cmd_table[i]; i++) {
        char *line = mem_printf("\n  %-12s %s\n", cmd_table[i]->name, cmd_table[i]->summary);
        CHECK((strstr(buf_data(&b), line) != NULL) == !cmd_table[i]->hidden);
        free(line);
    }
    for (size_t i = 0; cmd_topics[i]; i++) {
        CHECK(strstr(buf_data(&b), cmd_topics[i]) != NULL);
        CHECK(cmd_topic(cmd_topics[i]) || cmd_find(cmd_topics[i]));
        if (cmd_topic(cmd_topics[i]))
            check_lines(cmd_topics[i], cmd_topic(cmd_topics[i]), 90);
    }
    buf_fini(&b);
}

TEST(completions_know_every_command_and_option)
{
    static const char *const shells[] = { "bash", "zsh", "fish" };
    for (size_t s = 0; s < ARRAY_LEN(shells); s++) {
        struct buf b = BUF_INIT;
        CHECK(cmd_completion_script(shells[s], &b));
        for (size_t i = 0; cmd_table[i]; i++) {
            const struct cmd *cmd = cmd_table[i];
            char *name = mem_printf("hive-%s", cmd->name);
            if (!cmd->hidden && !strstr(buf_data(&b), name))
                FAIL("%s: %s is missing", shells[s], name);
            free(name);
            for (const struct opt *o = cmd->options; o && o->name && !cmd->hidden; o++)
                if (!o->hidden && !strstr(buf_data(&b), o->name))
                    FAIL("%s: --%s is missing", shells[s], o->name);
        }
        buf_fini(&b);
    }
    struct buf b = BUF_INIT;
    CHECK(!cmd_completion_script("csh", &b));
    buf_fini(&b);
}

static char wants(const char *name, const char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return cmd_wants(cmd_find(name), argc, (char **)(uintptr_t)argv);
}

#define WANTS(name, ...) wants(name, (const char *const[]){ name, __VA_ARGS__, NULL })

TEST(help_is_found_and_not_overheard)
{
    for (size_t i = 0; cmd_table[i]; i++) {
        const char *name = cmd_table[i]->name;
        CHECK_INT(WANTS(name, "--help"), 'h');
        CHECK_INT(WANTS(name, "-h"), 'h');
        CHECK_INT(WANTS(name, "--version"), 'V');
        CHECK_INT(WANTS(name, "--", "--help"), 0);
    }
    CHECK_INT(WANTS("status", "12", "--help"), 'h');
    CHECK_INT(WANTS("submit", "-t", "4", "--help"), 'h');
    CHECK_INT(WANTS("submit", "-qh"), 'h');
    CHECK_INT(WANTS("submit", "prog", "--help"), 0);
    CHECK_INT(WANTS("submit", "--name", "--help", "x"), 0);
    CHECK_INT(WANTS("submit", "--name=x", "--help", "x"), 'h');
    CHECK_INT(WANTS("submit", "-n", "-h", "x"), 0);
    CHECK_INT(WANTS("submit", "-nh", "x"), 0);
    CHECK_INT(WANTS("submit", "--unknown", "--help"), 'h');
}
