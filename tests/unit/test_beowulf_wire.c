/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/beowulf_wire.h"

#include "unit/unit.h"

#include "base/str.h"

#define ALLOCATE "{\"cmd\":\"allocate\",\"app\":\"firefox\"}"
#define REPORT "{\"cmd\":\"report\",\"app\":\"firefox\",\"pid\":12345,\"host\":\"host1.local\"}"

/* What came, a line for each message: "allocate firefox", "report firefox 12345 host1.local",
 * "refused: WHY", "broken: WHY". */
static void note(const struct beowulf_wire *w, enum beowulf_event event, struct buf *b)
{
    const struct beowulf_request *r = &w->request;

    if (event == BEOWULF_REFUSED)
        buf_printf(b, "refused: %s\n", w->err.msg);
    else if (event == BEOWULF_BROKEN)
        buf_printf(b, "broken: %s\n", w->err.msg);
    else if (r->cmd == BEOWULF_ALLOCATE)
        buf_printf(b, "allocate %s\n", r->app);
    else
        buf_printf(b, "report %s %lld %s\n", r->app, (long long)r->pid, r->host ? r->host : "-");
}

/* Feeds a text in pieces of `step` bytes, then half-closes if `end`. */
static void feed_all(const char *text, size_t step, bool end, struct buf *b)
{
    struct beowulf_wire w;
    size_t len = strlen(text);
    enum beowulf_event event = BEOWULF_NEED_MORE;

    beowulf_wire_init(&w);
    for (size_t at = 0; at < len && event != BEOWULF_BROKEN;) {
        size_t n = step < len - at ? step : len - at, used;
        char *piece = mem_dup(text + at, n); /* so that a byte too far is seen */
        event = beowulf_wire_feed(&w, piece, n, &used);
        free(piece);
        at += used;
        if (event == BEOWULF_NEED_MORE) {
            CHECK_INT(used, n);
            continue;
        }
        note(&w, event, b);
        CHECK_INT(beowulf_wire_feed(&w, "x", 1, &used), event); /* until it is answered */
        CHECK_INT(used, 0);
        beowulf_wire_next(&w);
    }
    if (end && (event = beowulf_wire_end(&w)) != BEOWULF_NEED_MORE && event != BEOWULF_BROKEN)
        note(&w, event, b);
    beowulf_wire_fini(&w);
}

static void check_feed(const char *text, bool end, const char *want)
{
    static const size_t steps[] = { SIZE_MAX, 1, 2, 7 };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct buf b = BUF_INIT;
        feed_all(text, steps[i], end, &b);
        CHECK_STR(buf_data(&b), want);
        buf_fini(&b);
    }
}

TEST(requests_as_they_are_written_down)
{
    check_feed(ALLOCATE, false, "allocate firefox\n");
    check_feed(REPORT, false, "report firefox 12345 host1.local\n");
}

TEST(every_way_to_end_a_request)
{
    check_feed(ALLOCATE "\n", false, "allocate firefox\n");
    check_feed(ALLOCATE "\r\n", false, "allocate firefox\n");
    check_feed(ALLOCATE, true, "allocate firefox\n");
    check_feed(ALLOCATE "\n", true, "allocate firefox\n");
    check_feed(" \n\t" ALLOCATE " \n\n", true, "allocate firefox\n");
    check_feed("{\n  \"cmd\": \"allocate\",\n  \"app\": \"firefox\"\n}\n", false,
               "allocate firefox\n");
    check_feed(ALLOCATE REPORT, false, "allocate firefox\nreport firefox 12345 host1.local\n");
    check_feed(ALLOCATE "\n" REPORT "\n", true,
               "allocate firefox\nreport firefox 12345 host1.local\n");
    check_feed("", true, "");
    check_feed("\n\n", true, "");
    check_feed("{\"cmd\":\"allocate\",\"app\":\"fire", false, "");
}

TEST(brackets_and_quotes_within_strings)
{
    check_feed("{\"cmd\":\"allocate\",\"app\":\"a}\\\"]{\"}", false, "allocate a}\"]{\n");
    check_feed("{\"cmd\":\"allocate\",\"app\":\"a\\\\\"}" ALLOCATE, false,
               "allocate a\\\nallocate firefox\n");
    check_feed("{\"x\":[{\"y\":[]}],\"cmd\":\"allocate\",\"app\":\"a\"}", false, "allocate a\n");
}

TEST(fields_are_taken_as_they_come)
{
    check_feed("{\"app\":\"a\",\"version\":3,\"cmd\":\"allocate\",\"host\":\"x\",\"pid\":[]}",
               false, "allocate a\n");
    check_feed("{\"cmd\":\"report\",\"app\":\"a\"}", false, "report a 0 -\n");
    check_feed("{\"cmd\":\"report\",\"app\":\"a\",\"pid\":null,\"host\":\"\"}", false,
               "report a 0 -\n");
    check_feed("{\"cmd\":\"report\",\"app\":\"a\",\"pid\":\"77\",\"host\":\"h\"}", false,
               "report a 77 h\n");
    check_feed("{\"cmd\":\"report\",\"app\":\"a\",\"pid\":77.0,\"host\":\"h\"}", false,
               "report a 77 h\n");
}

TEST(refused_and_then_going_on)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        { "{}", "cmd is missing" },
        { "{\"cmd\":\"status\"}", "unknown cmd 'status'" },
        { "{\"cmd\":\"a\\u001b\"}", "unknown cmd 'a\\e'" },
        { "{\"cmd\":1}", "cmd must be a string, not 1" },
        { "{\"cmd\":\"allocate\"}", "app is missing" },
        { "{\"cmd\":\"allocate\",\"app\":\"\"}", "app is missing" },
        { "{\"cmd\":\"allocate\",\"app\":5}", "app must be a string, not 5" },
        { "{\"cmd\":\"report\",\"app\":\"a\",\"pid\":-1}", NULL },
        { "{\"cmd\":\"report\",\"app\":\"a\",\"pid\":\"x\"}", NULL },
        { "{\"cmd\":\"report\",\"app\":\"a\",\"pid\":4294967296}", NULL },
        { "[]", "a request is a JSON object" },
        { "[" ALLOCATE "]", "a request is a JSON object" },
        { "12\n", "a request is a JSON object" },
        { "\"allocate\"\n", "a request is a JSON object" },
        { "{\"cmd\":}", NULL },
        { "{]", NULL },
        { "allocate firefox\n", NULL },
        { "GET / HTTP/1.1\n", NULL },
        { "}\n", NULL },
        { "\xff\xfe\n", NULL },
        { "{\"a\":\"\xff\"}", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text = BUF_INIT, b = BUF_INIT;
        buf_printf(&text, "%s" ALLOCATE, rows[i].text);
        feed_all(buf_data(&text), 3, true, &b);
        CHECK(str_starts(buf_data(&b), "refused: "));
        CHECK(str_ends(buf_data(&b), "\nallocate firefox\n"));
        buf_truncate(&b, buf_len(&b) - strlen("\nallocate firefox\n"));
        CHECK(!strchr(buf_data(&b), '\n'));
        if (rows[i].why)
            CHECK_STR(buf_data(&b) + strlen("refused: "), rows[i].why);
        buf_fini(&text);
        buf_fini(&b);
    }
    struct buf b = BUF_INIT;
    feed_all("{\"cmd\":\"allocate\"", 99, true, &b); /* half-closed within */
    CHECK(str_starts(buf_data(&b), "refused: "));
    buf_fini(&b);
}

TEST(too_long_or_too_deep)
{
    struct buf text = BUF_INIT, b = BUF_INIT;
    char name[400];

    buf_append_str(&text, "{\"cmd\":\"allocate\",\"app\":\"a\",\"x\":\"");
    while (buf_len(&text) < BEOWULF_MESSAGE_MAX - 2)
        buf_append_char(&text, 'x');
    buf_append_str(&text, "\"}");
    feed_all(buf_data(&text), 4096, false, &b);
    CHECK_STR(buf_data(&b), "allocate a\n");
    buf_clear(&b);
    buf_truncate(&text, BEOWULF_MESSAGE_MAX - 2);
    buf_append_str(&text, "x\"}" ALLOCATE);
    feed_all(buf_data(&text), 4096, true, &b);
    CHECK_STR(buf_data(&b), "broken: the request is longer than 64 KiB\n");
    buf_clear(&b);
    buf_clear(&text);
    for (int i = 0; i < 33; i++)
        buf_append_char(&text, '[');
    feed_all(buf_data(&text), 4096, true, &b);
    CHECK_STR(buf_data(&b), "broken: the request is nested too deeply\n");
    buf_clear(&b);
    buf_clear(&text);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    buf_printf(&text, "{\"cmd\":\"allocate\",\"app\":\"%s\"}", name);
    feed_all(buf_data(&text), 4096, true, &b);
    CHECK_STR(buf_data(&b), "refused: app is longer than 255 bytes\n");
    buf_fini(&text);
    buf_fini(&b);
}

TEST(broken_stays_broken)
{
    struct beowulf_wire w;
    char deep[40];
    size_t used;

    beowulf_wire_init(&w);
    memset(deep, '{', sizeof deep);
    CHECK_INT(beowulf_wire_feed(&w, deep, sizeof deep, &used), BEOWULF_BROKEN);
    beowulf_wire_next(&w);
    CHECK_INT(beowulf_wire_feed(&w, ALLOCATE, strlen(ALLOCATE), &used), BEOWULF_BROKEN);
    CHECK_INT(used, 0);
    CHECK_INT(beowulf_wire_end(&w), BEOWULF_BROKEN);
    beowulf_wire_fini(&w);
}

TEST(answers)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    beowulf_write_allocated(&b, "host1.local", "lowest iowait");
    CHECK_STR(buf_data(&b), "{\"host\":\"host1.local\",\"reason\":\"lowest iowait\"}\n");
    buf_clear(&b);
    beowulf_write_reported(&b);
    CHECK_STR(buf_data(&b), "{\"status\":\"ok\"}\n");
    buf_clear(&b);
    err_set(&err, ERR_UNAVAILABLE, "no host \"a\"\n");
    beowulf_write_error(&b, &err);
    CHECK_STR(buf_data(&b), "{\"error\":\"no host \\\"a\\\"\\\\n\"}\n");
    buf_clear(&b);
    err_hint(&err, "try x");
    beowulf_write_error(&b, &err);
    CHECK_STR(buf_data(&b), "{\"error\":\"no host \\\"a\\\"\\\\n (try x)\"}\n");
    buf_clear(&b);
    struct beowulf_request r = { BEOWULF_REPORT, (char[]){ "firefox" }, (char[]){ "host1.local" },
                                 12345 };
    beowulf_write_request(&b, &r);
    CHECK_STR(buf_data(&b), REPORT "\n");
    buf_clear(&b);
    r.cmd = BEOWULF_ALLOCATE;
    beowulf_write_request(&b, &r);
    CHECK_STR(buf_data(&b), ALLOCATE "\n");
    buf_fini(&b);
}

static void check_reply(const char *text, const char *host, const char *reason, const char *error)
{
    struct beowulf_reply reply;
    struct err err = ERR_INIT;

    CHECK_OK(beowulf_reply_parse(text, strlen(text), &reply, &err), &err);
    CHECK_STR(reply.host, host);
    CHECK_STR(reply.reason, reason);
    CHECK_STR(reply.error, error);
    beowulf_reply_fini(&reply);
}

TEST(replies)
{
    struct beowulf_reply reply;
    struct err err = ERR_INIT;
    static const char *const bad[] = { "", "[]", "{", "{\"host\":1}", "nonsense\n", "{} {}" };

    check_reply("{\"host\":\"host1.local\",\"reason\":\"lowest iowait\"}", "host1.local",
                "lowest iowait", NULL);
    check_reply("{\"host\":\"h\"}\n", "h", NULL, NULL);
    check_reply("{\"error\":\"no\",\"host\":\"h\"}\n", NULL, NULL, "no");
    check_reply("{\"status\":\"ok\"}\n", NULL, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK_INT(beowulf_reply_parse(bad[i], strlen(bad[i]), &reply, &err), -1);
        CHECK(!reply.host && !reply.reason && !reply.error);
    }
}

/* What is cut, is cut between characters, and a reader takes what a writer wrote. */
TEST(long_reasons_are_cut)
{
    struct buf text = BUF_INIT, b = BUF_INIT;
    struct beowulf_reply reply;
    struct err err = ERR_INIT;

    buf_append_char(&text, 'x');
    while (buf_len(&text) < 2 * BEOWULF_REASON_MAX)
        buf_append_str(&text, "\xe2\x82\xac\033");
    beowulf_write_allocated(&b, "h", buf_data(&text));
    CHECK_OK(beowulf_reply_parse(buf_data(&b), buf_len(&b), &reply, &err), &err);
    CHECK(strlen(reply.reason) <= BEOWULF_REASON_MAX);
    CHECK(strlen(reply.reason) > BEOWULF_REASON_MAX - 8);
    CHECK(str_is_utf8(reply.reason, strlen(reply.reason)));
    beowulf_reply_fini(&reply);
    buf_fini(&text);
    buf_fini(&b);
}
