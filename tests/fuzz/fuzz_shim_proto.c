/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between daemon and shim: what is accepted must be encodable and decode again. */
#include "base/buf.h"
#include "base/mem.h"
#include "node/shim_proto.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches every string, so that one beyond the packet is noticed. */
static size_t lengths(const struct node_run *r)
{
    size_t n = strlen(r->workdir);

    for (size_t i = 0; r->argv[i]; i++)
        n += strlen(r->argv[i]);
    for (size_t i = 0; r->env[i]; i++)
        n += strlen(r->env[i]);
    n += r->stdout_path ? strlen(r->stdout_path) : 0;
    n += r->stderr_path ? strlen(r->stderr_path) : 0;
    return n + (r->script ? strlen(r->script) : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shim_msg a, b;
    struct buf packet = BUF_INIT;

    if (shim_msg_decode((const char *)data, size, &a, NULL) == 0) {
        if (shim_msg_encode(&a, &packet, NULL) == 0) {
            if (shim_msg_decode(buf_data(&packet), buf_len(&packet), &b, NULL) != 0)
                abort();
            if (a.type != b.type || (a.type == SHIM_RUN && lengths(&a.run) != lengths(&b.run)))
                abort();
            shim_msg_fini(&b);
        }
        shim_msg_fini(&a);
    }
    buf_fini(&packet);
    return 0;
}
