/* SPDX-License-Identifier: BSD-2-Clause */
/* From two sets of counters to percents and rates. */
#include "sys/sample_parse.h"

#include "base/clock.h"
#include "base/mem.h"

static const struct sample_cpu no_cpu = { -1, -1, -1, -1, -1 };

double sample_cpu_busy(const struct sample_cpu *cpu)
{
    double busy = 100 - cpu->idle - cpu->iowait;

    if (cpu->idle < 0)
        return -1;
    return busy > 0 ? busy : 0;
}

/* What a counter grew by. One that went back stands for nothing: iowait does it on every kernel, and
 * all do when a CPU, a disk or an interface comes anew. */
static int64_t grown(int64_t before, int64_t now)
{
    return now > before ? now - before : 0;
}

static struct sample_cpu percents(const struct sample_ticks *a, const struct sample_ticks *b)
{
    double user = (double)grown(a->user, b->user), kernel = (double)grown(a->kernel, b->kernel);
    double iowait = (double)grown(a->iowait, b->iowait), steal = (double)grown(a->steal, b->steal);
    double idle = (double)grown(a->idle, b->idle), all = user + kernel + iowait + steal + idle;

    if (all <= 0)
        return no_cpu;
    return (struct sample_cpu){ .user = 100 * user / all,
                                .kernel = 100 * kernel / all,
                                .iowait = 100 * iowait / all,
                                .steal = 100 * steal / all,
                                .idle = 100 * idle / all };
}

struct mean {
    struct sample_cpu sum;
    size_t count;
};

static void mean_add(struct mean *m, const struct sample_cpu *c)
{
    if (c->idle < 0)
        return;
    m->sum.user += c->user;
    m->sum.kernel += c->kernel;
    m->sum.iowait += c->iowait;
    m->sum.steal += c->steal;
    m->sum.idle += c->idle;
    m->count++;
}

static struct sample_cpu mean_of(const struct mean *m, struct sample_cpu otherwise)
{
    double n = (double)m->count;

    if (m->count == 0)
        return otherwise;
    return (struct sample_cpu){ m->sum.user / n, m->sum.kernel / n, m->sum.iowait / n,
                                m->sum.steal / n, m->sum.idle / n };
}

static bool is_allowed(const struct sample_counters *c, int id)
{
    return c->allowed[id / 64] >> (id % 64) & 1;
}

/*
 * Which CPUs count as ours. Some containers (lxcfs) show only their own CPUs, numbered anew, while
 * the kernel's list has the true numbers: when there are as many as are allowed, they are those.
 * When none of those shown is allowed, the numbers can't be the same, either.
 */
static bool numbers_mean_nothing(const struct sample_counters *c)
{
    size_t shown = 0;

    if (c->allowed_count == 0 || c->allowed_count == c->core_count)
        return true;
    for (size_t i = 0; i < c->core_count; i++)
        shown += is_allowed(c, c->cores[i].id);
    return shown == 0;
}

/* The mean of the cores rather than the kernel's sum: that jumps when one goes offline or comes
 * back. */
static void cpu_rates(const struct sample_counters *prev, const struct sample_counters *now,
                      struct sample_arrays *arrays, struct sample *out)
{
    bool all_usable = numbers_mean_nothing(now);
    struct mean all = { .count = 0 }, usable = { .count = 0 };
    struct sample_cpu total = no_cpu;
    size_t old = 0;

    if (arrays->core_cap < now->core_count) {
        arrays->core_cap = now->core_count;
        arrays->cores = mem_resize(arrays->cores, arrays->core_cap, sizeof *arrays->cores);
    }
    for (size_t i = 0; i < now->core_count; i++) {
        const struct sample_core_counter *c = &now->cores[i];
        struct sample_core *core = &arrays->cores[i];
        *core = (struct sample_core){ c->id, all_usable || is_allowed(now, c->id), no_cpu };
        while (prev && old < prev->core_count && prev->cores[old].id < c->id)
            old++;
        if (prev && old < prev->core_count && prev->cores[old].id == c->id)
            core->cpu = percents(&prev->cores[old].ticks, &c->ticks);
        mean_add(&all, &core->cpu);
        if (core->usable) {
            mean_add(&usable, &core->cpu);
            out->usable_count++;
        }
    }
    if (prev && prev->has_total && now->has_total)
        total = percents(&prev->total, &now->total);
    out->cores = arrays->cores;
    out->core_count = now->core_count;
    out->cpu = mean_of(&all, total);
    out->usable = mean_of(&usable, out->cpu);
}

static const struct sample_disk_counter *disk_before(const struct sample_counters *prev, size_t at,
                                                     const char *name)
{
    if (at < prev->disk_count && strcmp(prev->disks[at].name, name) == 0)
        return &prev->disks[at]; /* nearly always */
    for (size_t i = 0; i < prev->disk_count; i++) {
        if (strcmp(prev->disks[i].name, name) == 0)
            return &prev->disks[i];
    }
    return NULL;
}

static void disk_rates(const struct sample_counters *prev, const struct sample_counters *now,
                       const struct sample_kinds *kinds, struct sample *out)
{
    double seconds = (double)out->interval_ns / 1e9;
    struct sample_disk sum = { .busiest_percent = -1 };

    for (size_t i = 0; i < now->disk_count; i++) {
        const struct sample_disk_counter *d = &now->disks[i], *old;
        if (sample_disk_kind(kinds, d->name) != SAMPLE_KIND_DEVICE)
            continue;
        old = disk_before(prev, i, d->name);
        if (!old)
            continue;
        double busy = (double)grown(old->busy_ms, d->busy_ms) / 10 / seconds;
        sum.read_bytes_per_s += 512 * (double)grown(old->read_sectors, d->read_sectors) / seconds;
        sum.write_bytes_per_s +=
            512 * (double)grown(old->write_sectors, d->write_sectors) / seconds;
        sum.reads_per_s += (double)grown(old->reads, d->reads) / seconds;
        sum.writes_per_s += (double)grown(old->writes, d->writes) / seconds;
        if (busy > sum.busiest_percent)
            sum.busiest_percent = busy < 100 ? busy : 100;
    }
    if (sum.busiest_percent >= 0)
        out->disk = sum;
}

static const struct sample_net_counter *net_before(const struct sample_counters *prev, size_t at,
                                                   const char *name)
{
    if (at < prev->net_count && strcmp(prev->nets[at].name, name) == 0)
        return &prev->nets[at];
    for (size_t i = 0; i < prev->net_count; i++) {
        if (strcmp(prev->nets[i].name, name) == 0)
            return &prev->nets[i];
    }
    return NULL;
}

static void one_net(const struct sample_net_counter *old, const struct sample_net_counter *n,
                    double seconds, struct sample_interface *out)
{
    out->rx_bytes = n->rx_bytes;
    out->tx_bytes = n->tx_bytes;
    out->rx_packets = n->rx_packets;
    out->tx_packets = n->tx_packets;
    if (!old) {
        out->rx_bytes_per_s = out->tx_bytes_per_s = -1;
        out->rx_packets_per_s = out->tx_packets_per_s = -1;
        return;
    }
    out->rx_bytes_per_s = (double)grown(old->rx_bytes, n->rx_bytes) / seconds;
    out->tx_bytes_per_s = (double)grown(old->tx_bytes, n->tx_bytes) / seconds;
    out->rx_packets_per_s = (double)grown(old->rx_packets, n->rx_packets) / seconds;
    out->tx_packets_per_s = (double)grown(old->tx_packets, n->tx_packets) / seconds;
}

static void add_up(int64_t *sum, int64_t n)
{
    *sum = *sum + n < SAMPLE_NUMBER_MAX ? *sum + n : SAMPLE_NUMBER_MAX;
}

static void add_counted(struct sample_interface *sum, const struct sample_interface *n)
{
    if (!sum->counted) {
        sum->counted = true;
        sum->rx_bytes = sum->tx_bytes = sum->rx_packets = sum->tx_packets = 0;
    }
    add_up(&sum->rx_bytes, n->rx_bytes);
    add_up(&sum->tx_bytes, n->tx_bytes);
    add_up(&sum->rx_packets, n->rx_packets);
    add_up(&sum->tx_packets, n->tx_packets);
    if (n->rx_bytes_per_s < 0)
        return;
    if (sum->rx_bytes_per_s < 0)
        sum->rx_bytes_per_s = sum->tx_bytes_per_s = sum->rx_packets_per_s = sum->tx_packets_per_s =
            0;
    sum->rx_bytes_per_s += n->rx_bytes_per_s;
    sum->tx_bytes_per_s += n->tx_bytes_per_s;
    sum->rx_packets_per_s += n->rx_packets_per_s;
    sum->tx_packets_per_s += n->tx_packets_per_s;
}

static void net_rates(const struct sample_counters *prev, const struct sample_counters *now,
                      const struct sample_kinds *kinds, struct sample_arrays *arrays,
                      struct sample *out)
{
    enum sample_kind wanted = SAMPLE_KIND_PLAIN;

    if (arrays->interface_cap < now->net_count) {
        arrays->interface_cap = now->net_count;
        arrays->interfaces =
            mem_resize(arrays->interfaces, arrays->interface_cap, sizeof *arrays->interfaces);
    }
    for (size_t i = 0; i < now->net_count; i++) {
        if (sample_net_kind(kinds, now->nets[i].name) == SAMPLE_KIND_DEVICE)
            wanted = SAMPLE_KIND_DEVICE;
    }
    for (size_t i = 0; i < now->net_count; i++) {
        const struct sample_net_counter *n = &now->nets[i];
        struct sample_interface *to = &arrays->interfaces[i];
        *to = (struct sample_interface){ .counted = sample_net_kind(kinds, n->name) == wanted };
        memcpy(to->name, n->name, sizeof to->name);
        one_net(prev ? net_before(prev, i, n->name) : NULL, n, (double)out->interval_ns / 1e9, to);
        if (to->counted)
            add_counted(&out->network, to);
    }
    out->interfaces = arrays->interfaces;
    out->interface_count = now->net_count;
}

static bool same_boot(const struct sample_counters *a, const struct sample_counters *b)
{
    return b->time_ns > a->time_ns && strcmp(a->boot_id, b->boot_id) == 0;
}

void sample_rates(const struct sample_counters *prev, const struct sample_counters *now,
                  const struct sample_kinds *disks, const struct sample_kinds *nets,
                  struct sample_arrays *arrays, struct sample *out)
{
    if (prev && !same_boot(prev, now))
        prev = NULL;
    out->interval_ns = prev ? now->time_ns - prev->time_ns : 0;
    cpu_rates(prev, now, arrays, out);
    if (prev)
        disk_rates(prev, now, disks, out);
    net_rates(prev, now, nets, arrays, out);
}

void sample_reset(struct sample *out)
{
    static const struct sample_pressure no_pressure = { -1, -1 };

    out->taken_ns = out->uptime_ns = -1;
    out->interval_ns = 0;
    out->boot_id[0] = '\0';
    out->cpu = out->usable = no_cpu;
    out->core_count = out->usable_count = out->interface_count = 0;
    out->load[0] = out->load[1] = out->load[2] = -1;
    out->runnable = -1;
    out->threads = out->processes = -1;
    out->memory = (struct sample_memory){ -1, -1, -1, -1, -1, -1 };
    out->cpu_pressure = out->memory_pressure = out->io_pressure = no_pressure;
    out->disk = (struct sample_disk){ -1, -1, -1, -1, -1 };
    out->network = (struct sample_interface){ "", false, -1, -1, -1, -1, -1, -1, -1, -1 };
    out->users.count = out->users.sessions = -1;
    for (size_t i = 0; i < out->folder_count; i++) {
        struct sample_folder *f = &out->folders[i];
        f->total = f->free = f->files = f->files_free = -1;
    }
}
