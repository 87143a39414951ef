/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"
#include "unit/unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(memory_is_zeroed_and_never_null)
{
    char *p = mem_alloc(100);
    int *a = mem_alloc_array(10, sizeof *a);
    void *nothing = mem_alloc(0);

    for (int i = 0; i < 100; i++)
        CHECK_INT(p[i], 0);
    for (int i = 0; i < 10; i++)
        CHECK_INT(a[i], 0);
    CHECK(nothing);
    a = mem_resize(a, 1000, sizeof *a);
    a[999] = 7;
    a = mem_resize(a, 0, sizeof *a);
    CHECK(a);
    MEM_FREE(p);
    CHECK(!p);
    free(a);
    free(nothing);
}

TEST(copies)
{
    char *s = mem_strdup("text");
    char *n = mem_strndup("text", 2);
    char *d = mem_dup("a\0b", 3);
    char *f = mem_printf("%s-%d", "x", 5);

    CHECK_STR(s, "text");
    CHECK_STR(n, "te");
    CHECK(memcmp(d, "a\0b", 3) == 0);
    CHECK_STR(f, "x-5");
    CHECK(!mem_strdup(NULL));
    free(s);
    free(n);
    free(d);
    free(f);
}

/* An overflow must end the process, not give a small block. */
TEST(overflow_aborts)
{
    pid_t pid = fork();
    int status;

    CHECK(pid >= 0);
    if (pid == 0) {
        volatile size_t huge = SIZE_MAX / 2;
        signal(SIGABRT, SIG_DFL);
        free(mem_alloc_array(huge, 3));
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
