/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of `hive submit`: what was asked for, and its form as a job specification of the API. */
#ifndef HIVE_CMD_SUBMIT_H
#define HIVE_CMD_SUBMIT_H

#include "base/opt.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;

/* A number that was not given. */
#define SUBMIT_UNSET INT64_MIN

struct submit_args {
    const char *name, *array, *each_line, *workdir, *stdout_path, *stderr_path, *on_lost, *node,
        *key;
    int64_t threads, memory, gpus, priority, timeout_ns, retry, retry_delay_ns;
    struct opt_list after, env;
    bool hold, wait, follow, quiet, json, dry_run;
};

extern const struct opt submit_options[];

void submit_args_init(struct submit_args *a);
void submit_args_fini(struct submit_args *a);

/* What to run: one of command, script and argv; a script may have arguments in argv. */
struct submit_work {
    const char *command;
    const char *script;
    char *const *argv;
    int argc;
};

/* Appends the job specification. Reads the file of --each-line, and the environment for --env NAME.
 * ERR_USAGE, ERR_INVALID (values that the API can't carry), errors of reading. */
int submit_spec(const struct submit_args *a, const struct submit_work *w, struct buf *body,
                struct err *err);

#endif
