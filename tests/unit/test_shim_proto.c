/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "node/shim_proto.h"

static const struct attempt_key key = { 12345678901, 42, UINT64_C(0xfedcba9876543210) };

static void round_trip(const struct shim_msg *in, struct buf *b, struct shim_msg *out)
{
    struct err err = ERR_INIT;

    CHECK_OK(shim_msg_encode(in, b, &err), &err);
    CHECK_OK(shim_msg_decode(buf_data(b), buf_len(b), out, &err), &err);
    CHECK_INT(out->type, in->type);
    CHECK_INT(out->key.job, in->key.job);
    CHECK_INT(out->key.number, in->key.number);
    CHECK(out->key.fence == in->key.fence);
}

static struct node_run example_run(void)
{
    static const char *const argv[] = { "sh", "-c", "echo $A", "", NULL };
    static const char *const env[] = { "A=1", "B=", "PATH=/bin", NULL };

    return (struct node_run){ .key = key,
                              .argv = argv,
                              .env = env,
                              .workdir = "/w",
                              .stdout_path = "/o",
                              .stderr_path = NULL,
                              .append = true,
                              .script = "#!/bin/sh\n",
                              .timeout_ns = 1,
                              .grace_ns = INT64_MAX,
                              .memory_bytes = 1 << 30 };
}

TEST(small_messages)
{
    struct buf b = BUF_INIT;
    struct shim_msg in = { .type = SHIM_HELLO, .pid = 4321, .start = UINT64_MAX }, out;

    round_trip(&in, &b, &out);
    CHECK_INT(out.pid, 4321);
    CHECK(out.start == UINT64_MAX);
    in.key = key;
    round_trip(&in, &b, &out);
    in = (struct shim_msg){ .type = SHIM_REFUSED, .key = key };
    round_trip(&in, &b, &out);
    in = (struct shim_msg){ .type = SHIM_DROP, .key = key };
    round_trip(&in, &b, &out);
    in = (struct shim_msg){ .type = SHIM_DROPPED, .key = key };
    round_trip(&in, &b, &out);
    in = (struct shim_msg){ .type = SHIM_KILL, .key = key, .grace_ns = 77 };
    round_trip(&in, &b, &out);
    CHECK_INT(out.grace_ns, 77);
    in = (struct shim_msg){ .type = SHIM_SIGNAL, .key = key, .signo = 15 };
    round_trip(&in, &b, &out);
    CHECK_INT(out.signo, 15);
    in = (struct shim_msg){ .type = SHIM_QUIT };
    round_trip(&in, &b, &out);
    buf_fini(&b);
}

TEST(ended_round_trip)
{
    struct buf b = BUF_INIT;
    struct shim_msg out, in = { .type = SHIM_ENDED, .key = key };

    in.end = (struct attempt_end){ key, ATTEMPT_OOM, -1, 9, 1, 2, 3, 4, 5, 6, "why" };
    round_trip(&in, &b, &out);
    CHECK_INT(out.end.key.job, key.job);
    CHECK_INT(out.end.outcome, ATTEMPT_OOM);
    CHECK_INT(out.end.code, -1);
    CHECK_INT(out.end.signal, 9);
    CHECK_INT(out.end.started_ns, 1);
    CHECK_INT(out.end.max_rss, 6);
    CHECK_STR(out.end.message, "why");
    buf_fini(&b);
}

TEST(run_round_trip)
{
    struct buf b = BUF_INIT;
    struct shim_msg out, in = { .type = SHIM_RUN, .key = key, .run = example_run() };

    round_trip(&in, &b, &out);
    CHECK_INT(out.run.key.job, key.job);
    for (int i = 0; i < 5; i++)
        CHECK_STR(out.run.argv[i], in.run.argv[i]);
    for (int i = 0; i < 4; i++)
        CHECK_STR(out.run.env[i], in.run.env[i]);
    CHECK_STR(out.run.workdir, "/w");
    CHECK_STR(out.run.stdout_path, "/o");
    CHECK(out.run.stderr_path == NULL);
    CHECK(out.run.append);
    CHECK_STR(out.run.script, "#!/bin/sh\n");
    CHECK_INT(out.run.timeout_ns, 1);
    CHECK_INT(out.run.grace_ns, INT64_MAX);
    CHECK_INT(out.run.memory_bytes, 1 << 30);
    shim_msg_fini(&out);
    buf_fini(&b);
}

/* Fields of a later version are ignored, those an earlier one didn't know read as nothing. */
TEST(longer_and_shorter_messages)
{
    struct buf b = BUF_INIT;
    struct shim_msg out, in = { .type = SHIM_KILL, .key = key, .grace_ns = 5 };

    CHECK(shim_msg_encode(&in, &b, NULL) == 0);
    buf_append_str(&b, "and more");
    CHECK(shim_msg_decode(buf_data(&b), buf_len(&b), &out, NULL) == 0);
    CHECK_INT(out.grace_ns, 5);
    buf_truncate(&b, 22); /* version, type, key */
    CHECK(shim_msg_decode(buf_data(&b), buf_len(&b), &out, NULL) == 0);
    CHECK_INT(out.grace_ns, 0);
    buf_fini(&b);
}

/* Cut anywhere, it is refused or read as the message of an older version, and never read beyond. */
TEST(cut_anywhere)
{
    struct buf b = BUF_INIT;
    struct shim_msg out, in = { .type = SHIM_RUN, .key = key, .run = example_run() };

    CHECK(shim_msg_encode(&in, &b, NULL) == 0);
    for (size_t len = 0; len < buf_len(&b); len++) {
        char *copy = mem_dup(buf_data(&b), len + 1);
        copy = mem_resize(copy, len ? len : 1, 1);
        if (shim_msg_decode(copy, len, &out, NULL) == 0) {
            CHECK(out.run.workdir);
            shim_msg_fini(&out);
        }
        free(copy);
    }
    buf_fini(&b);
}

static void check_refused(const struct buf *b)
{
    struct shim_msg out;
    struct err err = ERR_INIT;

    CHECK_INT(shim_msg_decode(buf_data(b), buf_len(b), &out, &err), -1);
    CHECK_INT(err.kind, ERR_CORRUPT);
}

TEST(malformed)
{
    struct buf b = BUF_INIT;
    struct shim_msg in = { .type = SHIM_SIGNAL, .key = key, .signo = 65 };

    CHECK(shim_msg_encode(&in, &b, NULL) == 0);
    check_refused(&b);
    in = (struct shim_msg){ .type = SHIM_KILL, .key = { 0, 1, 1 } };
    CHECK(shim_msg_encode(&in, &b, NULL) == 0);
    check_refused(&b);
    in = (struct shim_msg){ .type = SHIM_KILL, .key = key, .grace_ns = -1 };
    CHECK(shim_msg_encode(&in, &b, NULL) == 0);
    check_refused(&b);
    in = (struct shim_msg){ .type = SHIM_ENDED, .key = key, .end = { .code = 300 } };
    CHECK(shim_msg_encode(&in, &b, NULL) == 0);
    check_refused(&b);
    buf_clear(&b);
    buf_append(&b, "\2\7", 2); /* another version */
    check_refused(&b);
    buf_clear(&b);
    buf_append(&b, "\1\10", 2); /* another type */
    check_refused(&b);
    buf_fini(&b);
}

TEST(too_large)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    struct shim_msg in = { .type = SHIM_RUN, .key = key, .run = example_run() };
    char *script = mem_alloc(SHIM_PACKET_MAX * 2);

    memset(script, 'x', SHIM_PACKET_MAX * 2 - 1);
    in.run.script = script;
    CHECK_INT(shim_msg_encode(&in, &b, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    free(script);
    buf_fini(&b);
}
