/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of the head; only core/head/head*.c and their tests include this.
 *
 *   head.c         life: opening, loading the queue, closing
 *   head_turn.c    the turn: commit, or put everything back; timers
 *   head_job.c     jobs in memory, and where a queued one waits
 *   head_deps.c    who waits for whom
 *   head_array.c   arrays
 *   head_submit.c  checks and submits
 *   head_change.c  cancel, hold, release, retry
 *   head_run.c     attempts: starting, ends, adoption
 *   head_line.c    attempts that are decided ahead
 *   head_node.c    which nodes there are; attempts get to them here
 *   head_measure.c what the nodes are doing, now and over time
 *   head_allocate.c where applications open; head_apps.c: what they used before
 *   head_view.c    what clients see
 */
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
    struct list link; /* head.starting, head.runs, head.over */
    struct head_job *job;
    struct sched_alloc alloc;
    struct attempt_key key;
    int64_t started_wall_ns;
    bool fresh;    /* ordered in this turn, not committed: the attempt's row is to be inserted */
    bool ended;    /* `end` is valid and the allocation was given back */
    bool killed;   /* a user cancelled it */
    bool kill_now; /* to be told to the node after the commit */
    int64_t grace_ns;
    struct head_use {
        int64_t at_ns; /* monotonic, when it was measured; 0: not yet */
        int64_t cpu_ns, memory_bytes;
        double cpu_percent; /* of one CPU, over the last interval; -1: not known */
    } use;
    bool taken_back; /* was lined up, and is as if it had never been ordered */
    struct attempt_end end;
    /* The line (head_line.c): who gets the place when this one ends. */
    struct head_run *before, *behind;
    struct list line; /* in head.lines while it is the first of one, or might be */
};

/*
 * What an array has beyond a job. Tasks before `next` have rows; of those from `next` on, the ones
 * in `ahead` have. When the rest is cancelled, `next` goes past the end: nothing is left to start.
 */
struct head_array {
    int64_t first, last, step, limit, next;
    int64_t n_succeeded, n_failed, n_cancelled;
    int64_t started_wall_ns; /* of its first task; 0 not yet */
    struct map ahead;        /* task index + 1 -> anything */
    struct list again;       /* head_job.wait: requeued tasks, in the order they came back */
    int64_t again_count;
};

struct head_deps {
    size_t count, unmet;
    char reason[72];        /* the job's reason, when one of them cancelled it */
    struct spec_dep item[]; /* met ones have job 0 */
};

/* In head_job.met; bits above it are of the dependencies, in their order. */
#define MET_ALL 1

enum head_wait { WAIT_NONE, WAIT_SCHED, WAIT_HELD, WAIT_DEPS, WAIT_TIME, WAIT_AGAIN };

/* A job that has not ended: 1,000,000 of these must fit, so rare things hang off it. */
struct head_job {
    struct sched_entry entry; /* entry.id: the job's id */
    struct list wait;         /* in head.parked, head.delayed or array->again, or on its own */
    struct head_job *array;   /* a task's array */
    struct head_run *run;
    struct head_array *tasks; /* an array's */
    struct head_deps *deps;
    int64_t task;
    int64_t memory, timeout_ns;
    union { /* stored as one: when it has run, a delay; before (and of an array), dependencies */
        int64_t not_before_wall_ns; /* 0: at once */
        int64_t met;
    };
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

/* Value of head.dependents. An id may stay behind when its job no longer waits; `stale` counts. */
struct head_dependents {
    size_t count, cap, stale;
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
    struct head_node **nodes; /* by their numbers in the scheduler; [0]: our own machine */
    size_t node_count;
    char head_id[24];                   /* what nodes know us by */
    struct ssh_deploy_program *program; /* what is copied to hosts; NULL: not opened yet */
    bool program_failed;
    char *state_dir, *runtime_dir, *address, *node_name, *home;
    char *user, *root; /* names of our own user, and of root; NULL: root has none */
    char **base_env;
    uint64_t fence;
    /* Attempts with a lower fence were ordered before the machine's last start. */
    uint64_t boot_fence;
    struct map jobs;       /* id -> head_job, live ones */
    struct map dependents; /* id -> head_dependents */
    struct list runs;      /* head_run.link: live attempts */
    struct list starting;  /* head_run.link: ordered in this turn, not committed */
    struct list over;      /* head_run.link: attempts that ended in this turn */
    struct list lines;     /* head_run.line */
    struct ev_timer line_timer;
    struct list parked;     /* head_job.wait: held, or waiting for other jobs */
    struct list delayed;    /* head_job.wait: retries, the soonest first */
    struct head_job *dirty; /* by next_dirty */
    struct list ops;        /* head_op.link: waiting for the commit */
    struct list ends;       /* head_end.link: ends of attempts to be applied (again) */
    struct head_run *spare; /* the next allocation is decided into it */
    struct map use_changed; /* user + 1 -> anything: fair share to be written */
    struct ev_hook hook;
    struct ev_timer timer; /* next deadline of ours: retries, backfill, a turn that failed */
    struct ev_timer prune_timer;
    int64_t resume_ns; /* monotonic: nothing starts and no end is applied before (disk was full) */
    int64_t use_saved_ns;
    struct ev_timer measure_timer;
    int64_t measure_s; /* interval of the far nodes' measurements */
    int64_t uses_ns;   /* when our own jobs' use was measured; monotonic */
    int64_t looked_ns, metrics_flushed_ns, metrics_pruned_ns; /* monotonic */
    struct head_allocate *allocate; /* where applications opened; NULL: not begun */
    bool txn;     /* the turn has a transaction; the store may have lost it in a failed read */
    bool broken;  /* the store can't be trusted: no more turns */
    bool closing; /* nothing starts any more */
    bool kills;   /* some run has kill_now */
    bool prune_due;
};

struct head_end {
    struct list link;
    int64_t came_ns; /* monotonic */
    bool applied;
    bool never_started;
    bool taken_back; /* never_started, and the number may be used again */
    struct attempt_end end;
};

/* Times far in the future stay there. */
static inline int64_t head_time_add(int64_t at_ns, int64_t delay_ns)
{
    return delay_ns > INT64_MAX - at_ns ? INT64_MAX : at_ns + delay_ns;
}

/* head_turn.c */
int head_txn(struct head *h, struct err *err); /* opens the turn's transaction unless it is open */
void head_fail_turn(struct head *h, const struct err *err);
void head_turn_end(struct head *h);
void head_finish_ops(struct head *h, const struct err *err);
void head_arm(struct head *h, int64_t due_mono_ns);
void head_on_timer(struct ev_timer *t);
void head_on_prune(struct ev_timer *t);

/* head_job.c */
extern const char head_reason_cancelling[], head_reason_user[];
void head_dirty(struct head *h, struct head_job *j);
void head_job_event(struct head *h, struct head_job *j, enum job_event ev);
/* Makes the job in memory, or refreshes it. An array then needs head_array_load_ahead(). */
struct head_job *head_job_load(struct head *h, const struct store_job *row);
void head_job_forget(struct head *h, struct head_job *j);
void head_job_row(struct head *h, const struct head_job *j, struct store_job *row);
/* What only the stored specification knows: the node, and (if asked for) who it waits for. */
int head_job_read_spec(struct head *h, struct head_job *j, bool deps, struct err *err);
/* The stored specification, malloc'd. */
char *head_spec_text(struct head *h, int64_t id, struct err *err);
void head_job_shape(const struct head_job *j, struct sched_shape *shape);
void head_job_queue(struct head *h, struct head_job *j); /* puts a queued job where it waits */
void head_job_unqueue(struct head *h, struct head_job *j);

/* head_deps.c */
/* False once all were met, it has run or was retried: dependencies are met once and for all. */
bool head_deps_matter(const struct head_job *j);
/* Sets what j waits for. A dependency that has already failed cancels j. */
int head_job_set_deps(struct head *h, struct head_job *j, const struct spec_dep *deps, size_t count,
                      struct err *err);
void head_deps_forget(struct head *h, struct head_job *j);
/* Job `id` ended: who waits for it is released or cancelled, and so on down the chain. */
void head_deps_settle(struct head *h, int64_t id, int status);
void head_dependents_drop(struct head *h, int64_t id);

/* head_array.c */
void head_array_load(struct head_job *j, const struct store_job *row);
int head_array_load_ahead(struct head *h, struct head_job *j, struct err *err);
int64_t head_array_total(const struct head_array *a);
int64_t head_array_unstarted(const struct head_array *a); /* tasks without a row, to be started */
void head_array_queue(struct head *h, struct head_job *j);
struct head_job *head_array_take(struct head *h, struct head_job *j, struct err *err);
void head_array_child_ended(struct head *h, struct head_job *task);
void head_array_settle(struct head *h, struct head_job *j);
/* Cancels every task that isn't running. The array's own state is the caller's business. */
void head_array_cancel_waiting(struct head *h, struct head_job *j, const char *reason);
int head_array_skip(struct head *h, struct head_job *j, int64_t task, struct err *err);
int head_array_restore(struct head *h, struct head_job *j, struct err *err);

/* head_line.c: attempts that are decided ahead */
/* A place was given to r: from now on others may stand behind it. */
void head_line_begin(struct head *h, struct head_run *r);
/* Lines up who comes next, in this turn's transaction. */
int head_line_fill(struct head *h, struct err *err);
/* r ended, or never was: gives its resources back, or to who stands behind it. `undo` as for
 * sched_release(). */
void head_line_release(struct head *h, struct head_run *r, bool undo);
/* It leaves its line, without a word to the scheduler. */
void head_line_leave(struct head_run *r);
/* What is still waiting in lines goes back into the queue, with the next turn. */
void head_line_take_back(struct head *h);
/* True while the ends that came need not be committed yet: nobody's place is empty. */
bool head_line_can_wait(struct head *h);
void head_on_line_timer(struct ev_timer *t);

/* head_run.c: attempts */
/* The scheduler filled r->alloc. Its job (or the array's next task) becomes running, in this turn's
 * transaction. On failure r is gone and the allocation undone. */
int head_run_stage(struct head *h, struct head_run *r, struct err *err);
struct head_run *head_run_spare(struct head *h); /* one to be filled; stays the head's */
int head_dispatch(struct head *h, struct err *err);
void head_act(struct head *h); /* after the commit: orders and kills */
void head_apply_end(struct head *h, struct head_end *e);
void head_run_undo(struct head *h, struct head_run *r);
void head_run_free(struct head_run *r);
int64_t head_run_started_ns(const struct head_run *r);
int head_write_run(struct head *h, struct head_run *r, struct err *err);
void head_attempt_ended(const struct attempt_end *end, void *arg);
void head_attempt_never_started(const struct attempt_key *key, void *arg);
void head_attempt_taken_back(const struct attempt_key *key, void *arg);
int head_adopt_all(struct head *h, struct err *err);

#endif
