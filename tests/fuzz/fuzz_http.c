/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The input is what a peer sends: it is parsed as requests and as responses, each at once and in
 * small pieces. Both ways must tell the same story (network timing must not change what a message
 * means), and what is reported must keep the promises of the header. Each piece is an allocation of
 * its own, so that a byte read past its end is seen.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/http_parser.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_BODY 4096

static void require(bool ok)
{
    if (!ok)
        abort();
}

static bool is_clean(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 && *s != '\t')
            return false;
    return true;
}

static void check_message(const struct http_parser *p)
{
    const struct http_message *m = &p->msg;

    require(m->field_count <= LIMIT_HTTP_HEADERS);
    for (size_t i = 0; i < m->field_count; i++) {
        const struct http_field *f = &m->fields[i];
        size_t len = strlen(f->value);
        require(*f->name && is_clean(f->name) && is_clean(f->value) && !strpbrk(f->name, " \t:"));
        require(len == 0 || (!strchr(" \t", f->value[0]) && !strchr(" \t", f->value[len - 1])));
    }
    require(!m->chunked || m->content_length < 0);
    require(http_message_field_count(m, "content-length") == (m->content_length >= 0));
    require(http_message_field_count(m, "transfer-encoding") == m->chunked);
    if (p->side == HTTP_RESPONSE) {
        require(m->status >= 100 && m->status <= 599);
        return;
    }
    require(m->content_length <= MAX_BODY);
    require(*m->method && *m->target && (m->path[0] == '/' || str_eq(m->path, "*")));
    require(strlen(m->target) <= LIMIT_HTTP_LINE && is_clean(m->target));
    free(http_query_get(m->query, "a"));
    require(http_message_field_count(m, "host") == 1 || m->minor == 0);
}

static void tell(struct buf *story, struct http_parser *p, enum http_event ev)
{
    const struct http_message *m = &p->msg;

    switch (ev) {
    case HTTP_HEADERS:
        check_message(p);
        buf_printf(story, "H %s %s %d %d %d\n", m->method, m->target ? m->target : "", m->status,
                   m->keep_alive, m->upgrade);
        for (size_t i = 0; i < m->field_count; i++)
            buf_printf(story, "%s=%s\n", m->fields[i].name, m->fields[i].value);
        break;
    case HTTP_BODY:
        require(p->chunk_len > 0);
        buf_append(story, p->chunk, p->chunk_len);
        break;
    case HTTP_DONE:
        buf_append_str(story, "\nD\n");
        break;
    case HTTP_ERROR:
        /* Which of several faults is named may depend on the pieces; that there is one may not. */
        require(p->status >= 400 && p->status <= 505 && p->reason && *p->reason);
        buf_append_str(story, "\nE");
        break;
    default:
        break;
    }
}

/* Parses all messages in pieces of at most `step` bytes. */
static void parse(enum http_side side, const uint8_t *data, size_t size, size_t step,
                  struct buf *story)
{
    struct http_parser p;
    enum http_event ev = HTTP_NEED_MORE;
    size_t used, body = 0;

    http_parser_init(&p, side, MAX_BODY);
    for (size_t at = 0; at < size && ev != HTTP_ERROR;) {
        size_t len = size - at < step ? size - at : step;
        char *piece = mem_dup(data + at, len);
        size_t pos = 0;
        do {
            ev = http_parser_feed(&p, piece + pos, len - pos, &used);
            require(used <= len - pos && (ev != HTTP_NEED_MORE || used == len - pos));
            pos += used;
            if (ev != HTTP_NEED_MORE)
                tell(story, &p, ev);
            body += ev == HTTP_BODY ? p.chunk_len : 0;
            require(body <= MAX_BODY);
            if (ev == HTTP_DONE) {
                http_parser_next(&p);
                body = 0;
            }
        } while (ev != HTTP_NEED_MORE && ev != HTTP_ERROR);
        at += len;
        free(piece);
    }
    if (ev != HTTP_ERROR) {
        ev = http_parser_eof(&p);
        require(ev != HTTP_HEADERS && ev != HTTP_BODY);
        tell(story, &p, ev);
    }
    http_parser_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = { 1, 2, 7, 64 };

    for (int side = HTTP_REQUEST; side <= HTTP_RESPONSE; side++) {
        struct buf whole = BUF_INIT;
        parse((enum http_side)side, data, size, SIZE_MAX, &whole);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            struct buf pieces = BUF_INIT;
            parse((enum http_side)side, data, size, steps[i], &pieces);
            require(buf_len(&whole) == buf_len(&pieces) &&
                    memcmp(buf_data(&whole), buf_data(&pieces), buf_len(&whole)) == 0);
            buf_fini(&pieces);
        }
        buf_fini(&whole);
    }
    return 0;
}
