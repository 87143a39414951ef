/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of opt.h as text for people: --help and the man page. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/str.h"

#define LEFT_MAX 28 /* columns of option names; a longer one gets a line of its own */
#define WIDTH_MIN 40

/* "  -t, --threads N" */
static void left_column(const struct opt *o, struct buf *b)
{
    if (o->short_name)
        buf_printf(b, "  -%c, --%s", o->short_name, o->name);
    else
        buf_printf(b, "      --%s", o->name);
    if (o->arg)
        buf_printf(b, " %s", o->arg);
}

static size_t left_width(const struct opt *table)
{
    size_t widest = 0;

    for (const struct opt *o = table; o && o->name; o++) {
        struct buf left = BUF_INIT;
        if (!o->hidden)
            left_column(o, &left);
        size_t width = str_width(buf_data(&left)) + 2;
        if (width <= LEFT_MAX && width > widest)
            widest = width;
        buf_fini(&left);
    }
    return widest ? widest : LEFT_MAX;
}

/* Appends text broken at blanks, so that no line is over `width` columns (a single longer word is
 * left whole); the cursor stands at `indent` already. Ends with a newline. */
static void append_wrapped(struct buf *b, const char *text, size_t indent, size_t width)
{
    size_t column = indent;

    while (*text) {
        size_t len = strcspn(text, " ");
        char *word = mem_strndup(text, len);
        size_t columns = str_width(word);
        if (column > indent && column + 1 + columns > width) {
            buf_printf(b, "\n%*s", (int)indent, "");
            column = indent;
        }
        if (column > indent) {
            buf_append_char(b, ' ');
            column++;
        }
        buf_append_str(b, word);
        column += columns;
        free(word);
        text += len;
        text += strspn(text, " ");
    }
    buf_append_char(b, '\n');
}

void opt_help(const struct opt *table, struct buf *b, unsigned width)
{
    size_t indent = left_width(table);

    if (width < WIDTH_MIN)
        width = WIDTH_MIN;
    for (const struct opt *o = table; o && o->name; o++) {
        struct buf left = BUF_INIT;
        if (o->hidden)
            continue;
        left_column(o, &left);
        size_t used = str_width(buf_data(&left));
        buf_append_str(b, buf_data(&left));
        if (used + 2 > indent) {
            buf_append_char(b, '\n');
            used = 0;
        }
        buf_printf(b, "%*s", (int)(indent - used), "");
        append_wrapped(b, o->help ? o->help : "", indent, width);
        buf_fini(&left);
    }
}

/* Text for roff: '\' and '-' mean something to it, and so do '.' and '\'' in the first column. */
static void append_roff(struct buf *b, const char *s, bool line_start)
{
    if (line_start && (*s == '.' || *s == '\''))
        buf_append_str(b, "\\&");
    for (; *s; s++) {
        if (*s == '\\')
            buf_append_str(b, "\\e");
        else if (*s == '-')
            buf_append_str(b, "\\-");
        else
            buf_append_char(b, *s);
    }
}

/* One argument of a macro, quoted: '|', '[' or a blank in it are then only text. */
static void append_roff_arg(struct buf *b, const char *s)
{
    buf_append_str(b, "\"\\&");
    for (; *s; s++) {
        if (*s == '"')
            buf_append_str(b, "\"\"");
        else
            append_roff(b, (const char[]){ *s, '\0' }, false);
    }
    buf_append_char(b, '"');
}

void opt_man(const struct opt *table, struct buf *b)
{
    for (const struct opt *o = table; o && o->name; o++) {
        if (o->hidden)
            continue;
        buf_append_str(b, ".It ");
        if (o->short_name)
            buf_printf(b, "Fl %c , ", o->short_name);
        buf_append_str(b, "Fl \\-");
        append_roff(b, o->name, false);
        if (o->arg) {
            buf_append_str(b, " Ar ");
            append_roff_arg(b, o->arg);
        }
        buf_append_char(b, '\n');
        append_roff(b, o->help ? o->help : "", true);
        buf_append_char(b, '\n');
    }
}
