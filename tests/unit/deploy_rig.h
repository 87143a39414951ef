/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host for ssh_deploy: a link process that is none, but runs what it is asked for on this machine,
 * with a login shell, home and PATH of the host's. The hive that is copied is the test program itself,
 * which answers to `.../hive version`.
 */
#ifndef HIVE_TESTS_UNIT_DEPLOY_RIG_H
#define HIVE_TESTS_UNIT_DEPLOY_RIG_H

#include "unit/unit.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_deploy_priv.h"
#include "net/ssh_link.h"
#include "net/ssh_link_client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RIG_VERSION "1.2.3"
#define RIG_COMMANDS 128 /* at once */

enum rig_fault {
    RIG_FINE,
    RIG_CUTS,  /* of what a command gets as input, one KiB arrives */
    RIG_DIES,  /* the link process, once a command with input runs */
    RIG_SILENT /* nothing begins */
};

struct rig {
    const char *shell;                       /* the login shell; NULL: sh */
    const char *rc;                          /* what it runs first; NULL: nothing */
    char *home, *runtime_dir, *cache, *path; /* the rig's, from rig_open() on */
    enum rig_fault fault;

    char *folder; /* of the link process */
    pid_t link;
    struct ev_loop *loop;
    struct ssh_link_client *client;
    struct ssh_deploy_program *program;
    struct ssh_deploy_options opt;

    /* What came of it */
    bool done;
    int progressed;
    struct ssh_deploy_result r;
    char *command, *file, *home_there;
};

/* --- the program that is copied ----------------------------------------------------------------- */

/* Before main(), which would take the word for the name of a test; glibc passes these arguments. */
__attribute__((constructor)) static void rig_be_hive(int argc, char **argv)
{
    static const char said[] = "hive " RIG_VERSION " (test)\n";

    if (argc != 2 || !str_ends(argv[0], "/hive"))
        return;
    if (str_eq(argv[1], "version"))
        _exit(write(1, said, sizeof said - 1) == sizeof said - 1 ? 0 : 1);
    if (str_eq(argv[1], "wait"))
        for (;;)
            pause();
}

/* --- the link process --------------------------------------------------------------------------- */

static void rig_environment(const struct rig *rig)
{
    clearenv();
    setenv("HOME", rig->home, 1);
    setenv("PATH", rig->path ? rig->path : "/usr/bin:/bin", 1);
    if (rig->runtime_dir)
        setenv("XDG_RUNTIME_DIR", rig->runtime_dir, 1);
    if (rig->cache)
        setenv("XDG_CACHE_HOME", rig->cache, 1);
    /* The programs that are run leave as they are. */
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
}

static bool rig_has_input(const int *fds)
{
    struct stat st;

    return fstat(fds[0], &st) == 0 && S_ISREG(st.st_mode);
}

static pid_t rig_exec(const struct rig *rig, const char *command, const int *fds)
{
    char *line = rig->rc ? mem_printf("%s; %s", rig->rc, command) : mem_strdup(command);
    const char *shell = rig->shell ? rig->shell : "sh";
    int cut[2] = { -1, -1 };
    char part[1024] = { 0 };
    pid_t pid;

    if (rig->fault == RIG_CUTS && rig_has_input(fds)) {
        if (pipe2(cut, O_CLOEXEC) != 0 || write(cut[1], part, sizeof part) != sizeof part)
            _exit(98);
        close(cut[1]);
    }
    pid = fork();
    if (pid == 0) {
        dup2(cut[0] >= 0 ? cut[0] : fds[0], 0);
        dup2(fds[1], 1);
        dup2(fds[2], 2);
        signal(SIGPIPE, SIG_DFL);
        rig_environment(rig);
        if (chdir(rig->home) != 0)
            chdir("/") == 0 ? (void)0 : _exit(97);
        if (str_eq(shell, "busybox"))
            execlp("busybox", "sh", "-c", line, (char *)NULL);
        execlp(shell, shell, "-c", line, (char *)NULL);
        _exit(127);
    }
    if (cut[0] >= 0)
        close(cut[0]);
    free(line);
    return pid;
}

static void rig_send(int fd, const struct ssh_link_msg *m)
{
    struct buf b = BUF_INIT;

    ssh_link_msg_encode(m, &b);
    ssh_link_send(fd, buf_data(&b), buf_len(&b), NULL, 0);
    buf_fini(&b);
}

struct rig_running {
    pid_t pid;
    uint32_t id;
};

static void rig_handle(const struct rig *rig, int fd, const struct ssh_link_msg *m, int *fds,
                       struct rig_running *running)
{
    struct ssh_link_msg reply = { .type = SSH_LINK_STATE, .state = SSH_LINK_UP, .via = "builtin" };
    bool input = m->type == SSH_LINK_EXEC && rig_has_input(fds);
    size_t i = 0;

    if (m->type == SSH_LINK_HELLO) {
        reply = (struct ssh_link_msg){
            .type = SSH_LINK_HELLO, .version = SSH_LINK_VERSION, .text = "alpha", .pid = getpid()
        };
    } else if (m->type == SSH_LINK_EXEC) {
        if (rig->fault == RIG_SILENT)
            return;
        while (running[i].pid)
            i++;
        CHECK(i < RIG_COMMANDS - 1);
        running[i].id = m->id;
        running[i].pid = rig_exec(rig, m->text, fds);
        reply = (struct ssh_link_msg){ .type = SSH_LINK_STARTED, .id = m->id };
    } else if (m->type == SSH_LINK_CLOSE) {
        for (; i < RIG_COMMANDS; i++)
            if (running[i].pid && running[i].id == m->id)
                kill(running[i].pid, SIGHUP);
        return;
    } else if (m->type != SSH_LINK_STATE) {
        return;
    }
    rig_send(fd, &reply);
    if (rig->fault == RIG_DIES && input)
        _exit(0);
}

static void rig_reap(int fd, struct rig_running *running)
{
    int status;

    for (size_t i = 0; i < RIG_COMMANDS; i++) {
        struct ssh_link_msg m = { .type = SSH_LINK_ENDED, .id = running[i].id };

        if (!running[i].pid || waitpid(running[i].pid, &status, WNOHANG) != running[i].pid)
            continue;
        m.result.end = SSH_LINK_CODE;
        m.result.code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 99;
        running[i].pid = 0;
        rig_send(fd, &m);
    }
}

__attribute__((noreturn)) static void rig_serve(const struct rig *rig, int listener)
{
    struct rig_running running[RIG_COMMANDS] = { { 0 } };
    struct buf packet = BUF_INIT;
    struct pollfd comes = { .fd = listener, .events = POLLIN };
    int fds[SSH_LINK_FDS], fd, rc;

    if (poll(&comes, 1, -1) != 1 || (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        _exit(96);
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        struct ssh_link_msg m;

        rig_reap(fd, running);
        if (poll(&p, 1, 5) == 0)
            continue;
        rc = ssh_link_receive(fd, &packet, fds, NULL);
        if (rc < 0)
            break;
        if (rc == 0 || ssh_link_msg_decode(buf_data(&packet), buf_len(&packet), &m, NULL) != 0)
            continue;
        rig_handle(rig, fd, &m, fds, running);
        ssh_link_msg_fini(&m);
        ssh_link_close_fds(fds);
    }
    for (size_t i = 0; i < RIG_COMMANDS; i++)
        if (running[i].pid)
            kill(running[i].pid, SIGHUP);
    _exit(0);
}

/* --- one test ----------------------------------------------------------------------------------- */

static void rig_done(const struct ssh_deploy_result *r, void *arg)
{
    struct rig *rig = arg;

    CHECK(!rig->done);
    rig->done = true;
    rig->r = *r;
    free(rig->command);
    free(rig->file);
    free(rig->home_there);
    rig->command = mem_strdup(r->command);
    rig->file = mem_strdup(r->path);
    rig->home_there = mem_strdup(r->home);
}

static void rig_progress(struct ssh_deploy *d, int64_t sent, int64_t total, void *arg)
{
    struct rig *rig = arg;

    CHECK(d && sent > 0 && sent <= total);
    rig->progressed++;
}

/* A folder of the test's own, with this under it */
__attribute__((unused)) static char *rig_path(const char *name)
{
    return fs_join(unit_tmpdir(), name);
}

static void rig_mkdir(const char *path)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_mkdir_p(path, 0700, &err), &err);
}

__attribute__((unused)) static void rig_write(const char *path, const char *text, mode_t mode)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_write_file(path, text, strlen(text), mode, false, &err), &err);
}

__attribute__((unused)) static bool rig_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Begins with the fields before `folder` set, or none. */
static void rig_open(struct rig *rig)
{
    struct ssh_link_client_options o = { .word = "alpha" };
    struct err err = ERR_INIT;
    int listener;

    rig->folder = mem_printf("%s/link.%d", unit_tmpdir(), (int)(rig->program ? rig->link : 0));
    rig_mkdir(rig->folder);
    if (!rig->home)
        rig->home = fs_join(unit_tmpdir(), "home");
    rig_mkdir(rig->home);
    if (rig->runtime_dir)
        rig_mkdir(rig->runtime_dir);
    if (!rig->program)
        rig->program = ssh_deploy_program_open("/proc/self/exe", NULL, true, &err);
    if (!rig->program)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    listener = ssh_link_listen(rig->folder, "alpha", &err);
    if (listener < 0)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    rig->link = fork();
    if (rig->link == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        rig_serve(rig, listener);
    }
    close(listener);
    o.runtime_dir = rig->folder;
    rig->loop = ev_loop_create(&clock_system, &err);
    rig->client = ssh_link_client_open(rig->loop, &o, &err);
    CHECK(rig->client);
    rig->opt = (struct ssh_deploy_options){ .program = rig->program,
                                            .version = RIG_VERSION,
                                            .id = "test",
                                            .done = rig_done,
                                            .progress = rig_progress,
                                            .arg = rig };
}

static void rig_turn(struct rig *rig)
{
    struct err err = ERR_INIT;

    CHECK_OK(ev_turn(rig->loop, NS_PER_S, &err), &err);
}

static struct ssh_deploy *rig_start(struct rig *rig)
{
    struct err err = ERR_INIT;
    struct ssh_deploy *d = ssh_deploy_start(rig->loop, rig->client, &rig->opt, &err);

    if (!d)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    rig->done = false;
    return d;
}

/* Deploys; what came of it is in rig->r. */
__attribute__((unused)) static void rig_deploy(struct rig *rig)
{
    rig_start(rig);
    while (!rig->done)
        rig_turn(rig);
}

/* The link process goes, and what it has started. */
__attribute__((unused)) static void rig_hang_up(struct rig *rig)
{
    ssh_link_client_destroy(rig->client);
    ev_loop_destroy(rig->loop);
    CHECK(waitpid(rig->link, NULL, 0) == rig->link);
    free(rig->folder);
    rig->client = NULL;
    rig->loop = NULL;
}

__attribute__((unused)) static void rig_close(struct rig *rig)
{
    rig_hang_up(rig);
    ssh_deploy_program_close(rig->program);
    free(rig->command);
    free(rig->file);
    free(rig->home_there);
    free(rig->home);
    free(rig->runtime_dir);
    free(rig->cache);
    free(rig->path);
}

/* PLACE/bin/SHA256, malloc'd */
__attribute__((unused)) static char *rig_folder(const struct rig *rig, const char *place)
{
    return mem_printf("%s/bin/%s", place, ssh_deploy_program_sha256(rig->program));
}

#endif
