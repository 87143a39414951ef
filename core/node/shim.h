/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to core/node: the shim, a process that takes one attempt at a time and owns it: opens its
 * output, starts it, kills its whole tree on request, on time-out and at its end (a job lasts as
 * long as its first process), and writes the exit record. See node.h, attempt.h, shim_proto.h.
 *
 * It has one thread, all signals blocked but while it waits, and no signal ends it but SIGKILL:
 * then the job's first process dies with it (PR_SET_PDEATHSIG), and the spawner kills the rest.
 *
 * While it is busy it may have the order for the next attempt, which then begins without a word
 * between shim and daemon (shim_proto.h).
 *
 * Daemon gone: idle, it ends. Busy, it forgets the next attempt, tries to connect to
 * RUNTIME/shim.sock every 250 ms, says what it runs, and ends after that attempt. An exit record
 * that can't be written (disk full) is tried again every 500 ms; a connected daemon has got the end
 * by message already, without one the shim stays until the record is written. Until then the
 * identity file is not changed for a new one: a record must go where the claim of its attempt leads.
 */
#ifndef HIVE_NODE_SHIM_H
#define HIVE_NODE_SHIM_H

#include "base/buf.h"
#include "base/clock.h"
#include "node/shim_proto.h"
#include "sys/cgroup.h"
#include "sys/sys.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

struct shim_setup {
    const char *state_dir, *runtime_dir; /* absolute */
    const struct cgroup_caps *caps;
};

/* The life of a shim, in a process just forked by the spawner. Returns its exit code. */
int shim_main(const struct shim_setup *setup);

/* Identity file: STATE/shims/PID-START, locked as long as the descriptor is open. Exit records are
 * appended to it (attempt.h). */
struct shim_identity {
    int fd; /* -1: none yet */
    unsigned serial;
    int64_t size;  /* bytes of what is whole in it */
    bool cut;      /* behind that is a piece of a record, which could not be taken back yet */
    char path[80]; /* relative to the state folder */
};

/* A file of this size (some 200 records) takes no more attempts: with the records of the one that
 * runs and of those not yet written it must stay below what readers read, and reading it takes well
 * under a millisecond. */
#define SHIM_IDENTITY_FULL (48 * 1024)

/* Makes a new file, in place of an older one. */
int shim_identity_renew(struct shim_identity *id, int state_fd, struct err *err);
/* Appends a record. 0, or errno; then nothing of it is there, or a piece that readers know for one
 * and that is taken back before anything else is written. */
int shim_identity_append(struct shim_identity *id, const char *record, size_t len);
/* Removes the file. The claims stay, unlocked from now on. */
void shim_identity_drop(struct shim_identity *id, int state_fd);

/* The attempt that runs. */
struct shim_job {
    bool active;     /* was ordered, and has not ended */
    bool claimed;    /* by us */
    bool ready;      /* all is there for its start */
    bool own_failed; /* what could not be done was hive's own, in the state folder */
    bool started;    /* its first process was made */
    bool limited;    /* runs in the shim's control group */
    bool cancelled, timed_out;
    bool stuck; /* something could not be killed */
    int fork_tries;
    struct shim_msg msg; /* RUN; points into shim.packet */
    pid_t pid;           /* valid while started and not reaped.seen */
    struct sys_reaped reaped;
    int out, err;      /* open only until the start */
    char *script;      /* absolute path, or NULL */
    const char **argv; /* with {script} replaced, or NULL */
    struct attempt_end end;
    int64_t started_mono_ns;
    int64_t start_at_ns;   /* monotonic, 0: none: the next try to begin or to fork */
    int64_t timeout_at_ns; /* 0: none */
    int64_t kill_at_ns;    /* 0: none: SIGKILL is due */
};

/* Ends whose record could not be written yet; an older one is given up for a ninth. */
#define SHIM_UNWRITTEN_MAX 8

_Static_assert(SHIM_IDENTITY_FULL + (SHIM_UNWRITTEN_MAX + 1) * ATTEMPT_RECORD_MAX <=
                   ATTEMPT_CLAIM_MAX,
               "every record is among what is read");

struct shim {
    const struct shim_setup *setup;
    int state_fd, null_fd;
    int sock; /* -1: no daemon */
    pid_t pid;
    uint64_t start;
    bool quit;       /* end when idle */
    char *packet;    /* SHIM_PACKET_MAX: of job.msg */
    void *stack;     /* for shim_exec */
    char *next;      /* SHIM_PACKET_MAX: RUN of the attempt that comes next */
    size_t next_len; /* 0: none */
    struct attempt_key next_key;
    struct buf out, path;
    struct shim_identity identity;
    struct shim_job job;
    struct attempt_end unwritten[SHIM_UNWRITTEN_MAX];
    size_t unwritten_count;
    struct cgroup group;
    bool group_made;
    int64_t connect_at_ns, rewrite_at_ns; /* 0: none */
    int64_t lease_at_ns;                  /* alone: when to look at the lease; 0: not */
};

/* Begins the attempt of job.msg (shim_job.c). Afterwards either job.active, or its end was reported.
 * While the disk of the state folder is full it is tried again and again. */
void shim_job_begin(struct shim *s);
/* Makes the first process; later calls after start_at_ns try again. */
void shim_job_start(struct shim *s);
/* After SIGCHLD: reaps, and when the first process has ended, ends the attempt. */
void shim_job_reap(struct shim *s);
/* Acts on deadlines that have passed. */
void shim_job_tick(struct shim *s, int64_t now_ns);
void shim_job_kill(struct shim *s, int64_t grace_ns);

/* Writes the exit record or keeps it for later, and tells the daemon (shim_record.c). */
void shim_report_end(struct shim *s, const struct attempt_end *end, bool record);
void shim_rewrite(struct shim *s, int64_t now_ns);

/*
 * A node that works for a far head has a lease, in STATE/lease: up to when (monotonic) what runs may
 * run without a word from that head. Whoever serves the head writes it and acts on it; when it is
 * killed, each shim does. The text is SHIM_LEASE_FORMAT.
 */
#define SHIM_LEASE_FORMAT "hive-lease 1 %020" PRId64 "\n"
#define SHIM_LEASE_SIZE 34
#define SHIM_LEASE_GRACE_NS (10 * NS_PER_S)

/* Gives up the attempt that was to be next, and says so. */
void shim_drop_next(struct shim *s);

/* Sends to the daemon; a failure counts as its loss. */
void shim_send(struct shim *s, const struct shim_msg *m);

#endif
