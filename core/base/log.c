/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdarg.h>
#include <sys/stat.h>

static const struct {
    const char *name;
    int syslog; /* priority as in syslog(3) and sd-daemon(3) */
} levels[] = {
    [LOG_ERROR] = { "ERROR", 3 },
    [LOG_WARNING] = { "WARNING", 4 },
    [LOG_INFO] = { "INFO", 6 },
    [LOG_DEBUG] = { "DEBUG", 7 },
};

void log_msg(const struct log *log, enum log_level level, const char *fmt, ...)
{
    struct buf line = BUF_INIT;
    va_list ap;

    if (!log || !log->write || level > log->level)
        return;
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    log->write(log->arg, level, buf_data(&line));
    buf_fini(&line);
}

/* JOURNAL_STREAM is inherited by children whose output goes elsewhere, so it names the device and
 * inode it is about. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char mine[64];
    struct stat st;

    if (!stream || fstat(fd, &st) != 0)
        return false;
    snprintf(mine, sizeof mine, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    return str_eq(stream, mine);
}

void log_write_fd(void *arg, enum log_level level, const char *line)
{
    const int *fd = arg;
    struct buf out = BUF_INIT;
    char time[CLOCK_RFC3339_SIZE];

    if ((unsigned)level >= ARRAY_LEN(levels))
        level = LOG_ERROR;
    if (is_journal(*fd)) {
        buf_printf(&out, "<%d>", levels[level].syslog);
    } else {
        clock_format_rfc3339(clock_wall_ns(&clock_system), time, sizeof time);
        buf_printf(&out, "%s %s ", time, levels[level].name);
    }
    str_append_safe(&out, line, SIZE_MAX);
    buf_append_char(&out, '\n');
    /* Nothing can be done about a log that can't be written. */
    fs_write_all(*fd, buf_data(&out), buf_len(&out));
    buf_fini(&out);
}
