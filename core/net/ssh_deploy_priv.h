/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to ssh_deploy: what is asked of a host, and how its answers are read. */
#ifndef HIVE_NET_SSH_DEPLOY_PRIV_H
#define HIVE_NET_SSH_DEPLOY_PRIV_H

#include "base/buf.h"
#include "ev/ev.h"
#include "net/ssh_deploy.h"
#include "net/ssh_link_client.h"
#include "net/tls_digest.h"

#define DEPLOY_ANSWER_MAX ((size_t)64 * 1024) /* with greetings of the login shell before it */
#define DEPLOY_TEXT_MAX 256
#define DEPLOY_WORD_MAX 64
#define DEPLOY_PLACES 4 /* numbered from 1 on, in the order in which they are wanted */
#define DEPLOY_OWN 9    /* "place" of a hive that somebody installed */
#define DEPLOY_SHA256_HEX (2 * DIGEST_SHA256_SIZE)
#define DEPLOY_OTHERS_MAX 4

/* --- the file (ssh_deploy_program.c) ------------------------------------------------------------ */

struct deploy_file {
    int fd;
    int64_t size;
    char sha256[DEPLOY_SHA256_HEX + 1];
    char arch[DEPLOY_WORD_MAX];
};

struct ssh_deploy_program {
    struct deploy_file own;
    char *others; /* or NULL */
    struct deploy_file other[DEPLOY_OTHERS_MAX];
    size_t other_count;
};

/* What the head of an ELF file says: its architecture as uname -m calls it, and whether it needs a
 * loader (and libraries). False: it is none, or one for something unheard of. */
bool deploy_read_elf(const unsigned char *head, size_t len, char arch[DEPLOY_WORD_MAX],
                     bool *dynamic);
/* All words that uname -m may have for it, with blanks between; itself if it has no others. */
const char *deploy_arch_words(const char *arch);
/* The file for a host that calls itself so: borrowed. NULL: there is none, and why. */
const struct deploy_file *deploy_file_for(struct ssh_deploy_program *program, const char *arch,
                                          struct err *err);

/* --- questions (ssh_deploy_script.c) ------------------------------------------------------------ */

/* Command lines for any login shell. `skip`: digits of the places not to look at. `id`: hex. */
void deploy_ask_probe(const struct deploy_file *file, const char *skip, struct buf *out);
/* 0 or -1: no shell can be told this folder */
int deploy_ask_put(const struct deploy_file *file, const char *folder, const char *id,
                   struct buf *out, struct err *err);
void deploy_ask_own(const char *version, struct buf *out);
void deploy_ask_remove(const char *sha256, struct buf *out); /* NULL: all */
/* Whether any login shell passes it on unchanged between two single quotes. */
bool deploy_quotable(const char *s);

/* --- answers (ssh_deploy_answer.c) -------------------------------------------------------------- */

enum deploy_state {
    DEPLOY_NONE,    /* nothing said */
    DEPLOY_HAVE,    /* the file is there, and ran */
    DEPLOY_FREE,    /* it can be put there */
    DEPLOY_DENIED,  /* can't be written to */
    DEPLOY_NOEXEC,  /* what is written there can't be run */
    DEPLOY_FULL,    /* no room */
    DEPLOY_FOREIGN, /* another user's, or open to others */
    DEPLOY_SHORT,   /* the file didn't arrive */
    DEPLOY_DIFFERS, /* ... unchanged */
    DEPLOY_FAILS,   /* the file is there, and didn't run */
};

struct deploy_place {
    int number;
    enum deploy_state state;
    char folder[SSH_DEPLOY_PATH_MAX]; /* the file's; "" when it can't be used */
    char text[DEPLOY_TEXT_MAX];       /* what the system said; safe to show */
    char said[DEPLOY_TEXT_MAX];       /* the first line of what it said when it was run */
    int code;                         /* ... and its exit status */
};

struct deploy_answer {
    bool begun, whole;
    char os[DEPLOY_WORD_MAX], arch[DEPLOY_WORD_MAX], home[SSH_DEPLOY_PATH_MAX];
    int64_t uid;
    bool proc; /* /proc can be read */
    struct deploy_place places[DEPLOY_PLACES + 1];
    size_t place_count;
    int removed;
    struct buf left, stuck; /* lines */
};

/* Whether its last line is there. */
bool deploy_answer_ended(const char *text, size_t len);
/* Reads what a script printed, whatever it is. Text before it is skipped. deploy_answer_fini() frees. */
void deploy_answer_read(const char *text, size_t len, struct deploy_answer *a);
void deploy_answer_fini(struct deploy_answer *a);
/* NULL: nothing was said about it. */
const struct deploy_place *deploy_answer_place(const struct deploy_answer *a, enum deploy_state s);
/* The first line that isn't empty of what came instead of an answer; safe to show. */
void deploy_first_line(const char *text, size_t len, char out[DEPLOY_TEXT_MAX]);

/* --- asking (ssh_deploy_ask.c) ------------------------------------------------------------------- */

/* One command there, and what it prints. Zeroed, and the first part set, before deploy_ask(). */
struct deploy_question {
    struct ev_loop *loop;
    struct ssh_link_client *client;
    int64_t wait_ns, answer_ns, stall_ns; /* as of the options, without 0 */
    /* From the loop, once, when it is over and stopped: ERR_NONE, or why nothing was heard. */
    void (*ended)(struct deploy_question *q, const struct err *err);
    /* From the loop: so far of the file has been taken. It may stop and free. */
    void (*progress)(struct deploy_question *q, int64_t sent);

    struct ssh_link_run *run; /* NULL: nothing is asked */
    struct ev_io io;          /* what it prints */
    struct ev_timer timer;
    int file; /* its input, -1: none */
    bool started;
    int64_t sent, moved_ns;
    struct buf answer; /* stays until the next question */
    uint32_t code;     /* its exit status, where the answer is not whole */
};

/* Asks; `file` is its input, -1: none, and is the question's then, also when this fails. */
int deploy_ask(struct deploy_question *q, const char *command, int file, struct err *err);
/* Harmless when nothing is asked. */
void deploy_ask_stop(struct deploy_question *q);
void deploy_ask_fini(struct deploy_question *q);

/* --- words (ssh_deploy_words.c) ----------------------------------------------------------------- */

/* Why it is in no place, or in none of the better ones. */
void deploy_say_places(const struct deploy_place *places, size_t count, struct err *err);
/* SHORT with what cat said becomes FULL, FAILS with what the kernel said NOEXEC. */
void deploy_refine(struct deploy_place *place);

#endif
