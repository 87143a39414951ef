/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/link_sample.h"

#include "base/mem.h"

#include <stddef.h>

void link_sample_clear(struct link_sample *l)
{
    *l = (struct link_sample){
        .cpu_percent = -1,
        .iowait_percent = -1,
        .load = { -1, -1, -1 },
        .cpu_pressure_percent = -1,
        .memory_pressure_percent = -1,
        .io_pressure_percent = -1,
        .uptime_s = -1,
        .rx_bytes_per_s = -1,
        .tx_bytes_per_s = -1,
        .disk_read_bytes_per_s = -1,
        .disk_write_bytes_per_s = -1,
        .memory_total_bytes = -1,
        .memory_available_bytes = -1,
        .swap_total_bytes = -1,
        .swap_used_bytes = -1,
        .disk_total_bytes = -1,
        .disk_free_bytes = -1,
    };
}

/* Hundredths are as exact as it was measured. */
static double rounded(double v)
{
    return v >= 0 && v < 1e15 ? (double)(int64_t)(v * 100 + 0.5) / 100 : -1;
}

void link_sample_fill(struct link_sample *l, const struct sample *s, struct link_sample_room *room)
{
    link_sample_clear(l);
    l->cpu_percent = rounded(sample_cpu_busy(&s->usable));
    l->iowait_percent = rounded(s->usable.iowait);
    for (int i = 0; i < 3; i++)
        l->load[i] = rounded(s->load[i]);
    l->cpu_pressure_percent = rounded(s->cpu_pressure.some);
    l->memory_pressure_percent = rounded(s->memory_pressure.some);
    l->io_pressure_percent = rounded(s->io_pressure.some);
    l->uptime_s = s->uptime_ns >= 0 ? rounded((double)s->uptime_ns / 1e9) : -1;
    l->rx_bytes_per_s = rounded(s->network.rx_bytes_per_s);
    l->tx_bytes_per_s = rounded(s->network.tx_bytes_per_s);
    l->disk_read_bytes_per_s = rounded(s->disk.read_bytes_per_s);
    l->disk_write_bytes_per_s = rounded(s->disk.write_bytes_per_s);
    l->memory_total_bytes = s->memory.total;
    l->memory_available_bytes = s->memory.available;
    l->swap_total_bytes = s->memory.swap_total;
    l->swap_used_bytes = s->memory.swap_used;
    if (s->folder_count > 0) {
        l->disk_total_bytes = s->folders[0].total;
        l->disk_free_bytes = s->folders[0].free;
    }
    for (size_t i = 0; i < s->core_count && i < LINK_CORES_MAX; i++) {
        double busy = sample_cpu_busy(&s->cores[i].cpu);
        room->cores[l->core_count++] = (signed char)(busy >= 0 && busy <= 100 ? busy + 0.5 : -1);
    }
    l->cores = room->cores;
    for (int i = 0; i < s->users.count; i++)
        room->users[i] = s->users.names[i];
    room->users[s->users.count > 0 ? s->users.count : 0] = NULL;
    l->users = room->users;
}
