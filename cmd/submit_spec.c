/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/submit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "head/spec.h"

#include <unistd.h>

void submit_args_init(struct submit_args *a)
{
    memset(a, 0, sizeof(*a));
    a->threads = a->memory = a->gpus = a->priority = SUBMIT_UNSET;
    a->timeout_ns = a->retry = a->retry_delay_ns = SUBMIT_UNSET;
}

void submit_args_fini(struct submit_args *a)
{
    opt_list_fini(&a->after);
    opt_list_fini(&a->env);
}

/* JSON carries UTF-8 only; another byte would silently become something else. */
static int put_str(struct jsonw *w, const char *key, const char *what, const char *value,
                   struct err *err)
{
    if (!value)
        return 0;
    if (!str_is_utf8(value, strlen(value))) {
        char *safe = str_safe(value);
        err_set(err, ERR_USAGE, "%s: '%s' is not UTF-8 text", what, safe);
        free(safe);
        return err_hint(err, "put it into a script file, or use a path without such characters");
    }
    jsonw_str(w, key, value);
    return 0;
}

static void put_int(struct jsonw *w, const char *key, int64_t value)
{
    if (value != SUBMIT_UNSET)
        jsonw_int(w, key, value);
}

static void put_duration(struct jsonw *w, const char *key, int64_t ns)
{
    struct buf text = BUF_INIT;
    if (ns == SUBMIT_UNSET)
        return;
    str_exact_duration(&text, ns);
    jsonw_str(w, key, buf_data(&text));
    buf_fini(&text);
}

static int put_work(struct jsonw *w, const struct submit_work *work, struct err *err)
{
    if (put_str(w, "command", "command", work->command, err) != 0)
        return -1;
    if (put_str(w, "script", "script", work->script, err) != 0)
        return -1;
    if (work->argc == 0)
        return 0;
    jsonw_arr_open(w, "argv");
    for (int i = 0; i < work->argc; i++)
        if (put_str(w, NULL, "argument", work->argv[i], err) != 0)
            return -1;
    jsonw_arr_close(w);
    return 0;
}

/* "--after 12,13:any" is two dependencies. */
static int put_after(struct jsonw *w, const struct opt_list *after, struct err *err)
{
    if (after->count == 0)
        return 0;
    jsonw_arr_open(w, "after");
    for (size_t i = 0; i < after->count; i++) {
        const char *p = after->items[i];
        for (;;) {
            size_t len = strcspn(p, ",");
            if (!str_is_utf8(p, len) || len == 0) {
                err_set(err, ERR_USAGE, "--after %s: expected job ids", after->items[i]);
                return err_hint(err, "such as 12 or 12:any or 12,13:fail");
            }
            jsonw_strn(w, NULL, p, len);
            if (p[len] == '\0')
                break;
            p += len + 1;
        }
    }
    jsonw_arr_close(w);
    return 0;
}

static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return strcspn(b, "=") == n && memcmp(a, b, n) == 0;
}

static int put_variable(struct jsonw *w, const char *item, struct err *err)
{
    size_t len = strcspn(item, "=");
    if (len == 0)
        return err_set(err, ERR_USAGE, "--env %s: expected NAME=VALUE or NAME", item);
    char *name = mem_strndup(item, len);
    const char *value = item[len] == '=' ? item + len + 1 : getenv(name);
    int rc = 0;
    if (!value) {
        err_set(err, ERR_USAGE, "--env %s: it is not set here", name);
        rc = err_hint(err, "give a value: --env %s=VALUE", name);
    } else if (!str_is_utf8(name, len)) {
        rc = err_set(err, ERR_USAGE, "--env: the name is not UTF-8 text");
    } else {
        rc = put_str(w, name, name, value, err);
    }
    free(name);
    return rc;
}

static int put_env(struct jsonw *w, const struct opt_list *env, struct err *err)
{
    if (env->count == 0)
        return 0;
    jsonw_obj_open(w, "env");
    for (size_t i = 0; i < env->count; i++) {
        bool later = false;
        for (size_t j = i + 1; j < env->count && !later; j++)
            later = same_name(env->items[i], env->items[j]);
        if (!later && put_variable(w, env->items[i], err) != 0)
            return -1;
    }
    jsonw_obj_close(w);
    return 0;
}

static int put_lines(struct jsonw *w, const char *name, const struct buf *text, struct err *err)
{
    const char *p = buf_data(text), *end = p + buf_len(text);
    size_t count = 0;
    unsigned number = 0;
    jsonw_arr_open(w, "lines");
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl ? nl : end) - p);
        const char *line = p;
        p = nl ? nl + 1 : end;
        number++;
        if (len > 0 && line[len - 1] == '\r')
            len--;
        if (len == 0)
            continue;
        if (len > LIMIT_ARRAY_LINE)
            return err_set(err, ERR_TOO_LARGE, "%s:%u: a line may have at most %d bytes", name,
                           number, LIMIT_ARRAY_LINE);
        if (memchr(line, '\0', len) || !str_is_utf8(line, len))
            return err_set(err, ERR_INVALID, "%s:%u: the line is not UTF-8 text", name, number);
        jsonw_strn(w, NULL, line, len);
        count++;
    }
    jsonw_arr_close(w);
    if (count == 0)
        return err_set(err, ERR_INVALID, "%s: there are no lines in it", name);
    return 0;
}

static int put_each_line(struct jsonw *w, const char *path, struct err *err)
{
    struct buf text = BUF_INIT;
    bool in = str_eq(path, "-");
    const char *name = in ? "standard input" : path;
    int rc = in ? fs_read_fd(STDIN_FILENO, name, LIMIT_HTTP_BODY, &text, err)
                : fs_read_file(path, LIMIT_HTTP_BODY, &text, err);
    if (rc == 0)
        rc = put_lines(w, name, &text, err);
    buf_fini(&text);
    return rc;
}

static int put_array(struct jsonw *w, const struct submit_args *a, struct err *err)
{
    int64_t limit;
    if (!a->each_line)
        return put_str(w, "array", "--array", a->array, err);
    if (put_each_line(w, a->each_line, err) != 0)
        return -1;
    if (!a->array)
        return 0;
    if (a->array[0] != '%') {
        err_set(err, ERR_USAGE, "--array and --each-line can't be used together");
        return err_hint(err, "--each-line FILE --array %%8 runs at most 8 of its tasks at once");
    }
    if (str_to_int(a->array + 1, 1, LIMIT_ARRAY_TASKS, "--array %", &limit, err) != 0)
        return -1;
    jsonw_int(w, "array_limit", limit);
    return 0;
}

static int put_output(struct jsonw *w, const char *key, const char *what, const char *path,
                      struct err *err)
{
    if (path && spec_check_output(path, err) != 0) {
        err->kind = ERR_USAGE;
        return err_prefix(err, "%s", what);
    }
    return put_str(w, key, what, path, err);
}

static int put_workdir(struct jsonw *w, const char *dir, struct err *err)
{
    char *cwd = NULL, *path;
    if (!dir && !(cwd = getcwd(NULL, 0))) {
        err_set(err, ERR_USAGE, "the current folder does not exist any more");
        return err_hint(err, "go to another one, or give --workdir DIR");
    }
    path = fs_absolute(dir ? dir : cwd);
    int rc = put_str(w, "workdir", "--workdir", path, err);
    free(path);
    free(cwd);
    return rc;
}

int submit_spec(const struct submit_args *a, const struct submit_work *work, struct buf *body,
                struct err *err)
{
    struct jsonw w;
    jsonw_init(&w, body);
    jsonw_obj_open(&w, NULL);
    if (put_work(&w, work, err) != 0 || put_str(&w, "name", "--name", a->name, err) != 0)
        return -1;
    put_int(&w, "threads", a->threads);
    put_int(&w, "memory", a->memory);
    put_int(&w, "gpus", a->gpus);
    put_int(&w, "priority", a->priority);
    if (put_after(&w, &a->after, err) != 0 || put_array(&w, a, err) != 0 ||
        put_env(&w, &a->env, err) != 0 || put_workdir(&w, a->workdir, err) != 0 ||
        put_output(&w, "stdout_path", "--output", a->stdout_path, err) != 0 ||
        put_output(&w, "stderr_path", "--error", a->stderr_path, err) != 0 ||
        put_str(&w, "node", "--node", a->node, err) != 0)
        return -1;
    put_duration(&w, "timeout", a->timeout_ns);
    put_int(&w, "retry", a->retry);
    put_duration(&w, "retry_delay", a->retry_delay_ns);
    if (a->on_lost)
        jsonw_str(&w, "on_lost", a->on_lost);
    if (a->hold)
        jsonw_bool(&w, "hold", true);
    jsonw_obj_close(&w);
    return 0;
}
