/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of applications by name: where each ran last, and what it used there. Pure: text in,
 * text out; head_allocate.c keeps it in STATE/apps.json:
 *
 *     {"version":1,"apps":[{"name":"firefox","host":"big","memory_bytes":1200000000,
 *      "cpu_milli":400,"runs":12,"used_at":"2026-11-20T18:13:14.250Z"}]}
 */
#ifndef HIVE_HEAD_HEAD_APPS_H
#define HIVE_HEAD_HEAD_APPS_H

#include "sched/choose.h"

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct head_apps;

#define HEAD_APPS_MAX 1000 /* over it the one unused longest is forgotten */
#define HEAD_APPS_TEXT_MAX ((size_t)4 * 1024 * 1024) /* bytes that head_apps_read() takes */

struct head_app {
    char *name; /* as hosts_app_name() gives it */
    char *host; /* the node's name where it ran last, or NULL */
    struct choose_use use;
    int64_t used_wall_ns;
};

struct head_apps *head_apps_create(void);
void head_apps_destroy(struct head_apps *a);
size_t head_apps_count(const struct head_apps *a);
/* Borrowed until the next change; NULL where it never ran. */
const struct head_app *head_apps_find(const struct head_apps *a, const char *name);
/* It runs on that host now. */
void head_apps_ran(struct head_apps *a, const char *name, const char *host, int64_t wall_ns);
/* A run of it ended: see choose_use_add(). */
void head_apps_used(struct head_apps *a, const char *name, const struct choose_run *run,
                    int64_t wall_ns);

void head_apps_write(const struct head_apps *a, struct buf *out);
/* Adds what such a text has. Entries that make no sense are left out. ERR_VERSION: written by a newer
 * hive, and not to be overwritten; ERR_CORRUPT, ERR_TOO_LARGE: it can't be read. */
int head_apps_read(struct head_apps *a, const char *text, size_t len, struct err *err);

#endif
