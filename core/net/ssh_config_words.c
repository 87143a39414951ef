/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_config_priv.h"

#include "base/str.h"

#include <limits.h>

#define HOST_MAX 255
#define USER_MAX 255
#define SHOWN_MAX ((size_t)80)

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *skip_blanks(const char *p)
{
    while (is_blank(*p))
        p++;
    return p;
}

/* What may stand between a word and its value: blanks and one '='. */
static const char *skip_equals(const char *p)
{
    p = skip_blanks(p);
    return *p == '=' ? skip_blanks(p + 1) : p;
}

void ssh_config_list_add(struct ssh_config_list *list, const char *item)
{
    /* There is room up to the next power of two. */
    if ((list->count & (list->count - 1)) == 0)
        list->item = mem_resize(list->item, list->count ? list->count * 2 : 1, sizeof *list->item);
    list->item[list->count++] = mem_strdup(item);
}

void ssh_config_list_fini(struct ssh_config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
    *list = (struct ssh_config_list){ .count = 0 };
}

char *ssh_config_show(const char *text)
{
    struct buf b = BUF_INIT;
    size_t len = strlen(text);

    str_append_safe(&b, text, len < SHOWN_MAX ? len : SHOWN_MAX);
    return buf_take(&b, NULL);
}

char *ssh_config_keyword(const char *line, const char **rest)
{
    const char *from = skip_blanks(line), *p = from;

    if (*p == '\0' || *p == '#')
        return NULL;
    while (*p && *p != '=' && !is_blank(*p))
        p++;
    *rest = skip_equals(p);
    return mem_strndup(from, (size_t)(p - from));
}

/* One word from p on; NULL when a quote isn't closed. */
static const char *one_word(const char *p, struct buf *word)
{
    char quote = '\0';

    for (; *p; p++) {
        if (*p == '\\' && p[1] && (strchr("'\"\\", p[1]) || (!quote && p[1] == ' ')))
            buf_append_char(word, *++p);
        else if (!quote && (*p == ' ' || *p == '\t'))
            return p;
        else if (!quote && (*p == '"' || *p == '\''))
            quote = *p;
        else if (quote && *p == quote)
            quote = '\0';
        else
            buf_append_char(word, *p);
    }
    return quote ? NULL : p;
}

int ssh_config_words(const char *value, struct ssh_config_list *words)
{
    struct buf word = BUF_INIT;
    const char *p = value;

    for (;;) {
        while (*p == ' ' || *p == '\t')
            p++;
        if (*p == '\0' || *p == '#')
            break;
        buf_clear(&word);
        p = one_word(p, &word);
        if (!p)
            break;
        ssh_config_list_add(words, buf_data(&word));
    }
    buf_fini(&word);
    return p ? 0 : -1;
}

char *ssh_config_match_word(const char **at, bool *bad)
{
    const char *p = *at;
    struct buf word = BUF_INIT;

    if (*p == '\0')
        return NULL;
    while (*p && !is_blank(*p) && *p != '=' && *p != '"')
        buf_append_char(&word, *p++);
    if (*p == '"') {
        /* A quote ends the word where it ends, whatever comes next. */
        const char *end = strchr(++p, '"');
        if (!end) {
            *bad = true;
            buf_fini(&word);
            return NULL;
        }
        buf_append(&word, p, (size_t)(end - p));
        *at = skip_blanks(end + 1);
    } else {
        *at = skip_equals(p);
    }
    return buf_take(&word, NULL);
}

static int64_t unit_seconds(char c)
{
    switch (c) {
    case 's':
    case 'S':
        return 1;
    case 'm':
    case 'M':
        return 60;
    case 'h':
    case 'H':
        return 3600;
    case 'd':
    case 'D':
        return 86400;
    case 'w':
    case 'W':
        return 604800;
    default:
        return 0;
    }
}

bool ssh_config_time(const char *text, int64_t *seconds)
{
    int64_t total = 0;

    if (*text == '\0')
        return false;
    for (const char *p = text; *p;) {
        int64_t n = 0, unit = 1;
        if (*p < '0' || *p > '9')
            return false;
        for (; *p >= '0' && *p <= '9'; p++) {
            n = n * 10 + (*p - '0');
            if (n > INT_MAX)
                return false;
        }
        if (*p)
            unit = unit_seconds(*p++);
        total += n * unit;
        if (unit == 0 || total > INT_MAX)
            return false;
    }
    *seconds = total;
    return true;
}

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

bool ssh_config_valid_host(const char *host)
{
    if (*host == '\0' || *host == '-' || strlen(host) > HOST_MAX)
        return false;
    for (const char *p = host; *p; p++)
        if (is_control(*p) || strchr(" '`\"$\\;&<>|(){}", *p))
            return false;
    return true;
}

bool ssh_config_valid_user(const char *user)
{
    if (*user == '\0' || *user == '-' || strlen(user) > USER_MAX)
        return false;
    for (const char *p = user; *p; p++)
        if (is_control(*p) || strchr("'`\";&<>|(){}", *p) || (*p == ' ' && p[1] == '-') ||
            (*p == '\\' && p[1] == '\0'))
            return false;
    return true;
}
