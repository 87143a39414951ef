/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between a link process and its clients: what is accepted is within its limits, and is
 * written to something that reads the same. Words of links, too: each has a path of its own. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/sock.h"
#include "net/ssh_link_msg.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void same_result(const struct ssh_link_result *a, const struct ssh_link_result *b)
{
    require(a->end == b->end && a->code == b->code && str_eq(a->signal, b->signal));
    require(a->err.kind == b->err.kind);
}

static void round_trip(const struct ssh_link_msg *a)
{
    struct ssh_link_msg b;
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;

    ssh_link_msg_encode(a, &text);
    require(ssh_link_msg_decode(buf_data(&text), buf_len(&text), &b, &err) == 0);
    require(a->type == b.type && a->id == b.id && a->port == b.port && a->state == b.state);
    require(a->version == b.version && str_eq(a->text, b.text));
    require(str_eq(a->server, b.server) || a->state == SSH_LINK_NONE);
    if (a->type == SSH_LINK_ENDED)
        same_result(&a->result, &b.result);
    ssh_link_msg_fini(&b);
    buf_fini(&text);
}

static void word(const char *text)
{
    char *path;

    if (ssh_link_check_word(text, NULL) != 0)
        return;
    require(strlen(text) <= SSH_LINK_WORD_MAX && *ssh_link_last(text));
    path = ssh_link_path("/r", text, ".sock");
    require(strlen(path) < 64 && !strchr(path + strlen("/r/links/"), '/'));
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ssh_link_msg m;
    struct err err = ERR_INIT;
    char *text = mem_strndup((const char *)data, size);

    word(text);
    free(text);
    if (ssh_link_msg_decode((const char *)data, size, &m, &err) != 0) {
        require(err.kind == ERR_INVALID || err.kind == ERR_TOO_LARGE);
        return 0;
    }
    round_trip(&m);
    ssh_link_msg_fini(&m);
    return 0;
}
