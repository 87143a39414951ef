/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One attempt of one job, as files. Everything that must outlive the daemon is here:
 *
 *   STATE/attempts/J/JOB.N/claim   start gate and proof of life: a hard link to the identity file
 *                                  of a shim, which keeps it flock'd as long as it lives. link(2)
 *                                  makes it appear at once, complete and locked, or fails with
 *                                  EEXIST: two starters can't both win. A claim whose text is
 *                                  "hive-sealed 1" stands for "never started, and never will".
 *   STATE/attempts/J/JOB.N/exit    the exit record, written as exit.tmp and renamed: it is there
 *                                  whole or not at all
 *   STATE/attempts/J/JOB.N/stdout, stderr   output, unless the job names other paths
 *   STATE/attempts/J/JOB.N/script  the script of a submitted script file
 *   STATE/shims/PID-START          identity files: "hive-shim 1\npid=…\nstart=…\n"
 *
 * J is JOB/1024, so that no folder gets too large.
 * Reading them answers what became of an attempt, whoever asks and whenever (attempt_inspect).
 */
#ifndef HIVE_NODE_ATTEMPT_H
#define HIVE_NODE_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct err;

struct attempt_key {
    int64_t job;    /* 1 .. ATTEMPT_JOB_MAX */
    int32_t number; /* 1 .. ATTEMPT_NUMBER_MAX */
    uint64_t fence; /* of the head start that ordered it; only job and number name the attempt */
};

#define ATTEMPT_JOB_MAX INT64_C(0x7fffffffffff)
#define ATTEMPT_NUMBER_MAX 0xffff

enum attempt_outcome {
    ATTEMPT_EXITED,    /* code */
    ATTEMPT_SIGNALED,  /* signal */
    ATTEMPT_TIMEOUT,   /* time limit passed; code or signal say how it went */
    ATTEMPT_CANCELLED, /* killed on request; code or signal say how it went, neither: never ran */
    ATTEMPT_OOM,       /* killed by the kernel at its memory limit, or failed after a child was */
    ATTEMPT_NOT_RUN,   /* could not be started: message says why; code 126 or 127 for exec failures,
                          else 125 */
    ATTEMPT_LOST,      /* fate unknown: never written by a shim, only concluded */
    ATTEMPT_OUTCOME_COUNT
};

struct attempt_end {
    struct attempt_key key;
    enum attempt_outcome outcome;
    int32_t code;               /* exit code, -1 when none */
    int32_t signal;             /* 0 when none */
    int64_t started_ns;         /* wall; 0 when it did not start */
    int64_t finished_ns;        /* wall; 0 when unknown (LOST) */
    int64_t duration_ns;        /* monotonic: right even if the wall clock jumped */
    int64_t user_ns, system_ns; /* CPU time of the job's processes that were waited for */
    int64_t max_rss;            /* bytes; largest process, or the group's peak where known */
    char message[256];          /* one line; NOT_RUN, LOST: why; OOM: what was seen; else "" */
};

/* "exited", "signaled", "timeout", ... as in the exit record. Never NULL. */
const char *attempt_outcome_name(enum attempt_outcome o);

/* True when job and number are in their ranges. */
bool attempt_key_valid(const struct attempt_key *key);

/* Appends the path of an attempt's folder relative to the state folder: "attempts/0/17.1". */
void attempt_dir(const struct attempt_key *key, struct buf *b);

/* Longest exit record that is read; written ones are far shorter. */
#define ATTEMPT_RECORD_MAX 4096

/*
 * Text form of an exit record ("hive-exit 1\nkey=value\n…end\n") and back. Parsing checks
 * everything: a wrong version, missing, doubled or malformed fields, a cut end, a job or number
 * other than those of `expect` (NULL: any; a fence of 0 in it: any fence) are ERR_CORRUPT. Lines it
 * doesn't know are ignored. `end` is untouched on failure.
 */
void attempt_end_encode(const struct attempt_end *end, struct buf *b);
int attempt_end_decode(const char *data, size_t len, const struct attempt_key *expect,
                       struct attempt_end *end, struct err *err);

enum attempt_state {
    ATTEMPT_NEVER_STARTED, /* no claim, or a sealed one */
    ATTEMPT_ALIVE,         /* claimed, its shim lives, no exit record yet */
    ATTEMPT_ENDED,         /* there is an exit record */
    ATTEMPT_DEAD           /* claimed, shim gone, no exit record (or an unreadable one): lost */
};

/*
 * What became of an attempt. With `seal` an attempt nobody claimed is claimed by the caller, which
 * turns "not started yet" into "never started" for good. *end is set for ENDED; *shim_pid (may be
 * NULL) for ALIVE, 0 otherwise. -1 only for errors of the system other than the files' absence.
 */
int attempt_inspect(int state_dirfd, const struct attempt_key *key, bool seal,
                    enum attempt_state *state, struct attempt_end *end, pid_t *shim_pid,
                    struct err *err);

/* Removes the folder with all output. Missing is fine. */
int attempt_remove(int state_dirfd, const struct attempt_key *key, struct err *err);

/* Removes identity files of shims that are gone from STATE/shims (claims keep their own link).
 * Returns how many; errors leave files there, which does no harm. */
int attempt_clean_shims(int state_dirfd);

#endif
