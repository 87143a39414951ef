/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One attempt of one job, as files. Everything that must outlive the daemon is here:
 *
 *   STATE/attempts/J/JOB.N.claim       start gate, proof of life and exit record: a hard link to
 *                                      the identity file of a shim, which keeps it flock'd as long
 *                                      as it lives. link(2) makes it appear at once, complete and
 *                                      locked, or fails with EEXIST: two starters can't both win.
 *                                      A claim whose text is "hive-sealed 1" stands for "never
 *                                      started, and never will".
 *   STATE/attempts/J/JOB.N.out, .err   output, unless the job names other paths
 *   STATE/attempts/J/JOB.N.script      the script of a submitted script file
 *   STATE/shims/PID-START              identity files: "hive-shim 1\npid=…\nstart=…\n", and behind
 *                                      it the exit records of all attempts the shim had so far
 *
 * J is JOB/1024, so that no folder gets too large.
 *
 * A file made for each record and renamed would be one more to create and remove for every job. An
 * append says as much: the file has one writer, who writes a record with one write(2) and takes
 * back what was cut by a full disk; so a record is there whole, or it ends before its line "end".
 * SIGKILL doesn't cut a write that fits into the page cache page it is in, and where it falls on a
 * border of two pages, or the machine dies, the cut shows: the attempt is then lost, which is what
 * it would be without a record. Nothing is ever concluded from a piece.
 *
 * A shim takes a new identity file before the old one gets longer than readers read.
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

/* Appends what the paths of an attempt's files begin with, relative to the state folder:
 * "attempts/0/17.1", to which ".out", ".err", ... are added. */
void attempt_prefix(const struct attempt_key *key, struct buf *b);

/* Makes the folder that an attempt's files are in, and those above it. 0, or -1 with errno. */
int attempt_make_folder(int state_dirfd, const struct attempt_key *key);

/* Longest exit record that is read; written ones are far shorter. */
#define ATTEMPT_RECORD_MAX 4096
/* So much of a claim is read. */
#define ATTEMPT_CLAIM_MAX (128 * 1024)

/*
 * Text form of an exit record ("hive-exit 1\nkey=value\n…end\n") and back. Parsing checks
 * everything: a wrong version, missing, doubled or malformed fields, a cut end, a job or number
 * other than those of `expect` (NULL: any; a fence of 0 in it: any fence) are ERR_CORRUPT. Lines it
 * doesn't know are ignored. `end` is untouched on failure.
 */
void attempt_end_encode(const struct attempt_end *end, struct buf *b);
int attempt_end_decode(const char *data, size_t len, const struct attempt_key *expect,
                       struct attempt_end *end, struct err *err);

/*
 * Looks for the exit record of an attempt in the text of its claim, among records of others. A
 * record begins with a line that is exactly "hive-exit 1" and must be complete and valid; one that is
 * cut is passed over, wherever the cut is. The last one counts; the fence in `key` doesn't. `end` is
 * untouched when there is none.
 */
bool attempt_end_find(const char *data, size_t len, const struct attempt_key *key,
                      struct attempt_end *end);

enum attempt_state {
    ATTEMPT_NEVER_STARTED, /* no claim, or a sealed one */
    ATTEMPT_ALIVE,         /* claimed, its shim lives, no exit record yet */
    ATTEMPT_ENDED,         /* there is an exit record */
    ATTEMPT_DEAD           /* claimed, shim gone, no exit record (or a piece of one): lost */
};

enum attempt_unclaimed {
    ATTEMPT_LEAVE, /* who has not claimed it may still do so */
    ATTEMPT_SEAL, /* is claimed by the caller: "not started yet" becomes "never started" for good */
    ATTEMPT_GONE  /* claims don't survive what happened (a restart of the machine): without one it
                      is DEAD, unless it was sealed */
};

/*
 * What became of an attempt. *end is set for ENDED; *shim_pid (may be NULL) for ALIVE, 0 otherwise.
 * -1 only for errors of the system other than the files' absence.
 */
int attempt_inspect(int state_dirfd, const struct attempt_key *key,
                    enum attempt_unclaimed unclaimed, enum attempt_state *state,
                    struct attempt_end *end, pid_t *shim_pid, struct err *err);

/* Removes its files, output and all. Missing is fine. */
int attempt_remove(int state_dirfd, const struct attempt_key *key, struct err *err);

/* Removes identity files of shims that are gone from STATE/shims (claims keep their own link).
 * Returns how many; errors leave files there, which does no harm. */
int attempt_clean_shims(int state_dirfd);

#endif
