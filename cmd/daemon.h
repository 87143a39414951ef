/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon as other commands start it. */
#ifndef HIVE_CMD_DAEMON_H
#define HIVE_CMD_DAEMON_H

#include "base/log.h"

struct conf;
struct hosts_file;

/* A program that hive stands in for. */
struct daemon_as {
    void (*log_write)(void *arg, enum log_level level, const char *line); /* as log_write_fd() */
    const struct hosts_file *hosts; /* become nodes where they are none yet */
};

/* Runs the daemon with these settings until it is told to stop. Prints what is to be said;
 * returns the exit code. `conf` stays the caller's. */
int daemon_run(struct conf *conf);
/* The same as another program; `as` and its parts stay the caller's. */
int daemon_run_as(struct conf *conf, const struct daemon_as *as);

#endif
