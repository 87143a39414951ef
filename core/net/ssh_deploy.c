/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The steps: ask what is there; copy; where that fails, ask again without the places that have failed;
 * where nothing is left, ask for a hive that somebody else installed. Each step ends in the next
 * question, or in finish().
 */
#include "base/mem.h"

#include "base/clock.h"
#include "base/str.h"
#include "net/ssh_deploy_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define ANSWER_NS (30 * NS_PER_S)
#define STALL_NS (120 * NS_PER_S)
#define ROUNDS_MAX (DEPLOY_PLACES + 3)
#define ID_HEX 16

enum step { STEP_PROBE, STEP_PUT, STEP_OWN, STEP_REMOVE };

struct ssh_deploy {
    struct deploy_question q;
    struct ssh_deploy_options opt;
    struct ssh_deploy_remove_options remove;
    char *version;
    char id[ID_HEX + 1];
    enum step step;
    unsigned rounds;

    const struct deploy_file *file;
    struct deploy_place target;             /* where it is being copied to */
    struct deploy_place bad[DEPLOY_PLACES]; /* where it can't be, and why */
    size_t bad_count;
    struct err why; /* there will be none, if nobody installed one */
    int64_t sent;   /* by the copies before this one */

    char os[DEPLOY_WORD_MAX], arch[DEPLOY_WORD_MAX], home[SSH_DEPLOY_PATH_MAX];
    int64_t uid;
};

static void ask_own(struct ssh_deploy *d);

/* --- the end ------------------------------------------------------------------------------------ */

static void deploy_free(struct ssh_deploy *d)
{
    deploy_ask_fini(&d->q);
    free(d->version);
    free(d);
}

void ssh_deploy_cancel(struct ssh_deploy *d)
{
    if (d)
        deploy_free(d);
}

static bool is_noexec(const struct ssh_deploy *d)
{
    for (size_t i = 0; i < d->bad_count; i++)
        if (d->bad[i].state == DEPLOY_NOEXEC)
            return true;
    return false;
}

static void finish(struct ssh_deploy *d, struct ssh_deploy_result *r)
{
    if (!r->command)
        r->command = r->path = "";
    r->os = d->os;
    r->arch = d->arch;
    r->home = d->home;
    r->uid = d->uid;
    r->noexec = is_noexec(d);
    r->sent_bytes = d->sent;
    deploy_ask_stop(&d->q);
    d->opt.done(r, d->opt.arg);
    deploy_free(d);
}

static void finish_removed(struct ssh_deploy *d, const struct deploy_answer *a,
                           const struct err *err)
{
    struct ssh_deploy_removed r = { .left = "", .stuck = "", .err = *err };

    if (a) {
        r.removed = a->removed;
        r.left = buf_data(&a->left);
        r.stuck = buf_data(&a->stuck);
    }
    d->remove.done(&r, d->remove.arg);
    deploy_free(d);
}

static void fail(struct ssh_deploy *d, const struct err *err)
{
    struct ssh_deploy_result r = { .kind = SSH_DEPLOY_FAILED, .err = *err };

    if (d->step == STEP_REMOVE)
        finish_removed(d, NULL, err);
    else
        finish(d, &r);
}

/* A shell is there, and will have to do. */
static void settle(struct ssh_deploy *d)
{
    struct ssh_deploy_result r = { .kind = SSH_DEPLOY_SHELL, .err = d->why };

    finish(d, &r);
}

/* It is there. */
static void succeed(struct ssh_deploy *d, const char *folder)
{
    struct ssh_deploy_result r = { .kind = SSH_DEPLOY_AGENT, .err = d->why };
    char *path = mem_printf("%s/hive", strcmp(folder, "/") == 0 ? "" : folder);
    struct buf command = BUF_INIT;
    struct err err = ERR_INIT;

    r.copied = d->step == STEP_PUT;
    r.own = d->step == STEP_OWN;
    if (d->bad_count > 0 && !r.own)
        deploy_say_places(d->bad, d->bad_count, &r.err);
    if (ssh_deploy_command(path, "agent --stdio", &command, &err) == 0) {
        r.command = buf_data(&command);
        r.path = path;
        finish(d, &r);
    } else {
        fail(d, &err);
    }
    buf_fini(&command);
    free(path);
}

/* --- questions ---------------------------------------------------------------------------------- */

static void ask(struct ssh_deploy *d, enum step step, struct buf *command, int file)
{
    struct err err = ERR_INIT;

    d->step = step;
    if (deploy_ask(&d->q, buf_data(command), file, &err) != 0)
        fail(d, &err);
    buf_fini(command);
}

static void probe_command(const struct ssh_deploy *d, struct buf *out)
{
    char skip[DEPLOY_PLACES + 1];
    size_t n = 0;

    for (int place = 1; place <= DEPLOY_PLACES; place++) {
        bool known = d->opt.shell_only;

        for (size_t i = 0; i < d->bad_count; i++)
            known = known || d->bad[i].number == place;
        if (known)
            skip[n++] = (char)('0' + place);
    }
    skip[n] = '\0';
    deploy_ask_probe(d->file, skip, out);
}

static void probe(struct ssh_deploy *d)
{
    struct buf command = BUF_INIT;
    struct err err = ERR_INIT;

    if (++d->rounds > ROUNDS_MAX) {
        err_set(&err, ERR_UNPROCESS, "the host answers otherwise each time it is asked");
        fail(d, &err);
        return;
    }
    probe_command(d, &command);
    ask(d, STEP_PROBE, &command, -1);
}

/* Opened anew: of each copy under way the position is its own. */
static int open_again(const struct deploy_file *f, struct err *err)
{
    char *name = mem_printf("/proc/self/fd/%d", f->fd);
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        err_sys(err, errno, "cannot open the program once more");
    free(name);
    return fd;
}

static void put(struct ssh_deploy *d, const struct deploy_place *place)
{
    struct buf command = BUF_INIT;
    struct err err = ERR_INIT;
    int file = open_again(d->file, &err);

    d->target = *place;
    if (file >= 0 && deploy_ask_put(d->file, place->folder, d->id, &command, &err) == 0) {
        ask(d, STEP_PUT, &command, file);
        return;
    }
    if (file >= 0)
        close(file);
    buf_fini(&command);
    fail(d, &err);
}

static void ask_own(struct ssh_deploy *d)
{
    struct buf command = BUF_INIT;

    deploy_ask_own(d->version, &command);
    ask(d, STEP_OWN, &command, -1);
}

/* --- answers ------------------------------------------------------------------------------------ */

static void no_answer(struct ssh_deploy *d)
{
    struct err err = ERR_INIT;
    char said[DEPLOY_TEXT_MAX];

    deploy_first_line(buf_data(&d->q.answer), buf_len(&d->q.answer), said);
    if (*said)
        err_set(&err, ERR_UNPROCESS, "no shell runs commands there; it says: %s", said);
    else
        err_set(&err, ERR_UNPROCESS, "no shell runs commands there (exit status %u)",
                (unsigned)d->q.code);
    err_hint(&err, "the user's login shell has to run what ssh is asked for, with sh");
    fail(d, &err);
}

static void add_bad(struct ssh_deploy *d, const struct deploy_place *place)
{
    for (size_t i = 0; i < d->bad_count; i++)
        if (d->bad[i].number == place->number)
            return;
    if (place->number < 1 || place->number > DEPLOY_PLACES)
        return;
    d->bad[d->bad_count] = *place;
    deploy_refine(&d->bad[d->bad_count++]);
}

/* A hive for another architecture was put here by somebody: it may be an old one. */
static bool is_our_version(const struct ssh_deploy *d, const struct deploy_place *p)
{
    size_t n = strlen(d->version);

    return d->file->fd == d->opt.program->own.fd || n == 0 ||
           (str_starts(p->said, "hive ") && strncmp(p->said + 5, d->version, n) == 0 &&
            (p->said[5 + n] == ' ' || p->said[5 + n] == '\0'));
}

static void arrived(struct ssh_deploy *d, const struct deploy_place *p, const char *folder)
{
    if (is_our_version(d, p)) {
        succeed(d, folder);
        return;
    }
    err_set(&d->why, ERR_UNPROCESS, "the hive for %s that was put here is another version: %s",
            d->file->arch, p->said);
    err_hint(&d->why, "put one of version %s here", d->version);
    ask_own(d);
}

static void take_facts(struct ssh_deploy *d, const struct deploy_answer *a)
{
    str_copy(d->os, sizeof d->os, a->os);
    str_copy(d->arch, sizeof d->arch, a->arch);
    str_copy(d->home, sizeof d->home, a->home);
    d->uid = a->uid;
}

/* True: the probe was about this host's file. Else all is arranged. */
static bool settle_system(struct ssh_deploy *d, const struct deploy_answer *a)
{
    const struct deploy_file *file;

    if (!a->proc) {
        err_set(&d->why, ERR_UNPROCESS, "it runs %s, without /proc: hive can't even measure it",
                *a->os ? a->os : "an unknown system");
        err_hint(&d->why, "hive needs Linux there");
        fail(d, &d->why);
        return false;
    }
    if (d->opt.shell_only) {
        settle(d);
        return false;
    }
    if (!str_eq(a->os, "Linux")) {
        err_set(&d->why, ERR_UNPROCESS, "it runs %s, and hive is for Linux",
                *a->os ? a->os : "an unknown system");
        err_hint(&d->why, "commands can be run there, one after another");
        settle(d);
        return false;
    }
    file = deploy_file_for(d->opt.program, a->arch, &d->why);
    if (file == d->file)
        return true;
    d->file = file ? file : d->file;
    if (file)
        probe(d);
    else
        ask_own(d);
    return false;
}

static void probed(struct ssh_deploy *d, const struct deploy_answer *a)
{
    take_facts(d, a);
    if (!settle_system(d, a))
        return;
    for (size_t i = 0; i < a->place_count; i++) {
        const struct deploy_place *p = &a->places[i];

        if (*p->folder && p->state == DEPLOY_HAVE) {
            arrived(d, p, p->folder);
            return;
        }
        if (*p->folder && p->state == DEPLOY_FREE) {
            put(d, p);
            return;
        }
        add_bad(d, p);
        /* It would have done, but for its name: those after it were not looked at. */
        if (p->state == DEPLOY_HAVE || p->state == DEPLOY_FREE) {
            probe(d);
            return;
        }
    }
    deploy_say_places(d->bad, d->bad_count, &d->why);
    ask_own(d);
}

static void was_put(struct ssh_deploy *d, const struct deploy_answer *a)
{
    const struct deploy_place *p = a->place_count > 0 ? &a->places[0] : NULL;
    struct deploy_place bad = d->target;

    d->sent += a->whole && p && p->state == DEPLOY_HAVE ? d->file->size : d->q.sent;
    if (a->whole && p && p->state == DEPLOY_HAVE) {
        arrived(d, p, d->target.folder);
        return;
    }
    bad.state = DEPLOY_SHORT;
    if (a->whole && p) {
        bad = *p;
        bad.number = d->target.number;
    } else {
        deploy_first_line(buf_data(&d->q.answer), buf_len(&d->q.answer), bad.text);
    }
    add_bad(d, &bad);
    probe(d);
}

static void owned(struct ssh_deploy *d, const struct deploy_answer *a)
{
    const struct deploy_place *p = deploy_answer_place(a, DEPLOY_HAVE);

    if (p && p->number == DEPLOY_OWN && *p->folder)
        succeed(d, p->folder);
    else
        settle(d);
}

static void on_ended(struct deploy_question *q, const struct err *err)
{
    struct ssh_deploy *d = CONTAINER_OF(q, struct ssh_deploy, q);
    struct deploy_answer a;

    if (err->kind != ERR_NONE) {
        fail(d, err);
        return;
    }
    deploy_answer_read(buf_data(&q->answer), buf_len(&q->answer), &a);
    if (!a.whole && d->step != STEP_PUT && d->step != STEP_OWN) {
        no_answer(d);
    } else {
        switch (d->step) {
        case STEP_PROBE:
            probed(d, &a);
            break;
        case STEP_PUT:
            was_put(d, &a);
            break;
        case STEP_OWN:
            owned(d, &a);
            break;
        case STEP_REMOVE:
            finish_removed(d, &a, err);
            break;
        }
    }
    deploy_answer_fini(&a);
}

static void on_progress(struct deploy_question *q, int64_t sent)
{
    struct ssh_deploy *d = CONTAINER_OF(q, struct ssh_deploy, q);

    if (d->opt.progress)
        d->opt.progress(d, sent, d->file->size, d->opt.arg);
}

/* --- for the application ------------------------------------------------------------------------ */

static struct ssh_deploy *deploy_create(struct ev_loop *loop, struct ssh_link_client *client,
                                        int64_t wait_ns, int64_t answer_ns, int64_t stall_ns)
{
    struct ssh_deploy *d = mem_alloc(sizeof *d);

    d->q = (struct deploy_question){ .loop = loop,
                                     .client = client,
                                     .wait_ns = wait_ns > 0 ? wait_ns : -1,
                                     .answer_ns = answer_ns > 0 ? answer_ns : ANSWER_NS,
                                     .stall_ns = stall_ns > 0 ? stall_ns : STALL_NS,
                                     .ended = on_ended,
                                     .progress = on_progress,
                                     .io = { .fd = -1 },
                                     .file = -1 };
    d->uid = -1;
    return d;
}

/* In a file's name: the same for the same id, another one for each where there is none. */
static void make_id(struct ssh_deploy *d, const char *id)
{
    unsigned char digest[DIGEST_SHA256_SIZE];
    struct {
        const void *self;
        int64_t mono_ns, wall_ns, pid;
    } unique = { d, clock_mono_ns(&clock_system), clock_wall_ns(&clock_system), getpid() };

    if (id)
        digest_sha256(id, strlen(id), NULL, 0, digest);
    else
        digest_sha256(&unique, sizeof unique, NULL, 0, digest);
    str_hex(digest, ID_HEX / 2, d->id);
}

static struct ssh_deploy *begin(struct ssh_deploy *d, enum step step, struct buf *command,
                                struct err *err)
{
    int rc;

    d->step = step;
    d->rounds = 1;
    rc = deploy_ask(&d->q, buf_data(command), -1, err);
    buf_fini(command);
    if (rc == 0)
        return d;
    deploy_free(d);
    return NULL;
}

/* For who has nothing to copy: words that are those of no host. */
static const struct deploy_file no_file = { .fd = -1, .sha256 = "none", .arch = "none" };

struct ssh_deploy *ssh_deploy_start(struct ev_loop *loop, struct ssh_link_client *client,
                                    const struct ssh_deploy_options *o, struct err *err)
{
    struct ssh_deploy *d = deploy_create(loop, client, o->wait_ns, o->answer_ns, o->stall_ns);
    struct buf command = BUF_INIT;

    d->opt = *o;
    d->version = mem_strdup(o->version ? o->version : "");
    d->file = o->program ? &o->program->own : &no_file;
    make_id(d, o->id);
    d->opt.id = d->opt.version = NULL;
    probe_command(d, &command);
    return begin(d, STEP_PROBE, &command, err);
}

struct ssh_deploy *ssh_deploy_remove(struct ev_loop *loop, struct ssh_link_client *client,
                                     const struct ssh_deploy_remove_options *o, struct err *err)
{
    struct ssh_deploy *d = deploy_create(loop, client, o->wait_ns, o->answer_ns, 0);
    struct buf command = BUF_INIT;

    d->remove = *o;
    deploy_ask_remove(o->all ? NULL : o->program->own.sha256, &command);
    return begin(d, STEP_REMOVE, &command, err);
}
