/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hive.conf. Input: KEY LF VALUE LF, and the text of the file. Reading takes any text; editing
 * KEY into it must leave every other key as it was.
 */
#include "base/buf.h"
#include "base/conf.h"
#include "base/conf_ini.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* All keys but one as "key=value" lines, and the last value of that one. */
struct seen {
    const char *key;
    char *value;
    struct buf others;
    int lines, bad;
};

static void on_value(void *arg, int line, const char *key, const char *value)
{
    struct seen *s = arg;

    require(line >= 1 && key && strlen(key) <= 2 * LIMIT_CONFIG_LINE);
    s->lines++;
    if (str_eq(key, s->key)) {
        free(s->value);
        s->value = mem_strdup(value);
    } else {
        buf_printf(&s->others, "%s=%s\n", key, value ? value : "");
    }
}

static void on_bad_line(void *arg, int line, const char *why)
{
    struct seen *s = arg;

    require(line >= 1 && why);
    s->bad++;
}

static int look(struct seen *s, const char *key, const char *text, size_t len, struct err *err)
{
    struct conf_ini to = { on_value, on_bad_line, s };

    *s = (struct seen){ .key = key, .others = BUF_INIT };
    return conf_ini_read(text, len, &to, err);
}

static void forget(struct seen *s)
{
    free(s->value);
    buf_fini(&s->others);
}

static void try_edit(const char *text, size_t len, const char *key, const char *value)
{
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;
    struct seen before, after;

    if (conf_edit(text, len, key, value, &out, &err) != 0) {
        require(err.kind == ERR_INVALID && buf_len(&out) == 0);
        buf_fini(&out);
        return;
    }
    require(look(&before, key, text, len, &err) == 0);
    require(look(&after, key, buf_data(&out), buf_len(&out), &err) == 0);
    require(str_eq(after.value, value));
    require(str_eq(buf_data(&before.others), buf_data(&after.others)));
    require(before.bad == after.bad);
    forget(&before);
    forget(&after);
    buf_fini(&out);
}

/* Every setting, with the text as its value: refused, or in range. */
static void try_values(const char *value)
{
    struct conf *c = conf_create();

    for (int i = 0; i < CONF_KEY_COUNT; i++) {
        enum conf_key key = (enum conf_key)i;
        const struct conf_setting *s = conf_setting(key);
        struct err err = ERR_INIT;
        if (conf_set(c, key, value, CONF_FROM_FLAG, &err) != 0)
            require(err.kind == ERR_INVALID && str_is_utf8(err.msg, strlen(err.msg)));
        else if (s->type == CONF_INT || s->type == CONF_SIZE || s->type == CONF_DURATION)
            require(conf_int(c, key) >= s->min && conf_int(c, key) <= s->max);
    }
    conf_destroy(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *first = size ? memchr(text, '\n', size) : NULL;
    const char *second = first ? memchr(first + 1, '\n', size - (size_t)(first + 1 - text)) : NULL;

    if (!second)
        return 0;
    char *key = mem_strndup(text, (size_t)(first - text));
    char *value = mem_strndup(first + 1, (size_t)(second - first - 1));
    size_t rest = size - (size_t)(second + 1 - text);

    try_edit(second + 1, rest, key, value);
    try_edit(second + 1, rest, key, NULL);
    try_values(value);
    free(key);
    free(value);
    return 0;
}
