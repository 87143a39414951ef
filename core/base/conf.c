/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/conf.h"

#include "base/buf.h"
#include "base/conf_ini.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

static const struct conf_setting settings[] = {
#define SETTING(section, name, key, type, def, min, max, words, help)                              \
    { key, type, def, min, max, words, help },
#include "base/settings.def"
#undef SETTING
};

_Static_assert(ARRAY_LEN(settings) == CONF_KEY_COUNT, "a row for every key");

struct conf {
    struct conf_value {
        char *text;
        int64_t number; /* INT, SIZE, DURATION, BOOL */
        enum conf_source source;
    } values[CONF_KEY_COUNT];
};

const struct conf_setting *conf_setting(enum conf_key key)
{
    return &settings[key];
}

int conf_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (str_eq(settings[i].key, name))
            return (int)i;
    return -1;
}

const char *conf_near(const char *name)
{
    const char *names[CONF_KEY_COUNT + 1];
    const char *dot = strrchr(name, '.');
    size_t len = strlen(dot ? dot + 1 : name);

    for (size_t i = 0; i < CONF_KEY_COUNT; i++)
        names[i] = settings[i].key;
    names[CONF_KEY_COUNT] = NULL;
    const char *near = str_did_you_mean(name, names);
    if (!near || (len >= 3 && str_starts(near, name)) || 3 * str_distance(name, near) <= len)
        return near;
    return NULL;
}

static int invalid(const struct conf_setting *s, const char *value, const char *want,
                   struct err *err)
{
    char *shown = str_safe(value);

    err_set(err, ERR_INVALID, "%s must be %s, not '%s'", s->key, want, shown);
    free(shown);
    return -1;
}

static int parse_bool(const struct conf_setting *s, const char *value, int64_t *out,
                      struct err *err)
{
    static const char *const words[][2] = {
        { "false", "true" }, { "no", "yes" }, { "off", "on" }, { "0", "1" }
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        for (int b = 0; b <= 1; b++) {
            if (str_eq_nocase(value, words[i][b])) {
                *out = b;
                return 0;
            }
        }
    }
    return invalid(s, value, "true or false", err);
}

static int parse_enum(const struct conf_setting *s, const char *value, struct err *err)
{
    size_t len = strlen(value);

    bool plain = len > 0 && !strchr(value, '|');
    for (const char *w = s->words; plain && w; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL)
        if (strncmp(w, value, len) == 0 && (w[len] == '|' || w[len] == '\0'))
            return 0;
    struct buf want = BUF_INIT;
    buf_append_str(&want, "one of ");
    for (const char *w = s->words; *w; w++)
        buf_append_str(&want, *w == '|' ? ", " : (const char[]){ *w, '\0' });
    invalid(s, value, buf_data(&want), err);
    buf_fini(&want);
    return -1;
}

/* Text of one line that a terminal can show: it ends up in listings and logs. */
static int parse_str(const struct conf_setting *s, const char *value, struct err *err)
{
    if (!str_is_utf8(value, strlen(value)))
        return invalid(s, value, "valid UTF-8", err);
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return invalid(s, value, "text without control characters", err);
    if (s->type == CONF_PATH && *value && *value != '/')
        return invalid(s, value, "an absolute path", err);
    return 0;
}

/* A size or duration in [min, max]; the limits are named the way a value is written. */
static int check_range(const struct conf_setting *s, const char *value, int64_t number,
                       struct err *err)
{
    void (*format)(struct buf *, int64_t) =
        s->type == CONF_SIZE ? str_exact_size : str_exact_duration;
    struct buf want = BUF_INIT;

    if (number >= s->min && number <= s->max)
        return 0;
    buf_append_str(&want, number < s->min ? "at least " : "at most ");
    format(&want, number < s->min ? s->min : s->max);
    invalid(s, value, buf_data(&want), err);
    buf_fini(&want);
    return -1;
}

static int parse_value(const struct conf_setting *s, const char *value, int64_t *number,
                       struct err *err)
{
    *number = 0;
    switch (s->type) {
    case CONF_STR:
    case CONF_PATH:
        return parse_str(s, value, err);
    case CONF_BOOL:
        return parse_bool(s, value, number, err);
    case CONF_ENUM:
        return parse_enum(s, value, err);
    case CONF_INT:
        return str_to_int(value, s->min, s->max, s->key, number, err);
    case CONF_SIZE:
        if (str_to_size(value, number, err) != 0)
            return err_prefix(err, "%s", s->key);
        return check_range(s, value, *number, err);
    case CONF_DURATION:
        if (str_to_duration(value, number, err) != 0)
            return err_prefix(err, "%s", s->key);
        return check_range(s, value, *number, err);
    }
    return err_set(err, ERR_INTERNAL, "%s has an unknown type", s->key);
}

int conf_set(struct conf *c, enum conf_key key, const char *value, enum conf_source source,
             struct err *err)
{
    struct conf_value *v = &c->values[key];
    int64_t number;

    if (parse_value(&settings[key], value, &number, err) != 0)
        return -1;
    if (source < v->source)
        return 0;
    char *copy = mem_strdup(value); /* value may be the old text itself */
    free(v->text);
    *v = (struct conf_value){ copy, number, source };
    return 0;
}

struct conf *conf_create(void)
{
    struct conf *c = mem_alloc(sizeof *c);

    for (size_t i = 0; i < CONF_KEY_COUNT; i++) {
        /* A test sets every default, so this can't fail in a release. */
        if (conf_set(c, (enum conf_key)i, settings[i].def, CONF_FROM_DEFAULT, NULL) != 0)
            abort();
    }
    return c;
}

void conf_destroy(struct conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CONF_KEY_COUNT; i++)
        free(c->values[i].text);
    free(c);
}

const char *conf_str(const struct conf *c, enum conf_key key)
{
    return c->values[key].text;
}

int64_t conf_int(const struct conf *c, enum conf_key key)
{
    return c->values[key].number;
}

bool conf_bool(const struct conf *c, enum conf_key key)
{
    return c->values[key].number != 0;
}

enum conf_source conf_source(const struct conf *c, enum conf_key key)
{
    return c->values[key].source;
}

const char *conf_source_name(enum conf_source s)
{
    switch (s) {
    case CONF_FROM_DEFAULT:
        return "default";
    case CONF_FROM_SYSTEM:
        return "/etc/hive/hive.conf";
    case CONF_FROM_USER:
        return "user file";
    case CONF_FROM_ENV:
        return "environment";
    case CONF_FROM_FLAG:
        return "command line";
    }
    return "unknown";
}

/* One file being read. */
struct reading {
    struct conf *conf;
    const char *path;
    enum conf_source source;
    struct buf *warnings; /* may be NULL */
};

static void warn_bad_line(void *arg, int line, const char *why)
{
    const struct reading *r = arg;

    if (r->warnings)
        buf_printf(r->warnings, "%s:%d: %s\n", r->path, line, why);
}

static void warn_unknown(const struct reading *r, int line, const char *key)
{
    const char *near = conf_near(key);
    struct buf text = BUF_INIT;

    buf_append_str(&text, "unknown key '");
    str_append_safe(&text, key, strnlen(key, 80));
    buf_append_char(&text, '\'');
    if (near)
        buf_printf(&text, ", did you mean '%s'?", near);
    warn_bad_line((void *)(uintptr_t)r, line, buf_data(&text));
    buf_fini(&text);
}

/* `key` has the section before what stands in the line. */
static void warn_no_line(const struct reading *r, int line, const char *key)
{
    const char *dot = strchr(key, '.');
    struct buf text = BUF_INIT;

    buf_append_str(&text, "expected key = value, not '");
    str_append_safe(&text, dot ? dot + 1 : key, strnlen(dot ? dot + 1 : key, 80));
    buf_append_char(&text, '\'');
    warn_bad_line((void *)(uintptr_t)r, line, buf_data(&text));
    buf_fini(&text);
}

static void take_value(void *arg, int line, const char *key, const char *value)
{
    struct reading *r = arg;
    struct err err = ERR_INIT;
    int found = conf_find(key);

    if (found < 0 && value) {
        warn_unknown(r, line, key);
        return;
    }
    if (found < 0) {
        warn_no_line(r, line, key);
        return;
    }
    if (!value)
        err_set(&err, ERR_INVALID, "%s has no value: write %s = VALUE", key, strrchr(key, '.') + 1);
    else if (conf_set(r->conf, (enum conf_key)found, value, r->source, &err) == 0)
        return;
    warn_bad_line(r, line, err.msg);
}

int conf_load_file(struct conf *c, const char *path, enum conf_source source, struct buf *warnings,
                   struct err *err)
{
    struct reading reading = { c, path, source, warnings };
    struct conf_ini to = { take_value, warn_bad_line, &reading };
    struct buf text = BUF_INIT;
    int rc = fs_read_file(path, LIMIT_CONFIG_FILE, &text, err);

    if (rc == 0 && conf_ini_read(buf_data(&text), buf_len(&text), &to, err) != 0)
        rc = err_prefix(err, "%s", path);
    buf_fini(&text);
    return rc;
}

static int load_if_there(struct conf *c, char *path, enum conf_source source, struct buf *warnings,
                         struct err *err)
{
    struct err mine = ERR_INIT;
    int rc = 0;

    if (*path && conf_load_file(c, path, source, warnings, &mine) != 0 &&
        mine.kind != ERR_NOT_FOUND) {
        if (err)
            *err = mine;
        rc = -1;
    }
    free(path);
    return rc;
}

/* "daemon.log-level" -> "HIVE_DAEMON_LOG_LEVEL" */
static char *env_name(const char *key)
{
    char *name = mem_printf("HIVE_%s", key);

    for (char *p = name; *p; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
        else if (*p == '.' || *p == '-')
            *p = '_';
    }
    return name;
}

static int load_env(struct conf *c, struct err *err)
{
    for (size_t i = 0; i < CONF_KEY_COUNT; i++) {
        char *name = env_name(settings[i].key);
        const char *value = getenv(name);
        int rc = 0;
        if (value && conf_set(c, (enum conf_key)i, value, CONF_FROM_ENV, err) != 0)
            rc = err_prefix(err, "environment variable %s", name);
        free(name);
        if (rc != 0)
            return -1;
    }
    return 0;
}

int conf_load(struct conf *c, struct buf *warnings, struct err *err)
{
    if (load_if_there(c, fs_system_config(), CONF_FROM_SYSTEM, warnings, err) != 0 ||
        load_if_there(c, fs_user_config(), CONF_FROM_USER, warnings, err) != 0)
        return -1;
    return load_env(c, err);
}
