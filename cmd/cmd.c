/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/str.h"
#include "cmd/later.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

const struct cmd *const cmd_table[] = {
#define COMMAND(id) &cmd_##id,
#include "cmd/commands.def"
#undef COMMAND
    NULL,
};

/* What belongs to the process, not to a command: its stdout and its settings. */
static int out_errno;
static struct conf *conf;

const struct cmd *cmd_find(const char *name)
{
    for (size_t i = 0; cmd_table[i]; i++)
        if (str_eq(cmd_table[i]->name, name))
            return cmd_table[i];
    return NULL;
}

const char *cmd_suggest(const char *name)
{
    const char *names[ARRAY_LEN(cmd_table)];
    size_t n = 0;
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            names[n++] = cmd_table[i]->name;
    names[n] = NULL;
    return str_did_you_mean(name, names);
}

static const struct opt no_options[] = { OPT_END };

bool cmd_parse(const struct cmd *cmd, void *args, int argc, char **argv, int *first, bool *dashdash,
               int *exit_code)
{
    struct err err = ERR_INIT;
    const struct opt *table = cmd->options ? cmd->options : no_options;
    if (opt_parse(table, args, argc, argv, cmd->opt_flags, first, dashdash, &err) == 0)
        return true;
    later_option(cmd, argc, argv, &err);
    if (err.hint[0] == '\0')
        err_hint(&err, "options: hive %s --help", cmd->name);
    err_prefix(&err, "%s", cmd->name);
    cmd_fail(&err);
    *exit_code = CMD_USAGE;
    return false;
}

static const struct opt *find_long(const struct opt *table, const char *name, size_t len)
{
    for (const struct opt *o = table; o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

static const struct opt *find_short(const struct opt *table, char c)
{
    for (const struct opt *o = table; o->name; o++)
        if (o->short_name == c)
            return o;
    return NULL;
}

/* One word that begins with '-': what it wants, and whether the next word is its value. */
static char option_wants(const struct opt *table, const char *word, bool *value_next)
{
    *value_next = false;
    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        const struct opt *o = find_long(table, word + 2, len);
        if (o)
            *value_next = o->arg && word[2 + len] == '\0';
        else if (str_eq(word, "--help"))
            return 'h';
        else if (str_eq(word, "--version"))
            return 'V';
        return 0;
    }
    for (const char *p = word + 1; *p; p++) {
        const struct opt *o = find_short(table, *p);
        if (!o)
            return *p == 'h' ? 'h' : 0;
        if (o->arg) {
            *value_next = p[1] == '\0';
            return 0;
        }
    }
    return 0;
}

char cmd_wants(const struct cmd *cmd, int argc, char **argv)
{
    const struct opt *table = cmd->options ? cmd->options : no_options;
    for (int i = 1; i < argc; i++) {
        bool value_next;
        if (str_eq(argv[i], "--"))
            return 0;
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            if (cmd->opt_flags & OPT_STOP_AT_ARG)
                return 0;
            continue;
        }
        char want = option_wants(table, argv[i], &value_next);
        if (want)
            return want;
        i += value_next;
    }
    return 0;
}

/* "fq", "t4": flags, up to one that takes the rest as its value. */
static bool all_short(const struct opt *table, const char *letters)
{
    for (const char *p = letters; *p; p++) {
        const struct opt *o = find_short(table, *p);
        if (!o || o->arg)
            return o != NULL;
    }
    return true;
}

char *cmd_unknown_option(const struct cmd *cmd, int argc, char **argv)
{
    const struct opt *table = cmd->options ? cmd->options : no_options;

    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool value_next;
        if (str_eq(word, "--"))
            return NULL;
        if (word[0] != '-' || word[1] == '\0') {
            if (cmd->opt_flags & OPT_STOP_AT_ARG)
                return NULL;
            continue;
        }
        size_t len = strcspn(word, "=");
        if (word[1] == '-' && !find_long(table, word + 2, len - 2))
            return mem_strndup(word, len);
        if (word[1] != '-' && !all_short(table, word + 1))
            return NULL;
        option_wants(table, word, &value_next);
        i += value_next;
    }
    return NULL;
}

/* Text of ours with foreign names in it: only line ends and tabs of our own making stay. */
static void write_message(const char *prefix, const char *text, const char *hint)
{
    struct buf b = BUF_INIT;
    buf_append_str(&b, prefix);
    str_append_safe(&b, text, SIZE_MAX);
    buf_append_char(&b, '\n');
    if (hint && hint[0]) {
        buf_append_str(&b, "  ");
        str_append_safe(&b, hint, SIZE_MAX);
        buf_append_char(&b, '\n');
    }
    /* Nobody is left to be told when stderr is gone too. */
    (void)!fs_write_all(STDERR_FILENO, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

void cmd_msg(const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    write_message("hive: ", buf_data(&b), NULL);
    buf_fini(&b);
}

int cmd_fail(const struct err *err)
{
    write_message("hive: ", err->msg, err->hint);
    return err_exit_code(err->kind);
}

int cmd_usage(const struct cmd *cmd, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;
    buf_printf(&b, "%s: ", cmd->name);
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    char *hint = mem_printf("try: hive %s --help", cmd->name);
    write_message("hive: ", buf_data(&b), hint);
    free(hint);
    buf_fini(&b);
    return CMD_USAGE;
}

/* Prints warnings, one a line. */
static void print_warnings(const struct buf *warnings)
{
    const char *p = buf_data(warnings);
    while (*p) {
        size_t len = strcspn(p, "\n");
        if (len > 0) {
            char *line = mem_strndup(p, len);
            write_message("hive: warning: ", line, NULL);
            free(line);
        }
        p += len + (p[len] == '\n');
    }
}

struct conf *cmd_conf(void)
{
    if (conf)
        return conf;
    struct buf warnings = BUF_INIT;
    struct err err = ERR_INIT;
    conf = conf_create();
    int rc = conf_load(conf, &warnings, &err);
    print_warnings(&warnings);
    buf_fini(&warnings);
    if (rc != 0) {
        cmd_fail(&err);
        exit(CMD_USAGE);
    }
    return conf;
}

void cmd_conf_free(void)
{
    conf_destroy(conf);
    conf = NULL;
}

void cmd_out_bytes(const char *data, size_t len)
{
    if (!out_errno && fs_write_all(STDOUT_FILENO, data, len) != 0)
        out_errno = errno;
}

void cmd_out(const struct buf *b)
{
    cmd_out_bytes(buf_data(b), buf_len(b));
}

bool cmd_out_failed(void)
{
    return out_errno != 0;
}

int cmd_finish(int code)
{
    if (fflush(stdout) != 0 && !out_errno)
        out_errno = errno;
    if (!out_errno)
        return code;
    cmd_msg("cannot write to standard output: %s", strerror(out_errno));
    return code ? code : CMD_FAILED;
}

bool cmd_color(void)
{
    const char *mode = conf_str(cmd_conf(), CONF_ui_color);
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (!str_eq(mode, "auto"))
        return str_eq(mode, "always");
    return !(no_color && no_color[0]) && !(term && str_eq(term, "dumb")) && isatty(STDOUT_FILENO);
}

static unsigned width_of_terminal(void)
{
    struct winsize ws;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
        return ws.ws_col;
    return 0;
}

static unsigned width_of_environment(void)
{
    const char *text = getenv("COLUMNS");
    int64_t n;
    return text && str_to_int(text, 20, 10000, "COLUMNS", &n, NULL) == 0 ? (unsigned)n : 0;
}

unsigned cmd_width(void)
{
    unsigned w = width_of_terminal();
    if (!w)
        w = width_of_environment();
    return w < 20 ? (w ? 20 : 80) : w;
}

bool cmd_width_limited(void)
{
    return width_of_terminal() || width_of_environment() || isatty(STDOUT_FILENO);
}
