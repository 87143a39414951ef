/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands. One file per command: at its end stands one `const struct cmd` with everything that the
 * dispatcher, --help, the man page, completions and the README table need; above it the options as
 * a table (base/opt.h) and the function.
 *
 * To add a command "frob":
 *   1. cmd/frob.c with `const struct cmd cmd_frob = { .name = "frob", ... };`
 *   2. one line in cmd/commands.def
 * That is all: symlink hive-frob, help, man page, completion and the tests that hold for every
 * command follow from the table.
 *
 * Data goes to stdout (cmd_out), messages to stderr (cmd_msg, cmd_fail). A command returns its exit
 * code; main() turns it into 1 when stdout could not be written (cmd_finish).
 */
#ifndef HIVE_CMD_CMD_H
#define HIVE_CMD_CMD_H

#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct conf;

enum cmd_exit {
    CMD_OK = 0,
    CMD_FAILED = 1,
    CMD_USAGE = 2,
    CMD_NO_DAEMON = 3,
    CMD_DENIED = 4,
    CMD_TIMEOUT = 124,    /* of the program: its time limit passed */
    CMD_HIVE_ERROR = 125, /* hive itself failed while waiting for a program */
    CMD_CANNOT_RUN = 126,
    CMD_NOT_FOUND = 127
};

enum cmd_group {
    CMD_GROUP_JOBS,
    CMD_GROUP_MACHINES,
    CMD_GROUP_DAEMON,
    CMD_GROUP_SETUP,
    CMD_GROUP_HELP,
    CMD_GROUP_COUNT
};

struct cmd_example {
    const char *line;
    const char *what;
};

struct cmd {
    const char *name;
    enum cmd_group group;
    const char *summary;         /* one line, lower case, no full stop */
    const char *const *synopsis; /* without "hive NAME": "[-t N] -- COMMAND…"; NULL-terminated */
    const char *description;     /* paragraphs separated by empty lines; lines that begin with
                                           blanks are kept as they are */
    const struct opt *options;   /* or NULL */
    const struct cmd_example *examples; /* ends with .line NULL */
    const char *operands; /* what completion offers for operands: "job", "node", "file",
                                           "command", "=a list of words", or NULL; several
                                           are joined by '|' */
    unsigned opt_flags;   /* enum opt_flags */
    bool hidden;          /* internal or a seed's name: not listed */
    bool seed;            /* a program name of hive's predecessors: its symlink is the bare
                                           name, its --version and --help stay reachable */
    int (*run)(const struct cmd *cmd, int argc, char **argv); /* argv[0] is the command's name */
};

#define COMMAND(id) extern const struct cmd cmd_##id;
#include "cmd/commands.def"
#undef COMMAND

/* All commands in table order, NULL-terminated. */
extern const struct cmd *const cmd_table[];
/* The command with that name, hidden ones included, or NULL. */
const struct cmd *cmd_find(const char *name);
/* The name of a listed command near `name`, or NULL. */
const char *cmd_suggest(const char *name);

/* Parses the command's options into `args` (its defaults set by the caller) and prints a usage
 * error itself. True: go on. False: *exit_code is to be returned. *first: index of the first
 * operand in argv; *dashdash (may be NULL): there was a "--". */
bool cmd_parse(const struct cmd *cmd, void *args, int argc, char **argv, int *first, bool *dashdash,
               int *exit_code);

/* What `argv` asks of the dispatcher before the command runs: 'h' for --help or -h, 'V' for
 * --version, 0 for neither. Values of options and what follows "--" are not looked at, nor, with
 * OPT_STOP_AT_ARG, what follows the first operand. */
char cmd_wants(const struct cmd *cmd, int argc, char **argv);

/* The first long option in argv that the command doesn't have, as "--name"; malloc'd. NULL when
 * there is none, or something else is wrong before it. */
char *cmd_unknown_option(const struct cmd *cmd, int argc, char **argv);

/* "hive: TEXT" on stderr, foreign characters made safe. */
void cmd_msg(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints "hive: message" and "  hint" and returns err's exit code. */
int cmd_fail(const struct err *err);
/* "hive NAME: message" plus "try: hive NAME --help"; returns CMD_USAGE. */
int cmd_usage(const struct cmd *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Settings as loaded from files and environment at the first call; warnings are printed once. Never
 * NULL: prints and exits with 2 when a file can't be read or an environment value is malformed. */
struct conf *cmd_conf(void);
void cmd_conf_free(void);

/* Writes b to stdout, now and whole. */
void cmd_out(const struct buf *b);
void cmd_out_bytes(const char *data, size_t len);
/* A write to stdout failed: a command that goes on for ever stops then. */
bool cmd_out_failed(void);
/* Last thing in main(): `code`, or 1 with a message if stdout could not be written. */
int cmd_finish(int code);

/* Colour on stdout? (ui.color, NO_COLOR, isatty) */
bool cmd_color(void);
/* Columns of the terminal on stdout; without one $COLUMNS, else 80. */
unsigned cmd_width(void);
/* True when lines on stdout have to fit cmd_width(): a terminal, or $COLUMNS is set. */
bool cmd_width_limited(void);

/* Help texts, also used by tests and the README table. */
void cmd_help_one(const struct cmd *cmd, struct buf *b, unsigned width);
void cmd_help_all(struct buf *b);
void cmd_man(const struct cmd *cmd, struct buf *b); /* mdoc(7) source */
void cmd_man_main(struct buf *b);                   /* hive(1) */
void cmd_man_conf(struct buf *b);                   /* hive.conf(5) */
/* Text of `hive help TOPIC`, or NULL; cmd_topics: their names, NULL-terminated. */
const char *cmd_topic(const char *name);
extern const char *const cmd_topics[];

/* Completion script for "bash", "zsh" or "fish"; false for another shell. */
bool cmd_completion_script(const char *shell, struct buf *b);

#endif
