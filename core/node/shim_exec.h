/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/node: starts the job's first process. */
#ifndef HIVE_NODE_SHIM_EXEC_H
#define HIVE_NODE_SHIM_EXEC_H

#include <stdbool.h>
#include <sys/types.h>

struct cgroup;

#define SHIM_EXEC_STACK (128 * 1024)

enum exec_step {
    EXEC_FORK,    /* no process could be made; trying again later may help (EAGAIN, ENOMEM) */
    EXEC_PREPARE, /* session, descriptors */
    EXEC_CGROUP,
    EXEC_WORKDIR,
    EXEC_PROGRAM
};

struct shim_exec {
    const char *const *argv; /* argv[0] is searched in the PATH of env, from inside workdir */
    const char *const *env;
    const char *workdir;
    pid_t self;                 /* of the caller */
    int in, out, err;           /* become descriptors 0, 1, 2; all others are closed */
    const struct cgroup *group; /* entered first; NULL: none */
    void *stack;                /* SHIM_EXEC_STACK bytes for the child, end aligned to 16 */
    enum exec_step failed;      /* out, on failure */
    int sys;                    /* out, on failure: errno */
};

/*
 * Starts the program in a session of its own with default signals, and returns its pid once the
 * exec has succeeded; -1 with x->failed and x->sys otherwise. It is killed when the caller dies.
 * All signals must be blocked by the caller, who shares its memory with the child until exec
 * (vfork).
 */
pid_t shim_exec(struct shim_exec *x);

/* True when PATH names a file of that name that exists: tells "not found" from "its interpreter was
 * not found". */
bool shim_exec_exists(const struct shim_exec *x);

#endif
