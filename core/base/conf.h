/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings. One table, settings.def, has a row for every key: name, type, range, default, unit and
 * help. Reading, validation, `hive config`, its completion, the man page hive.conf(5) and `--help`
 * are loops over it.
 *
 * A value comes from, in this order: the command line (conf_set with CONF_FROM_FLAG), the
 * environment (HIVE_DAEMON_LOG_LEVEL for daemon.log-level), the user's hive.conf,
 * /etc/hive/hive.conf, the default. File syntax is INI as git and systemd use it:
 *     # comment
 *     [daemon]
 *     listen = 127.0.0.1:8080
 * Keys are "section.name" to the outside: daemon.listen. A comment has a line of its own, starting
 * with # or ;. Where a key stands twice, the last one counts. One pair of double quotes around a
 * value is taken off (nothing is escaped in it): that keeps blanks at its ends.
 */
#ifndef HIVE_BASE_CONF_H
#define HIVE_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

enum conf_type { CONF_STR, CONF_BOOL, CONF_INT, CONF_SIZE, CONF_DURATION, CONF_ENUM, CONF_PATH };

/* Identifier of each setting: CONF_daemon_listen, ... in table order. */
enum conf_key {
#define SETTING(section, name, key, type, def, min, max, words, help) CONF_##section##_##name,
#include "base/settings.def"
#undef SETTING
    CONF_KEY_COUNT
};

enum conf_source {
    CONF_FROM_DEFAULT,
    CONF_FROM_SYSTEM,
    CONF_FROM_USER,
    CONF_FROM_ENV,
    CONF_FROM_FLAG
};

struct conf_setting {
    const char *key; /* "daemon.listen" */
    enum conf_type type;
    const char *def;   /* as written in a file */
    int64_t min, max;  /* CONF_INT: value; CONF_SIZE: bytes; CONF_DURATION: ns */
    const char *words; /* CONF_ENUM: "a|b|c" */
    const char *help;
};

struct conf; /* all values with their sources */

struct conf *conf_create(void); /* defaults only */
void conf_destroy(struct conf *c);

/* Row of a key; conf_find: the key by its outside name or -1. */
const struct conf_setting *conf_setting(enum conf_key key);
int conf_find(const char *name);
/* The key that was probably meant by one that is none, or NULL when none is near: the section is
 * what keys have in common, so only the letters of the name count. */
const char *conf_near(const char *name);

/*
 * Reads everything in order (system file, user file, environment). In files, an unknown key or a
 * value that doesn't parse gives a line in `warnings` (may be NULL) and the old value stays:
 * "FILE:LINE: unknown key 'deamon.listen', did you mean 'daemon.listen'?". A file that exists but
 * can't be read is an error, and so is a malformed environment value. To load again, start from
 * conf_create(): what a file no longer says does not go away.
 */
int conf_load(struct conf *c, struct buf *warnings, struct err *err);
/* One file alone; missing is ERR_NOT_FOUND. */
int conf_load_file(struct conf *c, const char *path, enum conf_source source, struct buf *warnings,
                   struct err *err);

/* Validates and stores; ERR_INVALID names key, expectation and value. A value from a source that
 * ranks higher stays, so the order of conf_load and of flags doesn't matter. */
int conf_set(struct conf *c, enum conf_key key, const char *value, enum conf_source source,
             struct err *err);

/* Values, typed. Strings are borrowed until the next set. */
const char *conf_str(const struct conf *c, enum conf_key key); /* the text, of any type */
/* INT, SIZE (bytes), DURATION (ns) and BOOL; 0 for other types. */
int64_t conf_int(const struct conf *c, enum conf_key key);
bool conf_bool(const struct conf *c, enum conf_key key);
enum conf_source conf_source(const struct conf *c, enum conf_key key);
/* "default", "/etc/hive/hive.conf", "user file", "environment", "command line". */
const char *conf_source_name(enum conf_source s);

/*
 * Sets one key in the text of an INI file, keeping comments, order and everything else as it is:
 * replaces the value in the last line of the key, or adds a line at the end of its section, or adds
 * the section. value NULL removes the key (every line of it). Any "section.name" will do, known or
 * not, and the value is not checked by the table: see conf_set. The result is appended to `out` and
 * has been read back; ERR_INVALID when the value can't be written as one line.
 */
int conf_edit(const char *text, size_t len, const char *key, const char *value, struct buf *out,
              struct err *err);

#endif
