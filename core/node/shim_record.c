/* SPDX-License-Identifier: BSD-2-Clause */
/* How a shim makes the end of an attempt known: on disk, and to the daemon. */
#include "base/clock.h"
#include "base/mem.h"
#include "node/shim.h"

#define REWRITE_NS (500 * NS_PER_MS)

/* 0 or errno. */
static int write_record(struct shim *s, const struct attempt_end *end)
{
    buf_clear(&s->out);
    attempt_end_encode(end, &s->out);
    return shim_identity_append(&s->identity, buf_data(&s->out), buf_len(&s->out));
}

static void send_end(struct shim *s, const struct attempt_end *end)
{
    struct shim_msg m = { .type = SHIM_ENDED, .key = end->key, .end = *end };

    shim_send(s, &m);
}

static void drop_oldest(struct shim *s)
{
    s->unwritten_count--;
    memmove(&s->unwritten[0], &s->unwritten[1], s->unwritten_count * sizeof s->unwritten[0]);
}

/* In their order: so the file doesn't grow while one is missing in it (SHIM_IDENTITY_FULL). */
void shim_report_end(struct shim *s, const struct attempt_end *end, bool record)
{
    if (record && (s->unwritten_count > 0 || write_record(s, end) != 0)) {
        if (s->unwritten_count == SHIM_UNWRITTEN_MAX)
            drop_oldest(s);
        s->unwritten[s->unwritten_count++] = *end;
        if (s->rewrite_at_ns == 0)
            s->rewrite_at_ns = clock_mono_ns(&clock_system) + REWRITE_NS;
    }
    if (s->sock >= 0)
        send_end(s, end);
}

void shim_rewrite(struct shim *s, int64_t now_ns)
{
    while (s->unwritten_count > 0 && write_record(s, &s->unwritten[0]) == 0)
        drop_oldest(s);
    s->rewrite_at_ns = s->unwritten_count > 0 ? now_ns + REWRITE_NS : 0;
}
