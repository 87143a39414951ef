/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/hosts_file.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

/* --- one host ---------------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* `more` are characters allowed besides those of host names. A '-' at the start would be an option
 * to programs that are given the name. */
static int check_name(const char *s, size_t len, const char *more, const char *what,
                      struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_INVALID, "the %s is missing", what);
    if (len > HOSTS_NAME_MAX)
        return err_set(err, ERR_INVALID, "the %s is longer than %d bytes", what, HOSTS_NAME_MAX);
    if (*s == '-')
        return err_set(err, ERR_INVALID, "the %s starts with '-'", what);
    for (size_t i = 0; i < len; i++)
        if (!is_name_char(s[i]) && !(s[i] && strchr(more, s[i]))) {
            struct buf shown = BUF_INIT;
            uint32_t cp;
            size_t n = str_utf8_next(s + i, len - i, &cp);
            str_append_safe(&shown, s + i, n ? n : 1);
            err_set(err, ERR_INVALID, "the %s has a '%s' in it", what, buf_data(&shown));
            buf_fini(&shown);
            return -1;
        }
    return 0;
}

static int parse_port(const char *s, uint16_t *port, struct err *err)
{
    int64_t n;

    if (str_to_int(s, 1, 65535, "the port", &n, err) != 0)
        return -1;
    *port = (uint16_t)n;
    return 0;
}

/* "[ADDRESS]" or "[ADDRESS]:PORT" */
static int parse_bracketed(const char *s, struct hosts_entry *out, struct err *err)
{
    const char *close = strchr(s, ']');

    if (!close || (close[1] && close[1] != ':'))
        return err_set(err, ERR_INVALID, "'[' without ']' or ']:PORT' behind the address");
    /* A name may have brackets, too, as in known_hosts; a zone is for addresses of IPv6 alone. */
    size_t len = (size_t)(close - s - 1);
    const char *more = memchr(s + 1, ':', len) ? ":%" : "";
    if (check_name(s + 1, len, more, "address", err) != 0)
        return -1;
    if (close[1] && parse_port(close + 2, &out->port, err) != 0)
        return -1;
    out->host = mem_strndup(s + 1, len);
    return 0;
}

static int parse_host(const char *s, struct hosts_entry *out, struct err *err)
{
    const char *colon = strchr(s, ':');

    if (*s == '[')
        return parse_bracketed(s, out, err);
    if (colon && strchr(colon + 1, ':')) { /* an address of IPv6 alone */
        if (check_name(s, strlen(s), ":%", "address", err) != 0)
            return -1;
        out->host = mem_strdup(s);
        return 0;
    }
    size_t len = colon ? (size_t)(colon - s) : strlen(s);
    if (check_name(s, len, "", "host name", err) != 0)
        return -1;
    if (colon && parse_port(colon + 1, &out->port, err) != 0)
        return -1;
    out->host = mem_strndup(s, len);
    return 0;
}

int hosts_entry_parse(const char *text, struct hosts_entry *out, struct err *err)
{
    const char *at = strrchr(text, '@'), *host = at ? at + 1 : text;

    *out = (struct hosts_entry){ 0 };
    if (text[strcspn(text, " \t")]) {
        err_set(err, ERR_INVALID, "there is more than one word");
        return err_hint(err, "write one host or host:port a line");
    }
    if ((at && check_name(text, (size_t)(at - text), "+", "user name", err) != 0) ||
        parse_host(host, out, err) != 0)
        return err_hint(err, "write host or host:port");
    if (at)
        out->user = mem_strndup(text, (size_t)(at - text));
    return 0;
}

void hosts_entry_fini(struct hosts_entry *e)
{
    free(e->user);
    free(e->host);
    *e = (struct hosts_entry){ 0 };
}

void hosts_entry_format(const struct hosts_entry *e, struct buf *b)
{
    bool brackets = strchr(e->host, ':') != NULL;

    if (e->user)
        buf_printf(b, "%s@", e->user);
    buf_printf(b, brackets ? "[%s]" : "%s", e->host);
    if (e->port)
        buf_printf(b, ":%u", (unsigned)e->port);
}

/* --- lines ------------------------------------------------------------------------------------- */

struct reader {
    const char *file, *p, *end;
    int line;
    size_t bad;
    struct buf *warnings;
    char text[HOSTS_LINE_MAX + 1]; /* the line, without comment and blanks around it */
};

static int reader_init(struct reader *r, const char *file, const char *text, size_t len,
                       struct buf *warnings, struct err *err)
{
    if (len > HOSTS_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", file, HOSTS_FILE_MAX);
    if (len && memchr(text, '\0', len))
        return err_set(err, ERR_INVALID, "%s is no text file (it has NUL bytes)", file);
    *r = (struct reader){ .file = file, .p = text, .end = text + len, .warnings = warnings };
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r->p += 3;
    return 0;
}

static void warn(struct reader *r, const struct err *why)
{
    if (++r->bad > HOSTS_WARNINGS_MAX || !r->warnings)
        return;
    buf_printf(r->warnings, "%s:%d: %s", r->file, r->line, why->msg);
    if (*why->hint)
        buf_printf(r->warnings, "; %s", why->hint);
    buf_append_char(r->warnings, '\n');
}

/* Takes off a comment: '#' at the start or behind a blank. */
static void cut_comment(char *s)
{
    for (char *p = s; *p; p++)
        if (*p == '#' && (p == s || p[-1] == ' ' || p[-1] == '\t')) {
            *p = '\0';
            return;
        }
}

/* The next line that says something, or NULL. Borrowed until the next call; may be changed. */
static char *next_line(struct reader *r)
{
    while (r->p < r->end) {
        const char *newline = memchr(r->p, '\n', (size_t)(r->end - r->p));
        size_t len = (size_t)((newline ? newline : r->end) - r->p);
        const char *from = r->p;

        r->p = newline ? newline + 1 : r->end;
        r->line++;
        if (len > HOSTS_LINE_MAX) {
            struct err err = ERR_INIT;
            if (*from == '#')
                continue;
            err_set(&err, ERR_INVALID, "the line is longer than %d bytes", HOSTS_LINE_MAX);
            warn(r, &err);
            continue;
        }
        memcpy(r->text, from, len);
        r->text[len] = '\0';
        cut_comment(r->text);
        char *text = str_trim(r->text);
        if (*text)
            return text;
    }
    return NULL;
}

/* --- list of hosts ----------------------------------------------------------------------------- */

static bool same_host(const struct hosts_entry *a, const struct hosts_entry *b)
{
    return str_eq_nocase(a->host, b->host) && a->port == b->port && str_eq(a->user, b->user);
}

static int add_entry(struct hosts_file *f, struct hosts_entry *e, struct err *err)
{
    for (size_t i = 0; i < f->count; i++)
        if (same_host(&f->entries[i], e)) {
            err_set(err, ERR_INVALID, "%s is in line %d already", e->host, f->entries[i].line);
            return err_hint(err, "one of them can go");
        }
    if (f->count == HOSTS_COUNT_MAX)
        return err_set(err, ERR_INVALID, "there are more than %d hosts", HOSTS_COUNT_MAX);
    if ((f->count & (f->count - 1)) == 0)
        f->entries = mem_resize(f->entries, f->count ? f->count * 2 : 1, sizeof *f->entries);
    f->entries[f->count++] = *e;
    *e = (struct hosts_entry){ 0 };
    return 0;
}

int hosts_file_parse(const char *file, const char *text, size_t len, struct hosts_file *out,
                     struct buf *warnings, struct err *err)
{
    struct reader r;
    char *line;

    *out = (struct hosts_file){ 0 };
    if (reader_init(&r, file, text, len, warnings, err) != 0)
        return -1;
    while ((line = next_line(&r))) {
        struct err why = ERR_INIT;
        struct hosts_entry e;
        if (hosts_entry_parse(line, &e, &why) != 0) {
            warn(&r, &why);
            continue;
        }
        e.line = r.line;
        if (add_entry(out, &e, &why) != 0)
            warn(&r, &why);
        hosts_entry_fini(&e);
    }
    out->bad = r.bad;
    return 0;
}

void hosts_file_fini(struct hosts_file *f)
{
    for (size_t i = 0; i < f->count; i++)
        hosts_entry_fini(&f->entries[i]);
    free(f->entries);
    *f = (struct hosts_file){ 0 };
}

/* --- beowulfdrc -------------------------------------------------------------------------------- */

/* Seconds, as Beowulf has it; or with a suffix, as hive has it. */
static int set_interval(struct beowulf_rc *rc, const char *value, struct err *err)
{
    double seconds;
    int64_t ns;

    if (str_to_double(value, 0, 1e9, "polling_interval", &seconds, NULL) == 0) {
        ns = (int64_t)(seconds * (double)NS_PER_S);
    } else if (str_to_duration(value, &ns, NULL) != 0) {
        char *shown = str_safe(value);
        err_set(err, ERR_INVALID, "polling_interval must be a number of seconds, not '%s'", shown);
        free(shown);
        return err_hint(err, "write: polling_interval = 10");
    }
    if (ns < BEOWULF_INTERVAL_MIN_NS || ns > BEOWULF_INTERVAL_MAX_NS) {
        err_set(err, ERR_INVALID, "polling_interval must be from 0.1 to 86400 seconds");
        return err_hint(err, "write: polling_interval = 10");
    }
    rc->interval_ns = ns;
    return 0;
}

/* The application's name behind "sticky.", malloc'd, or NULL. */
static char *sticky_app(const char *app, struct err *err)
{
    bool fine = *app && strlen(app) <= HOSTS_NAME_MAX && str_is_utf8(app, strlen(app));

    for (const char *p = app; *p; p++)
        fine = fine && (unsigned char)*p > ' ' && *p != '\x7f';
    char *name = fine ? hosts_app_name(app) : NULL;
    if (name && *name)
        return name;
    free(name);
    err_set(err, ERR_INVALID, "'sticky.' must be followed by the name of an application");
    err_hint(err, "write: sticky.firefox = HOST");
    return NULL;
}

static int set_sticky(struct beowulf_rc *rc, const char *app, const char *value, int line,
                      struct err *err)
{
    struct hosts_entry host;
    size_t i = 0;

    if (hosts_entry_parse(value, &host, err) != 0)
        return -1;
    host.line = line;
    char *name = sticky_app(app, err);
    if (!name) {
        hosts_entry_fini(&host);
        return -1;
    }
    while (i < rc->count && !str_eq(rc->sticky[i].app, name))
        i++;
    if (i == rc->count && i == HOSTS_COUNT_MAX) {
        free(name);
        hosts_entry_fini(&host);
        return err_set(err, ERR_INVALID, "there are more than %d sticky applications",
                       HOSTS_COUNT_MAX);
    }
    if (i < rc->count) {
        free(rc->sticky[i].app);
        hosts_entry_fini(&rc->sticky[i].host);
    } else {
        if ((rc->count & (rc->count - 1)) == 0)
            rc->sticky = mem_resize(rc->sticky, rc->count ? rc->count * 2 : 1, sizeof *rc->sticky);
        rc->count++;
    }
    rc->sticky[i] = (struct beowulf_sticky){ name, host };
    return 0;
}

/* One pair of quotes around a value. */
static char *unquote(char *s)
{
    size_t len = strlen(s);

    if (len < 2 || (*s != '"' && *s != '\'') || s[len - 1] != *s)
        return s;
    s[len - 1] = '\0';
    return str_trim(s + 1);
}

static int set_key(struct beowulf_rc *rc, char *text, int line, struct err *err)
{
    char *equals = strchr(text, '=');

    if (!equals) {
        err_set(err, ERR_INVALID, "there is no '=' in it");
        return err_hint(err, "write: key = value");
    }
    *equals = '\0';
    char *key = str_trim(text), *value = unquote(str_trim(equals + 1));
    if (str_eq(key, "polling_interval"))
        return set_interval(rc, value, err);
    if (str_starts(key, "sticky."))
        return set_sticky(rc, key + strlen("sticky."), value, line, err);
    static const char *const known[] = { "polling_interval", "sticky.APP", NULL };
    char *shown = str_safe(key);
    const char *near = str_did_you_mean(key, known);
    err_set(err, ERR_INVALID, "unknown key '%s'", shown);
    free(shown);
    if (near)
        return err_hint(err, "did you mean '%s'?", near);
    return err_hint(err, "keys are polling_interval and sticky.APP");
}

int beowulf_rc_parse(const char *file, const char *text, size_t len, struct beowulf_rc *out,
                     struct buf *warnings, struct err *err)
{
    struct reader r;
    char *line;

    *out = (struct beowulf_rc){ .interval_ns = BEOWULF_INTERVAL_DEFAULT_NS };
    if (reader_init(&r, file, text, len, warnings, err) != 0)
        return -1;
    while ((line = next_line(&r))) {
        struct err why = ERR_INIT;
        if (*line == '[' && str_ends(line, "]"))
            continue;
        if (set_key(out, line, r.line, &why) != 0)
            warn(&r, &why);
    }
    out->bad = r.bad;
    return 0;
}

void beowulf_rc_fini(struct beowulf_rc *rc)
{
    for (size_t i = 0; i < rc->count; i++) {
        free(rc->sticky[i].app);
        hosts_entry_fini(&rc->sticky[i].host);
    }
    free(rc->sticky);
    *rc = (struct beowulf_rc){ 0 };
}

const struct hosts_entry *beowulf_rc_sticky(const struct beowulf_rc *rc, const char *app)
{
    for (size_t i = 0; i < rc->count; i++)
        if (str_eq(rc->sticky[i].app, app))
            return &rc->sticky[i].host;
    return NULL;
}

/* --- names of applications --------------------------------------------------------------------- */

char *hosts_app_name(const char *command)
{
    const char *from = command + strspn(command, " \t\r\n");
    size_t len;

    if (*from == '"' || *from == '\'') {
        const char *close = strchr(from + 1, *from);
        from++;
        len = close ? (size_t)(close - from) : strlen(from);
    } else {
        len = strcspn(from, " \t\r\n");
    }
    while (len > 0 && from[len - 1] == '/')
        len--;
    for (size_t i = len; i > 0; i--)
        if (from[i - 1] == '/') {
            from += i;
            len -= i;
            break;
        }
    size_t cut = 0;
    while (cut < len && from[cut] != '-')
        cut++;
    if (cut > 0)
        len = cut;
    return mem_strndup(from, len < HOSTS_NAME_MAX ? len : HOSTS_NAME_MAX);
}
