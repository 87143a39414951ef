/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/str.h"
#include "cmd/later.h"

#include <stddef.h>

#define WIDTH_MAX 100 /* longer lines are hard to read */

struct args {
    bool symlinks, table;
    const char *man_dir;
};

static const struct opt options[] = {
    { 0, "symlinks", OPT_FLAG, NULL, "print the names hive can be called by, one a line",
      .dest = offsetof(struct args, symlinks) },
    { 0, "man-dir", OPT_STR, "DIR", "write the manual pages into a folder",
      .dest = offsetof(struct args, man_dir), .complete = "dir" },
    { 0, "table", OPT_FLAG, NULL, "print the commands as a markdown table",
      .dest = offsetof(struct args, table) },
    OPT_END,
};

static const char *const group_titles[CMD_GROUP_COUNT] = {
    [CMD_GROUP_JOBS] = "Jobs",   [CMD_GROUP_MACHINES] = "Machines", [CMD_GROUP_DAEMON] = "Daemon",
    [CMD_GROUP_SETUP] = "Setup", [CMD_GROUP_HELP] = "Help",
};

/* Text broken at blanks so that it fits; `indent` blanks before each line. */
static void wrap(struct buf *b, const char *p, size_t len, unsigned indent, unsigned width)
{
    const char *end = p + len;
    size_t column = 0;
    while (p < end) {
        size_t n = 0;
        while (p + n < end && p[n] != ' ' && p[n] != '\n')
            n++;
        char *word = mem_strndup(p, n);
        size_t columns = str_width(word);
        if (column > 0 && column + 1 + columns > width) {
            buf_append_char(b, '\n');
            column = 0;
        }
        if (column == 0) {
            buf_printf(b, "%*s", (int)indent, "");
            column = indent;
        } else {
            buf_append_char(b, ' ');
            column++;
        }
        buf_append_str(b, word);
        column += columns;
        free(word);
        p += n;
        while (p < end && (*p == ' ' || *p == '\n'))
            p++;
    }
    buf_append_char(b, '\n');
}

static void description(struct buf *b, const char *s, unsigned width)
{
    while (*s) {
        const char *gap = strstr(s, "\n\n");
        size_t len = gap ? (size_t)(gap - s) : strlen(s);
        if (*s == ' ') {
            buf_append(b, s, len);
            buf_append_char(b, '\n');
        } else {
            wrap(b, s, len, 0, width);
        }
        buf_append_char(b, '\n');
        s += len + (gap ? 2 : 0);
    }
}

/* The command's options and --help as one table, so that columns line up. */
static void options_help(const struct cmd *cmd, struct buf *b, unsigned width)
{
    size_t n = 0;
    while (cmd->options && cmd->options[n].name)
        n++;
    struct opt *all = mem_alloc_array(n + 2, sizeof(*all));
    if (n > 0)
        memcpy(all, cmd->options, n * sizeof(*all));
    all[n] = (struct opt){ 'h', "help", OPT_FLAG, NULL, "show this help", .dest = 0 };
    opt_help(all, b, width);
    free(all);
}

void cmd_help_one(const struct cmd *cmd, struct buf *b, unsigned width)
{
    const char *prefix = cmd->seed ? "" : "hive ";
    if (width > WIDTH_MAX)
        width = WIDTH_MAX;
    buf_printf(b, "%s%s: %s\n\n", prefix, cmd->name, cmd->summary);
    for (size_t i = 0; cmd->synopsis[i]; i++)
        buf_printf(b, "%s %s%s %s\n", i == 0 ? "Usage:" : "      ", prefix, cmd->name,
                   cmd->synopsis[i]);
    buf_append_char(b, '\n');
    description(b, cmd->description, width);
    buf_append_str(b, "Options:\n");
    options_help(cmd, b, width);
    if (!cmd->examples || !cmd->examples[0].line)
        return;
    buf_append_str(b, "\nExamples:\n");
    for (const struct cmd_example *e = cmd->examples; e->line; e++) {
        buf_printf(b, "  %s\n", e->line);
        wrap(b, e->what, strlen(e->what), 6, width);
    }
}

void cmd_help_all(struct buf *b)
{
    buf_append_str(b, "hive: run commands where CPUs, memory and GPUs are free\n\n"
                      "Usage: hive COMMAND [ARGUMENT…]\n");
    for (int g = 0; g < CMD_GROUP_COUNT; g++) {
        bool any = false;
        for (size_t i = 0; cmd_table[i]; i++) {
            const struct cmd *cmd = cmd_table[i];
            if ((int)cmd->group != g || cmd->hidden)
                continue;
            if (!any)
                buf_printf(b, "\n%s\n", group_titles[g]);
            any = true;
            buf_printf(b, "  %-12s %s\n", cmd->name, cmd->summary);
        }
    }
    buf_append_str(b, "\nhive COMMAND --help explains a command, hive help TOPIC a topic:");
    for (size_t i = 0; cmd_topics[i]; i++)
        buf_printf(b, " %s", cmd_topics[i]);
    buf_append_str(b, ".\nNew here? hive help start\n");
}

static void help_settings(struct buf *b, unsigned width)
{
    if (width > WIDTH_MAX)
        width = WIDTH_MAX;
    buf_append_str(b, "\nSettings:\n");
    for (int i = 0; i < CONF_KEY_COUNT; i++) {
        const struct conf_setting *s = conf_setting((enum conf_key)i);
        buf_printf(b, "  %s", s->key);
        if (s->words)
            buf_printf(b, " (%s)", s->words);
        buf_printf(b, s->def[0] ? " = %s\n" : "%s\n", s->def);
        wrap(b, s->help, strlen(s->help), 6, width);
    }
}

static int help_on(const char *name)
{
    struct buf b = BUF_INIT;
    const struct cmd *cmd = cmd_find(name);
    const char *topic = cmd_topic(name);
    if (!cmd && !topic) {
        struct err err = ERR_INIT;
        const char *near = cmd_suggest(name);
        if (later_has(name, NULL)) {
            later_err(&err, name);
            err_hint(&err, "all commands and topics: hive help");
            return cmd_fail(&err);
        }
        if (!near)
            near = str_did_you_mean(name, cmd_topics);
        err_set(&err, ERR_USAGE, "help: there is no command or topic '%s'", name);
        err_hint(&err, near ? "did you mean %s?" : "all commands and topics: hive help%s",
                 near ? near : "");
        return cmd_fail(&err);
    }
    if (topic)
        buf_append_str(&b, topic);
    else
        cmd_help_one(cmd, &b, cmd_width());
    if (str_eq(name, "config"))
        help_settings(&b, cmd_width());
    cmd_out(&b);
    buf_fini(&b);
    return CMD_OK;
}

static void print_symlinks(void)
{
    struct buf b = BUF_INIT;
    for (size_t i = 0; cmd_table[i]; i++)
        if (cmd_table[i]->seed)
            buf_printf(&b, "%s\n", cmd_table[i]->name);
        else if (!cmd_table[i]->hidden)
            buf_printf(&b, "hive-%s\n", cmd_table[i]->name);
    cmd_out(&b);
    buf_fini(&b);
}

static void print_table(void)
{
    struct buf b = BUF_INIT;
    buf_append_str(&b, "| command | what it does |\n|---|---|\n");
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            buf_printf(&b, "| `hive %s` | %s |\n", cmd_table[i]->name, cmd_table[i]->summary);
    cmd_out(&b);
    buf_fini(&b);
}

static int write_page(const char *dir, const char *name, struct buf *page, struct err *err)
{
    char *path = fs_join(dir, name);
    int rc = fs_write_file(path, buf_data(page), buf_len(page), 0644, false, err);
    free(path);
    buf_clear(page);
    return rc;
}

static int write_pages(const char *dir)
{
    struct err err = ERR_INIT;
    struct buf page = BUF_INIT;
    int rc = fs_mkdir_p(dir, 0755, &err);
    if (rc == 0) {
        cmd_man_main(&page);
        rc = write_page(dir, "hive.1", &page, &err);
    }
    if (rc == 0) {
        cmd_man_conf(&page);
        rc = write_page(dir, "hive.conf.5", &page, &err);
    }
    for (size_t i = 0; rc == 0 && cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        if (cmd->hidden && !cmd->seed)
            continue;
        char *name = mem_printf("%s%s.1", cmd->seed ? "" : "hive-", cmd->name);
        cmd_man(cmd, &page);
        rc = write_page(dir, name, &page, &err);
        free(name);
    }
    buf_fini(&page);
    return rc == 0 ? CMD_OK : cmd_fail(&err);
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .symlinks = false };
    struct buf b = BUF_INIT;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (argc - first > 1)
        return cmd_usage(cmd, "one topic at a time");
    if (a.man_dir)
        return write_pages(a.man_dir);
    if (first < argc)
        return help_on(argv[first]);
    if (a.symlinks) {
        print_symlinks();
    } else if (a.table) {
        print_table();
    } else {
        cmd_help_all(&b);
        cmd_out(&b);
    }
    buf_fini(&b);
    return CMD_OK;
}

static const char *const synopsis[] = {
    "[TOPIC|COMMAND]", "--symlinks", "--man-dir DIR", "--table", NULL,
};

static const struct cmd_example examples[] = {
    { "hive help start", "the first steps" },
    { "hive help scripts", "options inside job scripts" },
    { "hive help config", "what each setting means" },
    { "hive help submit", "the same as hive submit --help" },
    { NULL, NULL },
};

const struct cmd cmd_help = {
    .name = "help",
    .group = CMD_GROUP_HELP,
    .summary = "explain a command or a topic",
    .synopsis = synopsis,
    .description = "Topics: start, scripts, config.",
    .options = options,
    .examples = examples,
    .operands = "topic",
    .run = run,
};
