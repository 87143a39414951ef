/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading messages of the link protocol: bytes from somebody else's machine. */
#include "base/mem.h"

#include "node/link_field.h"

#include "base/err.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "net/ssh_wire.h"

#include <inttypes.h>

struct link_owned {
    yyjson_doc *doc; /* strings are in it */
    void *lists[4];  /* as many as one message can have */
    size_t count;
};

static void *own(struct link_msg *m, void *p)
{
    if (m->owned->count == ARRAY_LEN(m->owned->lists))
        abort(); /* a type with more lists than we know of */
    m->owned->lists[m->owned->count++] = p;
    return p;
}

static int read_int(yyjson_val *obj, const struct link_field *f, void *at, struct err *err)
{
    int64_t v;
    int32_t narrow;
    int rc = jsonx_get_int(obj, "", f->name, f->min, f->max, &v, err);

    if (rc != 1)
        return rc;
    narrow = (int32_t)v;
    if (f->kind == LINK_INT32)
        memcpy(at, &narrow, sizeof narrow);
    else
        memcpy(at, &v, sizeof v);
    return 1;
}

static int bad(const struct link_field *f, const char *want, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s must be %s", f->name, want);
}

static int read_number(yyjson_val *val, const struct link_field *f, double *out, struct err *err)
{
    if (!val || yyjson_is_null(val))
        return 0;
    if (!yyjson_is_num(val) || !(yyjson_get_num(val) >= 0))
        return bad(f, "a number of 0 or more", err);
    *out = yyjson_get_num(val);
    return 1;
}

/* An array, or NULL with *rc 0 (it is not there) or -1. */
static yyjson_val *read_array(yyjson_val *obj, const struct link_field *f, int *rc, struct err *err)
{
    size_t most = f->kind == LINK_NUMBERS3 ? 3 : (size_t)f->max;
    yyjson_val *arr = NULL;

    *rc = jsonx_get_array(obj, "", f->name, most, &arr, err);
    if (*rc == 1 && (int64_t)yyjson_arr_size(arr) < f->min)
        *rc = err_set(err, ERR_INVALID, "%s must not be empty", f->name);
    return *rc == 1 ? arr : NULL;
}

static int read_numbers(yyjson_val *obj, const struct link_field *f, double *out, struct err *err)
{
    int rc;
    yyjson_val *arr = read_array(obj, f, &rc, err);

    if (!arr)
        return rc;
    for (size_t i = 0; i < yyjson_arr_size(arr); i++)
        if (read_number(yyjson_arr_get(arr, i), f, &out[i], err) != 1)
            return bad(f, "a list of numbers", err);
    return 1;
}

static int read_words(struct link_msg *m, yyjson_val *obj, const struct link_field *f, void *at,
                      struct err *err)
{
    int rc;
    yyjson_val *arr = read_array(obj, f, &rc, err), *item;
    yyjson_arr_iter it;
    const char **words;
    size_t n = 0;

    if (!arr)
        return rc;
    words = own(m, mem_alloc_array(yyjson_arr_size(arr) + 1, sizeof *words));
    yyjson_arr_iter_init(arr, &it);
    while ((item = yyjson_arr_iter_next(&it))) {
        if (!yyjson_is_str(item))
            return bad(f, "a list of strings", err);
        words[n++] = yyjson_get_str(item);
    }
    memcpy(at, &words, sizeof words);
    return 1;
}

static int read_key(yyjson_val *obj, const struct link_field *f, struct attempt_key *key,
                    struct err *err)
{
    int64_t number = 0, fence = 0;

    if (!yyjson_is_obj(obj))
        return bad(f, "made of objects", err);
    if (jsonx_get_int(obj, "", "job", 1, ATTEMPT_JOB_MAX, &key->job, err) < 0 ||
        jsonx_get_int(obj, "", "attempt", 1, ATTEMPT_NUMBER_MAX, &number, err) < 0 ||
        jsonx_get_int(obj, "", "fence", 0, LINK_FENCE_MAX, &fence, err) < 0)
        return err_prefix(err, "%s", f->name);
    if (key->job == 0 || number == 0)
        return err_set(err, ERR_INVALID, "%s: job or attempt is missing", f->name);
    key->number = (int32_t)number;
    key->fence = (uint64_t)fence;
    return 1;
}

static void set_count(struct link_msg *m, const struct link_field *f, size_t n)
{
    memcpy((char *)m + f->count, &n, sizeof n);
}

static int read_keys(struct link_msg *m, yyjson_val *obj, const struct link_field *f, void *at,
                     struct err *err)
{
    int rc;
    yyjson_val *arr = read_array(obj, f, &rc, err), *item;
    yyjson_arr_iter it;
    struct attempt_key *keys;
    size_t n = 0;

    if (!arr)
        return rc;
    keys = own(m, mem_alloc_array(yyjson_arr_size(arr) + 1, sizeof *keys));
    yyjson_arr_iter_init(arr, &it);
    while ((item = yyjson_arr_iter_next(&it)))
        if (read_key(item, f, &keys[n++], err) < 0)
            return -1;
    memcpy(at, &keys, sizeof keys);
    set_count(m, f, n);
    return 1;
}

static int read_percents(struct link_msg *m, yyjson_val *obj, const struct link_field *f, void *at,
                         struct err *err)
{
    int rc;
    yyjson_val *arr = read_array(obj, f, &rc, err), *item;
    yyjson_arr_iter it;
    signed char *v;
    size_t n = 0;

    if (!arr)
        return rc;
    v = own(m, mem_alloc(yyjson_arr_size(arr) + 1));
    yyjson_arr_iter_init(arr, &it);
    while ((item = yyjson_arr_iter_next(&it))) {
        if (!yyjson_is_null(item) && (!yyjson_is_uint(item) || yyjson_get_uint(item) > 100))
            return bad(f, "numbers from 0 to 100", err);
        v[n++] = yyjson_is_null(item) ? -1 : (signed char)yyjson_get_uint(item);
    }
    memcpy(at, &v, sizeof v);
    set_count(m, f, n);
    return 1;
}

static int read_uses(struct link_msg *m, yyjson_val *obj, const struct link_field *f, void *at,
                     struct err *err)
{
    int rc;
    yyjson_val *arr = read_array(obj, f, &rc, err), *item;
    yyjson_arr_iter it;
    struct link_use *uses;
    size_t n = 0;

    if (!arr)
        return rc;
    uses = own(m, mem_alloc_array(yyjson_arr_size(arr) + 1, sizeof *uses));
    yyjson_arr_iter_init(arr, &it);
    while ((item = yyjson_arr_iter_next(&it))) {
        struct link_use *u = &uses[n++];
        u->cpu_ns = u->memory_bytes = -1;
        if (read_key(item, f, &u->key, err) < 0 ||
            jsonx_get_int(item, "", "cpu_ns", 0, INT64_MAX, &u->cpu_ns, err) < 0 ||
            jsonx_get_int(item, "", "memory_bytes", 0, INT64_MAX, &u->memory_bytes, err) < 0)
            return -1;
    }
    memcpy(at, &uses, sizeof uses);
    set_count(m, f, n);
    return 1;
}

static int read_base64(struct link_msg *m, yyjson_val *obj, const struct link_field *f, void *at,
                       struct err *err)
{
    const char *text;
    unsigned char *data;
    size_t len, most = ((size_t)f->max + 2) / 3 * 4;
    int rc = jsonx_get_str(obj, "", f->name, most, &text, err);

    if (rc != 1)
        return rc;
    data = own(m, mem_alloc(strlen(text) / 4 * 3 + 1));
    if (!ssh_base64_decode(text, strlen(text), data, &len) || len > (size_t)f->max)
        return bad(f, "base64", err);
    memcpy(at, &data, sizeof data);
    set_count(m, f, len);
    return 1;
}

static int read_text(yyjson_val *obj, const struct link_field *f, void *at, struct err *err)
{
    const char *s;
    int rc = jsonx_get_str(obj, "", f->name, (size_t)f->max, &s, err);

    if (rc != 1)
        return rc;
    if (f->kind == LINK_CHARS) {
        str_copy(at, (size_t)f->max + 1, s);
        return 1;
    }
    if (strlen(s) < (size_t)f->min)
        return err_set(err, ERR_INVALID, "%s must have at least %" PRId64 " bytes", f->name,
                       f->min);
    memcpy(at, &s, sizeof s);
    return 1;
}

static int read_word_of(yyjson_val *obj, const struct link_field *f, void *at, struct err *err)
{
    const char *s;
    int rc = jsonx_get_str(obj, "", f->name, 32, &s, err);

    if (rc != 1)
        return rc;
    if (f->kind == LINK_STREAM) {
        if (!str_eq(s, "stdout") && !str_eq(s, "stderr"))
            return bad(f, "stdout or stderr", err);
        *(bool *)at = str_eq(s, "stderr");
        return 1;
    }
    for (unsigned o = 0; o < ATTEMPT_OUTCOME_COUNT; o++) {
        if (str_eq(s, attempt_outcome_name((enum attempt_outcome)o))) {
            *(enum attempt_outcome *)at = (enum attempt_outcome)o;
            return 1;
        }
    }
    return bad(f, "the name of an outcome", err);
}

/* What stands for "not known" where a field is left out. */
static void set_unknown(const struct link_field *f, void *at)
{
    static const double unknown[3] = { -1, -1, -1 };
    static const int64_t none = -1;

    if (f->kind == LINK_NUMBER)
        memcpy(at, unknown, sizeof unknown[0]);
    else if (f->kind == LINK_NUMBERS3)
        memcpy(at, unknown, sizeof unknown);
    else if (f->kind == LINK_KNOWN)
        memcpy(at, &none, sizeof none);
}

static int read_field(struct link_msg *m, yyjson_val *obj, const struct link_field *f,
                      struct err *err)
{
    void *at = (char *)m + f->offset;
    yyjson_val *val;

    set_unknown(f, at);
    switch (f->kind) {
    case LINK_INT:
    case LINK_INT32:
    case LINK_KNOWN:
        return read_int(obj, f, at, err);
    case LINK_NUMBER:
        return read_number(yyjson_obj_get(obj, f->name), f, at, err);
    case LINK_NUMBERS3:
        return read_numbers(obj, f, at, err);
    case LINK_BOOL:
        return jsonx_get_bool(obj, "", f->name, at, err);
    case LINK_TEXT:
    case LINK_CHARS:
        return read_text(obj, f, at, err);
    case LINK_WORDS:
        return read_words(m, obj, f, at, err);
    case LINK_KEYS:
        return read_keys(m, obj, f, at, err);
    case LINK_PERCENTS:
        return read_percents(m, obj, f, at, err);
    case LINK_USES:
        return read_uses(m, obj, f, at, err);
    case LINK_AFTER:
        val = yyjson_obj_get(obj, f->name);
        return !val || yyjson_is_null(val) ? 0 : read_key(val, f, at, err);
    case LINK_BASE64:
        return read_base64(m, obj, f, at, err);
    case LINK_STREAM:
    case LINK_OUTCOME:
        return read_word_of(obj, f, at, err);
    }
    return -1;
}

static bool is_hex(const char *s)
{
    return s[strspn(s, "0123456789abcdef")] == '\0';
}

static int read_fields(struct link_msg *m, yyjson_val *obj, struct err *err)
{
    for (size_t i = 0; i < link_field_count; i++) {
        const struct link_field *f = &link_fields[i];
        int rc = f->in & LINK_BIT(m->type) ? read_field(m, obj, f, err) : 1;

        if (rc < 0)
            return -1;
        if (rc == 0 && f->must)
            return err_set(err, ERR_INVALID, "%s is missing", f->name);
    }
    if (m->type == LINK_WELCOME && !is_hex(m->head))
        return err_set(err, ERR_INVALID, "head must be hexadecimal");
    m->run.key = m->end.key = m->key;
    return 0;
}

static int read_type(yyjson_val *obj, enum link_type *type, struct err *err)
{
    const char *name;
    int rc = jsonx_get_str(obj, "", "type", 64, &name, err);

    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(err, ERR_INVALID, "a message has no type");
    for (unsigned t = 0; t < LINK_TYPE_COUNT; t++) {
        if (str_eq(name, link_type_name((enum link_type)t))) {
            *type = (enum link_type)t;
            return 0;
        }
    }
    char *safe = str_safe(name);
    err_set(err, ERR_INVALID, "unknown type \"%s\"", safe);
    free(safe);
    return -1;
}

int link_msg_decode(const char *data, size_t len, struct link_msg *m, struct err *err)
{
    yyjson_doc *doc;
    int rc;

    memset(m, 0, sizeof *m);
    if (len > LINK_LINE_MAX)
        return err_set(err, ERR_TOO_LARGE, "a message is over %d KiB", LINK_LINE_MAX / 1024);
    doc = jsonx_parse(data, len, err);
    if (!doc)
        return -1;
    m->owned = mem_alloc(sizeof *m->owned);
    m->owned->doc = doc;
    rc = read_type(yyjson_doc_get_root(doc), &m->type, err);
    if (rc == 0 && read_fields(m, yyjson_doc_get_root(doc), err) != 0)
        rc = err_prefix(err, "%s", link_type_name(m->type));
    if (rc != 0)
        link_msg_fini(m);
    return rc;
}

void link_msg_fini(struct link_msg *m)
{
    if (!m->owned)
        return;
    for (size_t i = 0; i < m->owned->count; i++)
        free(m->owned->lists[i]);
    yyjson_doc_free(m->owned->doc);
    MEM_FREE(m->owned);
}
