/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading JSON from outside, on top of yyjson: size and depth limits, and typed access to fields
 * with errors that say which field, what was expected and what was there. Writing is the jsonw_*
 * below: streaming into a buf, nothing is built in memory first.
 */
#ifndef HIVE_BASE_JSONX_H
#define HIVE_BASE_JSONX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yyjson.h>

struct buf;
struct err;

/* Parses strict RFC 8259 JSON: no comments, no trailing commas, valid UTF-8, depth at most
 * LIMIT_JSON_DEPTH, no NUL characters inside strings (they could not be passed on). Of fields with
 * the same name the first counts. The size is the caller's to limit, before. Freed with
 * yyjson_doc_free. ERR_INVALID with line and column. */
yyjson_doc *jsonx_parse(const char *data, size_t len, struct err *err);

/*
 * Typed fields. Each returns 1 when the field is present and fine, 0 when it is absent or null (out
 * untouched), -1 with ERR_INVALID when it has the wrong type or is out of range, or when `obj` is
 * no object. `where` is a prefix for messages such as "jobs[3]." or "". What comes out is borrowed
 * from the document.
 */
int jsonx_get_str(yyjson_val *obj, const char *where, const char *key, size_t max_len,
                  const char **out, struct err *err);
/* A whole number; 4.0 and 1e3 are whole numbers too. */
int jsonx_get_int(yyjson_val *obj, const char *where, const char *key, int64_t min, int64_t max,
                  int64_t *out, struct err *err);
int jsonx_get_bool(yyjson_val *obj, const char *where, const char *key, bool *out, struct err *err);
/* An integer of bytes, or a string with suffix ("8G"). */
int jsonx_get_size(yyjson_val *obj, const char *where, const char *key, int64_t *bytes,
                   struct err *err);
/* A number of seconds (fractions allowed), or a string with suffix ("1h30m"). Result in
 * nanoseconds. */
int jsonx_get_duration(yyjson_val *obj, const char *where, const char *key, int64_t *ns,
                       struct err *err);
int jsonx_get_array(yyjson_val *obj, const char *where, const char *key, size_t max_items,
                    yyjson_val **out, struct err *err);
int jsonx_get_object(yyjson_val *obj, const char *where, const char *key, yyjson_val **out,
                     struct err *err);
/* Refuses fields outside `known` (NULL-terminated) with ERR_INVALID and a "did you mean" hint, and
 * fields that are given twice (of the first 64 of `known`). */
int jsonx_only_fields(yyjson_val *obj, const char *where, const char *const *known,
                      struct err *err);

/*
 * Writing. A writer keeps track of commas; keys are NULL inside arrays. At most 63 levels.
 *   struct jsonw w;
 *   jsonw_init(&w, &buf);
 *   jsonw_obj_open(&w, NULL);
 *   jsonw_int(&w, "api", 1);
 *   jsonw_obj_close(&w);
 * Strings that are not valid UTF-8 have each bad byte replaced by U+FFFD.
 */
struct jsonw {
    struct buf *b;
    uint64_t comma; /* bit per depth: a value was written there */
    unsigned depth;
};

void jsonw_init(struct jsonw *w, struct buf *b);
void jsonw_obj_open(struct jsonw *w, const char *key);
void jsonw_obj_close(struct jsonw *w);
void jsonw_arr_open(struct jsonw *w, const char *key);
void jsonw_arr_close(struct jsonw *w);
void jsonw_str(struct jsonw *w, const char *key, const char *value); /* NULL writes null */
void jsonw_strn(struct jsonw *w, const char *key, const char *value, size_t len);
void jsonw_int(struct jsonw *w, const char *key, int64_t value);
/* In as few digits, 15 to 17, as read back to the same value. NaN and Inf write null. */
void jsonw_double(struct jsonw *w, const char *key, double value);
void jsonw_bool(struct jsonw *w, const char *key, bool value);
void jsonw_null(struct jsonw *w, const char *key);
/* Wall time as RFC 3339; 0 writes null. */
void jsonw_time(struct jsonw *w, const char *key, int64_t wall_ns);
/* Already valid JSON text, as it is. */
void jsonw_raw(struct jsonw *w, const char *key, const char *json);

#endif
