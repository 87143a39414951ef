/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command line options as tables. A command's options are rows of one array; parsing, `--help`, the
 * man page, completions and "did you mean" are loops over it, so that they can't disagree.
 *
 *   static const struct opt options[] = {
 *       { 't', "threads", OPT_INT, "N", "threads to reserve (default 1)",
 *         .dest = offsetof(struct args, threads), .min = 1, .max = LIMIT_JOB_THREADS },
 *       OPT_END
 *   };
 *
 * Values are stored at base + dest. Parsing accepts -t4, -t 4, --threads=4, --threads 4 and bundled
 * flags (-fq); an option that takes a value takes the next argument, whatever it looks like.
 * Prefixes of names are not accepted (scripts would break when options are added). `--` ends the
 * options, `-` alone is an operand. `--help` and `-h` are the dispatcher's, before this. A table
 * may be NULL: no options.
 */
#ifndef HIVE_BASE_OPT_H
#define HIVE_BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum opt_type {
    OPT_FLAG,     /* bool: set to true */
    OPT_STR,      /* const char *: borrowed from argv; the last one wins */
    OPT_INT,      /* int64_t within [min, max] */
    OPT_SIZE,     /* int64_t bytes; suffix required */
    OPT_DURATION, /* int64_t ns; suffix required */
    OPT_LIST,     /* struct opt_list: every occurrence is kept, in order */
    OPT_CALL      /* parse() is called with the text */
};

struct opt_list {
    const char **items; /* the array is freed by opt_list_fini, the strings are borrowed */
    size_t count;
};

struct opt {
    char short_name; /* 0: none */
    const char *name;
    enum opt_type type;
    const char *arg;  /* placeholder in help, NULL for flags */
    const char *help; /* one line; default and unit named in it */
    size_t dest;
    int64_t min, max; /* OPT_INT */
    /* OPT_CALL; `value` is NULL when `arg` is. Its error gets the option's name before it. */
    int (*parse)(void *base, const char *value, struct err *err);
    /* What completion offers: "job", "node", "file", "dir", "command", "status", "=" and words
     * separated by blanks, or NULL. */
    const char *complete;
    bool script; /* may stand in a #HIVE line */
    bool hidden; /* an older program's spelling: works, is not listed */
};

#define OPT_END                                                                                    \
    {                                                                                              \
        .name = NULL                                                                               \
    }

enum opt_flags {
    /* The first operand ends option parsing (submit, launch: the command's own options follow). */
    OPT_STOP_AT_ARG = 1,
    /* Only rows with .script are allowed (a #HIVE line). */
    OPT_SCRIPT = 2
};

/*
 * Parses argv[1..argc-1]. Options and operands may be mixed unless OPT_STOP_AT_ARG. Operands are
 * moved to the end of argv in order; *first is the index of the first. After "--" everything is an
 * operand; *dashdash (may be NULL) tells whether one was there, and it stays among the options.
 * ERR_USAGE otherwise, with a "did you mean" hint; argv is then as before, what was stored stays.
 */
int opt_parse(const struct opt *table, void *base, int argc, char **argv, unsigned flags,
              int *first, bool *dashdash, struct err *err);

void opt_list_add(struct opt_list *l, const char *item);
void opt_list_fini(struct opt_list *l);

struct buf;
/* Appends the option part of --help: two aligned columns, wrapped at `width` (at least 40). */
void opt_help(const struct opt *table, struct buf *b, unsigned width);
/* Appends the options as man page (mdoc) list items. */
void opt_man(const struct opt *table, struct buf *b);

/* Splits what stands behind #HIVE into words as a shell does, with its quotes ('…', "…", \) and
 * without its expansions. Returns a malloc'd NULL-terminated array of malloc'd strings
 * (opt_free_words), the first being a placeholder "#HIVE"; ERR_USAGE for an open quote,
 * ERR_TOO_LARGE for more than LIMIT_JOB_ARGS words. */
char **opt_split_words(const char *line, int *argc, struct err *err);
void opt_free_words(char **words);

#endif
