/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The nodes of a head: our own machine, and hosts that are reached with SSH. Inside of the head,
 * like head_priv.h.
 *
 * Adding and removing are changes like those of jobs: in the turn's transaction, and in memory only
 * after the commit. A host's connection is kept by reach.h, what is said over it by remote.h; both
 * live as long as the node is listed.
 *
 * A node keeps its number in the scheduler for the daemon's life, also when it is removed: then it
 * is gone for new jobs, and one that is added by the same name gets its number.
 */
#ifndef HIVE_HEAD_HEAD_NODE_H
#define HIVE_HEAD_HEAD_NODE_H

#include "base/err.h"
#include "ev/ev.h"

#include <stdbool.h>
#include <stdint.h>

struct attempt_key;
struct head;
struct head_node_spec;
struct head_op;
struct head_run;
struct jsonw;
struct link_sample;
struct reach;
struct remote;
struct remote_order;
struct sample;

/* store_node.kind */
enum head_node_kind { HEAD_NODE_OWN, HEAD_NODE_SSH };

struct head_node {
    struct head *head;
    int32_t index; /* in the scheduler, and in head.nodes */
    enum head_node_kind kind;
    bool listed;   /* false: removed */
    bool removing; /* staged: nothing starts there any more */
    int64_t id;    /* in the store */
    char *name, *host;
    bool any;                        /* takes jobs that don't ask for it */
    int64_t max_threads, max_memory; /* for jobs; 0: all there is */
    struct reach *reach;             /* SSH */
    struct remote *remote;           /* SSH */
    bool leaving;                    /* nothing of it is needed any more */
    int64_t heard_wall_ns;           /* when it last said something; 0: never */
    struct head_sample *sample;      /* what was measured last; NULL: nothing yet */
};

/* Reads what the store knows, our own machine first; nothing is connected yet. */
int head_nodes_load(struct head *h, struct err *err);
/* Connects, and begins to measure. After the attempts were adopted. */
void head_nodes_begin(struct head *h);
void head_nodes_end(struct head *h);
/* At the end of each turn: lets go of what was removed. */
void head_nodes_turn(struct head *h);

/* By its number in the scheduler; never NULL for one that an allocation has. */
struct head_node *head_node_at(const struct head *h, int32_t index);
struct head_node *head_node_find(const struct head *h, const char *name); /* listed, or NULL */
/* The number for a job that asks for this name: one that isn't known gets a number too, of a node
 * that is gone. */
int32_t head_node_number(struct head *h, const char *name);
/* ERR_UNPROCESS for one that can be measured only. `where`: of the request, for the message. */
int head_node_check(const struct head *h, int32_t index, const char *where, struct err *err);
/* Whether attempts on a node of that name have their files elsewhere, and only copies here. */
bool head_node_is_far(const struct head *h, const char *name);

/* ---- attempts ---- */

/* As node_run() and so on, of the node the run is on. */
int head_node_run(struct head *h, const struct head_run *r, struct remote_order *order,
                  struct err *err);
void head_node_kill(struct head *h, const struct head_run *r);
/* `stdout_path`, `stderr_path`: those that the job names itself, or NULL. */
int head_node_adopt(struct head *h, const struct head_run *r, const char *stdout_path,
                    const char *stderr_path, struct err *err);
/* The end of this run is on disk. */
void head_node_ended(struct head *h, const struct head_run *r);

#endif
