/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measures a host where hive can't be copied to: runs a small program of its plain sh there
 * (SAMPLE_SCRIPT in sys/sample.h) over the link, and asks it for a sample every few seconds.
 */
#ifndef HIVE_HEAD_REACH_SHELL_H
#define HIVE_HEAD_REACH_SHELL_H

#include <stdint.h>

struct err;
struct ev_loop;
struct reach_shell;
struct sample;
struct ssh_link_client;

struct reach_shell_hooks {
    void (*sample)(const struct sample *s, void *arg); /* borrowed for the call */
    /* It has ended, and why. r is to be destroyed, not within the call. */
    void (*ended)(const struct err *err, void *arg);
    void *arg;
};

/* The client has to live as long. NULL: ERR_UNAVAILABLE and the like. */
struct reach_shell *reach_shell_start(struct ev_loop *loop, struct ssh_link_client *client,
                                      int64_t interval_s, const struct reach_shell_hooks *hooks,
                                      struct err *err);
void reach_shell_destroy(struct reach_shell *r); /* NULL is legal */
void reach_shell_measure(struct reach_shell *r, int64_t interval_s);

#endif
