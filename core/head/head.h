/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The head: the queue, its memory, and what follows from each event.
 *
 * A turn of the daemon. Requests and ends of attempts come in as events. Each event changes memory
 * at once and marks the jobs it touched as dirty; new rows are inserted right away into an open
 * transaction. At the end of the turn (an ev_hook) the head
 *   1. lets the scheduler start what fits now,
 *   2. writes the rows of all dirty jobs,
 *   3. commits: one sync for everything that happened in the turn,
 *   4. only then acts: orders attempts from the node, kills, answers clients, tells watchers.
 * If the commit fails (disk full), every dirty job is put back to what its row says, clients get
 * the error, and ends of attempts, which can't be refused, are kept and tried again a second later.
 * If a sync fails nobody knows what is on disk: the daemon stops (head_hooks.broken).
 *
 * After a restart the same rows give the same memory; open attempts are handed to the node, whose
 * files tell what became of them.
 */
#ifndef HIVE_HEAD_HEAD_H
#define HIVE_HEAD_HEAD_H

#include "base/list.h"
#include "head/spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct conf;
struct err;
struct ev_loop;
struct head;
struct jsonw;
struct log;
struct store;
struct store_attempt;
struct store_filter;
struct store_job;

struct head_hooks {
    /* After a commit: this job's state is now what the store says. `final`: it has ended. */
    void (*changed)(void *arg, int64_t job, bool final);
    /* The store can't be trusted any more; the daemon must end without another commit. */
    void (*broken)(void *arg, const struct err *err);
    void *arg;
};

struct head_config {
    const struct conf *conf; /* borrowed for the head's life */
    const char *state_dir, *runtime_dir;
    const char *address; /* what listings show as the node's address, "127.0.0.1:8080" */
    int spawner_fd;      /* taken over, also on failure */
};

/* Opens the store, loads the queue, takes up running attempts. */
struct head *head_create(struct ev_loop *loop, const struct log *log, const struct head_config *cfg,
                         const struct head_hooks *hooks, struct err *err);
/* Writes what is still to be written and answers who still waits; nothing starts any more, and
 * hooks->changed is not called. Running attempts go on. */
void head_destroy(struct head *h);
/* The listener's real address once it is known. */
void head_set_address(struct head *h, const char *address);

/* A change that a client waits for. `done` is called once, after the commit (err NULL) or when it
 * failed. */
struct head_op {
    void (*done)(struct head_op *op, const struct err *err);
    struct list link;
};

struct head_submit {
    const struct spec *specs;
    size_t count;
    const char *user;
    const char *key;             /* idempotency key or NULL */
    const unsigned char *digest; /* 32 bytes, with key */
    const char *owner;           /* whose key it is: the uid, because a name may once not be found
                                    out; NULL: `user` */
    int64_t first_id;            /* out: ids are first_id .. first_id+count-1 */
    bool existing;               /* out: the key was known, nothing was added */
};

/* Checks one specification against what the nodes could ever run and what it depends on. Warnings,
 * one a line, are appended to `warnings`. */
int head_check(struct head *h, const struct spec *s, const char *where, struct buf *warnings,
               struct err *err);
/*
 * 1 when the key was used for the same request: s->first_id and count are set, and head_submit()
 * then adds nothing and needs no specs. 0 when it is new or there is none, -1 with ERR_UNPROCESS
 * when it was used for another request. To be asked before the request is checked against how
 * things are now: they may have changed since it was accepted.
 */
int head_known_key(struct head *h, struct head_submit *s, struct err *err);
/*
 * Adds jobs, all or none. Returns -1 when the request is refused (op->done is not called), 0 when
 * it is staged. With a known key and equal digest nothing is added; another digest: ERR_UNPROCESS.
 */
int head_submit(struct head *h, struct head_submit *s, struct head_op *op, struct err *err);
/* What would happen: "would start now on X", or why it would wait. Nothing changes. */
void head_forecast(struct head *h, const struct spec *s, const char *user, struct buf *out);

enum head_change { HEAD_CANCEL, HEAD_HOLD, HEAD_RELEASE, HEAD_RETRY };
/* Changes a job (task -1) or a task of an array. ERR_NOT_FOUND, ERR_CONFLICT (state doesn't allow
 * it), else as head_submit. grace_ns -1: the setting. */
int head_change(struct head *h, enum head_change what, int64_t job, int64_t task, int64_t grace_ns,
                struct head_op *op, struct err *err);

/* A host that is reached with SSH. */
struct head_node_spec {
    const char *name; /* for listings and --node */
    const char *host; /* as `ssh` would be told */
    bool any;         /* takes jobs that don't ask for it: its folders are the same as ours */
    int64_t threads, memory; /* that jobs may use at most; 0: all there is */
};
/* As head_submit: -1 when it is refused (ERR_INVALID, ERR_CONFLICT: there is one, or jobs run there;
 * ERR_NOT_FOUND). After the commit the host is connected to, or left. */
int head_node_add(struct head *h, const struct head_node_spec *s, struct head_op *op,
                  struct err *err);
int head_node_remove(struct head *h, const char *name, struct head_op *op, struct err *err);
/* Tries to reach it now. ERR_NOT_FOUND. */
int head_node_again(struct head *h, const char *name, struct err *err);

/* The name of a user who may ask, as it was when the head was created; the number of one without a
 * name. malloc'd. */
char *head_user_name(const struct head *h, uid_t uid);

/* Reading. Everything below shows committed state plus what memory knows (reasons, live tasks). */
struct store *head_store(struct head *h);
/* Internal id of "JOB" or "JOB_TASK". 1 found, 0 not, -1 error. A task without a row (yet)
 * gives 0, and so does the internal id of a task as JOB. */
int head_find(struct head *h, int64_t job, int64_t task, int64_t *id, struct err *err);
/* Writes one job as fields of the open object. */
void head_job_fields(struct head *h, const struct store_job *row, struct jsonw *w);
/* As head_job_fields for an id; wraps it in an object with this key (NULL in arrays). 1, 0
 * (unknown), -1. */
int head_job_object(struct head *h, int64_t id, const char *key, struct jsonw *w, struct err *err);
/* Why it waits, long: lines. */
int head_explain(struct head *h, int64_t id, struct buf *reason, struct buf *lines,
                 struct err *err);
/*
 * For a task that head_find() does not find. 1 when the array has such a task, which has not
 * started (*live) or never will (its array was cancelled before); -1 with ERR_NOT_FOUND, which says
 * what there is instead.
 */
int head_task_missing(struct head *h, int64_t job, int64_t task, bool *live, struct err *err);
/* Such a task as a job object with this key; `reason` as in head_explain(). 1, 0, -1. */
int head_task_object(struct head *h, int64_t job, int64_t task, bool live, const char *reason,
                     const char *key, struct jsonw *w, struct err *err);
/* Ids of running jobs (plain and tasks), then of queued ones in the order they would start, then
 * those that wait for something else, by id. `user`: only this one's, or NULL. At most max; *total
 * is how many there would be without a limit, -1 when counting them would take long. */
size_t head_queue(struct head *h, uint32_t status_mask, const char *user, int64_t *ids, size_t max,
                  int64_t *total);
/* Writes the node objects into an open array; `name`: only that one, NULL: all. Returns how many. */
size_t head_nodes(struct head *h, const char *name, struct jsonw *w);
/* Measurements of a node over time. */
struct head_history {
    const char *node;
    uint64_t series;        /* bits of enum store_series */
    int64_t from_ns, to_ns; /* wall */
    int64_t max_points;
};
/* Writes "series" and "points" into an open object. 1, 0 (there is no such node), -1. */
int head_node_history(struct head *h, const struct head_history *q, struct jsonw *w,
                      struct err *err);
void head_node_name(struct head *h, const char **name, const char **address);
/* Jobs, and tasks instead of the arrays they belong to. Running are those that have begun: one that
 * is lined up is still queued. */
struct head_totals {
    int64_t threads_total, threads_used, queued, running, finished;
};
int head_totals(struct head *h, struct head_totals *t, struct err *err);

struct head_output {
    bool known;        /* the job exists and an attempt was made */
    bool final;        /* no more output will come: the attempt ended and no retry follows */
    bool attempt_over; /* this attempt ended */
    bool is_array;     /* its tasks have output, it has none */
    int32_t attempt;   /* the number looked at */
    int32_t attempts;  /* made so far */
    char *path;        /* file, malloc'd */
};
/* Where the output of an attempt (0: the last one) is. 1, 0 (unknown job), -1. */
int head_output(struct head *h, int64_t id, int32_t attempt, bool is_stderr, struct head_output *o,
                struct err *err);

#endif
