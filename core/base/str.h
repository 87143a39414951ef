/* SPDX-License-Identifier: BSD-2-Clause */
/* Strings: bounded copies, comparisons, numbers with units, making foreign text safe to show. */
#ifndef HIVE_BASE_STR_H
#define HIVE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

bool str_eq(const char *a, const char *b);        /* NULL equals only NULL */
bool str_eq_nocase(const char *a, const char *b); /* ASCII case */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* Copies at most size-1 bytes and terminates; returns false when it had to cut. size > 0. */
bool str_copy(char *dst, size_t size, const char *src);

/* Removes white space at both ends, in place; returns the first remaining byte within s. */
char *str_trim(char *s);

/* Strict decimal integers: the whole string, optional '-', no blanks, within [min, max]. On failure
 * ERR_INVALID with a message that names `what`, the text (made safe) and the range. */
int str_to_int(const char *s, int64_t min, int64_t max, const char *what, int64_t *out,
               struct err *err);
/* Strict decimal fraction, the C locale, finite, within [min, max]. */
int str_to_double(const char *s, double min, double max, const char *what, double *out,
                  struct err *err);

/* Sizes need a suffix: B, K, M, G, T, P (powers of 1024; also KiB, MiB, ..., and KB, MB as
 * synonyms), optionally fractional ("1.5G"). "0" alone is allowed. A bare number is ERR_INVALID
 * with the hint "write 8G or 512M". Result in bytes, 0 .. INT64_MAX. */
int str_to_size(const char *s, int64_t *bytes, struct err *err);
/* Durations need a suffix: ms, s, m, h, d, w (and us, ns), combinable in falling order ("1h30m",
 * "90s", "1d12h"), fractions allowed ("0.5s"). "0" alone is allowed. Result in nanoseconds. */
int str_to_duration(const char *s, int64_t *ns, struct err *err);

/* "512M", "8.0G", "0": short form for people, always < 8 bytes; 0 and less is "0". Appends to b. */
void str_format_size(struct buf *b, int64_t bytes);
/* "0.2s", "90s", "1h30m", "2d3h": at most two units. Appends to b. */
void str_format_duration(struct buf *b, int64_t ns);

/* Exact forms that the parsers above read back to the same value ("1536M", "90s", "250ms"). Below 0
 * is "0". Append to b. */
void str_exact_size(struct buf *b, int64_t bytes);
void str_exact_duration(struct buf *b, int64_t ns);

/*
 * Appends foreign text so that a terminal shows it and does nothing else: valid printable UTF-8
 * stays; C0 and C1 controls, DEL, invalid UTF-8, Unicode's bidi controls, line and paragraph
 * separators and invisible tags become \n, \t, \r, \e or \xHH / \u{HHHH} escapes. `len` may be
 * SIZE_MAX for a NUL-terminated string.
 */
void str_append_safe(struct buf *b, const char *s, size_t len);
/* Same into a malloc'd string. */
char *str_safe(const char *s);

/* Decodes the UTF-8 character at the start of s: its length in bytes, 0 when there is none (invalid
 * or cut off, or len is 0). RFC 3629: no surrogates, no overlong forms. */
size_t str_utf8_next(const char *s, size_t len, uint32_t *cp);
/* True when the bytes are valid UTF-8 (no surrogates, no overlong forms; RFC 3629). */
bool str_is_utf8(const char *s, size_t len);

/* Number of terminal columns of valid UTF-8 text: combining marks 0, East Asian wide 2, else 1. */
size_t str_width(const char *s);
/* Appends s cut or padded with blanks to exactly `width` columns; a cut ends in '…' (or '~' if
 * !utf8). */
void str_append_padded(struct buf *b, const char *s, size_t width, bool utf8);

/* Appends s quoted for a POSIX shell where it needs it ('it'\''s'), unquoted where not. */
void str_append_shell_quoted(struct buf *b, const char *s);

/* Damerau-Levenshtein distance, for "did you mean"; words over 64 bytes give a large value. */
unsigned str_distance(const char *a, const char *b);
/* The closest of `names` (NULL-terminated array) to `word`, or NULL when none is near enough to be
 * helpful. */
const char *str_did_you_mean(const char *word, const char *const *names);

/* Constant-time comparison of two secrets of the same length. */
bool str_secret_eq(const void *a, const void *b, size_t len);

/* Lower-case hex. out has 2*len+1 bytes. */
void str_hex(const void *data, size_t len, char *out);

#endif
