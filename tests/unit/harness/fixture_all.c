/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests that go wrong in every way there is, for harness.t. Not part of the unit tests. */
#include "unit/unit.h"

#include <signal.h>
#include <unistd.h>

TEST(passes)
{
    CHECK(true);
    CHECK_STR("a", "a");
    CHECK_INT(1, 1);
    CHECK_STR(NULL, NULL);
    char *path = mem_printf("%s/made", unit_tmpdir());
    FILE *f = fopen(path, "we");

    free(path);
    CHECK(f);
    fclose(f);
    puts("on its standard output");
}

TEST(check_fails)
{
    CHECK(1 > 2);
}

TEST(check_str_fails)
{
    CHECK_STR("got", "wanted");
}

TEST(check_str_null_fails)
{
    CHECK_STR(NULL, "wanted");
}

TEST(check_int_fails)
{
    CHECK_INT(3, 4);
}

TEST(crashes)
{
    raise(SIGSEGV);
}

TEST(aborts)
{
    abort();
}

TEST(hangs)
{
    for (;;)
        pause();
}

/* Also with its children, and whatever it does about signals. */
TEST(hangs_hard)
{
    signal(SIGTERM, SIG_IGN);
    if (fork() == 0)
        setsid();
    for (;;)
        pause();
}

TEST(exits_early)
{
    exit(0);
}

TEST(exits_early_at_once)
{
    _exit(0);
}

TEST(leaves_a_process)
{
    if (fork() == 0) {
        setsid();
        for (;;)
            pause();
    }
}

TEST(child_check_fails_and_is_ignored)
{
    /* What a forked child finds has to be passed on by the test; its death alone is not a hang. */
    if (fork() == 0)
        CHECK(false);
}
