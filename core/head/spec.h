/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a client asks for: a job specification, read from JSON (submit request) or from its stored
 * form.
 *
 * The columns of the job's row (name, command for people, resources, priority, timeout, ...) are
 * stored as columns; everything else is the "stored spec", a small JSON object written by
 * spec_encode() and read back when an attempt starts.
 */
#ifndef HIVE_HEAD_SPEC_H
#define HIVE_HEAD_SPEC_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

struct err;

enum spec_dep_when { DEP_OK, DEP_ANY, DEP_FAIL };

struct spec_dep {
    int64_t job;
    enum spec_dep_when when;
};

enum spec_on_lost { ON_LOST_DEFAULT, ON_LOST_HOLD, ON_LOST_REQUEUE };

/* Strings borrow from the JSON document the spec was read from. */
struct spec {
    yyjson_val *json;    /* the object itself */
    const char *command; /* shell command, or NULL */
    yyjson_val *argv;    /* array of strings, or NULL */
    const char *script;  /* text, or NULL; argv then are its arguments */
    const char *name;    /* or NULL */
    const char *node;    /* or NULL */
    const char *workdir, *stdout_path, *stderr_path; /* or NULL */
    yyjson_val *env;                                 /* object of strings, or NULL */
    int64_t threads, gpus, priority, memory;
    int64_t timeout_ns, retry, retry_delay_ns;
    enum spec_on_lost on_lost;
    bool hold;
    bool is_array;
    int64_t first, last, step, limit; /* arrays */
    yyjson_val *lines;                /* array of strings, or NULL */
    size_t dep_count;
    struct spec_dep *deps; /* owned: spec_fini */
};

/*
 * Reads and checks one specification; `defaults` (or NULL) is an object with the same fields that
 * apply where `json` has none. `where` is "" or "jobs[3]." for messages. `stored` accepts what
 * spec_encode writes and skips the checks of a fresh request. ERR_INVALID, ERR_TOO_LARGE.
 */
int spec_read(struct spec *s, yyjson_val *json, yyjson_val *defaults, const char *where,
              bool stored, struct err *err);
void spec_fini(struct spec *s);

/* Appends the stored form: everything that has no column of its own. */
void spec_encode(const struct spec *s, struct buf *b);

/* Appends the command as people read it: the shell command, the quoted argv, or "script ARGS". */
void spec_command_text(const struct spec *s, struct buf *b);
/* A name for a job without one: the base name of its program's first word. */
void spec_default_name(const struct spec *s, struct buf *b);

/* "12", "12:ok", "12:any", "12:fail". ERR_INVALID. */
int spec_parse_dep(const char *text, struct spec_dep *dep, struct err *err);
const char *spec_dep_when_name(enum spec_dep_when w);

/* "1-100", "0-9:2", "1-100%8". ERR_INVALID says what is wrong and the expected form, ERR_TOO_LARGE. */
int spec_parse_array(const char *text, int64_t *first, int64_t *last, int64_t *step, int64_t *limit,
                     struct err *err);

/* Whether a path may be that of an output: not empty, and after each % one of j, a and %.
 * ERR_INVALID, without the name of the field. */
int spec_check_output(const char *path, struct err *err);

/* Job id as text: "12" or "12_5". False when malformed. *task is -1 without one. */
bool spec_parse_id(const char *text, int64_t *job, int64_t *task);

/* What one attempt gets, all owned: spec_launch_fini. */
struct spec_launch {
    char **argv, **env;
    char *workdir, *stdout_path, *stderr_path; /* outputs NULL: the attempt's own files */
    const char *script;                        /* borrowed from the spec */
};

struct spec_context {
    int64_t id;   /* job, or the array of a task */
    int64_t task; /* -1 none */
    int32_t attempt;
    int64_t threads, gpus;
    const char *node;
    const char *line;            /* --each-line, or NULL */
    const char *const *base_env; /* "K=V", NULL-terminated: the daemon's own basics */
    const char *home;
};

/* Works out command line, environment and paths of an attempt. ERR_TOO_LARGE when it all gets too
 * big. */
int spec_launch_prepare(const struct spec *s, const struct spec_context *c, struct spec_launch *l,
                        struct err *err);
void spec_launch_fini(struct spec_launch *l);

/* stdout or stderr path of a job for listings: placeholders replaced, absolute; false when the job
 * has none of its own. */
bool spec_output_path(const struct spec *s, const char *path, int64_t id, int64_t task,
                      const char *home, struct buf *out);

#endif
