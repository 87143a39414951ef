/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "unit/unit.h"

TEST(empty_buffer_is_an_empty_string)
{
    struct buf b = BUF_INIT;

    CHECK_STR(buf_data(&b), "");
    CHECK_INT(buf_len(&b), 0);
    buf_clear(&b);
    buf_truncate(&b, 0);
    buf_consume(&b, 10);
    buf_append(&b, NULL, 0);
    CHECK_INT(buf_len(&b), 0);
    buf_fini(&b);
    buf_fini(&b);
}

TEST(append_and_format)
{
    struct buf b = BUF_INIT;

    buf_append_str(&b, "one");
    buf_append_char(&b, ' ');
    buf_append(&b, "two", 3);
    buf_printf(&b, " %d", 3);
    CHECK_STR(buf_data(&b), "one two 3");
    CHECK_INT(buf_len(&b), 9);
    /* Longer than any first guess. */
    buf_clear(&b);
    buf_printf(&b, "%*s", 5000, "x");
    CHECK_INT(buf_len(&b), 5000);
    CHECK_INT(buf_data(&b)[4999], 'x');
    CHECK_INT(buf_data(&b)[5000], 0);
    /* Exactly as long as the room there is, and one more or less. */
    for (int len = 55; len < 140; len++) {
        buf_fini(&b);
        buf_printf(&b, "%0*d", len, 7);
        CHECK_INT(buf_len(&b), len);
        CHECK_INT(strlen(buf_data(&b)), len);
    }
    buf_fini(&b);
}

TEST(reserve_and_added)
{
    struct buf b = BUF_INIT;

    for (int i = 0; i < 100; i++) {
        memset(buf_reserve(&b, 1000), 'a' + i % 26, 1000);
        buf_added(&b, 10);
    }
    CHECK_INT(buf_len(&b), 1000);
    CHECK_INT(buf_data(&b)[999], 'a' + 99 % 26);
    CHECK_INT(strlen(buf_data(&b)), 1000);
    buf_fini(&b);
}

/* A queue against a simple model: what goes in comes out in order, whatever the sizes. */
TEST(consume_keeps_order)
{
    struct buf b = BUF_INIT;
    unsigned in = 0, out = 0, seed = 1;

    for (int round = 0; round < 20000; round++) {
        seed = seed * 1103515245u + 12345u;
        unsigned add = (seed >> 16) % 50, take = (seed >> 8) % 50;
        for (unsigned i = 0; i < add; i++)
            buf_append_char(&b, (char)(in++ & 0x7F));
        if (take > buf_len(&b))
            take = (unsigned)buf_len(&b);
        for (unsigned i = 0; i < take; i++)
            CHECK_INT(buf_data(&b)[i], out++ & 0x7F);
        buf_consume(&b, take);
        CHECK_INT(buf_len(&b), in - out);
        CHECK_INT(buf_data(&b)[buf_len(&b)], 0);
    }
    buf_fini(&b);
}

/* A socket buffer that is always drained to a few bytes must not grow without end. */
TEST(consume_gives_room_back)
{
    struct buf b = BUF_INIT;

    buf_append_str(&b, "xyz");
    for (int i = 0; i < 100000; i++) {
        buf_append_str(&b, "0123456789");
        buf_consume(&b, 10);
    }
    CHECK_INT(buf_len(&b), 3);
    CHECK(b.cap <= 1024);
    buf_fini(&b);
}

TEST(clear_gives_large_memory_back)
{
    struct buf b = BUF_INIT;

    buf_reserve(&b, 1000);
    buf_clear(&b);
    CHECK(b.cap >= 1000);
    buf_reserve(&b, 1 << 20);
    buf_clear(&b);
    CHECK(b.cap <= 64 * 1024);
    buf_fini(&b);
}

TEST(truncate_and_take)
{
    struct buf b = BUF_INIT;
    size_t len;

    buf_append_str(&b, "0123456789");
    buf_consume(&b, 2);
    buf_truncate(&b, 100);
    CHECK_STR(buf_data(&b), "23456789");
    buf_truncate(&b, 3);
    CHECK_STR(buf_data(&b), "234");
    char *s = buf_take(&b, &len);
    CHECK_STR(s, "234");
    CHECK_INT(len, 3);
    CHECK_INT(buf_len(&b), 0);
    free(s);
    s = buf_take(&b, NULL);
    CHECK_STR(s, "");
    free(s);
    buf_fini(&b);
}
