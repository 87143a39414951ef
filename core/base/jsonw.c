/* SPDX-License-Identifier: BSD-2-Clause */
/* The writing half of jsonx.h. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonx.h"
#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <math.h>

#define MAX_DEPTH 63 /* bits of jsonw.comma */

void jsonw_init(struct jsonw *w, struct buf *b)
{
    *w = (struct jsonw){ .b = b };
}

static void append_escaped(struct buf *b, unsigned char c)
{
    static const char short_form[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: character, letter */

    for (const char *p = short_form; *p; p += 2) {
        if ((unsigned char)*p == c) {
            buf_append_char(b, '\\');
            buf_append_char(b, p[1]);
            return;
        }
    }
    buf_printf(b, "\\u%04x", (unsigned)c);
}

static void append_string(struct buf *b, const char *s, size_t len)
{
    size_t plain = 0; /* start of what can be copied as it is */

    buf_append_char(b, '"');
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)s[i];
        uint32_t cp;
        size_t step = c < 0x80 ? 1 : str_utf8_next(s + i, len - i, &cp);
        if (step > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += step;
            continue;
        }
        buf_append(b, s + plain, i - plain);
        if (step == 0)
            buf_append_str(b, "\xEF\xBF\xBD"); /* U+FFFD */
        else
            append_escaped(b, c);
        plain = ++i;
    }
    buf_append(b, s + plain, len - plain);
    buf_append_char(b, '"');
}

/* What stands before a value: a comma when it is not the first, and its name. */
static void begin_value(struct jsonw *w, const char *key)
{
    uint64_t bit = UINT64_C(1) << w->depth;

    if (w->comma & bit)
        buf_append_char(w->b, ',');
    w->comma |= bit;
    if (key) {
        append_string(w->b, key, strlen(key));
        buf_append_char(w->b, ':');
    }
}

static void open_level(struct jsonw *w, const char *key, char c)
{
    begin_value(w, key);
    buf_append_char(w->b, c);
    if (w->depth >= MAX_DEPTH)
        abort(); /* our own code nests without end */
    w->depth++;
    w->comma &= ~(UINT64_C(1) << w->depth);
}

static void close_level(struct jsonw *w, char c)
{
    if (w->depth == 0)
        abort();
    w->depth--;
    buf_append_char(w->b, c);
}

void jsonw_obj_open(struct jsonw *w, const char *key)
{
    open_level(w, key, '{');
}

void jsonw_obj_close(struct jsonw *w)
{
    close_level(w, '}');
}

void jsonw_arr_open(struct jsonw *w, const char *key)
{
    open_level(w, key, '[');
}

void jsonw_arr_close(struct jsonw *w)
{
    close_level(w, ']');
}

void jsonw_str(struct jsonw *w, const char *key, const char *value)
{
    if (value)
        jsonw_strn(w, key, value, strlen(value));
    else
        jsonw_null(w, key);
}

void jsonw_strn(struct jsonw *w, const char *key, const char *value, size_t len)
{
    begin_value(w, key);
    append_string(w->b, value, len);
}

void jsonw_int(struct jsonw *w, const char *key, int64_t value)
{
    begin_value(w, key);
    buf_printf(w->b, "%" PRId64, value);
}

void jsonw_double(struct jsonw *w, const char *key, double value)
{
    char text[40];

    begin_value(w, key);
    if (!isfinite(value)) {
        buf_append_str(w->b, "null");
        return;
    }
    if (value == 0)
        value = 0; /* -0 would be read back as the integer 0 */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof back) == 0)
            break;
    }
    buf_append_str(w->b, text);
}

void jsonw_bool(struct jsonw *w, const char *key, bool value)
{
    begin_value(w, key);
    buf_append_str(w->b, value ? "true" : "false");
}

void jsonw_null(struct jsonw *w, const char *key)
{
    begin_value(w, key);
    buf_append_str(w->b, "null");
}

void jsonw_time(struct jsonw *w, const char *key, int64_t wall_ns)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(wall_ns, text, sizeof text);
    jsonw_str(w, key, *text ? text : NULL);
}

void jsonw_raw(struct jsonw *w, const char *key, const char *json)
{
    begin_value(w, key);
    buf_append_str(w->b, json);
}
