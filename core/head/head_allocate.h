/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which node an application opens on. The decision is sched/choose.h's; here its input is put
 * together from the nodes, our own machine being one of them, and what follows is kept: what was
 * just placed, and by application where it ran last and what it used there.
 *
 *   head_allocate()          a place, with a number, unless it is only asked (dry run)
 *   head_allocate_report()   the application runs; how much it uses; it ended
 *   head_allocate_drop()     it did not start
 *
 * A place of which nobody reports counts less and less as measurements are made after it, and is
 * forgotten after CHOOSE_LEDGER_KEEP_NS. One that was reported counts as ended when nothing was heard
 * of it for HEAD_ALLOCATION_SILENT_NS. Places live as long as the daemon. What applications used is
 * in STATE/apps.json (head_apps.h), which is replaced at most each 30 seconds, and at the end: kill -9
 * loses that much of it.
 *
 * Setting launch.sticky: "firefox=big, gimp=alpha". What is wrong in it is logged, and left out.
 */
#ifndef HIVE_HEAD_HEAD_ALLOCATE_H
#define HIVE_HEAD_HEAD_ALLOCATE_H

#include "sched/choose.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct head;

#define HEAD_ALLOCATIONS_MAX 4096 /* places that are known; over it the oldest is forgotten */
#define HEAD_ALLOCATION_SILENT_NS (INT64_C(3600) * 1000000000)

/* Reads what was kept. After head_nodes_load(). */
void head_allocate_begin(struct head *h);
/* Writes what is to be kept; harmless when it has not begun. */
void head_allocate_end(struct head *h);

struct head_allocate_request {
    const char *command; /* command line, or its first word: the application's name is in it */
    const char *host;    /* this node only, by its name or as ssh is told; NULL: any */
    int64_t memory;      /* bytes that must be free; 0: what it used before decides */
    bool far;            /* not our own machine: the client can only go there with SSH */
    bool dry_run;        /* nothing is placed */
};

/* Names are borrowed: they are the nodes', and stay. */
struct head_allocated {
    char *app;                 /* the name it goes by */
    struct choose_host *hosts; /* choose_host.id: the node's number */
    size_t count;
    struct choose_result result; /* ranks[0] is the choice */
    int64_t id;                  /* 0: nothing was placed */
};

/*
 * Ranks the nodes, and places the application on the first. Fills *out, for head_allocated_fini(),
 * also when it fails. ERR_INVALID: there is no program in the command; ERR_NOT_FOUND: no such host;
 * ERR_UNPROCESS: no host can take it, the message has the reasons.
 */
int head_allocate(struct head *h, const struct head_allocate_request *request,
                  struct head_allocated *out, struct err *err);
void head_allocated_fini(struct head_allocated *a);
/* What ssh would be told to get to that node; NULL: it is our own machine. */
const char *head_allocate_address(const struct head *h, int32_t node);

struct head_allocate_report {
    int64_t pid;       /* 0: not said */
    int64_t memory;    /* bytes it uses now, all its processes together; -1: not said */
    int64_t cpu_milli; /* on average since it began, 1000: one core; -1: not said */
    bool ended;
};

/* ERR_NOT_FOUND: there is no such place, or not any more. */
int head_allocate_report(struct head *h, int64_t id, const struct head_allocate_report *report,
                         struct err *err);
/* It did not start: as if it had never been placed. ERR_NOT_FOUND as above. */
int head_allocate_drop(struct head *h, int64_t id, struct err *err);
/* For clients without numbers: this application (a command line will do) runs on that host, by name or
 * as ssh is told. The oldest of its places there that was not reported yet becomes reported. False: no
 * such host. */
bool head_allocate_started(struct head *h, const char *command, const char *host, int64_t pid);

#endif
