/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of the scheduler; only the files of core/sched include this. */
#ifndef HIVE_SCHED_SCHED_PRIV_H
#define HIVE_SCHED_SCHED_PRIV_H

#include "base/map.h"

#include "sched/fit.h"
#include "sched/resources.h"
#include "sched/sched.h"

#define NS_PER_SECOND 1e9
#define NO_TIME INT64_MIN /* not a time */
#define GROWN_MAX 16      /* nodes remembered because something became free there */

/* a + b that stays within range; b >= 0. */
static inline int64_t time_add(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* ---- users (share.c) ---- */

struct sched_user {
    char *name;
    double use;        /* thread-seconds, decayed to at_ns */
    int64_t at_ns;     /* NO_TIME: never had any */
    int64_t threads;   /* that its jobs run on now: use grows at this rate */
    double key;        /* rank: smaller goes first; right for key_at_ns */
    int64_t key_at_ns; /* NO_TIME: to be computed */
};

struct sched_user *share_user(const struct sched *s, int32_t user); /* NULL: nobody */
/* Use, that of the near future included. */
double share_key(const struct sched *s, int32_t user, int64_t now_ns);
double share_key_cached(struct sched *s, int32_t user, int64_t now_ns);
void share_start(struct sched *s, struct sched_alloc *a);
void share_end(struct sched *s, const struct sched_alloc *a, int64_t now_ns, bool undo);

/* ---- nodes and what is reserved there (nodes.c) ---- */

struct sched_node {
    char *name;
    struct sched_resources capacity, measured;
    struct sched_resources reserved;
    struct sched_resources timed; /* the part of reserved that comes back within time limits */
    enum sched_node_state state;
    bool by_name;       /* only for jobs that ask for it */
    bool forced;        /* more is reserved than the capacity, not by sched_next() */
    struct list allocs; /* by end_ns */
    size_t place;       /* in the trees */
    uint64_t held;      /* equal to sched.hold_number: room is held here */
};

struct sched_node *ledger_node(const struct sched *s, int32_t node); /* NULL: no such */
/* Capacity less what others use; closed when the node isn't up. */
struct sched_resources ledger_usable(const struct sched_node *n);
/* What would be free if `reserved` were reserved. */
struct sched_resources ledger_free_with(const struct sched_node *n,
                                        const struct sched_resources *reserved);
struct sched_resources ledger_free(const struct sched_node *n);
/* Whether jobs that don't ask for a node may start there. Others aren't in the trees: their leaves
 * are closed. */
bool ledger_takes_any(const struct sched_node *n);
/* Puts the nodes in order after some were added or changed size. */
void ledger_layout(struct sched *s);
/* What is free on a node changed. */
void ledger_touch(struct sched *s, struct sched_node *n);
void ledger_add(struct sched *s, struct sched_alloc *a);
void ledger_remove(struct sched *s, struct sched_alloc *a);
/* Takes note of allocations that are long past their end. */
void ledger_overdue(struct sched *s, struct sched_node *n, int64_t now_ns);

/* ---- classes and their order (queue.c) ---- */

struct sched_class {
    struct sched_shape shape;
    uint64_t hash;
    struct sched_class *next_same_hash;
    struct list ready;   /* entries by id */
    struct list limited; /* entries at their array limit, by id */
    size_t n_ready, n_limited;
    size_t live;               /* allocations that would go back here */
    struct sched_group *group; /* where it stands in the order; NULL when it is empty */
    int64_t front_id;          /* by which it stands there: first ready, else first limited */
    int64_t blocked_ns;        /* since when it is first in line; NO_TIME: it isn't */
    struct list waiting;       /* link in sched.waiting while it is */
    uint64_t possible_version; /* of the nodes, when `possible` was found */
    bool possible;
    uint64_t unfit_at; /* it fitted nowhere when sched.n_grown was this */
    int64_t usual_ns;  /* how long its jobs last, the last ones most; 0: none has ended */
};

/* Classes of one user and priority, by age. */
struct sched_group {
    int32_t priority, user;
    double key;
    struct sched_class **classes;
    size_t n, cap;
};

/* A walk over the classes in the order in which they are tried. */
struct queue_walk {
    size_t group, pos;
    const struct list *waiting;
};

struct sched_entry *queue_entry(const struct list *link);
struct sched_entry *queue_front(const struct sched_class *c); /* first ready entry, or NULL */
bool queue_at_limit(const struct sched_entry *e);
/* A queued entry that is the front of a class that is first in line. */
bool queue_first_in_line(const struct sched_entry *e);
void queue_insert(struct sched *s, struct sched_class *c, struct sched_entry *e);
void queue_take_start(struct sched *s, struct sched_entry *e);
/* A start that came past the queue. */
void queue_take_reserved(struct sched *s, struct sched_entry *e);
void queue_give_start(struct sched *s, struct sched_entry *e, struct sched_class *back);
void queue_set_waiting(struct sched *s, struct sched_class *c, int64_t now_ns);
void queue_end_waiting(struct sched *s, struct sched_class *c);
/* Frees the class when nothing refers to it any more. */
void queue_class_unref(struct sched *s, struct sched_class *c);
/* Ranks the groups for now; the walk is valid until the queue changes. */
void queue_walk_begin(const struct sched *s, int64_t now_ns, struct queue_walk *w);
/* The next class that has ready entries, or NULL. */
struct sched_class *queue_walk_next(const struct sched *s, struct queue_walk *w);

/* ---- placement (place.c) and the blocked head's rights (guard.c) ---- */

/* The first node where the class fits now, or -1. */
int32_t place_find(struct sched *s, struct sched_class *c);
/* Whether there is one, without taking notes. */
bool place_fits(const struct sched *s, const struct sched_shape *shape);
/* True when it would fit on some node if nothing of ours ran. */
bool place_possible(struct sched *s, struct sched_class *c);

struct guard {
    struct sched_class *head; /* what the rest is about; NULL: nobody is blocked */
    /* shadow time known */
    int32_t node; /* -1: to be found */
    int64_t shadow_ns;
    struct sched_resources extra; /* free at the shadow time, less the head's need */
    /* unknown */
    bool holding;
    int64_t hold_until_ns;
    struct fit open; /* what others may take while room is held */
};

void guard_set_head(struct sched *s, struct sched_class *head);
/* Node `n` changed. */
void guard_touch(struct sched *s, struct sched_node *n);
/* Nodes came, went, or changed size. */
void guard_forget(struct sched *s);
/* A node where the class may start past the head, or -1. */
int32_t guard_place(struct sched *s, struct sched_class *c, int64_t now_ns);

/* ---- all of it ---- */

struct sched {
    struct sched_params params;

    struct sched_user *users;
    size_t n_users, cap_users;
    struct strmap user_index; /* name -> number + 1 */

    struct sched_node **nodes;
    size_t n_nodes, cap_nodes;
    size_t n_closed; /* nodes that aren't in the trees: ledger_takes_any() */
    struct strmap node_index;
    uint64_t node_version; /* grows when what is usable somewhere changes */
    bool layout_stale;
    int32_t *place_node;      /* node at each place of the trees */
    struct fit free_now;      /* by place */
    struct fit free_later;    /* when everything with a time limit has ended */
    int32_t grown[GROWN_MAX]; /* where something became free last: number n at n % GROWN_MAX */
    uint64_t n_grown;

    struct map classes; /* by hash of the shape */
    struct sched_group **groups;
    size_t n_groups, cap_groups;
    struct map group_index;
    struct list waiting; /* classes first in line: by priority, then since when */
    size_t n_queued, n_classes;
    /* No class that has ready entries needs less of anything: where this fits nowhere, none does. */
    struct sched_resources least;

    struct guard guard;
    uint64_t hold_number;

    bool quiet; /* nothing can start before deadline_ns unless something changes */
    int64_t deadline_ns;
};

#endif
