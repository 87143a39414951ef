/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "node/attempt.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static struct attempt_end example(void)
{
    return (struct attempt_end){ .key = { 4711, 3, UINT64_MAX },
                                 .outcome = ATTEMPT_NOT_RUN,
                                 .code = 127,
                                 .signal = 0,
                                 .started_ns = 0,
                                 .finished_ns = INT64_C(1700000000123456789),
                                 .duration_ns = 5,
                                 .user_ns = 1,
                                 .system_ns = 2,
                                 .max_rss = 123456,
                                 .message = "cannot run x: not found in PATH" };
}

static char *encode(const struct attempt_end *end)
{
    struct buf b = BUF_INIT;

    attempt_end_encode(end, &b);
    return buf_take(&b, NULL);
}

TEST(record_round_trip)
{
    struct attempt_end in = example(), out;
    struct err err = ERR_INIT;

    for (unsigned o = 0; o < ATTEMPT_OUTCOME_COUNT; o++) {
        in.outcome = (enum attempt_outcome)o;
        char *text = encode(&in);
        CHECK_OK(attempt_end_decode(text, strlen(text), &in.key, &out, &err), &err);
        CHECK_INT(out.key.job, in.key.job);
        CHECK_INT(out.key.number, in.key.number);
        CHECK(out.key.fence == in.key.fence);
        CHECK_INT(out.outcome, in.outcome);
        CHECK_INT(out.code, in.code);
        CHECK_INT(out.finished_ns, in.finished_ns);
        CHECK_INT(out.duration_ns, in.duration_ns);
        CHECK_INT(out.user_ns, in.user_ns);
        CHECK_INT(out.system_ns, in.system_ns);
        CHECK_INT(out.max_rss, in.max_rss);
        CHECK_STR(out.message, in.message);
        free(text);
    }
}

TEST(record_keeps_hostile_messages_in_one_line)
{
    struct attempt_end in = example(), out;
    char *text;

    str_copy(in.message, sizeof in.message, "a\nend\ncode=0\n");
    memset(in.message + 13, 'x', sizeof in.message - 14);
    in.message[sizeof in.message - 1] = '\0';
    text = encode(&in);
    CHECK(attempt_end_decode(text, strlen(text), NULL, &out, NULL) == 0);
    CHECK_INT(out.code, 127);
    CHECK(str_starts(out.message, "a\\nend\\ncode=0\\nxxx"));
    free(text);
}

/* A clock that was never set must not make a record nobody can read. */
TEST(record_clamps_what_is_out_of_range)
{
    struct attempt_end in = example(), out;
    char *text;

    in.started_ns = -5;
    in.code = 4000;
    text = encode(&in);
    CHECK(attempt_end_decode(text, strlen(text), NULL, &out, NULL) == 0);
    CHECK_INT(out.started_ns, 0);
    CHECK_INT(out.code, 255);
    free(text);
}

static void check_corrupt(const char *text, size_t len)
{
    struct attempt_end out = { .code = 77 };
    struct err err = ERR_INIT;

    if (attempt_end_decode(text, len, NULL, &out, &err) == 0)
        unit_fail(__FILE__, __LINE__, "accepted: %.*s", (int)len, text);
    CHECK_INT(err.kind, ERR_CORRUPT);
    CHECK_INT(out.code, 77);
}

TEST(record_cut_anywhere_is_corrupt)
{
    struct attempt_end in = example(), out;
    char *text = encode(&in);
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        check_corrupt(text, i);
    /* What follows the end doesn't matter: a later hive may write more. */
    char *more = mem_printf("%sjunk", text);
    CHECK(attempt_end_decode(more, strlen(more), NULL, &out, NULL) == 0);
    free(more);
    free(text);
}

/* Replaces the first `from` in the example's record and expects it to be refused. */
static void check_replaced(const char *from, const char *to)
{
    struct attempt_end in = example();
    char *text = encode(&in), *at = strstr(text, from), *changed;

    CHECK(at);
    changed = mem_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    check_corrupt(changed, strlen(changed));
    free(changed);
    free(text);
}

TEST(record_with_bad_fields_is_corrupt)
{
    check_replaced("hive-exit 1", "hive-exit 2");
    check_replaced("job=4711", "job=0");
    check_replaced("job=4711", "job=9999999999999999999");
    check_replaced("attempt=3", "attempt=65536");
    check_replaced("attempt=3\n", "");
    check_replaced("code=127", "code=1x");
    check_replaced("code=127", "code=256");
    check_replaced("code=127", "code=127\ncode=127");
    check_replaced("signal=0", "signal=128");
    check_replaced("outcome=not_run", "outcome=fine");
    check_replaced("fence=18446744073709551615", "fence=18446744073709551616");
    check_replaced("fence=18446744073709551615", "fence=");
    check_replaced("duration=5", "duration=-5");
    check_replaced("end\n", "");
    check_corrupt("", 0);
    check_corrupt("hive-exit 1\n\0\n", 14);
}

TEST(record_ignores_unknown_lines)
{
    struct attempt_end in = example(), out;
    char *text = encode(&in), *more;

    more = mem_printf("hive-exit 1\nnew=field\nwhatever\n%s", text + strlen("hive-exit 1\n"));
    CHECK(attempt_end_decode(more, strlen(more), NULL, &out, NULL) == 0);
    CHECK_INT(out.code, 127);
    free(more);
    free(text);
}

TEST(record_of_another_attempt)
{
    struct attempt_end in = example(), out;
    struct attempt_key expect = in.key;
    char *text = encode(&in);
    size_t len = strlen(text);

    CHECK_INT(attempt_end_decode(text, len, &expect, &out, NULL), 0);
    expect.fence = 0; /* any */
    CHECK_INT(attempt_end_decode(text, len, &expect, &out, NULL), 0);
    expect.fence = 5;
    CHECK_INT(attempt_end_decode(text, len, &expect, &out, NULL), -1);
    expect.fence = in.key.fence;
    expect.number++;
    CHECK_INT(attempt_end_decode(text, len, &expect, &out, NULL), -1);
    free(text);
}

/* --- files ------------------------------------------------------------------------------------ */

static int open_state(void)
{
    int fd = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK(fd >= 0);
    return fd;
}

static enum attempt_state inspect(int state, const struct attempt_key *key, bool seal,
                                  struct attempt_end *end, pid_t *pid)
{
    struct err err = ERR_INIT;
    enum attempt_state s;

    CHECK_OK(attempt_inspect(state, key, seal, &s, end, pid, &err), &err);
    return s;
}

static void put(int state, const char *path, const char *text)
{
    char *full = mem_printf("%s/%s", unit_tmpdir(), path), *dir = mem_strdup(full);
    struct err err = ERR_INIT;

    (void)state;
    *strrchr(dir, '/') = '\0';
    CHECK_OK(fs_mkdir_p(dir, 0700, &err), &err);
    CHECK_OK(fs_write_file(full, text, strlen(text), 0600, false, &err), &err);
    free(full);
    free(dir);
}

TEST(folder_names)
{
    struct buf b = BUF_INIT;

    attempt_dir(&(struct attempt_key){ 17, 1, 0 }, &b);
    CHECK_STR(buf_data(&b), "attempts/0/17.1");
    buf_clear(&b);
    attempt_dir(&(struct attempt_key){ 5000, 12, 0 }, &b);
    CHECK_STR(buf_data(&b), "attempts/4/5000.12");
    buf_fini(&b);
    CHECK(!attempt_key_valid(&(struct attempt_key){ 0, 1, 0 }));
    CHECK(!attempt_key_valid(&(struct attempt_key){ 1, 0, 0 }));
    CHECK(!attempt_key_valid(&(struct attempt_key){ ATTEMPT_JOB_MAX + 1, 1, 0 }));
    CHECK(attempt_key_valid(&(struct attempt_key){ ATTEMPT_JOB_MAX, ATTEMPT_NUMBER_MAX, 0 }));
}

TEST(never_started_and_sealed)
{
    struct attempt_key key = { 2000, 1, 9 };
    struct attempt_end end;
    int state = open_state();

    CHECK_INT(inspect(state, &key, false, &end, NULL), ATTEMPT_NEVER_STARTED);
    CHECK(faccessat(state, "attempts", F_OK, 0) != 0); /* looking leaves no trace */
    CHECK_INT(inspect(state, &key, true, &end, NULL), ATTEMPT_NEVER_STARTED);
    CHECK(faccessat(state, "attempts/1/2000.1/claim", F_OK, 0) == 0);
    CHECK(faccessat(state, "attempts/1/2000.1/claim.tmp", F_OK, 0) != 0);
    CHECK_INT(inspect(state, &key, true, &end, NULL), ATTEMPT_NEVER_STARTED);
    CHECK_INT(inspect(state, &key, false, &end, NULL), ATTEMPT_NEVER_STARTED);
    close(state);
}

TEST(claimed_by_the_living_and_the_dead)
{
    struct attempt_key key = { 1, 1, 9 };
    struct attempt_end end = example();
    int state = open_state(), lock;
    pid_t pid = -1;
    char *text;

    put(state, "shims/123-5", "hive-shim 1\npid=123\nstart=5\n");
    put(state, "attempts/0/1.1/x", "");
    CHECK(linkat(state, "shims/123-5", state, "attempts/0/1.1/claim", 0) == 0);
    lock = openat(state, "shims/123-5", O_RDWR | O_CLOEXEC);
    CHECK(flock(lock, LOCK_EX) == 0);
    CHECK_INT(inspect(state, &key, true, &end, &pid), ATTEMPT_ALIVE);
    CHECK_INT(pid, 123);

    close(lock);
    CHECK_INT(inspect(state, &key, true, &end, &pid), ATTEMPT_DEAD);
    CHECK_INT(pid, 0);

    put(state, "attempts/0/1.1/exit", "hive-exit 1\ngarbage\n");
    CHECK_INT(inspect(state, &key, true, &end, NULL), ATTEMPT_DEAD);
    end = example();
    end.key = key;
    text = encode(&end);
    put(state, "attempts/0/1.1/exit", text);
    free(text);
    CHECK_INT(inspect(state, &key, true, &end, NULL), ATTEMPT_ENDED);
    CHECK_INT(end.code, 127);
    close(state);
}

/* Nothing foreign in these places does more than make it lost. */
TEST(foreign_things_in_the_folder)
{
    struct attempt_key key = { 1, 1, 9 };
    struct attempt_end end;
    enum attempt_state s;
    int state = open_state();
    pid_t pid;

    put(state, "attempts/0/1.1/claim", "hive-shim 1\npid=99999999999999\n");
    CHECK(mkfifoat(state, "attempts/0/1.1/exit", 0600) == 0);
    CHECK_INT(inspect(state, &key, true, &end, &pid), ATTEMPT_DEAD);
    CHECK_INT(pid, 0);

    put(state, "attempts/0/2.1/x", "");
    key.job = 2;
    CHECK(symlinkat("/etc/passwd", state, "attempts/0/2.1/claim") == 0);
    CHECK_INT(attempt_inspect(state, &key, true, &s, &end, NULL, NULL), -1);
    close(state);
}

TEST(remove_attempt)
{
    struct attempt_key key = { 1, 1, 9 };
    struct err err = ERR_INIT;
    int state = open_state();

    put(state, "attempts/0/1.1/stdout", "x");
    CHECK_OK(attempt_remove(state, &key, &err), &err);
    CHECK(faccessat(state, "attempts/0/1.1", F_OK, 0) != 0);
    CHECK_OK(attempt_remove(state, &key, &err), &err);
    close(state);
}

TEST(stale_identity_files_are_removed)
{
    int state = open_state(), lock;

    CHECK_INT(attempt_clean_shims(state), 0);
    put(state, "shims/1-1", "hive-shim 1\npid=1\nstart=1\n");
    put(state, "shims/2-2", "hive-shim 1\npid=2\nstart=2\n");
    put(state, "shims/3-3", "something else\n");
    put(state, "shims/notes", "hive-shim 1\n");
    CHECK(mkdirat(state, "shims/4-4", 0700) == 0);
    lock = openat(state, "shims/2-2", O_RDWR | O_CLOEXEC);
    CHECK(flock(lock, LOCK_EX) == 0);
    CHECK_INT(attempt_clean_shims(state), 1);
    CHECK(faccessat(state, "shims/1-1", F_OK, 0) != 0);
    CHECK(faccessat(state, "shims/2-2", F_OK, 0) == 0);
    CHECK(faccessat(state, "shims/3-3", F_OK, 0) == 0);
    CHECK(faccessat(state, "shims/notes", F_OK, 0) == 0);
    close(lock);
    close(state);
}
