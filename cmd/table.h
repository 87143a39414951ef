/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Aligned columns of text for people. Cells are made safe for a terminal as they are added; when
 * the whole is wider than allowed, columns marked flexible are cut, the widest first; where that is
 * not enough, those that matter least are left out.
 */
#ifndef HIVE_CMD_TABLE_H
#define HIVE_CMD_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

struct table_column {
    const char *title;
    unsigned min;  /* a flexible column is cut down to this many columns at most; 0: never cut */
    bool right;    /* numbers */
    unsigned drop; /* left out where there is no room, lower numbers first; 0: never, as one's first
                      column should be. In a table with such columns every row fits */
};

enum table_color { TABLE_PLAIN, TABLE_BOLD, TABLE_GREEN, TABLE_RED, TABLE_YELLOW, TABLE_BLUE };

struct table_cell {
    char *text;
    enum table_color color;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    struct table_cell *cells; /* row by row */
    size_t cell_count, cell_cap;
};

void table_init(struct table *t, const struct table_column *columns, size_t column_count);
void table_fini(struct table *t);
/* Adds the next cell, row by row from the left. Copies `text`; "" is shown as "-". */
void table_add(struct table *t, const char *text);
void table_add_colored(struct table *t, const char *text, enum table_color color);
/* The same of a buffer, which is emptied. */
void table_add_buf(struct table *t, struct buf *text);
/* Appends title line and rows, each after `indent` blanks. width 0: as wide as needed. */
void table_print(const struct table *t, struct buf *out, unsigned indent, unsigned width,
                 bool color);

/* Wraps text in a colour when `on`. */
void table_append_colored(struct buf *b, const char *text, enum table_color color, bool on);
/* Whether the terminal's character set is UTF-8, by LC_ALL, LC_CTYPE, LANG. */
bool table_utf8(void);

#endif
