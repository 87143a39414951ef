/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Beowulf's socket. Input: a byte that says in which pieces the rest arrives, and the rest. Pieces
 * make no difference, every message is answered, and a request that was understood is understood
 * again when written.
 */
#include "base/mem.h"
#include "base/str.h"
#include "net/beowulf_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_again(const struct beowulf_request *r)
{
    struct buf b = BUF_INIT;
    struct beowulf_wire w;
    size_t used;

    require(r->app && *r->app && strlen(r->app) <= BEOWULF_NAME_MAX && r->pid >= 0);
    beowulf_write_request(&b, r);
    beowulf_wire_init(&w);
    require(beowulf_wire_feed(&w, buf_data(&b), buf_len(&b), &used) == BEOWULF_REQUEST);
    require(used == buf_len(&b) - 1);
    require(w.request.cmd == r->cmd && str_eq(w.request.app, r->app));
    require(str_eq(w.request.host, r->host) && w.request.pid == r->pid);
    beowulf_wire_fini(&w);
    buf_fini(&b);
}

static void check_error(const struct err *err)
{
    struct buf b = BUF_INIT;
    struct beowulf_reply reply;

    require(*err->msg != '\0');
    beowulf_write_error(&b, err);
    require(memchr(buf_data(&b), '\n', buf_len(&b)) == buf_data(&b) + buf_len(&b) - 1);
    require(beowulf_reply_parse(buf_data(&b), buf_len(&b), &reply, NULL) == 0 && reply.error);
    beowulf_reply_fini(&reply);
    buf_fini(&b);
}

static void handle(const struct beowulf_wire *w, enum beowulf_event event, struct buf *log)
{
    if (event == BEOWULF_REQUEST) {
        check_again(&w->request);
        buf_printf(log, "%d %s %s %lld\n", (int)w->request.cmd, w->request.app,
                   w->request.host ? w->request.host : "", (long long)w->request.pid);
    } else {
        check_error(&w->err);
        buf_printf(log, "%d %s\n", (int)event, w->err.msg);
    }
}

/* All events as text. */
static void run(const char *text, size_t size, size_t step, struct buf *log)
{
    enum beowulf_event event = BEOWULF_NEED_MORE;
    struct beowulf_wire w;

    beowulf_wire_init(&w);
    for (size_t at = 0, used; at < size && event != BEOWULF_BROKEN; at += used) {
        size_t n = step < size - at ? step : size - at;
        event = beowulf_wire_feed(&w, text + at, n, &used);
        require(used <= n && (event != BEOWULF_NEED_MORE || used == n));
        if (event == BEOWULF_NEED_MORE)
            continue;
        handle(&w, event, log);
        beowulf_wire_next(&w);
    }
    event = beowulf_wire_end(&w);
    if (event == BEOWULF_REQUEST || event == BEOWULF_REFUSED)
        handle(&w, event, log);
    beowulf_wire_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    struct beowulf_reply reply;

    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    run(text, size - 1, SIZE_MAX, &whole);
    run(text, size - 1, data[0] ? data[0] : 1, &pieces);
    require(str_eq(buf_data(&whole), buf_data(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    if (beowulf_reply_parse(text, size - 1, &reply, NULL) == 0)
        require(!reply.error || (!reply.host && !reply.reason));
    beowulf_reply_fini(&reply);
    return 0;
}
