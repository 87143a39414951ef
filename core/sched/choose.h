/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which host opens an application: hosts with their last measurements in, an ordered list with a
 * score, its terms, and a reason in words out. Pure: no I/O, no clock, and whole numbers only, so
 * that the same input gives the same order on every machine.
 *
 * First, hosts that can't take it are out: see enum choose_out. A host named by the user stays in
 * with old measurements, or none.
 *
 * Then each host gets a score, the sum of its terms. A term depends on this host alone: hosts that
 * come and go never change the order of the others. Equal scores keep the order of the input.
 *
 *   memory   400 * left / (left + 8 GiB)         left: available, less what was promised or placed
 *                                                there and doesn't show yet, less what this
 *                                                application is expected to use
 *   cpu      400 * free / (free + half)          free: idle cores, less the same; half: 2 cores, or
 *                                                what the application is expected to use, if more
 *   iowait   -2.5 for each 0.1 % over 2 %        at most -500
 *   load     -200 * over / (over + cores)        over: load average beyond the number of cores
 *   users    -10 for each that is logged in      at most -50
 *   age      0 to -100                           measurements from 2 to 6 intervals old
 *   last     150 / (1 + launches not seen yet)   the application ran here last
 *   sticky   2000                                the user chose this host for the application
 *   tight    -2000                               what it is expected to use is more than is left
 *
 * Room counts in a curve that flattens: from 2 to 8 GiB makes a difference, from 128 to 256 hardly
 * any, so that a big host isn't preferred because it is big while its CPUs are busy. Memory and CPU
 * weigh the same. `last` and `sticky` are lost while the host is overloaded: `tight`, iowait of 20 %
 * or more, less than a quarter of a core free, or a load average over twice the number of cores.
 *
 * What was just placed doesn't show in measurements at once. It is kept in a ledger and taken off,
 * less and less as measurements are made later: ten launches within a second go to different hosts.
 */
#ifndef HIVE_SCHED_CHOOSE_H
#define HIVE_SCHED_CHOOSE_H

#include "sched/sched.h"

struct choose_ledger;
struct err;

/* --- the formula's numbers -------------------------------------------------------------------- */

#define CHOOSE_MEMORY_POINTS 400
#define CHOOSE_MEMORY_HALF (INT64_C(8) << 30) /* a desktop with one big application */
#define CHOOSE_CPU_POINTS 400
#define CHOOSE_CPU_HALF 2000 /* milli-cores: one for the application, one for what it starts */
/* A host that waits for its disk a fifth of the time feels frozen, whatever else it has: it loses
 * to one half as free. Up to 2 % is noise of a healthy disk. */
#define CHOOSE_IOWAIT_FREE 20      /* per mille */
#define CHOOSE_IOWAIT_OVERLOAD 200 /* per mille */
#define CHOOSE_IOWAIT_POINTS 500
#define CHOOSE_LOAD_POINTS 200
/* Who sits at a host notices the stranger; only decides where the rest is nearly equal. */
#define CHOOSE_USER_POINTS 10
#define CHOOSE_USERS_POINTS 50
#define CHOOSE_AGE_POINTS 100
#define CHOOSE_AGE_FRESH 2 /* intervals: one measurement may get lost */
#define CHOOSE_AGE_STALE 6 /* intervals: what a host was then says nothing about now */
/* Its files are cached there, and many applications lock their profile: worth about as much as a
 * third of an idle host. */
#define CHOOSE_LAST_POINTS 150
/* Above all that other terms can add up to: these decide alone. */
#define CHOOSE_STICKY_POINTS 2000
#define CHOOSE_TIGHT_POINTS 2000
#define CHOOSE_CPU_OVERLOAD 250 /* milli-cores */
/* With less left than 1/50 of its memory, and these bounds, the next thing to start may be the one
 * that gets something killed. */
#define CHOOSE_FLOOR_PART 50
#define CHOOSE_FLOOR_MIN (INT64_C(128) << 20)
#define CHOOSE_FLOOR_MAX (INT64_C(512) << 20)
/* What an application is taken for that never ran: a small window program at its start. */
#define CHOOSE_UNKNOWN_MEMORY (INT64_C(512) << 20)
#define CHOOSE_UNKNOWN_CPU 500 /* milli-cores */
/* From its start on until it shows in measurements with all it uses. */
#define CHOOSE_RAMP_NS INT64_C(30000000000)
#define CHOOSE_LEDGER_KEEP_NS INT64_C(600000000000) /* on hosts that aren't measured any more */
#define CHOOSE_LEDGER_MAX 4096                      /* launches; over it the oldest is forgotten */
/* Shorter runs (--help, a window that failed to open) say nothing about what it uses. */
#define CHOOSE_RUN_MIN_NS INT64_C(5000000000)

/* --- what an application used before ----------------------------------------------------------- */

/* Averages over its runs, newer ones counting more. All 0: it never ran. To be stored as it is. */
struct choose_use {
    int64_t memory;    /* bytes */
    int64_t cpu_milli; /* 1000: one core all the time */
    int64_t runs;      /* that were counted */
};

/* One run that ended, or that goes on and was measured so far. */
struct choose_run {
    int64_t memory;      /* bytes at its peak, all its processes together; -1 unknown */
    int64_t cpu_milli;   /* on average; -1 unknown */
    int64_t duration_ns; /* shorter than CHOOSE_RUN_MIN_NS: not counted */
};

/* Counts a run. Averages move up by a half of the difference, and down by a fifth: to expect too
 * much costs a choice, to expect too little costs a host its memory. */
void choose_use_add(struct choose_use *use, const struct choose_run *run);
/* What to expect of it: CHOOSE_UNKNOWN_* where nothing is known. `use` may be NULL. */
int64_t choose_expected_memory(const struct choose_use *use);
int64_t choose_expected_cpu(const struct choose_use *use);

/* --- what was just placed ---------------------------------------------------------------------- */

struct choose_ledger *choose_ledger_create(void);
void choose_ledger_destroy(struct choose_ledger *ledger);
/* The application was placed on the host with this id, at this (monotonic) time. Returns a ticket,
 * above 0. */
uint64_t choose_ledger_add(struct choose_ledger *ledger, int32_t host, int64_t now_ns,
                           const struct choose_use *use);
/* It ended, or did not start: takes it out. An unknown ticket is fine. */
void choose_ledger_drop(struct choose_ledger *ledger, uint64_t ticket);
/* Forgets launches older than CHOOSE_LEDGER_KEEP_NS. choose_ledger_add does so, too. */
void choose_ledger_prune(struct choose_ledger *ledger, int64_t now_ns);
size_t choose_ledger_count(const struct choose_ledger *ledger);

/* What measurements of a host made at `sample_ns` don't show yet. A launch counts in full when they
 * were made before it, and then less in equal steps until CHOOSE_RAMP_NS after it. */
struct choose_pending {
    int64_t memory; /* bytes */
    int64_t cpu_milli;
    int64_t launch_milli; /* 1000: one launch that doesn't show at all */
};
void choose_ledger_pending(const struct choose_ledger *ledger, int32_t host, int64_t sample_ns,
                           struct choose_pending *out);

/* --- choosing ---------------------------------------------------------------------------------- */

/* A host as last measured. Numbers below 0 are unknown: such a term counts as if there were no room
 * (memory, cpu), or 0. */
struct choose_host {
    int32_t id;       /* for the ledger; unique */
    const char *name; /* unique */
    enum sched_node_state state;
    int64_t sample_ns;    /* monotonic time of the measurements; 0 or less: there are none */
    int32_t cores;        /* less than 1 counts as 1 */
    int32_t cpu_permille; /* of all cores: busy, not counting iowait */
    int32_t iowait_permille;
    int64_t load_milli;                     /* load average of the last minute, 1000: one process */
    int64_t memory_total, memory_available; /* bytes */
    int32_t users;                          /* logged in */
    /* Reserved by jobs there beyond what these use now. */
    int64_t promised_memory, promised_cpu_milli;
};

struct choose_request {
    const char *app;    /* for words; NULL: "it" */
    const char *host;   /* only this one (--host), or NULL */
    const char *sticky; /* the host the user's settings give for this application, or NULL */
    const char *last;   /* where it ran last, or NULL */
    int64_t memory;     /* bytes that must be free; 0: what it used before decides */
    const struct choose_use *use; /* NULL: unknown */
};

enum choose_term {
    CHOOSE_MEMORY,
    CHOOSE_CPU,
    CHOOSE_IOWAIT,
    CHOOSE_LOAD,
    CHOOSE_USERS,
    CHOOSE_AGE,
    CHOOSE_LAST,
    CHOOSE_STICKY,
    CHOOSE_TIGHT,
    CHOOSE_TERM_COUNT
};

/* Why a host is no choice. */
enum choose_out {
    CHOOSE_IN,
    CHOOSE_NOT_ASKED,    /* the user named another one */
    CHOOSE_DOWN,         /* no connection */
    CHOOSE_DRAINED,      /* taken out of service by the user */
    CHOOSE_UNMEASURED,   /* nothing is known of it yet */
    CHOOSE_STALE,        /* measurements older than CHOOSE_AGE_STALE intervals */
    CHOOSE_MEMORY_SHORT, /* less memory than was asked for */
    CHOOSE_MEMORY_FULL,  /* nearly no memory left */
    CHOOSE_OUT_COUNT
};

struct choose_rank {
    size_t host; /* index into the hosts that were passed in */
    enum choose_out out;
    int32_t term[CHOOSE_TERM_COUNT]; /* all 0 when it is out */
    int32_t score;                   /* their sum */
    int64_t memory_left;             /* bytes, as in the formula, before this launch; -1 unknown */
    int64_t cpu_left_milli;          /* the same; -1 unknown */
    struct choose_pending pending;
    bool overloaded;
    char *why; /* "most free memory (12.1G of 32.0G), CPU 4%", "iowait 31%", "is down" */
};

struct choose_result {
    struct choose_rank *ranks; /* those in, best first; then those out, as they came */
    size_t count, in;
};

/*
 * Ranks all hosts. `interval_ns` is how often hosts are measured. Fills *out, for
 * choose_result_fini(), also when it fails for want of a host: then every rank says why.
 * ERR_NOT_FOUND: the host asked for is not in the list. ERR_UNAVAILABLE: no host is left, the
 * message has the reasons of the first few.
 */
int choose_hosts(const struct choose_host *hosts, size_t count, const struct choose_ledger *ledger,
                 const struct choose_request *request, int64_t interval_ns, int64_t now_ns,
                 struct choose_result *out, struct err *err);
/* Frees what it holds; also after a failure, or zeroed. */
void choose_result_fini(struct choose_result *result);

/* "memory", "cpu", ...; and "down", "stale", ... ("" for CHOOSE_IN). Never NULL. */
const char *choose_term_name(enum choose_term term);
const char *choose_out_name(enum choose_out out);

#endif
