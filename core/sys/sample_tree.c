/* SPDX-License-Identifier: BSD-2-Clause */
/* Who descends from whom, and what it costs: process trees and control groups. */
#include "sys/sample.h"

#include "base/clock.h"
#include "base/mem.h"
#include "sys/proc_file.h"
#include "sys/sample_parse.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#define NO_TREE SIZE_MAX

struct process {
    int64_t pid;
    struct sample_process stat;
    size_t tree;   /* index of the nearest root at or above it, or NO_TREE */
    unsigned mark; /* 0: not looked at; 1: on the way up; 2: `tree` is known */
    bool is_root;
};

struct pass {
    struct process *items;
    size_t count, cap;
    int64_t ns_per_tick, page;
    int64_t *largest_shared; /* of each tree */
};

static bool read_process(struct sampler *s, const char *name, struct pass *pass)
{
    char path[64], text[1024];
    struct process *p;
    ssize_t n;

    snprintf(path, sizeof path, "%.20s/stat", name);
    n = proc_file_read(s->procfd, path, text, sizeof text);
    if (n <= 0)
        return false;
    if (pass->count == pass->cap) {
        pass->cap = pass->cap ? pass->cap * 2 : 256;
        pass->items = mem_resize(pass->items, pass->cap, sizeof *pass->items);
    }
    p = &pass->items[pass->count];
    *p = (struct process){ .pid = strtoll(name, NULL, 10), .tree = NO_TREE };
    if (!sample_parse_process(text, (size_t)n, &p->stat))
        return false;
    pass->count++;
    return true;
}

static int compare_pids(const void *a, const void *b)
{
    const struct process *x = a, *y = b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Returns how many there are, those included that couldn't be read; -1 without /proc. */
static int64_t read_processes(struct sampler *s, struct pass *pass)
{
    int fd = s->procfd < 0 ? -1 : openat(s->procfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    int64_t seen = 0;
    bool sorted = true;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (seen < SAMPLE_PROCESSES_MAX && (e = readdir(dir))) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        seen++;
        if (read_process(s, e->d_name, pass) && pass->count > 1 &&
            pass->items[pass->count - 2].pid >= pass->items[pass->count - 1].pid)
            sorted = false;
    }
    closedir(dir);
    if (!sorted) /* the kernel's /proc is */
        qsort(pass->items, pass->count, sizeof *pass->items, compare_pids);
    return seen;
}

static struct process *find(const struct pass *pass, int64_t pid)
{
    struct process key = { .pid = pid };

    if (pass->count == 0)
        return NULL;
    return bsearch(&key, pass->items, pass->count, sizeof key, compare_pids);
}

/* Up to the first process whose tree is known, and down again by the same way. A circle, which no
 * kernel makes, belongs to no tree. */
static void find_tree(const struct pass *pass, struct process *p)
{
    struct process *top = p;
    size_t tree = NO_TREE;

    while (top && top->mark == 0) {
        top->mark = 1;
        top = find(pass, top->stat.ppid);
    }
    if (top && top->mark == 2)
        tree = top->tree;
    while (p && p->mark == 1) {
        p->mark = 2;
        p->tree = tree;
        p = find(pass, p->stat.ppid);
    }
}

static int64_t scale(int64_t n, int64_t unit)
{
    int64_t v;

    return __builtin_mul_overflow(n, unit, &v) || v > SAMPLE_NUMBER_MAX ? SAMPLE_NUMBER_MAX : v;
}

static void add(int64_t *sum, int64_t v)
{
    *sum = *sum + v < SAMPLE_NUMBER_MAX ? *sum + v : SAMPLE_NUMBER_MAX;
}

static void add_memory(struct sampler *s, const struct pass *pass, const struct process *p,
                       struct sample_tree *t, int64_t *largest_shared)
{
    int64_t rss = scale(p->stat.rss_pages, pass->page), shared = 0, resident;
    char path[64], text[256];

    snprintf(path, sizeof path, "%lld/statm", (long long)p->pid);
    ssize_t n = proc_file_read(s->procfd, path, text, sizeof text);
    if (n > 0 && sample_parse_statm(text, (size_t)n, &resident, &shared)) {
        /* Newer kernels keep no exact sum in stat. */
        rss = scale(resident, pass->page);
        shared = scale(shared, pass->page);
    } else {
        shared = 0;
    }
    if (shared > rss)
        shared = rss;
    if (shared > *largest_shared)
        *largest_shared = shared;
    add(&t->rss, rss);
    add(&t->memory, rss - shared);
}

static void add_process(struct sampler *s, const struct pass *pass, const struct process *p,
                        struct sample_tree *t, int64_t *largest_shared)
{
    const struct sample_process *st = &p->stat;

    add(&t->user_ns, scale(st->waited_user_ticks, pass->ns_per_tick));
    add(&t->system_ns, scale(st->waited_system_ticks, pass->ns_per_tick));
    if (p->is_root && !t->with_root)
        return;
    add(&t->user_ns, scale(st->user_ticks, pass->ns_per_tick));
    add(&t->system_ns, scale(st->system_ticks, pass->ns_per_tick));
    if (st->state == 'Z' || st->state == 'X')
        return;
    t->processes++;
    add(&t->threads, st->threads);
    add_memory(s, pass, p, t, largest_shared);
}

static void start_tree(const struct pass *pass, struct sample_tree *t, size_t index)
{
    struct process *root = find(pass, t->root);

    t->found = root && !root->is_root && (t->start == 0 || t->start == root->stat.start);
    t->user_ns = t->system_ns = t->rss = t->memory = t->processes = t->threads = t->found ? 0 : -1;
    if (!t->found)
        return;
    root->is_root = true;
    root->mark = 2;
    root->tree = index;
}

int64_t sampler_trees(struct sampler *s, struct sample_tree *trees, size_t count)
{
    struct pass pass = { .ns_per_tick = NS_PER_S / sysconf(_SC_CLK_TCK),
                         .page = sysconf(_SC_PAGESIZE) };
    int64_t seen = read_processes(s, &pass);

    pass.largest_shared = mem_alloc_array(count + 1, sizeof *pass.largest_shared);
    for (size_t i = 0; i < count; i++)
        start_tree(&pass, &trees[i], i);
    for (size_t i = 0; i < pass.count; i++) {
        struct process *p = &pass.items[i];
        find_tree(&pass, p);
        if (p->tree != NO_TREE)
            add_process(s, &pass, p, &trees[p->tree], &pass.largest_shared[p->tree]);
    }
    for (size_t i = 0; i < count; i++) {
        if (trees[i].found)
            add(&trees[i].memory, pass.largest_shared[i]);
    }
    free(pass.largest_shared);
    free(pass.items);
    if (seen >= 0)
        s->processes = seen;
    return seen;
}

static int64_t group_field(int dirfd, const char *file, const char *name, int64_t unit)
{
    int64_t v;

    return proc_file_field(dirfd, file, name, &v) && v >= 0 ? scale(v, unit) : -1;
}

static int64_t group_processes(int dirfd)
{
    int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    char part[4096];
    int64_t count = 0;
    ssize_t n;

    if (fd < 0)
        return -1;
    while ((n = read(fd, part, sizeof part)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            count += part[i] == '\n';
    }
    close(fd);
    return n < 0 ? -1 : count;
}

void sample_group_read(int dirfd, struct sample_group *g)
{
    int64_t idle;

    g->user_ns = group_field(dirfd, "cpu.stat", "user_usec", NS_PER_US);
    g->system_ns = group_field(dirfd, "cpu.stat", "system_usec", NS_PER_US);
    g->processes = group_processes(dirfd);
    g->memory = -1;
    if (proc_file_number(dirfd, "memory.current", &g->memory))
        idle = group_field(dirfd, "memory.stat", "inactive_file", 1);
    else if (proc_file_number(dirfd, "memory.usage_in_bytes", &g->memory))
        idle = group_field(dirfd, "memory.stat", "total_inactive_file", 1);
    else
        return;
    /* The kernel takes it back before it lets anything fail. */
    if (idle > 0)
        g->memory = idle < g->memory ? g->memory - idle : 0;
}
