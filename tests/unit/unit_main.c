/* SPDX-License-Identifier: BSD-2-Clause */
/* The runner behind unit.h. It trusts no test: whatever a test does, its line of TAP is written. */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 60 /* of one test; UNIT_DEADLINE_S overrides */
#define LINGER_S 3    /* for what a test left running to end by itself; at most the deadline */

/* The linker makes these for the section; absent when no test was written. */
extern const struct unit_test *const __start_unit_tests[] __attribute__((weak));
extern const struct unit_test *const __stop_unit_tests[] __attribute__((weak));

/* One test at a time, each in a process of its own: the only globals of the tests. */
static char tmpdir[256];
static int done_fd = -1;

void unit_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "# %s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(1);
}

void unit_check_str(const char *file, int line, const char *expr, const char *got, const char *want)
{
    if (str_eq(got, want))
        return;
    char *shown_got = got ? str_safe(got) : NULL;
    char *shown_want = want ? str_safe(want) : NULL;
    unit_fail(file, line, "%s\n#      got: %s\n#   wanted: %s", expr,
              shown_got ? shown_got : "(NULL)", shown_want ? shown_want : "(NULL)");
}

void unit_check_int(const char *file, int line, const char *expr, int64_t got, int64_t want)
{
    if (got != want)
        unit_fail(file, line, "%s is %lld, wanted %lld", expr, (long long)got, (long long)want);
}

const char *unit_tmpdir(void)
{
    if (mkdir(tmpdir, 0700) != 0 && errno != EEXIST)
        unit_fail(__FILE__, __LINE__, "can't make %s: %s", tmpdir, strerror(errno));
    return tmpdir;
}

/* Runs in the child. exit(), so that the leak check of the sanitizer takes place; the byte before
 * it tells the parent that the test came to its end instead of leaving through an exit(0). */
static _Noreturn void run_child(const struct unit_test *test, const sigset_t *mask)
{
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* stdout is for TAP alone */
    test->fn();
    if (write(done_fd, "", 1) != 1)
        _exit(1);
    close(done_fd);
    exit(0);
}

/* Waits for the child's end without reaping it; false when the deadline passed. */
static bool await_end(pid_t pid, int64_t deadline_ns)
{
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    for (;;) {
        siginfo_t info = { 0 };
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
            return true;
        int64_t left = deadline_ns - clock_mono_ns(&clock_system);
        if (left <= 0)
            return false;
        struct timespec ts = { (time_t)(left / NS_PER_S), (long)(left % NS_PER_S) };
        sigtimedwait(&chld, NULL, &ts);
    }
}

/* Kills our children: the runner is a subreaper, so those are what a test left behind. */
static void kill_children(void)
{
    struct buf list = BUF_INIT;
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    if (fs_read_file(path, 1 << 20, &list, NULL) == 0) {
        const char *p = buf_data(&list);
        char *end;
        for (long pid; (pid = strtol(p, &end, 10)) > 0; p = end)
            kill((pid_t)pid, SIGKILL);
    }
    buf_fini(&list);
}

/* True when no process of the test is left, at once or before `linger_ns` have passed; then the
 * rest is killed. */
static bool await_no_children(int64_t linger_ns)
{
    int64_t deadline = clock_mono_ns(&clock_system) + linger_ns;
    bool clean = true;
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid > 0)
            continue;
        if (pid < 0 && errno == ECHILD)
            return clean;
        int64_t late_ns = clock_mono_ns(&clock_system) - deadline;
        if (late_ns >= 0) {
            clean = false;
            kill_children();
        }
        if (late_ns > 5 * NS_PER_S) /* no list in /proc on this kernel, or they can't die */
            return false;
        struct timespec ts = { 0, 100 * NS_PER_MS };
        sigtimedwait(&chld, NULL, &ts);
    }
}

/* What went wrong, as a sentence for the TAP line; empty when nothing did. */
static void judge(struct buf *why, const siginfo_t *end, bool in_time, bool came_to_end,
                  bool left_alone)
{
    if (!in_time)
        buf_append_str(why, "timed out");
    else if (end->si_code != CLD_EXITED)
        buf_printf(why, "killed by signal %d (%s)", end->si_status, strsignal(end->si_status));
    else if (end->si_status != 0)
        buf_printf(why, "exit code %d", end->si_status);
    else if (!came_to_end)
        buf_append_str(why, "exited before its end");
    else if (!left_alone)
        buf_append_str(why, "left processes running");
}

static int64_t deadline_s(void)
{
    const char *text = getenv("UNIT_DEADLINE_S");
    int64_t seconds = DEADLINE_S;

    if (text && str_to_int(text, 1, 86400, "UNIT_DEADLINE_S", &seconds, NULL) != 0)
        fprintf(stderr, "# UNIT_DEADLINE_S ignored: not a number of seconds\n");
    return seconds;
}

static void remove_tmpdir(void)
{
    struct err err = ERR_INIT;

    if (fs_remove_tree(AT_FDCWD, tmpdir, &err) != 0)
        fprintf(stderr, "# %s\n", err.msg);
}

static bool run_test(const struct unit_test *test, int number, const sigset_t *mask)
{
    struct buf why = BUF_INIT;
    siginfo_t end = { 0 };
    int pipe_fds[2];
    char byte;

    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        unit_fail(__FILE__, __LINE__, "pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        unit_fail(__FILE__, __LINE__, "fork: %s", strerror(errno));
    if (pid == 0) {
        close(pipe_fds[0]);
        done_fd = pipe_fds[1];
        run_child(test, mask);
    }
    setpgid(pid, pid); /* also here: whoever comes first */
    close(pipe_fds[1]);
    int64_t limit_ns = deadline_s() * NS_PER_S;
    int64_t linger_ns = limit_ns < LINGER_S * NS_PER_S ? limit_ns : LINGER_S * NS_PER_S;
    bool in_time = await_end(pid, clock_mono_ns(&clock_system) + limit_ns);
    if (!in_time)
        kill(-pid, SIGKILL);
    waitid(P_PID, (id_t)pid, &end, WEXITED);
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK); /* something left behind may hold the other end */
    bool came_to_end = read(pipe_fds[0], &byte, 1) == 1;
    close(pipe_fds[0]);
    bool left_alone = await_no_children(in_time ? linger_ns : 0);
    remove_tmpdir();
    judge(&why, &end, in_time, came_to_end, left_alone);
    bool ok = buf_len(&why) == 0;
    printf("%s %d - %s%s%s\n", ok ? "ok" : "not ok", number, test->name, ok ? "" : ": ",
           buf_data(&why));
    buf_fini(&why);
    return ok;
}

/* Runs the tests named `only`, or all. */
static int run_all(size_t count, const char *only)
{
    const char *base = getenv("TMPDIR");
    int failed = 0, number = 0;
    sigset_t chld, mask;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, &mask); /* for sigtimedwait */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    printf("1..%zu\n", only ? 1 : count);
    for (size_t i = 0; i < count; i++) {
        const struct unit_test *test = __start_unit_tests[i];
        if (only && !str_eq(only, test->name))
            continue;
        number++;
        snprintf(tmpdir, sizeof tmpdir, "%s/hive-unit-%d-%d", base && *base ? base : "/tmp",
                 (int)getpid(), number);
        if (!run_test(test, number, &mask))
            failed++;
    }
    if (only && number == 0) {
        printf("not ok 1 - %s: no such test\n", only);
        return 2;
    }
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    size_t count = 0;

    if (__start_unit_tests)
        count = (size_t)(__stop_unit_tests - __start_unit_tests);
    if (count == 0) {
        /* "1..0" would be a skip to TAP, and a skip is no failure. */
        printf("1..1\nnot ok 1 - no test in this program\n");
        return 1;
    }
    int rc = run_all(count, argc > 1 ? argv[1] : NULL);
    if (fflush(stdout) != 0)
        rc = 1;
    return rc;
}
