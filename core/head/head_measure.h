/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the nodes' machines are doing: the newest measurements of each, and their history in the
 * store. Every 10 seconds, and every 2 while somebody looks. Inside of the head, like head_priv.h.
 */
#ifndef HIVE_HEAD_HEAD_MEASURE_H
#define HIVE_HEAD_HEAD_MEASURE_H

#include <stdint.h>

struct head;
struct head_node;
struct head_run;
struct jsonw;
struct link_sample;

#define HEAD_MEASURE_NS INT64_C(10000000000) /* while nobody looks */

void head_measure_begin(struct head *h);
/* Writes what is not in the store yet. */
void head_measure_end(struct head *h);

/* The fields of a job object about what it uses now; nothing where that isn't known. */
void head_run_put_use(struct head *h, const struct head_run *r, struct jsonw *w);

/* Somebody looks: for the next seconds it is measured more often. */
void head_measure_looked(struct head *h);
/* A far node sent this. */
void head_node_sampled(struct head_node *n, const struct link_sample *s);
void head_node_sample_free(struct head_node *n);
/* The newest measurements of a node, but for the names in it (`users`, `uses`: none), and how many
 * users are logged in there; -1 unknown. Returns when they were made or came (monotonic), 0 when there
 * are none. */
int64_t head_node_latest(struct head_node *n, struct link_sample *out, int32_t *users);
/* Writes the measured fields of a node object. */
void head_node_put_measured(struct head_node *n, struct jsonw *w);

#endif
