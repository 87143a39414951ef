/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a machine is doing: CPUs, memory, pressure, disks, network, users, and the process trees of
 * jobs. A sampler keeps the counters it saw last, because most of what is worth knowing is a
 * difference:
 *
 *     struct sampler *s = sampler_create(&(struct sampler_options){ 0 }, &err);
 *     sampler_take(s);                              every few seconds; the first has no rates
 *     double busy = sample_cpu_busy(&sampler_take(s)->cpu);
 *
 * Everything is read from /proc, /sys and /run. A file that is missing, cut or odd costs the numbers
 * that stand in it, never the sample. What isn't known is -1, in every number here; strings are "".
 * The same sample is made of the text that SAMPLE_SCRIPT prints on a host where there is no hive.
 *
 * None of this waits: these files are made by the kernel in memory. The exception is statvfs(2) of
 * the folders named by the caller, which hangs while they are on a network file system whose server
 * is gone. A process that may not hang names local folders only.
 *
 * A control group's limit on memory is not in here: see sys_memory_total().
 */
#ifndef HIVE_SYS_SAMPLE_H
#define HIVE_SYS_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct clock;
struct err;
struct sampler;

#define SAMPLE_CORES_MAX 8192      /* what is above is not seen */
#define SAMPLE_DISKS_MAX 4096      /* lines of diskstats, partitions included */
#define SAMPLE_INTERFACES_MAX 4096 /* veth ends of containers included */
#define SAMPLE_USERS_MAX 256       /* different names */
#define SAMPLE_SESSIONS_MAX 4096
#define SAMPLE_FOLDERS_MAX 16
#define SAMPLE_FILE_MAX (1024 * 1024)     /* bytes of one file; of a longer one the first lines */
#define SAMPLE_TEXT_MAX (4 * 1024 * 1024) /* bytes that SAMPLE_SCRIPT may print */
#define SAMPLE_PROCESSES_MAX 4194304      /* the kernel's own limit on pids */

/* Asked again sooner than this, sampler_take() gives the sample that it has: in less, a clock of 10 ms ticks
 * says nothing. */
#define SAMPLE_INTERVAL_MIN_NS INT64_C(100000000)

/* Percent of the interval. All known, adding up to 100, or all -1. */
struct sample_cpu {
    double user;   /* with nice and guests */
    double kernel; /* with interrupts; "system" elsewhere */
    double iowait;
    double steal; /* taken by the machine that this one is a guest of */
    double idle;
};

struct sample_core {
    int id;                /* as the kernel counts; there are gaps where CPUs are offline */
    bool usable;           /* this process may run on it (affinity, cpuset of a container) */
    struct sample_cpu cpu; /* -1 in the first interval after it came online */
};

/* Bytes. */
struct sample_memory {
    int64_t total;
    int64_t available; /* could be had without swapping; kernels before 3.14: an estimate */
    int64_t free;
    int64_t cached; /* page cache, buffers, slab that can be given back; shared memory too */
    int64_t swap_total, swap_used;
};

/* Pressure stall: percent of the last 10 seconds in which some task, or all of them, waited. */
struct sample_pressure {
    double some, full; /* -1: this kernel has no such line */
};

/*
 * Added up over whole physical disks: those with a device behind them (/sys/block/NAME/device), so
 * not partitions, and not loop, dm, md and zram, which pass their work on. Without /sys the name
 * decides.
 */
struct sample_disk {
    double read_bytes_per_s, write_bytes_per_s;
    double reads_per_s, writes_per_s;
    double busiest_percent; /* the share of the interval in which the busiest disk had work */
};

struct sample_folder {
    const char *path;          /* as given in the options */
    int64_t total, free;       /* bytes; free is what a user other than root can have */
    int64_t files, files_free; /* inodes; -1 in a text and where the file system has no limit */
};

/*
 * A network interface. `counted` says that it is in the sum: it has a device behind it and is not
 * the lower half of another that has (as on Azure). So not lo, and not bridges, bonds, VLANs,
 * tunnels, veth, whose bytes go through a device too or never leave. Where no interface has a
 * device (a container), all count but lo, bridges and their ports, tunnels, and what sits on another
 * interface.
 */
struct sample_interface {
    char name[16];
    bool counted;
    int64_t rx_bytes, tx_bytes, rx_packets, tx_packets; /* since it exists */
    double rx_bytes_per_s, tx_bytes_per_s, rx_packets_per_s, tx_packets_per_s;
};

/* From utmp, or from logind's sessions where there is no utmp (Debian 13). Graphical and text
 * logins; not greeters, not sessions that are closing, not utmp records of processes that are gone. */
struct sample_users {
    int count; /* different names: elements of `names` */
    int sessions;
    char names[SAMPLE_USERS_MAX][33]; /* printable ASCII; longer names are cut */
};

struct sample {
    int64_t taken_ns;    /* the sampler's clock (mono); in a text the host's uptime */
    int64_t interval_ns; /* since the sample before; 0: there is none, and no rates */
    int64_t uptime_ns;
    char boot_id[40]; /* changes with every boot */

    struct sample_cpu cpu;    /* mean of all cores */
    struct sample_cpu usable; /* mean of those that are `usable` */
    const struct sample_core *cores;
    size_t core_count;
    size_t usable_count;

    double load[3];  /* 1, 5, 15 minutes */
    int runnable;    /* threads that run or want to */
    int64_t threads; /* of all processes, in our PID namespace or not */
    int64_t processes;

    struct sample_memory memory;
    struct sample_pressure cpu_pressure, memory_pressure, io_pressure;
    struct sample_disk disk;
    struct sample_interface network; /* the sum of those counted, name "" */
    const struct sample_interface *interfaces;
    size_t interface_count;
    struct sample_users users;
    struct sample_folder folders[SAMPLE_FOLDERS_MAX];
    size_t folder_count;
};

struct sampler_options {
    const char *root;           /* folder with proc/, sys/ and run/; NULL: "/" */
    const char *const *folders; /* NULL-terminated, copied; NULL: none. See above: can hang */
    const struct clock *clock;  /* borrowed; NULL: clock_system */
    bool text;                  /* for sampler_read_text alone: opens nothing */
};

/* Fails when there is no /proc, or when there are too many folders. Nothing is measured yet. */
struct sampler *sampler_create(const struct sampler_options *options, struct err *err);
void sampler_destroy(struct sampler *s);

/*
 * Measures now. Never fails. Borrowed: valid until the next call for this sampler. For a sampler of
 * texts, the last sample. Users, the number of processes and which cores are usable cost most and
 * change slowly: they are up to 10 seconds old (sampler_trees() counts processes anew).
 */
const struct sample *sampler_take(struct sampler *s);

/* 100 less idle and iowait, or -1. */
double sample_cpu_busy(const struct sample_cpu *cpu);

/*
 * For hosts where hive can't be copied to: a program for a POSIX shell (busybox will do) that prints
 * one sample for each line it reads from stdin, and ends with stdin. Its arguments are the folders.
 * It is one line without quotes ('), backslashes and exclamation marks, so that any login shell
 * passes it on unchanged between two quotes.
 */
extern const char SAMPLE_SCRIPT[];

/* Appends the command line that runs it, for any login shell: exec sh -c '...' hive FOLDER... A
 * folder must not have a quote, backslash, newline or '!' in it: ERR_INVALID. */
int sample_script_command(const char *const *folders, struct buf *out, struct err *err);

/* Whether `text` has a whole sample in it: bytes up to and with its last line, or 0. For readers of
 * a stream, who keep at most SAMPLE_TEXT_MAX bytes. */
size_t sample_text_end(const char *text, size_t len);

/*
 * A sample from what the script printed, with rates against the one before. What stands before the
 * sample (greetings of a login shell) is skipped. ERR_CORRUPT when there is no whole sample in it,
 * ERR_TOO_LARGE; the sampler is then as before. Borrowed as by sampler_take().
 */
const struct sample *sampler_read_text(struct sampler *s, const char *text, size_t len,
                                       struct err *err);

/*
 * The descendants of one process: for a job, its shim, to which orphans of the job come back.
 * CPU time is that of the descendants and of all that ended and were waited for, by the root too:
 * of a shim that had attempts before, take the difference. Not in it: the root's own time, and
 * processes whose parent ignores SIGCHLD.
 *
 * It is no instant: what ends while the pass goes on is seen twice or not at all, so that CPU time
 * can step back a little. Keep the largest.
 */
struct sample_tree {
    pid_t root;     /* in */
    uint64_t start; /* in: its start (sys_process_start); 0: whoever has the pid */
    bool found;     /* out: the root is there. Else nothing is known: all -1 */
    bool with_root; /* in: the root's own time and memory too, it is a part of the job */
    int64_t user_ns, system_ns;
    int64_t rss; /* bytes, added up: what processes share counts once for each of them */
    /* Bytes, nearer to what the tree costs: unshared pages of each, and the shared ones (files and
     * shared memory) of that which has most. Pages shared since a fork count for each. */
    int64_t memory;
    int64_t processes, threads; /* without zombies */
};

/*
 * Fills `trees` in one pass over /proc, however many there are. A process counts for the nearest
 * root above it; a root that is named twice is found once. Returns how many processes the machine has, or -1 without /proc. Costs about as
 * much as `ps`: reads a file for each process of the machine and another for those of the trees.
 */
int64_t sampler_trees(struct sampler *s, struct sample_tree *trees, size_t count);

/* What a control group has used; -1 where it doesn't say. Where each job has a group, this is
 * cheaper and more exact than walking over processes. */
struct sample_group {
    int64_t user_ns, system_ns; /* since the group was made; v2 alone */
    int64_t memory;             /* bytes, page cache included that is in use */
    int64_t processes;          /* in the group itself, not in groups below */
};

/* `dirfd` is the folder of a v2 group, or of a v1 group of the memory controller. */
void sample_group_read(int dirfd, struct sample_group *g);

#endif
