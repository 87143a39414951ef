/* SPDX-License-Identifier: BSD-2-Clause */
/* JSON from a stranger: what parses is within the limits, is written again by jsonw, and that text
 * parses to the same values; the typed accessors take any of it. */
#include "base/buf.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void copy_value(struct jsonw *w, const char *key, yyjson_val *val, unsigned depth);

static void copy_container(struct jsonw *w, const char *key, yyjson_val *val, unsigned depth)
{
    size_t i, max;
    yyjson_val *name, *item;

    require(depth < LIMIT_JSON_DEPTH);
    if (yyjson_is_arr(val)) {
        jsonw_arr_open(w, key);
        yyjson_arr_foreach(val, i, max, item)
        {
            copy_value(w, NULL, item, depth + 1);
        }
        jsonw_arr_close(w);
        return;
    }
    jsonw_obj_open(w, key);
    yyjson_obj_foreach(val, i, max, name, item)
    {
        require(strlen(yyjson_get_str(name)) == yyjson_get_len(name));
        copy_value(w, yyjson_get_str(name), item, depth + 1);
    }
    jsonw_obj_close(w);
}

static void copy_value(struct jsonw *w, const char *key, yyjson_val *val, unsigned depth)
{
    switch (yyjson_get_type(val)) {
    case YYJSON_TYPE_ARR:
    case YYJSON_TYPE_OBJ:
        copy_container(w, key, val, depth);
        break;
    case YYJSON_TYPE_STR:
        require(strlen(yyjson_get_str(val)) == yyjson_get_len(val));
        require(str_is_utf8(yyjson_get_str(val), yyjson_get_len(val)));
        jsonw_strn(w, key, yyjson_get_str(val), yyjson_get_len(val));
        break;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(val))
            jsonw_double(w, key, yyjson_get_real(val));
        else if (yyjson_is_sint(val) || yyjson_get_uint(val) <= INT64_MAX)
            jsonw_int(w, key, yyjson_get_sint(val));
        else
            jsonw_null(w, key);
        break;
    case YYJSON_TYPE_BOOL:
        jsonw_bool(w, key, yyjson_get_bool(val));
        break;
    default:
        jsonw_null(w, key);
    }
}

static void use_accessors(yyjson_val *obj)
{
    static const char *const known[] = { "a", "b", NULL };
    struct err err = ERR_INIT;
    yyjson_val *sub;
    const char *s;
    int64_t i;
    bool b;

    for (const char *const *k = known; *k; k++) {
        if (jsonx_get_str(obj, "x.", *k, 8, &s, &err) == 1)
            require(strlen(s) <= 8);
        if (jsonx_get_int(obj, "x.", *k, -5, 1000, &i, &err) == 1)
            require(i >= -5 && i <= 1000);
        if (jsonx_get_size(obj, "x.", *k, &i, &err) == 1)
            require(i >= 0);
        if (jsonx_get_duration(obj, "x.", *k, &i, &err) == 1)
            require(i >= 0);
        if (jsonx_get_array(obj, "x.", *k, 2, &sub, &err) == 1)
            require(yyjson_arr_size(sub) <= 2);
        jsonx_get_bool(obj, "x.", *k, &b, &err);
        if (jsonx_get_object(obj, "x.", *k, &sub, &err) == 1)
            jsonx_only_fields(sub, "x.a.", known, &err);
    }
    jsonx_only_fields(obj, "", known, &err);
    require(str_is_utf8(err.msg, strlen(err.msg)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct jsonw w;
    yyjson_doc *doc = jsonx_parse((const char *)data, size, &err);

    if (!doc) {
        require(err.kind == ERR_INVALID && err.msg[0]);
        return 0;
    }
    use_accessors(yyjson_doc_get_root(doc));
    jsonw_init(&w, &once);
    copy_value(&w, NULL, yyjson_doc_get_root(doc), 0);
    yyjson_doc_free(doc);
    doc = jsonx_parse(buf_data(&once), buf_len(&once), &err);
    require(doc != NULL);
    jsonw_init(&w, &twice);
    copy_value(&w, NULL, yyjson_doc_get_root(doc), 0);
    yyjson_doc_free(doc);
    require(str_eq(buf_data(&once), buf_data(&twice)));
    buf_fini(&once);
    buf_fini(&twice);
    return 0;
}
