/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The link protocol: what a head and a node say to each other. A message is one JSON object, on
 * stdio one per line, on a WebSocket one per text frame; this is the codec alone. Its first field
 * is "type". Unknown fields are ignored; an unknown type, and what is malformed, is answered with
 * an `error` and nothing else happens.
 *
 *   node                              head
 *   hello  ->                         what the machine is; nothing was touched yet
 *                      <-  welcome    which head, its fence, which attempts it believes to be here
 *   agreed ->                         all of these are taken up; what else lived here is killed
 *   ended, never_started ->           for each attempt, once its fate is known; again after a
 *                      <-  ack        reconnect, until the head has it on disk
 *   sample ->          <-  run, kill, signal, take_back, read, stop_read, forget, measure, ping, drain
 *   data, taken_back, pong, error ->
 *
 * A node says nothing but hello, pong and error before it has a welcome. What a login shell prints
 * before the hello is the head's to skip.
 *
 * Fences: each start of a head has a higher one. A node keeps the highest it has seen, and refuses
 * a welcome with a lower one, and any order that carries a lower one (in `run` the fence is that of
 * the attempt; elsewhere it may be left out). The error then has kind "conflict" and the fence that
 * the node has seen.
 *
 * Lease: a node ends all it runs when it heard nothing for lease_s: SIGTERM, and SIGKILL after
 * LINK_LEASE_GRACE_S. What counts is not when a word of the head came, which may have been on its
 * way for long, but when it was said, as far as the node can tell: a `pong` has the node's clock, its
 * stamp, and each `ping` carries the newest stamp that the head has, so that it was said after that.
 * The lease runs from the newest stamp that came back, and before there is one from the hello. So
 * the head, which waits for lease_s and the grace after its last ping or welcome, and some more for
 * clocks, may run them elsewhere then. A cancelled end that the head didn't ask for is such a one.
 *
 * Numbers of bytes and nanoseconds are whole; what isn't known is left out. Names that struct
 * node_run and struct attempt_end have are the same here.
 */
#ifndef HIVE_NODE_LINK_MSG_H
#define HIVE_NODE_LINK_MSG_H

#include "node/attempt.h"
#include "node/node.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

#define LINK_VERSION 1

#define LINK_LINE_MAX (1024 * 1024) /* bytes of a message, without the newline */
#define LINK_DATA_MAX (64 * 1024)   /* bytes of output in one `data`, before base64 */
#define LINK_TEXT_MAX 1024          /* names, notes, messages; what is longer is cut on encoding */
#define LINK_ATTEMPTS_MAX 8192      /* in one list */
#define LINK_USERS_MAX 256
#define LINK_CORES_MAX 1024
#define LINK_READS_MAX 64        /* streams of output at once, of one node */
#define LINK_INTERVAL_MAX_S 3600 /* between samples; 0: none */
#define LINK_LEASE_MAX_S (7 * 86400)
#define LINK_LEASE_DEFAULT_S 600
#define LINK_LEASE_GRACE_S 10
#define LINK_FENCE_MAX INT64_MAX
#define LINK_HEAD_MIN 16 /* hexadecimal digits (lower case) of a head's id */
#define LINK_HEAD_MAX 32

enum link_type {
    /* node to head */
    LINK_HELLO,         /* v name version arch os boot_id threads memory_total_bytes */
    LINK_AGREED,        /* memory_note state_dir attempts unwanted */
    LINK_SAMPLE,        /* sample.* */
    LINK_ENDED,         /* end.* */
    LINK_NEVER_STARTED, /* key: it has not run and never will */
    LINK_TAKEN_BACK,    /* key: the same, and its number may be used again */
    LINK_DATA,          /* id offset data size eof message */
    LINK_PONG,          /* id of the ping, stamp */
    LINK_ERROR, /* message kind about; key, id: what they are about, 0: nothing of the kind */
    /* head to node */
    LINK_WELCOME,   /* v head fence sample_interval_s lease_s attempts */
    LINK_RUN,       /* run.* inherit_env workdir_fallback head_home */
    LINK_KILL,      /* key grace_ns */
    LINK_SIGNAL,    /* key signo */
    LINK_TAKE_BACK, /* key */
    LINK_ACK,       /* key: its end is on the head's disk */
    LINK_READ,      /* id key stream offset limit follow path */
    LINK_STOP_READ, /* id; what is under way may still come */
    LINK_FORGET,    /* key: remove its files, output and all */
    LINK_MEASURE,   /* interval_s */
    LINK_PING,      /* id, which comes back; stamp */
    LINK_DRAIN,     /* take no `run` any more, and end when the last attempt has ended */
    LINK_TYPE_COUNT
};

/* What one attempt uses now. */
struct link_use {
    struct attempt_key key; /* without its fence */
    int64_t cpu_ns;         /* user and system, since it started */
    int64_t memory_bytes;
};

/* As `hive status nodes --json` shows it; -1: not known. */
struct link_sample {
    double cpu_percent, iowait_percent; /* of the CPUs that jobs may use */
    double load[3];
    double cpu_pressure_percent, memory_pressure_percent, io_pressure_percent;
    double uptime_s;
    double rx_bytes_per_s, tx_bytes_per_s, disk_read_bytes_per_s, disk_write_bytes_per_s;
    int64_t memory_total_bytes, memory_available_bytes, swap_total_bytes, swap_used_bytes;
    int64_t disk_total_bytes, disk_free_bytes; /* where the node's state folder is */
    const signed char *cores;                  /* how busy each is, in percent; -1: not known */
    size_t core_count;
    const char *const *users; /* NULL-terminated, or NULL */
    int64_t running;          /* attempts that the node has */
    const struct link_use *uses;
    size_t use_count;
};

/* Only what belongs to the type is looked at and set; the rest is zero. */
struct link_msg {
    enum link_type type;
    int64_t v;              /* LINK_VERSION of the sender */
    int64_t id;             /* 1 and up */
    struct attempt_key key; /* of run and end too: theirs are set from it and not looked at */

    const char *name, *version, *arch, *os, *boot_id, *memory_note;
    const char *state_dir; /* what the paths of attempts' files are below */
    int64_t threads, memory_total_bytes;

    const char *head; /* the head's id: LINK_HEAD_MIN to LINK_HEAD_MAX of 0-9a-f */
    int64_t sample_interval_s, lease_s;
    const struct attempt_key *attempts, *unwanted;
    size_t attempt_count, unwanted_count;

    struct node_run run;
    /* RUN: the node's own HOME, USER, LOGNAME, SHELL, PATH, LANG, LC_ALL, LC_CTYPE, TZ and TMPDIR
     * come first, and what run.env names overrides them. */
    bool inherit_env;
    /* RUN: where there is no run.workdir, it is the same folder below the node's HOME, if it is
     * below head_home (or NULL) and there; else that HOME. */
    bool workdir_fallback;
    const char *head_home;
    struct attempt_end end;
    struct link_sample sample;

    bool is_stderr; /* "stream": "stdout" or "stderr" */
    bool follow;    /* go on until the attempt has ended */
    bool eof;       /* the last of this id */
    /* READ: from where; at most so many bytes, 0: all. DATA: where this stands; size of the file. */
    int64_t offset, limit, size;
    const char *path; /* READ: the file that the job named itself; NULL: the attempt's own */
    const void *data;
    size_t data_len;
    const char *message; /* ERROR; DATA with eof: why there is no more, or NULL */
    const char *kind;    /* err_kind_name() */
    const char *about;   /* type of the message that it answers, or NULL */

    int64_t grace_ns;
    int32_t signo;
    int64_t interval_s;
    int64_t stamp; /* PONG: the node's clock; PING: of the newest pong; 0: none */

    struct link_owned *owned; /* by decoding */
};

/* "hello", "welcome", … Never NULL. */
const char *link_type_name(enum link_type type);

/* Appends the message, without a newline. Strings that aren't UTF-8 have their bad bytes replaced.
 * -1, and b as before: ERR_TOO_LARGE over LINK_LINE_MAX. */
int link_msg_encode(const struct link_msg *m, struct buf *b, struct err *err);

/*
 * Reads one message. Everything is checked: types, ranges, lengths, that what must be there is.
 * What m points to is its own, until link_msg_fini. -1: ERR_TOO_LARGE, ERR_INVALID; m then needs no
 * link_msg_fini.
 */
int link_msg_decode(const char *data, size_t len, struct link_msg *m, struct err *err);
/* Frees what decoding allocated. */
void link_msg_fini(struct link_msg *m);

#endif
