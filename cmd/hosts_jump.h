/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to `hive hosts`: the way to a host that stands behind others (ProxyJump), over the link
 * processes of those. */
#ifndef HIVE_CMD_HOSTS_JUMP_H
#define HIVE_CMD_HOSTS_JUMP_H

#include <stdint.h>

struct err;
struct ev_loop;
struct hosts_jump;
struct ssh_config;

/*
 * Starts, waiting some milliseconds where a link process is to be started. `done` is called once, by
 * the loop: with a connected socket, which is the callee's, or -1 and an error. The connection lasts
 * until hosts_jump_end(). NULL: it can't be tried.
 */
struct hosts_jump *hosts_jump_start(struct ev_loop *loop, const struct ssh_config *config,
                                    int64_t timeout_ns,
                                    void (*done)(void *arg, int fd, const struct err *err),
                                    void *arg, struct err *err);
void hosts_jump_end(struct hosts_jump *j); /* NULL is legal */
/* "gate", "gate,inner": the hosts that it goes through. Borrowed. */
const char *hosts_jump_word(const struct hosts_jump *j);

#endif
