/* SPDX-License-Identifier: BSD-2-Clause */
#include "cmd/hosts_jump.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "net/ssh_config.h"
#include "net/ssh_link.h"
#include "net/ssh_link_client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct hosts_jump {
    struct ssh_link_client *link;
    struct ssh_link_run *run;
    char *word;
    int fd; /* our end, until it is handed over */
    void (*done)(void *arg, int fd, const struct err *err);
    void *arg;
};

static void on_event(struct ssh_link_run *run, unsigned event, void *arg)
{
    struct hosts_jump *j = arg;
    const struct ssh_link_result *result = ssh_link_run_result(run);
    int fd = j->fd;
    struct err err = ERR_INIT;

    if (fd < 0)
        return; /* whoever has it sees its end */
    j->fd = -1;
    if (event & SSH_LINK_EV_ENDED) {
        close(fd);
        if (result->end == SSH_LINK_FAILED)
            err = result->err;
        else
            err_set(&err, ERR_UNAVAILABLE, "the connection was closed");
        err_prefix(&err, "through %s", j->word);
        j->done(j->arg, -1, &err);
    } else if (event & SSH_LINK_EV_STARTED) {
        j->done(j->arg, fd, NULL);
    }
}

static int dial(struct hosts_jump *j, const struct ssh_config *config, int64_t timeout_ns,
                struct err *err)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        return err_sys(err, errno, "cannot make a socket");
    j->fd = ends[0];
    j->run = ssh_link_client_dial(j->link, config->host, config->port, ends[1], timeout_ns,
                                  on_event, j, err);
    close(ends[1]);
    return j->run ? 0 : -1;
}

struct hosts_jump *hosts_jump_start(struct ev_loop *loop, const struct ssh_config *config,
                                    int64_t timeout_ns,
                                    void (*done)(void *arg, int fd, const struct err *err),
                                    void *arg, struct err *err)
{
    struct hosts_jump *j = mem_alloc(sizeof *j);
    char *runtime_dir = fs_runtime_dir();
    struct ssh_link_client_options options = { .runtime_dir = runtime_dir,
                                               .start = ssh_link_start };

    j->fd = -1;
    j->done = done;
    j->arg = arg;
    options.word = j->word = ssh_link_jumps(config);
    j->link = ssh_link_client_open(loop, &options, err);
    free(runtime_dir);
    if (!j->link || dial(j, config, timeout_ns, err) != 0) {
        hosts_jump_end(j);
        return NULL;
    }
    return j;
}

void hosts_jump_end(struct hosts_jump *j)
{
    if (!j)
        return;
    ssh_link_run_close(j->run);
    ssh_link_client_destroy(j->link);
    if (j->fd >= 0)
        close(j->fd);
    free(j->word);
    free(j);
}

const char *hosts_jump_word(const struct hosts_jump *j)
{
    return j->word;
}
