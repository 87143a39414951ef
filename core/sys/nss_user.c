/* SPDX-License-Identifier: BSD-2-Clause */
#include "sys/nss_user.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "ev/ev.h"
#include "sys/getent.h"

#include <unistd.h>

#define NO_UID ((uid_t)-1)
#define FIELDS 7

struct nss_user_request {
    struct getent_request *asked; /* NULL: what is here is known */
    struct nss_user user;         /* or, without a name in it, */
    struct err err;               /* why not */
    struct ev_timer timer;
    nss_user_fn *fn;
    void *arg;
};

void nss_user_fini(struct nss_user *u)
{
    MEM_FREE(u->name);
    MEM_FREE(u->home);
    MEM_FREE(u->shell);
}

static void copy_user(struct nss_user *out, const struct nss_user *u)
{
    *out = *u;
    out->name = mem_strdup(u->name);
    out->home = mem_strdup(u->home);
    out->shell = mem_strdup(u->shell);
}

/* --- lines --- */

static bool is_plain(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7F)
            return false;
    }
    return true;
}

/* '+' and '-' at the start are words to glibc's "compat" service, not users. */
static bool is_name(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len <= NSS_USER_NAME_MAX && s[0] != '-' && s[0] != '+' && !strchr(s, ':') &&
           is_plain(s, len);
}

static bool to_id(const char *s, uint32_t *id)
{
    int64_t n;

    if (str_to_int(s, 0, UINT32_MAX, "id", &n, NULL) != 0)
        return false;
    *id = (uint32_t)n;
    return true;
}

/* An absolute path, or empty. */
static bool is_path(const char *s)
{
    return s[0] == '/' || s[0] == '\0';
}

int nss_user_parse(const char *line, size_t len, struct nss_user *out, struct err *err)
{
    char copy[NSS_USER_LINE_MAX + 1], *field[FIELDS], *p = copy;
    uint32_t uid, gid;
    size_t n = 0;

    *out = (struct nss_user){ 0 };
    if (len > NSS_USER_LINE_MAX || !is_plain(line, len))
        return err_set(err, ERR_INVALID, "no line of a user: too long, or with control characters");
    memcpy(copy, line, len);
    copy[len] = '\0';
    while (n < FIELDS && p) {
        field[n++] = p;
        p = strchr(p, ':');
        if (p)
            *p++ = '\0';
    }
    if (n != FIELDS || p)
        return err_set(err, ERR_INVALID, "no line of a user: it must have %d fields", FIELDS);
    if (!is_name(field[0]) || !to_id(field[2], &uid) || !to_id(field[3], &gid) || uid == NO_UID ||
        !is_path(field[5]) || !is_path(field[6]))
        return err_set(err, ERR_INVALID, "no line of a user: wrong name, number or path");
    out->uid = uid;
    out->gid = gid;
    out->name = mem_strdup(field[0]);
    out->home = mem_strdup(field[5][0] ? field[5] : "/");
    out->shell = mem_strdup(field[6][0] ? field[6] : "/bin/sh");
    return 0;
}

/* Cheap: false for nearly all lines of a long file. */
static bool may_be(const char *line, size_t len, const char *name)
{
    size_t n = name ? strlen(name) : 0;

    return !name || (len > n && line[n] == ':' && memcmp(line, name, n) == 0);
}

int nss_user_scan(const char *text, size_t len, const char *name, uid_t uid, struct nss_user *out,
                  struct err *err)
{
    const char *end = text + len;

    for (const char *p = text; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        if (may_be(p, n, name) && nss_user_parse(p, n, out, NULL) == 0) {
            if (name || out->uid == uid)
                return 0;
            nss_user_fini(out);
        }
        p = stop ? stop + 1 : end;
    }
    *out = (struct nss_user){ 0 };
    return err_set(err, ERR_NOT_FOUND, "no such user");
}

/* --- what getent prints --- */

static void destroy_user(void *value)
{
    nss_user_fini(value);
    free(value);
}

/* A directory may call the user by another name than was asked for ("alice@example.org"); a uid must
 * be the one that was. */
static void *parse_answer(const char *key, const char *text, size_t len, struct err *err)
{
    const char *stop = memchr(text, '\n', len);
    struct nss_user u;
    uint32_t uid;

    if (nss_user_parse(text, stop ? (size_t)(stop - text) : len, &u, NULL) == 0) {
        if (!to_id(key, &uid) || u.uid == uid)
            return mem_dup(&u, sizeof u);
        nss_user_fini(&u);
    }
    char *safe = str_safe(key);
    err_set(err, ERR_IO, "user '%s': getent's answer can't be understood", safe);
    free(safe);
    return NULL;
}

static const struct getent_kind passwd_kind = {
    .database = "passwd", .what = "user", .parse = parse_answer, .destroy = destroy_user
};

/* --- asking --- */

/* What is looked for, checked: a name, or a uid with `name` NULL. */
struct wanted {
    const char *name;
    uid_t uid;
    char key[NSS_USER_NAME_MAX + 1]; /* for getent; "" when it can't be asked */
};

static int want(struct wanted *w, const char *name, uid_t uid, struct err *err)
{
    *w = (struct wanted){ .name = name, .uid = uid };
    if (name && !is_name(name)) {
        char *safe = str_safe(name);
        err_set(err, ERR_INVALID, "'%s' can't be the name of a user", safe);
        free(safe);
        return -1;
    }
    if (!name && uid == NO_UID)
        return err_set(err, ERR_INVALID, "%u can't be the number of a user", (unsigned)uid);
    if (!name)
        snprintf(w->key, sizeof w->key, "%u", (unsigned)uid);
    else if (name[strspn(name, "0123456789")])
        str_copy(w->key, sizeof w->key, name);
    return 0;
}

static bool in_file(const char *file, const struct wanted *w, struct nss_user *out)
{
    struct buf b = BUF_INIT;
    bool found = fs_read_file(file, NSS_USER_FILE_MAX, &b, NULL) == 0 &&
                 nss_user_scan(buf_data(&b), buf_len(&b), w->name, w->uid, out, NULL) == 0;

    buf_fini(&b);
    return found;
}

static void on_answer(void *arg, const void *value, const struct err *err)
{
    struct nss_user_request r = *(struct nss_user_request *)arg;

    free(arg);
    r.fn(r.arg, value, err);
}

/* The answer was in the file, or can't be elsewhere. */
static void on_known(struct ev_timer *t)
{
    struct nss_user_request *r = CONTAINER_OF(t, struct nss_user_request, timer);
    struct nss_user user = r->user;
    struct err err = r->err;
    nss_user_fn *fn = r->fn;
    void *arg = r->arg;

    free(r);
    fn(arg, user.name ? &user : NULL, user.name ? NULL : &err);
    nss_user_fini(&user);
}

static struct nss_user_request *ask(struct getent *g, const char *name, uid_t uid, nss_user_fn *fn,
                                    void *arg, struct err *err)
{
    struct nss_user_request *r;
    struct wanted w;

    if (want(&w, name, uid, err) != 0)
        return NULL;
    r = mem_alloc(sizeof *r);
    r->fn = fn;
    r->arg = arg;
    r->timer.fn = on_known;
    if (in_file(getent_passwd_file(g), &w, &r->user) || !w.key[0]) {
        err_set(&r->err, ERR_NOT_FOUND, "user '%s': nobody here knows the name", name ? name : "");
        ev_timer_set_after(getent_loop(g), &r->timer, 0);
        return r;
    }
    r->asked = getent_ask(g, &passwd_kind, w.key, on_answer, r, err);
    if (!r->asked) {
        free(r);
        return NULL;
    }
    return r;
}

struct nss_user_request *nss_user_ask_name(struct getent *g, const char *name, nss_user_fn *fn,
                                           void *arg, struct err *err)
{
    return ask(g, name ? name : "", NO_UID, fn, arg, err);
}

struct nss_user_request *nss_user_ask_uid(struct getent *g, uid_t uid, nss_user_fn *fn, void *arg,
                                          struct err *err)
{
    return ask(g, NULL, uid, fn, arg, err);
}

void nss_user_cancel(struct nss_user_request *r)
{
    if (!r)
        return;
    getent_cancel(r->asked);
    ev_timer_clear(&r->timer);
    nss_user_fini(&r->user);
    free(r);
}

/* --- waiting --- */

struct waiter {
    struct ev_loop *loop;
    struct nss_user *out;
    struct err *err;
    int rc;
};

static void on_waited(void *arg, const struct nss_user *user, const struct err *err)
{
    struct waiter *w = arg;

    if (user)
        copy_user(w->out, user);
    else if (w->err)
        *w->err = *err;
    w->rc = user ? 0 : -1;
    ev_stop(w->loop);
}

static int wait_for(const char *name, uid_t uid, const struct getent_options *options,
                    struct nss_user *out, struct err *err)
{
    struct waiter w = { .loop = ev_loop_create(&clock_system, err), .out = out, .err = err };
    struct nss_user_request *r;
    struct getent *g;

    *out = (struct nss_user){ 0 };
    if (!w.loop)
        return -1;
    g = getent_create(w.loop, options);
    w.rc = -1;
    r = ask(g, name, uid, on_waited, &w, err);
    if (r && ev_run(w.loop, err) != 0)
        nss_user_cancel(r); /* the loop failed: it can't have been answered */
    getent_destroy(g);
    ev_loop_destroy(w.loop);
    return w.rc;
}

int nss_user_by_name(const char *name, const struct getent_options *options, struct nss_user *out,
                     struct err *err)
{
    return wait_for(name ? name : "", NO_UID, options, out, err);
}

int nss_user_by_uid(uid_t uid, const struct getent_options *options, struct nss_user *out,
                    struct err *err)
{
    return wait_for(NULL, uid, options, out, err);
}

int nss_user_self(struct nss_user *out, struct err *err)
{
    const char *home = getenv("HOME");
    int rc = nss_user_by_uid(getuid(), NULL, out, err);

    if (rc != 0)
        *out = (struct nss_user){ .uid = getuid(),
                                  .gid = getgid(),
                                  .name = mem_printf("%u", (unsigned)getuid()),
                                  .home = mem_strdup("/"),
                                  .shell = mem_strdup("/bin/sh") };
    if (home && home[0] == '/') {
        free(out->home);
        out->home = mem_strdup(home);
    }
    return rc;
}
