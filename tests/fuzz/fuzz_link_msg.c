/* SPDX-License-Identifier: BSD-2-Clause */
/* The link protocol: what is accepted can be written, and what was written reads as the same. */
#include "base/buf.h"
#include "base/mem.h"
#include "node/link_msg.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches what lists point to, so that what was freed or is too short is noticed. */
static size_t touch(const struct link_msg *m)
{
    size_t n = 0;

    for (size_t i = 0; m->run.argv && m->run.argv[i]; i++)
        n += strlen(m->run.argv[i]);
    for (size_t i = 0; m->run.env && m->run.env[i]; i++)
        n += strlen(m->run.env[i]);
    for (size_t i = 0; i < m->attempt_count; i++)
        n += attempt_key_valid(&m->attempts[i]);
    for (size_t i = 0; i < m->data_len; i++)
        n += ((const unsigned char *)m->data)[i];
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link_msg a, b;
    struct buf once = BUF_INIT, twice = BUF_INIT;

    if (link_msg_decode((const char *)data, size, &a, NULL) != 0)
        return 0;
    if (link_msg_encode(&a, &once, NULL) == 0) {
        if (link_msg_decode(buf_data(&once), buf_len(&once), &b, NULL) != 0 || a.type != b.type ||
            touch(&a) != touch(&b))
            abort();
        if (link_msg_encode(&b, &twice, NULL) != 0 || buf_len(&once) != buf_len(&twice) ||
            memcmp(buf_data(&once), buf_data(&twice), buf_len(&once)) != 0)
            abort();
        link_msg_fini(&b);
    }
    link_msg_fini(&a);
    buf_fini(&once);
    buf_fini(&twice);
    return 0;
}
