/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/limits.h"
#include "base/str.h"
#include "net/http_parser.h"

/* Everything that happened while a text was parsed, as text: "H" headers, "B(...)" body (pieces
 * joined), "D" done, "E400" error. */
static struct buf story = BUF_INIT;

static void tell(struct http_parser *p, enum http_event ev, bool *in_body)
{
    if (*in_body && ev != HTTP_BODY) {
        buf_append_char(&story, ')');
        *in_body = false;
    }
    switch (ev) {
    case HTTP_HEADERS:
        buf_append_char(&story, 'H');
        break;
    case HTTP_BODY:
        buf_append_str(&story, *in_body ? "" : "B(");
        *in_body = true;
        buf_append(&story, p->chunk, p->chunk_len);
        break;
    case HTTP_DONE:
        buf_append_char(&story, 'D');
        break;
    case HTTP_ERROR:
        buf_printf(&story, "E%d", p->status);
        CHECK(p->reason && *p->reason);
        break;
    default:
        break;
    }
}

/* Parses all messages of the text, fed in pieces of `step` bytes. */
static void parse(struct http_parser *p, const char *text, size_t len, size_t step)
{
    enum http_event ev = HTTP_NEED_MORE;
    bool in_body = false;

    for (size_t pos = 0; pos < len && ev != HTTP_ERROR;) {
        size_t n = len - pos < step ? len - pos : step;
        do {
            size_t used;
            ev = http_parser_feed(p, text + pos, n, &used);
            CHECK(used <= n);
            pos += used;
            n -= used;
            CHECK(ev != HTTP_NEED_MORE || n == 0);
            if (ev != HTTP_NEED_MORE)
                tell(p, ev, &in_body);
            if (ev == HTTP_DONE)
                http_parser_next(p);
        } while (ev != HTTP_NEED_MORE && ev != HTTP_ERROR);
    }
    if (ev != HTTP_ERROR) {
        ev = http_parser_eof(p);
        if (ev != HTTP_NEED_MORE)
            tell(p, ev, &in_body);
    }
}

static void expect_n(enum http_side side, int64_t max_body, const char *text, size_t len,
                     const char *want)
{
    for (size_t step = 1; step <= len; step = step < 9 ? step + 1 : step * 3) {
        struct http_parser p;
        http_parser_init(&p, side, max_body);
        buf_clear(&story);
        parse(&p, text, len, step);
        if (!str_eq(buf_data(&story), want))
            fprintf(stderr, "# (in steps of %zu; %s) %s\n", step, p.reason ? p.reason : "", text);
        CHECK_STR(buf_data(&story), want);
        http_parser_fini(&p);
    }
    buf_fini(&story);
}

static void request(const char *text, const char *want)
{
    expect_n(HTTP_REQUEST, 1000, text, strlen(text), want);
}

static void response(const char *text, const char *want)
{
    expect_n(HTTP_RESPONSE, 1000, text, strlen(text), want);
}

/* Feeds the headers of a request and leaves the parser there. */
static void headers(struct http_parser *p, enum http_side side, const char *text)
{
    size_t used;

    http_parser_init(p, side, 1000);
    enum http_event ev = http_parser_feed(p, text, strlen(text), &used);
    if (ev == HTTP_ERROR)
        unit_fail(__FILE__, __LINE__, "%d %s: %s", p->status, p->reason, text);
    CHECK_INT(ev, HTTP_HEADERS);
}

TEST(simple_requests)
{
    request("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HD");
    request("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "HB(hello)D");
    request("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HD");
    request("GET / HTTP/1.0\r\n\r\n", "HD");
    request("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "HD");
    request("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", "HDHD");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n"
            "Host: x\r\n\r\n",
            "HB(abc)DHD");
    request("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "HD");
    request("GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "HDHD");
    request("", "");
    request("\r\n", "");
}

TEST(message_fields)
{
    struct http_parser p;

    headers(&p, HTTP_REQUEST,
            "PUT /a%20b/c%c3%a9?x=1&y=%2f HTTP/1.1\r\nHOST: localhost:80\r\nX-Empty:\r\n"
            "X-Blank: \t \r\nX-Inner: \t a \t b \t\r\nX-High: \xc3\xa9\r\nX-Inner: second\r\n\r\n");
    CHECK_STR(p.msg.method, "PUT");
    CHECK_STR(p.msg.target, "/a%20b/c%c3%a9?x=1&y=%2f");
    CHECK_STR(p.msg.path, "/a b/c\xc3\xa9");
    CHECK_STR(p.msg.query, "x=1&y=%2f");
    CHECK_INT(p.msg.minor, 1);
    CHECK_INT(p.msg.field_count, 6);
    CHECK_STR(p.msg.fields[0].name, "host");
    CHECK_STR(http_message_field(&p.msg, "host"), "localhost:80");
    CHECK_STR(http_message_field(&p.msg, "x-empty"), "");
    CHECK_STR(http_message_field(&p.msg, "x-blank"), "");
    CHECK_STR(http_message_field(&p.msg, "x-inner"), "a \t b");
    CHECK_STR(http_message_field(&p.msg, "x-high"), "\xc3\xa9");
    CHECK_INT(http_message_field_count(&p.msg, "x-inner"), 2);
    CHECK(!http_message_field(&p.msg, "x-absent"));
    CHECK_INT(p.msg.content_length, -1);
    CHECK(p.msg.keep_alive && !p.msg.upgrade && !p.msg.expect_continue && !p.msg.chunked);
    CHECK(!http_parser_has_body(&p));
    http_parser_fini(&p);

    headers(&p, HTTP_REQUEST, "GET /plain HTTP/1.1\r\nHost:x\r\n\r\n");
    CHECK_STR(p.msg.query, "");
    CHECK_STR(http_message_field(&p.msg, "host"), "x");
    http_parser_fini(&p);
}

TEST(connection_and_expect)
{
    static const struct {
        const char *line;
        bool keep, upgrade, expect;
    } rows[] = {
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, false, false },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false, false, false },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive , CLOSE\r\n\r\n", false, false,
          false },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n", true, false, false },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\r\n", true, true,
          false },
        { "GET / HTTP/1.1\r\nHost: x\r\nConnection: a\r\nConnection: ,,close,\r\n\r\n", false,
          false, false },
        { "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, false, false },
        { "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", true,
          false, true },
        { "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", false, false,
          false },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_parser p;
        headers(&p, HTTP_REQUEST, rows[i].line);
        CHECK_INT(p.msg.keep_alive, rows[i].keep);
        CHECK_INT(p.msg.upgrade, rows[i].upgrade);
        CHECK_INT(p.msg.expect_continue, rows[i].expect);
        http_parser_fini(&p);
    }
}

TEST(chunked_bodies)
{
#define POST_CHUNKED "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    request(POST_CHUNKED "5\r\nhello\r\n0\r\n\r\n", "HB(hello)D");
    request(POST_CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "HB(hello world)D");
    request(POST_CHUNKED "0\r\n\r\n", "HD");
    request(POST_CHUNKED "00000a;name=\"v;\"\r\n0123456789\r\n000\r\nX-Trailer: 1\r\n\r\n",
            "HB(0123456789)D");
    request(POST_CHUNKED "A\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "HB(0123456789)DHD");
    /* Trailers are dropped, not merged. */
    request(POST_CHUNKED "0\r\nContent-Length: 7\r\n\r\n", "HD");
    request(POST_CHUNKED "\r\n", "HE400");
    request(POST_CHUNKED "x\r\n", "HE400");
    request(POST_CHUNKED "-5\r\nhello\r\n", "HE400");
    request(POST_CHUNKED "+5\r\nhello\r\n", "HE400");
    request(POST_CHUNKED "0x5\r\nhello\r\n", "HE400");
    request(POST_CHUNKED " 5\r\nhello\r\n", "HE400");
    request(POST_CHUNKED "5 \r\nhello\r\n", "HE400");
    request(POST_CHUNKED "5 ;a\r\nhello\r\n", "HE400");
    request(POST_CHUNKED "0000000000000005\r\nhello\r\n", "HE400"); /* 16 digits */
    request(POST_CHUNKED "FFFFFFFFFFFFFFFFF\r\n", "HE400");
    request(POST_CHUNKED "FFFFFFFFFFFFFFF\r\n", "HE413");
    request(POST_CHUNKED "5\nhello\r\n", "HE400");
    request(POST_CHUNKED "5\r\nhelloX\r\n", "HB(hello)E400");
    request(POST_CHUNKED "5\r\nhello\n0\r\n\r\n", "HB(hello)E400");
    request(POST_CHUNKED "5\r\nhello\r\r\n", "HB(hello)E400");
    request(POST_CHUNKED "5;a\rb\r\nhello", "HE400");
    request(POST_CHUNKED "0\r\n folded: x\r\n\r\n", "HE400");
    request(POST_CHUNKED "0\r\nno colon\r\n\r\n", "HE400");
    request(POST_CHUNKED "3e9\r\n", "HE413"); /* 1001 */
    request(POST_CHUNKED "5\r\nhe", "HB(he)E400");
    request(POST_CHUNKED "5\r\nhello\r\n", "HB(hello)E400");
}

TEST(smuggling_is_refused)
{
    /* Content-Length and Transfer-Encoding */
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
            "0\r\n\r\nG",
            "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n"
            "0\r\n\r\nG",
            "E400");
    /* two lengths, equal or not, in one field or two */
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", "E400");
    static const char *const lengths[] = { "",   "+5",  "-5",    "5 5", "0x5", "5;",
                                           "5a", "5.0", "\"5\"", "5,",  ",5",  "five" };
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char *text =
            mem_printf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\nhello", lengths[i]);
        request(text, "E400");
        free(text);
    }
    /* codings that another parser may take for chunked */
    static const char *const codings[] = { "",
                                           "identity",
                                           "chunked, identity",
                                           "xchunked",
                                           "chunked;q=1",
                                           "gzip, chunked",
                                           "\"chunked\"",
                                           "chunked, chunked",
                                           "chunk" };
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        char *text = mem_printf(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\n", codings[i]);
        request(text, "E501");
        free(text);
    }
    request("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "E501");
    request("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "transfer-encoding: identity\r\n\r\n0\r\n\r\n",
            "E501");
    request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", "HD");
    /* names that another parser may take for these */
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\n Content-Length: 5\r\n\r\nhello", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nX: y\r\n\tContent-Length: 5\r\n\r\nhello", "E400");
    request("POST / HTTP/1.1\r\n Host: x\r\n\r\n", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\n: 5\r\n\r\n", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent Length: 5\r\n\r\n", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length\r\n\r\n", "E400");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-L\xc3\xa9ngth: 5\r\n\r\n", "E400");
    /* line ends */
    request("GET / HTTP/1.1\nHost: x\n\n", "E400");
    request("GET / HTTP/1.1\r\nHost: x\n\r\n", "E400");
    request("GET / HTTP/1.1\r\nHost: x\r\n\n", "E400");
    request("GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", "E400");
    request("GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", "E400");
    request("GET / HTTP/1.1\rHost: x\r\n\r\n", "E400");
    request("\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "E400");
    request("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "E400");
    expect_n(HTTP_REQUEST, 1000, "GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n", 29, "E400");
    request("GET / HTTP/1.1\r\nHost: x\x7f\r\n\r\n", "E400");
    request("GET / HTTP/1.1\r\nHost: x\x1b[2J\r\n\r\n", "E400");
    /* Host */
    request("GET / HTTP/1.1\r\n\r\n", "E400");
    request("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "E400");
    request("GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", "E400");
}

TEST(malformed_request_lines)
{
    static const char *const lines[] = {
        "GET",
        "GET ",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET x HTTP/1.1",
        "GET http://x/ HTTP/1.1",
        "CONNECT x:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\xc3\xa9 HTTP/1.1",
        "GET /#f HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "GET /% HTTP/1.1",
        "GET /%4 HTTP/1.1",
        "GET /%4?1 HTTP/1.1",
        "GET /%zz HTTP/1.1",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/x.1",
        "GET / HTTP/1.10",
        "GET / HTTPS/1.1",
        "\x16\x03\x01\x02",
    };
    static const char *const versions[] = { "HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.1" };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char *text = mem_printf("%s\r\nHost: x\r\n\r\n", lines[i]);
        request(text, "E400");
        free(text);
    }
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        char *text = mem_printf("GET / %s\r\nHost: x\r\n\r\n", versions[i]);
        request(text, "E505");
        free(text);
    }
    request("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "E505");
    request("AVERYLONGMETHODX / HTTP/1.1\r\nHost: x\r\n\r\n", "E501");
    request("FIFTEENLETTERSX / HTTP/1.1\r\nHost: x\r\n\r\n", "HD");
    request("get / HTTP/1.1\r\nHost: x\r\n\r\n",
            "HD"); /* a method of its own, for others to refuse */
    request("GET / HTTP/1.1\r\nHos", "E400");
    request("G", "E400");
}

/* A message of `before`, `n` times `c`, and `after`. */
static void padded(const char *before, char c, size_t n, const char *after, const char *want)
{
    struct buf b = BUF_INIT;

    buf_append_str(&b, before);
    memset(buf_reserve(&b, n), c, n);
    buf_added(&b, n);
    buf_append_str(&b, after);
    expect_n(HTTP_REQUEST, 1000, buf_data(&b), buf_len(&b), want);
    buf_fini(&b);
}

TEST(limits_of_lines_and_fields)
{
    /* "GET /" + n + " HTTP/1.1" */
    padded("GET /", 'a', LIMIT_HTTP_LINE - 14, " HTTP/1.1\r\nHost: x\r\n\r\n", "HD");
    padded("GET /", 'a', LIMIT_HTTP_LINE - 13, " HTTP/1.1\r\nHost: x\r\n\r\n", "E414");
    padded("GET /", 'a', 10 * LIMIT_HTTP_LINE, "", "E414");
    padded("GET / HTTP/1.1\r\nHost: x\r\nX: ", 'a', LIMIT_HTTP_LINE - 3, "\r\n\r\n", "HD");
    padded("GET / HTTP/1.1\r\nHost: x\r\nX: ", 'a', LIMIT_HTTP_LINE - 2, "\r\n\r\n", "E431");
    padded("GET / HTTP/1.1\r\nHost: x\r\nX: ", 'a', 10 * LIMIT_HTTP_LINE, "", "E431");
    padded(POST_CHUNKED "1;", 'a', 10 * LIMIT_HTTP_LINE, "", "HE431");

    struct buf b = BUF_INIT;
    for (int extra = 0; extra < 2; extra++) {
        buf_clear(&b);
        buf_append_str(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
        for (int i = 1; i < LIMIT_HTTP_HEADERS + extra; i++)
            buf_printf(&b, "X-%d: y\r\n", i);
        buf_append_str(&b, "\r\n");
        request(buf_data(&b), extra ? "E431" : "HD");
    }
    /* few lines, many bytes: 5 x 8000 > 32768 */
    buf_clear(&b);
    buf_append_str(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 5; i++)
        buf_printf(&b, "X-%d: %08000d\r\n", i, 0);
    buf_append_str(&b, "\r\n");
    request(buf_data(&b), "E431");
    /* a flood of trailers, and of chunk extensions */
    buf_clear(&b);
    buf_append_str(&b, POST_CHUNKED "0\r\n");
    for (int i = 0; i < 100; i++)
        buf_append_str(&b, "T: y\r\n");
    request(buf_data(&b), "HE431");
    buf_clear(&b);
    buf_append_str(&b, POST_CHUNKED);
    for (int i = 0; i < 500; i++)
        buf_printf(&b, "1;%0100d\r\n.\r\n", 0);
    struct http_parser p;
    http_parser_init(&p, HTTP_REQUEST, 1000);
    buf_clear(&story);
    parse(&p, buf_data(&b), buf_len(&b), SIZE_MAX);
    CHECK(str_ends(buf_data(&story), "E431"));
    http_parser_fini(&p);
    buf_fini(&story);
    buf_fini(&b);
}

TEST(limits_of_the_body)
{
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", "E413");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0000000000000000000000005\r\n\r\nhello",
            "HB(hello)D");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n", "E413");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808\r\n\r\n", "E413");
    request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "E413");
    struct http_parser p;
    struct buf b = BUF_INIT;
    size_t used;
    buf_printf(&b, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n%01000d", 0);
    http_parser_init(&p, HTTP_REQUEST, 1000);
    CHECK_INT(http_parser_feed(&p, buf_data(&b), buf_len(&b), &used), HTTP_HEADERS);
    CHECK_INT(http_parser_feed(&p, buf_data(&b) + used, buf_len(&b) - used, &used), HTTP_BODY);
    CHECK_INT(p.chunk_len, 1000);
    CHECK_INT(http_parser_feed(&p, "", 0, &used), HTTP_DONE);
    http_parser_fini(&p);
    buf_fini(&b);
}

TEST(responses)
{
    response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HB(hi)D");
    response("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "HD");
    response("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "HD");
    response("HTTP/1.0 200 Fine\r\n\r\nuntil the end", "HB(until the end)D");
    response("HTTP/1.1 200 OK\r\n\r\n", "HD");
    response(
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "HDHD");
    response(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nhi\r\n0\r\n\r\n",
        "HDHB(hi)D");
    response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "HB(hi)E400");
    response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "HB(hi)E400");
    response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "E400");
    response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
             "E400");
    response("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", "E413");
    response("\r\nHTTP/1.1 200 OK\r\n\r\n", "E400");
    response("HTTP/1.1 20 OK\r\n\r\n", "E400");
    response("HTTP/1.1 2000 OK\r\n\r\n", "E400");
    response("HTTP/1.1 099 OK\r\n\r\n", "E400");
    response("HTTP/1.1 600 OK\r\n\r\n", "E400");
    response("HTTP/1.1  200 OK\r\n\r\n", "E400");
    response("HTTP/2.0 200 OK\r\n\r\n", "E505");
    response("SSH-2.0-OpenSSH_9.2\r\n", "E400");
    response("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "E400");
    response("", "");

    struct http_parser p;
    size_t used;
    /* The answer to HEAD has the length, and no body. */
    headers(&p, HTTP_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    CHECK_INT(p.msg.status, 200);
    CHECK(http_parser_has_body(&p));
    p.no_body = true;
    CHECK(!http_parser_has_body(&p));
    CHECK_INT(http_parser_feed(&p, "", 0, &used), HTTP_DONE);
    CHECK(p.msg.keep_alive);
    http_parser_fini(&p);
    /* A body that ends with the connection ends the connection. */
    headers(&p, HTTP_RESPONSE, "HTTP/1.1 200 OK\r\n\r\n");
    CHECK_INT(http_parser_feed(&p, "x", 1, &used), HTTP_BODY);
    CHECK(!p.msg.keep_alive);
    CHECK_INT(http_parser_eof(&p), HTTP_DONE);
    http_parser_fini(&p);
}

TEST(no_limit_on_the_body_of_a_stream)
{
    struct http_parser p;
    char data[4096] = "";
    size_t used;

    http_parser_init(&p, HTTP_RESPONSE, -1);
    const char *head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF\r\n";
    CHECK_INT(http_parser_feed(&p, head, strlen(head), &used), HTTP_HEADERS);
    CHECK_INT(http_parser_feed(&p, head + used, strlen(head) - used, &used), HTTP_NEED_MORE);
    for (int i = 0; i < 10000; i++) {
        CHECK_INT(http_parser_feed(&p, data, sizeof(data), &used), HTTP_BODY);
        CHECK_INT(p.chunk_len, sizeof(data));
    }
    http_parser_fini(&p);
    http_parser_init(&p, HTTP_RESPONSE, -1);
    head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n";
    CHECK_INT(http_parser_feed(&p, head, strlen(head), &used), HTTP_ERROR);
    CHECK_INT(p.status, 400);
    http_parser_fini(&p);
}

TEST(an_error_and_an_end_stay)
{
    struct http_parser p;
    size_t used = 7;

    http_parser_init(&p, HTTP_REQUEST, 10);
    CHECK_INT(http_parser_feed(&p, "\n", 1, &used), HTTP_ERROR);
    CHECK_INT(http_parser_feed(&p, "GET / HTTP/1.1\r\n", 16, &used), HTTP_ERROR);
    CHECK_INT(used, 0);
    CHECK_INT(http_parser_eof(&p), HTTP_ERROR);
    http_parser_next(&p);
    const char *text = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    CHECK_INT(http_parser_feed(&p, text, strlen(text), &used), HTTP_HEADERS);
    CHECK(p.started);
    CHECK_INT(http_parser_feed(&p, "more", 4, &used), HTTP_DONE);
    CHECK_INT(http_parser_feed(&p, "more", 4, &used), HTTP_DONE);
    CHECK_INT(used, 0);
    http_parser_next(&p);
    CHECK(!p.started);
    http_parser_fini(&p);
}

TEST(an_idle_parser_keeps_little)
{
    struct http_parser p;
    struct buf b = BUF_INIT;
    size_t used;

    http_parser_init(&p, HTTP_REQUEST, 10);
    buf_printf(&b, "GET /%08000d HTTP/1.1\r\nHost: x\r\nX: %08000d\r\nY: %08000d\r\n\r\n", 0, 0, 0);
    for (size_t i = 0; i < buf_len(&b) - 1; i++)
        CHECK_INT(http_parser_feed(&p, buf_data(&b) + i, 1, &used), HTTP_NEED_MORE);
    CHECK_INT(http_parser_feed(&p, "\n", 1, &used), HTTP_HEADERS);
    CHECK_INT(http_parser_feed(&p, "", 0, &used), HTTP_DONE);
    CHECK(p.msg.text.cap > 20000);
    http_parser_next(&p);
    CHECK(p.msg.text.cap + p.line.cap < 5000);
    http_parser_fini(&p);
    buf_fini(&b);
}

TEST(queries)
{
    static const struct {
        const char *query, *key, *want;
    } rows[] = {
        { "", "a", NULL },
        { "a=1", "a", "1" },
        { "a=1&b=2", "b", "2" },
        { "a=1&a=2", "a", "1" },
        { "a", "a", "" },
        { "a=", "a", "" },
        { "ab=1", "a", NULL },
        { "a=b=c", "a", "b=c" },
        { "a=x+y%20z", "a", "x y z" },
        { "%61=1", "a", "1" },
        { "a=%2", "a", "%2" },
        { "a=%zz%00", "a", "%zz%00" },
        { "&&a=1&", "a", "1" },
        { "a=%C3%a9", "a", "\xc3\xa9" },
        { "=1", "", "1" },
        { "x=1", "", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *got = http_query_get(rows[i].query, rows[i].key);
        CHECK_STR(got, rows[i].want);
        free(got);
    }
}

TEST(encoding_round_trip)
{
    struct buf b = BUF_INIT;
    char all[256];

    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = '\0';
    buf_append_str(&b, "k=");
    http_append_encoded(&b, all);
    char *back = http_query_get(buf_data(&b), "k");
    CHECK_STR(back, all);
    free(back);
    buf_clear(&b);
    http_append_encoded(&b, "a b/\xc3\xa9~-._");
    CHECK_STR(buf_data(&b), "a%20b%2F%C3%A9~-._");
    buf_fini(&b);
}

TEST(status_texts)
{
    CHECK_STR(http_status_text(200), "OK");
    CHECK_STR(http_status_text(422), "Unprocessable Content");
    CHECK_STR(http_status_text(299), "Unknown");
    CHECK_STR(http_status_text(-1), "Unknown");
}
