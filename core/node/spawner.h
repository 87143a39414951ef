/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The spawner: a small process beside the daemon that forks shims, reaps them, and kills what a
 * shim that died left behind. It is hive's own file executed anew ("hive spawner --internal FD
 * STATE RUNTIME"), so that nothing of the daemon's memory or descriptors is in it, whenever it is
 * started.
 *
 * Messages on its control socket (SOCK_SEQPACKET), each a struct spawner_msg:
 *   daemon → spawner   FORK value shims
 *   spawner → daemon   READY value is the spawner's pid; text is the note on memory limits
 *                      DIED  value is a shim's pid
 *                      FAILED value is the errno of a fork; that shim will not come
 * Both ends are the same file, so the struct may change freely. After EOF the spawner stays until
 * its last shim is gone: idle ones end with the daemon, others when their attempt does.
 */
#ifndef HIVE_NODE_SPAWNER_H
#define HIVE_NODE_SPAWNER_H

#include <stdint.h>

enum spawner_msg_type { SPAWNER_FORK = 1, SPAWNER_READY, SPAWNER_DIED, SPAWNER_FAILED };

struct spawner_msg {
    uint32_t type;
    int32_t value;
    char text[256]; /* READY */
};

/* The command `hive spawner`, internal: argv[0] is "spawner". Returns the exit code; 2 when not
 * called by spawner_start. */
int spawner_main(int argc, char **argv);

#endif
