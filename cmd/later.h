/* SPDX-License-Identifier: BSD-2-Clause */
/* What later versions of hive have and this one doesn't: who tries it is told so, and not that it is
 * unknown. The table is in later.c; whoever makes a thing takes its line out. */
#ifndef HIVE_CMD_LATER_H
#define HIVE_CMD_LATER_H

#include <stdbool.h>

struct cmd;
struct err;

/* Whether a later version has `option` (a long option without dashes, or a subcommand) of the
 * command, or with NULL the command itself. */
bool later_has(const char *command, const char *option);

/* "WHAT is not in this version of hive", ERR_USAGE. Returns -1. */
int later_err(struct err *err, const char *what);

/* After opt_parse() has failed: if it was at an option that a later version has, `err` says that
 * instead. */
void later_option(const struct cmd *cmd, int argc, char **argv, struct err *err);

#endif
