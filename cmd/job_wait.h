/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for a job to end, over restarts of the daemon. */
#ifndef HIVE_CMD_JOB_WAIT_H
#define HIVE_CMD_JOB_WAIT_H

#include <stdint.h>
#include <yyjson.h>

struct client;
struct err;

/*
 * Waits until the job is final and returns its object, to be freed with yyjson_doc_free.
 * deadline_ns: monotonic, 0 for none; when it passes, ERR_TIMEOUT. A daemon that goes away is
 * waited for (CLIENT_RETRY_WAIT_NS).
 */
yyjson_doc *job_wait(struct client *c, const char *id, int64_t deadline_ns, struct err *err);

/* From now on Ctrl-C ends hive, not the job, and says how to go on with `id`. Not for use by two
 * jobs at once: the last one counts. */
void job_wait_detach_on_interrupt(const char *id);

#endif
