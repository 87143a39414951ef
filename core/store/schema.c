/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "store/schema.h"

#include "store/store_priv.h"

/*
 * job holds what is looked at and changed; the spec, often the bulk of a job, is written once and
 * stays out of the way in a table of its own, so that a change of state rewrites 200 bytes and many
 * jobs fit on a page. Columns that are needed most come first, for SQLite decodes a row from the
 * front. Indices are partial: a row is in job_top or in job_task and job_task_status, and in
 * job_ended once it has ended; all of them end in the id by themselves.
 *
 * meta: what the head keeps there, and in names with a dot the store's own: .next_id, .ended (plain
 * jobs and arrays that ended), .top.N and .task.N (rows by status).
 */
static const char version_1[] =
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
    " thread_seconds REAL NOT NULL DEFAULT 0, use_ns INTEGER NOT NULL DEFAULT 0) STRICT;"

    "CREATE TABLE job (id INTEGER PRIMARY KEY, status INTEGER NOT NULL, user INTEGER NOT NULL,"
    " array_id INTEGER NOT NULL, task INTEGER NOT NULL, submitted_ns INTEGER NOT NULL,"
    " started_ns INTEGER NOT NULL, finished_ns INTEGER NOT NULL, held INTEGER NOT NULL,"
    " is_array INTEGER NOT NULL, priority INTEGER NOT NULL, threads INTEGER NOT NULL,"
    " gpus INTEGER NOT NULL, memory INTEGER NOT NULL, timeout_ns INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, retries_left INTEGER NOT NULL, not_before_ns INTEGER NOT NULL,"
    " exit_code INTEGER NOT NULL, signal INTEGER NOT NULL, node TEXT, reason TEXT,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL, step INTEGER NOT NULL,"
    " max_running INTEGER NOT NULL, next INTEGER NOT NULL, n_succeeded INTEGER NOT NULL,"
    " n_failed INTEGER NOT NULL, n_cancelled INTEGER NOT NULL, name TEXT, command TEXT) STRICT;"
    "CREATE INDEX job_top ON job (user, status) WHERE array_id = 0;"
    "CREATE UNIQUE INDEX job_task ON job (array_id, task) WHERE array_id <> 0;"
    "CREATE INDEX job_task_status ON job (status, array_id) WHERE array_id <> 0;"
    "CREATE INDEX job_ended ON job (status, finished_ns) WHERE array_id = 0 AND finished_ns > 0;"

    "CREATE TABLE job_spec (id INTEGER PRIMARY KEY, spec TEXT NOT NULL) STRICT;"

    "CREATE TABLE attempt (job INTEGER NOT NULL, number INTEGER NOT NULL, fence INTEGER NOT NULL,"
    " node TEXT, outcome INTEGER NOT NULL, exit_code INTEGER NOT NULL, signal INTEGER NOT NULL,"
    " started_ns INTEGER NOT NULL, finished_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL,"
    " user_ns INTEGER NOT NULL, system_ns INTEGER NOT NULL, max_rss INTEGER NOT NULL,"
    " message TEXT, PRIMARY KEY (job, number)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX attempt_open ON attempt (job) WHERE outcome < 0;"

    "CREATE TABLE line (array_id INTEGER NOT NULL, task INTEGER NOT NULL, line TEXT NOT NULL,"
    " PRIMARY KEY (array_id, task)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE key (id INTEGER PRIMARY KEY, user INTEGER NOT NULL, name TEXT NOT NULL,"
    " digest BLOB NOT NULL, first_id INTEGER NOT NULL, count INTEGER NOT NULL,"
    " created_ns INTEGER NOT NULL, UNIQUE (user, name)) STRICT;";

/*
 * metric: what was measured of nodes. The id is level, time and node in one number (metrics.h), so
 * that what is written at one time lies together on few pages, and goes together; and because a row
 * of a table with such a key may fill a page, where one with a key of three columns spills over from
 * a quarter of a page on. `data` is described in metrics_codec.c.
 *
 * metric_gone: nodes that were removed, whose rows of metric still are; those before `next` are not.
 * meta has .units (plain jobs and tasks of arrays), .done (those of them that ended), .next_node, .last_window, .metrics (bytes) and .windows.N (different times of level N).
 */
static const char version_2[] =
    "CREATE TABLE node (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL,"
    " state INTEGER NOT NULL, added_ns INTEGER NOT NULL, address TEXT NOT NULL,"
    " labels TEXT NOT NULL, config TEXT NOT NULL, error TEXT NOT NULL, host_id TEXT NOT NULL,"
    " agent_hash TEXT NOT NULL) STRICT;"

    "CREATE TABLE metric (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"

    "CREATE TABLE metric_gone (node INTEGER PRIMARY KEY, next INTEGER NOT NULL) STRICT;"

    "INSERT INTO meta (name, value) SELECT '.units', coalesce(sum(" JOB_UNITS "), 0) FROM job"
    " WHERE array_id = 0;"
    "INSERT INTO meta (name, value) SELECT '.done', coalesce(sum(" JOB_DONE "), 0) FROM job"
    " WHERE array_id = 0;";

const struct schema_step schema_steps[STORE_SCHEMA_VERSION] = {
    { version_1 },
    { version_2 },
};
