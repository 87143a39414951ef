/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the scripts print: lines of a word and a value, from "@hive-deploy 1" to "@end". A place begins
 * with "place NUMBER FOLDER"; what follows is about it.
 */
#include "base/mem.h"

#include "base/str.h"
#include "net/ssh_deploy_priv.h"

#define FIRST_LINE "@hive-deploy 1"
#define LAST_LINE "@end"
#define LIST_MAX 4096

/* The next line without its end. False: there is none; one that was cut is none. */
static bool next_line(const char **at, size_t *left, const char **line, size_t *len)
{
    const char *end = *left > 0 ? memchr(*at, '\n', *left) : NULL;

    if (!end)
        return false;
    *line = *at;
    *len = (size_t)(end - *at);
    *left -= *len + 1;
    *at = end + 1;
    return true;
}

static bool is_line(const char *line, size_t len, const char *what)
{
    return len == strlen(what) && memcmp(line, what, len) == 0;
}

/* The last one begun before the first end. Returns the bytes of what is between, or -1. */
static ptrdiff_t find(const char *text, size_t len, const char **from)
{
    const char *at = text, *line;
    size_t n;

    *from = NULL;
    while (next_line(&at, &len, &line, &n)) {
        if (is_line(line, n, FIRST_LINE))
            *from = at;
        else if (*from && is_line(line, n, LAST_LINE))
            return line - *from;
    }
    return -1;
}

bool deploy_answer_ended(const char *text, size_t len)
{
    const char *from;

    return find(text, len, &from) >= 0;
}

static bool is_clean(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == '\x7F')
            return false;
    return true;
}

/* Bytes as they are, or nothing: for what is used and not only shown. */
static void take_exact(char *out, size_t size, const char *s, size_t len)
{
    if (len >= size || !is_clean(s, len))
        len = 0;
    memcpy(out, s, len);
    out[len] = '\0';
}

static void take_safe(char *out, size_t size, const char *s, size_t len)
{
    struct buf b = BUF_INIT;

    str_append_safe(&b, s, len < size ? len : size);
    str_copy(out, size, buf_data(&b));
    buf_fini(&b);
}

static void add_line(struct buf *b, const char *s, size_t len)
{
    if (buf_len(b) + len > LIST_MAX)
        return;
    str_append_safe(b, s, len);
    buf_append_char(b, '\n');
}

static int64_t number_of(const char *s, size_t len, int64_t max)
{
    char text[20];
    int64_t n;

    if (len == 0 || len >= sizeof text)
        return -1;
    memcpy(text, s, len);
    text[len] = '\0';
    return str_to_int(text, 0, max, "", &n, NULL) == 0 ? n : -1;
}

static void begin_place(struct deploy_answer *a, const char *s, size_t len)
{
    const char *blank = memchr(s, ' ', len);
    size_t n = blank ? (size_t)(blank - s) : len;
    int64_t number = number_of(s, n, DEPLOY_OWN);
    struct deploy_place *p;

    if (!blank || number < 0 || a->place_count == sizeof a->places / sizeof a->places[0])
        return;
    p = &a->places[a->place_count++];
    p->number = (int)number;
    p->code = -1;
    /* For a file's name, "/hive" follows. */
    if (len - n - 1 + sizeof "/hive" <= sizeof p->folder && blank[1] == '/')
        take_exact(p->folder, sizeof p->folder, blank + 1, len - n - 1);
    if (!deploy_quotable(p->folder))
        p->folder[0] = '\0';
}

static enum deploy_state state_of(const char *s, size_t len)
{
    static const char *const words[] = {
        [DEPLOY_HAVE] = "have",     [DEPLOY_FREE] = "free",       [DEPLOY_DENIED] = "denied",
        [DEPLOY_NOEXEC] = "noexec", [DEPLOY_FULL] = "full",       [DEPLOY_FOREIGN] = "foreign",
        [DEPLOY_SHORT] = "short",   [DEPLOY_DIFFERS] = "differs", [DEPLOY_FAILS] = "fails",
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i] && is_line(s, len, words[i]))
            return (enum deploy_state)i;
    return DEPLOY_NONE;
}

/* A word of a line, and where its value goes: exactly one of the rest. */
static const struct field {
    const char *word;
    size_t offset, size;
    bool of_place, safe;
} fields[] = {
    { "os", offsetof(struct deploy_answer, os), DEPLOY_WORD_MAX, false, true },
    { "arch", offsetof(struct deploy_answer, arch), DEPLOY_WORD_MAX, false, true },
    { "home", offsetof(struct deploy_answer, home), SSH_DEPLOY_PATH_MAX, false, false },
    { "text", offsetof(struct deploy_place, text), DEPLOY_TEXT_MAX, true, true },
    { "said", offsetof(struct deploy_place, said), DEPLOY_TEXT_MAX, true, true },
};

static void take_field(struct deploy_answer *a, const struct field *f, const char *s, size_t len)
{
    struct deploy_place *p = a->place_count > 0 ? &a->places[a->place_count - 1] : NULL;
    char *base = f->of_place ? (char *)p : (char *)a;

    if (!base)
        return;
    if (f->safe)
        take_safe(base + f->offset, f->size, s, len);
    else
        take_exact(base + f->offset, f->size, s, len);
}

static void take(struct deploy_answer *a, const char *word, size_t word_len, const char *s,
                 size_t len)
{
    struct deploy_place *p = a->place_count > 0 ? &a->places[a->place_count - 1] : NULL;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (is_line(word, word_len, fields[i].word)) {
            take_field(a, &fields[i], s, len);
            return;
        }
    }
    if (is_line(word, word_len, "place")) {
        begin_place(a, s, len);
    } else if (is_line(word, word_len, "state") && p) {
        p->state = state_of(s, len);
    } else if (is_line(word, word_len, "code") && p) {
        p->code = (int)number_of(s, len, 255);
    } else if (is_line(word, word_len, "uid")) {
        a->uid = number_of(s, len, UINT32_MAX);
    } else if (is_line(word, word_len, "proc")) {
        a->proc = true;
    } else if (is_line(word, word_len, "removed")) {
        a->removed++;
    } else if (is_line(word, word_len, "left")) {
        add_line(&a->left, s, len);
    } else if (is_line(word, word_len, "stuck")) {
        add_line(&a->stuck, s, len);
    }
}

void deploy_answer_read(const char *text, size_t len, struct deploy_answer *a)
{
    const char *at, *line;
    ptrdiff_t between = find(text, len, &at);
    size_t left, n;

    *a = (struct deploy_answer){ .uid = -1, .begun = at != NULL, .whole = between >= 0 };
    if (!a->begun)
        return;
    left = a->whole ? (size_t)between : len - (size_t)(at - text);
    while (next_line(&at, &left, &line, &n)) {
        const char *blank = memchr(line, ' ', n);
        size_t word = blank ? (size_t)(blank - line) : n;

        if (blank)
            take(a, line, word, blank + 1, n - word - 1);
    }
}

void deploy_answer_fini(struct deploy_answer *a)
{
    buf_fini(&a->left);
    buf_fini(&a->stuck);
}

const struct deploy_place *deploy_answer_place(const struct deploy_answer *a, enum deploy_state s)
{
    for (size_t i = 0; i < a->place_count; i++)
        if (a->places[i].state == s)
            return &a->places[i];
    return NULL;
}

void deploy_first_line(const char *text, size_t len, char out[DEPLOY_TEXT_MAX])
{
    const char *end;

    while (len > 0 && strchr(" \t\r\n", *text) && *text) {
        text++;
        len--;
    }
    end = len > 0 ? memchr(text, '\n', len) : NULL;
    if (end)
        len = (size_t)(end - text);
    while (len > 0 && text[len - 1] == '\r')
        len--;
    take_safe(out, DEPLOY_TEXT_MAX, text, len);
}
