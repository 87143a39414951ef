/* SPDX-License-Identifier: BSD-2-Clause */
/* What running attempts use: the trees below their shims. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "node/node_internal.h"
#include "sys/sys.h"

#include <unistd.h>

/* CPU time of the children of a process that it has waited for: for a shim, of the attempts it had
 * before. Fields 16 and 17 of its stat, in which the name in parentheses may hold anything. */
static int64_t waited_ns(pid_t pid)
{
    char *path = mem_printf("/proc/%ld/stat", (long)pid);
    int64_t ticks[2] = { 0, 0 }, per_tick = NS_PER_S / sysconf(_SC_CLK_TCK);
    struct buf b = BUF_INIT;
    const char *p;

    if (fs_read_file(path, 4096, &b, NULL) == 0 && (p = strrchr(buf_data(&b), ')'))) {
        p += strcspn(p, " ");
        for (int field = 3; *p == ' ' && field <= 17; field++) {
            p++;
            if (field >= 16)
                ticks[field - 16] = strtoll(p, NULL, 10);
            p += strcspn(p, " ");
        }
    }
    buf_fini(&b);
    free(path);
    return (ticks[0] + ticks[1]) * per_tick;
}

/* Who is looked at for the first time has begun since the shim's last look, or nearly. */
static void look(struct shim_conn *c)
{
    const struct attempt_key *key = &c->run->key;

    if (c->used_by.job == key->job && c->used_by.number == key->number)
        return;
    c->used_by = *key;
    c->used_start = sys_process_start(c->pid);
    c->used_base_ns = waited_ns(c->pid);
    c->used_cpu_ns = 0;
}

static size_t collect(const struct node *n, struct sample_tree *trees, struct shim_conn **of,
                      size_t max)
{
    size_t count = 0;

    LIST_FOR_EACH(it, &n->conns) {
        struct shim_conn *c = CONTAINER_OF(it, struct shim_conn, link);
        if (count == max)
            break;
        if (!c->run)
            continue;
        look(c);
        trees[count] = (struct sample_tree){ .root = c->pid, .start = c->used_start };
        of[count++] = c;
    }
    return count;
}

size_t node_measure_uses(struct node *n, struct node_use *out, size_t max)
{
    struct sampler_options options = { .clock = ev_clock(n->loop) };
    size_t count, found = 0;

    if (n->busy_count == 0)
        return 0;
    if (!n->trees)
        n->trees = sampler_create(&options, NULL);
    if (!n->trees)
        return 0;
    if (max > n->busy_count)
        max = n->busy_count;
    struct sample_tree *trees = mem_alloc_array(max, sizeof *trees);
    struct shim_conn **of = mem_alloc_array(max, sizeof *of);
    count = collect(n, trees, of, max);
    if (count > 0)
        sampler_trees(n->trees, trees, count);
    for (size_t i = 0; i < count; i++) {
        int64_t cpu = trees[i].user_ns + trees[i].system_ns - of[i]->used_base_ns;
        if (!trees[i].found)
            continue;
        if (cpu > of[i]->used_cpu_ns) /* it can step back a little */
            of[i]->used_cpu_ns = cpu;
        out[found++] = (struct node_use){ of[i]->used_by, of[i]->used_cpu_ns, trees[i].memory };
    }
    free(trees);
    free(of);
    return found;
}
