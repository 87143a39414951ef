/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables, and how a database of an older hive becomes one of this.
 *
 * To change the schema: raise STORE_SCHEMA_VERSION, add a step at the end of schema_steps, never
 * change an old one, and put a dump of the old version into tests/data/store/valid.
 */
#ifndef HIVE_STORE_SCHEMA_H
#define HIVE_STORE_SCHEMA_H

#include <stdint.h>

/* In the file's header (PRAGMA application_id): "HIVE". */
#define SCHEMA_APPLICATION_ID 0x48495645

/* steps[N] makes version N+1 out of version N; version 0 is an empty database. */
struct schema_step {
    const char *sql;
};

extern const struct schema_step schema_steps[];

#endif
