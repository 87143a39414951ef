/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/http_parser.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

/* An idle connection's parser holds on to no more than this for each of its buffers. */
#define KEEP_BYTES 2048

enum state {
    S_FIRST,      /* request or status line */
    S_FIELDS,     /* header fields up to the empty line */
    S_BODY_START, /* the caller has seen the headers and may have set no_body */
    S_BODY,       /* Content-Length bytes */
    S_UNTIL_CLOSE,
    S_CHUNK_SIZE,
    S_CHUNK_DATA,
    S_CHUNK_END, /* CRLF behind the chunk's data */
    S_TRAILERS,
    S_COMPLETE,
    S_ERROR
};

/* What is left of the bytes given to http_parser_feed(). */
struct input {
    const char *data;
    size_t len, pos;
};

/* Result of a step: an event, or this when the next step may follow at once. */
#define STEP_ON (-1)

static int fail(struct http_parser *p, int status, const char *reason)
{
    p->status = status;
    p->reason = reason;
    p->state = S_ERROR;
    return HTTP_ERROR;
}

/* tchar of RFC 9110 5.6.2 */
static bool is_token_char(char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_token_char(s[i]))
            return false;
    return len > 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte of a percent escape at s, or -1. %00 is none: it could not be passed on in a C
 * string. */
static int escape(const char *s, size_t len)
{
    if (len < 3 || s[0] != '%')
        return -1;
    int hi = hex_digit(s[1]);
    int lo = hex_digit(s[2]);
    return hi < 0 || lo < 0 || hi + lo == 0 ? -1 : hi * 16 + lo;
}

/* --- lines --- */

static bool has_control(const char *s, size_t len)
{
    bool bad = false;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        bad |= (c < 0x20 && c != '\t') || c == 0x7f;
    }
    return bad;
}

static int fail_long_line(struct http_parser *p)
{
    switch (p->state) {
    case S_FIRST:
        return p->side == HTTP_REQUEST ? fail(p, 414, "request line too long")
                                       : fail(p, 431, "status line too long");
    case S_CHUNK_SIZE:
        return fail(p, 431, "chunk extension too long");
    case S_CHUNK_END:
        return fail(p, 400, "chunk data not followed by CRLF");
    default:
        return fail(p, 431, "header line too long");
    }
}

/*
 * Takes the next line without its CRLF: *s borrowed from the input where the line is whole there,
 * else from p->line. Returns STEP_ON, HTTP_NEED_MORE or HTTP_ERROR.
 */
static int take_line(struct http_parser *p, struct input *in, const char **s, size_t *n)
{
    const char *from = in->data + in->pos;
    size_t avail = in->len - in->pos;
    const char *lf = avail ? memchr(from, '\n', avail) : NULL;
    size_t piece = lf ? (size_t)(lf - from) : avail;
    size_t limit = p->state == S_CHUNK_END ? 0 : LIMIT_HTTP_LINE;

    if (avail)
        p->started = true;
    if (buf_len(&p->line) + piece > limit + 1) /* the CR is in it */
        return fail_long_line(p);
    in->pos += piece + (lf ? 1 : 0);
    if (!lf) {
        /* What can't become a line is refused before its end comes. */
        size_t checked = piece && from[piece - 1] == '\r' ? piece - 1 : piece;
        if (has_control(from, checked))
            return fail(p, 400, "control character in a header line");
        buf_append(&p->line, from, piece);
        return HTTP_NEED_MORE;
    }
    if (buf_len(&p->line) > 0) {
        buf_append(&p->line, from, piece);
        from = buf_data(&p->line);
        piece = buf_len(&p->line);
    }
    if (piece == 0 || from[piece - 1] != '\r')
        return fail(p, 400, "line ends in a bare LF");
    if (has_control(from, piece - 1))
        return fail(p, 400,
                    memchr(from, '\r', piece - 1) ? "bare CR in a header line"
                                                  : "control character in a header line");
    *s = from;
    *n = piece - 1;
    return STEP_ON;
}

/* --- first line --- */

static int parse_version(struct http_parser *p, const char *s, size_t n)
{
    if (n != 8 || memcmp(s, "HTTP/", 5) != 0 || s[5] < '0' || s[5] > '9' || s[6] != '.' ||
        s[7] < '0' || s[7] > '9')
        return fail(p, 400,
                    p->side == HTTP_REQUEST ? "malformed request line" : "malformed status line");
    if (s[5] != '1' || s[7] > '1')
        return fail(p, 505, "only HTTP/1.0 and HTTP/1.1 are understood");
    p->msg.minor = s[7] - '0';
    return STEP_ON;
}

static int parse_target(struct http_parser *p, const char *s, size_t n)
{
    struct buf *text = &p->msg.text;

    for (size_t i = 0; i < n; i++)
        if (s[i] <= 0x20 || s[i] >= 0x7f || s[i] == '#')
            return fail(p, 400, "character not allowed in the request target");
    bool star = n == 1 && s[0] == '*' && strcmp(p->msg.method, "OPTIONS") == 0;
    if (!star && (n == 0 || s[0] != '/'))
        return fail(p, 400, "the request target must be a path");

    const char *mark = memchr(s, '?', n);
    size_t path_len = mark ? (size_t)(mark - s) : n;
    buf_append(text, s, n);
    buf_append_char(text, '\0');
    p->path_at = buf_len(text);
    for (size_t i = 0; i < path_len; i++) {
        if (s[i] != '%') {
            buf_append_char(text, s[i]);
            continue;
        }
        int c = escape(s + i, path_len - i);
        if (c < 0)
            return fail(p, 400, "bad percent escape in the path");
        buf_append_char(text, (char)c);
        i += 2;
    }
    buf_append_char(text, '\0');
    p->query_at = buf_len(text);
    if (mark)
        buf_append(text, mark + 1, n - path_len - 1);
    buf_append_char(text, '\0');
    return STEP_ON;
}

static int parse_request_line(struct http_parser *p, const char *s, size_t n)
{
    const char *sp = memchr(s, ' ', n);
    size_t method_len = sp ? (size_t)(sp - s) : n;

    if (!sp || !is_token(s, method_len))
        return fail(p, 400, "malformed request line");
    const char *target = sp + 1;
    size_t rest = n - method_len - 1;
    sp = memchr(target, ' ', rest);
    if (!sp)
        return fail(p, 400, "malformed request line");
    size_t target_len = (size_t)(sp - target);
    if (parse_version(p, sp + 1, rest - target_len - 1) != STEP_ON)
        return HTTP_ERROR;
    if (method_len >= sizeof(p->msg.method))
        return fail(p, 501, "unknown method");
    memcpy(p->msg.method, s, method_len);
    p->msg.method[method_len] = '\0';
    return parse_target(p, target, target_len);
}

static int parse_status_line(struct http_parser *p, const char *s, size_t n)
{
    if (n < 12 || s[8] != ' ' || (n > 12 && s[12] != ' '))
        return fail(p, 400, "malformed status line");
    if (parse_version(p, s, 8) != STEP_ON)
        return HTTP_ERROR;
    for (int i = 9; i < 12; i++) {
        if (s[i] < '0' || s[i] > '9')
            return fail(p, 400, "malformed status line");
        p->msg.status = p->msg.status * 10 + (s[i] - '0');
    }
    if (p->msg.status < 100 || p->msg.status > 599)
        return fail(p, 400, "status out of range");
    return STEP_ON;
}

static int first_line(struct http_parser *p, const char *s, size_t n)
{
    if (n == 0 && p->side == HTTP_REQUEST && !p->blank_seen) {
        p->blank_seen = true;
        p->started = false;
        return STEP_ON;
    }
    int rc = p->side == HTTP_REQUEST ? parse_request_line(p, s, n) : parse_status_line(p, s, n);
    p->field_at = buf_len(&p->msg.text);
    p->state = rc == STEP_ON ? S_FIELDS : p->state;
    return rc;
}

/* --- fields --- */

/* Counts, checks and splits one line of the header or trailer; it is stored only from the
 * header. */
static int field_line(struct http_parser *p, const char *s, size_t n)
{
    struct buf *text = &p->msg.text;

    p->header_bytes += n + 2;
    if (++p->header_lines > LIMIT_HTTP_HEADERS)
        return fail(p, 431, "too many header fields");
    if (p->header_bytes > LIMIT_HTTP_HEADER_BYTES)
        return fail(p, 431, "header fields too large");
    if (s[0] == ' ' || s[0] == '\t')
        return fail(p, 400, "folded header line");
    const char *colon = memchr(s, ':', n);
    if (!colon || !is_token(s, (size_t)(colon - s)))
        return fail(p, 400, "malformed header field");
    if (p->state == S_TRAILERS)
        return STEP_ON;

    size_t name_len = (size_t)(colon - s);
    char *name = buf_reserve(text, n + 2);
    for (size_t i = 0; i < name_len; i++)
        name[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] | 0x20 : s[i]);
    name[name_len] = '\0';
    buf_added(text, name_len + 1);
    const char *end = s + n;
    for (s = colon + 1; s < end && (*s == ' ' || *s == '\t'); s++)
        ;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    buf_append(text, s, (size_t)(end - s));
    buf_append_char(text, '\0');
    p->msg.field_count++;
    return STEP_ON;
}

/* All text is stored and won't move any more: makes the pointers. */
static void link_fields(struct http_parser *p)
{
    struct http_message *m = &p->msg;
    char *base = m->text.mem ? m->text.mem + m->text.start : NULL;

    if (p->side == HTTP_REQUEST) {
        m->target = base;
        m->path = base + p->path_at;
        m->query = base + p->query_at;
    }
    if (m->field_count > m->field_cap) {
        m->field_cap = m->field_count + 8;
        m->fields = mem_resize(m->fields, m->field_cap, sizeof(*m->fields));
    }
    const char *at = m->field_count ? base + p->field_at : NULL;
    for (size_t i = 0; i < m->field_count; i++) {
        m->fields[i].name = at;
        at += strlen(at) + 1;
        m->fields[i].value = at;
        at += strlen(at) + 1;
    }
}

static void read_connection(struct http_message *m, const char *value)
{
    while (*value) {
        size_t n = strcspn(value, ",");
        size_t len = n;
        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
            len--;
        if (len == 5 && strncasecmp(value, "close", 5) == 0)
            m->keep_alive = false;
        else if (len == 7 && strncasecmp(value, "upgrade", 7) == 0)
            m->upgrade = true;
        value += n;
        value += strspn(value, ", \t");
    }
}

static int read_length(struct http_parser *p, const char *value)
{
    int64_t n = 0;

    if (*value == '\0' || value[strspn(value, "0123456789")] != '\0')
        return fail(p, 400, "Content-Length is not a plain number");
    for (; *value; value++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *value - '0', &n)) {
            if (p->max_body < 0)
                return fail(p, 400, "Content-Length out of range");
            n = INT64_MAX;
            break;
        }
    p->msg.content_length = n;
    return STEP_ON;
}

static bool status_has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

/* Reads the fields that say how the message is framed, all in one place, so that no order of them
 * makes a difference. */
static int check_fields(struct http_parser *p)
{
    struct http_message *m = &p->msg;
    size_t hosts = 0, lengths = 0, codings = 0;
    const char *length = NULL, *coding = NULL;

    m->keep_alive = m->minor == 1;
    for (size_t i = 0; i < m->field_count; i++) {
        const char *name = m->fields[i].name;
        const char *value = m->fields[i].value;
        if (strcmp(name, "host") == 0) {
            hosts++;
        } else if (strcmp(name, "content-length") == 0) {
            length = value;
            lengths++;
        } else if (strcmp(name, "transfer-encoding") == 0) {
            coding = value;
            codings++;
        } else if (strcmp(name, "connection") == 0) {
            read_connection(m, value);
        } else if (strcmp(name, "expect") == 0 && p->side == HTTP_REQUEST && m->minor == 1) {
            m->expect_continue = str_eq_nocase(value, "100-continue");
        }
    }
    if (p->side == HTTP_REQUEST && (hosts > 1 || (hosts == 0 && m->minor == 1)))
        return fail(p, 400, hosts ? "more than one Host field" : "no Host field");
    if (lengths > 1)
        return fail(p, 400, "more than one Content-Length field");
    if (length && coding)
        return fail(p, 400, "both Content-Length and Transfer-Encoding");
    if (coding && m->minor == 0)
        return fail(p, 400, "Transfer-Encoding in HTTP/1.0");
    if (coding && (codings > 1 || !str_eq_nocase(coding, "chunked")))
        return fail(p, 501, "the only Transfer-Encoding understood is chunked");
    m->chunked = coding != NULL;
    return length ? read_length(p, length) : STEP_ON;
}

static int end_of_headers(struct http_parser *p)
{
    link_fields(p);
    if (check_fields(p) != STEP_ON)
        return HTTP_ERROR;
    if (p->max_body >= 0 && p->msg.content_length > p->max_body &&
        !(p->side == HTTP_RESPONSE && status_has_no_body(p->msg.status)))
        return fail(p, 413, "body too large");
    p->state = S_BODY_START;
    return HTTP_HEADERS;
}

/* --- body --- */

bool http_parser_has_body(const struct http_parser *p)
{
    const struct http_message *m = &p->msg;

    if (p->side == HTTP_REQUEST)
        return m->chunked || m->content_length > 0;
    if (p->no_body || status_has_no_body(m->status))
        return false;
    return m->chunked || m->content_length != 0;
}

static int start_body(struct http_parser *p)
{
    if (!http_parser_has_body(p)) {
        p->state = S_COMPLETE;
    } else if (p->msg.chunked) {
        p->state = S_CHUNK_SIZE;
    } else if (p->msg.content_length >= 0) {
        p->left = p->msg.content_length;
        p->state = S_BODY;
    } else {
        p->msg.keep_alive = false;
        p->state = S_UNTIL_CLOSE;
    }
    return STEP_ON;
}

static int chunk_size_line(struct http_parser *p, const char *s, size_t n)
{
    int64_t size = 0;
    size_t digits = 0;

    for (; digits < n && hex_digit(s[digits]) >= 0; digits++)
        if (digits < 15)
            size = size * 16 + hex_digit(s[digits]);
    if (digits == 0 || digits > 15 || (digits < n && s[digits] != ';'))
        return fail(p, 400, "malformed chunk size");
    p->header_bytes += n - digits;
    if (p->header_bytes > LIMIT_HTTP_HEADER_BYTES)
        return fail(p, 431, "chunk extensions too large");
    if (p->max_body >= 0 && size > p->max_body - p->body_seen)
        return fail(p, 413, "body too large");
    p->body_seen += p->max_body >= 0 ? size : 0;
    p->left = size;
    p->state = size ? S_CHUNK_DATA : S_TRAILERS;
    return STEP_ON;
}

static int take_body(struct http_parser *p, struct input *in)
{
    size_t n = in->len - in->pos;

    if (p->state != S_UNTIL_CLOSE) {
        if ((uint64_t)p->left < n)
            n = (size_t)p->left;
        if (p->left == 0) {
            p->state = p->state == S_BODY ? S_COMPLETE : S_CHUNK_END;
            return STEP_ON;
        }
    } else if (p->max_body >= 0 && (int64_t)n > p->max_body - p->body_seen) {
        n = (size_t)(p->max_body - p->body_seen);
        if (n == 0)
            return fail(p, 413, "body too large");
    }
    if (n == 0)
        return HTTP_NEED_MORE;
    p->chunk = in->data + in->pos;
    p->chunk_len = n;
    in->pos += n;
    if (p->state != S_UNTIL_CLOSE)
        p->left -= (int64_t)n;
    else if (p->max_body >= 0)
        p->body_seen += (int64_t)n;
    return HTTP_BODY;
}

/* --- the machine --- */

static int step_line(struct http_parser *p, struct input *in)
{
    const char *s = NULL;
    size_t n = 0;
    int rc = take_line(p, in, &s, &n);

    if (rc != STEP_ON)
        return rc;
    switch (p->state) {
    case S_FIRST:
        rc = first_line(p, s, n);
        break;
    case S_FIELDS:
        rc = n ? field_line(p, s, n) : end_of_headers(p);
        break;
    case S_CHUNK_SIZE:
        rc = chunk_size_line(p, s, n);
        break;
    case S_CHUNK_END:
        p->state = S_CHUNK_SIZE;
        break;
    default: /* S_TRAILERS */
        if (n == 0)
            p->state = S_COMPLETE;
        else
            rc = field_line(p, s, n);
    }
    buf_clear(&p->line);
    return rc;
}

static int step(struct http_parser *p, struct input *in)
{
    switch (p->state) {
    case S_BODY_START:
        return start_body(p);
    case S_BODY:
    case S_CHUNK_DATA:
    case S_UNTIL_CLOSE:
        return take_body(p, in);
    case S_COMPLETE:
        return HTTP_DONE;
    case S_ERROR:
        return HTTP_ERROR;
    default:
        return step_line(p, in);
    }
}

enum http_event http_parser_feed(struct http_parser *p, const char *data, size_t len, size_t *used)
{
    struct input in = { data, len, 0 };
    int rc;

    do
        rc = step(p, &in);
    while (rc == STEP_ON);
    *used = in.pos;
    return (enum http_event)rc;
}

enum http_event http_parser_eof(struct http_parser *p)
{
    size_t used;

    if (p->state == S_FIRST && !p->started)
        return HTTP_NEED_MORE;
    enum http_event ev = http_parser_feed(p, "", 0, &used);
    if (p->state == S_UNTIL_CLOSE) {
        p->state = S_COMPLETE;
        return HTTP_DONE;
    }
    if (ev == HTTP_NEED_MORE)
        return (enum http_event)fail(p, 400, "connection closed in the middle of a message");
    return ev;
}

static void reset_message(struct http_message *m)
{
    struct buf text = m->text;
    struct http_field *fields = m->fields;
    size_t cap = m->field_cap;

    if (text.cap > KEEP_BYTES)
        buf_fini(&text);
    buf_clear(&text);
    *m = (struct http_message){
        .text = text, .fields = fields, .field_cap = cap, .content_length = -1
    };
}

void http_parser_next(struct http_parser *p)
{
    struct buf line = p->line;

    if (line.cap > KEEP_BYTES)
        buf_fini(&line);
    buf_clear(&line);
    reset_message(&p->msg);
    *p = (struct http_parser){
        .side = p->side, .max_body = p->max_body, .msg = p->msg, .line = line, .state = S_FIRST
    };
}

void http_parser_init(struct http_parser *p, enum http_side side, int64_t max_body)
{
    *p = (struct http_parser){ .side = side, .max_body = max_body };
    p->msg.content_length = -1;
}

void http_parser_fini(struct http_parser *p)
{
    buf_fini(&p->msg.text);
    buf_fini(&p->line);
    free(p->msg.fields);
    http_parser_init(p, p->side, p->max_body);
}
