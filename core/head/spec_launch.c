/* SPDX-License-Identifier: BSD-2-Clause */
/* From a stored specification to what an attempt is started with: argv, environment, paths. */
#include "base/mem.h"

#include "head/spec.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"

#include <inttypes.h>

/* A growing NULL-terminated array of owned strings. */
struct words {
    char **items;
    size_t count, cap;
};

static void words_add(struct words *w, char *s)
{
    if (w->count + 2 > w->cap) {
        w->cap = w->cap ? w->cap * 2 : 16;
        w->items = mem_resize(w->items, w->cap, sizeof(*w->items));
    }
    w->items[w->count++] = s;
    w->items[w->count] = NULL;
}

/* Puts "K=V" in, replacing an earlier K. */
static void env_set(struct words *w, char *pair)
{
    size_t key = strcspn(pair, "=") + 1;
    for (size_t i = 0; i < w->count; i++)
        if (strncmp(w->items[i], pair, key) == 0) {
            free(w->items[i]);
            w->items[i] = pair;
            return;
        }
    words_add(w, pair);
}

/* Replaces every {} in text by `line` (quoted for the shell if asked). NULL when there is none. */
static char *replace_braces(const char *text, const char *line, bool quote)
{
    const char *at = strstr(text, "{}");
    struct buf b = BUF_INIT;
    if (!at)
        return NULL;
    for (; at; text = at + 2, at = strstr(text, "{}")) {
        buf_append(&b, text, (size_t)(at - text));
        if (quote)
            str_append_shell_quoted(&b, line);
        else
            buf_append_str(&b, line);
    }
    buf_append_str(&b, text);
    return buf_take(&b, NULL);
}

static char *shell_command(const char *command, const char *line)
{
    if (!line)
        return mem_strdup(command);
    char *out = replace_braces(command, line, true);
    if (out)
        return out;
    struct buf b = BUF_INIT;
    buf_append_str(&b, command);
    buf_append_char(&b, ' ');
    str_append_shell_quoted(&b, line);
    return buf_take(&b, NULL);
}

static char **build_argv(const struct spec *s, const char *line)
{
    struct words w = { 0 };
    if (s->command) {
        words_add(&w, mem_strdup("/bin/sh"));
        words_add(&w, mem_strdup("-c"));
        words_add(&w, shell_command(s->command, line));
        return w.items;
    }
    if (s->script) {
        if (!str_starts(s->script, "#!"))
            words_add(&w, mem_strdup("/bin/sh"));
        words_add(&w, mem_strdup("{script}"));
    }
    bool used = false;
    yyjson_arr_iter it = yyjson_arr_iter_with(s->argv);
    for (yyjson_val *v; s->argv && (v = yyjson_arr_iter_next(&it)) != NULL;) {
        char *filled = line ? replace_braces(yyjson_get_str(v), line, false) : NULL;
        used |= filled != NULL;
        words_add(&w, filled ? filled : mem_strdup(yyjson_get_str(v)));
    }
    if (line && !used)
        words_add(&w, mem_strdup(line));
    return w.items;
}

static char **build_env(const struct spec *s, const struct spec_context *c)
{
    struct words w = { 0 };
    for (size_t i = 0; c->base_env && c->base_env[i]; i++)
        env_set(&w, mem_strdup(c->base_env[i]));
    yyjson_obj_iter it = yyjson_obj_iter_with(s->env);
    for (yyjson_val *k; s->env && (k = yyjson_obj_iter_next(&it)) != NULL;)
        env_set(&w,
                mem_printf("%s=%s", yyjson_get_str(k), yyjson_get_str(yyjson_obj_iter_get_val(k))));
    env_set(&w, mem_printf("HIVE_JOB_ID=%" PRId64, c->id));
    if (c->task >= 0)
        env_set(&w, mem_printf("HIVE_TASK_ID=%" PRId64, c->task));
    if (c->line)
        env_set(&w, mem_printf("HIVE_LINE=%s", c->line));
    env_set(&w, mem_printf("HIVE_NODE=%s", c->node));
    env_set(&w, mem_printf("HIVE_THREADS=%" PRId64, c->threads));
    env_set(&w, mem_printf("HIVE_GPUS=%" PRId64, c->gpus));
    env_set(&w, mem_printf("HIVE_ATTEMPT=%d", (int)c->attempt));
    return w.items;
}

static void expand_path(const char *path, int64_t id, int64_t task, struct buf *out)
{
    for (; *path; path++) {
        if (path[0] == '%' && path[1] == 'j')
            buf_printf(out, "%" PRId64, id);
        else if (path[0] == '%' && path[1] == 'a')
            buf_printf(out, "%" PRId64, task < 0 ? 0 : task);
        else if (path[0] == '%' && path[1] == '%')
            buf_append_char(out, '%');
        else {
            buf_append_char(out, *path);
            continue;
        }
        path++;
    }
}

bool spec_output_path(const struct spec *s, const char *path, int64_t id, int64_t task,
                      const char *home, struct buf *out)
{
    if (!path)
        return false;
    if (path[0] != '/') {
        buf_append_str(out, s->workdir ? s->workdir : home);
        buf_append_char(out, '/');
    }
    expand_path(path, id, task, out);
    return true;
}

static char *output_path(const struct spec *s, const char *path, const struct spec_context *c)
{
    struct buf b = BUF_INIT;
    if (!spec_output_path(s, path, c->id, c->task, c->home, &b))
        return NULL;
    return buf_take(&b, NULL);
}

static size_t words_size(char **words)
{
    size_t n = 0;
    for (; *words; words++)
        n += strlen(*words) + 1 + sizeof(char *);
    return n;
}

int spec_launch_prepare(const struct spec *s, const struct spec_context *c, struct spec_launch *l,
                        struct err *err)
{
    memset(l, 0, sizeof(*l));
    l->argv = build_argv(s, c->line);
    l->env = build_env(s, c);
    l->workdir = mem_strdup(s->workdir ? s->workdir : c->home);
    l->stdout_path = output_path(s, s->stdout_path, c);
    l->stderr_path = output_path(s, s->stderr_path, c);
    l->script = s->script;
    if (words_size(l->argv) + words_size(l->env) + (l->script ? strlen(l->script) : 0) >
        LIMIT_JOB_SPEC + 16384) {
        spec_launch_fini(l);
        return err_set(err, ERR_TOO_LARGE, "arguments and environment are over %d KiB",
                       LIMIT_JOB_SPEC / 1024);
    }
    return 0;
}

static void words_free(char **words)
{
    for (size_t i = 0; words && words[i]; i++)
        free(words[i]);
    free(words);
}

void spec_launch_fini(struct spec_launch *l)
{
    words_free(l->argv);
    words_free(l->env);
    free(l->workdir);
    free(l->stdout_path);
    free(l->stderr_path);
    memset(l, 0, sizeof(*l));
}
