/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing one key in the text of a hive.conf and nothing else in it. */
#include "base/buf.h"
#include "base/conf.h"
#include "base/conf_ini.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

struct edit {
    const char *text;
    size_t len;
    char *section;
    const char *name;
    const char *value; /* NULL: remove */
};

/* What a look through the text finds. */
struct place {
    bool has_key;
    size_t key_at, key_len; /* the last line of the key, without its newline: the one that counts */
    bool has_section;
    size_t section_end; /* where a new line of the section goes */
};

static bool is(const char *s, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(s, word, len) == 0;
}

/* The line at `at` without its newline. */
static size_t line_len(const struct edit *e, size_t at)
{
    const char *newline = memchr(e->text + at, '\n', e->len - at);

    return newline ? (size_t)(newline - e->text) - at : e->len - at;
}

static size_t next_line(const struct edit *e, size_t at)
{
    size_t end = at + line_len(e, at);

    return end < e->len ? end + 1 : end;
}

/* The byte order mark some editors leave at the start is no part of the first line. */
static size_t first_line(const struct edit *e)
{
    return e->len >= 3 && memcmp(e->text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

/* Comments right above a section header belong to it; those followed by an empty line, or by keys,
 * or by the end of the file, to the section they stand in. */
static struct place find_place(const struct edit *e)
{
    struct place p = { 0 };
    bool inside = false;
    size_t comments_end = 0; /* of a run of comments not yet known where to belong; 0: none */

    for (size_t at = first_line(e); at < e->len; at = next_line(e, at)) {
        const char *name;
        size_t name_len;
        size_t len = line_len(e, at);

        switch (conf_ini_classify(e->text + at, len, &name, &name_len)) {
        case CONF_LINE_BLANK:
            if (inside && comments_end)
                p.section_end = comments_end;
            comments_end = 0;
            break;
        case CONF_LINE_COMMENT:
            comments_end = next_line(e, at);
            break;
        case CONF_LINE_SECTION:
            inside = name_len > 0 && is(name, name_len, e->section);
            comments_end = 0;
            if (inside) {
                p.has_section = true;
                p.section_end = next_line(e, at);
            }
            break;
        case CONF_LINE_KEY:
            comments_end = 0;
            if (!inside)
                break;
            p.section_end = next_line(e, at);
            if (is(name, name_len, e->name)) {
                p.has_key = true;
                p.key_at = at;
                p.key_len = len;
            }
            break;
        }
    }
    if (inside && comments_end)
        p.section_end = comments_end;
    return p;
}

static void append_value(const struct edit *e, struct buf *out)
{
    size_t len = strlen(e->value);
    bool quote = len > 0 && (strchr(" \t\v\f\r", e->value[0]) || e->value[0] == '"' ||
                             strchr(" \t\v\f\r", e->value[len - 1]));

    buf_printf(out, "%s%s%s", quote ? "\"" : "", e->value, quote ? "\"" : "");
}

/* Files from other systems end their lines in CR LF: a new line does the same. */
static const char *newline_of(const struct edit *e)
{
    const char *newline = e->len ? memchr(e->text, '\n', e->len) : NULL;

    return newline && newline > e->text && newline[-1] == '\r' ? "\r\n" : "\n";
}

static void append_key_line(const struct edit *e, struct buf *out)
{
    buf_printf(out, "%s = ", e->name);
    append_value(e, out);
    buf_append_str(out, newline_of(e));
}

/* Copies the text up to `end` and ends its last line, if it has none. */
static void append_lines(const struct edit *e, size_t end, struct buf *out)
{
    buf_append(out, e->text, end);
    if (end > first_line(e) && e->text[end - 1] != '\n')
        buf_append_str(out, newline_of(e));
}

/* Keeps what stands before the value (indentation, spelling of " = ") and the line's CR. */
static void replace_key(const struct edit *e, const struct place *p, struct buf *out)
{
    const char *line = e->text + p->key_at;
    size_t before = 0;
    size_t len = p->key_len;
    bool cr = len > 0 && line[len - 1] == '\r';

    buf_append(out, e->text, p->key_at);
    while (before < len && line[before] != '=' && line[before] != ':')
        before++;
    if (before == len) { /* a name without "= value" */
        before -= cr;
        buf_append(out, line, before);
        buf_append_str(out, " = ");
    } else {
        for (before++; before < len && (line[before] == ' ' || line[before] == '\t'); before++)
            ;
        buf_append(out, line, before);
    }
    append_value(e, out);
    if (cr)
        buf_append_char(out, '\r');
    buf_append(out, line + len, e->len - p->key_at - len);
}

static void add_key(const struct edit *e, const struct place *p, struct buf *out)
{
    if (p->has_section) {
        append_lines(e, p->section_end, out);
        append_key_line(e, out);
        buf_append(out, e->text + p->section_end, e->len - p->section_end);
        return;
    }
    append_lines(e, e->len, out);
    if (e->len > first_line(e))
        buf_append_str(out, newline_of(e));
    buf_printf(out, "[%s]%s", e->section, newline_of(e));
    append_key_line(e, out);
}

/* All lines of the key go: an earlier one would take effect otherwise. */
static void remove_key(const struct edit *e, struct buf *out)
{
    bool inside = false;

    buf_append(out, e->text, first_line(e));
    for (size_t at = first_line(e); at < e->len; at = next_line(e, at)) {
        const char *name;
        size_t name_len;
        enum conf_line kind = conf_ini_classify(e->text + at, line_len(e, at), &name, &name_len);

        if (kind == CONF_LINE_SECTION)
            inside = name_len > 0 && is(name, name_len, e->section);
        if (kind == CONF_LINE_KEY && inside && is(name, name_len, e->name))
            continue;
        buf_append(out, e->text + at, next_line(e, at) - at);
    }
}

/* Reading back what was written. */
struct readback {
    const char *key;
    char *value; /* NULL: not there */
};

static void take_back(void *arg, int line, const char *key, const char *value)
{
    struct readback *r = arg;

    (void)line;
    if (!str_eq(key, r->key))
        return;
    free(r->value);
    r->value = mem_strdup(value);
}

static void ignore_line(void *arg, int line, const char *why)
{
    (void)arg;
    (void)line;
    (void)why;
}

/* The proof that the change means what it should; it also finds values that a line can't hold. */
static int check_result(const struct buf *out, size_t before, const char *key, const char *value,
                        struct err *err)
{
    struct readback r = { key, NULL };
    struct conf_ini to = { take_back, ignore_line, &r };
    int rc = conf_ini_read(buf_data(out) + before, buf_len(out) - before, &to, err);

    if (rc == 0 && !str_eq(r.value, value)) {
        err_set(err, ERR_INVALID, "%s can't be written to the file as one line of text", key);
        rc = -1;
    }
    free(r.value);
    return rc;
}

static bool is_key(const char *key)
{
    for (const char *p = key; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') && !strchr(".-_", *p))
            return false;
    return key[0] != '.' && strlen(key) < 128;
}

int conf_edit(const char *text, size_t len, const char *key, const char *value, struct buf *out,
              struct err *err)
{
    const char *dot = strrchr(key, '.');
    size_t before = buf_len(out);

    if (!dot || !dot[1] || !is_key(key))
        return err_set(err, ERR_INVALID, "a key is written section.name");
    if (value && (strchr(value, '\n') || strlen(value) + strlen(key) + 8 > LIMIT_CONFIG_LINE))
        return err_set(err, ERR_INVALID, "%s can't be written to the file as one line of text",
                       key);
    if (conf_ini_check(text, len, err) != 0)
        return -1;
    struct edit e = { text, len, mem_strndup(key, (size_t)(dot - key)), dot + 1, value };
    struct place p = find_place(&e);
    if (!value)
        remove_key(&e, out);
    else if (p.has_key)
        replace_key(&e, &p, out);
    else
        add_key(&e, &p, out);
    free(e.section);
    if (check_result(out, before, key, value, err) == 0)
        return 0;
    buf_truncate(out, before);
    return -1;
}
