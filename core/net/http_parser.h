/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HTTP/1.1 message parser (RFC 9112) for requests and responses, pure: bytes in, events out, no
 * descriptor and no clock. Strict where leniency is how requests get smuggled past a proxy:
 *   - a line ends in CRLF; a bare CR, a bare LF, NUL or another control byte in a line: 400
 *   - white space before the colon, a folded line (obs-fold), an empty field name, a method that is
 *     no token: 400
 *   - Content-Length twice (even if equal), not plain digits, or with Transfer-Encoding: 400
 *   - Transfer-Encoding other than exactly one "chunked": 501; with HTTP/1.0: 400; chunk sizes over
 *     15 hex digits or with junk: 400; chunk extensions are skipped, trailers are checked as
 *     headers are and dropped, and both count towards LIMIT_HTTP_HEADER_BYTES
 *   - Host missing in an HTTP/1.1 request, or twice: 400
 *   - HTTP/1.0 is understood (no keep-alive), other versions: 505
 *   - limits of base/limits.h: 414, 431, 413
 * One empty line before the first line of a request is skipped (RFC 9112 2.2).
 *
 * Use: feed; on HTTP_NEED_MORE get more bytes; after HTTP_DONE call http_parser_next().
 */
#ifndef HIVE_NET_HTTP_PARSER_H
#define HIVE_NET_HTTP_PARSER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_side { HTTP_REQUEST, HTTP_RESPONSE };

struct http_field {
    const char *name;  /* lower case */
    const char *value; /* without white space at the ends; bytes 0x80-0xff are left as they are */
};

/* Valid from HTTP_HEADERS until http_parser_next(). */
struct http_message {
    char method[16]; /* request: as sent (methods are case-sensitive) */
    char *target;    /* request: as sent, origin-form, or "*" with OPTIONS; others: 400 */
    char *path;      /* request: percent-decoded path without query; %00 or a bad escape: 400. The
                        decoded text may hold any byte but NUL */
    char *query;     /* request: raw text after '?', or "" */
    int status;      /* response: 100..599 */
    int minor;       /* 0 or 1 */
    struct http_field *fields;
    size_t field_count;
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool keep_alive;      /* after this message, by version and Connection */
    bool expect_continue; /* HTTP/1.1 request with Expect: 100-continue */
    bool upgrade;         /* request with Connection: upgrade */
    size_t field_cap;     /* private */
    struct buf text;      /* private: storage behind target, path, query and fields */
};

enum http_event {
    HTTP_NEED_MORE, /* all bytes consumed, nothing new is complete */
    HTTP_HEADERS,   /* first line and fields are complete: p->msg */
    HTTP_BODY,      /* some body bytes: p->chunk, p->chunk_len, borrowed from the fed data */
    HTTP_DONE,      /* message complete */
    HTTP_ERROR      /* p->status and p->reason say what to answer; the connection must be closed */
};

struct http_parser {
    enum http_side side;
    int64_t max_body; /* over it: 413, from Content-Length already instead of HTTP_HEADERS */
    bool no_body;     /* response: set by the caller after HTTP_HEADERS for answers to HEAD */
    struct http_message msg;
    const char *chunk;
    size_t chunk_len;
    int status;         /* HTTP_ERROR: 400, 413, 414, 431, 501, 505 */
    const char *reason; /* HTTP_ERROR: static text, what is wrong; plain ASCII without quotes */
    bool started;       /* a byte of this message was seen; false between messages */
    /* private */
    int state;
    bool blank_seen;                    /* the one empty line that may come first */
    struct buf line;                    /* start of a line whose end has not arrived */
    int64_t left;                       /* bytes to come of the body or chunk */
    int64_t body_seen;                  /* body bytes of a chunked message */
    size_t header_bytes;                /* fields, trailers and chunk extensions */
    size_t header_lines;                /* fields and trailers */
    size_t path_at, query_at, field_at; /* offsets into msg.text */
};

/* max_body in bytes; negative: no limit. */
void http_parser_init(struct http_parser *p, enum http_side side, int64_t max_body);
void http_parser_fini(struct http_parser *p);
/*
 * Feeds bytes; *used says how many were taken (the rest must be fed again). Returns after each
 * event, so call it until HTTP_NEED_MORE, also with len 0: HTTP_DONE may follow without further
 * bytes. After HTTP_DONE and HTTP_ERROR it takes nothing and returns the same again.
 */
enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t len, size_t *used);
/* End of the stream: HTTP_DONE for a response delimited by closing, HTTP_NEED_MORE if nothing had
 * begun, else HTTP_ERROR. */
enum http_event http_parser_eof(struct http_parser *p);
/* After HTTP_DONE: forgets the message; the next one may be fed. Big buffers are given back. */
void http_parser_next(struct http_parser *p);
/* After HTTP_HEADERS: whether body bytes follow (possibly none of a chunked or close-delimited
 * one). */
bool http_parser_has_body(const struct http_parser *p);

/* Value of a field (name in lower case), or NULL. The first one if repeated. */
const char *http_message_field(const struct http_message *m, const char *name);
size_t http_message_field_count(const struct http_message *m, const char *name);

/*
 * Query string: decoded value of the first `key` ('+' is a blank) as a malloc'd string; NULL when
 * absent; "" when without value. Malformed escapes, %00 among them, are kept literally.
 */
char *http_query_get(const char *query, const char *key);
/* Percent-encodes everything but unreserved characters (letters, digits, "-._~"). */
void http_append_encoded(struct buf *b, const char *s);
/* Standard reason phrase for a status, never NULL. */
const char *http_status_text(int status);

#endif
