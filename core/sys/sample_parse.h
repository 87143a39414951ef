/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to core/sys and its tests: what the files say. Every parser takes any bytes of any length,
 * needs no NUL at the end, keeps within the limits of sample.h and leaves out what it doesn't
 * understand. Numbers that are too large become 2^60.
 */
#ifndef HIVE_SYS_SAMPLE_PARSE_H
#define HIVE_SYS_SAMPLE_PARSE_H

#include "sys/sample.h"

/* Numbers from outside end here, so that a sum of a few fits int64. */
#define SAMPLE_NUMBER_MAX (INT64_C(1) << 60)

/* Clock ticks since boot. */
struct sample_ticks {
    int64_t user, kernel, iowait, steal, idle;
};

struct sample_core_counter {
    int id;
    struct sample_ticks ticks;
};

/* In the order of trust: what was found out stays, SAMPLE_KIND_NAME means that the name decides. */
enum sample_kind {
    SAMPLE_KIND_NAME,
    SAMPLE_KIND_DEVICE, /* hardware, or what a virtual machine takes for it */
    SAMPLE_KIND_PLAIN,  /* interface that is neither */
    SAMPLE_KIND_OVER,   /* made of others, or a part of one: what goes through it is seen there */
};

struct sample_disk_counter {
    char name[32];
    int64_t reads, writes, read_sectors, write_sectors; /* of 512 bytes */
    int64_t busy_ms;
};

struct sample_net_counter {
    char name[16];
    int64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
};

/* Kinds by name. Disks: those with a device; `known` says that the others have none. */
struct sample_kinds {
    bool known;
    struct sample_kind_entry {
        char name[32];
        enum sample_kind kind;
    } * items;
    size_t count, cap;
};

/* What is kept for the differences. Zeroed it is empty; sample_counters_clear() keeps the memory. */
struct sample_counters {
    int64_t time_ns;
    char boot_id[40];
    bool has_total;
    struct sample_ticks total;
    struct sample_core_counter *cores; /* in the order of ids */
    size_t core_count, core_cap;
    struct sample_disk_counter *disks;
    size_t disk_count, disk_cap;
    struct sample_net_counter *nets;
    size_t net_count, net_cap;
    /* CPUs that the process may run on. `allowed_count` 0: not known. */
    uint64_t allowed[SAMPLE_CORES_MAX / 64];
    size_t allowed_count;
};

void sample_counters_clear(struct sample_counters *c);
void sample_counters_fini(struct sample_counters *c);

/* The next line without its newline; false at the end. `*text` and `*len` are what is left. */
bool sample_next_line(const char **text, size_t *len, const char **line, size_t *line_len);

void sample_parse_stat(const char *text, size_t len, struct sample_counters *c);
/* /proc/PID/status: Cpus_allowed_list */
void sample_parse_allowed(const char *text, size_t len, struct sample_counters *c);
void sample_parse_meminfo(const char *text, size_t len, struct sample_memory *m);
void sample_parse_loadavg(const char *text, size_t len, struct sample *out);
void sample_parse_pressure(const char *text, size_t len, struct sample_pressure *p);
/* -1 when there is none. */
int64_t sample_parse_uptime_ns(const char *text, size_t len);
/* Letters, digits and '-', or "". `out` has 40 bytes. */
void sample_parse_boot_id(const char *text, size_t len, char *out);
void sample_parse_diskstats(const char *text, size_t len, struct sample_counters *c);
void sample_parse_net(const char *text, size_t len, struct sample_counters *c);

/* /proc/PID/stat and statm. */
struct sample_process {
    char state;
    int64_t ppid, threads;
    int64_t user_ticks, system_ticks, waited_user_ticks, waited_system_ticks;
    uint64_t start;
    int64_t rss_pages;
};
bool sample_parse_process(const char *text, size_t len, struct sample_process *p);
void sample_parse_count(const char *text, size_t len, int64_t *count);
/* What `df -Pk` prints for one folder. */
void sample_parse_df(const char *text, size_t len, struct sample_folder *f);
bool sample_parse_statm(const char *text, size_t len, int64_t *resident, int64_t *shared);

/* Who is logged in (sample_users.c). Records of utmp are those of glibc for 64-bit machines, of
 * which there are two: 384 bytes (x86-64) and 400 (aarch64); the bytes tell which. `alive` says
 * whether a process is there. False when there are no records at all. */
bool sample_parse_utmp(const void *data, size_t len, bool (*alive)(int64_t pid, void *arg),
                       void *arg, struct sample_users *u);
/* One file of /run/systemd/sessions. */
void sample_parse_session(const char *text, size_t len, struct sample_users *u);
/* What who(1) prints, busybox's too. */
void sample_parse_who(const char *text, size_t len, struct sample_users *u);
void sample_users_add(struct sample_users *u, const char *name, size_t len);

/* Kinds (sample_kind.c). */
void sample_kinds_clear(struct sample_kinds *k);
void sample_kinds_fini(struct sample_kinds *k);
void sample_kinds_add(struct sample_kinds *k, const char *name, size_t len, enum sample_kind kind);
/* After the last was added, before any is asked for. */
void sample_kinds_sort(struct sample_kinds *k);
enum sample_kind sample_disk_kind(const struct sample_kinds *k, const char *name);
enum sample_kind sample_net_kind(const struct sample_kinds *k, const char *name);
/* Looks the names in `c` up below the folder `sysfd` (/sys). */
void sample_kinds_look(int sysfd, const struct sample_counters *c, struct sample_kinds *disks,
                       struct sample_kinds *nets);

/* Everything in `out` that is a difference (sample_rate.c). `prev` NULL or of another boot: none.
 * Arrays of `out` are its own memory, resized here. */
struct sample_arrays {
    struct sample_core *cores;
    size_t core_cap;
    struct sample_interface *interfaces;
    size_t interface_cap;
};
void sample_rates(const struct sample_counters *prev, const struct sample_counters *now,
                  const struct sample_kinds *disks, const struct sample_kinds *nets,
                  struct sample_arrays *arrays, struct sample *out);

/* All of `out` to unknown; the folders keep their paths. */
void sample_reset(struct sample *out);

/* Sections of the script's text (sample_text.c). */
struct sample_text {
    struct sample *out;
    struct sample_counters *now;
    struct sample_kinds *disks, *nets;
};
/* `text` is what stands after the first line. */
void sample_parse_sections(const char *text, size_t len, struct sample_text *t);

/* Files of /proc that are read for every sample, and stay open: opening costs as much as reading. */
enum sampler_file {
    FILE_STAT,
    FILE_DISKSTATS,
    FILE_NET,
    FILE_MEMINFO,
    FILE_LOADAVG,
    FILE_UPTIME,
    FILE_CPU_PRESSURE,
    FILE_MEMORY_PRESSURE,
    FILE_IO_PRESSURE,
    FILE_COUNT
};

/* The inside of a sampler, for sample.c, sample_text.c and sample_tree.c. */
struct sampler {
    int rootfd, procfd, sysfd; /* -1: not there */
    int files[FILE_COUNT];     /* -1: not open yet, or not there */
    const struct clock *clock;
    char *folders[SAMPLE_FOLDERS_MAX];
    size_t folder_count;
    bool any; /* `sample` is one */
    struct sample_counters counters[2];
    int current; /* index of those of `sample` */
    struct sample_kinds disks, nets;
    int64_t looked_ns;
    uint64_t looked_names; /* hash of the names that were looked up */
    int64_t slow_ns;       /* when what changes slowly was last read */
    int64_t processes;
    struct sample_users users;
    struct sample_arrays arrays;
    char *text; /* SAMPLE_FILE_MAX bytes at most: the file read last */
    size_t text_cap;
    char boot_id[40];
    struct sample sample;
};

/* Reads a regular file into s->text; its length, or -1. Doesn't wait for whoever writes a FIFO. */
ssize_t sampler_read_file(struct sampler *s, int dirfd, const char *path);
/* Where the counters of the next sample go: those before the current ones, emptied. */
struct sample_counters *sampler_next(struct sampler *s);

#endif
