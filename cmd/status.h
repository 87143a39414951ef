/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of `hive status`: what was asked for, and the views for people. */
#ifndef HIVE_CMD_STATUS_H
#define HIVE_CMD_STATUS_H

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

struct buf;

struct status_style {
    unsigned width; /* 0: as wide as needed */
    bool color;
    int64_t now_ns; /* wall */
};

enum status_list { STATUS_LIST_RUNNING, STATUS_LIST_QUEUED, STATUS_LIST_FINISHED, STATUS_LIST_ANY };

/* A table of the jobs in `jobs` (a JSON array) with the columns that matter for such jobs. */
void status_view_jobs(struct buf *out, enum status_list list, yyjson_val *jobs,
                      const struct status_style *style);
/* A heading and that table, then "… and N more" if there are more in all, which `total` says (-1: no
 * matter). The heading counts what is below: "RUNNING (12)", with arrays "QUEUED (2 jobs, 96 tasks of
 * an array)". */
void status_view_section(struct buf *out, enum status_list list, yyjson_val *jobs, int64_t total,
                         const struct status_style *style);
void status_view_nodes(struct buf *out, yyjson_val *nodes, const struct status_style *style);
/* Everything about one job; `attempts` is the JSON array of its attempts, or NULL. */
void status_view_job(struct buf *out, yyjson_val *job, yyjson_val *attempts,
                     const struct status_style *style);

/* A line for each attempt in the JSON array; nothing when it is empty. */
void status_view_attempts(struct buf *out, yyjson_val *attempts, const struct status_style *style);

#endif
