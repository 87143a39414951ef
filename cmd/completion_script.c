/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Completion scripts from the tables of commands and options. What depends on the moment (ids,
 * names) is asked from `hive completion --list KIND` while completing.
 */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/str.h"

/* Calls `fn` for each part of "job|=jobs nodes". */
static void each_kind(const char *kinds, void (*fn)(struct buf *b, const char *kind), struct buf *b)
{
    while (kinds && *kinds) {
        size_t len = strcspn(kinds, "|");
        char *kind = mem_strndup(kinds, len);
        fn(b, kind);
        free(kind);
        kinds += len + (kinds[len] == '|');
    }
}

static bool takes_value(const struct opt *o)
{
    return o->arg != NULL;
}

/* --- bash --- */

static const char bash_head[] =
    "# bash completion for hive, made by: hive completion bash\n"
    "_hive_add() {\n"
    "    local IFS=$'\\n'\n"
    "    case $1 in\n"
    "    file) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
    "    dir) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -d -- \"$cur\")) ;;\n"
    "    program) COMPREPLY+=($(compgen -c -- \"$cur\")); _hive_add file ;;\n"
    "    words) COMPREPLY+=($(compgen -W \"${2// /$IFS}\" -- \"$cur\")) ;;\n"
    "    *) COMPREPLY+=($(compgen -W \"$(hive completion --list \"$1\" 2>/dev/null)\" -- "
    "\"$cur\")) ;;\n"
    "    esac\n"
    "}\n"
    "_hive() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} name cmd first=1\n"
    "    [[ $cur == = ]] && cur=\n"
    "    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    COMPREPLY=()\n"
    "    name=${COMP_WORDS[0]##*/}\n"
    "    if [[ $name == hive ]]; then\n"
    "        cmd=${COMP_WORDS[1]} first=2\n"
    "        if ((COMP_CWORD == 1)); then _hive_add command; return; fi\n"
    "    else\n"
    "        cmd=${name#hive-}\n"
    "    fi\n"
    "    case \"$cmd $prev\" in\n";

static void bash_kind(struct buf *b, const char *kind)
{
    if (kind[0] == '=')
        buf_printf(b, " _hive_add words '%s';", kind + 1);
    else
        buf_printf(b, " _hive_add %s;", str_eq(kind, "command") ? "program" : kind);
}

static void bash_values(const struct cmd *cmd, struct buf *b)
{
    for (const struct opt *o = cmd->options; o && o->name; o++) {
        if (o->hidden || !takes_value(o))
            continue;
        buf_printf(b, "    \"%s --%s\"", cmd->name, o->name);
        if (o->short_name)
            buf_printf(b, "|\"%s -%c\"", cmd->name, o->short_name);
        buf_append_char(b, ')');
        each_kind(o->complete, bash_kind, b);
        buf_append_str(b, " return ;;\n");
    }
}

static void bash_command(const struct cmd *cmd, struct buf *b)
{
    buf_printf(b, "    %s) if [[ $cur == -* ]]; then _hive_add words '", cmd->name);
    for (const struct opt *o = cmd->options; o && o->name; o++)
        if (!o->hidden)
            buf_printf(b, "--%s ", o->name);
    buf_append_str(b, "--help'; else");
    each_kind(cmd->operands, bash_kind, b);
    buf_append_str(b, cmd->operands ? " fi ;;\n" : " :; fi ;;\n");
}

static void script_bash(struct buf *b)
{
    buf_append_str(b, bash_head);
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            bash_values(cmd_table[i], b);
    buf_append_str(b, "    esac\n    case $cmd in\n");
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            bash_command(cmd_table[i], b);
    buf_append_str(b, "    esac\n}\ncomplete -F _hive hive");
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            buf_printf(b, " hive-%s", cmd_table[i]->name);
    buf_append_char(b, '\n');
}

/* --- zsh --- */

/* Inside single quotes, inside the brackets of _arguments. */
static void zsh_text(struct buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '\'')
            buf_append_str(b, "'\\''");
        else if (strchr("[]:\\", *s))
            buf_printf(b, "\\%c", *s);
        else
            buf_append_char(b, *s);
    }
}

static void zsh_kind(struct buf *b, const char *kind)
{
    if (kind[0] == '=')
        buf_printf(b, " compadd -- %s;", kind + 1);
    else if (str_eq(kind, "file"))
        buf_append_str(b, " _files;");
    else if (str_eq(kind, "dir"))
        buf_append_str(b, " _files -/;");
    else if (str_eq(kind, "command"))
        buf_append_str(b, " _command_names -e; _files;");
    else
        buf_printf(b, " compadd -V %s -- ${(f)\"$(hive completion --list %s 2>/dev/null)\"};", kind,
                   kind);
}

static void zsh_action(struct buf *b, const char *kinds)
{
    if (!kinds) {
        buf_append_char(b, ' ');
        return;
    }
    buf_append_char(b, '{');
    each_kind(kinds, zsh_kind, b);
    buf_append_char(b, '}');
}

static void zsh_option(struct buf *b, const struct opt *o)
{
    buf_append_str(b, " \\\n        ");
    if (o->short_name)
        buf_printf(b, "'*'{-%c%s,--%s%s}'[", o->short_name, takes_value(o) ? "+" : "", o->name,
                   takes_value(o) ? "=" : "");
    else
        buf_printf(b, "'*--%s%s[", o->name, takes_value(o) ? "=" : "");
    zsh_text(b, o->help);
    buf_append_char(b, ']');
    if (takes_value(o)) {
        buf_append_char(b, ':');
        zsh_text(b, o->arg);
        buf_append_char(b, ':');
        zsh_action(b, o->complete);
    }
    buf_append_char(b, '\'');
}

static void zsh_command(const struct cmd *cmd, struct buf *b)
{
    buf_printf(b, "_hive_%s() {\n    _arguments -s -S", cmd->name);
    for (const struct opt *o = cmd->options; o && o->name; o++)
        if (!o->hidden)
            zsh_option(b, o);
    buf_append_str(b, " \\\n        '(-h --help)'{-h,--help}'[show the help]'");
    if (cmd->operands) {
        buf_append_str(b, " \\\n        '*:argument:");
        zsh_action(b, cmd->operands);
        buf_append_char(b, '\'');
    }
    buf_append_str(b, "\n}\n");
}

static void script_zsh(struct buf *b)
{
    buf_append_str(b, "#compdef hive");
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            buf_printf(b, " hive-%s", cmd_table[i]->name);
    buf_append_str(b, "\n# zsh completion for hive, made by: hive completion zsh\n");
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            zsh_command(cmd_table[i], b);
    buf_append_str(b, "_hive() {\n"
                      "    if [[ $service == hive-* ]]; then\n"
                      "        _hive_${service#hive-}\n"
                      "    elif ((CURRENT == 2)); then\n"
                      "        local -a commands=(\n");
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden) {
            buf_printf(b, "            '%s:", cmd_table[i]->name);
            zsh_text(b, cmd_table[i]->summary);
            buf_append_str(b, "'\n");
        }
    buf_append_str(b, "        )\n"
                      "        _describe command commands\n"
                      "    elif (($+functions[_hive_$words[2]])); then\n"
                      "        local name=_hive_$words[2]\n"
                      "        shift words\n"
                      "        ((CURRENT--))\n"
                      "        $name\n"
                      "    fi\n"
                      "}\n"
                      "if [[ $funcstack[1] == _hive ]]; then\n"
                      "    _hive \"$@\"\n"
                      "else\n"
                      "    compdef _hive hive");
    for (size_t i = 0; cmd_table[i]; i++)
        if (!cmd_table[i]->hidden)
            buf_printf(b, " hive-%s", cmd_table[i]->name);
    buf_append_str(b, "\nfi\n");
}

/* --- fish --- */

static void fish_quoted(struct buf *b, const char *s)
{
    buf_append_char(b, '\'');
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            buf_append_char(b, '\\');
        buf_append_char(b, *s);
    }
    buf_append_char(b, '\'');
}

/* Files are fish's own default; the rest is a list. */
static void fish_kind(struct buf *b, const char *kind)
{
    if (kind[0] == '=')
        buf_printf(b, "%s ", kind + 1);
    else if (str_eq(kind, "command"))
        buf_append_str(b, "(__fish_complete_command) ");
    else if (str_eq(kind, "dir"))
        buf_append_str(b, "(__fish_complete_directories) ");
    else if (!str_eq(kind, "file"))
        buf_printf(b, "(hive completion --list %s 2>/dev/null) ", kind);
}

static void fish_values(struct buf *b, const char *kinds)
{
    struct buf values = BUF_INIT;
    each_kind(kinds, fish_kind, &values);
    if (buf_len(&values) > 0) {
        buf_append_str(b, " -a ");
        fish_quoted(b, buf_data(&values));
    }
    buf_fini(&values);
}

static void fish_rows(const struct cmd *cmd, const char *start, struct buf *b)
{
    for (const struct opt *o = cmd->options; o && o->name; o++) {
        if (o->hidden)
            continue;
        buf_append_str(b, start);
        if (o->short_name)
            buf_printf(b, " -s %c", o->short_name);
        buf_printf(b, " -l %s -d ", o->name);
        fish_quoted(b, o->help);
        if (takes_value(o)) {
            buf_append_str(b, o->complete && str_eq(o->complete, "file") ? " -r -F" : " -x");
            fish_values(b, o->complete);
        }
        buf_append_char(b, '\n');
    }
    buf_printf(b, "%s -s h -l help -d 'show the help'\n", start);
    if (!cmd->operands)
        return;
    buf_append_str(b, start);
    if (str_eq(cmd->operands, "command"))
        buf_append_str(b, " -F");
    fish_values(b, cmd->operands);
    buf_append_char(b, '\n');
}

static void script_fish(struct buf *b)
{
    buf_append_str(b, "# fish completion for hive, made by: hive completion fish\n"
                      "complete -c hive -f\n");
    for (size_t i = 0; cmd_table[i]; i++) {
        const struct cmd *cmd = cmd_table[i];
        if (cmd->hidden)
            continue;
        buf_printf(b, "complete -c hive -n __fish_use_subcommand -a %s -d ", cmd->name);
        fish_quoted(b, cmd->summary);
        buf_append_char(b, '\n');
        char *start = mem_printf("complete -c hive -n '__fish_seen_subcommand_from %s'", cmd->name);
        fish_rows(cmd, start, b);
        free(start);
        start = mem_printf("complete -c hive-%s", cmd->name);
        buf_printf(b, "%s -f\n", start);
        fish_rows(cmd, start, b);
        free(start);
    }
}

bool cmd_completion_script(const char *shell, struct buf *b)
{
    if (str_eq(shell, "bash"))
        script_bash(b);
    else if (str_eq(shell, "zsh"))
        script_zsh(b);
    else if (str_eq(shell, "fish"))
        script_fish(b);
    else
        return false;
    return true;
}
