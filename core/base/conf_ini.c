/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/conf_ini.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#include <ini.h>

/* A section that no key belongs to: keys below a broken section line must not end up in the section
 * before it. */
#define NO_SECTION "?"

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t trimmed(const char *s, size_t len)
{
    while (len > 0 && is_blank(s[len - 1]))
        len--;
    return len;
}

enum conf_line conf_ini_classify(const char *line, size_t len, const char **name, size_t *name_len)
{
    len = trimmed(line, len);
    while (len > 0 && is_blank(*line)) {
        line++;
        len--;
    }
    *name = line;
    *name_len = 0;
    if (len == 0)
        return CONF_LINE_BLANK;
    if (*line == '#' || *line == ';')
        return CONF_LINE_COMMENT;
    if (*line == '[') {
        const char *end = memchr(line, ']', len);
        *name = line + 1;
        *name_len = end ? (size_t)(end - line - 1) : 0;
        return CONF_LINE_SECTION;
    }
    while (*name_len < len && line[*name_len] != '=' && line[*name_len] != ':')
        (*name_len)++;
    *name_len = trimmed(line, *name_len);
    return CONF_LINE_KEY;
}

/* Copies the text without what the parser would report badly or not at all; lines stay lines, so
 * that their numbers stay right. */
static void clean(const char *text, size_t len, const struct conf_ini *to, struct buf *out)
{
    static const char bom[] = "\xEF\xBB\xBF";
    int number = 0;

    if (len >= 3 && memcmp(text, bom, 3) == 0) {
        text += 3;
        len -= 3;
    }
    for (size_t at = 0; at < len;) {
        const char *line = text + at;
        const char *newline = memchr(line, '\n', len - at);
        size_t line_len = newline ? (size_t)(newline - line) : len - at;
        const char *name;
        size_t name_len;

        number++;
        at += line_len + 1;
        if (line_len > LIMIT_CONFIG_LINE) {
            to->bad_line(to->arg, number, "the line is too long");
            /* It may have been a section. */
            if (conf_ini_classify(line, line_len, &name, &name_len) == CONF_LINE_SECTION)
                buf_append_str(out, "[" NO_SECTION "]");
        } else if (conf_ini_classify(line, line_len, &name, &name_len) == CONF_LINE_SECTION &&
                   name_len == 0) {
            to->bad_line(to->arg, number, "a section is written [name]");
            buf_append_str(out, "[" NO_SECTION "]");
        } else {
            buf_append(out, line, line_len);
        }
        buf_append_char(out, '\n');
    }
}

/* "text" loses its quotes: the way to write a value with blanks at its ends. Nothing is escaped. */
static char *unquoted(const char *value)
{
    size_t len = strlen(value);

    if (len >= 2 && value[0] == '"' && value[len - 1] == '"')
        return mem_strndup(value + 1, len - 2);
    return mem_strdup(value);
}

static int on_line(void *user, const char *section, const char *name, const char *value, int line)
{
    const struct conf_ini *to = user;

    if (!name || str_eq(section, NO_SECTION))
        return 1;
    char *key = *section ? mem_printf("%s.%s", section, name) : mem_strdup(name);
    char *plain = value ? unquoted(value) : NULL;
    to->value(to->arg, line, key, plain);
    free(plain);
    free(key);
    return 1;
}

int conf_ini_check(const char *text, size_t len, struct err *err)
{
    if (len > 0 && memchr(text, '\0', len))
        return err_set(err, ERR_INVALID, "not a text file: it has NUL bytes");
    return 0;
}

int conf_ini_read(const char *text, size_t len, const struct conf_ini *to, struct err *err)
{
    struct buf lines = BUF_INIT;

    if (conf_ini_check(text, len, err) != 0)
        return -1;
    clean(text, len, to, &lines);
    int rc = ini_parse_string(buf_data(&lines), on_line, (void *)(uintptr_t)to);
    buf_fini(&lines);
    /* Its other results are line numbers, of lines that clean() has let pass. */
    return rc == -2 ? err_set(err, ERR_INTERNAL, "out of memory") : 0;
}
