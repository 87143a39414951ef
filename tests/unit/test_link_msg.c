/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "node/link_msg.h"

#include <math.h>

/* Through text and back; the text is the same again. */
static struct link_msg there_and_back(const struct link_msg *m)
{
    struct buf a = BUF_INIT, b = BUF_INIT;
    struct err err = ERR_INIT;
    struct link_msg got;

    CHECK_OK(link_msg_encode(m, &a, &err), &err);
    CHECK(!memchr(buf_data(&a), '\n', buf_len(&a)));
    CHECK_OK(link_msg_decode(buf_data(&a), buf_len(&a), &got, &err), &err);
    CHECK_INT(got.type, m->type);
    CHECK_OK(link_msg_encode(&got, &b, &err), &err);
    CHECK_STR(buf_data(&b), buf_data(&a));
    buf_fini(&a);
    buf_fini(&b);
    return got;
}

static void check_text(const struct link_msg *m, const char *want)
{
    struct buf b = BUF_INIT;

    CHECK(link_msg_encode(m, &b, NULL) == 0);
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
}

static const struct attempt_key key = { ATTEMPT_JOB_MAX, ATTEMPT_NUMBER_MAX, LINK_FENCE_MAX };

TEST(the_text_is_as_documented)
{
    struct link_msg m = { .type = LINK_KILL, .key = { 17, 2, 0 }, .grace_ns = 5 };

    check_text(&m, "{\"type\":\"kill\",\"job\":17,\"attempt\":2,\"fence\":0,\"grace_ns\":5}");
    m = (struct link_msg){ .type = LINK_DRAIN };
    check_text(&m, "{\"type\":\"drain\"}");
    m = (struct link_msg){ .type = LINK_DATA, .id = 3, .data = "abc\n", .data_len = 4, .size = 4 };
    check_text(&m, "{\"type\":\"data\",\"id\":3,\"offset\":0,\"size\":4,\"eof\":false,"
                   "\"data\":\"YWJjCg==\"}");
    /* its version stands first */
    m = (struct link_msg){ .type = LINK_HELLO, .v = 1, .name = "a", .threads = 1 };
    check_text(&m, "{\"type\":\"hello\",\"v\":1,\"name\":\"a\",\"threads\":1,"
                   "\"memory_total_bytes\":0}");
}

TEST(every_type_has_a_name_and_comes_back)
{
    const char *argv[] = { "true", NULL }, *env[] = { NULL };

    for (int t = 0; t < LINK_TYPE_COUNT; t++) {
        struct link_msg m = { .type = (enum link_type)t,
                              .v = 1,
                              .id = 1,
                              .key = key,
                              .name = "n",
                              .threads = 1,
                              .head = "0123456789abcdef",
                              .run = { .argv = argv, .env = env, .workdir = "/" },
                              .message = "m",
                              .signo = 1 };
        struct link_msg got = there_and_back(&m);
        link_msg_fini(&got);
        for (int u = 0; u < t; u++)
            CHECK(!str_eq(link_type_name((enum link_type)t), link_type_name((enum link_type)u)));
    }
}

TEST(orders_come_back_whole)
{
    const char *argv[] = { "{script}", "", "a \"b\"\n\x01\t\\", "wört", NULL };
    const char *env[] = { "A=1", "B=", NULL };
    struct link_msg got, m = { .type = LINK_RUN, .key = key };

    m.run = (struct node_run){ .after = { 5, 1, 3 },
                               .argv = argv,
                               .env = env,
                               .workdir = "/home",
                               .stderr_path = "/e",
                               .append = true,
                               .script = "#!/bin/sh\n",
                               .timeout_ns = INT64_MAX,
                               .grace_ns = 1,
                               .memory_bytes = INT64_C(1) << 62 };
    m.inherit_env = true;
    m.head_home = "/home/anna";
    got = there_and_back(&m);
    CHECK(got.run.key.job == key.job && got.run.key.number == key.number);
    CHECK(got.run.key.fence == LINK_FENCE_MAX && got.run.after.job == 5 && got.run.append);
    for (int i = 0; i < 4; i++)
        CHECK_STR(got.run.argv[i], argv[i]);
    CHECK(!got.run.argv[4] && !got.run.env[2] && !got.run.stdout_path);
    CHECK_STR(got.run.env[1], "B=");
    CHECK_STR(got.run.stderr_path, "/e");
    CHECK_STR(got.run.script, "#!/bin/sh\n");
    CHECK(got.run.timeout_ns == INT64_MAX && got.run.grace_ns == 1);
    CHECK_INT(got.run.memory_bytes, INT64_C(1) << 62);
    CHECK(got.inherit_env && !got.workdir_fallback);
    CHECK_STR(got.head_home, "/home/anna");
    link_msg_fini(&got);
    m.workdir_fallback = true;
    m.head_home = NULL;
    got = there_and_back(&m);
    CHECK(got.workdir_fallback && !got.head_home);
    link_msg_fini(&got);
}

TEST(ends_come_back_whole)
{
    struct link_msg got, m = { .type = LINK_ENDED, .key = key };

    m.end = (struct attempt_end){ .outcome = ATTEMPT_OOM,
                                  .code = -1,
                                  .signal = 9,
                                  .started_ns = 1700000000123456789,
                                  .finished_ns = 1700000000123456790,
                                  .duration_ns = 1,
                                  .user_ns = 2,
                                  .system_ns = 3,
                                  .max_rss = 4,
                                  .message = "ö" };
    got = there_and_back(&m);
    m.end.key = m.key;
    CHECK(got.end.key.job == key.job && got.end.key.number == key.number);
    CHECK(got.end.outcome == ATTEMPT_OOM && got.end.code == -1 && got.end.signal == 9);
    CHECK_INT(got.end.started_ns, m.end.started_ns);
    CHECK_INT(got.end.finished_ns, m.end.finished_ns);
    CHECK(got.end.duration_ns == 1 && got.end.user_ns == 2 && got.end.system_ns == 3);
    CHECK_INT(got.end.max_rss, 4);
    CHECK_STR(got.end.message, "ö");
    link_msg_fini(&got);
}

/* What isn't valid text, and full of it, still makes a message that is read. */
TEST(odd_strings_are_made_fit)
{
    struct link_msg got, m = { .type = LINK_ENDED, .key = key };
    char *big = mem_alloc(3 * LINK_TEXT_MAX);

    memset(m.end.message, 0xff, sizeof m.end.message - 1);
    got = there_and_back(&m);
    CHECK(strlen(got.end.message) > 200);
    link_msg_fini(&got);
    for (size_t i = 0; i + 1 < 3 * LINK_TEXT_MAX; i++)
        big[i] = "ä"[i % 2];
    big[3 * LINK_TEXT_MAX - 2] = '\0';
    m = (struct link_msg){ .type = LINK_ERROR, .message = big + 1 };
    got = there_and_back(&m);
    link_msg_fini(&got);
    m.message = big;
    got = there_and_back(&m);
    CHECK_INT(strlen(got.message), LINK_TEXT_MAX);
    link_msg_fini(&got);
    free(big);
}

TEST(stamps_come_back)
{
    struct link_msg got, m = { .type = LINK_PONG, .id = 5, .stamp = INT64_MAX };

    got = there_and_back(&m);
    CHECK_INT(got.stamp, INT64_MAX);
    link_msg_fini(&got);
    m = (struct link_msg){ .type = LINK_PING, .stamp = 6 };
    got = there_and_back(&m);
    CHECK_INT(got.stamp, 6);
    link_msg_fini(&got);
    CHECK(link_msg_decode("{\"type\":\"ping\"}", 15, &m, NULL) == 0);
    CHECK(m.stamp == 0 && m.id == 0);
    link_msg_fini(&m);
}

TEST(samples_leave_out_what_is_not_known)
{
    const char *users[] = { "anna", NULL };
    struct link_use use = { { 4, 1, 0 }, 12, -1 };
    const signed char cores[] = { 0, 100, -1, 55 };
    struct link_msg got, m = { .type = LINK_SAMPLE };

    m.sample = (struct link_sample){ .cpu_percent = 12.25,
                                     .iowait_percent = -1,
                                     .load = { 0.5, -1, 2 },
                                     .uptime_s = (double)NAN,
                                     .memory_total_bytes = 5,
                                     .swap_total_bytes = -1,
                                     .disk_free_bytes = 9,
                                     .disk_total_bytes = -1,
                                     .cores = cores,
                                     .core_count = 4,
                                     .users = users,
                                     .uses = &use,
                                     .use_count = 1 };
    got = there_and_back(&m);
    CHECK(got.sample.cpu_percent > 12.2 && got.sample.cpu_percent < 12.3);
    CHECK(got.sample.iowait_percent < 0 && got.sample.uptime_s < 0);
    CHECK(got.sample.load[0] > 0.4 && got.sample.load[1] < 0 && got.sample.load[2] < 0);
    CHECK(got.sample.memory_total_bytes == 5 && got.sample.swap_total_bytes == -1);
    CHECK(got.sample.disk_free_bytes == 9 && got.sample.disk_total_bytes == -1);
    CHECK(got.sample.core_count == 4 && memcmp(got.sample.cores, cores, 4) == 0);
    CHECK_STR(got.sample.users[0], "anna");
    CHECK(!got.sample.users[1] && got.sample.use_count == 1);
    CHECK(got.sample.uses[0].cpu_ns == 12 && got.sample.uses[0].memory_bytes == -1);
    link_msg_fini(&got);
}

TEST(the_most_attempts_fit_into_a_message)
{
    struct attempt_key *keys = mem_alloc_array(LINK_ATTEMPTS_MAX, sizeof *keys);
    struct link_msg got, m = { .type = LINK_WELCOME,
                               .v = 1,
                               .head = "0123456789abcdef",
                               .key = { .fence = 1 },
                               .attempts = keys,
                               .attempt_count = LINK_ATTEMPTS_MAX };

    for (size_t i = 0; i < LINK_ATTEMPTS_MAX; i++)
        keys[i] = key;
    got = there_and_back(&m);
    CHECK_INT(got.attempt_count, LINK_ATTEMPTS_MAX);
    CHECK(got.attempts[LINK_ATTEMPTS_MAX - 1].job == key.job);
    link_msg_fini(&got);
    free(keys);
}

TEST(the_most_data_fits_into_a_message)
{
    char *data = mem_alloc(LINK_DATA_MAX + 1);
    struct link_msg got, m = { .type = LINK_DATA, .id = 1, .data = data };

    for (size_t i = 0; i < LINK_DATA_MAX; i++)
        data[i] = (char)(i * 7);
    for (m.data_len = 0; m.data_len < 5; m.data_len++) {
        got = there_and_back(&m);
        CHECK(got.data_len == m.data_len && memcmp(got.data, data, m.data_len) == 0);
        link_msg_fini(&got);
    }
    m.data_len = LINK_DATA_MAX;
    got = there_and_back(&m);
    CHECK(got.data_len == LINK_DATA_MAX && memcmp(got.data, data, LINK_DATA_MAX) == 0);
    link_msg_fini(&got);
    free(data);
}

TEST(too_large_is_not_written)
{
    char *big = mem_alloc(LINK_LINE_MAX);
    const char *argv[] = { big, NULL }, *env[] = { NULL };
    struct link_msg m = { .type = LINK_RUN, .key = key };
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    memset(big, 'x', LINK_LINE_MAX - 1);
    m.run = (struct node_run){ .argv = argv, .env = env, .workdir = "/" };
    buf_append_str(&b, "as before");
    CHECK(link_msg_encode(&m, &b, &err) == -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    CHECK_STR(buf_data(&b), "as before");
    buf_fini(&b);
    free(big);
}

TEST(bad_messages_are_refused)
{
    static const struct {
        const char *text, *word; /* of the message */
    } bad[] = {
        { "", "JSON" },
        { "{", "JSON" },
        { "{} {}", "JSON" },
        { "[]", "object" },
        { "{}", "no type" },
        { "{\"type\":1}", "string" },
        { "{\"type\":\"dance\\n\"}", "unknown type \"dance\\n\"" },
        { "{\"type\":\"kill\"}", "job" },
        { "{\"type\":\"kill\",\"job\":1}", "attempt is missing" },
        { "{\"type\":\"kill\",\"job\":1,\"attempt\":65536}", "attempt" },
        { "{\"type\":\"kill\",\"job\":1.5,\"attempt\":1}", "job" },
        { "{\"type\":\"kill\",\"job\":\"1\",\"attempt\":1}", "job" },
        { "{\"type\":\"kill\",\"job\":1,\"attempt\":1,\"grace_ns\":-1}", "grace_ns" },
        { "{\"type\":\"kill\",\"job\":1,\"attempt\":1,\"fence\":9223372036854775808}", "fence" },
        { "{\"type\":\"signal\",\"job\":1,\"attempt\":1,\"signo\":65}", "signo" },
        { "{\"type\":\"welcome\",\"v\":1,\"fence\":1}", "head is missing" },
        { "{\"type\":\"welcome\",\"v\":1,\"fence\":1,\"head\":\"0123\"}", "16" },
        { "{\"type\":\"welcome\",\"v\":1,\"fence\":1,\"head\":\"../../../../../etc\"}", "hexa" },
        { "{\"type\":\"welcome\",\"v\":1,\"fence\":0,\"head\":\"0123456789abcdef\"}", "fence" },
        { "{\"type\":\"welcome\",\"v\":1,\"fence\":1,\"head\":\"0123456789abcdef\","
          "\"attempts\":[{\"job\":1}]}",
          "attempts" },
        { "{\"type\":\"welcome\",\"v\":1,\"fence\":1,\"head\":\"0123456789abcdef\","
          "\"attempts\":[1]}",
          "attempts" },
        { "{\"type\":\"run\",\"job\":1,\"attempt\":1,\"fence\":1,\"argv\":[],\"env\":[],"
          "\"workdir\":\"/\"}",
          "argv" },
        { "{\"type\":\"run\",\"job\":1,\"attempt\":1,\"fence\":1,\"argv\":[\"a\",null],"
          "\"env\":[],\"workdir\":\"/\"}",
          "argv" },
        { "{\"type\":\"run\",\"job\":1,\"attempt\":1,\"fence\":1,\"argv\":[\"a\"],\"env\":[],"
          "\"workdir\":\"/\",\"after\":{\"job\":1}}",
          "after" },
        { "{\"type\":\"run\",\"job\":1,\"attempt\":1,\"fence\":1,\"argv\":[\"a\\u0000\"],"
          "\"env\":[],\"workdir\":\"/\"}",
          "NUL" },
        { "{\"type\":\"data\",\"id\":1,\"data\":\"abc\"}", "base64" },
        { "{\"type\":\"data\",\"id\":1,\"data\":\"ab=c\"}", "base64" },
        { "{\"type\":\"read\",\"id\":1,\"job\":1,\"attempt\":1,\"stream\":\"x\"}", "stdout" },
        { "{\"type\":\"ping\",\"stamp\":-1}", "stamp" },
        { "{\"type\":\"run\",\"job\":1,\"attempt\":1,\"fence\":1,\"argv\":[\"a\"],"
          "\"env\":[],\"workdir\":\"/\",\"inherit_env\":1}",
          "inherit_env" },
        { "{\"type\":\"run\",\"job\":1,\"attempt\":1,\"fence\":1,\"argv\":[\"a\"],"
          "\"env\":[],\"workdir\":\"/\",\"head_home\":\"\"}",
          "head_home" },
        { "{\"type\":\"read\",\"id\":0,\"job\":1,\"attempt\":1}", "id" },
        { "{\"type\":\"sample\",\"load\":[1,2,3,4]}", "load" },
        { "{\"type\":\"sample\",\"load\":[1,\"x\"]}", "load" },
        { "{\"type\":\"sample\",\"cpu_percent\":-1}", "cpu_percent" },
        { "{\"type\":\"sample\",\"cores_percent\":[1,101]}", "cores_percent" },
        { "{\"type\":\"sample\",\"cores_percent\":[-1]}", "cores_percent" },
        { "{\"type\":\"sample\",\"cores_percent\":7}", "cores_percent" },
        { "{\"type\":\"ended\",\"job\":1,\"attempt\":1,\"outcome\":\"odd\"}", "outcome" },
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = ERR_INIT;
        struct link_msg m;
        if (link_msg_decode(bad[i].text, strlen(bad[i].text), &m, &err) == 0)
            unit_fail(__FILE__, __LINE__, "accepted: %s", bad[i].text);
        CHECK_INT(err.kind, ERR_INVALID);
        if (!strstr(err.msg, bad[i].word))
            unit_fail(__FILE__, __LINE__, "%s: \"%s\" is not in \"%s\"", bad[i].text, bad[i].word,
                      err.msg);
    }
}

TEST(unknown_fields_are_ignored)
{
    static const char text[] =
        "{\"new\":{\"a\":[1]},\"type\":\"ping\",\"id\":4,\"grace_ns\":\"odd\",\"id\":5}";
    struct link_msg m;

    CHECK(link_msg_decode(text, strlen(text), &m, NULL) == 0);
    CHECK(m.type == LINK_PING && m.id == 4);
    link_msg_fini(&m);
}

TEST(too_long_is_not_looked_at)
{
    char *text = mem_alloc(LINK_LINE_MAX + 2);
    struct err err = ERR_INIT;
    struct link_msg m;

    memset(text, ' ', LINK_LINE_MAX + 1);
    memcpy(text, "{\"type\":\"ping\"}", 15);
    CHECK(link_msg_decode(text, LINK_LINE_MAX, &m, NULL) == 0);
    link_msg_fini(&m);
    CHECK(link_msg_decode(text, LINK_LINE_MAX + 1, &m, &err) == -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    free(text);
}
