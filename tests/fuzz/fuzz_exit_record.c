/* SPDX-License-Identifier: BSD-2-Clause */
/* Exit records: what is accepted must come back the same when it is written and read again. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct attempt_end a, b;
    struct buf text = BUF_INIT;

    if (attempt_end_decode((const char *)data, size, NULL, &a, NULL) == 0) {
        attempt_end_encode(&a, &text);
        must(attempt_end_decode(buf_data(&text), buf_len(&text), &a.key, &b, NULL) == 0);
        must(a.key.job == b.key.job && a.key.number == b.key.number && a.key.fence == b.key.fence);
        must(a.outcome == b.outcome && a.code == b.code && a.signal == b.signal);
        must(a.started_ns == b.started_ns && a.finished_ns == b.finished_ns);
        must(a.duration_ns == b.duration_ns && a.user_ns == b.user_ns);
        must(a.system_ns == b.system_ns && a.max_rss == b.max_rss);
    }
    buf_fini(&text);
    return 0;
}
