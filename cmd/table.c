/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/table.h"

#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>

#define GAP 2

void table_init(struct table *t, const struct table_column *columns, size_t column_count)
{
    memset(t, 0, sizeof(*t));
    t->columns = columns;
    t->column_count = column_count;
}

void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->cell_count; i++)
        free(t->cells[i].text);
    MEM_FREE(t->cells);
    t->cell_count = t->cell_cap = 0;
}

void table_add_colored(struct table *t, const char *text, enum table_color color)
{
    if (t->cell_count == t->cell_cap) {
        t->cell_cap = t->cell_cap ? t->cell_cap * 2 : 64;
        t->cells = mem_resize(t->cells, t->cell_cap, sizeof(*t->cells));
    }
    t->cells[t->cell_count++] = (struct table_cell){ str_safe(text[0] ? text : "-"), color };
}

void table_add(struct table *t, const char *text)
{
    table_add_colored(t, text, TABLE_PLAIN);
}

void table_add_buf(struct table *t, struct buf *text)
{
    table_add(t, buf_data(text));
    buf_clear(text);
}

bool table_utf8(void)
{
    static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *v = getenv(names[i]);
        if (!v || !v[0])
            continue;
        const char *dot = strchr(v, '.');
        return dot && (str_eq_nocase(dot + 1, "UTF-8") || str_eq_nocase(dot + 1, "UTF8"));
    }
    return false;
}

void table_append_colored(struct buf *b, const char *text, enum table_color color, bool on)
{
    static const char *const codes[] = { "",         "\033[1m",  "\033[32m",
                                         "\033[31m", "\033[33m", "\033[34m" };
    if (!on || color == TABLE_PLAIN) {
        buf_append_str(b, text);
        return;
    }
    buf_printf(b, "%s%s\033[0m", codes[color], text);
}

static void natural_widths(const struct table *t, size_t *widths)
{
    for (size_t c = 0; c < t->column_count; c++)
        widths[c] = str_width(t->columns[c].title);
    for (size_t i = 0; i < t->cell_count; i++) {
        size_t w = str_width(t->cells[i].text);
        if (w > widths[i % t->column_count])
            widths[i % t->column_count] = w;
    }
}

/* Columns that are shown, and their widths. */
struct layout {
    size_t *widths;
    bool *hidden;
    size_t last; /* the last one shown */
};

static size_t total_width(const struct table *t, const struct layout *l, bool at_min)
{
    size_t total = 0, shown = 0;

    for (size_t c = 0; c < t->column_count; c++) {
        size_t min = t->columns[c].min, w = l->widths[c];
        if (l->hidden[c])
            continue;
        total += at_min && min && min < w ? min : w;
        shown++;
    }
    return total + GAP * (shown - 1);
}

/* Leaves out the least important columns until the rest can be made to fit. */
static void drop(const struct table *t, struct layout *l, size_t width)
{
    while (total_width(t, l, true) > width) {
        size_t least = SIZE_MAX;
        for (size_t c = 0; c < t->column_count; c++)
            if (!l->hidden[c] && t->columns[c].drop &&
                (least == SIZE_MAX || t->columns[c].drop < t->columns[least].drop))
                least = c;
        if (least == SIZE_MAX)
            return;
        l->hidden[least] = true;
    }
}

/* Takes columns from the widest flexible column until the rows fit or nothing can be cut. `hard`:
 * all but the first are flexible. */
static void shrink(const struct table *t, struct layout *l, size_t width, bool hard)
{
    for (size_t total = total_width(t, l, false); total > width; total--) {
        size_t widest = SIZE_MAX;
        for (size_t c = 0; c < t->column_count; c++) {
            size_t min = hard && c > 0 ? 1 : t->columns[c].min;
            if (!l->hidden[c] && min && l->widths[c] > min &&
                (widest == SIZE_MAX || l->widths[c] > l->widths[widest]))
                widest = c;
        }
        if (widest == SIZE_MAX)
            return;
        l->widths[widest]--;
    }
}

static void fit(const struct table *t, struct layout *l, size_t width)
{
    bool narrow = false;

    for (size_t c = 0; c < t->column_count; c++)
        narrow = narrow || t->columns[c].drop;
    drop(t, l, width);
    shrink(t, l, width, false);
    if (narrow)
        shrink(t, l, width, true);
}

static void append_cell(struct buf *out, const struct table_cell *cell, size_t width, bool right,
                        bool last, bool color, bool utf8)
{
    struct buf text = BUF_INIT;
    size_t own = str_width(cell->text);
    if (right && own < width)
        buf_printf(out, "%*s", (int)(width - own), "");
    if (own > width)
        str_append_padded(&text, cell->text, width, utf8);
    else
        buf_append_str(&text, cell->text);
    table_append_colored(out, buf_data(&text), cell->color, color);
    if (!right && !last && own < width)
        buf_printf(out, "%*s", (int)(width - own), "");
    buf_fini(&text);
}

static void append_row(const struct table *t, const struct table_cell *cells,
                       const struct layout *l, struct buf *out, unsigned indent, bool color)
{
    bool utf8 = table_utf8();

    buf_printf(out, "%*s", (int)indent, "");
    for (size_t c = 0; c <= l->last; c++) {
        bool last = c == l->last;
        if (l->hidden[c])
            continue;
        append_cell(out, &cells[c], l->widths[c], t->columns[c].right, last, color, utf8);
        if (!last)
            buf_printf(out, "%*s", GAP, "");
    }
    buf_append_char(out, '\n');
}

void table_print(const struct table *t, struct buf *out, unsigned indent, unsigned width,
                 bool color)
{
    struct layout l = { .widths = mem_alloc_array(t->column_count, sizeof(*l.widths)),
                        .hidden = mem_alloc_array(t->column_count, sizeof(*l.hidden)) };
    struct table_cell *titles = mem_alloc_array(t->column_count, sizeof(*titles));

    natural_widths(t, l.widths);
    if (width > 0)
        fit(t, &l, width > indent ? width - indent : 0);
    for (size_t c = 0; c < t->column_count; c++) {
        titles[c] = (struct table_cell){ mem_strdup(t->columns[c].title), TABLE_BOLD };
        if (!l.hidden[c])
            l.last = c;
    }
    append_row(t, titles, &l, out, indent, color);
    for (size_t i = 0; i + t->column_count <= t->cell_count; i += t->column_count)
        append_row(t, &t->cells[i], &l, out, indent, color);
    for (size_t c = 0; c < t->column_count; c++)
        free(titles[c].text);
    free(titles);
    free(l.widths);
    free(l.hidden);
}
