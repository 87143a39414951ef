/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to `hive doctor`:
 *
 *   doctor.c        the command, and what it prints
 *   doctor_here.c   checks of this machine
 *   doctor_store.c  the queue, read from a copy
 *   doctor_host.c   checks of a host, of what is known after all was asked
 *   doctor_visit.c  asks hosts, over their link processes, and our own shell
 *   doctor_facts.c  what is asked, as a program for a shell, and reading its answers
 *
 * Nothing is changed anywhere, but that link processes are started.
 */
#ifndef HIVE_CMD_DOCTOR_H
#define HIVE_CMD_DOCTOR_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct hosts_probe;
struct ssh_deploy_program;

/* --- findings ----------------------------------------------------------------------------------- */

enum doctor_status { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_PROBLEM };

struct doctor_check {
    const char *check; /* static: "login" */
    enum doctor_status status;
    char *message;
    char *fix; /* the command that mends it, or what to do; NULL: nothing is to be done */
};

struct doctor_report {
    char *where;
    struct doctor_check *checks;
    size_t count;
};

void doctor_add(struct doctor_report *r, const char *check, enum doctor_status status,
                const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Of the one that was added last. */
void doctor_fix(struct doctor_report *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A problem, or what `status` says, and its hint as the fix. */
void doctor_add_err(struct doctor_report *r, const char *check, enum doctor_status status,
                    const struct err *err);
void doctor_report_fini(struct doctor_report *r);

/* --- facts of a machine ------------------------------------------------------------------------- */

#define DOCTOR_FACTS_MAX 64
#define DOCTOR_FACT_MAX 300                   /* bytes of a value; a longer one is cut */
#define DOCTOR_ANSWER_MAX ((size_t)64 * 1024) /* what a machine says in all */

/* Words that a machine said about itself. Values are safe to print. */
struct doctor_facts {
    size_t count;
    struct {
        char *name, *value;
    } fact[DOCTOR_FACTS_MAX];
    bool complete; /* it came to its end */
};

/* What a shell is told first; it then says the line DOCTOR_READY. */
#define DOCTOR_HELLO "echo; echo @hive ready 1\n"
#define DOCTOR_READY "@hive ready "
#define DOCTOR_TIME "@hive time "
/* Appends what it is told next. Its first answer is the time. `sha256`: of the hive that is looked
 * for there, or NULL. */
void doctor_script(const char *sha256, struct buf *out);

/* Lines "@hive NAME VALUE"; others are passed over, and so is what is over the limits. The first
 * value of a name counts. */
void doctor_facts_read(struct doctor_facts *f, const char *text, size_t len);
void doctor_facts_fini(struct doctor_facts *f);
const char *doctor_fact(const struct doctor_facts *f, const char *name); /* "" when not said */
int64_t doctor_fact_int(const struct doctor_facts *f, const char *name, int64_t none);
/* "1763690000.123456789", "1763690000" (also with rubbish behind): wall time and how exact it is.
 * False when it is none. */
bool doctor_read_time(const char *text, int64_t *wall_ns, int64_t *exact_ns);
/* The version in what a program says of itself, "waypipe 0.8.4": its first two numbers. */
bool doctor_read_version(const char *text, int64_t *major, int64_t *minor);

/* --- asking ------------------------------------------------------------------------------------- */

struct doctor_visit {
    const char *word;   /* host, as a link process is called; NULL: this machine */
    const char *sha256; /* or NULL */

    struct err err; /* ERR_NONE: it was asked, and `facts` has what it said */
    struct doctor_facts facts;
    char *via;              /* "builtin", "system"; NULL: not known */
    bool timed;             /* it said what time it is: */
    int64_t ahead_ns;       /* of ours, */
    int64_t uncertainty_ns; /* give or take this */
};

/* Visits all, many at once, each for at most timeout_ns. -1: the loop itself failed. */
int doctor_visit_all(struct doctor_visit *visits, size_t count, int64_t timeout_ns,
                     struct err *err);
void doctor_visit_fini(struct doctor_visit *v);

/* --- checks ------------------------------------------------------------------------------------- */

struct doctor_node; /* doctor.c */

/* What a host is known by. */
struct doctor_host {
    const char *word;                   /* for ssh, and for hive's own commands */
    const char *node;                   /* it is a node by this name; NULL: none */
    const char *node_status;            /* "up"; with node */
    const char *node_error, *node_hint; /* or "" */
    const struct hosts_probe *probe;
    const struct doctor_visit *visit;         /* NULL: it could not be reached */
    const struct ssh_deploy_program *program; /* NULL: none that can be copied */
};
void doctor_check_host(const struct doctor_host *h, struct doctor_report *r);

struct doctor_here {
    const struct doctor_visit *visit;
    const struct ssh_deploy_program *program;
    const struct err *program_err; /* why there is none */
    bool deep;
    /* The daemon's answers: */
    const struct err *daemon_err; /* kind ERR_NONE: it answers */
    const char *daemon_version, *daemon_address, *daemon_note;
};
void doctor_check_here(const struct doctor_here *h, struct doctor_report *r);
/* Reads a copy of the queue. */
void doctor_check_store(const char *state_dir, struct doctor_report *r);

/* For both: `ssh` is what stands before commands there, "" or "ssh HOST ". */
void doctor_check_waypipe(const struct doctor_facts *f, const char *ssh, const char *who,
                          struct doctor_report *r);
void doctor_check_gpu(const struct doctor_facts *f, const char *ssh, struct doctor_report *r);
/* Sets the fix: how to install a package there. */
void doctor_fix_install(struct doctor_report *r, const struct doctor_facts *f, const char *ssh,
                        const char *package);

#endif
