/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and users through a getent of the test's own: tests/unit/names_rig.h. */
#include "base/mem.h"

#include "unit/unit.h"

#include "unit/names_rig.h"

#include "net/resolve.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* What became of one request. */
struct answer {
    struct rig *rig;
    int calls, count;
    char text[RESOLVE_ADDRESSES_MAX * 64]; /* "ADDRESS:PORT " for each */
    struct err err;
    const char *then; /* ask this too, from within the answer */
    struct answer *next;
    struct resolve_request *cancel; /* cancel this from within the answer */
};

static void on_answer(void *arg, const struct resolve_address *found, size_t count,
                      const struct err *err);

static struct resolve_request *ask(struct rig *rig, const char *host, int family, struct answer *a)
{
    struct err err = ERR_INIT;
    *a = (struct answer){ .rig = rig, .then = a->then, .next = a->next, .cancel = a->cancel };
    struct resolve_request *r = resolve_ask(rig->getent, host, 22, family, on_answer, a, &err);

    if (!r)
        a->err = err;
    CHECK_INT(a->calls, 0);
    return r;
}

static void on_answer(void *arg, const struct resolve_address *found, size_t count,
                      const struct err *err)
{
    struct answer *a = arg;
    char text[INET6_ADDRSTRLEN];
    size_t at = 0;

    a->calls++;
    a->count = (int)count;
    CHECK((count == 0) == (err != NULL));
    if (err)
        a->err = *err;
    for (size_t i = 0; i < count; i++) {
        const struct sockaddr_in *v4 = (const void *)&found[i].addr;
        const struct sockaddr_in6 *v6 = (const void *)&found[i].addr;
        bool is_v6 = found[i].addr.ss_family == AF_INET6;
        inet_ntop(found[i].addr.ss_family,
                  is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, text,
                  sizeof text);
        CHECK_INT(found[i].len, is_v6 ? sizeof *v6 : sizeof *v4);
        at += (size_t)snprintf(a->text + at, sizeof a->text - at, "%s%s:%u", i ? " " : "", text,
                               ntohs(is_v6 ? v6->sin6_port : v4->sin_port));
    }
    if (a->cancel)
        resolve_cancel(a->cancel);
    if (a->then)
        CHECK(ask(a->rig, a->then, AF_UNSPEC, a->next));
}

static bool answered(void *arg)
{
    return ((struct answer *)arg)->calls > 0;
}

static void await_answer(struct rig *rig, struct answer *a)
{
    rig_until(rig, answered, a);
    CHECK_INT(a->calls, 1);
}

/* The whole of it: asks and waits. */
static void look_up(struct rig *rig, const char *host, int family, struct answer *a)
{
    if (ask(rig, host, family, a))
        await_answer(rig, a);
}

TEST(a_name_that_is_found)
{
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };

    look_up(rig, "good.example", AF_UNSPEC, &a);
    CHECK_STR(a.text, "10.0.0.2:22 fd00::1:22 10.0.0.1:22"); /* its order, each once */
    look_up(rig, "good.example", AF_INET, &a);
    CHECK_STR(a.text, "10.0.0.2:22 10.0.0.1:22");
    look_up(rig, "Good.EXAMPLE", AF_INET6, &a);
    CHECK_STR(a.text, "fd00::1:22");
    CHECK_STR(rig_calls(rig), "ahosts good.example\n"); /* and so it was kept */
    look_up(rig, "four.example", AF_INET6, &a);
    CHECK_INT(a.err.kind, ERR_NOT_FOUND);
    CHECK_STR(a.err.msg, "host 'four.example' has no address of IPv6");
    rig_destroy(rig);
}

TEST(a_name_that_is_not)
{
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };

    look_up(rig, "none.example", AF_UNSPEC, &a);
    CHECK_INT(a.err.kind, ERR_NOT_FOUND);
    CHECK_STR(a.err.msg, "host 'none.example': nobody here knows the name");
    rig_destroy(rig);
}

TEST(addresses_need_no_process)
{
    static const struct {
        const char *host, *text;
    } rows[] = {
        { "10.1.2.3", "10.1.2.3:22" },
        { "127.1", "127.0.0.1:22" },
        { "::1", "::1:22" },
        { "fe80::1%lo", "fe80::1:22" },
    };
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        look_up(rig, rows[i].host, AF_UNSPEC, &a);
        CHECK_STR(a.text, rows[i].text);
    }
    CHECK(!ask(rig, "10.1.2.3", AF_INET6, &a));
    CHECK_INT(a.err.kind, ERR_NOT_FOUND);
    CHECK(!ask(rig, "::1", AF_INET, &a));
    struct resolve_request *r = ask(rig, "10.1.2.3", AF_INET, &a);
    resolve_cancel(r);
    rig_turns(rig, 3);
    CHECK_INT(a.calls, 0);
    CHECK_STR(rig_calls(rig), "");
    rig_destroy(rig);
}

TEST(names_are_checked_first)
{
    static const char *const good[] = { "a", "a-b_c.local", "a.", "x1.Example.ORG", "_srv.x" };
    static const char *const bad[] = { "",       "-n",        "-good.example", "a..b",  ".a",
                                       ".",      "a b",       "a;id",          "$(id)", "a\nb",
                                       "a/b",    "h\xC3\xBC", "a:b",           "::g",   "a%lo",
                                       "--help", "a\x1B[0m" };
    char longest[512] = "";
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CHECK_INT(resolve_check_name(good[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK(!ask(rig, bad[i], AF_UNSPEC, &a));
        CHECK_INT(a.err.kind, ERR_INVALID);
        CHECK(!strchr(a.err.msg, '\x1B'));
    }
    memset(longest, 'a', 64);
    CHECK_INT(resolve_check_name(longest, NULL), -1);
    longest[63] = '\0';
    CHECK_INT(resolve_check_name(longest, NULL), 0);
    for (size_t i = 0; i < 254; i++)
        longest[i] = i % 2 ? '.' : 'a';
    longest[253] = '\0';
    CHECK_INT(resolve_check_name(longest, NULL), 0);
    longest[253] = '.';
    longest[254] = '\0';
    CHECK_INT(resolve_check_name(longest, NULL), -1);
    CHECK_STR(rig_calls(rig), "");
    rig_destroy(rig);
}

TEST(a_slow_one_is_killed_with_its_children)
{
    struct rig *rig = rig_create(&(struct getent_options){ .timeout_ns = 150 * NS_PER_MS });
    struct answer slow = { 0 }, silent = { 0 }, family = { 0 }, after = { 0 };
    int64_t start = clock_mono_ns(&clock_system);

    ask(rig, "slow.example", AF_UNSPEC, &slow);
    ask(rig, "silent.example", AF_UNSPEC, &silent); /* closes its output and goes on */
    ask(rig, "family.example", AF_UNSPEC, &family); /* ends, but a child holds its output */
    await_answer(rig, &slow);
    rig_until(rig, answered, &silent);
    rig_until(rig, answered, &family);
    CHECK_INT(slow.err.kind, ERR_TIMEOUT);
    CHECK_STR(slow.err.hint, "try: getent ahosts slow.example");
    CHECK_INT(silent.err.kind, ERR_TIMEOUT);
    CHECK_INT(family.err.kind, ERR_TIMEOUT);
    CHECK(clock_mono_ns(&clock_system) - start >= 150 * NS_PER_MS);
    look_up(rig, "good.example", AF_UNSPEC, &after);
    CHECK_INT(after.count, 3);
    rig_destroy(rig); /* the runner fails the test if one of them is left */
}

TEST(garbage_and_failures)
{
    static const struct {
        const char *host;
        enum err_kind kind;
        const char *msg;
    } rows[] = {
        { "garbage.example", ERR_IO,
          "host 'garbage.example': getent's answer can't be understood" },
        { "empty.example", ERR_IO, "host 'empty.example': getent's answer can't be understood" },
        { "huge.example", ERR_TOO_LARGE, "host 'huge.example': the answer is too long" },
        { "fails.example", ERR_IO, "host 'fails.example': getent failed with exit status 3" },
        { "dies.example", ERR_IO, "host 'dies.example': getent was killed by signal 9" },
    };
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        look_up(rig, rows[i].host, AF_UNSPEC, &a);
        CHECK_INT(a.err.kind, rows[i].kind);
        CHECK_STR(a.err.msg, rows[i].msg);
    }
    look_up(rig, "mixed.example", AF_UNSPEC, &a);
    CHECK_STR(a.text, "10.0.0.7:22 fe80::7:22");
    look_up(rig, "many.example", AF_UNSPEC, &a);
    CHECK_INT(a.count, RESOLVE_ADDRESSES_MAX);
    rig_destroy(rig);
}

TEST(the_process_gets_nothing_of_ours)
{
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };

    signal(SIGPIPE, SIG_IGN);
    setenv("HIVE_SECRET", "1", 1);
    setenv("LD_PRELOAD_NOT", "1", 1);
    look_up(rig, "inside.example", AF_UNSPEC, &a);
    CHECK_INT(a.count, 1);
    char *text = rig_file(rig, "inside");
    CHECK(strstr(text, "LC_ALL=C\n"));
    CHECK(!strstr(text, "HIVE_SECRET") && !strstr(text, "LD_PRELOAD"));
    CHECK(strstr(text, "\nstdin /dev/null\nstderr /dev/null\n"));
    CHECK(strstr(text, "\nSigIgn:\t0000000000000000\n") ||
          strstr(text, "\nSigIgn:\t0000000180000000\n")); /* glibc's own */
    free(text);
    rig_destroy(rig);
}

struct crowd {
    struct answer answer[40];
    int want;
};

static bool crowd_done(void *arg)
{
    struct crowd *c = arg;
    int done = 0;

    for (size_t i = 0; i < ARRAY_LEN(c->answer); i++)
        done += c->answer[i].calls;
    return done >= c->want;
}

TEST(many_at_once)
{
    struct rig *rig = rig_create(NULL);
    struct crowd *c = mem_alloc(sizeof *c);
    struct resolve_request *last = NULL;
    char name[32];

    for (size_t i = 0; i < ARRAY_LEN(c->answer); i++) {
        snprintf(name, sizeof name, "gate-%zu.example", i);
        last = ask(rig, name, AF_UNSPEC, &c->answer[i]);
    }
    rig_until(rig, rig_sixteen_run, rig);
    rig_turns(rig, 20);
    CHECK_INT(rig_count(rig, "running"), GETENT_PROCESSES_MAX);
    CHECK_INT(rig_calls_count(rig), GETENT_PROCESSES_MAX);
    resolve_cancel(last); /* while it waits for its turn */
    rig_touch(rig, "gate");
    c->want = (int)ARRAY_LEN(c->answer) - 1;
    rig_until(rig, crowd_done, c);
    for (size_t i = 0; i < ARRAY_LEN(c->answer) - 1; i++)
        CHECK_INT(c->answer[i].count, 1);
    CHECK_INT(c->answer[ARRAY_LEN(c->answer) - 1].calls, 0);
    CHECK_INT(rig_calls_count(rig), ARRAY_LEN(c->answer) - 1);
    free(c);
    rig_destroy(rig);
}

TEST(who_waits_too_long_for_a_process_is_told)
{
    struct rig *rig = rig_create(&(struct getent_options){ .timeout_ns = 60 * NS_PER_S });
    struct crowd *c = mem_alloc(sizeof *c);
    char name[32];

    for (size_t i = 0; i < GETENT_PROCESSES_MAX; i++) {
        snprintf(name, sizeof name, "gate-%zu.example", i);
        ask(rig, name, AF_UNSPEC, &c->answer[i]);
    }
    rig_until(rig, rig_sixteen_run, rig);
    ask(rig, "good.example", AF_UNSPEC, &c->answer[GETENT_PROCESSES_MAX]);
    rig_turns(rig, 3);
    CHECK_INT(c->answer[GETENT_PROCESSES_MAX].calls, 0);
    rig->later_ns += 60 * NS_PER_S * GETENT_PATIENCE;
    await_answer(rig, &c->answer[GETENT_PROCESSES_MAX]);
    CHECK_INT(c->answer[GETENT_PROCESSES_MAX].err.kind, ERR_UNAVAILABLE);
    c->want = GETENT_PROCESSES_MAX + 1;
    rig_until(rig, crowd_done, c);
    CHECK_INT(c->answer[0].err.kind, ERR_TIMEOUT);
    free(c);
    rig_destroy(rig);
}

TEST(askers_of_one_name_share_a_process)
{
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 }, b = { 0 }, gone = { 0 }, four = { 0 };
    struct resolve_request *r;

    ask(rig, "gate-1.example", AF_UNSPEC, &a);
    r = ask(rig, "gate-1.example", AF_UNSPEC, &gone);
    ask(rig, "GATE-1.example", AF_INET, &b);
    rig_until(rig, rig_one_runs, rig);
    ask(rig, "gate-1.example", AF_INET6, &four);
    resolve_cancel(r);
    rig_touch(rig, "gate");
    await_answer(rig, &a);
    await_answer(rig, &b);
    await_answer(rig, &four);
    CHECK_INT(a.count, 1);
    CHECK_INT(b.count, 1);
    CHECK_INT(four.err.kind, ERR_NOT_FOUND);
    CHECK_INT(gone.calls, 0);
    CHECK_STR(rig_calls(rig), "ahosts gate-1.example\n");
    rig_destroy(rig);
}

TEST(the_cache_ends)
{
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };

    look_up(rig, "good.example", AF_UNSPEC, &a);
    look_up(rig, "none.example", AF_UNSPEC, &a);
    rig->later_ns += 4 * NS_PER_S;
    look_up(rig, "none.example", AF_UNSPEC, &a);
    CHECK_INT(a.err.kind, ERR_NOT_FOUND);
    CHECK_INT(rig_calls_count(rig), 2);
    rig->later_ns += 2 * NS_PER_S;
    look_up(rig, "none.example", AF_UNSPEC, &a);
    CHECK_INT(rig_calls_count(rig), 3);
    rig->later_ns += 50 * NS_PER_S;
    look_up(rig, "good.example", AF_UNSPEC, &a);
    CHECK_INT(rig_calls_count(rig), 3);
    rig->later_ns += 5 * NS_PER_S;
    look_up(rig, "good.example", AF_UNSPEC, &a);
    CHECK_INT(a.count, 3);
    CHECK_INT(rig_calls_count(rig), 4);
    rig_destroy(rig);
}

TEST(the_cache_is_bounded)
{
    struct rig *rig = rig_create(
        &(struct getent_options){ .keep_failed_ns = 3600 * NS_PER_S, .timeout_ns = 60 * NS_PER_S });
    struct answer *all = mem_alloc_array(GETENT_NAMES_MAX + 2, sizeof *all), a = { 0 };
    char name[32];

    look_up(rig, "none-0.example", AF_UNSPEC, &a); /* alone, so that it is the oldest */
    for (size_t i = 1; i <= GETENT_NAMES_MAX + 1; i++) {
        snprintf(name, sizeof name, "none-%zu.example", i);
        CHECK((ask(rig, name, AF_UNSPEC, &all[i]) == NULL) == (i > GETENT_NAMES_MAX));
    }
    CHECK_INT(all[GETENT_NAMES_MAX + 1].err.kind, ERR_UNAVAILABLE);
    for (size_t i = 1; i <= GETENT_NAMES_MAX; i++)
        rig_until(rig, answered, &all[i]);
    CHECK_INT(rig_calls_count(rig), GETENT_NAMES_MAX + 1);
    look_up(rig, "none-1024.example", AF_UNSPEC, &a);
    CHECK_INT(rig_calls_count(rig), GETENT_NAMES_MAX + 1);
    look_up(rig, "none-0.example", AF_UNSPEC, &a); /* had to make room */
    CHECK_INT(rig_calls_count(rig), GETENT_NAMES_MAX + 2);
    free(all);
    rig_destroy(rig);
}

TEST(cancelled_by_its_owner)
{
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };
    struct resolve_request *r = ask(rig, "slow.example", AF_UNSPEC, &a);

    resolve_cancel(r); /* before anything was started */
    rig_turns(rig, 3);
    CHECK_STR(rig_calls(rig), "");
    r = ask(rig, "slow.example", AF_UNSPEC, &a);
    rig_until(rig, rig_one_runs, rig);
    resolve_cancel(r);
    rig_until(rig, rig_none_lives, rig);
    look_up(rig, "good.example", AF_UNSPEC, &a);
    CHECK_INT(a.count, 3);
    r = ask(rig, "good.example", AF_UNSPEC, &a); /* known, but not told yet */
    resolve_cancel(r);
    rig_turns(rig, 3);
    CHECK_INT(a.calls, 0);
    resolve_cancel(NULL);
    rig_destroy(rig);
}

TEST(answers_may_ask_and_cancel)
{
    struct rig *rig = rig_create(NULL);
    struct answer second = { 0 }, first = { .then = "good.example", .next = &second },
                  other = { 0 };

    ask(rig, "gate-1.example", AF_UNSPEC, &first);
    first.cancel = ask(rig, "gate-1.example", AF_UNSPEC, &other);
    first.then = "gate-1.example"; /* itself */
    rig_touch(rig, "gate");
    await_answer(rig, &first);
    await_answer(rig, &second);
    CHECK_INT(second.count, 1);
    CHECK_INT(other.calls, 0);
    CHECK_INT(rig_calls_count(rig), 1);
    rig_destroy(rig);
}

TEST(without_getent_the_helper_is_asked)
{
    static const char *const none[] = { "", "/nonexistent/getent", "/dev/null" };
    char file[300];
    struct answer a = { 0 };

    snprintf(file, sizeof file, "%s/getent", unit_tmpdir());
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        struct rig *rig =
            rig_create(&(struct getent_options){ .program = none[i], .helper = file });
        look_up(rig, "good.example", AF_UNSPEC, &a);
        CHECK_INT(a.count, 3);
        look_up(rig, "none.example", AF_UNSPEC, &a);
        CHECK_INT(a.err.kind, ERR_NOT_FOUND);
        look_up(rig, "quiet.example", AF_UNSPEC, &a);
        CHECK_INT(a.err.kind, ERR_TIMEOUT);
        CHECK_STR(rig_calls(rig), "resolve --internal good.example\nresolve --internal "
                                  "none.example\nresolve --internal quiet.example\n");
        rig_destroy(rig);
    }
    /* One that doesn't know the database. */
    struct rig *rig = rig_create(&(struct getent_options){ .helper = file });
    look_up(rig, "unknown-database.example", AF_UNSPEC, &a);
    CHECK_STR(a.text, "10.0.0.9:22");
    rig_destroy(rig);
}

TEST(with_neither_there_is_an_error)
{
    struct rig *rig = rig_create(&(struct getent_options){ .program = "" });
    struct answer a = { 0 };

    look_up(rig, "good.example", AF_UNSPEC, &a);
    CHECK_INT(a.err.kind, ERR_UNAVAILABLE);
    CHECK_STR(a.err.msg, "host 'good.example': there is no getent to ask");
    rig_destroy(rig);
}

TEST(destroyed_while_it_runs)
{
    struct rig *rig = rig_create(NULL);
    struct answer a = { 0 };
    struct resolve_request *r = ask(rig, "slow.example", AF_UNSPEC, &a);

    rig_until(rig, rig_one_runs, rig);
    resolve_cancel(r); /* it is killed, but not reaped when the rig ends */
    rig_destroy(rig);
}

TEST(waiting)
{
    struct rig *rig = rig_create(NULL); /* for its getent */
    struct getent_options o = { .program = rig->program,
                                .helper = "",
                                .timeout_ns = NS_PER_S / 10 };
    struct resolve_address found[4];
    struct err err = ERR_INIT;

    CHECK_INT(resolve_wait("good.example", 22, AF_UNSPEC, &o, found, 4, &err), 3);
    CHECK_INT(found[1].addr.ss_family, AF_INET6);
    CHECK_INT(resolve_wait("good.example", 22, AF_UNSPEC, &o, found, 1, &err), 1);
    CHECK_INT(resolve_wait("127.0.0.1", 22, AF_UNSPEC, &o, found, 4, &err), 1);
    CHECK_INT(resolve_wait("slow.example", 22, AF_UNSPEC, &o, found, 4, &err), -1);
    CHECK_INT(err.kind, ERR_TIMEOUT);
    CHECK_INT(resolve_wait("none.example", 22, AF_UNSPEC, &o, found, 4, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK_INT(resolve_wait("no name", 22, AF_UNSPEC, &o, found, 4, &err), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    rig_destroy(rig);
}

TEST(the_real_ones)
{
    struct resolve_address found[RESOLVE_ADDRESSES_MAX];
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    char *getent = getent_find(NULL);

    CHECK_INT(resolve_helper("localhost", &b), 0);
    CHECK(resolve_parse(buf_data(&b), buf_len(&b), found) > 0);
    CHECK_INT(resolve_helper("-x", &b), 1);
    buf_fini(&b);
    if (getent) {
        int n = resolve_wait("localhost", 22, AF_UNSPEC, NULL, found, ARRAY_LEN(found), &err);
        if (n <= 0)
            unit_fail(__FILE__, __LINE__, "%s", err.msg);
    }
    free(getent);
}

TEST(where_getent_is)
{
    struct rig *rig = rig_create(NULL);
    char *path = mem_printf("relative::/nonexistent:%s", unit_tmpdir()), *found = getent_find(path);

    CHECK(found && (access("/usr/bin/getent", X_OK) == 0 || access("/bin/getent", X_OK) == 0 ||
                    str_eq(found, rig->program)));
    free(found);
    free(path);
    rig_destroy(rig);
}
