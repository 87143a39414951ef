/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/process.h"

#include "base/clock.h"
#include "base/mem.h"
#include "sys/sys.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void on_child(int signo)
{
    (void)signo; /* it is enough that the poll ends */
}

/* Past the C library, which keeps some signals to itself: glibc's posix_spawn leaves them
 * ignored. */
static void reset_signals(void)
{
    char zeroes[64] = { 0 }; /* struct sigaction as the kernel has it: SIG_DFL, no flags */

    for (int signo = 1; signo <= 64; signo++)
        syscall(SYS_rt_sigaction, signo, zeroes, NULL, (size_t)8);
}

int process_prepare(const char *name)
{
    struct sigaction sa = { .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP };
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    reset_signals();
    setsid(); /* fails for the leader of a group, which was set apart already */
    prctl(PR_SET_NAME, name);
    sys_wake_soon();
    if (chdir("/") != 0)
        return -1;
    if (sigaction(SIGCHLD, &sa, NULL) != 0)
        return -1;
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

int process_poll(int fd, int64_t max_ns)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    struct timespec ts = { (time_t)(max_ns / NS_PER_S), (long)(max_ns % NS_PER_S) };
    sigset_t mask;

    /* SIGCHLD can come only while we are in here. */
    sigfillset(&mask);
    sigdelset(&mask, SIGCHLD);
    return ppoll(&p, 1, max_ns < 0 ? NULL : &ts, &mask) > 0;
}
