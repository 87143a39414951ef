/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers, sizes, durations, times and foreign text, as people and strangers write them. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* What a parser accepted, its exact form gives back. */
static void try_unit(const char *text, int (*parse)(const char *, int64_t *, struct err *),
                     void (*exact)(struct buf *, int64_t), void (*format)(struct buf *, int64_t))
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    int64_t value = -1, back = -2;

    if (parse(text, &value, &err) != 0) {
        require(err.kind == ERR_INVALID && value == -1);
        require(str_is_utf8(err.msg, strlen(err.msg)));
        return;
    }
    require(value >= 0);
    exact(&b, value);
    require(parse(buf_data(&b), &back, &err) == 0 && back == value);
    buf_clear(&b);
    format(&b, value);
    require(buf_len(&b) > 0 && buf_len(&b) < 16);
    buf_fini(&b);
}

static void try_numbers(const char *text)
{
    struct err err = ERR_INIT;
    char shown[CLOCK_RFC3339_SIZE];
    int64_t value, back;
    double fraction;

    if (str_to_int(text, -100, 100, "n", &value, &err) == 0)
        require(value >= -100 && value <= 100);
    str_to_int(text, INT64_MIN, INT64_MAX, "n", &value, &err);
    if (str_to_double(text, 0, 1, "x", &fraction, &err) == 0)
        require(fraction >= 0 && fraction <= 1);
    if (clock_parse_rfc3339(text, &value) && value > NS_PER_MS) {
        clock_format_rfc3339(value, shown, sizeof shown);
        require(clock_parse_rfc3339(shown, &back) && back == value / NS_PER_MS * NS_PER_MS);
    }
}

static void try_text(const char *text, size_t len)
{
    struct buf safe = BUF_INIT, padded = BUF_INIT, quoted = BUF_INIT;

    str_append_safe(&safe, text, len);
    require(str_is_utf8(buf_data(&safe), buf_len(&safe)));
    for (size_t i = 0; i < buf_len(&safe); i++)
        require((unsigned char)buf_data(&safe)[i] >= 0x20 && buf_data(&safe)[i] != 0x7F);
    for (size_t width = 0; width < 12; width++) {
        buf_clear(&padded);
        str_append_padded(&padded, buf_data(&safe), width, true);
        require(str_width(buf_data(&padded)) == width);
    }
    str_append_shell_quoted(&quoted, text);
    require(str_distance(text, "status") == str_distance("status", text));
    buf_fini(&safe);
    buf_fini(&padded);
    buf_fini(&quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);

    try_unit(text, str_to_size, str_exact_size, str_format_size);
    try_unit(text, str_to_duration, str_exact_duration, str_format_duration);
    try_numbers(text);
    try_text(text, size);
    free(text);
    return 0;
}
