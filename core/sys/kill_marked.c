/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes found by what their environment says, wherever in the tree of processes they are by
 * now. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "sys/sys.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENVIRON_MAX ((size_t)8 << 20) /* more than the kernel lets a program begin with */

/* 1: the process has it, 0: not, or it can't be told. */
static int has_mark(int procfd, const char *mark, size_t len, struct buf *text)
{
    int fd = openat(procfd, "environ", O_RDONLY | O_CLOEXEC);
    char part[16384];
    ssize_t n;

    if (fd < 0)
        return 0;
    buf_clear(text);
    buf_append_char(text, '\0');
    while ((n = read(fd, part, sizeof part)) > 0 && buf_len(text) < ENVIRON_MAX)
        buf_append(text, part, (size_t)n);
    close(fd);
    /* With the zero bytes around it: a whole entry. */
    return memmem(buf_data(text), buf_len(text), mark, len) != NULL;
}

/* Through the descriptor: it stands for the one process whose environment was read. */
static int end_process(int procfd, pid_t pid)
{
#ifdef SYS_pidfd_send_signal
    if (syscall(SYS_pidfd_send_signal, procfd, SIGKILL, NULL, 0) == 0)
        return 1;
    if (errno != ENOSYS && errno != EBADF)
        return 0;
#endif
    (void)procfd;
    return kill(pid, SIGKILL) == 0;
}

/* One look at all processes. Returns how many were killed. */
static int kill_once(const char *mark, size_t len, struct buf *text)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    int killed = 0;

    while (dir && (e = readdir(dir))) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        int procfd;
        if (!isdigit((unsigned char)e->d_name[0]) || pid == getpid())
            continue;
        procfd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (procfd < 0)
            continue;
        if (has_mark(procfd, mark, len, text))
            killed += end_process(procfd, pid);
        close(procfd);
    }
    if (dir)
        closedir(dir);
    return killed;
}

int sys_kill_marked(const char *mark, int64_t deadline_mono_ns)
{
    struct buf text = BUF_INIT, whole = BUF_INIT;
    int killed = 0, now;

    buf_append_char(&whole, '\0');
    buf_append(&whole, mark, strlen(mark) + 1);
    /* A dead process has no environment: until none is found. */
    while ((now = kill_once(buf_data(&whole), buf_len(&whole), &text)) > 0) {
        killed += now;
        if (clock_mono_ns(&clock_system) >= deadline_mono_ns)
            break;
        nanosleep(&(struct timespec){ 0, NS_PER_MS }, NULL);
    }
    buf_fini(&text);
    buf_fini(&whole);
    return killed;
}
