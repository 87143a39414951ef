/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/err.h"
#include "base/mem.h"
#include "node/node.h"
#include "node/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_FD 3

static int set_up(posix_spawn_file_actions_t *fa, posix_spawnattr_t *attr, int ctl)
{
    sigset_t all;
    int rc;

    sigfillset(&all);
    if ((rc = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDWR, 0)) != 0 ||
        (rc = posix_spawn_file_actions_adddup2(fa, 0, 1)) != 0 ||
        (rc = posix_spawn_file_actions_adddup2(fa, ctl, CONTROL_FD)) != 0 ||
        /* Blocked, and default when the spawner unblocks them. */
        (rc = posix_spawnattr_setsigmask(attr, &all)) != 0 ||
        (rc = posix_spawnattr_setsigdefault(attr, &all)) != 0)
        return rc;
    return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int spawn(const char *state_dir, const char *runtime_dir, int ctl)
{
    char name[] = "hive", command[] = "spawner", flag[] = "--internal", fd[] = "3";
    char *state = mem_strdup(state_dir), *runtime = mem_strdup(runtime_dir);
    char *argv[] = { name, command, flag, fd, state, runtime, NULL };
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    pid_t pid;
    int rc;

    _Static_assert(CONTROL_FD == 3, "as in the argument");
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    rc = set_up(&fa, &attr, ctl);
    if (rc == 0)
        rc = posix_spawn(&pid, "/proc/self/exe", &fa, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    free(state);
    free(runtime);
    return rc;
}

int spawner_start(const char *state_dir, const char *runtime_dir, struct err *err)
{
    int pair[2], theirs, rc;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return err_sys(err, errno, "cannot make a socket pair");
    /* Well above the descriptors that are set up, so that none is overwritten before it is used,
     * and dup2 makes a new one without close-on-exec. */
    theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
    close(pair[1]);
    if (theirs < 0) {
        close(pair[0]);
        return err_sys(err, errno, "cannot duplicate a descriptor");
    }
    rc = spawn(state_dir, runtime_dir, theirs);
    close(theirs);
    if (rc != 0) {
        close(pair[0]);
        return err_sys(err, rc, "cannot start the spawner");
    }
    return pair[0];
}
