/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/submit_script.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/opt.h"
#include "base/str.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "#HIVE"

/* Steps through lines; p and len are the line without its end. */
struct lines {
    const char *next, *end;
    const char *p;
    size_t len;
    unsigned number;
};

static bool next_line(struct lines *l)
{
    if (l->next >= l->end)
        return false;
    const char *nl = memchr(l->next, '\n', (size_t)(l->end - l->next));
    l->p = l->next;
    l->len = (size_t)((nl ? nl : l->end) - l->p);
    l->next = nl ? nl + 1 : l->end;
    l->number++;
    if (l->len > 0 && l->p[l->len - 1] == '\r')
        l->len--;
    return true;
}

static bool is_option_line(const struct lines *l)
{
    size_t n = sizeof(MARK) - 1;
    return l->len >= n && memcmp(l->p, MARK, n) == 0 &&
           (l->len == n || l->p[n] == ' ' || l->p[n] == '\t');
}

static bool is_code(const struct lines *l)
{
    size_t i = 0;
    while (i < l->len && (l->p[i] == ' ' || l->p[i] == '\t'))
        i++;
    return i < l->len && l->p[i] != '#';
}

bool script_has_options(const char *text, size_t len)
{
    struct lines l = { .next = text, .end = text + len };
    while (next_line(&l) && !is_code(&l))
        if (is_option_line(&l))
            return true;
    return false;
}

bool script_is(const char *text, size_t len)
{
    return (len >= 2 && text[0] == '#' && text[1] == '!') || script_has_options(text, len);
}

static int add_line(struct script *s, const struct lines *l, const char *path, struct err *err)
{
    struct script_line line = { .number = l->number };
    char *rest = mem_strndup(l->p + sizeof(MARK) - 1, l->len - (sizeof(MARK) - 1));
    line.argv = opt_split_words(rest, &line.argc, err);
    free(rest);
    if (!line.argv)
        return err_prefix(err, "%s:%u", path, l->number);
    s->lines = mem_resize(s->lines, s->count + 1, sizeof(*s->lines));
    s->lines[s->count++] = line;
    return 0;
}

/* What can't travel in a job's description is better run in place. */
static int check_text(const struct script *s, const char *path, struct err *err)
{
    if (!memchr(s->text, '\0', s->len) && str_is_utf8(s->text, s->len)) {
        const char *nl = strchr(s->text, '\n');
        if (str_starts(s->text, "#!") && nl && nl > s->text && nl[-1] == '\r') {
            err_set(err, ERR_INVALID, "%s:1: the line ends in a carriage return, as on Windows",
                    path);
            return err_hint(err, "convert it: sed -i 's/\\r$//' %s", path);
        }
        return 0;
    }
    err_set(err, ERR_INVALID, "%s: the script is not UTF-8 text", path);
    return err_hint(err, "run the file itself where it is: hive submit -- %s", path);
}

int script_parse(struct script *s, const char *path, char *text, size_t len, struct err *err)
{
    *s = (struct script){ .text = text, .len = len };
    if (check_text(s, path, err) != 0)
        return -1;
    struct lines l = { .next = text, .end = text + len };
    bool code = false;
    while (next_line(&l)) {
        code = code || is_code(&l);
        if (!is_option_line(&l))
            continue;
        if (code) {
            s->late_line = l.number;
            break;
        }
        if (add_line(s, &l, path, err) != 0)
            return -1;
    }
    return 0;
}

void script_fini(struct script *s)
{
    for (size_t i = 0; i < s->count; i++)
        opt_free_words(s->lines[i].argv);
    MEM_FREE(s->lines);
    MEM_FREE(s->text);
    s->count = 0;
}

static bool in_path(const char *name)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; p && *p;) {
        size_t len = strcspn(p, ":");
        char *file = mem_printf("%.*s/%s", (int)len, len ? p : ".", name);
        bool found = access(file, X_OK) == 0;
        free(file);
        if (found)
            return true;
        p = p[len] ? p + len + 1 : NULL;
    }
    return false;
}

/* Reads as much as a script may have; a larger file keeps its first bytes only. */
static bool read_start(const char *path, struct buf *b)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    while (regular && buf_len(b) <= LIMIT_SCRIPT_FILE) {
        ssize_t n = read(fd, buf_reserve(b, 16384), 16384);
        if (n <= 0)
            break;
        buf_added(b, (size_t)n);
    }
    close(fd);
    return regular;
}

int script_find(const char *word, bool (*test)(const char *, size_t), char **text, size_t *len,
                struct err *err)
{
    struct buf b = BUF_INIT;
    int rc = 0;
    if (!strchr(word, '/') && in_path(word))
        return 0;
    if (read_start(word, &b) && test(buf_data(&b), buf_len(&b))) {
        if (buf_len(&b) > LIMIT_SCRIPT_FILE) {
            err_set(err, ERR_TOO_LARGE, "%s: a script may have at most %d bytes", word,
                    LIMIT_SCRIPT_FILE);
            rc = err_hint(err, "run the file itself where it is: hive submit -- %s", word);
        } else {
            *text = buf_take(&b, len);
            rc = 1;
        }
    }
    buf_fini(&b);
    return rc;
}
