/* SPDX-License-Identifier: BSD-2-Clause */
/* Exit records: what is accepted must come back the same when it is written and read again; and
 * claims, in which they are looked for. */
#include "base/buf.h"
#include "base/mem.h"
#include "node/attempt.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void must_equal(const struct attempt_end *a, const struct attempt_end *b)
{
    must(a->key.job == b->key.job && a->key.number == b->key.number &&
         a->key.fence == b->key.fence);
    must(a->outcome == b->outcome && a->code == b->code && a->signal == b->signal);
    must(a->started_ns == b->started_ns && a->finished_ns == b->finished_ns);
    must(a->duration_ns == b->duration_ns && a->user_ns == b->user_ns);
    must(a->system_ns == b->system_ns && a->max_rss == b->max_rss);
}

/* Behind whatever there is, a record on a line of its own is found when it is whole, and changes
 * nothing when it is cut. */
static void append_record(const char *data, size_t size)
{
    static const struct attempt_end own = {
        .key = { 4711, 3, 9 }, .outcome = ATTEMPT_EXITED, .code = 42, .finished_ns = 7
    };
    struct attempt_end before, end;
    struct buf text = BUF_INIT, record = BUF_INIT;
    size_t first;
    bool found;

    attempt_end_encode(&own, &record);
    buf_append(&text, data, size);
    buf_append_char(&text, '\n');
    first = buf_len(&text);
    found = attempt_end_find(buf_data(&text), first, &own.key, &before);
    if (found)
        must(before.key.job == own.key.job && before.key.number == own.key.number);
    size_t cut = size > 0 ? (unsigned char)data[size / 2] % buf_len(&record) : 0;
    buf_append(&text, buf_data(&record), cut);
    must(attempt_end_find(buf_data(&text), buf_len(&text), &own.key, &end) == found);
    if (found)
        must_equal(&before, &end);
    buf_truncate(&text, first);
    buf_append(&text, buf_data(&record), buf_len(&record));
    must(attempt_end_find(buf_data(&text), buf_len(&text), &own.key, &end));
    must_equal(&own, &end);
    buf_fini(&text);
    buf_fini(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct attempt_end a, b;
    struct buf text = BUF_INIT;

    if (attempt_end_decode((const char *)data, size, NULL, &a, NULL) == 0) {
        attempt_end_encode(&a, &text);
        must(attempt_end_decode(buf_data(&text), buf_len(&text), &a.key, &b, NULL) == 0);
        must_equal(&a, &b);
    }
    append_record((const char *)data, size);
    buf_fini(&text);
    return 0;
}
