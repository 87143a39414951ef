/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon as other commands start it. */
#ifndef HIVE_CMD_DAEMON_H
#define HIVE_CMD_DAEMON_H

struct conf;

/* Runs the daemon with these settings until it is told to stop. Prints what is to be said;
 * returns the exit code. `conf` stays the caller's. */
int daemon_run(struct conf *conf);

#endif
