/* SPDX-License-Identifier: BSD-2-Clause */
/* OpenSSH's programs, to compare with. */
#ifndef HIVE_TESTS_SSH_PROGRAM_H
#define HIVE_TESTS_SSH_PROGRAM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a program of $PATH and returns its exit status; 127: there is none. What it says on stderr
 * is dropped. */
static inline int run_program(const char *const *argv, struct buf *out)
{
    struct err err = ERR_INIT;
    int fd[2], status;

    CHECK(pipe2(fd, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, 0);
        dup2(fd[1], 1);
        dup2(null, 2);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(fd[1]);
    CHECK_OK(fs_read_fd(fd[0], argv[0], 1024 * 1024, out, &err), &err);
    close(fd[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* False, saying so, where OpenSSH isn't installed; in CI it must be. */
static inline bool have_ssh(void)
{
    struct buf out = BUF_INIT;
    static const char *const argv[] = { "ssh", "-V", NULL };
    bool have = run_program(argv, &out) == 0;

    buf_fini(&out);
    if (!have && getenv("CI"))
        unit_fail(__FILE__, __LINE__, "ssh is missing: scripts/setup-deps --dev");
    if (!have)
        fprintf(stderr, "# not compared with OpenSSH: it isn't installed\n");
    return have;
}

static inline void write_text(const char *path, const char *text, mode_t mode)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_write_file(path, text, strlen(text), mode, false, &err), &err);
}

static inline void read_text(const char *path, struct buf *out)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file(path, 8 * 1024 * 1024, out, &err), &err);
}

#endif
