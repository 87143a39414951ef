/* SPDX-License-Identifier: BSD-2-Clause */
/* What was just placed and doesn't show yet; and what applications used before. */
#include "base/mem.h"

#include "sched/choose_priv.h"

#include "sched/resources.h"

/* --- use --------------------------------------------------------------------------------------- */

static int64_t move_towards(int64_t average, int64_t value)
{
    return average + (value > average ? (value - average) / 2 : (value - average) / 5);
}

void choose_use_add(struct choose_use *use, const struct choose_run *run)
{
    if (run->duration_ns < CHOOSE_RUN_MIN_NS || (run->memory < 0 && run->cpu_milli < 0))
        return;
    int64_t memory = min_i64(run->memory, CHOOSE_BYTES_MAX);
    int64_t cpu = min_i64(run->cpu_milli, CHOOSE_MILLI_MAX);
    if (memory >= 0)
        use->memory = use->memory > 0 ? move_towards(use->memory, memory) : memory;
    if (cpu >= 0)
        use->cpu_milli = use->cpu_milli > 0 ? move_towards(use->cpu_milli, cpu) : cpu;
    use->runs++;
}

int64_t choose_expected_memory(const struct choose_use *use)
{
    return use && use->memory > 0 ? min_i64(use->memory, CHOOSE_BYTES_MAX) : CHOOSE_UNKNOWN_MEMORY;
}

int64_t choose_expected_cpu(const struct choose_use *use)
{
    return use && use->cpu_milli > 0 ? min_i64(use->cpu_milli, CHOOSE_MILLI_MAX)
                                     : CHOOSE_UNKNOWN_CPU;
}

/* --- ledger ------------------------------------------------------------------------------------ */

struct choose_ledger {
    struct launch {
        uint64_t ticket;
        int32_t host;
        int64_t placed_ns, memory, cpu_milli;
    } * launches; /* oldest first */
    size_t count, cap;
    uint64_t last_ticket;
};

struct choose_ledger *choose_ledger_create(void)
{
    return mem_alloc(sizeof(struct choose_ledger));
}

void choose_ledger_destroy(struct choose_ledger *ledger)
{
    if (!ledger)
        return;
    free(ledger->launches);
    free(ledger);
}

static void remove_at(struct choose_ledger *ledger, size_t at, size_t n)
{
    memmove(ledger->launches + at, ledger->launches + at + n,
            (ledger->count - at - n) * sizeof *ledger->launches);
    ledger->count -= n;
}

void choose_ledger_prune(struct choose_ledger *ledger, int64_t now_ns)
{
    size_t old = 0;

    while (old < ledger->count && now_ns - ledger->launches[old].placed_ns > CHOOSE_LEDGER_KEEP_NS)
        old++;
    if (old)
        remove_at(ledger, 0, old);
}

uint64_t choose_ledger_add(struct choose_ledger *ledger, int32_t host, int64_t now_ns,
                           const struct choose_use *use)
{
    choose_ledger_prune(ledger, now_ns);
    if (ledger->count == CHOOSE_LEDGER_MAX)
        remove_at(ledger, 0, 1);
    if (ledger->count == ledger->cap) {
        ledger->cap = ledger->cap ? ledger->cap * 2 : 16;
        ledger->launches = mem_resize(ledger->launches, ledger->cap, sizeof *ledger->launches);
    }
    ledger->launches[ledger->count++] = (struct launch){
        .ticket = ++ledger->last_ticket,
        .host = host,
        .placed_ns = now_ns,
        .memory = choose_expected_memory(use),
        .cpu_milli = choose_expected_cpu(use),
    };
    return ledger->last_ticket;
}

void choose_ledger_drop(struct choose_ledger *ledger, uint64_t ticket)
{
    for (size_t i = 0; i < ledger->count; i++)
        if (ledger->launches[i].ticket == ticket) {
            remove_at(ledger, i, 1);
            return;
        }
}

size_t choose_ledger_count(const struct choose_ledger *ledger)
{
    return ledger->count;
}

void choose_ledger_pending(const struct choose_ledger *ledger, int32_t host, int64_t sample_ns,
                           struct choose_pending *out)
{
    *out = (struct choose_pending){ 0 };
    for (size_t i = 0; i < ledger->count; i++) {
        const struct launch *l = &ledger->launches[i];
        int64_t seen_for = sample_ns - l->placed_ns;
        if (l->host != host || seen_for >= CHOOSE_RAMP_NS)
            continue;
        int64_t weight = 1000 - max_i64(seen_for, 0) / (CHOOSE_RAMP_NS / 1000);
        /* Divided first: 2^50 bytes times 1000 would be too close to 2^63 when added up. */
        out->memory += l->memory / 1000 * weight;
        out->cpu_milli += l->cpu_milli * weight / 1000;
        out->launch_milli += weight;
    }
}
