/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of the head; only core/head/head_*.c include this. */
#ifndef HIVE_HEAD_HEAD_PRIV_H
#define HIVE_HEAD_HEAD_PRIV_H

#include "base/clock.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "ev/ev.h"
#include "head/head.h"
#include "node/node.h"
#include "sched/sched.h"
#include "sched/state.h"
#include "store/store.h"

/* A live attempt, or the end of one that is not committed yet. */
struct head_run {
    struct list link; /* head.runs */
    struct head_job *job;
    struct sched_alloc alloc;
    struct attempt_key key;
    int64_t started_wall_ns;
    bool fresh;    /* ordered in this turn, not committed: the attempt's row is to be inserted */
    bool ended;    /* `end` is valid and the allocation was given back */
    bool killed;   /* a user cancelled it */
    bool kill_now; /* to be told to the node after the commit */
    int64_t grace_ns;
    struct attempt_end end;
};

/* What an array has beyond a job. Tasks that wait for a retry stand in `again`. */
struct head_array {
    int64_t first, last, step, limit, next;
    int64_t n_succeeded, n_failed, n_cancelled;
    int64_t live; /* tasks with a head_job of their own */
    struct map
        ahead; /* task index+1 → anything: has a row although >= next (cancelled one by one) */
    struct list again; /* head_job.wait: requeued tasks, oldest first */
    int64_t again_count;
    bool cancelled; /* the rest is not to be started */
};

struct head_deps {
    size_t count, unmet;
    struct spec_dep item[]; /* met ones have job 0 */
};

enum head_wait { WAIT_NONE, WAIT_SCHED, WAIT_HELD, WAIT_DEPS, WAIT_TIME, WAIT_AGAIN };

/* A job that has not ended: 1,000,000 of these must fit, so rare things hang off it. */
struct head_job {
    struct sched_entry entry; /* entry.id: the job's id */
    struct list wait;         /* parked in head.parked or array->again, or on its own */
    struct head_job *array;   /* a task's array */
    struct head_run *run;
    struct head_array *tasks; /* an array's */
    struct head_deps *deps;
    int64_t task;
    int64_t memory, timeout_ns;
    int64_t not_before_wall_ns;
    int32_t threads, gpus, priority, user, node;
    int32_t attempts, retries_left;
    uint8_t status;  /* enum job_status */
    uint8_t waiting; /* enum head_wait */
    bool held;
    bool dirty;
    bool fresh;         /* row inserted in this turn */
    const char *reason; /* static text or NULL: why it ended */
    struct head_job *next_dirty;
};

struct head_dependents { /* value of head.dependents */
    size_t count, cap;
    int64_t *ids;
};

struct head {
    struct ev_loop *loop;
    const struct log *log;
    const struct conf *conf;
    const struct clock *clock;
    struct head_hooks hooks;
    struct store *store;
    struct sched *sched;
    struct node *node;
    char *state_dir, *address, *node_name, *home;
    char **base_env;
    uint64_t fence;
    struct map jobs;       /* id → head_job, live ones */
    struct map dependents; /* id → head_dependents */
    struct list runs;      /* head_run.link: live attempts */
    struct list starting;  /* head_run.link: ordered in this turn, not committed */
    struct list over;      /* head_run.link: attempts that ended in this turn */
    struct list parked;    /* head_job.wait: queued but not in the scheduler */
    struct head_job *dirty;
    struct list ops;        /* head_op.link: waiting for the commit */
    struct list ends;       /* head_end.link: ends of attempts to be applied (again) */
    struct head_run *spare; /* the next allocation is decided into it */
    struct ev_hook hook;
    struct ev_timer
        timer; /* next deadline of ours: delayed retries, backfill, retry after a failed commit */
    struct ev_timer prune_timer;
    int64_t resume_ns; /* monotonic: no new transaction before (disk was full) */
    int64_t use_saved_ns;
    bool broken;
    bool kills; /* some run has kill_now */
};

struct head_end {
    struct list link;
    bool applied;
    bool never_started;
    struct attempt_end end;
};

/* head.c */
int head_txn(struct head *h, struct err *err); /* opens the turn's transaction unless it is open */
void head_fail_turn(struct head *h, const struct err *err);
void head_dirty(struct head *h, struct head_job *j);
void head_arm(struct head *h, int64_t due_mono_ns);

/* head_job.c: jobs in memory */
extern const char head_reason_cancelling[];
struct head_job *head_job_load(struct head *h, const struct store_job *row);
void head_job_forget(struct head *h, struct head_job *j);
void head_job_row(struct head *h, const struct head_job *j, struct store_job *row);
void head_job_queue(struct head *h, struct head_job *j); /* puts a queued job where it waits */
void head_job_unqueue(struct head *h, struct head_job *j);
void head_job_shape(const struct head_job *j, struct sched_shape *shape);
int head_job_set_deps(struct head *h, struct head_job *j, const struct spec_dep *deps, size_t count,
                      struct err *err);
void head_deps_settle(struct head *h, int64_t id, int status);
void head_job_event(struct head *h, struct head_job *j, enum job_event ev);
int head_deps_from_spec(struct head *h, struct head_job *j, const char *spec, struct err *err);

/* head_array.c */
void head_array_load(struct head *h, struct head_job *j, const struct store_job *row);
int64_t head_array_total(const struct head_array *a);
int64_t head_array_unstarted(const struct head_array *a); /* tasks without a row */
void head_array_queue(struct head *h, struct head_job *j);
struct head_job *head_array_take(struct head *h, struct head_job *j, struct err *err);
void head_array_child_ended(struct head *h, struct head_job *task);
void head_array_settle(struct head *h, struct head_job *j);
int head_array_skip(struct head *h, struct head_job *j, int64_t task, struct err *err);
int head_array_restore(struct head *h, struct head_job *j, struct err *err);

/* head_run.c: attempts */
void head_dispatch(struct head *h);
void head_act(struct head *h); /* after the commit: orders and kills */
void head_apply_end(struct head *h, struct head_end *e);
void head_run_undo(struct head *h, struct head_run *r);
void head_run_free(struct head_run *r);
int head_write_run(struct head *h, struct head_run *r, struct err *err);
void head_attempt_ended(const struct attempt_end *end, void *arg);
void head_attempt_never_started(const struct attempt_key *key, void *arg);
int head_adopt_all(struct head *h, struct err *err);

#endif
