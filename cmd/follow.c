/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/follow.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/cmd.h"

#include <inttypes.h>
#include <unistd.h>

/* Bytes at the end of data that begin a UTF-8 character but don't complete it. */
static size_t unfinished(const char *data, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)data[len - back];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return need > back ? back : 0;
    }
    return 0;
}

static void append_text(struct buf *out, const char *p, size_t len)
{
    while (len > 0) {
        size_t n = 0;
        while (n < len && p[n] != '\n' && p[n] != '\t' && p[n] != '\r')
            n++;
        str_append_safe(out, p, n);
        if (n < len)
            buf_append_char(out, p[n++]);
        p += n;
        len -= n;
    }
}

void follow_filter_feed(struct follow_filter *f, const char *data, size_t len, struct buf *out)
{
    struct buf all = BUF_INIT;
    buf_append(&all, f->held, f->held_len);
    buf_append(&all, data, len);
    size_t rest = unfinished(buf_data(&all), buf_len(&all));
    size_t whole = buf_len(&all) - rest;
    append_text(out, buf_data(&all), whole);
    memcpy(f->held, buf_data(&all) + whole, rest);
    f->held_len = rest;
    buf_fini(&all);
}

void follow_filter_end(struct follow_filter *f, struct buf *out)
{
    append_text(out, f->held, f->held_len);
    f->held_len = 0;
}

struct copy {
    const struct follow *f;
    bool safe;
    struct follow_filter filter;
    struct buf out;
    int64_t received;
    bool reader_gone;
};

static bool put(struct copy *copy, const char *data, size_t len)
{
    if (copy->f->fd == STDOUT_FILENO) {
        cmd_out_bytes(data, len);
        copy->reader_gone = cmd_out_failed();
    } else {
        copy->reader_gone = fs_write_all(copy->f->fd, data, len) != 0;
    }
    return !copy->reader_gone;
}

static bool put_filtered(struct copy *copy)
{
    bool ok = buf_len(&copy->out) == 0 || put(copy, buf_data(&copy->out), buf_len(&copy->out));
    buf_clear(&copy->out);
    return ok;
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct copy *copy = arg;
    copy->received += (int64_t)len;
    if (!copy->safe)
        return put(copy, data, len);
    follow_filter_feed(&copy->filter, data, len, &copy->out);
    return put_filtered(copy);
}

static void make_path(const struct follow *f, int64_t offset, struct buf *path)
{
    client_job_path(path, f->id, "logs");
    buf_printf(path, "?stream=%s", f->from_stderr ? "stderr" : "stdout");
    if (f->live)
        buf_append_str(path, "&follow=true");
    if (f->attempt >= 0)
        buf_printf(path, "&attempt=%" PRId64, f->attempt);
    if (offset > 0)
        buf_printf(path, "&offset=%" PRId64, offset);
    else if (f->tail >= 0)
        buf_printf(path, "&tail=%" PRId64, f->tail);
}

static int copy_once(struct client *c, struct copy *copy, struct err *err)
{
    struct buf path = BUF_INIT;
    bool complete;
    make_path(copy->f, copy->received, &path);
    struct client_stream s = {
        .path = buf_data(&path),
        .idle_ns = copy->f->live ? -1 : 0,
        .on_data = on_data,
        .arg = copy,
    };
    int rc = client_stream(c, &s, &complete, err);
    buf_fini(&path);
    return rc;
}

/* Where in the file a stream that began with `tail` stands is not known, so it can't be taken
 * up. */
static bool can_go_on(const struct client *c, const struct follow *f, const struct copy *copy)
{
    return c->lost && f->live && !copy->reader_gone && (f->tail < 0 || copy->received == 0);
}

int follow_run(struct client *c, const struct follow *f, struct err *err)
{
    struct copy copy = { .f = f, .safe = !f->raw && isatty(f->fd), .out = BUF_INIT };
    int rc;
    while ((rc = copy_once(c, &copy, err)) != 0 && can_go_on(c, f, &copy)) {
        int64_t until = clock_mono_ns(&clock_system) + CLIENT_RETRY_WAIT_NS;
        if (client_reconnect(c, until, err) != 0)
            break;
    }
    follow_filter_end(&copy.filter, &copy.out);
    if (!copy.reader_gone)
        put_filtered(&copy);
    buf_fini(&copy.out);
    return copy.reader_gone ? 0 : rc;
}
