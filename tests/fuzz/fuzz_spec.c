/* SPDX-License-Identifier: BSD-2-Clause */
/* Job specifications from a stranger: what is accepted is within the limits, its stored form says
 * the same when it is read back, and an attempt can be prepared from that. Two documents, the
 * second after a line "--": defaults. */
#include "base/buf.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "head/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static bool same_json(yyjson_val *a, yyjson_val *b)
{
    return a == b || (a && b && yyjson_equals(a, b));
}

static void check_limits(const struct spec *s)
{
    require(s->threads >= 1 && s->threads <= LIMIT_JOB_THREADS);
    require(s->gpus >= 0 && s->gpus <= LIMIT_JOB_GPUS);
    require(s->memory >= 0 && s->timeout_ns >= 0 && s->retry_delay_ns >= 0);
    require(s->priority >= -LIMIT_JOB_PRIORITY && s->priority <= LIMIT_JOB_PRIORITY);
    require(s->retry >= 0 && s->retry <= LIMIT_JOB_RETRIES);
    require(s->dep_count <= LIMIT_JOB_DEPS);
    require(!s->name || strlen(s->name) <= LIMIT_JOB_NAME);
    require(!s->workdir || s->workdir[0] == '/');
    for (size_t i = 0; i < s->dep_count; i++)
        require(s->deps[i].job > 0);
    if (s->is_array) {
        require(s->first >= 0 && s->last >= s->first && s->step > 0);
        require((s->last - s->first) / s->step < LIMIT_ARRAY_TASKS);
        require(s->limit >= 0 && s->limit <= INT32_MAX);
    }
}

/* Everything that has no column of its own. */
static void check_same(const struct spec *a, const struct spec *b)
{
    require(str_eq(a->command, b->command) && str_eq(a->script, b->script));
    require(str_eq(a->node, b->node) && str_eq(a->workdir, b->workdir));
    require(str_eq(a->stdout_path, b->stdout_path) && str_eq(a->stderr_path, b->stderr_path));
    require(same_json(a->argv, b->argv));
    require(a->on_lost == b->on_lost && a->dep_count == b->dep_count);
    for (size_t i = 0; i < a->dep_count; i++)
        require(a->deps[i].job == b->deps[i].job && a->deps[i].when == b->deps[i].when);
    require(a->retry_delay_ns == b->retry_delay_ns);
}

static void check_launch(const struct spec *s, const char *line)
{
    static const char *const env[] = { "PATH=/bin", "HOME=/", NULL };
    struct spec_context c = { .id = 7,
                              .task = line ? 3 : -1,
                              .attempt = 1,
                              .threads = s->threads,
                              .node = "n",
                              .line = line,
                              .base_env = env,
                              .home = "/" };
    struct spec_launch l;
    struct err err = ERR_INIT;

    if (spec_launch_prepare(s, &c, &l, &err) != 0) {
        require(err.kind == ERR_TOO_LARGE);
        return;
    }
    require(l.argv && l.argv[0] && l.workdir[0] == '/');
    require(!l.stdout_path || l.stdout_path[0] == '/');
    for (size_t i = 0; l.env[i]; i++)
        for (size_t k = 0; k < i; k++) /* no name twice */
            require(strncmp(l.env[i], l.env[k], strcspn(l.env[i], "=") + 1) != 0);
    spec_launch_fini(&l);
}

static void check_stored(const struct spec *s)
{
    struct buf text = BUF_INIT, words = BUF_INIT;
    struct err err = ERR_INIT;
    struct spec again;

    spec_encode(s, &text);
    yyjson_doc *doc = jsonx_parse(buf_data(&text), buf_len(&text), &err);
    require(doc && spec_read(&again, yyjson_doc_get_root(doc), NULL, "", true, &err) == 0);
    check_same(s, &again);
    check_launch(&again, NULL);
    check_launch(&again, "a 'b' {} c");
    spec_command_text(s, &words);
    require(buf_len(&words) > 0 && str_is_utf8(buf_data(&words), buf_len(&words)));
    buf_clear(&words);
    spec_default_name(s, &words);
    require(buf_len(&words) > 0 && buf_len(&words) <= 64);
    require(str_is_utf8(buf_data(&words), buf_len(&words)));
    spec_fini(&again);
    yyjson_doc_free(doc);
    buf_fini(&text);
    buf_fini(&words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *cut = size ? memmem(text, size, "\n--\n", 4) : NULL;
    size_t len = cut ? (size_t)(cut - text) : size;
    struct err err = ERR_INIT;
    struct spec s;
    yyjson_doc *doc = jsonx_parse(text, len, &err), *def = NULL;

    if (cut)
        def = jsonx_parse(cut + 4, size - len - 4, NULL);
    yyjson_val *defaults = yyjson_doc_get_root(def);
    if (defaults && !yyjson_is_obj(defaults))
        defaults = NULL;
    if (doc && spec_read(&s, yyjson_doc_get_root(doc), defaults, "jobs[1].", false, &err) == 0) {
        check_limits(&s);
        check_stored(&s);
        spec_fini(&s);
    } else {
        require(err.kind == ERR_INVALID || err.kind == ERR_TOO_LARGE);
        require(err.msg[0] && str_is_utf8(err.msg, strlen(err.msg)));
    }
    yyjson_doc_free(doc);
    yyjson_doc_free(def);
    return 0;
}
