/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of a #HIVE line: quotes as in a shell, and none of its expansions. */
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/opt.h"

struct words {
    char **items; /* always NULL-terminated */
    int count;
};

static void add_word(struct words *w, char *word)
{
    w->items = mem_resize(w->items, (size_t)w->count + 2, sizeof *w->items);
    w->items[w->count++] = word;
    w->items[w->count] = NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Text between double quotes, where a backslash only escapes " \ $ and `. NULL: no end. */
static const char *read_double_quoted(const char *p, struct buf *word)
{
    for (; *p != '"'; p++) {
        if (*p == '\0')
            return NULL;
        if (*p == '\\' && p[1] != '\0' && strchr("\"\\$`", p[1]))
            p++;
        buf_append_char(word, *p);
    }
    return p + 1;
}

static const char *read_single_quoted(const char *p, struct buf *word)
{
    const char *end = strchr(p, '\'');

    if (!end)
        return NULL;
    buf_append(word, p, (size_t)(end - p));
    return end + 1;
}

/* One word from p on, which is no blank. The byte after it, or NULL with an error. */
static const char *read_word(const char *p, struct buf *word, struct err *err)
{
    while (*p && !is_blank(*p)) {
        char c = *p++;
        if (c == '\'' || c == '"') {
            p = c == '"' ? read_double_quoted(p, word) : read_single_quoted(p, word);
            if (!p) {
                err_set(err, ERR_USAGE, "a quote (%c) in the #HIVE line is not closed", c);
                return NULL;
            }
        } else if (c == '\\') {
            if (*p == '\0') {
                err_set(err, ERR_USAGE, "the #HIVE line ends in a backslash");
                err_hint(err, "continue with a #HIVE line of its own");
                return NULL;
            }
            buf_append_char(word, *p++);
        } else {
            buf_append_char(word, c);
        }
    }
    return p;
}

char **opt_split_words(const char *line, int *argc, struct err *err)
{
    struct words w = { 0 };

    add_word(&w, mem_strdup("#HIVE"));
    for (const char *p = line;;) {
        struct buf word = BUF_INIT;
        while (is_blank(*p))
            p++;
        if (*p == '\0')
            break;
        p = read_word(p, &word, err);
        if (p && w.count > LIMIT_JOB_ARGS) {
            err_set(err, ERR_TOO_LARGE, "more than %d words in a #HIVE line", LIMIT_JOB_ARGS);
            p = NULL;
        }
        if (!p) {
            buf_fini(&word);
            opt_free_words(w.items);
            return NULL;
        }
        add_word(&w, buf_take(&word, NULL));
    }
    *argc = w.count;
    return w.items;
}

void opt_free_words(char **words)
{
    for (char **w = words; w && *w; w++)
        free(*w);
    free(words);
}
