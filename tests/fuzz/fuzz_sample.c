/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a host says about itself: samples as text, one after another, and the binary and small files
 * that only hive itself reads. Whatever comes, percents are percents and unknown is -1.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "sys/sample.h"
#include "sys/sample_parse.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_percent(double p)
{
    must(p == -1 || (p >= 0 && p <= 100));
}

static void check_rate(double r)
{
    must(isfinite(r) && (r == -1 || r >= 0));
}

static void check_cpu(const struct sample_cpu *c)
{
    double sum = c->user + c->kernel + c->iowait + c->steal + c->idle;

    check_percent(c->user);
    check_percent(c->idle);
    must(sum == -5 || fabs(sum - 100) < 1e-6);
    check_percent(sample_cpu_busy(c));
}

static void check_interface(const struct sample_interface *n)
{
    must(strnlen(n->name, sizeof n->name) < sizeof n->name);
    must(n->rx_bytes >= -1 && n->tx_packets >= -1);
    check_rate(n->rx_bytes_per_s);
    check_rate(n->tx_bytes_per_s);
}

static void check_users(const struct sample_users *u)
{
    must(u->count >= -1 && u->count <= SAMPLE_USERS_MAX);
    must(u->sessions >= u->count && u->sessions <= SAMPLE_SESSIONS_MAX);
    for (int i = 0; i < u->count; i++) {
        size_t n = strnlen(u->names[i], sizeof u->names[i]);
        must(n > 0 && n < sizeof u->names[i]);
        for (size_t k = 0; k < n; k++)
            must(u->names[i][k] > ' ' && u->names[i][k] <= '~');
    }
}

static void check_sample(const struct sample *s)
{
    const struct sample_memory *m = &s->memory;

    check_cpu(&s->cpu);
    check_cpu(&s->usable);
    must(s->core_count <= SAMPLE_CORES_MAX && s->usable_count <= s->core_count);
    for (size_t i = 0; i < s->core_count; i++)
        check_cpu(&s->cores[i].cpu);
    must(m->total >= -1 && m->available >= -1 && m->cached >= -1 && m->free >= -1);
    must(m->swap_used >= -1 && m->swap_used <= m->swap_total + (m->swap_total < 0));
    must(m->total < 0 || m->available <= m->total);
    check_percent(s->cpu_pressure.some);
    check_percent(s->io_pressure.full);
    check_percent(s->disk.busiest_percent);
    check_rate(s->disk.read_bytes_per_s);
    check_rate(s->disk.writes_per_s);
    check_interface(&s->network);
    must(s->interface_count <= SAMPLE_INTERFACES_MAX);
    for (size_t i = 0; i < s->interface_count; i++)
        check_interface(&s->interfaces[i]);
    check_users(&s->users);
    must(s->interval_ns >= 0 && s->uptime_ns >= -1 && s->processes >= -1 && s->runnable >= -1);
    must(strnlen(s->boot_id, sizeof s->boot_id) < sizeof s->boot_id);
    for (size_t i = 0; i < s->folder_count; i++)
        must(s->folders[i].total >= -1 && s->folders[i].free >= -1);
}

static void try_text(const char *text, size_t len)
{
    static const char *const folders[] = { "/", "/a", NULL };
    struct sampler *s =
        sampler_create(&(struct sampler_options){ .text = true, .folders = folders }, NULL);
    struct buf b = BUF_INIT;
    size_t end;

    for (size_t at = 0; (end = sample_text_end(text + at, len - at)) > 0; at += end)
        check_sample(sampler_read_text(s, text + at, end, NULL));
    buf_append_str(&b, "@hive-sample 1\n");
    buf_append(&b, text, len);
    buf_append_str(&b, "\n@end\n");
    check_sample(sampler_read_text(s, buf_data(&b), buf_len(&b), NULL));
    buf_fini(&b);
    sampler_destroy(s);
}

static bool is_odd(int64_t pid, void *arg)
{
    (void)arg;
    must(pid > 0);
    return pid & 1;
}

static void try_files(const char *text, size_t len)
{
    struct sample_users u = { .count = -1, .sessions = -1 };
    struct sample_process p;
    struct sample_folder f = { .total = -1, .free = -1 };
    int64_t resident, shared;
    char boot_id[40];

    if (!sample_parse_utmp(text, len, is_odd, NULL, &u))
        must(u.count == -1);
    check_users(&u);
    if (sample_parse_process(text, len, &p))
        must(p.ppid >= 0 && p.user_ticks >= 0 && p.threads >= 0 && p.rss_pages >= 0);
    if (sample_parse_statm(text, len, &resident, &shared))
        must(resident >= 0 && shared >= 0);
    sample_parse_df(text, len, &f);
    must(f.total >= -1 && f.free >= -1);
    sample_parse_boot_id(text, len, boot_id);
    must(strlen(boot_id) < sizeof boot_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_text((const char *)data, size);
    try_files((const char *)data, size);
    return 0;
}
