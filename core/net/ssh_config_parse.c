/* SPDX-License-Identifier: BSD-2-Clause */
/* Files, what they include, and their lines. */
#include "base/mem.h"

#include "net/ssh_config_priv.h"

#include "base/err.h"
#include "base/str.h"
#include "net/ssh_pattern.h"

#include <stdarg.h>

/* --- errors and notes ------------------------------------------------------------------------- */

int ssh_config_bad(const struct ssh_config_place *at, const char *keyword, struct err *err,
                   const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    err_set(err, ERR_INVALID, "%s:%d: %s: %s", at->file, at->line, keyword, buf_data(&b));
    buf_fini(&b);
    return -1;
}

static int bad_value(const struct ssh_config_place *at, const struct ssh_config_keyword *k,
                     const char *value, const char *expected, struct err *err)
{
    char *shown = ssh_config_show(value);

    ssh_config_bad(at, k->name, err, "expected %s, not \"%s\"", expected, shown);
    free(shown);
    return -1;
}

void ssh_config_need_system(struct ssh_config_state *s, const char *why)
{
    if (strstr(buf_data(&s->why), why) || buf_len(&s->why) > 1024)
        return;
    if (buf_len(&s->why) > 0)
        buf_append_str(&s->why, "; ");
    buf_append_str(&s->why, why);
}

static void note(struct ssh_config_state *s, const struct ssh_config_place *at, const char *text)
{
    /* The second pass finds everything again. */
    if (s->final || s->notes.count >= SSH_CONFIG_NOTES_MAX)
        return;
    char *line = mem_printf("%s:%d: %s", at->file, at->line, text);
    ssh_config_list_add(&s->notes, line);
    free(line);
}

/* --- values ----------------------------------------------------------------------------------- */

/* Whether a value that isn't there yet is to be taken. One behind an undecided Match isn't, but
 * then only the system's ssh knows. */
static bool takes(struct ssh_config_state *s, const struct ssh_config_place *at, bool is_there)
{
    if (is_there || at->active == ACTIVE_NO)
        return false;
    if (at->active == ACTIVE_MAYBE)
        ssh_config_need_system(s, at->undecided);
    return at->active == ACTIVE_YES;
}

/* The place for a first value, or NULL when there is none to be set. */
static struct ssh_config_value *fresh(struct ssh_config_state *s, const struct ssh_config_place *at,
                                      enum ssh_config_opt opt)
{
    struct ssh_config_value *v = &s->v[opt];

    if (!takes(s, at, v->set))
        return NULL;
    v->set = true;
    v->origin = mem_printf("%s:%d", at->file, at->line);
    return v;
}

static int set_text(struct ssh_config_state *s, const struct ssh_config_place *at,
                    const struct ssh_config_keyword *k, const char *text, struct err *err)
{
    if (*text == '\0')
        return ssh_config_bad(at, k->name, err, "the value is empty");
    struct ssh_config_value *v = fresh(s, at, k->opt);
    if (v)
        v->text = mem_strdup(text);
    return 0;
}

static int set_number(struct ssh_config_state *s, const struct ssh_config_place *at,
                      enum ssh_config_opt opt, int64_t num)
{
    struct ssh_config_value *v = fresh(s, at, opt);

    if (v)
        v->num = num;
    return 0;
}

static int set_word(struct ssh_config_state *s, const struct ssh_config_place *at,
                    const struct ssh_config_keyword *k, const char *text, struct err *err)
{
    for (const struct ssh_config_word *w = k->words; w->name; w++)
        if (str_eq_nocase(w->name, text))
            return set_number(s, at, k->opt, w->value);
    return bad_value(at, k, text, k->expected, err);
}

static int set_int(struct ssh_config_state *s, const struct ssh_config_place *at,
                   const struct ssh_config_keyword *k, const char *text, struct err *err)
{
    char expected[64];
    int64_t num;

    if (str_to_int(text, k->min, k->max, k->name, &num, NULL) == 0)
        return set_number(s, at, k->opt, num);
    snprintf(expected, sizeof expected, "a number from %lld to %lld", (long long)k->min,
             (long long)k->max);
    return bad_value(at, k, text, expected, err);
}

static int set_time(struct ssh_config_state *s, const struct ssh_config_place *at,
                    const struct ssh_config_keyword *k, const char *text, struct err *err)
{
    int64_t seconds;

    /* To ssh this is no value: the next one may still come. */
    if (str_eq(text, "none"))
        return 0;
    if (!ssh_config_time(text, &seconds))
        return bad_value(at, k, text, "a time like 30 or 2m", err);
    return set_number(s, at, k->opt, seconds);
}

static int set_paths(struct ssh_config_state *s, const struct ssh_config_place *at,
                     const struct ssh_config_keyword *k, const struct ssh_config_list *words,
                     struct err *err)
{
    if (words->count > SSH_CONFIG_HOSTS_FILES_MAX)
        return ssh_config_bad(at, k->name, err, "more than %d files", SSH_CONFIG_HOSTS_FILES_MAX);
    for (size_t i = 0; i < words->count; i++)
        if (words->item[i][0] == '\0')
            return ssh_config_bad(at, k->name, err, "a file name is empty");
    struct ssh_config_value *v = fresh(s, at, k->opt);
    for (size_t i = 0; v && i < words->count; i++)
        ssh_config_list_add(&v->words, words->item[i]);
    return 0;
}

static int add_identity(struct ssh_config_state *s, const struct ssh_config_place *at,
                        const struct ssh_config_keyword *k, const char *text, struct err *err)
{
    bool is_there = false;

    if (*text == '\0')
        return ssh_config_bad(at, k->name, err, "the value is empty");
    for (size_t i = 0; i < s->identities.count; i++)
        is_there = is_there || str_eq(s->identities.item[i], text);
    if (!takes(s, at, is_there))
        return 0;
    if (s->identities.count >= SSH_CONFIG_IDENTITIES_MAX)
        return ssh_config_bad(at, k->name, err, "more than %d files", SSH_CONFIG_IDENTITIES_MAX);
    char *origin = mem_printf("%s:%d", at->file, at->line);
    ssh_config_list_add(&s->identities, text);
    ssh_config_list_add(&s->identity_origins, origin);
    free(origin);
    return 0;
}

/* ProxyCommand and ProxyJump exclude each other: the first of either wins, but for "ProxyJump
 * none", which leaves room for a ProxyCommand. */
static bool jump_is_out(const struct ssh_config_state *s)
{
    return s->v[O_PROXY_COMMAND].set;
}

static bool command_is_out(const struct ssh_config_state *s)
{
    return s->v[O_PROXY_JUMP].words.count > 0;
}

static int set_rest(struct ssh_config_state *s, const struct ssh_config_place *at,
                    const struct ssh_config_keyword *k, const char *rest, struct err *err)
{
    while (*rest == ' ' || *rest == '\t' || *rest == '=')
        rest++;
    if (*rest == '\0')
        return ssh_config_bad(at, k->name, err, "the value is missing");
    if (k->opt == O_PROXY_COMMAND && command_is_out(s))
        return 0;
    return set_text(s, at, k, rest, err);
}

static int set_jump(struct ssh_config_state *s, const struct ssh_config_place *at,
                    const struct ssh_config_keyword *k, const char *rest, struct err *err)
{
    while (*rest == ' ' || *rest == '\t' || *rest == '=')
        rest++;
    char *text = mem_strndup(rest, strcspn(rest, "#"));
    struct ssh_config_list jumps = { .count = 0 };
    int rc = 0;

    str_trim(text);
    if (*text == '\0')
        rc = ssh_config_bad(at, k->name, err, "the value is missing");
    for (const char *p = text; rc == 0 && p && !str_eq_nocase(text, "none");) {
        size_t len = strcspn(p, ",");
        char *one = mem_strndup(p, len);
        struct ssh_config_jump jump;
        if (jumps.count >= SSH_CONFIG_JUMPS_MAX)
            rc = ssh_config_bad(at, k->name, err, "more than %d hosts", SSH_CONFIG_JUMPS_MAX);
        else if (!ssh_config_parse_jump(p, len, &jump))
            rc = bad_value(at, k, one, "hosts like USER@HOST:PORT, separated by commas", err);
        else
            ssh_config_jump_fini(&jump);
        ssh_config_list_add(&jumps, one);
        free(one);
        p = p[len] == ',' ? p + len + 1 : NULL;
    }
    struct ssh_config_value *v = rc == 0 && !jump_is_out(s) ? fresh(s, at, k->opt) : NULL;
    if (v) {
        v->words = jumps;
        jumps = (struct ssh_config_list){ .count = 0 };
    }
    ssh_config_list_fini(&jumps);
    free(text);
    return rc;
}

/* --- include ---------------------------------------------------------------------------------- */

static int read_at(struct ssh_config_state *s, const char *path,
                   const struct ssh_config_place *parent, bool user, bool check_owner, bool *opened,
                   struct err *err);

static bool collect(void *to, const char *path)
{
    struct ssh_config_list *paths = to;

    /* One more than is allowed, so that it is seen. */
    if (paths->count > SSH_CONFIG_INCLUDES_MAX)
        return false;
    ssh_config_list_add(paths, path);
    return true;
}

/* The pattern with its folder: in ~/.ssh or /etc/ssh when it is relative. malloc'd or NULL. */
static char *include_pattern(struct ssh_config_state *s, const struct ssh_config_place *at,
                             const char *word, struct err *err)
{
    struct buf b = BUF_INIT;
    const char *rest = word;

    if (*word == '~' && !at->user) {
        ssh_config_bad(at, "Include", err, "\"~\" is nobody's home in the system's file");
        return NULL;
    }
    if (*word != '/') {
        char *origin = mem_printf("%s:%d", at->file, at->line);
        char *folder = *word == '~' ? mem_strndup(word, strcspn(word, "/")) : mem_strdup("~");
        char *home = at->user ? ssh_config_tilde(s->in, folder, origin, err) : mem_strdup("");
        free(folder);
        free(origin);
        if (!home)
            return NULL;
        /* A home folder is no pattern. */
        for (const char *p = home; *p; p++) {
            if (strchr("*?[\\", *p))
                buf_append_char(&b, '\\');
            buf_append_char(&b, *p);
        }
        free(home);
        if (*word == '~')
            rest = word + strcspn(word, "/");
        else
            buf_append_str(&b, at->user ? "/.ssh/" : "/etc/ssh/");
    }
    buf_append_str(&b, rest);
    return buf_take(&b, NULL);
}

static int include_one(struct ssh_config_state *s, struct ssh_config_place *at, const char *path,
                       struct err *err)
{
    struct err e = ERR_INIT;

    if (at->depth >= SSH_CONFIG_DEPTH_MAX)
        return ssh_config_bad(at, "Include", err, "files include each other more than %d deep",
                              SSH_CONFIG_DEPTH_MAX);
    if (++s->includes > SSH_CONFIG_INCLUDES_MAX)
        return ssh_config_bad(at, "Include", err, "more than %d files", SSH_CONFIG_INCLUDES_MAX);
    if (read_at(s, path, at, at->user, true, NULL, &e) == 0)
        return 0;
    /* It was there a moment ago. */
    if (e.kind == ERR_NOT_FOUND)
        return 0;
    if (err)
        *err = e;
    return -1;
}

static int include(struct ssh_config_state *s, struct ssh_config_place *at,
                   const struct ssh_config_list *words, struct err *err)
{
    const struct ssh_config_io *io = s->in->io;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < words->count; i++) {
        struct ssh_config_list paths = { .count = 0 };
        if (words->item[i][0] == '\0')
            return ssh_config_bad(at, "Include", err, "a file name is empty");
        char *pattern = include_pattern(s, at, words->item[i], err);
        if (!pattern)
            return -1;
        if (io->glob)
            rc = io->glob(io->arg, pattern, collect, &paths, err);
        if (rc != 0)
            err_prefix(err, "%s:%d: Include", at->file, at->line);
        for (size_t k = 0; rc == 0 && k < paths.count; k++)
            rc = include_one(s, at, paths.item[k], err);
        ssh_config_list_fini(&paths);
        free(pattern);
    }
    return rc;
}

/* --- lines ------------------------------------------------------------------------------------ */

static void unknown(struct ssh_config_state *s, const struct ssh_config_place *at, const char *name)
{
    const struct ssh_config_value *ignore = &s->v[O_IGNORE_UNKNOWN];

    if (ssh_config_is_ignored(name))
        return;
    if (ignore->set && ssh_pattern_list_match(name, ignore->text, strlen(ignore->text), true) == 1)
        return;
    char *shown = ssh_config_show(name);
    char *text = mem_printf("the keyword %s is unknown and ignored", shown);
    note(s, at, text);
    free(text);
    free(shown);
}

/* Keywords whose value is words. */
static int words_line(struct ssh_config_state *s, struct ssh_config_place *at,
                      const struct ssh_config_keyword *k, const struct ssh_config_list *words,
                      struct err *err)
{
    if (words->count == 0)
        return ssh_config_bad(at, k->name, err, "the value is missing");
    if (k->kind == K_HOST)
        return ssh_config_host(s, at, words, err);
    if (k->kind == K_INCLUDE)
        return include(s, at, words, err);
    if (k->kind == K_PATHS)
        return set_paths(s, at, k, words, err);
    if (words->count > 1) {
        char *shown = ssh_config_show(words->item[1]);
        ssh_config_bad(at, k->name, err, "there is more than one value: \"%s\"", shown);
        free(shown);
        return -1;
    }
    switch (k->kind) {
    case K_WORD:
        return set_word(s, at, k, words->item[0], err);
    case K_INT:
        return set_int(s, at, k, words->item[0], err);
    case K_TIME:
        return set_time(s, at, k, words->item[0], err);
    case K_IDENTITY:
        return add_identity(s, at, k, words->item[0], err);
    default:
        return set_text(s, at, k, words->item[0], err);
    }
}

static int one_line(struct ssh_config_state *s, struct ssh_config_place *at, char *line,
                    struct err *err)
{
    const char *rest = "";
    struct ssh_config_list words = { .count = 0 };
    size_t len = strlen(line);
    int rc;

    while (len > 0 && strchr(" \t\r\f", line[len - 1]))
        line[--len] = '\0';
    char *name = ssh_config_keyword(line, &rest);
    if (!name)
        return 0;
    const struct ssh_config_keyword *k = ssh_config_find(name);
    if (!k) {
        unknown(s, at, name);
        rc = 0;
    } else if (k->kind == K_MATCH) {
        rc = ssh_config_match(s, at, rest, err);
    } else if (k->kind == K_REST) {
        rc = set_rest(s, at, k, rest, err);
    } else if (k->kind == K_JUMP) {
        rc = set_jump(s, at, k, rest, err);
    } else if (ssh_config_words(rest, &words) != 0) {
        rc = ssh_config_bad(at, k->name, err, "a quote is not closed");
    } else {
        rc = words_line(s, at, k, &words, err);
    }
    ssh_config_list_fini(&words);
    free(name);
    return rc;
}

static int all_lines(struct ssh_config_state *s, struct ssh_config_place *at,
                     const struct buf *text, struct err *err)
{
    const char *p = buf_data(text), *end = p + buf_len(text);
    int rc = 0;

    if (memchr(p, '\0', buf_len(text)))
        return err_set(err, ERR_INVALID, "%s is not a text file: it has NUL bytes", at->file);
    while (rc == 0 && p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((newline ? newline : end) - p);
        at->line++;
        if (len > SSH_CONFIG_LINE_MAX)
            return err_set(err, ERR_TOO_LARGE, "%s:%d: the line is longer than %zu bytes", at->file,
                           at->line, SSH_CONFIG_LINE_MAX);
        char *line = mem_strndup(p, len);
        rc = one_line(s, at, line, err);
        free(line);
        p += len + 1;
    }
    return rc;
}

/* As ssh: a file that others can write could make it run anything. */
static int check_file(const struct ssh_config_state *s, const char *path,
                      const struct ssh_config_file *file, struct err *err)
{
    if (file->uid != 0 && file->uid != s->in->uid) {
        err_set(err, ERR_DENIED, "%s belongs to another user (uid %u)", path, (unsigned)file->uid);
        return err_hint(err, "ssh refuses it, too; chown it");
    }
    if (file->others_write) {
        err_set(err, ERR_DENIED, "others can write %s", path);
        return err_hint(err, "chmod go-w %s", path);
    }
    return 0;
}

/* Reads a file; `parent` is where it is included from, or NULL. */
static int read_at(struct ssh_config_state *s, const char *path,
                   const struct ssh_config_place *parent, bool user, bool check_owner, bool *opened,
                   struct err *err)
{
    struct buf text = BUF_INIT;
    struct ssh_config_file file = { .others_write = true };
    struct ssh_config_place at = {
        .file = path,
        .user = user,
        .depth = parent ? parent->depth + 1 : 0,
        .limit = parent ? parent->active : ACTIVE_YES,
        .active = parent ? parent->active : ACTIVE_YES,
        .undecided = parent ? mem_strdup(parent->undecided) : NULL,
    };
    int rc = s->in->io->read(s->in->io->arg, path, &text, &file, err);

    if (opened)
        *opened = rc == 0;
    if (rc == 0 && check_owner)
        rc = check_file(s, path, &file, err);
    if (rc == 0)
        rc = all_lines(s, &at, &text, err);
    free(at.undecided);
    buf_fini(&text);
    return rc;
}

int ssh_config_read_file(struct ssh_config_state *s, const char *path, bool user, bool check_owner,
                         bool *opened, struct err *err)
{
    return read_at(s, path, NULL, user, check_owner, opened, err);
}
