/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/resolve.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "ev/ev.h"
#include "sys/getent.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

#define LABEL_MAX 63
#define ADDRESS_TEXT_MAX 80 /* with a scope */

/* What the cache keeps of a name. */
struct found {
    size_t count;
    struct resolve_address address[];
};

struct resolve_request {
    struct getent_request *asked; /* NULL: the address is known */
    struct ev_timer timer;
    struct resolve_address literal;
    char *host;
    uint16_t port;
    int family;
    resolve_fn *fn;
    void *arg;
};

/* --- names and addresses --- */

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static const char *wrong_name(const char *name)
{
    size_t len = strlen(name), label = 0;

    if (len == 0)
        return "a name is missing";
    if (len > RESOLVE_NAME_MAX)
        return "it is too long";
    if (name[0] == '-')
        return "it starts with '-'";
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '.' && label == 0)
            return "nothing stands before a dot";
        if (name[i] != '.' && !is_host_byte(name[i]))
            return "it may have letters, digits, '-', '_' and '.'";
        label = name[i] == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return "a part between dots is too long";
    }
    return NULL;
}

int resolve_check_name(const char *name, struct err *err)
{
    const char *wrong = wrong_name(name);

    if (!wrong)
        return 0;
    char *safe = str_safe(name);
    err_set(err, ERR_INVALID, "'%.280s' can't be the name of a host: %s", safe, wrong);
    free(safe);
    return -1;
}

static void set_port(struct resolve_address *a, uint16_t port)
{
    if (a->addr.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a->addr)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)&a->addr)->sin_port = htons(port);
}

int resolve_literal(const char *host, uint16_t port, int family, struct resolve_address *out,
                    struct err *err)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    bool ok;

    if (strlen(host) >= ADDRESS_TEXT_MAX || getaddrinfo(host, NULL, &hints, &found) != 0)
        return 0;
    ok = found && found->ai_addrlen <= sizeof out->addr &&
         (found->ai_family == AF_INET || found->ai_family == AF_INET6);
    if (ok) {
        *out = (struct resolve_address){ .len = found->ai_addrlen };
        memcpy(&out->addr, found->ai_addr, found->ai_addrlen);
        set_port(out, port);
    }
    if (found)
        freeaddrinfo(found);
    if (ok && family != AF_UNSPEC && family != out->addr.ss_family)
        return err_set(err, ERR_NOT_FOUND, "%s is no address of IPv%c", host,
                       family == AF_INET ? '4' : '6');
    return ok;
}

/* --- what getent prints --- */

static bool same(const struct resolve_address *a, const struct resolve_address *b)
{
    return a->len == b->len && memcmp(&a->addr, &b->addr, a->len) == 0;
}

/* Strict, other than resolve_literal(). False for a scope that isn't here. */
static bool parse_address(char *text, struct resolve_address *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out->addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out->addr;
    char *scope = strchr(text, '%');
    int64_t number;

    *out = (struct resolve_address){ .len = sizeof *v4 };
    out->addr.ss_family = AF_INET;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
        return true;
    *out = (struct resolve_address){ .len = sizeof *v6 };
    out->addr.ss_family = AF_INET6;
    if (scope)
        *scope++ = '\0';
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return false;
    if (!scope)
        return true;
    if (str_to_int(scope, 1, UINT32_MAX, "scope", &number, NULL) == 0)
        v6->sin6_scope_id = (uint32_t)number;
    else if (strlen(scope) < IF_NAMESIZE)
        v6->sin6_scope_id = if_nametoindex(scope);
    return v6->sin6_scope_id != 0;
}

static bool known(const struct resolve_address *list, size_t count, const struct resolve_address *a)
{
    for (size_t i = 0; i < count; i++) {
        if (same(&list[i], a))
            return true;
    }
    return false;
}

size_t resolve_parse(const char *text, size_t len, struct resolve_address *out)
{
    const char *end = text + len;
    size_t count = 0;

    for (const char *p = text; p < end && count < RESOLVE_ADDRESSES_MAX;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        char word[ADDRESS_TEXT_MAX];
        size_t n = 0, max = (size_t)((stop ? stop : end) - p);
        while (n < max && n < sizeof word && p[n] != ' ' && p[n] != '\t' && p[n] != '\0')
            n++;
        if (n < sizeof word) {
            memcpy(word, p, n);
            word[n] = '\0';
            if (parse_address(word, &out[count]) && !known(out, count, &out[count]))
                count++;
        }
        p = stop ? stop + 1 : end;
    }
    return count;
}

static void *parse_answer(const char *key, const char *text, size_t len, struct err *err)
{
    struct found *all = mem_alloc(sizeof *all + RESOLVE_ADDRESSES_MAX * sizeof all->address[0]);
    void *value = NULL;

    all->count = resolve_parse(text, len, all->address);
    if (all->count > 0)
        value = mem_dup(all, sizeof *all + all->count * sizeof all->address[0]);
    else
        err_set(err, ERR_IO, "host '%s': getent's answer can't be understood", key);
    free(all);
    return value;
}

static const struct getent_kind ahosts_kind = { .database = "ahosts",
                                                .what = "host",
                                                .helper = "resolve",
                                                .parse = parse_answer,
                                                .destroy = free };

/* --- asking --- */

static void on_answer(void *arg, const void *value, const struct err *err)
{
    struct resolve_request *r = arg;
    const struct found *all = value;
    struct resolve_address *fit = NULL;
    struct err none = ERR_INIT;
    size_t count = 0;

    if (all) {
        fit = mem_alloc_array(all->count, sizeof *fit);
        for (size_t i = 0; i < all->count; i++) {
            if (r->family != AF_UNSPEC && r->family != all->address[i].addr.ss_family)
                continue;
            fit[count] = all->address[i];
            set_port(&fit[count++], r->port);
        }
        if (count == 0)
            err_set(&none, ERR_NOT_FOUND, "host '%s' has no address of IPv%c", r->host,
                    r->family == AF_INET ? '4' : '6');
        err = count ? NULL : &none;
    }
    resolve_fn *fn = r->fn;
    void *fn_arg = r->arg;
    free(r->host);
    free(r);
    fn(fn_arg, fit, count, err);
    free(fit);
}

static void on_literal(struct ev_timer *t)
{
    struct resolve_request *r = CONTAINER_OF(t, struct resolve_request, timer);
    struct resolve_request copy = *r;

    free(r->host);
    free(r);
    copy.fn(copy.arg, &copy.literal, 1, NULL);
}

/* Capitals make no other name. */
static char *to_key(const char *host)
{
    char *key = mem_strdup(host);

    for (char *p = key; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    }
    return key;
}

struct resolve_request *resolve_ask(struct getent *g, const char *host, uint16_t port, int family,
                                    resolve_fn *fn, void *arg, struct err *err)
{
    struct resolve_address literal = { .len = 0 };
    struct resolve_request *r;
    int is_literal = resolve_literal(host, port, family, &literal, err);

    if (is_literal < 0 || (!is_literal && resolve_check_name(host, err) != 0))
        return NULL;
    r = mem_alloc(sizeof *r);
    *r = (struct resolve_request){ .literal = literal,
                                   .timer = { .fn = on_literal },
                                   .host = to_key(host),
                                   .port = port,
                                   .family = family,
                                   .fn = fn,
                                   .arg = arg };
    if (is_literal)
        ev_timer_set_after(getent_loop(g), &r->timer, 0);
    else if (!(r->asked = getent_ask(g, &ahosts_kind, r->host, on_answer, r, err))) {
        free(r->host);
        MEM_FREE(r);
    }
    return r;
}

void resolve_cancel(struct resolve_request *r)
{
    if (!r)
        return;
    getent_cancel(r->asked);
    ev_timer_clear(&r->timer);
    free(r->host);
    free(r);
}

/* --- waiting --- */

struct waiter {
    struct ev_loop *loop;
    struct resolve_address *out;
    size_t max;
    struct err *err;
    int rc;
};

static void on_waited(void *arg, const struct resolve_address *found, size_t count,
                      const struct err *err)
{
    struct waiter *w = arg;

    if (count > w->max)
        count = w->max;
    if (count > 0)
        memcpy(w->out, found, count * sizeof *found);
    else if (w->err && err)
        *w->err = *err;
    w->rc = err ? -1 : (int)count;
    ev_stop(w->loop);
}

int resolve_wait(const char *host, uint16_t port, int family, const struct getent_options *options,
                 struct resolve_address *out, size_t max, struct err *err)
{
    struct waiter w = { .out = out, .max = max, .err = err, .rc = -1 };
    struct resolve_address literal;
    struct resolve_request *r;
    struct getent *g;
    int is_literal = resolve_literal(host, port, family, &literal, err);

    if (is_literal != 0) {
        if (is_literal > 0 && max > 0)
            out[0] = literal;
        return is_literal;
    }
    w.loop = ev_loop_create(&clock_system, err);
    if (!w.loop)
        return -1;
    g = getent_create(w.loop, options);
    r = resolve_ask(g, host, port, family, on_waited, &w, err);
    if (r && ev_run(w.loop, err) != 0)
        resolve_cancel(r); /* the loop failed: it can't have been answered */
    getent_destroy(g);
    ev_loop_destroy(w.loop);
    return w.rc;
}

/* --- without getent --- */

int resolve_helper(const char *name, struct buf *out)
{
    struct addrinfo hints = { .ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char text[ADDRESS_TEXT_MAX];
    int rc;

    if (resolve_check_name(name, NULL) != 0)
        return 1;
    rc = getaddrinfo(name, NULL, &hints, &found);
    if (rc != 0)
        return rc == EAI_NONAME || rc == EAI_NODATA ? GETENT_HELPER_NOT_FOUND
               : rc == EAI_AGAIN                    ? GETENT_HELPER_NO_ANSWER
                                                    : 1;
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
            buf_printf(out, "%s STREAM\n", text);
    }
    freeaddrinfo(found);
    return 0;
}
