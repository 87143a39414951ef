/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files of Beowulf, whose users hive takes as they are: the list of hosts (~/.beowulf/hosts)
 * and the settings (~/.beowulf/beowulfdrc); and its rule for the name of an application.
 *
 *     # hosts                         # beowulfdrc
 *     host1.local                     polling_interval = 5
 *     host2.local:2222                sticky.firefox = host1.local
 *
 * Texts come in, nothing is opened here. What such a file may have besides: "user@host",
 * "[2001:db8::1]:22" and an address of IPv6 alone, a comment behind a value (after a blank), blanks
 * anywhere at ends, CRLF, a byte order mark. A bad line never hides another: it is skipped, counted,
 * and described in `warnings` (may be NULL) as a line of its own, "FILE:LINE: what is wrong; what
 * was expected". Everything in the results is plain text fit for a command line: a name never
 * starts with '-' and has no blanks or control characters.
 */
#ifndef HIVE_BASE_HOSTS_FILE_H
#define HIVE_BASE_HOSTS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

#define HOSTS_FILE_MAX ((size_t)1024 * 1024) /* bytes of either file */
#define HOSTS_LINE_MAX 1024
#define HOSTS_NAME_MAX 255 /* host, user, application */
#define HOSTS_COUNT_MAX 4096
#define HOSTS_WARNINGS_MAX 100 /* lines that are described; all are counted */

struct hosts_entry {
    char *user;    /* NULL: not given */
    char *host;    /* name or address, without brackets; letters as they were written */
    uint16_t port; /* 0: not given */
    int line;      /* counted from 1; 0 where it came from no file */
};

struct hosts_file {
    struct hosts_entry *entries; /* in the order of the file */
    size_t count;
    size_t bad; /* lines that were skipped */
};

/*
 * Reads a list of hosts. A host that stands there already, with this user and port, is a bad line.
 * `file` is for messages. ERR_TOO_LARGE over HOSTS_FILE_MAX, ERR_INVALID when it is no text (NUL
 * bytes); *out is empty then. hosts_file_fini() frees.
 */
int hosts_file_parse(const char *file, const char *text, size_t len, struct hosts_file *out,
                     struct buf *warnings, struct err *err);
void hosts_file_fini(struct hosts_file *f);

/* One host as a line has it. ERR_INVALID says what is wrong with it. hosts_entry_fini() frees. */
int hosts_entry_parse(const char *text, struct hosts_entry *out, struct err *err);
void hosts_entry_fini(struct hosts_entry *e);
/* Appends it as hosts_entry_parse() reads it: "user@[::1]:22". */
void hosts_entry_format(const struct hosts_entry *e, struct buf *b);

/* --- beowulfdrc -------------------------------------------------------------------------------- */

#define BEOWULF_INTERVAL_DEFAULT_NS INT64_C(10000000000)
#define BEOWULF_INTERVAL_MIN_NS INT64_C(100000000)
#define BEOWULF_INTERVAL_MAX_NS INT64_C(86400000000000)

struct beowulf_rc {
    int64_t interval_ns; /* polling_interval; BEOWULF_INTERVAL_DEFAULT_NS where it isn't given */
    struct beowulf_sticky {
        char *app; /* as hosts_app_name() gives it */
        struct hosts_entry host;
    } * sticky; /* each application once */
    size_t count;
    size_t bad;
};

/* Reads the settings. Of a key that stands there twice the last line counts. An unknown key is a bad
 * line; a "[section]" is passed over. Errors as above. beowulf_rc_fini() frees. */
int beowulf_rc_parse(const char *file, const char *text, size_t len, struct beowulf_rc *out,
                     struct buf *warnings, struct err *err);
void beowulf_rc_fini(struct beowulf_rc *rc);
/* The host for an application, or NULL. Borrowed. */
const struct hosts_entry *beowulf_rc_sticky(const struct beowulf_rc *rc, const char *app);

/*
 * Name of an application from its command line: the last part of the first word's path, up to the
 * first '-' ("/usr/bin/firefox-esr %u" gives "firefox"). Quotes around the first word are taken off.
 * Where nothing is left of it, because it starts with '-', the '-' is kept. malloc'd, never NULL, at
 * most HOSTS_NAME_MAX bytes; "" for a command without a word.
 */
char *hosts_app_name(const char *command);

#endif
