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

/* --- records among others --------------------------------------------------------------------- */

#define HEAD "hive-shim 1\npid=123\nstart=5\n"

static char *record_of(int64_t job, int32_t number, int code)
{
    struct attempt_end end = example();

    end.key.job = job;
    end.key.number = number;
    end.outcome = ATTEMPT_EXITED;
    end.code = code;
    return encode(&end);
}

/* The code of the attempt's record in the text, or -1: there is none. */
static int find(const char *text, size_t len, int64_t job, int32_t number)
{
    struct attempt_key key = { job, number, 12345 };
    struct attempt_end end = { .code = 77 };

    if (attempt_end_find(text, len, &key, &end)) {
        CHECK_INT(end.key.job, job);
        CHECK_INT(end.key.number, number);
        return end.code;
    }
    CHECK_INT(end.code, 77);
    return -1;
}

TEST(find_among_others)
{
    char *a = record_of(1, 1, 11), *b = record_of(1, 10, 12), *c = record_of(11, 1, 13);
    char *again = record_of(1, 1, 14);
    char *text = mem_printf("%s%s%s%s", HEAD, a, b, c);

    CHECK_INT(find(text, strlen(text), 1, 1), 11);
    CHECK_INT(find(text, strlen(text), 1, 10), 12);
    CHECK_INT(find(text, strlen(text), 11, 1), 13);
    CHECK_INT(find(text, strlen(text), 1, 2), -1);
    CHECK_INT(find("", 0, 1, 1), -1);
    free(text);
    text = mem_printf("%s%s%s%s", HEAD, a, b, again);
    CHECK_INT(find(text, strlen(text), 1, 1), 14); /* the last one */
    free(text);
    free(a);
    free(b);
    free(c);
    free(again);
}

/* Whatever was cut off, there is no record, and none that is taken for it; and what follows a piece
 * on a line of its own is found. */
TEST(find_after_a_cut_anywhere)
{
    char *a = record_of(1, 1, 11), *b = record_of(2, 1, 12), *c = record_of(3, 1, 13);

    for (size_t cut = 0; cut < strlen(b); cut++) {
        for (int newline = 0; newline < 2; newline++) {
            char *text = mem_printf("%s%s%.*s%s", HEAD, a, (int)cut, b, newline ? "\n" : "");
            CHECK_INT(find(text, strlen(text), 1, 1), 11);
            int piece = find(text, strlen(text), 2, 1);
            /* the last line without its end, which is then put there */
            CHECK_INT(piece, newline && cut == strlen(b) - 1 ? 12 : -1);
            char *more = mem_printf("%s%s", text, c);
            int last = find(more, strlen(more), 3, 1);
            if (newline || cut == 0 || b[cut - 1] == '\n')
                CHECK_INT(last, 13);
            else
                CHECK(last == 13 || last == -1);
            CHECK_INT(find(more, strlen(more), 2, 1), piece);
            free(more);
            free(text);
        }
    }
    free(a);
    free(b);
    free(c);
}

TEST(find_only_what_is_exact)
{
    char *a = record_of(1, 1, 11), *text;
    static const char *const before[] = { "x", " ", "hive-exit 1", "hive-exit 1\nmessage=", "\r" };

    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        text = mem_printf("%s%s%s", HEAD, before[i], a);
        CHECK_INT(find(text, strlen(text), 1, 1), -1);
        free(text);
    }
    /* zeros, as a file system may leave them */
    text = mem_printf("%s....%s", HEAD, a);
    size_t len = strlen(text);
    memset(text + strlen(HEAD), 0, 4);
    CHECK_INT(find(text, len, 1, 1), -1);
    text[strlen(HEAD) + 3] = '\n';
    CHECK_INT(find(text, len, 1, 1), 11);
    free(text);
    free(a);
}

/* --- files ------------------------------------------------------------------------------------ */

static int open_state(void)
{
    int fd = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK(fd >= 0);
    return fd;
}

static enum attempt_state inspect(int state, const struct attempt_key *key,
                                  enum attempt_unclaimed unclaimed, struct attempt_end *end,
                                  pid_t *pid)
{
    struct err err = ERR_INIT;
    enum attempt_state s;

    CHECK_OK(attempt_inspect(state, key, unclaimed, &s, end, pid, &err), &err);
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

TEST(file_names)
{
    struct buf b = BUF_INIT;

    attempt_prefix(&(struct attempt_key){ 17, 1, 0 }, &b);
    CHECK_STR(buf_data(&b), "attempts/0/17.1");
    buf_clear(&b);
    attempt_prefix(&(struct attempt_key){ 5000, 12, 0 }, &b);
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

    CHECK_INT(inspect(state, &key, ATTEMPT_LEAVE, &end, NULL), ATTEMPT_NEVER_STARTED);
    CHECK(faccessat(state, "attempts", F_OK, 0) != 0); /* looking leaves no trace */
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, NULL), ATTEMPT_NEVER_STARTED);
    CHECK(faccessat(state, "attempts/1/2000.1.claim", F_OK, 0) == 0);
    CHECK(faccessat(state, "attempts/1/2000.1.claim.tmp", F_OK, 0) != 0);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, NULL), ATTEMPT_NEVER_STARTED);
    CHECK_INT(inspect(state, &key, ATTEMPT_LEAVE, &end, NULL), ATTEMPT_NEVER_STARTED);
    close(state);
}

/* After a restart of the machine. */
TEST(claims_that_may_be_gone)
{
    struct attempt_key never = { 1, 1, 9 }, sealed = { 1, 2, 9 }, empty = { 1, 3, 9 };
    struct attempt_key ended = { 1, 4, 9 };
    struct attempt_end end;
    int state = open_state();
    char *record = record_of(1, 4, 11), *text = mem_printf("%s%s", HEAD, record);

    CHECK_INT(inspect(state, &never, ATTEMPT_GONE, &end, NULL), ATTEMPT_DEAD);
    CHECK(faccessat(state, "attempts", F_OK, 0) != 0); /* looking leaves no trace */
    CHECK_INT(inspect(state, &sealed, ATTEMPT_SEAL, &end, NULL), ATTEMPT_NEVER_STARTED);
    CHECK_INT(inspect(state, &sealed, ATTEMPT_GONE, &end, NULL), ATTEMPT_NEVER_STARTED);
    put(state, "attempts/0/1.3.claim", "");
    CHECK_INT(inspect(state, &empty, ATTEMPT_GONE, &end, NULL), ATTEMPT_DEAD);
    put(state, "attempts/0/1.4.claim", text);
    CHECK_INT(inspect(state, &ended, ATTEMPT_GONE, &end, NULL), ATTEMPT_ENDED);
    CHECK_INT(end.code, 11);
    free(text);
    free(record);
    close(state);
}

static void append(int fd, const char *text, size_t len)
{
    CHECK(fs_write_all(fd, text, len) == 0);
}

TEST(claimed_by_the_living_and_the_dead)
{
    struct attempt_key key = { 1, 1, 9 };
    struct attempt_end end = example();
    int state = open_state(), lock;
    pid_t pid = -1;
    char *other = record_of(1, 10, 3), *own = record_of(1, 1, 4);
    size_t half = strlen(own) / 2;

    put(state, "shims/123-5", HEAD);
    put(state, "attempts/0/1.2.claim", ""); /* makes the folder */
    CHECK(linkat(state, "shims/123-5", state, "attempts/0/1.1.claim", 0) == 0);
    lock = openat(state, "shims/123-5", O_RDWR | O_APPEND | O_CLOEXEC);
    CHECK(flock(lock, LOCK_EX) == 0);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_ALIVE);
    CHECK_INT(pid, 123);

    /* Another one's record, half of its own: it runs, or is just being written. */
    append(lock, other, strlen(other));
    append(lock, own, half);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_ALIVE);
    close(lock);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_DEAD);
    CHECK_INT(pid, 0);

    lock = openat(state, "shims/123-5", O_RDWR | O_APPEND | O_CLOEXEC);
    CHECK(flock(lock, LOCK_EX) == 0);
    append(lock, own + half, strlen(own) - half);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_ENDED);
    CHECK_INT(end.code, 4);
    CHECK_INT(pid, 0);
    close(lock);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_ENDED);
    free(other);
    free(own);
    close(state);
}

/* Nothing foreign in these places does more than make it lost. */
TEST(foreign_things_for_a_claim)
{
    struct attempt_key key = { 1, 1, 9 };
    struct attempt_end end;
    enum attempt_state s;
    int state = open_state(), fd;
    char *record = record_of(1, 5, 1);
    pid_t pid;

    put(state, "attempts/0/1.1.claim", "hive-shim 1\npid=99999999999999\n");
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_DEAD);
    CHECK_INT(pid, 0);

    key.number = 2;
    CHECK(symlinkat("/etc/passwd", state, "attempts/0/1.2.claim") == 0);
    CHECK_INT(attempt_inspect(state, &key, ATTEMPT_SEAL, &s, &end, NULL, NULL), -1);
    key.number = 3;
    CHECK(mkfifoat(state, "attempts/0/1.3.claim", 0600) == 0);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_DEAD);
    key.number = 4;
    CHECK(mkdirat(state, "attempts/0/1.4.claim", 0700) == 0);
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_DEAD);

    /* Larger than what is read: as far as that goes. */
    key.number = 5;
    put(state, "attempts/0/1.5.claim", HEAD);
    fd = openat(state, "attempts/0/1.5.claim", O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(ftruncate(fd, ATTEMPT_CLAIM_MAX) == 0);
    append(fd, "\n", 1);
    append(fd, record, strlen(record));
    CHECK_INT(inspect(state, &key, ATTEMPT_SEAL, &end, &pid), ATTEMPT_DEAD);
    close(fd);
    free(record);
    close(state);
}

TEST(remove_attempt)
{
    static const char *const names[] = { "out", "err", "script", "claim", "claim.tmp" };
    struct attempt_key key = { 1, 1, 9 };
    struct err err = ERR_INIT;
    int state = open_state();

    CHECK_OK(attempt_remove(state, &key, &err), &err);
    put(state, "attempts/0/1.10.out", "another one's");
    CHECK_OK(attempt_remove(state, &key, &err), &err);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = mem_printf("attempts/0/1.1.%s", names[i]);
        put(state, path, "x");
        CHECK_OK(attempt_remove(state, &key, &err), &err);
        CHECK(faccessat(state, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0);
        free(path);
    }
    CHECK(faccessat(state, "attempts/0/1.10.out", F_OK, 0) == 0);
    CHECK(mkdirat(state, "attempts/0/1.1.out", 0700) == 0);
    CHECK_INT(attempt_remove(state, &key, &err), -1);
    close(state);
}

TEST(stale_identity_files_are_removed)
{
    int state = open_state(), lock;

    CHECK_INT(attempt_clean_shims(state), 0);
    put(state, "shims/1-1", "hive-shim 1\npid=1\nstart=1\nhive-exit 1\njob=3\n");
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
