/* SPDX-License-Identifier: BSD-2-Clause */
#include "sys/getent.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/getent_process.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NOT_FOUND 2                       /* getent's exit status */
#define DESTROY_WAIT_NS (200 * NS_PER_MS) /* killed processes are gone sooner */

struct getent {
    struct ev_loop *loop;
    char *program, *helper, *passwd; /* NULL: none */
    int64_t timeout_ns, keep_ns, keep_failed_ns;
    struct strmap entries;    /* "DATABASE KEY" */
    struct list waiting;      /* entries that need a process, in the order they get it */
    struct list cached;       /* answered ones, oldest first */
    struct list ready;        /* of these, by ready_link, those that somebody asked for since */
    struct list tasks;        /* dying ones too: they count */
    size_t pending, answered; /* entries */
    size_t running;           /* tasks */
    struct ev_timer kick;
};

/* One name: waiting for a process, or with one, or answered. */
struct entry {
    struct getent *g;
    const struct getent_kind *kind;
    const char *key; /* within `id` */
    char *id;
    struct list link, ready_link, requests;
    struct task *task;        /* or NULL */
    struct ev_timer patience; /* while waiting */
    int64_t deadline_ns;      /* 0: no process was started yet */
    bool by_helper;
    bool is_answered;
    bool busy; /* its askers are being told */
    void *value;
    struct err *error; /* or NULL */
    int64_t expires_ns;
};

/* Outlives its entry when it has to be killed. */
struct task {
    struct getent_process process;
    struct getent *g;
    struct entry *entry; /* NULL: nobody waits */
    struct list link;
};

struct getent_request {
    struct entry *entry;
    struct list link;
    void (*fn)(void *arg, const void *value, const struct err *err);
    void *arg;
};

static void kick(struct getent *g)
{
    if (!ev_timer_armed(&g->kick))
        ev_timer_set_after(g->loop, &g->kick, 0);
}

static void entry_drop(struct entry *e)
{
    struct getent *g = e->g;

    if (e->is_answered)
        g->answered--;
    else
        g->pending--;
    strmap_remove(&g->entries, e->id);
    list_remove(&e->link);
    list_remove(&e->ready_link);
    ev_timer_clear(&e->patience);
    if (e->task) {
        e->task->entry = NULL;
        getent_process_kill(&e->task->process);
    }
    if (e->value)
        e->kind->destroy(e->value);
    free(e->error);
    free(e->id);
    free(e);
}

static bool in_use(const struct entry *e)
{
    return e->busy || !list_empty(&e->requests);
}

/* Who asks again from an answer is told in another turn. */
static void entry_tell(struct entry *e)
{
    struct list told;

    list_init(&told);
    while (!list_empty(&e->requests)) {
        struct list *first = e->requests.next;
        list_remove(first);
        list_append(&told, first);
    }
    e->busy = true;
    while (!list_empty(&told)) {
        struct getent_request *r = CONTAINER_OF(told.next, struct getent_request, link);
        void (*fn)(void *arg, const void *value, const struct err *err) = r->fn;
        void *arg = r->arg;
        list_remove(&r->link);
        free(r);
        fn(arg, e->value, e->error);
    }
    e->busy = false;
}

static void forget_old(struct getent *g)
{
    LIST_FOR_EACH_SAFE(it, &g->cached) {
        if (g->answered <= GETENT_NAMES_MAX)
            return;
        if (!in_use(CONTAINER_OF(it, struct entry, link)))
            entry_drop(CONTAINER_OF(it, struct entry, link));
    }
}

/* Takes the value; the error is copied. */
static void entry_answer(struct entry *e, void *value, const struct err *error, int64_t keep_ns)
{
    struct getent *g = e->g;

    ev_timer_clear(&e->patience);
    e->is_answered = true;
    e->value = value;
    e->error = value ? NULL : mem_dup(error, sizeof *error);
    e->expires_ns = ev_now_ns(g->loop) + keep_ns;
    g->pending--;
    g->answered++;
    list_remove(&e->link);
    list_append(&g->cached, &e->link);
    entry_tell(e);
    forget_old(g);
}

static void entry_found(struct entry *e, const char *text, size_t len)
{
    struct err err = ERR_INIT;
    void *value = e->kind->parse(e->key, text, len, &err);

    entry_answer(e, value, &err, value ? e->g->keep_ns : e->g->keep_failed_ns);
}

static void entry_failed(struct entry *e, enum err_kind kind, const char *why)
{
    struct err err = ERR_INIT;
    char *key = str_safe(e->key);

    err_set(&err, kind, "%s '%s': %s", e->kind->what, key, why);
    if (kind == ERR_TIMEOUT)
        err_hint(&err, "try: getent %s %s", e->kind->database, key);
    free(key);
    entry_answer(e, NULL, &err, kind == ERR_UNAVAILABLE ? 0 : e->g->keep_failed_ns);
}

static bool to_helper(struct entry *e)
{
    if (e->by_helper || !e->kind->helper || !e->g->helper)
        return false;
    e->by_helper = true;
    return true;
}

/* A bad exit status, or it did not even start. */
static void entry_broken(struct entry *e, const char *why)
{
    struct getent *g = e->g;

    if (!to_helper(e)) {
        entry_failed(e, ERR_IO, why);
        return;
    }
    list_remove(&e->link);
    list_insert_before(g->waiting.next, &e->link);
    ev_timer_set(g->loop, &e->patience, e->deadline_ns);
    kick(g);
}

static void on_done(struct getent_process *p, enum getent_end end, int status, const char *text,
                    size_t len)
{
    struct task *t = CONTAINER_OF(p, struct task, process);
    struct entry *e = t->entry;
    const char *program = e->by_helper ? e->kind->helper : "getent";
    char why[80];

    e->task = NULL;
    t->entry = NULL;
    if (end == GETENT_LATE) {
        entry_failed(e, ERR_TIMEOUT, "no answer in time");
    } else if (end == GETENT_TOO_MUCH) {
        entry_failed(e, ERR_TOO_LARGE, "the answer is too long");
    } else if (end == GETENT_SIGNALLED) {
        snprintf(why, sizeof why, "%s was killed by signal %d", program, status);
        entry_broken(e, why);
    } else if (status == 0 || (status < 0 && len > 0)) {
        entry_found(e, text, len);
    } else if (status == (e->by_helper ? GETENT_HELPER_NOT_FOUND : NOT_FOUND)) {
        entry_failed(e, ERR_NOT_FOUND, "nobody here knows the name");
    } else if (e->by_helper && status == GETENT_HELPER_NO_ANSWER) {
        entry_failed(e, ERR_TIMEOUT, "no name server answers");
    } else {
        snprintf(why, sizeof why, "%s failed with exit status %d", program, status);
        entry_broken(e, why);
    }
}

static void on_gone(struct getent_process *p)
{
    struct task *t = CONTAINER_OF(p, struct task, process);
    struct getent *g = t->g;

    list_remove(&t->link);
    g->running--;
    free(t);
    kick(g);
}

/* 0 or an errno. */
static int entry_start(struct entry *e)
{
    struct getent *g = e->g;
    const char *const by_getent[] = { "getent", e->kind->database, e->key, NULL };
    const char *const by_helper[] = { "hive", e->kind->helper, "--internal", e->key, NULL };
    struct task *t = mem_alloc(sizeof *t);
    int rc;

    if (e->deadline_ns == 0)
        e->deadline_ns = ev_now_ns(g->loop) + g->timeout_ns;
    t->process.done = on_done;
    t->process.gone = on_gone;
    t->g = g;
    t->entry = e;
    rc = getent_process_start(&t->process, g->loop, e->by_helper ? g->helper : g->program,
                              e->by_helper ? by_helper : by_getent, e->deadline_ns);
    if (rc != 0) {
        free(t);
        return rc;
    }
    ev_timer_clear(&e->patience);
    list_remove(&e->link);
    e->task = t;
    list_append(&g->tasks, &t->link);
    g->running++;
    return 0;
}

static void entry_begin(struct entry *e)
{
    char why[128];
    int rc;

    if (!e->g->program && !e->by_helper && !to_helper(e)) {
        if (e->kind->helper)
            entry_failed(e, ERR_UNAVAILABLE, "there is no getent to ask");
        else
            entry_failed(e, ERR_NOT_FOUND, "nobody here knows the name, and there is no getent");
        return;
    }
    rc = entry_start(e);
    if (rc == 0)
        return;
    snprintf(why, sizeof why, "cannot start %s: %s", e->by_helper ? e->g->helper : e->g->program,
             strerror(rc));
    if (rc == ENOENT || rc == EACCES || rc == ENOEXEC || rc == EPERM)
        entry_broken(e, why);
    else
        entry_failed(e, ERR_UNAVAILABLE, why);
}

/* What is known is too old. */
static void entry_again(struct entry *e)
{
    struct getent *g = e->g;

    if (e->value)
        e->kind->destroy(e->value);
    e->value = NULL;
    MEM_FREE(e->error);
    e->is_answered = e->by_helper = false;
    e->deadline_ns = 0;
    g->answered--;
    g->pending++;
    list_remove(&e->link);
    list_append(&g->waiting, &e->link);
    ev_timer_set_after(g->loop, &e->patience, g->timeout_ns * GETENT_PATIENCE);
}

static void on_kick(struct ev_timer *t)
{
    struct getent *g = CONTAINER_OF(t, struct getent, kick);
    struct list ready;

    list_init(&ready);
    while (!list_empty(&g->ready)) {
        struct list *first = g->ready.next;
        list_remove(first);
        list_append(&ready, first);
    }
    while (!list_empty(&ready)) {
        struct entry *e = CONTAINER_OF(ready.next, struct entry, ready_link);
        list_remove(&e->ready_link);
        if (list_empty(&e->requests))
            continue; /* cancelled */
        if (e->expires_ns > ev_now_ns(g->loop))
            entry_tell(e);
        else
            entry_again(e);
    }
    while (g->running < GETENT_PROCESSES_MAX && !list_empty(&g->waiting))
        entry_begin(CONTAINER_OF(g->waiting.next, struct entry, link));
}

static void on_patience(struct ev_timer *t)
{
    struct entry *e = CONTAINER_OF(t, struct entry, patience);

    if (e->deadline_ns != 0)
        entry_failed(e, ERR_TIMEOUT, "no answer in time");
    else
        entry_failed(e, ERR_UNAVAILABLE, "too many names are being looked up");
}

static struct entry *entry_add(struct getent *g, const struct getent_kind *kind, const char *id)
{
    struct entry *e = mem_alloc(sizeof *e);

    e->g = g;
    e->kind = kind;
    e->id = mem_strdup(id);
    e->key = strchr(e->id, ' ') + 1;
    list_init(&e->requests);
    list_init(&e->ready_link);
    list_append(&g->waiting, &e->link);
    strmap_put(&g->entries, e->id, e);
    g->pending++;
    e->patience.fn = on_patience;
    ev_timer_set_after(g->loop, &e->patience, g->timeout_ns * GETENT_PATIENCE);
    return e;
}

struct getent_request *getent_ask(struct getent *g, const struct getent_kind *kind, const char *key,
                                  void (*fn)(void *arg, const void *value, const struct err *err),
                                  void *arg, struct err *err)
{
    char *id = mem_printf("%s %s", kind->database, key);
    struct entry *e = strmap_get(&g->entries, id);
    struct getent_request *r = NULL;

    if (!e && g->pending >= GETENT_NAMES_MAX)
        err_set(err, ERR_UNAVAILABLE, "too many names are being looked up");
    else if (!e)
        e = entry_add(g, kind, id);
    if (e) {
        r = mem_alloc(sizeof *r);
        *r = (struct getent_request){ .entry = e, .fn = fn, .arg = arg };
        list_append(&e->requests, &r->link);
        if (e->is_answered && list_empty(&e->ready_link))
            list_append(&g->ready, &e->ready_link);
        kick(g);
    }
    free(id);
    return r;
}

void getent_cancel(struct getent_request *r)
{
    if (!r)
        return;
    struct entry *e = r->entry;

    list_remove(&r->link);
    free(r);
    if (!e->is_answered && list_empty(&e->requests))
        entry_drop(e);
}

static bool is_program(const char *path)
{
    struct stat st;

    return path[0] == '/' && stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *getent_find(const char *path)
{
    static const char *const usual[] = { "/usr/bin/getent", "/bin/getent" };

    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (is_program(usual[i]))
            return mem_strdup(usual[i]);
    }
    for (const char *p = path; p && *p;) {
        size_t len = strcspn(p, ":");
        char *file = mem_printf("%.*s/getent", (int)len, p);
        if (is_program(file))
            return file;
        free(file);
        p += len + (p[len] == ':');
    }
    return NULL;
}

/* What an option says of a file: NULL is the default, "" none. */
static char *file_option(const char *given, const char *usual)
{
    return mem_strdup(!given ? usual : given[0] ? given : NULL);
}

struct getent *getent_create(struct ev_loop *loop, const struct getent_options *options)
{
    static const struct getent_options defaults = { .program = NULL };
    const struct getent_options *o = options ? options : &defaults;
    struct getent *g = mem_alloc(sizeof *g);

    g->loop = loop;
    g->program = o->program ? file_option(o->program, NULL) : getent_find(getenv("PATH"));
    g->helper = file_option(o->helper, "/proc/self/exe");
    g->passwd = mem_strdup(o->passwd ? o->passwd : "/etc/passwd");
    g->timeout_ns = o->timeout_ns > 0 ? o->timeout_ns : GETENT_TIMEOUT_NS;
    g->keep_ns = o->keep_ns > 0 ? o->keep_ns : GETENT_KEEP_NS;
    g->keep_failed_ns = o->keep_failed_ns > 0 ? o->keep_failed_ns : GETENT_KEEP_FAILED_NS;
    strmap_init(&g->entries);
    list_init(&g->waiting);
    list_init(&g->cached);
    list_init(&g->ready);
    list_init(&g->tasks);
    g->kick.fn = on_kick;
    return g;
}

struct ev_loop *getent_loop(const struct getent *g)
{
    return g->loop;
}

const char *getent_passwd_file(const struct getent *g)
{
    return g->passwd;
}

/* One that doesn't die (it waits for a dead file server) is left to whoever reaps after us. */
static void end_tasks(struct getent *g)
{
    int64_t deadline_ns = clock_mono_ns(&clock_system) + DESTROY_WAIT_NS;

    LIST_FOR_EACH(it, &g->tasks)
        getent_process_abandon(&CONTAINER_OF(it, struct task, link)->process);
    while (!list_empty(&g->tasks)) {
        struct task *t = CONTAINER_OF(g->tasks.next, struct task, link);
        while (!getent_process_reap(&t->process) && clock_mono_ns(&clock_system) < deadline_ns)
            nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS / 2 }, NULL);
        list_remove(&t->link);
        free(t);
    }
}

void getent_destroy(struct getent *g)
{
    struct entry *e;
    size_t pos;

    if (!g)
        return;
    end_tasks(g);
    while (pos = 0, (e = strmap_next(&g->entries, &pos, NULL)) != NULL) {
        e->task = NULL;
        while (!list_empty(&e->requests)) {
            struct getent_request *r = CONTAINER_OF(e->requests.next, struct getent_request, link);
            list_remove(&r->link);
            free(r);
        }
        entry_drop(e);
    }
    strmap_fini(&g->entries);
    ev_timer_clear(&g->kick);
    free(g->program);
    free(g->helper);
    free(g->passwd);
    free(g);
}
