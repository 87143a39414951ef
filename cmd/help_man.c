/* SPDX-License-Identifier: BSD-2-Clause */
/* Manual pages, mdoc(7), from the tables of commands, options and settings. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/str.h"

/* Of the texts, not of the build: builds are reproducible. */
#define MAN_DATE "November 20, 2026"

/* One code point of valid UTF-8; advances *s. */
static unsigned next_code(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    unsigned n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    unsigned code = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (unsigned i = 1; i < n && p[i]; i++)
        code = code << 6 | (p[i] & 0x3fu);
    *s += strnlen(*s, n);
    return code;
}

/* Text as it is: what roff would take for its own is escaped. */
static void text_n(struct buf *b, const char *s, size_t len)
{
    const char *end = s + len;
    if (len > 0 && (*s == '.' || *s == '\''))
        buf_append_str(b, "\\&");
    while (s < end) {
        unsigned code = next_code(&s);
        if (code == '\\')
            buf_append_str(b, "\\e");
        else if (code == '-')
            buf_append_str(b, "\\-");
        else if (code == '\'')
            buf_append_str(b, "\\(aq");
        else if (code == '`')
            buf_append_str(b, "\\(ga");
        else if (code == '~')
            buf_append_str(b, "\\(ti");
        else if (code == '^')
            buf_append_str(b, "\\(ha");
        else if (code >= 0x80)
            buf_printf(b, "\\[u%04X]", code);
        else
            buf_append_char(b, (char)code);
    }
}

static void text(struct buf *b, const char *s)
{
    text_n(b, s, strlen(s));
}

/* Sentences begin on new lines, as roff wants them, so that it can space them. */
static void paragraph(struct buf *b, const char *p, size_t len)
{
    const char *end = p + len;
    while (p < end) {
        const char *stop = p;
        while (stop < end && !(stop[0] == '.' && stop + 2 < end && stop[1] == ' ' &&
                               stop[2] != ' ' && (stop[2] < 'a' || stop[2] > 'z')))
            stop++;
        if (stop < end)
            stop++;
        text_n(b, p, (size_t)(stop - p));
        buf_append_char(b, '\n');
        p = stop;
        while (p < end && *p == ' ')
            p++;
    }
}

/* Lines that begin with blanks are shown as they are. */
static void verbatim(struct buf *b, const char *p, size_t len)
{
    const char *end = p + len;
    buf_append_str(b, ".Bd -literal -compact\n");
    while (p < end) {
        size_t n = strcspn(p, "\n");
        n = n > (size_t)(end - p) ? (size_t)(end - p) : n;
        text_n(b, p, n);
        buf_append_char(b, '\n');
        p += n + 1;
    }
    buf_append_str(b, ".Ed\n");
}

static void paragraphs(struct buf *b, const char *s)
{
    bool first = true;
    while (*s) {
        const char *gap = strstr(s, "\n\n");
        size_t len = gap ? (size_t)(gap - s) : strlen(s);
        if (!first)
            buf_append_str(b, ".Pp\n");
        if (*s == ' ')
            verbatim(b, s, len);
        else
            paragraph(b, s, len);
        first = false;
        s += len + (gap ? 2 : 0);
    }
}

static void header(struct buf *b, const char *name, const char *section, const char *what)
{
    buf_append_str(b, ".Dd " MAN_DATE "\n.Dt ");
    for (const char *p = name; *p; p++)
        buf_append_char(b, (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p));
    buf_printf(b, " %s\n.Os\n.Sh NAME\n.Nm ", section);
    buf_append_str(b, name);
    buf_append_str(b, "\n.Nd ");
    text(b, what);
    buf_append_char(b, '\n');
}

static char *page_name(const struct cmd *cmd)
{
    return cmd->seed ? mem_strdup(cmd->name) : mem_printf("hive-%s", cmd->name);
}

static void synopsis(const struct cmd *cmd, struct buf *b)
{
    buf_append_str(b, ".Sh SYNOPSIS\n.Bd -unfilled -compact\n");
    for (size_t i = 0; cmd->synopsis[i]; i++) {
        buf_printf(b, "%s%s ", cmd->seed ? "" : "hive ", cmd->name);
        text(b, cmd->synopsis[i]);
        buf_append_char(b, '\n');
    }
    buf_append_str(b, ".Ed\n");
}

static void examples(const struct cmd *cmd, struct buf *b)
{
    if (!cmd->examples || !cmd->examples[0].line)
        return;
    buf_append_str(b, ".Sh EXAMPLES\n");
    for (const struct cmd_example *e = cmd->examples; e->line; e++) {
        buf_append_str(b, e == cmd->examples ? "" : ".Pp\n");
        text(b, e->what);
        buf_append_str(b, ":\n.Bd -literal -offset indent -compact\n");
        text(b, e->line);
        buf_append_str(b, "\n.Ed\n");
    }
}

static const struct {
    const char *code, *what;
} exit_codes[] = {
    { "0", "Success." },
    { "1", "It failed." },
    { "2", "The command line or a value is wrong." },
    { "3", "No daemon is running." },
    { "4", "Not allowed." },
    { "124", "When waiting for a job: it was over its time limit." },
    { "125", "When waiting for a job: it has no exit code, or hive itself failed." },
    { "126, 127", "When waiting for a job: its program could not be run, or was not found." },
    { "128+n", "When waiting for a job: signal n ended it." },
};

static void exit_status(struct buf *b)
{
    buf_append_str(b, ".Sh EXIT STATUS\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < ARRAY_LEN(exit_codes); i++)
        buf_printf(b, ".It %s\n%s\n", exit_codes[i].code, exit_codes[i].what);
    buf_append_str(b, ".El\n");
}

void cmd_man(const struct cmd *cmd, struct buf *b)
{
    static const struct opt common[] = {
        { 'h', "help", OPT_FLAG, NULL, "Show the help.", .dest = 0 },
        OPT_END,
    };
    char *name = page_name(cmd);
    header(b, name, "1", cmd->summary);
    synopsis(cmd, b);
    buf_append_str(b, ".Sh DESCRIPTION\n");
    paragraphs(b, cmd->description);
    buf_append_str(b, ".Pp\nThe options are:\n.Bl -tag -width Ds\n");
    if (cmd->options)
        opt_man(cmd->options, b);
    opt_man(common, b);
    buf_append_str(b, ".El\n");
    exit_status(b);
    examples(cmd, b);
    buf_append_str(b, ".Sh SEE ALSO\n.Xr hive 1 ,\n.Xr hive.conf 5\n");
    free(name);
}

static const struct {
    const char *name, *what;
} variables[] = {
    { "HIVE_CONFIG", "Read this file instead of /etc/hive/hive.conf and the user's hive.conf." },
    { "HIVE_STATE_DIR", "Folder of the daemon's database and of jobs' output." },
    { "HIVE_RUNTIME_DIR", "Folder of the daemon's socket hive.sock." },
    { "HIVE_SECTION_KEY",
      "A setting: HIVE_DAEMON_LISTEN is daemon.listen. It wins over the files." },
    { "NO_COLOR", "If set and not empty: no colours." },
};

static void environment(struct buf *b)
{
    buf_append_str(b, ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        buf_printf(b, ".It Ev %s\n", variables[i].name);
        paragraph(b, variables[i].what, strlen(variables[i].what));
    }
    buf_append_str(b, ".El\n");
}

static const struct {
    const char *path, *what;
} files[] = {
    { "~/.config/hive/hive.conf", "The user's settings ($XDG_CONFIG_HOME)." },
    { "/etc/hive/hive.conf", "Settings for all users of the machine." },
    { "~/.local/state/hive", "Jobs and their output ($XDG_STATE_HOME); /var/lib/hive for root." },
    { "$XDG_RUNTIME_DIR/hive/hive.sock", "The daemon's socket; /run/hive/hive.sock for root." },
};

static int by_name(const void *a, const void *b)
{
    const struct cmd *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* In the alphabet's order, as manual pages have it. */
static void see_also(struct buf *b)
{
    size_t n = 0;
    while (cmd_table[n])
        n++;
    const struct cmd **sorted = mem_dup(cmd_table, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_name);
    buf_append_str(b, ".Sh SEE ALSO\n");
    for (size_t i = 0; i < n; i++)
        if (!sorted[i]->hidden)
            buf_printf(b, ".Xr hive-%s 1 ,\n", sorted[i]->name);
    buf_append_str(b, ".Xr hive.conf 5\n");
    free(sorted);
}

void cmd_man_main(struct buf *b)
{
    header(b, "hive", "1", "run commands where CPUs, memory and GPUs are free");
    buf_append_str(b, ".Sh SYNOPSIS\n.Nm hive\n.Ar command\n.Op Ar argument ...\n.Sh DESCRIPTION\n"
                      ".Nm\nqueues commands and runs them when there is room for them.\n"
                      "Each command below has a page of its own,\n"
                      ".Pa hive\\-COMMAND ,\nand can be called by that name.\n.Pp\n"
                      "The commands are:\n.Bl -tag -width Ds\n");
    for (size_t i = 0; cmd_table[i]; i++) {
        if (cmd_table[i]->hidden)
            continue;
        buf_printf(b, ".It Cm %s\n", cmd_table[i]->name);
        text(b, cmd_table[i]->summary);
        buf_append_char(b, '\n');
    }
    buf_append_str(b, ".El\n");
    environment(b);
    buf_append_str(b, ".Sh FILES\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        buf_append_str(b, ".It Pa ");
        text(b, files[i].path);
        buf_append_char(b, '\n');
        paragraph(b, files[i].what, strlen(files[i].what));
    }
    buf_append_str(b, ".El\n");
    exit_status(b);
    see_also(b);
}

static void type_of(struct buf *b, const struct conf_setting *s)
{
    switch (s->type) {
    case CONF_BOOL:
        buf_append_str(b, "yes or no");
        return;
    case CONF_INT:
        buf_append_str(b, "a number");
        return;
    case CONF_SIZE:
        buf_append_str(b, "a size such as 512M or 8G");
        return;
    case CONF_DURATION:
        buf_append_str(b, "a time such as 90s or 1h30m");
        return;
    case CONF_ENUM:
        for (const char *p = s->words; *p; p++)
            if (*p == '|')
                buf_append_str(b, ", ");
            else
                buf_append_char(b, *p);
        return;
    case CONF_PATH:
        buf_append_str(b, "a path");
        return;
    case CONF_STR:
        buf_append_str(b, "text");
        return;
    }
}

void cmd_man_conf(struct buf *b)
{
    header(b, "hive.conf", "5", "settings of hive");
    buf_append_str(b, ".Sh DESCRIPTION\n");
    paragraphs(
        b, "Settings are read from /etc/hive/hive.conf, then from hive.conf in the user's folder "
           "$XDG_CONFIG_HOME/hive (~/.config/hive), then from the environment, where "
           "HIVE_DAEMON_LISTEN "
           "stands for daemon.listen. What is read later wins, and options of a command win over "
           "all.\n\n"
           "The files have sections and keys. # begins a comment:\n\n"
           "  [daemon]\n  # for this machine only\n  listen = 127.0.0.1:8080\n\n"
           "An unknown key is a warning. hive config shows the settings in force, and where each "
           "comes "
           "from; hive config KEY VALUE changes one.");
    buf_append_str(b, ".Pp\nThe settings are:\n.Bl -tag -width Ds\n");
    for (int i = 0; i < CONF_KEY_COUNT; i++) {
        const struct conf_setting *s = conf_setting((enum conf_key)i);
        buf_printf(b, ".It Cm %s\n", s->key);
        text(b, s->help);
        buf_append_str(b, "\n.br\nValue: ");
        struct buf type = BUF_INIT;
        type_of(&type, s);
        text(b, buf_data(&type));
        buf_fini(&type);
        buf_append_str(b, "; default: ");
        text(b, s->def[0] ? s->def : "empty");
        buf_append_char(b, '\n');
    }
    buf_append_str(b, ".El\n.Sh SEE ALSO\n.Xr hive 1 ,\n.Xr hive-config 1\n");
}
