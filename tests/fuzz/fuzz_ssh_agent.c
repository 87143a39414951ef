/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an SSH agent sends, and what is signed. The first byte says how long the pieces are in which
 * the stream arrives; in whatever pieces, it means the same.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/ssh_agent.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void try_message(struct ssh_span m)
{
    struct ssh_agent_keys keys;
    struct ssh_span sig, inner;
    enum ssh_sign_alg alg;

    if (ssh_agent_parse_keys(m, &keys, NULL) == 0) {
        must(keys.count <= SSH_AGENT_KEYS_MAX);
        for (size_t i = 0; i < keys.count; i++) {
            must(keys.key[i].name && keys.key[i].comment);
            must((keys.key[i].type == SSH_KEY_OTHER) == (keys.key[i].why_not != NULL));
        }
        ssh_agent_keys_fini(&keys);
    }
    for (unsigned a = SSH_SIGN_NONE + 1; a < SSH_SIGN_ALG_COUNT; a++) {
        if (ssh_agent_parse_signature(m, (enum ssh_sign_alg)a, &sig, NULL) == 0)
            must(ssh_sign_split(sig, (enum ssh_sign_alg)a, &inner, NULL) == 0 && inner.len > 0);
    }
    ssh_sign_userauth_alg(m.data, m.len, &alg, NULL);
}

/* Number of messages; `sum` gets their bytes. */
static size_t feed(const uint8_t *data, size_t size, size_t piece, struct buf *sum)
{
    struct ssh_agent_reader r = { 0 };
    size_t messages = 0;

    for (size_t at = 0; at < size;) {
        size_t used, n = size - at < piece ? size - at : piece;
        enum ssh_agent_event ev = ssh_agent_reader_feed(&r, data + at, n, &used, NULL);

        must(used <= n);
        at += used;
        if (ev == SSH_AGENT_BAD)
            break;
        must(used == n || ev == SSH_AGENT_REPLY);
        if (ev == SSH_AGENT_REPLY) {
            struct ssh_span m = ssh_agent_reader_message(&r);

            must(m.len > 0 && m.len <= SSH_AGENT_REPLY_MAX);
            buf_append(sum, m.data, m.len);
            messages++;
        }
    }
    ssh_agent_reader_fini(&r);
    return messages;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf all = BUF_INIT, pieces = BUF_INIT;

    if (size < 1)
        return 0;
    size_t messages = feed(data + 1, size - 1, size, &all);
    must(messages == feed(data + 1, size - 1, (size_t)data[0] + 1, &pieces));
    must(buf_len(&all) == buf_len(&pieces) &&
         memcmp(buf_data(&all), buf_data(&pieces), buf_len(&all)) == 0);
    buf_fini(&all);
    buf_fini(&pieces);
    try_message((struct ssh_span){ data + 1, size - 1 });
    return 0;
}
