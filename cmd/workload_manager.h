/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration file of the Go cluster workload manager, read as settings of hive. */
#ifndef HIVE_CMD_WORKLOAD_MANAGER_H
#define HIVE_CMD_WORKLOAD_MANAGER_H

#include <stddef.h>

struct buf;
struct conf;
struct err;

/*
 * Reads the file's text into settings (source CONF_FROM_FLAG). `path` is for messages, each with
 * the line it is about; unknown keys and keys without effect give a line in `warnings`. ERR_INVALID
 * for what is malformed, ERR_UNPROCESS for a role this version can't take.
 */
int workload_manager_read(struct conf *conf, const char *path, const char *text, size_t len,
                          struct buf *warnings, struct err *err);

#endif
