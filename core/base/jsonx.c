/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/jsonx.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <math.h>

static int parse_error(const char *data, size_t len, size_t pos, const char *what, struct err *err)
{
    size_t line = 1, col = 1, chr = 0;

    if (data)
        yyjson_locate_pos(data, len, pos, &line, &col, &chr);
    return err_set(err, ERR_INVALID, "invalid JSON at line %zu, column %zu: %s", line, col, what);
}

static bool is_nul_escape(const char *s, size_t len)
{
    return len >= 6 && memcmp(s, "\\u0000", 6) == 0;
}

/* What yyjson doesn't check: depth, and NUL characters. Text that is no JSON at all passes, and
 * fails in yyjson. */
static int check_shape(const char *data, size_t len, struct err *err)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = data[i];
        if (in_string) {
            if (is_nul_escape(data + i, len - i))
                return parse_error(data, len, i, "a NUL character in a string", err);
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > LIMIT_JSON_DEPTH)
                return parse_error(data, len, i, "nested too deeply", err);
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return 0;
}

yyjson_doc *jsonx_parse(const char *data, size_t len, struct err *err)
{
    yyjson_read_err fault;

    if (check_shape(data, len, err) != 0)
        return NULL;
    /* The cast is for the in-place mode, which is not asked for. */
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)data, len, YYJSON_READ_NOFLAG, NULL, &fault);
    if (!doc)
        parse_error(data, len, fault.pos, fault.msg ? fault.msg : "unreadable", err);
    return doc;
}

/* What was there, for messages: 'the string "8 gigs"', "12", "an array". */
static void describe(struct buf *b, yyjson_val *val)
{
    switch (yyjson_get_type(val)) {
    case YYJSON_TYPE_STR: {
        size_t len = yyjson_get_len(val);
        buf_append_str(b, "the string \"");
        str_append_safe(b, yyjson_get_str(val), len < 40 ? len : 40);
        buf_append_str(b, len <= 40 ? "\"" : "...\"");
        break;
    }
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(val))
            buf_printf(b, "%g", yyjson_get_real(val));
        else if (yyjson_is_sint(val))
            buf_printf(b, "%" PRId64, yyjson_get_sint(val));
        else
            buf_printf(b, "%" PRIu64, yyjson_get_uint(val));
        break;
    case YYJSON_TYPE_ARR:
        buf_append_str(b, "an array");
        break;
    case YYJSON_TYPE_OBJ:
        buf_append_str(b, "an object");
        break;
    default:
        buf_append_str(b, yyjson_get_type_desc(val));
    }
}

__attribute__((format(printf, 5, 6))) static int wrong(struct err *err, const char *where,
                                                       const char *key, yyjson_val *val,
                                                       const char *fmt, ...)
{
    struct buf want = BUF_INIT;
    struct buf got = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&want, fmt, ap);
    va_end(ap);
    describe(&got, val);
    err_set(err, ERR_INVALID, "%s%s must be %s, not %s", where, key, buf_data(&want),
            buf_data(&got));
    buf_fini(&want);
    buf_fini(&got);
    return -1;
}

/* The field, or NULL with *rc 0 (absent or null) or -1 (no object to look in). */
static yyjson_val *field(yyjson_val *obj, const char *where, const char *key, int *rc,
                         struct err *err)
{
    *rc = 0;
    if (!yyjson_is_obj(obj)) {
        size_t len = strlen(where);
        if (len > 0 && where[len - 1] == '.')
            len--;
        *rc = err_set(err, ERR_INVALID, "%.*s must be an object", len ? (int)len : 9,
                      len ? where : "the value");
        return NULL;
    }
    yyjson_val *val = yyjson_obj_get(obj, key);
    return yyjson_is_null(val) ? NULL : val;
}

int jsonx_get_str(yyjson_val *obj, const char *where, const char *key, size_t max_len,
                  const char **out, struct err *err)
{
    int rc;
    yyjson_val *val = field(obj, where, key, &rc, err);

    if (!val)
        return rc;
    if (!yyjson_is_str(val))
        return wrong(err, where, key, val, "a string");
    if (yyjson_get_len(val) > max_len)
        return err_set(err, ERR_INVALID, "%s%s is longer than %zu bytes", where, key, max_len);
    *out = yyjson_get_str(val);
    return 1;
}

/* Also 4.0 and 1e3: to JSON, and to what many programs write, these are the same number. Beyond
 * 2^53 a fraction can't tell neighbours apart, so it is refused. */
static bool to_int64(yyjson_val *val, int64_t *out)
{
    if (yyjson_is_uint(val) && yyjson_get_uint(val) <= INT64_MAX)
        *out = (int64_t)yyjson_get_uint(val);
    else if (yyjson_is_sint(val))
        *out = yyjson_get_sint(val);
    else if (yyjson_is_real(val) && fabs(yyjson_get_real(val)) <= 9007199254740992.0 &&
             floor(yyjson_get_real(val)) >= yyjson_get_real(val))
        *out = (int64_t)yyjson_get_real(val);
    else
        return false;
    return true;
}

int jsonx_get_int(yyjson_val *obj, const char *where, const char *key, int64_t min, int64_t max,
                  int64_t *out, struct err *err)
{
    int rc;
    int64_t value;
    yyjson_val *val = field(obj, where, key, &rc, err);

    if (!val)
        return rc;
    if (!to_int64(val, &value) || value < min || value > max)
        return wrong(err, where, key, val, "a whole number from %" PRId64 " to %" PRId64, min, max);
    *out = value;
    return 1;
}

int jsonx_get_bool(yyjson_val *obj, const char *where, const char *key, bool *out, struct err *err)
{
    int rc;
    yyjson_val *val = field(obj, where, key, &rc, err);

    if (!val)
        return rc;
    if (!yyjson_is_bool(val))
        return wrong(err, where, key, val, "true or false");
    *out = yyjson_get_bool(val);
    return 1;
}

int jsonx_get_size(yyjson_val *obj, const char *where, const char *key, int64_t *bytes,
                   struct err *err)
{
    int rc;
    int64_t value;
    yyjson_val *val = field(obj, where, key, &rc, err);

    if (!val)
        return rc;
    if (yyjson_is_str(val)) {
        if (str_to_size(yyjson_get_str(val), &value, err) != 0)
            return err_prefix(err, "%s%s", where, key);
    } else if (!to_int64(val, &value) || value < 0) {
        return wrong(err, where, key, val, "a number of bytes or a string such as \"8G\"");
    }
    *bytes = value;
    return 1;
}

/* Seconds as JSON has them. Whole ones without a detour through floating point. */
static bool seconds_to_ns(yyjson_val *val, int64_t *ns)
{
    int64_t whole;

    if (to_int64(val, &whole))
        return whole >= 0 && !__builtin_mul_overflow(whole, NS_PER_S, ns);
    if (!yyjson_is_real(val))
        return false;
    double exact = yyjson_get_real(val) * (double)NS_PER_S;
    if (!(exact >= 0) || exact >= 9223372036854775808.0)
        return false;
    *ns = (int64_t)(exact + 0.5 < 9223372036854775808.0 ? exact + 0.5 : exact);
    return true;
}

int jsonx_get_duration(yyjson_val *obj, const char *where, const char *key, int64_t *ns,
                       struct err *err)
{
    int rc;
    int64_t value;
    yyjson_val *val = field(obj, where, key, &rc, err);

    if (!val)
        return rc;
    if (yyjson_is_str(val)) {
        if (str_to_duration(yyjson_get_str(val), &value, err) != 0)
            return err_prefix(err, "%s%s", where, key);
    } else if (!seconds_to_ns(val, &value)) {
        return wrong(err, where, key, val, "a number of seconds or a string such as \"1h30m\"");
    }
    *ns = value;
    return 1;
}

int jsonx_get_array(yyjson_val *obj, const char *where, const char *key, size_t max_items,
                    yyjson_val **out, struct err *err)
{
    int rc;
    yyjson_val *val = field(obj, where, key, &rc, err);

    if (!val)
        return rc;
    if (!yyjson_is_arr(val))
        return wrong(err, where, key, val, "an array");
    if (yyjson_arr_size(val) > max_items)
        return err_set(err, ERR_INVALID, "%s%s has %zu items; the limit is %zu", where, key,
                       yyjson_arr_size(val), max_items);
    *out = val;
    return 1;
}

int jsonx_get_object(yyjson_val *obj, const char *where, const char *key, yyjson_val **out,
                     struct err *err)
{
    int rc;
    yyjson_val *val = field(obj, where, key, &rc, err);

    if (!val)
        return rc;
    if (!yyjson_is_obj(val))
        return wrong(err, where, key, val, "an object");
    *out = val;
    return 1;
}

int jsonx_only_fields(yyjson_val *obj, const char *where, const char *const *known, struct err *err)
{
    yyjson_obj_iter iter;
    yyjson_val *name;
    uint64_t seen = 0; /* readers disagree on which of two equal fields counts */
    int rc;

    if (!yyjson_is_obj(obj)) {
        field(obj, where, "", &rc, err);
        return rc;
    }
    yyjson_obj_iter_init(obj, &iter);
    while ((name = yyjson_obj_iter_next(&iter))) {
        const char *text = yyjson_get_str(name);
        size_t i = 0;
        while (known[i] && strcmp(known[i], text) != 0)
            i++;
        if (known[i] && i < 64 && seen & UINT64_C(1) << i)
            return err_set(err, ERR_INVALID, "field \"%s%s\" is given twice", where, text);
        seen |= i < 64 ? UINT64_C(1) << i : 0;
        if (known[i])
            continue;
        struct buf shown = BUF_INIT;
        str_append_safe(&shown, text, strnlen(text, 64));
        err_set(err, ERR_INVALID, "unknown field \"%s%s\"", where, buf_data(&shown));
        buf_fini(&shown);
        const char *near = str_did_you_mean(text, known);
        if (near)
            err_hint(err, "did you mean \"%s%s\"?", where, near);
        return -1;
    }
    return 0;
}
