/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/node: the parts of the agent (agent*.c). */
#ifndef HIVE_NODE_AGENT_PRIV_H
#define HIVE_NODE_AGENT_PRIV_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "ev/ev.h"
#include "node/agent.h"
#include "node/link_msg.h"

#include <sys/types.h>

/* Unsent bytes: ends, samples and output wait above the first, and what the head says is not read
 * above the second, where only answers to it get. */
#define AGENT_OUT_HIGH (256 * 1024)
#define AGENT_OUT_MAX (1024 * 1024)

enum agent_state {
    AGENT_GREETING, /* hello was said */
    AGENT_TAKING,   /* there was a welcome; the agent before us has to let go */
    AGENT_SERVING,
    AGENT_ALONE,  /* no connection, and attempts run */
    AGENT_ENDING, /* the lease ended: all is being killed */
    AGENT_DONE
};

/* A file that was there before the job it is an output of: until the job has opened it, what is in it
 * is somebody else's. */
struct agent_before {
    bool there;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

/* An attempt that was ordered or taken up, until its end is acknowledged. */
struct agent_attempt {
    struct list link; /* in agent.running or agent.unsent; alone when sent */
    struct attempt_key key;
    bool over;
    bool unwanted;                 /* the head doesn't know it: nothing is reported */
    bool before_boot;              /* taken up with `rebooted` */
    struct attempt_end *end;       /* over; NULL: never started */
    struct agent_before before[2]; /* stdout, stderr */
};

/* A stream of output that the head asked for. */
struct agent_read {
    struct list link; /* in agent.reads_ready or agent.reads_waiting */
    int64_t id, offset, left;
    struct attempt_key key;
    bool is_stderr, follow;
    char *path; /* or NULL */
    int fd;
};

struct agent {
    struct ev_loop *loop;
    const struct log *log;
    void (*done)(int rc, const struct err *err, void *arg);
    void (*alone)(void *arg);
    void *arg;
    char *state_base, *runtime_base, *version;
    int idle_shims;
    enum agent_state state;
    struct err failure; /* why it is done */
    struct ev_hook turn_end;

    /* connection (agent_link.c) */
    struct ev_io in, out;
    struct ev_timer in_again; /* for input that can't be watched, a file */
    struct buf inbuf, outbuf;
    bool connected, in_watched, out_watched, out_is_socket;
    bool ended_input; /* end of input was seen, but not yet all of it handled */
    bool skipping;    /* the rest of a line that was too long */
    int64_t
        renewed_ns; /* the lease runs from here: the newest stamp that came back, or the hello */

    /* state folder (agent_state.c) */
    char *host, *head, *state_dir, *runtime_dir;
    int state_fd, lock_fd;
    uint64_t fence;       /* highest seen */
    bool fresh, rebooted; /* there was no state; it is of an earlier boot */
    size_t before_boot;   /* attempts of then whose end is not acknowledged */
    char boot_id[40];
    struct link_msg welcome; /* TAKING */
    struct ev_timer take;
    int64_t take_since_ns;
    bool take_asked;

    /* serving (agent_serve.c) */
    struct node *node;
    struct map attempts; /* by agent_attempt_id() */
    struct list running, unsent;
    struct attempt_key *unwanted;
    size_t unwanted_count;
    bool draining;
    int64_t lease_ns, interval_ns;
    int lease_fd;             /* STATE/lease, for shims (shim.h); -1: none */
    int64_t lease_written_ns; /* what it says, but for lease_ns */
    struct ev_timer lease, sample;
    bool sample_due;

    /* output (agent_read.c) */
    struct list reads_ready, reads_waiting;
    size_t read_count;
    struct ev_timer read_again;
    char *piece;

    char *home, **base_env; /* agent_order.c; made when needed */
};

/* agent.c */
/* It is done; the loop's next turn end says so. `err` NULL: in good order. */
void agent_finish(struct agent *a, const struct err *err);
void agent_lost(struct agent *a); /* the connection */
void agent_end_lease(struct agent *a);

/* agent_link.c */
int link_open(struct agent *a, int in_fd, int out_fd, struct err *err);
void link_close(struct agent *a);
void link_send(struct agent *a, const struct link_msg *m);
void link_error(struct agent *a, const struct link_msg *about, const struct err *err);
bool link_has_room(const struct agent *a);
/* Handles lines that have come, as far as answers have room. */
void link_handle(struct agent *a);
void link_flush(struct agent *a);

/* agent_state.c */
char *state_host_name(void);
/* Opens the folders of this head and looks at the fence. */
int state_open(struct agent *a, const char *head, struct err *err);
int state_read_fence(struct agent *a, struct err *err);
int state_note_fence(struct agent *a, uint64_t fence, struct err *err);
/* 1: it is ours; 0: somebody else's; -1: error. */
int state_lock(struct agent *a, struct err *err);
/* Asks the process that holds the lock to let go (SIGTERM), or kills it. False: it isn't known. */
bool state_signal_holder(struct agent *a, int signo);
int state_read_boot(struct agent *a, struct err *err);
void state_note_boot(struct agent *a);
/* What runs may run up to renewed_ns + lease_ns: its shims have to know, if we are killed. */
void state_note_lease(struct agent *a);
/* Calls fn for each attempt in the state folder whose shim lives. */
int state_each_alive(struct agent *a, int (*fn)(struct agent *a, const struct attempt_key *key),
                     struct err *err);

/* agent_serve.c */
void serve_message(struct agent *a, const struct link_msg *m);
/* Goes on after the lock was had. */
int serve_begin(struct agent *a, struct err *err);
void serve_end(struct agent *a);
struct agent_attempt *serve_find(const struct agent *a, const struct attempt_key *key);
/* Sends ends and the sample, as long as there is room. */
void serve_pump(struct agent *a);

/* agent_take.c: from a welcome to serving */
void take_welcome(struct agent *a, struct link_msg *m); /* takes what m owns */
void take_stop(struct agent *a);

/* agent_read.c */
void reads_begin(struct agent *a, const struct link_msg *m);
void reads_stop(struct agent *a, int64_t id);
void reads_look(struct agent *a); /* something ended: followers look again */
void reads_pump(struct agent *a);
void reads_end(struct agent *a);

/* Looks at the files that an order names as its outputs. */
void reads_look_before(const struct node_run *run, struct agent_before before[2]);

/* agent_order.c */
/* An order, with what it leaves to this machine filled in. */
struct agent_order {
    struct node_run run; /* borrows from the message, and from what follows */
    const char **env;
    char *workdir;
};

void order_fill(struct agent *a, const struct link_msg *m, struct agent_order *o);
void order_fini(struct agent_order *o);
void orders_end(struct agent *a);

/* What the running attempts use; malloc'd, NULL when nothing is known. */

#endif
