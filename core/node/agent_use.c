/* SPDX-License-Identifier: BSD-2-Clause */
/* What running attempts use: the trees below their shims. */
#include "base/mem.h"

#include "node/agent_priv.h"

#include "base/fs.h"
#include "sys/sample.h"
#include "sys/sys.h"

#include <inttypes.h>
#include <unistd.h>

#define LOOKS_MAX 256 /* claims read in one go */

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

/* Which process is the shim of an attempt, from its claim, once there is one. */
static bool find_shim(struct agent *a, struct agent_attempt *t)
{
    struct attempt_end end;
    enum attempt_state state;

    if (t->shim > 0)
        return true;
    if (attempt_inspect(a->state_fd, &t->key, ATTEMPT_LEAVE, &state, &end, &t->shim, NULL) != 0 ||
        state != ATTEMPT_ALIVE || t->shim <= 0) {
        t->shim = 0;
        return false;
    }
    t->shim_start = sys_process_start(t->shim);
    t->cpu_base_ns = waited_ns(t->shim);
    return true;
}

static size_t collect(struct agent *a, struct sample_tree *trees, struct link_use *uses,
                      struct agent_attempt **of, size_t most)
{
    size_t n = 0, looks = 0;

    LIST_FOR_EACH(it, &a->running) {
        struct agent_attempt *t = CONTAINER_OF(it, struct agent_attempt, link);
        if (n == most || (t->shim == 0 && ++looks > LOOKS_MAX))
            break;
        if (t->unwanted || !find_shim(a, t))
            continue;
        trees[n] = (struct sample_tree){ .root = t->shim, .start = t->shim_start };
        uses[n].key = t->key;
        uses[n].key.fence = 0;
        of[n++] = t;
    }
    return n;
}

struct link_use *uses_measure(struct agent *a, size_t *count)
{
    size_t most = map_count(&a->attempts), n, out = 0;

    *count = 0;
    if (list_empty(&a->running))
        return NULL;
    if (!a->trees)
        a->trees = sampler_create(&(struct sampler_options){ .clock = ev_clock(a->loop) }, NULL);
    if (!a->trees)
        return NULL;
    if (most > LINK_ATTEMPTS_MAX)
        most = LINK_ATTEMPTS_MAX;
    struct sample_tree *trees = mem_alloc_array(most, sizeof *trees);
    struct link_use *uses = mem_alloc_array(most, sizeof *uses);
    struct agent_attempt **of = mem_alloc_array(most, sizeof *of);
    n = collect(a, trees, uses, of, most);
    if (n > 0)
        sampler_trees(a->trees, trees, n);
    for (size_t i = 0; i < n; i++) {
        if (!trees[i].found)
            continue;
        int64_t cpu = trees[i].user_ns + trees[i].system_ns - of[i]->cpu_base_ns;
        if (cpu > of[i]->cpu_ns)
            of[i]->cpu_ns = cpu;
        uses[out] = (struct link_use){ uses[i].key, of[i]->cpu_ns, trees[i].memory };
        out++;
    }
    free(trees);
    free(of);
    *count = out;
    return uses;
}

void uses_end(struct agent *a)
{
    sampler_destroy(a->trees);
    a->trees = NULL;
}
