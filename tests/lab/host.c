/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Namespaces as hosts, for tests/lab/lib.sh. Everything lives below one pid namespace, whose first
 * process ends with the test: then the kernel ends all processes in it, and with them go mounts,
 * networks and devices. Nothing has a name that could stay behind. Needs the C library alone.
 *
 *   host check                      says what this machine doesn't allow, with status 1; or nothing
 *   host lab COMMAND…               runs a test in namespaces of its own; its exit status
 *   host boot NAME ROOT LOG COMMAND…    a new host: COMMAND prepares the folder ROOT, which becomes
 *                                   its /; prints its pid
 *   host enter PID USER COMMAND…    runs a command there; signals are passed on, also SIGKILL
 *   host bind PID SOURCE TARGET     in the host, SOURCE is seen at TARGET
 *   host signal PID stop|cont       all processes of the host
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

enum { SPACES = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID };

static void die(const char *what)
{
    fprintf(stderr, "host: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void pivot(const char *root)
{
    if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
        chdir("/") < 0)
        die(root);
}

/* In a chroot whose folder is no mount, mounts can be made private only outside of it. The mount
 * namespace is this process's own copy, so what is done to it is seen by nobody else. */
static void leave_chroot(void)
{
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    char name[PATH_MAX], folder[PATH_MAX];

    if (!getcwd(folder, sizeof(folder)))
        die("working folder");
    if (root < 0 || self < 0 || setns(self, CLONE_NEWNS) < 0)
        die("chroot");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        die("private mounts");
    if (fchdir(root) < 0 || mount(".", ".", NULL, MS_BIND | MS_REC, NULL) < 0)
        die("chroot");
    close(self);
    close(root);
    /* "." is still what lies below the new mount; its name leads to the mount. */
    if (!getcwd(name, sizeof(name)))
        die("chroot");
    pivot(name);
    if (chdir(folder) < 0)
        die(folder);
}

static void make_private(void)
{
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return;
    if (errno != EINVAL)
        die("private mounts");
    leave_chroot();
}

/* --- waiting for a child, passing on signals --- */

static void block(sigset_t *ours, sigset_t *before)
{
    static const int passed_on[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };

    sigemptyset(ours);
    sigaddset(ours, SIGCHLD);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(*passed_on); i++)
        sigaddset(ours, passed_on[i]);
    sigprocmask(SIG_BLOCK, ours, before);
}

/* Reaps everything, until `child` ends; returns a status as a shell would show it. */
static int wait_for(pid_t child, const sigset_t *ours)
{
    for (;;) {
        int status, got;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == child)
                return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (pid < 0 && errno == ECHILD)
            return 125;
        got = sigwaitinfo(ours, NULL);
        if (got > 0 && got != SIGCHLD)
            kill(child, got);
    }
}

static void run(char **command)
{
    execvp(command[0], command);
    fprintf(stderr, "host: %s: %s\n", command[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Ends this process when its parent does, also if that was before. The parent has the other end of
 * the pipe `alive`. */
static void end_with_parent(int alive)
{
    struct pollfd p = { .fd = alive, .events = POLLIN };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&p, 1, 0) != 0)
        _exit(125);
}

/* --- lab --- */

static int lab_first(char **command, const sigset_t *ours, const sigset_t *before)
{
    pid_t pid;

    make_private();
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        die("/proc");
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, before, NULL);
        run(command);
    }
    return wait_for(pid, ours);
}

static int lab(char **command)
{
    sigset_t ours, before;
    int alive[2];
    pid_t pid = -1;

    if (unshare(SPACES) < 0)
        die("namespaces");
    block(&ours, &before);
    if (pipe2(alive, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        die("fork");
    if (pid == 0) {
        close(alive[1]);
        end_with_parent(alive[0]);
        _exit(lab_first(command, &ours, &before));
    }
    return wait_for(pid, &ours);
}

/* --- boot --- */

/* An uptime of its own, so that a restart looks like one. On kernels without it, it doesn't. */
static void new_uptime(void)
{
    struct timespec up, mono;
    FILE *f;

    if (unshare(CLONE_NEWTIME) < 0)
        return;
    clock_gettime(CLOCK_BOOTTIME, &up);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    f = fopen("/proc/self/timens_offsets", "we");
    if (f) {
        fprintf(f, "monotonic %lld 0\nboottime %lld 0\n", 10 - (long long)mono.tv_sec,
                10 - (long long)up.tv_sec);
        fclose(f);
    }
}

static void prepare(char **command)
{
    int status;
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0)
        run(command);
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        fprintf(stderr, "host: preparing it failed (status %d)\n", status);
        exit(1);
    }
}

static void boot_first(const char *name, const char *root, const char *log, char **command,
                       int ready)
{
    sigset_t child;
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC),
        out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (in < 0 || out < 0)
        die(log);
    setsid();
    make_private();
    if (sethostname(name, strlen(name)) < 0)
        die(name);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    prepare(command);
    pivot(root);
    prctl(PR_SET_NAME, "init");
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    if (write(ready, "", 1) != 1)
        die("ready");
    close(ready);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        sigwaitinfo(&child, NULL);
    }
}

static int boot(const char *name, const char *root, const char *log, char **command)
{
    int ready[2];
    char byte;
    pid_t pid = -1;

    if (unshare(SPACES) < 0)
        die("namespaces");
    new_uptime();
    if (pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        die("fork");
    if (pid == 0)
        boot_first(name, root, log, command, ready[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) {
        fprintf(stderr, "host: %s did not start, see %s\n", name, log);
        return 1;
    }
    printf("%ld\n", (long)pid);
    return fflush(stdout) != 0;
}

/* --- enter, bind, signal --- */

static void go_into(const char *pid, int spaces)
{
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)strtol(pid, NULL, 10), 0);

    /* A kernel without time namespaces says EINVAL. */
    if (fd < 0 || (setns(fd, spaces | CLONE_NEWTIME) < 0 && setns(fd, spaces) < 0))
        die(pid);
    close(fd);
}

static void become(const char *name)
{
    const struct passwd *user = getpwnam(name);

    if (!user) {
        fprintf(stderr, "host: no user %s there\n", name);
        exit(125);
    }
    if (initgroups(name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
        die(name);
    clearenv();
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", user->pw_dir, 1);
    setenv("USER", name, 1);
    setenv("LOGNAME", name, 1);
    setenv("SHELL", user->pw_shell, 1);
    if (chdir(user->pw_dir) < 0 && chdir("/") < 0)
        die(user->pw_dir);
}

static int enter(const char *host, const char *user, char **command)
{
    sigset_t ours, before;
    int alive[2];
    pid_t pid = -1;

    go_into(host, SPACES);
    block(&ours, &before);
    if (pipe2(alive, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        die("fork");
    if (pid == 0) {
        close(alive[1]);
        become(user);
        end_with_parent(alive[0]); /* after become(): a change of user forgets the wish */
        sigprocmask(SIG_SETMASK, &before, NULL);
        run(command);
    }
    return wait_for(pid, &ours);
}

static int bind_there(const char *host, const char *source, const char *target)
{
    go_into(host, CLONE_NEWNS);
    if (mount(source, target, NULL, MS_BIND, NULL) < 0)
        die(target);
    return 0;
}

static ino_t pid_space(const char *pid)
{
    char path[300];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%s/ns/pid", pid);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Until a round finds nobody new: processes that aren't stopped yet may fork. */
static int signal_all(const char *host, int sig)
{
    ino_t space = pid_space(host);
    size_t before = 0, count = 1;

    if (!space)
        die(host);
    for (int round = 0; count != before && round < 100; round++) {
        DIR *d = opendir("/proc");
        const struct dirent *e;

        if (!d)
            die("/proc");
        before = count;
        count = 0;
        while ((e = readdir(d)) != NULL)
            if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && pid_space(e->d_name) == space &&
                kill((pid_t)strtol(e->d_name, NULL, 10), sig) == 0)
                count++;
        closedir(d);
    }
    return 0;
}

/* --- check --- */

static void try_overlay(void)
{
    static const char folder[] = "/proc/tty"; /* a folder that is there and that nobody needs */
    char options[256];

    if (mount("lab", folder, "tmpfs", 0, NULL) < 0)
        die("tmpfs");
    if (chdir(folder) < 0 || mkdir("up", 0700) < 0 || mkdir("work", 0700) < 0 ||
        mkdir("root", 0700) < 0)
        die(folder);
    snprintf(options, sizeof(options), "lowerdir=/,upperdir=%s/up,workdir=%s/work", folder, folder);
    if (mount("lab", "root", "overlay", 0, options) < 0)
        die("overlayfs");
}

static int check(void)
{
    int status;
    pid_t pid;

    if (unshare(SPACES) < 0)
        die("network namespaces");
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        make_private();
        if (mount("proc", "/proc", "proc", 0, NULL) < 0)
            die("/proc in a pid namespace");
        try_overlay();
        _exit(0);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    if (argc == 2 && !strcmp(verb, "check"))
        return check();
    if (argc >= 3 && !strcmp(verb, "lab"))
        return lab(argv + 2);
    if (argc >= 6 && !strcmp(verb, "boot"))
        return boot(argv[2], argv[3], argv[4], argv + 5);
    if (argc >= 5 && !strcmp(verb, "enter"))
        return enter(argv[2], argv[3], argv + 4);
    if (argc == 5 && !strcmp(verb, "bind"))
        return bind_there(argv[2], argv[3], argv[4]);
    if (argc == 4 && !strcmp(verb, "signal"))
        return signal_all(argv[2], !strcmp(argv[3], "stop") ? SIGSTOP : SIGCONT);
    fputs("usage: host check|lab|boot|enter|bind|signal …; see the head of tests/lab/host.c\n",
          stderr);
    return 2;
}
