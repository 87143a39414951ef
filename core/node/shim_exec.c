/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clone(CLONE_VM | CLONE_VFORK): no page tables are copied, and the child tells what went wrong
 * through the memory it shares. Between clone and exec only async-signal-safe calls are made, and
 * all memory is there beforehand.
 */
#include "node/shim_exec.h"

#include "base/mem.h"
#include "sys/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* What runs in the child leaves its frames on the stack without returning: the address sanitizer
 * would take what it finds there the next time for an overflow. */
#define IN_CHILD __attribute__((no_sanitize("address")))

struct child {
    struct shim_exec *x;
    const char *path;     /* value of PATH */
    const char **sh_argv; /* room for "sh FILE ARGS…" */
    char file[PATH_MAX];  /* candidate */
};

static const char *find_path(const char *const *env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return DEFAULT_PATH;
}

/*
 * Makes the next candidate from *path into file and moves *path on; NULL at the end. An empty
 * element is the current folder. False when the candidate is too long to exist.
 */
IN_CHILD static bool next_candidate(const char **path, const char *name, char *file)
{
    size_t dlen = strcspn(*path, ":"), nlen = strlen(name);
    const char *dir = *path;

    *path = dir[dlen] ? dir + dlen + 1 : NULL;
    if (dlen + nlen + 3 > PATH_MAX)
        return false;
    if (dlen == 0) {
        dir = ".";
        dlen = 1;
    }
    memcpy(file, dir, dlen);
    file[dlen] = '/';
    memcpy(file + dlen + 1, name, nlen + 1);
    return true;
}

/* Returns errno. A text file without "#!" is run by sh, as shells and execvp do. */
IN_CHILD static int try_exec(struct child *c, const char *file)
{
    char *const *env = (char *const *)(uintptr_t)c->x->env;

    execve(file, (char *const *)(uintptr_t)c->x->argv, env);
    if (errno != ENOEXEC)
        return errno;
    c->sh_argv[0] = "sh";
    c->sh_argv[1] = file;
    for (size_t i = 1; c->x->argv[i - 1]; i++)
        c->sh_argv[i + 1] = c->x->argv[i];
    execve("/bin/sh", (char *const *)(uintptr_t)c->sh_argv, env);
    return ENOEXEC;
}

IN_CHILD static int exec_program(struct child *c)
{
    const char *name = c->x->argv[0], *path = c->path;
    int sys = ENOENT;

    if (strchr(name, '/'))
        return try_exec(c, name);
    if (!*name)
        return ENOENT;
    while (path) {
        int tried;
        if (!next_candidate(&path, name, c->file))
            continue;
        tried = try_exec(c, c->file);
        if (tried == EACCES)
            sys = EACCES; /* there may be another one further on */
        else if (tried != ENOENT && tried != ENOTDIR)
            return tried;
    }
    return sys;
}

IN_CHILD static int prepare(struct child *c)
{
    sigset_t none;

    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return errno;
    /* The shim may have died before the line above. */
    if (getppid() != c->x->self)
        _exit(127);
    if (dup2(c->x->in, 0) < 0 || dup2(c->x->out, 1) < 0 || dup2(c->x->err, 2) < 0)
        return errno;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return 0;
}

IN_CHILD static void close_others(void)
{
#ifdef SYS_close_range
    /* Everything of ours is close-on-exec anyway. */
    syscall(SYS_close_range, 3u, ~0u, 0u);
#endif
}

IN_CHILD static int child_main(void *arg)
{
    struct child *c = arg;
    struct shim_exec *x = c->x;

    x->failed = EXEC_PREPARE;
    x->sys = prepare(c);
    if (x->sys == 0 && x->group) {
        x->failed = EXEC_CGROUP;
        x->sys = cgroup_enter(x->group);
    }
    if (x->sys == 0) {
        x->failed = EXEC_WORKDIR;
        x->sys = chdir(x->workdir) == 0 ? 0 : errno;
    }
    if (x->sys == 0) {
        close_others();
        x->failed = EXEC_PROGRAM;
        x->sys = exec_program(c);
    }
    _exit(127);
}

pid_t shim_exec(struct shim_exec *x)
{
    struct child c = { .x = x, .path = find_path(x->env) };
    size_t argc = 0;
    pid_t pid;

    x->failed = EXEC_FORK;
    x->sys = 0;
    while (x->argv[argc])
        argc++;
    c.sh_argv = mem_alloc_array(argc + 2, sizeof *c.sh_argv);
    pid =
        clone(child_main, (char *)x->stack + SHIM_EXEC_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, &c);
    if (pid < 0)
        x->sys = errno;
    free(c.sh_argv);
    if (pid > 0 && x->sys != 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return -1;
    }
    return pid;
}

bool shim_exec_exists(const struct shim_exec *x)
{
    const char *name = x->argv[0], *path = find_path(x->env);
    int dir = open(x->workdir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char file[PATH_MAX];
    bool found = false;

    if (strchr(name, '/')) {
        found = faccessat(dir, name, F_OK, 0) == 0;
    } else {
        while (*name && path && !found)
            found = next_candidate(&path, name, file) && faccessat(dir, file, F_OK, 0) == 0;
    }
    if (dir >= 0)
        close(dir);
    return found;
}
