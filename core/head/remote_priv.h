/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside of a remote node; only core/head/remote*.c include this.
 *
 *   remote.c          life, what is asked of it, calling the hooks
 *   remote_attempt.c  attempts: orders, fates, the lease
 *   remote_link.c     the connection: greeting, messages, pings
 *   remote_output.c   the mirror
 */
#ifndef HIVE_HEAD_REMOTE_PRIV_H
#define HIVE_HEAD_REMOTE_PRIV_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "ev/ev.h"
#include "head/remote.h"
#include "node/link_msg.h"

enum stream_state {
    STREAM_IDLE,   /* the node is away, or doesn't know of the attempt */
    STREAM_QUEUED, /* in remote.urgent or remote.waiting */
    STREAM_OPEN,   /* in remote.open: being read */
    STREAM_DONE    /* to its end, or given up */
};

struct remote_stream {
    struct list link;
    enum stream_state state;
    struct remote_attempt *attempt;
    char *path; /* the file that the job names itself, or NULL */
    int64_t id; /* of the `read` */
    int64_t offset, opened_ns;
    int fd; /* of the mirror; -1: not open, or not there yet */
};

enum attempt_wait {
    WAIT_NOTHING, /* for the node, or for remote_ack() */
    WAIT_SEND,    /* in remote.unsent */
    WAIT_OUTPUT,  /* over, in remote.ending */
    WAIT_TELL     /* over, in remote.telling */
};

struct remote_attempt {
    struct list all;  /* in remote.all, in the order they came */
    struct list wait; /* where `waits` says */
    enum attempt_wait waits;
    struct attempt_key key;
    int64_t due_ns; /* WAIT_SEND, WAIT_OUTPUT: no longer than this */
    bool sent;      /* the node may know of it */
    bool killed;
    bool over, told, acked, forget;
    bool uncopied;           /* some output could not be written here */
    bool gone;               /* over, and the node is not asked for it any more */
    struct attempt_end *end; /* over; NULL: never started */
    int64_t grace_ns;
    struct remote_stream streams[2]; /* stdout, stderr */
};

enum remote_phase {
    PHASE_NONE,
    PHASE_GREETING, /* hello is awaited */
    PHASE_AGREEING, /* welcome was sent */
    PHASE_UP
};

enum { FACT_NAME, FACT_VERSION, FACT_ARCH, FACT_OS, FACT_BOOT, FACT_NOTE, FACT_STATE, FACT_COUNT };

struct remote {
    struct ev_loop *loop;
    const struct log *log;
    struct remote_hooks hooks;
    char *name, *head_id;
    uint64_t fence;
    int64_t lease_ns, interval_s, output_max;
    int state_fd;

    /* for the hooks */
    struct ev_timer tell;
    bool changed;
    struct link_msg *sample; /* the newest, not told yet */
    char *fact_text[FACT_COUNT];
    struct remote_facts facts;

    /* connection */
    enum remote_phase phase;
    struct ev_io io;
    struct ev_hook turn_end;
    struct buf in, out;
    size_t preface;         /* bytes skipped before the hello */
    char *preface_line;     /* the last of them that says something */
    char *error;            /* why the last one ended */
    int64_t began_ns;       /* PHASE_GREETING */
    int64_t heard_ns;       /* the last word from the node */
    int64_t renewed_ns;     /* its lease began no later than this */
    int64_t ping_ns;        /* between pings */
    int64_t ping_id, stamp; /* of the last ping; of the last pong */
    unsigned complaints;
    struct ev_timer ping, silence;

    /* attempts */
    struct map attempts; /* by job and number */
    struct list all, unsent, ending, telling;
    size_t running; /* not told */
    struct ev_timer unsent_due, ending_due, lease;
    struct attempt_key *forgets; /* to be said when it is back */
    size_t forget_count;

    /* output */
    struct list urgent, waiting, open;
    bool pump_wanted;
    size_t open_count;
    int64_t next_id, first_id; /* of the next `read`; of the first one on this connection */
    struct ev_timer rotate;
};

/* remote.c */
/* The hooks are called in a turn of their own, soon. */
void remote_tell_soon(struct remote *r);
void remote_note_change(struct remote *r);
void remote_set_fact(struct remote *r, int fact, const char *text);

/* remote_attempt.c */
struct remote_attempt *remote_attempt_find(const struct remote *r, const struct attempt_key *key);
/* Its fate is known. `end` NULL: it never started. gone: the node doesn't have it (any more). */
void remote_attempt_settle(struct remote *r, struct remote_attempt *t,
                           const struct attempt_end *end, bool gone);
/* One of its streams is done: an end may be told, or the attempt forgotten. It may be freed. */
void remote_attempt_output_done(struct remote *r, struct remote_attempt *t);
void remote_attempts_told(struct remote *r, struct remote_attempt *t); /* its hook is called now */
/* Those that the node shall look for; malloc'd. */
struct attempt_key *remote_attempts_name(struct remote *r, size_t *count);
void remote_attempts_up(struct remote *r);
void remote_attempts_away(struct remote *r);
void remote_attempts_init(struct remote *r);
void remote_attempts_fini(struct remote *r);
void remote_attempt_on_ended(struct remote *r, const struct link_msg *m);
void remote_attempt_on_never_started(struct remote *r, const struct link_msg *m);
void remote_attempt_on_refused(struct remote *r,
                               const struct link_msg *m); /* an `error` about a run */

/* remote_link.c */
void remote_conn_send(struct remote *r, const struct link_msg *m);
void remote_conn_send_line(struct remote *r,
                           const struct buf *line); /* a message that is encoded already */
/* Something about `key` (its fence is not sent: orders of an earlier one are as good). */
void remote_conn_about(struct remote *r, enum link_type type, const struct attempt_key *key);
void remote_conn_drop(struct remote *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void remote_conn_close(struct remote *r);
/* The node says what it has no reason to: a line in the log, and too many of them end it. */
void remote_conn_complain(struct remote *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void remote_conn_init(struct remote *r);
void remote_conn_fini(struct remote *r);

/* remote_output.c */
void remote_output_add(struct remote_attempt *t, const char *stdout_path, const char *stderr_path);
/* The node knows of it, and is there. */
void remote_output_begin(struct remote *r, struct remote_attempt *t);
void remote_output_hurry(struct remote *r, struct remote_attempt *t); /* it has ended */
void remote_output_give_up(struct remote *r, struct remote_attempt *t);
bool remote_output_done(const struct remote_attempt *t);
void remote_output_away(struct remote *r);
void remote_output_pump(struct remote *r); /* at the end of a turn: asks for what was queued */
void remote_output_on_data(struct remote *r, const struct link_msg *m);
void remote_output_on_refused(struct remote *r,
                              const struct link_msg *m); /* an `error` about a read */
void remote_output_init(struct remote *r);
void remote_output_fini(struct remote_attempt *t);

#endif
