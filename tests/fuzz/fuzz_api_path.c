/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in the path of a request, and ids, dependencies and arrays as text: what is accepted
 * is in its range, and means the same when it is written again. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "head/api_priv.h"
#include "head/spec.h"

#include <inttypes.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static const struct {
    const char *method, *path;
} routes[] = {
#define ROUTE(method, path, fn, params) { method, path },
#include "head/routes.def"
#undef ROUTE
};

static char *id_text(int64_t job, int64_t task)
{
    return task < 0 ? mem_printf("%" PRId64, job) : mem_printf("%" PRId64 "_%" PRId64, job, task);
}

static void try_id(const char *text)
{
    int64_t job = 0, task = 0, job2, task2;

    if (!spec_parse_id(text, &job, &task))
        return;
    require(job > 0 && task >= -1);
    char *again = id_text(job, task);
    require(spec_parse_id(again, &job2, &task2) && job == job2 && task == task2);
    free(again);
}

static void try_match(const char *path, const char *pattern)
{
    struct api_call c = { .task = -1 }, again = { .task = -1 };
    const char *id = strstr(pattern, "{id}");
    int rc = api_match(path, pattern, &c);

    require(rc >= -1 && rc <= 1);
    require(rc >= 0 || id);
    if (rc != 1 || !id)
        return;
    require(c.job > 0 && c.task >= -1);
    char *text = id_text(c.job, c.task);
    char *plain = mem_printf("%.*s%s%s", (int)(id - pattern), pattern, text, id + 4);
    require(api_match(plain, pattern, &again) == 1 && again.job == c.job && again.task == c.task);
    free(text);
    free(plain);
}

static void try_routes(const char *path)
{
    int found = 0;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        struct api_call c = { .task = -1 };
        try_match(path, routes[i].path);
        found += api_match(path, routes[i].path, &c) == 1;
    }
    require(found <= 1);
}

static void try_texts(const char *text)
{
    struct spec_dep d, again;
    int64_t first, last, step, limit;
    struct err err = ERR_INIT;

    if (spec_parse_dep(text, &d, &err) == 0) {
        char *plain = mem_printf("%" PRId64 ":%s", d.job, spec_dep_when_name(d.when));
        require(d.job > 0 && spec_parse_dep(plain, &again, &err) == 0);
        require(again.job == d.job && again.when == d.when);
        free(plain);
    }
    if (spec_parse_array(text, &first, &last, &step, &limit, &err) == 0) {
        require(first >= 0 && first <= last && step > 0 && limit >= 0 && limit <= INT32_MAX);
        require((last - first) / step + 1 <= LIMIT_ARRAY_TASKS && last <= INT64_MAX / 4);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);

    try_routes(text);
    try_id(text);
    try_texts(text);
    free(text);
    return 0;
}
