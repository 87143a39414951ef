/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/node: the daemon's side of shims and spawner (node*.c). */
#ifndef HIVE_NODE_NODE_INTERNAL_H
#define HIVE_NODE_NODE_INTERNAL_H

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "ev/ev.h"
#include "node/node.h"
#include "node/shim_proto.h"
#include "sys/sample.h"

/* After so many attempts a shim is replaced. */
#define NODE_SHIM_ATTEMPTS 10000

struct shim_conn;

enum run_state {
    RUN_LINED, /* waits for the end of another one, `before`; with conn: its shim has it already */
    RUN_WAITING, /* for a shim */
    RUN_RUNNING, /* under conn */
    RUN_LOOSE, /* no connection: its files are looked at now and then, until they say what became */
    RUN_DONE   /* end is known, to be reported in the next turn */
};

/* One attempt, from node_run() or node_adopt() until it is reported. */
struct run {
    struct list link; /* in node.waiting, .loose or .done; alone while LINED or RUNNING */
    struct attempt_key key;
    enum run_state state;
    struct run *before, *behind; /* the line it stands in; before is NULL unless LINED */
    struct attempt_key stood;    /* behind whom it stood last; job 0: nobody */
    struct buf packet;           /* RUN; empty when adopted */
    struct shim_conn *conn;      /* RUNNING, or LINED: it is conn's `run` or its `next` */
    bool wanted_back;            /* node_take_back() asked for it */
    struct attempt_end *end;     /* DONE; NULL: never started */
    int64_t grace_ns;            /* of the kill that was asked for, -1: none */
    int64_t loose_since_ns;
    pid_t shim;     /* LOOSE: who had it, 0 unknown */
    bool shim_died; /* LOOSE: the spawner says so, and that nothing is left of its job */
    bool disowned;  /* LOOSE: the shim lives and does something else */
    bool refused;   /* the shim found it claimed by somebody else */
    /* What no claim of it means. SEAL: adopted, must not start any more if it didn't. GONE: adopted
     * after a restart of the machine. */
    enum attempt_unclaimed unclaimed;
    unsigned reruns;
};

/* A connected shim. */
struct shim_conn {
    struct ev_io io;
    struct node *node;
    struct list link;      /* in node.conns */
    struct list idle_link; /* in node.idle, freshest first */
    struct list out;       /* packets that did not fit into the socket */
    size_t out_count;
    pid_t pid;
    bool greeted;
    bool quitting;               /* was told to end */
    struct run *run;             /* what it runs, NULL: idle, or busy with `stranger` */
    struct run *next;            /* begins there when `run` has ended; directly behind it in line */
    struct attempt_key stranger; /* job 0: none */
    unsigned attempts;
    int64_t idle_since_ns;
    struct attempt_key used_by; /* node_use.c: whose use the rest is about */
    uint64_t used_start;        /* of the shim's process */
    int64_t used_base_ns, used_cpu_ns;
};

struct node {
    struct ev_loop *loop;
    const struct log *log;
    struct node_hooks hooks;
    char *state_dir, *runtime_dir, *socket_path;
    int idle_shims, slots;
    int state_fd;
    char memory_note[256];

    struct map runs; /* by run_id() */
    struct list waiting, loose, done;
    size_t waiting_count;
    struct ev_timer report; /* for `done` */
    struct ev_timer look;   /* at `loose` */
    struct ev_timer tend;   /* shims: too many, too few */

    struct ev_io listener;
    bool listener_paused;
    struct list conns, idle;
    size_t idle_count, busy_count;

    struct sampler *sampler; /* NULL: there is no /proc */
    struct sampler *trees;   /* of node_use.c; NULL: not needed yet */
    bool often;              /* somebody asks every few seconds */
    const struct sample *sample;
    struct ev_timer measure;
    int64_t looked_ns; /* when somebody asked last; 0: never */

    struct ev_io spawner; /* fd -1: none */
    pid_t spawner_pid;    /* 0: not known yet */
    int64_t spawner_started_ns;
    size_t starting;         /* shims asked for that have not said hello */
    int64_t starting_ns;     /* when the last was asked for */
    int64_t fork_blocked_ns; /* until then none is asked for */
    bool fork_failed;        /* said in the log */
};

/* node.c */
struct run *run_find(const struct node *n, const struct attempt_key *key);
void run_wait(struct run *r, struct node *n); /* puts it at the end of the queue for shims */
void run_loosen(struct node *n, struct run *r, pid_t shim);
/* It ends: who stands behind it moves up, and waits for a shim if it is the first now. */
void run_leave_line(struct node *n, struct run *r);
/* The shim gave it up: what is to become of it now. */
void run_dropped(struct node *n, struct run *r);
/* Forgets it and calls the hook. Only from handlers of the event loop. */
void run_finish(struct node *n, struct run *r, const struct attempt_end *end);
/* Looks at what the spawner's news about this shim, or another hello of it, means for loose
 * runs. */
void runs_shim_died(struct node *n, pid_t shim);
void runs_shim_seen(struct node *n, pid_t shim, const struct attempt_key *doing);

/* node_conn.c */
int conns_listen(struct node *n, struct err *err);
void conns_close(struct node *n);
/* Hands waiting runs to idle shims. */
void conns_assign(struct node *n);
void conn_kill(struct shim_conn *c, const struct attempt_key *key, int64_t grace_ns);
void conn_signal(struct shim_conn *c, const struct attempt_key *key, int signo);
void conns_trim(struct node *n);
struct shim_conn *conns_find_stranger(const struct node *n, const struct attempt_key *key);
void conn_bind(struct shim_conn *c, struct run *r);
/* Hands over who stands behind what the shim runs, if the shim has nobody yet. */
void conn_send_next(struct shim_conn *c);
/* Asks for `next` back: DROPPED, or nothing if it begins. */
void conn_drop(struct shim_conn *c, const struct attempt_key *key);

/* node_measure.c */
void measure_begin(struct node *n);
void measure_end(struct node *n);

/* node_spawner.c */
int spawner_attach(struct node *n, int fd, struct err *err); /* waits until it is ready */
/* Lets go of it, and waits for its end for at most so long. */
void spawner_detach(struct node *n, int patience_ms);
#define SPAWNER_PATIENCE_MS 1000
/* Asks for shims where there are too few, and sees to it that somebody looks again. */
void shims_tend(struct node *n);

#endif
