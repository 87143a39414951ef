/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "sys/sample.h"
#include "sys/sample_parse.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
    char *full = fs_join(unit_tmpdir(), path), *slash = strrchr(full, '/');
    struct err err = ERR_INIT;
    int fd;

    *slash = '\0';
    CHECK_OK(fs_mkdir_p(full, 0700, &err), &err);
    *slash = '/';
    fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && fs_write_all(fd, text, strlen(text)) == 0);
    close(fd);
    free(full);
}

/* A process of `pages` pages, a quarter of them shared, whose CPU time are powers of ten in ticks. */
static void put_process(int pid, int parent, char state, int pages)
{
    char path[64], text[256];

    snprintf(path, sizeof path, "proc/%d/stat", pid);
    snprintf(
        text, sizeof text,
        "%d (a) b (c) %c %d 5 5 -1 -1 0 0 0 0 0 1 10 100 1000 20 -5 2 0 %d 99999 %d 18446744\n",
        pid, state, parent, 7 * pid, pages);
    put(path, text);
    snprintf(path, sizeof path, "proc/%d/statm", pid);
    snprintf(text, sizeof text, "9999 %d %d 0 0 0 0\n", pages, pages / 4);
    put(path, text);
}

TEST(process_lines)
{
    struct sample_process p;
    const char *line = "7 (x) y) R 5 1 1 0 -1 0 0 0 0 0 11 12 13 14 20 -19 3 0 777 1 42 9\n";

    for (size_t len = 0; len < strlen(line) - 4; len++)
        CHECK(!sample_parse_process(line, len, &p));
    CHECK(sample_parse_process(line, strlen(line), &p));
    CHECK(p.state == 'R');
    CHECK_INT(p.ppid, 5);
    CHECK_INT(p.user_ticks, 11);
    CHECK_INT(p.waited_system_ticks, 14);
    CHECK_INT(p.threads, 3);
    CHECK_INT(p.start, 777);
    CHECK_INT(p.rss_pages, 42);
}

/*
 *   1 ─┬─ 10 (root) ─┬─ 11 ── 100
 *      │             ├─ 12 (zombie)
 *      │             └─ 20 (root) ── 21
 *      ├─ 30 (root)
 *      └─ 40
 *   50 ⇄ 51, 60 ⟲: what no kernel makes
 */
static struct sampler *invent(void)
{
    struct err err = ERR_INIT;
    struct sampler *s;

    put_process(1, 0, 'S', 4);
    put_process(10, 1, 'S', 4);
    put_process(11, 10, 'R', 40);
    put_process(100, 11, 'S', 80);
    put_process(12, 10, 'Z', 0);
    put_process(20, 10, 'S', 4);
    put_process(21, 20, 'S', 8);
    put_process(30, 1, 'S', 4);
    put_process(40, 1, 'S', 400);
    put_process(50, 51, 'S', 4);
    put_process(51, 50, 'S', 4);
    put_process(60, 60, 'S', 4);
    put("proc/70/stat", "70 (gone");
    put("proc/uptime", "1 1\n");
    s = sampler_create(&(struct sampler_options){ .root = unit_tmpdir() }, &err);
    CHECK(s);
    return s;
}

TEST(trees_of_an_invented_machine)
{
    struct sampler *s = invent();
    int64_t page = sysconf(_SC_PAGESIZE), tick = NS_PER_S / sysconf(_SC_CLK_TCK);
    struct sample_tree t[] = {
        { .root = 10 }, { .root = 20, .with_root = true, .start = 140 },
        { .root = 30 }, { .root = 40, .start = 3 }, /* another process by now */
        { .root = 99 }, { .root = 10 },
        { .root = 51 }, { .root = -1 },
        { .root = 70 }
    };

    CHECK_INT(sampler_trees(s, t, ARRAY_LEN(t)), 13);
    CHECK(t[0].found);
    CHECK_INT(t[0].processes, 2);
    CHECK_INT(t[0].threads, 4);
    /* 11, 100 and the zombie; and what all four waited for */
    CHECK_INT(t[0].user_ns, (3 * 1 + 4 * 100) * tick);
    CHECK_INT(t[0].system_ns, (3 * 10 + 4 * 1000) * tick);
    CHECK_INT(t[0].rss, 120 * page);
    CHECK_INT(t[0].memory, (30 + 60 + 20) * page);
    CHECK_INT(t[1].processes, 2);
    CHECK_INT(t[1].user_ns, 2 * 101 * tick);
    CHECK_INT(t[1].rss, 12 * page);
    CHECK_INT(t[1].memory, (3 + 6 + 2) * page);
    CHECK(t[2].found);
    CHECK_INT(t[2].processes, 0);
    CHECK_INT(t[2].user_ns, 100 * tick);
    CHECK_INT(t[2].rss, 0);
    for (size_t i = 3; i < ARRAY_LEN(t); i++) {
        if (i == 6)
            continue;
        CHECK(!t[i].found);
        CHECK_INT(t[i].processes, -1);
        CHECK_INT(t[i].memory, -1);
    }
    CHECK_INT(t[6].processes, 1); /* ends where it began */
    sampler_destroy(s);
}

TEST(numbers_that_are_too_large)
{
    struct sampler *s = invent();
    struct sample_tree t = { .root = 10 };

    for (int i = 200; i < 220; i++) {
        char path[64], text[512];
        snprintf(path, sizeof path, "proc/%d/stat", i);
        snprintf(text, sizeof text,
                 "%d (x) S 10 1 1 0 1 0 0 0 0 0 %s %s %s %s 20 0 %s 0 1 1 %s 9\n", i,
                 "99999999999999999999", "99999999999999999999", "99999999999999999999",
                 "99999999999999999999", "99999999999999999999", "99999999999999999999");
        put(path, text);
    }
    CHECK_INT(sampler_trees(s, &t, 1), 33);
    CHECK_INT(t.user_ns, SAMPLE_NUMBER_MAX);
    CHECK_INT(t.rss, SAMPLE_NUMBER_MAX);
    CHECK_INT(t.threads, SAMPLE_NUMBER_MAX);
    CHECK_INT(t.processes, 24);
    CHECK_INT(sampler_trees(s, NULL, 0), 33);
    sampler_destroy(s);
}

#define HELD ((size_t)16 << 20)

static void burn(int64_t ms)
{
    int64_t until = clock_mono_ns(&clock_system) + ms * NS_PER_MS;

    for (volatile unsigned n = 0; clock_mono_ns(&clock_system) < until;)
        n++;
}

/* Says by a byte that it holds HELD bytes of its own, and waits for its end. */
static void hold(int ready)
{
    char *p = mmap(NULL, HELD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        _exit(1);
    memset(p, 1, HELD);
    if (write(ready, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* A root with a child that holds memory, whose child does too, and one that worked and was waited
 * for. */
static pid_t start_tree(int ready)
{
    pid_t root = fork(), child;

    if (root != 0)
        return root;
    setpgid(0, 0);
    child = fork();
    if (child == 0) {
        if (fork() == 0)
            hold(ready);
        hold(ready);
    }
    child = fork();
    if (child == 0) {
        burn(200);
        _exit(0);
    }
    if (waitpid(child, NULL, 0) != child || write(ready, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

TEST(a_real_tree)
{
    struct err err = ERR_INIT;
    struct sampler *s = sampler_create(&(struct sampler_options){ 0 }, &err);
    int p[2];
    char byte;

    CHECK(s && pipe(p) == 0);
    pid_t root = start_tree(p[1]);
    for (int i = 0; i < 3; i++)
        CHECK(read(p[0], &byte, 1) == 1);
    struct sample_tree t[] = { { .root = root, .start = sys_process_start(root) },
                               { .root = getpid() } };
    CHECK(sampler_trees(s, t, 2) >= 4);
    CHECK(t[0].found && t[1].found);
    CHECK_INT(t[0].processes, 2);
    CHECK_INT(t[0].threads, 2);
    CHECK(t[0].rss >= 2 * (int64_t)HELD);
    CHECK(t[0].memory >= 2 * (int64_t)HELD && t[0].memory <= t[0].rss);
    CHECK(t[0].user_ns + t[0].system_ns >= 20 * NS_PER_MS); /* of 200, on a busy machine */
    CHECK_INT(t[1].processes, 0);                           /* its only child is a root */
    CHECK(kill(-root, SIGKILL) == 0);
    CHECK(waitpid(root, NULL, 0) == root);
    close(p[1]);
    CHECK(read(p[0], &byte, 1) == 0); /* all are gone */
    close(p[0]);
    sampler_destroy(s);
}

TEST(groups)
{
    struct sample_group g;
    int dir;

    put("v2/cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\n");
    put("v2/memory.current", "1000000\n");
    put("v2/memory.stat", "anon 5\nfile 300000\ninactive_file 250000\n");
    put("v2/cgroup.procs", "1\n20\n300\n");
    char *path = fs_join(unit_tmpdir(), "v2");
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sample_group_read(dir, &g);
    CHECK_INT(g.user_ns, 10 * NS_PER_US);
    CHECK_INT(g.system_ns, 20 * NS_PER_US);
    CHECK_INT(g.memory, 750000);
    CHECK_INT(g.processes, 3);
    close(dir);
    free(path);

    put("v1/memory.usage_in_bytes", "100\n");
    put("v1/memory.stat", "cache 500\ntotal_inactive_file 500\n");
    path = fs_join(unit_tmpdir(), "v1");
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sample_group_read(dir, &g);
    CHECK_INT(g.user_ns, -1);
    CHECK_INT(g.memory, 0);
    CHECK_INT(g.processes, -1);
    close(dir);
    free(path);
    sample_group_read(-1, &g);
    CHECK_INT(g.memory, -1);
}
