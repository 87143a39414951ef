/* SPDX-License-Identifier: BSD-2-Clause */
/* The file syntax of hive.conf, shared by conf.c and conf_edit.c only. */
#ifndef HIVE_BASE_CONF_INI_H
#define HIVE_BASE_CONF_INI_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct err;

struct conf_ini {
    /* Each "name = value" in file order; key is "section.name". value is NULL where "= value" is
     * missing. */
    void (*value)(void *arg, int line, const char *key, const char *value);
    /* A line that is no INI; `why` is a sentence. */
    void (*bad_line)(void *arg, int line, const char *why);
    void *arg;
};

/* ERR_INVALID when this is no text at all (NUL bytes). */
int conf_ini_check(const char *text, size_t len, struct err *err);

/* Reads INI text that passes conf_ini_check. */
int conf_ini_read(const char *text, size_t len, const struct conf_ini *to, struct err *err);

enum conf_line { CONF_LINE_BLANK, CONF_LINE_COMMENT, CONF_LINE_SECTION, CONF_LINE_KEY };

/* One line, as conf_ini_read understands it: its kind, and the section's or key's name within it
 * (a section without ']' has an empty name). */
enum conf_line conf_ini_classify(const char *line, size_t len, const char **name, size_t *name_len);

#endif
