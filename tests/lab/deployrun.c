/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts a hive on a host through core/net/ssh_deploy, for tests/lab/deploy.t.
 *
 *   deployrun [OPTION...] HOST
 *
 * The link process of HOST, in $HIVE_RUNTIME_DIR, has to be there. Prints a line for each field of the
 * result; exits with 0: an agent, 1: a shell, 2: failed, or nothing was removed.
 *
 *   -p FILE  the program; default: $HIVE      -V VERSION  that a hive there must have
 *   -o DIR   programs for other machines      -i ID       of this attempt
 *   -s       shell only                       -t SECS     how long a copy may stand still
 *   -a       runs the agent, and prints the first line that it says
 *   -e FILE  made when the first bytes are under way
 *   -r, -R   removes: this version, all versions
 */
#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_deploy.h"
#include "net/ssh_link_client.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

struct run {
    struct ev_loop *loop;
    struct ssh_link_client *client;
    struct ssh_link_run *agent;
    struct ev_io io;
    struct buf out;
    const char *under_way;
    bool with_agent;
    int status, input;
};

static void die(const struct err *err)
{
    fprintf(stderr, "deployrun: %s\n  %s\n", err->msg, err->hint);
    exit(2);
}

static void put(const char *name, const char *value)
{
    char *safe = str_safe(value);

    printf("%s %s\n", name, safe);
    free(safe);
}

static void put_err(const struct err *err)
{
    put("error", err->msg);
    put("hint", err->hint);
    put("error_kind", err->kind == ERR_NONE ? "" : err_kind_name(err->kind));
}

/* --- the agent ---------------------------------------------------------------------------------- */

static void on_agent(struct ssh_link_run *agent, unsigned event, void *arg)
{
    struct run *r = arg;
    const struct ssh_link_result *result = ssh_link_run_result(agent);

    if (event != SSH_LINK_EV_ENDED)
        return;
    printf("agent_end %s %u\n", result->end == SSH_LINK_CODE ? "code" : result->err.msg,
           (unsigned)result->code);
    ev_stop(r->loop);
}

/* Its first line: then its input ends, and it too. */
static void on_said(struct ev_io *io, unsigned ready)
{
    struct run *r = CONTAINER_OF(io, struct run, io);
    ssize_t n = read(io->fd, buf_reserve(&r->out, 4096), 4096);
    const char *end;

    (void)ready;
    if (n > 0)
        buf_added(&r->out, (size_t)n);
    end = strchr(buf_data(&r->out), '\n');
    if (!end && n > 0)
        return;
    buf_truncate(&r->out, end ? (size_t)(end - buf_data(&r->out)) : buf_len(&r->out));
    put("agent", buf_data(&r->out));
    ev_io_remove(io);
    close(r->input);
}

static void start_agent(struct run *r, const char *command)
{
    int in[2], out[2];
    struct err err = ERR_INIT;

    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        die(&err);
    r->input = in[1];
    r->io = (struct ev_io){ .fd = out[0], .events = EV_READ, .fn = on_said };
    r->agent = ssh_link_client_exec(r->client, command, (const int[]){ in[0], out[1], 2 }, -1,
                                    on_agent, r, &err);
    if (!r->agent || ev_io_add(r->loop, &r->io, &err) != 0)
        die(&err);
    close(in[0]);
    close(out[1]);
}

/* --- what came of it ---------------------------------------------------------------------------- */

static void on_done(const struct ssh_deploy_result *x, void *arg)
{
    static const char *const kinds[] = {
        [SSH_DEPLOY_AGENT] = "agent", [SSH_DEPLOY_SHELL] = "shell", [SSH_DEPLOY_FAILED] = "failed"
    };
    struct run *r = arg;

    put("kind", kinds[x->kind]);
    put("os", x->os);
    put("arch", x->arch);
    put("home", x->home);
    put("path", x->path);
    put("command", x->command);
    printf("uid %lld\ncopied %d\nown %d\nnoexec %d\nsent %lld\n", (long long)x->uid, x->copied,
           x->own, x->noexec, (long long)x->sent_bytes);
    put_err(&x->err);
    r->status = (int)x->kind;
    if (x->kind == SSH_DEPLOY_AGENT && r->with_agent)
        start_agent(r, x->command);
    else
        ev_stop(r->loop);
}

static void on_removed(const struct ssh_deploy_removed *x, void *arg)
{
    struct run *r = arg;

    printf("removed %d\n", x->removed);
    put("left", x->left);
    put("stuck", x->stuck);
    put_err(&x->err);
    r->status = x->err.kind == ERR_NONE && x->removed > 0 ? 0 : 2;
    ev_stop(r->loop);
}

static void on_progress(struct ssh_deploy *d, int64_t sent, int64_t total, void *arg)
{
    struct run *r = arg;
    int fd;

    (void)d;
    if (sent <= 0 || sent > total || !r->under_way)
        return;
    fd = open(r->under_way, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    r->under_way = NULL;
}

int main(int argc, char **argv)
{
    struct run r = { .status = 2 };
    struct ssh_deploy_options o = { .done = on_done, .progress = on_progress, .arg = &r };
    struct ssh_deploy_remove_options rm = { .done = on_removed, .arg = &r };
    struct ssh_link_client_options co = { .runtime_dir = getenv("HIVE_RUNTIME_DIR") };
    const char *path = getenv("HIVE"), *others = NULL;
    struct err err = ERR_INIT;
    bool removes = false;
    int64_t secs;

    for (int c; (c = getopt(argc, argv, "p:o:V:i:t:e:sarR")) != -1;) {
        switch (c) {
        case 'p':
            path = optarg;
            break;
        case 'o':
            others = optarg;
            break;
        case 'V':
            o.version = optarg;
            break;
        case 'i':
            o.id = optarg;
            break;
        case 't':
            if (str_to_int(optarg, 1, 1000, "-t", &secs, &err) != 0)
                die(&err);
            o.stall_ns = o.answer_ns = secs * NS_PER_S;
            break;
        case 'e':
            r.under_way = optarg;
            break;
        case 's':
            o.shell_only = true;
            break;
        case 'a':
            r.with_agent = true;
            break;
        case 'r':
        case 'R':
            removes = true;
            rm.all = c == 'R';
            break;
        default:
            return 3;
        }
    }
    if (optind + 1 != argc || !co.runtime_dir || !path)
        return 3;
    signal(SIGPIPE, SIG_IGN);
    co.word = argv[optind];
    r.loop = ev_loop_create(&clock_system, &err);
    r.client = r.loop ? ssh_link_client_open(r.loop, &co, &err) : NULL;
    rm.program = o.program = ssh_deploy_program_open(path, others, true, &err);
    if (!r.client || !o.program ||
        !(removes ? ssh_deploy_remove(r.loop, r.client, &rm, &err)
                  : ssh_deploy_start(r.loop, r.client, &o, &err)) ||
        ev_run(r.loop, &err) != 0)
        die(&err);
    ssh_link_run_close(r.agent);
    ssh_link_client_destroy(r.client);
    ssh_deploy_program_close(o.program);
    ev_loop_destroy(r.loop);
    buf_fini(&r.out);
    if (r.with_agent && r.agent)
        close(r.io.fd);
    return r.status;
}
