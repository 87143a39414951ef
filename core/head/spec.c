/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "head/spec.h"

#include "base/err.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>

static const char *const spec_fields[] = {
    "command",     "argv",        "script",  "name",        "threads",     "memory",
    "gpus",        "priority",    "after",   "array",       "lines",       "env",
    "array_limit", "workdir",     "timeout", "stdout_path", "stderr_path", "retry",
    "on_lost",     "retry_delay", "hold",    "node",        NULL,
};

/* Reading a field from the job first, from the defaults where the job has none. */
struct source {
    yyjson_val *json, *defaults;
    const char *where;
    struct err *err;
};

static yyjson_val *source_of(const struct source *src, const char *key)
{
    yyjson_val *v = yyjson_obj_get(src->json, key);
    return (v && !yyjson_is_null(v)) || !src->defaults ? src->json : src->defaults;
}

static int get_str(const struct source *src, const char *key, size_t max, const char **out)
{
    return jsonx_get_str(source_of(src, key), src->where, key, max, out, src->err);
}

static int get_int(const struct source *src, const char *key, int64_t min, int64_t max,
                   int64_t *out)
{
    return jsonx_get_int(source_of(src, key), src->where, key, min, max, out, src->err);
}

const char *spec_dep_when_name(enum spec_dep_when w)
{
    return w == DEP_ANY ? "any" : w == DEP_FAIL ? "fail" : "ok";
}

bool spec_parse_id(const char *text, int64_t *job, int64_t *task)
{
    char head[24];
    const char *us = strchr(text, '_');
    size_t len = us ? (size_t)(us - text) : strlen(text);
    if (len == 0 || len >= sizeof(head))
        return false;
    memcpy(head, text, len);
    head[len] = '\0';
    *task = -1;
    if (str_to_int(head, 1, INT64_MAX, "job", job, NULL) != 0)
        return false;
    return !us || str_to_int(us + 1, 0, INT64_MAX, "task", task, NULL) == 0;
}

int spec_parse_dep(const char *text, struct spec_dep *dep, struct err *err)
{
    char id[24];
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    int64_t task = -1;

    dep->when = DEP_OK;
    if (colon && str_eq(colon + 1, "any"))
        dep->when = DEP_ANY;
    else if (colon && str_eq(colon + 1, "fail"))
        dep->when = DEP_FAIL;
    else if (colon && !str_eq(colon + 1, "ok"))
        goto bad;
    if (len == 0 || len >= sizeof(id))
        goto bad;
    memcpy(id, text, len);
    id[len] = '\0';
    if (spec_parse_id(id, &dep->job, &task) && task < 0)
        return 0;
bad:
    return err_set(err, ERR_INVALID,
                   "after: expected a job id, optionally with :ok, :any or :fail, such as 12:ok");
}

static int bad_array(const char *text, const char *why, struct err *err)
{
    char *safe = str_safe(text);

    err_set(err, ERR_INVALID, "array %.60s: %s", safe, why);
    free(safe);
    return err_hint(err,
                    "expected FIRST-LAST, FIRST-LAST:STEP or FIRST-LAST%%LIMIT, such as 1-100%%8");
}

static int check_array(const char *text, const uintmax_t v[4], struct err *err)
{
    if (v[1] < v[0])
        return bad_array(text, "its last task comes before its first", err);
    if (v[2] == 0)
        return bad_array(text, "a step of 0 leads nowhere", err);
    if (strchr(text, '%') && v[3] == 0)
        return bad_array(text, "with at most 0 at once no task would ever start", err);
    if (v[3] > INT32_MAX)
        return bad_array(text, "the limit is too large", err);
    if ((v[1] - v[0]) / v[2] + 1 > LIMIT_ARRAY_TASKS)
        return err_set(err, ERR_TOO_LARGE, "array: %ju tasks, at most %d are allowed",
                       (v[1] - v[0]) / v[2] + 1, LIMIT_ARRAY_TASKS);
    return 0;
}

int spec_parse_array(const char *text, int64_t *first, int64_t *last, int64_t *step, int64_t *limit,
                     struct err *err)
{
    static const char not_one[] = "this is no range of tasks";
    uintmax_t v[4] = { 0, 0, 1, 0 };
    const char *p = text;
    static const char lead[] = { 0, '-', ':', '%' };

    for (int i = 0; i < 4; i++) {
        if (i > 0 && *p != lead[i]) {
            if (i == 1)
                return bad_array(text, not_one, err);
            continue;
        }
        p += i > 0;
        if (*p < '0' || *p > '9')
            return bad_array(text, not_one, err);
        char *end;
        errno = 0;
        v[i] = strtoumax(p, &end, 10);
        if (errno || v[i] > (uintmax_t)INT64_MAX / 4)
            return bad_array(text, "a number in it is too large", err);
        p = end;
    }
    if (*p)
        return bad_array(text, not_one, err);
    if (check_array(text, v, err) != 0)
        return -1;
    *first = (int64_t)v[0];
    *last = (int64_t)v[1];
    *step = (int64_t)v[2];
    *limit = (int64_t)v[3];
    return 0;
}

static int read_deps(struct spec *s, const struct source *src)
{
    yyjson_val *list = NULL;
    int rc = jsonx_get_array(source_of(src, "after"), src->where, "after", LIMIT_JOB_DEPS, &list,
                             src->err);
    if (rc <= 0)
        return rc;
    s->deps = mem_alloc_array(yyjson_arr_size(list) + 1, sizeof(*s->deps));
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;) {
        if (!yyjson_is_str(v))
            return err_set(src->err, ERR_INVALID,
                           "%safter: expected a list of strings such as \"12:ok\"", src->where);
        if (spec_parse_dep(yyjson_get_str(v), &s->deps[s->dep_count++], src->err) != 0)
            return -1;
    }
    return 0;
}

static int read_array(struct spec *s, const struct source *src)
{
    const char *text = NULL;
    if (get_str(src, "array", 200, &text) < 0)
        return -1;
    if (jsonx_get_array(source_of(src, "lines"), src->where, "lines", LIMIT_ARRAY_TASKS, &s->lines,
                        src->err) < 0)
        return -1;
    if (text && s->lines)
        return err_set(src->err, ERR_INVALID, "%sarray and lines can't be used together",
                       src->where);
    s->step = 1;
    if (text && spec_parse_array(text, &s->first, &s->last, &s->step, &s->limit, src->err) != 0)
        return *src->where ? err_prefix(src->err, "%.*s", (int)strlen(src->where) - 1, src->where)
                           : -1;
    if (s->lines) {
        s->first = 1;
        s->last = (int64_t)yyjson_arr_size(s->lines);
        if (s->last == 0)
            return err_set(src->err, ERR_INVALID, "%slines: there are none", src->where);
        yyjson_arr_iter it = yyjson_arr_iter_with(s->lines);
        for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
            if (!yyjson_is_str(v) || yyjson_get_len(v) > LIMIT_ARRAY_LINE)
                return err_set(src->err, ERR_INVALID,
                               "%slines: each must be a string of at most %d bytes", src->where,
                               LIMIT_ARRAY_LINE);
    }
    s->is_array = text || s->lines;
    int64_t limit = s->limit;
    int rc = get_int(src, "array_limit", 0, INT32_MAX, &limit);
    if (rc < 0)
        return -1;
    if (rc && !s->is_array)
        return err_set(src->err, ERR_INVALID, "%sarray_limit without array or lines", src->where);
    s->limit = limit;
    return 0;
}

static int check_strings(const struct source *src, const char *key, yyjson_val *list)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
        if (!yyjson_is_str(v))
            return err_set(src->err, ERR_INVALID, "%s%s: expected a list of strings", src->where,
                           key);
    return 0;
}

static int read_command(struct spec *s, const struct source *src)
{
    if (get_str(src, "command", LIMIT_JOB_SPEC, &s->command) < 0 ||
        get_str(src, "script", LIMIT_JOB_SPEC, &s->script) < 0 ||
        jsonx_get_array(source_of(src, "argv"), src->where, "argv", LIMIT_JOB_ARGS, &s->argv,
                        src->err) < 0)
        return -1;
    if (s->argv && check_strings(src, "argv", s->argv) != 0)
        return -1;
    if (!s->command && !s->script && !s->argv)
        return err_set(src->err, ERR_INVALID, "%scommand is missing", src->where),
               err_hint(src->err,
                        "give \"command\" (a shell command) or \"argv\" (a list of strings)");
    if (s->command && (s->script || s->argv))
        return err_set(src->err, ERR_INVALID, "%scommand can't be used with argv or script",
                       src->where);
    if ((s->command && s->command[strspn(s->command, " \t\r\n")] == '\0') ||
        (s->script && !*s->script) ||
        (s->argv && !s->script &&
         (yyjson_arr_size(s->argv) == 0 || yyjson_get_len(yyjson_arr_get_first(s->argv)) == 0)))
        return err_set(src->err, ERR_INVALID, "%sthe command is empty", src->where);
    return 0;
}

static bool valid_env_name(const char *s)
{
    if (!*s || (*s >= '0' && *s <= '9'))
        return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              *s == '_'))
            return false;
    return true;
}

static int read_env(struct spec *s, const struct source *src)
{
    int rc = jsonx_get_object(source_of(src, "env"), src->where, "env", &s->env, src->err);
    if (rc <= 0)
        return rc;
    if (yyjson_obj_size(s->env) > LIMIT_JOB_ENV)
        return err_set(src->err, ERR_TOO_LARGE, "%senv: more than %d variables", src->where,
                       LIMIT_JOB_ENV);
    yyjson_obj_iter it = yyjson_obj_iter_with(s->env);
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&it)) != NULL;) {
        if (!valid_env_name(yyjson_get_str(k)))
            return err_set(src->err, ERR_INVALID,
                           "%senv: a variable's name is made of letters, digits and _", src->where);
        if (!yyjson_is_str(yyjson_obj_iter_get_val(k)))
            return err_set(src->err, ERR_INVALID, "%senv.%s: expected a string", src->where,
                           yyjson_get_str(k));
    }
    return 0;
}

/* The character after '%' at `p`, made safe. */
static int unknown_placeholder(const char *p, struct err *err)
{
    uint32_t cp;
    size_t len = str_utf8_next(p + 1, strlen(p + 1), &cp);
    char *word = mem_strndup(p, 1 + len), *safe = str_safe(word);

    err_set(err, ERR_INVALID,
            len ? "there is no placeholder %s" : "nothing stands after its last %s", safe);
    free(word);
    free(safe);
    return err_hint(err, "%%j is the job's id, %%a the task's number, %%%% a percent sign");
}

int spec_check_output(const char *path, struct err *err)
{
    if (!*path) {
        err_set(err, ERR_INVALID, "the path must not be empty");
        return err_hint(err, "leave it out, and hive keeps the output: hive logs");
    }
    for (const char *p = path; (p = strchr(p, '%')) != NULL; p += 2)
        if (p[1] == '\0' || !strchr("ja%", p[1]))
            return unknown_placeholder(p, err);
    return 0;
}

static int read_paths(struct spec *s, const struct source *src, bool stored)
{
    if (get_str(src, "workdir", LIMIT_JOB_PATH, &s->workdir) < 0 ||
        get_str(src, "stdout_path", LIMIT_JOB_PATH, &s->stdout_path) < 0 ||
        get_str(src, "stderr_path", LIMIT_JOB_PATH, &s->stderr_path) < 0)
        return -1;
    if (s->workdir && s->workdir[0] != '/')
        return err_set(src->err, ERR_INVALID, "%sworkdir: expected an absolute path, not '%s'",
                       src->where, s->workdir);
    /* What an older hive let pass goes on to mean what it meant. */
    if (!stored && s->stdout_path && spec_check_output(s->stdout_path, src->err) != 0)
        return err_prefix(src->err, "%sstdout_path", src->where);
    if (!stored && s->stderr_path && spec_check_output(s->stderr_path, src->err) != 0)
        return err_prefix(src->err, "%sstderr_path", src->where);
    return 0;
}

static int read_numbers(struct spec *s, const struct source *src)
{
    s->threads = 1;
    if (get_int(src, "threads", 1, LIMIT_JOB_THREADS, &s->threads) < 0 ||
        get_int(src, "gpus", 0, LIMIT_JOB_GPUS, &s->gpus) < 0 ||
        get_int(src, "priority", -LIMIT_JOB_PRIORITY, LIMIT_JOB_PRIORITY, &s->priority) < 0 ||
        get_int(src, "retry", 0, LIMIT_JOB_RETRIES, &s->retry) < 0 ||
        jsonx_get_size(source_of(src, "memory"), src->where, "memory", &s->memory, src->err) < 0 ||
        jsonx_get_duration(source_of(src, "timeout"), src->where, "timeout", &s->timeout_ns,
                           src->err) < 0 ||
        jsonx_get_duration(source_of(src, "retry_delay"), src->where, "retry_delay",
                           &s->retry_delay_ns, src->err) < 0 ||
        jsonx_get_bool(source_of(src, "hold"), src->where, "hold", &s->hold, src->err) < 0)
        return -1;
    return 0;
}

static int read_words(struct spec *s, const struct source *src)
{
    const char *on_lost = NULL;
    if (get_str(src, "name", LIMIT_JOB_NAME, &s->name) < 0 ||
        get_str(src, "node", LIMIT_JOB_NAME, &s->node) < 0 ||
        get_str(src, "on_lost", 16, &on_lost) < 0)
        return -1;
    if (on_lost && !str_eq(on_lost, "hold") && !str_eq(on_lost, "requeue"))
        return err_set(src->err, ERR_INVALID, "%son_lost: expected \"hold\" or \"requeue\"",
                       src->where);
    if (on_lost)
        s->on_lost = *on_lost == 'h' ? ON_LOST_HOLD : ON_LOST_REQUEUE;
    return 0;
}

/* Bytes the job keeps in the store and hands to its shim, an upper bound. */
static size_t spec_size(const struct spec *s)
{
    size_t n = 512;
    const char *texts[] = { s->command, s->script, s->workdir, s->stdout_path, s->stderr_path };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        n += texts[i] ? strlen(texts[i]) : 0;
    yyjson_arr_iter it = yyjson_arr_iter_with(s->argv);
    for (yyjson_val *v; s->argv && (v = yyjson_arr_iter_next(&it)) != NULL;)
        n += yyjson_get_len(v) + 8;
    yyjson_obj_iter oit = yyjson_obj_iter_with(s->env);
    for (yyjson_val *k; s->env && (k = yyjson_obj_iter_next(&oit)) != NULL;)
        n += yyjson_get_len(k) + yyjson_get_len(yyjson_obj_iter_get_val(k)) + 8;
    return n;
}

int spec_read(struct spec *s, yyjson_val *json, yyjson_val *defaults, const char *where,
              bool stored, struct err *err)
{
    struct source src = { json, defaults, where, err };

    memset(s, 0, sizeof(*s));
    s->json = json;
    if (!yyjson_is_obj(json))
        return err_set(err, ERR_INVALID, "%.*sexpected an object that describes a job",
                       (int)strlen(where), where);
    if (!stored && jsonx_only_fields(json, where, spec_fields, err) != 0)
        return -1;
    if (read_command(s, &src) != 0 || read_env(s, &src) < 0 || read_paths(s, &src, stored) != 0 ||
        read_numbers(s, &src) != 0 || read_words(s, &src) != 0)
        goto fail;
    if ((!stored && read_array(s, &src) != 0) || read_deps(s, &src) < 0)
        goto fail;
    if (!stored && spec_size(s) > LIMIT_JOB_SPEC) {
        err_set(err, ERR_TOO_LARGE,
                "%scommand, arguments, environment and script together are over %d KiB", where,
                LIMIT_JOB_SPEC / 1024);
        err_hint(err, "put long input into a file and pass its name");
        goto fail;
    }
    return 0;
fail:
    spec_fini(s);
    return -1;
}

void spec_fini(struct spec *s)
{
    MEM_FREE(s->deps);
    s->dep_count = 0;
}

void spec_encode(const struct spec *s, struct buf *b)
{
    struct jsonw w;
    jsonw_init(&w, b);
    jsonw_obj_open(&w, NULL);
    if (s->command)
        jsonw_str(&w, "command", s->command);
    if (s->script)
        jsonw_str(&w, "script", s->script);
    yyjson_arr_iter it = yyjson_arr_iter_with(s->argv);
    if (s->argv)
        jsonw_arr_open(&w, "argv");
    for (yyjson_val *v; s->argv && (v = yyjson_arr_iter_next(&it)) != NULL;)
        jsonw_strn(&w, NULL, yyjson_get_str(v), yyjson_get_len(v));
    if (s->argv)
        jsonw_arr_close(&w);
    yyjson_obj_iter oit = yyjson_obj_iter_with(s->env);
    if (s->env)
        jsonw_obj_open(&w, "env");
    for (yyjson_val *k; s->env && (k = yyjson_obj_iter_next(&oit)) != NULL;)
        jsonw_str(&w, yyjson_get_str(k), yyjson_get_str(yyjson_obj_iter_get_val(k)));
    if (s->env)
        jsonw_obj_close(&w);
    const struct {
        const char *key, *value;
    } texts[] = { { "workdir", s->workdir },
                  { "stdout_path", s->stdout_path },
                  { "stderr_path", s->stderr_path },
                  { "node", s->node } };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].value)
            jsonw_str(&w, texts[i].key, texts[i].value);
    if (s->retry_delay_ns) {
        struct buf delay = BUF_INIT;
        str_exact_duration(&delay, s->retry_delay_ns); /* seconds as a number could be too many */
        jsonw_str(&w, "retry_delay", buf_data(&delay));
        buf_fini(&delay);
    }
    if (s->on_lost)
        jsonw_str(&w, "on_lost", s->on_lost == ON_LOST_HOLD ? "hold" : "requeue");
    if (s->dep_count)
        jsonw_arr_open(&w, "after");
    for (size_t i = 0; i < s->dep_count; i++) {
        char text[48];
        snprintf(text, sizeof(text), "%" PRId64 ":%s", s->deps[i].job,
                 spec_dep_when_name(s->deps[i].when));
        jsonw_str(&w, NULL, text);
    }
    if (s->dep_count)
        jsonw_arr_close(&w);
    jsonw_obj_close(&w);
}

void spec_command_text(const struct spec *s, struct buf *b)
{
    if (s->command) {
        buf_append_str(b, s->command);
        return;
    }
    if (s->script)
        buf_append_str(b, "script");
    yyjson_arr_iter it = yyjson_arr_iter_with(s->argv);
    for (yyjson_val *v; s->argv && (v = yyjson_arr_iter_next(&it)) != NULL;) {
        if (buf_len(b))
            buf_append_char(b, ' ');
        str_append_shell_quoted(b, yyjson_get_str(v));
    }
}

void spec_default_name(const struct spec *s, struct buf *b)
{
    const char *word = s->command;
    size_t len;
    if (s->script) {
        buf_append_str(b, "script");
        return;
    }
    if (word) {
        word += strspn(word, " \t\r\n");
        len = strcspn(word, " \t\r\n;|&<>()");
    } else {
        word = yyjson_get_str(yyjson_arr_get_first(s->argv));
        len = strlen(word);
    }
    for (size_t i = 0; i < len; i++)
        if (word[i] == '/' && i + 1 < len) {
            word += i + 1;
            len -= i + 1;
            i = (size_t)-1;
        }
    size_t start = buf_len(b);
    buf_append(b, word, len > 64 ? 64 : len);
    while (buf_len(b) > start && !str_is_utf8(buf_data(b) + start, buf_len(b) - start))
        buf_truncate(b, buf_len(b) - 1);
    if (buf_len(b) == start)
        buf_append_str(b, "job");
}
