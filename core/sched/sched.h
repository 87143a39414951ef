/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler: who runs next, and where. Pure logic: no I/O and no clock of its own (times are
 * passed in, monotonic ns), so that the same code runs in the daemon and in simulations with
 * virtual time.
 *
 * Jobs of one shape (resources, time limit, user, priority, node) form one class, a queue by age. A
 * decision compares the fronts of the classes, so its cost grows with classes and nodes, not with
 * jobs.
 *
 * Order: priority (higher first); then who was first in line already (below); then fair share (the
 * user with the smallest decayed use, where every thread running now counts ten minutes ahead);
 * then age (smaller id).
 *
 * What can't start now doesn't block what can (backfill), within these rules:
 *   - The first job in order that doesn't fit, though it could if nothing of ours ran, is the
 *     "blocked head". It stays first of its priority until it has started: neither fair share nor
 *     younger jobs take its turn away again.
 *   - Its shadow time is when, by the time limits of what runs, enough will be free on the node
 *     where that is soonest. On that node a job behind it may start only if it ends, by its own
 *     time limit, before the shadow time, or uses only what the head will leave over there. So the
 *     shadow time never moves back. Other nodes are open to all.
 *   - The shadow time is unknown while on every node that could take the head something without a
 *     time limit (or long past it) is in the way. Then windows alternate: for `backfill_window`
 *     after it became blocked everybody may pass; for the same time after that, room is held on the
 *     node where the head lacks least: nothing starts there that would take what the head needs.
 *     If that was not enough, the windows double and the held nodes become four times as many, and
 *     so on. A window 0 holds room on every node from the start.
 * So nothing starves: where other jobs of its priority end within D, a head that N nodes could take
 * waits at most w * (3 * 2^k - 2) + D, with the smallest k that has w * 2^k >= D and 4^k >= N; and
 * where something never ends, the jobs behind the head still get half of the time. (Jobs of higher
 * priority do go first, always.)
 *
 * Ledger: resources are reserved on a node when a job is placed and given back when it ends.
 * Invariant, checked in tests at every step: what a node has reserved is the sum of the live
 * allocations there, and sched_next() never makes it exceed the node's capacity.
 * What is free on a node: min(capacity, measured) - reserved, where `measured` is the capacity less
 * what processes that are not ours use.
 *
 * Nodes are filled one after the other, small ones and those without GPUs first: that keeps room
 * for wide jobs and for those that need GPUs.
 */
#ifndef HIVE_SCHED_SCHED_H
#define HIVE_SCHED_SCHED_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct sched;
struct sched_class;

struct sched_resources {
    int64_t threads;
    int64_t memory; /* bytes */
    int64_t gpus;
};

struct sched_params {
    int64_t backfill_window_ns; /* >= 0 */
    int64_t half_life_ns;       /* of fair share use; <= 0: a day */
    int64_t ahead_ns;           /* work worth lining up behind a brief job; <= 0: none */
};

/* What a class is keyed by. Negative needs count as 0. */
struct sched_shape {
    struct sched_resources need;
    int64_t timeout_ns; /* 0: none */
    int32_t user;       /* from sched_user(); -1: nobody */
    int32_t priority;
    int32_t node; /* only this node; -1: any */
};

/*
 * A queued thing, embedded in the owner's job. It stands for `remaining` equal starts: 1 for a
 * plain job, many for an array. Zero it, set id, remaining and max_running, then enqueue. While it
 * is queued the owner may change `remaining` (to something above 0) and nothing else; that keeps
 * its place, which taking it out and in again may not. It must stay where it is in memory as long
 * as it is queued or an allocation points to it.
 */
struct sched_entry {
    struct list link;        /* private */
    struct sched_class *cls; /* private; NULL when not queued */
    int64_t id;              /* order of age: smaller is older; unique */
    int64_t remaining;       /* starts left; an entry at 0 leaves the queue by itself */
    int32_t running;         /* live starts of it */
    int32_t max_running;     /* 0: no limit (array %LIMIT) */
};

/* A placement; kept by the owner, where it is, as long as the job runs. */
struct sched_alloc {
    struct sched_entry *entry; /* NULL for allocations without one (apps), or whose job is gone */
    int32_t node;
    int32_t user; /* -1: nobody's use */
    struct sched_resources got;
    int64_t start_ns, end_ns; /* end_ns: start + time limit, INT64_MAX without */
    struct list link;         /* private */
    struct sched_class *cls;  /* private; where undo puts the entry back */
    int64_t use_from_ns;      /* private; its use is accounted from here */
    bool overdue;             /* private; so long past end_ns that the limit means nothing */
    bool lined_up;            /* private; waits for another's resources, has none yet */
};

struct sched *sched_create(const struct sched_params *params);
/* Entries and allocations are the owner's; they are forgotten, not touched. */
void sched_destroy(struct sched *s);

/* Small number for a user name (0, 1, ...); the same name gives the same number. */
int32_t sched_user(struct sched *s, const char *name);
/* "" for a number that is no user's. Borrowed. */
const char *sched_user_name(const struct sched *s, int32_t user);
/* Decayed use in thread-seconds, running jobs included up to now. */
double sched_user_use(const struct sched *s, int32_t user, int64_t now_ns);
/* Adds to it: restores after a restart what sched_user_use() said before. */
void sched_user_add_use(struct sched *s, int32_t user, double thread_seconds, int64_t now_ns);

enum sched_node_state {
    SCHED_NODE_UP,
    SCHED_NODE_DRAINED,
    SCHED_NODE_DOWN,
    SCHED_NODE_GONE /* as if it weren't there, but what runs there is still in the ledger */
};

/* Adds a node, up; returns its number (0, 1, ...). The name is copied. Names are unique. */
int32_t sched_node_add(struct sched *s, const char *name, const struct sched_resources *capacity);
/* Nothing starts on a node that isn't up. What runs there stays until it is released. */
void sched_node_set_state(struct sched *s, int32_t node, enum sched_node_state state);
/* Only jobs that ask for it by name start there. */
void sched_node_set_by_name(struct sched *s, int32_t node, bool by_name);
/* New capacity; may be less than is reserved: then nothing starts there until it fits. */
void sched_node_set_capacity(struct sched *s, int32_t node, const struct sched_resources *capacity);
/* Capacity less what measuring says others use, our own jobs' use not taken off (that is what
 * `reserved` is for). INT64_MAX fields: not limited. */
void sched_node_set_measured(struct sched *s, int32_t node,
                             const struct sched_resources *free_measured);
/* Both results may be NULL. */
void sched_node_get(const struct sched *s, int32_t node, struct sched_resources *capacity,
                    struct sched_resources *reserved);
enum sched_node_state sched_node_state(const struct sched *s, int32_t node);
int32_t sched_node_count(const struct sched *s);
/* "" for a number that is no node's. Borrowed. */
const char *sched_node_name(const struct sched *s, int32_t node);
int32_t sched_node_find(const struct sched *s, const char *name); /* -1: there is none */

/*
 * ERR_UNPROCESS with the reason in words when no known node, up or not, could run this shape even
 * if it were empty ("asks for 64 threads; the largest node, big, has 16"). Says 0 while no node is
 * known at all, or for a node that is down and of which no capacity is known (all zero): then
 * nothing can be said.
 */
int sched_check_possible(const struct sched *s, const struct sched_shape *shape, struct err *err);

/*
 * Queues an entry that isn't queued. It goes in by its id: a requeued old job stands before the
 * younger ones of its class. Costs the distance from the nearer end of its class. An entry with
 * nothing remaining is not queued.
 */
void sched_enqueue(struct sched *s, struct sched_entry *e, const struct sched_shape *shape);
/* Takes it out (cancelled, held); harmless when it isn't queued. O(1). */
void sched_dequeue(struct sched *s, struct sched_entry *e);
size_t sched_queued(const struct sched *s);  /* entries */
size_t sched_classes(const struct sched *s); /* shapes among them */

/*
 * Decides one start at time now: fills *out (all of it), reserves, lowers entry->remaining, raises
 * entry->running. False when nothing can start now. Call until false after anything changed; a call
 * when nothing has changed costs nothing.
 */
bool sched_next(struct sched *s, int64_t now_ns, struct sched_alloc *out);
/* After sched_next() said false: the time at which it could say yes without anything else changing
 * (room is no longer held); INT64_MAX: never. */
int64_t sched_next_deadline_ns(const struct sched *s);

/*
 * Lining up: where jobs last milliseconds, a place would be empty most of the time while the end of
 * one and the start of the next are put on disk one after the other. So the owner may decide ahead
 * who gets the resources of an allocation when it ends.
 *
 * sched_line_depth() says how many are worth lining up behind `a`: 0 where jobs of its shape last
 * longer than SCHED_BRIEF_NS or nobody knows yet, else enough for params.ahead_ns, at least 1 and at
 * most SCHED_LINE_MAX.
 *
 * sched_line_up() takes the first job in order, if that needs just what `a` has, may run on a's
 * node and is brief too: nobody is passed over. It fills *out like sched_next(), but reserves nothing.
 * `a` may itself be lined up. False when there is no such job.
 *
 * sched_succeed(): `a` ended and `next` takes over what it had; start_ns and end_ns count from now.
 * The owner says so instead of sched_release(a). A lined-up allocation that is not wanted any more is
 * released like any other (with undo its entry goes back into the queue).
 */
#define SCHED_BRIEF_NS INT64_C(50000000)
#define SCHED_LINE_MAX 8
int sched_line_depth(const struct sched *s, const struct sched_alloc *a);
/* How long `a` may run before those behind it are better off in the queue: twice what is usual, at
 * least 5 and at most 100 ms. */
int64_t sched_line_patience_ns(const struct sched_alloc *a);
bool sched_line_up(struct sched *s, int64_t now_ns, const struct sched_alloc *a,
                   struct sched_alloc *out);
void sched_succeed(struct sched *s, struct sched_alloc *a, struct sched_alloc *next,
                   int64_t now_ns);

/* The owner moved a live allocation from *from to *to (copied it with its private fields). */
void sched_alloc_moved(struct sched *s, struct sched_alloc *from, struct sched_alloc *to);
/*
 * The allocation ended: gives back. undo: it never ran. Then its use is not accounted, and its
 * entry gets the start back and stands in the queue again as it did (only for allocations that
 * sched_next() made; for others the owner enqueues).
 */
void sched_release(struct sched *s, struct sched_alloc *a, int64_t now_ns, bool undo);
/*
 * Reserves without asking, even beyond the capacity: jobs adopted after a restart, apps. The owner
 * fills entry (may be NULL), node, user, got, start_ns, end_ns and zeroes the rest. Raises
 * entry->running, leaves remaining alone. Use is accounted from start_ns on, but not before what
 * was accounted for this user already.
 */
void sched_reserve(struct sched *s, struct sched_alloc *a);

/*
 * Why the entry waits, short, for a listing: "needs 8 threads, 3 free on big", "3 jobs before it",
 * "array limit of 8 reached", "node big is drained", "room is kept for job 17". Appends nothing for
 * an entry that isn't queued. Right after sched_next() said false; SCHED_STARTS_NEXT when nothing
 * is in its way.
 */
#define SCHED_STARTS_NEXT "starts next"
void sched_reason(const struct sched *s, const struct sched_entry *e, int64_t now_ns,
                  struct buf *out);
/* The same at length: place in the order, who is before it and why, and one line per node ("big:
 * asks for 8 threads, 3 of 16 free"). Lines end in \n. */
void sched_explain(const struct sched *s, const struct sched_entry *e, int64_t now_ns,
                   struct buf *out);

/* The node where a queued entry would be placed if it were its turn now; -1: there is no room. */
int32_t sched_where(struct sched *s, const struct sched_entry *e);

/* First entries in the order in which they would be tried now, at most max; returns how many. For
 * listings. Entries at their array limit are among them. */
size_t sched_order(const struct sched *s, int64_t now_ns, struct sched_entry **out, size_t max);

/* Checks the ledger invariant and all lists; false and a message when something is broken. Costs
 * everything there is. For tests and `hive doctor`. */
bool sched_check(const struct sched *s, struct err *err);

#endif
