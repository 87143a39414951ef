/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_config_priv.h"

#include "base/err.h"
#include "base/str.h"

#define EXPANDED_MAX ((size_t)4096) /* a path, or a host */

char *ssh_config_tilde(const struct ssh_config_input *in, const char *path, const char *origin,
                       struct err *err)
{
    char *home = NULL, *out;

    if (*path != '~')
        return mem_strdup(path);
    size_t len = strcspn(path, "/");
    if (len == 1) {
        home = mem_strdup(in->home);
    } else {
        char *user = mem_strndup(path + 1, len - 1);
        home = in->io->home_of ? in->io->home_of(in->io->arg, user) : NULL;
        if (!home) {
            char *shown = ssh_config_show(user);
            err_set(err, ERR_INVALID, "%s: there is no user \"%s\" here", origin, shown);
            free(shown);
        }
        free(user);
        if (!home)
            return NULL;
    }
    out = mem_printf("%s%s", home, path + len);
    free(home);
    return out;
}

static const char *token(const struct ssh_config_tokens *t, char c, bool *unsure)
{
    switch (c) {
    case '%':
        return "%";
    case 'h':
        return t->host;
    case 'n':
        return t->original_host;
    case 'p':
        return t->port;
    case 'r':
        return t->user;
    case 'k':
        return t->alias;
    case 'u':
        return t->local_user;
    case 'd':
        return t->home;
    case 'i':
        return t->uid;
    case 'l':
    case 'L':
        return t->local_host;
    case 'C':
    case 'j':
        *unsure = *unsure || t->local_host;
        return t->local_host;
    default:
        return NULL;
    }
}

static void append_token(struct buf *out, char c, const char *value)
{
    /* The local host without its domain. */
    buf_append(out, value, c == 'L' ? strcspn(value, ".") : strlen(value));
}

/* "${NAME}" at p: what is behind it, or NULL with err set. */
static const char *append_variable(const struct ssh_config_input *in, const char *p,
                                   const char *origin, struct buf *out, struct err *err)
{
    const char *end = strchr(p, '}');
    char *name = mem_strndup(p + 2, end ? (size_t)(end - p - 2) : 0);
    const char *value = end && *name && in->io->env ? in->io->env(in->io->arg, name) : NULL;

    if (!end || *name == '\0') {
        err_set(err, ERR_INVALID, "%s: a variable is written ${NAME}", origin);
        end = NULL;
    } else if (!value) {
        char *shown = ssh_config_show(name);
        err_set(err, ERR_INVALID, "%s: the environment has no variable %s", origin, shown);
        free(shown);
        end = NULL;
    } else {
        buf_append_str(out, value);
    }
    free(name);
    return end ? end + 1 : NULL;
}

/* The part of a value behind "~". */
static int append_expanded(const struct ssh_config_input *in,
                           const struct ssh_config_tokens *tokens, const char *text, unsigned flags,
                           const char *origin, struct buf *out, bool *unsure, struct err *err)
{
    for (const char *p = text; *p;) {
        if (buf_len(out) > EXPANDED_MAX)
            return err_set(err, ERR_TOO_LARGE, "%s: the value is longer than %zu bytes", origin,
                           EXPANDED_MAX);
        if ((flags & EXPAND_ENV) && p[0] == '$' && p[1] == '{') {
            p = append_variable(in, p, origin, out, err);
            if (!p)
                return -1;
        } else if (*p != '%') {
            buf_append_char(out, *p++);
        } else {
            const char *value = p[1] ? token(tokens, p[1], unsure) : NULL;
            if (!value && p[1] > ' ' && p[1] <= '~')
                return err_set(err, ERR_INVALID,
                               "%s: %%%c means nothing here (write %%%% for a %%)", origin, p[1]);
            if (!value)
                return err_set(err, ERR_INVALID, "%s: a lone %% (write %%%%)", origin);
            append_token(out, p[1], value);
            p += 2;
        }
    }
    return 0;
}

int ssh_config_expand(const struct ssh_config_input *in, const struct ssh_config_tokens *tokens,
                      const char *text, unsigned flags, const char *origin, struct buf *out,
                      bool *unsure, struct err *err)
{
    char *from = flags & EXPAND_TILDE ? ssh_config_tilde(in, text, origin, err) : mem_strdup(text);
    size_t before = buf_len(out);
    int rc = -1;

    if (from)
        rc = append_expanded(in, tokens, from, flags, origin, out, unsure, err);
    if (rc != 0)
        buf_truncate(out, before);
    free(from);
    return rc;
}

char *ssh_config_expand_host(const struct ssh_config_input *in, const char *text,
                             const char *origin, struct err *err)
{
    struct ssh_config_tokens tokens = { .host = in->host };
    struct buf out = BUF_INIT;
    bool unsure = false;

    if (ssh_config_expand(in, &tokens, text, 0, origin, &out, &unsure, err) != 0) {
        buf_fini(&out);
        return NULL;
    }
    return buf_take(&out, NULL);
}

/* --- jumps ------------------------------------------------------------------------------------ */

void ssh_config_jump_fini(struct ssh_config_jump *jump)
{
    MEM_FREE(jump->user);
    MEM_FREE(jump->host);
}

/* "HOST", "HOST:PORT", "[ADDRESS]", "[ADDRESS]:PORT". */
static bool parse_host_port(const char *text, struct ssh_config_jump *jump)
{
    const char *colon;
    int64_t port;

    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        jump->host = mem_strndup(text + 1, (size_t)(end - text - 1));
        colon = end + 1;
    } else {
        colon = text + strcspn(text, ":");
        jump->host = mem_strndup(text, (size_t)(colon - text));
    }
    if (colon[0] == ':' && colon[1]) {
        if (str_to_int(colon + 1, 1, 65535, "port", &port, NULL) != 0)
            return false;
        jump->port = (uint16_t)port;
    }
    return ssh_config_valid_host(jump->host) && !strchr(jump->host, '/');
}

bool ssh_config_parse_jump(const char *text, size_t len, struct ssh_config_jump *jump)
{
    static const char uri[] = "ssh://";
    char *copy = mem_strndup(text, len);
    char *from = str_trim(copy);
    bool is_uri = strncmp(from, uri, sizeof uri - 1) == 0;
    bool ok = true;

    *jump = (struct ssh_config_jump){ .port = 0 };
    if (is_uri) {
        from += sizeof uri - 1;
        size_t n = strlen(from);
        if (n > 0 && from[n - 1] == '/')
            from[n - 1] = '\0';
    }
    char *at = strrchr(from, '@');
    if (at) {
        *at = '\0';
        jump->user = mem_strdup(from);
        /* In a URI it would stand for another character. */
        ok = ssh_config_valid_user(from) && !(is_uri && strchr(from, '%'));
        from = at + 1;
    }
    ok = ok && parse_host_port(from, jump);
    if (!ok)
        ssh_config_jump_fini(jump);
    free(copy);
    return ok;
}
