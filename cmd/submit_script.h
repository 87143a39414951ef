/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Job scripts: text files that begin with "#!" or carry options in #HIVE lines.
 *
 *   #!/bin/sh
 *   #HIVE -t 4 -m 8G
 *   #HIVE --name "night run"
 *   ./simulate
 *
 * #HIVE lines count up to the first line that is neither empty nor a comment.
 */
#ifndef HIVE_CMD_SUBMIT_SCRIPT_H
#define HIVE_CMD_SUBMIT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

struct err;

struct script_line {
    unsigned number; /* from 1 */
    int argc;
    char **argv; /* argv[0] is a placeholder: ready for opt_parse */
};

struct script {
    char *text; /* NUL-terminated, owned */
    size_t len;
    struct script_line *lines;
    size_t count;
    unsigned late_line; /* the first #HIVE line after the first command, which is ignored; or 0 */
};

/* Whether text is a script at all: begins with "#!" or has a #HIVE line that counts. */
bool script_is(const char *text, size_t len);
bool script_has_options(const char *text, size_t len);

/* Splits the #HIVE lines of `text`, which is moved into *s. ERR_INVALID with `path` and line:
 * quotes that don't close, NUL bytes, text that is not UTF-8. script_fini in any case. */
int script_parse(struct script *s, const char *path, char *text, size_t len, struct err *err);
void script_fini(struct script *s);

/*
 * Looks whether a word of the command line names a script file: a regular file whose name has a
 * slash in it or is not found in PATH, and for which `test` (one of the two above) says so. 1 with
 * the text (malloc'd) in *text, 0 if not, -1 when it is one but can't be used (too large).
 */
int script_find(const char *word, bool (*test)(const char *, size_t), char **text, size_t *len,
                struct err *err);

#endif
