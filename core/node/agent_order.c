/* SPDX-License-Identifier: BSD-2-Clause */
/* Orders that leave some of it to the machine: its environment, its home folder. */
#include "base/mem.h"

#include "node/agent_priv.h"

#include "base/str.h"
#include "sys/nss_user.h"

#include <sys/stat.h>
#include <unistd.h>

/* As the daemon gives to jobs on its own machine. */
static void learn_user(struct agent *a)
{
    static const char *const passed[] = { "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR" };
    struct nss_user me;
    size_t n = 0;

    nss_user_self(&me, NULL); /* may take seconds where users come from elsewhere, but just once */
    a->home = mem_strdup(me.home);
    a->base_env = mem_alloc_array(ARRAY_LEN(passed) + 6, sizeof *a->base_env);
    a->base_env[n++] = mem_printf("HOME=%s", a->home);
    a->base_env[n++] = mem_printf("USER=%s", me.name);
    a->base_env[n++] = mem_printf("LOGNAME=%s", me.name);
    a->base_env[n++] = mem_printf("SHELL=%s", me.shell);
    for (size_t i = 0; i < ARRAY_LEN(passed); i++)
        if (getenv(passed[i]))
            a->base_env[n++] = mem_printf("%s=%s", passed[i], getenv(passed[i]));
    if (!getenv("PATH"))
        a->base_env[n++] = mem_strdup("PATH=/usr/local/bin:/usr/bin:/bin");
    nss_user_fini(&me);
}

static bool is_named(const char *entry, const char *const *env)
{
    size_t name = strcspn(entry, "=") + 1;

    for (; *env; env++)
        if (strncmp(*env, entry, name) == 0)
            return true;
    return false;
}

static const char **merge_env(struct agent *a, const char *const *env)
{
    size_t count = 0, base = 0, n = 0;
    const char **merged;

    while (env[count])
        count++;
    while (a->base_env[base])
        base++;
    merged = mem_alloc_array(base + count + 1, sizeof *merged);
    for (size_t i = 0; i < base; i++)
        if (!is_named(a->base_env[i], env))
            merged[n++] = a->base_env[i];
    for (size_t i = 0; i < count; i++)
        merged[n++] = env[i];
    return merged;
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What is behind the head's home folder in path: "" or "/…"; NULL: it isn't there. */
static const char *below(const char *path, const char *head_home)
{
    size_t len = head_home ? strlen(head_home) : 0;

    while (len > 0 && head_home[len - 1] == '/')
        len--;
    if (len == 0 || strncmp(path, head_home, len) != 0 || (path[len] && path[len] != '/'))
        return NULL;
    return path + len;
}

static char *fallback(const struct agent *a, const struct link_msg *m)
{
    const char *rest = below(m->run.workdir, m->head_home);
    char *there = rest ? mem_printf("%s%s", a->home, rest) : NULL;

    if (there && is_folder(there))
        return there;
    free(there);
    return mem_strdup(a->home);
}

void order_fill(struct agent *a, const struct link_msg *m, struct agent_order *o)
{
    *o = (struct agent_order){ .run = m->run };
    if (!a->home)
        learn_user(a);
    if (m->inherit_env)
        o->run.env = o->env = merge_env(a, m->run.env);
    if (m->workdir_fallback && !is_folder(m->run.workdir))
        o->run.workdir = o->workdir = fallback(a, m);
}

void order_fini(struct agent_order *o)
{
    free(o->env);
    free(o->workdir);
}

void orders_end(struct agent *a)
{
    for (size_t i = 0; a->base_env && a->base_env[i]; i++)
        free(a->base_env[i]);
    free(a->base_env);
    free(a->home);
}
