/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preloaded into a dynamically linked hive: moves its wall clock by the seconds that stand in the file
 * $WALLCLOCK_FILE, read anew at each call, so that a test can let the clock jump while the daemon runs. All other
 * clocks stay as they are.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    const char *path = getenv("WALLCLOCK_FILE");
    char text[32] = "";
    int rc = (int)syscall(SYS_clock_gettime, clock, ts);

    if (rc != 0 || clock != CLOCK_REALTIME || !path)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rc;
    if (read(fd, text, sizeof(text) - 1) > 0)
        ts->tv_sec += strtol(text, NULL, 10);
    close(fd);
    return rc;
}
