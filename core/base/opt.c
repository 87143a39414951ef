/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/opt.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

static const struct opt no_options[] = { OPT_END };

#define MAX_NAMES 256 /* rows looked at for "did you mean" */

/* One call of opt_parse. */
struct parse {
    const struct opt *table;
    void *base;
    unsigned flags;
    int argc;
    char **argv;
    int next; /* index of the next argument to look at */
    struct err *err;
};

static int usage_hint(const struct parse *p, const char *word)
{
    const char *names[MAX_NAMES + 1];
    size_t count = 0;

    for (const struct opt *o = p->table; o->name && count < MAX_NAMES; o++)
        if (!o->hidden && (!(p->flags & OPT_SCRIPT) || o->script))
            names[count++] = o->name;
    names[count] = NULL;
    const char *near = str_did_you_mean(word, names);
    return near ? err_hint(p->err, "did you mean --%s?", near) : -1;
}

static int unknown_option(const struct parse *p, const char *word, bool is_long)
{
    char *shown = str_safe(word);

    err_set(p->err, ERR_USAGE, "unknown option %s%s", is_long ? "--" : "-", shown);
    free(shown);
    return is_long ? usage_hint(p, word) : -1;
}

/* As it was typed: "-t" or "--threads". */
struct spelling {
    char text[80];
};

static struct spelling spell(const struct opt *o, bool is_long)
{
    struct spelling s;

    if (is_long)
        snprintf(s.text, sizeof s.text, "--%s", o->name);
    else
        snprintf(s.text, sizeof s.text, "-%c", o->short_name);
    return s;
}

static bool takes_value(const struct opt *o)
{
    return o->type != OPT_FLAG && (o->type != OPT_CALL || o->arg);
}

/* A bad value is wrong usage; the message of the conversion gets the option's name. */
static int value_error(const struct parse *p, const char *name, bool named_already)
{
    if (!p->err)
        return -1;
    if (!named_already)
        err_prefix(p->err, "%s", name);
    if (p->err->kind == ERR_INVALID)
        p->err->kind = ERR_USAGE;
    return -1;
}

static int store(const struct parse *p, const struct opt *o, const char *name, const char *value)
{
    void *dest = (char *)p->base + o->dest;

    switch (o->type) {
    case OPT_FLAG:
        *(bool *)dest = true;
        return 0;
    case OPT_STR:
        *(const char **)dest = value;
        return 0;
    case OPT_INT:
        if (str_to_int(value, o->min, o->max, name, dest, p->err) != 0)
            return value_error(p, name, true);
        return 0;
    case OPT_SIZE:
        return str_to_size(value, dest, p->err) == 0 ? 0 : value_error(p, name, false);
    case OPT_DURATION:
        return str_to_duration(value, dest, p->err) == 0 ? 0 : value_error(p, name, false);
    case OPT_LIST:
        opt_list_add(dest, value);
        return 0;
    case OPT_CALL:
        return o->parse(p->base, value, p->err) == 0 ? 0 : value_error(p, name, false);
    }
    return err_set(p->err, ERR_INTERNAL, "option %s has an unknown type", name);
}

/* `value` is what stood behind '=' or the letter, or NULL: then the next argument is taken. */
static int apply(struct parse *p, const struct opt *o, bool is_long, const char *value)
{
    struct spelling name = spell(o, is_long);

    if ((p->flags & OPT_SCRIPT) && !o->script)
        return err_set(p->err, ERR_USAGE, "%s can't be used in a #HIVE line", name.text);
    if (!takes_value(o)) {
        if (value)
            return err_set(p->err, ERR_USAGE, "%s takes no value", name.text);
        return store(p, o, name.text, NULL);
    }
    if (!value) {
        if (p->next >= p->argc)
            return err_set(p->err, ERR_USAGE, "%s needs a value: %s", name.text,
                           o->arg ? o->arg : "VALUE");
        value = p->argv[p->next++];
    }
    return store(p, o, name.text, value);
}

static int parse_long(struct parse *p, const char *arg)
{
    const char *equals = strchr(arg, '=');
    size_t len = equals ? (size_t)(equals - arg) : strlen(arg);

    for (const struct opt *o = p->table; o->name; o++)
        if (strncmp(o->name, arg, len) == 0 && o->name[len] == '\0')
            return apply(p, o, true, equals ? equals + 1 : NULL);
    char *word = mem_strndup(arg, len);
    unknown_option(p, word, true);
    free(word);
    return -1;
}

static const struct opt *find_short(const struct opt *table, char c)
{
    for (const struct opt *o = table; o->name; o++)
        if (o->short_name == c)
            return o;
    return NULL;
}

/* "fq", "t4": flags until one that takes the rest as its value. */
static int parse_short(struct parse *p, const char *letters)
{
    for (const char *c = letters; *c; c++) {
        const struct opt *o = find_short(p->table, *c);
        if (!o) {
            /* The whole character, where it is more than a byte. */
            uint32_t cp;
            size_t step = str_utf8_next(c, strlen(c), &cp);
            char *word = mem_strndup(c, step ? step : 1);
            unknown_option(p, word, false);
            free(word);
            return -1;
        }
        if (takes_value(o))
            return apply(p, o, false, c[1] ? c + 1 : NULL);
        if (apply(p, o, false, NULL) != 0)
            return -1;
    }
    return 0;
}

/* Puts the `count` operands that `operands` points at behind the options, both in their order. */
static void reorder(int argc, char **argv, const bool *is_operand)
{
    char **sorted = mem_alloc_array((size_t)argc, sizeof *sorted);
    int at = 0;

    for (int operand = 0; operand <= 1; operand++)
        for (int i = 0; i < argc; i++)
            if (is_operand[i] == (operand == 1))
                sorted[at++] = argv[i];
    memcpy(argv, sorted, (size_t)argc * sizeof *argv);
    free(sorted);
}

int opt_parse(const struct opt *table, void *base, int argc, char **argv, unsigned flags,
              int *first, bool *dashdash, struct err *err)
{
    struct parse p = { table ? table : no_options, base, flags, argc, argv, 1, err };
    bool *is_operand = mem_alloc_array((size_t)argc + 1, sizeof *is_operand);
    bool only_operands = false;
    int count = 0, rc = 0;

    if (dashdash)
        *dashdash = false;
    while (rc == 0 && p.next < argc) {
        const char *arg = argv[p.next];
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            is_operand[p.next++] = true;
            count++;
            only_operands = only_operands || (flags & OPT_STOP_AT_ARG);
            continue;
        }
        p.next++;
        if (str_eq(arg, "--")) {
            only_operands = true;
            if (dashdash)
                *dashdash = true;
        } else if (arg[1] == '-') {
            rc = parse_long(&p, arg + 2);
        } else {
            rc = parse_short(&p, arg + 1);
        }
    }
    if (rc == 0) {
        if (argc > 0)
            reorder(argc, argv, is_operand);
        *first = argc - count;
    }
    free(is_operand);
    return rc;
}

void opt_list_add(struct opt_list *l, const char *item)
{
    /* Grown at powers of two, so that the count alone tells the capacity. */
    if ((l->count & (l->count - 1)) == 0)
        l->items = mem_resize(l->items, l->count ? l->count * 2 : 1, sizeof *l->items);
    l->items[l->count++] = item;
}

void opt_list_fini(struct opt_list *l)
{
    free(l->items);
    *l = (struct opt_list){ 0 };
}
